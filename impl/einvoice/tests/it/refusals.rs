//! What is refused before a number is spent, and which field mends it.

use scaicontrol_einvoice::{Document, Payment, Profile, Severity, Violation, build};

use crate::support::case;

fn refused(document: &Document, profile: Profile) -> Vec<Violation> {
    let violations = build(document, profile).expect_err("it must be refused");
    assert_eq!(violations.first().map(|v| v.severity), Some(Severity::Fatal), "fatal ones first");
    violations
}

fn assert_mend(document: &Document, profile: Profile, rule: &str, mend: &str) {
    let violations = refused(document, profile);
    let found = violations.iter().find(|v| v.rule == rule);
    let found = found.unwrap_or_else(|| panic!("no {rule} in {violations:#?}"));
    assert_eq!(found.mend.as_deref(), Some(mend), "{found}");
    assert!(!found.text.is_empty() && !found.place.is_empty());
}

type Change = fn(&mut Document);

#[test]
fn profiles_and_their_fields() {
    let cases: &[(Profile, &str, &str, Change)] = &[
        (Profile::XrechnungUbl, "BR-DE-15", "billing_profile.buyer_reference", |d| {
            d.buyer.buyer_reference = None
        }),
        (Profile::XrechnungCii, "BR-DE-7", "partner.seller_email", |d| d.seller.email = None),
        (Profile::XrechnungUbl, "BR-DE-6", "partner.seller_phone", |d| d.seller.phone = Some(" ".into())),
        (Profile::XrechnungUbl, "BR-DE-5", "partner.seller_contact_name", |d| d.seller.contact_name = None),
        (Profile::XrechnungUbl, "BR-DE-8", "billing_profile.city", |d| d.buyer.city = String::new()),
        (Profile::PeppolBis3, "PEPPOL-EN16931-R003", "billing_profile.buyer_reference", |d| {
            d.buyer.buyer_reference = None;
        }),
        (Profile::PeppolBis3, "NL-R-008", "partner.seller_iban", |d| d.payment = Payment::Undefined),
        (Profile::PeppolBis3, "NL-R-003", "partner.seller_registration_number", |d| {
            d.seller.registration_number = Some("ABC".into());
        }),
        (Profile::Ubl, "BR-CO-09", "partner.seller_vat_number", |d| {
            d.seller.vat_number = Some("12345".into())
        }),
        (Profile::Ubl, "BR-06", "partner.legal_name", |d| d.seller.name = String::new()),
        (Profile::Cii, "BR-07", "billing_profile.company_name", |d| d.buyer.name = "\u{1}".into()),
        (Profile::Cii, "BR-CL-14", "billing_profile.country_code", |d| d.buyer.country_code = "QQ".into()),
        (Profile::Cii, "BR-25", "line_items.1.description", |d| d.lines[1].description = "\n".into()),
        (Profile::Cii, "BR-27", "line_items.0.unit_price_cents", |d| {
            d.lines[0].unit_price_cents = (-1).into()
        }),
        (Profile::Ubl, "BR-CO-25", "due_date", |d| d.due_date = None),
    ];
    for (profile, rule, mend, change) in cases {
        let mut document = case("domestic_business");
        change(&mut document);
        assert_mend(&document, *profile, rule, mend);
    }
}

/// The documents of EN 16931's own suite break one sum at a time; so do these.
#[test]
fn every_sum_is_checked() {
    let cases: &[(&str, Change)] = &[
        ("BR-CO-10", |d| d.subtotal_cents += 1),
        ("BR-CO-14", |d| d.tax_cents += 1),
        ("BR-CO-15", |d| d.total_cents += 1),
        ("BR-S-08", |d| d.vat.breakdown[0].taxable_cents += 200),
        ("BR-CO-17", |d| d.vat.breakdown[0].tax_cents += 500),
        ("BR-S-01", |d| d.vat.breakdown.clear()),
        ("BR-CO-18", |d| d.vat.breakdown.clear()),
        ("BR-16", |d| d.lines.clear()),
        ("BR-30", |d| d.lines[0].period_end = d.lines[1].period_start),
        ("BR-S-05", |d| d.lines[0].tax_rate = None),
    ];
    for profile in [Profile::Ubl, Profile::Cii] {
        for (rule, change) in cases {
            let mut document = case("domestic_business");
            change(&mut document);
            let violations = refused(&document, profile);
            assert!(violations.iter().any(|v| v.rule == *rule), "{profile} {rule}: {violations:#?}");
        }
    }
}

