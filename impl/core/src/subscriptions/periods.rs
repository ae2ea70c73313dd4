//! The stretches of time that the base price is charged for.
//!
//! A row is a stretch with one plan version and one quantity, and is charged once, by one item: `base` for a new billing
//! period (or the rest of one, after a suspension), `proration` for the rest of one after a plan change. What it costs is
//! its share, by seconds, of the price of the whole billing period that it lies in. A cut ends a row earlier and changes
//! nothing of what was charged for it: what is given back is a row of its own. Rows tile the time from the activation to
//! the end; only where a suspension lasts over a boundary is there a gap, which is not charged.
use super::store::{self, BilledItemRow, PeriodRow, SubscriptionRow};
use super::{billed, segments};
use crate::billing::drafts::AMOUNT_MAX_CENTS;
use crate::catalog::{self, PlanPrice};
use crate::db::{Conn, take_role};
use crate::error::{Error, Result};
use crate::op::{OpContext, Scope};
use billed::CreditRow;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::mrr::mrr;
use scaicontrol_domain::period::{Interval, Periods, local_date, parse_timezone};
use scaicontrol_domain::proration::Ratio;
use uuid::Uuid;

/// How a stretch is charged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge {
    /// `base` or `proration`.
    pub kind: &'static str,
    /// From when on it is billed.
    pub due_at: DateTime<Utc>,
    /// Whether it is invoiced by itself.
    pub own_invoice: bool,
}

/// The billing periods of the subscription from its anchor on.
pub(super) fn periods(sub: &SubscriptionRow) -> Result<Periods> {
    let (Some(anchor), Some(start)) = (sub.anchor_date, sub.anchored_at) else {
        return Err(Error::internal(format!("subscription {} has no anchor", sub.subscription_id)));
    };
    Periods::new(anchor, interval(sub)?, timezone(sub)?, start).map_err(Error::internal)
}

/// How often it is billed.
pub(super) fn interval(sub: &SubscriptionRow) -> Result<Interval> {
    sub.billing_period.parse().map_err(Error::internal)
}

/// The timezone whose midnights bound the periods.
pub fn timezone(sub: &SubscriptionRow) -> Result<Tz> {
    parse_timezone(&sub.timezone).map_err(Error::internal)
}

/// Monthly recurring revenue of the subscription at this base price, in cents.
///
/// Errors: 400 naming `quantity` when it is too much.
pub fn monthly(base_price_cents: i64, sub: &SubscriptionRow) -> Result<i64> {
    mrr(Cents(base_price_cents), interval(sub)?, i64::from(sub.quantity))
        .map(|c| c.0)
        .map_err(|_| Error::field("quantity", "makes an amount that is too large"))
}

/// The same of what somebody asks for: a whole period must fit a document, VAT included.
///
/// Errors: as [`monthly`].
pub fn monthly_of_order(base_price_cents: i64, sub: &SubscriptionRow) -> Result<i64> {
    let whole = Cents(base_price_cents).times(i64::from(sub.quantity));
    if whole.is_ok_and(|whole| whole.0 <= AMOUNT_MAX_CENTS / 2) {
        return monthly(base_price_cents, sub);
    }
    Err(Error::field("quantity", "makes an amount that is too large"))
}

/// Anchors the subscription anew: periods are counted from the local date of `at`.
pub(super) fn anchor(sub: &mut SubscriptionRow, at: DateTime<Utc>) -> Result<()> {
    sub.anchor_date = Some(local_date(at, timezone(sub)?).map_err(Error::internal)?);
    sub.anchored_at = Some(at);
    Ok(())
}

/// Makes the billing period that holds `at` the current one. A fixed term cuts it.
pub(super) fn enter(sub: &mut SubscriptionRow, at: DateTime<Utc>) -> Result<()> {
    let period = periods(sub)?.period_at(at).map_err(Error::internal)?;
    let period = period.ok_or_else(|| Error::internal("a renewal before the first period"))?;
    sub.current_period_start = Some(period.start);
    sub.current_period_end = period.end.map(|end| sub.ends_at.map_or(end, |term| term.min(end)));
    Ok(())
}

