-- What happens around time to invoices, trials and prices.

-- The end of the due date at the seller: from then on an unpaid invoice is overdue. Fixed when it is issued.
ALTER TABLE invoices ADD COLUMN overdue_at timestamptz;
ALTER TABLE invoices DISABLE TRIGGER invoices_frozen;
SET LOCAL ROLE sc_platform;
UPDATE invoices SET overdue_at = (due_date + 1)::timestamp AT TIME ZONE COALESCE(seller_snapshot->>'timezone', 'UTC')
  WHERE number IS NOT NULL AND document_type = 'invoice';
RESET ROLE;
ALTER TABLE invoices ENABLE TRIGGER invoices_frozen;
ALTER TABLE invoices ADD CONSTRAINT invoices_overdue_known CHECK (number IS NULL OR document_type <> 'invoice' OR overdue_at IS NOT NULL);
CREATE INDEX invoices_overdue ON invoices (overdue_at, invoice_id) WHERE status IN ('finalized', 'sent') AND due_cents > 0;
CREATE INDEX invoices_reversed ON invoices (payment_reversed_at, invoice_id) WHERE payment_reversed_at IS NOT NULL AND due_cents > 0;
-- Whose subscriptions have a line on an invoice, and on which invoices a subscription has one.
CREATE INDEX invoice_lines_subscription ON invoice_lines (tenant_id, subscription_id, invoice_id) WHERE subscription_id IS NOT NULL;

-- An invoice that is or was past due, and which steps were taken. A payment that is reversed later begins another one.
CREATE TABLE dunning_cases (
  tenant_id text NOT NULL,
  invoice_id uuid NOT NULL,
  -- Days count from here, as local days in `timezone`.
  past_due_at timestamptz NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  timezone text NOT NULL,
  -- The newest day of a reminder that was taken, and when the subscriptions on it were suspended and cancelled.
  reminded_day integer CHECK (reminded_day >= 0),
  suspended_at timestamptz,
  cancelled_at timestamptz,
  -- When the next step is due, by the settings of that version; null when none is left.
  next_step_at timestamptz,
  settings_version integer NOT NULL,
  created_at timestamptz NOT NULL,
  -- When nothing was due any more.
  ended_at timestamptz,
  PRIMARY KEY (tenant_id, invoice_id, past_due_at),
  FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices,
  CHECK (ended_at IS NULL OR next_step_at IS NULL)
);
CREATE UNIQUE INDEX dunning_cases_open ON dunning_cases (tenant_id, invoice_id) WHERE ended_at IS NULL;
CREATE INDEX dunning_cases_next ON dunning_cases (next_step_at, invoice_id) WHERE next_step_at IS NOT NULL;
CREATE INDEX dunning_cases_schedule ON dunning_cases (settings_version, invoice_id) WHERE ended_at IS NULL;
CREATE INDEX dunning_cases_partner ON dunning_cases (partner_id);
SELECT sc_protect('dunning_cases', 'SELECT', 'SELECT, UPDATE');

-- The trials whose end is still to be announced.
CREATE TABLE trial_notices (
  tenant_id text NOT NULL,
  subscription_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  trial_ends_at timestamptz NOT NULL,
  -- The smallest number of days before the end that the tenant was told of; null: of none yet.
  told_days integer CHECK (told_days > 0),
  -- When the next notice is due, by the settings of that version; when none is left, the end of the trial.
  next_at timestamptz NOT NULL,
  settings_version integer NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, subscription_id),
  FOREIGN KEY (tenant_id, subscription_id) REFERENCES subscriptions
);
CREATE INDEX trial_notices_next ON trial_notices (next_at, subscription_id);
CREATE INDEX trial_notices_schedule ON trial_notices (settings_version, subscription_id);
CREATE INDEX trial_notices_partner ON trial_notices (partner_id);
SELECT sc_protect('trial_notices', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE');
SET LOCAL ROLE sc_platform;
INSERT INTO trial_notices (tenant_id, subscription_id, partner_id, trial_ends_at, next_at, settings_version, created_at)
  SELECT tenant_id, subscription_id, partner_id, trial_ends_at, trial_ends_at, -1, updated_at FROM subscriptions WHERE status = 'trialing';
RESET ROLE;

-- New versions of plans of which their subscribers are still to be told, and how far that has come.
CREATE TABLE price_announcements (
  plan_id uuid NOT NULL,
  version integer NOT NULL,
  created_at timestamptz NOT NULL,
  -- The last subscription that was looked at.
  after_tenant_id text,
  after_subscription_id uuid,
  told bigint NOT NULL DEFAULT 0 CHECK (told >= 0),
  finished_at timestamptz,
  PRIMARY KEY (plan_id, version),
  FOREIGN KEY (plan_id, version) REFERENCES plan_versions,
  CHECK ((after_tenant_id IS NULL) = (after_subscription_id IS NULL))
);
CREATE INDEX price_announcements_open ON price_announcements (created_at) WHERE finished_at IS NULL;
SELECT sc_protect('price_announcements');
CREATE INDEX subscriptions_plan ON subscriptions (plan_id, tenant_id, subscription_id) WHERE status NOT IN ('cancelled', 'expired');

ALTER TABLE mails DROP CONSTRAINT mails_kind_check;
ALTER TABLE mails ADD CONSTRAINT mails_kind_check
  CHECK (kind IN ('invoice', 'credit_note', 'trial_ending', 'payment_failed', 'renewal_price_change'));
