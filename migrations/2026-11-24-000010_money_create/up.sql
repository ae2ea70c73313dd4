-- What happens to the money of issued documents. Balances are sums of these rows and of the ledger's entries, never
-- columns of their own; `invoices.paid_cents` is checked against them.

-- One movement of money for an invoice, or the attempt at one. Credit that was applied and debts that were given up
-- stand here too: they settle an invoice without any money, so they have no account.
CREATE TABLE payments (
  tenant_id text NOT NULL REFERENCES tenants,
  payment_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  invoice_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('payment', 'refund')),
  status text NOT NULL CHECK (status IN ('created', 'pending', 'unknown', 'succeeded', 'failed', 'expired', 'reversed')),
  provider text NOT NULL CHECK (provider IN ('stripe', 'mollie', 'coinbase', 'manual')),
  -- The account at the provider that the money went through; `manual` for what came in outside of all of them.
  provider_account text,
  method_type text NOT NULL CHECK (method_type IN
    ('card', 'direct_debit', 'bank_transfer', 'wallet', 'crypto', 'cash', 'customer_credit', 'write_off', 'other')),
  payment_method_id uuid,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  -- Positive in either direction.
  amount_cents bigint NOT NULL CHECK (amount_cents > 0),
  -- The payment that a refund sends back.
  refunds_payment_id uuid,
  -- The provider's id of it, or what the bank statement says.
  reference text,
  reason text,
  failure_code text,
  failure_message text,
  -- Who entered it by hand.
  entered_by text,
  paid_at timestamptz,
  reversed_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, payment_id),
  FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices,
  FOREIGN KEY (tenant_id, refunds_payment_id) REFERENCES payments,
  CHECK ((kind = 'refund') = (refunds_payment_id IS NOT NULL)),
  CHECK ((method_type IN ('customer_credit', 'write_off')) = (provider_account IS NULL)),
  CHECK (provider_account IS NOT NULL OR (kind = 'payment' AND provider = 'manual' AND status = 'succeeded')),
  CHECK (provider <> 'manual' OR provider_account IS NULL OR provider_account = 'manual'),
  CHECK (status NOT IN ('succeeded', 'reversed') OR paid_at IS NOT NULL),
  CHECK ((status = 'reversed') = (reversed_at IS NOT NULL))
);
CREATE INDEX payments_list ON payments (payment_id DESC);
CREATE INDEX payments_partner ON payments (partner_id, payment_id DESC);
CREATE INDEX payments_invoice ON payments (tenant_id, invoice_id, payment_id);
CREATE INDEX payments_refunds ON payments (tenant_id, refunds_payment_id) WHERE refunds_payment_id IS NOT NULL;
-- An invoice is collected by one attempt at a time.
CREATE UNIQUE INDEX payments_open ON payments (tenant_id, invoice_id)
  WHERE kind = 'payment' AND status IN ('created', 'pending', 'unknown');
-- What a provider says twice is one payment.
CREATE UNIQUE INDEX payments_reference ON payments (provider_account, reference, kind) WHERE provider <> 'manual';
SELECT sc_protect('payments', 'SELECT', 'SELECT, INSERT, UPDATE');

-- How an attempt ends is written down; what it was for and how much never changes.
CREATE FUNCTION sc_payment_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' OR
     (to_jsonb(NEW) - '{status,reference,failure_code,failure_message,paid_at,reversed_at,updated_at}'::text[])
     IS DISTINCT FROM (to_jsonb(OLD) - '{status,reference,failure_code,failure_message,paid_at,reversed_at,updated_at}'::text[]) THEN
    RAISE EXCEPTION 'payment % cannot be changed', OLD.payment_id USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER payments_frozen BEFORE UPDATE OR DELETE ON payments FOR EACH ROW EXECUTE FUNCTION sc_payment_frozen();

