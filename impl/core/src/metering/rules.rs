//! What metering computes without a database: what the parts of a total add up to, and where the buckets of a chart
//! begin. What an event may be and what a quota says is in [`scaicontrol_domain::usage`] and [`scaicontrol_domain::quota`].
use crate::error::{Error, Result};
use chrono::{DateTime, Datelike, Months, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use rust_decimal::Decimal;
use scaicontrol_domain::quota::{self, Quota};
use scaicontrol_domain::usage::{Aggregation, Event, MAX_AGE_DAYS, RejectCode, check_event};
use scaicontrol_types::{MetricAggregation, UsagePeriodType, UsageRejectionCode};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How late an event may be.
pub const AGE_MAX: TimeDelta = TimeDelta::days(MAX_AGE_DAYS);
/// How long a service may ask about a subscription that has ended.
pub const REACH: TimeDelta = TimeDelta::days(90);
/// What a text is known by where it is looked up: the first half of its SHA-256.
pub fn text_hash(text: &str) -> Uuid {
    let digest: [u8; 32] = Sha256::digest(text).into();
    let (half, _) = digest.split_at(16);
    Uuid::from_slice(half).unwrap_or_default()
}

/// Why an event cannot be counted, as far as it tells by itself.
pub fn refusal(
    aggregation: MetricAggregation,
    quantity: Decimal,
    unique_key: Option<&str>,
    occurred_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<UsageRejectionCode> {
    let aggregation = match aggregation {
        MetricAggregation::Sum => Aggregation::Sum,
        MetricAggregation::Max => Aggregation::Max,
        MetricAggregation::Last => Aggregation::Last,
        MetricAggregation::UniqueCount => Aggregation::UniqueCount,
    };
    let event = Event { quantity, occurred_at, receipt: 0, unique_key };
    check_event(&event, aggregation, now).err().map(|code| match code {
        RejectCode::UnknownTenant => UsageRejectionCode::UnknownTenant,
        RejectCode::UnknownMetric => UsageRejectionCode::UnknownMetric,
        RejectCode::NoSubscription => UsageRejectionCode::NoSubscription,
        RejectCode::TooOld => UsageRejectionCode::TooOld,
        RejectCode::InFuture => UsageRejectionCode::InFuture,
        RejectCode::BadQuantity => UsageRejectionCode::BadQuantity,
        RejectCode::MissingUniqueKey => UsageRejectionCode::MissingUniqueKey,
    })
}

/// The limit of a metric in a plan's quotas; none when it is unlimited.
pub fn limit(quotas: &serde_json::Value, metric_slug: &str) -> Option<Decimal> {
    let limit = match quotas.get(metric_slug)? {
        serde_json::Value::Number(number) => number.to_string().parse().ok(),
        serde_json::Value::String(text) => text.parse().ok(),
        _ => None,
    };
    limit.filter(|l: &Decimal| !l.is_zero()).map(|l| l.normalize())
}

/// What one server has counted of one metric in one segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// The sum, the maximum, the newest value, or the number of different keys.
    pub value: Decimal,
    /// Keys in `value` that another segment of the month had before.
    pub repeats: i64,
    /// `last` only: when the newest event occurred and was received; the server decides between equal ones.
    pub newest: Option<(DateTime<Utc>, DateTime<Utc>, i16)>,
}

/// The quantity of one segment. A sum that is below 0 counts as 0. None when there is no part.
pub fn segment_value(aggregation: MetricAggregation, parts: &[Part]) -> Result<Option<Decimal>> {
    let values = || parts.iter().map(|p| p.value);
    Ok(match aggregation {
        _ if parts.is_empty() => None,
        MetricAggregation::Sum => Some(sum(values())?.max(Decimal::ZERO)),
        MetricAggregation::UniqueCount => Some(sum(values())?),
        MetricAggregation::Max => values().max(),
        MetricAggregation::Last => parts.iter().max_by_key(|p| p.newest).map(|p| p.value),
    })
}

/// The quantity of a usage month that consists of these segments: what a quota is compared with.
///
/// A key of a `unique_count` counts once, in however many segments of the month it was seen. None when nothing was
/// counted; what a `last` metric then shows is carried over from before.
pub fn month_value<'a>(
    aggregation: MetricAggregation,
    segments: impl Iterator<Item = &'a [Part]> + Clone,
) -> Result<Option<Decimal>> {
    match aggregation {
        MetricAggregation::Last => {
            let newest = segments.flatten().max_by_key(|p| p.newest);
            Ok(newest.map(|p| p.value))
        }
        _ => {
            let repeats: i64 = segments.clone().flatten().map(|p| p.repeats).sum();
            let mut values = Vec::new();
            for parts in segments {
                values.extend(segment_value(aggregation, parts)?);
            }
            Ok(match aggregation {
                _ if values.is_empty() => None,
                MetricAggregation::Max => values.into_iter().max(),
                _ => Some(sum(values.into_iter())? - Decimal::from(repeats)),
            })
        }
    }
}

