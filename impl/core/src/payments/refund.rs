//! Refunds: money goes back, and the books follow in the same step.
use super::settle::{self, SendBack};
use super::view as payment_view;
use crate::app::Control;
use crate::audit;
use crate::billing::credit_notes::{self, Original};
use crate::billing::{drafts, view};
use crate::checks;
use crate::error::{Error, Result};
use crate::op::OpContext;
use scaicontrol_domain::credit_note;
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::settlement::{Settlement, SettlementError};
use scaicontrol_types::{InvoiceRefundRequest, InvoiceRefundResponse};
use uuid::Uuid;

/// Sends money of an invoice back: from unused credit that came from it first; for the rest a credit note is issued.
///
/// Errors: 404; 409 for what is no issued invoice, brought no money or has none left; 400 for more than there is.
pub async fn refund(
    op: &OpContext,
    app: &Control,
    invoice_id: Uuid,
    body: &InvoiceRefundRequest,
) -> Result<InvoiceRefundResponse> {
    checks::reason(&body.reason)?;
    app.db
        .once(op, "admin_invoice_refund", async |conn| {
            let mut invoice = settle::lock(conn, invoice_id, "refunded").await?;
            if invoice.now.captured == Cents::ZERO {
                return Err(Error::conflict("no money was captured for the invoice"));
            }
            let refundable = invoice.now.refundable().map_err(Error::internal)?;
            let original = Original::load(conn, &invoice.row).await?;
            let most = creditable(&invoice.now, refundable, &original)?;
            if most <= Cents::ZERO {
                return Err(Error::conflict(
                    "all that came in for the invoice is refunded or used, or was taken back",
                ));
            }
            let amount = body.amount_cents.map_or(most, Cents);
            if most < amount {
                return Err(super::refusal(SettlementError::Refundable(most)));
            }
            let split = invoice.now.refund(amount).map_err(|error| match error {
                SettlementError::Overflow => Error::internal(error),
                refused => super::refusal(refused),
            })?;
            let note = if split.by_credit_note == Cents::ZERO {
                None
            } else {
                let note = credit_note::of_amount(&original.invoiced, split.by_credit_note);
                let note = note.map_err(Error::internal)?;
                Some(credit_notes::write(conn, op, &original, &note, &body.reason).await?)
            };
            let credit_note_id = note.as_ref().map(|note| note.row.invoice_id);
            let back = SendBack { amount, from_credit: split.from_credit, credit_note_id };
            let refunds = invoice.send_back(conn, op, back, &body.reason).await?;
            invoice.save(conn, op, op.now).await?;
            let after = view::invoice(&invoice.row)?;
            let entry = audit_entry(&invoice.row, &body.reason);
            audit::record(conn, op, entry, Some(&invoice.before), Some(&after)).await?;
            let refunds = payment_view::payments(conn, &refunds).await?;
            // Last of all the number of the credit note.
            let credit_note = match note {
                None => None,
                Some(note) => Some(view::invoice(&credit_notes::issue(conn, op, note).await?.0)?),
            };
            Ok(InvoiceRefundResponse { invoice: after, refunds, credit_note })
        })
        .await
}

/// The part of what can be refunded that the books can follow: what a credit line of another invoice has taken back of this
/// one is not there to be credited again.
fn creditable(now: &Settlement, refundable: Cents, original: &Original) -> Result<Cents> {
    if refundable <= Cents::ZERO {
        return Ok(refundable);
    }
    let by_credit_note = now.clone().refund(refundable).map_err(Error::internal)?.by_credit_note;
    let left = credit_note::gross_left(&original.invoiced).map_err(Error::internal)?;
    let over = by_credit_note.sub(left).map_err(Error::internal)?.max(Cents::ZERO);
    refundable.sub(over).map_err(Error::internal)
}

/// What the audit row says of an invoice that something was done to for a reason.
pub fn audit_entry<'a>(row: &'a crate::billing::store::InvoiceRow, reason: &'a str) -> audit::Entry<'a> {
    audit::Entry { reason: Some(reason), ..drafts::audited(row) }
}
