//! Owns what the templates of mails can name, and the facts that they are written from.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use scaicontrol_domain::money::{Cents, Currency, MoneyError};

use crate::context::{
    DocumentView, InvoiceContext, LineView, PartyView, PaymentView, TaxView, TotalsView, VatView, party,
};
use crate::describe::context_type;
use crate::document::{Document, Party};
use crate::locale::{Labels, Language, Locale};

/// What every mail is addressed with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// Name of the person that it goes to, if known.
    pub recipient_name: Option<String>,
    /// Page of the portal that the mail leads to, an absolute address. Images of a mail may come from its host.
    pub portal_url: Option<String>,
    /// Words of the person who sends it.
    pub message: Option<String>,
}

/// The facts of a trial that is about to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialEnding {
    /// Who sells.
    pub seller: Party,
    /// Who tries.
    pub buyer: Party,
    /// Name of the service.
    pub service: String,
    /// Name of the plan.
    pub plan: String,
    /// Last day of the trial.
    pub trial_end: NaiveDate,
    /// Whole days from today to that day.
    pub days_left: u32,
    /// Whether the subscription ends with it, for want of a payment method.
    pub ends_then: bool,
    /// Price of a period after it, without VAT.
    pub price: Cents,
    /// Currency of that price.
    pub currency: Currency,
    /// The unit of that period: `month`, `year`; empty when it is paid once.
    pub interval: String,
}

/// The facts of a new price of a running subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceChange {
    /// Who sells.
    pub seller: Party,
    /// Who pays.
    pub buyer: Party,
    /// Name of the service.
    pub service: String,
    /// Name of the plan.
    pub plan: String,
    /// Currency of the prices.
    pub currency: Currency,
    /// The unit of the billing period: `month`, `year`.
    pub interval: String,
    /// The base price of a period, if it changes.
    pub base: Option<NewBase>,
    /// The first day of the first month in which usage has new prices, if they change.
    pub usage_from: Option<NaiveDate>,
}

/// A new base price, without VAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewBase {
    /// What a period costs now.
    pub old: Cents,
    /// What it will cost.
    pub new: Cents,
    /// The first day of the first period that costs so much.
    pub from: NaiveDate,
}

/// The facts of a payment that failed, or did not come in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentFailed {
    /// What was to be charged, or is still to be paid, in the currency of the document.
    pub amount: Cents,
    /// The means of payment, as the customer knows it: `Visa •••• 4242`.
    pub method: Option<String>,
    /// Why it failed, in words for people.
    pub reason: Option<String>,
    /// The day of the attempt; of an overdue invoice the last day on which it was to be paid.
    pub failed_on: NaiveDate,
    /// The day of the next one; `None` when there is none.
    pub next_attempt_on: Option<NaiveDate>,
    /// Nothing was tried: the invoice is paid by transfer, and overdue.
    pub is_overdue: bool,
    /// The day on which what it is for is switched off unless it is paid; `None` when that does not lie ahead.
    pub suspended_on: Option<NaiveDate>,
}

context_type! {
    /// How a mail is addressed.
    MailView {
        /// Name of the person that the mail goes to
        recipient_name: Option<String>,
        /// Address of the page that the mail leads to
        portal_url: Option<String>,
        /// Words of the person who sends it
        message: Option<String>,
    }
}

context_type! {
    /// Everything that the mail of an invoice or credit note can name.
    InvoiceMail {
        /// Language of the mail, a code of two letters
        language: &'static str,
        /// How the mail is addressed
        mail: MailView,
        /// The document itself
        invoice: DocumentView,
        /// Who sells
        seller: PartyView,
        /// Who buys
        buyer: PartyView,
        /// The lines
        lines: Vec<LineView>,
        /// VAT by rate
        taxes: Vec<TaxView>,
        /// How VAT was decided
        vat: VatView,
        /// The sums
        totals: TotalsView,
        /// How to pay
        payment: PaymentView,
        /// The fixed texts, in the language of the mail
        labels: &'static Labels,
    }
}

context_type! {
    /// A subscription whose trial ends.
    SubscriptionView {
        /// Name of the service
        service: String,
        /// Name of the plan
        plan: String,
        /// Last day of the trial, in words
        trial_end: String,
        /// Last day of the trial, as YYYY-MM-DD
        trial_end_iso: String,
        /// Whole days until then
        days_left: i64,
        /// Whether the subscription ends with the trial, because there is no payment method
        ends_then: bool,
        /// Price of a period afterwards without VAT, with currency
        price: String,
        /// That price in cents
        price_cents: i64,
        /// The period of that price, such as month; empty when it is paid once
        interval: String,
    }
}

context_type! {
    /// Everything that the mail about the end of a trial can name.
    TrialEndingMail {
        /// Language of the mail, a code of two letters
        language: &'static str,
        /// How the mail is addressed
        mail: MailView,
        /// Who sells
        seller: PartyView,
        /// Who tries
        buyer: PartyView,
        /// The subscription
        subscription: SubscriptionView,
        /// The fixed texts of documents, in the language of the mail
        labels: &'static Labels,
    }
}

context_type! {
    /// A new price of a running subscription.
    ChangeView {
        /// Name of the service
        service: String,
        /// Name of the plan
        plan: String,
        /// The period of the price, such as month
        interval: String,
        /// Price of a period now without VAT, with currency; none when it stays
        old_price: Option<String>,
        /// Price of a period then without VAT, with currency; none when it stays
        new_price: Option<String>,
        /// First day of the first period at the new price, in words; none when it stays
        from: Option<String>,
        /// First day of the first month in which usage has new prices, in words; none when they stay
        usage_from: Option<String>,
    }
}

