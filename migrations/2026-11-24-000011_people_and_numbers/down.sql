DROP INDEX billing_profiles_vat_checked, billing_profiles_vat_open;
ALTER TABLE billing_profiles DROP COLUMN vat_check_at, DROP COLUMN vat_check_attempts;

DROP FUNCTION sc_own_partner();
CREATE FUNCTION sc_own_partner()
RETURNS TABLE (partner_id text, name text, legal_name text, support_email text, logo_url text, timezone text, is_active boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT p.partner_id, p.name, p.legal_name, p.support_email, p.logo_url, p.timezone, p.is_active
  FROM tenants t JOIN partners p USING (partner_id)
  WHERE t.tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), ''))
$$;
SELECT sc_definer('sc_own_partner()', 'sc_tenant');

DROP FUNCTION sc_load_principal(text, text, text);
CREATE FUNCTION sc_load_principal(p_user_id text, p_tenant_id text, p_partner_id text)
RETURNS TABLE (
  user_known boolean, user_tenant_id text, user_is_active boolean, claims_valid_from timestamptz, email text, display_name text,
  tenant_known boolean, tenant_partner_id text, tenant_is_active boolean, tenant_name text,
  partner_known boolean, partner_is_active boolean, partner_name text, partner_home_tenant_id text,
  local_roles text[], group_roles text[]
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT u.user_id IS NOT NULL, u.tenant_id, COALESCE(u.is_active, true), u.claims_valid_from, u.email, u.display_name,
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

DROP FUNCTION sc_user_seen(text, text[], timestamptz);
DROP INDEX users_tenant_since;
ALTER TABLE users DROP COLUMN erased_at, DROP COLUMN token_roles, DROP COLUMN last_seen_at;
