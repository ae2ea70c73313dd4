//! Sellers and buyers of the cases. Numbers have valid check digits and belong to nobody of ours.

use crate::document::Party;

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A Dutch company that has everything.
pub(super) fn dutch_seller() -> Party {
    Party {
        party_id: "prt_91c2".into(),
        name: "Voorbeeld Diensten B.V.".into(),
        address_line1: "Keizersgracht 1".into(),
        address_line2: some("3e verdieping"),
        postal_code: "1015 AA".into(),
        city: "Amsterdam".into(),
        state: some("Noord-Holland"),
        country_code: "NL".into(),
        vat_number: some("NL004495445B01"),
        registration_number: some("34123456"),
        contact_name: some("Finance desk"),
        email: some("billing@voorbeeld.example"),
        phone: some("+31 20 123 4567"),
        peppol_id: some("34123456"),
        peppol_scheme: some("0106"),
        iban: some("NL91 ABNA 0417 1643 00"),
        bic: some("ABNANL2A"),
        ..Party::default()
    }
}

/// A German company.
pub(super) fn german_seller() -> Party {
    Party {
        party_id: "prt_4d01".into(),
        name: "Beispiel Dienste GmbH & Co. KG".into(),
        address_line1: "Hauptstraße 1".into(),
        postal_code: "10115".into(),
        city: "Berlin".into(),
        country_code: "DE".into(),
        vat_number: some("DE136695976"),
        registration_number: some("HRB 123456 B"),
        contact_name: some("Buchhaltung"),
        email: some("rechnung@beispiel.example"),
        phone: some("+49 30 1234567"),
        peppol_id: some("DE136695976"),
        peppol_scheme: some("9930"),
        iban: some("DE02120300000000202051"),
        bic: some("BYLADEM1001"),
        ..Party::default()
    }
}

/// A German small business: a tax number, and neither VAT number nor register entry.
pub(super) fn small_business() -> Party {
    Party {
        party_id: "prt_77aa".into(),
        name: "Anna Beispiel".into(),
        vat_number: None,
        registration_number: None,
        tax_number: some("27/123/45678"),
        peppol_id: some("4012345000009"),
        peppol_scheme: some("0088"),
        ..german_seller()
    }
}

/// A Swiss company, outside the EU.
pub(super) fn swiss_seller() -> Party {
    Party {
        party_id: "prt_c0de".into(),
        name: "Muster Dienste AG".into(),
        address_line1: "Bahnhofstrasse 1".into(),
        address_line2: None,
        postal_code: "8001".into(),
        city: "Zürich".into(),
        state: None,
        country_code: "CH".into(),
        vat_number: some("CHE-116.281.710 MWST"),
        registration_number: some("CHE-116.281.710"),
        phone: some("+41 44 123 45 67"),
        peppol_id: some("CHE116281710"),
        peppol_scheme: some("0183"),
        iban: some("CH9300762011623852957"),
        bic: some("UBSWCHZH80A"),
        ..dutch_seller()
    }
}

/// A Danish company.
pub(super) fn danish_seller() -> Party {
    Party {
        party_id: "prt_d4n3".into(),
        name: "Eksempel Tjenester ApS".into(),
        address_line1: "Nørregade 1".into(),
        address_line2: None,
        postal_code: "1165".into(),
        city: "København".into(),
        state: None,
        country_code: "DK".into(),
        vat_number: some("DK13585628"),
        registration_number: some("13585628"),
        phone: some("+45 12 34 56 78"),
        peppol_id: some("13585628"),
        peppol_scheme: some("0184"),
        iban: some("DK5000400440116243"),
        bic: some("NDEADKKK"),
        ..dutch_seller()
    }
}

/// A buyer of a country: a business with a reference and a Peppol id.
pub(super) fn buyer(country: &str, vat_number: Option<&str>) -> Party {
    let (name, street, postal_code, city) = match country {
        "NL" => ("Klant B.V.", "Coolsingel 40", "3011 AD", "Rotterdam"),
        "DE" => ("Kunde AG", "Marktplatz 2", "80331", "München"),
        "FR" => ("Client SARL", "12 rue de l'Église", "75001", "Paris"),
        "MC" => ("Client SAM", "1 avenue de Monte-Carlo", "98000", "Monaco"),
        "ES" => ("Cliente S.L.", "Calle Mayor 1", "35001", "Las Palmas de Gran Canaria"),
        "XI" => ("Customer Ltd", "1 Donegall Square", "BT1 5GS", "Belfast"),
        "DK" => ("Kunde A/S", "Vestergade 2", "8000", "Aarhus"),
        "JP" => ("Kokyaku K.K.", "1-1 Chiyoda", "100-0001", "Tokyo"),
        _ => ("Customer Inc.", "350 Fifth Avenue <4th & 5th>", "10118", "New York"),
    };
    Party {
        party_id: "tnt_4f9a".into(),
        name: name.into(),
        address_line1: street.into(),
        postal_code: postal_code.into(),
        city: city.into(),
        country_code: country.into(),
        vat_number: vat_number.map(str::to_owned),
        is_business: Some(true),
        email: some("ap@customer.example"),
        phone: some("+1 212 555 0100"),
        peppol_id: some("7300010000001"),
        peppol_scheme: some("0088"),
        buyer_reference: some("PO-2291"),
        ..Party::default()
    }
}

/// A person. The reference is what a person rarely has, and XRechnung always wants.
pub(super) fn consumer(country: &str) -> Party {
    Party {
        name: "Jo Martin".into(),
        is_business: Some(false),
        peppol_id: None,
        peppol_scheme: None,
        buyer_reference: some("customer 4711"),
        ..buyer(country, None)
    }
}
