//! Reading, and the command.

use std::path::PathBuf;

use scaicontrol_einvoice::{Claim, Limits, Profile, Report, Syntax, build, run_cli, validate};

use crate::support::case;

fn xml(profile: Profile) -> String {
    String::from_utf8(build(&case("domestic_business"), profile).expect("it builds").bytes).expect("UTF-8")
}

fn report(xml: &str) -> Report {
    validate(xml.as_bytes(), &Limits::default()).expect("it is readable")
}

#[test]
fn a_broken_sum_is_found_in_both_syntaxes() {
    let ubl = xml(Profile::Ubl).replace("</cbc:PayableAmount>", "1</cbc:PayableAmount>");
    let cii = xml(Profile::Cii).replace("<ram:DuePayableAmount>", "<ram:DuePayableAmount>9");
    let found = report(&cii);
    assert!(!found.valid && found.syntax == Syntax::Cii);
    let due = found.violations.iter().find(|v| v.rule == "BR-CO-16").expect("BR-CO-16");
    assert!(due.place.contains("BT-115") && due.mend.is_none(), "{due:?}");
    // Three decimals are no amount at all.
    assert!(!report(&ubl).valid);
}

#[test]
fn a_document_says_what_it_is_judged_by() {
    let other = xml(Profile::Ubl).replace("urn:cen.eu:en16931:2017<", "urn:example:other<");
    let found = report(&other);
    assert_eq!((found.claim, found.specification.as_deref()), (Claim::Unknown, Some("urn:example:other")));
    let claimed = xml(Profile::Ubl).replace(
        "urn:cen.eu:en16931:2017<",
        "urn:cen.eu:en16931:2017#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0<",
    );
    let found = report(&claimed);
    assert_eq!((found.claim, found.valid), (Claim::PeppolBis3, false));
    assert!(found.violations.iter().any(|v| v.rule == "PEPPOL-EN16931-R001"), "{:#?}", found.violations);
}

/// What the model cannot lack, the XML can.
#[test]
fn what_is_missing_is_found() {
    let without = |xml: &str, from: &str, to: &str| {
        let start = xml.find(from).unwrap_or_else(|| panic!("no {from}"));
        let end = xml[start..].find(to).unwrap_or_else(|| panic!("no {to}")) + start + to.len();
        format!("{}{}", &xml[..start], &xml[end..])
    };
    let cases = [
        (Profile::Ubl, "BR-26", "<cac:Price>", "</cac:Price>"),
        (Profile::Ubl, "BR-15", "<cbc:PayableAmount", "</cbc:PayableAmount>"),
        (Profile::Ubl, "BR-22", "<cbc:InvoicedQuantity", "</cbc:InvoicedQuantity>"),
        (Profile::Ubl, "BR-CO-15", "<cac:TaxTotal>", "</cac:TaxTotal>"),
        (Profile::XrechnungUbl, "PEPPOL-EN16931-R053", "<cac:TaxSubtotal>", "</cac:TaxSubtotal>"),
        (Profile::Cii, "BR-26", "<ram:NetPriceProductTradePrice>", "</ram:NetPriceProductTradePrice>"),
        (Profile::Cii, "BR-CO-04", "<ram:TypeCode>VAT<", "/ram:TypeCode>"),
        (Profile::Cii, "BR-46", "<ram:CalculatedAmount>", "</ram:CalculatedAmount>"),
        (
            Profile::XrechnungCii,
            "BR-DE-1",
            "<ram:SpecifiedTradeSettlementPaymentMeans>",
            "</ram:SpecifiedTradeSettlementPaymentMeans>",
        ),
        (Profile::XrechnungCii, "PEPPOL-EN16931-R008", "Subscription", "Subscription"),
    ];
    for (profile, rule, from, to) in cases {
        let whole = xml(profile).replace("ScaiDrive – Pro, March 2026", "Subscription");
        let found = report(&without(&whole, from, to));
        assert!(found.violations.iter().any(|v| v.rule == rule), "{profile} {rule}: {:#?}", found.violations);
        assert!(!found.valid);
    }
}

#[test]
fn utf_16_is_read() {
    let text = xml(Profile::Ubl).replace("encoding=\"UTF-8\"", "encoding=\"UTF-16\"");
    let bytes: Vec<u8> =
        [0xfeff_u16].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert!(validate(&bytes, &Limits::default()).expect("it is readable").valid);
}

#[test]
fn long_reports_are_cut() {
    let limits = Limits { max_violations: 2, ..Limits::default() };
    let broken = xml(Profile::Ubl).replace("unitCode=\"", "unitCode=\"x");
    let broken = broken.replace("<cbc:ID>S</cbc:ID>", "<cbc:ID>Q</cbc:ID>");
    let found = validate(broken.as_bytes(), &limits).expect("it is readable");
    assert_eq!(found.violations.len(), 2);
    assert!(0 < found.omitted && !found.valid);
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let file = std::env::temp_dir().join(format!("einvoice-{}-{name}", std::process::id()));
        std::fs::write(&file, bytes).expect("it is written");
        Self(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_command_prints_a_line_a_rule_and_three_exit_codes() {
    let good = Scratch::new("good.xml", xml(Profile::XrechnungUbl).as_bytes());
    assert_eq!(run_cli(&good.0, false), ("valid: XRechnung 3.0\n".into(), 0));
    let broken = xml(Profile::Cii).replace("<ram:DuePayableAmount>", "<ram:DuePayableAmount>9");
    let broken = Scratch::new("broken.xml", broken.as_bytes());
    let (text, code) = run_cli(&broken.0, false);
    assert_eq!(code, 1);
    assert!(text.starts_with("BR-CO-16 fatal BG-22/BT-115 "), "{text}");
    let (json, code) = run_cli(&broken.0, true);
    let found: Report = serde_json::from_str(&json).expect("a report");
    assert_eq!((code, found.violations[0].rule.as_str()), (1, "BR-CO-16"));
    let none = Scratch::new("none.xml", b"<x/>");
    let (text, code) = run_cli(&none.0, false);
    assert!(code == 2 && text.contains("not readable"), "{text}");
    let (json, code) = run_cli(&none.0, true);
    assert!(code == 2 && json.contains("error"), "{json}");
    assert_eq!(run_cli(std::path::Path::new("/nonexistent/file"), false).1, 2);
    // Endless and not a file at all.
    assert_eq!(run_cli(std::path::Path::new("/dev/zero"), false).1, 2);
    assert_eq!(run_cli(std::path::Path::new("/"), false).1, 2);
}
