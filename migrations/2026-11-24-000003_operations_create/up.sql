-- What every write leaves behind: its audit row, its event, and its answer under an idempotency key.
CREATE TABLE audit_log (
  id uuid PRIMARY KEY,
  at timestamptz NOT NULL,
  -- Who: a user, a service account, `system:<worker>`, `cli:<command>`.
  actor text NOT NULL,
  level text NOT NULL CHECK (level IN ('public', 'tenant', 'partner', 'platform', 'service', 'system')),
  -- Whose row it is about; null for what belongs to the platform.
  tenant_id text,
  partner_id text,
  service_id uuid,
  operation text NOT NULL,
  object_type text NOT NULL,
  object_id text NOT NULL,
  before jsonb,
  after jsonb,
  reason text,
  request_id text NOT NULL
);
CREATE INDEX audit_log_object ON audit_log (object_type, object_id, at);
CREATE INDEX audit_log_at ON audit_log (at);
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION sc_append_only();
-- Everybody adds rows, nobody but the platform reads them: the policies let no row through for the others, and rows
-- come in through one function, whose caller cannot choose who the actor is visible to.
SELECT sc_protect('audit_log');
REVOKE UPDATE, DELETE ON audit_log FROM sc_platform;
CREATE FUNCTION sc_audit(
  id uuid, at timestamptz, actor text, level text, tenant_id text, partner_id text, service_id uuid, operation text,
  object_type text, object_id text, before jsonb, after jsonb, reason text, request_id text
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  INSERT INTO audit_log (id, at, actor, level, tenant_id, partner_id, service_id, operation, object_type, object_id, before, after, reason, request_id)
  VALUES (id, at, actor, level, tenant_id, partner_id, service_id, operation, object_type, object_id, before, after, reason, request_id)
$$;
SELECT sc_definer('sc_audit(uuid, timestamptz, text, text, text, text, uuid, text, text, text, jsonb, jsonb, text, text)', 'sc_tenant, sc_partner, sc_service, sc_public, sc_platform');

-- Events for subscribers, written in the transaction of what they tell.
CREATE TABLE outbox_events (
  id uuid PRIMARY KEY,
  event_type text NOT NULL,
  tenant_id text,
  partner_id text,
  object_id text NOT NULL,
  -- Counts the events of one object, taken under the object's row lock.
  sequence bigint NOT NULL,
  occurred_at timestamptz NOT NULL,
  idempotency_key text NOT NULL UNIQUE,
  data jsonb NOT NULL,
  -- Set when it has been handed to every subscriber it is for.
  dispatched_at timestamptz
);
CREATE INDEX outbox_events_pending ON outbox_events (id) WHERE dispatched_at IS NULL;
CREATE INDEX outbox_events_tenant ON outbox_events (tenant_id);
CREATE INDEX outbox_events_partner ON outbox_events (partner_id);
SELECT sc_protect('outbox_events', tenant_rights => 'INSERT', partner_rights => 'INSERT');

-- Stored answers of requests with an Idempotency-Key. A day's answers are a partition; two days are read, older ones
-- are dropped. Reached through the two functions only, which cannot be asked for another scope's keys in bulk.
CREATE TABLE idempotency_keys (
  day date NOT NULL,
  scope text NOT NULL,
  operation text NOT NULL,
  key text NOT NULL,
  fingerprint bytea NOT NULL,
  response jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (day, scope, operation, key)
) PARTITION BY RANGE (day);
GRANT SELECT, INSERT ON idempotency_keys TO sc_platform;

CREATE FUNCTION sc_idempotency_find(scope text, operation text, key text, since timestamptz)
RETURNS TABLE (fingerprint bytea, response jsonb) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT k.fingerprint, k.response FROM idempotency_keys k
  WHERE k.day >= (sc_idempotency_find.since AT TIME ZONE 'UTC')::date AND k.scope = sc_idempotency_find.scope
    AND k.operation = sc_idempotency_find.operation AND k.key = sc_idempotency_find.key AND k.created_at > sc_idempotency_find.since
  ORDER BY k.created_at DESC LIMIT 1
$$;
SELECT sc_definer('sc_idempotency_find(text, text, text, timestamptz)', 'sc_tenant, sc_partner, sc_service, sc_platform');

CREATE FUNCTION sc_idempotency_store(scope text, operation text, key text, fingerprint bytea, response jsonb, created_at timestamptz)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  INSERT INTO idempotency_keys (day, scope, operation, key, fingerprint, response, created_at)
  VALUES ((created_at AT TIME ZONE 'UTC')::date, scope, operation, key, fingerprint, response, created_at)
$$;
SELECT sc_definer('sc_idempotency_store(text, text, text, bytea, jsonb, timestamptz)', 'sc_tenant, sc_partner, sc_service, sc_platform');

-- Makes the partition of `parent` that holds `at`, of the given length in days (counted from 2000-01-03, a Monday), and
-- takes every right on it away: a partition that is read directly does not ask its parent's policies. Belongs to the
-- owner, since only the owner may do it. Answers whether it made one.
CREATE FUNCTION sc_partition_ensure(parent text, at date, days integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  first date;
  name text;
BEGIN
  IF (parent, days) NOT IN (('idempotency_keys', 1), ('usage_events', 7)) THEN
    RAISE EXCEPTION 'no such partitioned table: % by % days', parent, days;
  END IF;
  first := date '2000-01-03' + (floor((at - date '2000-01-03')::numeric / days) * days)::integer;
  name := parent || '_' || to_char(first, 'YYYYMMDD');
  IF to_regclass(name) IS NOT NULL THEN
    RETURN false;
  END IF;
  -- Two servers may want it at once: the second waits, and finds it there.
  PERFORM pg_advisory_xact_lock(hashtextextended(name, 0));
  IF to_regclass(name) IS NOT NULL THEN
    RETURN false;
  END IF;
  BEGIN
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', name, parent, first, first + days);
  EXCEPTION WHEN duplicate_table THEN
    -- It came while this waited, and the catalogue's cache still said that there is none.
    RETURN false;
  END;
  EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
  EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
  EXECUTE format('REVOKE ALL ON %I FROM PUBLIC, sc_tenant, sc_partner, sc_service, sc_public, sc_platform', name);
  RETURN true;
END $$;
REVOKE ALL ON FUNCTION sc_partition_ensure(text, date, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sc_partition_ensure(text, date, integer) TO sc_tenant, sc_partner, sc_service, sc_platform;

-- Drops the partitions of `parent` that end on or before `before`. Answers how many.
CREATE FUNCTION sc_partition_drop(parent text, before date, days integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  part record;
  dropped integer := 0;
BEGIN
  IF (parent, days) NOT IN (('idempotency_keys', 1), ('usage_events', 7)) THEN
    RAISE EXCEPTION 'no such partitioned table: % by % days', parent, days;
  END IF;
  FOR part IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = parent::regclass AND to_date(right(c.relname, 8), 'YYYYMMDD') + days <= before
  LOOP
    EXECUTE format('DROP TABLE %I', part.relname);
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END $$;
REVOKE ALL ON FUNCTION sc_partition_drop(text, date, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sc_partition_drop(text, date, integer) TO sc_platform;
