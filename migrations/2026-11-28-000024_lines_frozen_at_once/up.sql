-- That the lines of a numbered invoice stay as they are is asked once a statement, not once a row.
DROP TRIGGER invoice_lines_frozen ON invoice_lines;
DROP FUNCTION sc_invoice_line_frozen();

CREATE FUNCTION sc_invoice_lines_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- One look by the key for each, whatever the planner thinks of the table of what changed.
  IF EXISTS (
    SELECT 1 FROM (SELECT DISTINCT tenant_id, invoice_id FROM changed) AS c
    WHERE (SELECT i.number FROM invoices i WHERE i.tenant_id = c.tenant_id AND i.invoice_id = c.invoice_id) IS NOT NULL
  ) THEN
    RAISE EXCEPTION 'the lines of a numbered invoice cannot be changed' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER invoice_lines_frozen_insert AFTER INSERT ON invoice_lines
  REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION sc_invoice_lines_frozen();
CREATE TRIGGER invoice_lines_frozen_update_from AFTER UPDATE ON invoice_lines
  REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION sc_invoice_lines_frozen();
CREATE TRIGGER invoice_lines_frozen_update_to AFTER UPDATE ON invoice_lines
  REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION sc_invoice_lines_frozen();
CREATE TRIGGER invoice_lines_frozen_delete AFTER DELETE ON invoice_lines
  REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION sc_invoice_lines_frozen();

-- Long documents are packed by the faster method, where this PostgreSQL was built with it.
DO $$
BEGIN
  ALTER TABLE audit_log ALTER COLUMN before SET COMPRESSION lz4, ALTER COLUMN after SET COMPRESSION lz4;
  ALTER TABLE invoice_lines ALTER COLUMN explanation SET COMPRESSION lz4;
  ALTER TABLE invoice_originals ALTER COLUMN content SET COMPRESSION lz4;
  ALTER TABLE idempotency_keys ALTER COLUMN response SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
  NULL;
END $$;
