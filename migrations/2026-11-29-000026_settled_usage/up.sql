-- What of the usage that an item bills is settled without a line of an invoice, by metric, in cents: waived, or (less than 0)
-- given back by credit notes. Usage that comes late is billed net of it.
ALTER TABLE billed_items ADD COLUMN settled_usage jsonb CHECK (jsonb_typeof(settled_usage) = 'object');
