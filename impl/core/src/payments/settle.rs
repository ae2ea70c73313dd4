//! An issued invoice under its lock, with everything that settles it, and the ways in which money moves on it.
//!
//! Locks are taken in one order everywhere: the invoice, the tenant's credit, and last of all the number of a credit
//! note. What the amounts mean is decided by the domain ([`Settlement`]); here it is written down: the payment, what it
//! moved, and its journal.
use super::credit::{self, Lot, Source, Use};
use super::store::{self, AllocationRow, MANUAL, PaymentRow};
use crate::billing::store::{self as invoices, InvoiceRow};
use crate::billing::view;
use crate::db::Conn;
use crate::dunning;
use crate::error::{Error, Result};
use crate::ledger::{self, Posting};
use crate::op::OpContext;
use chrono::{DateTime, Utc};
use scaicontrol_domain::invoice::Balance;
use scaicontrol_domain::ledger::{
    Collector, Entry, Payment, customer_credit_journal, payment_journal, write_off_journal,
};
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_domain::settlement::{CreditSettlement, Settlement};
use scaicontrol_types::InvoiceResponse;
use std::collections::HashMap;
use uuid::Uuid;

/// Payments of one invoice that are entered by hand at most, so that one refund reaches all of them.
const PAYMENTS_MAX: usize = 100;
/// Payments and refunds of one invoice at most: as many as are shown with it.
const MOVEMENTS_MAX: usize = 1_000;

/// See the module.
#[derive(Debug)]
pub struct Settling {
    /// The invoice, locked.
    pub row: InvoiceRow,
    /// How it was when it was locked.
    pub before: InvoiceResponse,
    /// Where it stands; [`Settling::save`] writes it back.
    pub now: Settlement,
    /// Its currency.
    pub currency: Currency,
    payments: Vec<PaymentRow>,
    refunded: HashMap<Uuid, i64>,
    /// Credit that the tenant has from this invoice, the oldest first.
    lots: Vec<Lot>,
}

/// Locks an issued invoice. `done` is what the caller is about to do to it, in one word, for the refusal.
///
/// Errors: 404; 409 for a draft, a void document and a credit note.
pub async fn lock(conn: &mut Conn, invoice_id: Uuid, done: &str) -> Result<Settling> {
    let row = invoices::lock(conn, invoice_id).await?;
    if row.document_type == "credit_note" {
        return Err(Error::conflict(format!("a credit note cannot be {done}")));
    }
    if row.number.is_none() || row.status == "void" {
        return Err(Error::conflict(format!("the invoice is {} and cannot be {done}", row.status)));
    }
    load(conn, row).await
}

/// The rest of an invoice that is locked already.
pub async fn load(conn: &mut Conn, row: InvoiceRow) -> Result<Settling> {
    let mut lots = credit::lock(conn, &row.tenant_id, &row.partner_id, &row.currency).await?;
    lots.retain(|lot| lot.origin_invoice_id == row.invoice_id);
    let payments = store::of_invoice(conn, &row.tenant_id, row.invoice_id).await?;
    let refunded = store::refunded(conn, &payments).await?;
    let written_off = store::written_off(conn, &row.tenant_id, row.invoice_id).await?;
    let captured = payments.iter().filter(|p| is_captured(p)).map(|p| Cents(p.amount_cents));
    let now = Settlement {
        balance: Balance {
            total: Cents(row.total_cents),
            paid: Cents(row.paid_cents),
            credited: Cents(row.credited_cents),
        },
        written_off: Cents(written_off),
        captured: Cents::sum(captured).map_err(Error::internal)?,
        refunded: Cents::sum(refunded.values().map(|sum| Cents(*sum))).map_err(Error::internal)?,
        credit_left: credit::sum(&lots)?,
    };
    let currency = Currency::parse(&row.currency).map_err(Error::internal)?;
    Ok(Settling { before: view::invoice(&row)?, row, now, currency, payments, refunded, lots })
}

/// Whether money came in by it.
fn is_captured(payment: &PaymentRow) -> bool {
    payment.kind == "payment" && payment.status == "succeeded" && payment.provider_account.is_some()
}

