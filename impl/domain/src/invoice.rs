//! Owns the life of an invoice or credit note: states, numbers, line amounts, and what is still due.
//!
//! A document that has a number never changes. What happens to it later is told by three sums (paid, credited,
//! due), which always add up to its total, and by its state.

use std::fmt;
use std::str::FromStr;

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::UnknownText;
use crate::money::{Cents, MoneyError, mul_div_round};
use crate::text::{serde_as_text, text_enum};

text_enum! {
    /// Where a document is in its life.
    State, "invoice state" {
        /// Without number; may change and be deleted.
        Draft = "draft",
        /// Numbered and final.
        Finalized = "finalized",
        /// Mailed to the customer.
        Sent = "sent",
        /// Nothing is due.
        Paid = "paid",
        /// Due and late.
        PastDue = "past_due",
        /// A draft that was dropped, or an invoice that a full credit note has undone.
        Void = "void",
    }
}

text_enum! {
    /// What a document is.
    DocumentType, "document type" {
        /// An invoice.
        Invoice = "invoice",
        /// A credit note.
        CreditNote = "credit_note",
    }
}

text_enum! {
    /// Where a line comes from.
    LineKind, "kind of line" {
        /// The base price of a period, in advance.
        Base = "base",
        /// Usage of a closed segment, or the flat fee of a tier.
        Usage = "usage",
        /// The shortfall to a minimum.
        Minimum = "minimum",
        /// A one-off charge of a service.
        Charge = "charge",
        /// Late usage of a segment that was billed before.
        Correction = "correction",
        /// Credit or charge of a plan change or resume.
        Proration = "proration",
        /// The price of a pack.
        Pack = "pack",
        /// Written by a person.
        Manual = "manual",
    }
}

/// Every allowed transition of a document; all other pairs are refused.
pub const TRANSITIONS: &[(State, State)] = &[
    (State::Draft, State::Finalized),
    (State::Draft, State::Void),
    (State::Finalized, State::Sent),
    (State::Finalized, State::Paid),
    (State::Finalized, State::PastDue),
    (State::Finalized, State::Void),
    (State::Sent, State::PastDue),
    (State::Sent, State::Paid),
    (State::Sent, State::Void),
    (State::PastDue, State::Paid),
    (State::PastDue, State::Void),
];

/// A transition that the table does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an invoice cannot go from {from} to {to}")]
pub struct TransitionError {
    /// State before.
    pub from: State,
    /// State that was asked for.
    pub to: State,
}

/// Whether a document may go from one state to the other.
///
/// # Errors
/// [`TransitionError`] for a pair that is not in [`TRANSITIONS`].
pub fn check(from: State, to: State) -> Result<(), TransitionError> {
    if TRANSITIONS.contains(&(from, to)) { Ok(()) } else { Err(TransitionError { from, to }) }
}

impl State {
    /// Whether the document has a number and is frozen. A void document may or may not have one.
    pub const fn is_issued(self) -> bool {
        matches!(self, Self::Finalized | Self::Sent | Self::Paid | Self::PastDue)
    }

    /// Whether nothing can follow.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Paid | Self::Void)
    }
}

/// Whether a text may be the prefix of a seller's numbers: 1 to 10 of `A–Z` and `0–9`.
pub fn is_valid_prefix(prefix: &str) -> bool {
    (1..=10).contains(&prefix.len())
        && prefix.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// The number of a document: `SCAI-2026-000042`, for a credit note `SCAI-CN-2026-000042`.
///
/// Numbers count from 1 per seller, series (invoices, credit notes) and calendar year of the issue date; the
/// prefix is only printed. From a million on they have seven digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentNumber {
    prefix: String,
    document_type: DocumentType,
    year: u16,
    sequence: u64,
}

impl DocumentNumber {
    /// A number; `None` unless the prefix is valid, the year has four digits and the sequence starts at 1.
    pub fn new(prefix: &str, document_type: DocumentType, year: i32, sequence: u64) -> Option<Self> {
        let year = u16::try_from(year).ok().filter(|year| (1000..=9999).contains(year))?;
        (is_valid_prefix(prefix) && 0 < sequence).then(|| Self {
            prefix: prefix.to_owned(),
            document_type,
            year,
            sequence,
        })
    }

