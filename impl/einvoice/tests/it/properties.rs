//! Any lines that our rules allow make a document that every profile allows.

use proptest::prelude::*;
use rust_decimal::Decimal;
use scaicontrol_domain::tax::{Category, Request};
use scaicontrol_einvoice::cases::{Given, GivenLine, line};
use scaicontrol_einvoice::{Limits, Party, Profile, build, validate};

use crate::support::case;

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        4 => Just(Request::Auto),
        1 => Just(Request::Rate(Decimal::from(9))),
        1 => Just(Request::Category(Category::Exempt, None)),
        1 => Just(Request::Category(Category::ZeroRated, None)),
    ]
}

fn any_line() -> impl Strategy<Value = GivenLine> {
    let quantity = (-1_000_000_i64..1_000_000_000, 0_u32..=6);
    let price = (0_i64..1_000_000, 0_u32..=4);
    let divisor = prop_oneof![Just(1_i64), Just(100), Just(1_000), Just(1_000_000)];
    (quantity, price, divisor, request(), "\\PC{1,40}").prop_map(
        |(quantity, price, divisor, request, text)| {
            line(&format!("Item {text}"), 1, 1)
                .priced(
                    Decimal::new(quantity.0, quantity.1),
                    Decimal::new(price.0, price.1),
                    Decimal::from(divisor),
                )
                .asks(request)
        },
    )
}

fn parties() -> (Party, Party) {
    let usual = case("domestic_business");
    (usual.seller, usual.buyer)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn lines_make_documents(
        lines in prop::collection::vec(any_line(), 1..30),
        currency in prop_oneof![Just("EUR"), Just("USD"), Just("JPY")],
        place in 0_usize..Profile::ALL.len(),
    ) {
        let (seller, buyer) = parties();
        let document = Given { currency, ..Given::new(seller, buyer, lines) }.invoice();
        let lines: i64 = document.lines.iter().map(|line| line.amount_cents).sum();
        prop_assert_eq!(lines, document.subtotal_cents);
        prop_assert_eq!(document.subtotal_cents + document.tax_cents, document.total_cents);
        let profile = Profile::ALL[place];
        let built = build(&document, profile).map_err(|v| TestCaseError::fail(format!("{profile}: {v:#?}")))?;
        let report = validate(&built.bytes, &Limits::default()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert!(report.valid, "{:#?}", report.violations);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(validate(&bytes, &Limits::default()).is_err());
    }

    /// One byte of a document replaced by another: an answer, and no panic.
    #[test]
    fn a_changed_byte_is_answered(at in 0_usize..8_000, byte in any::<u8>(), cii in any::<bool>()) {
        let profile = if cii { Profile::Facturx } else { Profile::PeppolBis3 };
        let mut bytes = build(&case("domestic_business"), profile).expect("it builds").bytes;
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = validate(&bytes, &Limits::default());
    }
}
