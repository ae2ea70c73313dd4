//! A pack and its children go through time together.
//!
//! The children take the same steps as any other subscription, by the same code and at the same instants; they only have
//! no base price and no events of their own. The pack takes over the state and the time that they all came to, and adds
//! what is its own: its price, as one item for each period, the division of it over the children, and its events. So
//! there is one way in which periods tile time, and a pack cannot fall out of step with what is in it.
//!
//! Everything here runs with the pack and all its children locked ([`store::lock`]).
use super::notices;
use super::price::{self, Priced};
use super::store::{self, Pack, PackPeriodRow, PackSubscriptionRow};
use super::view;
use crate::audit;
use crate::catalog::PlanPrice;
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::notifications::Severity;
use crate::op::OpContext;
use crate::settings::{self, Settings};
use crate::subscriptions::lifecycle::{self as single, state};
use crate::subscriptions::periods::{self, Charge};
use crate::subscriptions::store::{self as subscription_store, SubscriptionRow};
use crate::subscriptions::{segments, transitions};
use chrono::{DateTime, Utc};
use scaicontrol_domain::mrr::mrr;
use scaicontrol_domain::subscription::{State, SuspensionReason};
use scaicontrol_types::ChangeKind;
use serde_json::json;
use uuid::Uuid;

/// Bounds the steps of one call: forty years of months, and a stop for a runaway.
const STEPS_MAX: usize = 1_000;

/// Carries the pack of a child, and all children with it, through everything that is due at or before `until`. The child
/// is then as it came out of that.
pub async fn advance_child(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    child: &mut SubscriptionRow,
    until: DateTime<Utc>,
) -> Result<()> {
    let Some(pack_subscription_id) = child.pack_subscription_id else { return Ok(()) };
    let mut pack = store::lock(conn, &child.tenant_id, pack_subscription_id).await?;
    advance(conn, op, settings, &mut pack, until).await?;
    *child = child_of(pack, child.subscription_id)?;
    Ok(())
}

fn child_of(pack: Pack, subscription_id: Uuid) -> Result<SubscriptionRow> {
    let found = pack.children.into_iter().find(|child| child.subscription_id == subscription_id);
    found.ok_or_else(|| Error::internal(format!("subscription {subscription_id} is not a child of its pack")))
}

/// Carries the pack and its children through everything that is due at or before `until`.
pub async fn advance(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    pack: &mut Pack,
    until: DateTime<Utc>,
) -> Result<()> {
    let next = |pack: &Pack| {
        let next = pack.children.iter().filter_map(|child| child.next_event_at).min();
        next.filter(|at| *at <= until)
    };
    let Some(before) = next(pack).map(|_| pack.clone()) else { return Ok(()) };
    for _ in 0..STEPS_MAX {
        let Some(at) = next(pack) else {
            store::save(conn, op, pack).await?;
            // As for any other subscription: what a person would ask about is in the log.
            if before.row.status != pack.row.status {
                audit::record(conn, op, audited(&pack.row, None), Some(&before), Some(&*pack)).await?;
            }
            return Ok(());
        };
        step(conn, op, settings, pack, at).await?;
    }
    let id = pack.row.pack_subscription_id;
    Err(Error::internal(format!("pack subscription {id} has more than {STEPS_MAX} steps to take")))
}

/// Everything that happens to the pack at one instant.
async fn step(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    pack: &mut Pack,
    at: DateTime<Utc>,
) -> Result<()> {
    let before = pack.clone();
    for child in pack.children.iter_mut().filter(|child| child.next_event_at == Some(at)) {
        single::step(conn, op, settings, child, at).await?;
        child.next_event_at = single::next_event(child)?;
    }
    take_over(pack)?;
    let (was, is) = (parse(&before.row)?, parse(&pack.row)?);
    let begins = pack.row.current_period_start != before.row.current_period_start && is.renews();
    if begins {
        let version = price::renewal_version(conn, pack, at).await?;
        let priced = price::of_period(conn, pack, version, at).await?;
        set_price(pack, &priced)?;
        bill_period(conn, op, settings, pack, &priced, was == State::Trialing).await?;
    }
    for (child, earlier) in pack.children.iter().zip(&before.children) {
        if subscription_store::counted(child)? != subscription_store::counted(earlier)? {
            // It happened then, however late it is looked at.
            subscription_store::note_revenue(conn, op, child, at).await?;
        }
    }
    match (was == is, is.is_final()) {
        (false, true) => ended(conn, op, pack, at, false).await,
        (false, false) => changed(conn, op, &before, pack, ChangeKind::StatusChange, at).await,
        (true, _) if begins => changed(conn, op, &before, pack, ChangeKind::Renewal, at).await,
        (true, _) => Ok(()),
    }
}

