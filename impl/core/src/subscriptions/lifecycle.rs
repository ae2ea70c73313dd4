//! What happens to a subscription by itself, in the order in which it happens.
//!
//! [`advance`] carries a subscription to an instant: trial end, end of the term, renewal, next usage month. Whoever needs
//! a subscription as of now calls it first, under the row lock: the billing run, metering (an event may be the first
//! sign of a new month), later the clock of a simulation. So periods and segments tile time however late anybody looks.
use super::store::{self, BilledItemRow, PeriodRow, SegmentRow, SubscriptionRow};
use super::view;
use crate::audit;
use crate::catalog::{self, PlanPrice};
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::op::OpContext;
use crate::settings::Settings;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::mrr::mrr;
use scaicontrol_domain::period::{Interval, Periods, local_date, parse_timezone};
use scaicontrol_domain::subscription::{self as rules, State};
use scaicontrol_types::ChangeKind;
use uuid::Uuid;

/// Bounds the steps of one call: forty years of months, and a stop for a runaway.
const STEPS_MAX: usize = 1_000;

/// Carries the subscription through everything that is due at or before `until`.
pub async fn advance(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    until: DateTime<Utc>,
) -> Result<()> {
    let mut changed = false;
    for _ in 0..STEPS_MAX {
        let Some(at) = sub.next_event_at.filter(|at| *at <= until) else {
            return if changed { store::save(conn, op, sub).await } else { Ok(()) };
        };
        let counted = store::counted(sub)?;
        step(conn, op, settings, sub, at).await?;
        if store::counted(sub)? != counted {
            // It happened then, however late it is looked at.
            store::note_revenue(conn, op, sub, at).await?;
        }
        sub.next_event_at = next_event(sub)?;
        changed = true;
    }
    Err(Error::internal(format!(
        "subscription {} has more than {STEPS_MAX} steps to take",
        sub.subscription_id
    )))
}

/// Everything that happens at one instant, in the published order: end, trial end, renewal, usage month.
async fn step(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    at: DateTime<Utc>,
) -> Result<()> {
    if state(sub)? == State::Cancelling && sub.pending_cancellation_at == Some(at) {
        return end(conn, op, sub, State::Cancelled, at).await;
    }
    if sub.ends_at == Some(at) && state(sub)? == State::Active {
        return end(conn, op, sub, State::Expired, at).await;
    }
    if state(sub)? == State::Trialing && sub.trial_ends_at == Some(at) {
        let running = store::last_segment_price(conn, &sub.tenant_id, sub.subscription_id).await?;
        let price = price_at(conn, sub, running, at).await?;
        let before = sub.clone();
        transition(sub, State::Active)?;
        begin(conn, op, settings, sub, &price, at).await?;
        return changed(conn, op, &before, sub, &price, ChangeKind::StatusChange).await;
    }
    if sub.current_period_end == Some(at) {
        renew(conn, op, settings, sub, at).await?;
    }
    if sub.usage_until == Some(at) {
        open_segment(conn, op, settings, sub, at).await?;
    }
    Ok(())
}

/// The service is ready for the tenant: a trial begins, or the first paid period.
pub async fn start(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    price: &PlanPrice,
    with_trial: bool,
) -> Result<()> {
    if with_trial {
        transition(sub, State::Trialing)?;
        let ends = op.now + TimeDelta::days(i64::from(price.plan.trial_days));
        sub.anchor_date = Some(local_date(op.now, timezone(sub)?).map_err(Error::internal)?);
        sub.anchored_at = Some(op.now);
        (sub.current_period_start, sub.current_period_end, sub.trial_ends_at) =
            (Some(op.now), Some(ends), Some(ends));
        open_segment(conn, op, settings, sub, op.now).await?;
    } else {
        transition(sub, State::Active)?;
        begin(conn, op, settings, sub, price, op.now).await?;
    }
    sub.next_event_at = next_event(sub)?;
    sub.event_sequence += 1;
    let data = view::activated_event(sub, price)?;
    events::emit(conn, op, event(sub, "subscription.activated"), &data).await?;
    store::save(conn, op, sub).await
}

/// The first paid period: it starts at the instant itself, and its local date anchors all later ones.
async fn begin(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    price: &PlanPrice,
    at: DateTime<Utc>,
) -> Result<()> {
    let periods = Periods::starting_at(at, interval(sub)?, timezone(sub)?).map_err(Error::internal)?;
    sub.activated_at = Some(at);
    (sub.anchor_date, sub.anchored_at) = (Some(periods.anchor()), Some(at));
    let first = periods.period(0).map_err(Error::internal)?;
    (sub.current_period_start, sub.current_period_end) = (Some(first.start), first.end);
    bill_period(conn, op, settings, sub, price, true).await?;
    open_segment(conn, op, settings, sub, at).await
}