context_type! {
    /// Everything that the mail about a new price can name.
    PriceChangeMail {
        /// Language of the mail, a code of two letters
        language: &'static str,
        /// How the mail is addressed
        mail: MailView,
        /// Who sells
        seller: PartyView,
        /// Who pays
        buyer: PartyView,
        /// What changes
        change: ChangeView,
        /// The fixed texts of documents, in the language of the mail
        labels: &'static Labels,
    }
}

context_type! {
    /// A payment that failed, or did not come in time.
    FailureView {
        /// What was to be charged, or is still to be paid, with currency
        amount: String,
        /// The same in cents
        amount_cents: i64,
        /// The means of payment
        method: Option<String>,
        /// Why it failed
        reason: Option<String>,
        /// The day of the attempt, in words; of an overdue invoice the last day on which it was to be paid
        failed_on: String,
        /// The day of the next attempt, in words; none when there is none
        next_attempt_on: Option<String>,
        /// Whether nothing was tried: the invoice is paid by transfer, and overdue
        is_overdue: bool,
        /// The day on which what it is for is switched off unless it is paid, in words; none when that does not lie ahead
        suspended_on: Option<String>,
    }
}

context_type! {
    /// Everything that the mail about a failed payment can name.
    PaymentFailedMail {
        /// Language of the mail, a code of two letters
        language: &'static str,
        /// How the mail is addressed
        mail: MailView,
        /// The invoice that was to be paid
        invoice: DocumentView,
        /// Who sells
        seller: PartyView,
        /// Who buys
        buyer: PartyView,
        /// The sums of the invoice
        totals: TotalsView,
        /// The attempt
        failure: FailureView,
        /// The fixed texts of documents, in the language of the mail
        labels: &'static Labels,
    }
}

impl From<&Envelope> for MailView {
    fn from(envelope: &Envelope) -> Self {
        Self {
            recipient_name: envelope.recipient_name.clone(),
            portal_url: envelope.portal_url.clone(),
            message: envelope.message.clone(),
        }
    }
}

impl InvoiceMail {
    /// The mail that carries a document.
    ///
    /// # Errors
    /// As [`InvoiceContext::new`].
    pub fn new(document: &Document, envelope: &Envelope, language: Language) -> Result<Self, MoneyError> {
        let context = InvoiceContext::new(document, language)?;
        Ok(Self {
            language: context.language,
            mail: envelope.into(),
            invoice: context.invoice,
            seller: context.seller,
            buyer: context.buyer,
            lines: context.lines,
            taxes: context.taxes,
            vat: context.vat,
            totals: context.totals,
            payment: context.payment,
            labels: context.labels,
        })
    }
}

impl TrialEndingMail {
    /// The mail about the end of a trial.
    pub fn new(facts: &TrialEnding, envelope: &Envelope, language: Language) -> Self {
        let locale = Locale::new(language);
        Self {
            language: language.as_str(),
            mail: envelope.into(),
            seller: party(&facts.seller, locale),
            buyer: party(&facts.buyer, locale),
            subscription: SubscriptionView {
                service: facts.service.clone(),
                plan: facts.plan.clone(),
                trial_end: locale.long_date(facts.trial_end),
                trial_end_iso: facts.trial_end.to_string(),
                days_left: i64::from(facts.days_left),
                ends_then: facts.ends_then,
                price: locale.money(facts.price, facts.currency),
                price_cents: facts.price.0,
                interval: locale.unit(&facts.interval, Decimal::ONE),
            },
            labels: locale.labels(),
        }
    }
}

impl PriceChangeMail {
    /// The mail about a new price.
    pub fn new(facts: &PriceChange, envelope: &Envelope, language: Language) -> Self {
        let locale = Locale::new(language);
        Self {
            language: language.as_str(),
            mail: envelope.into(),
            seller: party(&facts.seller, locale),
            buyer: party(&facts.buyer, locale),
            change: ChangeView {
                service: facts.service.clone(),
                plan: facts.plan.clone(),
                interval: locale.unit(&facts.interval, Decimal::ONE),
                old_price: facts.base.map(|base| locale.money(base.old, facts.currency)),
                new_price: facts.base.map(|base| locale.money(base.new, facts.currency)),
                from: facts.base.map(|base| locale.long_date(base.from)),
                usage_from: facts.usage_from.map(|date| locale.long_date(date)),
            },
            labels: locale.labels(),
        }
    }
}

impl PaymentFailedMail {
    /// The mail about a failed payment of a document.
    ///
    /// # Errors
    /// As [`InvoiceContext::new`].
    pub fn new(
        document: &Document,
        facts: &PaymentFailed,
        envelope: &Envelope,
        language: Language,
    ) -> Result<Self, MoneyError> {
        let locale = Locale::new(language);
        let context = InvoiceContext::new(document, language)?;
        Ok(Self {
            language: context.language,
            mail: envelope.into(),
            invoice: context.invoice,
            seller: context.seller,
            buyer: context.buyer,
            totals: context.totals,
            failure: FailureView {
                amount: locale.money(facts.amount, document.currency),
                amount_cents: facts.amount.0,
                method: facts.method.clone(),
                reason: facts.reason.clone(),
                failed_on: locale.long_date(facts.failed_on),
                next_attempt_on: facts.next_attempt_on.map(|date| locale.long_date(date)),
                is_overdue: facts.is_overdue,
                suspended_on: facts.suspended_on.map(|date| locale.long_date(date)),
            },
            labels: context.labels,
        })
    }
}
