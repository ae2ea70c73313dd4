//! Owns what a usage event may be, and how the events of a segment become one quantity.
//!
//! Checks that need stored rows (does the tenant exist, is it subscribed, was the key seen) belong to the server;
//! they reject with the codes of this module. A [`Total`] takes events in any order and can be merged with others
//! of the same segment, so that parallel writers need no common row.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use rust_decimal::Decimal;

use crate::text::text_enum;
use crate::tiers::QUANTITY_MAX_SCALE;

text_enum! {
    /// How the events of a metric are summed up.
    Aggregation, "aggregation" {
        /// The sum; never below 0 for a segment.
        Sum = "sum",
        /// The largest quantity.
        Max = "max",
        /// The quantity of the newest event, carried into the next segment.
        Last = "last",
        /// How many different keys there were.
        UniqueCount = "unique_count",
    }
}

text_enum! {
    /// Why an event is rejected.
    RejectCode, "rejection" {
        /// No such tenant, or out of reach of the service.
        UnknownTenant = "unknown_tenant",
        /// The service has no such metric.
        UnknownMetric = "unknown_metric",
        /// The tenant has no subscription that the event could count for.
        NoSubscription = "no_subscription",
        /// It happened too long ago.
        TooOld = "too_old",
        /// It has not happened yet.
        InFuture = "in_future",
        /// The quantity is negative, too large, or too fine.
        BadQuantity = "bad_quantity",
        /// The metric counts keys, and the event has none.
        MissingUniqueKey = "missing_unique_key",
    }
}

impl RejectCode {
    /// What is wrong, for the developer of the service.
    pub const fn message(self) -> &'static str {
        match self {
            Self::UnknownTenant => "the tenant is not known",
            Self::UnknownMetric => "the service has no metric of this name",
            Self::NoSubscription => "the tenant has no subscription to this service",
            Self::TooOld => "occurred_at is more than 35 days ago",
            Self::InFuture => "occurred_at is more than an hour in the future",
            Self::BadQuantity => {
                "the quantity must be 0 or more (negative only for sum), below 10^15, with at most 10 decimals"
            }
            Self::MissingUniqueKey => "the metric counts unique keys: unique_key must not be empty",
        }
    }
}

/// How long after it happened an event is accepted, in days.
pub const MAX_AGE_DAYS: i64 = 35;
/// How far ahead of our clock an event may be, in minutes.
pub const MAX_AHEAD_MINUTES: i64 = 60;
/// The largest quantity of one event.
const MAX_QUANTITY: i64 = 1_000_000_000_000_000;

/// One event, as far as its metric is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// How much, in units of the metric.
    pub quantity: Decimal,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// Order of receipt; decides between events of one instant.
    pub receipt: i64,
    /// What is counted by [`Aggregation::UniqueCount`].
    pub unique_key: Option<&'a str>,
}

/// Checks what can be known without stored rows. `now` is the time of receipt.
///
/// # Errors
/// The first [`RejectCode`] that applies.
pub fn check_event(
    event: &Event<'_>,
    aggregation: Aggregation,
    now: DateTime<Utc>,
) -> Result<(), RejectCode> {
    let quantity = event.quantity;
    let negative = quantity < Decimal::ZERO && aggregation != Aggregation::Sum;
    let too_large = Decimal::from(MAX_QUANTITY) <= quantity.abs();
    if negative || too_large || QUANTITY_MAX_SCALE < quantity.normalize().scale() {
        return Err(RejectCode::BadQuantity);
    }
    if aggregation == Aggregation::UniqueCount && event.unique_key.is_none_or(str::is_empty) {
        return Err(RejectCode::MissingUniqueKey);
    }
    let age = now.signed_duration_since(event.occurred_at);
    if Duration::days(MAX_AGE_DAYS) < age {
        return Err(RejectCode::TooOld);
    }
    if age < Duration::minutes(MAX_AHEAD_MINUTES.saturating_neg()) {
        return Err(RejectCode::InFuture);
    }
    Ok(())
}

