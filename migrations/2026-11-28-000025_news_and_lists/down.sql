DROP INDEX late_usage_list;
DROP INDEX subscriptions_list;
