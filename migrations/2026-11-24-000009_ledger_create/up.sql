-- The double-entry ledger. A journal is what one operation did to money; its entries sum to zero in every currency,
-- which is checked when the transaction commits. Nothing is ever changed or taken away: a mistake is reversed by
-- another journal. Balances are sums of entries, never columns.
CREATE TABLE journals (
  tenant_id text NOT NULL REFERENCES tenants,
  journal_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  -- What made it, e.g. `invoice.finalize:<id>`: the same operation cannot post twice.
  operation_key text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('invoice', 'credit_note', 'payment', 'refund', 'write_off', 'credit_move', 'payment_reversal', 'partner_cost')),
  invoice_id uuid,
  occurred_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, journal_id),
  UNIQUE (tenant_id, operation_key),
  FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices
);
CREATE INDEX journals_partner ON journals (partner_id, journal_id);
CREATE INDEX journals_invoice ON journals (tenant_id, invoice_id);
CREATE TRIGGER journals_append_only BEFORE UPDATE OR DELETE ON journals FOR EACH ROW EXECUTE FUNCTION sc_append_only();
SELECT sc_protect('journals', NULL, 'SELECT, INSERT');

CREATE TABLE ledger_entries (
  tenant_id text NOT NULL,
  journal_id uuid NOT NULL,
  entry_no smallint NOT NULL CHECK (entry_no >= 0),
  partner_id text NOT NULL REFERENCES partners,
  -- `receivable`, `revenue:<service>`, `vat:<country>:<rate>:<scheme>`, …: one chart for every partner.
  account text NOT NULL CHECK (account <> ''),
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  -- Debit positive, credit negative.
  amount_cents bigint NOT NULL CHECK (amount_cents <> 0),
  occurred_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, journal_id, entry_no),
  FOREIGN KEY (tenant_id, journal_id) REFERENCES journals
);
CREATE INDEX ledger_entries_account ON ledger_entries (partner_id, account, currency, occurred_at);
CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE ON ledger_entries FOR EACH ROW EXECUTE FUNCTION sc_append_only();
SELECT sc_protect('ledger_entries', NULL, 'SELECT, INSERT');

CREATE FUNCTION sc_journal_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  off record;
BEGIN
  SELECT currency, sum(amount_cents) AS amount INTO off FROM ledger_entries
    WHERE tenant_id = NEW.tenant_id AND journal_id = NEW.journal_id GROUP BY currency HAVING sum(amount_cents) <> 0 LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'journal % does not balance: % %', NEW.journal_id, off.amount, off.currency USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_entries_balanced AFTER INSERT ON ledger_entries DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION sc_journal_balanced();
