//! Money that comes in and goes out for issued invoices, and the credit that tenants have.
//!
//! A payment is a row that says what happened outside; what it did to its invoice is an allocation, what it gave to the
//! tenant an entry of its credit, and both stand in the ledger. All of it is one transaction under the invoice's lock.
//! [`settle`] writes it down, the domain decides how much.
pub mod credit;
pub mod refund;
pub mod settle;
pub mod store;
pub mod view;

use crate::app::Control;
use crate::audit;
use crate::billing::store::{self as invoices, InvoiceRow};
use crate::billing::{drafts, view as invoice_view};
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::error::{Error, Result};
use crate::op::OpContext;
use credit::Use;
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::settlement::{SettlementError, credit_used};
use scaicontrol_types::{
    AdminPaymentResponse, InvoiceDetailResponse, InvoiceMarkPaidRequest, ManualPaymentMethod, Pagination,
};
use store::{AllocationRow, Filter};
use uuid::Uuid;

/// Records money that came in outside the providers, or a debt that is given up.
///
/// Errors: 404; 409 for what is no issued invoice, has nothing due, or has too many payments; 400 for a time in the future, a write-off of more
/// than is due, an amount that is too large.
pub async fn mark_paid(
    op: &OpContext,
    app: &Control,
    invoice_id: Uuid,
    body: &InvoiceMarkPaidRequest,
) -> Result<InvoiceDetailResponse> {
    if op.now < body.paid_at {
        return Err(Error::field("paid_at", "is in the future"));
    }
    app.db
        .once(op, "admin_invoice_mark_paid", async |conn| {
            let mut invoice = settle::lock(conn, invoice_id, "paid").await?;
            let due = invoice.now.due().map_err(Error::internal)?;
            if due <= Cents::ZERO {
                return Err(Error::conflict("nothing is due on the invoice"));
            }
            invoice.check_room()?;
            let amount = body.amount_cents.map_or(due, Cents);
            let mut payment = settle::manual_payment(op, &invoice.row, amount);
            payment.reference = Some(body.reference.clone());
            payment.paid_at = Some(body.paid_at);
            payment.entered_by = Some(op.actor.id.clone());
            if body.method == ManualPaymentMethod::WriteOff {
                invoice.now.write_off(amount).map_err(refusal)?;
                (payment.method_type, payment.provider_account) = ("write_off".into(), None);
                invoice.give_up(conn, op, &payment).await?;
            } else {
                let split = invoice.now.pay(amount).map_err(refusal)?;
                payment.method_type = body.method.to_string();
                invoice.receive(conn, op, &payment, split.pays).await?;
            }
            invoice.save(conn, op, body.paid_at).await?;
            let row = &invoice.row;
            let lines = invoices::lines(conn, &row.tenant_id, invoice_id).await?;
            let payments = view::of_invoice(conn, &row.tenant_id, invoice_id).await?;
            let after = invoice_view::with_payments(row, &lines, payments)?;
            let changed = invoice_view::invoice(row)?;
            audit::record(conn, op, drafts::audited(row), Some(&invoice.before), Some(&changed)).await?;
            Ok(after)
        })
        .await
}

/// What an amount is refused for.
pub fn refusal(error: SettlementError) -> Error {
    Error::field("amount_cents", error.to_string())
}

/// Uses up credit of the tenant for an invoice that is being issued; answers how much, and lowers what is due.
pub async fn apply_credit(conn: &mut Conn, op: &OpContext, row: &mut InvoiceRow) -> Result<Cents> {
    let mut lots = credit::lock(conn, &row.tenant_id, &row.partner_id, &row.currency).await?;
    let used = credit_used(Cents(row.total_cents), credit::sum(&lots)?);
    if used == Cents::ZERO {
        return Ok(used);
    }
    let mut payment = settle::manual_payment(op, row, used);
    (payment.method_type, payment.provider_account) = ("customer_credit".into(), None);
    store::insert(conn, &payment).await?;
    store::allocate(conn, &AllocationRow::of_payment(op, &payment, "credit_applied", used.0)).await?;
    let what = Use { kind: "applied", invoice: row, payment_id: payment.payment_id };
    credit::take(conn, op, &mut lots, used, what).await?;
    row.paid_cents = used.0;
    row.due_cents = Cents(row.total_cents).sub(used).map_err(Error::internal)?.0;
    Ok(used)
}

/// The payments that the caller sees, the newest first.
///
/// Errors: 400 when `from` is after `to`.
pub async fn list(
    op: &OpContext,
    app: &Control,
    filter: &Filter,
    page: &PageRequest,
) -> Result<(Vec<AdminPaymentResponse>, Pagination)> {
    if let (Some(from), Some(to)) = (filter.from, filter.to)
        && to < from
    {
        return Err(Error::field("from", "is after `to`"));
    }
    app.db
        .read(op, async |conn| {
            let (rows, counted) = store::list(conn, filter, page).await?;
            let (rows, pagination) = page.finish(rows, counted, |r| r.payment_id.to_string());
            Ok((view::admin_payments(conn, &rows).await?, pagination))
        })
        .await
}
