//! Hybrids: the same bytes in and out.

use chrono::DateTime;
use scaicontrol_einvoice::{EmbedError, Limits, Profile, build, cases, embed, extract, validate};

use crate::pdf::pdf_a3;
use crate::support::case;

#[test]
fn every_case_is_in_its_pdf_to_the_byte() {
    let pdf = pdf_a3();
    let modified = DateTime::from_timestamp(1_772_323_200, 0).expect("a time");
    for case in cases::all() {
        let cii = build(&case.document, Profile::Facturx).expect("it builds").bytes;
        let hybrid = embed(&pdf, &cii, modified).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(extract(&hybrid, &Limits::default()).expect("it holds one"), cii, "{}", case.name);
        assert_eq!(hybrid, embed(&pdf, &cii, modified).expect("again"), "{}", case.name);
    }
}

#[test]
fn hybrids_are_validated_by_their_invoice() {
    let cii = build(&case("domestic_business"), Profile::Facturx).expect("it builds").bytes;
    let modified = DateTime::from_timestamp(1_772_323_200, 0).expect("a time");
    let hybrid = embed(&pdf_a3(), &cii, modified).expect("a hybrid");
    let text = String::from_utf8_lossy(&hybrid);
    for wanted in ["factur-x.xml", "/Alternative", "EN 16931", "<pdfaid:part>3"] {
        assert!(text.contains(wanted), "{wanted}");
    }
    let report = validate(&hybrid, &Limits::default()).expect("it is readable");
    assert!(report.valid);
    // A second invoice is refused.
    assert!(matches!(embed(&hybrid, &cii, modified), Err(EmbedError::Pdf(_))));
}

#[test]
fn what_is_not_ours_is_refused() {
    let modified = DateTime::from_timestamp(1_772_323_200, 0).expect("a time");
    let cii = build(&case("domestic_business"), Profile::Facturx).expect("it builds").bytes;
    assert!(matches!(embed(b"%PDF-1.7\n%%EOF", &cii, modified), Err(EmbedError::Pdf(_))));
    assert!(matches!(embed(b"no PDF", &cii, modified), Err(EmbedError::Pdf(_))));
    let ubl = build(&case("domestic_business"), Profile::Ubl).expect("it builds").bytes;
    assert!(matches!(embed(&pdf_a3(), &ubl, modified), Err(EmbedError::Invoice(_))));
    assert!(matches!(embed(&pdf_a3(), b"<x/>", modified), Err(EmbedError::Invoice(_))));
    assert!(extract(&pdf_a3(), &Limits::default()).is_err());
}
