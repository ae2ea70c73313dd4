//! Owns the VAT decision: which category and rate a line has, and why.
//!
//! The order is fixed. First the place of the buyer, then the place of the seller, then exemptions, then the three
//! cases inside the EU: the same country, reverse charge, and the rest. A request of a line (its own rate, or a
//! category set by a person) is checked against the decision, never the other way round.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::tax::rates::Rates;
use crate::tax::territory::{EuCountry, Territory, territory};
use crate::tax::vat_number::{VatNumber, VatStatus};
use crate::tax::{Category, Scheme};
use crate::text::text_enum;

mod error;
mod line;

pub use error::TaxError;
pub use line::{LineRequest, Request, mixes_outside_scope};

/// The note of rule 1.
pub const NOTE_EXPORT: &str = "Export outside the EU - VAT not applicable";
/// The note of rule 2, and the label of every line without tax but reverse charge.
pub const NO_VAT: &str = "No VAT";
/// The note of rule 4.
pub const NOTE_REVERSE_CHARGE: &str = "Reverse charge - Art. 196 EU VAT Directive";
/// The reason of an exemption whose text nobody stated.
pub const REASON_EXEMPT: &str = "Exempt from VAT";

/// The seller, as its settings say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seller {
    /// Country code of the address.
    pub country_code: String,
    /// Postal code of the address; may be empty.
    pub postal_code: String,
    /// VAT number (BT-31).
    pub vat_number: Option<String>,
    /// Other tax registration (BT-32).
    pub tax_number: Option<String>,
    /// Why a seller without VAT number charges none.
    pub small_business_note: Option<String>,
    /// Whether tax on consumers in other states is declared there, through the One Stop Shop.
    pub oss_registered: bool,
}

/// The buyer, as its billing profile says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buyer {
    /// Country code of the address.
    pub country_code: String,
    /// Postal code of the address; may be empty.
    pub postal_code: String,
    /// Whether it buys as a business.
    pub is_business: bool,
    /// VAT number (BT-48).
    pub vat_number: Option<String>,
    /// What the register last said about the number.
    pub vat_status: VatStatus,
    /// Whether it is exempt.
    pub tax_exempt: bool,
    /// The stated reason of the exemption.
    pub tax_exempt_reason: Option<String>,
}

text_enum! {
    /// Which rule decided.
    Rule, "tax rule" {
        /// The buyer is outside the EU.
        BuyerOutside = "buyer_outside",
        /// The seller is outside the EU.
        SellerOutside = "seller_outside",
        /// The buyer is exempt.
        TaxExempt = "tax_exempt",
        /// The seller has no VAT number.
        SmallBusiness = "small_business",
        /// Both are in the same country.
        Domestic = "domestic",
        /// A business in another EU country.
        ReverseCharge = "reverse_charge",
        /// A buyer in another EU country, taxed at the seller's rate.
        SellerRate = "seller_rate",
        /// A buyer in another EU country, taxed there through the One Stop Shop.
        BuyerRate = "buyer_rate",
        /// A category that a person set on the line.
        Requested = "requested",
    }
}

/// How a line is taxed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// VAT category.
    pub category: Category,
    /// Percent; 0 for every category but `S`. For `O` no rate is printed ([`Decision::printed_rate`]).
    pub rate: Decimal,
    /// What stands beside the amount: `VAT 21.00%`, `VAT 0% (Reverse Charge)`, `No VAT`.
    pub label: String,
    /// The note on the document.
    pub note: Option<String>,
    /// Code of the exemption (BT-121).
    pub exemption_code: Option<String>,
    /// Reason of the exemption (BT-120).
    pub exemption_reason: Option<String>,
    /// The state to which tax of ours is due; `None` when none is.
    pub taxing_country: Option<EuCountry>,
    /// Under which return it is declared.
    pub scheme: Scheme,
    /// Which rule decided.
    pub rule: Rule,
    /// The day whose rates apply.
    pub tax_point: NaiveDate,
}

