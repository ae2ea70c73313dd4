//! Owns the double-entry ledger: which accounts exist, and which journal each business event posts.
//!
//! Amounts are signed: debit is positive, credit negative. A journal sums to zero per currency, or it is not
//! made. Accounts belong to a partner (the seller); a journal is posted for one partner. When the platform
//! collects for a partner, both books are touched, and each entry says whose it is.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::UnknownText;
use crate::money::{Cents, Currency, MoneyError};
use crate::tax::Scheme;
use crate::text::{serde_as_text, text_enum};

/// An account of a partner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// What customers owe.
    Receivable,
    /// Net revenue of a service; without one for lines that belong to none.
    Revenue {
        /// Slug of the service.
        service: Option<String>,
    },
    /// Tax owed to a state.
    Vat {
        /// The taxing country, ISO 3166-1.
        country: String,
        /// Rate in percent, without needless zeros.
        rate: Decimal,
        /// Under which return it is declared.
        scheme: Scheme,
    },
    /// Money at a provider account, or outside of any (`manual`).
    Clearing {
        /// Name of the provider account.
        provider_account: String,
    },
    /// What is owed to customers: overpayments, and credit that was not refunded.
    CustomerCredit,
    /// Debts that were given up.
    WriteOff,
    /// What the partner pays for the platform, for what it sells of a service.
    PartnerCost {
        /// Slug of the service.
        service: Option<String>,
    },
    /// What the platform earns from the partner.
    PlatformRevenue,
    /// Money that the platform collected for the partner.
    PartnerPayable,
}

impl fmt::Display for Account {
    /// The stable code under which entries are stored.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receivable => f.write_str("receivable"),
            Self::Revenue { service: None } => f.write_str("revenue"),
            Self::Revenue { service: Some(service) } => write!(f, "revenue:{service}"),
            Self::Vat { country, rate, scheme } => write!(f, "vat:{country}:{}:{scheme}", rate.normalize()),
            Self::Clearing { provider_account } => write!(f, "clearing:{provider_account}"),
            Self::CustomerCredit => f.write_str("customer_credit"),
            Self::WriteOff => f.write_str("write_off"),
            Self::PartnerCost { service: None } => f.write_str("partner_cost"),
            Self::PartnerCost { service: Some(service) } => write!(f, "partner_cost:{service}"),
            Self::PlatformRevenue => f.write_str("platform_revenue"),
            Self::PartnerPayable => f.write_str("partner_payable"),
        }
    }
}

impl FromStr for Account {
    type Err = UnknownText;

    fn from_str(code: &str) -> Result<Self, UnknownText> {
        let parse = || {
            let account = match code {
                "receivable" => Self::Receivable,
                "revenue" => Self::Revenue { service: None },
                "customer_credit" => Self::CustomerCredit,
                "write_off" => Self::WriteOff,
                "partner_cost" => Self::PartnerCost { service: None },
                "platform_revenue" => Self::PlatformRevenue,
                "partner_payable" => Self::PartnerPayable,
                _ => match code.split_once(':')? {
                    (_, "") => return None,
                    ("revenue", service) => Self::Revenue { service: Some(service.to_owned()) },
                    ("partner_cost", service) => Self::PartnerCost { service: Some(service.to_owned()) },
                    ("clearing", account) => Self::Clearing { provider_account: account.to_owned() },
                    ("vat", rest) => {
                        let (country, rest) = rest.split_once(':')?;
                        let (rate, scheme) = rest.split_once(':')?;
                        Self::Vat {
                            country: country.to_owned(),
                            rate: rate.parse().ok()?,
                            scheme: scheme.parse().ok()?,
                        }
                    }
                    _ => return None,
                },
            };
            // One account has one code: "vat:NL:21.00:domestic" is not a second name of "vat:NL:21:domestic".
            (account.to_string() == code).then_some(account)
        };
        parse().ok_or_else(|| UnknownText::new("ledger account", code))
    }
}

serde_as_text!(Account);

text_enum! {
    /// Whose account an entry is for.
    Book, "ledger book" {
        /// The partner for which the journal is posted.
        Seller = "seller",
        /// The operator of the platform, when it collected the money.
        Operator = "operator",
    }
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose account it is.
    pub book: Book,
    /// The account.
    pub account: Account,
    /// Currency of the amount.
    pub currency: Currency,
    /// Debit positive, credit negative; never 0.
    pub amount: Cents,
}

/// Why a journal is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Debits and credits differ.
    #[error("the journal is out of balance by {off_by} {currency}")]
    Unbalanced {
        /// The currency in which it is.
        currency: Currency,
        /// Debits less credits, in minor units.
        off_by: Cents,
    },
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// A journal in the making.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    entries: BTreeMap<(Book, Account, Currency), Cents>,
}

