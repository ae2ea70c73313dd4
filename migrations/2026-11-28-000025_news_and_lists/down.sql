DROP INDEX subscriptions_pending_plan;
ALTER TABLE subscriptions DROP COLUMN prices_told_at, DROP COLUMN prices_untold;
DROP INDEX late_usage_list;
DROP INDEX subscriptions_list;
