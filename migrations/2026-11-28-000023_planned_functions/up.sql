-- What is called with every request: a function in SQL is parsed and planned each time, one in PL/pgSQL once a connection.
CREATE OR REPLACE FUNCTION sc_audit(
  id uuid, at timestamptz, actor text, level text, tenant_id text, partner_id text, service_id uuid, operation text,
  object_type text, object_id text, before jsonb, after jsonb, reason text, request_id text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO audit_log (id, at, actor, level, tenant_id, partner_id, service_id, operation, object_type, object_id, before, after, reason, request_id)
  VALUES (sc_audit.id, sc_audit.at, sc_audit.actor, sc_audit.level, sc_audit.tenant_id, sc_audit.partner_id, sc_audit.service_id, sc_audit.operation, sc_audit.object_type, sc_audit.object_id, sc_audit.before, sc_audit.after, sc_audit.reason, sc_audit.request_id);
END $$;

CREATE OR REPLACE FUNCTION sc_load_principal(p_user_id text, p_tenant_id text, p_partner_id text)
RETURNS TABLE (
  user_known boolean, user_tenant_id text, user_is_active boolean, claims_valid_from timestamptz, email text, display_name text,
  last_seen_at timestamptz, token_roles text[],
  tenant_known boolean, tenant_partner_id text, tenant_is_active boolean, tenant_name text,
  partner_known boolean, partner_is_active boolean, partner_name text, partner_home_tenant_id text,
  local_roles text[], group_roles text[]
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT u.user_id IS NOT NULL, u.tenant_id, COALESCE(u.is_active, true), u.claims_valid_from, u.email, u.display_name,
    u.last_seen_at, COALESCE(u.token_roles, '{}'),
    t.tenant_id IS NOT NULL, t.partner_id, COALESCE(t.is_active, true), t.name,
    p.partner_id IS NOT NULL, COALESCE(p.is_active, true), p.name, p.home_tenant_id,
    ARRAY(SELECT r.role FROM user_roles r WHERE r.user_id = p_user_id ORDER BY r.role),
    ARRAY(SELECT DISTINCT g.role FROM group_members m JOIN groups g USING (group_id) WHERE m.user_id = p_user_id AND g.role IS NOT NULL ORDER BY g.role)
  FROM (SELECT 1) AS one
  LEFT JOIN users u ON u.user_id = p_user_id
  LEFT JOIN tenants t ON t.tenant_id = p_tenant_id
  LEFT JOIN partners p ON p.partner_id = p_partner_id;
END $$;

CREATE OR REPLACE FUNCTION sc_idempotency_find(scope text, operation text, key text, since timestamptz)
RETURNS TABLE (fingerprint bytea, response jsonb) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT k.fingerprint, k.response FROM idempotency_keys k
  WHERE k.day >= (sc_idempotency_find.since AT TIME ZONE 'UTC')::date AND k.scope = sc_idempotency_find.scope
    AND k.operation = sc_idempotency_find.operation AND k.key = sc_idempotency_find.key AND k.created_at > sc_idempotency_find.since
  ORDER BY k.created_at DESC LIMIT 1;
END $$;

CREATE OR REPLACE FUNCTION sc_idempotency_store(scope text, operation text, key text, fingerprint bytea, response jsonb, created_at timestamptz)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO idempotency_keys (day, scope, operation, key, fingerprint, response, created_at)
  VALUES ((sc_idempotency_store.created_at AT TIME ZONE 'UTC')::date, sc_idempotency_store.scope, sc_idempotency_store.operation,
    sc_idempotency_store.key, sc_idempotency_store.fingerprint, sc_idempotency_store.response, sc_idempotency_store.created_at);
END $$;