/// The next period. A subscription that is suspended moves on without being billed for it.
async fn renew(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    at: DateTime<Utc>,
) -> Result<()> {
    let before = sub.clone();
    let next = periods(sub)?.period_at(at).map_err(Error::internal)?;
    let next = next.ok_or_else(|| Error::internal("a renewal before the first period"))?;
    (sub.current_period_start, sub.current_period_end) = (Some(next.start), next.end);
    if !state(sub)?.renews() {
        return Ok(());
    }
    let running = store::last_period_price(conn, &sub.tenant_id, sub.subscription_id).await?;
    let price = price_at(conn, sub, running, at).await?;
    sub.mrr_amount_cents = monthly(price.base_price_cents, sub)?;
    bill_period(conn, op, settings, sub, &price, false).await?;
    changed(conn, op, &before, sub, &price, ChangeKind::Renewal).await
}

/// Stores the current period and the item that bills its base price.
async fn bill_period(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &SubscriptionRow,
    price: &PlanPrice,
    first: bool,
) -> Result<()> {
    let starts_at = sub.current_period_start.ok_or_else(|| Error::internal("a period without a start"))?;
    let ordinal = store::last_ordinal(conn, &sub.tenant_id, sub.subscription_id).await?.map_or(0, |n| n + 1);
    let period = PeriodRow {
        tenant_id: sub.tenant_id.clone(),
        period_id: op.id(),
        partner_id: sub.partner_id.clone(),
        subscription_id: sub.subscription_id,
        ordinal,
        starts_at,
        ends_at: sub.current_period_end,
        plan_id: sub.plan_id,
        plan_version: price.version,
        quantity: sub.quantity,
        created_at: op.now,
    };
    store::insert_period(conn, &period).await?;
    let due_at = if first { starts_at } else { starts_at + settings.usage_grace() };
    let mut item = item(op, sub, "base", starts_at, due_at)?;
    (item.source_type, item.source_id, item.own_invoice) =
        ("subscription".into(), sub.subscription_id, first);
    store::insert_item(conn, &item).await
}

/// The segment that starts at `at`: to the end of the usage month, or of the trial or the term when they end earlier.
/// It is priced by the version of the plan in force at its start. What it will cost is known when it is over.
async fn open_segment(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    at: DateTime<Utc>,
) -> Result<()> {
    let running = store::last_segment_price(conn, &sub.tenant_id, sub.subscription_id).await?;
    let price = price_at(conn, sub, running, at).await?;
    let periods = periods(sub)?;
    let months = periods.usage_months().map_err(Error::internal)?;
    let month = months.period_at(at).map_err(Error::internal)?;
    let month = month.ok_or_else(|| Error::internal("a segment before the first month"))?;
    let (mut month_starts_at, month_ends_at) = periods.full_month(month.index).map_err(Error::internal)?;
    // A month from the anchor begins with the activation; a calendar month was there before it.
    if interval(sub)? != Interval::OneTime {
        month_starts_at = month.start;
    }
    let is_trial = state(sub)? == State::Trialing;
    let ends_at = [is_trial.then_some(sub.trial_ends_at).flatten(), sub.pending_cancellation_at, sub.ends_at]
        .into_iter()
        .flatten()
        .filter(|end| *end > at)
        .fold(month_ends_at, DateTime::min);
    let segment = SegmentRow {
        tenant_id: sub.tenant_id.clone(),
        segment_id: op.id(),
        partner_id: sub.partner_id.clone(),
        subscription_id: sub.subscription_id,
        service_id: sub.service_id,
        plan_id: sub.plan_id,
        plan_version: price.version,
        month_starts_at,
        month_ends_at,
        starts_at: at,
        ends_at,
        is_trial,
        created_at: op.now,
    };
    store::insert_segment(conn, &segment).await?;
    sub.usage_until = Some(ends_at);
    if !is_trial {
        let mut item = item(op, sub, "usage", at, ends_at + settings.usage_grace())?;
        item.run_date = local_date(ends_at, timezone(sub)?).map_err(Error::internal)?;
        (item.source_type, item.source_id) = ("segment".into(), segment.segment_id);
        store::insert_item(conn, &item).await?;
    }
    Ok(())
}

