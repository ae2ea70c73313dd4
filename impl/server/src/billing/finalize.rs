//! A draft becomes a document.
//!
//! Everything is one transaction: the parties are checked and frozen, VAT is decided, sums are computed, the journal is
//! posted, and last of all the number is taken. The row of the number's series stays locked from there to the commit,
//! which is a moment, so that numbers have no gap however many finalize at once and wherever one is killed. When
//! anything fails the draft is as it was.
use super::store::{self, InvoiceRow, LineRow};
use super::tax::{self, Parties, Taxed};
use super::{drafts, view};
use crate::app::Control;
use crate::audit;
use crate::db::Conn;
use crate::db::schema::invoice_numbers;
use crate::error::{Error, Result};
use crate::ledger;
use crate::op::OpContext;
use crate::settings::{self, Settings};
use chrono::{Datelike, NaiveDate};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Text};
use diesel_async::RunQueryDsl;
use scaicontrol_domain::cost;
use scaicontrol_domain::invoice::{DocumentNumber, DocumentType, LineKind, due_date};
use scaicontrol_domain::ledger::{Document, finalize_journal};
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_domain::period::{local_date, parse_timezone};
use scaicontrol_types::InvoiceDetailResponse;
use uuid::Uuid;

/// Issues a draft.
///
/// Errors: 404; 409 unless it is a draft; 400 naming every field that stands in the way.
pub async fn finalize(op: &OpContext, app: &Control, invoice_id: Uuid) -> Result<InvoiceDetailResponse> {
    let operator = app.config.platform.operator_partner_id.clone();
    app.db
        .once(op, "admin_invoice_finalize", async |conn| {
            in_tx(conn, op, operator.as_deref(), invoice_id).await
        })
        .await
}

/// Issues a draft in the transaction that is open. `operator` is the partner that the platform itself is.
pub async fn in_tx(
    conn: &mut Conn,
    op: &OpContext,
    operator: Option<&str>,
    invoice_id: Uuid,
) -> Result<InvoiceDetailResponse> {
    let draft = store::lock_draft(conn, invoice_id).await?;
    let before = store::lines(conn, &draft.tenant_id, invoice_id).await?;
    if before.is_empty() {
        return Err(Error::field("line_items", "an invoice needs at least one line"));
    }
    let settings = settings::load(conn).await?;
    let parties = Parties::load(conn, &draft.tenant_id, &draft.partner_id).await?;
    let currency = Currency::parse(&draft.currency).map_err(Error::internal)?;
    let timezone = parse_timezone(&parties.seller.timezone).map_err(Error::internal)?;
    let issue_date = local_date(op.now, timezone).map_err(Error::internal)?;
    let taxed = tax::tax(&parties, &before, currency, issue_date, draft.tax_point_date, &settings)?;
    if taxed.totals.total < Cents(0) {
        return Err(Error::field("line_items", "add up to less than 0"));
    }

    let lines = decided(&before, &taxed);
    store::replace_lines(conn, &before, &lines).await?;
    let mut row = frozen(op, &draft, &parties, &taxed, issue_date, &settings)?;
    let is_operator = operator == Some(row.partner_id.as_str());
    let document = Document {
        lines: lines.iter().map(|l| (l.service_slug.clone(), Cents(l.amount_cents))).collect(),
        taxes: tax::by_account(&taxed)?,
        credit_applied: Cents(0),
        platform_cost: if is_operator { Cents(0) } else { platform_cost(&lines, &settings)? },
    };
    let entries = finalize_journal(currency, &document).map_err(Error::internal)?;
    let posting = ledger::Posting {
        tenant_id: &row.tenant_id,
        partner_id: &row.partner_id,
        operation_key: format!("invoice.finalize:{invoice_id}"),
        kind: "invoice",
        invoice_id: Some(invoice_id),
    };
    ledger::post(conn, op, posting, &entries).await?;
    row.number = Some(take_number(conn, &row, &parties.seller.invoice_number_prefix, issue_date).await?);
    store::save(conn, &row).await?;
    let after = view::detail(&row, &lines)?;
    audit::record(conn, op, drafts::audited(&row), Some(&view::detail(&draft, &before)?), Some(&after))
        .await?;
    Ok(after)
}

/// The lines with what was decided for them.
fn decided(lines: &[LineRow], taxed: &Taxed) -> Vec<LineRow> {
    let parts = taxed.decisions.iter().zip(&taxed.totals.line_tax);
    lines
        .iter()
        .zip(parts)
        .map(|(line, (decision, part))| LineRow {
            tax_rate: decision.printed_rate(),
            tax_category: Some(decision.category.as_str().into()),
            tax_cents: part.0,
            explanation: line.explanation.clone().map(|mut explanation| {
                explanation["tax"] = serde_json::json!(decision);
                explanation
            }),
            ..line.clone()
        })
        .collect()
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
    let totals = &taxed.totals;
    if drafts::AMOUNT_MAX_CENTS < totals.total.0 {
        return Err(Error::field("line_items", "add up to too much"));
    }
    let json = |v: serde_json::Result<serde_json::Value>| v.map(Some).map_err(Error::internal);
    // What nothing is left to pay of is paid.
    let is_paid = totals.total == Cents(0);
    Ok(InvoiceRow {
        status: if is_paid { "paid" } else { "finalized" }.into(),
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
        paid_at: is_paid.then_some(op.now),
        ..draft.clone()
    })
}

/// What the partner owes the platform: a part of every line that the platform made.
fn platform_cost(lines: &[LineRow], settings: &Settings) -> Result<Cents> {
    let too_much = |_| Error::field("line_items", "make a platform cost that is too large");
    let mut sum = Cents(0);
    for line in lines {
        let kind: LineKind = line.kind.parse().map_err(Error::internal)?;
        let multiplier = cost::effective_multiplier(&settings.cost_multipliers, line.plan_key.as_deref());
        let cost = cost::platform_cost(kind, Cents(line.amount_cents), multiplier).map_err(too_much)?;
        sum = sum.add(cost).map_err(too_much)?;
    }
    Ok(sum)
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = BigInt)]
    last_value: i64,
}

/// Takes the next number of the seller's series in the year of the issue date, and keeps the series locked.
async fn take_number(
    conn: &mut Conn,
    row: &InvoiceRow,
    prefix: &str,
    issue_date: NaiveDate,
) -> Result<String> {
    let taken: Taken = diesel::sql_query(
        "INSERT INTO invoice_counters AS c (partner_id, series, year, last_value) VALUES ($1, $2, $3, 1)
         ON CONFLICT (partner_id, series, year) DO UPDATE SET last_value = c.last_value + 1 RETURNING last_value",
    )
    .bind::<Text, _>(&row.partner_id)
    .bind::<Text, _>(&row.document_type)
    .bind::<Integer, _>(issue_date.year())
    .get_result(conn)
    .await?;
    let document_type: DocumentType = row.document_type.parse().map_err(Error::internal)?;
    let sequence = u64::try_from(taken.last_value).map_err(Error::internal)?;
    let number = DocumentNumber::new(prefix, document_type, issue_date.year(), sequence);
    let number = number.ok_or_else(|| Error::internal("a number that cannot be written"))?.to_string();
    use invoice_numbers as t;
    diesel::insert_into(t::table)
        .values((
            t::partner_id.eq(&row.partner_id),
            t::number.eq(&number),
            t::series.eq(&row.document_type),
            t::year.eq(issue_date.year()),
            t::value.eq(taken.last_value),
            t::tenant_id.eq(&row.tenant_id),
            t::invoice_id.eq(row.invoice_id),
        ))
        .execute(conn)
        .await?;
    Ok(number)
}
