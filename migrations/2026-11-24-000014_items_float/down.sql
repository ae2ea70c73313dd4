DROP INDEX billed_items_floating;
ALTER TABLE billed_items NO FORCE ROW LEVEL SECURITY;
DELETE FROM billed_items WHERE subscription_id IS NULL;
ALTER TABLE billed_items FORCE ROW LEVEL SECURITY;
ALTER TABLE billed_items DROP COLUMN floats;
ALTER TABLE billed_items DROP CONSTRAINT billed_items_subscription;
ALTER TABLE billed_items ALTER COLUMN subscription_id SET NOT NULL;
