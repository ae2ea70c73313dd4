//! `admin`: the catalogue as its operators keep it.
use super::{Enter, Handlers};
use crate::catalog::{plans, services};
use scaicontrol_api::admin::{
    AdminApi, AdminPlanPricingTiersReplacePath, AdminPlanUpdatePath, AdminServiceUpdatePath, perm,
};
use scaicontrol_api::{ApiError, App, Auth, Cx, Json, PathParams, R200, R201};
use scaicontrol_types::{
    AdminServiceEnvelope, PlanCreateRequest, PlanEnvelope, PlanUpdateRequest, PricingTierInputs,
    ServiceCreateRequest, ServiceUpdateRequest,
};

impl AdminApi for Handlers {
    type Context = App;

    async fn admin_service_create(
        rqctx: Cx,
        auth: Auth<perm::AdminServiceCreate>,
        body: Json<ServiceCreateRequest>,
    ) -> Result<R201<AdminServiceEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = services::create(&op, app, &body.0).await?;
        Ok(R201(AdminServiceEnvelope { data, meta: op.meta() }))
    }

    async fn admin_service_update(
        rqctx: Cx,
        auth: Auth<perm::AdminServiceUpdate>,
        path: PathParams<AdminServiceUpdatePath>,
        body: Json<ServiceUpdateRequest>,
    ) -> Result<R200<AdminServiceEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = services::update(&op, app, &path.0.slug, &body.0).await?;
        Ok(R200(AdminServiceEnvelope { data, meta: op.meta() }))
    }

    async fn admin_plan_create(
        rqctx: Cx,
        auth: Auth<perm::AdminPlanCreate>,
        body: Json<PlanCreateRequest>,
    ) -> Result<R201<PlanEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = plans::create(&op, app, &body.0).await?;
        Ok(R201(PlanEnvelope { data, meta: op.meta() }))
    }

    async fn admin_plan_update(
        rqctx: Cx,
        auth: Auth<perm::AdminPlanUpdate>,
        path: PathParams<AdminPlanUpdatePath>,
        body: Json<PlanUpdateRequest>,
    ) -> Result<R200<PlanEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = plans::update(&op, app, path.0.plan_id, &body.0).await?;
        Ok(R200(PlanEnvelope { data, meta: op.meta() }))
    }

    async fn admin_plan_pricing_tiers_replace(
        rqctx: Cx,
        auth: Auth<perm::AdminPlanPricingTiersReplace>,
        path: PathParams<AdminPlanPricingTiersReplacePath>,
        body: Json<PricingTierInputs>,
    ) -> Result<R200<PlanEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = plans::pricing_tiers_replace(&op, app, path.0.plan_id, &body.0.items).await?;
        Ok(R200(PlanEnvelope { data, meta: op.meta() }))
    }
}