/// Stores the stretch from `at` to the end of the current period, and the item that charges it.
pub(crate) async fn charge(
    conn: &mut Conn,
    op: &OpContext,
    sub: &SubscriptionRow,
    price: &PlanPrice,
    at: DateTime<Utc>,
    how: Charge,
) -> Result<PeriodRow> {
    let whole = periods(sub)?.period_at(at).map_err(Error::internal)?;
    let whole = whole.ok_or_else(|| Error::internal("a period before the first one"))?;
    let last = billed::last_period(conn, &sub.tenant_id, sub.subscription_id).await?;
    let row = PeriodRow {
        tenant_id: sub.tenant_id.clone(),
        period_id: op.id(),
        partner_id: sub.partner_id.clone(),
        subscription_id: sub.subscription_id,
        ordinal: last.map_or(0, |last| last.ordinal.saturating_add(1)),
        starts_at: at,
        ends_at: sub.current_period_end,
        plan_id: sub.plan_id,
        plan_version: price.version,
        quantity: sub.quantity,
        created_at: op.now,
        billed_until: sub.current_period_end,
        whole_starts_at: whole.start,
        whole_ends_at: whole.end,
    };
    store::insert_period(conn, &row).await?;
    if sub.is_child() {
        // The pack bills one price for all of them.
        return Ok(row);
    }
    let mut item = item(op, sub, how.kind, at, how.due_at)?;
    (item.source_type, item.source_id, item.own_invoice) =
        ("subscription".into(), sub.subscription_id, how.own_invoice);
    store::insert_item(conn, &item).await?;
    Ok(row)
}

/// An item of the subscription; what it bills is filled in by the caller.
pub(crate) fn item(
    op: &OpContext,
    sub: &SubscriptionRow,
    kind: &str,
    period_start: DateTime<Utc>,
    due_at: DateTime<Utc>,
) -> Result<BilledItemRow> {
    Ok(BilledItemRow {
        tenant_id: sub.tenant_id.clone(),
        billed_item_id: op.id(),
        partner_id: sub.partner_id.clone(),
        source_type: String::new(),
        source_id: sub.subscription_id,
        period_start,
        kind: kind.into(),
        revision: 0,
        subscription_id: Some(sub.subscription_id),
        currency: sub.currency.clone(),
        due_at,
        run_date: local_date(period_start, timezone(sub)?).map_err(Error::internal)?,
        own_invoice: false,
        status: "due".into(),
        invoice_id: None,
        waived: false,
        created_at: op.now,
        floats: false,
    })
}

/// The share of a whole billing period that the row is charged for.
pub fn share(row: &PeriodRow) -> Result<Ratio> {
    let (Some(until), Some(whole_end)) = (row.billed_until, row.whole_ends_at) else { return Ok(Ratio::ONE) };
    if row.starts_at == row.whole_starts_at && until == whole_end {
        return Ok(Ratio::ONE);
    }
    Ratio::part((row.starts_at, until), (row.whole_starts_at, whole_end)).map_err(Error::internal)
}

/// What a whole billing period costs at the row's plan and quantity, in cents.
pub fn whole_price(row: &PeriodRow, price: &PlanPrice) -> Result<Cents> {
    Cents(price.base_price_cents).times(i64::from(row.quantity)).map_err(Error::internal)
}

