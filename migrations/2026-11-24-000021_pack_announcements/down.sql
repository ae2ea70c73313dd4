DROP INDEX pack_subscriptions_pack_open;
ALTER TABLE price_announcements NO FORCE ROW LEVEL SECURITY;
DELETE FROM price_announcements WHERE source_type = 'pack';
ALTER TABLE price_announcements FORCE ROW LEVEL SECURITY;
ALTER TABLE price_announcements DROP CONSTRAINT price_announcements_pkey;
ALTER TABLE price_announcements DROP COLUMN source_type;
ALTER TABLE price_announcements RENAME COLUMN source_id TO plan_id;
ALTER TABLE price_announcements ADD PRIMARY KEY (plan_id, version);
ALTER TABLE price_announcements ADD FOREIGN KEY (plan_id, version) REFERENCES plan_versions;