#[test]
fn amounts_that_do_not_fit_are_refused() {
    let mut yen = case("yen_export");
    yen.total_cents = i64::MAX / 10;
    assert_eq!(refused(&yen, Profile::Ubl)[0].rule, "AMOUNT");
    let mut note = case("credit_note_full");
    note.lines[0].amount_cents = i64::MIN;
    assert_eq!(refused(&note, Profile::Cii)[0].place, "BG-25[0]/BT-131");
    let mut many = case("lines_1000");
    many.lines = many.lines.iter().cycle().take(10_001).cloned().collect();
    assert_eq!(refused(&many, Profile::Cii)[0].rule, "LINES");
}

/// Peppol's national rules, each broken alone.
#[test]
fn national_rules() {
    let cases: &[(&str, &str, Change)] = &[
        ("domestic_business_german", "DE-R-002", |d| {
            (d.seller.contact_name, d.seller.email, d.seller.phone) = (None, None, None);
        }),
        ("domestic_business_german", "DE-R-003", |d| d.seller.city = String::new()),
        ("domestic_business_german", "DE-R-004", |d| d.seller.postal_code = String::new()),
        ("domestic_business_german", "DE-R-006", |d| d.seller.phone = None),
        ("domestic_business_german", "DE-R-008", |d| d.buyer.city = String::new()),
        ("domestic_business_german", "DE-R-009", |d| d.buyer.postal_code = String::new()),
        ("domestic_business_german", "DE-R-015", |d| d.buyer.buyer_reference = None),
        ("domestic_business_german", "DE-R-024-1", |d| {
            d.payment = Payment::Card { last_digits: None, holder: None };
        }),
        ("domestic_business_german", "DE-R-031", |d| {
            let (mandate, creditor_id) = ("M1".into(), "DE98ZZZ09999999999".into());
            d.payment = Payment::DirectDebit { mandate, creditor_id, debited_iban: None };
        }),
        ("domestic_business_danish", "DK-R-002", |d| d.seller.registration_number = None),
        ("domestic_business_danish", "DK-R-014", |d| d.seller.registration_number = Some("1".into())),
        ("domestic_business", "NL-R-002", |d| d.seller.address_line1 = String::new()),
        ("domestic_business", "NL-R-004", |d| d.buyer.city = String::new()),
        ("credit_note_full", "NL-R-001", |d| d.preceding.clear()),
        ("domestic_business", "IT-R-003", |d| {
            d.seller.country_code = "IT".into();
            d.seller.vat_number = Some("IT00743110157".into());
            d.seller.city = String::new();
        }),
        ("domestic_business", "SE-R-006", |d| {
            d.seller.country_code = "SE".into();
            d.seller.vat_number = Some("SE556012579001".into());
        }),
        ("domestic_business", "SE-R-001", |d| {
            d.seller.country_code = "SE".into();
            d.seller.vat_number = Some("SE5560125790".into());
        }),
        ("domestic_business", "NO-R-001", |d| {
            d.seller.country_code = "NO".into();
            d.seller.vat_number = Some("NO974760674MVA".into());
        }),
        ("domestic_business", "IS-R-002", |d| d.seller.country_code = "IS".into()),
        ("domestic_business", "GR-R-001-1", |d| d.seller.vat_number = Some("EL094259216".into())),
        ("domestic_business", "GR-R-009", |d| d.seller.vat_number = Some("EL094259216".into())),
    ];
    for (name, rule, change) in cases {
        let mut document = case(name);
        change(&mut document);
        let violations = refused(&document, Profile::PeppolBis3);
        assert!(violations.iter().any(|v| v.rule == *rule), "{rule}: {violations:#?}");
        // They are Peppol's alone.
        let core = build(&document, Profile::Ubl);
        let core = core.err().unwrap_or_default();
        assert!(core.iter().all(|v| v.rule != *rule), "{rule}: {core:#?}");
    }
}
