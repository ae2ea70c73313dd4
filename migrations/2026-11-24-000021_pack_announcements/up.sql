-- A pack has prices of its own, of which its subscribers are told like those of a plan.
ALTER TABLE price_announcements DROP CONSTRAINT price_announcements_pkey;
ALTER TABLE price_announcements DROP CONSTRAINT price_announcements_plan_id_version_fkey;
ALTER TABLE price_announcements RENAME COLUMN plan_id TO source_id;
-- What has the new version: `source_id` is a plan or a pack.
ALTER TABLE price_announcements ADD COLUMN source_type text NOT NULL DEFAULT 'plan' CHECK (source_type IN ('plan', 'pack'));
ALTER TABLE price_announcements ALTER COLUMN source_type DROP DEFAULT;
ALTER TABLE price_announcements ADD PRIMARY KEY (source_type, source_id, version);
-- Subscribers of a pack, in the order in which they are told.
CREATE INDEX pack_subscriptions_pack_open ON pack_subscriptions (pack_id, tenant_id, pack_subscription_id)
  WHERE status NOT IN ('cancelled', 'expired');