fn sum(values: impl Iterator<Item = Decimal>) -> Result<Decimal> {
    let mut total = Decimal::ZERO;
    for value in values {
        total = total.checked_add(value).ok_or_else(|| Error::internal("a total of usage is too large"))?;
    }
    Ok(total)
}

/// How usage stands against a limit.
pub fn quota(limit: Option<Decimal>, used: Decimal) -> Result<Quota> {
    let quota = quota::quota(limit, used).map_err(Error::internal)?;
    let plain = |d: Option<Decimal>| d.map(|d| d.normalize());
    Ok(Quota { remaining: plain(quota.remaining), percent: plain(quota.percent), ..quota })
}

/// The start of the UTC bucket that holds an instant.
pub fn bucket_start(period: UsagePeriodType, at: DateTime<Utc>) -> DateTime<Utc> {
    let day = at.date_naive();
    match period {
        UsagePeriodType::Hourly => hour_start(at),
        UsagePeriodType::Daily => day.and_time(NaiveTime::MIN).and_utc(),
        UsagePeriodType::Monthly => {
            Utc.with_ymd_and_hms(day.year(), day.month(), 1, 0, 0, 0).single().unwrap_or(at)
        }
    }
}

/// The end of the bucket that starts at `start`.
pub fn bucket_end(period: UsagePeriodType, start: DateTime<Utc>) -> DateTime<Utc> {
    match period {
        UsagePeriodType::Hourly => start + TimeDelta::hours(1),
        UsagePeriodType::Daily => start + TimeDelta::days(1),
        UsagePeriodType::Monthly => {
            start.checked_add_months(Months::new(1)).unwrap_or(DateTime::<Utc>::MAX_UTC)
        }
    }
}

/// The full hour at or before an instant.
pub fn hour_start(at: DateTime<Utc>) -> DateTime<Utc> {
    at - TimeDelta::minutes(i64::from(at.minute()))
        - TimeDelta::seconds(i64::from(at.second()))
        - TimeDelta::nanoseconds(i64::from(at.nanosecond() % 1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use MetricAggregation::{Last, Max, Sum, UniqueCount};

    fn d(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    fn t(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn part(value: &str) -> Part {
        Part { value: d(value), repeats: 0, newest: None }
    }

    #[test]
    fn limits_of_a_plan() {
        let quotas = serde_json::json!({"calls": 1000, "gb": "2.50", "seats": 0, "odd": null});
        assert_eq!(limit(&quotas, "calls"), Some(d("1000")));
        assert_eq!(limit(&quotas, "gb"), Some(d("2.5")));
        for unlimited in ["seats", "odd", "absent"] {
            assert_eq!(limit(&quotas, unlimited), None, "{unlimited}");
        }
    }

    #[test]
    fn a_segment_adds_up_by_its_metric() {
        let parts = [part("5"), part("-7"), part("1")];
        assert_eq!(segment_value(Sum, &parts).unwrap(), Some(d("0")));
        assert_eq!(segment_value(Max, &parts).unwrap(), Some(d("5")));
        assert_eq!(segment_value(UniqueCount, &[part("2"), part("3")]).unwrap(), Some(d("5")));
        assert_eq!(segment_value(Sum, &[]).unwrap(), None);
        let at = |value: &str, occurred: &str, received: &str, stripe| Part {
            newest: Some((t(occurred), t(received), stripe)),
            ..part(value)
        };
        let (early, late) = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
        let parts = [at("1", late, early, 0), at("2", late, late, 0), at("3", early, late, 9)];
        assert_eq!(segment_value(Last, &parts).unwrap(), Some(d("2")));
        let tie = [at("1", late, late, 4), at("2", late, late, 3)];
        assert_eq!(segment_value(Last, &tie).unwrap(), Some(d("1")));
    }

    #[test]
    fn a_month_adds_up_its_segments() {
        let (first, second) = ([part("-5")], [part("3")]);
        let month = |kind, segments: &[&[Part]]| month_value(kind, segments.iter().copied()).unwrap();
        assert_eq!(month(Sum, &[&first, &second]), Some(d("3")), "the floor is the segment's");
        assert_eq!(month(Max, &[&[part("4")], &second]), Some(d("4")));
        let again = [Part { repeats: 2, ..part("3") }];
        assert_eq!(month(UniqueCount, &[&[part("2")], &again]), Some(d("3")), "a key counts once");
        assert_eq!(month(Last, &[]), None);
    }

    #[test]
    fn buckets_are_those_of_utc() {
        let at = t("2026-01-31T23:59:59.999999Z");
        let ends = |period| {
            let start = bucket_start(period, at);
            (start, bucket_end(period, start))
        };
        let midnight = t("2026-02-01T00:00:00Z");
        assert_eq!(ends(UsagePeriodType::Hourly), (t("2026-01-31T23:00:00Z"), midnight));
        assert_eq!(ends(UsagePeriodType::Daily), (t("2026-01-31T00:00:00Z"), midnight));
        assert_eq!(ends(UsagePeriodType::Monthly), (t("2026-01-01T00:00:00Z"), midnight));
        assert_eq!(bucket_start(UsagePeriodType::Monthly, midnight), midnight);
    }
}
