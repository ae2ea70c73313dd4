//! Invoices as callers see them.
use super::store::{InvoiceRow, LineRow};
use crate::error::{Error, Result};
use crate::op::{OpContext, Scope};
use crate::subscriptions::view::{metadata, parse};
use scaicontrol_types::{InvoiceDetailResponse, InvoiceResponse, LineItemResponse, PaymentResponse};
use serde::de::DeserializeOwned;

/// Where the caller finds the PDF of a document that has a number.
pub fn pdf_url(op: &OpContext, row: &InvoiceRow) -> Option<String> {
    let group = if matches!(op.scope, Scope::Tenant(_)) { "billing" } else { "admin" };
    row.number.as_ref().map(|_| format!("/api/v1/{group}/invoices/{}/pdf", row.invoice_id))
}

/// A document without its lines, as staff see it.
pub fn invoice(row: &InvoiceRow) -> Result<InvoiceResponse> {
    let r = row.clone();
    let pdf_url = r.number.as_ref().map(|_| format!("/api/v1/admin/invoices/{}/pdf", r.invoice_id));
    Ok(InvoiceResponse {
        id: r.invoice_id,
        tenant_id: r.tenant_id,
        partner_id: r.partner_id,
        document_type: parse(&r.document_type)?,
        status: parse(&r.status)?,
        currency: r.currency,
        issue_date: r.issue_date,
        due_date: r.due_date,
        tax_point_date: r.tax_point_date,
        period_start: r.period_start,
        period_end: r.period_end,
        subtotal_cents: r.subtotal_cents,
        tax_cents: r.tax_cents,
        total_cents: r.total_cents,
        paid_cents: r.paid_cents,
        credited_cents: r.credited_cents,
        due_cents: r.due_cents,
        buyer_snapshot: json(r.buyer_snapshot)?,
        seller_snapshot: json(r.seller_snapshot)?,
        vat_details: json(r.vat_details)?,
        notes: r.notes,
        referenced_invoice_id: r.referenced_invoice_id,
        pdf_url,
        number: r.number,
        finalized_at: r.finalized_at,
        sent_at: r.sent_at,
        paid_at: r.paid_at,
        voided_at: r.voided_at,
        payment_reversed_at: r.payment_reversed_at,
    })
}

/// A document with its lines, and without payments: a draft, or a credit note, which has none.
pub fn detail(row: &InvoiceRow, lines: &[LineRow]) -> Result<InvoiceDetailResponse> {
    with_payments(row, lines, vec![])
}

/// A document with its lines and payments.
pub fn with_payments(
    row: &InvoiceRow,
    lines: &[LineRow],
    payments: Vec<PaymentResponse>,
) -> Result<InvoiceDetailResponse> {
    document(row, lines.iter().map(line).collect::<Result<_>>()?, payments)
}

/// The same for the audit log, where a run makes a draft and where one is issued: without the explanations, which stand on
/// the lines. Of a long document they are most of its size.
pub fn unexplained(
    row: &InvoiceRow,
    lines: &[LineRow],
    payments: Vec<PaymentResponse>,
) -> Result<InvoiceDetailResponse> {
    document(row, lines.iter().map(unexplained_line).collect::<Result<_>>()?, payments)
}

fn document(
    row: &InvoiceRow,
    line_items: Vec<LineItemResponse>,
    payments: Vec<PaymentResponse>,
) -> Result<InvoiceDetailResponse> {
    let i = invoice(row)?;
    Ok(InvoiceDetailResponse {
        id: i.id,
        tenant_id: i.tenant_id,
        partner_id: i.partner_id,
        document_type: i.document_type,
        number: i.number,
        status: i.status,
        currency: i.currency,
        issue_date: i.issue_date,
        due_date: i.due_date,
        tax_point_date: i.tax_point_date,
        period_start: i.period_start,
        period_end: i.period_end,
        subtotal_cents: i.subtotal_cents,
        tax_cents: i.tax_cents,
        total_cents: i.total_cents,
        paid_cents: i.paid_cents,
        credited_cents: i.credited_cents,
        due_cents: i.due_cents,
        buyer_snapshot: i.buyer_snapshot,
        seller_snapshot: i.seller_snapshot,
        vat_details: i.vat_details,
        notes: i.notes,
        referenced_invoice_id: i.referenced_invoice_id,
        pdf_url: i.pdf_url,
        finalized_at: i.finalized_at,
        sent_at: i.sent_at,
        paid_at: i.paid_at,
        voided_at: i.voided_at,
        payment_reversed_at: i.payment_reversed_at,
        line_items,
        payments,
    })
}

/// One line.
pub fn line(row: &LineRow) -> Result<LineItemResponse> {
    Ok(LineItemResponse { explanation: row.explanation.as_ref().map(metadata), ..unexplained_line(row)? })
}

fn unexplained_line(r: &LineRow) -> Result<LineItemResponse> {
    Ok(LineItemResponse {
        id: r.line_item_id,
        order_index: r.order_index,
        kind: parse(&r.kind)?,
        description: r.description.clone(),
        quantity: r.quantity.normalize().into(),
        unit_label: r.unit_label.clone(),
        unit_price_cents: r.unit_price_cents.normalize().into(),
        amount_cents: r.amount_cents,
        tax_rate: r.tax_rate.map(|d| d.normalize().into()),
        tax_category: r.tax_category.as_deref().map(parse).transpose()?,
        tax_cents: r.tax_cents,
        period_start: r.period_start,
        period_end: r.period_end,
        subscription_id: r.subscription_id,
        service_slug: r.service_slug.clone(),
        metric_slug: r.metric_slug.clone(),
        explanation: None,
    })
}

fn json<T: DeserializeOwned>(value: Option<serde_json::Value>) -> Result<Option<T>> {
    value.map(|v| serde_json::from_value(v).map_err(Error::internal)).transpose()
}