impl Journal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a debit of the seller's account; a negative amount is a credit.
    ///
    /// # Errors
    /// [`LedgerError::Money`].
    pub fn debit(self, account: Account, currency: Currency, amount: Cents) -> Result<Self, LedgerError> {
        self.post(Book::Seller, account, currency, amount)
    }

    /// Adds a credit of the seller's account; a negative amount is a debit.
    ///
    /// # Errors
    /// [`LedgerError::Money`].
    pub fn credit(self, account: Account, currency: Currency, amount: Cents) -> Result<Self, LedgerError> {
        self.post(Book::Seller, account, currency, amount.neg()?)
    }

    /// Adds a signed amount to an account of either book. Amounts of one account and currency are summed.
    ///
    /// # Errors
    /// [`LedgerError::Money`].
    pub fn post(
        mut self,
        book: Book,
        account: Account,
        currency: Currency,
        amount: Cents,
    ) -> Result<Self, LedgerError> {
        let sum = self.entries.entry((book, account, currency)).or_default();
        *sum = sum.add(amount)?;
        Ok(self)
    }

    /// The entries, in a stable order and without zeros. An empty journal is allowed: nothing is posted.
    ///
    /// # Errors
    /// [`LedgerError::Unbalanced`] unless the entries sum to zero per book and currency.
    pub fn finish(self) -> Result<Vec<Entry>, LedgerError> {
        let mut sums: BTreeMap<(Book, Currency), Cents> = BTreeMap::new();
        for ((book, _, currency), amount) in &self.entries {
            let sum = sums.entry((*book, *currency)).or_default();
            *sum = sum.add(*amount)?;
        }
        if let Some(((_, currency), off_by)) = sums.into_iter().find(|(_, sum)| *sum != Cents::ZERO) {
            return Err(LedgerError::Unbalanced { currency, off_by });
        }
        Ok(self
            .entries
            .into_iter()
            .filter(|(_, amount)| *amount != Cents::ZERO)
            .map(|((book, account, currency), amount)| Entry { book, account, currency, amount })
            .collect())
    }
}

/// An issued document, in one currency. All amounts of a credit note are negative.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// Net amounts by service.
    pub lines: Vec<(Option<String>, Cents)>,
    /// Tax amounts.
    pub taxes: Vec<Tax>,
    /// Credit of the customer that was used for it; positive.
    pub credit_applied: Cents,
    /// What the partner owes the platform for its lines, by service.
    pub platform_costs: Vec<(Option<String>, Cents)>,
}

/// The tax of one account.
#[derive(Debug, Clone)]
pub struct Tax {
    /// The taxing country.
    pub country: String,
    /// Rate in percent.
    pub rate: Decimal,
    /// Under which return it is declared.
    pub scheme: Scheme,
    /// The amount.
    pub amount: Cents,
}

/// Finalizing: receivable against revenue per service and tax; credit of the customer that is used; the
/// partner's cost against the platform's revenue. With negative amounts it is the journal of a credit note.
///
/// # Errors
/// [`LedgerError`].
pub fn finalize_journal(currency: Currency, document: &Document) -> Result<Vec<Entry>, LedgerError> {
    let mut journal = Journal::new();
    for (service, cost) in &document.platform_costs {
        journal = journal.debit(Account::PartnerCost { service: service.clone() }, currency, *cost)?.credit(
            Account::PlatformRevenue,
            currency,
            *cost,
        )?;
    }
    let mut total = Cents::ZERO;
    for (service, amount) in &document.lines {
        total = total.add(*amount)?;
        journal = journal.credit(Account::Revenue { service: service.clone() }, currency, *amount)?;
    }
    for tax in &document.taxes {
        total = total.add(tax.amount)?;
        let (country, rate) = (tax.country.clone(), tax.rate.normalize());
        let account = Account::Vat { country, rate, scheme: tax.scheme };
        journal = journal.credit(account, currency, tax.amount)?;
    }
    journal
        .debit(Account::Receivable, currency, total.sub(document.credit_applied)?)?
        .debit(Account::CustomerCredit, currency, document.credit_applied)?
        .finish()
}

/// Whose provider account took the money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collector {
    /// The seller's own account.
    Seller {
        /// Name of the provider account.
        provider_account: String,
    },
    /// The operator's account: it owes the seller what it collected.
    Operator {
        /// Name of the provider account.
        provider_account: String,
    },
}

/// Money that came in, or went out again when the amounts are negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Who holds it.
    pub collector: Collector,
    /// The part that settles receivables: what an invoice owed, or a credit note gave back.
    pub receivable: Cents,
    /// The part that is credit of the customer: the excess of a payment, or credit that is paid out.
    pub customer_credit: Cents,
}

/// A payment, or with negative amounts a refund or a reversed payment: money against receivable and customer
/// credit. When the operator collects, its book takes the money and owes it to the seller, whose book takes the
/// claim in place of the money.
///
/// # Errors
/// [`LedgerError`].
pub fn payment_journal(currency: Currency, payment: &Payment) -> Result<Vec<Entry>, LedgerError> {
    let amount = payment.receivable.add(payment.customer_credit)?;
    let journal = match payment.collector.clone() {
        Collector::Seller { provider_account } => {
            Journal::new().debit(Account::Clearing { provider_account }, currency, amount)?
        }
        Collector::Operator { provider_account } => Journal::new()
            .post(Book::Operator, Account::Clearing { provider_account }, currency, amount)?
            .post(Book::Operator, Account::PartnerPayable, currency, amount.neg()?)?
            .debit(Account::PartnerPayable, currency, amount)?,
    };
    journal
        .credit(Account::Receivable, currency, payment.receivable)?
        .credit(Account::CustomerCredit, currency, payment.customer_credit)?
        .finish()
}

/// A debt that is given up.
///
/// # Errors
/// [`LedgerError`].
pub fn write_off_journal(currency: Currency, amount: Cents) -> Result<Vec<Entry>, LedgerError> {
    Journal::new()
        .debit(Account::WriteOff, currency, amount)?
        .credit(Account::Receivable, currency, amount)?
        .finish()
}

/// Moves `amount` from an invoice to the credit of its customer (the part of a credit note that was paid
/// already); a negative amount uses credit for an invoice.
///
/// # Errors
/// [`LedgerError`].
pub fn customer_credit_journal(currency: Currency, amount: Cents) -> Result<Vec<Entry>, LedgerError> {
    Journal::new()
        .debit(Account::Receivable, currency, amount)?
        .credit(Account::CustomerCredit, currency, amount)?
        .finish()
}

#[cfg(test)]
mod tests;
