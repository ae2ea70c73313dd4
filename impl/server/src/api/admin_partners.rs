//! `admin-partners`: who sells through the platform.
use super::{Enter, Handlers};
use crate::db::page::PageRequest;
use crate::directory::{self, partners};
use crate::ledger::statement;
use scaicontrol_api::admin_partners::{
    AdminPartnerGetPath, AdminPartnerListQuery, AdminPartnerStatementGetPath, AdminPartnerStatementGetQuery,
    AdminPartnerTenantListPath, AdminPartnerTenantListQuery, AdminPartnerUpdatePath, AdminPartnersApi, perm,
};
use scaicontrol_api::{ApiError, App, Auth, Cx, Json, PathParams, QueryParams, R200, R201};
use scaicontrol_types::{
    PartnerCreateRequest, PartnerEnvelope, PartnerPage, PartnerStatementEnvelope, PartnerUpdateRequest,
    TenantPage,
};

impl AdminPartnersApi for Handlers {
    type Context = App;

    async fn admin_partner_list(
        rqctx: Cx,
        auth: Auth<perm::AdminPartnerList>,
        query: QueryParams<AdminPartnerListQuery>,
    ) -> Result<R200<PartnerPage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let page = PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &(op.operation, &q.q))?;
        let (data, pagination) = partners::list(&op, app, &page, q.q.as_deref()).await?;
        Ok(R200(PartnerPage { data, pagination, meta: op.meta() }))
    }

    async fn admin_partner_create(
        rqctx: Cx,
        auth: Auth<perm::AdminPartnerCreate>,
        body: Json<PartnerCreateRequest>,
    ) -> Result<R201<PartnerEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = partners::create(&op, app, &body.0).await?;
        Ok(R201(PartnerEnvelope { data, meta: op.meta() }))
    }

    async fn admin_partner_get(
        rqctx: Cx,
        auth: Auth<perm::AdminPartnerGet>,
        path: PathParams<AdminPartnerGetPath>,
    ) -> Result<R200<PartnerEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = partners::get(&op, app, &path.0.partner_id).await?;
        Ok(R200(PartnerEnvelope { data, meta: op.meta() }))
    }

    async fn admin_partner_update(
        rqctx: Cx,
        auth: Auth<perm::AdminPartnerUpdate>,
        path: PathParams<AdminPartnerUpdatePath>,
        body: Json<PartnerUpdateRequest>,
    ) -> Result<R200<PartnerEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = partners::update(&op, app, &path.0.partner_id, &body.0).await?;
        Ok(R200(PartnerEnvelope { data, meta: op.meta() }))
    }

    async fn admin_partner_tenant_list(
        rqctx: Cx,
        auth: Auth<perm::AdminPartnerTenantList>,
        path: PathParams<AdminPartnerTenantListPath>,
        query: QueryParams<AdminPartnerTenantListQuery>,
    ) -> Result<R200<TenantPage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let (q, partner_id) = (query.0, path.0.partner_id);
        let page =
            PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &(op.operation, &partner_id, &q.q))?;
        let (data, pagination) =
            directory::partner_tenant_list(&op, app, &partner_id, &page, q.q.as_deref()).await?;
        Ok(R200(TenantPage { data, pagination, meta: op.meta() }))
    }

    async fn admin_partner_statement_get(
        rqctx: Cx,
        auth: Auth<perm::AdminPartnerStatementGet>,
        path: PathParams<AdminPartnerStatementGetPath>,
        query: QueryParams<AdminPartnerStatementGetQuery>,
    ) -> Result<R200<PartnerStatementEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = statement::get(&op, app, &path.0.partner_id, query.0.from, query.0.to).await?;
        Ok(R200(PartnerStatementEnvelope { data, meta: op.meta() }))
    }
}
