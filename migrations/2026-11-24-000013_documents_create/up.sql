-- What a document looks like, and what it was issued as.

-- Templates of documents and mails. The newest version is what is used; every version is kept. Behind the platform's own
-- stand the templates that come with the program, so one can always be taken away.
CREATE TABLE templates (
  template_id uuid PRIMARY KEY,
  scope text NOT NULL CHECK (scope IN ('tenant', 'partner', 'platform')),
  tenant_id text REFERENCES tenants,
  partner_id text REFERENCES partners,
  name text NOT NULL CHECK (name <> ''),
  document_type text NOT NULL CHECK (document_type IN ('invoice', 'credit_note', 'email_invoice', 'email_credit_note', 'email_trial_ending', 'email_payment_failed')),
  -- Null: for all languages.
  language text CHECK (language IN ('en', 'nl', 'de', 'fr', 'es', 'it')),
  -- Of the newest version, for lists.
  subject text,
  version integer NOT NULL CHECK (version > 0),
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  deleted_at timestamptz,
  CHECK ((document_type LIKE 'email\_%') = (subject IS NOT NULL)),
  CHECK ((scope = 'tenant') = (tenant_id IS NOT NULL)),
  CHECK ((scope = 'platform') = (partner_id IS NULL))
);
-- One of a kind, name and language for each owner.
CREATE UNIQUE INDEX templates_owner ON templates
  (document_type, name, coalesce(language, ''), scope, coalesce(tenant_id, ''), coalesce(partner_id, '')) WHERE deleted_at IS NULL;
CREATE INDEX templates_tenant ON templates (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE INDEX templates_partner ON templates (partner_id) WHERE partner_id IS NOT NULL;
SELECT sc_protect('templates', 'SELECT', 'SELECT, INSERT, UPDATE');

CREATE TABLE template_versions (
  template_id uuid NOT NULL REFERENCES templates,
  version integer NOT NULL CHECK (version > 0),
  tenant_id text REFERENCES tenants,
  partner_id text REFERENCES partners,
  subject text,
  html_content text NOT NULL,
  css_content text,
  editor_data jsonb CHECK (jsonb_typeof(editor_data) = 'object'),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (template_id, version)
);
CREATE TRIGGER template_versions_append_only BEFORE UPDATE OR DELETE ON template_versions FOR EACH ROW EXECUTE FUNCTION sc_append_only();
CREATE INDEX template_versions_tenant ON template_versions (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE INDEX template_versions_partner ON template_versions (partner_id) WHERE partner_id IS NOT NULL;
SELECT sc_protect('template_versions', 'SELECT', 'SELECT, INSERT');

-- The platform's templates are nobody's: every partner may read them, and only read.
CREATE FUNCTION sc_platform_templates() RETURNS SETOF templates LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT * FROM templates WHERE scope = 'platform' AND deleted_at IS NULL
$$;
SELECT sc_definer('sc_platform_templates()', 'sc_tenant, sc_partner, sc_platform');
CREATE FUNCTION sc_platform_template_versions(wanted uuid) RETURNS SETOF template_versions LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT v.* FROM template_versions v JOIN templates t USING (template_id) WHERE template_id = wanted AND t.scope = 'platform'
$$;
SELECT sc_definer('sc_platform_template_versions(uuid)', 'sc_tenant, sc_partner, sc_platform');

-- Whether a tenant (or, without one, a partner) can choose a template by its name: a tenant does not see its partner's.
CREATE FUNCTION sc_template_known(p_tenant_id text, p_partner_id text, p_name text, p_mail boolean) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT EXISTS (SELECT 1 FROM templates WHERE deleted_at IS NULL AND name = p_name AND (document_type LIKE 'email\_%') = p_mail
    AND (scope = 'platform' OR tenant_id = p_tenant_id OR (scope = 'partner' AND partner_id = p_partner_id)))
$$;
SELECT sc_definer('sc_template_known(text, text, text, boolean)', 'sc_tenant, sc_partner, sc_platform');

-- The electronic invoice that a document was issued as, byte for byte: kept for ten years, never made again.
CREATE TABLE invoice_originals (
  tenant_id text NOT NULL,
  invoice_id uuid NOT NULL,
  partner_id text NOT NULL REFERENCES partners,
  -- What was asked for, and what was written: a hybrid's original is its XML.
  format text NOT NULL CHECK (format IN ('ubl', 'xrechnung', 'cii', 'zugferd', 'facturx')),
  profile text NOT NULL CHECK (profile <> ''),
  media_type text NOT NULL CHECK (media_type <> ''),
  sha256 bytea NOT NULL CHECK (length(sha256) = 32),
  content bytea NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, invoice_id),
  FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices
);
CREATE INDEX invoice_originals_partner ON invoice_originals (partner_id);
CREATE TRIGGER invoice_originals_append_only BEFORE UPDATE OR DELETE ON invoice_originals FOR EACH ROW EXECUTE FUNCTION sc_append_only();
SELECT sc_protect('invoice_originals', 'SELECT', 'SELECT, INSERT');

-- PDFs of a document, each a version; the newest that is rendered is the one that is downloaded.
CREATE TABLE invoice_pdfs (
  tenant_id text NOT NULL,
  invoice_id uuid NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  partner_id text NOT NULL REFERENCES partners,
  status text NOT NULL CHECK (status IN ('queued', 'rendered', 'failed')),
  -- What it was rendered with: the same makes the same bytes again.
  language text CHECK (language IN ('en', 'nl', 'de', 'fr', 'es', 'it')),
  template_id uuid,
  template_version integer,
  -- Of the template that came with the program, when it is none of ours.
  builtin_sha256 bytea,
  object_key text,
  sha256 bytea CHECK (length(sha256) = 32),
  size bigint CHECK (size > 0),
  attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  -- By the machine's clock: leases and retries are about machines.
  next_attempt_at timestamptz,
  failure text,
  created_at timestamptz NOT NULL,
  rendered_at timestamptz,
  PRIMARY KEY (tenant_id, invoice_id, version),
  FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices,
  FOREIGN KEY (template_id, template_version) REFERENCES template_versions,
  CHECK ((status = 'rendered') = (object_key IS NOT NULL)),
  CHECK ((object_key IS NULL) = (sha256 IS NULL) AND (object_key IS NULL) = (size IS NULL)),
  CHECK ((template_id IS NULL) = (template_version IS NULL))
);
CREATE INDEX invoice_pdfs_partner ON invoice_pdfs (partner_id);
CREATE INDEX invoice_pdfs_waiting ON invoice_pdfs (next_attempt_at) WHERE status = 'queued';
SELECT sc_protect('invoice_pdfs', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE');
