//! Every case in every profile.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use scaicontrol_einvoice::{Claim, Format, Limits, Party, Profile, Severity, Vat, build, cases, validate};

use crate::support::case;

#[test]
fn every_case_keeps_every_rule_and_reads_back() {
    let mut written = BTreeSet::new();
    let mut broken = Vec::new();
    for case in cases::all() {
        for profile in case.profiles() {
            let built = match build(&case.document, profile) {
                Ok(built) => built,
                Err(violations) => {
                    broken.extend(
                        violations.iter().map(|v| format!("{} {profile}: {v} {:?}", case.name, v.mend)),
                    );
                    continue;
                }
            };
            let report = validate(&built.bytes, &Limits::default()).expect("it is readable");
            let listed = report.violations.iter().filter(|v| v.severity != Severity::Information);
            broken.extend(listed.map(|v| format!("{} {profile}, read: {v}", case.name)));
            let claim = match profile {
                Profile::Ubl | Profile::Cii | Profile::Facturx => Claim::En16931,
                Profile::PeppolBis3 => Claim::PeppolBis3,
                Profile::XrechnungUbl | Profile::XrechnungCii => Claim::Xrechnung,
            };
            assert_eq!((report.valid, report.claim), (true, claim), "{} {profile}", case.name);
            assert_eq!(report.number.as_deref(), Some(case.document.number.as_str()));
            written.insert((case.name, profile));
        }
    }
    assert!(broken.is_empty(), "{} broken:\n{}", broken.len(), broken.join("\n"));
    assert!(written.len() > 240, "only {} files", written.len());
}

#[test]
fn the_number_is_only_where_it_belongs() {
    for profile in Profile::ALL {
        let real = case("domestic_business");
        let placeholder =
            scaicontrol_einvoice::Document { number: "SCAI-2026-000000".into(), ..real.clone() };
        let real = String::from_utf8(build(&real, profile).expect("it builds").bytes).expect("UTF-8");
        let before =
            String::from_utf8(build(&placeholder, profile).expect("it builds").bytes).expect("UTF-8");
        assert_eq!(before.matches("SCAI-2026-000000").count(), 2, "BT-1 and BT-83");
        assert_eq!(before.replace("SCAI-2026-000000", "SCAI-2026-000042"), real);
    }
}

#[test]
fn formats_become_profiles() {
    let business = case("domestic_business");
    let names: Vec<&str> = Format::ALL.iter().map(|format| format.as_str()).collect();
    assert_eq!(names, ["ubl", "xrechnung", "cii", "zugferd", "facturx"]);
    assert!(Format::ALL.iter().all(|format| format.as_str().parse() == Ok(*format)));
    assert!("UBL".parse::<Format>().is_err());
    assert_eq!(Format::Ubl.profile(&business), Profile::PeppolBis3);
    assert_eq!(Format::Ubl.profile(&case("domestic_consumer")), Profile::Ubl);
    let mut unknown = business.clone();
    unknown.buyer.peppol_scheme = Some(" ".into());
    assert_eq!(Format::Ubl.profile(&unknown), Profile::Ubl);
    assert_eq!(Format::Zugferd.profile(&business), Format::Facturx.profile(&business));
    assert_eq!(Format::Xrechnung.profile(&business), Profile::XrechnungUbl);
}

fn xml(name: &str, profile: Profile) -> String {
    let built = build(&case(name), profile).unwrap_or_else(|violations| panic!("{name}: {violations:?}"));
    String::from_utf8(built.bytes).expect("UTF-8")
}

#[test]
fn outside_the_scope_names_no_vat_number_and_no_rate() {
    for name in
        ["seller_outside", "both_outside", "export_seller_without_number", "credit_note_outside_scope"]
    {
        let xml = xml(name, Profile::Ubl);
        assert!(!xml.contains("PartyTaxScheme"), "{name}");
        assert!(!xml.contains("cbc:Percent"), "{name}");
        assert!(xml.contains("VATEX-EU-O"), "{name}");
    }
    // Nothing official names her there but her tax number, so her id does.
    assert!(xml("small_business_export", Profile::Ubl).contains("<cbc:ID>prt_77aa</cbc:ID>"));
    assert!(!xml("domestic_business", Profile::Ubl).contains("prt_91c2"));
}

