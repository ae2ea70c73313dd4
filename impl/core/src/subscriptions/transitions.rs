//! The state of a subscription and everything that hangs on a change of it.
//!
//! Whoever changes a state holds the row lock and has carried the subscription to now ([`lifecycle::lock`]); then the
//! table of the rules is asked, and side effects, event, audit row and notification are written, all in the one
//! transaction. The functions here do all of that and write the row back, so a caller only decides that it happens.
//!
//! | From | To | By |
//! |---|---|---|
//! | pending | trialing, active | [`lifecycle::start`] |
//! | trialing | active, cancelled | [`lifecycle::advance`], [`cancel`] |
//! | active, past_due, suspended, cancelling, trialing | cancelled | [`cancel_now`] |
//! | active | cancelling, past_due, expired | [`cancel`], [`past_due`], [`lifecycle::advance`] |
//! | past_due | active, suspended | [`recover`], [`suspend`] |
//! | suspended | active | [`resume`] |
//! | cancelling | cancelled, active | [`lifecycle::advance`], [`undo`] |
use super::lifecycle::{self, is_term_over, next_event};
use super::periods::{self, Charge, cut_instant, interval};
use super::store::{self, SubscriptionRow};
use super::{link, prices, segments, view};
use crate::app::Control;
use crate::audit;
use crate::catalog::{self, PlanPrice};
use crate::db::Conn;
use crate::dunning;
use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::notifications::{self, Notice, Severity};
use crate::op::OpContext;
use crate::packs::lifecycle as packs;
use crate::settings::{self, Settings};
use chrono::{DateTime, Utc};
use scaicontrol_domain::period::Interval;
use scaicontrol_domain::subscription::{self as rules, State, SuspensionReason};
use scaicontrol_types::ChangeKind;
use serde_json::{Value, json};
use uuid::Uuid;

/// The state, as the rules know it.
pub fn state(sub: &SubscriptionRow) -> Result<State> {
    sub.status.parse().map_err(Error::internal)
}

/// Changes the state along the table.
///
/// Errors: 400 for a transition that the table does not have.
pub fn transition(sub: &mut SubscriptionRow, to: State) -> Result<()> {
    rules::check(state(sub)?, to).map_err(|e| Error::bad(e.to_string()))?;
    sub.status = to.as_str().into();
    Ok(())
}

/// Changes the state by what happens. A pair of states may be in the table for another reason than this one.
fn by(sub: &mut SubscriptionRow, event: rules::Event) -> Result<()> {
    let to = rules::next(state(sub)?, event).map_err(|e| Error::bad(e.to_string()))?;
    transition(sub, to)
}

/// An invoice with a line of the subscription is overdue, and has been since some time. Only an active one becomes past
/// due: one that is trialing or cancelling stays what it is.
///
/// Errors: 400 from every state but active.
pub async fn past_due(
    conn: &mut Conn,
    op: &OpContext,
    sub: &mut SubscriptionRow,
    since: DateTime<Utc>,
) -> Result<()> {
    if sub.is_child() {
        let cause = packs::Cause { past_due_since: Some(since), ..packs::Cause::default() };
        return packs::with_pack(conn, op, sub, State::PastDue, cause).await;
    }
    let before = sub.clone();
    by(sub, rules::Event::PaymentFailed)?;
    sub.past_due_since = Some(since);
    let price = catalog::plan_in_force(conn, sub.plan_id, op.now).await?;
    changed(conn, op, (&before, sub), &price, ChangeKind::StatusChange, op.now).await?;
    finish(conn, op, &before, sub, None).await
}

/// Switches a past due subscription off. Its periods go on without being billed; its usage is billed. The tenant is told
/// by the caller, who knows why.
///
/// Errors: 400 from every state but past due.
pub async fn suspend(
    conn: &mut Conn,
    op: &OpContext,
    sub: &mut SubscriptionRow,
    reason: SuspensionReason,
) -> Result<()> {
    suspend_because(conn, op, sub, reason, None).await
}

