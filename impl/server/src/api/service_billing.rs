//! Handlers of the group `service-billing`.
use super::prelude::*;
use crate::charges::{self, store::Filter, tenants};
use scaicontrol_api::service_billing::*;

impl ServiceBillingApi for Handlers {
    type Context = App;

    async fn service_tenant_billing_status_get(
        rqctx: Cx,
        auth: Auth<perm::ServiceTenantBillingStatusGet>,
        path: PathParams<ServiceTenantBillingStatusGetPath>,
    ) -> Result<R200<TenantBillingStatusEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = tenants::billing_status(&op, app, &path.0.tenant_id).await?;
        Ok(R200(TenantBillingStatusEnvelope { data, meta: op.meta() }))
    }

    async fn service_tenant_subscription_get(
        rqctx: Cx,
        auth: Auth<perm::ServiceTenantSubscriptionGet>,
        path: PathParams<ServiceTenantSubscriptionGetPath>,
    ) -> Result<R200<TenantServiceSubscriptionEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = tenants::subscription(&op, app, &path.0.tenant_id).await?;
        Ok(R200(TenantServiceSubscriptionEnvelope { data, meta: op.meta() }))
    }

    async fn service_charge_invoice_list(
        rqctx: Cx,
        auth: Auth<perm::ServiceChargeInvoiceList>,
        path: PathParams<ServiceChargeInvoiceListPath>,
        query: QueryParams<ServiceChargeInvoiceListQuery>,
    ) -> Result<R200<ServiceInvoicePage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let (q, tenant_id) = (query.0, path.0.tenant_id);
        let whole = (op.operation, op.actor.service_id, &tenant_id);
        let page = PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &whole)?;
        let (data, pagination) = tenants::invoices(&op, app, &tenant_id, &page).await?;
        Ok(R200(ServiceInvoicePage { data, pagination, meta: op.meta() }))
    }

    async fn service_charge_create(
        rqctx: Cx,
        auth: Auth<perm::ServiceChargeCreate>,
        body: Json<ChargeCreateRequest>,
    ) -> Result<R201<ChargeEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = charges::create(&op, app, &body.0).await?;
        Ok(R201(ChargeEnvelope { data, meta: op.meta() }))
    }

    async fn service_charge_list(
        rqctx: Cx,
        auth: Auth<perm::ServiceChargeList>,
        query: QueryParams<ServiceChargeListQuery>,
    ) -> Result<R200<ChargePage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let filter = Filter { tenant_id: q.tenant_id, status: q.status.map(|s| s.to_string()) };
        let whole = (op.operation, op.actor.service_id, &filter);
        let page = PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &whole)?;
        let (data, pagination) = charges::list(&op, app, &page, &filter).await?;
        Ok(R200(ChargePage { data, pagination, meta: op.meta() }))
    }

    async fn service_charge_get(
        rqctx: Cx,
        auth: Auth<perm::ServiceChargeGet>,
        path: PathParams<ServiceChargeGetPath>,
    ) -> Result<R200<ChargeEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = charges::get(&op, app, path.0.charge_id).await?;
        Ok(R200(ChargeEnvelope { data, meta: op.meta() }))
    }

    async fn service_charge_withdraw(
        rqctx: Cx,
        auth: Auth<perm::ServiceChargeWithdraw>,
        path: PathParams<ServiceChargeWithdrawPath>,
    ) -> Result<R200<AcknowledgementEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        charges::withdraw(&op, app, path.0.charge_id).await?;
        Ok(R200(AcknowledgementEnvelope { data: Acknowledgement { ok: true }, meta: op.meta() }))
    }
}
