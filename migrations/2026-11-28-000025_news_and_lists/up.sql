-- The platform reads a subscription by its id alone and lists all of them by it; usage that came late is gone through in the
-- order in which it was marked.
CREATE INDEX subscriptions_list ON subscriptions (subscription_id DESC);
CREATE INDEX late_usage_list ON late_usage (marked_at, segment_id);

-- Who is about to leave a plan is not told of its new prices, and is when it stays after all: `prices_untold` says that there
-- were some, and from thirty days after `prices_told_at` on they may hold.
ALTER TABLE subscriptions ADD COLUMN prices_untold boolean NOT NULL DEFAULT false;
ALTER TABLE subscriptions ADD COLUMN prices_told_at timestamptz;
-- Subscriptions that are to have a plan, in the order in which they are told.
CREATE INDEX subscriptions_pending_plan ON subscriptions (pending_plan_id, tenant_id, subscription_id)
  WHERE pending_plan_id IS NOT NULL;
-- What was not told so far is not known.
SET LOCAL ROLE sc_platform;
UPDATE subscriptions SET prices_untold = true WHERE status = 'cancelling' OR pending_plan_id <> plan_id;
RESET ROLE;
