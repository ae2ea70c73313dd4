-- Look-ups that happen before a caller is known. Each answers one question, by id, and runs with the platform's sight.
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

-- A valid token names a partner, tenant or user that is not mirrored yet: they are created, never moved.
CREATE FUNCTION sc_mirror_principal(p_partner_id text, p_tenant_id text, p_tenant_name text, p_user_id text, p_email text, p_display_name text, p_now timestamptz)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  INSERT INTO partners (partner_id, name, created_at, updated_at)
    VALUES (p_partner_id, p_partner_id, p_now, p_now) ON CONFLICT (partner_id) DO NOTHING;
  INSERT INTO tenants (tenant_id, partner_id, name, created_at, updated_at)
    VALUES (p_tenant_id, p_partner_id, COALESCE(p_tenant_name, p_tenant_id), p_now, p_now) ON CONFLICT (tenant_id) DO NOTHING;
  INSERT INTO users (user_id, tenant_id, partner_id, email, display_name, created_at, updated_at)
    SELECT p_user_id, p_tenant_id, p_partner_id, p_email, p_display_name, p_now, p_now WHERE p_user_id IS NOT NULL
    ON CONFLICT (user_id) DO NOTHING;
$$;
SELECT sc_definer('sc_mirror_principal(text, text, text, text, text, text, timestamptz)', 'sc_public');

-- The service that a service account registered.
CREATE FUNCTION sc_load_service(p_client_id text)
RETURNS TABLE (service_id uuid, slug text, status text) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT s.service_id, s.slug, s.status FROM services s WHERE s.client_id = p_client_id
$$;
SELECT sc_definer('sc_load_service(text)', 'sc_public');

CREATE FUNCTION sc_load_service_key(p_key_id text)
RETURNS TABLE (service_id uuid, slug text, status text, client_id text, secret_sha256 bytea, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT s.service_id, s.slug, s.status, s.client_id, k.secret_sha256, k.expires_at
  FROM service_keys k JOIN services s USING (service_id) WHERE k.key_id = p_key_id
$$;
SELECT sc_definer('sc_load_service_key(text)', 'sc_public');

-- What a tenant may know of its partner: whom it buys from, and in which timezone that one lives.
CREATE FUNCTION sc_own_partner()
RETURNS TABLE (partner_id text, name text, legal_name text, support_email text, logo_url text, timezone text, is_active boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT p.partner_id, p.name, p.legal_name, p.support_email, p.logo_url, p.timezone, p.is_active
  FROM tenants t JOIN partners p USING (partner_id)
  WHERE t.tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), ''))
$$;
SELECT sc_definer('sc_own_partner()', 'sc_tenant');
