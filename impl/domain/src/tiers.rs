//! Owns the prices of usage: which tiers are valid, and which lines a quantity makes.
//!
//! A metric is priced by a list of tiers that tile the quantities from 0 upwards. A quantity `q` belongs to the
//! tier with `tier_start < q ≤ tier_end`. The list is frozen per segment and stored with each line it produced,
//! so that every amount can be computed again years later.

use std::collections::HashSet;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::FieldError;
use crate::money::{Cents, MoneyError, mul_div_round};
use crate::proration::Ratio;
use crate::text::text_enum;

/// Largest unit price, in minor units, and the largest quantity, divisor or bound of a tier.
const MAX_VALUE: i64 = 1_000_000_000_000_000;
/// Decimals of a unit price.
pub const PRICE_MAX_SCALE: u32 = 12;
/// Decimals of a quantity, of a bound of a tier and of a divisor.
pub const QUANTITY_MAX_SCALE: u32 = 10;

text_enum! {
    /// How the tiers of a metric are read.
    PricingModel, "pricing model" {
        /// Each part of the quantity is priced by the tier it falls in.
        Graduated = "graduated",
        /// The whole quantity is priced by the tier in which it ends.
        Volume = "volume",
        /// Started packages of `unit_divisor` units, priced by the tier in which the quantity ends.
        Package = "package",
    }
}

text_enum! {
    /// What a priced line stands for.
    PricedKind, "kind of priced line" {
        /// Quantity times price.
        Usage = "usage",
        /// The flat fee of a tier.
        FlatFee = "flat_fee",
        /// What is missing to the minimum of the metric.
        Minimum = "minimum",
    }
}

/// One row of the price list of a metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// The quantity above which the tier applies, in units of the metric.
    pub tier_start: Decimal,
    /// The quantity up to which it applies; `None` for the last tier.
    pub tier_end: Option<Decimal>,
    /// Price of `unit_divisor` units, in minor units of the plan's currency.
    pub unit_price_cents: Decimal,
    /// How many units the price is for.
    pub unit_divisor: Decimal,
    /// What a unit is called on the invoice.
    pub unit_label: Option<String>,
    /// The same in all tiers of a metric.
    pub pricing_model: PricingModel,
    /// Billed once when the tier is used, in minor units.
    #[serde(default)]
    pub flat_fee_cents: i64,
    /// Minimum of the metric and usage month, in minor units; the same in all tiers of a metric.
    #[serde(default)]
    pub minimum_cents: i64,
}

/// One line of a priced segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedLine {
    /// What the line stands for.
    pub kind: PricedKind,
    /// Position of the tier, counted from 0 in the order of `tier_start`; `None` for the minimum.
    pub tier_index: Option<usize>,
    /// Units of the metric, packages, or 1 for a fee.
    pub quantity: Decimal,
    /// Price of `unit_divisor` of them, in minor units.
    pub unit_price_cents: Decimal,
    /// How many of the quantity the price is for: 1 for packages and fees.
    pub unit_divisor: Decimal,
    /// What the quantity counts; `None` for fees.
    pub unit_label: Option<String>,
    /// `quantity × unit price ÷ divisor`, rounded once, half away from zero.
    pub amount_cents: i64,
}

/// Why a quantity cannot be priced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// The tiers break the rules of [`validate`].
    #[error("the tiers are not valid: {0}")]
    Tiers(FieldError),
    /// A segment never sums to less than 0.
    #[error("the quantity is below zero")]
    NegativeQuantity,
    /// The amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// Checks the tiers of one metric, given in any order; returns what is wrong with which of them.
