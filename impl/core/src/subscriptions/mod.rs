//! Subscriptions: how they begin, what they go through, and what a tenant and administrators see and do of them.
//!
//! Two things tile a subscription's time. [`periods`] are what the base price is billed for, in advance; [`segments`] are
//! what usage is counted in, in arrears: one plan version in one usage month. Both are computed from the anchor, the
//! local date of activation. What happens by itself is in [`lifecycle`], what states are and do in [`transitions`], and
//! the change of plan or quantity in [`change`].
pub mod admin;
pub mod billed;
pub mod change;
pub mod lifecycle;
pub mod notices;
pub mod periods;
pub mod prices;
pub mod segments;
pub mod store;
pub mod transitions;
pub mod view;

use crate::app::Control;
use crate::audit;
use crate::catalog;
use crate::db::page::PageRequest;
use crate::db::schema::{services, subscriptions};
use crate::db::{COUNTED, Conn, count_up_to};
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::settings::{self, Settings};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::subscription::State;
use scaicontrol_types::{
    CancelRequest, Pagination, SubscriptionCreateRequest, SubscriptionResponse, SubscriptionStatus,
};
use store::{Owner, SubscriptionRow};
use uuid::Uuid;

/// Largest metadata as JSON, in bytes.
const METADATA_BYTES_MAX: usize = 16 * 1024;

/// Subscribes the caller's tenant to a plan.
///
/// Errors: 400 without a billing profile or for a plan that is not sold; 404 for a plan that is not on offer; 409 when
/// the tenant has a live subscription to the service.
pub async fn create(
    op: &OpContext,
    app: &Control,
    body: &SubscriptionCreateRequest,
) -> Result<SubscriptionResponse> {
    let metadata = serde_json::Value::Object(body.metadata.clone().unwrap_or_default().into_iter().collect());
    if metadata.to_string().len() > METADATA_BYTES_MAX {
        return Err(Error::field("metadata", "is over 16 KiB as JSON"));
    }
    app.db
        .once(op, "subscription_create", async |conn| {
            if !store::has_profile(conn, op.tenant_id()).await? {
                return Err(Error::bad("save a billing profile before subscribing"));
            }
            let plan =
                catalog::find_plan_for_subscribing(conn, body.plan_id, body.plan_key.as_deref()).await?;
            let asked = New {
                tenant_id: op.tenant_id(),
                owner: store::owner(conn).await?,
                quantity: body.quantity.unwrap_or(1),
                ends_at: None,
                metadata: metadata.clone(),
            };
            begin(conn, op, &plan, asked).await
        })
        .await
}

/// A subscription that is asked for.
pub(crate) struct New<'a> {
    pub(crate) tenant_id: &'a str,
    pub(crate) owner: Owner,
    pub(crate) quantity: i32,
    pub(crate) ends_at: Option<DateTime<Utc>>,
    pub(crate) metadata: serde_json::Value,
}

/// Begins a subscription to a plan that may be subscribed to.
///
/// Errors: 400 for a fixed term that is over before it is used; 409 when the tenant has a live one of the service.
async fn begin(
    conn: &mut Conn,
    op: &OpContext,
    plan: &catalog::PlanRow,
    asked: New<'_>,
) -> Result<SubscriptionResponse> {
    let settings = settings::load(conn).await?;
    let price = catalog::plan_in_force(conn, plan.plan_id, op.now).await?;
    let trial =
        0 < price.plan.trial_days && !store::had_trial(conn, asked.tenant_id, plan.service_id).await?;
    if let Some(ends_at) = asked.ends_at {
        let trial_days = if trial { i64::from(price.plan.trial_days) } else { 0 };
        if ends_at <= op.now + TimeDelta::days(trial_days) {
            let why = if trial { "is not after the trial" } else { "is not in the future" };
            return Err(Error::field("ends_at", why));
        }
    }
    let mut sub = new_row(op, &price, asked)?;
    store::insert(conn, &sub).await?;
    if !price.needs_provisioning {
        lifecycle::start(conn, op, &settings, &mut sub, &price, trial).await?;
    }
    audit::record(conn, op, audited(&sub, None), None::<&()>, Some(&sub)).await?;
    view::response(&sub, &price.service_slug, &price.plan.slug)
}

pub(crate) fn new_row(op: &OpContext, price: &catalog::PlanPrice, asked: New<'_>) -> Result<SubscriptionRow> {
    let New { tenant_id, owner, quantity, ends_at, metadata } = asked;
    let mut row = SubscriptionRow {
        tenant_id: tenant_id.into(),
        subscription_id: op.id(),
        partner_id: owner.partner_id,
        service_id: price.plan.service_id,
        plan_id: price.plan.plan_id,
        quantity,
        status: State::Pending.as_str().into(),
        billing_period: price.plan.billing_period.clone(),
        currency: price.plan.currency.clone(),
        mrr_amount_cents: 0,
        current_period_start: None,
        current_period_end: None,
        trial_ends_at: None,
        activated_at: None,
        anchor_date: None,
        anchored_at: None,
        timezone: owner.timezone,
        pending_cancellation_at: None,
        pending_plan_id: None,
        pending_quantity: None,
        ends_at,
        past_due_since: None,
        suspended_at: None,
        suspension_reason: None,
        cancelled_at: None,
        cancellation_reason: None,
        pack_subscription_id: None,
        metadata,
        event_sequence: 0,
        usage_until: None,
        next_event_at: None,
        created_at: op.now,
        updated_at: op.now,
        prices_untold: false,
        prices_told_at: None,
    };
    row.mrr_amount_cents = periods::monthly_of_order(price.base_price_cents, &row)?;
    Ok(row)
}