impl Decision {
    /// The rate as it is stored and printed: none for lines outside the scope of VAT.
    pub fn printed_rate(&self) -> Option<Decimal> {
        (self.category != Category::OutsideScope).then_some(self.rate)
    }

    fn taxed(rate: Decimal, country: EuCountry, scheme: Scheme, rule: Rule, tax_point: NaiveDate) -> Self {
        Self {
            category: Category::Standard,
            rate,
            label: format!("VAT {rate:.2}%"),
            note: None,
            exemption_code: None,
            exemption_reason: None,
            taxing_country: Some(country),
            scheme,
            rule,
            tax_point,
        }
    }

    /// A decision without tax: code, reason and label follow from the category.
    fn untaxed(category: Category, rule: Rule, tax_point: NaiveDate) -> Self {
        let (label, code, reason) = match category {
            Category::ReverseCharge => {
                ("VAT 0% (Reverse Charge)", Some("VATEX-EU-AE"), Some("Reverse charge"))
            }
            Category::Export => (NO_VAT, Some("VATEX-EU-G"), Some(NOTE_EXPORT)),
            Category::OutsideScope => (NO_VAT, Some("VATEX-EU-O"), Some("Not subject to VAT")),
            Category::Exempt => (NO_VAT, None, Some(REASON_EXEMPT)),
            _ => ("VAT 0.00%", None, None),
        };
        Self {
            category,
            rate: Decimal::ZERO,
            label: label.to_owned(),
            note: (category == Category::ReverseCharge).then(|| NOTE_REVERSE_CHARGE.to_owned()),
            exemption_code: code.map(str::to_owned),
            exemption_reason: reason.map(str::to_owned),
            taxing_country: None,
            scheme: Scheme::None,
            rule,
            tax_point,
        }
    }

    fn with_note(self, note: &str) -> Self {
        Self { note: Some(note.to_owned()), ..self }
    }

    /// An exemption with its stated text.
    fn exempt(reason: &str, rule: Rule, tax_point: NaiveDate) -> Self {
        let exempt = Self::untaxed(Category::Exempt, rule, tax_point).with_note(reason);
        Self { exemption_reason: Some(reason.to_owned()), ..exempt }
    }
}

/// How a document is taxed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentDecision {
    /// One decision per line, in their order.
    pub lines: Vec<Decision>,
}

impl DocumentDecision {
    /// Whether the document is outside the scope of VAT: it then holds no VAT numbers (BT-31, BT-48) and no rates.
    pub fn is_outside_scope(&self) -> bool {
        self.lines.iter().any(|line| line.category == Category::OutsideScope)
    }
}

/// Both parties with their places, looked up once.
struct Parties<'a> {
    seller: &'a Seller,
    seller_place: Territory,
    buyer: &'a Buyer,
    buyer_place: Territory,
    rates: &'a Rates,
}

/// Decides how each line of a document is taxed.
///
/// # Errors
/// [`TaxError`], which names the fields that must change.
pub fn decide(
    seller: &Seller,
    buyer: &Buyer,
    lines: &[LineRequest],
    rates: &Rates,
) -> Result<DocumentDecision, TaxError> {
    let parties = Parties::new(seller, buyer, rates)?;
    let decisions = lines
        .iter()
        .enumerate()
        .map(|(index, line)| line::decide_line(&parties, index, line))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(line) = line::first_mixed(decisions.iter().map(|decision| decision.category)) {
        return Err(TaxError::OutsideScopeMixed { line });
    }
    Ok(DocumentDecision { lines: decisions })
}

/// Decides for one tax point, without any request of a line.
///
/// # Errors
/// [`TaxError`].
pub fn decide_at(
    seller: &Seller,
    buyer: &Buyer,
    day: NaiveDate,
    rates: &Rates,
) -> Result<Decision, TaxError> {
    Parties::new(seller, buyer, rates)?.decide(day)
}

