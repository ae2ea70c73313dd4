//! A change of plan or quantity: at once, or at the end of the period.
//!
//! At once the stretch that runs is cut: the unused share of what was billed for it is given back, and the rest of the
//! period is charged at the new price, as two lines of an invoice of their own. The next change in the same period cuts the
//! stretch that this one began, so that any number of them stays exact: each second of the period is charged at one price,
//! and each change is rounded twice, once for each line. With another billing period the anchor moves, and a whole new
//! period is charged. A dry run is the same code, rolled back.
use super::periods::{self, Charge, cut_instant, interval};
use super::store::SubscriptionRow;
use super::transitions::{changed, finish, state, tell};
use super::{answer, billed, lock_own, prices, segments};
use crate::app::Control;
use crate::catalog::{self, PlanPrice, PlanRow};
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::notifications::Severity;
use crate::op::OpContext;
use crate::settings::{self, Settings};
use chrono::{DateTime, Utc};
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::period::Interval;
use scaicontrol_domain::proration::{self, Ratio};
use scaicontrol_domain::subscription::{
    PlanChange, PlanChangeRefusal, State, Timing, check_plan_change, is_immediate,
};
use scaicontrol_types::{ChangeKind, ChangePlanRequest, ChangePlanResponse, ChangePlanTiming, Proration};
use serde_json::json;
use uuid::Uuid;

/// Who changes it: a tenant may choose from the public plans, an administrator from all, and then the tenant is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The tenant itself.
    Tenant,
    /// Somebody of the platform or the partner.
    Admin,
}

/// Changes the plan, the quantity, or both.
///
/// Errors: 400 naming the field; 404 for a subscription or plan that the caller does not see; 409 in every state but
/// trialing and active, and for the child of a pack.
pub async fn change_plan(
    op: &OpContext,
    app: &Control,
    subscription_id: Uuid,
    body: &ChangePlanRequest,
    by: By,
) -> Result<ChangePlanResponse> {
    let work = async |conn: &mut Conn| change(conn, op, app, subscription_id, body, by).await;
    // What was only tried is not kept for a repeat either.
    if body.dry_run.unwrap_or(false) {
        return app.db.dry_run(op, work).await;
    }
    app.db.once(op, "subscription_change_plan", work).await
}

/// What a subscription is to become.
struct Wanted {
    price: PlanPrice,
    quantity: i32,
    is_other_plan: bool,
    /// The subscription with it, to be computed with.
    row: SubscriptionRow,
}

async fn change(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    subscription_id: Uuid,
    body: &ChangePlanRequest,
    by: By,
) -> Result<ChangePlanResponse> {
    let settings = settings::load(conn).await?;
    let mut sub = lock_own(conn, op, &settings, subscription_id).await?;
    if body.plan_id.is_some() && body.plan_key.is_some() {
        return Err(Error::field("plan_key", "give either plan_id or plan_key"));
    }
    if body.plan_id.is_none() && body.plan_key.is_none() && body.quantity.is_none() {
        return Err(Error::field("plan_id", "give a plan, a quantity, or both"));
    }
    let wanted = wanted(conn, op, &sub, body, by).await?;
    let timing = match body.timing.unwrap_or(ChangePlanTiming::Auto) {
        ChangePlanTiming::Auto => Timing::Auto,
        ChangePlanTiming::Immediate => Timing::Immediate,
        ChangePlanTiming::PeriodEnd => Timing::PeriodEnd,
    };
    let (now, then) = (Cents(sub.mrr_amount_cents), Cents(wanted.row.mrr_amount_cents));
    let before = sub.clone();
    let proration = if state(&sub)? == State::Trialing {
        swap(conn, op, &settings, &mut sub, &wanted).await?
    } else if is_immediate(state(&sub)?, timing, now, then) {
        at_once(conn, op, &settings, &mut sub, &wanted).await?
    } else {
        let at = sub.current_period_end.ok_or_else(|| Error::internal("a period without an end"))?;
        (sub.pending_plan_id, sub.pending_quantity) =
            (Some(wanted.price.plan.plan_id), Some(wanted.quantity));
        nothing(at)
    };
    if by == By::Admin {
        let more = json!({"quantity": wanted.quantity, "effective_at": proration.effective_at});
        tell(conn, op, &sub, &wanted.price, (Severity::Info, "subscription_changed_by_admin"), more).await?;
    }
    prices::catch_up(conn, op, app, &mut sub).await?;
    finish(conn, op, &before, &mut sub, None).await?;
    Ok(ChangePlanResponse { subscription: answer(conn, &sub).await?, proration })
}

/// What is asked for, when the rules allow it.
async fn wanted(
    conn: &mut Conn,
    op: &OpContext,
    sub: &SubscriptionRow,
    body: &ChangePlanRequest,
    by: By,
) -> Result<Wanted> {
    if !matches!(state(sub)?, State::Trialing | State::Active) {
        return Err(Error::conflict(PlanChangeRefusal::State(state(sub)?).to_string()));
    }
    let field = match (body.plan_id, &body.plan_key) {
        (Some(_), _) => "plan_id",
        (_, Some(_)) => "plan_key",
        _ => "quantity",
    };
    let plan = if field == "quantity" {
        None
    } else {
        let (id, key, any) = (body.plan_id, body.plan_key.as_deref(), by == By::Admin);
        Some(catalog::find_plan_for_change(conn, id, key, sub.plan_id, any).await?)
    };
    let plan = plan.filter(|plan| plan.plan_id != sub.plan_id);
    let quantity = body.quantity.unwrap_or(sub.quantity);
    check(sub, plan.as_ref()).map_err(|refusal| match refusal.is_conflict() {
        true => Error::conflict(refusal.to_string()),
        false => Error::field(field, refusal.to_string()),
    })?;
    if plan.is_none() && quantity == sub.quantity {
        let is_scheduled = sub.pending_plan_id.is_some() || sub.pending_quantity.is_some();
        let undo = if is_scheduled { ": reactivate it to undo what is scheduled" } else { "" };
        return Err(Error::field(
            field,
            format!("the subscription has this plan and quantity already{undo}"),
        ));
    }
    let price = match &plan {
        Some(plan) => catalog::plan_in_force(conn, plan.plan_id, op.now).await?,
        None => running_price(conn, op, sub).await?,
    };
    let mut row = SubscriptionRow {
        plan_id: price.plan.plan_id,
        billing_period: price.plan.billing_period.clone(),
        quantity,
        ..sub.clone()
    };
    row.mrr_amount_cents = periods::monthly_of_order(price.base_price_cents, &row)?;
    Ok(Wanted { is_other_plan: plan.is_some(), price, quantity, row })
}

