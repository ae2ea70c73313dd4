//! Owns monthly recurring revenue: what a subscription brings per month, in minor units of its currency.
//!
//! One definition serves the subscription, the dashboard and the decision whether a plan change is an upgrade.

use std::collections::BTreeMap;

use crate::money::{Cents, Currency, MoneyError, mul_ratio_round};
use crate::period::Interval;
use crate::subscription::State;
use crate::text::text_enum;

text_enum! {
    /// Why monthly revenue changed.
    Movement, "movement of revenue" {
        /// A subscription became active, or was resumed.
        New = "new",
        /// A dearer plan, a larger quantity, a higher price.
        Expansion = "expansion",
        /// A cheaper plan, a smaller quantity, a lower price.
        Contraction = "contraction",
        /// A subscription ended, or was suspended.
        Churn = "churn",
    }
}

/// What a subscription counts with; `None` while it does not count: one-time plans never do, others do from their
/// activation to their end, except while trialing or suspended.
pub fn counted(state: State, interval: Interval, mrr: Cents) -> Option<Cents> {
    let counts = matches!(state, State::Active | State::PastDue | State::Cancelling);
    (counts && interval != Interval::OneTime).then_some(mrr)
}

/// How a subscription that counted with `before` moves revenue when it counts with `after`: why, and by how much.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn movement(
    before: Option<Cents>,
    after: Option<Cents>,
) -> Result<Option<(Movement, Cents)>, MoneyError> {
    let (old, new) = (before.unwrap_or_default(), after.unwrap_or_default());
    let by = new.sub(old)?;
    Ok(match (before, after) {
        (None, None) => None,
        (None, Some(_)) => Some((Movement::New, by)),
        (Some(_), None) => Some((Movement::Churn, by)),
        (Some(_), Some(_)) if Cents::ZERO < by => Some((Movement::Expansion, by)),
        (Some(_), Some(_)) if by < Cents::ZERO => Some((Movement::Contraction, by)),
        (Some(_), Some(_)) => None,
    })
}

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
    fn movements() {
        let (some, none) = (|cents| Some(Cents(cents)), None);
        for (before, after, want) in [
            (none, none, None),
            (none, some(10), Some((Movement::New, Cents(10)))),
            (none, some(0), Some((Movement::New, Cents(0)))),
            (some(0), some(10), Some((Movement::Expansion, Cents(10)))),
            (some(10), some(4), Some((Movement::Contraction, Cents(-6)))),
            (some(10), some(10), None),
            (some(10), none, Some((Movement::Churn, Cents(-10)))),
        ] {
            assert_eq!(movement(before, after), Ok(want), "{before:?} to {after:?}");
        }
        for (state, counts) in [
            (State::Pending, false),
            (State::Trialing, false),
            (State::Active, true),
            (State::PastDue, true),
            (State::Cancelling, true),
            (State::Suspended, false),
            (State::Cancelled, false),
            (State::Expired, false),
        ] {
            assert_eq!(counted(state, Interval::Monthly, Cents(5)).is_some(), counts, "{state}");
            assert_eq!(counted(state, Interval::OneTime, Cents(5)), None);
        }
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
