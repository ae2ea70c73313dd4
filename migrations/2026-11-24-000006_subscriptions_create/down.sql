DROP TABLE segments;
DROP TABLE subscription_periods;
DROP TABLE subscriptions;
DROP TABLE billing_profiles;
