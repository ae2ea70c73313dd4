ALTER TABLE billed_items DROP COLUMN settled_usage;
