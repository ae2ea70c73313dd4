//! Segments: what usage is counted in and priced by, one plan version in one usage month.
//!
//! They tile the time of a subscription from its start to its end, through trials and suspensions. An immediate change of
//! the plan closes the segment that runs: what was used so far is priced by the old tiers, and the new ones start at 0. It
//! is still billed when the usage month is over, like all usage, so that the last events of it have arrived. A change of
//! the quantity alone changes no tier and closes nothing.
use super::periods::{self, interval, item, timezone};
use super::store::{self, SegmentRow, SubscriptionRow};
use super::{billed, lifecycle, transitions};
use crate::catalog::{self, PlanPrice};
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::settings::{self, Settings};
use chrono::{DateTime, Utc};
use scaicontrol_domain::period::{Interval, local_date};
use scaicontrol_domain::subscription::State;
use uuid::Uuid;

/// Carries the subscription to `until`, so that its segments cover every instant up to it at which it is live.
///
/// Runs under the subscription's row lock, with the platform's sight.
pub async fn ensure(
    conn: &mut Conn,
    op: &OpContext,
    tenant_id: &str,
    subscription_id: Uuid,
    until: DateTime<Utc>,
) -> Result<()> {
    let settings = settings::load(conn).await?;
    let mut sub = store::lock(conn, tenant_id, subscription_id).await?;
    lifecycle::advance(conn, op, &settings, &mut sub, until).await
}

/// The segment that starts at `at`: to the end of the usage month, or of the trial or the term when they end earlier.
/// What it will cost is known when it is over.
pub(super) async fn open(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    price: &PlanPrice,
    at: DateTime<Utc>,
) -> Result<()> {
    let periods = periods::periods(sub)?;
    let months = periods.usage_months().map_err(Error::internal)?;
    let month = months.period_at(at).map_err(Error::internal)?;
    let month = month.ok_or_else(|| Error::internal("a segment before the first month"))?;
    let (mut month_starts_at, month_ends_at) = periods.full_month(month.index).map_err(Error::internal)?;
    // A month from the anchor begins with the activation; a calendar month was there before it.
    if interval(sub)? != Interval::OneTime {
        month_starts_at = month.start;
    }
    let is_trial = transitions::state(sub)? == State::Trialing;
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

/// Ends the segment that runs at `at`; waits for whoever is counting in it. What bills it stays due when it was.
pub(super) async fn cut(conn: &mut Conn, sub: &mut SubscriptionRow, at: DateTime<Utc>) -> Result<()> {
    let last = store::last_segment(conn, &sub.tenant_id, sub.subscription_id).await?;
    if let Some(last) = last.filter(|last| at < last.ends_at) {
        store::end_segment(conn, &last, at).await?;
        sub.usage_until = Some(at);
    }
    Ok(())
}

/// What usage costs from `at` on: a plan that the subscription runs on already at the newest price that its customer had
/// thirty days' notice of, another one at the price in force.
pub(super) async fn price_at(conn: &mut Conn, sub: &SubscriptionRow, at: DateTime<Utc>) -> Result<PlanPrice> {
    let last = store::last_segment(conn, &sub.tenant_id, sub.subscription_id).await?;
    renewed(conn, sub, last.map(|s| (s.plan_id, s.plan_version)), at).await
}

/// The same for the base price. In a trial none was charged yet: it is the segment that says which prices the customer has
/// seen, and what the first period will cost.
pub(crate) async fn base_price_at(
    conn: &mut Conn,
    sub: &SubscriptionRow,
    at: DateTime<Utc>,
) -> Result<PlanPrice> {
    match billed::last_period(conn, &sub.tenant_id, sub.subscription_id).await? {
        Some(last) => renewed(conn, sub, Some((last.plan_id, last.plan_version)), at).await,
        None => price_at(conn, sub, at).await,
    }
}

async fn renewed(
    conn: &mut Conn,
    sub: &SubscriptionRow,
    running: Option<(Uuid, i32)>,
    at: DateTime<Utc>,
) -> Result<PlanPrice> {
    match running {
        Some((plan_id, version)) if plan_id == sub.plan_id => {
            catalog::renewal_version(conn, plan_id, version, sub.prices_told_at, at).await
        }
        _ => catalog::plan_in_force(conn, sub.plan_id, at).await,
    }
}
