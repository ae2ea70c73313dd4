//! Health and metrics of the server itself.
use super::{Enter, Handlers};
use scaicontrol_api::untagged::UntaggedApi;
use scaicontrol_api::{ApiError, App, Cx, Download, R200};
use scaicontrol_types::HealthResponse;

impl UntaggedApi for Handlers {
    type Context = App;

    async fn health_get(rqctx: Cx) -> Result<R200<HealthResponse>, ApiError> {
        let control = rqctx.control();
        Ok(R200(control.health.get(control).await?))
    }

    async fn metrics_get(rqctx: Cx) -> Result<Download, ApiError> {
        let control = rqctx.control();
        if control.config.metrics_bind.is_some() {
            return Err(ApiError::not_found("page"));
        }
        Ok(Download::new(crate::observability::METRICS_TYPE, control.metrics.text(control)))
    }
}
