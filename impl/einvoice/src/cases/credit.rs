//! Credit notes, with negative amounts as the API has them.

use scaicontrol_domain::money::Cents;
use scaicontrol_domain::tax::compute::credit_note_tax;

use super::Case;
use super::given::{Given, day, line};
use super::invoices::usual;
use super::parties::{buyer, consumer, dutch_seller, german_seller, small_business, swiss_seller};
use crate::document::{Document, Kind, Line, Preceding, Vat, VatGroup};

pub(super) fn all() -> Vec<Case> {
    let dutch = || Given::new(dutch_seller(), buyer("NL", Some("NL858630653B01")), usual());
    let mixed = || {
        let lines = vec![
            line("ScaiFlow – Enterprise", 1, 16_452),
            line("ScaiFlow – Pro, not used", -1, 5_484).credits("SCAI-2026-000017", "2026-02-01"),
        ];
        Given::new(dutch_seller(), buyer("NL", Some("NL858630653B01")), lines)
    };
    let yen = Given {
        currency: "JPY",
        ..Given::new(dutch_seller(), buyer("NL", Some("NL858630653B01")), vec![line("Service", 3, 3_333)])
    };
    let small = Given {
        small_business_note: Some("Kleinunternehmer, § 19 UStG".into()),
        ..Given::new(small_business(), buyer("DE", None), usual())
    };
    let to = |name, given: Given| Case { name, document: full(given.invoice(), "Cancelled by the customer") };
    vec![
        to("credit_note_full", dutch()),
        to("credit_note_consumer", Given::new(dutch_seller(), consumer("NL"), usual())),
        to(
            "credit_note_reverse_charge",
            Given::new(dutch_seller(), buyer("DE", Some("DE136695976")), usual()),
        ),
        to("credit_note_export", Given::new(dutch_seller(), buyer("US", None), usual())),
        to("credit_note_outside_scope", Given::new(swiss_seller(), buyer("DE", None), usual())),
        to("credit_note_german", Given::new(german_seller(), buyer("DE", Some("DE811569869")), usual())),
        to("credit_note_small_business", small),
        to("credit_note_of_credit_lines", mixed()),
        to("credit_note_yen", yen),
        Case { name: "credit_note_partial", document: partial(dutch().invoice()) },
        Case { name: "void", document: full(dutch().invoice(), "Issued in error") },
    ]
}

/// The note that takes a whole invoice back.
fn full(invoice: Document, reason: &str) -> Document {
    let preceding = Preceding { number: invoice.number.clone(), issue_date: invoice.issue_date };
    let lines = invoice.lines.iter().map(|line| Line {
        quantity: -line.quantity,
        amount_cents: -line.amount_cents,
        preceding: None,
        ..line.clone()
    });
    let groups = invoice.vat.breakdown.iter().map(|group| VatGroup {
        taxable_cents: -group.taxable_cents,
        tax_cents: -group.tax_cents,
        ..group.clone()
    });
    Document {
        document_type: Kind::CreditNote,
        number: "SCAI-CN-2026-000007".into(),
        issue_date: day("2026-03-20"),
        due_date: None,
        lines: lines.collect(),
        vat: Vat {
            breakdown: groups.collect(),
            tax_currency_tax_cents: invoice.vat.tax_currency_tax_cents.map(|cents| -cents),
            ..invoice.vat.clone()
        },
        subtotal_cents: -invoice.subtotal_cents,
        tax_cents: -invoice.tax_cents,
        total_cents: -invoice.total_cents,
        reason: Some(reason.into()),
        preceding: vec![preceding],
        ..invoice
    }
}

/// The second of two notes over 33.33 each: its tax is what the two together leave for it.
#[expect(clippy::expect_used, reason = "a case that the rules refuse is a mistake in the case")]
fn partial(invoice: Document) -> Document {
    const NET: i64 = 3_333;
    let rate = invoice.lines.first().and_then(|line| line.tax_rate).expect("a rate");
    let before = credit_note_tax(rate, Cents(0), Cents(0), Cents(NET)).expect("a tax");
    let now = credit_note_tax(rate, Cents(NET), before, Cents(NET)).expect("a tax").0;
    let note = full(invoice, "Service credit, second part");
    let mut lines: Vec<Line> = note.lines.into_iter().take(1).collect();
    for line in &mut lines {
        line.description = "Service credit: ScaiDrive – Pro".into();
        line.quantity = (-1).into();
        line.unit_price_cents = NET.into();
        line.amount_cents = -NET;
    }
    let mut groups: Vec<VatGroup> = note.vat.breakdown.into_iter().take(1).collect();
    for group in &mut groups {
        (group.taxable_cents, group.tax_cents) = (-NET, -now);
    }
    Document {
        lines,
        vat: Vat { breakdown: groups, ..note.vat },
        subtotal_cents: -NET,
        tax_cents: -now,
        total_cents: -NET - now,
        ..note
    }
}