/// The audit row of a subscription.
fn audited<'a>(sub: &'a SubscriptionRow, reason: Option<&'a str>) -> audit::Entry<'a> {
    audit::Entry {
        object_type: "subscription",
        object_id: sub.subscription_id.to_string(),
        tenant_id: Some(&sub.tenant_id),
        partner_id: Some(&sub.partner_id),
        reason,
    }
}

/// Where a subscription is looked at.
fn link(sub: &SubscriptionRow) -> String {
    format!("/api/v1/subscriptions/{}", sub.subscription_id)
}

/// A subscription that the caller sees, locked and carried to now.
///
/// Errors: 404; 409 for the child of a pack.
async fn lock_own(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    subscription_id: Uuid,
) -> Result<SubscriptionRow> {
    let seen = store::get(conn, subscription_id).await?;
    let sub = lifecycle::lock(conn, op, settings, &seen.tenant_id, subscription_id).await?;
    if sub.pack_subscription_id.is_some() {
        return Err(Error::conflict("the subscription belongs to a pack: change the pack's subscription"));
    }
    Ok(sub)
}

async fn answer(conn: &mut Conn, sub: &SubscriptionRow) -> Result<SubscriptionResponse> {
    let (service, plan) = catalog::slugs(conn, sub.plan_id).await?;
    view::response(sub, &service, &plan)
}

/// Ends a subscription of the caller's tenant: a trial and a one_time plan at once, else at the end of the period.
///
/// Errors: 404; 409 for the child of a pack; 400 from every state but trialing and active.
pub async fn cancel(
    op: &OpContext,
    app: &Control,
    subscription_id: Uuid,
    body: &CancelRequest,
) -> Result<SubscriptionResponse> {
    app.db
        .once(op, "subscription_cancel", async |conn| {
            let settings = settings::load(conn).await?;
            let mut sub = lock_own(conn, op, &settings, subscription_id).await?;
            transitions::cancel(conn, op, &mut sub, body.reason.as_deref()).await?;
            answer(conn, &sub).await
        })
        .await
}

/// Takes back what is scheduled for a subscription of the caller's tenant.
///
/// Errors: 404; 409 for the child of a pack; 400 when nothing is scheduled.
pub async fn reactivate(
    op: &OpContext,
    app: &Control,
    subscription_id: Uuid,
) -> Result<SubscriptionResponse> {
    app.db
        .once(op, "subscription_reactivate", async |conn| {
            let settings = settings::load(conn).await?;
            let mut sub = lock_own(conn, op, &settings, subscription_id).await?;
            transitions::undo(conn, op, app, &mut sub).await?;
            answer(conn, &sub).await
        })
        .await
}

/// One subscription that the caller sees.
pub async fn get(op: &OpContext, app: &Control, subscription_id: Uuid) -> Result<SubscriptionResponse> {
    app.db
        .read(op, async |conn| {
            let sub = store::get(conn, subscription_id).await?;
            answer(conn, &sub).await
        })
        .await
}

/// The caller's subscriptions, newest first.
pub async fn list(
    op: &OpContext,
    app: &Control,
    page: &PageRequest,
    status: Option<SubscriptionStatus>,
    service_slug: Option<&str>,
) -> Result<(Vec<SubscriptionResponse>, Pagination)> {
    use subscriptions as t;
    app.db
        .read(op, async |conn| {
            let filtered = || {
                let mut query = t::table
                    .inner_join(services::table)
                    .filter(t::tenant_id.eq(op.tenant_id().to_string()))
                    .into_boxed();
                if let Some(status) = status {
                    query = query.filter(t::status.eq(status.to_string()));
                }
                if let Some(slug) = service_slug {
                    query = query.filter(services::slug.eq(slug.to_string()));
                }
                query
            };
            let mut rows = filtered().select(SubscriptionRow::as_select()).order(t::subscription_id.desc());
            if let Some(id) = page.after::<Uuid>()? {
                rows = rows.filter(t::subscription_id.lt(id));
            }
            let rows: Vec<SubscriptionRow> =
                rows.limit(page.limit()).offset(page.offset()).load(conn).await?;
            let counted = filtered().select(t::subscription_id).limit(COUNTED);
            let counted = count_up_to(conn, counted).await?;
            let (rows, pagination) = page.finish(rows, counted, |r| r.subscription_id.to_string());
            Ok((view::responses(conn, rows).await?, pagination))
        })
        .await
}
