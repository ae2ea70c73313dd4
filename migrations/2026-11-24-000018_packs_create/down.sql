DROP TABLE invoice_line_parts;
DROP TABLE pack_periods;
DROP INDEX subscriptions_of_pack;
ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_pack;
DROP TABLE pack_subscriptions;
DROP TABLE pack_items;
DROP TABLE pack_versions;
DROP TABLE service_packs;
