-- The date in a partition's name is only read of what is named like one: the planner may look at the names of all tables
-- before it asks whose partitions they are.
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
    WHERE i.inhparent = parent::regclass
      AND CASE WHEN c.relname ~ '_[0-9]{8}$' THEN to_date(right(c.relname, 8), 'YYYYMMDD') + days <= before ELSE false END
  LOOP
    EXECUTE format('DROP TABLE %I', part.relname);
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END $$;
