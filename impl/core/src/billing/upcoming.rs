//! The invoice that comes next: the billing run itself, for one tenant and up to the end of its periods, rolled back.
//!
//! What it would bill is taxed as finalizing would, and credit is counted in, so that what is shown is what comes, to
//! the cent, unless something is used or changed until then.
use super::run;
use super::run::drafted::{Draft, previews};
use crate::app::Control;
use crate::db::Conn;
use crate::db::schema::{billed_items, subscriptions};
use crate::error::{Error, Result};
use crate::op::{OpContext, Scope};
use crate::payments::credit;
use crate::settings::{self, Settings};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::settlement::credit_used;
use scaicontrol_types::UpcomingInvoiceResponse;
use std::collections::{BTreeMap, BTreeSet};

/// Drafts that are looked at for the first of each currency.
const DRAFTS_MAX: usize = 1_000;
/// Instants that are looked at one by one; what comes after them is looked at in one go.
const STEPS_MAX: usize = 200;

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
    // What is due now, and what late usage makes due, says how far to look.
    let mut first = BTreeMap::new();
    step(conn, op, &settings, (tenant_id, op.now), &mut first).await?;
    let until = horizon(conn, op, &settings, tenant_id).await?.unwrap_or(op.now);
    let wanted = currencies(conn, tenant_id).await?;
    let (mut at, mut steps) = (op.now, 1);
    while at < until && !wanted.iter().all(|currency| first.contains_key(currency)) {
        let next = next_instant(conn, tenant_id, at).await?;
        at = next.filter(|next| *next < until && steps < STEPS_MAX).unwrap_or(until);
        steps += 1;
        step(conn, op, &settings, (tenant_id, at), &mut first).await?;
    }
    let mut answer = Vec::with_capacity(first.len());
    for draft in first.values() {
        answer.push(shown(conn, op, &settings, draft).await?);
    }
    Ok(answer)
}

/// Bills as the run will: what is due at one instant, then at the next. What falls due later on a day is on another invoice.
async fn step(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    (tenant_id, at): (&str, DateTime<Utc>),
    first: &mut BTreeMap<String, Draft>,
) -> Result<()> {
    let (mut drafts, _) = run::drafts(conn, op, settings, tenant_id, at, DRAFTS_MAX).await?;
    drafts.sort_by_key(|draft| draft.run_date);
    for draft in drafts {
        first.entry(draft.row.currency.clone()).or_insert(draft);
    }
    Ok(())
}

/// Currencies of what the tenant is going to be billed for.
async fn currencies(conn: &mut Conn, tenant_id: &str) -> Result<BTreeSet<String>> {
    use billed_items as b;
    use subscriptions as s;
    let live = s::table.filter(s::tenant_id.eq(tenant_id).and(s::next_event_at.is_not_null()));
    let mut all: BTreeSet<String> =
        live.select(s::currency).distinct().load(conn).await?.into_iter().collect();
    let due = b::table.filter(b::tenant_id.eq(tenant_id).and(b::status.eq("due")));
    all.extend(due.select(b::currency).distinct().load::<String>(conn).await?);
    Ok(all)
}

/// The first instant after `at` at which something of the tenant happens or falls due.
async fn next_instant(conn: &mut Conn, tenant_id: &str, at: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
    use billed_items as b;
    use subscriptions as s;
    let happens: Option<DateTime<Utc>> = s::table
        .filter(s::tenant_id.eq(tenant_id).and(s::next_event_at.gt(at)))
        .select(diesel::dsl::min(s::next_event_at))
        .first(conn)
        .await?;
    let due: Option<DateTime<Utc>> = b::table
        .filter(b::tenant_id.eq(tenant_id).and(b::status.eq("due")).and(b::due_at.gt(at)))
        .select(diesel::dsl::min(b::due_at))
        .first(conn)
        .await?;
    Ok(happens.into_iter().chain(due).min())
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
    draft: &Draft,
) -> Result<UpcomingInvoiceResponse> {
    let invoice_date = draft.issue_date(conn, op).await?;
    let taxed = match draft.taxed(conn, invoice_date, settings).await {
        Ok(taxed) => Some(taxed),
        // What finalizing would refuse is not decided yet.
        Err(Error::BadRequest { .. }) => None,
        Err(e) => return Err(e),
    };
    let row = &draft.row;
    let lots = credit::lots(conn, &row.tenant_id, &row.partner_id, &row.currency).await?;
    let credit = credit::sum(&lots)?;
    let comes_to = match &taxed {
        Some(taxed) => Some(draft.comes_to(conn, op, settings, taxed).await?),
        None => None,
    };
    let total = comes_to.map(|(_, total)| total);
    let used = credit_used(total.unwrap_or(Cents::ZERO), credit);
    Ok(UpcomingInvoiceResponse {
        currency: row.currency.clone(),
        invoice_date,
        computed_at: op.now,
        period_start: row.period_start,
        period_end: row.period_end,
        subtotal_cents: row.subtotal_cents,
        tax_cents: comes_to.map(|(tax, _)| tax.0),
        total_cents: total.map(|total| total.0),
        customer_credit_cents: used.0,
        due_cents: total.map(|total| total.sub(used)).transpose().map_err(Error::internal)?.map(|due| due.0),
        line_items: previews(&draft.lines, taxed.as_ref(), usize::MAX)?,
        vat_details: taxed.map(|taxed| taxed.details),
    })
}