/// All services of the pack are ready for the tenant: the trial begins, or the first paid period. `prices` are those of the
/// children's plans, in their order.
pub async fn start(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    pack: &mut Pack,
    priced: &Priced,
    prices: &[PlanPrice],
    trial_days: i32,
) -> Result<()> {
    for (child, price) in pack.children.iter_mut().zip(prices) {
        // The trial of the pack counts, not that of its plans.
        let mut price = price.clone();
        price.plan.trial_days = trial_days;
        single::start(conn, op, settings, child, &price, 0 < trial_days).await?;
    }
    take_over(pack)?;
    if trial_days == 0 {
        bill_period(conn, op, settings, pack, priced, true).await?;
    }
    pack.row.event_sequence += 1;
    let data = view::activated_event(conn, pack).await?;
    events::emit(conn, op, event(&pack.row, "pack_subscription.activated"), &data).await?;
    store::save(conn, op, pack).await
}

/// The price of the period that begins, and what it means for the children's recurring revenue.
pub fn set_price(pack: &mut Pack, priced: &Priced) -> Result<()> {
    let price = priced.price()?;
    let interval = pack.row.billing_period.parse().map_err(Error::internal)?;
    let monthly = mrr(price, interval, 1).map_err(Error::internal)?;
    let parts = priced.split(monthly)?;
    if parts.len() != pack.children.len() {
        return Err(Error::internal("a pack with other children than items"));
    }
    (pack.row.price_cents, pack.row.mrr_amount_cents) = (price.0, monthly.0);
    for (child, part) in pack.children.iter_mut().zip(parts) {
        child.mrr_amount_cents = part.0;
    }
    Ok(())
}

/// Stores the current period and the one item that bills it.
async fn bill_period(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    pack: &Pack,
    priced: &Priced,
    first: bool,
) -> Result<()> {
    let starts_at =
        pack.row.current_period_start.ok_or_else(|| Error::internal("a period without a start"))?;
    let due_at = if first { starts_at } else { starts_at + settings.usage_grace() };
    bill(conn, op, pack, priced, starts_at, due_at, first).await
}

/// Stores a period from `starts_at` to the end of the current one, and its item.
async fn bill(
    conn: &mut Conn,
    op: &OpContext,
    pack: &Pack,
    priced: &Priced,
    starts_at: DateTime<Utc>,
    due_at: DateTime<Utc>,
    own_invoice: bool,
) -> Result<()> {
    let row = &pack.row;
    let last = store::last_period(conn, row).await?;
    let period = PackPeriodRow {
        tenant_id: row.tenant_id.clone(),
        period_id: op.id(),
        partner_id: row.partner_id.clone(),
        pack_subscription_id: row.pack_subscription_id,
        ordinal: last.map_or(0, |p| p.ordinal + 1),
        starts_at,
        ends_at: row.current_period_end,
        pack_id: row.pack_id,
        pack_version: priced.version.version,
        created_at: op.now,
    };
    store::insert_period(conn, &period).await?;
    let mut item = periods::item(op, first_child(pack)?, "pack", starts_at, due_at)?;
    (item.source_type, item.source_id) = ("pack_subscription".into(), row.pack_subscription_id);
    // What the line is for is the pack, not one of its children.
    item.subscription_id = Some(row.pack_subscription_id);
    item.own_invoice = own_invoice;
    subscription_store::insert_item(conn, &item).await
}

/// What else is to be known of a transition.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    /// Since when an invoice is overdue; none: since now.
    pub past_due_since: Option<DateTime<Utc>>,
    /// Why it is suspended.
    pub suspension: Option<SuspensionReason>,
    /// What the canceller said.
    pub reason: Option<String>,
}

