//! The proof that what is stored about money agrees with itself.
//!
//! Each check is one query that answers the first row that breaks it. They run in one snapshot, so that a server that
//! goes on working does not look like a fault.
use crate::db::{Conn, Db};
use crate::error::Result;
use crate::op::OpContext;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use serde::Serialize;

/// The first thing that does not agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Name of the check.
    pub check: &'static str,
    /// What was found, and where.
    pub found: String,
}

/// Name of a check, and the query that answers, as `found`, the first thing that breaks it.
const CHECKS: &[(&str, &str)] = &[
    ("every journal sums to zero in every currency",
     "SELECT format('journal %s: %s %s', journal_id, sum(amount_cents), currency) AS found FROM ledger_entries
      GROUP BY tenant_id, journal_id, currency HAVING sum(amount_cents) <> 0"),
    ("every journal has entries",
     "SELECT format('journal %s (%s)', j.journal_id, j.operation_key) AS found FROM journals j
      WHERE NOT EXISTS (SELECT 1 FROM ledger_entries e WHERE e.tenant_id = j.tenant_id AND e.journal_id = j.journal_id)"),
    ("a document's sums are those of its lines",
     "SELECT format('invoice %s: subtotal %s, lines %s; tax %s, lines %s', i.invoice_id, i.subtotal_cents, COALESCE(l.amount, 0), i.tax_cents, COALESCE(l.tax, 0)) AS found
      FROM invoices i LEFT JOIN (SELECT tenant_id, invoice_id, sum(amount_cents) AS amount, sum(tax_cents) AS tax FROM invoice_lines GROUP BY 1, 2) l
        USING (tenant_id, invoice_id)
      WHERE i.subtotal_cents <> COALESCE(l.amount, 0) OR i.tax_cents <> COALESCE(l.tax, 0)"),
    ("a document's VAT breakdown is its tax and its subtotal",
     "SELECT format('invoice %s (%s)', i.invoice_id, i.number) AS found FROM invoices i
      WHERE i.number IS NOT NULL AND (i.tax_cents, i.subtotal_cents) <>
        (SELECT COALESCE(sum((b->>'tax_cents')::bigint), 0), COALESCE(sum((b->>'taxable_cents')::bigint), 0) FROM jsonb_array_elements(i.vat_details->'breakdown') b)"),
    ("total = paid + credited + due, and no more is credited than the total",
     "SELECT format('invoice %s: total %s, paid %s, credited %s, due %s', invoice_id, total_cents, paid_cents, credited_cents, due_cents) AS found FROM invoices
      WHERE total_cents <> paid_cents + credited_cents + due_cents OR (document_type = 'invoice' AND number IS NOT NULL AND (total_cents < credited_cents OR paid_cents < 0 OR total_cents < paid_cents))"),
    ("numbers run from 1 without a gap in every series",
     "SELECT format('partner %s, %s %s: %s numbers, the last is %s, the counter says %s', c.partner_id, c.series, c.year, count(n.value), max(n.value), c.last_value) AS found
      FROM invoice_counters c LEFT JOIN invoice_numbers n USING (partner_id, series, year)
      GROUP BY c.partner_id, c.series, c.year, c.last_value HAVING count(n.value) <> c.last_value OR COALESCE(max(n.value), 0) <> c.last_value"),
    ("every number belongs to the document that shows it",
     "SELECT format('number %s of partner %s', COALESCE(n.number, i.number), COALESCE(n.partner_id, i.partner_id)) AS found
      FROM (SELECT * FROM invoices WHERE number IS NOT NULL) i
      FULL JOIN invoice_numbers n ON n.tenant_id = i.tenant_id AND n.invoice_id = i.invoice_id AND n.partner_id = i.partner_id AND n.number = i.number
      WHERE n.number IS NULL OR i.number IS NULL"),
    ("every number's year is that of the issue date",
     "SELECT format('invoice %s (%s): issued %s', i.invoice_id, i.number, i.issue_date) AS found
      FROM invoices i JOIN invoice_numbers n USING (tenant_id, invoice_id) WHERE n.year <> EXTRACT(year FROM i.issue_date)"),
    ("every issued document is in the ledger with its total, tax and net revenue",
     "SELECT format('invoice %s (%s): total %s, posted %s; tax %s, posted %s; net %s, posted %s', i.invoice_id, i.number, i.total_cents, COALESCE(p.total, 0),
        i.tax_cents, COALESCE(p.tax, 0), i.subtotal_cents, COALESCE(p.net, 0)) AS found
      FROM invoices i LEFT JOIN (
        SELECT j.tenant_id, j.invoice_id,
          sum(e.amount_cents) FILTER (WHERE e.account = 'receivable' OR e.account = 'customer_credit') AS total,
          -sum(e.amount_cents) FILTER (WHERE e.account LIKE 'vat:%') AS tax,
          -sum(e.amount_cents) FILTER (WHERE e.account = 'revenue' OR e.account LIKE 'revenue:%') AS net
        FROM journals j JOIN ledger_entries e USING (tenant_id, journal_id) WHERE j.kind IN ('invoice', 'credit_note') GROUP BY 1, 2) p USING (tenant_id, invoice_id)
      WHERE i.number IS NOT NULL AND (i.total_cents <> COALESCE(p.total, 0) OR i.tax_cents <> COALESCE(p.tax, 0) OR i.subtotal_cents <> COALESCE(p.net, 0))"),
    ("no draft is in the ledger",
     "SELECT format('journal %s of invoice %s', j.journal_id, i.invoice_id) AS found FROM journals j JOIN invoices i USING (tenant_id, invoice_id) WHERE i.number IS NULL"),
    ("what is owed by the documents is what the ledger says is receivable",
     "SELECT format('tenant %s, partner %s, %s: documents %s, ledger %s', tenant_id, partner_id, currency, COALESCE(d.due, 0), COALESCE(l.due, 0)) AS found
      FROM (SELECT tenant_id, partner_id, currency, sum(due_cents) AS due FROM invoices WHERE number IS NOT NULL GROUP BY 1, 2, 3) d
      FULL JOIN (SELECT tenant_id, partner_id, currency, sum(amount_cents) AS due FROM ledger_entries WHERE account = 'receivable' GROUP BY 1, 2, 3) l
        USING (tenant_id, partner_id, currency) WHERE COALESCE(d.due, 0) <> COALESCE(l.due, 0)"),
    ("what was billed is on the document that it names",
     "SELECT format('item %s: %s', b.billed_item_id, b.status) AS found FROM billed_items b LEFT JOIN invoices i USING (tenant_id, invoice_id)
      WHERE (b.status = 'invoiced' AND i.invoice_id IS NULL) OR (b.status <> 'invoiced' AND b.invoice_id IS NOT NULL)"),
    ("every line of a billing run bills an item that is on its document",
     "SELECT format('line %s of invoice %s', l.line_item_id, l.invoice_id) AS found FROM invoice_lines l LEFT JOIN billed_items b USING (tenant_id, billed_item_id)
      WHERE l.billed_item_id IS NOT NULL AND b.invoice_id IS DISTINCT FROM l.invoice_id"),
    ("periods of a subscription tile its time",
     "SELECT format('subscription %s: a period ends at %s and the next starts at %s', subscription_id, ends_at, next_at) AS found
      FROM (SELECT subscription_id, ends_at, lead(starts_at) OVER (PARTITION BY tenant_id, subscription_id ORDER BY starts_at) AS next_at FROM subscription_periods) p
      WHERE next_at < ends_at OR (next_at IS NOT NULL AND ends_at IS NULL)"),
    ("segments of a subscription tile its time",
     "SELECT format('subscription %s: a segment ends at %s and the next starts at %s', subscription_id, ends_at, next_at) AS found
      FROM (SELECT subscription_id, ends_at, lead(starts_at) OVER (PARTITION BY tenant_id, subscription_id ORDER BY starts_at) AS next_at FROM segments) s
      WHERE next_at <> ends_at"),
];

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    found: String,
}

/// Runs every check and answers the first difference, or none.
pub async fn run(db: &Db, op: &OpContext) -> Result<Option<Difference>> {
    db.snapshot(op, async |conn: &mut Conn| {
        for (check, query) in CHECKS {
            let first: Option<Found> =
                diesel::sql_query(format!("{query} LIMIT 1")).get_result(conn).await.optional()?;
            if let Some(Found { found }) = first {
                return Ok(Some(Difference { check, found }));
            }
        }
        Ok(None)
    })
    .await
}

/// How many checks there are.
pub fn count() -> usize {
    CHECKS.len()
}
