use super::*;
use proptest::prelude::*;

fn d(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

#[test]
fn standard_rates_of_2026() {
    let table = [
        ("AT", "20"),
        ("BE", "21"),
        ("BG", "20"),
        ("CY", "19"),
        ("CZ", "21"),
        ("DE", "19"),
        ("DK", "25"),
        ("EE", "24"),
        ("ES", "21"),
        ("FI", "25.5"),
        ("FR", "20"),
        ("GR", "24"),
        ("HR", "25"),
        ("HU", "27"),
        ("IE", "23"),
        ("IT", "22"),
        ("LT", "21"),
        ("LU", "17"),
        ("LV", "21"),
        ("MT", "18"),
        ("NL", "21"),
        ("PL", "23"),
        ("PT", "23"),
        ("RO", "21"),
        ("SE", "25"),
        ("SI", "22"),
        ("SK", "23"),
    ];
    assert_eq!(table.len(), EuCountry::ALL.len());
    for (country, rate) in table {
        let country = country.parse().expect("a member state");
        assert_eq!(Rates::published().standard(country, day("2026-10-01")), Some(d(rate)), "{country}");
    }
}

#[test]
fn changes_take_effect_on_their_day() {
    let table = [
        ("DE", "2020-06-30", "19"),
        ("DE", "2020-07-01", "16"),
        ("DE", "2020-12-31", "16"),
        ("DE", "2021-01-01", "19"),
        ("IE", "2020-08-31", "23"),
        ("IE", "2020-09-01", "21"),
        ("IE", "2021-02-28", "21"),
        ("IE", "2021-03-01", "23"),
        ("LU", "2022-12-31", "17"),
        ("LU", "2023-01-01", "16"),
        ("LU", "2023-12-31", "16"),
        ("LU", "2024-01-01", "17"),
        ("EE", "2023-12-31", "20"),
        ("EE", "2024-01-01", "22"),
        ("EE", "2025-06-30", "22"),
        ("EE", "2025-07-01", "24"),
        ("FI", "2024-08-31", "24"),
        ("FI", "2024-09-01", "25.5"),
        ("SK", "2024-12-31", "20"),
        ("SK", "2025-01-01", "23"),
        ("RO", "2019-01-01", "19"),
        ("RO", "2025-07-31", "19"),
        ("RO", "2025-08-01", "21"),
        ("GR", "2016-05-31", "23"),
        ("GR", "2016-06-01", "24"),
    ];
    for (country, date, rate) in table {
        let country = country.parse().expect("a member state");
        assert_eq!(Rates::published().standard(country, day(date)), Some(d(rate)), "{country} on {date}");
    }
    assert_eq!(Rates::published().standard(EuCountry::Nl, day("2015-12-31")), None);
}

#[test]
fn reduced_rates() {
    let legal = |country: &str, date: &str| {
        let mut rates = Rates::published().legal(country.parse().expect("a member state"), day(date));
        rates.sort();
        rates.into_iter().map(|rate| rate.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(legal("NL", "2018-12-31"), ["6", "21"]);
    assert_eq!(legal("NL", "2026-01-01"), ["9", "21"]);
    assert_eq!(legal("DE", "2020-10-01"), ["5", "7", "16"]);
    assert_eq!(legal("DK", "2026-01-01"), ["25"]);
    assert_eq!(legal("CZ", "2023-12-31"), ["10", "15", "21"]);
    assert_eq!(legal("CZ", "2024-01-01"), ["12", "21"]);
    assert_eq!(legal("FI", "2026-01-01"), ["10", "13.5", "25.5"]);
    assert_eq!(legal("LU", "2023-06-01"), ["3", "7", "13", "16"]);
    assert_eq!(legal("RO", "2026-09-01"), ["11", "21"]);
    assert_eq!(legal("SK", "2025-01-01"), ["5", "19", "23"]);
    assert_eq!(legal("LT", "2026-01-01"), ["5", "12", "21"]);
    assert!(Rates::published().is_legal(EuCountry::Nl, day("2026-01-01"), d("9.00")));
    assert!(!Rates::published().is_legal(EuCountry::Nl, day("2026-01-01"), d("6")));
    assert!(!Rates::published().is_legal(EuCountry::Nl, day("2026-01-01"), d("0")));
}

#[test]
fn settings_override() {
    let row = |kind, rate: &str, from: &str, until: Option<&str>| RateOverride {
        country: EuCountry::Nl,
        kind,
        rate: d(rate),
        valid_from: day(from),
        valid_until: until.map(day),
    };
    let rates = Rates::new(vec![
        row(RateKind::Standard, "22", "2027-01-01", None),
        row(RateKind::Standard, "23.5", "2027-07-01", Some("2027-12-31")),
        row(RateKind::Reduced, "12", "2027-01-01", None),
    ])
    .expect("valid");
    let table = [
        ("2026-12-31", "21"),
        ("2027-01-01", "22"),
        ("2027-07-01", "23.5"),
        ("2027-12-31", "23.5"),
        ("2028-01-01", "22"),
    ];
    for (date, rate) in table {
        assert_eq!(rates.standard(EuCountry::Nl, day(date)), Some(d(rate)), "{date}");
    }
    assert!(rates.is_legal(EuCountry::Nl, day("2027-03-01"), d("12")));
    assert!(!rates.is_legal(EuCountry::Nl, day("2027-03-01"), d("21")), "replaced");
    assert!(!rates.is_legal(EuCountry::Be, day("2027-03-01"), d("22")), "another country");
    let errors = Rates::new(vec![
        row(RateKind::Standard, "0", "2027-01-01", None),
        row(RateKind::Standard, "100.01", "2027-01-01", None),
        row(RateKind::Standard, "21.123", "2027-01-01", None),
        row(RateKind::Standard, "21", "2027-01-01", Some("2026-01-01")),
    ])
    .expect_err("invalid");
    let fields: Vec<_> = errors.iter().map(|error| (error.index, error.field.as_str())).collect();
    assert_eq!(fields, [(0, "rate"), (1, "rate"), (2, "rate"), (3, "valid_until")]);
}

#[test]
fn currencies_of_vat_returns() {
    let table = [
        ("NL", "2026-01-01", "EUR"),
        ("BG", "2025-12-31", "BGN"),
        ("BG", "2026-01-01", "EUR"),
        ("HR", "2022-12-31", "HRK"),
        ("HR", "2023-01-01", "EUR"),
        ("CZ", "2026-01-01", "CZK"),
        ("DK", "2026-01-01", "DKK"),
        ("HU", "2026-01-01", "HUF"),
        ("PL", "2026-01-01", "PLN"),
        ("RO", "2026-01-01", "RON"),
        ("SE", "2026-01-01", "SEK"),
    ];
    for (country, date, code) in table {
        let currency = vat_currency(country.parse().expect("a member state"), day(date)).expect("a currency");
        assert_eq!(currency.code(), code, "{country} on {date}");
    }
}

proptest! {
    #[test]
    fn every_day_since_2016_has_rates(country in prop::sample::select(EuCountry::ALL.to_vec()), days in 0_u64..7_000) {
        let day = day("2016-01-01") + chrono::Days::new(days);
        let rates = Rates::published();
        let standard = rates.standard(country, day).expect("a rate");
        prop_assert!(d("15") <= standard && standard <= d("27"));
        let legal = rates.legal(country, day);
        prop_assert_eq!(legal.first(), Some(&standard));
        prop_assert!(legal.iter().all(|rate| d("0") < *rate && *rate <= standard));
        prop_assert!(vat_currency(country, day).is_ok());
    }
}
