//! Owns the sums of a document: tax per category and rate, and the part of each line.
//!
//! EN 16931 taxes the base of each category and rate, not each line. The line's part is what the group's tax
//! leaves for it by the largest remainder, so that the lines and the document agree to the cent.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::money::{Cents, Currency, MoneyError, allocate_shares, mul_div_round};
use crate::tax::Category;

/// A line with its decided tax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaxLine {
    /// Net amount in cents; negative for a credit line.
    pub amount: Cents,
    /// VAT category.
    pub category: Category,
    /// Percent.
    pub rate: Decimal,
}

/// The tax of one category and rate (BG-23).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxGroup {
    /// VAT category.
    pub category: Category,
    /// Percent.
    pub rate: Decimal,
    /// Sum of the net amounts, in cents.
    pub base: Cents,
    /// `base × rate ÷ 100`, rounded once, half away from zero.
    pub tax: Cents,
}

/// The sums of a document, in cents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Sum of the lines.
    pub subtotal: Cents,
    /// Sum of the groups' tax; also the sum of `line_tax`.
    pub tax: Cents,
    /// `subtotal + tax`.
    pub total: Cents,
    /// By category and rate, in that order.
    pub groups: Vec<TaxGroup>,
    /// The tax of each line, in the order of the lines.
    pub line_tax: Vec<Cents>,
}

/// Computes the sums of a document.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn compute(lines: &[TaxLine]) -> Result<Totals, MoneyError> {
    let mut members: BTreeMap<(Category, Decimal), Vec<(usize, Cents)>> = BTreeMap::new();
    for (index, line) in lines.iter().enumerate() {
        members.entry((line.category, line.rate.normalize())).or_default().push((index, line.amount));
    }
    let mut groups = Vec::with_capacity(members.len());
    let mut line_tax = vec![Cents::ZERO; lines.len()];
    for ((category, rate), members) in members {
        let base = Cents::sum(members.iter().map(|(_, amount)| *amount))?;
        let tax = tax_on(base, rate)?;
        for ((index, _), part) in members.iter().zip(parts(tax, rate, &members)?) {
            if let Some(target) = line_tax.get_mut(*index) {
                *target = part;
            }
        }
        groups.push(TaxGroup { category, rate, base, tax });
    }
    let subtotal = Cents::sum(lines.iter().map(|line| line.amount))?;
    let tax = Cents::sum(groups.iter().map(|group| group.tax))?;
    Ok(Totals { subtotal, tax, total: subtotal.add(tax)?, groups, line_tax })
}

/// The part of each line in the tax of its group: its exact tax, rounded so that the sum fits.
fn parts(tax: Cents, rate: Decimal, members: &[(usize, Cents)]) -> Result<Vec<Cents>, MoneyError> {
    let scale = 10_i128.checked_pow(rate.scale()).ok_or(MoneyError::Overflow)?;
    let denominator = scale.checked_mul(100).ok_or(MoneyError::Overflow)?;
    let shares = members
        .iter()
        .map(|(_, amount)| i128::from(amount.0).checked_mul(rate.mantissa()).ok_or(MoneyError::Overflow))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(allocate_shares(tax.0, &shares, denominator)?.into_iter().map(Cents).collect())
}

/// `base × rate ÷ 100`, rounded once, half away from zero.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn tax_on(base: Cents, rate: Decimal) -> Result<Cents, MoneyError> {
    mul_div_round(Decimal::from(base.0), rate, Decimal::ONE_HUNDRED).map(Cents)
}

/// The tax of a partial credit note, for one category and rate of its invoice, in positive cents.
///
/// It is the tax on everything credited so far, this note included, less the tax that was credited before. Whatever
/// the parts, the last note brings the credited tax to the invoice's.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn credit_note_tax(
    rate: Decimal,
    net_credited_before: Cents,
    tax_credited_before: Cents,
    net_now: Cents,
) -> Result<Cents, MoneyError> {
    tax_on(net_credited_before.add(net_now)?, rate)?.sub(tax_credited_before)
}

/// Tax in the currency of the taxing state (BT-111), at reference rates against the euro: how many units of each
/// currency one euro costs. Rounded once, to the minor unit of the target.
///
/// # Errors
/// [`MoneyError::Divisor`] for a rate that is not positive, [`MoneyError::Overflow`].
pub fn convert(
    amount: Cents,
    (from, from_per_euro): (Currency, Decimal),
    (to, to_per_euro): (Currency, Decimal),
) -> Result<Cents, MoneyError> {
    if from_per_euro <= Decimal::ZERO || to_per_euro <= Decimal::ZERO {
        return Err(MoneyError::Divisor);
    }
    let shift = |currency: Currency| 10_i64.checked_pow(currency.minor_digits()).ok_or(MoneyError::Overflow);
    let scaled =
        Decimal::from(amount.0).checked_mul(Decimal::from(shift(to)?)).ok_or(MoneyError::Overflow)?;
    let divisor = from_per_euro.checked_mul(Decimal::from(shift(from)?)).ok_or(MoneyError::Overflow)?;
    mul_div_round(scaled, to_per_euro, divisor).map(Cents)
}

#[cfg(test)]
mod tests;
