//! The billing run: everything that is due becomes a line, once.
//!
//! What is due is rows (`billed_items`), made in the transaction in which it fell due and unique by what they bill. The
//! run carries each subscription to the given instant, takes the items that are due under a lock and puts them on a
//! draft in the same transaction. So running it ten times, twice at once, or killing it anywhere neither repeats nor
//! skips anything. A dry run is the same code, rolled back.
use super::store::{InvoiceRow, LineRow};
use super::{drafts, lines, store, view};
use crate::app::Control;
use crate::audit;
use crate::db::schema::{billed_items, partners, subscriptions};
use crate::db::{Conn, idempotency};
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::settings::{self, Settings};
use crate::subscriptions::lifecycle;
use crate::subscriptions::store::{self as subscription_store, BilledItemRow};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::period::parse_timezone;
use scaicontrol_types::{
    BillingParkReason, BillingRunInvoice, BillingRunParked, BillingRunRequest, BillingRunResponse,
    DocumentType, InvoiceStatus, LineItemPreview,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Invoices that one call makes at most.
pub(super) const INVOICES_MAX: usize = 1_000;
/// Lines that one invoice holds at most; beyond it the tenant is parked.
const LINES_MAX: usize = 10_000;
/// Subscriptions of one tenant that one transaction carries forward at most; the rest follows in the next round.
const SUBSCRIPTIONS_MAX: i64 = 10_000;
/// How far a dry run looks ahead: five years, which is few enough steps for one request.
pub(super) const AHEAD_MAX: TimeDelta = TimeDelta::days(1_827);

/// Bills what is due by `until`.
///
/// Errors: 404 for a tenant that the caller does not see; 400 for a future `until` without `dry_run`, or one that is too far.
pub async fn run(op: &OpContext, app: &Control, body: &BillingRunRequest) -> Result<BillingRunResponse> {
    let until = body.until.unwrap_or(op.now);
    if op.now < until && !body.dry_run {
        return Err(Error::field("until", "is in the future: only a dry run can look ahead"));
    }
    if AHEAD_MAX < until - op.now {
        return Err(Error::field("until", format!("is more than {} days ahead", AHEAD_MAX.num_days())));
    }
    if body.dry_run {
        let mut inner = op.clone();
        inner.idempotency = None;
        return app
            .db
            .dry_run(&inner, async |conn| {
                bill(conn, None, &inner, body.tenant_id.as_deref(), until, true).await
            })
            .await;
    }
    let Some(request) = &op.idempotency else {
        return app
            .db
            .read(op, async |conn| bill(conn, Some(app), op, body.tenant_id.as_deref(), until, false).await)
            .await;
    };
    // The outer transaction holds the key's lock while each tenant is billed in a transaction of its own. When it is
    // lost after some of them, a repeat bills the rest: a run is safe to repeat.
    app.db
        .tx(op, "admin_billing_run", async |conn| {
            if let Some(stored) = idempotency::find(conn, op, request).await? {
                return Ok(stored);
            }
            let answer = bill(conn, Some(app), op, body.tenant_id.as_deref(), until, false).await?;
            idempotency::store(conn, op, request, &answer).await?;
            Ok(answer)
        })
        .await
}

/// Bills tenant by tenant: each in its own transaction of `apart`, or all in the one that is open.
async fn bill(
    conn: &mut Conn,
    apart: Option<&Control>,
    op: &OpContext,
    tenant_id: Option<&str>,
    until: DateTime<Utc>,
    dry_run: bool,
) -> Result<BillingRunResponse> {
    if let Some(tenant_id) = tenant_id {
        store::partner_of(conn, tenant_id).await?;
    }
    let settings = settings::load(conn).await?;
    let mut answer = BillingRunResponse {
        dry_run,
        until,
        invoices: vec![],
        items_billed: 0,
        has_more: false,
        parked: vec![],
    };
    let mut after = String::new();
    while let Some(tenant) = next_tenant(conn, tenant_id, &after, until).await? {
        let left = INVOICES_MAX.saturating_sub(answer.invoices.len());
        if left == 0 {
            answer.has_more = true;
            break;
        }
        let made = match apart {
            None => bill_tenant(conn, op, &settings, &tenant, until, left).await,
            Some(app) => {
                let work =
                    async |conn: &mut Conn| bill_tenant(conn, op, &settings, &tenant, until, left).await;
                app.db.tx(op, "bill_tenant", work).await
            }
        };
        let mut made = made?;
        if dry_run {
            made.invoices.iter_mut().for_each(|i| (i.invoice_id, i.status) = (None, None));
        }
        answer.invoices.append(&mut made.invoices);
        answer.parked.append(&mut made.parked);
        answer.items_billed += made.items;
        answer.has_more |= made.has_more;
        after = tenant;
    }
    Ok(answer)
}

/// The next tenant, by id, for whom something happens or is due by `until`.
async fn next_tenant(
    conn: &mut Conn,
    only: Option<&str>,
    after: &str,
    until: DateTime<Utc>,
) -> Result<Option<String>> {
    use billed_items as b;
    use subscriptions as s;
    let mut happening = s::table.filter(s::next_event_at.le(until).and(s::tenant_id.gt(after))).into_boxed();
    let mut due = b::table
        .filter(b::status.eq("due").and(b::due_at.le(until)).and(b::tenant_id.gt(after)))
        .into_boxed();
    if let Some(only) = only {
        happening = happening.filter(s::tenant_id.eq(only));
        due = due.filter(b::tenant_id.eq(only));
    }
    let happening: Option<String> = happening.select(diesel::dsl::min(s::tenant_id)).first(conn).await?;
    let due: Option<String> = due.select(diesel::dsl::min(b::tenant_id)).first(conn).await?;
    Ok(happening.into_iter().chain(due).min())
}

/// What billing one tenant made.
#[derive(Default)]
pub(super) struct Made {
    /// The drafts, by partner, currency and day.
    pub(super) invoices: Vec<BillingRunInvoice>,
    parked: Vec<BillingRunParked>,
    items: i64,
    has_more: bool,
}

/// Items that share an invoice: partner, currency and local date, and for an activation itself alone.
type Group = (String, String, NaiveDate, Option<Uuid>);

/// Carries the tenant's subscriptions to `until` and puts what is due on drafts.
pub(super) async fn bill_tenant(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    tenant_id: &str,
    until: DateTime<Utc>,
    invoices_max: usize,
) -> Result<Made> {
    let happening = subscription_store::due(conn, Some(tenant_id), until, None, SUBSCRIPTIONS_MAX).await?;
    let mut made = Made {
        has_more: happening.len() >= usize::try_from(SUBSCRIPTIONS_MAX).unwrap_or_default(),
        ..Made::default()
    };
    for (tenant_id, subscription_id, _) in happening {
        let mut sub = subscription_store::lock(conn, &tenant_id, subscription_id).await?;
        lifecycle::advance(conn, op, settings, &mut sub, until).await?;
    }
    for (group, items) in due_groups(conn, tenant_id, until).await? {
        if made.invoices.len() == invoices_max {
            made.has_more = true;
            break;
        }
        let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
        match bill_group(conn, op, tenant_id, &group, items).await? {
            Billed::Invoice(invoice) => made.invoices.push(*invoice),
            Billed::Nothing => {}
            Billed::Parked(reason, message) => {
                let (partner_id, currency, ..) = group;
                made.parked.push(BillingRunParked {
                    tenant_id: tenant_id.into(),
                    partner_id,
                    currency,
                    reason,
                    message,
                });
                continue;
            }
        }
        made.items += count;
    }
    Ok(made)
}

/// The due items of a tenant by the invoice they belong on, locked. Whoever comes second waits here and finds nothing.
async fn due_groups(
    conn: &mut Conn,
    tenant_id: &str,
    until: DateTime<Utc>,
) -> Result<BTreeMap<Group, Vec<BilledItemRow>>> {
    use billed_items as t;
    let items: Vec<BilledItemRow> = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::status.eq("due")).and(t::due_at.le(until)))
        .select(BilledItemRow::as_select())
        .order((t::subscription_id, t::period_start, t::kind, t::billed_item_id))
        .for_update()
        .load(conn)
        .await?;
    let mut groups: BTreeMap<Group, Vec<BilledItemRow>> = BTreeMap::new();
    for item in items {
        let own = item.own_invoice.then_some(item.billed_item_id);
        groups
            .entry((item.partner_id.clone(), item.currency.clone(), item.run_date, own))
            .or_default()
            .push(item);
    }
    Ok(groups)
}

