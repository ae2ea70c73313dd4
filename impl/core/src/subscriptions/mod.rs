//! Subscriptions: how they begin, what they go through, and what a tenant sees of them.
//!
//! Two things tile a subscription's time. *Periods* are what the base price is billed for, in advance; *segments* are
//! what usage is counted in, in arrears: one plan version in one usage month. Both are computed from the anchor, the
//! local date of activation. See [`lifecycle`].
pub mod lifecycle;
pub mod segments;
pub mod store;
pub mod view;

use crate::app::Control;
use crate::audit;
use crate::catalog;
use crate::db::page::PageRequest;
use crate::db::schema::{services, subscriptions};
use crate::db::{COUNTED, Conn, count_up_to};
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::settings;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::subscription::State;
use scaicontrol_types::{Pagination, SubscriptionCreateRequest, SubscriptionResponse, SubscriptionStatus};
use store::SubscriptionRow;
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
            let settings = settings::load(conn).await?;
            let price = catalog::plan_in_force(conn, plan.plan_id, op.now).await?;
            let mut sub = new_row(conn, op, &price, body.quantity.unwrap_or(1), metadata.clone()).await?;
            store::insert(conn, &sub).await?;
            if !price.needs_provisioning {
                let trial = 0 < price.plan.trial_days
                    && !store::had_trial(conn, &sub.tenant_id, sub.service_id).await?;
                lifecycle::start(conn, op, &settings, &mut sub, &price, trial).await?;
            }
            audit::record(conn, op, audited(&sub), None::<&()>, Some(&sub)).await?;
            view::response(&sub, &price.service_slug, &price.plan.slug)
        })
        .await
}

async fn new_row(
    conn: &mut Conn,
    op: &OpContext,
    price: &catalog::PlanPrice,
    quantity: i32,
    metadata: serde_json::Value,
) -> Result<SubscriptionRow> {
    let owner = store::owner(conn).await?;
    let mut row = SubscriptionRow {
        tenant_id: op.tenant_id().into(),
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
        ends_at: None,
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
    };
    row.mrr_amount_cents = lifecycle::monthly(price.base_price_cents, &row)?;
    Ok(row)
}

fn audited(sub: &SubscriptionRow) -> audit::Entry<'_> {
    audit::Entry {
        object_type: "subscription",
        object_id: sub.subscription_id.to_string(),
        tenant_id: Some(&sub.tenant_id),
        partner_id: Some(&sub.partner_id),
        reason: None,
    }
}

/// One subscription that the caller sees.
pub async fn get(op: &OpContext, app: &Control, subscription_id: Uuid) -> Result<SubscriptionResponse> {
    app.db
        .read(op, async |conn| {
            let sub = store::get(conn, subscription_id).await?;
            let (service, plan) = catalog::slugs(conn, sub.plan_id).await?;
            view::response(&sub, &service, &plan)
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
