-- The platform reads a subscription by its id alone and lists all of them by it; usage that came late is gone through in the
-- order in which it was marked.
CREATE INDEX subscriptions_list ON subscriptions (subscription_id DESC);
CREATE INDEX late_usage_list ON late_usage (marked_at, segment_id);
