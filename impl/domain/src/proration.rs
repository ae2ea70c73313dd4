//! Owns the share of a period: seconds of a part over seconds of the whole, kept exact until money is rounded.
//!
//! Plan changes, cancellations with credit, a resume in the middle of a period and the minimum of a short
//! segment all use this one fraction, so that the parts of a period always add up to it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::money::{Cents, MoneyError, mul_ratio_round};

/// Why a fraction is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{seconds} of {of_seconds} seconds is not a share of a period")]
pub struct RatioError {
    /// Seconds of the part.
    pub seconds: i64,
    /// Seconds of the whole.
    pub of_seconds: i64,
}

/// `seconds ÷ of_seconds`, between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RatioFields", deny_unknown_fields)]
pub struct Ratio {
    seconds: i64,
    of_seconds: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RatioFields {
    seconds: i64,
    of_seconds: i64,
}

impl TryFrom<RatioFields> for Ratio {
    type Error = RatioError;

    fn try_from(fields: RatioFields) -> Result<Self, RatioError> {
        Self::new(fields.seconds, fields.of_seconds)
    }
}

impl Ratio {
    /// The whole.
    pub const ONE: Self = Self { seconds: 1, of_seconds: 1 };

    /// A share of `seconds` out of `of_seconds`.
    ///
    /// # Errors
    /// [`RatioError`] unless `0 ≤ seconds ≤ of_seconds` and `of_seconds > 0`.
    pub fn new(seconds: i64, of_seconds: i64) -> Result<Self, RatioError> {
        if seconds < 0 || of_seconds < 1 || of_seconds < seconds {
            return Err(RatioError { seconds, of_seconds });
        }
        Ok(Self { seconds, of_seconds })
    }

    /// The share of the period `start..end` that is left at `at`; before the start all of it, after the end 0.
    ///
    /// # Errors
    /// [`RatioError`] when the period is shorter than a second.
    pub fn left(at: DateTime<Utc>, start: DateTime<Utc>, end: DateTime<Utc>) -> Result<Self, RatioError> {
        Self::new(seconds_between(at.clamp(start, end.max(start)), end), seconds_between(start, end))
    }

    /// The share that the part `from..until` has of the period `start..end`; what lies outside does not count.
    ///
    /// # Errors
    /// [`RatioError`] when the period is shorter than a second, or the part ends before it begins.
    pub fn part(
        (from, until): (DateTime<Utc>, DateTime<Utc>),
        (start, end): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<Self, RatioError> {
        let end = end.max(start);
        Self::new(
            seconds_between(from.clamp(start, end), until.clamp(start, end)),
            seconds_between(start, end),
        )
    }

    /// Seconds of the part.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Seconds of the whole.
    pub fn of_seconds(self) -> i64 {
        self.of_seconds
    }

    /// Whether this is the whole.
    pub fn is_whole(self) -> bool {
        self.seconds == self.of_seconds
    }

    /// This share of an amount, rounded once, half away from zero.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`], which cannot happen while the share is at most 1.
    pub fn of(self, amount: Cents) -> Result<Cents, MoneyError> {
        mul_ratio_round(amount.0, self.seconds, self.of_seconds).map(Cents)
    }
}

/// Whole seconds from `start` to `end`, both cut to the second, so that adjoining parts sum to the whole.
pub fn seconds_between(start: DateTime<Utc>, end: DateTime<Utc>) -> i64 {
    end.timestamp().saturating_sub(start.timestamp())
}

/// What an immediate plan change bills: two lines and their sum, in cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proration {
    /// What is given back for the unused part of the old price; 0 or more.
    pub credit_cents: Cents,
    /// What is charged for the new price; 0 or more.
    pub charge_cents: Cents,
    /// `charge − credit`; negative when money is given back.
    pub net_cents: Cents,
}

/// A plan change inside a period.
///
/// `billed` is what was billed for the stretch that runs, net of credit notes, and `unused` the share of it that
/// remains. `new_price` is the new plan's price times the quantity, and `charged` the share of a whole period that it is
/// charged for: the rest of the present one, or all of a new one when the interval changes.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn plan_change(
    billed: Cents,
    unused: Ratio,
    new_price: Cents,
    charged: Ratio,
) -> Result<Proration, MoneyError> {
    let (credit_cents, charge_cents) = (unused.of(billed)?, charged.of(new_price)?);
    Ok(Proration { credit_cents, charge_cents, net_cents: charge_cents.sub(credit_cents)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("in range")
    }

    #[test]
    fn shares() {
        let half = Ratio::left(at(50), at(0), at(100)).expect("ratio");
        assert_eq!((half.seconds(), half.of_seconds()), (50, 100));
        assert_eq!(half.of(Cents(101)), Ok(Cents(51)));
        assert_eq!(half.of(Cents(-101)), Ok(Cents(-51)));
        assert_eq!(Ratio::left(at(-5), at(0), at(100)).map(Ratio::seconds), Ok(100));
        assert_eq!(Ratio::left(at(500), at(0), at(100)).map(Ratio::seconds), Ok(0));
        assert!(Ratio::left(at(0), at(0), at(0)).is_err());
        assert!(Ratio::left(at(0), at(5), at(0)).is_err());
        assert!(Ratio::new(2, 1).is_err() && Ratio::new(-1, 1).is_err() && Ratio::new(0, 0).is_err());
        assert_eq!(Ratio::part((at(10), at(40)), (at(0), at(100))).map(Ratio::seconds), Ok(30));
        assert_eq!(Ratio::part((at(-10), at(400)), (at(0), at(100))), Ratio::new(100, 100));
        assert!(Ratio::part((at(40), at(10)), (at(0), at(100))).is_err());
        assert!(serde_json::from_str::<Ratio>(r#"{"seconds":3,"of_seconds":2}"#).is_err());
    }

    #[test]
    fn plan_changes() {
        let left = Ratio::new(1, 3).expect("ratio");
        let same = plan_change(Cents(1000), left, Cents(4000), left).expect("proration");
        assert_eq!(
            (same.credit_cents, same.charge_cents, same.net_cents),
            (Cents(333), Cents(1333), Cents(1000))
        );
        let other = plan_change(Cents(1000), left, Cents(40000), Ratio::ONE).expect("proration");
        assert_eq!(
            (other.credit_cents, other.charge_cents, other.net_cents),
            (Cents(333), Cents(40000), Cents(39667))
        );
    }

    proptest! {
        #[test]
        fn a_cut_period_adds_up(start in 0_i64..1_000_000, cut in 0_i64..1_000_000, rest in 1_i64..1_000_000,
                                nanos in 0_u32..1_000_000_000) {
            let start = at(start);
            let middle = start + chrono::Duration::seconds(cut) + chrono::Duration::nanoseconds(i64::from(nanos));
            let end = start + chrono::Duration::seconds(cut + rest + 1);
            let first = Ratio::part((start, middle), (start, end)).expect("ratio");
            let second = Ratio::left(middle, start, end).expect("ratio");
            prop_assert_eq!(first.seconds() + second.seconds(), first.of_seconds());
        }

        #[test]
        fn a_share_is_between_nothing_and_all(amount in any::<i64>(), part in 0_i64..1_000_000_000, more in 1_i64..1_000_000_000) {
            let share = Ratio::new(part, part + more).expect("ratio").of(Cents(amount)).expect("fits").0;
            prop_assert!(share.unsigned_abs() <= amount.unsigned_abs());
            prop_assert!(share == 0 || (share < 0) == (amount < 0));
        }
    }
}
