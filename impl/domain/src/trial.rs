//! Owns when the tenant is told that a trial ends: so many local days before, at the time of day at which it ends.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::period::{PeriodError, add_local_days, local_date};

/// A trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// Its first instant.
    pub starts_at: DateTime<Utc>,
    /// The first instant after it.
    pub ends_at: DateTime<Utc>,
    /// Where its days are counted.
    pub timezone: Tz,
}

/// What a tenant is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Due {
    /// The notice of so many days before the end.
    pub notice: Option<u32>,
    /// When the next one is due; `None` when none is left.
    pub next_at: Option<DateTime<Utc>>,
}

/// The notice that is due at `now`. `days` are those before the end on which notices are given, `told` the smallest
/// of them that was: those of more days are over. A notice of more days than the trial has is none; whoever looks late
/// gives the newest one only.
///
/// # Errors
/// [`PeriodError::OutOfRange`] at the ends of the calendar.
pub fn due(days: &[u32], told: Option<u32>, trial: Trial, now: DateTime<Utc>) -> Result<Due, PeriodError> {
    let mut due = Due::default();
    if trial.ends_at <= now {
        return Ok(due);
    }
    let length = local_date(trial.ends_at, trial.timezone)?
        .signed_duration_since(local_date(trial.starts_at, trial.timezone)?)
        .num_days();
    for day in days.iter().copied().filter(|day| told.is_none_or(|told| *day < told)) {
        let before = i64::from(day);
        if before < 1 || length < before {
            continue;
        }
        // A change of clocks may put the first day's notice before the trial itself.
        let at = add_local_days(trial.ends_at, before.saturating_neg(), trial.timezone)?.max(trial.starts_at);
        if at <= now {
            due.notice = Some(due.notice.map_or(day, |notice| notice.min(day)));
        } else {
            due.next_at = Some(due.next_at.map_or(at, |next| next.min(at)));
        }
    }
    Ok(due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::period::parse_timezone;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn trial(starts_at: &str, ends_at: &str, zone: &str) -> Trial {
        Trial { starts_at: at(starts_at), ends_at: at(ends_at), timezone: parse_timezone(zone).unwrap() }
    }

    /// All notices of a trial, each taken when it is due.
    fn all(days: &[u32], trial: Trial) -> Vec<(u32, String)> {
        let (mut told, mut now, mut out) = (None, trial.starts_at, Vec::new());
        loop {
            let due = due(days, told, trial, now).unwrap();
            if let Some(notice) = due.notice {
                out.push((notice, now.to_rfc3339()));
                told = Some(notice);
            }
            let Some(next) = due.next_at else { return out };
            assert!(now < next);
            now = next;
        }
    }

    fn said(expected: &[(u32, &str)]) -> Vec<(u32, String)> {
        expected.iter().map(|(day, at)| (*day, (*at).to_owned())).collect()
    }

    #[test]
    fn notices_keep_the_time_of_day_over_the_change_of_clocks() {
        // Ends at 11:00 on 1 April in Amsterdam; clocks go forward on 29 March.
        let spring = trial("2026-03-18T09:00:00Z", "2026-04-01T09:00:00Z", "Europe/Amsterdam");
        assert_eq!(
            all(&[7, 3, 1], spring),
            said(&[
                (7, "2026-03-25T10:00:00+00:00"),
                (3, "2026-03-29T09:00:00+00:00"),
                (1, "2026-03-31T09:00:00+00:00")
            ])
        );
        // Ends at 02:30 on 30 March; on the 29th the wall jumps from 02:00 to 03:00.
        let jumped = trial("2026-03-16T00:30:00Z", "2026-03-30T00:30:00Z", "Europe/Amsterdam");
        assert_eq!(all(&[1], jumped), said(&[(1, "2026-03-29T01:00:00+00:00")]));
        // In autumn 02:30 comes twice: the first counts.
        let twice = trial("2026-10-12T00:30:00Z", "2026-10-26T01:30:00Z", "Europe/Amsterdam");
        assert_eq!(all(&[1], twice), said(&[(1, "2026-10-25T00:30:00+00:00")]));
    }

    #[test]
    fn days_are_those_of_the_place() {
        let east = trial("2024-02-20T10:30:00Z", "2024-03-01T10:30:00Z", "Pacific/Kiritimati");
        assert_eq!(all(&[1], east), said(&[(1, "2024-02-29T10:30:00+00:00")]));
        let west = trial("2024-02-20T11:30:00Z", "2024-03-01T11:30:00Z", "Pacific/Niue");
        assert_eq!(all(&[3], west), said(&[(3, "2024-02-27T11:30:00+00:00")]));
    }

    #[test]
    fn no_notice_of_more_days_than_the_trial_has() {
        let short = trial("2026-05-04T08:00:00Z", "2026-05-07T08:00:00Z", "UTC");
        assert_eq!(
            all(&[7, 3, 1], short),
            said(&[(3, "2026-05-04T08:00:00+00:00"), (1, "2026-05-06T08:00:00+00:00")])
        );
        // A week with an hour less than seven days of 24 hours: the notice of day 7 is not before its start.
        let autumn = trial("2026-10-22T09:00:00Z", "2026-10-29T09:00:00Z", "Europe/Amsterdam");
        assert_eq!(all(&[7], autumn), said(&[(7, "2026-10-22T09:00:00+00:00")]));
    }

    #[test]
    fn who_looks_late_gives_one_and_after_the_end_none() {
        let two_weeks = trial("2026-05-01T08:00:00Z", "2026-05-15T08:00:00Z", "UTC");
        let late = due(&[7, 3, 1], None, two_weeks, at("2026-05-13T00:00:00Z")).unwrap();
        assert_eq!(late, Due { notice: Some(3), next_at: Some(at("2026-05-14T08:00:00Z")) });
        assert_eq!(due(&[7, 3, 1], None, two_weeks, at("2026-05-15T08:00:00Z")).unwrap(), Due::default());
    }
}
