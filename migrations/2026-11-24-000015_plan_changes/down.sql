REVOKE UPDATE (due_at, run_date) ON billed_items FROM sc_tenant;
CREATE OR REPLACE FUNCTION sc_credit_within_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  line bigint;
  credited numeric;
BEGIN
  SELECT amount_cents INTO line FROM invoice_lines
    WHERE tenant_id = NEW.tenant_id AND line_item_id = NEW.credited_line_item_id AND invoice_id = NEW.invoice_id;
  SELECT sum(net_cents) INTO credited FROM credit_note_lines
    WHERE tenant_id = NEW.tenant_id AND credited_line_item_id = NEW.credited_line_item_id;
  IF line IS NULL OR NOT credited BETWEEN least(line, 0) AND greatest(line, 0) THEN
    RAISE EXCEPTION 'line % of % cannot be credited with %', NEW.credited_line_item_id, line, credited USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
DROP VIEW sc_taken_back;
-- What was passed on has no place in the table as it was.
ALTER TABLE credit_note_lines DISABLE TRIGGER credit_note_lines_append_only;
DELETE FROM credit_note_lines c USING credit_note_lines d
  WHERE d.tenant_id = c.tenant_id AND d.line_item_id = c.line_item_id AND d.ctid > c.ctid;
ALTER TABLE credit_note_lines ENABLE TRIGGER credit_note_lines_append_only;
ALTER TABLE credit_note_lines DROP CONSTRAINT credit_note_lines_pkey;
ALTER TABLE credit_note_lines ADD CONSTRAINT credit_note_lines_pkey PRIMARY KEY (tenant_id, line_item_id);
DROP TABLE period_credits;
ALTER TABLE subscription_periods DROP CONSTRAINT subscription_periods_whole;
ALTER TABLE subscription_periods DROP CONSTRAINT subscription_periods_billed;
ALTER TABLE subscription_periods DROP COLUMN whole_ends_at;
ALTER TABLE subscription_periods DROP COLUMN whole_starts_at;
ALTER TABLE subscription_periods DROP COLUMN billed_until;
