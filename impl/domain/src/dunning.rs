//! Owns the timeline of an unpaid invoice: which step is due when.
//!
//! Days count from the instant at which the invoice became past due, as local days: a step is due at the same time of
//! day, for most invoices at a midnight. Each step is taken once. Whoever looks late takes every step that was missed,
//! but of several reminders only the newest: nobody is helped by five mails at once.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::period::{PeriodError, add_local_days};

/// When what happens, in days.
#[derive(Debug, Clone, Copy)]
pub struct Schedule<'a> {
    /// Days of reminders.
    pub reminder_days: &'a [u32],
    /// Day of the suspension.
    pub suspend_after_days: u32,
    /// Day of the cancellation; `None`: never.
    pub cancel_after_days: Option<u32>,
}

/// What was done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// The newest day whose reminder was taken. Earlier days are over.
    pub reminded_day: Option<u32>,
    /// Whether subscriptions were suspended.
    pub suspended: bool,
    /// Whether subscriptions were cancelled.
    pub cancelled: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Due {
    /// The day whose reminder goes out.
    pub reminder: Option<u32>,
    /// Subscriptions are suspended.
    pub suspend: bool,
    /// Subscriptions are cancelled.
    pub cancel: bool,
    /// When the next step after these is due; `None` when none is left.
    pub next_at: Option<DateTime<Utc>>,
}

/// The steps that are due at `now` of an invoice that is past due since `since`.
///
/// # Errors
/// [`PeriodError::OutOfRange`] at the ends of the calendar.
pub fn due(
    schedule: &Schedule<'_>,
    taken: Taken,
    since: DateTime<Utc>,
    timezone: Tz,
    now: DateTime<Utc>,
) -> Result<Due, PeriodError> {
    let mut due = Due::default();
    let mut next_at: Option<DateTime<Utc>> = None;
    // Whether the step of that day is due; if not yet, it may be the next one.
    let mut is_due = |day: u32| -> Result<bool, PeriodError> {
        let at = add_local_days(since, i64::from(day), timezone)?;
        if now < at {
            next_at = Some(next_at.map_or(at, |next| next.min(at)));
        }
        Ok(at <= now)
    };
    for day in schedule.reminder_days.iter().filter(|day| taken.reminded_day.is_none_or(|last| last < **day))
    {
        if is_due(*day)? {
            due.reminder = due.reminder.max(Some(*day));
        }
    }
    if !taken.suspended {
        due.suspend = is_due(schedule.suspend_after_days)?;
    }
    if let Some(day) = schedule.cancel_after_days.filter(|_| !taken.cancelled) {
        due.cancel = is_due(day)?;
    }
    due.next_at = next_at;
    Ok(due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::period::parse_timezone;

    const USUAL: Schedule<'static> =
        Schedule { reminder_days: &[0, 3, 7, 10], suspend_after_days: 14, cancel_after_days: Some(60) };

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn zone(name: &str) -> Tz {
        parse_timezone(name).unwrap()
    }

    #[test]
    fn each_step_comes_at_its_midnight_over_the_change_of_clocks() {
        // Past due since midnight of 25 March in Amsterdam; on the 29th clocks go forward.
        let (since, tz) = (at("2026-03-24T23:00:00Z"), zone("Europe/Amsterdam"));
        let mut taken = Taken::default();
        let mut seen = Vec::new();
        let mut now = since;
        for _ in 0..6 {
            let due = due(&USUAL, taken, since, tz, now).unwrap();
            seen.push((now.to_rfc3339(), due.reminder, due.suspend, due.cancel));
            taken.reminded_day = due.reminder.or(taken.reminded_day);
            taken.suspended |= due.suspend;
            taken.cancelled |= due.cancel;
            let Some(next) = due.next_at else { break };
            // One second before, nothing is due.
            let early = super::due(&USUAL, taken, since, tz, next - chrono::Duration::seconds(1)).unwrap();
            assert_eq!((early.reminder, early.suspend, early.cancel), (None, false, false));
            now = next;
        }
        let expected = [
            ("2026-03-24T23:00:00+00:00", Some(0), false, false),
            ("2026-03-27T23:00:00+00:00", Some(3), false, false),
            ("2026-03-31T22:00:00+00:00", Some(7), false, false),
            ("2026-04-03T22:00:00+00:00", Some(10), false, false),
            ("2026-04-07T22:00:00+00:00", None, true, false),
            ("2026-05-23T22:00:00+00:00", None, false, true),
        ];
        assert_eq!(seen, expected.map(|(at, reminder, s, c)| (at.to_owned(), reminder, s, c)));
    }

    #[test]
    fn who_looks_late_takes_each_missed_step_and_one_reminder() {
        let since = at("2026-02-20T10:00:00Z");
        let late = due(&USUAL, Taken::default(), since, Tz::UTC, at("2026-03-07T00:00:00Z")).unwrap();
        assert_eq!(
            late,
            Due {
                reminder: Some(10),
                suspend: true,
                cancel: false,
                next_at: Some(at("2026-04-21T10:00:00Z"))
            }
        );
        let taken = Taken { reminded_day: Some(10), suspended: true, cancelled: false };
        let later = due(&USUAL, taken, since, Tz::UTC, at("2027-01-01T00:00:00Z")).unwrap();
        assert_eq!(later, Due { cancel: true, ..Due::default() });
    }

    #[test]
    fn a_new_schedule_holds_for_what_is_open() {
        let since = at("2024-02-28T00:00:00Z");
        let taken = Taken { reminded_day: Some(7), ..Taken::default() };
        let schedule = Schedule { reminder_days: &[1, 5, 9], suspend_after_days: 2, cancel_after_days: None };
        // The reminder of day 5 lies before what was taken already; suspension was put before today.
        let due = due(&schedule, taken, since, Tz::UTC, at("2024-03-06T12:00:00Z")).unwrap();
        assert_eq!(due, Due { suspend: true, next_at: Some(at("2024-03-08T00:00:00Z")), ..Due::default() });
    }
}
