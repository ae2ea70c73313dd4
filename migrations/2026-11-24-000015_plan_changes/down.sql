REVOKE UPDATE (due_at, run_date) ON billed_items FROM sc_tenant;
DROP TABLE period_credits;
ALTER TABLE subscription_periods DROP CONSTRAINT subscription_periods_whole;
ALTER TABLE subscription_periods DROP CONSTRAINT subscription_periods_billed;
ALTER TABLE subscription_periods DROP COLUMN whole_ends_at;
ALTER TABLE subscription_periods DROP COLUMN whole_starts_at;
ALTER TABLE subscription_periods DROP COLUMN billed_until;
