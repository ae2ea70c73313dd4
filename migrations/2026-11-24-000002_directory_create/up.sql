-- Who there is: partners, tenants, users and groups, mirrored from ScaiKey. Reference tables: found by their own id,
-- whichever tenant asks. `source_updated_at` is the identity provider's time of the newest change that was applied.
CREATE TABLE partners (
  partner_id text PRIMARY KEY CHECK (partner_id ~ '^[A-Za-z0-9_.:-]{1,64}$'),
  name text NOT NULL,
  is_active boolean NOT NULL DEFAULT true,
  legal_name text,
  seller_address_line1 text,
  seller_address_line2 text,
  seller_postal_code text,
  seller_city text,
  seller_state text,
  seller_country_code text CHECK (seller_country_code ~ '^[A-Z]{2}$'),
  seller_vat_number text,
  seller_tax_number text,
  seller_registration_number text,
  seller_contact_name text,
  seller_email text,
  seller_phone text,
  seller_iban text,
  seller_bic text,
  seller_peppol_id text,
  seller_peppol_scheme text,
  small_business_note text,
  support_email text,
  logo_url text,
  invoice_number_prefix text NOT NULL DEFAULT 'SCAI' CHECK (invoice_number_prefix ~ '^[A-Z0-9]{1,10}$'),
  invoice_template_name text,
  email_template_name text,
  timezone text NOT NULL DEFAULT 'UTC',
  oss_registered boolean NOT NULL DEFAULT false,
  home_tenant_id text,
  event_sequence bigint NOT NULL DEFAULT 0,
  source_updated_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
SELECT sc_protect('partners', tenant_rights => NULL, partner_rights => 'SELECT, UPDATE');

CREATE TABLE tenants (
  tenant_id text PRIMARY KEY CHECK (tenant_id ~ '^[A-Za-z0-9_.:-]{1,64}$'),
  partner_id text NOT NULL REFERENCES partners,
  name text NOT NULL,
  is_active boolean NOT NULL DEFAULT true,
  preferred_language text CHECK (preferred_language IN ('en', 'nl', 'de', 'fr', 'es', 'it')),
  timezone text,
  metadata jsonb NOT NULL DEFAULT '{}',
  event_sequence bigint NOT NULL DEFAULT 0,
  source_updated_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE INDEX tenants_partner ON tenants (partner_id, tenant_id);
-- Lists of tenants go by name: all of them, and those of a partner.
CREATE INDEX tenants_name ON tenants (name, tenant_id);
CREATE INDEX tenants_partner_name ON tenants (partner_id, name, tenant_id);
SELECT sc_protect('tenants', tenant_rights => 'SELECT, UPDATE', partner_rights => 'SELECT, UPDATE');

CREATE TABLE users (
  user_id text PRIMARY KEY CHECK (user_id ~ '^[A-Za-z0-9_.:-]{1,64}$'),
  tenant_id text NOT NULL REFERENCES tenants,
  partner_id text NOT NULL REFERENCES partners,
  email text,
  display_name text,
  preferred_language text CHECK (preferred_language IN ('en', 'nl', 'de', 'fr', 'es', 'it')),
  is_active boolean NOT NULL DEFAULT true,
  -- Tokens issued before this time keep their identity and lose their roles and permissions.
  claims_valid_from timestamptz,
  source_updated_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE INDEX users_tenant ON users (tenant_id, user_id);
CREATE INDEX users_partner ON users (partner_id, user_id);
SELECT sc_protect('users', tenant_rights => 'SELECT', partner_rights => 'SELECT');

CREATE TABLE user_roles (
  user_id text NOT NULL REFERENCES users,
  tenant_id text NOT NULL REFERENCES tenants,
  partner_id text NOT NULL REFERENCES partners,
  role text NOT NULL CHECK (role IN ('super_admin', 'platform_admin', 'billing_admin', 'support', 'partner_admin', 'tenant_admin', 'tenant_member')),
  granted_by text NOT NULL,
  granted_at timestamptz NOT NULL,
  PRIMARY KEY (user_id, role)
);
CREATE INDEX user_roles_tenant ON user_roles (tenant_id);
CREATE INDEX user_roles_partner ON user_roles (partner_id);
SELECT sc_protect('user_roles', tenant_rights => 'SELECT', partner_rights => 'SELECT, INSERT, DELETE');

CREATE TABLE groups (
  group_id text PRIMARY KEY CHECK (group_id ~ '^[A-Za-z0-9_.:-]{1,64}$'),
  tenant_id text NOT NULL REFERENCES tenants,
  partner_id text NOT NULL REFERENCES partners,
  name text NOT NULL,
  role text CHECK (role IN ('super_admin', 'platform_admin', 'billing_admin', 'support', 'partner_admin', 'tenant_admin', 'tenant_member')),
  source_updated_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE INDEX groups_tenant ON groups (tenant_id, group_id);
CREATE INDEX groups_partner ON groups (partner_id, group_id);
SELECT sc_protect('groups', tenant_rights => 'SELECT', partner_rights => 'SELECT, UPDATE');

CREATE TABLE group_members (
  group_id text NOT NULL REFERENCES groups ON DELETE CASCADE,
  user_id text NOT NULL REFERENCES users,
  tenant_id text NOT NULL REFERENCES tenants,
  partner_id text NOT NULL REFERENCES partners,
  PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_user ON group_members (user_id);
CREATE INDEX group_members_tenant ON group_members (tenant_id);
CREATE INDEX group_members_partner ON group_members (partner_id);
SELECT sc_protect('group_members', tenant_rights => 'SELECT', partner_rights => 'SELECT');
