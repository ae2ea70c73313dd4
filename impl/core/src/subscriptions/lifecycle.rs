//! What happens to a subscription by itself, in the order in which it happens.
//!
//! [`advance`] carries a subscription to an instant: scheduled end, scheduled plan change, trial end, renewal, next usage
//! month. Whoever needs a subscription as of now calls it first, under the row lock: the billing run, whoever changes the
//! subscription, metering (an event may be the first sign of a new month), the clock of a simulation. So periods and
//! segments tile time however late anybody looks, and of a renewal and a cancellation at one time exactly one comes first.
pub use super::periods::{monthly, timezone};
pub use super::transitions::{recover, state, transition};

use super::periods::{self, Charge};
use super::store::{self, SubscriptionRow};
use super::transitions::{changed, end, event, run_out, tell};
use super::{notices, segments, view};
use crate::audit;
use crate::catalog::{self, PlanPrice};
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::events;
use crate::notifications::Severity;
use crate::op::OpContext;
use crate::packs;
use crate::settings::{Settings, TrialEndWithoutMethod};
use chrono::{DateTime, TimeDelta, Utc};
use scaicontrol_domain::subscription::State;
use scaicontrol_types::ChangeKind;
use serde_json::json;
use uuid::Uuid;

/// Bounds the steps of one call: forty years of months, and a stop for a runaway.
const STEPS_MAX: usize = 1_000;

/// The subscription, locked and carried to now: what every change of it begins with.
///
/// Errors: 404.
pub async fn lock(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    tenant_id: &str,
    subscription_id: Uuid,
) -> Result<SubscriptionRow> {
    let mut sub = store::lock(conn, tenant_id, subscription_id).await?;
    advance(conn, op, settings, &mut sub, op.now).await?;
    Ok(sub)
}

/// Carries the subscription through everything that is due at or before `until`.
pub async fn advance(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    until: DateTime<Utc>,
) -> Result<()> {
    if sub.is_child() {
        return packs::lifecycle::advance_child(conn, op, settings, sub, until).await;
    }
    let before = sub.next_event_at.filter(|at| *at <= until).map(|_| sub.clone());
    let Some(before) = before else { return Ok(()) };
    for _ in 0..STEPS_MAX {
        let Some(at) = sub.next_event_at.filter(|at| *at <= until) else {
            store::save(conn, op, sub).await?;
            // A renewal is in the items and the events; what a person would ask about is in the log.
            let kept = |s: &SubscriptionRow| (s.status.clone(), s.plan_id, s.quantity);
            if kept(&before) != kept(sub) {
                audit::record(conn, op, super::audited(sub, None), Some(&before), Some(&*sub)).await?;
            }
            return Ok(());
        };
        let counted = store::counted(sub)?;
        step(conn, op, settings, sub, at).await?;
        if store::counted(sub)? != counted {
            // It happened then, however late it is looked at.
            store::note_revenue(conn, op, sub, at).await?;
        }
        sub.next_event_at = next_event(sub)?;
    }
    Err(Error::internal(format!(
        "subscription {} has more than {STEPS_MAX} steps to take",
        sub.subscription_id
    )))
}

/// Everything that happens at one instant, in the published order: end, plan change, trial end, renewal, usage month.
pub(crate) async fn step(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    at: DateTime<Utc>,
) -> Result<()> {
    if state(sub)? == State::Cancelling && sub.pending_cancellation_at == Some(at) {
        return run_out(conn, op, sub, State::Cancelled, at).await;
    }
    if sub.ends_at == Some(at) && state(sub)? == State::Active {
        return run_out(conn, op, sub, State::Expired, at).await;
    }
    if state(sub)? == State::Trialing && sub.trial_ends_at == Some(at) {
        return trial_over(conn, op, settings, sub, at).await;
    }
    if sub.current_period_end == Some(at) && !is_term_over(sub, at) {
        apply_pending(conn, op, sub, at).await?;
        renew(conn, op, settings, sub, at).await?;
    }
    if sub.usage_until == Some(at) {
        let price = segments::price_at(conn, sub, at).await?;
        segments::open(conn, op, settings, sub, &price, at).await?;
    }
    Ok(())
}

/// Whether a fixed term is over at `at`.
pub(super) fn is_term_over(sub: &SubscriptionRow, at: DateTime<Utc>) -> bool {
    sub.ends_at.is_some_and(|term| term <= at)
}