enum Billed {
    Invoice(Box<BillingRunInvoice>),
    Nothing,
    Parked(BillingParkReason, String),
}

/// Puts the items of a group on one draft. When they all cost nothing there is no draft, and they are spent.
async fn bill_group(
    conn: &mut Conn,
    op: &OpContext,
    tenant_id: &str,
    group: &Group,
    items: Vec<BilledItemRow>,
) -> Result<Billed> {
    let (partner_id, currency, run_date, _) = group;
    let timezone: String = partners::table.find(partner_id).select(partners::timezone).first(conn).await?;
    let timezone = parse_timezone(&timezone).map_err(Error::internal)?;
    let mut row = drafts::new_draft(op, tenant_id, partner_id, currency);
    row.run_date = Some(*run_date);
    let mut all: Vec<LineRow> = vec![];
    for item in &items {
        all.append(&mut lines::of_item(conn, op, item, timezone).await?);
        if LINES_MAX < all.len() {
            return Ok(Billed::Parked(
                BillingParkReason::TooManyLines,
                format!("more than {LINES_MAX} lines for {run_date}"),
            ));
        }
    }
    let ids: Vec<Uuid> = items.iter().map(|i| i.billed_item_id).collect();
    if all.iter().all(|l| l.amount_cents == 0) {
        spend(conn, tenant_id, &ids, None).await?;
        return Ok(Billed::Nothing);
    }
    all.sort_by(|a, b| place(a).cmp(&place(b)));
    all.iter_mut().for_each(|l| l.invoice_id = row.invoice_id);
    drafts::number_lines(&mut all);
    row.period_start = all.iter().filter_map(|l| l.period_start).min();
    row.period_end = all.iter().filter_map(|l| l.period_end).max().max(row.period_start);
    if drafts::check_and_total(&mut row, &all).is_err() {
        return Ok(Billed::Parked(
            BillingParkReason::AmountOverflow,
            format!("the lines for {run_date} add up to too much"),
        ));
    }
    store::insert(conn, &row).await?;
    store::insert_lines(conn, &all).await?;
    spend(conn, tenant_id, &ids, Some(row.invoice_id)).await?;
    audit::record(conn, op, drafts::audited(&row), None::<&()>, Some(&view::detail(&row, &all)?)).await?;
    Ok(Billed::Invoice(Box::new(answer(&row, *run_date, &all)?)))
}

