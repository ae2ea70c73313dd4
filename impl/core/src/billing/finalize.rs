//! A draft becomes a document.
//!
//! Everything is one transaction: the parties are checked and frozen, VAT is decided, sums are computed, credit of the
//! tenant is used up, the journal is posted, and last of all the number is taken. The row of the number's series stays
//! locked from there to the commit, which is a moment, so that numbers have no gap however many finalize at once and
//! wherever one is killed. When anything fails the draft is as it was.
//!
//! An invoice never comes to less than 0: credit lines that would make it so become credit notes of the invoices that they
//! take back, see [`super::credit_lines`]. When nothing else was on the draft, the credit note takes its place.
use super::credit_lines;
use super::issue::{self, Unissued};
use super::store::{self, InvoiceRow, LineRow};
use super::tax::{self, Parties, Taxed};
use super::{drafts, parts, view};
use crate::app::Control;
use crate::audit;
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::payments;
use crate::settings::{self, Settings};
use chrono::NaiveDate;
use futures::try_join;
use scaicontrol_domain::cost;
use scaicontrol_domain::invoice::{LineKind, due_date};
use scaicontrol_domain::ledger::Document;
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_domain::period::{local_date, local_midnight, parse_timezone};
use scaicontrol_types::InvoiceDetailResponse;
use uuid::Uuid;

/// Issues a draft.
///
/// Errors: 404; 409 unless it is a draft; 400 naming every field that stands in the way.
pub async fn finalize(op: &OpContext, app: &Control, invoice_id: Uuid) -> Result<InvoiceDetailResponse> {
    let operator = app.config.platform.operator_partner_id.clone();
    app.db
        .once(op, "admin_invoice_finalize", async |conn| {
            in_tx(conn, op, operator.as_deref(), invoice_id).await?.document()
        })
        .await
}

/// What a draft became.
#[derive(Debug, Default)]
pub struct Became {
    /// Credit notes of what its credit lines take back, where those could not stand.
    pub notes: Vec<InvoiceDetailResponse>,
    /// The invoice; none when the credit notes say all that was on the draft.
    pub invoice: Option<InvoiceDetailResponse>,
}

impl Became {
    /// The invoice, or the last credit note instead of it.
    fn document(self) -> Result<InvoiceDetailResponse> {
        let last = self.notes.into_iter().next_back();
        self.invoice.or(last).ok_or_else(|| Error::internal("a draft that became nothing"))
    }
}

/// Issues a draft in the transaction that is open. `operator` is the partner that the platform itself is.
pub async fn in_tx(
    conn: &mut Conn,
    op: &OpContext,
    operator: Option<&str>,
    invoice_id: Uuid,
) -> Result<Became> {
    let draft = store::lock_draft(conn, invoice_id).await?;
    let shared: &Conn = conn;
    let (before, settings, parties) =
        try_join!(store::lines(shared, &draft.tenant_id, invoice_id), settings::load(shared), async {
            Ok(Parties::load(shared, &draft.tenant_id, &draft.partner_id).await)
        })?;
    if before.is_empty() {
        return Err(Error::field("line_items", "an invoice needs at least one line"));
    }
    let parties = parties?;
    let currency = Currency::parse(&draft.currency).map_err(Error::internal)?;
    let timezone = parse_timezone(&parties.seller.timezone).map_err(Error::internal)?;
    let issue_date = local_date(op.now, timezone).map_err(Error::internal)?;
    let tax_of =
        |lines: &[LineRow]| tax::tax(&parties, lines, currency, issue_date, draft.tax_point_date, &settings);
    let mut reversals = credit_lines::load(conn, &before).await?;
    let mut wanted = credit_lines::referring(&before, &reversals);
    let (mut taxed, mut notes) = (tax_of(&wanted), vec![]);
    let stands = |taxed: &Taxed| credit_lines::can_stand(&reversals, taxed, &parties);
    if !reversals.is_empty() && !taxed.as_ref().is_ok_and(stands) {
        let rest;
        (rest, notes) = credit_lines::as_credit_notes(conn, op, &wanted, &reversals).await?;
        if let (true, Some(note)) = (rest.is_empty(), notes.as_slice().last()) {
            credit_lines::replace_draft(conn, &draft, note.id).await?;
            let drafted = view::detail(&draft, &before)?;
            audit::record(conn, op, drafts::audited(&draft), Some(&drafted), None::<&()>).await?;
            return Ok(Became { notes, invoice: None });
        }
        (wanted, reversals) = (rest, vec![]);
        taxed = tax_of(&wanted);
    }
    let taxed = taxed?;
    if taxed.totals.total < Cents(0) {
        return Err(Error::field("line_items", "add up to less than 0"));
    }

    let is_operator = operator == Some(draft.partner_id.as_str());
    let mut lines = decided(wanted, &taxed, if is_operator { None } else { Some(&settings) })?;
    credit_lines::settle_cost(&mut lines, &reversals, is_operator);
    store::replace_lines(conn, &before, &lines).await?;
    let drafted = view::unexplained(&draft, &before, vec![])?;
    // Thousands of them are too much to hold on to.
    drop(before);
    let parts = parts::of_lines(&lines, if is_operator { None } else { Some(&settings) })?;
    parts::insert(conn, &parts).await?;
    credit_lines::link(conn, &lines, &reversals, is_operator).await?;
    let mut row = frozen(op, &draft, &parties, &taxed, issue_date, &settings)?;
    let credit_applied = payments::apply_credit(conn, op, &mut row).await?;
    let paid = match credit_applied {
        Cents::ZERO => vec![],
        _ => payments::view::of_invoice(conn, &row.tenant_id, invoice_id).await?,
    };
    if row.due_cents == 0 {
        // What nothing is left to pay of is paid.
        (row.status, row.paid_at) = ("paid".into(), Some(op.now));
    }
    let document = Document {
        lines: parts::by_service(&lines, &parts),
        taxes: tax::by_account(&taxed)?,
        credit_applied,
        platform_costs: costs(&lines)?,
    };
    let unissued = Unissued {
        row,
        lines: &lines,
        document: &document,
        prefix: &parties.seller.invoice_number_prefix,
        paid,
        before: Some(drafted),
        reason: None,
    };
    let invoice = issue::issue(conn, op, unissued).await?.1;
    Ok(Became { notes, invoice: Some(invoice) })
}

