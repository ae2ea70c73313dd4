use super::*;
use chrono_tz::TZ_VARIANTS;
use proptest::prelude::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn date(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

fn starts(first: &str, interval: Interval, tz: Tz, count: u32) -> Vec<String> {
    let periods = Periods::starting_at(utc(first), interval, tz).expect("periods");
    (0..count)
        .map(|index| periods.period(index).expect("period").start.format("%Y-%m-%dT%H:%MZ").to_string())
        .collect()
}

#[test]
fn the_31st_stays_the_31st() {
    assert_eq!(
        starts("2024-01-31T09:30:00Z", Interval::Monthly, Tz::UTC, 5),
        [
            "2024-01-31T09:30Z",
            "2024-02-29T00:00Z",
            "2024-03-31T00:00Z",
            "2024-04-30T00:00Z",
            "2024-05-31T00:00Z"
        ]
    );
    assert_eq!(
        starts("2024-02-29T00:00:00Z", Interval::Yearly, Tz::UTC, 5),
        [
            "2024-02-29T00:00Z",
            "2025-02-28T00:00Z",
            "2026-02-28T00:00Z",
            "2027-02-28T00:00Z",
            "2028-02-29T00:00Z"
        ]
    );
    assert_eq!(
        starts("2025-11-30T12:00:00Z", Interval::Quarterly, Tz::UTC, 3),
        ["2025-11-30T12:00Z", "2026-02-28T00:00Z", "2026-05-30T00:00Z"]
    );
}

#[test]
fn boundaries_are_local_midnights() {
    assert_eq!(
        starts("2026-02-28T23:30:00Z", Interval::Monthly, Tz::Europe__Amsterdam, 3),
        ["2026-02-28T23:30Z", "2026-03-31T22:00Z", "2026-04-30T22:00Z"]
    );
    assert_eq!(
        starts("2026-01-01T11:00:00Z", Interval::Monthly, Tz::Pacific__Kiritimati, 2),
        ["2026-01-01T11:00Z", "2026-02-01T10:00Z"]
    );
}

#[test]
fn midnight_in_gaps_and_overlaps() {
    let cases = [
        // Clocks jumped from 00:00 to 01:00.
        ("2018-11-04", Tz::America__Sao_Paulo, "2018-11-04T03:00:00Z"),
        ("2019-03-31", Tz::Asia__Beirut, "2019-03-30T22:00:00Z"),
        // 01:00 became 00:00: midnight happened twice, the first one counts.
        ("2020-11-01", Tz::America__Havana, "2020-11-01T04:00:00Z"),
        // 00:00 became 23:00 of the day before: only one midnight, an hour later.
        ("2018-02-18", Tz::America__Sao_Paulo, "2018-02-18T03:00:00Z"),
        // Samoa had no 30 December 2011.
        ("2011-12-30", Tz::Pacific__Apia, "2011-12-30T10:00:00Z"),
        ("2011-12-31", Tz::Pacific__Apia, "2011-12-30T10:00:00Z"),
        ("2026-03-29", Tz::Europe__Amsterdam, "2026-03-28T23:00:00Z"),
        ("2026-03-30", Tz::Europe__Amsterdam, "2026-03-29T22:00:00Z"),
    ];
    for (day, tz, want) in cases {
        assert_eq!(local_midnight(date(day), tz), Ok(utc(want)), "{day} in {tz}");
    }
}

#[test]
fn one_time_has_one_open_period_and_calendar_months_of_usage() {
    let periods =
        Periods::starting_at(utc("2026-01-20T10:00:00Z"), Interval::OneTime, Tz::UTC).expect("periods");
    assert_eq!(periods.period(0).map(|period| period.end), Ok(None));
    assert_eq!(periods.period(1), Err(PeriodError::OutOfRange));
    let later = periods.period_at(utc("2036-01-01T00:00:00Z")).expect("in range");
    assert_eq!(later.map(|period| period.index), Some(0));
    let months = periods.usage_months().expect("months");
    assert_eq!(
        months.period(0).map(|m| (m.start, m.end)),
        Ok((utc("2026-01-20T10:00:00Z"), Some(utc("2026-02-01T00:00:00Z"))))
    );
    assert_eq!(months.period(1).map(|m| m.start), Ok(utc("2026-02-01T00:00:00Z")));
    assert_eq!(periods.full_month(0), Ok((utc("2026-01-01T00:00:00Z"), utc("2026-02-01T00:00:00Z"))));
}

#[test]
fn refusals() {
    let anchor = date("2026-01-31");
    let new = |first: &str| Periods::new(anchor, Interval::Monthly, Tz::UTC, utc(first)).map(|_| ());
    assert_eq!(new("2026-01-30T23:59:59Z"), Err(PeriodError::FirstStart));
    assert_eq!(new("2026-01-31T00:00:00Z"), Ok(()));
    assert_eq!(new("2026-02-27T23:59:59Z"), Ok(()));
    assert_eq!(new("2026-02-28T00:00:00Z"), Err(PeriodError::FirstStart));
    assert!(parse_timezone("Europe/Amsterdam").is_ok());
    assert!(matches!(parse_timezone("Mars/Olympus"), Err(PeriodError::UnknownTimezone(_))));
    for at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        assert!(Periods::starting_at(at, Interval::Monthly, Tz::UTC).is_err());
    }
    let periods =
        Periods::starting_at(utc("2026-01-01T00:00:00Z"), Interval::Yearly, Tz::UTC).expect("periods");
    assert_eq!(periods.period(u32::MAX), Err(PeriodError::OutOfRange));
    assert_eq!(periods.period(u32::MAX / 12), Err(PeriodError::OutOfRange));
}

