//! Owns monthly recurring revenue: what a subscription brings per month, in minor units of its currency.
//!
//! One definition serves the subscription, the dashboard and the decision whether a plan change is an upgrade.

use std::collections::BTreeMap;

use crate::money::{Cents, Currency, MoneyError, mul_ratio_round};
use crate::period::Interval;

/// The monthly revenue of `quantity` pieces of a plan: monthly × 1, quarterly ÷ 3, yearly ÷ 12, a one-time price
/// unchanged. Rounded once, after the multiplication, half away from zero.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn mrr(price: Cents, interval: Interval, quantity: i64) -> Result<Cents, MoneyError> {
    let months = interval.months().unwrap_or(1);
    mul_ratio_round(price.0, quantity, i64::from(months)).map(Cents)
}

/// Monthly revenue by currency. One-time plans do not recur and are left out.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn totals(
    subscriptions: impl IntoIterator<Item = (Currency, Interval, Cents)>,
) -> Result<BTreeMap<Currency, Cents>, MoneyError> {
    let mut totals = BTreeMap::new();
    for (currency, interval, amount) in subscriptions {
        if interval != Interval::OneTime {
            let sum: &mut Cents = totals.entry(currency).or_default();
            *sum = sum.add(amount)?;
        }
    }
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_interval() {
        let cases = [
            (1000, Interval::Monthly, 3, 3000),
            (1000, Interval::Quarterly, 1, 333),
            (1001, Interval::Quarterly, 1, 334),
            (1000, Interval::Yearly, 1, 83),
            (6, Interval::Yearly, 1, 1),
            (1000, Interval::Yearly, 7, 583),
            (1000, Interval::OneTime, 2, 2000),
            (-6, Interval::Yearly, 1, -1),
        ];
        for (price, interval, quantity, want) in cases {
            assert_eq!(
                mrr(Cents(price), interval, quantity),
                Ok(Cents(want)),
                "{price} {interval} × {quantity}"
            );
        }
        assert_eq!(mrr(Cents(i64::MAX), Interval::Monthly, 2), Err(MoneyError::Overflow));
    }

    #[test]
    fn totals_leave_out_what_does_not_recur() {
        let usd = Currency::parse("USD").expect("USD");
        let rows = [
            (Currency::EUR, Interval::Monthly, Cents(10)),
            (usd, Interval::Yearly, Cents(5)),
            (Currency::EUR, Interval::OneTime, Cents(1000)),
            (Currency::EUR, Interval::Quarterly, Cents(7)),
        ];
        let sums = totals(rows).expect("sums");
        assert_eq!(sums.into_iter().collect::<Vec<_>>(), [(Currency::EUR, Cents(17)), (usd, Cents(5))]);
    }
}
