//! Owns what a partner pays to the platform for a line that it bills.
//!
//! The cost is the net amount times the multiplier of the plan. Manual lines are the partner's own work and cost
//! nothing; the operator does not pay itself.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::invoice::LineKind;
use crate::money::{Cents, MoneyError, mul_ratio_round};

/// The key of the multiplier for every plan that has none of its own.
pub const ANY_PLAN: &str = "*";

/// The multiplier of a plan: its own, else that of `*`, else 1.
pub fn effective_multiplier(multipliers: &BTreeMap<String, Decimal>, plan_key: Option<&str>) -> Decimal {
    plan_key
        .and_then(|key| multipliers.get(key))
        .or_else(|| multipliers.get(ANY_PLAN))
        .copied()
        .unwrap_or(Decimal::ONE)
}

/// The keys whose multiplier is negative or has more than six decimals.
pub fn invalid_multipliers(multipliers: &BTreeMap<String, Decimal>) -> Vec<&str> {
    let invalid = |value: &Decimal| *value < Decimal::ZERO || 6 < value.normalize().scale();
    multipliers.iter().filter(|(_, value)| invalid(value)).map(|(key, _)| key.as_str()).collect()
}

/// The platform's cost of a line in cents, rounded once, half away from zero; negative for credit lines.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn platform_cost(kind: LineKind, amount: Cents, multiplier: Decimal) -> Result<Cents, MoneyError> {
    if kind == LineKind::Manual { Ok(Cents::ZERO) } else { amount.scale(multiplier) }
}

/// The cost that a credit note gives back, pro rata: what is due for everything credited so far, less what was given
/// back before. After the last note exactly the whole cost is given back.
///
/// `net` is the invoice's net total, `cost` its whole cost; all amounts are positive cents.
///
/// # Errors
/// [`MoneyError::Overflow`]; [`MoneyError::Divisor`] when the invoice has no net total.
pub fn reversed_cost(
    cost: Cents,
    net: Cents,
    net_credited_with_this: Cents,
    reversed_before: Cents,
) -> Result<Cents, MoneyError> {
    mul_ratio_round(cost.0, net_credited_with_this.0, net.0).map(Cents)?.sub(reversed_before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    #[test]
    fn multipliers() {
        let settings = BTreeMap::from([("*".to_owned(), d("0.9")), ("scaiflow.pro".to_owned(), d("0.8"))]);
        assert_eq!(effective_multiplier(&settings, Some("scaiflow.pro")), d("0.8"));
        assert_eq!(effective_multiplier(&settings, Some("scaiflow.starter")), d("0.9"));
        assert_eq!(effective_multiplier(&settings, None), d("0.9"));
        assert_eq!(effective_multiplier(&BTreeMap::new(), Some("scaiflow.pro")), d("1"));
        let bad = BTreeMap::from([
            ("a".to_owned(), d("-1")),
            ("b".to_owned(), d("0.0000001")),
            ("c".to_owned(), d("0")),
        ]);
        assert_eq!(invalid_multipliers(&bad), ["a", "b"]);
    }

    #[test]
    fn costs() {
        assert_eq!(platform_cost(LineKind::Base, Cents(1001), d("0.5")), Ok(Cents(501)));
        assert_eq!(platform_cost(LineKind::Proration, Cents(-1001), d("0.5")), Ok(Cents(-501)));
        for kind in LineKind::ALL {
            let cost = platform_cost(*kind, Cents(1000), d("0.8")).expect("fits");
            assert_eq!(cost, if *kind == LineKind::Manual { Cents(0) } else { Cents(800) }, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn credit_notes_give_back_the_whole_cost(cost in 0_i64..1_000_000, parts in prop::collection::vec(1_i64..10_000, 1..10)) {
            let net = Cents(parts.iter().sum());
            let (mut credited, mut reversed) = (Cents(0), Cents(0));
            for part in parts {
                credited = credited.add(Cents(part)).expect("fits");
                let now = reversed_cost(Cents(cost), net, credited, reversed).expect("fits");
                prop_assert!(0 <= now.0);
                reversed = reversed.add(now).expect("fits");
            }
            prop_assert_eq!(reversed, Cents(cost));
        }
    }
}
