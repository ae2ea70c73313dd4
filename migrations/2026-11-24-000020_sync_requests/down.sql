DROP INDEX audit_log_actor;
DROP FUNCTION sc_ask_for_sync(text, text, text, text, timestamptz);
DROP TABLE identity_sync_requests;
