ALTER TABLE idempotency_keys ALTER COLUMN response SET COMPRESSION default;
ALTER TABLE invoice_originals ALTER COLUMN content SET COMPRESSION default;
ALTER TABLE invoice_lines ALTER COLUMN explanation SET COMPRESSION default;
ALTER TABLE audit_log ALTER COLUMN before SET COMPRESSION default, ALTER COLUMN after SET COMPRESSION default;

DROP TRIGGER invoice_lines_frozen_insert ON invoice_lines;
DROP TRIGGER invoice_lines_frozen_update_from ON invoice_lines;
DROP TRIGGER invoice_lines_frozen_update_to ON invoice_lines;
DROP TRIGGER invoice_lines_frozen_delete ON invoice_lines;
DROP FUNCTION sc_invoice_lines_frozen();
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
