//! Handlers of the group `admin-subscriptions`.
use super::prelude::*;
use crate::subscriptions::admin::{self, Filter};
use crate::subscriptions::change::{By, change_plan};
use crate::subscriptions::get;
use scaicontrol_api::admin_subscriptions::*;

impl AdminSubscriptionsApi for Handlers {
    type Context = App;

    async fn admin_subscription_list(
        rqctx: Cx,
        auth: Auth<perm::AdminSubscriptionList>,
        query: QueryParams<AdminSubscriptionListQuery>,
    ) -> Result<R200<SubscriptionPage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let filter = Filter {
            status: q.status,
            service_slug: q.service_slug,
            plan_key: q.plan_key,
            tenant_id: q.tenant_id,
            partner_id: q.partner_id,
        };
        let page = PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &(op.operation, &filter))?;
        let (data, pagination) = admin::list(&op, app, &page, &filter).await?;
        Ok(R200(SubscriptionPage { data, pagination, meta: op.meta() }))
    }

    async fn admin_subscription_create(
        rqctx: Cx,
        auth: Auth<perm::AdminSubscriptionCreate>,
        body: Json<AdminSubscriptionCreateRequest>,
    ) -> Result<R201<SubscriptionEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = admin::create(&op, app, &body.0).await?;
        Ok(R201(SubscriptionEnvelope { data, meta: op.meta() }))
    }

    async fn admin_subscription_get(
        rqctx: Cx,
        auth: Auth<perm::AdminSubscriptionGet>,
        path: PathParams<AdminSubscriptionGetPath>,
    ) -> Result<R200<SubscriptionEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = get(&op, app, path.0.subscription_id).await?;
        Ok(R200(SubscriptionEnvelope { data, meta: op.meta() }))
    }

    async fn admin_subscription_cancel(
        rqctx: Cx,
        auth: Auth<perm::AdminSubscriptionCancel>,
        path: PathParams<AdminSubscriptionCancelPath>,
        body: Json<AdminCancelRequest>,
    ) -> Result<R200<SubscriptionEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = admin::cancel(&op, app, path.0.subscription_id, &body.0).await?;
        Ok(R200(SubscriptionEnvelope { data, meta: op.meta() }))
    }

    async fn admin_subscription_suspend(
        rqctx: Cx,
        auth: Auth<perm::AdminSubscriptionSuspend>,
        path: PathParams<AdminSubscriptionSuspendPath>,
        body: Json<AdminSuspendRequest>,
    ) -> Result<R200<SubscriptionEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = admin::suspend(&op, app, path.0.subscription_id, &body.0).await?;
        Ok(R200(SubscriptionEnvelope { data, meta: op.meta() }))
    }

    async fn admin_subscription_resume(
        rqctx: Cx,
        auth: Auth<perm::AdminSubscriptionResume>,
        path: PathParams<AdminSubscriptionResumePath>,
    ) -> Result<R200<SubscriptionEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = admin::resume_one(&op, app, path.0.subscription_id).await?;
        Ok(R200(SubscriptionEnvelope { data, meta: op.meta() }))
    }

    async fn admin_subscription_change_plan(
        rqctx: Cx,
        auth: Auth<perm::AdminSubscriptionChangePlan>,
        path: PathParams<AdminSubscriptionChangePlanPath>,
        body: Json<ChangePlanRequest>,
    ) -> Result<R200<ChangePlanEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = change_plan(&op, app, path.0.subscription_id, &body.0, By::Admin).await?;
        Ok(R200(ChangePlanEnvelope { data, meta: op.meta() }))
    }
}