/// Why events cannot be summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TotalError {
    /// The sum has more than 28 digits.
    #[error("the quantity is too large")]
    Overflow,
    /// Two totals of different aggregations.
    #[error("totals of different aggregations cannot be merged")]
    OtherAggregation,
}

/// What the events of a segment come to, so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Total {
    /// The sum, before its floor of 0.
    Sum(Decimal),
    /// The largest quantity.
    Max(Option<Decimal>),
    /// Time, receipt and quantity of the newest event.
    Last(Option<(DateTime<Utc>, i64, Decimal)>),
    /// The keys seen.
    UniqueCount(BTreeSet<String>),
}

impl Total {
    /// Of no events.
    pub fn new(aggregation: Aggregation) -> Self {
        match aggregation {
            Aggregation::Sum => Self::Sum(Decimal::ZERO),
            Aggregation::Max => Self::Max(None),
            Aggregation::Last => Self::Last(None),
            Aggregation::UniqueCount => Self::UniqueCount(BTreeSet::new()),
        }
    }

    /// Counts one more event.
    ///
    /// # Errors
    /// [`TotalError::Overflow`].
    pub fn add(&mut self, event: &Event<'_>) -> Result<(), TotalError> {
        match self {
            Self::Sum(sum) => *sum = sum.checked_add(event.quantity).ok_or(TotalError::Overflow)?,
            Self::Max(max) => *max = (*max).max(Some(event.quantity)),
            Self::Last(last) => *last = (*last).max(Some((event.occurred_at, event.receipt, event.quantity))),
            Self::UniqueCount(keys) => keys.extend(event.unique_key.map(str::to_owned)),
        }
        Ok(())
    }

    /// Adds what another writer counted for the same segment.
    ///
    /// # Errors
    /// [`TotalError`].
    pub fn merge(&mut self, other: Self) -> Result<(), TotalError> {
        match (self, other) {
            (Self::Sum(sum), Self::Sum(more)) => *sum = sum.checked_add(more).ok_or(TotalError::Overflow)?,
            (Self::Max(max), Self::Max(other)) => *max = (*max).max(other),
            (Self::Last(last), Self::Last(other)) => *last = (*last).max(other),
            (Self::UniqueCount(keys), Self::UniqueCount(more)) => keys.extend(more),
            _ => return Err(TotalError::OtherAggregation),
        }
        Ok(())
    }

    /// The quantity of the segment. `carried` is the last value of the segment before; only `last` uses it, when
    /// the segment has no event of its own.
    pub fn quantity(&self, carried: Option<Decimal>) -> Decimal {
        match self {
            Self::Sum(sum) => (*sum).max(Decimal::ZERO),
            Self::Max(max) => max.unwrap_or_default(),
            Self::Last(last) => last.map(|(_, _, quantity)| quantity).or(carried).unwrap_or_default(),
            Self::UniqueCount(keys) => Decimal::from(keys.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_780_000_000 + seconds, 0).expect("in range")
    }

    fn event(quantity: &str, seconds: i64, receipt: i64) -> Event<'static> {
        Event {
            quantity: quantity.parse().expect("a decimal"),
            occurred_at: at(seconds),
            receipt,
            unique_key: None,
        }
    }

