DROP INDEX subscriptions_next_event;
CREATE INDEX subscriptions_next_event ON subscriptions (next_event_at) WHERE next_event_at IS NOT NULL;
DROP INDEX billed_items_due;
CREATE INDEX billed_items_due ON billed_items (due_at) WHERE status = 'due';
DROP TABLE worker_state;
DROP TABLE late_usage;
ALTER TABLE segments DROP COLUMN billed_at;
DROP TABLE billing_parked;
DROP TABLE run_drafts;
