-- The roles that every transaction runs as, and the one way in which tables are protected.
--
-- `scaicontrol_app` is what the server logs in as. It owns nothing and has no right on any table: each transaction
-- takes one of the five roles with SET LOCAL ROLE, and row-level security decides what that role sees.
-- Roles belong to the cluster, so a second database in it finds them there.
DO $$
DECLARE r text;
BEGIN
  FOREACH r IN ARRAY ARRAY['sc_tenant', 'sc_partner', 'sc_service', 'sc_public', 'sc_platform'] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOBYPASSRLS', r);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
  END LOOP;
  BEGIN
    CREATE ROLE scaicontrol_app LOGIN NOINHERIT NOBYPASSRLS;
  EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
  END;
  BEGIN
    GRANT sc_tenant, sc_partner, sc_service, sc_public, sc_platform TO scaicontrol_app;
    -- Functions for one purpose each belong to sc_platform; the owner must be able to hand them over.
    EXECUTE format('GRANT sc_platform TO %I', current_user);
  EXCEPTION WHEN unique_violation OR SQLSTATE 'XX000' THEN NULL; -- granted by another database's migration at this moment
  END;
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO scaicontrol_app, sc_tenant, sc_partner, sc_service, sc_public, sc_platform;

-- Puts a table under forced row-level security, with one policy for each role and nothing but equality in it: an OR
-- in a policy keeps the planner from the index, and a variable that is not set must mean no rows at all.
--
-- `*_rights` are the SQL verbs that the role gets; NULL gives none, and a policy that lets nothing through.
-- `reference` marks a table that all tenants share (the catalogue): a role with its variable set reads all of it.
CREATE FUNCTION sc_protect(
  tbl regclass, tenant_rights text DEFAULT NULL, partner_rights text DEFAULT NULL, service_rights text DEFAULT NULL,
  reference boolean DEFAULT false, tenant_filter text DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  rule record;
  condition text;
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', tbl);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', tbl);
  FOR rule IN
    SELECT * FROM (VALUES
      ('sc_tenant', tenant_rights, 'tenant_id', 'text'),
      ('sc_partner', partner_rights, 'partner_id', 'text'),
      ('sc_service', service_rights, 'service_id', 'uuid')) AS v (role, rights, column_name, type)
  LOOP
    condition := format('(SELECT NULLIF(current_setting(''app.%s'', true), ''''))', rule.column_name);
    IF rule.rights IS NULL THEN
      condition := 'false';
    ELSIF reference THEN
      condition := condition || ' IS NOT NULL';
    ELSE
      condition := format('%I = (SELECT NULLIF(current_setting(''app.%s'', true), '''')::%s)', rule.column_name, rule.column_name, rule.type);
    END IF;
    IF rule.role = 'sc_tenant' AND tenant_filter IS NOT NULL THEN
      condition := condition || ' AND ' || tenant_filter;
    END IF;
    EXECUTE format('CREATE POLICY %I ON %s TO %I USING (%s) WITH CHECK (%s)', rule.role, tbl, rule.role, condition, condition);
    IF rule.rights IS NOT NULL THEN
      EXECUTE format('GRANT %s ON %s TO %I', rule.rights, tbl, rule.role);
    END IF;
  END LOOP;
  EXECUTE format('CREATE POLICY sc_platform ON %s TO sc_platform USING (true) WITH CHECK (true)', tbl);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO sc_platform', tbl);
END $$;
REVOKE ALL ON FUNCTION sc_protect(regclass, text, text, text, boolean, text) FROM PUBLIC;

-- Hands a function to sc_platform (so that it runs with that role's sight) and lets only the given roles call it.
CREATE FUNCTION sc_definer(fn regprocedure, callers text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', fn);
  EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', fn, callers);
  GRANT CREATE ON SCHEMA public TO sc_platform;
  EXECUTE format('ALTER FUNCTION %s OWNER TO sc_platform', fn);
  REVOKE CREATE ON SCHEMA public FROM sc_platform;
END $$;
REVOKE ALL ON FUNCTION sc_definer(regprocedure, text) FROM PUBLIC;

-- A row that may be added and never changed: the trigger stands behind the missing rights, for the owner too.
CREATE FUNCTION sc_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

-- Settings of the whole platform, one row, versioned; the server fills what is missing with its defaults.
CREATE TABLE platform_settings (
  id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
  version integer NOT NULL CHECK (version > 0),
  data jsonb NOT NULL CHECK (jsonb_typeof(data) = 'object'),
  updated_at timestamptz NOT NULL
);
INSERT INTO platform_settings (version, data, updated_at) VALUES (1, '{}', '2000-01-01T00:00:00Z');
-- Shared by all tenants and without a tenant's data: read by every role, written by the platform alone.
GRANT SELECT ON platform_settings TO sc_tenant, sc_partner, sc_service, sc_public, sc_platform;
GRANT UPDATE ON platform_settings TO sc_platform;