-- What moved the paid amount of an invoice. Their sum is its `paid_cents`.
CREATE TABLE payment_allocations (
  tenant_id text NOT NULL,
  allocation_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  invoice_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('payment', 'refund', 'credit_applied', 'credit_moved', 'write_off', 'write_off_reversed')),
  payment_id uuid,
  -- The credit note that moved it.
  credit_note_id uuid,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  amount_cents bigint NOT NULL CHECK (amount_cents <> 0),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, allocation_id),
  FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices,
  FOREIGN KEY (tenant_id, payment_id) REFERENCES payments,
  FOREIGN KEY (tenant_id, credit_note_id) REFERENCES invoices,
  CHECK ((kind IN ('payment', 'credit_applied', 'write_off')) = (amount_cents > 0)),
  CHECK ((kind IN ('credit_moved', 'write_off_reversed')) = (payment_id IS NULL)),
  CHECK (kind NOT IN ('credit_moved', 'write_off_reversed') OR credit_note_id IS NOT NULL)
);
CREATE INDEX payment_allocations_invoice ON payment_allocations (tenant_id, invoice_id);
CREATE INDEX payment_allocations_partner ON payment_allocations (partner_id);
CREATE TRIGGER payment_allocations_append_only BEFORE UPDATE OR DELETE ON payment_allocations
  FOR EACH ROW EXECUTE FUNCTION sc_append_only();
SELECT sc_protect('payment_allocations', 'SELECT', 'SELECT, INSERT');

-- Which line of a credit note takes back which line of its invoice, and how much: with the sign of the invoice's line.
CREATE TABLE credit_note_lines (
  tenant_id text NOT NULL,
  -- The line of the credit note.
  line_item_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  credit_note_id uuid NOT NULL,
  invoice_id uuid NOT NULL,
  credited_line_item_id uuid NOT NULL,
  net_cents bigint NOT NULL,
  tax_cents bigint NOT NULL,
  -- The platform's part of the line that is given back with it.
  cost_cents bigint NOT NULL,
  PRIMARY KEY (tenant_id, line_item_id),
  UNIQUE (tenant_id, credit_note_id, credited_line_item_id),
  FOREIGN KEY (tenant_id, line_item_id) REFERENCES invoice_lines,
  FOREIGN KEY (tenant_id, credited_line_item_id) REFERENCES invoice_lines,
  FOREIGN KEY (tenant_id, credit_note_id) REFERENCES invoices,
  FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices,
  CHECK (net_cents <> 0 OR tax_cents <> 0)
);
CREATE INDEX credit_note_lines_invoice ON credit_note_lines (tenant_id, invoice_id);
CREATE INDEX credit_note_lines_credited ON credit_note_lines (tenant_id, credited_line_item_id);
CREATE INDEX credit_note_lines_partner ON credit_note_lines (partner_id);
CREATE TRIGGER credit_note_lines_append_only BEFORE UPDATE OR DELETE ON credit_note_lines
  FOR EACH ROW EXECUTE FUNCTION sc_append_only();
SELECT sc_protect('credit_note_lines', NULL, 'SELECT, INSERT');

-- No line is taken back beyond its amount, whoever writes.
CREATE FUNCTION sc_credit_within_line() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER credit_note_lines_within AFTER INSERT ON credit_note_lines FOR EACH ROW EXECUTE FUNCTION sc_credit_within_line();

-- The row that whoever uses or gives credit locks, so that two do not use the same cent. It holds no balance.
CREATE TABLE customer_credit_accounts (
  tenant_id text NOT NULL REFERENCES tenants,
  partner_id text NOT NULL REFERENCES partners,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, partner_id, currency)
);
CREATE INDEX customer_credit_accounts_partner ON customer_credit_accounts (partner_id);
SELECT sc_protect('customer_credit_accounts', 'SELECT', 'SELECT, INSERT, UPDATE');