///
/// The tiers must tile the quantities: the first starts at 0, each ends where the next one starts, only the last
/// is open. All of them share pricing model, divisor and minimum. Prices and fees are not negative.
pub fn validate(tiers: &[Tier]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut order: Vec<usize> = (0..tiers.len()).collect();
    order.sort_by_key(|index| tiers.get(*index).map(|tier| tier.tier_start));
    let sorted: Vec<(usize, &Tier)> =
        order.iter().filter_map(|index| tiers.get(*index).map(|tier| (*index, tier))).collect();
    for (index, tier) in tiers.iter().enumerate() {
        check_values(index, tier, &mut errors);
    }
    let Some((_, first)) = sorted.first() else {
        return errors;
    };
    for (index, tier) in tiers.iter().enumerate() {
        let mut same = |equal: bool, field: &str| {
            if !equal {
                errors.push(FieldError::at(index, field, "must be the same in all tiers of a metric"));
            }
        };
        same(tier.pricing_model == first.pricing_model, "pricing_model");
        same(tier.unit_divisor == first.unit_divisor, "unit_divisor");
        same(tier.minimum_cents == first.minimum_cents, "minimum_cents");
    }
    check_tiling(&sorted, &mut errors);
    let mut seen = HashSet::new();
    errors.retain(|error| seen.insert((error.index, error.field.clone())));
    errors.sort_by_key(|error| error.index);
    errors
}

fn check_values(index: usize, tier: &Tier, errors: &mut Vec<FieldError>) {
    let mut refuse = |bad: bool, field: &str, message: &str| {
        if bad {
            errors.push(FieldError::at(index, field, message));
        }
    };
    let max = Decimal::from(MAX_VALUE);
    let too_fine = |value: Decimal, scale: u32| scale < value.normalize().scale();
    refuse(
        tier.tier_start.is_sign_negative() && !tier.tier_start.is_zero(),
        "tier_start",
        "must be 0 or more",
    );
    refuse(max < tier.tier_start, "tier_start", "is too large");
    refuse(too_fine(tier.tier_start, QUANTITY_MAX_SCALE), "tier_start", "has more than 10 decimals");
    if let Some(end) = tier.tier_end {
        refuse(end <= tier.tier_start, "tier_end", "must be greater than tier_start");
        refuse(max < end, "tier_end", "is too large");
        refuse(too_fine(end, QUANTITY_MAX_SCALE), "tier_end", "has more than 10 decimals");
    }
    let price = tier.unit_price_cents;
    refuse(price.is_sign_negative() && !price.is_zero(), "unit_price_cents", "must be 0 or more");
    refuse(max < price, "unit_price_cents", "is too large");
    refuse(too_fine(price, PRICE_MAX_SCALE), "unit_price_cents", "has more than 12 decimals");
    refuse(tier.unit_divisor <= Decimal::ZERO, "unit_divisor", "must be greater than 0");
    refuse(max < tier.unit_divisor, "unit_divisor", "is too large");
    refuse(too_fine(tier.unit_divisor, QUANTITY_MAX_SCALE), "unit_divisor", "has more than 10 decimals");
    refuse(tier.flat_fee_cents < 0, "flat_fee_cents", "must be 0 or more");
    refuse(MAX_VALUE < tier.flat_fee_cents, "flat_fee_cents", "is too large");
    refuse(tier.minimum_cents < 0, "minimum_cents", "must be 0 or more");
    refuse(MAX_VALUE < tier.minimum_cents, "minimum_cents", "is too large");
}

fn check_tiling(sorted: &[(usize, &Tier)], errors: &mut Vec<FieldError>) {
    let mut expected = Decimal::ZERO;
    let mut open = false;
    for (position, (index, tier)) in sorted.iter().enumerate() {
        if open {
            errors.push(FieldError::at(*index, "tier_start", "overlaps a tier without an end"));
            continue;
        }
        if tier.tier_start != expected {
            let message = match (position, tier.tier_start < expected) {
                (0, _) => "the first tier must start at 0".to_owned(),
                (_, true) => format!("overlaps the previous tier, which ends at {expected}"),
                (_, false) => format!("leaves a gap after the previous tier, which ends at {expected}"),
            };
            errors.push(FieldError::at(*index, "tier_start", message));
        }
        match tier.tier_end {
            Some(end) => expected = end,
            None => open = true,
        }
    }
    if let (false, Some((index, _))) = (open, sorted.last()) {
        errors.push(FieldError::at(*index, "tier_end", "the last tier must have no end"));
    }
}

