//! Owns how an issued invoice is settled: what a payment, a write-off, a credit note or a refund does to what is due,
//! to what was paid, and to the credit that the customer has from it.
//!
//! Two things never happen: a customer gets back more than it gave, and an amount gets lost between paid, credited,
//! due and the customer's credit. A debt that was given up counts as settled but was never given, so a credit note
//! takes the loss back before it gives anything to the customer.

use crate::invoice::{Balance, PaymentSplit};
use crate::money::{Cents, MoneyError};

/// Where an invoice stands with money, all amounts in cents and at least 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// Total, paid and credited.
    pub balance: Balance,
    /// The part of `paid` that is a debt that was given up.
    pub written_off: Cents,
    /// Money that came in for it, the excess included.
    pub captured: Cents,
    /// Of that, sent back.
    pub refunded: Cents,
    /// Credit that the customer has from it and has not used.
    pub credit_left: Cents,
}

/// What a credit note does beside lowering revenue and tax. The parts add up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CreditSettlement {
    /// Lowers what is due.
    pub reduces_due: Cents,
    /// Takes back what had been given up.
    pub reverses_write_off: Cents,
    /// Was paid, and goes back as money.
    pub refunds: Cents,
    /// Was paid, and becomes credit of the customer.
    pub to_credit: Cents,
}

/// Where the money of a refund is taken from. The parts add up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RefundSplit {
    /// Credit that the customer has from the invoice.
    pub from_credit: Cents,
    /// What the invoice itself holds; a credit note of this amount goes with it.
    pub by_credit_note: Cents,
}

/// Why an amount does not fit the invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettlementError {
    /// More would be given up than is due.
    #[error("at most {0} is due")]
    Due(Cents),
    /// More would be sent back than there is to send.
    #[error("at most {0} can be refunded")]
    Refundable(Cents),
    /// More would be credited than is left.
    #[error("at most {0} can be credited")]
    Uncredited(Cents),
    /// The amount is zero or negative.
    #[error("the amount must be greater than zero")]
    NotPositive,
    /// The sum does not fit.
    #[error("the amount is too large")]
    Overflow,
}

impl From<MoneyError> for SettlementError {
    fn from(_: MoneyError) -> Self {
        Self::Overflow
    }
}

impl Settlement {
    /// A payment of `amount` comes in. What is more than due becomes credit of the customer.
    ///
    /// # Errors
    /// [`SettlementError::NotPositive`], [`SettlementError::Overflow`].
    pub fn pay(&mut self, amount: Cents) -> Result<PaymentSplit, SettlementError> {
        positive(amount)?;
        let pays = self.due()?.min(amount);
        let split = PaymentSplit { pays, excess: amount.sub(pays)? };
        self.captured = self.captured.add(amount)?;
        self.balance.paid = self.balance.paid.add(split.pays)?;
        self.credit_left = self.credit_left.add(split.excess)?;
        Ok(split)
    }

    /// A debt of `amount` is given up.
    ///
    /// # Errors
    /// [`SettlementError::Due`] for more than is due, [`SettlementError::NotPositive`], [`SettlementError::Overflow`].
    pub fn write_off(&mut self, amount: Cents) -> Result<(), SettlementError> {
        positive(amount)?;
        let due = self.due()?;
        if due < amount {
            return Err(SettlementError::Due(due));
        }
        self.written_off = self.written_off.add(amount)?;
        self.balance.paid = self.balance.paid.add(amount)?;
        Ok(())
    }

    /// A credit note of `amount` (tax included) is issued. With `refund` as much of the paid part as can be sent back
    /// is; the rest of it, and without `refund` all of it, becomes credit.
    ///
    /// # Errors
    /// [`SettlementError::Uncredited`] for more than is left, [`SettlementError::NotPositive`],
    /// [`SettlementError::Overflow`].
    pub fn credit(&mut self, amount: Cents, refund: bool) -> Result<CreditSettlement, SettlementError> {
        positive(amount)?;
        let left = self.balance.uncredited()?;
        if left < amount {
            return Err(SettlementError::Uncredited(left));
        }
        let reduces_due = self.due()?.min(amount);
        let settled = amount.sub(reduces_due)?;
        let reverses_write_off = self.written_off.min(settled);
        let paid = settled.sub(reverses_write_off)?;
        let refunds = if refund { self.held()?.min(paid) } else { Cents::ZERO };
        let split =
            CreditSettlement { reduces_due, reverses_write_off, refunds, to_credit: paid.sub(refunds)? };
        self.balance.credited = self.balance.credited.add(amount)?;
        self.balance.paid = self.balance.paid.sub(settled)?;
        self.written_off = self.written_off.sub(reverses_write_off)?;
        self.refunded = self.refunded.add(split.refunds)?;
        self.credit_left = self.credit_left.add(split.to_credit)?;
        Ok(split)
    }

    /// `amount` is sent back: from credit that the customer has from this invoice first, then from what it paid, which
    /// a credit note of that part goes with. What is due stays as it is.
    ///
    /// # Errors
    /// [`SettlementError::Refundable`] for more than can be sent back, [`SettlementError::NotPositive`],
    /// [`SettlementError::Overflow`].
    pub fn refund(&mut self, amount: Cents) -> Result<RefundSplit, SettlementError> {
        positive(amount)?;
        let most = self.refundable()?;
        if most < amount {
            return Err(SettlementError::Refundable(most));
        }
        let from_credit = self.credit_left.min(amount);
        let split = RefundSplit { from_credit, by_credit_note: amount.sub(from_credit)? };
        self.refunded = self.refunded.add(amount)?;
        self.credit_left = self.credit_left.sub(split.from_credit)?;
        self.balance.paid = self.balance.paid.sub(split.by_credit_note)?;
        self.balance.credited = self.balance.credited.add(split.by_credit_note)?;
        Ok(split)
    }

    /// The most that can be sent back: what was captured and not sent back yet, as far as it is still on the invoice or
    /// unused credit from it.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn refundable(&self) -> Result<Cents, MoneyError> {
        let here = self.credit_left.add(self.balance.paid.sub(self.written_off)?)?;
        Ok(self.held()?.min(here))
    }

    /// Money that came in and was not sent back.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn held(&self) -> Result<Cents, MoneyError> {
        Ok(self.captured.sub(self.refunded)?.max(Cents::ZERO))
    }

    /// What is due.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn due(&self) -> Result<Cents, MoneyError> {
        Ok(self.balance.due()?.max(Cents::ZERO))
    }
}

/// How much of the customer's credit an invoice of `total` uses up when it is issued.
pub fn credit_used(total: Cents, credit: Cents) -> Cents {
    total.min(credit).max(Cents::ZERO)
}

/// Takes `amount` from the oldest parts first; `parts` are what is left of each, in order. The answer has one entry for
/// each part that something is taken of: its position and how much.
///
/// # Errors
/// [`SettlementError::Refundable`] with what there is when the parts do not hold as much.
pub fn take_oldest(parts: &[Cents], amount: Cents) -> Result<Vec<(usize, Cents)>, SettlementError> {
    let mut open = amount;
    let mut taken = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let now = open.min(*part);
        if Cents::ZERO < now {
            taken.push((index, now));
            open = open.sub(now)?;
        }
    }
    if Cents::ZERO < open { Err(SettlementError::Refundable(amount.sub(open)?)) } else { Ok(taken) }
}

fn positive(amount: Cents) -> Result<(), SettlementError> {
    if amount <= Cents::ZERO { Err(SettlementError::NotPositive) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
