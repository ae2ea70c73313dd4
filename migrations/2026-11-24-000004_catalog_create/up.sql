-- What is on offer. Reference tables: small, read by everybody, written by the platform.
CREATE TABLE services (
  service_id uuid PRIMARY KEY,
  slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
  name text NOT NULL,
  description text,
  category text,
  icon_url text,
  version text,
  app_id text,
  -- The service account that registered the slug; only it (or a key of the service) may act for the service.
  client_id text UNIQUE,
  base_url text,
  health_check_url text,
  capabilities jsonb NOT NULL DEFAULT '[]',
  endpoints jsonb NOT NULL DEFAULT '{}',
  provisioning jsonb,
  status text NOT NULL CHECK (status IN ('pending', 'active', 'degraded', 'suspended', 'deregistered')),
  -- Null for a service that an administrator entered and that has never registered itself.
  health_status text CHECK (health_status IN ('healthy', 'degraded', 'unreachable')),
  heartbeat_interval_seconds integer CHECK (heartbeat_interval_seconds > 0),
  last_heartbeat_at timestamptz,
  missed_heartbeats integer NOT NULL DEFAULT 0 CHECK (missed_heartbeats >= 0),
  -- A new host waits here until it is approved; the old one stays in use.
  pending_base_url text,
  pending_health_check_url text,
  registration_version integer NOT NULL DEFAULT 0 CHECK (registration_version >= 0),
  registered_at timestamptz,
  approved_at timestamptz,
  suspended_at timestamptz,
  suspension_reason text,
  is_active boolean NOT NULL DEFAULT true,
  is_public boolean NOT NULL DEFAULT true,
  sort_order integer NOT NULL DEFAULT 0,
  metadata jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
SELECT sc_protect('services', 'SELECT', 'SELECT', 'SELECT', reference => true);

CREATE TABLE service_keys (
  key_id text PRIMARY KEY CHECK (key_id ~ '^[a-z0-9]{8,32}$'),
  service_id uuid NOT NULL REFERENCES services,
  secret_sha256 bytea NOT NULL CHECK (octet_length(secret_sha256) = 32),
  created_at timestamptz NOT NULL,
  -- Set by a rotation: the old key works until then.
  expires_at timestamptz
);
CREATE INDEX service_keys_service ON service_keys (service_id);
SELECT sc_protect('service_keys');

CREATE TABLE metrics (
  metric_id uuid PRIMARY KEY,
  service_id uuid NOT NULL REFERENCES services,
  slug text NOT NULL CHECK (slug ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
  name text NOT NULL,
  unit text NOT NULL,
  aggregation text NOT NULL CHECK (aggregation IN ('sum', 'max', 'last', 'unique_count')),
  created_at timestamptz NOT NULL,
  UNIQUE (service_id, slug)
);
SELECT sc_protect('metrics', 'SELECT', 'SELECT', 'SELECT', reference => true);

CREATE TABLE plans (
  plan_id uuid PRIMARY KEY,
  service_id uuid NOT NULL REFERENCES services,
  slug text NOT NULL CHECK (slug ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
  name text NOT NULL,
  description text,
  tier text,
  billing_period text NOT NULL CHECK (billing_period IN ('monthly', 'quarterly', 'yearly', 'one_time')),
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  features jsonb NOT NULL DEFAULT '{"items": [], "unit": null}',
  -- metric slug → limit; 0 or absent is unlimited. Applies at once, so it is not versioned.
  quotas jsonb NOT NULL DEFAULT '{}',
  is_active boolean NOT NULL DEFAULT true,
  is_public boolean NOT NULL DEFAULT true,
  trial_days integer NOT NULL DEFAULT 0 CHECK (trial_days BETWEEN 0 AND 3650),
  sort_order integer NOT NULL DEFAULT 0,
  metadata jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  UNIQUE (service_id, slug)
);
SELECT sc_protect('plans', 'SELECT', 'SELECT', 'SELECT', reference => true);

-- What a plan costs, from when on. A period or a segment is priced by the version in force at its start, so a new
-- price never touches what has begun.
CREATE TABLE plan_versions (
  plan_id uuid NOT NULL REFERENCES plans,
  version integer NOT NULL CHECK (version > 0),
  valid_from timestamptz NOT NULL,
  base_price_cents bigint NOT NULL CHECK (base_price_cents >= 0),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (plan_id, version)
);
CREATE INDEX plan_versions_valid ON plan_versions (plan_id, valid_from DESC, version DESC);
CREATE TRIGGER plan_versions_append_only BEFORE UPDATE OR DELETE ON plan_versions FOR EACH ROW EXECUTE FUNCTION sc_append_only();
GRANT SELECT ON plan_versions TO sc_tenant, sc_partner, sc_service, sc_public, sc_platform;
GRANT INSERT ON plan_versions TO sc_platform;

CREATE TABLE pricing_tiers (
  plan_id uuid NOT NULL,
  version integer NOT NULL,
  metric_slug text NOT NULL,
  position integer NOT NULL CHECK (position >= 0),
  pricing_model text NOT NULL CHECK (pricing_model IN ('graduated', 'volume', 'package')),
  tier_start numeric(28, 10) NOT NULL CHECK (tier_start >= 0),
  tier_end numeric(28, 10) CHECK (tier_end > tier_start),
  unit_price_cents numeric(28, 10) NOT NULL CHECK (unit_price_cents >= 0),
  unit_label text NOT NULL,
  unit_divisor numeric(28, 10) NOT NULL CHECK (unit_divisor > 0),
  flat_fee_cents bigint NOT NULL DEFAULT 0 CHECK (flat_fee_cents >= 0),
  minimum_cents bigint NOT NULL DEFAULT 0 CHECK (minimum_cents >= 0),
  PRIMARY KEY (plan_id, version, metric_slug, position),
  FOREIGN KEY (plan_id, version) REFERENCES plan_versions
);
CREATE TRIGGER pricing_tiers_append_only BEFORE UPDATE OR DELETE ON pricing_tiers FOR EACH ROW EXECUTE FUNCTION sc_append_only();
GRANT SELECT ON pricing_tiers TO sc_tenant, sc_partner, sc_service, sc_public, sc_platform;
GRANT INSERT ON pricing_tiers TO sc_platform;

-- With `catalog.public` anybody may read what is on show, and nothing else.
GRANT SELECT ON services, metrics, plans TO sc_public;
CREATE POLICY sc_public ON services TO sc_public USING (is_active AND is_public AND status IN ('active', 'degraded'));
CREATE POLICY sc_public ON plans TO sc_public USING (is_active AND is_public);
CREATE POLICY sc_public ON metrics TO sc_public USING (true);
