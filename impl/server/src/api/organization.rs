//! `organization`: the caller's own tenant, its people, and whom it buys from.
use super::{Enter, Handlers};
use crate::db::page::PageRequest;
use crate::organization;
use scaicontrol_api::organization::{OrganizationApi, OrganizationUserListQuery, perm};
use scaicontrol_api::{ApiError, App, Auth, Cx, Json, QueryParams, R200};
use scaicontrol_types::{
    OrganizationEnvelope, OrganizationPartnerEnvelope, OrganizationUpdateRequest, UserPage,
};

impl OrganizationApi for Handlers {
    type Context = App;

    async fn organization_get(
        rqctx: Cx,
        auth: Auth<perm::OrganizationGet>,
    ) -> Result<R200<OrganizationEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = organization::get(&op, app).await?;
        Ok(R200(OrganizationEnvelope { data, meta: op.meta() }))
    }

    async fn organization_update(
        rqctx: Cx,
        auth: Auth<perm::OrganizationUpdate>,
        body: Json<OrganizationUpdateRequest>,
    ) -> Result<R200<OrganizationEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = organization::update(&op, app, &body.0).await?;
        // Whoever is let in next is told the new name.
        app.identity.forget();
        Ok(R200(OrganizationEnvelope { data, meta: op.meta() }))
    }

    async fn organization_user_list(
        rqctx: Cx,
        auth: Auth<perm::OrganizationUserList>,
        query: QueryParams<OrganizationUserListQuery>,
    ) -> Result<R200<UserPage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let page = PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &op.operation)?;
        let (data, pagination) = organization::users(&op, app, &page).await?;
        Ok(R200(UserPage { data, pagination, meta: op.meta() }))
    }

    async fn organization_partner_get(
        rqctx: Cx,
        auth: Auth<perm::OrganizationPartnerGet>,
    ) -> Result<R200<OrganizationPartnerEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = organization::partner(&op, app).await?;
        Ok(R200(OrganizationPartnerEnvelope { data, meta: op.meta() }))
    }
}
