DROP TABLE ledger_entries;
DROP TABLE journals;
DROP FUNCTION sc_journal_balanced();
