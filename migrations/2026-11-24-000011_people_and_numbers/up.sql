-- What is known of users from their own calls, what a tenant sees of its partner, and the questions to the VAT register.

-- When a user last called, kept to about an hour, and the roles that the token claimed.
ALTER TABLE users ADD COLUMN last_seen_at timestamptz;
ALTER TABLE users ADD COLUMN token_roles text[] NOT NULL DEFAULT '{}';
-- Set when the identity provider deleted the user; the personal fields are empty from then on.
ALTER TABLE users ADD COLUMN erased_at timestamptz;
-- A tenant's own list goes by age.
CREATE INDEX users_tenant_since ON users (tenant_id, created_at, user_id) WHERE erased_at IS NULL;

CREATE FUNCTION sc_user_seen(p_user_id text, p_token_roles text[], p_now timestamptz)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE users SET last_seen_at = p_now, token_roles = p_token_roles WHERE user_id = p_user_id
$$;
SELECT sc_definer('sc_user_seen(text, text[], timestamptz)', 'sc_public');

DROP FUNCTION sc_load_principal(text, text, text);
CREATE FUNCTION sc_load_principal(p_user_id text, p_tenant_id text, p_partner_id text)
RETURNS TABLE (
  user_known boolean, user_tenant_id text, user_is_active boolean, claims_valid_from timestamptz, email text, display_name text,
  last_seen_at timestamptz, token_roles text[],
  tenant_known boolean, tenant_partner_id text, tenant_is_active boolean, tenant_name text,
  partner_known boolean, partner_is_active boolean, partner_name text, partner_home_tenant_id text,
  local_roles text[], group_roles text[]
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT u.user_id IS NOT NULL, u.tenant_id, COALESCE(u.is_active, true), u.claims_valid_from, u.email, u.display_name,
    u.last_seen_at, COALESCE(u.token_roles, '{}'),
    t.tenant_id IS NOT NULL, t.partner_id, COALESCE(t.is_active, true), t.name,
    p.partner_id IS NOT NULL, COALESCE(p.is_active, true), p.name, p.home_tenant_id,
    ARRAY(SELECT r.role FROM user_roles r WHERE r.user_id = p_user_id ORDER BY r.role),
    ARRAY(SELECT DISTINCT g.role FROM group_members m JOIN groups g USING (group_id) WHERE m.user_id = p_user_id AND g.role IS NOT NULL ORDER BY g.role)
  FROM (SELECT 1) AS one
  LEFT JOIN users u ON u.user_id = p_user_id
  LEFT JOIN tenants t ON t.tenant_id = p_tenant_id
  LEFT JOIN partners p ON p.partner_id = p_partner_id
$$;
SELECT sc_definer('sc_load_principal(text, text, text)', 'sc_public');

-- What a tenant may know of its partner: whom it buys from and can ask, and in which timezone that one lives.
DROP FUNCTION sc_own_partner();
CREATE FUNCTION sc_own_partner()
RETURNS TABLE (partner_id text, name text, legal_name text, support_email text, seller_phone text, logo_url text, timezone text, is_active boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT p.partner_id, p.name, p.legal_name, p.support_email, p.seller_phone, p.logo_url, p.timezone, p.is_active
  FROM tenants t JOIN partners p USING (partner_id)
  WHERE t.tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), ''))
$$;
SELECT sc_definer('sc_own_partner()', 'sc_tenant');

-- Questions to the VAT register about the number of a profile: how often it gave no answer, and when to ask next, by the
-- machine's clock (null: at once). A question that is being asked is put off until its lease is over.
ALTER TABLE billing_profiles ADD COLUMN vat_check_attempts integer NOT NULL DEFAULT 0 CHECK (vat_check_attempts >= 0);
ALTER TABLE billing_profiles ADD COLUMN vat_check_at timestamptz;
CREATE INDEX billing_profiles_vat_open ON billing_profiles (vat_check_at NULLS FIRST)
  WHERE vat_number IS NOT NULL AND vat_number_status IN ('unchecked', 'unavailable');
CREATE INDEX billing_profiles_vat_checked ON billing_profiles (vat_number_checked_at)
  WHERE vat_number IS NOT NULL AND vat_number_status IN ('valid', 'invalid');