/// The transition of a pack, for whoever has one of its children in hand: the whole pack is carried to now and moves, and
/// the child is then as it came out of that. When another child has moved it there already, nothing is left to do.
///
/// Errors: 400 for a transition that the table does not have.
pub async fn with_pack(
    conn: &mut Conn,
    op: &OpContext,
    child: &mut SubscriptionRow,
    to: State,
    cause: Cause,
) -> Result<()> {
    let settings = settings::load(conn).await?;
    advance_child(conn, op, &settings, child, op.now).await?;
    let Some(id) = child.pack_subscription_id.filter(|_| child.status != to.as_str()) else { return Ok(()) };
    let mut pack = store::lock(conn, &child.tenant_id, id).await?;
    transition(conn, op, &mut pack, to, cause).await?;
    *child = child_of(pack, child.subscription_id)?;
    Ok(())
}

/// Changes the state of the pack and all its children along the table, now, with the event and the audit row. The pack must
/// have been carried to now before.
///
/// Errors: 400 for a transition that the table does not have.
pub async fn transition(
    conn: &mut Conn,
    op: &OpContext,
    pack: &mut Pack,
    to: State,
    cause: Cause,
) -> Result<()> {
    let before = pack.clone();
    let was = parse(&before.row)?;
    let at = cut_instant(conn, op, pack).await?;
    for child in &mut pack.children {
        apply(conn, op, child, to, &cause, at).await?;
        child.next_event_at = single::next_event(child)?;
    }
    take_over(pack)?;
    let resumes = was == State::Suspended && to == State::Active;
    if resumes {
        resume(conn, op, pack, at).await?;
    }
    if to.is_final() {
        ended(conn, op, pack, at, true).await?;
    } else {
        let kind = match (was, to) {
            (_, State::Cancelling) => ChangeKind::ScheduledCancellation,
            (State::Cancelling, _) => ChangeKind::ScheduledCancellationUndone,
            _ => ChangeKind::StatusChange,
        };
        changed(conn, op, &before, pack, kind, op.now).await?;
    }
    if to == State::Cancelling {
        tell(conn, op, pack, "pack_cancellation_scheduled").await?;
    } else if resumes {
        tell(conn, op, pack, "pack_resumed").await?;
    }
    store::save(conn, op, pack).await?;
    let reason = cause.reason.as_deref();
    audit::record(conn, op, audited(&pack.row, reason), Some(&before), Some(&*pack)).await
}

/// When something that happens now cuts what runs: for all children the same instant.
async fn cut_instant(conn: &mut Conn, op: &OpContext, pack: &Pack) -> Result<DateTime<Utc>> {
    let mut at = op.now;
    for child in &pack.children {
        at = at.max(periods::cut_instant(conn, child, op.now).await?);
    }
    Ok(at)
}

/// One child's part of a transition. Whatever runs of a child that ends is cut at `at`.
async fn apply(
    conn: &mut Conn,
    op: &OpContext,
    child: &mut SubscriptionRow,
    to: State,
    cause: &Cause,
    at: DateTime<Utc>,
) -> Result<()> {
    let from = state(child)?;
    match to {
        State::Cancelled | State::Expired => {
            child.pending_cancellation_at = None;
            child.cancellation_reason = cause.reason.clone().or(child.cancellation_reason.take());
            if from != State::Pending {
                periods::close(conn, op, child, at, false).await?;
            }
            return transitions::end(conn, op, child, to, at, true).await;
        }
        State::PastDue => child.past_due_since = Some(cause.past_due_since.unwrap_or(op.now)),
        State::Suspended => {
            let reason = cause.suspension.unwrap_or(SuspensionReason::Dunning);
            (child.suspended_at, child.suspension_reason) = (Some(op.now), Some(reason.as_str().into()));
        }
        State::Cancelling => {
            child.pending_cancellation_at = child.current_period_end;
            child.cancellation_reason.clone_from(&cause.reason);
        }
        State::Active => {
            if from == State::Cancelling {
                (child.pending_cancellation_at, child.cancellation_reason) = (None, None);
            }
            (child.past_due_since, child.suspended_at, child.suspension_reason) = (None, None, None);
        }
        State::Pending | State::Trialing => {}
    }
    single::transition(child, to)
}

