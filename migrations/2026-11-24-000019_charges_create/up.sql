-- One-off charges of services, who has read which notification, and the history of the platform's settings.

-- A charge that a service makes on a tenant. What bills it is its row in `billed_items`, and the trigger below keeps its
-- state what that row says, whoever changes it.
CREATE TABLE service_charges (
  tenant_id text NOT NULL REFERENCES tenants,
  charge_id uuid NOT NULL,
  -- The partner that sells the service to the tenant.
  partner_id text NOT NULL REFERENCES partners,
  service_id uuid NOT NULL REFERENCES services,
  description text NOT NULL,
  quantity numeric(28, 10) NOT NULL CHECK (quantity > 0),
  unit_price_cents numeric(28, 10) NOT NULL CHECK (unit_price_cents >= 0),
  amount_cents bigint NOT NULL CHECK (amount_cents >= 0),
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  tax_rate numeric(6, 3) CHECK (tax_rate >= 0),
  occurred_at timestamptz NOT NULL,
  external_reference text NOT NULL,
  status text NOT NULL CHECK (status IN ('pending', 'invoiced', 'withdrawn')),
  -- The document that it stands on, a draft included.
  invoice_id uuid,
  withdrawn_at timestamptz,
  created_at timestamptz NOT NULL,
  -- When the service itself last changed it.
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, charge_id),
  CHECK ((status = 'withdrawn') = (withdrawn_at IS NOT NULL)),
  CHECK (invoice_id IS NULL OR status = 'invoiced')
);
CREATE INDEX service_charges_list ON service_charges (service_id, charge_id DESC);
CREATE INDEX service_charges_status ON service_charges (service_id, status, charge_id DESC);
CREATE INDEX service_charges_tenant ON service_charges (tenant_id, service_id, charge_id DESC);
-- What counts against the limit of a day.
CREATE INDEX service_charges_day ON service_charges (tenant_id, service_id, created_at);
CREATE INDEX service_charges_partner ON service_charges (partner_id);
SELECT sc_protect('service_charges', 'SELECT', 'SELECT', 'SELECT, INSERT, UPDATE');

-- A service's own ids of its charges, unique over all its tenants, so they have a table of their own.
CREATE TABLE service_charge_references (
  service_id uuid NOT NULL REFERENCES services,
  external_reference text NOT NULL,
  tenant_id text NOT NULL,
  charge_id uuid NOT NULL,
  PRIMARY KEY (service_id, external_reference)
);
CREATE INDEX service_charge_references_tenant ON service_charge_references (tenant_id, charge_id);
CREATE TRIGGER service_charge_references_append_only BEFORE UPDATE OR DELETE ON service_charge_references
  FOR EACH ROW EXECUTE FUNCTION sc_append_only();
SELECT sc_protect('service_charge_references', NULL, NULL, 'SELECT, INSERT');

-- A charge is what its newest item is: due is pending; on a document, waived or billed as nothing is invoiced.
CREATE FUNCTION sc_charge_follows() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE service_charges SET status = CASE NEW.status WHEN 'due' THEN 'pending' ELSE 'invoiced' END, invoice_id = NEW.invoice_id
    WHERE tenant_id = NEW.tenant_id AND charge_id = NEW.source_id AND status <> 'withdrawn';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'charge % cannot be billed', NEW.source_id USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
SELECT sc_definer('sc_charge_follows()', 'sc_platform');
CREATE TRIGGER billed_items_charge AFTER INSERT OR UPDATE OF status, invoice_id ON billed_items
  FOR EACH ROW WHEN (NEW.source_type = 'charge') EXECUTE FUNCTION sc_charge_follows();

-- A service sees no items. These two put one there for a charge of the calling service, and take it away again.
CREATE FUNCTION sc_charge_due(p_tenant_id text, p_charge_id uuid, p_billed_item_id uuid, p_due_at timestamptz, p_run_date date)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  INSERT INTO billed_items (tenant_id, billed_item_id, partner_id, source_type, source_id, period_start, kind, revision, currency,
    due_at, run_date, own_invoice, floats, status, created_at)
  SELECT c.tenant_id, p_billed_item_id, c.partner_id, 'charge', c.charge_id, c.occurred_at, 'charge', 0, c.currency,
    p_due_at, p_run_date, false, true, 'due', c.created_at
  FROM service_charges c WHERE c.tenant_id = p_tenant_id AND c.charge_id = p_charge_id
    AND c.service_id = (SELECT NULLIF(current_setting('app.service_id', true), '')::uuid)
$$;
SELECT sc_definer('sc_charge_due(text, uuid, uuid, timestamptz, date)', 'sc_service');

-- Answers whether there was one that waited; a run that is billing it at this moment is waited for.
CREATE FUNCTION sc_charge_withdraw(p_tenant_id text, p_charge_id uuid)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  DELETE FROM billed_items i USING service_charges c
  WHERE c.tenant_id = p_tenant_id AND c.charge_id = p_charge_id
    AND c.service_id = (SELECT NULLIF(current_setting('app.service_id', true), '')::uuid)
    AND i.tenant_id = c.tenant_id AND i.source_type = 'charge' AND i.source_id = c.charge_id AND i.status = 'due';
  RETURN FOUND;
END $$;
SELECT sc_definer('sc_charge_withdraw(text, uuid)', 'sc_service');

-- A tenant's documents by the time they were issued.
CREATE INDEX invoices_finalized ON invoices (tenant_id, finalized_at DESC, invoice_id DESC) WHERE number IS NOT NULL;

-- Who has read what: a row for each user, also of what is addressed to the whole tenant.
CREATE TABLE notification_reads (
  tenant_id text NOT NULL,
  user_id text NOT NULL,
  notification_id uuid NOT NULL,
  read_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, user_id, notification_id),
  FOREIGN KEY (tenant_id, notification_id) REFERENCES notifications ON DELETE CASCADE
);
CREATE INDEX notification_reads_notification ON notification_reads (tenant_id, notification_id);
SELECT sc_protect('notification_reads', 'SELECT, INSERT');
ALTER TABLE notifications DROP CONSTRAINT notifications_severity_check;
ALTER TABLE notifications ADD CONSTRAINT notifications_severity_check
  CHECK (severity IN ('info', 'success', 'warning', 'critical'));

-- Every version of the settings that was ever in force, and who saved it.
ALTER TABLE platform_settings ADD COLUMN updated_by text;
CREATE TABLE platform_settings_versions (
  version integer PRIMARY KEY CHECK (version > 0),
  data jsonb NOT NULL CHECK (jsonb_typeof(data) = 'object'),
  updated_at timestamptz NOT NULL,
  updated_by text
);
INSERT INTO platform_settings_versions (version, data, updated_at) SELECT version, data, updated_at FROM platform_settings;
CREATE TRIGGER platform_settings_versions_append_only BEFORE UPDATE OR DELETE ON platform_settings_versions
  FOR EACH ROW EXECUTE FUNCTION sc_append_only();
GRANT SELECT, INSERT ON platform_settings_versions TO sc_platform;

-- A partner's documents by the date they carry: what its statement adds up.
CREATE INDEX invoices_partner_issued ON invoices (partner_id, issue_date) WHERE number IS NOT NULL;
