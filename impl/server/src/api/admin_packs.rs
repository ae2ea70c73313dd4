//! Handlers of the group `admin-packs`.
use super::prelude::*;
use crate::packs::admin;
use scaicontrol_api::admin_packs::*;

impl AdminPacksApi for Handlers {
    type Context = App;

    async fn admin_service_pack_list(
        rqctx: Cx,
        auth: Auth<perm::AdminServicePackList>,
        query: QueryParams<AdminServicePackListQuery>,
    ) -> Result<R200<ServicePackPage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let page =
            PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &(op.operation, &q.q, q.is_active))?;
        let (data, pagination) = admin::list(&op, app, &page, q.q.as_deref(), q.is_active).await?;
        Ok(R200(ServicePackPage { data, pagination, meta: op.meta() }))
    }

    async fn admin_service_pack_create(
        rqctx: Cx,
        auth: Auth<perm::AdminServicePackCreate>,
        body: Json<ServicePackCreateRequest>,
    ) -> Result<R201<ServicePackEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = admin::create(&op, app, &body.0).await?;
        Ok(R201(ServicePackEnvelope { data, meta: op.meta() }))
    }

    async fn admin_service_pack_get(
        rqctx: Cx,
        auth: Auth<perm::AdminServicePackGet>,
        path: PathParams<AdminServicePackGetPath>,
    ) -> Result<R200<ServicePackEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = admin::get(&op, app, path.0.pack_id).await?;
        Ok(R200(ServicePackEnvelope { data, meta: op.meta() }))
    }

    async fn admin_service_pack_update(
        rqctx: Cx,
        auth: Auth<perm::AdminServicePackUpdate>,
        path: PathParams<AdminServicePackUpdatePath>,
        body: Json<ServicePackUpdateRequest>,
    ) -> Result<R200<ServicePackEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = admin::update(&op, app, path.0.pack_id, &body.0).await?;
        Ok(R200(ServicePackEnvelope { data, meta: op.meta() }))
    }

    async fn admin_service_pack_delete(
        rqctx: Cx,
        auth: Auth<perm::AdminServicePackDelete>,
        path: PathParams<AdminServicePackDeletePath>,
    ) -> Result<R200<AcknowledgementEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        admin::delete(&op, app, path.0.pack_id).await?;
        Ok(R200(AcknowledgementEnvelope { data: Acknowledgement { ok: true }, meta: op.meta() }))
    }
}
