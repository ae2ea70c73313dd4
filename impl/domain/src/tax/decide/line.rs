//! Owns what a line may ask for: its own rate, a category set by a person, or the tax of the line it reverses.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Decision, Parties, Rule, TaxError, stated};
use crate::tax::{Category, Scheme};

/// A line, as far as its tax goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRequest {
    /// The day whose rates apply: the end of a segment for usage, the day of a charge, the issue date for what is
    /// billed in advance.
    pub tax_point: NaiveDate,
    /// What the line asks for.
    pub request: Request,
}

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Nothing: the decision of the document.
    Auto,
    /// A rate in percent, used only where the decision is `S`; it must be a legal one.
    Rate(Decimal),
    /// A category that wins over the decision, with a rate for `S` (without one: the standard rate).
    Category(Category, Option<Decimal>),
    /// A credit line: the decision of the line that it reverses, unchanged.
    Reverses(Box<Decision>),
}

impl Request {
    /// The request that the two optional fields of a line make.
    pub fn of(rate: Option<Decimal>, category: Option<Category>) -> Self {
        match (rate, category) {
            (rate, Some(category)) => Self::Category(category, rate),
            (Some(rate), None) => Self::Rate(rate),
            (None, None) => Self::Auto,
        }
    }
}

pub(super) fn decide_line(
    parties: &Parties<'_>,
    line: usize,
    request: &LineRequest,
) -> Result<Decision, TaxError> {
    let day = request.tax_point;
    match &request.request {
        Request::Auto => parties.decide(day),
        Request::Reverses(decision) => Ok(Decision::clone(decision)),
        Request::Rate(rate) => {
            let decision = parties.decide(day)?;
            match (decision.category, decision.taxing_country) {
                (Category::Standard, Some(country)) => {
                    check_rate(parties, line, Some(*rate), country, day)?;
                    Ok(Decision::taxed(*rate, country, decision.scheme, decision.rule, day))
                }
                _ => Ok(decision),
            }
        }
        Request::Category(category, rate) => requested(parties, line, *category, *rate, day),
    }
}

/// A category that a person set.
fn requested(
    parties: &Parties<'_>,
    line: usize,
    category: Category,
    rate: Option<Decimal>,
    day: NaiveDate,
) -> Result<Decision, TaxError> {
    if category == Category::IntraCommunity {
        return Err(TaxError::CategoryRefused { line, category });
    }
    if category == Category::Standard {
        return requested_standard(parties, line, rate, day);
    }
    if let Some(rate) = rate.filter(|rate| !rate.is_zero()) {
        return Err(TaxError::RateDoesNotFit { line, category, rate });
    }
    match category {
        Category::ReverseCharge => {
            let fields = parties.reverse_charge_obstacles();
            if fields == ["seller_vat_number"] {
                return Err(TaxError::SellerVatNumberMissing { line, category });
            }
            if !fields.is_empty() {
                return Err(TaxError::ReverseChargeRefused { line, fields });
            }
        }
        Category::Export if parties.seller_vat_number().is_none() => {
            return Err(TaxError::SellerVatNumberMissing { line, category });
        }
        Category::Exempt | Category::ZeroRated => parties.check_seller_identified()?,
        _ => {}
    }
    if category == Category::Exempt {
        let by_profile = parties.buyer.tax_exempt.then(|| stated(&parties.buyer.tax_exempt_reason)).flatten();
        let by_seller = || match parties.seller_vat_number() {
            None => stated(&parties.seller.small_business_note),
            Some(_) => None,
        };
        let reason = by_profile.or_else(by_seller).unwrap_or(super::REASON_EXEMPT);
        return Ok(Decision::exempt(reason, Rule::Requested, day));
    }
    let decision = Decision::untaxed(category, Rule::Requested, day);
    Ok(match category {
        Category::Export => decision.with_note(super::NOTE_EXPORT),
        Category::OutsideScope => decision.with_note(super::NO_VAT),
        _ => decision,
    })
}

/// `S` by request: taxed where the decision taxes, else by the seller's state.
fn requested_standard(
    parties: &Parties<'_>,
    line: usize,
    rate: Option<Decimal>,
    day: NaiveDate,
) -> Result<Decision, TaxError> {
    let category = Category::Standard;
    let Some(seller_country) = parties.seller_place.eu() else {
        return Err(TaxError::CategoryRefused { line, category });
    };
    if parties.seller_vat_number().is_none() {
        return Err(TaxError::SellerVatNumberMissing { line, category });
    }
    let decision = parties.decide(day)?;
    let (country, scheme) = match decision.taxing_country {
        Some(country) => (country, decision.scheme),
        None => (seller_country, Scheme::Domestic),
    };
    check_rate(parties, line, rate, country, day)?;
    let standard = parties.taxed(country, scheme, Rule::Requested, day)?;
    Ok(match rate {
        Some(rate) => Decision::taxed(rate, country, scheme, Rule::Requested, day),
        None => standard,
    })
}

fn check_rate(
    parties: &Parties<'_>,
    line: usize,
    rate: Option<Decimal>,
    country: crate::tax::EuCountry,
    day: NaiveDate,
) -> Result<(), TaxError> {
    let Some(rate) = rate else {
        return Ok(());
    };
    if rate <= Decimal::ZERO {
        return Err(TaxError::RateDoesNotFit { line, category: Category::Standard, rate });
    }
    if !parties.rates.is_legal(country, day, rate) {
        return Err(TaxError::IllegalRate { line, country, rate, day });
    }
    Ok(())
}

/// Whether lines of category `O` and of others would stand on one document; credit lines are then issued as
/// credit notes of their own.
pub fn mixes_outside_scope(categories: impl IntoIterator<Item = Category>) -> bool {
    first_mixed(categories).is_some()
}

/// The first line that is outside the scope while the first line is not, or the reverse.
pub(super) fn first_mixed(categories: impl IntoIterator<Item = Category>) -> Option<usize> {
    let mut categories =
        categories.into_iter().map(|category| category == Category::OutsideScope).enumerate();
    let (_, first) = categories.next()?;
    categories.find(|(_, outside)| *outside != first).map(|(line, _)| line)
}
