DROP FUNCTION sc_partition_drop(text, date, integer);
DROP FUNCTION sc_partition_ensure(text, date, integer);
DROP FUNCTION sc_idempotency_store(text, text, text, bytea, jsonb, timestamptz);
DROP FUNCTION sc_idempotency_find(text, text, text, timestamptz);
DROP TABLE idempotency_keys;
DROP TABLE outbox_events;
DROP FUNCTION sc_audit(uuid, timestamptz, text, text, text, text, uuid, text, text, text, jsonb, jsonb, text, text);
DROP TABLE audit_log;