    /// The seller's prefix.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The series.
    pub fn document_type(&self) -> DocumentType {
        self.document_type
    }

    /// Calendar year of the issue date.
    pub fn year(&self) -> u16 {
        self.year
    }

    /// Position in the series, from 1.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl fmt::Display for DocumentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let series = match self.document_type {
            DocumentType::Invoice => "",
            DocumentType::CreditNote => "CN-",
        };
        write!(f, "{}-{series}{:04}-{:06}", self.prefix, self.year, self.sequence)
    }
}

impl FromStr for DocumentNumber {
    type Err = UnknownText;

    fn from_str(text: &str) -> Result<Self, UnknownText> {
        let parse = || {
            let parts: Vec<&str> = text.split('-').collect();
            let (prefix, document_type, year, sequence) = match parts.as_slice() {
                [prefix, year, sequence] => (prefix, DocumentType::Invoice, year, sequence),
                [prefix, "CN", year, sequence] => (prefix, DocumentType::CreditNote, year, sequence),
                _ => return None,
            };
            let number = Self::new(prefix, document_type, year.parse().ok()?, sequence.parse().ok()?)?;
            // Printing settles the rest: signs, missing or additional zeros.
            (number.to_string() == text).then_some(number)
        };
        parse().ok_or_else(|| UnknownText::new("document number", text))
    }
}

serde_as_text!(DocumentNumber);

/// The net amount of a line in minor units: `quantity × unit price ÷ divisor`, rounded once, half away from zero.
/// A credit line has a negative quantity and a positive price.
///
/// # Errors
/// [`MoneyError::Divisor`] unless the divisor is positive, [`MoneyError::Overflow`] when it does not fit.
pub fn line_amount(
    quantity: Decimal,
    unit_price_cents: Decimal,
    unit_divisor: Decimal,
) -> Result<Cents, MoneyError> {
    if unit_divisor <= Decimal::ZERO {
        return Err(MoneyError::Divisor);
    }
    mul_div_round(quantity, unit_price_cents, unit_divisor).map(Cents)
}

/// The order of lines by the date with which their description begins (`DD-MM-YYYY`), as positions in the list.
///
/// Lines without a date, or with one that the calendar does not have, stay last. Equal dates and dateless lines
/// keep their order.
pub fn sort_by_date<S: AsRef<str>>(descriptions: &[S]) -> Vec<usize> {
    let mut order: Vec<(Option<NaiveDate>, usize)> = descriptions
        .iter()
        .enumerate()
        .map(|(index, description)| (leading_date(description.as_ref()), index))
        .collect();
    order.sort_by_key(|(date, _)| (date.is_none(), *date));
    order.into_iter().map(|(_, index)| index).collect()
}

/// The date at the beginning of a text, as `DD-MM-YYYY`; a fifth digit of the year makes it none.
pub fn leading_date(text: &str) -> Option<NaiveDate> {
    let text = text.trim_start();
    let (head, tail) = text.split_at_checked(10)?;
    let separated = head.bytes().enumerate().all(|(at, byte)| match at {
        2 | 5 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    if !separated || tail.starts_with(|next: char| next.is_ascii_digit()) {
        return None;
    }
    NaiveDate::from_ymd_opt(
        head.get(6..)?.parse().ok()?,
        head.get(3..5)?.parse().ok()?,
        head.get(..2)?.parse().ok()?,
    )
}

/// When an invoice is due: on its issue date when it is collected automatically, else after the payment terms.
pub fn due_date(
    issued: NaiveDate,
    collected_automatically: bool,
    payment_terms_days: u32,
) -> Option<NaiveDate> {
    let days = if collected_automatically { 0 } else { u64::from(payment_terms_days) };
    issued.checked_add_days(chrono::Days::new(days))
}

text_enum! {
    /// How long an amount has been overdue.
    Age, "age of a debt" {
        /// Its due date is not over.
        NotDue = "not_due",
        /// For up to 30 days.
        Days1To30 = "days_1_30",
        /// For 31 to 60 days.
        Days31To60 = "days_31_60",
        /// For 61 to 90 days.
        Days61To90 = "days_61_90",
        /// For longer.
        Over90 = "days_over_90",
    }
}

impl Age {
    /// The age, on the local date `today`, of what is due on `due_date`. The due date itself is not late.
    pub fn on(today: NaiveDate, due_date: NaiveDate) -> Self {
        match today.signed_duration_since(due_date).num_days() {
            ..=0 => Self::NotDue,
            1..=30 => Self::Days1To30,
            31..=60 => Self::Days31To60,
            61..=90 => Self::Days61To90,
            _ => Self::Over90,
        }
    }
}

/// The sums of an issued invoice, in cents. Always `total = paid + credited + due`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Gross total of the document.
    pub total: Cents,
    /// Received, net of refunds, reversals and credit moved out.
    pub paid: Cents,
    /// Sum of its credit notes, gross and positive.
    pub credited: Cents,
}

/// Why an amount cannot be applied to an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BalanceError {
    /// More would be credited than is left.
    #[error("at most {0} can be credited")]
    Uncredited(Cents),
    /// More would be given back than was paid.
    #[error("at most {0} can be refunded")]
    Unpaid(Cents),
    /// Something was paid or credited, so that it cannot be undone as a whole.
    #[error("the invoice is partly paid or credited")]
    NotVoidable,
    /// The amount is zero or negative.
    #[error("the amount must be greater than zero")]
    NotPositive,
    /// The sum does not fit.
    #[error("the amount is too large")]
    Overflow,
}