/// In use again: the rest of the current period is billed, unless it was billed before the pack was suspended.
async fn resume(conn: &mut Conn, op: &OpContext, pack: &mut Pack, at: DateTime<Utc>) -> Result<()> {
    let last = store::last_period(conn, &pack.row).await?;
    if last.is_some_and(|p| p.ends_at.is_none_or(|end| at < end)) {
        return Ok(());
    }
    for child in &pack.children {
        let price = segments::base_price_at(conn, child, op.now).await?;
        let how = Charge { kind: "base", due_at: at, own_invoice: false };
        periods::charge(conn, op, child, &price, at, how).await?;
    }
    let version = price::renewal_version(conn, pack, op.now).await?;
    let priced = price::of_period(conn, pack, version, at).await?;
    set_price(pack, &priced)?;
    bill(conn, op, pack, &priced, at, at, false).await
}

/// Takes over from the children what they all share.
///
/// Errors: internal when they do not: then nothing of what was done stands.
fn take_over(pack: &mut Pack) -> Result<()> {
    let first = first_child(pack)?.clone();
    let shared = |c: &SubscriptionRow| {
        let times = (c.current_period_start, c.current_period_end, c.trial_ends_at, c.activated_at);
        (c.status.clone(), times, c.anchor_date, c.anchored_at, c.pending_cancellation_at, c.cancelled_at)
    };
    if pack.children.iter().any(|child| shared(child) != shared(&first)) {
        let id = pack.row.pack_subscription_id;
        return Err(Error::internal(format!("the children of pack subscription {id} are out of step")));
    }
    let row = &mut pack.row;
    row.status = first.status;
    (row.current_period_start, row.current_period_end) =
        (first.current_period_start, first.current_period_end);
    (row.trial_ends_at, row.activated_at) = (first.trial_ends_at, first.activated_at);
    (row.anchor_date, row.anchored_at, row.timezone) = (first.anchor_date, first.anchored_at, first.timezone);
    row.pending_cancellation_at = first.pending_cancellation_at;
    row.past_due_since = first.past_due_since;
    (row.suspended_at, row.suspension_reason) = (first.suspended_at, first.suspension_reason);
    (row.cancelled_at, row.cancellation_reason) = (first.cancelled_at, first.cancellation_reason);
    Ok(())
}

fn first_child(pack: &Pack) -> Result<&SubscriptionRow> {
    pack.children.first().ok_or_else(|| Error::internal("a pack subscription without children"))
}

async fn changed(
    conn: &mut Conn,
    op: &OpContext,
    before: &Pack,
    pack: &mut Pack,
    kind: ChangeKind,
    at: DateTime<Utc>,
) -> Result<()> {
    pack.row.event_sequence += 1;
    let data = view::changed_event(conn, &before.row, pack, kind, at).await?;
    events::emit(conn, op, event(&pack.row, "pack_subscription.changed"), &data).await
}

async fn ended(
    conn: &mut Conn,
    op: &OpContext,
    pack: &mut Pack,
    at: DateTime<Utc>,
    immediately: bool,
) -> Result<()> {
    pack.row.event_sequence += 1;
    let data = view::cancelled_event(conn, pack, at, immediately).await?;
    events::emit(conn, op, event(&pack.row, "pack_subscription.cancelled"), &data).await?;
    tell(conn, op, pack, "pack_cancelled").await
}

fn event<'a>(row: &'a PackSubscriptionRow, topic: &'static str) -> Event<'a> {
    Event {
        topic,
        tenant_id: Some(&row.tenant_id),
        partner_id: Some(&row.partner_id),
        object_id: row.pack_subscription_id.to_string(),
        sequence: row.event_sequence,
        step: "",
    }
}

/// Where the pack stands.
pub fn parse(row: &PackSubscriptionRow) -> Result<State> {
    row.status.parse().map_err(Error::internal)
}

/// What the audit row says of a pack subscription.
pub fn audited<'a>(row: &'a PackSubscriptionRow, reason: Option<&'a str>) -> audit::Entry<'a> {
    audit::Entry {
        object_type: "pack_subscription",
        object_id: row.pack_subscription_id.to_string(),
        tenant_id: Some(&row.tenant_id),
        partner_id: Some(&row.partner_id),
        reason,
    }
}

/// Tells the tenant that its pack ends, has ended, or can be used again.
async fn tell(conn: &mut Conn, op: &OpContext, pack: &Pack, message: &'static str) -> Result<()> {
    let row = &pack.row;
    let name = store::name(conn, row).await?;
    let parameters = json!({"pack": name, "ends_at": row.pending_cancellation_at.or(row.cancelled_at)});
    notices::tell(conn, op, row, (Severity::Info, message), parameters).await
}
