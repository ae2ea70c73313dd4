//! Owns the made-up documents of previews, of the examples in the list of variables, and of tests.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use scaicontrol_domain::invoice::DocumentType;
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_domain::tax::Category;

use crate::context::InvoiceContext;
use crate::document::{Document, Line, Party, PaymentMeans, TaxGroup};
use crate::engine::Context;
use crate::kind::Kind;
use crate::locale::Language;
use crate::mail::{
    Envelope, InvoiceMail, NewBase, PaymentFailed, PaymentFailedMail, PriceChange, PriceChangeMail,
    TrialEnding, TrialEndingMail,
};

/// A day of the sample year.
fn day(month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, month, day).unwrap_or(NaiveDate::MIN)
}

/// A seller in the Netherlands.
pub fn seller() -> Party {
    Party {
        name: "Noordzee Software B.V.".into(),
        address_line1: "Keizersgracht 100".into(),
        address_line2: Some("3rd floor".into()),
        postal_code: "1015 AA".into(),
        city: "Amsterdam".into(),
        state: Some("Noord-Holland".into()),
        country_code: "NL".into(),
        vat_number: Some("NL123456789B01".into()),
        tax_number: Some("123456789".into()),
        registration_number: Some("34123456".into()),
        contact_name: Some("Finance desk".into()),
        email: Some("billing@noordzee.example".into()),
        phone: Some("+31 20 123 4567".into()),
        reference: None,
        iban: Some("NL91ABNA0417164300".into()),
        bic: Some("ABNANL2A".into()),
        logo: Some("logo.png".into()),
    }
}

/// A buyer in the Netherlands.
pub fn buyer() -> Party {
    Party {
        name: "Acme B.V.".into(),
        address_line1: "Coolsingel 42".into(),
        address_line2: Some("Accounts payable".into()),
        postal_code: "3011 AD".into(),
        city: "Rotterdam".into(),
        state: Some("Zuid-Holland".into()),
        country_code: "NL".into(),
        vat_number: Some("NL004495445B01".into()),
        tax_number: Some("004495445".into()),
        registration_number: Some("24123456".into()),
        contact_name: Some("J. de Vries".into()),
        email: Some("invoices@acme.example".into()),
        phone: Some("+31 10 765 4321".into()),
        reference: Some("PO-2291".into()),
        iban: None,
        bic: None,
        logo: Some("buyer-logo.png".into()),
    }
}

fn line(description: &str, quantity: Decimal, unit: &str, price: Decimal, divisor: i64, amount: i64) -> Line {
    Line {
        description: description.into(),
        quantity,
        unit_label: Some(unit.into()),
        unit_price: price,
        unit_divisor: Decimal::from(divisor),
        amount: Cents(amount),
        tax_rate: Some(Decimal::from(21)),
        tax_category: Some(Category::Standard),
        period: Some((day(2, 1), day(2, 28))),
    }
}

/// An invoice with two lines, partly paid before.
pub fn invoice() -> Document {
    Document {
        document_type: DocumentType::Invoice,
        number: Some("SCAI-2026-000042".into()),
        currency: Currency::EUR,
        issue_date: Some(day(3, 1)),
        due_date: Some(day(3, 15)),
        tax_point_date: Some(day(2, 28)),
        period: Some((day(2, 1), day(2, 28))),
        referenced: None,
        voided: None,
        notes: Some("Thank you for your order.".into()),
        seller: seller(),
        buyer: buyer(),
        lines: vec![
            line("Pro plan, March 2026", Decimal::from(12), "seat", Decimal::from(4000), 1, 48_000),
            line("API requests", Decimal::from(1_250_000), "request", Decimal::from(160), 10_000, 20_000),
        ],
        taxes: vec![TaxGroup {
            category: Category::Standard,
            rate: Some(Decimal::from(21)),
            taxable: Cents(68_000),
            tax: Cents(14_280),
            note: None,
        }],
        vat_label: "VAT 21.00%".into(),
        tax_currency: None,
        subtotal: Cents(68_000),
        tax: Cents(14_280),
        total: Cents(82_280),
        prepaid: Cents(20_000),
        credit_applied: Cents(4_200),
        credited: Cents(0),
        due: Cents(58_080),
        payment: PaymentMeans::Transfer,
    }
}

