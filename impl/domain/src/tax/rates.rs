//! Owns the VAT rates of the 27 member states as dated data, and the currency in which each of them is paid.
//!
//! Standard rates are complete from 2016 on. Reduced rates are here to tell whether a rate that a line asks for is
//! a legal one of that country, not to classify services. Settings may override or add rates with dates of their
//! own, so that a change of law does not wait for a release.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::FieldError;
use crate::money::{Currency, MoneyError};
use crate::tax::territory::EuCountry;
use crate::text::text_enum;

mod data;

use data::{CURRENCIES, REDUCED, STANDARD};

text_enum! {
    /// What a rate is.
    RateKind, "kind of rate" {
        /// The standard rate.
        Standard = "standard",
        /// One of the reduced rates.
        Reduced = "reduced",
    }
}

/// A rate from the settings. It wins over the built-in data on the days on which it is valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateOverride {
    /// The member state.
    pub country: EuCountry,
    /// Standard, or an additional reduced rate.
    pub kind: RateKind,
    /// Percent, with at most two decimals.
    pub rate: Decimal,
    /// First day.
    pub valid_from: NaiveDate,
    /// Last day; `None` while it is not known.
    pub valid_until: Option<NaiveDate>,
}

impl RateOverride {
    fn is_valid_on(&self, day: NaiveDate) -> bool {
        self.valid_from <= day && self.valid_until.is_none_or(|last| day <= last)
    }
}

/// The built-in rates with the overrides of the settings.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    overrides: Vec<RateOverride>,
}

impl Rates {
    /// The built-in rates with overrides.
    ///
    /// # Errors
    /// [`FieldError`]s for a rate that is not above 0 and at most 100 or has more than two decimals, and for an end
    /// before the start.
    pub fn new(overrides: Vec<RateOverride>) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        for (index, row) in overrides.iter().enumerate() {
            if row.rate <= Decimal::ZERO
                || Decimal::ONE_HUNDRED < row.rate
                || 2 < row.rate.normalize().scale()
            {
                errors.push(FieldError::at(index, "rate", "must be above 0, at most 100, with two decimals"));
            }
            if row.valid_until.is_some_and(|until| until < row.valid_from) {
                errors.push(FieldError::at(index, "valid_until", "must not be before valid_from"));
            }
        }
        if errors.is_empty() { Ok(Self { overrides }) } else { Err(errors) }
    }

    /// The built-in rates alone.
    pub fn published() -> Self {
        Self::default()
    }

    /// The standard rate of a country on a day, in percent; `None` before 2016.
    pub fn standard(&self, country: EuCountry, day: NaiveDate) -> Option<Decimal> {
        let overriding = self
            .overrides
            .iter()
            .filter(|row| row.country == country && row.kind == RateKind::Standard && row.is_valid_on(day))
            .max_by_key(|row| row.valid_from)
            .map(|row| row.rate);
        overriding.or_else(|| {
            let (_, history) = STANDARD.iter().find(|(of, _)| *of == country)?;
            let (_, hundredths) =
                history.iter().rev().find(|(from, _)| from.date().is_some_and(|from| from <= day))?;
            Some(percent(*hundredths))
        })
    }

    /// Every legal rate above 0 of a country on a day, in percent, the standard rate first.
    pub fn legal(&self, country: EuCountry, day: NaiveDate) -> Vec<Decimal> {
        let reduced = REDUCED
            .iter()
            .filter(|row| row.country == country && row.is_valid_on(day))
            .map(|row| percent(row.hundredths));
        let added = self
            .overrides
            .iter()
            .filter(|row| row.country == country && row.kind == RateKind::Reduced && row.is_valid_on(day))
            .map(|row| row.rate);
        let mut rates: Vec<Decimal> = Vec::new();
        for rate in self.standard(country, day).into_iter().chain(reduced).chain(added) {
            if !rates.contains(&rate) {
                rates.push(rate);
            }
        }
        rates
    }

    /// Whether a rate in percent is a legal one of a country on a day.
    pub fn is_legal(&self, country: EuCountry, day: NaiveDate, rate: Decimal) -> bool {
        self.legal(country, day).contains(&rate)
    }
}

/// The currency in which a country's VAT is declared on a day.
///
/// # Errors
/// [`MoneyError`], which cannot happen for the built-in codes.
pub fn vat_currency(country: EuCountry, day: NaiveDate) -> Result<Currency, MoneyError> {
    let code = CURRENCIES
        .iter()
        .filter(|(of, _, until)| {
            *of == country && until.is_none_or(|euro| euro.date().is_some_and(|euro| day < euro))
        })
        .map(|(_, code, _)| *code)
        .next();
    Currency::parse(code.unwrap_or("EUR"))
}

/// 2100 hundredths are 21 percent.
fn percent(hundredths: u32) -> Decimal {
    Decimal::new(i64::from(hundredths), 2).normalize()
}

#[cfg(test)]
mod tests;
