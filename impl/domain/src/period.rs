//! Owns the boundaries of billing periods and usage months, in the timezone of a subscription.
//!
//! A boundary is a local midnight. The n-th boundary is computed from the anchor (the local date of activation)
//! and never from the boundary before it: a subscription anchored on the 31st renews on the 28th of February
//! and again on the 31st of March. The first period starts at the instant of activation. Whatever the anchor,
//! the interval and the clock changes of the timezone, periods tile time: each ends where the next one starts.
//!
//! Where midnight does not exist (the clock jumps over it), the boundary is the first instant of that date; where
//! it happens twice, it is the first of the two.

use chrono::{
    DateTime, Datelike, Duration, MappedLocalTime, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc,
};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::text::text_enum;

text_enum! {
    /// How often a plan is billed.
    Interval, "billing period" {
        /// Every month.
        Monthly = "monthly",
        /// Every three months.
        Quarterly = "quarterly",
        /// Every twelve months.
        Yearly = "yearly",
        /// Once, at activation; such a subscription has one period without end.
        OneTime = "one_time",
    }
}

impl Interval {
    /// Months from one boundary to the next; `None` for [`Interval::OneTime`].
    pub const fn months(self) -> Option<u32> {
        match self {
            Self::Monthly => Some(1),
            Self::Quarterly => Some(3),
            Self::Yearly => Some(12),
            Self::OneTime => None,
        }
    }
}

/// Why a period cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// Not a name of the IANA timezone database.
    #[error("unknown timezone {0:?}")]
    UnknownTimezone(String),
    /// The date lies outside the calendar.
    #[error("the date is out of range")]
    OutOfRange,
    /// The first period does not start between its anchor and the boundary after it.
    #[error("the first period must start between the anchor and the first boundary after it")]
    FirstStart,
}

/// A stretch of time: `start` belongs to it, `end` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// Number of the period, from 0.
    pub index: u32,
    /// First instant.
    pub start: DateTime<Utc>,
    /// First instant after it; `None` for the only period of a one-time plan.
    pub end: Option<DateTime<Utc>>,
}

impl Period {
    /// Whether the instant lies in the period.
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.start <= at && self.end.is_none_or(|end| at < end)
    }
}

/// All periods of one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periods {
    anchor: NaiveDate,
    interval: Interval,
    timezone: Tz,
    first_start: DateTime<Utc>,
}

impl Periods {
    /// The periods of a stored subscription.
    ///
    /// # Errors
    /// [`PeriodError::FirstStart`] unless `first_start` lies between the anchor's midnight and the first boundary
    /// after it, [`PeriodError::OutOfRange`] outside the calendar.
    pub fn new(
        anchor: NaiveDate,
        interval: Interval,
        timezone: Tz,
        first_start: DateTime<Utc>,
    ) -> Result<Self, PeriodError> {
        let periods = Self { anchor, interval, timezone, first_start };
        let first = periods.boundary(0)?;
        let next = match interval {
            Interval::OneTime => None,
            _ => Some(periods.boundary(1)?),
        };
        if first_start < first || next.is_some_and(|next| next <= first_start) {
            return Err(PeriodError::FirstStart);
        }
        Ok(periods)
    }

    /// The periods of a subscription that is activated at `start`: the anchor is the local date.
    ///
    /// # Errors
    /// [`PeriodError::OutOfRange`] outside the calendar.
    pub fn starting_at(start: DateTime<Utc>, interval: Interval, timezone: Tz) -> Result<Self, PeriodError> {
        Self::new(local_date(start, timezone)?, interval, timezone, start)
    }

    /// The local date from which boundaries are computed.
    pub fn anchor(&self) -> NaiveDate {
        self.anchor
    }

    /// The n-th period, from 0. A one-time plan has period 0 only.
    ///
    /// # Errors
    /// [`PeriodError::OutOfRange`].
    pub fn period(&self, index: u32) -> Result<Period, PeriodError> {
        let next = index.checked_add(1).ok_or(PeriodError::OutOfRange)?;
        let end = match (self.interval, index) {
            (Interval::OneTime, 0) => None,
            (Interval::OneTime, _) => return Err(PeriodError::OutOfRange),
            _ => Some(self.boundary(next)?),
        };
        let start = if index == 0 { self.first_start } else { self.boundary(index)? };
        Ok(Period { index, start, end })
    }

    /// The period that holds the instant; `None` before the first one starts.
    ///
    /// # Errors
    /// [`PeriodError::OutOfRange`].
    pub fn period_at(&self, at: DateTime<Utc>) -> Result<Option<Period>, PeriodError> {
        if at < self.first_start {
            return Ok(None);
        }
        let Some(step) = self.interval.months() else {
            return self.period(0).map(Some);
        };
        // The month count finds the period to within one: the anchor's day, and the instant of midnight, decide.
        let months = month_number(local_date(at, self.timezone)?)?
            .checked_sub(month_number(self.anchor)?)
            .and_then(|months| u32::try_from(months.max(0)).ok())
            .and_then(|months| months.checked_div(step))
            .ok_or(PeriodError::OutOfRange)?;
        for index in [months, months.saturating_sub(1), months.saturating_add(1)] {
            let period = self.period(index)?;
            if period.contains(at) {
                return Ok(Some(period));
            }
        }
        Err(PeriodError::OutOfRange)
    }

