//! The handlers of the group `metering`.
use super::{Enter, Handlers};
use crate::metering::{self, HistoryFilter};
use scaicontrol_api::metering::{
    MeteringApi, QuotaCheckPath, UsageByServiceGetPath, UsageHistoryGetQuery, UsageSummaryGetQuery, perm,
};
use scaicontrol_api::{ApiError, App, Auth, Cx, Json, PathParams, QueryParams, R200, R202};
use scaicontrol_types::{
    QuotaStatusEnvelope, QuotaStatusList, ServiceUsageEnvelope, UsageEventsEnvelope, UsageEventsRequest,
    UsageHistoryEnvelope, UsageSummaryEnvelope,
};

impl MeteringApi for Handlers {
    type Context = App;

    async fn quota_check(
        rqctx: Cx,
        auth: Auth<perm::QuotaCheck>,
        path: PathParams<QuotaCheckPath>,
    ) -> Result<R200<QuotaStatusEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let QuotaCheckPath { tenant_id, service_slug, metric_slug } = &path.0;
        let data = metering::quota_check(&op, app, tenant_id, service_slug, metric_slug).await?;
        Ok(R200(QuotaStatusEnvelope { data, meta: op.meta() }))
    }

    async fn usage_events_post(
        rqctx: Cx,
        auth: Auth<perm::UsageEventsPost>,
        body: Json<UsageEventsRequest>,
    ) -> Result<R202<UsageEventsEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = metering::usage_events_post(&op, app, body.0).await?;
        Ok(R202(UsageEventsEnvelope { data, meta: op.meta() }))
    }

    async fn usage_by_service_get(
        rqctx: Cx,
        auth: Auth<perm::UsageByServiceGet>,
        path: PathParams<UsageByServiceGetPath>,
    ) -> Result<R200<ServiceUsageEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = metering::usage_by_service_get(&op, app, &path.0.slug).await?;
        Ok(R200(ServiceUsageEnvelope { data, meta: op.meta() }))
    }

    async fn usage_history_get(
        rqctx: Cx,
        auth: Auth<perm::UsageHistoryGet>,
        query: QueryParams<UsageHistoryGetQuery>,
    ) -> Result<R200<UsageHistoryEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = &query.0;
        let filter = HistoryFilter {
            service_slug: q.service_slug.as_deref(),
            metric_slug: q.metric_slug.as_deref(),
            period_type: q.period_type,
            from: q.from,
            to: q.to,
        };
        let data = metering::usage_history_get(&op, app, filter).await?;
        Ok(R200(UsageHistoryEnvelope { data, meta: op.meta() }))
    }

    async fn usage_quota_list(
        rqctx: Cx,
        auth: Auth<perm::UsageQuotaList>,
    ) -> Result<R200<QuotaStatusList>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = metering::usage_quota_list(&op, app).await?;
        Ok(R200(QuotaStatusList { data, meta: op.meta() }))
    }

    async fn usage_summary_get(
        rqctx: Cx,
        auth: Auth<perm::UsageSummaryGet>,
        query: QueryParams<UsageSummaryGetQuery>,
    ) -> Result<R200<UsageSummaryEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = metering::usage_summary_get(&op, app, query.0.period_type).await?;
        Ok(R200(UsageSummaryEnvelope { data, meta: op.meta() }))
    }
}
