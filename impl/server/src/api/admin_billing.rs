//! Handlers of the group `admin-billing`.
use super::prelude::*;
use crate::billing::{self, credit_notes, drafts, finalize, overview, run, store::Filter, void};
use crate::payments;
use crate::{documents, templates};
use scaicontrol_api::admin_billing::*;

impl AdminBillingApi for Handlers {
    type Context = App;

    async fn admin_invoice_list(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceList>,
        query: QueryParams<AdminInvoiceListQuery>,
    ) -> Result<R200<InvoicePage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let filter = Filter {
            status: q.status.map(|s| s.to_string()),
            document_type: q.document_type.map(|d| d.to_string()),
            tenant_id: q.tenant_id,
            partner_id: q.partner_id,
            q: q.q,
            from: q.from,
            to: q.to,
        };
        let page = PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &(op.operation, &filter))?;
        let (data, pagination) = billing::list(&op, app, &filter, &page).await?;
        Ok(R200(InvoicePage { data, pagination, meta: op.meta() }))
    }

    async fn admin_invoice_create(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceCreate>,
        body: Json<AdminInvoiceCreateRequest>,
    ) -> Result<R201<InvoiceDetailEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = drafts::create(&op, app, &body.0).await?;
        Ok(R201(InvoiceDetailEnvelope { data, meta: op.meta() }))
    }

    async fn admin_invoice_get(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceGet>,
        path: PathParams<AdminInvoiceGetPath>,
    ) -> Result<R200<InvoiceDetailEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = billing::get(&op, app, path.0.invoice_id).await?;
        Ok(R200(InvoiceDetailEnvelope { data, meta: op.meta() }))
    }

    async fn admin_invoice_update(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceUpdate>,
        path: PathParams<AdminInvoiceUpdatePath>,
        body: Json<AdminInvoiceUpdateRequest>,
    ) -> Result<R200<InvoiceDetailEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = drafts::update(&op, app, path.0.invoice_id, &body.0).await?;
        Ok(R200(InvoiceDetailEnvelope { data, meta: op.meta() }))
    }

    async fn admin_invoice_delete(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceDelete>,
        path: PathParams<AdminInvoiceDeletePath>,
        query: QueryParams<AdminInvoiceDeleteQuery>,
    ) -> Result<R200<AcknowledgementEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        drafts::delete(&op, app, path.0.invoice_id, query.0.waive).await?;
        Ok(R200(AcknowledgementEnvelope { data: Acknowledgement { ok: true }, meta: op.meta() }))
    }

    async fn admin_invoice_lines_order(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceLinesOrder>,
        path: PathParams<AdminInvoiceLinesOrderPath>,
        body: Json<LineItemOrderRequest>,
    ) -> Result<R200<InvoiceDetailEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = drafts::order_lines(&op, app, path.0.invoice_id, &body.0.line_item_ids).await?;
        Ok(R200(InvoiceDetailEnvelope { data, meta: op.meta() }))
    }

    async fn admin_invoice_lines_sort(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceLinesSort>,
        path: PathParams<AdminInvoiceLinesSortPath>,
    ) -> Result<R200<InvoiceDetailEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = drafts::sort_lines(&op, app, path.0.invoice_id).await?;
        Ok(R200(InvoiceDetailEnvelope { data, meta: op.meta() }))
    }

    async fn admin_invoice_finalize(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceFinalize>,
        path: PathParams<AdminInvoiceFinalizePath>,
    ) -> Result<R200<InvoiceDetailEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = finalize::finalize(&op, app, path.0.invoice_id).await?;
        Ok(R200(InvoiceDetailEnvelope { data, meta: op.meta() }))
    }

    async fn admin_invoice_credit_note_create(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceCreditNoteCreate>,
        path: PathParams<AdminInvoiceCreditNoteCreatePath>,
        body: Json<CreditNoteCreateRequest>,
    ) -> Result<R201<InvoiceDetailEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = credit_notes::create(&op, app, path.0.invoice_id, &body.0).await?;
        Ok(R201(InvoiceDetailEnvelope { data, meta: op.meta() }))
    }

    async fn admin_invoice_refund(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceRefund>,
        path: PathParams<AdminInvoiceRefundPath>,
        body: Json<InvoiceRefundRequest>,
    ) -> Result<R200<InvoiceRefundEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = payments::refund::refund(&op, app, path.0.invoice_id, &body.0).await?;
        Ok(R200(InvoiceRefundEnvelope { data, meta: op.meta() }))
    }

    async fn admin_invoice_void(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceVoid>,
        path: PathParams<AdminInvoiceVoidPath>,
        body: Json<InvoiceVoidRequest>,
    ) -> Result<R200<InvoiceVoidEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = void::void(&op, app, path.0.invoice_id, &body.0).await?;
        Ok(R200(InvoiceVoidEnvelope { data, meta: op.meta() }))
    }

    async fn admin_invoice_mark_paid(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceMarkPaid>,
        path: PathParams<AdminInvoiceMarkPaidPath>,
        body: Json<InvoiceMarkPaidRequest>,
    ) -> Result<R200<InvoiceDetailEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = payments::mark_paid(&op, app, path.0.invoice_id, &body.0).await?;
        Ok(R200(InvoiceDetailEnvelope { data, meta: op.meta() }))
    }

    async fn admin_payment_list(
        rqctx: Cx,
        auth: Auth<perm::AdminPaymentList>,
        query: QueryParams<AdminPaymentListQuery>,
    ) -> Result<R200<AdminPaymentPage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let filter = payments::store::Filter {
            status: q.status.map(|s| s.to_string()),
            kind: q.kind.map(|k| k.to_string()),
            provider: q.provider.map(|p| p.to_string()),
            tenant_id: q.tenant_id,
            partner_id: q.partner_id,
            invoice_id: q.invoice_id,
            from: q.from,
            to: q.to,
        };
        let page = PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &(op.operation, &filter))?;
        let (data, pagination) = payments::list(&op, app, &filter, &page).await?;
        Ok(R200(AdminPaymentPage { data, pagination, meta: op.meta() }))
    }

    async fn admin_billing_overview_get(
        rqctx: Cx,
        auth: Auth<perm::AdminBillingOverviewGet>,
        query: QueryParams<AdminBillingOverviewGetQuery>,
    ) -> Result<R200<BillingDashboardEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let data = overview::dashboard(&op, app, q.partner_id.as_deref(), q.from, q.to).await?;
        Ok(R200(BillingDashboardEnvelope { data, meta: op.meta() }))
    }

    async fn admin_billing_run(
        rqctx: Cx,
        auth: Auth<perm::AdminBillingRun>,
        body: Json<BillingRunRequest>,
    ) -> Result<R200<BillingRunEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = run::run(&op, app, &body.0).await?;
        Ok(R200(BillingRunEnvelope { data, meta: op.meta() }))
    }

    async fn admin_invoice_send(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceSend>,
        path: PathParams<AdminInvoiceSendPath>,
        body: Json<InvoiceSendRequest>,
    ) -> Result<R202<InvoiceMailEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = documents::send::send(&op, app, path.0.invoice_id, body.0.to.as_deref()).await?;
        Ok(R202(InvoiceMailEnvelope { data, meta: op.meta() }))
    }

    async fn admin_invoice_regenerate_pdf(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceRegeneratePdf>,
        path: PathParams<AdminInvoiceRegeneratePdfPath>,
    ) -> Result<R200<InvoiceEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = documents::pdf::regenerate(&op, app, path.0.invoice_id).await?;
        Ok(R200(InvoiceEnvelope { data, meta: op.meta() }))
    }

    async fn admin_invoice_pdf_download(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoicePdfDownload>,
        path: PathParams<AdminInvoicePdfDownloadPath>,
    ) -> Result<Download, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        Ok(documents::pdf::download(&op, app, path.0.invoice_id).await?.into())
    }

    async fn admin_invoice_einvoice_download(
        rqctx: Cx,
        auth: Auth<perm::AdminInvoiceEinvoiceDownload>,
        path: PathParams<AdminInvoiceEinvoiceDownloadPath>,
        query: QueryParams<AdminInvoiceEinvoiceDownloadQuery>,
    ) -> Result<Download, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let format = query.0.format.map(|f| f.as_str().parse()).transpose().map_err(ApiError::internal)?;
        Ok(documents::einvoice(&op, app, path.0.invoice_id, format).await?.into())
    }

    async fn admin_template_list(
        rqctx: Cx,
        auth: Auth<perm::AdminTemplateList>,
        query: QueryParams<AdminTemplateListQuery>,
    ) -> Result<R200<TemplatePage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let filter = templates::store::Filter {
            document_type: q.document_type.map(|d| d.to_string()),
            scope: q.scope.map(|s| s.to_string()),
            language: q.language.map(|l| l.to_string()),
            tenant_id: q.tenant_id,
            partner_id: q.partner_id,
        };
        let page = PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &(op.operation, &filter))?;
        let (data, pagination) = templates::list(&op, app, &filter, &page).await?;
        Ok(R200(TemplatePage { data, pagination, meta: op.meta() }))
    }

    async fn admin_template_create(
        rqctx: Cx,
        auth: Auth<perm::AdminTemplateCreate>,
        body: Json<TemplateCreateRequest>,
    ) -> Result<R201<TemplateEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = templates::create(&op, app, &body.0).await?;
        Ok(R201(TemplateEnvelope { data, meta: op.meta() }))
    }

    async fn admin_template_get(
        rqctx: Cx,
        auth: Auth<perm::AdminTemplateGet>,
        path: PathParams<AdminTemplateGetPath>,
    ) -> Result<R200<TemplateEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = templates::get(&op, app, path.0.template_id).await?;
        Ok(R200(TemplateEnvelope { data, meta: op.meta() }))
    }

    async fn admin_template_update(
        rqctx: Cx,
        auth: Auth<perm::AdminTemplateUpdate>,
        path: PathParams<AdminTemplateUpdatePath>,
        body: Json<TemplateUpdateRequest>,
    ) -> Result<R200<TemplateEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = templates::update(&op, app, path.0.template_id, &body.0).await?;
        Ok(R200(TemplateEnvelope { data, meta: op.meta() }))
    }

    async fn admin_template_delete(
        rqctx: Cx,
        auth: Auth<perm::AdminTemplateDelete>,
        path: PathParams<AdminTemplateDeletePath>,
    ) -> Result<R200<AcknowledgementEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        templates::delete(&op, app, path.0.template_id).await?;
        Ok(R200(AcknowledgementEnvelope { data: Acknowledgement { ok: true }, meta: op.meta() }))
    }

    async fn admin_template_preview(
        rqctx: Cx,
        auth: Auth<perm::AdminTemplatePreview>,
        path: PathParams<AdminTemplatePreviewPath>,
        body: Json<TemplatePreviewRequest>,
    ) -> Result<Download, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        Ok(documents::preview::preview(&op, app, path.0.template_id, body.0.invoice_id).await?.into())
    }

    async fn admin_template_variable_list(
        rqctx: Cx,
        auth: Auth<perm::AdminTemplateVariableList>,
        query: QueryParams<AdminTemplateVariableListQuery>,
    ) -> Result<R200<TemplateVariableList>, ApiError> {
        let (op, _) = rqctx.enter(&auth);
        let kind =
            query.0.document_type.map(|d| d.as_str().parse()).transpose().map_err(ApiError::internal)?;
        Ok(R200(TemplateVariableList { data: templates::variables(kind), meta: op.meta() }))
    }
}
