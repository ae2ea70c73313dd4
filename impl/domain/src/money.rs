//! Owns amounts, currencies and the two ways in which money is divided: rounding and allocation.
//!
//! An amount is an `i64` of minor units (ISO 4217: 1 is one cent, or one yen). No other module rounds, adds or
//! splits money on its own terms: rounding is half away from zero, an overflow is an error and never a wrap,
//! and a split always sums to what was split.

use std::fmt;
use std::str::FromStr;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use crate::wide;

/// Why an amount or a currency is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit 64 bits of minor units (or 28 digits, for a quantity).
    #[error("the amount is too large")]
    Overflow,
    /// A division by zero, or by a divisor that makes no sense.
    #[error("the divisor must be greater than zero")]
    Divisor,
    /// There is nothing to allocate to, or the weights cancel out.
    #[error("the amount cannot be split: its parts have no weight")]
    NoWeight,
    /// Not an active code of ISO 4217.
    #[error("unknown currency {0:?}")]
    UnknownCurrency(String),
    /// The currency has three or more decimals, or none are defined.
    #[error("currency {0} is not supported: only currencies with 0 or 2 decimals are")]
    UnsupportedCurrency(String),
}

/// An amount in minor units of its currency; negative for credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cents(pub i64);

#[expect(clippy::should_implement_trait, reason = "operators cannot fail; an amount that overflows must")]
impl Cents {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn add(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).map(Self).ok_or(MoneyError::Overflow)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn sub(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_sub(other.0).map(Self).ok_or(MoneyError::Overflow)
    }

    /// The same amount with the other sign.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] for `i64::MIN`.
    pub fn neg(self) -> Result<Self, MoneyError> {
        self.0.checked_neg().map(Self).ok_or(MoneyError::Overflow)
    }

    /// The amount times a whole number of pieces.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn times(self, pieces: i64) -> Result<Self, MoneyError> {
        self.0.checked_mul(pieces).map(Self).ok_or(MoneyError::Overflow)
    }

    /// `amount × multiplier`, rounded once, half away from zero.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn scale(self, multiplier: Decimal) -> Result<Self, MoneyError> {
        mul_div_round(Decimal::from(self.0), multiplier, Decimal::ONE).map(Self)
    }

    /// The sum of all amounts.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, MoneyError> {
        amounts.into_iter().try_fold(Self::ZERO, Self::add)
    }
}

impl From<i64> for Cents {
    fn from(value: i64) -> Self {
        Self(value)
    }
}

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Rounds to a whole number of minor units, half away from zero.
///
/// # Errors
/// [`MoneyError::Overflow`] when the result does not fit an `i64`.
pub fn round_half_away(value: Decimal) -> Result<i64, MoneyError> {
    value
        .round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero)
        .to_i64()
        .ok_or(MoneyError::Overflow)
}

/// `a × b ÷ divisor` without any intermediate rounding, then rounded once, half away from zero.
///
/// # Errors
/// [`MoneyError::Divisor`] for a divisor of zero, [`MoneyError::Overflow`] when the result does not fit.
pub fn mul_div_round(a: Decimal, b: Decimal, divisor: Decimal) -> Result<i64, MoneyError> {
    if divisor.is_zero() {
        return Err(MoneyError::Divisor);
    }
    wide::mul_div_round(a, b, divisor).ok_or(MoneyError::Overflow)
}

/// `amount × numerator ÷ denominator` of whole numbers, rounded once, half away from zero.
///
/// # Errors
/// [`MoneyError::Divisor`] for a denominator of zero, [`MoneyError::Overflow`] when the result does not fit.
pub fn mul_ratio_round(amount: i64, numerator: i64, denominator: i64) -> Result<i64, MoneyError> {
    mul_div_round(Decimal::from(amount), Decimal::from(numerator), Decimal::from(denominator))
}

/// Splits `total` in proportion to `weights` by the largest remainder; the parts sum to `total` exactly.
///
/// Equal remainders go to the earlier part. `allocate(-t, w)` is the negative of `allocate(t, w)`, so that a
/// credit undoes its invoice part by part. When all weights are 0 the parts are equal.
///
/// # Errors
/// [`MoneyError::NoWeight`] when there are no parts or positive and negative weights cancel out (unless `total`
/// is 0), [`MoneyError::Overflow`] when a part does not fit.
pub fn allocate(total: i64, weights: &[i64]) -> Result<Vec<i64>, MoneyError> {
    if total == 0 {
        return Ok(vec![0; weights.len()]);
    }
    if weights.is_empty() {
        return Err(MoneyError::NoWeight);
    }
    let equal: Vec<i64>;
    let weights = if weights.iter().all(|weight| *weight == 0) {
        equal = vec![1; weights.len()];
        &equal
    } else {
        weights
    };
    let mut denominator: i128 = 0;
    for weight in weights {
        denominator = denominator.checked_add(i128::from(*weight)).ok_or(MoneyError::Overflow)?;
    }
    if denominator == 0 {
        return Err(MoneyError::NoWeight);
    }
    // |total × weight| < 2^126: exact.
    let sign = denominator.signum();
    let shares: Vec<i128> = weights
        .iter()
        .map(|weight| {
            i128::from(total)
                .checked_mul(i128::from(*weight))
                .and_then(|share| share.checked_mul(sign))
                .ok_or(MoneyError::Overflow)
        })
        .collect::<Result<_, _>>()?;
    allocate_shares(total, &shares, denominator.checked_abs().ok_or(MoneyError::Overflow)?)
}

