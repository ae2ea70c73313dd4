//! Invoices, one for each rule of the VAT decision and each shape of lines.

use rust_decimal::Decimal;
use scaicontrol_domain::tax::{Category, Request};

use super::Case;
use super::given::{Given, GivenLine, day, line};
use super::parties::{
    buyer, consumer, danish_seller, dutch_seller, german_seller, small_business, swiss_seller,
};
use crate::document::{Document, Payment};

/// VAT numbers with a valid check digit.
const DUTCH: &str = "NL858630653B01";
const GERMAN: &str = "DE136695976";
const FRENCH: &str = "FR83404833048";

pub(super) fn all() -> Vec<Case> {
    let mut cases = by_decision();
    cases.extend(by_lines());
    cases.extend(by_payment());
    cases.extend(by_currency());
    cases
}

fn case(name: &'static str, document: Document) -> Case {
    Case { name, document }
}

/// The base price of a month, and usage of the month before.
pub(super) fn usual() -> Vec<GivenLine> {
    vec![
        line("ScaiDrive – Pro, March 2026", 10, 1_995).unit("seat").during("2026-03-01", "2026-03-31"),
        line("Storage, February 2026", 731, 3).unit("GB").during("2026-02-01", "2026-02-28"),
    ]
}

fn by_decision() -> Vec<Case> {
    let dutch = |to| Given::new(dutch_seller(), to, usual());
    let exempt = Given {
        exempt: Some("Exempt, art. 132 (1) (i) Directive 2006/112/EC".into()),
        ..dutch(buyer("NL", None))
    };
    let oss = Given { oss: true, ..dutch(consumer("FR")) };
    let no_number = || crate::document::Party { vat_number: None, ..dutch_seller() };
    let small = |to| Given {
        small_business_note: Some(
            "Kein Ausweis von Umsatzsteuer, da Kleinunternehmer gemäß § 19 UStG".into(),
        ),
        ..Given::new(small_business(), to, usual())
    };
    let german = Given::new(german_seller(), buyer("DE", Some("DE811569869")), usual());
    let danish =
        Given { currency: "DKK", ..Given::new(danish_seller(), buyer("DK", Some("DK88146328")), usual()) };
    vec![
        case("domestic_business", dutch(buyer("NL", Some(DUTCH))).invoice()),
        case("domestic_business_german", german.invoice()),
        case("domestic_business_danish", danish.invoice()),
        case("domestic_consumer", dutch(consumer("NL")).invoice()),
        case("reverse_charge", dutch(buyer("DE", Some(GERMAN))).invoice()),
        case("business_without_number", dutch(buyer("DE", None)).invoice()),
        case("oss_consumer", oss.invoice()),
        case("export", dutch(buyer("US", Some("12-3456789"))).invoice()),
        case("export_seller_without_number", Given::new(no_number(), buyer("US", None), usual()).invoice()),
        case("seller_outside", Given::new(swiss_seller(), buyer("DE", Some(GERMAN)), usual()).invoice()),
        case("both_outside", Given::new(swiss_seller(), buyer("US", None), usual()).invoice()),
        case("small_business", small(buyer("DE", Some(GERMAN))).invoice()),
        case("small_business_consumer", small(consumer("DE")).invoice()),
        case("small_business_export", small(buyer("US", None)).invoice()),
        case("exempt_buyer", exempt.invoice()),
        case("canary_islands", dutch(buyer("ES", None)).invoice()),
        case("northern_ireland", dutch(buyer("XI", Some("XI110305878"))).invoice()),
        case("monaco", dutch(buyer("MC", Some(FRENCH))).invoice()),
        case("monaco_consumer", Given { oss: true, ..dutch(consumer("MC")) }.invoice()),
    ]
}

