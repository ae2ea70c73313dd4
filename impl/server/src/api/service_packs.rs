//! Handlers of the group `service-packs`.
use super::prelude::*;
use crate::packs;
use scaicontrol_api::service_packs::*;

impl ServicePacksApi for Handlers {
    type Context = App;

    async fn service_pack_list(
        rqctx: Cx,
        auth: Auth<perm::ServicePackList>,
    ) -> Result<R200<ServicePackList>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = packs::list(&op, app).await?;
        Ok(R200(ServicePackList { data, meta: op.meta() }))
    }

    async fn service_pack_get(
        rqctx: Cx,
        auth: Auth<perm::ServicePackGet>,
        path: PathParams<ServicePackGetPath>,
    ) -> Result<R200<ServicePackEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = packs::get(&op, app, &path.0.slug).await?;
        Ok(R200(ServicePackEnvelope { data, meta: op.meta() }))
    }

    async fn service_pack_subscribe(
        rqctx: Cx,
        auth: Auth<perm::ServicePackSubscribe>,
        path: PathParams<ServicePackSubscribePath>,
    ) -> Result<R201<PackSubscriptionEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = packs::subscribe(&op, app, &path.0.slug).await?;
        Ok(R201(PackSubscriptionEnvelope { data, meta: op.meta() }))
    }

    async fn pack_subscription_list(
        rqctx: Cx,
        auth: Auth<perm::PackSubscriptionList>,
        query: QueryParams<PackSubscriptionListQuery>,
    ) -> Result<R200<PackSubscriptionPage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let filter = (op.operation, op.tenant_id(), q.status);
        let page = PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &filter)?;
        let (data, pagination) = packs::subscription_list(&op, app, &page, q.status).await?;
        Ok(R200(PackSubscriptionPage { data, pagination, meta: op.meta() }))
    }

    async fn pack_subscription_cancel(
        rqctx: Cx,
        auth: Auth<perm::PackSubscriptionCancel>,
        path: PathParams<PackSubscriptionCancelPath>,
        body: Json<CancelRequest>,
    ) -> Result<R200<PackSubscriptionEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let id = path.0.pack_subscription_id;
        let data = packs::cancel(&op, app, id, body.0.reason.as_deref()).await?;
        Ok(R200(PackSubscriptionEnvelope { data, meta: op.meta() }))
    }
}
