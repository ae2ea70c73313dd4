//! Handlers of the group `billing`.
use super::prelude::*;
use crate::billing::{self, overview, store::Filter, upcoming};
use crate::{documents, profiles};
use scaicontrol_api::billing::*;

impl BillingApi for Handlers {
    type Context = App;

    async fn billing_profile_get(
        rqctx: Cx,
        auth: Auth<perm::BillingProfileGet>,
    ) -> Result<R200<BillingProfileOptionalEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = profiles::get(&op, app).await?;
        Ok(R200(BillingProfileOptionalEnvelope { data, meta: op.meta() }))
    }

    async fn billing_profile_upsert(
        rqctx: Cx,
        auth: Auth<perm::BillingProfileUpsert>,
        body: Json<BillingProfileCreateUpdate>,
    ) -> Result<R200<BillingProfileEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = profiles::upsert(&op, app, body.0).await?;
        Ok(R200(BillingProfileEnvelope { data, meta: op.meta() }))
    }

    async fn invoice_list(
        rqctx: Cx,
        auth: Auth<perm::InvoiceList>,
        query: QueryParams<InvoiceListQuery>,
    ) -> Result<R200<InvoicePage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let filter = Filter {
            status: q.status.map(|s| s.to_string()),
            tenant_id: Some(op.tenant_id().into()),
            ..Filter::default()
        };
        let page = PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &(op.operation, &filter))?;
        let (data, pagination) = billing::list_issued(&op, app, &filter, &page).await?;
        Ok(R200(InvoicePage { data, pagination, meta: op.meta() }))
    }

    async fn invoice_get(
        rqctx: Cx,
        auth: Auth<perm::InvoiceGet>,
        path: PathParams<InvoiceGetPath>,
    ) -> Result<R200<InvoiceDetailEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = billing::get(&op, app, path.0.invoice_id).await?;
        Ok(R200(InvoiceDetailEnvelope { data, meta: op.meta() }))
    }

    async fn billing_overview_get(
        rqctx: Cx,
        auth: Auth<perm::BillingOverviewGet>,
    ) -> Result<R200<BillingOverviewEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = overview::overview(&op, app).await?;
        Ok(R200(BillingOverviewEnvelope { data, meta: op.meta() }))
    }

    async fn upcoming_invoice_get(
        rqctx: Cx,
        auth: Auth<perm::UpcomingInvoiceGet>,
    ) -> Result<R200<UpcomingInvoiceList>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = upcoming::upcoming(&op, app).await?;
        Ok(R200(UpcomingInvoiceList { data, meta: op.meta() }))
    }

    async fn invoice_pdf_download(
        rqctx: Cx,
        auth: Auth<perm::InvoicePdfDownload>,
        path: PathParams<InvoicePdfDownloadPath>,
    ) -> Result<Download, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        Ok(documents::pdf::download(&op, app, path.0.invoice_id).await?.into())
    }

    async fn invoice_einvoice_download(
        rqctx: Cx,
        auth: Auth<perm::InvoiceEinvoiceDownload>,
        path: PathParams<InvoiceEinvoiceDownloadPath>,
        query: QueryParams<InvoiceEinvoiceDownloadQuery>,
    ) -> Result<Download, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let format = query.0.format.map(|f| f.as_str().parse()).transpose().map_err(ApiError::internal)?;
        Ok(documents::einvoice(&op, app, path.0.invoice_id, format).await?.into())
    }

    async fn invoice_send(
        rqctx: Cx,
        auth: Auth<perm::InvoiceSend>,
        path: PathParams<InvoiceSendPath>,
        body: Json<InvoiceSendRequest>,
    ) -> Result<R202<InvoiceMailEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = documents::send::send_own(&op, app, path.0.invoice_id, body.0.to.as_deref()).await?;
        Ok(R202(InvoiceMailEnvelope { data, meta: op.meta() }))
    }
}