/// When something that happens now cuts the row and the segment that run: now, and at least a microsecond (what the
/// database tells apart) after both began, so that several changes at one instant stay in their order.
pub(crate) async fn cut_instant(
    conn: &mut Conn,
    sub: &SubscriptionRow,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>> {
    let period = billed::last_period(conn, &sub.tenant_id, sub.subscription_id).await?;
    let segment = store::last_segment(conn, &sub.tenant_id, sub.subscription_id).await?;
    let began = period.map(|p| p.starts_at).into_iter().chain(segment.map(|s| s.starts_at)).max();
    Ok(began.map_or(now, |began| now.max(began + TimeDelta::microseconds(1))))
}

/// The row that runs at `at`, if there is one.
pub(super) async fn running(
    conn: &mut Conn,
    sub: &SubscriptionRow,
    at: DateTime<Utc>,
) -> Result<Option<PeriodRow>> {
    let last = billed::last_period(conn, &sub.tenant_id, sub.subscription_id).await?;
    Ok(last.filter(|row| row.ends_at.is_none_or(|end| at < end)))
}

/// What was billed for a row, net of what was taken back of it, with the item that did; 0 when that was waived.
async fn billed_for(
    conn: &mut Conn,
    op: &OpContext,
    row: &PeriodRow,
) -> Result<Option<(BilledItemRow, Cents)>> {
    let Some(item) = billed::item_of_period(conn, row).await? else { return Ok(None) };
    let cents = match item.status.as_str() {
        // It will be billed so: what happens to the row meanwhile does not change it.
        "due" => {
            let price = catalog::plan_version(conn, row.plan_id, row.plan_version).await?;
            share(row)?.of(whole_price(row, &price)?).map_err(Error::internal)?
        }
        "invoiced" => {
            // A tenant sees no drafts and not what credit notes take back; the row is its own.
            take_role(conn, &Scope::Platform).await?;
            let net = billed::billed_net(conn, &item).await?;
            take_role(conn, &op.scope).await?;
            Cents(net)
        }
        _ => Cents::ZERO,
    };
    Ok(Some((item, cents)))
}

/// What the cut of a row at `at` gives back: an amount, and its source. Nothing is written.
#[derive(Debug)]
pub(super) struct Unused {
    /// What had been billed for the row, net.
    pub billed: Cents,
    /// The share of it that is unused.
    pub share: Ratio,
    /// From when on what billed the row is billed itself, when it is not yet: what takes it back comes after it.
    pub not_before: DateTime<Utc>,
    /// Whether what billed the row is on a document.
    is_billed: bool,
    item_id: Uuid,
    period_id: Uuid,
}

/// The unused share of what was billed for a row; none where nothing was.
pub(super) async fn unused(
    conn: &mut Conn,
    op: &OpContext,
    row: &PeriodRow,
    at: DateTime<Utc>,
) -> Result<Option<Unused>> {
    let Some(until) = row.billed_until else { return Ok(None) };
    let Some((item, billed)) = billed_for(conn, op, row).await? else { return Ok(None) };
    // A row of less than a second has no share that could be told.
    let Ok(share) = Ratio::left(at, row.starts_at, until) else { return Ok(None) };
    let something = Cents::ZERO < billed && 0 < share.seconds();
    let not_before = if item.status == "due" { item.due_at.max(op.now) } else { op.now };
    let (is_billed, item_id, period_id) = (item.status != "due", item.billed_item_id, row.period_id);
    Ok(something.then_some(Unused { billed, share, not_before, is_billed, item_id, period_id }))
}

/// Writes down what a cut gives back. The `proration` item of `at` bills it.
pub(super) async fn give_back(
    conn: &mut Conn,
    op: &OpContext,
    sub: &SubscriptionRow,
    unused: &Unused,
    at: DateTime<Utc>,
) -> Result<()> {
    let row = CreditRow {
        tenant_id: sub.tenant_id.clone(),
        subscription_id: sub.subscription_id,
        at,
        partner_id: sub.partner_id.clone(),
        period_id: unused.period_id,
        billed_item_id: unused.item_id,
        billed_cents: unused.billed.0,
        seconds: unused.share.seconds(),
        of_seconds: unused.share.of_seconds(),
        created_at: op.now,
    };
    billed::insert_credit(conn, &row).await
}

/// Ends what runs at `at`: the stretch and the segment. With `credit_unused` the unused share of the base price is given
/// back. Usage so far, which would wait for the end of its month, is billed at once.
pub(crate) async fn close(
    conn: &mut Conn,
    op: &OpContext,
    sub: &mut SubscriptionRow,
    at: DateTime<Utc>,
    credit_unused: bool,
) -> Result<()> {
    if let Some(row) = running(conn, sub, at).await? {
        if credit_unused && let Some(unused) = unused(conn, op, &row, at).await? {
            give_back(conn, op, sub, &unused, at).await?;
            let mut item = item(op, sub, "proration", at, unused.not_before)?;
            item.source_type = "subscription".into();
            // What it takes back must be issued before, and not with it.
            item.own_invoice = !unused.is_billed;
            store::insert_item(conn, &item).await?;
        }
        billed::end_period(conn, &row, at).await?;
    }
    segments::cut(conn, sub, at).await?;
    let run_date = local_date(at, timezone(sub)?).map_err(Error::internal)?;
    billed::bring_usage_forward(conn, sub, at.min(op.now), run_date).await
}
