//! Owns the price of a pack and how it is split over the services in it.
//!
//! A pack is billed as one line. The split exists for what is counted per service: the children's recurring revenue,
//! the ledger and the partner's statement.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::money::{Cents, MoneyError, allocate, mul_div_round};

/// How a pack is priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "discount_type", rename_all = "snake_case")]
pub enum PackPrice {
    /// A price of its own, whatever the items cost.
    FixedPrice {
        /// The price in cents.
        base_price_cents: Cents,
    },
    /// The items' list prices with a discount.
    Percentage {
        /// Percent, 0 to 100.
        discount_percentage: Decimal,
    },
}

/// The price of a pack per period, in cents. List prices are the override of an item, else the price of its plan.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn price(pack: PackPrice, list_prices: &[Cents]) -> Result<Cents, MoneyError> {
    match pack {
        PackPrice::FixedPrice { base_price_cents } => Ok(base_price_cents),
        PackPrice::Percentage { discount_percentage } => {
            let sum = Cents::sum(list_prices.iter().copied())?;
            let rest = Decimal::ONE_HUNDRED.checked_sub(discount_percentage).ok_or(MoneyError::Overflow)?;
            mul_div_round(Decimal::from(sum.0), rest, Decimal::ONE_HUNDRED).map(Cents)
        }
    }
}

/// The part of each item in an amount of the pack, by list price (largest remainder); equal parts when all list
/// prices are 0. The parts sum to the amount.
///
/// # Errors
/// [`MoneyError::NoWeight`] for a pack without items, [`MoneyError::Overflow`].
pub fn split(amount: Cents, list_prices: &[Cents]) -> Result<Vec<Cents>, MoneyError> {
    let weights: Vec<i64> = list_prices.iter().map(|price| price.0).collect();
    Ok(allocate(amount.0, &weights)?.into_iter().map(Cents).collect())
}

/// Whether a discount in percent is one: 0 to 100, with at most two decimals.
pub fn is_valid_discount(percent: Decimal) -> bool {
    Decimal::ZERO <= percent && percent <= Decimal::ONE_HUNDRED && percent.normalize().scale() <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_and_parts() {
        let list = [Cents(1000), Cents(999), Cents(2)];
        let fixed = PackPrice::FixedPrice { base_price_cents: Cents(1500) };
        let percentage =
            |text: &str| PackPrice::Percentage { discount_percentage: text.parse().expect("a decimal") };
        assert_eq!(price(fixed, &list), Ok(Cents(1500)));
        assert_eq!(price(percentage("10"), &list), Ok(Cents(1801)));
        assert_eq!(price(percentage("0"), &list), Ok(Cents(2001)));
        assert_eq!(price(percentage("100"), &list), Ok(Cents(0)));
        assert_eq!(price(percentage("12.5"), &[Cents(4)]), Ok(Cents(4)));
        assert_eq!(split(Cents(1500), &list), Ok(vec![Cents(750), Cents(749), Cents(1)]));
        assert_eq!(split(Cents(5), &[Cents(0), Cents(0)]), Ok(vec![Cents(3), Cents(2)]));
        assert_eq!(split(Cents(5), &[]), Err(MoneyError::NoWeight));
        assert!(is_valid_discount("12.50".parse().expect("a decimal")));
        assert!(!is_valid_discount("100.01".parse().expect("a decimal")));
        assert!(!is_valid_discount("-1".parse().expect("a decimal")));
    }
}
