DROP TABLE invoice_numbers;
DROP TABLE invoice_counters;
DROP TABLE billed_items;
DROP TABLE invoice_lines;
DROP TABLE invoices;
DROP FUNCTION sc_invoice_line_frozen();
DROP FUNCTION sc_invoice_frozen();