/// The same, with words for the audit trail.
pub(super) async fn suspend_because(
    conn: &mut Conn,
    op: &OpContext,
    sub: &mut SubscriptionRow,
    reason: SuspensionReason,
    why: Option<&str>,
) -> Result<()> {
    if sub.is_child() {
        let cause = packs::Cause { suspension: Some(reason), ..packs::Cause::default() };
        return packs::with_pack(conn, op, sub, State::Suspended, cause).await;
    }
    let before = sub.clone();
    by(sub, rules::Event::Suspend)?;
    (sub.suspended_at, sub.suspension_reason) = (Some(op.now), Some(reason.as_str().into()));
    let price = catalog::plan_in_force(conn, sub.plan_id, op.now).await?;
    sub.event_sequence += 1;
    let data = view::suspended_event(sub, &price)?;
    events::emit(conn, op, event(sub, "subscription.suspended"), &data).await?;
    finish(conn, op, &before, sub, why).await
}

/// Switches a suspended subscription on again. What is left of a billing period that began while it was suspended is
/// charged, by seconds. A fixed term that ended meanwhile expires now. Carries the subscription to now by itself.
///
/// Errors: 400 from every state but suspended. Whether there is debt is asked by the caller.
pub async fn resume(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
) -> Result<()> {
    if sub.is_child() {
        return packs::with_pack(conn, op, sub, State::Active, packs::Cause::default()).await;
    }
    lifecycle::advance(conn, op, settings, sub, op.now).await?;
    let before = sub.clone();
    by(sub, rules::Event::Resume)?;
    (sub.suspended_at, sub.suspension_reason, sub.past_due_since) = (None, None, None);
    let is_over = is_term_over(sub, op.now);
    let mut price = segments::base_price_at(conn, sub, op.now).await?;
    let at = cut_instant(conn, sub, op.now).await?;
    match periods::running(conn, sub, at).await? {
        // It was charged before it was suspended.
        Some(row) => price = catalog::plan_version(conn, row.plan_id, row.plan_version).await?,
        None if is_over => {}
        None => {
            sub.mrr_amount_cents = periods::monthly(price.base_price_cents, sub)?;
            let how = Charge { kind: "base", due_at: op.now, own_invoice: false };
            periods::charge(conn, op, sub, &price, at, how).await?;
        }
    }
    sub.event_sequence += 1;
    let data = view::resumed_event(op, &before, sub, &price)?;
    events::emit(conn, op, event(sub, "subscription.resumed"), &data).await?;
    if is_over {
        periods::close(conn, op, sub, at, false).await?;
        run_out(conn, op, sub, State::Expired, at).await?;
    } else {
        tell(conn, op, sub, &price, (Severity::Info, "subscription_resumed"), json!({})).await?;
    }
    finish(conn, op, &before, sub, None).await
}

/// Ends a subscription at once, on behalf of somebody else than its tenant, who is told. Usage so far is billed at once;
/// with `credit_unused` the unused share of the base price is given back. Carries the subscription to now by itself.
///
/// Errors: 400 from pending, cancelled and expired.
pub async fn cancel_now(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    reason: &str,
    credit_unused: bool,
) -> Result<()> {
    if sub.is_child() {
        let cause = packs::Cause { reason: Some(reason.into()), ..packs::Cause::default() };
        return packs::with_pack(conn, op, sub, State::Cancelled, cause).await;
    }
    lifecycle::advance(conn, op, settings, sub, op.now).await?;
    let before = sub.clone();
    if state(sub)? == State::Pending {
        return Err(Error::bad("the subscription is being set up: roll back its provisioning workflow"));
    }
    rules::next(state(sub)?, rules::Event::CancelNow).map_err(|e| Error::bad(e.to_string()))?;
    sub.cancellation_reason = Some(reason.into());
    sub.pending_cancellation_at = None;
    let at = cut_instant(conn, sub, op.now).await?;
    periods::close(conn, op, sub, at, credit_unused).await?;
    end(conn, op, sub, State::Cancelled, at, true).await?;
    let price = catalog::plan_in_force(conn, sub.plan_id, op.now).await?;
    let more = json!({"reason": reason, "ended_at": at});
    tell(conn, op, sub, &price, (Severity::Warning, "subscription_cancelled"), more).await?;
    finish(conn, op, &before, sub, Some(reason)).await
}