/// Rounds the exact shares `shares[i] ÷ denominator` to whole numbers that sum to `total`, by the largest
/// remainder. `total` is the sum of the shares, rounded in either direction; shares may differ in sign.
///
/// # Errors
/// [`MoneyError::NoWeight`] when `total` is not the rounded sum of the shares, [`MoneyError::Divisor`] for a
/// denominator that is not positive, [`MoneyError::Overflow`] when a part does not fit.
pub fn allocate_shares(total: i64, shares: &[i128], denominator: i128) -> Result<Vec<i64>, MoneyError> {
    if denominator <= 0 {
        return Err(MoneyError::Divisor);
    }
    // Negative totals are allocated as positive ones and turned back: the result mirrors exactly.
    let first = shares.iter().find(|share| **share != 0).copied().unwrap_or(0);
    let mirrored = total < 0 || (total == 0 && first < 0);
    let sign: i128 = if mirrored { -1 } else { 1 };
    let mut parts = Vec::with_capacity(shares.len());
    let mut remainders = Vec::with_capacity(shares.len());
    let mut missing = i128::from(total).checked_mul(sign).ok_or(MoneyError::Overflow)?;
    for (index, share) in shares.iter().enumerate() {
        let share = share.checked_mul(sign).ok_or(MoneyError::Overflow)?;
        let part = share.checked_div_euclid(denominator).ok_or(MoneyError::Divisor)?;
        let remainder = share.checked_rem_euclid(denominator).ok_or(MoneyError::Divisor)?;
        missing = missing.checked_sub(part).ok_or(MoneyError::Overflow)?;
        parts.push(part);
        remainders.push((remainder, index));
    }
    let missing = usize::try_from(missing).map_err(|_| MoneyError::NoWeight)?;
    if missing > parts.len() {
        return Err(MoneyError::NoWeight);
    }
    // A stable sort: among equal remainders the earlier part comes first.
    remainders.sort_by_key(|(remainder, _)| std::cmp::Reverse(*remainder));
    for (_, index) in remainders.into_iter().take(missing) {
        if let Some(part) = parts.get_mut(index) {
            *part = part.checked_add(1).ok_or(MoneyError::Overflow)?;
        }
    }
    parts
        .into_iter()
        .map(|part| {
            part.checked_mul(sign).and_then(|part| i64::try_from(part).ok()).ok_or(MoneyError::Overflow)
        })
        .collect()
}

/// A currency of ISO 4217 that we bill in: one with 0 or 2 decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// The euro: the currency of most VAT returns, and of the reference rates.
    pub const EUR: Self = Self(iso_currency::Currency::EUR);

    /// Parses an upper-case code of three letters.
    ///
    /// # Errors
    /// [`MoneyError::UnknownCurrency`] for a code that ISO 4217 does not list,
    /// [`MoneyError::UnsupportedCurrency`] for one with three decimals, or without minor units (gold, tests).
    pub fn parse(code: &str) -> Result<Self, MoneyError> {
        let unknown = || MoneyError::UnknownCurrency(code.chars().take(8).collect());
        if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(unknown());
        }
        let currency = iso_currency::Currency::from_code(code).ok_or_else(unknown)?;
        match currency.exponent() {
            Some(0..=2) if !currency.is_special() => Ok(Self(currency)),
            _ => Err(MoneyError::UnsupportedCurrency(code.to_owned())),
        }
    }

    /// The code, for instance `EUR`.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many digits the minor unit has: 2 for cents, 0 for yen.
    pub fn minor_digits(self) -> u32 {
        self.0.exponent().map_or(2, u32::from)
    }

    /// The amount in major units: 1234 cents are 12.34, 1234 yen are 1234.
    pub fn to_major(self, amount: Cents) -> Decimal {
        Decimal::new(amount.0, self.minor_digits())
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Currency {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.code().cmp(other.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(code: &str) -> Result<Self, MoneyError> {
        Self::parse(code)
    }
}

crate::text::serde_as_text!(Currency);

#[cfg(test)]
mod tests;
