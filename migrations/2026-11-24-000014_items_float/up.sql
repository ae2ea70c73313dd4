-- What is billed besides subscriptions: a service's charge has none. What floats goes along with the next invoice of its
-- tenant, partner and currency that the run makes for a boundary; when there is none by `due_at`, it is billed then.
ALTER TABLE billed_items ALTER COLUMN subscription_id DROP NOT NULL;
ALTER TABLE billed_items ADD COLUMN floats boolean NOT NULL DEFAULT false;
ALTER TABLE billed_items ADD CONSTRAINT billed_items_subscription CHECK (source_type = 'charge' OR subscription_id IS NOT NULL);
ALTER TABLE billed_items ADD CONSTRAINT billed_items_floats CHECK (NOT (floats AND own_invoice));
CREATE INDEX billed_items_floating ON billed_items (tenant_id) WHERE floats AND status = 'due';