/// Ends a subscription as its tenant wishes: a trial and a one_time plan at once, an active one at the end of its period,
/// which it can be used until. What is scheduled is dropped.
///
/// Errors: 400 from every other state, naming the overdue invoice where one is in the way.
pub(super) async fn cancel(
    conn: &mut Conn,
    op: &OpContext,
    sub: &mut SubscriptionRow,
    reason: Option<&str>,
) -> Result<()> {
    let before = sub.clone();
    refuse_cancel(conn, sub).await?;
    sub.cancellation_reason = reason.map(Into::into);
    (sub.pending_plan_id, sub.pending_quantity) = (None, None);
    let is_once = interval(sub)? == Interval::OneTime;
    if state(sub)? == State::Trialing || is_once {
        let at = cut_instant(conn, sub, op.now).await?;
        if is_once && state(sub)? == State::Active {
            transition(sub, State::Cancelling)?;
            sub.pending_cancellation_at = Some(at);
        }
        periods::close(conn, op, sub, at, false).await?;
        end(conn, op, sub, State::Cancelled, at, true).await?;
        return finish(conn, op, &before, sub, reason).await;
    }
    transition(sub, State::Cancelling)?;
    sub.pending_cancellation_at = sub.current_period_end;
    let price = catalog::plan_in_force(conn, sub.plan_id, op.now).await?;
    changed(conn, op, (&before, sub), &price, ChangeKind::ScheduledCancellation, op.now).await?;
    finish(conn, op, &before, sub, reason).await
}

async fn refuse_cancel(conn: &mut Conn, sub: &SubscriptionRow) -> Result<()> {
    let why = match state(sub)? {
        State::Trialing | State::Active => return Ok(()),
        State::Pending => "the subscription is being set up: wait until that is over".to_owned(),
        State::PastDue | State::Suspended => match store::overdue(conn, sub).await? {
            Some(number) => format!("invoice {number} is overdue: it must be paid first"),
            None => format!("the subscription is {} and cannot be cancelled by its tenant", sub.status),
        },
        State::Cancelling => "the cancellation is scheduled already".to_owned(),
        State::Cancelled | State::Expired => format!("the subscription is {} already", sub.status),
    };
    Err(Error::bad(why))
}

/// Takes back what is scheduled: a cancellation, or a change of plan or quantity. No money moves. What was not told or done
/// of a subscription that was about to leave is now: new prices, and what a debt that came meanwhile means.
///
/// Errors: 400 when nothing is scheduled, and from every state but cancelling and active.
pub(super) async fn undo(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    sub: &mut SubscriptionRow,
) -> Result<()> {
    let before = sub.clone();
    match state(sub)? {
        State::Active if sub.pending_plan_id.is_some() || sub.pending_quantity.is_some() => {
            (sub.pending_plan_id, sub.pending_quantity) = (None, None);
            prices::catch_up(conn, op, app, sub).await?;
            return finish(conn, op, &before, sub, None).await;
        }
        State::Cancelling => {}
        State::Active => return Err(Error::bad("nothing is scheduled for the subscription")),
        other => return Err(Error::bad(format!("the subscription is {other}: nothing is scheduled for it"))),
    }
    by(sub, rules::Event::CancellationUndone)?;
    (sub.pending_cancellation_at, sub.cancellation_reason) = (None, None);
    let price = catalog::plan_in_force(conn, sub.plan_id, op.now).await?;
    let kind = ChangeKind::ScheduledCancellationUndone;
    changed(conn, op, (&before, sub), &price, kind, op.now).await?;
    prices::catch_up(conn, op, app, sub).await?;
    finish(conn, op, &before, sub, None).await?;
    // While it was cancelling a missed payment changed nothing; now it does.
    dunning::catch_up(conn, op, sub).await
}