fn item(
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

/// The subscription is over: nothing happens to it by itself any more.
async fn end(
    conn: &mut Conn,
    op: &OpContext,
    sub: &mut SubscriptionRow,
    to: State,
    at: DateTime<Utc>,
) -> Result<()> {
    let price = catalog::plan_in_force(conn, sub.plan_id, at).await?;
    transition(sub, to)?;
    (sub.cancelled_at, sub.pending_plan_id, sub.pending_quantity) = (Some(at), None, None);
    sub.event_sequence += 1;
    let data = view::cancelled_event(sub, &price, to, at)?;
    events::emit(conn, op, event(sub, "subscription.cancelled"), &data).await
}

/// Brings back the subscriptions that waited for an invoice on which nothing is due any more: those with a line on it, and
/// none on another one that is overdue. Runs under the invoice's lock.
pub async fn recover(conn: &mut Conn, op: &OpContext, tenant_id: &str, invoice_id: Uuid) -> Result<()> {
    for subscription_id in store::waiting_for(conn, tenant_id, invoice_id).await? {
        let mut sub = store::lock(conn, tenant_id, subscription_id).await?;
        if state(&sub)? != State::PastDue {
            continue;
        }
        let before = sub.clone();
        let price = catalog::plan_in_force(conn, sub.plan_id, op.now).await?;
        transition(&mut sub, State::Active)?;
        sub.past_due_since = None;
        changed(conn, op, &before, &mut sub, &price, ChangeKind::StatusChange).await?;
        sub.next_event_at = next_event(&sub)?;
        store::save(conn, op, &mut sub).await?;
        audit::record(conn, op, super::audited(&sub), Some(&before), Some(&sub)).await?;
    }
    Ok(())
}

async fn changed(
    conn: &mut Conn,
    op: &OpContext,
    before: &SubscriptionRow,
    sub: &mut SubscriptionRow,
    price: &PlanPrice,
    kind: ChangeKind,
) -> Result<()> {
    sub.event_sequence += 1;
    let data = view::changed_event(op, before, sub, price, kind)?;
    events::emit(conn, op, event(sub, "subscription.changed"), &data).await
}

fn event<'a>(sub: &'a SubscriptionRow, topic: &'static str) -> Event<'a> {
    Event {
        topic,
        tenant_id: Some(&sub.tenant_id),
        partner_id: Some(&sub.partner_id),
        object_id: sub.subscription_id.to_string(),
        sequence: sub.event_sequence,
        step: "",
    }
}

/// What the subscription pays from `at` on: a plan that it runs on already at the newest price that its customer had
/// thirty days' notice of, another one at the price in force.
async fn price_at(
    conn: &mut Conn,
    sub: &SubscriptionRow,
    running: Option<(Uuid, i32)>,
    at: DateTime<Utc>,
) -> Result<PlanPrice> {
    match running {
        Some((plan_id, version)) if plan_id == sub.plan_id => {
            catalog::renewal_version(conn, plan_id, version, at).await
        }
        _ => catalog::plan_in_force(conn, sub.plan_id, at).await,
    }
}

/// When something next happens by itself.
fn next_event(sub: &SubscriptionRow) -> Result<Option<DateTime<Utc>>> {
    let state = state(sub)?;
    if state.is_final() || state == State::Pending {
        return Ok(None);
    }
    let times = [
        sub.trial_ends_at.filter(|_| state == State::Trialing),
        sub.pending_cancellation_at.filter(|_| state == State::Cancelling),
        sub.ends_at.filter(|_| state == State::Active),
        // A trial's period ends with the trial, which is an event of its own.
        sub.current_period_end.filter(|_| !matches!(state, State::Trialing)),
        sub.usage_until,
    ];
    Ok(times.into_iter().flatten().min())
}

/// Changes the state along the table.
///
/// Errors: 400 for a transition that the table does not have.
pub fn transition(sub: &mut SubscriptionRow, to: State) -> Result<()> {
    rules::check(state(sub)?, to).map_err(|e| Error::bad(e.to_string()))?;
    sub.status = to.as_str().into();
    Ok(())
}

/// The periods of the subscription from its anchor on.
fn periods(sub: &SubscriptionRow) -> Result<Periods> {
    let (Some(anchor), Some(start)) = (sub.anchor_date, sub.anchored_at) else {
        return Err(Error::internal(format!("subscription {} has no anchor", sub.subscription_id)));
    };
    Periods::new(anchor, interval(sub)?, timezone(sub)?, start).map_err(Error::internal)
}

/// Monthly recurring revenue of the subscription at this base price, in cents.
pub fn monthly(base_price_cents: i64, sub: &SubscriptionRow) -> Result<i64> {
    mrr(Cents(base_price_cents), interval(sub)?, i64::from(sub.quantity))
        .map(|c| c.0)
        .map_err(|_| Error::field("quantity", "makes an amount that is too large"))
}

/// The state, as the rules know it.
pub fn state(sub: &SubscriptionRow) -> Result<State> {
    sub.status.parse().map_err(Error::internal)
}

fn interval(sub: &SubscriptionRow) -> Result<Interval> {
    sub.billing_period.parse().map_err(Error::internal)
}

/// The timezone whose midnights bound the periods.
pub fn timezone(sub: &SubscriptionRow) -> Result<Tz> {
    parse_timezone(&sub.timezone).map_err(Error::internal)
}