impl Settling {
    /// Writes the sums of the invoice back. When nothing is left to pay, it is paid `at` that moment, and subscriptions
    /// that waited for it recover.
    pub async fn save(&mut self, conn: &mut Conn, op: &OpContext, at: DateTime<Utc>) -> Result<()> {
        let row = &mut self.row;
        let was_due = row.due_cents;
        (row.paid_cents, row.credited_cents) = (self.now.balance.paid.0, self.now.balance.credited.0);
        row.due_cents = self.now.balance.due().map_err(Error::internal)?.0;
        if row.due_cents == 0 && matches!(row.status.as_str(), "finalized" | "sent" | "past_due") {
            row.status = "paid".into();
            row.paid_at = row.paid_at.or(Some(at));
        }
        row.updated_at = op.now;
        invoices::save(conn, row).await?;
        if 0 < was_due && row.due_cents == 0 {
            dunning::settled(conn, op, row).await?;
        }
        Ok(())
    }

    /// Posts a journal of this invoice. `key` names what it was made for.
    async fn post(
        &self,
        conn: &mut Conn,
        op: &OpContext,
        (kind, key): (&'static str, String),
        entries: &[Entry],
    ) -> Result<()> {
        let posting = Posting {
            tenant_id: &self.row.tenant_id,
            partner_id: &self.row.partner_id,
            operation_key: key,
            kind,
            invoice_id: Some(self.row.invoice_id),
        };
        ledger::post(conn, op, posting, entries).await
    }

    /// Whether another payment by hand fits.
    ///
    /// Errors: 409 when there are too many.
    pub fn check_room(&self) -> Result<()> {
        if self.payments.iter().filter(|p| p.kind == "payment").count() < PAYMENTS_MAX {
            return Ok(());
        }
        Err(Error::conflict(format!("the invoice has {PAYMENTS_MAX} payments already")))
    }

    /// Writes down money that came in: `pays` of it for the invoice, the rest as credit of the tenant.
    pub async fn receive(
        &self,
        conn: &mut Conn,
        op: &OpContext,
        payment: &PaymentRow,
        pays: Cents,
    ) -> Result<()> {
        let excess = Cents(payment.amount_cents).sub(pays).map_err(Error::internal)?;
        store::insert(conn, payment).await?;
        store::allocate(conn, &AllocationRow::of_payment(op, payment, "payment", pays.0)).await?;
        credit::give(conn, op, &self.row, Source::Overpayment(payment.payment_id), excess).await?;
        let entries = payment_journal(
            self.currency,
            &Payment { collector: collector(payment)?, receivable: pays, customer_credit: excess },
        );
        let key = format!("payment:{}", payment.payment_id);
        self.post(conn, op, ("payment", key), &entries.map_err(Error::internal)?).await
    }

    /// Writes down a debt that is given up.
    pub async fn give_up(&self, conn: &mut Conn, op: &OpContext, payment: &PaymentRow) -> Result<()> {
        store::insert(conn, payment).await?;
        let amount = payment.amount_cents;
        store::allocate(conn, &AllocationRow::of_payment(op, payment, "write_off", amount)).await?;
        let entries = write_off_journal(self.currency, Cents(amount)).map_err(Error::internal)?;
        self.post(conn, op, ("write_off", format!("write_off:{}", payment.payment_id)), &entries).await
    }

    /// Writes down what a credit note does to what was settled before it.
    pub async fn settle_credit_note(
        &mut self,
        conn: &mut Conn,
        op: &OpContext,
        credit_note_id: Uuid,
        split: CreditSettlement,
        reason: &str,
    ) -> Result<()> {
        let moved = |kind: &str, amount: Cents| AllocationRow {
            tenant_id: self.row.tenant_id.clone(),
            allocation_id: op.id(),
            partner_id: self.row.partner_id.clone(),
            invoice_id: self.row.invoice_id,
            kind: kind.into(),
            payment_id: None,
            credit_note_id: Some(credit_note_id),
            currency: self.row.currency.clone(),
            amount_cents: -amount.0,
            created_at: op.now,
        };
        store::allocate(conn, &moved("write_off_reversed", split.reverses_write_off)).await?;
        store::allocate(conn, &moved("credit_moved", split.to_credit)).await?;
        let back = split.reverses_write_off.neg().map_err(Error::internal)?;
        let entries = write_off_journal(self.currency, back).map_err(Error::internal)?;
        self.post(conn, op, ("write_off", format!("write_off_reversal:{credit_note_id}")), &entries).await?;
        let entries = customer_credit_journal(self.currency, split.to_credit).map_err(Error::internal)?;
        self.post(conn, op, ("credit_move", format!("credit_move:{credit_note_id}")), &entries).await?;
        credit::give(conn, op, &self.row, Source::CreditNote(credit_note_id), split.to_credit).await?;
        let back = SendBack {
            amount: split.refunds,
            from_credit: Cents::ZERO,
            credit_note_id: Some(credit_note_id),
        };
        self.send_back(conn, op, back, reason).await?;
        Ok(())
    }

    /// Sends money back through the accounts that took it, the newest payment first; answers the refunds.
    ///
    /// What came in by hand goes back by hand: its refund is done when it is written down.
    ///
    /// Errors: 409 when the invoice has too many payments and refunds.
    pub async fn send_back(
        &mut self,
        conn: &mut Conn,
        op: &OpContext,
        back: SendBack,
        reason: &str,
    ) -> Result<Vec<PaymentRow>> {
        let (mut open, mut credit_open, mut refunds) = (back.amount.0, back.from_credit, vec![]);
        for paid in self.payments.iter().rev().filter(|p| is_captured(p)) {
            let before = self.refunded.get(&paid.payment_id).copied().unwrap_or_default();
            let part = open.min(paid.amount_cents.saturating_sub(before));
            if part <= 0 {
                continue;
            }
            if paid.provider != MANUAL {
                return Err(Error::internal(format!(
                    "no gateway sends money back through {}",
                    paid.provider
                )));
            }
            open -= part;
            let from_credit = credit_open.min(Cents(part));
            credit_open = credit_open.sub(from_credit).map_err(Error::internal)?;
            let mut refund = manual_payment(op, &self.row, Cents(part));
            refund.kind = "refund".into();
            refund.method_type.clone_from(&paid.method_type);
            refund.refunds_payment_id = Some(paid.payment_id);
            refund.reason = Some(reason.into());
            store::insert(conn, &refund).await?;
            let of_invoice = Cents(part).sub(from_credit).and_then(Cents::neg).map_err(Error::internal)?;
            let mut allocation = AllocationRow::of_payment(op, &refund, "refund", of_invoice.0);
            allocation.credit_note_id = back.credit_note_id;
            store::allocate(conn, &allocation).await?;
            let used = Use { kind: "refund", invoice: &self.row, payment_id: refund.payment_id };
            credit::take(conn, op, &mut self.lots, from_credit, used).await?;
            let entries = payment_journal(
                self.currency,
                &Payment {
                    collector: collector(paid)?,
                    receivable: of_invoice,
                    customer_credit: from_credit.neg().map_err(Error::internal)?,
                },
            );
            let key = format!("refund:{}", refund.payment_id);
            self.post(conn, op, ("refund", key), &entries.map_err(Error::internal)?).await?;
            refunds.push(refund);
        }
        if MOVEMENTS_MAX < self.payments.len().saturating_add(refunds.len()) {
            return Err(Error::conflict(format!(
                "the invoice has {MOVEMENTS_MAX} payments and refunds already"
            )));
        }
        if open != 0 || credit_open != Cents::ZERO {
            return Err(Error::internal(format!("{open} of a refund found no payment")));
        }
        Ok(refunds)
    }
}

/// Money that goes back.
#[derive(Clone, Copy, Debug)]
pub struct SendBack {
    /// How much.
    pub amount: Cents,
    /// Of it, from credit that the tenant has from the invoice.
    pub from_credit: Cents,
    /// The credit note that goes with the rest.
    pub credit_note_id: Option<Uuid>,
}

/// A payment of an invoice outside of every provider.
pub fn manual_payment(op: &OpContext, invoice: &InvoiceRow, amount: Cents) -> PaymentRow {
    PaymentRow {
        tenant_id: invoice.tenant_id.clone(),
        payment_id: op.id(),
        partner_id: invoice.partner_id.clone(),
        invoice_id: invoice.invoice_id,
        kind: "payment".into(),
        status: "succeeded".into(),
        provider: MANUAL.into(),
        provider_account: Some(MANUAL.into()),
        method_type: "other".into(),
        payment_method_id: None,
        currency: invoice.currency.clone(),
        amount_cents: amount.0,
        refunds_payment_id: None,
        reference: None,
        reason: None,
        failure_code: None,
        failure_message: None,
        entered_by: None,
        paid_at: Some(op.now),
        reversed_at: None,
        created_at: op.now,
        updated_at: op.now,
    }
}

/// Who holds the money of a payment.
fn collector(payment: &PaymentRow) -> Result<Collector> {
    let account = payment.provider_account.clone();
    let provider_account = account.ok_or_else(|| Error::internal("a payment without an account"))?;
    Ok(Collector::Seller { provider_account })
}