/// Brings back the subscriptions that an invoice held down on which nothing is due any more: those with a line on it, and
/// none on another one that is overdue. Runs under the invoice's lock.
pub async fn recover(conn: &mut Conn, op: &OpContext, tenant_id: &str, invoice_id: Uuid) -> Result<()> {
    let held_down = store::held_down(conn, tenant_id, invoice_id).await?;
    if held_down.is_empty() {
        return Ok(());
    }
    let settings = settings::load(conn).await?;
    for subscription_id in held_down {
        let mut sub = lifecycle::lock(conn, op, &settings, tenant_id, subscription_id).await?;
        // Asked under the lock: of two invoices that are paid at one moment the second sees the first.
        if store::overdue(conn, &sub).await?.is_some() {
            continue;
        }
        match state(&sub)? {
            State::PastDue => recovered(conn, op, &mut sub).await?,
            State::Suspended if sub.suspension_reason.as_deref() == Some("dunning") => {
                resume(conn, op, &settings, &mut sub).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn recovered(conn: &mut Conn, op: &OpContext, sub: &mut SubscriptionRow) -> Result<()> {
    if sub.is_child() {
        return packs::with_pack(conn, op, sub, State::Active, packs::Cause::default()).await;
    }
    let before = sub.clone();
    by(sub, rules::Event::Recovered)?;
    sub.past_due_since = None;
    let price = catalog::plan_in_force(conn, sub.plan_id, op.now).await?;
    changed(conn, op, (&before, sub), &price, ChangeKind::StatusChange, op.now).await?;
    if is_term_over(sub, op.now) {
        let at = cut_instant(conn, sub, op.now).await?;
        periods::close(conn, op, sub, at, false).await?;
        run_out(conn, op, sub, State::Expired, at).await?;
    }
    finish(conn, op, &before, sub, None).await
}

/// The subscription ends by itself, as its tenant or its term wanted; the tenant is told, of a pack by the pack.
pub(super) async fn run_out(
    conn: &mut Conn,
    op: &OpContext,
    sub: &mut SubscriptionRow,
    to: State,
    at: DateTime<Utc>,
) -> Result<()> {
    end(conn, op, sub, to, at, false).await?;
    if sub.is_child() {
        return Ok(());
    }
    let price = catalog::plan_in_force(conn, sub.plan_id, at).await?;
    tell(conn, op, sub, &price, (Severity::Info, "subscription_ended"), json!({"ended_at": at})).await
}

/// The subscription is over: nothing happens to it by itself any more.
pub(crate) async fn end(
    conn: &mut Conn,
    op: &OpContext,
    sub: &mut SubscriptionRow,
    to: State,
    at: DateTime<Utc>,
    immediately: bool,
) -> Result<()> {
    let price = catalog::plan_in_force(conn, sub.plan_id, at).await?;
    transition(sub, to)?;
    (sub.cancelled_at, sub.pending_plan_id, sub.pending_quantity) = (Some(at), None, None);
    (sub.suspended_at, sub.suspension_reason) = (None, None);
    if sub.is_child() {
        return Ok(());
    }
    sub.event_sequence += 1;
    let data = view::cancelled_event(sub, &price, (to, immediately), at)?;
    events::emit(conn, op, event(sub, "subscription.cancelled"), &data).await
}

/// Writes the row back with when something next happens to it, and the audit row.
pub(super) async fn finish(
    conn: &mut Conn,
    op: &OpContext,
    before: &SubscriptionRow,
    sub: &mut SubscriptionRow,
    why: Option<&str>,
) -> Result<()> {
    sub.next_event_at = next_event(sub)?;
    store::save(conn, op, sub).await?;
    audit::record(conn, op, super::audited(sub, why), Some(before), Some(&*sub)).await
}

/// Emits `subscription.changed`: from `before` to how it is, at `at`.
pub(super) async fn changed(
    conn: &mut Conn,
    op: &OpContext,
    (before, sub): (&SubscriptionRow, &mut SubscriptionRow),
    price: &PlanPrice,
    kind: ChangeKind,
    at: DateTime<Utc>,
) -> Result<()> {
    if sub.is_child() {
        return Ok(());
    }
    sub.event_sequence += 1;
    let plan_before = if before.plan_id == sub.plan_id {
        price.plan.slug.clone()
    } else {
        catalog::slugs(conn, before.plan_id).await?.1
    };
    let data = view::changed_event(before, sub, (price, &plan_before), kind, at)?;
    events::emit(conn, op, event(sub, "subscription.changed"), &data).await
}

pub(super) fn event<'a>(sub: &'a SubscriptionRow, topic: &'static str) -> Event<'a> {
    Event {
        topic,
        tenant_id: Some(&sub.tenant_id),
        partner_id: Some(&sub.partner_id),
        object_id: sub.subscription_id.to_string(),
        sequence: sub.event_sequence,
        step: "",
    }
}

/// Tells everybody of the tenant what happened to its subscription.
pub(super) async fn tell(
    conn: &mut Conn,
    op: &OpContext,
    sub: &SubscriptionRow,
    price: &PlanPrice,
    (severity, message): (Severity, &'static str),
    more: Value,
) -> Result<()> {
    let mut parameters = json!({"service": price.service_name, "plan": price.plan.name});
    for (name, value) in more.as_object().into_iter().flatten() {
        parameters[name] = value.clone();
    }
    let notice = Notice {
        tenant_id: &sub.tenant_id,
        partner_id: &sub.partner_id,
        user_id: None,
        category: "subscription",
        severity,
        message,
        parameters,
        link: Some(link(sub)),
    };
    notifications::tell(conn, op, notice).await
}
