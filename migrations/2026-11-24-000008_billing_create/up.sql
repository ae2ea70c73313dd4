-- Invoices and credit notes. A draft has no number; from its number on a document never changes.
CREATE TABLE invoices (
  tenant_id text NOT NULL REFERENCES tenants,
  invoice_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  document_type text NOT NULL CHECK (document_type IN ('invoice', 'credit_note')),
  number text,
  status text NOT NULL CHECK (status IN ('draft', 'finalized', 'sent', 'past_due', 'paid', 'void')),
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  issue_date date,
  due_date date,
  tax_point_date date,
  -- First and last local day that is billed.
  period_start date,
  period_end date,
  subtotal_cents bigint NOT NULL DEFAULT 0,
  tax_cents bigint NOT NULL DEFAULT 0,
  total_cents bigint NOT NULL DEFAULT 0,
  paid_cents bigint NOT NULL DEFAULT 0,
  credited_cents bigint NOT NULL DEFAULT 0,
  due_cents bigint NOT NULL DEFAULT 0,
  buyer_snapshot jsonb,
  seller_snapshot jsonb,
  vat_details jsonb,
  notes text,
  referenced_invoice_id uuid,
  -- Local date (partner's timezone) on which what it bills fell due: what falls due together is billed together.
  -- Null on drafts made by hand.
  run_date date,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  finalized_at timestamptz,
  sent_at timestamptz,
  paid_at timestamptz,
  voided_at timestamptz,
  payment_reversed_at timestamptz,
  PRIMARY KEY (tenant_id, invoice_id),
  FOREIGN KEY (tenant_id, referenced_invoice_id) REFERENCES invoices,
  CHECK (total_cents = subtotal_cents + tax_cents),
  CHECK (total_cents = paid_cents + credited_cents + due_cents),
  CHECK (status IN ('draft', 'void') OR number IS NOT NULL),
  CHECK (status <> 'draft' OR number IS NULL),
  CHECK ((number IS NULL) = (finalized_at IS NULL)),
  CHECK (number IS NULL OR (issue_date IS NOT NULL AND due_date IS NOT NULL AND buyer_snapshot IS NOT NULL AND seller_snapshot IS NOT NULL AND vat_details IS NOT NULL)),
  CHECK ((status = 'void') = (voided_at IS NOT NULL))
);
CREATE INDEX invoices_list ON invoices (invoice_id DESC);
CREATE INDEX invoices_tenant ON invoices (tenant_id, invoice_id DESC);
-- A tenant's own list goes by issue date.
CREATE INDEX invoices_issued ON invoices (tenant_id, issue_date DESC, invoice_id DESC) WHERE number IS NOT NULL;
CREATE INDEX invoices_partner ON invoices (partner_id, invoice_id DESC);
CREATE INDEX invoices_status ON invoices (status, invoice_id DESC) WHERE status IN ('draft', 'past_due', 'void');
CREATE INDEX invoices_open ON invoices (tenant_id, due_date) WHERE due_cents > 0 AND number IS NOT NULL;
-- For a tenant a document without a number does not exist.
SELECT sc_protect('invoices', 'SELECT', 'SELECT, INSERT, UPDATE, DELETE', tenant_filter => 'number IS NOT NULL');

CREATE TABLE invoice_lines (
  tenant_id text NOT NULL,
  line_item_id uuid NOT NULL,
  invoice_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  order_index integer NOT NULL CHECK (order_index >= 0),
  kind text NOT NULL CHECK (kind IN ('base', 'usage', 'minimum', 'charge', 'correction', 'proration', 'pack', 'manual')),
  description text NOT NULL,
  quantity numeric(28, 10) NOT NULL,
  unit_label text,
  unit_price_cents numeric(28, 10) NOT NULL CHECK (unit_price_cents >= 0),
  unit_divisor numeric(28, 10) NOT NULL DEFAULT 1 CHECK (unit_divisor > 0),
  amount_cents bigint NOT NULL,
  -- What the caller asked for; `tax_rate` and `tax_category` are what was decided.
  requested_tax_rate numeric(6, 3),
  requested_tax_category text CHECK (requested_tax_category IN ('S', 'AE', 'G', 'E', 'Z', 'O')),
  tax_rate numeric(6, 3),
  tax_category text CHECK (tax_category IN ('S', 'AE', 'G', 'E', 'Z', 'O', 'K')),
  tax_cents bigint NOT NULL DEFAULT 0,
  -- The date whose VAT rate applies; null: the issue date.
  tax_date date,
  -- First and last local day that is billed.
  period_start date,
  period_end date,
  subscription_id uuid,
  service_id uuid,
  service_slug text,
  plan_key text,
  metric_slug text,
  billed_item_id uuid,
  explanation jsonb,
  -- What the partner owes the platform for it, decided when it is issued.
  platform_cost_cents bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, line_item_id),
  UNIQUE (tenant_id, invoice_id, order_index) DEFERRABLE INITIALLY DEFERRED,
  FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices ON DELETE CASCADE
);
CREATE INDEX invoice_lines_partner ON invoice_lines (partner_id);
SELECT sc_protect('invoice_lines', 'SELECT', 'SELECT, INSERT, UPDATE, DELETE');

