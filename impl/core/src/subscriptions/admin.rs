//! What administrators of the platform, and of a partner for its own tenants, see and do of subscriptions.
use super::store::{self, SubscriptionRow};
use super::transitions::{self, cancel_now, resume, suspend_because, tell};
use super::{METADATA_BYTES_MAX, New, answer, begin, lock_own, view};
use crate::app::Control;
use crate::catalog;
use crate::checks;
use crate::db::page::PageRequest;
use crate::db::schema::{plans, services, subscriptions};
use crate::db::{COUNTED, count_up_to};
use crate::error::{Error, Result};
use crate::notifications::Severity;
use crate::op::OpContext;
use crate::settings;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::subscription::SuspensionReason;
use scaicontrol_types::{
    AdminCancelRequest, AdminSubscriptionCreateRequest, AdminSuspendRequest, Pagination,
    SubscriptionResponse, SubscriptionStatus,
};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

/// What a list of subscriptions is narrowed to.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "each is the query parameter of its name")]
pub struct Filter {
    pub status: Option<SubscriptionStatus>,
    pub service_slug: Option<String>,
    pub plan_key: Option<String>,
    pub tenant_id: Option<String>,
    pub partner_id: Option<String>,
}

/// The subscriptions of all tenants that the caller sees, newest first.
pub async fn list(
    op: &OpContext,
    app: &Control,
    page: &PageRequest,
    filter: &Filter,
) -> Result<(Vec<SubscriptionResponse>, Pagination)> {
    use subscriptions as t;
    app.db
        .read(op, async |conn| {
            let filtered = || {
                let mut query = t::table.into_boxed();
                if let Some(status) = filter.status {
                    query = query.filter(t::status.eq(status.to_string()));
                }
                if let Some(tenant_id) = &filter.tenant_id {
                    query = query.filter(t::tenant_id.eq(tenant_id.clone()));
                }
                if let Some(partner_id) = &filter.partner_id {
                    query = query.filter(t::partner_id.eq(partner_id.clone()));
                }
                if let Some(slug) = &filter.service_slug {
                    let of_service = services::table.filter(services::slug.eq(slug.clone()));
                    query = query.filter(t::service_id.eq_any(of_service.select(services::service_id)));
                }
                if let Some((service, plan)) = filter.plan_key.as_deref().and_then(|key| key.split_once('.'))
                {
                    let with_key = plans::table
                        .inner_join(services::table)
                        .filter(services::slug.eq(service.to_string()).and(plans::slug.eq(plan.to_string())));
                    query = query.filter(t::plan_id.eq_any(with_key.select(plans::plan_id)));
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

/// Subscribes a tenant to a plan, for a fixed term if there is one.
///
/// Errors: 404 for a tenant or plan that the caller does not see; 400 without a billing profile, for a plan that is not
/// sold and for a term that is over too early; 409 when the tenant has a live one of the service, or that is not running.
pub async fn create(
    op: &OpContext,
    app: &Control,
    body: &AdminSubscriptionCreateRequest,
) -> Result<SubscriptionResponse> {
    let metadata = serde_json::Value::Object(body.metadata.clone().unwrap_or_default().into_iter().collect());
    if metadata.to_string().len() > METADATA_BYTES_MAX {
        return Err(Error::field("metadata", "is over 16 KiB as JSON"));
    }
    app.db
        .once(op, "admin_subscription_create", async |conn| {
            let owner = store::owner_of(conn, &body.tenant_id).await?;
            if !store::has_profile(conn, &body.tenant_id).await? {
                return Err(Error::bad("the tenant has no billing profile: save one first"));
            }
            let plan = catalog::find_plan_for_admin(conn, body.plan_id, body.plan_key.as_deref()).await?;
            let asked = New {
                tenant_id: &body.tenant_id,
                owner,
                quantity: body.quantity.unwrap_or(1),
                ends_at: body.ends_at,
                metadata: metadata.clone(),
            };
            begin(conn, op, &plan, asked).await
        })
        .await
}

/// Ends a subscription: as its tenant would, or at once.
///
/// Errors: 404; 409 for the child of a pack; 400 from a state that does not allow it, and for `credit_unused` alone.
pub async fn cancel(
    op: &OpContext,
    app: &Control,
    subscription_id: Uuid,
    body: &AdminCancelRequest,
) -> Result<SubscriptionResponse> {
    checks::reason(&body.reason)?;
    let (immediately, credit) = (body.immediately.unwrap_or(false), body.credit_unused.unwrap_or(false));
    if credit && !immediately {
        return Err(Error::field("credit_unused", "is only for what is cancelled immediately"));
    }
    app.db
        .once(op, "admin_subscription_cancel", async |conn| {
            let settings = settings::load(conn).await?;
            let mut sub = lock_own(conn, op, &settings, subscription_id).await?;
            if immediately {
                cancel_now(conn, op, &settings, &mut sub, &body.reason, credit).await?;
                return answer(conn, &sub).await;
            }
            transitions::cancel(conn, op, &mut sub, Some(&body.reason)).await?;
            let price = catalog::plan_in_force(conn, sub.plan_id, op.now).await?;
            let ends_at = sub.cancelled_at.or(sub.pending_cancellation_at);
            let (message, time) = match sub.cancelled_at {
                Some(_) => ("subscription_cancelled", "ended_at"),
                None => ("subscription_cancellation_scheduled", "ends_at"),
            };
            let more = json!({"reason": body.reason, time: ends_at});
            tell(conn, op, &sub, &price, (Severity::Warning, message), more).await?;
            answer(conn, &sub).await
        })
        .await
}

/// Switches a past due subscription off, until an administrator resumes it.
///
/// Errors: 404; 409 for the child of a pack; 400 from every state but past due.
pub async fn suspend(
    op: &OpContext,
    app: &Control,
    subscription_id: Uuid,
    body: &AdminSuspendRequest,
) -> Result<SubscriptionResponse> {
    checks::reason(&body.reason)?;
    app.db
        .once(op, "admin_subscription_suspend", async |conn| {
            let settings = settings::load(conn).await?;
            let mut sub = lock_own(conn, op, &settings, subscription_id).await?;
            suspend_because(conn, op, &mut sub, SuspensionReason::Admin, Some(&body.reason)).await?;
            let price = catalog::plan_in_force(conn, sub.plan_id, op.now).await?;
            let more = json!({"reason": body.reason});
            let how = (Severity::Critical, "subscription_suspended_by_admin");
            tell(conn, op, &sub, &price, how, more).await?;
            answer(conn, &sub).await
        })
        .await
}

/// Switches a suspended subscription on again.
///
/// Errors: 404; 409 while an invoice for it is overdue, and for the child of a pack; 400 from every state but suspended.
pub async fn resume_one(
    op: &OpContext,
    app: &Control,
    subscription_id: Uuid,
) -> Result<SubscriptionResponse> {
    app.db
        .once(op, "admin_subscription_resume", async |conn| {
            let settings = settings::load(conn).await?;
            let mut sub = lock_own(conn, op, &settings, subscription_id).await?;
            if sub.status == "suspended"
                && let Some(number) = store::overdue(conn, &sub).await?
            {
                return Err(Error::conflict(format!(
                    "invoice {number} is overdue: it must be settled first"
                )));
            }
            resume(conn, op, &settings, &mut sub).await?;
            answer(conn, &sub).await
        })
        .await
}
