-- A period row is a stretch of time with one plan version and one quantity. A plan change cuts the billing period into
-- several: `ends_at` then moves, what was charged for the row does not.
ALTER TABLE subscription_periods ADD COLUMN billed_until timestamptz;
ALTER TABLE subscription_periods ADD COLUMN whole_starts_at timestamptz;
ALTER TABLE subscription_periods ADD COLUMN whole_ends_at timestamptz;
-- Row-level security binds the owner too, but for this statement.
ALTER TABLE subscription_periods NO FORCE ROW LEVEL SECURITY;
UPDATE subscription_periods SET billed_until = ends_at, whole_starts_at = starts_at, whole_ends_at = ends_at;
ALTER TABLE subscription_periods FORCE ROW LEVEL SECURITY;
-- Until when the row was charged for; null for a one_time plan.
ALTER TABLE subscription_periods ADD CONSTRAINT subscription_periods_billed CHECK (billed_until >= ends_at);
-- The whole billing period that the plan's price is for: what is charged is the row's share of it, by seconds.
ALTER TABLE subscription_periods ALTER COLUMN whole_starts_at SET NOT NULL;
ALTER TABLE subscription_periods ADD CONSTRAINT subscription_periods_whole
  CHECK (whole_starts_at <= starts_at AND (whole_ends_at IS NULL) = (billed_until IS NULL) AND billed_until <= whole_ends_at);

-- What is given back when a period is cut, by a plan change or a cancellation: the unused share of what had been billed
-- for it. The item of kind `proration` of the same subscription and instant bills it.
CREATE TABLE period_credits (
  tenant_id text NOT NULL,
  subscription_id uuid NOT NULL,
  -- The instant of the cut.
  at timestamptz NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  -- The period that was cut, and what had billed it.
  period_id uuid NOT NULL,
  billed_item_id uuid NOT NULL,
  -- What had been billed for it then, less what had been credited of that.
  billed_cents bigint NOT NULL CHECK (billed_cents > 0),
  -- The unused share.
  seconds bigint NOT NULL CHECK (seconds > 0),
  of_seconds bigint NOT NULL CHECK (of_seconds >= seconds),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, subscription_id, at),
  FOREIGN KEY (tenant_id, period_id) REFERENCES subscription_periods,
  FOREIGN KEY (tenant_id, billed_item_id) REFERENCES billed_items
);
CREATE INDEX period_credits_partner ON period_credits (partner_id);
CREATE TRIGGER period_credits_append_only BEFORE UPDATE OR DELETE ON period_credits
  FOR EACH ROW EXECUTE FUNCTION sc_append_only();
SELECT sc_protect('period_credits', 'SELECT, INSERT', 'SELECT, INSERT');

-- Not only a credit note takes lines back: a credit line on a later invoice does, and what does not fit on the credit note
-- of its invoice is passed on to an earlier one. So one line may take several back, and one that is taken back itself takes
-- so much less back.
ALTER TABLE credit_note_lines DROP CONSTRAINT credit_note_lines_pkey;
ALTER TABLE credit_note_lines ADD CONSTRAINT credit_note_lines_pkey PRIMARY KEY (tenant_id, line_item_id, credited_line_item_id);
CREATE VIEW sc_taken_back WITH (security_invoker = true) AS
  SELECT tenant_id, line_item_id, credit_note_id, invoice_id, credited_line_item_id, net_cents, tax_cents, cost_cents FROM credit_note_lines
  UNION ALL
  SELECT c.tenant_id, c.line_item_id, c.credit_note_id, c.invoice_id, c.credited_line_item_id, r.net_cents, r.tax_cents, r.cost_cents
  FROM credit_note_lines c JOIN credit_note_lines r ON r.tenant_id = c.tenant_id AND r.credited_line_item_id = c.line_item_id;
GRANT SELECT ON sc_taken_back TO sc_partner, sc_platform;

CREATE OR REPLACE FUNCTION sc_credit_within_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  line bigint;
  credited numeric;
BEGIN
  SELECT amount_cents INTO line FROM invoice_lines
    WHERE tenant_id = NEW.tenant_id AND line_item_id = NEW.credited_line_item_id AND invoice_id = NEW.invoice_id;
  SELECT sum(net_cents) INTO credited FROM sc_taken_back
    WHERE tenant_id = NEW.tenant_id AND credited_line_item_id = NEW.credited_line_item_id;
  IF line IS NULL OR NOT credited BETWEEN least(line, 0) AND greatest(line, 0) THEN
    RAISE EXCEPTION 'line % of % cannot be credited with %', NEW.credited_line_item_id, line, credited USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;

-- A tenant that ends a one_time plan brings the bill for its usage forward.
GRANT UPDATE (due_at, run_date) ON billed_items TO sc_tenant;
