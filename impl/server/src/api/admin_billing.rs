//! Handlers of the group `admin-billing`.
use super::prelude::*;
use crate::billing::{self, drafts, finalize, run, store::Filter};
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

    async fn admin_billing_run(
        rqctx: Cx,
        auth: Auth<perm::AdminBillingRun>,
        body: Json<BillingRunRequest>,
    ) -> Result<R200<BillingRunEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = run::run(&op, app, &body.0).await?;
        Ok(R200(BillingRunEnvelope { data, meta: op.meta() }))
    }
}
