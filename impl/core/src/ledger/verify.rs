//! The proof that what is stored about money agrees with itself.
//!
//! Each check is one query that answers the first row that breaks it. They run in one snapshot, so that a server that
//! goes on working does not look like a fault.
use crate::db::statement::statement;
use crate::db::{Conn, Db};
use crate::error::{Error, Result};
use crate::op::OpContext;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use std::sync::LazyLock;

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
    ("what was paid of an invoice is the sum of what moved it",
     "SELECT format('invoice %s: paid %s, moved %s', i.invoice_id, i.paid_cents, COALESCE(a.amount, 0)) AS found
      FROM invoices i LEFT JOIN (SELECT tenant_id, invoice_id, sum(amount_cents) AS amount FROM payment_allocations GROUP BY 1, 2) a USING (tenant_id, invoice_id)
      WHERE i.document_type = 'invoice' AND i.paid_cents <> COALESCE(a.amount, 0)"),
    ("what was credited of an invoice is the sum of its credit notes",
     "SELECT format('invoice %s: credited %s, its notes %s', i.invoice_id, i.credited_cents, COALESCE(n.amount, 0)) AS found
      FROM invoices i LEFT JOIN (SELECT tenant_id, referenced_invoice_id AS invoice_id, -sum(total_cents) AS amount FROM invoices
        WHERE document_type = 'credit_note' AND number IS NOT NULL GROUP BY 1, 2) n USING (tenant_id, invoice_id)
      WHERE i.document_type = 'invoice' AND i.credited_cents <> COALESCE(n.amount, 0)"),
    ("a credit note is of the tenant, partner and currency of an issued invoice, and settled by being issued",
     "SELECT format('credit note %s', n.invoice_id) AS found
      FROM invoices n LEFT JOIN invoices i ON i.tenant_id = n.tenant_id AND i.invoice_id = n.referenced_invoice_id
      WHERE n.document_type = 'credit_note' AND (i.number IS NULL OR n.number IS NULL OR (n.partner_id, n.currency) <> (i.partner_id, i.currency)
        OR n.total_cents >= 0 OR n.due_cents <> 0 OR n.paid_cents <> 0)"),
    ("every line of a credit note takes back a line of its invoice, and that is its amount",
     "SELECT format('line %s of credit note %s: amount %s, takes back %s; tax %s, takes back %s', l.line_item_id, n.invoice_id, l.amount_cents, c.net_cents, l.tax_cents, c.tax_cents) AS found
      FROM invoices n JOIN invoice_lines l USING (tenant_id, invoice_id) LEFT JOIN credit_note_lines c ON c.tenant_id = l.tenant_id AND c.line_item_id = l.line_item_id AND c.invoice_id = n.referenced_invoice_id
        LEFT JOIN invoice_lines o ON o.tenant_id = c.tenant_id AND o.line_item_id = c.credited_line_item_id
      WHERE n.document_type = 'credit_note' AND (c.line_item_id IS NULL OR c.invoice_id <> n.referenced_invoice_id OR o.invoice_id <> n.referenced_invoice_id
        OR c.credit_note_id <> n.invoice_id OR l.amount_cents <> -c.net_cents OR l.tax_cents <> -c.tax_cents OR l.platform_cost_cents <> -c.cost_cents)"),
    ("no line is taken back beyond its amount and its platform cost",
     "SELECT format('line %s: amount %s, credited %s; cost %s, given back %s', l.line_item_id, l.amount_cents, c.net, l.platform_cost_cents, c.cost) AS found
      FROM (SELECT tenant_id, credited_line_item_id AS line_item_id, sum(net_cents) AS net, sum(cost_cents) AS cost FROM sc_taken_back GROUP BY 1, 2) c
        JOIN invoice_lines l USING (tenant_id, line_item_id)
      WHERE NOT c.net BETWEEN least(l.amount_cents, 0) AND greatest(l.amount_cents, 0)
        OR NOT c.cost BETWEEN least(l.platform_cost_cents, 0) AND greatest(l.platform_cost_cents, 0)"),
    ("every credit line of an invoice takes back a line of an earlier one, and that is its amount",
     "SELECT format('line %s of invoice %s: amount %s, takes back %s', l.line_item_id, l.invoice_id, l.amount_cents, c.net_cents) AS found
      FROM invoices i JOIN invoice_lines l USING (tenant_id, invoice_id)
        LEFT JOIN (SELECT tenant_id, line_item_id, credit_note_id, sum(net_cents) AS net_cents, sum(tax_cents) AS tax_cents, sum(cost_cents) AS cost_cents
          FROM credit_note_lines GROUP BY 1, 2, 3) c USING (tenant_id, line_item_id)
      WHERE i.document_type = 'invoice' AND i.number IS NOT NULL AND l.explanation ? 'credited_line_item_id'
        AND (c.line_item_id IS NULL OR c.credit_note_id <> i.invoice_id OR l.amount_cents <> -c.net_cents OR l.tax_cents <> -c.tax_cents
          OR l.platform_cost_cents <> -c.cost_cents)"),
    ("the platform's cost of a document's lines is in the ledger",
     "SELECT format('invoice %s: lines %s, posted %s', invoice_id, COALESCE(l.cost, 0), COALESCE(p.cost, 0)) AS found
      FROM (SELECT tenant_id, invoice_id, sum(platform_cost_cents) AS cost FROM invoice_lines GROUP BY 1, 2) l
      FULL JOIN (SELECT j.tenant_id, j.invoice_id, sum(e.amount_cents) AS cost FROM journals j JOIN ledger_entries e USING (tenant_id, journal_id)
        WHERE e.account = 'partner_cost' OR e.account LIKE 'partner\\_cost:%' GROUP BY 1, 2) p USING (tenant_id, invoice_id)
      WHERE COALESCE(l.cost, 0) <> COALESCE(p.cost, 0)"),
    ("the state of an issued invoice is that of what is due",
     "SELECT format('invoice %s (%s) is %s: due %s, credited %s of %s', invoice_id, number, status, due_cents, credited_cents, total_cents) AS found FROM invoices
      WHERE document_type = 'invoice' AND number IS NOT NULL AND CASE status
        WHEN 'paid' THEN due_cents <> 0 AND payment_reversed_at IS NULL
        WHEN 'void' THEN credited_cents <> total_cents OR paid_cents <> 0
        ELSE due_cents <= 0 END"),
    ("a payment's parts are its amount",
     "SELECT format('%s %s (%s) of invoice %s: %s, for the invoice %s, credit %s', p.kind, p.payment_id, p.method_type, p.invoice_id, p.amount_cents, p.paid, p.credit) AS found
      FROM (SELECT *,
          (SELECT COALESCE(sum(a.amount_cents), 0) FROM payment_allocations a WHERE a.tenant_id = p.tenant_id AND a.payment_id = p.payment_id) AS paid,
          (SELECT COALESCE(sum(c.amount_cents), 0) FROM customer_credit_entries c WHERE c.tenant_id = p.tenant_id AND c.payment_id = p.payment_id) AS credit
        FROM payments p WHERE status = 'succeeded') p
      WHERE CASE WHEN kind = 'refund' THEN (amount_cents <> -paid - credit OR paid > 0 OR credit > 0)
        WHEN method_type = 'customer_credit' THEN (paid <> amount_cents OR credit <> -amount_cents)
        WHEN method_type = 'write_off' THEN (paid <> amount_cents OR credit <> 0)
        ELSE amount_cents <> paid + credit END"),
    ("no more goes back of a payment than came in by it",
     "SELECT format('payment %s: %s, sent back %s', p.payment_id, p.amount_cents, r.amount) AS found
      FROM (SELECT tenant_id, refunds_payment_id AS payment_id, sum(amount_cents) AS amount FROM payments
        WHERE kind = 'refund' AND status IN ('created', 'pending', 'unknown', 'succeeded') GROUP BY 1, 2) r JOIN payments p USING (tenant_id, payment_id)
      WHERE r.amount > p.amount_cents OR p.kind <> 'payment' OR p.provider_account IS NULL"),
    ("what came in and was not sent back is on its invoice, credit, or was used elsewhere",
     "SELECT format('invoice %s: net money %s and applied credit %s, on the invoice %s, became credit %s', i.invoice_id, m.money, a.applied, a.held, c.given) AS found
      FROM invoices i
      CROSS JOIN LATERAL (SELECT COALESCE(sum(CASE kind WHEN 'refund' THEN -amount_cents ELSE amount_cents END), 0) AS money FROM payments p
        WHERE p.tenant_id = i.tenant_id AND p.invoice_id = i.invoice_id AND p.status = 'succeeded' AND p.provider_account IS NOT NULL) m
      CROSS JOIN LATERAL (SELECT COALESCE(sum(amount_cents) FILTER (WHERE kind = 'credit_applied'), 0) AS applied,
          COALESCE(sum(amount_cents) FILTER (WHERE kind NOT IN ('write_off', 'write_off_reversed')), 0) AS held FROM payment_allocations a
        WHERE a.tenant_id = i.tenant_id AND a.invoice_id = i.invoice_id) a
      CROSS JOIN LATERAL (SELECT COALESCE(sum(amount_cents) FILTER (WHERE kind <> 'applied'), 0) AS given FROM customer_credit_entries c
        WHERE c.tenant_id = i.tenant_id AND c.origin_invoice_id = i.invoice_id) c
      WHERE i.document_type = 'invoice' AND i.number IS NOT NULL AND (m.money + a.applied <> a.held + c.given OR m.money < 0)"),
    ("credit of the tenants is what the ledger says, and never below 0",
     "SELECT format('tenant %s, partner %s, %s: credit %s, ledger %s', tenant_id, partner_id, currency, COALESCE(c.amount, 0), COALESCE(l.amount, 0)) AS found
      FROM (SELECT tenant_id, partner_id, currency, sum(amount_cents) AS amount FROM customer_credit_entries GROUP BY 1, 2, 3) c
      FULL JOIN (SELECT tenant_id, partner_id, currency, -sum(amount_cents) AS amount FROM ledger_entries WHERE account = 'customer_credit' GROUP BY 1, 2, 3) l
        USING (tenant_id, partner_id, currency) WHERE COALESCE(c.amount, 0) <> COALESCE(l.amount, 0) OR c.amount < 0"),
    ("no credit is used beyond what was given",
     "SELECT format('credit %s: %s is left', lot_id, sum(amount_cents)) AS found FROM customer_credit_entries GROUP BY tenant_id, lot_id HAVING sum(amount_cents) < 0"),
    ("the money of the payments is what the ledger has on their accounts",
     "SELECT format('tenant %s, partner %s, %s at %s: payments %s, ledger %s', tenant_id, partner_id, currency, account, COALESCE(p.amount, 0), COALESCE(l.amount, 0)) AS found
      FROM (SELECT tenant_id, partner_id, currency, 'clearing:' || provider_account AS account, sum(CASE kind WHEN 'refund' THEN -amount_cents ELSE amount_cents END) AS amount
        FROM payments WHERE status = 'succeeded' AND provider_account IS NOT NULL GROUP BY 1, 2, 3, 4) p
      FULL JOIN (SELECT tenant_id, partner_id, currency, account, sum(amount_cents) AS amount FROM ledger_entries WHERE account LIKE 'clearing:%' GROUP BY 1, 2, 3, 4) l
        USING (tenant_id, partner_id, currency, account) WHERE COALESCE(p.amount, 0) <> COALESCE(l.amount, 0)"),
    ("what was given up is what the ledger says",
     "SELECT format('tenant %s, partner %s, %s: given up %s, ledger %s', tenant_id, partner_id, currency, COALESCE(a.amount, 0), COALESCE(l.amount, 0)) AS found
      FROM (SELECT tenant_id, partner_id, currency, sum(amount_cents) AS amount FROM payment_allocations WHERE kind IN ('write_off', 'write_off_reversed') GROUP BY 1, 2, 3) a
      FULL JOIN (SELECT tenant_id, partner_id, currency, sum(amount_cents) AS amount FROM ledger_entries WHERE account = 'write_off' GROUP BY 1, 2, 3) l
        USING (tenant_id, partner_id, currency) WHERE COALESCE(a.amount, 0) <> COALESCE(l.amount, 0)"),
    ("nothing is billed by two documents that stand",
     "SELECT format('%s of %s %s from %s is billed %s times', b.kind, b.source_type, b.source_id, b.period_start, count(*)) AS found
      FROM billed_items b LEFT JOIN invoices i USING (tenant_id, invoice_id) WHERE i.status IS DISTINCT FROM 'void'
      GROUP BY b.tenant_id, b.source_type, b.source_id, b.period_start, b.kind, CASE WHEN b.kind = 'correction' THEN b.revision END HAVING count(*) > 1"),
    ("recurring revenue is what its changes add up to",
     "SELECT format('subscription %s: counts with %s, its changes say %s', s.subscription_id, c.counts, COALESCE(m.amount, 0)) AS found
      FROM subscriptions s
      CROSS JOIN LATERAL (SELECT CASE WHEN s.status IN ('active', 'past_due', 'cancelling') AND s.billing_period <> 'one_time' THEN s.mrr_amount_cents ELSE 0 END AS counts) c
      LEFT JOIN (SELECT tenant_id, subscription_id, sum(delta_cents) AS amount FROM mrr_changes GROUP BY 1, 2) m USING (tenant_id, subscription_id)
      WHERE c.counts <> COALESCE(m.amount, 0)"),
    ("the children of a pack are in its state and its time",
     "SELECT format('pack subscription %s is %s, its child %s %s', p.pack_subscription_id, p.status, s.subscription_id, s.status) AS found
      FROM pack_subscriptions p LEFT JOIN subscriptions s USING (tenant_id, pack_subscription_id)
      WHERE s.subscription_id IS NULL OR (p.partner_id, p.status, p.billing_period, p.currency, p.timezone) <> (s.partner_id, s.status, s.billing_period, s.currency, s.timezone)
        OR (p.current_period_start, p.current_period_end, p.trial_ends_at, p.activated_at, p.anchor_date, p.anchored_at, p.pending_cancellation_at,
            p.past_due_since, p.suspended_at, p.suspension_reason, p.cancelled_at) IS DISTINCT FROM
           (s.current_period_start, s.current_period_end, s.trial_ends_at, s.activated_at, s.anchor_date, s.anchored_at, s.pending_cancellation_at,
            s.past_due_since, s.suspended_at, s.suspension_reason, s.cancelled_at)"),
    ("a pack has one child for each of its items",
     "SELECT format('pack subscription %s: service %s', COALESCE(s.pack_subscription_id, p.pack_subscription_id), COALESCE(s.service_id, p.service_id)) AS found
      FROM (SELECT tenant_id, pack_subscription_id, service_id, plan_id FROM pack_subscriptions p JOIN pack_items i ON i.pack_id = p.pack_id AND i.version = p.items_version) p
      FULL JOIN (SELECT * FROM subscriptions WHERE pack_subscription_id IS NOT NULL) s USING (tenant_id, pack_subscription_id, service_id, plan_id)
      WHERE s.subscription_id IS NULL OR p.service_id IS NULL"),
    ("recurring revenue of a pack's children is that of the pack",
     "SELECT format('pack subscription %s: %s, its children %s', p.pack_subscription_id, p.mrr_amount_cents, sum(s.mrr_amount_cents)) AS found
      FROM pack_subscriptions p JOIN subscriptions s USING (tenant_id, pack_subscription_id)
      GROUP BY p.tenant_id, p.pack_subscription_id HAVING p.mrr_amount_cents <> sum(s.mrr_amount_cents)"),
    ("a period of a pack is billed once, by the pack",
     "SELECT format('pack subscription %s: the period from %s has %s items', q.pack_subscription_id, q.starts_at, count(b.billed_item_id)) AS found
      FROM pack_periods q LEFT JOIN billed_items b ON b.tenant_id = q.tenant_id AND b.source_type = 'pack_subscription' AND b.source_id = q.pack_subscription_id
        AND b.period_start = q.starts_at AND b.kind = 'pack' AND b.revision = 0
      GROUP BY q.tenant_id, q.period_id HAVING count(b.billed_item_id) <> 1
      UNION ALL SELECT format('subscription %s belongs to a pack and is billed a %s', s.subscription_id, b.kind)
      FROM subscriptions s JOIN billed_items b ON b.tenant_id = s.tenant_id AND b.source_type = 'subscription' AND b.source_id = s.subscription_id
      WHERE s.pack_subscription_id IS NOT NULL"),
    ("the parts of a pack's line are its amount and its platform cost",
     "SELECT format('line %s: amount %s, parts %s; cost %s, parts %s', l.line_item_id, l.amount_cents, COALESCE(p.amount, 0), l.platform_cost_cents, COALESCE(p.cost, 0)) AS found
      FROM invoice_lines l JOIN invoices i USING (tenant_id, invoice_id)
        LEFT JOIN (SELECT tenant_id, line_item_id, sum(amount_cents) AS amount, sum(cost_cents) AS cost FROM invoice_line_parts GROUP BY 1, 2) p USING (tenant_id, line_item_id)
      WHERE i.number IS NOT NULL AND (l.kind = 'pack' OR p.line_item_id IS NOT NULL)
        AND (l.amount_cents, l.platform_cost_cents) IS DISTINCT FROM (p.amount, p.cost)"),
    ("no part is taken back beyond its amount and its platform cost",
     "SELECT format('part %s of line %s: amount %s, taken back %s; cost %s, given back %s', o.position, o.line_item_id, o.amount_cents, -n.amount, o.cost_cents, -n.cost) AS found
      FROM (SELECT c.tenant_id, c.credited_line_item_id AS line_item_id, p.position, sum(p.amount_cents) AS amount, sum(p.cost_cents) AS cost
        FROM credit_note_lines c JOIN invoice_line_parts p USING (tenant_id, line_item_id) GROUP BY 1, 2, 3) n
      JOIN invoice_line_parts o USING (tenant_id, line_item_id, position)
      WHERE NOT -n.amount BETWEEN 0 AND o.amount_cents OR NOT -n.cost BETWEEN 0 AND o.cost_cents"),
    ("what each service earned is in the ledger",
     "SELECT format('invoice %s, service %s: lines %s, posted %s', invoice_id, account, COALESCE(l.amount, 0), COALESCE(e.amount, 0)) AS found
      FROM (SELECT l.tenant_id, l.invoice_id, 'revenue' || COALESCE(':' || COALESCE(p.service_slug, l.service_slug), '') AS account, sum(COALESCE(p.amount_cents, l.amount_cents)) AS amount
        FROM invoice_lines l JOIN invoices i USING (tenant_id, invoice_id) LEFT JOIN invoice_line_parts p USING (tenant_id, line_item_id)
        WHERE i.number IS NOT NULL GROUP BY 1, 2, 3) l
      FULL JOIN (SELECT j.tenant_id, j.invoice_id, e.account, -sum(e.amount_cents) AS amount FROM journals j JOIN ledger_entries e USING (tenant_id, journal_id)
        WHERE (e.account = 'revenue' OR e.account LIKE 'revenue:%') AND j.kind IN ('invoice', 'credit_note') GROUP BY 1, 2, 3) e USING (tenant_id, invoice_id, account)
      WHERE COALESCE(l.amount, 0) <> COALESCE(e.amount, 0)"),
    ("a charge of a service is what bills it",
     "SELECT format('charge %s is %s: its item is %s', c.charge_id, c.status, COALESCE(i.status, 'not there')) AS found
      FROM service_charges c LEFT JOIN LATERAL (SELECT b.status, b.invoice_id FROM billed_items b
        WHERE b.tenant_id = c.tenant_id AND b.source_type = 'charge' AND b.source_id = c.charge_id ORDER BY b.revision DESC LIMIT 1) i ON true
      WHERE c.invoice_id IS DISTINCT FROM CASE c.status WHEN 'invoiced' THEN i.invoice_id END OR CASE c.status
        WHEN 'pending' THEN i.status IS DISTINCT FROM 'due'
        WHEN 'invoiced' THEN i.status IS NULL OR i.status = 'due'
        ELSE i.status = 'due' END"),
];

/// The same, each as a statement that a connection keeps prepared: planning them takes longer than a small database does.
static STATEMENTS: LazyLock<Vec<(&'static str, &'static str)>> = LazyLock::new(|| {
    let first = |query: &str| -> &'static str { format!("{query} LIMIT 1").leak() };
    CHECKS.iter().map(|(check, query)| (*check, first(query))).collect()
});

/// Runs every check and answers the first difference, or none. They are sent together: the server runs one after the other.
pub async fn run(db: &Db, op: &OpContext) -> Result<Option<Difference>> {
    db.snapshot(op, async |conn: &mut Conn| {
        let shared: &Conn = conn;
        let all = STATEMENTS.iter().map(|(check, query)| async move {
            let mut conn = shared;
            let found: Option<String> = statement::<Text>(query).get_result(&mut conn).await.optional()?;
            Ok::<_, Error>(found.map(|found| Difference { check, found }))
        });
        Ok(futures::future::try_join_all(all).await?.into_iter().flatten().next())
    })
    .await
}

/// How many checks there are.
pub fn count() -> usize {
    CHECKS.len()
}
