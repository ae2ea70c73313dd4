//! The invoice that comes next: the billing run itself, for one tenant and up to the end of its periods, rolled back.
//!
//! What it would bill is taxed as finalizing would, and credit is counted in, so that what is shown is what comes, to
//! the cent, unless something is used or changed until then.
use super::run::{self, INVOICES_MAX};
use super::store::{self, InvoiceRow, LineRow};
use super::tax::{self, Parties, Taxed};
use crate::app::Control;
use crate::db::Conn;
use crate::db::schema::{billed_items, partners, subscriptions};
use crate::error::{Error, Result};
use crate::op::{OpContext, Scope};
use crate::payments::credit;
use crate::settings::{self, Settings};
use crate::subscriptions::view::parse;
use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_domain::period::{local_date, parse_timezone};
use scaicontrol_domain::settlement::credit_used;
use scaicontrol_types::{LineItemPreview, UpcomingInvoiceResponse};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The next invoice of the caller's tenant in each currency.
pub async fn upcoming(op: &OpContext, app: &Control) -> Result<Vec<UpcomingInvoiceResponse>> {
    // The run writes drafts and moves subscriptions on, which no tenant may. It is rolled back, and everything in it is
    // of the one tenant that asks.
    let mut wide = op.with_scope(Scope::Platform);
    wide.idempotency = None;
    app.db.dry_run(&wide, async |conn| next_invoices(conn, &wide, op.tenant_id()).await).await
}

async fn next_invoices(
    conn: &mut Conn,
    op: &OpContext,
    tenant_id: &str,
) -> Result<Vec<UpcomingInvoiceResponse>> {
    let settings = settings::load(conn).await?;
    let Some(until) = horizon(conn, op, &settings, tenant_id).await? else { return Ok(vec![]) };
    let made = run::bill_tenant(conn, op, &settings, tenant_id, until, INVOICES_MAX).await?;
    let mut first: BTreeMap<String, (NaiveDate, Uuid)> = BTreeMap::new();
    for invoice in made.invoices {
        let id = invoice.invoice_id.ok_or_else(|| Error::internal("a run that made no invoice"))?;
        let next = (invoice.invoice_date, id);
        // Of those of one day the first comes first.
        first
            .entry(invoice.currency)
            .and_modify(|earliest| {
                if next.0 < earliest.0 {
                    *earliest = next;
                }
            })
            .or_insert(next);
    }
    let mut answer = Vec::with_capacity(first.len());
    for (invoice_date, invoice_id) in first.into_values() {
        let row = store::get(conn, invoice_id).await?;
        let lines = store::lines(conn, tenant_id, invoice_id).await?;
        answer.push(shown(conn, op, &settings, invoice_date, row, lines).await?);
    }
    Ok(answer)
}

/// Until when to look: the end of the periods and usage months that run now, and the grace after it.
async fn horizon(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    tenant_id: &str,
) -> Result<Option<DateTime<Utc>>> {
    use billed_items as b;
    use subscriptions as s;
    let (period, month): (Option<DateTime<Utc>>, Option<DateTime<Utc>>) = s::table
        .filter(s::tenant_id.eq(tenant_id).and(s::next_event_at.is_not_null()))
        .select((diesel::dsl::max(s::current_period_end), diesel::dsl::max(s::usage_until)))
        .first(conn)
        .await?;
    let due: Option<DateTime<Utc>> = b::table
        .filter(b::tenant_id.eq(tenant_id).and(b::status.eq("due")))
        .select(diesel::dsl::max(b::due_at))
        .first(conn)
        .await?;
    let ends = period.into_iter().chain(month).map(|end| end + settings.usage_grace());
    let until = ends.chain(due).max();
    Ok(until.map(|until| until.max(op.now).min(op.now + run::AHEAD_MAX)))
}

/// An invoice as it would be issued.
async fn shown(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    due_date: NaiveDate,
    row: InvoiceRow,
    lines: Vec<LineRow>,
) -> Result<UpcomingInvoiceResponse> {
    let timezone: String =
        partners::table.find(&row.partner_id).select(partners::timezone).first(conn).await?;
    let today = local_date(op.now, parse_timezone(&timezone).map_err(Error::internal)?);
    let invoice_date = due_date.max(today.map_err(Error::internal)?);
    let taxed = match taxed(conn, &row, &lines, invoice_date, settings).await {
        Ok(taxed) => Some(taxed),
        // What finalizing would refuse is not decided yet.
        Err(Error::BadRequest { .. }) => None,
        Err(e) => return Err(e),
    };
    let lots = credit::lots(conn, &row.tenant_id, &row.partner_id, &row.currency).await?;
    let credit = credit::sum(&lots)?;
    let total = taxed.as_ref().map(|taxed| taxed.totals.total);
    let used = credit_used(total.unwrap_or(Cents::ZERO), credit);
    Ok(UpcomingInvoiceResponse {
        currency: row.currency,
        invoice_date,
        computed_at: op.now,
        period_start: row.period_start,
        period_end: row.period_end,
        subtotal_cents: row.subtotal_cents,
        tax_cents: taxed.as_ref().map(|taxed| taxed.totals.tax.0),
        total_cents: total.map(|total| total.0),
        customer_credit_cents: used.0,
        due_cents: total.map(|total| total.sub(used)).transpose().map_err(Error::internal)?.map(|due| due.0),
        line_items: previews(&lines, taxed.as_ref())?,
        vat_details: taxed.map(|taxed| taxed.details),
    })
}

/// VAT, by the code that decides it when an invoice is issued.
async fn taxed(
    conn: &mut Conn,
    row: &InvoiceRow,
    lines: &[LineRow],
    invoice_date: NaiveDate,
    settings: &Settings,
) -> Result<Taxed> {
    let parties = Parties::load(conn, &row.tenant_id, &row.partner_id).await?;
    let currency = Currency::parse(&row.currency).map_err(Error::internal)?;
    tax::tax(&parties, lines, currency, invoice_date, row.tax_point_date, settings)
}

fn previews(lines: &[LineRow], taxed: Option<&Taxed>) -> Result<Vec<LineItemPreview>> {
    let mut previews = lines.iter().map(run::preview).collect::<Result<Vec<_>>>()?;
    if let Some(taxed) = taxed {
        let parts = taxed.decisions.iter().zip(&taxed.totals.line_tax);
        for (preview, (decision, part)) in previews.iter_mut().zip(parts) {
            preview.tax_rate = decision.printed_rate().map(|rate| rate.normalize().into());
            preview.tax_category = Some(parse(decision.category.as_str())?);
            preview.tax_cents = Some(part.0);
        }
    }
    Ok(previews)
}
