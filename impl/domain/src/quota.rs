//! Owns quotas: how usage compares with the limit of a plan, and when a tenant is told.
//!
//! A quota informs; usage above it is accepted and billed. What a service does with an exceeded quota is its own
//! decision.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use crate::money::MoneyError;
use crate::text::text_enum;

/// The state of one metric in one usage month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// The limit of the plan; `None` when unlimited.
    pub limit: Option<Decimal>,
    /// What was used.
    pub used: Decimal,
    /// What is left, never below 0; `None` when unlimited.
    pub remaining: Option<Decimal>,
    /// Percent of the limit, with two decimals, half away from zero; `None` when unlimited.
    pub percent: Option<Decimal>,
    /// Whether more than the limit was used.
    pub exceeded: bool,
}

/// Compares usage with a limit; absent, 0 and negative limits mean unlimited.
///
/// # Errors
/// [`MoneyError::Overflow`] for quantities of more than 26 digits.
pub fn quota(limit: Option<Decimal>, used: Decimal) -> Result<Quota, MoneyError> {
    let Some(limit) = limit.filter(|limit| Decimal::ZERO < *limit) else {
        return Ok(Quota { limit: None, used, remaining: None, percent: None, exceeded: false });
    };
    let remaining = limit.checked_sub(used).ok_or(MoneyError::Overflow)?.max(Decimal::ZERO);
    let percent = used
        .checked_mul(Decimal::ONE_HUNDRED)
        .and_then(|hundredfold| hundredfold.checked_div(limit))
        .ok_or(MoneyError::Overflow)?
        .round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    Ok(Quota {
        limit: Some(limit),
        used,
        remaining: Some(remaining),
        percent: Some(percent),
        exceeded: limit < used,
    })
}

text_enum! {
    /// Where a tenant is told about its usage, once per usage month.
    Threshold, "quota threshold" {
        /// 80 percent of the limit.
        Warning = "quota_80",
        /// The limit itself.
        Reached = "quota_100",
    }
}

impl Threshold {
    /// Percent of the limit.
    pub const fn percent(self) -> i64 {
        match self {
            Self::Warning => 80,
            Self::Reached => 100,
        }
    }

    fn is_reached(self, limit: Decimal, used: Decimal) -> bool {
        // Compared as `used × 100 ≥ limit × percent`: a rounded percentage would reach it too early.
        match (used.checked_mul(Decimal::ONE_HUNDRED), limit.checked_mul(Decimal::from(self.percent()))) {
            (Some(used), Some(limit)) => limit <= used,
            _ => limit <= used,
        }
    }
}

/// The thresholds that usage has crossed upwards between two readings of the same usage month.
pub fn crossed(limit: Option<Decimal>, before: Decimal, after: Decimal) -> Vec<Threshold> {
    let Some(limit) = limit.filter(|limit| Decimal::ZERO < *limit) else {
        return Vec::new();
    };
    Threshold::ALL
        .iter()
        .copied()
        .filter(|threshold| !threshold.is_reached(limit, before) && threshold.is_reached(limit, after))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    #[test]
    fn states() {
        let table = [
            (Some("100"), "0", Some(("100", "0")), false),
            (Some("100"), "79.996", Some(("20.004", "80.00")), false),
            (Some("100"), "100", Some(("0", "100")), false),
            (Some("100"), "150", Some(("0", "150")), true),
            (Some("3"), "1", Some(("2", "33.33")), false),
            (Some("0"), "5", None, false),
            (None, "5", None, false),
        ];
        for (limit, used, want, exceeded) in table {
            let got = quota(limit.map(d), d(used)).expect("fits");
            assert_eq!(got.remaining.zip(got.percent), want.map(|(r, p)| (d(r), d(p))), "{limit:?} {used}");
            assert_eq!(got.exceeded, exceeded, "{limit:?} {used}");
        }
    }

    #[test]
    fn crossings() {
        let cross = |before: &str, after: &str| crossed(Some(d("100")), d(before), d(after));
        assert_eq!(cross("0", "79.999"), []);
        assert_eq!(cross("0", "80"), [Threshold::Warning]);
        assert_eq!(cross("80", "99"), []);
        assert_eq!(cross("99", "100"), [Threshold::Reached]);
        assert_eq!(cross("10", "500"), [Threshold::Warning, Threshold::Reached]);
        assert_eq!(cross("500", "10"), []);
        assert_eq!(crossed(Some(d("0")), d("0"), d("9")), []);
        assert_eq!(crossed(None, d("0"), d("9")), []);
    }

    proptest! {
        #[test]
        fn each_threshold_is_crossed_once(limit in 1_i64..1_000, steps in prop::collection::vec(0_i64..200, 0..20)) {
            let limit = Some(Decimal::from(limit));
            let mut used = Decimal::ZERO;
            let mut seen = Vec::new();
            for step in steps {
                let next = used + Decimal::from(step);
                seen.extend(crossed(limit, used, next));
                used = next;
            }
            prop_assert_eq!(seen, crossed(limit, Decimal::ZERO, used));
        }
    }
}