-- From its number on a document is frozen: only what money and dispatch do to it may change.
CREATE FUNCTION sc_invoice_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.number IS NULL THEN
    IF TG_OP = 'DELETE' THEN RETURN OLD; ELSE RETURN NEW; END IF;
  END IF;
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'invoice % has a number and cannot be deleted', OLD.number USING ERRCODE = 'restrict_violation';
  END IF;
  IF (to_jsonb(NEW) - '{status,paid_cents,credited_cents,due_cents,sent_at,paid_at,voided_at,payment_reversed_at,updated_at}'::text[])
     IS DISTINCT FROM (to_jsonb(OLD) - '{status,paid_cents,credited_cents,due_cents,sent_at,paid_at,voided_at,payment_reversed_at,updated_at}'::text[]) THEN
    RAISE EXCEPTION 'invoice % has a number and cannot be changed', OLD.number USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER invoices_frozen BEFORE UPDATE OR DELETE ON invoices FOR EACH ROW EXECUTE FUNCTION sc_invoice_frozen();

CREATE FUNCTION sc_invoice_line_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  line invoice_lines;
BEGIN
  IF TG_OP = 'DELETE' THEN line := OLD; ELSE line := NEW; END IF;
  IF EXISTS (SELECT 1 FROM invoices i WHERE i.tenant_id = line.tenant_id AND i.invoice_id = line.invoice_id AND i.number IS NOT NULL) THEN
    RAISE EXCEPTION 'the lines of a numbered invoice cannot be changed' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN line;
END $$;
CREATE TRIGGER invoice_lines_frozen BEFORE INSERT OR UPDATE OR DELETE ON invoice_lines FOR EACH ROW EXECUTE FUNCTION sc_invoice_line_frozen();

-- What is due is rows. One for each thing that is billed once: the base price of a period, the usage of a segment.
-- `due` waits for the run; `invoiced` is on a document; `spent` made no line (all zero) or was waived.
CREATE TABLE billed_items (
  tenant_id text NOT NULL,
  billed_item_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  source_type text NOT NULL CHECK (source_type IN ('subscription', 'segment', 'charge', 'pack_subscription')),
  source_id uuid NOT NULL,
  period_start timestamptz NOT NULL,
  kind text NOT NULL CHECK (kind IN ('base', 'usage', 'correction', 'charge', 'proration', 'pack')),
  revision integer NOT NULL CHECK (revision >= 0),
  subscription_id uuid NOT NULL,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  -- When it may be billed, and the local date it is grouped by.
  due_at timestamptz NOT NULL,
  run_date date NOT NULL,
  -- An activation or an immediate plan change is invoiced by itself, whatever else falls due on that date.
  own_invoice boolean NOT NULL,
  status text NOT NULL CHECK (status IN ('due', 'invoiced', 'spent')),
  invoice_id uuid,
  waived boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, billed_item_id),
  UNIQUE (tenant_id, source_type, source_id, period_start, kind, revision),
  FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices,
  CHECK ((status = 'invoiced') = (invoice_id IS NOT NULL)),
  CHECK (NOT waived OR status = 'spent')
);
CREATE INDEX billed_items_due ON billed_items (due_at) WHERE status = 'due';
CREATE INDEX billed_items_due_tenant ON billed_items (tenant_id, due_at) WHERE status = 'due';
CREATE INDEX billed_items_invoice ON billed_items (tenant_id, invoice_id) WHERE invoice_id IS NOT NULL;
CREATE INDEX billed_items_partner ON billed_items (partner_id);
SELECT sc_protect('billed_items', 'SELECT, INSERT', 'SELECT, INSERT, UPDATE');

-- The next number of each series. The row is locked last in finalize and held until the commit: no gap, no double.
CREATE TABLE invoice_counters (
  partner_id text NOT NULL REFERENCES partners,
  series text NOT NULL CHECK (series IN ('invoice', 'credit_note')),
  year integer NOT NULL CHECK (year BETWEEN 2000 AND 9999),
  last_value bigint NOT NULL CHECK (last_value >= 0),
  PRIMARY KEY (partner_id, series, year)
);
SELECT sc_protect('invoice_counters', NULL, 'SELECT, INSERT, UPDATE');

-- Numbers are unique over all tenants of a seller, so they have a table of their own that is not a tenant's.
CREATE TABLE invoice_numbers (
  partner_id text NOT NULL REFERENCES partners,
  number text NOT NULL,
  series text NOT NULL CHECK (series IN ('invoice', 'credit_note')),
  year integer NOT NULL,
  value bigint NOT NULL CHECK (value > 0),
  tenant_id text NOT NULL,
  invoice_id uuid NOT NULL,
  PRIMARY KEY (partner_id, number),
  UNIQUE (partner_id, series, year, value)
);
CREATE INDEX invoice_numbers_tenant ON invoice_numbers (tenant_id, invoice_id);
CREATE TRIGGER invoice_numbers_append_only BEFORE UPDATE OR DELETE ON invoice_numbers FOR EACH ROW EXECUTE FUNCTION sc_append_only();
SELECT sc_protect('invoice_numbers', NULL, 'SELECT, INSERT');