/// A credit note that takes the second line of that invoice back.
pub fn credit_note() -> Document {
    let invoice = invoice();
    Document {
        document_type: DocumentType::CreditNote,
        number: Some("SCAI-CN-2026-000007".into()),
        issue_date: Some(day(3, 9)),
        due_date: None,
        referenced: invoice.number.clone().zip(invoice.issue_date),
        notes: Some("Requests of the load test of 12 February are not charged.".into()),
        lines: vec![line(
            "API requests",
            Decimal::from(-1_250_000),
            "request",
            Decimal::from(160),
            10_000,
            -20_000,
        )],
        taxes: vec![TaxGroup {
            category: Category::Standard,
            rate: Some(Decimal::from(21)),
            taxable: Cents(-20_000),
            tax: Cents(-4_200),
            note: None,
        }],
        subtotal: Cents(-20_000),
        tax: Cents(-4_200),
        total: Cents(-24_200),
        prepaid: Cents(0),
        credit_applied: Cents(0),
        credited: Cents(0),
        due: Cents(0),
        ..invoice
    }
}

/// How the sample mails are addressed.
pub fn envelope() -> Envelope {
    Envelope {
        recipient_name: Some("J. de Vries".into()),
        portal_url: Some("https://portal.noordzee.example/billing".into()),
        message: Some("As agreed on the phone.".into()),
    }
}

/// A trial that ends in three days.
pub fn trial_ending() -> TrialEnding {
    TrialEnding {
        seller: seller(),
        buyer: buyer(),
        service: "ScaiFlow".into(),
        plan: "Pro".into(),
        trial_end: day(3, 31),
        days_left: 3,
        ends_then: false,
        price: Cents(4_900),
        currency: Currency::EUR,
        interval: "month".into(),
    }
}

/// A payment that failed for want of money.
pub fn payment_failed() -> PaymentFailed {
    PaymentFailed {
        amount: Cents(58_080),
        method: Some("Visa •••• 4242".into()),
        reason: Some("Your card has insufficient funds.".into()),
        failed_on: day(3, 15),
        next_attempt_on: Some(day(3, 18)),
        is_overdue: false,
        suspended_on: Some(day(3, 29)),
    }
}

/// An invoice that was not paid by its due date.
pub fn overdue() -> PaymentFailed {
    PaymentFailed { method: None, reason: None, next_attempt_on: None, is_overdue: true, ..payment_failed() }
}

/// A price that rises in April.
pub fn price_change() -> PriceChange {
    PriceChange {
        seller: seller(),
        buyer: buyer(),
        service: "ScaiFlow".into(),
        plan: "Pro".into(),
        currency: Currency::EUR,
        interval: "month".into(),
        base: Some(NewBase { old: Cents(4_900), new: Cents(5_400), from: day(4, 15) }),
        usage_from: Some(day(4, 15)),
    }
}

/// Made-up data for a template of a kind.
pub fn context(kind: Kind, language: Language) -> Context {
    // The amounts of the samples have opposites; the fallback is never taken and keeps panics out.
    let build = || {
        Ok::<_, scaicontrol_domain::money::MoneyError>(match kind {
            Kind::Invoice => Context::Document(Box::new(InvoiceContext::new(&invoice(), language)?)),
            Kind::CreditNote => Context::Document(Box::new(InvoiceContext::new(&credit_note(), language)?)),
            Kind::EmailInvoice => {
                Context::InvoiceMail(Box::new(InvoiceMail::new(&invoice(), &envelope(), language)?))
            }
            Kind::EmailCreditNote => {
                Context::InvoiceMail(Box::new(InvoiceMail::new(&credit_note(), &envelope(), language)?))
            }
            Kind::EmailTrialEnding => trial_context(language),
            Kind::EmailPaymentFailed => Context::PaymentFailed(Box::new(PaymentFailedMail::new(
                &invoice(),
                &payment_failed(),
                &envelope(),
                language,
            )?)),
            Kind::EmailRenewalPriceChange => {
                Context::PriceChange(Box::new(PriceChangeMail::new(&price_change(), &envelope(), language)))
            }
        })
    };
    build().unwrap_or_else(|_| trial_context(language))
}

fn trial_context(language: Language) -> Context {
    Context::TrialEnding(Box::new(TrialEndingMail::new(&trial_ending(), &envelope(), language)))
}
