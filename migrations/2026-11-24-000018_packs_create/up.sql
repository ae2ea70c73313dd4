-- Packs: plans of several services at one price, and the subscriptions to them.

-- What is on offer. A reference table; a tenant sees what it may subscribe to.
CREATE TABLE service_packs (
  pack_id uuid PRIMARY KEY,
  slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
  name text NOT NULL CHECK (name <> ''),
  description text,
  icon_url text,
  billing_period text NOT NULL CHECK (billing_period IN ('monthly', 'quarterly', 'yearly', 'one_time')),
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  trial_days integer NOT NULL DEFAULT 0 CHECK (trial_days BETWEEN 0 AND 365),
  features jsonb NOT NULL DEFAULT '{"items": [], "unit": null}',
  is_active boolean NOT NULL DEFAULT true,
  is_public boolean NOT NULL DEFAULT true,
  sort_order integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
SELECT sc_protect('service_packs', 'SELECT', 'SELECT', reference => true, tenant_filter => 'is_active AND is_public');

-- What a pack costs, from when on, and what is in it. A period is priced by a version that its subscriber had thirty days'
-- notice of; the items are those of the version that was in force when it subscribed.
CREATE TABLE pack_versions (
  pack_id uuid NOT NULL REFERENCES service_packs,
  version integer NOT NULL CHECK (version > 0),
  valid_from timestamptz NOT NULL,
  discount_type text NOT NULL CHECK (discount_type IN ('fixed_price', 'percentage')),
  base_price_cents bigint NOT NULL CHECK (base_price_cents >= 0),
  discount_percentage numeric(5, 2) NOT NULL CHECK (discount_percentage BETWEEN 0 AND 100),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (pack_id, version),
  CHECK (CASE discount_type WHEN 'fixed_price' THEN discount_percentage = 0 ELSE base_price_cents = 0 END)
);
CREATE INDEX pack_versions_valid ON pack_versions (pack_id, valid_from DESC, version DESC);
CREATE TRIGGER pack_versions_append_only BEFORE UPDATE OR DELETE ON pack_versions FOR EACH ROW EXECUTE FUNCTION sc_append_only();
-- A subscriber is billed by versions of a pack that is no longer on offer, too.
SELECT sc_protect('pack_versions', 'SELECT', 'SELECT', reference => true);

CREATE TABLE pack_items (
  pack_id uuid NOT NULL,
  version integer NOT NULL,
  position integer NOT NULL CHECK (position >= 0),
  service_id uuid NOT NULL REFERENCES services,
  plan_id uuid NOT NULL REFERENCES plans,
  -- Counts instead of the plan's price.
  override_price_cents bigint CHECK (override_price_cents >= 0),
  sort_order integer NOT NULL,
  PRIMARY KEY (pack_id, version, position),
  UNIQUE (pack_id, version, service_id),
  FOREIGN KEY (pack_id, version) REFERENCES pack_versions
);
CREATE TRIGGER pack_items_append_only BEFORE UPDATE OR DELETE ON pack_items FOR EACH ROW EXECUTE FUNCTION sc_append_only();
SELECT sc_protect('pack_items', 'SELECT', 'SELECT', reference => true);

-- A tenant's subscription to a pack. Its children are rows of `subscriptions`; they have its state and its time.
CREATE TABLE pack_subscriptions (
  tenant_id text NOT NULL REFERENCES tenants,
  pack_subscription_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  pack_id uuid NOT NULL REFERENCES service_packs,
  -- It never changes; here, since its tenant does not see a pack that is no longer on offer.
  pack_slug text NOT NULL,
  items_version integer NOT NULL,
  status text NOT NULL CHECK (status IN ('pending', 'trialing', 'active', 'past_due', 'cancelling', 'suspended', 'cancelled', 'expired')),
  billing_period text NOT NULL CHECK (billing_period IN ('monthly', 'quarterly', 'yearly', 'one_time')),
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  -- The price of a whole period, by the version that the current one is priced by.
  price_cents bigint NOT NULL CHECK (price_cents >= 0),
  -- What the children's amounts add up to.
  mrr_amount_cents bigint NOT NULL CHECK (mrr_amount_cents >= 0),
  current_period_start timestamptz,
  current_period_end timestamptz,
  trial_ends_at timestamptz,
  activated_at timestamptz,
  anchor_date date,
  anchored_at timestamptz,
  timezone text NOT NULL,
  pending_cancellation_at timestamptz,
  past_due_since timestamptz,
  suspended_at timestamptz,
  suspension_reason text CHECK (suspension_reason IN ('dunning', 'admin')),
  cancelled_at timestamptz,
  cancellation_reason text,
  metadata jsonb NOT NULL DEFAULT '{}',
  event_sequence bigint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, pack_subscription_id),
  FOREIGN KEY (pack_id, items_version) REFERENCES pack_versions (pack_id, version),
  CHECK ((status = 'suspended') = (suspended_at IS NOT NULL AND suspension_reason IS NOT NULL)),
  CHECK (current_period_end IS NULL OR current_period_end > current_period_start),
  CHECK ((anchor_date IS NULL) = (anchored_at IS NULL)),
  CHECK (status NOT IN ('active', 'past_due', 'cancelling') OR activated_at IS NOT NULL)
);
CREATE INDEX pack_subscriptions_partner ON pack_subscriptions (partner_id, pack_subscription_id);
CREATE INDEX pack_subscriptions_live ON pack_subscriptions (pack_id) WHERE status NOT IN ('cancelled', 'expired');
SELECT sc_protect('pack_subscriptions', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE');

ALTER TABLE subscriptions ADD CONSTRAINT subscriptions_pack FOREIGN KEY (tenant_id, pack_subscription_id) REFERENCES pack_subscriptions;
CREATE INDEX subscriptions_of_pack ON subscriptions (tenant_id, pack_subscription_id) WHERE pack_subscription_id IS NOT NULL;

-- The periods that the price of a pack is billed for. What its items were priced by stands with the children's periods.
CREATE TABLE pack_periods (
  tenant_id text NOT NULL,
  period_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  pack_subscription_id uuid NOT NULL,
  ordinal integer NOT NULL CHECK (ordinal >= 0),
  starts_at timestamptz NOT NULL,
  ends_at timestamptz CHECK (ends_at > starts_at),
  pack_id uuid NOT NULL,
  pack_version integer NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, period_id),
  UNIQUE (tenant_id, pack_subscription_id, starts_at),
  FOREIGN KEY (tenant_id, pack_subscription_id) REFERENCES pack_subscriptions,
  FOREIGN KEY (pack_id, pack_version) REFERENCES pack_versions (pack_id, version)
);
CREATE INDEX pack_periods_partner ON pack_periods (partner_id);
SELECT sc_protect('pack_periods', 'SELECT, INSERT', 'SELECT, INSERT');

-- How the one line of a pack is divided over the services in it: what each of them earned, and what the partner owes the
-- platform for it. Written when a document is issued, for a credit note with its signs.
CREATE TABLE invoice_line_parts (
  tenant_id text NOT NULL,
  line_item_id uuid NOT NULL,
  position integer NOT NULL CHECK (position >= 0),
  partner_id text NOT NULL REFERENCES partners,
  invoice_id uuid NOT NULL,
  service_slug text NOT NULL,
  plan_key text NOT NULL,
  amount_cents bigint NOT NULL,
  cost_cents bigint NOT NULL,
  PRIMARY KEY (tenant_id, line_item_id, position),
  FOREIGN KEY (tenant_id, line_item_id) REFERENCES invoice_lines,
  FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices
);
CREATE INDEX invoice_line_parts_invoice ON invoice_line_parts (tenant_id, invoice_id);
CREATE INDEX invoice_line_parts_partner ON invoice_line_parts (partner_id);
CREATE TRIGGER invoice_line_parts_append_only BEFORE UPDATE OR DELETE ON invoice_line_parts FOR EACH ROW EXECUTE FUNCTION sc_append_only();
SELECT sc_protect('invoice_line_parts', NULL, 'SELECT, INSERT');