/// The service is ready for the tenant: a trial begins, or the first paid period, in the timezone that its partner has then.
pub async fn start(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    price: &PlanPrice,
    with_trial: bool,
) -> Result<()> {
    sub.timezone = store::partner_timezone(conn, op, sub).await?;
    if with_trial {
        transition(sub, State::Trialing)?;
        let ends = op.now + TimeDelta::days(i64::from(price.plan.trial_days));
        periods::anchor(sub, op.now)?;
        (sub.current_period_start, sub.current_period_end, sub.trial_ends_at) =
            (Some(op.now), Some(ends), Some(ends));
        segments::open(conn, op, settings, sub, price, op.now).await?;
    } else {
        transition(sub, State::Active)?;
        begin(conn, op, settings, sub, price, op.now).await?;
    }
    sub.next_event_at = next_event(sub)?;
    if !sub.is_child() {
        sub.event_sequence += 1;
        let data = view::activated_event(sub, price)?;
        events::emit(conn, op, event(sub, "subscription.activated"), &data).await?;
    }
    if state(sub)? == State::Active && is_term_over(sub, op.now) {
        run_out(conn, op, sub, State::Expired, op.now).await?;
        sub.next_event_at = None;
    }
    store::save(conn, op, sub).await?;
    if with_trial { notices::plan(conn, op, settings, sub).await } else { Ok(()) }
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
    sub.activated_at = Some(at);
    periods::anchor(sub, at)?;
    if is_term_over(sub, at) {
        // Setting it up took longer than its term: there is nothing to charge, and it ends where it begins.
        (sub.current_period_start, sub.current_period_end) = (Some(at), None);
        return Ok(());
    }
    periods::enter(sub, at)?;
    let how = Charge { kind: "base", due_at: at, own_invoice: true };
    periods::charge(conn, op, sub, price, at, how).await?;
    segments::open(conn, op, settings, sub, price, at).await
}

/// Whether a subscription is over when its trial is, for want of a payment method. No tenant can save one, so none has.
pub(crate) fn ends_with_trial(settings: &Settings) -> bool {
    settings.trial_end_without_method == TrialEndWithoutMethod::Cancel
}

/// The trial is over: the first paid period begins, unless the platform wants a payment method for it and there is none.
async fn trial_over(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    at: DateTime<Utc>,
) -> Result<()> {
    if ends_with_trial(settings) {
        end(conn, op, sub, State::Cancelled, at, false).await?;
        if sub.is_child() {
            return Ok(());
        }
        let price = catalog::plan_in_force(conn, sub.plan_id, at).await?;
        let told = (Severity::Warning, "trial_ended_without_method");
        return tell(conn, op, sub, &price, told, json!({"ended_at": at})).await;
    }
    let price = segments::price_at(conn, sub, at).await?;
    let before = sub.clone();
    transition(sub, State::Active)?;
    // The price may have changed since the trial began.
    sub.mrr_amount_cents = monthly(price.base_price_cents, sub)?;
    begin(conn, op, settings, sub, &price, at).await?;
    changed(conn, op, (&before, sub), &price, ChangeKind::StatusChange, at).await?;
    if is_term_over(sub, at) {
        run_out(conn, op, sub, State::Expired, at).await?;
    }
    Ok(())
}

/// A plan change that waited for the end of the period.
async fn apply_pending(
    conn: &mut Conn,
    op: &OpContext,
    sub: &mut SubscriptionRow,
    at: DateTime<Utc>,
) -> Result<()> {
    let (plan_id, quantity) = (sub.pending_plan_id.take(), sub.pending_quantity.take());
    if plan_id.is_none() && quantity.is_none() {
        return Ok(());
    }
    let before = sub.clone();
    sub.take_plan(plan_id.unwrap_or(sub.plan_id));
    sub.quantity = quantity.unwrap_or(sub.quantity);
    let price = segments::base_price_at(conn, sub, at).await?;
    if sub.billing_period != price.plan.billing_period {
        sub.billing_period.clone_from(&price.plan.billing_period);
        periods::anchor(sub, at)?;
    }
    sub.mrr_amount_cents = monthly(price.base_price_cents, sub)?;
    let kind =
        if before.plan_id == sub.plan_id { ChangeKind::QuantityChange } else { ChangeKind::PlanChange };
    changed(conn, op, (&before, sub), &price, kind, at).await
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
    periods::enter(sub, at)?;
    if !state(sub)?.renews() {
        return Ok(());
    }
    let price = segments::base_price_at(conn, sub, at).await?;
    sub.mrr_amount_cents = monthly(price.base_price_cents, sub)?;
    let how = Charge { kind: "base", due_at: at + settings.usage_grace(), own_invoice: false };
    periods::charge(conn, op, sub, &price, at, how).await?;
    changed(conn, op, (&before, sub), &price, ChangeKind::Renewal, at).await
}

/// When something next happens by itself.
pub(crate) fn next_event(sub: &SubscriptionRow) -> Result<Option<DateTime<Utc>>> {
    let state = state(sub)?;
    if state.is_final() || state == State::Pending {
        return Ok(None);
    }
    let times = [
        sub.trial_ends_at.filter(|_| state == State::Trialing),
        sub.pending_cancellation_at.filter(|_| state == State::Cancelling),
        sub.ends_at.filter(|_| state == State::Active),
        // A trial's period ends with the trial, which is an event of its own; no period follows a fixed term.
        sub.current_period_end.filter(|end| state != State::Trialing && !is_term_over(sub, *end)),
        sub.usage_until,
    ];
    Ok(times.into_iter().flatten().min())
}