/// The lines with what was decided for them, and what the platform gets of each by these settings.
fn decided(mut lines: Vec<LineRow>, taxed: &Taxed, cost_by: Option<&Settings>) -> Result<Vec<LineRow>> {
    let parts = taxed.decisions.iter().zip(&taxed.totals.line_tax);
    for (line, (decision, part)) in lines.iter_mut().zip(parts) {
        line.platform_cost_cents = cost_by.map_or(Ok(0), |settings| platform_cost(line, settings))?;
        (line.tax_rate, line.tax_cents) = (decision.printed_rate(), part.0);
        line.tax_category = Some(decision.category.as_str().into());
        if let Some(explanation) = &mut line.explanation {
            explanation["tax"] = serde_json::json!(decision);
        }
    }
    Ok(lines)
}

/// The document with its sums, dates and snapshots, and without its number.
fn frozen(
    op: &OpContext,
    draft: &InvoiceRow,
    parties: &Parties,
    taxed: &Taxed,
    issue_date: NaiveDate,
    settings: &Settings,
) -> Result<InvoiceRow> {
    let due = match draft.due_date {
        Some(date) if date < issue_date => return Err(Error::field("due_date", "is before the issue date")),
        Some(date) => date,
        None => due_date(issue_date, false, settings.payment_terms_days)
            .ok_or_else(|| Error::internal("payment terms beyond the calendar"))?,
    };
    let timezone = parse_timezone(&parties.seller.timezone).map_err(Error::internal)?;
    let day_after = due.succ_opt().ok_or_else(|| Error::field("due_date", "is beyond the calendar"))?;
    let totals = &taxed.totals;
    if drafts::AMOUNT_MAX_CENTS < totals.total.0 {
        return Err(Error::field("line_items", "add up to too much"));
    }
    let json = |v: serde_json::Result<serde_json::Value>| v.map(Some).map_err(Error::internal);
    Ok(InvoiceRow {
        status: "finalized".into(),
        issue_date: Some(issue_date),
        due_date: Some(due),
        tax_point_date: draft.tax_point_date.filter(|date| *date != issue_date),
        subtotal_cents: totals.subtotal.0,
        tax_cents: totals.tax.0,
        total_cents: totals.total.0,
        due_cents: totals.total.0,
        buyer_snapshot: json(serde_json::to_value(parties.buyer_snapshot()?))?,
        seller_snapshot: json(serde_json::to_value(parties.seller_snapshot()))?,
        vat_details: json(serde_json::to_value(&taxed.details))?,
        updated_at: op.now,
        finalized_at: Some(op.now),
        overdue_at: Some(local_midnight(day_after, timezone).map_err(Error::internal)?),
        ..draft.clone()
    })
}

/// What the partner owes the platform for a line: a part of every one that the platform made, in cents.
fn platform_cost(line: &LineRow, settings: &Settings) -> Result<i64> {
    let kind: LineKind = line.kind.parse().map_err(Error::internal)?;
    if kind == LineKind::Pack {
        return parts::cost(line, settings).map(|cost| cost.0);
    }
    let multiplier = cost::effective_multiplier(&settings.cost_multipliers, line.plan_key.as_deref());
    let cost = cost::platform_cost(kind, Cents(line.amount_cents), multiplier);
    cost.map(|c| c.0).map_err(|_| Error::field("line_items", "make a platform cost that is too large"))
}

/// The platform's part of each line of a document, by service.
pub fn costs(lines: &[LineRow]) -> Result<Vec<(Option<String>, Cents)>> {
    let costs: Vec<_> =
        lines.iter().map(|l| (l.service_slug.clone(), Cents(l.platform_cost_cents))).collect();
    Cents::sum(costs.iter().map(|(_, cost)| *cost))
        .map_err(|_| Error::field("line_items", "make a platform cost that is too large"))?;
    Ok(costs)
}
