//! Packs: plans of several services at one price, and what a tenant does with them.
//!
//! A pack subscription has one child for each item, an ordinary subscription that is always in the state of its pack. How
//! they go through time together is in [`lifecycle`], what they cost in [`price`], what operators do in [`admin`].
pub mod admin;
pub mod lifecycle;
pub mod notices;
pub mod price;
pub mod store;
pub mod view;

use crate::app::Control;
use crate::audit;
use crate::catalog::{self, PlanPrice};
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::settings;
use crate::subscriptions::store::{self as subscription_store, Owner};
use crate::subscriptions::{self, New};
use price::Priced;
use scaicontrol_domain::period::Interval;
use scaicontrol_domain::subscription::{self as rules, State};
use scaicontrol_types::{PackSubscriptionResponse, Pagination, ServicePackResponse, SubscriptionStatus};
use serde_json::json;
use store::{Pack, PackRow, PackSubscriptionRow};
use uuid::Uuid;

/// The packs on offer.
pub async fn list(op: &OpContext, app: &Control) -> Result<Vec<ServicePackResponse>> {
    app.db
        .read(op, async |conn| {
            let rows = store::on_show(conn).await?;
            let priced = price::in_force(conn, &rows, op.now).await?;
            rows.into_iter().zip(&priced).map(|(row, priced)| view::pack(row, priced)).collect()
        })
        .await
}

/// One pack on offer.
///
/// Errors: 404.
pub async fn get(op: &OpContext, app: &Control, slug: &str) -> Result<ServicePackResponse> {
    app.db
        .read(op, async |conn| {
            let row = store::on_show_by_slug(conn, slug).await?;
            let priced = priced_now(conn, op, &row).await?;
            view::pack(row, &priced)
        })
        .await
}

/// A pack as it is for who subscribes now.
async fn priced_now(conn: &mut Conn, op: &OpContext, row: &PackRow) -> Result<Priced> {
    let priced = price::in_force(conn, std::slice::from_ref(row), op.now).await?.pop();
    priced.ok_or_else(|| Error::internal("a pack without a price"))
}

/// Subscribes the caller's tenant to a pack.
///
/// Errors: 400 without a billing profile; 404 for a pack that is not on offer; 409 when the tenant has a live subscription
/// to a service in it, or a service or plan in it takes no subscriptions.
pub async fn subscribe(op: &OpContext, app: &Control, slug: &str) -> Result<PackSubscriptionResponse> {
    app.db
        .once(op, "service_pack_subscribe", async |conn| {
            let row = store::on_show_by_slug(conn, slug).await?;
            if !subscription_store::has_profile(conn, op.tenant_id()).await? {
                return Err(Error::bad("save a billing profile before subscribing"));
            }
            let settings = settings::load(conn).await?;
            let priced = priced_now(conn, op, &row).await?;
            let plans = plans_sold(conn, op, &priced).await?;
            refuse_taken(conn, op, &priced).await?;
            let mut pack = new_pack(conn, op, &row, &priced, &plans).await?;
            store::insert(conn, &pack.row).await?;
            // Whoever retires the pack waited for the line above, or was waited for: then it is gone now.
            store::on_show_by_slug(conn, slug).await?;
            insert_children(conn, &pack).await?;
            if !plans.iter().any(|plan| plan.needs_provisioning) {
                let days = if had_trial(conn, &pack).await? { 0 } else { row.trial_days };
                lifecycle::start(conn, op, &settings, &mut pack, &priced, &plans, days).await?;
            }
            let entry = lifecycle::audited(&pack.row, None);
            audit::record(conn, op, entry, None::<&()>, Some(&pack)).await?;
            view::subscription(conn, pack).await
        })
        .await
}

/// The plans in a pack, in order, when all of them can be subscribed to.
async fn plans_sold(conn: &mut Conn, op: &OpContext, priced: &Priced) -> Result<Vec<PlanPrice>> {
    let mut plans = Vec::with_capacity(priced.items.len());
    for item in &priced.items {
        match catalog::find_plan_for_admin(conn, Some(item.row.plan_id), None).await {
            Ok(_) => plans.push(catalog::plan_in_force(conn, item.row.plan_id, op.now).await?),
            Err(Error::BadRequest { .. } | Error::Conflict(_)) => {
                return Err(Error::conflict(format!("{} takes no subscriptions now", item.plan_key)));
            }
            Err(other) => return Err(other),
        }
    }
    Ok(plans)
}

/// A service is in one live subscription of a tenant, whether it stands alone or in a pack.
async fn refuse_taken(conn: &mut Conn, op: &OpContext, priced: &Priced) -> Result<()> {
    let services: Vec<Uuid> = priced.items.iter().map(|item| item.row.service_id).collect();
    let taken = store::taken(conn, op.tenant_id(), &services).await?;
    if taken.is_empty() {
        return Ok(());
    }
    Err(Error::conflict(format!("the tenant already has a live subscription to {}", taken.join(", "))))
}

