ALTER TABLE billed_items DROP COLUMN waived_usage;
