-- Drafts that the billing run has made and that are still to be issued and sent: the run that made them does it at once,
-- and when it was cut off, or was refused, a later one tries again. A draft written by hand is never in here.
CREATE TABLE run_drafts (
  tenant_id text NOT NULL,
  invoice_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  try_at timestamptz NOT NULL,
  -- Tries that were refused, and why the last one was.
  attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  problem text,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, invoice_id),
  FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices ON DELETE CASCADE,
  CHECK ((attempts = 0) = (problem IS NULL))
);
CREATE INDEX run_drafts_try ON run_drafts (try_at, tenant_id, invoice_id);
CREATE INDEX run_drafts_partner ON run_drafts (partner_id);
SELECT sc_protect('run_drafts', NULL, 'SELECT, INSERT, UPDATE, DELETE');

-- What the run leaves out because it would run away, until somebody has looked at it; it looks again by itself at `try_at`.
CREATE TABLE billing_parked (
  tenant_id text NOT NULL REFERENCES tenants,
  partner_id text NOT NULL REFERENCES partners,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  reason text NOT NULL CHECK (reason IN ('too_many_lines', 'too_many_periods', 'amount_overflow')),
  message text NOT NULL,
  try_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, partner_id, currency)
);
CREATE INDEX billing_parked_try ON billing_parked (try_at);
CREATE INDEX billing_parked_partner ON billing_parked (partner_id);
SELECT sc_protect('billing_parked', NULL, 'SELECT, INSERT, UPDATE, DELETE');

-- Since when the usage of a segment is billed. Set under the lock that counting usage respects, so that an event is either
-- in what is billed or sees this and leaves a mark.
ALTER TABLE segments ADD COLUMN billed_at timestamptz;

-- Segments that usage was counted in after they had been billed; the next run makes a correction of each.
CREATE TABLE late_usage (
  tenant_id text NOT NULL,
  segment_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  marked_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, segment_id),
  FOREIGN KEY (tenant_id, segment_id) REFERENCES segments
);
CREATE INDEX late_usage_partner ON late_usage (partner_id);
SELECT sc_protect('late_usage', NULL, 'SELECT, DELETE');

-- When workers that work once a night did so last, by the business clock.
CREATE TABLE worker_state (
  worker text PRIMARY KEY,
  last_run_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON worker_state TO sc_platform;

-- What is due is walked in this order, a page at a time.
DROP INDEX billed_items_due;
CREATE INDEX billed_items_due ON billed_items (due_at, billed_item_id) WHERE status = 'due';
DROP INDEX subscriptions_next_event;
CREATE INDEX subscriptions_next_event ON subscriptions (next_event_at, subscription_id) WHERE next_event_at IS NOT NULL;
