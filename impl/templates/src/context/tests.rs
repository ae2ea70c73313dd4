use chrono::NaiveDate;
use scaicontrol_domain::money::Currency;

use super::*;
use crate::document::{TaxCurrency, Voided};
use crate::samples;

fn german(document: &Document) -> InvoiceContext {
    InvoiceContext::new(document, Language::De).unwrap()
}

#[test]
fn an_invoice_is_written_in_its_language() {
    let context = german(&samples::invoice());
    assert_eq!(context.invoice.title, "Rechnung");
    assert_eq!(context.invoice.due_date.as_deref(), Some("15.\u{a0}März 2026"));
    assert_eq!(context.invoice.due_date_iso.as_deref(), Some("2026-03-15"));
    assert_eq!(context.lines[0].amount, "480,00\u{a0}€");
    assert_eq!(context.lines[0].unit.as_deref(), Some("Plätze"));
    assert_eq!(context.lines[1].unit_price, "1,60\u{a0}€");
    assert_eq!(context.lines[1].price_per.as_deref(), Some("10.000"));
    assert_eq!(context.lines[1].quantity, "1.250.000");
    assert_eq!(context.lines[0].tax_rate, "21\u{a0}%");
    assert_eq!(context.totals.due, "580,80\u{a0}€");
    assert_eq!(context.payment.iban.as_deref(), Some("NL91\u{a0}ABNA\u{a0}0417\u{a0}1643\u{a0}00"));
    assert_eq!(
        context.payment.instruction,
        "Bitte überweisen Sie 580,80\u{a0}€ bis zum 15.\u{a0}März 2026 unter Angabe von SCAI-2026-000042."
    );
    assert_eq!(
        context.buyer.address,
        ["Coolsingel 42", "Accounts payable", "3011 AD Rotterdam", "Niederlande"]
    );
    assert!(context.payment.qr_svg.is_some());
}

#[test]
fn a_credit_note_is_printed_positive() {
    let context = german(&samples::credit_note());
    assert_eq!(context.lines[0].quantity, "1.250.000");
    assert_eq!(context.lines[0].amount_cents, 20_000);
    assert_eq!(context.taxes[0].tax, "42,00\u{a0}€");
    assert_eq!(context.totals.total, "242,00\u{a0}€");
    assert_eq!(context.invoice.referenced_number.as_deref(), Some("SCAI-2026-000042"));
    assert_eq!(context.payment.method, "none");
    assert_eq!(context.payment.qr_svg, None);
}

#[test]
fn the_note_stands_beside_the_words_of_the_law() {
    let mut document = samples::invoice();
    document.taxes[0] = TaxGroup {
        category: Category::ReverseCharge,
        rate: Some(Decimal::ZERO),
        taxable: Cents(68_000),
        tax: Cents(0),
        note: Some("Reverse charge - Art. 196 EU VAT Directive".into()),
    };
    let notes = |language| InvoiceContext::new(&document, language).unwrap().vat.notes;
    assert_eq!(
        notes(Language::De),
        ["Reverse charge - Art. 196 EU VAT Directive · Steuerschuldnerschaft des Leistungsempfängers"]
    );
    assert_eq!(notes(Language::Nl), ["Reverse charge - Art. 196 EU VAT Directive · Btw verlegd"]);
    assert_eq!(notes(Language::En), ["Reverse charge - Art. 196 EU VAT Directive"]);
    document.taxes.push(document.taxes[0].clone());
    assert_eq!(german(&document).vat.notes.len(), 1);
    document.taxes = vec![TaxGroup {
        category: Category::OutsideScope,
        rate: None,
        note: None,
        ..document.taxes[0].clone()
    }];
    let context = german(&document);
    assert_eq!(context.vat.notes, ["Nicht umsatzsteuerbar"]);
    assert_eq!(context.taxes[0].rate, "–");
}

#[test]
fn tax_in_another_currency_names_its_rate() {
    let mut document = samples::invoice();
    document.tax_currency = Some(TaxCurrency {
        currency: Currency::parse("PLN").unwrap(),
        tax: Cents(61_575),
        rate: "4.312".parse().unwrap(),
        rate_date: NaiveDate::from_ymd_opt(2026, 2, 27).unwrap(),
    });
    let vat = german(&document).vat;
    assert_eq!(vat.tax_currency_label.as_deref(), Some("Umsatzsteuer in PLN"));
    assert_eq!(vat.tax_currency_amount.as_deref(), Some("615,75\u{a0}PLN"));
    assert_eq!(
        vat.tax_currency_rate.as_deref(),
        Some("EZB-Referenzkurs vom 27.02.2026: 1\u{a0}EUR = 4,312\u{a0}PLN")
    );
}

#[test]
fn what_is_not_to_be_paid_says_so() {
    let mut document = samples::invoice();
    document.due = Cents(0);
    assert_eq!(german(&document).payment.instruction, "Es ist nichts mehr zu zahlen. Vielen Dank.");
    document.due = Cents(100);
    document.payment = PaymentMeans::DirectDebit;
    let payment = german(&document).payment;
    assert_eq!((payment.method, payment.iban), ("direct_debit", None));
    assert!(payment.instruction.starts_with("1,00\u{a0}€ werden am 15."), "{}", payment.instruction);
    document.voided = Some(Voided {
        date: NaiveDate::from_ymd_opt(2026, 3, 20).unwrap(),
        credit_note_number: Some("SCAI-CN-2026-000001".into()),
    });
    let context = german(&document);
    assert_eq!(context.payment.method, "none");
    assert_eq!(
        context.invoice.void_notice.as_deref(),
        Some(
            "Storniert am 20.\u{a0}März 2026. Es ist nichts zu zahlen. Siehe Gutschrift SCAI-CN-2026-000001."
        )
    );
}

#[test]
fn a_draft_has_no_number_and_no_code() {
    let mut document = samples::invoice();
    document.number = None;
    document.issue_date = None;
    let context = german(&document);
    assert!(context.invoice.is_draft && context.payment.qr_svg.is_none());
    assert!(context.payment.instruction.contains("Entwurf"));
}

#[test]
fn an_amount_without_opposite_is_an_error() {
    let mut document = samples::credit_note();
    document.lines[0].amount = Cents(i64::MIN);
    assert_eq!(InvoiceContext::new(&document, Language::En), Err(MoneyError::Overflow));
}