/// Where a line stands: by service and subscription, the base price first, then its usage.
fn place(line: &LineRow) -> (Option<&str>, Option<Uuid>, bool, Option<NaiveDate>) {
    (line.service_slug.as_deref(), line.subscription_id, line.kind != "base", line.period_start)
}

/// Marks items as billed: on a document, or for nothing.
async fn spend(conn: &mut Conn, tenant_id: &str, ids: &[Uuid], invoice_id: Option<Uuid>) -> Result<()> {
    use billed_items as t;
    let status = if invoice_id.is_some() { "invoiced" } else { "spent" };
    diesel::update(t::table.filter(t::tenant_id.eq(tenant_id).and(t::billed_item_id.eq_any(ids))))
        .set((t::status.eq(status), t::invoice_id.eq(invoice_id)))
        .execute(conn)
        .await?;
    Ok(())
}

fn answer(row: &InvoiceRow, run_date: NaiveDate, lines: &[LineRow]) -> Result<BillingRunInvoice> {
    Ok(BillingRunInvoice {
        invoice_id: Some(row.invoice_id),
        document_type: DocumentType::Invoice,
        number: None,
        status: Some(InvoiceStatus::Draft),
        tenant_id: row.tenant_id.clone(),
        partner_id: row.partner_id.clone(),
        currency: row.currency.clone(),
        invoice_date: run_date,
        subtotal_cents: row.subtotal_cents,
        tax_cents: None,
        total_cents: None,
        problem: None,
        lines: lines.iter().map(preview).collect::<Result<_>>()?,
    })
}

/// A line as it would stand on the invoice, before VAT.
pub(super) fn preview(line: &LineRow) -> Result<LineItemPreview> {
    let l = view::line(line)?;
    Ok(LineItemPreview {
        kind: l.kind,
        description: l.description,
        quantity: l.quantity,
        unit_label: l.unit_label,
        unit_price_cents: l.unit_price_cents,
        amount_cents: l.amount_cents,
        tax_rate: l.tax_rate,
        tax_category: l.tax_category,
        tax_cents: None,
        period_start: l.period_start,
        period_end: l.period_end,
        subscription_id: l.subscription_id,
        service_slug: l.service_slug,
        metric_slug: l.metric_slug,
        explanation: l.explanation,
    })
}