#[test]
fn consumers_are_reached_by_mail() {
    let xml = xml("domestic_consumer", Profile::Facturx);
    assert!(xml.contains(r#"schemeID="EM">ap@customer.example"#));
    let mut numbered = case("domestic_consumer");
    numbered.buyer.vat_number = Some("NL858630653B01".into());
    let built = build(&numbered, Profile::Facturx).expect("it builds");
    assert!(!String::from_utf8(built.bytes).expect("UTF-8").contains("NL858630653B01"));
}

#[test]
fn credit_notes_are_positive_and_name_their_invoice() {
    let ubl = xml("credit_note_full", Profile::Ubl);
    assert!(ubl.contains("<CreditNote ") && ubl.contains("<cbc:CreditNoteTypeCode>381<"));
    assert!(!ubl.contains(">-"), "no negative amount");
    assert!(ubl.contains("<cbc:ID>SCAI-2026-000042</cbc:ID>") && ubl.contains("<cbc:IssueDate>2026-03-01<"));
    assert!(ubl.contains("<cbc:Note>Cancelled by the customer"));
    let cii = xml("credit_note_full", Profile::Cii);
    assert!(cii.contains("<ram:TypeCode>381<") && cii.contains("SCAI-2026-000042"));
    let turned = xml("credit_note_of_credit_lines", Profile::Ubl);
    assert!(turned.contains(r#"unitCode="C62">-1</cbc:CreditedQuantity>"#));
}

#[test]
fn yen_have_no_cents_and_dollars_are_declared_in_euro() {
    let yen = xml("yen_with_tax", Profile::PeppolBis3);
    assert!(yen.contains("<cbc:PriceAmount currencyID=\"JPY\">12345<"), "{yen}");
    assert!(yen.contains("Rounding to whole units of the currency"));
    assert!(yen.contains("<cbc:TaxCurrencyCode>EUR<"));
    let dollars = xml("dollars_with_tax", Profile::Cii);
    assert!(dollars.contains(r#"<ram:TaxTotalAmount currencyID="EUR">"#));
    assert!(dollars.contains("1 USD = 0.921659 EUR (2026-02-27)"));
    assert!(!xml("dollars_export", Profile::Cii).contains("TaxCurrencyCode"));
}

#[test]
fn what_is_optional_is_said_when_it_is_there() {
    let dates = xml("all_dates", Profile::Ubl);
    assert!(dates.contains("<cbc:TaxPointDate>2026-02-28<") && dates.contains("14 days net"));
    // The period of the document holds those of its lines.
    assert!(dates.contains("<cbc:StartDate>2026-02-01<") && dates.contains("<cbc:EndDate>2026-03-31<"));
    let mut same = case("domestic_business");
    same.tax_point_date = Some(same.issue_date);
    let built = build(&same, Profile::Ubl).expect("it builds");
    assert!(!String::from_utf8(built.bytes).expect("UTF-8").contains("TaxPointDate"));
    assert!(xml("leitweg_id", Profile::XrechnungUbl).contains("<cbc:BuyerReference>04011000-1234512345-06<"));
    let debit = xml("direct_debit", Profile::XrechnungCii);
    assert!(debit.contains("MANDATE-2026-17") && debit.contains("NL98ZZZ999999990000"));
    assert!(xml("credit_applied", Profile::Cii).contains("TotalPrepaidAmount"));
    let exact = xml("exact_quantities_and_divisor", Profile::Ubl);
    assert!(
        exact.contains(r#"unitCode="C62">1234567.891234<"#) && exact.contains(">1000</cbc:BaseQuantity>")
    );
}

/// The snapshots that are stored with an invoice are what the parts of a document are read from.
#[test]
fn snapshots_deserialize() {
    let seller: Party = serde_json::from_value(serde_json::json!({
        "party_id": "prt_91c2", "name": "Acme B.V.", "address_line1": "Keizersgracht 1", "address_line2": null,
        "postal_code": "1015 AA", "city": "Amsterdam", "state": null, "country_code": "NL",
        "vat_number": "NL004495445B01", "vat_number_status": null, "tax_number": null,
        "registration_number": "34123456", "small_business_note": null, "is_business": null, "tax_exempt": null,
        "contact_name": "Finance desk", "email": "billing@acme.example", "phone": "+31 20 123 4567",
        "peppol_id": null, "peppol_scheme": null, "leitweg_id": null, "buyer_reference": null,
        "iban": "NL91ABNA0417164300", "bic": "ABNANL2A", "language": null, "timezone": "Europe/Amsterdam"
    }))
    .expect("a PartySnapshot");
    assert_eq!((seller.country_code.as_str(), seller.iban.as_deref()), ("NL", Some("NL91ABNA0417164300")));
    let vat: Vat = serde_json::from_value(serde_json::json!({
        "treatment": "domestic", "label": "VAT 21.00%", "note": null, "taxing_country": "NL",
        "seller_country": "NL", "buyer_country": "NL",
        "breakdown": [{"tax_category": "S", "tax_rate": "21", "taxable_cents": 10000, "tax_cents": 2100,
                       "note": null, "exemption_code": null}],
        "vat_number_status": null, "vat_number_checked_at": null, "tax_currency": "EUR", "exchange_rate": "0.92",
        "exchange_rate_date": "2026-02-27", "tax_currency_tax_cents": 1932
    }))
    .expect("VatDetails");
    assert_eq!(vat.breakdown.first().map(|group| group.tax_cents), Some(2_100));
    assert_eq!(vat.exchange_rate_date, NaiveDate::from_ymd_opt(2026, 2, 27));
    let document = case("domestic_business");
    let json = serde_json::to_value(&document).expect("it serializes");
    assert_eq!(serde_json::from_value::<scaicontrol_einvoice::Document>(json).expect("it reads"), document);
}
