//! Handlers of the group `subscriptions`.
use super::prelude::*;
use crate::subscriptions::{self, change::By};
use scaicontrol_api::subscriptions::*;

impl SubscriptionsApi for Handlers {
    type Context = App;

    async fn subscription_list(
        rqctx: Cx,
        auth: Auth<perm::SubscriptionList>,
        query: QueryParams<SubscriptionListQuery>,
    ) -> Result<R200<SubscriptionPage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let filter = (op.operation, op.tenant_id(), q.status, &q.service_slug);
        let page = PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &filter)?;
        let (data, pagination) =
            subscriptions::list(&op, app, &page, q.status, q.service_slug.as_deref()).await?;
        Ok(R200(SubscriptionPage { data, pagination, meta: op.meta() }))
    }

    async fn subscription_create(
        rqctx: Cx,
        auth: Auth<perm::SubscriptionCreate>,
        body: Json<SubscriptionCreateRequest>,
    ) -> Result<R201<SubscriptionEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = subscriptions::create(&op, app, &body.0).await?;
        Ok(R201(SubscriptionEnvelope { data, meta: op.meta() }))
    }

    async fn subscription_get(
        rqctx: Cx,
        auth: Auth<perm::SubscriptionGet>,
        path: PathParams<SubscriptionGetPath>,
    ) -> Result<R200<SubscriptionEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = subscriptions::get(&op, app, path.0.subscription_id).await?;
        Ok(R200(SubscriptionEnvelope { data, meta: op.meta() }))
    }
    async fn subscription_change_plan(
        rqctx: Cx,
        auth: Auth<perm::SubscriptionChangePlan>,
        path: PathParams<SubscriptionChangePlanPath>,
        body: Json<ChangePlanRequest>,
    ) -> Result<R200<ChangePlanEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let id = path.0.subscription_id;
        let data = subscriptions::change::change_plan(&op, app, id, &body.0, By::Tenant).await?;
        Ok(R200(ChangePlanEnvelope { data, meta: op.meta() }))
    }

    async fn subscription_cancel(
        rqctx: Cx,
        auth: Auth<perm::SubscriptionCancel>,
        path: PathParams<SubscriptionCancelPath>,
        body: Json<CancelRequest>,
    ) -> Result<R200<SubscriptionEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = subscriptions::cancel(&op, app, path.0.subscription_id, &body.0).await?;
        Ok(R200(SubscriptionEnvelope { data, meta: op.meta() }))
    }

    async fn subscription_reactivate(
        rqctx: Cx,
        auth: Auth<perm::SubscriptionReactivate>,
        path: PathParams<SubscriptionReactivatePath>,
    ) -> Result<R200<SubscriptionEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = subscriptions::reactivate(&op, app, path.0.subscription_id).await?;
        Ok(R200(SubscriptionEnvelope { data, meta: op.meta() }))
    }
}