/// Prices the quantity of one metric in one segment.
///
/// `share` is the segment's share of its usage month, by seconds; only the minimum is prorated by it. Lines come
/// in the order of the tiers, each usage line followed by the flat fee of its tier, the minimum last. A segment
/// without usage makes at most the line of the minimum.
///
/// # Errors
/// [`PriceError::Tiers`] when the tiers are not valid, [`PriceError::NegativeQuantity`], and
/// [`PriceError::Money`] when an amount does not fit.
pub fn price(tiers: &[Tier], quantity: Decimal, share: Ratio) -> Result<Vec<PricedLine>, PriceError> {
    if let Some(error) = validate(tiers).into_iter().next() {
        return Err(PriceError::Tiers(error));
    }
    if quantity < Decimal::ZERO {
        return Err(PriceError::NegativeQuantity);
    }
    let mut sorted: Vec<&Tier> = tiers.iter().collect();
    sorted.sort_by_key(|tier| tier.tier_start);
    let mut lines = Vec::new();
    for (index, tier) in sorted.iter().enumerate() {
        if quantity <= tier.tier_start {
            break;
        }
        let ends_here = tier.tier_end.is_none_or(|end| quantity <= end);
        if let Some(line) = usage_line(index, tier, quantity, ends_here)? {
            lines.push(line);
        }
        let fee_applies = ends_here || tier.pricing_model != PricingModel::Volume;
        if fee_applies && tier.flat_fee_cents != 0 {
            lines.push(fee_line(PricedKind::FlatFee, Some(index), tier.flat_fee_cents));
        }
    }
    if let Some(first) = sorted.first() {
        let missing = share.of(Cents(first.minimum_cents))?.sub(total(&lines)?)?;
        if 0 < missing.0 {
            lines.push(fee_line(PricedKind::Minimum, None, missing.0));
        }
    }
    Ok(lines)
}

fn usage_line(
    index: usize,
    tier: &Tier,
    quantity: Decimal,
    ends_here: bool,
) -> Result<Option<PricedLine>, MoneyError> {
    let (quantity, unit_divisor) = match tier.pricing_model {
        PricingModel::Graduated => {
            let upper = tier.tier_end.map_or(quantity, |end| end.min(quantity));
            (upper.checked_sub(tier.tier_start).ok_or(MoneyError::Overflow)?, tier.unit_divisor)
        }
        PricingModel::Volume | PricingModel::Package if !ends_here => return Ok(None),
        PricingModel::Volume => (quantity, tier.unit_divisor),
        PricingModel::Package => (packages(quantity, tier.unit_divisor)?, Decimal::ONE),
    };
    let amount_cents = mul_div_round(quantity, tier.unit_price_cents, unit_divisor)?;
    Ok(Some(PricedLine {
        kind: PricedKind::Usage,
        tier_index: Some(index),
        quantity,
        unit_price_cents: tier.unit_price_cents,
        unit_divisor,
        unit_label: tier.unit_label.clone(),
        amount_cents,
    }))
}

/// Started packages: the quotient rounded up, found without the rounding of a decimal division.
fn packages(quantity: Decimal, size: Decimal) -> Result<Decimal, MoneyError> {
    let rest = quantity.checked_rem(size).ok_or(MoneyError::Divisor)?;
    let full =
        quantity.checked_sub(rest).and_then(|whole| whole.checked_div(size)).ok_or(MoneyError::Overflow)?;
    if rest.is_zero() { Ok(full) } else { full.checked_add(Decimal::ONE).ok_or(MoneyError::Overflow) }
}

fn fee_line(kind: PricedKind, tier_index: Option<usize>, amount_cents: i64) -> PricedLine {
    PricedLine {
        kind,
        tier_index,
        quantity: Decimal::ONE,
        unit_price_cents: Decimal::from(amount_cents),
        unit_divisor: Decimal::ONE,
        unit_label: None,
        amount_cents,
    }
}

/// The sum of the lines.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn total(lines: &[PricedLine]) -> Result<Cents, MoneyError> {
    Cents::sum(lines.iter().map(|line| Cents(line.amount_cents)))
}

/// What late usage adds to (or takes from) a segment that was billed: the price of all usage known now, less the
/// price that was billed, with the tiers of the segment.
///
/// # Errors
/// As [`price`].
pub fn correction(
    tiers: &[Tier],
    quantity_now: Decimal,
    share: Ratio,
    billed: Cents,
) -> Result<Cents, PriceError> {
    Ok(total(&price(tiers, quantity_now, share)?)?.sub(billed)?)
}

#[cfg(test)]
mod tests;