fn any_interval() -> impl Strategy<Value = Interval> {
    prop_oneof![Just(Interval::Monthly), Just(Interval::Quarterly), Just(Interval::Yearly)]
}

/// Any timezone; one half of the cases are the ones that are hard.
fn any_timezone() -> impl Strategy<Value = Tz> {
    let hard = [
        Tz::America__Sao_Paulo,
        Tz::America__Havana,
        Tz::America__St_Johns,
        Tz::Asia__Beirut,
        Tz::Pacific__Apia,
        Tz::Pacific__Kiritimati,
        Tz::Australia__Lord_Howe,
        Tz::Asia__Kathmandu,
        Tz::Africa__Casablanca,
        Tz::Etc__GMTPlus12,
        Tz::Etc__GMTMinus14,
        Tz::Europe__Amsterdam,
    ];
    prop_oneof![prop::sample::select(hard.to_vec()), prop::sample::select(TZ_VARIANTS.to_vec())]
}

/// An instant of 1995 to 2060; one half of them on days from the 28th on.
fn any_instant() -> impl Strategy<Value = DateTime<Utc>> {
    let day = prop_oneof![1_u32..29, 28_u32..32];
    (1995_i32..2060, 1_u32..13, day, 0_u32..86_400, 0_u32..1_000_000_000).prop_map(
        |(year, month, day, second, nano)| {
            let last = (day.saturating_sub(3)..=day)
                .rev()
                .find_map(|day| NaiveDate::from_ymd_opt(year, month, day.max(1)));
            last.expect("a date")
                .and_time(NaiveTime::from_num_seconds_from_midnight_opt(second, nano).expect("a time"))
                .and_utc()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn periods_tile_time(start in any_instant(), interval in any_interval(), tz in any_timezone()) {
        let periods = Periods::starting_at(start, interval, tz).expect("periods");
        let mut expected = start;
        for index in 0..30 {
            let period = periods.period(index).expect("period");
            let end = period.end.expect("recurring");
            prop_assert_eq!(period.start, expected);
            prop_assert!(period.start < end);
            expected = end;
        }
    }

    #[test]
    fn period_at_finds_the_only_holder(start in any_instant(), interval in any_interval(), tz in any_timezone(),
                                       offset in -100_000_i64..300_000_000, index in 0_u32..24) {
        let periods = Periods::starting_at(start, interval, tz).expect("periods");
        let at = start + Duration::seconds(offset);
        match periods.period_at(at).expect("in range") {
            Some(period) => {
                prop_assert!(period.contains(at));
                prop_assert_eq!(periods.period(period.index), Ok(period));
            }
            None => prop_assert!(at < start),
        }
        let period = periods.period(index).expect("period");
        let end = period.end.expect("recurring");
        let index_at = |at| periods.period_at(at).expect("in range").map(|found| found.index);
        prop_assert_eq!(index_at(period.start), Some(index));
        prop_assert_eq!(index_at(end - Duration::nanoseconds(1)), Some(index));
        prop_assert_eq!(index_at(end), Some(index + 1));
    }

    #[test]
    fn renewals_keep_the_day_of_the_anchor(start in any_instant(), interval in any_interval(), tz in any_timezone(), index in 1_u32..40) {
        let periods = Periods::starting_at(start, interval, tz).expect("periods");
        let months = interval.months().expect("recurring") * index;
        let want = periods.anchor().checked_add_months(Months::new(months)).expect("a date");
        let boundary = periods.period(index).expect("period").start;
        prop_assert_eq!(boundary, local_midnight(want, tz).expect("in range"));
        let skipped = tz.from_local_datetime(&want.and_time(NaiveTime::MIN)).earliest().is_none();
        if !skipped {
            prop_assert_eq!(local_date(boundary, tz), Ok(want));
        }
    }

    #[test]
    fn usage_months_subdivide_periods(start in any_instant(), interval in any_interval(), tz in any_timezone(), index in 0_u32..8) {
        let periods = Periods::starting_at(start, interval, tz).expect("periods");
        let months = periods.usage_months().expect("months");
        let step = interval.months().expect("recurring");
        let period = periods.period(index).expect("period");
        prop_assert_eq!(months.period(index * step).map(|month| month.start), Ok(period.start));
        prop_assert_eq!(months.period(index * step + step - 1).map(|month| month.end), Ok(period.end));
    }

    #[test]
    fn one_time_usage_months_tile(start in any_instant(), tz in any_timezone()) {
        let months = Periods::starting_at(start, Interval::OneTime, tz).and_then(|p| p.usage_months()).expect("months");
        let mut expected = start;
        for index in 0..14 {
            let month = months.period(index).expect("month");
            prop_assert_eq!(month.start, expected);
            expected = month.end.expect("recurring");
            prop_assert!(month.start < expected);
        }
    }

    #[test]
    fn midnight_is_the_first_instant_of_its_date(start in any_instant(), tz in any_timezone()) {
        let day = local_date(start, tz).expect("in range");
        let midnight = local_midnight(day, tz).expect("in range");
        prop_assert!(midnight <= start);
        prop_assert_eq!(local_date(midnight, tz), Ok(day));
        prop_assert!(local_date(midnight - Duration::seconds(1), tz).expect("in range") < day);
    }
}

#[test]
fn local_days_are_days_on_the_wall() {
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let zone = |name: &str| parse_timezone(name).unwrap();
    let add = |from: &str, days: i64, name: &str| add_local_days(at(from), days, zone(name)).unwrap();
    // Midnight stays midnight, whatever the hours of the days between.
    assert_eq!(add("2026-03-28T23:00:00Z", 1, "Europe/Amsterdam"), at("2026-03-29T22:00:00Z"));
    assert_eq!(add("2026-10-24T22:00:00Z", 1, "Europe/Amsterdam"), at("2026-10-25T23:00:00Z"));
    assert_eq!(add("2024-02-28T10:00:00Z", 1, "Pacific/Kiritimati"), at("2024-02-29T10:00:00Z"));
    assert_eq!(add("2024-02-29T11:00:00Z", -1, "Pacific/Niue"), at("2024-02-28T11:00:00Z"));
    // In Beirut clocks jump at midnight: the day begins at 01:00, and the one after it at 00:00 again.
    assert_eq!(add("2026-03-27T22:00:00Z", 1, "Asia/Beirut"), at("2026-03-28T22:00:00Z"));
    assert_eq!(add("2026-03-28T22:00:00Z", 1, "Asia/Beirut"), at("2026-03-29T21:00:00Z"));
    assert_eq!(add("2026-03-29T21:00:00Z", -1, "Asia/Beirut"), at("2026-03-28T22:00:00Z"));
    // Samoa had no 30 December 2011.
    assert_eq!(add("2011-12-29T10:00:00Z", 1, "Pacific/Apia"), at("2011-12-30T10:00:00Z"));
    assert!(add_local_days(DateTime::<Utc>::MAX_UTC, 1, Tz::UTC).is_err());
    assert!(add_local_days(at("2026-01-01T00:00:00Z"), i64::MAX, Tz::UTC).is_err());
}