impl<'a> Parties<'a> {
    fn new(seller: &'a Seller, buyer: &'a Buyer, rates: &'a Rates) -> Result<Self, TaxError> {
        let place = |field: &'static str, code: &str, postal_code: &str| {
            territory(code, postal_code)
                .ok_or_else(|| TaxError::UnknownCountry { field, code: code.to_owned() })
        };
        Ok(Self {
            seller,
            seller_place: place("seller_country_code", &seller.country_code, &seller.postal_code)?,
            buyer,
            buyer_place: place("country_code", &buyer.country_code, &buyer.postal_code)?,
            rates,
        })
    }

    /// The published order of the rules.
    fn decide(&self, day: NaiveDate) -> Result<Decision, TaxError> {
        let Some(buyer_country) = self.buyer_place.eu() else {
            let category = match self.seller_place {
                Territory::Eu(_) if self.seller_vat_number().is_some() => Category::Export,
                _ => Category::OutsideScope,
            };
            return Ok(Decision::untaxed(category, Rule::BuyerOutside, day).with_note(NOTE_EXPORT));
        };
        let Some(seller_country) = self.seller_place.eu() else {
            return Ok(Decision::untaxed(Category::OutsideScope, Rule::SellerOutside, day).with_note(NO_VAT));
        };
        self.check_seller_identified()?;
        if self.buyer.tax_exempt {
            let reason = stated(&self.buyer.tax_exempt_reason).unwrap_or(REASON_EXEMPT);
            return Ok(Decision::exempt(reason, Rule::TaxExempt, day));
        }
        if self.seller_vat_number().is_none() {
            let note = stated(&self.seller.small_business_note).ok_or(TaxError::SmallBusinessNoteMissing)?;
            return Ok(Decision::exempt(note, Rule::SmallBusiness, day));
        }
        if seller_country == buyer_country {
            return self.taxed(seller_country, Scheme::Domestic, Rule::Domestic, day);
        }
        if self.reverse_charge_obstacles().is_empty() {
            return Ok(Decision::untaxed(Category::ReverseCharge, Rule::ReverseCharge, day));
        }
        if self.seller.oss_registered {
            self.taxed(buyer_country, Scheme::Oss, Rule::BuyerRate, day)
        } else {
            self.taxed(seller_country, Scheme::Domestic, Rule::SellerRate, day)
        }
    }

    fn taxed(
        &self,
        country: EuCountry,
        scheme: Scheme,
        rule: Rule,
        day: NaiveDate,
    ) -> Result<Decision, TaxError> {
        let rate = self.rates.standard(country, day).ok_or(TaxError::NoRate { country, day })?;
        Ok(Decision::taxed(rate, country, scheme, rule, day))
    }

    fn seller_vat_number(&self) -> Option<&str> {
        stated(&self.seller.vat_number)
    }

    /// A document with VAT categories must identify its seller to a tax office, by BT-31 or BT-32.
    fn check_seller_identified(&self) -> Result<(), TaxError> {
        if self.seller_vat_number().is_none() && stated(&self.seller.tax_number).is_none() {
            return Err(TaxError::SellerNumberMissing);
        }
        Ok(())
    }

    /// What stands in the way of reverse charge, by field; empty when nothing does.
    ///
    /// A number that was not checked, or whose register is down, does not stand in the way; one that the register
    /// does not know does.
    fn reverse_charge_obstacles(&self) -> Vec<&'static str> {
        let mut fields = Vec::new();
        if self.seller_vat_number().is_none() {
            fields.push("seller_vat_number");
        }
        if !self.buyer.is_business {
            fields.push("is_business");
        }
        let number = self.buyer.vat_number.as_deref().and_then(|text| VatNumber::parse(text).ok());
        let country = number.and_then(|number| number.country());
        let fits = country.is_some() && country == self.buyer_place.eu();
        if !fits || self.buyer.vat_status == VatStatus::Invalid {
            fields.push("vat_number");
        }
        if self.buyer_place.eu().is_some() && self.buyer_place == self.seller_place {
            fields.push("country_code");
        }
        fields
    }
}

/// A text that says something.
fn stated(text: &Option<String>) -> Option<&str> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
