DROP TABLE platform_settings;
DROP FUNCTION sc_append_only();
DROP FUNCTION sc_definer(regprocedure, text);
DROP FUNCTION sc_protect(regclass, text, text, text, boolean, text);
REVOKE USAGE ON SCHEMA public FROM scaicontrol_app, sc_tenant, sc_partner, sc_service, sc_public, sc_platform;
GRANT USAGE ON SCHEMA public TO PUBLIC;
-- The roles stay: they belong to the cluster, and other databases in it may use them.
