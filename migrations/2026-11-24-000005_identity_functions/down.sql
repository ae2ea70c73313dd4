DROP FUNCTION sc_own_partner();
DROP FUNCTION sc_load_service_key(text);
DROP FUNCTION sc_load_service(text);
DROP FUNCTION sc_mirror_principal(text, text, text, text, text, text, timestamptz);
DROP FUNCTION sc_load_principal(text, text, text);