    /// The usage and quota periods: months from the anchor, calendar months for a one-time plan.
    ///
    /// # Errors
    /// [`PeriodError::OutOfRange`].
    pub fn usage_months(&self) -> Result<Self, PeriodError> {
        let anchor = match self.interval {
            Interval::OneTime => {
                local_date(self.first_start, self.timezone)?.with_day(1).ok_or(PeriodError::OutOfRange)?
            }
            _ => self.anchor,
        };
        Self::new(anchor, Interval::Monthly, self.timezone, self.first_start)
    }

    /// The whole usage month around a period of [`Self::usage_months`]: for the first one from the anchor's
    /// midnight, so that the minimum of a segment can be prorated against a full month.
    ///
    /// # Errors
    /// [`PeriodError::OutOfRange`].
    pub fn full_month(&self, index: u32) -> Result<(DateTime<Utc>, DateTime<Utc>), PeriodError> {
        let months = self.usage_months()?;
        let next = index.checked_add(1).ok_or(PeriodError::OutOfRange)?;
        Ok((months.boundary(index)?, months.boundary(next)?))
    }

    /// The n-th boundary: local midnight of the anchor plus n intervals. It ignores the first start.
    ///
    /// # Errors
    /// [`PeriodError::OutOfRange`].
    fn boundary(&self, index: u32) -> Result<DateTime<Utc>, PeriodError> {
        let months = self.interval.months().unwrap_or(0).checked_mul(index).ok_or(PeriodError::OutOfRange)?;
        let date = self.anchor.checked_add_months(Months::new(months)).ok_or(PeriodError::OutOfRange)?;
        local_midnight(date, self.timezone)
    }
}

/// Parses the name of a timezone of the IANA database, for instance `Europe/Amsterdam`.
///
/// # Errors
/// [`PeriodError::UnknownTimezone`].
pub fn parse_timezone(name: &str) -> Result<Tz, PeriodError> {
    name.parse().map_err(|_| PeriodError::UnknownTimezone(name.chars().take(64).collect()))
}

/// The date on the wall at an instant.
///
/// # Errors
/// [`PeriodError::OutOfRange`] at the ends of the calendar.
pub fn local_date(at: DateTime<Utc>, timezone: Tz) -> Result<NaiveDate, PeriodError> {
    // A day of margin: offsets are below it, and the conversion itself would panic at the ends.
    let day = Duration::days(1);
    if at.checked_add_signed(day).is_none() || at.checked_sub_signed(day).is_none() {
        return Err(PeriodError::OutOfRange);
    }
    Ok(at.with_timezone(&timezone).date_naive())
}

/// The instant at which a local date begins: its first midnight, or the first instant after a jump over it.
///
/// # Errors
/// [`PeriodError::OutOfRange`] at the ends of the calendar.
pub fn local_midnight(date: NaiveDate, timezone: Tz) -> Result<DateTime<Utc>, PeriodError> {
    local_instant(date.and_time(NaiveTime::MIN), timezone)
}

/// The same time of day so many local days later, or earlier when `days` is negative: however many hours those days
/// have. The beginning of a day leads to the beginning of a day. Where the wall does not show that time on that date, it
/// is the first instant after the jump; where it shows it twice, the first of the two.
///
/// # Errors
/// [`PeriodError::OutOfRange`] at the ends of the calendar.
pub fn add_local_days(at: DateTime<Utc>, days: i64, timezone: Tz) -> Result<DateTime<Utc>, PeriodError> {
    if days == 0 {
        return Ok(at);
    }
    let step = Duration::try_days(days).ok_or(PeriodError::OutOfRange)?;
    let date = local_date(at, timezone)?;
    let there = date.checked_add_signed(step).ok_or(PeriodError::OutOfRange)?;
    if local_midnight(date, timezone)? == at {
        return local_midnight(there, timezone);
    }
    local_instant(there.and_time(at.with_timezone(&timezone).time()), timezone)
}

/// The first instant at which the wall shows a time, or the first one after a jump over it.
fn local_instant(local: NaiveDateTime, timezone: Tz) -> Result<DateTime<Utc>, PeriodError> {
    let margin = Duration::days(3);
    let (Some(before), Some(after)) = (local.checked_sub_signed(margin), local.checked_add_signed(margin))
    else {
        return Err(PeriodError::OutOfRange);
    };
    match timezone.from_local_datetime(&local) {
        MappedLocalTime::Single(at) => return Ok(at.with_timezone(&Utc)),
        MappedLocalTime::Ambiguous(first, second) => return Ok(first.min(second).with_timezone(&Utc)),
        MappedLocalTime::None => {}
    }
    // It is skipped. Look for the jump: the first second at which the wall shows this time or a later one.
    // The wall is at most 15 hours from UTC, so that three days on either side hold it.
    let mut early = before.and_utc().timestamp();
    let mut late = after.and_utc().timestamp();
    while 1 < late.saturating_sub(early) {
        let middle = early.saturating_add(late.saturating_sub(early).checked_div(2).unwrap_or(0));
        let wall = DateTime::from_timestamp(middle, 0)
            .ok_or(PeriodError::OutOfRange)?
            .with_timezone(&timezone)
            .naive_local();
        if wall < local {
            early = middle;
        } else {
            late = middle;
        }
    }
    DateTime::from_timestamp(late, 0).ok_or(PeriodError::OutOfRange)
}

/// Months since year 0.
fn month_number(date: NaiveDate) -> Result<i64, PeriodError> {
    i64::from(date.year())
        .checked_mul(12)
        .and_then(|months| months.checked_add(i64::from(date.month0())))
        .ok_or(PeriodError::OutOfRange)
}

#[cfg(test)]
mod tests;