fn by_lines() -> Vec<Case> {
    let to_dutch = |lines| Given::new(dutch_seller(), buyer("NL", Some(DUTCH)), lines).invoice();
    let reduced = Request::Rate(Decimal::from(9));
    let own = vec![
        line("Subscription", 1, 10_000),
        line("E-book", 3, 1_250).asks(reduced.clone()),
        line("Training, exempt", 2, 40_000).unit("hour").asks(Request::Category(Category::Exempt, None)),
        line("Zero-rated item", 1, 500).asks(Request::Category(Category::ZeroRated, None)),
    ];
    let rates = vec![
        line("Service", 7, 333),
        line("Publication", 11, 199).asks(reduced),
        line("Service, more", 1, 1),
    ];
    let thousand = (1..=1_000).map(|n| line(&format!("Item {n}"), n % 7 + 1, n * 13 % 997 + 1)).collect();
    let cents = (1..=100).map(|n| line(&format!("API call, group {n}"), 1, 1)).collect();
    let exact = vec![
        line("Tokens", 0, 0).unit("token").priced(
            Decimal::new(1_234_567_891_234, 6),
            Decimal::new(25, 1),
            Decimal::from(1_000),
        ),
        line("Compute", 0, 0).unit("hours").priced(
            Decimal::new(123_456, 6),
            Decimal::new(1_999_999, 4),
            Decimal::ONE,
        ),
        line("Messages", 0, 0).priced(Decimal::from(999_999), Decimal::new(1, 3), Decimal::from(1_000_000)),
    ];
    let credited = vec![
        line("ScaiFlow – Enterprise, 17 of 31 days", 1, 16_452).during("2026-03-15", "2026-03-31"),
        line("ScaiFlow – Pro, 17 of 31 days not used", -1, 5_484)
            .during("2026-03-15", "2026-03-31")
            .credits("SCAI-2026-000017", "2026-03-01"),
        line("ScaiDrive – Pro, not used", -2, 1_000)
            .during("2026-02-15", "2026-02-28")
            .credits("SCAI-2026-000009", "2026-02-01"),
    ];
    let pack = vec![
        line("Pack: 10 million tokens", 3, 9_900).unit("pack").during("2026-03-01", "2026-05-31"),
        line("Pack: support hours", 1, 25_000).unit("lump sum"),
    ];
    let awkward = vec![
        line("  Line\tone\nand \u{1} <two> & \"three\" ]]> 'é' 漢字 🚀 ", 1, 100),
        line(&"long ".repeat(200), 2, 150),
    ];
    vec![
        case("own_rate_and_category", to_dutch(own)),
        case("several_rates", to_dutch(rates)),
        case("lines_1000", to_dutch(thousand)),
        case("one_cent_lines", to_dutch(cents)),
        case("exact_quantities_and_divisor", to_dutch(exact)),
        case("credit_lines", to_dutch(credited)),
        case("pack_line", to_dutch(pack)),
        case("awkward_text", Document { notes: Some("One\r\nTwo \u{c}\nThree".into()), ..to_dutch(awkward) }),
    ]
}

fn by_payment() -> Vec<Case> {
    let usual = || Given::new(dutch_seller(), buyer("NL", Some(DUTCH)), usual()).invoice();
    let half = usual();
    let half = Document { prepaid_cents: half.total_cents / 2, ..half };
    let all = usual();
    let all = Document { prepaid_cents: all.total_cents, ..all };
    let zero =
        vec![line("Trial, March 2026", 5, 0), line("Setup", 1, 2_500), line("Setup, waived", -1, 2_500)];
    let zero = Given::new(dutch_seller(), buyer("NL", Some(DUTCH)), zero).invoice();
    let card = Payment::Card { last_digits: Some("4242".into()), holder: None };
    let debit = Payment::DirectDebit {
        mandate: "MANDATE-2026-17".into(),
        creditor_id: "NL98ZZZ999999990000".into(),
        debited_iban: Some("NL13TEST0123456789".into()),
    };
    let dates = Document {
        tax_point_date: Some(day("2026-02-28")),
        period_start: Some(day("2026-03-05")),
        period_end: Some(day("2026-03-20")),
        payment_terms: Some("14 days net".into()),
        ..usual()
    };
    let routed = crate::document::Party {
        leitweg_id: Some("04011000-1234512345-06".into()),
        ..buyer("DE", Some("DE811569869"))
    };
    vec![
        case("credit_applied", half),
        case("credit_applied_in_full", all),
        case("total_of_zero", zero),
        case("paid_by_card", Document { payment: card, due_date: Some(day("2026-03-01")), ..usual() }),
        case("direct_debit", Document { payment: debit, due_date: Some(day("2026-03-01")), ..usual() }),
        case("all_dates", dates),
        case("leitweg_id", Given::new(german_seller(), routed, super::invoices::usual()).invoice()),
    ]
}

fn by_currency() -> Vec<Case> {
    let foreign = |currency, to, lines| Given { currency, ..Given::new(dutch_seller(), to, lines) }.invoice();
    let yen = || {
        vec![
            line("Subscription", 3, 12_345).during("2026-03-01", "2026-03-31"),
            line("Usage", 0, 0).priced(Decimal::new(10_333, 3), Decimal::new(1_017, 1), Decimal::ONE),
            line("Calls", 0, 0).priced(Decimal::from(777), Decimal::new(15, 1), Decimal::from(100)),
            line("Usage, returned", 0, 0).priced(Decimal::new(-15, 1), Decimal::from(33), Decimal::ONE),
        ]
    };
    vec![
        case("dollars_with_tax", foreign("USD", buyer("NL", Some(DUTCH)), usual())),
        case("dollars_export", foreign("USD", buyer("US", None), usual())),
        case("dollars_reverse_charge", foreign("USD", buyer("DE", Some(GERMAN)), usual())),
        case("yen_with_tax", foreign("JPY", buyer("NL", Some(DUTCH)), yen())),
        case("yen_export", foreign("JPY", buyer("JP", None), yen())),
    ]
}
