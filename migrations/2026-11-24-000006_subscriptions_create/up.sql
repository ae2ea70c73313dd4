-- Tables of a tenant carry `tenant_id` in every key, so that they can be distributed by it.
CREATE TABLE billing_profiles (
  tenant_id text PRIMARY KEY REFERENCES tenants,
  partner_id text NOT NULL REFERENCES partners,
  company_name text NOT NULL,
  address_line1 text NOT NULL,
  address_line2 text,
  postal_code text NOT NULL,
  city text NOT NULL,
  state text,
  country_code text NOT NULL CHECK (country_code ~ '^[A-Z]{2}$'),
  vat_number text,
  tax_exempt boolean NOT NULL DEFAULT false,
  tax_exempt_reason text,
  contact_email text,
  phone text,
  is_business boolean NOT NULL,
  peppol_id text,
  peppol_scheme text,
  leitweg_id text,
  preferred_einvoice_format text CHECK (preferred_einvoice_format IN ('ubl', 'xrechnung', 'cii', 'zugferd', 'facturx')),
  preferred_language text CHECK (preferred_language IN ('en', 'nl', 'de', 'fr', 'es', 'it')),
  invoice_template_name text,
  email_template_name text,
  buyer_reference text,
  vat_number_status text NOT NULL DEFAULT 'unchecked' CHECK (vat_number_status IN ('unchecked', 'valid', 'invalid', 'unavailable')),
  -- The last answer of the VAT registry, and when it was given.
  vat_number_checked_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  CHECK (NOT tax_exempt OR tax_exempt_reason IS NOT NULL)
);
CREATE INDEX billing_profiles_partner ON billing_profiles (partner_id, tenant_id);
SELECT sc_protect('billing_profiles', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE');

CREATE TABLE subscriptions (
  tenant_id text NOT NULL REFERENCES tenants,
  subscription_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  service_id uuid NOT NULL REFERENCES services,
  plan_id uuid NOT NULL REFERENCES plans,
  quantity integer NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
  status text NOT NULL CHECK (status IN ('pending', 'trialing', 'active', 'past_due', 'cancelling', 'suspended', 'cancelled', 'expired')),
  billing_period text NOT NULL CHECK (billing_period IN ('monthly', 'quarterly', 'yearly', 'one_time')),
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  mrr_amount_cents bigint NOT NULL CHECK (mrr_amount_cents >= 0),
  -- The boundaries of what is billed now. `current_period_end` is null for one_time plans and while pending.
  current_period_start timestamptz,
  current_period_end timestamptz,
  trial_ends_at timestamptz,
  activated_at timestamptz,
  -- Local date of activation in `timezone`: every later boundary is computed from it, never from the one before.
  anchor_date date,
  -- The instant at which the first period from this anchor starts; later ones start at local midnights.
  anchored_at timestamptz,
  timezone text NOT NULL,
  pending_cancellation_at timestamptz,
  pending_plan_id uuid REFERENCES plans,
  pending_quantity integer CHECK (pending_quantity BETWEEN 1 AND 1000000),
  ends_at timestamptz,
  past_due_since timestamptz,
  suspended_at timestamptz,
  suspension_reason text CHECK (suspension_reason IN ('dunning', 'admin')),
  cancelled_at timestamptz,
  cancellation_reason text,
  pack_subscription_id uuid,
  metadata jsonb NOT NULL DEFAULT '{}',
  event_sequence bigint NOT NULL DEFAULT 0,
  -- End of the newest segment; null while pending.
  usage_until timestamptz,
  -- The earliest instant at which something happens by itself (trial end, renewal, next usage month, end); null when
  -- nothing will. What the billing run looks for.
  next_event_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, subscription_id),
  CHECK ((status = 'suspended') = (suspended_at IS NOT NULL AND suspension_reason IS NOT NULL)),
  CHECK (current_period_end IS NULL OR current_period_end > current_period_start),
  CHECK (activated_at IS NULL OR anchor_date IS NOT NULL),
  CHECK ((anchor_date IS NULL) = (anchored_at IS NULL)),
  CHECK (status NOT IN ('active', 'past_due', 'cancelling') OR activated_at IS NOT NULL)
);
-- One live subscription of a tenant for a service.
CREATE UNIQUE INDEX subscriptions_live ON subscriptions (tenant_id, service_id) WHERE status NOT IN ('cancelled', 'expired');
CREATE INDEX subscriptions_partner ON subscriptions (partner_id, subscription_id);
CREATE INDEX subscriptions_service ON subscriptions (service_id, tenant_id);
CREATE INDEX subscriptions_next_event ON subscriptions (next_event_at) WHERE next_event_at IS NOT NULL;
SELECT sc_protect('subscriptions', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE', 'SELECT');

-- The periods that the base price is billed for: they tile the time from activation on, without gap or overlap.
CREATE TABLE subscription_periods (
  tenant_id text NOT NULL,
  period_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  subscription_id uuid NOT NULL,
  ordinal integer NOT NULL CHECK (ordinal >= 0),
  starts_at timestamptz NOT NULL,
  ends_at timestamptz CHECK (ends_at > starts_at),
  plan_id uuid NOT NULL,
  plan_version integer NOT NULL,
  quantity integer NOT NULL CHECK (quantity > 0),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, period_id),
  UNIQUE (tenant_id, subscription_id, starts_at),
  FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions,
  FOREIGN KEY (plan_id, plan_version) REFERENCES plan_versions
);
CREATE INDEX subscription_periods_partner ON subscription_periods (partner_id);
SELECT sc_protect('subscription_periods', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE');

-- One subscription, one plan version, one usage month: what usage is counted in and priced by. Segments of a
-- subscription tile its time like the periods do.
CREATE TABLE segments (
  tenant_id text NOT NULL,
  segment_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  subscription_id uuid NOT NULL,
  service_id uuid NOT NULL REFERENCES services,
  plan_id uuid NOT NULL,
  plan_version integer NOT NULL,
  -- The whole usage month, which an immediate plan change cuts into several segments; quotas count in it.
  month_starts_at timestamptz NOT NULL,
  month_ends_at timestamptz NOT NULL,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL CHECK (ends_at > starts_at),
  is_trial boolean NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, segment_id),
  UNIQUE (tenant_id, subscription_id, starts_at),
  CHECK (starts_at >= month_starts_at AND ends_at <= month_ends_at),
  FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions,
  FOREIGN KEY (plan_id, plan_version) REFERENCES plan_versions
);
CREATE INDEX segments_service ON segments (tenant_id, service_id, starts_at);
CREATE INDEX segments_partner ON segments (partner_id);
CREATE INDEX segments_end ON segments (ends_at, tenant_id);
SELECT sc_protect('segments', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE', 'SELECT');