async fn new_pack(
    conn: &mut Conn,
    op: &OpContext,
    row: &PackRow,
    priced: &Priced,
    plans: &[PlanPrice],
) -> Result<Pack> {
    let Owner { partner_id, timezone } = subscription_store::owner(conn).await?;
    let pack = PackSubscriptionRow {
        tenant_id: op.tenant_id().into(),
        pack_subscription_id: op.id(),
        partner_id: partner_id.clone(),
        pack_id: row.pack_id,
        pack_slug: row.slug.clone(),
        items_version: priced.version.version,
        status: State::Pending.as_str().into(),
        billing_period: row.billing_period.clone(),
        currency: row.currency.clone(),
        price_cents: 0,
        mrr_amount_cents: 0,
        current_period_start: None,
        current_period_end: None,
        trial_ends_at: None,
        activated_at: None,
        anchor_date: None,
        anchored_at: None,
        timezone: timezone.clone(),
        pending_cancellation_at: None,
        past_due_since: None,
        suspended_at: None,
        suspension_reason: None,
        cancelled_at: None,
        cancellation_reason: None,
        metadata: json!({}),
        event_sequence: 0,
        created_at: op.now,
        updated_at: op.now,
    };
    let children = plans.iter().map(|plan| {
        let new = New {
            tenant_id: op.tenant_id(),
            owner: Owner { partner_id: partner_id.clone(), timezone: timezone.clone() },
            quantity: 1,
            ends_at: None,
            metadata: json!({}),
        };
        let mut child = subscriptions::new_row(op, plan, new)?;
        child.pack_subscription_id = Some(pack.pack_subscription_id);
        Ok(child)
    });
    let children = children.collect::<Result<_>>()?;
    let mut pack = Pack { row: pack, children };
    lifecycle::set_price(&mut pack, priced)?;
    Ok(pack)
}

/// Adds the children, always in the order of their services: two who subscribe at once to packs that share some wait for
/// each other there, and never both.
async fn insert_children(conn: &mut Conn, pack: &Pack) -> Result<()> {
    let mut children: Vec<_> = pack.children.iter().collect();
    children.sort_by_key(|child| child.service_id);
    for child in children {
        subscription_store::insert(conn, child).await?;
    }
    Ok(())
}

/// Whether the tenant ever had a trial of a service in the pack, alone or in a pack.
async fn had_trial(conn: &mut Conn, pack: &Pack) -> Result<bool> {
    for child in &pack.children {
        if subscription_store::had_trial(conn, &child.tenant_id, child.service_id).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The pack subscriptions of the caller's tenant, newest first.
pub async fn subscription_list(
    op: &OpContext,
    app: &Control,
    page: &PageRequest,
    status: Option<SubscriptionStatus>,
) -> Result<(Vec<PackSubscriptionResponse>, Pagination)> {
    let status = status.map(|status| status.to_string());
    app.db
        .read(op, async |conn| {
            let (rows, counted) = store::list(conn, op.tenant_id(), status.as_deref(), page).await?;
            let (rows, pagination) = page.finish(rows, counted, |r| r.pack_subscription_id.to_string());
            let ids: Vec<Uuid> = rows.iter().map(|row| row.pack_subscription_id).collect();
            let children = store::children(conn, op.tenant_id(), &ids).await?;
            Ok((view::subscription_list(conn, rows, children).await?, pagination))
        })
        .await
}

/// Ends a pack subscription: a trial and a pack that is billed once now, any other at the end of its period.
///
/// Errors: 404; 400 from every other state than trialing and active.
pub async fn cancel(
    op: &OpContext,
    app: &Control,
    pack_subscription_id: Uuid,
    reason: Option<&str>,
) -> Result<PackSubscriptionResponse> {
    app.db
        .once(op, "pack_subscription_cancel", async |conn| {
            let settings = settings::load(conn).await?;
            let mut pack = store::lock(conn, op.tenant_id(), pack_subscription_id).await?;
            lifecycle::advance(conn, op, &settings, &mut pack, op.now).await?;
            let state = lifecycle::parse(&pack.row)?;
            let once = pack.row.billing_period == Interval::OneTime.as_str();
            let to = match state {
                State::Trialing => State::Cancelled,
                State::Active if once => State::Cancelled,
                State::Active => State::Cancelling,
                State::PastDue | State::Suspended => return Err(unpaid(conn, &pack).await?),
                State::Cancelling => return Err(Error::bad("the cancellation is scheduled already")),
                _ => {
                    rules::check(state, State::Cancelling).map_err(|e| Error::bad(e.to_string()))?;
                    State::Cancelling
                }
            };
            let cause = lifecycle::Cause { reason: reason.map(str::to_owned), ..lifecycle::Cause::default() };
            lifecycle::transition(conn, op, &mut pack, to, cause).await?;
            view::subscription(conn, pack).await
        })
        .await
}

/// Why a pack that waits for money cannot be cancelled.
async fn unpaid(conn: &mut Conn, pack: &Pack) -> Result<Error> {
    Ok(match store::overdue_invoice(conn, pack).await? {
        Some(number) => Error::bad(format!("invoice {number} is overdue: pay it before cancelling")),
        None => Error::bad(format!("a pack subscription that is {} cannot be cancelled", pack.row.status)),
    })
}
