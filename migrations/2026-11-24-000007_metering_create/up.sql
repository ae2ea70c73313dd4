-- Usage exactly once: a key is taken in the transaction that counts the event. Kept longer (37 days) than an event may
-- be late (35 days). `key_hash` is the first half of SHA-256 over the caller's idempotency key: 16 bytes, so `uuid`.
CREATE TABLE usage_keys (
  tenant_id text NOT NULL,
  service_id uuid NOT NULL,
  key_hash uuid NOT NULL,
  received_at timestamptz NOT NULL,
  -- The hash first: it tells two keys apart at the first look, and a key is never looked for without it.
  PRIMARY KEY (key_hash, tenant_id, service_id)
) PARTITION BY HASH (tenant_id);
DO $$
BEGIN
  FOR i IN 0..7 LOOP
    EXECUTE format('CREATE TABLE usage_keys_%s PARTITION OF usage_keys FOR VALUES WITH (MODULUS 8, REMAINDER %s)', i, i);
    EXECUTE format('CREATE INDEX usage_keys_%s_received ON usage_keys_%s USING brin (received_at)', i, i);
    EXECUTE format('ALTER TABLE usage_keys_%s ENABLE ROW LEVEL SECURITY', i);
    EXECUTE format('ALTER TABLE usage_keys_%s FORCE ROW LEVEL SECURITY', i);
  END LOOP;
END $$;
SELECT sc_protect('usage_keys');

-- The events as they were accepted, in weekly partitions by the time of receipt.
CREATE TABLE usage_events (
  tenant_id text NOT NULL,
  service_id uuid NOT NULL,
  metric_id uuid NOT NULL,
  segment_id uuid NOT NULL,
  idempotency_key text NOT NULL,
  quantity numeric(28, 10) NOT NULL,
  occurred_at timestamptz NOT NULL,
  received_at timestamptz NOT NULL,
  unique_key text,
  metadata jsonb
) PARTITION BY RANGE (received_at);
SELECT sc_protect('usage_events', tenant_rights => 'SELECT', service_rights => 'SELECT');

-- Totals, in the transaction of their events. The row of an hour that a segment boundary cuts exists twice, once for
-- each segment. `stripe` is the slot of the server that wrote the row, so that servers do not wait for each other.
-- What `value` means depends on the metric: the sum, the maximum, the value of the newest event, or (unique_count) how
-- many keys were seen in this segment for the first time in this hour.
CREATE TABLE usage_totals (
  tenant_id text NOT NULL,
  segment_id uuid NOT NULL,
  metric_id uuid NOT NULL,
  hour timestamptz NOT NULL,
  stripe smallint NOT NULL,
  service_id uuid NOT NULL,
  value numeric(28, 10) NOT NULL,
  events bigint NOT NULL CHECK (events > 0),
  -- `last` only: when the newest event occurred, and its order of receipt.
  last_at timestamptz,
  last_received_at timestamptz,
  PRIMARY KEY (tenant_id, segment_id, metric_id, hour, stripe),
  FOREIGN KEY (tenant_id, segment_id) REFERENCES segments
) WITH (fillfactor = 70);
CREATE INDEX usage_totals_service ON usage_totals (tenant_id, service_id, hour);
SELECT sc_protect('usage_totals', tenant_rights => 'SELECT', service_rights => 'SELECT');

-- The same totals for a whole segment: what quotas are checked against and what is billed, without summing the hours of
-- a month for each look.
CREATE TABLE usage_segment_totals (
  tenant_id text NOT NULL,
  segment_id uuid NOT NULL,
  metric_id uuid NOT NULL,
  stripe smallint NOT NULL,
  service_id uuid NOT NULL,
  value numeric(28, 10) NOT NULL,
  -- unique_count only: keys counted in `value` that another segment of the same usage month had counted before. Each
  -- segment is billed for its own set; the quota of the month counts a key once.
  repeats bigint NOT NULL DEFAULT 0 CHECK (repeats >= 0),
  events bigint NOT NULL CHECK (events > 0),
  -- `last` only, as above.
  last_at timestamptz,
  last_received_at timestamptz,
  -- Receipt of the first and of the newest event that was counted.
  first_event_at timestamptz NOT NULL,
  newest_event_at timestamptz NOT NULL CHECK (newest_event_at >= first_event_at),
  PRIMARY KEY (tenant_id, segment_id, metric_id, stripe),
  FOREIGN KEY (tenant_id, segment_id) REFERENCES segments
) WITH (fillfactor = 70);
SELECT sc_protect('usage_segment_totals', tenant_rights => 'SELECT', service_rights => 'SELECT');

-- The exact set behind unique_count.
CREATE TABLE usage_uniques (
  tenant_id text NOT NULL,
  segment_id uuid NOT NULL,
  metric_id uuid NOT NULL,
  key_hash uuid NOT NULL,
  service_id uuid NOT NULL,
  PRIMARY KEY (tenant_id, segment_id, metric_id, key_hash)
);
SELECT sc_protect('usage_uniques');

-- That a tenant was told of 80 % and 100 % of a quota: once a usage month and threshold.
CREATE TABLE quota_notices (
  tenant_id text NOT NULL REFERENCES tenants,
  service_id uuid NOT NULL,
  metric_id uuid NOT NULL,
  month_starts_at timestamptz NOT NULL,
  threshold_percent smallint NOT NULL CHECK (threshold_percent IN (80, 100)),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, metric_id, month_starts_at, threshold_percent)
);
SELECT sc_protect('quota_notices');

-- Messages to a user (`user_id`) or to the whole tenant (null).
CREATE TABLE notifications (
  tenant_id text NOT NULL REFERENCES tenants,
  notification_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  user_id text,
  category text NOT NULL CHECK (category IN ('billing', 'subscription', 'usage', 'provisioning', 'system')),
  severity text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
  -- What it says: a message key and its values, put into words in the reader's language.
  message text NOT NULL,
  parameters jsonb NOT NULL DEFAULT '{}',
  link text,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, notification_id)
);
CREATE INDEX notifications_partner ON notifications (partner_id);
SELECT sc_protect('notifications', 'SELECT, INSERT', 'INSERT');
