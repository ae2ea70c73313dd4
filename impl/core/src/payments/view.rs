//! Payments as callers see them.
use super::store::{self, MANUAL, PaymentRow};
use crate::db::Conn;
use crate::error::Result;
use crate::subscriptions::view::parse;
use scaicontrol_types::{AdminPaymentResponse, PaymentResponse};
use std::collections::HashMap;
use uuid::Uuid;

/// A payment; `refunded` holds what was sent back, by payment.
pub fn payment(row: &PaymentRow, refunded: &HashMap<Uuid, i64>) -> Result<PaymentResponse> {
    let r = row.clone();
    Ok(PaymentResponse {
        id: r.payment_id,
        invoice_id: r.invoice_id,
        tenant_id: r.tenant_id,
        partner_id: r.partner_id,
        kind: parse(&r.kind)?,
        status: parse(&r.status)?,
        provider: parse(&r.provider)?,
        method_type: parse(&r.method_type)?,
        payment_method_id: r.payment_method_id,
        amount_cents: r.amount_cents,
        refunded_cents: refunded.get(&r.payment_id).copied().unwrap_or_default(),
        currency: r.currency,
        reference: r.reference,
        failure_code: r.failure_code,
        failure_message: r.failure_message,
        paid_at: r.paid_at,
        reversed_at: r.reversed_at,
        created_at: r.created_at,
        updated_at: r.updated_at,
    })
}

/// The payments of a document, the oldest first.
pub async fn of_invoice(conn: &mut Conn, tenant_id: &str, invoice_id: Uuid) -> Result<Vec<PaymentResponse>> {
    let rows = store::of_invoice(conn, tenant_id, invoice_id).await?;
    payments(conn, &rows).await
}

/// These payments, in their order.
pub async fn payments(conn: &mut Conn, rows: &[PaymentRow]) -> Result<Vec<PaymentResponse>> {
    let refunded = store::refunded(conn, rows).await?;
    rows.iter().map(|row| payment(row, &refunded)).collect()
}

/// Payments as finance sees them.
pub async fn admin_payments(conn: &mut Conn, rows: &[PaymentRow]) -> Result<Vec<AdminPaymentResponse>> {
    let refunded = store::refunded(conn, rows).await?;
    let numbers = store::numbers(conn, rows).await?;
    let shown = rows.iter().map(|row| {
        Ok(AdminPaymentResponse {
            payment: payment(row, &refunded)?,
            invoice_number: numbers.get(&row.invoice_id).cloned().flatten(),
            provider_account: row.provider_account.clone().filter(|account| account != MANUAL),
            entered_by: row.entered_by.clone(),
        })
    });
    shown.collect()
}
