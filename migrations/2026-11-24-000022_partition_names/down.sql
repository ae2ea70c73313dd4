CREATE OR REPLACE FUNCTION sc_partition_drop(parent text, before date, days integer) RETURNS integer
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
