-- What was waived of an item that bills usage, by metric, in cents: usage that comes late is billed net of it.
ALTER TABLE billed_items ADD COLUMN waived_usage jsonb CHECK (jsonb_typeof(waived_usage) = 'object');
