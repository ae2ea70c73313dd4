//! Buyer and seller: which numbers name them, and where they are reached.

use en16931::Identifier;
use en16931::invoice::{Code, Contact, Party as Model, PostalAddress};
use scaicontrol_domain::tax::{VatNumber, territory};

use super::{Mapping, compact, one_line};
use crate::document::Party;

/// The scheme of mail addresses in the EAS list.
const MAIL: &str = "EM";

/// Schemes of trade registers (ISO 6523), by country and the number of digits that a number of it has. National rules
/// want some of them (NL-R-003, DK-R-014, IS-R-002); a number of another form is written without scheme.
const REGISTERS: &[(&str, usize, &str)] = &[
    ("NL", 8, "0106"),
    ("NL", 20, "0190"),
    ("DK", 8, "0184"),
    ("IS", 10, "0196"),
    ("SE", 10, "0007"),
    ("FR", 9, "0002"),
    ("FR", 14, "0009"),
];

impl Mapping<'_> {
    pub(super) fn seller(&self) -> Model {
        let seller = &self.document.seller;
        let legal_registration = one_line(seller.registration_number.as_deref())
            .map(|number| registration(&seller.country_code, &number));
        let vat_identifier =
            seller.vat_number.as_deref().filter(|_| !self.outside_scope).and_then(vat_number);
        // BR-CO-26 wants one of the three; the partner's id names it when nothing official does.
        let named = legal_registration.is_some() || vat_identifier.is_some();
        let identifiers = one_line(Some(&seller.party_id)).filter(|_| !named).map(Identifier::new);
        Model {
            identifiers: identifiers.into_iter().collect(),
            legal_registration,
            vat_identifier,
            tax_registration: one_line(seller.tax_number.as_deref()),
            electronic_address: electronic_address(seller, true),
            contact: Contact {
                name: one_line(seller.contact_name.as_deref()),
                phone: one_line(seller.phone.as_deref()),
                email: compact(seller.email.as_deref().unwrap_or_default()),
            },
            ..common(seller)
        }
    }

    pub(super) fn buyer(&self) -> Model {
        let buyer = &self.document.buyer;
        let is_business = buyer.is_business != Some(false);
        let number = buyer.vat_number.as_deref().filter(|_| is_business && !self.outside_scope);
        Model {
            vat_identifier: number
                .and_then(vat_number)
                .filter(|number| has_prefix(number) || is_inside(buyer)),
            electronic_address: electronic_address(buyer, is_business),
            contact: Contact {
                name: None,
                phone: one_line(buyer.phone.as_deref()),
                email: compact(buyer.email.as_deref().unwrap_or_default()),
            },
            ..common(buyer)
        }
    }
}

/// BT-10: the Leitweg-ID, else the buyer's own reference.
pub(super) fn reference(buyer: &Party) -> Option<String> {
    one_line(buyer.leitweg_id.as_deref()).or_else(|| one_line(buyer.buyer_reference.as_deref()))
}

fn common(party: &Party) -> Model {
    Model {
        name: one_line(Some(&party.name)),
        address: PostalAddress {
            line1: one_line(Some(&party.address_line1)),
            line2: one_line(party.address_line2.as_deref()),
            line3: None,
            city: one_line(Some(&party.city)),
            post_code: one_line(Some(&party.postal_code)),
            subdivision: one_line(party.state.as_deref()),
            country: one_line(Some(&party.country_code)).map(Code::new),
        },
        ..Model::default()
    }
}

/// The Peppol id of a business, else the mail address.
fn electronic_address(party: &Party, may_be_in_peppol: bool) -> Option<Identifier> {
    let peppol = party.peppol_id.as_deref().filter(|_| may_be_in_peppol).and_then(compact);
    let scheme = party.peppol_scheme.as_deref().and_then(compact);
    match peppol.zip(scheme) {
        Some((id, scheme)) => Some(Identifier::schemed(id, scheme)),
        None => party.email.as_deref().and_then(compact).map(|mail| Identifier::schemed(mail, MAIL)),
    }
}

fn registration(country: &str, number: &str) -> Identifier {
    let digits: String = number.chars().filter(|c| !matches!(c, ' ' | '-' | '.')).collect();
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let scheme = REGISTERS.iter().find(|(of, length, _)| *of == country && *length == digits.len());
    match scheme.filter(|_| is_number) {
        Some((_, _, scheme)) => Identifier::schemed(digits, *scheme),
        None => Identifier::new(number),
    }
}

/// The canonical form of an EU number, else what was stated, without space.
fn vat_number(stated: &str) -> Option<String> {
    match VatNumber::parse(stated) {
        Ok(number) => Some(number.as_str().to_owned()),
        Err(_) => compact(stated),
    }
}

/// Whether a number starts with the letters of a country, as BR-CO-09 wants.
fn has_prefix(number: &str) -> bool {
    number.bytes().take(2).filter(u8::is_ascii_uppercase).count() == 2
}

fn is_inside(party: &Party) -> bool {
    territory(&party.country_code, &party.postal_code).is_some_and(|place| place.eu().is_some())
}