impl From<MoneyError> for BalanceError {
    fn from(_: MoneyError) -> Self {
        Self::Overflow
    }
}

/// How a credit note splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditSplit {
    /// The part that lowers what is due.
    pub reduces_due: Cents,
    /// The part that was paid already: refunded, or kept as credit of the customer.
    pub already_paid: Cents,
}

/// How a payment splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentSplit {
    /// The part that pays the invoice.
    pub pays: Cents,
    /// The part above what was due: credit of the customer.
    pub excess: Cents,
}

impl Balance {
    /// What is still due.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn due(self) -> Result<Cents, MoneyError> {
        self.total.sub(self.paid)?.sub(self.credited)
    }

    /// What is left to credit.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn uncredited(self) -> Result<Cents, MoneyError> {
        self.total.sub(self.credited)
    }

    /// How a credit note of `amount` (gross, positive) splits: it reduces what is due first.
    ///
    /// # Errors
    /// [`BalanceError::Uncredited`] for more than is left, [`BalanceError::NotPositive`].
    pub fn credit(self, amount: Cents) -> Result<CreditSplit, BalanceError> {
        let left = self.uncredited()?;
        if amount <= Cents::ZERO {
            return Err(BalanceError::NotPositive);
        }
        if left < amount {
            return Err(BalanceError::Uncredited(left));
        }
        let reduces_due = self.due()?.max(Cents::ZERO).min(amount);
        Ok(CreditSplit { reduces_due, already_paid: amount.sub(reduces_due)? })
    }

    /// How a payment of `amount` splits; what exceeds the due amount becomes credit of the customer.
    ///
    /// # Errors
    /// [`BalanceError::NotPositive`].
    pub fn pay(self, amount: Cents) -> Result<PaymentSplit, BalanceError> {
        if amount <= Cents::ZERO {
            return Err(BalanceError::NotPositive);
        }
        let pays = self.due()?.max(Cents::ZERO).min(amount);
        Ok(PaymentSplit { pays, excess: amount.sub(pays)? })
    }

    /// Whether the whole invoice can be undone: nothing is paid and nothing credited.
    ///
    /// # Errors
    /// [`BalanceError::NotVoidable`].
    pub fn check_voidable(self) -> Result<(), BalanceError> {
        if self.paid == Cents::ZERO && self.credited == Cents::ZERO {
            Ok(())
        } else {
            Err(BalanceError::NotVoidable)
        }
    }
}

/// Whether a refund is covered by what a payment captured and did not give back yet.
///
/// # Errors
/// [`BalanceError::Unpaid`] with what is left, [`BalanceError::NotPositive`], [`BalanceError::Overflow`].
pub fn check_refund(captured: Cents, refunded: Cents, amount: Cents) -> Result<(), BalanceError> {
    let left = captured.sub(refunded)?;
    if amount <= Cents::ZERO {
        return Err(BalanceError::NotPositive);
    }
    if left < amount { Err(BalanceError::Unpaid(left)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