    fn total(aggregation: Aggregation, events: &[Event<'_>]) -> Total {
        let mut total = Total::new(aggregation);
        for event in events {
            total.add(event).expect("fits");
        }
        total
    }

    #[test]
    fn rejections() {
        const DAY: i64 = 86_400;
        let check = |quantity: &str, seconds, aggregation| {
            check_event(&event(quantity, seconds, 0), aggregation, at(0))
        };
        let table = [
            ("1", 0, Aggregation::Sum, Ok(())),
            ("-1", 0, Aggregation::Sum, Ok(())),
            ("0", 0, Aggregation::Max, Ok(())),
            ("-1", 0, Aggregation::Max, Err(RejectCode::BadQuantity)),
            ("-1", 0, Aggregation::Last, Err(RejectCode::BadQuantity)),
            ("1000000000000000", 0, Aggregation::Sum, Err(RejectCode::BadQuantity)),
            ("0.00000000001", 0, Aggregation::Sum, Err(RejectCode::BadQuantity)),
            ("0.10000000000", 0, Aggregation::Sum, Ok(())),
            ("1", -35 * DAY, Aggregation::Sum, Ok(())),
            ("1", -35 * DAY - 1, Aggregation::Sum, Err(RejectCode::TooOld)),
            ("1", 3600, Aggregation::Sum, Ok(())),
            ("1", 3601, Aggregation::Sum, Err(RejectCode::InFuture)),
            ("1", 0, Aggregation::UniqueCount, Err(RejectCode::MissingUniqueKey)),
        ];
        for (quantity, seconds, aggregation, want) in table {
            assert_eq!(
                check(quantity, seconds, aggregation),
                want,
                "{quantity} at {seconds} by {aggregation}"
            );
        }
        let keyed = |key| Event { unique_key: Some(key), ..event("1", 0, 0) };
        assert_eq!(check_event(&keyed("u1"), Aggregation::UniqueCount, at(0)), Ok(()));
        assert_eq!(
            check_event(&keyed(""), Aggregation::UniqueCount, at(0)),
            Err(RejectCode::MissingUniqueKey)
        );
        for code in RejectCode::ALL {
            assert!(!code.message().is_empty());
        }
    }

    #[test]
    fn aggregations() {
        let d = |text: &str| text.parse::<Decimal>().expect("a decimal");
        let events = [event("5", 10, 1), event("2.5", 30, 2), event("3", 30, 3), event("9", 20, 4)];
        assert_eq!(total(Aggregation::Sum, &events).quantity(None), d("19.5"));
        assert_eq!(total(Aggregation::Sum, &[event("-5", 0, 0)]).quantity(None), d("0"));
        assert_eq!(total(Aggregation::Max, &events).quantity(Some(d("99"))), d("9"));
        assert_eq!(total(Aggregation::Max, &[]).quantity(Some(d("99"))), d("0"));
        assert_eq!(total(Aggregation::Last, &events).quantity(Some(d("99"))), d("3"));
        assert_eq!(total(Aggregation::Last, &[]).quantity(Some(d("99"))), d("99"));
        assert_eq!(total(Aggregation::Last, &[]).quantity(None), d("0"));
        let keys = ["a", "b", "a"].map(|key| Event { unique_key: Some(key), ..event("1", 0, 0) });
        assert_eq!(total(Aggregation::UniqueCount, &keys).quantity(None), d("2"));
    }

    proptest! {
        #[test]
        fn order_and_split_do_not_matter(quantities in prop::collection::vec((0_i64..1_000, 0_i64..5, "[a-c]"), 0..12),
                                         cut in any::<prop::sample::Index>(), aggregation in prop::sample::select(Aggregation::ALL.to_vec())) {
            let events: Vec<Event<'_>> = quantities.iter().enumerate()
                .map(|(receipt, (quantity, seconds, key))| Event {
                    quantity: Decimal::new(*quantity, 1), occurred_at: at(*seconds),
                    receipt: i64::try_from(receipt).expect("small"), unique_key: Some(key),
                })
                .collect();
            let whole = total(aggregation, &events);
            let reversed: Vec<_> = events.iter().rev().copied().collect();
            prop_assert_eq!(&total(aggregation, &reversed), &whole);
            let cut = if events.is_empty() { 0 } else { cut.index(events.len()) };
            let mut merged = total(aggregation, &events[cut..]);
            merged.merge(total(aggregation, &events[..cut])).expect("fits");
            prop_assert_eq!(merged, whole);
        }
    }
}
