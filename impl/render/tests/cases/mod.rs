//! The documents that the tests and the samples are made of: one for each thing that can look wrong.

use rust_decimal::Decimal;
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_domain::tax::Category;
use scaicontrol_templates::context::InvoiceContext;
use scaicontrol_templates::document::{Document, Line, TaxCurrency, TaxGroup, Voided};
use scaicontrol_templates::job::{Base64, Job, Limits};
use scaicontrol_templates::{Context, Kind, Language, Rendered, defaults, render, samples};

/// A logo of simple shapes.
const LOGO: &[u8] = include_bytes!("logo.png");

/// The job that prints a document with the default template.
pub fn job(document: &Document, language: Language) -> Job {
    let kind: Kind = document.document_type.as_str().parse().expect("a document's kind");
    let context = InvoiceContext::new(document, language).expect("amounts in range");
    let template = defaults::find(kind, language).expect("a default template");
    let rendered = render(&template.template(), &Context::Document(Box::new(context))).expect("sound");
    let Rendered::Document { html, css } = rendered else { panic!("a document") };
    page(html, css)
}

/// A job for any page.
pub fn page(html: String, css: String) -> Job {
    Job {
        html,
        css,
        images: [("logo.png".to_owned(), Base64(LOGO.to_vec()))].into(),
        title: "SCAI-2026-000042".into(),
        author: "Noordzee Software B.V.".into(),
        language: "en".into(),
        created: "2026-03-01T09:00:00".into(),
        limits: Limits::default(),
    }
}

/// Every case, by name.
#[allow(dead_code, reason = "one of several users of this module")]
pub fn all() -> Vec<(&'static str, Document)> {
    let mut one = samples::invoice();
    one.lines.truncate(1);
    vec![
        ("sample", samples::invoice()),
        ("one", one),
        ("mixed", mixed()),
        ("reverse", reverse_charge()),
        ("thousand", lines(1_000)),
        ("credit", samples::credit_note()),
        ("long", long_words()),
        ("yen", yen()),
        ("void", void()),
        ("draft", draft()),
    ]
}

fn line(number: i64, rate: i64) -> Line {
    Line {
        description: format!("VM.small 2 vCPU 4 GiB #{number}"),
        quantity: Decimal::new(7_200 + number, 1),
        unit_label: Some("hour".into()),
        unit_price: Decimal::new(123, 2),
        unit_divisor: Decimal::ONE,
        amount: Cents(1_000 + number),
        tax_rate: Some(Decimal::from(rate)),
        tax_category: Some(Category::Standard),
        period: samples::invoice().period,
    }
}

/// An invoice with that many lines at one rate.
pub fn lines(count: i64) -> Document {
    let lines: Vec<Line> = (1..=count).map(|number| line(number, 21)).collect();
    total(Document { lines, ..samples::invoice() })
}

/// Twelve lines at three rates, one of them a credit, with tax in another currency.
pub fn mixed() -> Document {
    let mut lines: Vec<Line> =
        (1..=12).zip([21, 9, 0].into_iter().cycle()).map(|(number, rate)| line(number, rate)).collect();
    lines[4].quantity = Decimal::from(-1);
    lines[4].amount = Cents(-500);
    lines[4].description = "Proration: Pro plan, 12 of 28 days not used".into();
    let mut document =
        total(Document { lines, notes: Some("First line.\nSecond line.".into()), ..samples::invoice() });
    document.tax_currency = Some(TaxCurrency {
        currency: Currency::parse("PLN").expect("known"),
        tax: Cents(5_310),
        rate: Decimal::new(43_120, 4),
        rate_date: document.issue_date.expect("issued"),
    });
    document
}

/// An invoice to a business in Greece.
pub fn reverse_charge() -> Document {
    let mut document = samples::invoice();
    document.buyer.name = "Ελληνική Εταιρεία Λογισμικού Α.Ε.".into();
    document.buyer.address_line1 = "Λεωφόρος Κηφισίας 44".into();
    document.buyer.address_line2 = Some("Кирилица: София, Київ; Łódź, Český Krumlov, Škofja Loka".into());
    document.buyer.postal_code = "151 25".into();
    document.buyer.city = "Μαρούσι".into();
    document.buyer.country_code = "GR".into();
    document.buyer.vat_number = Some("EL094259216".into());
    document.vat_label = "VAT 0% (Reverse Charge)".into();
    for line in &mut document.lines {
        line.tax_rate = Some(Decimal::ZERO);
        line.tax_category = Some(Category::ReverseCharge);
    }
    total(document)
}

/// Words and names that do not fit, and scripts that we have no glyphs for.
pub fn long_words() -> Document {
    let mut document = mixed();
    document.buyer.name =
        "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft mbH & Co. KGaA"
            .into();
    document.buyer.address_line1 = "x".repeat(120);
    document.buyer.reference = Some("REF-".to_owned() + &"0123456789".repeat(9));
    document.seller.email =
        Some(format!("{}@noordzee-software-international-holding.example", "accounts.receivable.".repeat(4)));
    document.seller.name = "東京データ Noordzee 🎉 Software".into();
    document.lines[0].description = "W".repeat(200);
    document.lines[1].description = "Supercalifragilisticexpialidocious ".repeat(12);
    document.lines[2].unit_label = Some("Terabyte-Stunden-im-Monatsdurchschnitt".into());
    document.lines[3].amount = Cents(123_456_789_012);
    document.lines[3].unit_price = "0.000123456789".parse().expect("a number");
    document.lines[3].unit_divisor = Decimal::from(1_000_000);
    document.lines[3].quantity = "123456789.123456".parse().expect("a number");
    document.notes = Some("A note that goes on. ".repeat(40));
    total(document)
}

/// A currency without cents.
pub fn yen() -> Document {
    total(Document { currency: Currency::parse("JPY").expect("known"), ..samples::invoice() })
}

fn void() -> Document {
    let document = samples::invoice();
    let voided =
        document.due_date.map(|date| Voided { date, credit_note_number: Some("SCAI-CN-2026-000008".into()) });
    Document { voided, ..document }
}

fn draft() -> Document {
    Document { number: None, issue_date: None, due_date: None, ..samples::invoice() }
}

/// Sums that fit the lines, with nothing paid.
fn total(mut document: Document) -> Document {
    let mut taxes: Vec<TaxGroup> = Vec::new();
    for line in &document.lines {
        let category = line.tax_category.unwrap_or(Category::Standard);
        let found = taxes.iter_mut().find(|tax| tax.rate == line.tax_rate && tax.category == category);
        match found {
            Some(tax) => tax.taxable = Cents(tax.taxable.0 + line.amount.0),
            None => taxes.push(TaxGroup {
                category,
                rate: line.tax_rate,
                taxable: line.amount,
                tax: Cents(0),
                note: (category == Category::ReverseCharge)
                    .then(|| "Reverse charge - Art. 196 EU VAT Directive".to_owned()),
            }),
        }
    }
    for tax in &mut taxes {
        tax.tax = tax.taxable.scale(tax.rate.unwrap_or_default() / Decimal::ONE_HUNDRED).expect("in range");
    }
    document.subtotal = Cents(document.lines.iter().map(|line| line.amount.0).sum());
    document.tax = Cents(taxes.iter().map(|tax| tax.tax.0).sum());
    document.total = Cents(document.subtotal.0 + document.tax.0);
    document.taxes = taxes;
    document.prepaid = Cents(0);
    document.credit_applied = Cents(0);
    document.due = document.total;
    document
}