/// Whether the rules allow the change to another plan, or of the quantity alone.
fn check(sub: &SubscriptionRow, plan: Option<&PlanRow>) -> Result<(), PlanChangeRefusal> {
    let present = sub.billing_period.parse().unwrap_or(Interval::OneTime);
    let asked = plan.map_or(Some(present), |plan| plan.billing_period.parse().ok());
    check_plan_change(&PlanChange {
        state: state(sub).unwrap_or(State::Pending),
        is_pack_child: sub.pack_subscription_id.is_some(),
        interval: present,
        same_service: plan.is_none_or(|plan| plan.service_id == sub.service_id),
        same_currency: plan.is_none_or(|plan| plan.currency == sub.currency),
        new_interval: asked.unwrap_or(Interval::OneTime),
        new_plan_available: plan.is_none_or(|plan| plan.is_active),
    })
}

/// What the plan costs in the period that runs: a change of the quantity does not change the price in the middle of it.
async fn running_price(conn: &mut Conn, op: &OpContext, sub: &SubscriptionRow) -> Result<PlanPrice> {
    if let Some(row) = periods::running(conn, sub, op.now).await?
        && row.plan_id == sub.plan_id
    {
        return catalog::plan_version(conn, row.plan_id, row.plan_version).await;
    }
    segments::price_at(conn, sub, op.now).await
}

/// A change that bills nothing.
fn nothing(effective_at: DateTime<Utc>) -> Proration {
    Proration { credit_cents: 0, charge_cents: 0, net_cents: 0, effective_at }
}

/// Takes over what is wanted; what was scheduled before is dropped.
fn take(sub: &mut SubscriptionRow, wanted: &Wanted) {
    let row = &wanted.row;
    sub.take_plan(row.plan_id);
    (sub.quantity, sub.mrr_amount_cents) = (row.quantity, row.mrr_amount_cents);
    sub.billing_period.clone_from(&row.billing_period);
    (sub.pending_plan_id, sub.pending_quantity) = (None, None);
}

fn kind(wanted: &Wanted) -> ChangeKind {
    if wanted.is_other_plan { ChangeKind::PlanChange } else { ChangeKind::QuantityChange }
}

/// In a trial: no money moves, and the trial ends when it would have.
async fn swap(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    wanted: &Wanted,
) -> Result<Proration> {
    let before = sub.clone();
    let at = cut_instant(conn, sub, op.now).await?;
    take(sub, wanted);
    if wanted.is_other_plan {
        segments::cut(conn, sub, at).await?;
        segments::open(conn, op, settings, sub, &wanted.price, at).await?;
    }
    changed(conn, op, (&before, sub), &wanted.price, kind(wanted), at).await?;
    Ok(nothing(at))
}

/// Now: the stretch that runs is cut, and the rest is charged anew.
async fn at_once(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    wanted: &Wanted,
) -> Result<Proration> {
    let before = sub.clone();
    let at = cut_instant(conn, sub, op.now).await?;
    let row = periods::running(conn, sub, at).await?;
    let row = row.ok_or_else(|| Error::internal("an active subscription outside of its periods"))?;
    let unused = periods::unused(conn, op, &row, at).await?;
    if let Some(unused) = &unused {
        periods::give_back(conn, op, sub, unused, at).await?;
    }
    billed::end_period(conn, &row, at).await?;
    let is_other_interval = interval(sub)? != interval(&wanted.row)?;
    take(sub, wanted);
    if is_other_interval {
        periods::anchor(sub, at)?;
        periods::enter(sub, at)?;
    }
    let due_at = unused.as_ref().map_or(op.now, |unused| unused.not_before);
    let how = Charge { kind: "proration", due_at, own_invoice: true };
    let begun = periods::charge(conn, op, sub, &wanted.price, at, how).await?;
    if wanted.is_other_plan {
        segments::cut(conn, sub, at).await?;
        segments::open(conn, op, settings, sub, &wanted.price, at).await?;
    }
    changed(conn, op, (&before, sub), &wanted.price, kind(wanted), at).await?;
    let whole = periods::whole_price(&begun, &wanted.price)?;
    let (credited, share) = unused.map_or((Cents::ZERO, Ratio::ONE), |u| (u.billed, u.share));
    let sums = proration::plan_change(credited, share, whole, periods::share(&begun)?);
    let sums = sums.map_err(|_| Error::field("quantity", "makes an amount that is too large"))?;
    Ok(Proration {
        credit_cents: sums.credit_cents.0,
        charge_cents: sums.charge_cents.0,
        net_cents: sums.net_cents.0,
        effective_at: at,
    })
}
