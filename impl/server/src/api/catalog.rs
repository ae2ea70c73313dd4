//! `catalog`: what is on offer.
use super::{Enter, Handlers};
use crate::catalog;
use crate::db::page::PageRequest;
use scaicontrol_api::catalog::{
    CatalogApi, CatalogPlanGetPath, CatalogPlanListPath, CatalogServiceGetPath, CatalogServiceListQuery, perm,
};
use scaicontrol_api::{ApiError, App, Auth, Cx, PathParams, QueryParams, R200};
use scaicontrol_types::{CatalogServiceDetailEnvelope, CatalogServicePage, PlanEnvelope, PlanList};

impl CatalogApi for Handlers {
    type Context = App;

    async fn catalog_service_list(
        rqctx: Cx,
        auth: Auth<perm::CatalogServiceList>,
        query: QueryParams<CatalogServiceListQuery>,
    ) -> Result<R200<CatalogServicePage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let page =
            PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &(op.operation, &q.q, &q.category))?;
        let found = catalog::service_list(&op, app, &page, q.q.as_deref(), q.category.as_deref()).await?;
        Ok(R200(CatalogServicePage { data: found.0, pagination: found.1, meta: op.meta() }))
    }

    async fn catalog_service_get(
        rqctx: Cx,
        auth: Auth<perm::CatalogServiceGet>,
        path: PathParams<CatalogServiceGetPath>,
    ) -> Result<R200<CatalogServiceDetailEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = catalog::service_get(&op, app, &path.0.slug).await?;
        Ok(R200(CatalogServiceDetailEnvelope { data, meta: op.meta() }))
    }

    async fn catalog_plan_list(
        rqctx: Cx,
        auth: Auth<perm::CatalogPlanList>,
        path: PathParams<CatalogPlanListPath>,
    ) -> Result<R200<PlanList>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = catalog::plan_list(&op, app, &path.0.slug).await?;
        Ok(R200(PlanList { data, meta: op.meta() }))
    }

    async fn catalog_plan_get(
        rqctx: Cx,
        auth: Auth<perm::CatalogPlanGet>,
        path: PathParams<CatalogPlanGetPath>,
    ) -> Result<R200<PlanEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = catalog::plan_get(&op, app, path.0.plan_id).await?;
        Ok(R200(PlanEnvelope { data, meta: op.meta() }))
    }
}
