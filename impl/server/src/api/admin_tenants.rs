//! `admin-tenants`: the customers as support and finance see them.
use super::{Enter, Handlers};
use crate::db::page::PageRequest;
use crate::{directory, profiles};
use scaicontrol_api::admin_tenants::{
    AdminTenantBillingProfileUpsertPath, AdminTenantGetPath, AdminTenantListQuery, AdminTenantsApi, perm,
};
use scaicontrol_api::{ApiError, App, Auth, Cx, Json, PathParams, QueryParams, R200};
use scaicontrol_types::{
    AdminBillingProfileUpsertRequest, BillingProfileEnvelope, TenantDetailEnvelope, TenantPage,
};

impl AdminTenantsApi for Handlers {
    type Context = App;

    async fn admin_tenant_list(
        rqctx: Cx,
        auth: Auth<perm::AdminTenantList>,
        query: QueryParams<AdminTenantListQuery>,
    ) -> Result<R200<TenantPage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let page = PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &(op.operation, &q.q))?;
        let (data, pagination) = directory::tenant_list(&op, app, &page, q.q.as_deref()).await?;
        Ok(R200(TenantPage { data, pagination, meta: op.meta() }))
    }

    async fn admin_tenant_get(
        rqctx: Cx,
        auth: Auth<perm::AdminTenantGet>,
        path: PathParams<AdminTenantGetPath>,
    ) -> Result<R200<TenantDetailEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = directory::tenant_get(&op, app, &path.0.tenant_id).await?;
        Ok(R200(TenantDetailEnvelope { data, meta: op.meta() }))
    }

    async fn admin_tenant_billing_profile_upsert(
        rqctx: Cx,
        auth: Auth<perm::AdminTenantBillingProfileUpsert>,
        path: PathParams<AdminTenantBillingProfileUpsertPath>,
        body: Json<AdminBillingProfileUpsertRequest>,
    ) -> Result<R200<BillingProfileEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = profiles::admin_upsert(&op, app, &path.0.tenant_id, body.0).await?;
        Ok(R200(BillingProfileEnvelope { data, meta: op.meta() }))
    }
}
