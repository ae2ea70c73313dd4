-- Mails that go out: written in the transaction of what they tell, sent afterwards, and kept with what became of them.
CREATE TABLE mails (
  tenant_id text NOT NULL REFERENCES tenants,
  mail_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  kind text NOT NULL CHECK (kind IN ('invoice', 'credit_note', 'trial_ending', 'payment_failed')),
  -- The document that it is about.
  invoice_id uuid,
  -- What it was rendered from, and in which language.
  template_name text NOT NULL,
  language text NOT NULL CHECK (language IN ('en', 'nl', 'de', 'fr', 'es', 'it')),
  -- The message as it is sent, in every attempt the same. Files are in the object store, by their keys.
  from_name text,
  reply_to text,
  to_address text NOT NULL,
  subject text NOT NULL,
  text_body text NOT NULL,
  html_body text,
  attachments jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(attachments) = 'array'),
  -- It waits for files that are still being made.
  held boolean NOT NULL,
  status text NOT NULL CHECK (status IN ('queued', 'sent', 'failed')),
  -- Why the last attempt did not succeed.
  reason text,
  attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  -- By the machine's clock, as the pauses of a network are. While it is being sent: when somebody else may take it up.
  next_attempt_at timestamptz NOT NULL,
  -- Sender, id and date of the message, fixed by the first attempt.
  sender text,
  message_id text,
  first_attempt_at timestamptz,
  created_at timestamptz NOT NULL,
  sent_at timestamptz,
  failed_at timestamptz,
  PRIMARY KEY (tenant_id, mail_id),
  FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices,
  CHECK ((status = 'sent') = (sent_at IS NOT NULL)),
  CHECK ((status = 'failed') = (failed_at IS NOT NULL)),
  CHECK (status <> 'failed' OR reason IS NOT NULL),
  CHECK (NOT held OR status <> 'sent'),
  CHECK ((attempts = 0) = (message_id IS NULL)),
  CHECK ((message_id IS NULL) = (first_attempt_at IS NULL) AND (message_id IS NULL) = (sender IS NULL))
);
CREATE INDEX mails_due ON mails (next_attempt_at) WHERE status = 'queued' AND NOT held;
CREATE INDEX mails_invoice ON mails (tenant_id, invoice_id, created_at DESC);
CREATE INDEX mails_partner ON mails (partner_id, mail_id DESC);
SELECT sc_protect('mails', 'SELECT, INSERT', 'SELECT, INSERT');