-- The sub-ledger of the account `customer_credit`: which credit came from where, and what became of it. A lot is what
-- was given at once; it is used up oldest first, and its sum is what is left of it.
CREATE TABLE customer_credit_entries (
  tenant_id text NOT NULL,
  entry_id uuid NOT NULL,
  partner_id text NOT NULL,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  -- The entry that gave it; ids sort by time, so the oldest is the least.
  lot_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('overpayment', 'credit_note', 'applied', 'refund')),
  -- The invoice that the lot comes from.
  origin_invoice_id uuid NOT NULL,
  -- The invoice that it was used for; the same one when it was refunded.
  used_invoice_id uuid,
  payment_id uuid,
  credit_note_id uuid,
  amount_cents bigint NOT NULL CHECK (amount_cents <> 0),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, entry_id),
  FOREIGN KEY (tenant_id, partner_id, currency) REFERENCES customer_credit_accounts,
  FOREIGN KEY (tenant_id, lot_id) REFERENCES customer_credit_entries,
  FOREIGN KEY (tenant_id, origin_invoice_id) REFERENCES invoices,
  FOREIGN KEY (tenant_id, used_invoice_id) REFERENCES invoices,
  FOREIGN KEY (tenant_id, payment_id) REFERENCES payments,
  FOREIGN KEY (tenant_id, credit_note_id) REFERENCES invoices,
  CHECK ((kind IN ('overpayment', 'credit_note')) = (amount_cents > 0)),
  CHECK ((amount_cents > 0) = (lot_id = entry_id)),
  CHECK ((amount_cents < 0) = (used_invoice_id IS NOT NULL)),
  CHECK ((kind = 'credit_note') = (payment_id IS NULL)),
  CHECK ((kind = 'credit_note') = (credit_note_id IS NOT NULL))
);
CREATE INDEX customer_credit_entries_account ON customer_credit_entries (tenant_id, partner_id, currency, lot_id);
CREATE INDEX customer_credit_entries_lot ON customer_credit_entries (tenant_id, lot_id);
CREATE INDEX customer_credit_entries_partner ON customer_credit_entries (partner_id);
CREATE TRIGGER customer_credit_entries_append_only BEFORE UPDATE OR DELETE ON customer_credit_entries
  FOR EACH ROW EXECUTE FUNCTION sc_append_only();
SELECT sc_protect('customer_credit_entries', 'SELECT', 'SELECT, INSERT');

-- No credit is used that is not there, whoever writes.
CREATE FUNCTION sc_credit_lot_holds() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  remaining numeric;
BEGIN
  SELECT sum(amount_cents) INTO remaining FROM customer_credit_entries WHERE tenant_id = NEW.tenant_id AND lot_id = NEW.lot_id;
  IF remaining < 0 THEN
    RAISE EXCEPTION 'credit % is overdrawn by %', NEW.lot_id, -remaining USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER customer_credit_entries_hold AFTER INSERT ON customer_credit_entries FOR EACH ROW EXECUTE FUNCTION sc_credit_lot_holds();

-- How monthly recurring revenue came about: one row each time a subscription begins to count, counts with another
-- amount, or counts no more, written with the subscription itself.
CREATE TABLE mrr_changes (
  tenant_id text NOT NULL,
  subscription_id uuid NOT NULL,
  -- Counted under the subscription's lock.
  ordinal integer NOT NULL CHECK (ordinal > 0),
  partner_id text NOT NULL REFERENCES partners,
  kind text NOT NULL CHECK (kind IN ('new', 'expansion', 'contraction', 'churn')),
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  delta_cents bigint NOT NULL,
  -- What it counts with from now on; null when it does not count any more.
  counted_cents bigint CHECK (counted_cents >= 0),
  occurred_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, subscription_id, ordinal),
  FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions,
  CHECK ((kind = 'churn') = (counted_cents IS NULL)),
  CHECK (CASE kind WHEN 'new' THEN delta_cents >= 0 WHEN 'expansion' THEN delta_cents > 0 WHEN 'contraction' THEN delta_cents < 0 ELSE delta_cents <= 0 END)
);
CREATE INDEX mrr_changes_partner ON mrr_changes (partner_id, occurred_at);
CREATE TRIGGER mrr_changes_append_only BEFORE UPDATE OR DELETE ON mrr_changes FOR EACH ROW EXECUTE FUNCTION sc_append_only();
SELECT sc_protect('mrr_changes', 'SELECT, INSERT', 'SELECT, INSERT');
