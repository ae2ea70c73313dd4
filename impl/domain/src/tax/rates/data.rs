//! Owns the tables of rates. Rates are hundredths of a percent: 2550 is 25.5 %.
//!
//! When a rate changes, add a row; never change or remove one: documents of that time are computed from it.

use chrono::NaiveDate;

use crate::tax::territory::EuCountry::{self, *};

/// A day, as year, month, day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day(i32, u32, u32);

impl Day {
    pub(super) fn date(self) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(self.0, self.1, self.2)
    }
}

/// A reduced rate, from a day on and until the day before another.
pub(super) struct Reduced {
    pub(super) country: EuCountry,
    pub(super) hundredths: u32,
    from: Option<Day>,
    until: Option<Day>,
}

impl Reduced {
    pub(super) fn is_valid_on(&self, day: NaiveDate) -> bool {
        self.from.is_none_or(|from| from.date().is_some_and(|from| from <= day))
            && self.until.is_none_or(|until| until.date().is_some_and(|until| day < until))
    }
}

const START: Day = Day(2016, 1, 1);

/// Standard rates: each row is valid from its day until the next one's.
pub(super) const STANDARD: &[(EuCountry, &[(Day, u32)])] = &[
    (At, &[(START, 2000)]),
    (Be, &[(START, 2100)]),
    (Bg, &[(START, 2000)]),
    (Cy, &[(START, 1900)]),
    (Cz, &[(START, 2100)]),
    (De, &[(START, 1900), (Day(2020, 7, 1), 1600), (Day(2021, 1, 1), 1900)]),
    (Dk, &[(START, 2500)]),
    (Ee, &[(START, 2000), (Day(2024, 1, 1), 2200), (Day(2025, 7, 1), 2400)]),
    (Es, &[(START, 2100)]),
    (Fi, &[(START, 2400), (Day(2024, 9, 1), 2550)]),
    (Fr, &[(START, 2000)]),
    (Gr, &[(START, 2300), (Day(2016, 6, 1), 2400)]),
    (Hr, &[(START, 2500)]),
    (Hu, &[(START, 2700)]),
    (Ie, &[(START, 2300), (Day(2020, 9, 1), 2100), (Day(2021, 3, 1), 2300)]),
    (It, &[(START, 2200)]),
    (Lt, &[(START, 2100)]),
    (Lu, &[(START, 1700), (Day(2023, 1, 1), 1600), (Day(2024, 1, 1), 1700)]),
    (Lv, &[(START, 2100)]),
    (Mt, &[(START, 1800)]),
    (Nl, &[(START, 2100)]),
    (Pl, &[(START, 2300)]),
    (Pt, &[(START, 2300)]),
    (Ro, &[(START, 2000), (Day(2017, 1, 1), 1900), (Day(2025, 8, 1), 2100)]),
    (Se, &[(START, 2500)]),
    (Si, &[(START, 2200)]),
    (Sk, &[(START, 2000), (Day(2025, 1, 1), 2300)]),
];

const fn always(country: EuCountry, hundredths: u32) -> Reduced {
    Reduced { country, hundredths, from: None, until: None }
}

const fn from(country: EuCountry, hundredths: u32, from: Day) -> Reduced {
    Reduced { country, hundredths, from: Some(from), until: None }
}

const fn until(country: EuCountry, hundredths: u32, until: Day) -> Reduced {
    Reduced { country, hundredths, from: None, until: Some(until) }
}

const fn between(country: EuCountry, hundredths: u32, from: Day, until: Day) -> Reduced {
    Reduced { country, hundredths, from: Some(from), until: Some(until) }
}

/// Reduced, super-reduced, parking and regional rates. Denmark has none.
pub(super) const REDUCED: &[Reduced] = &[
    always(At, 1000),
    always(At, 1300),
    // Jungholz and Mittelberg.
    always(At, 1900),
    between(At, 500, Day(2020, 7, 1), Day(2022, 1, 1)),
    from(At, 490, Day(2026, 7, 1)),
    always(Be, 600),
    always(Be, 1200),
    always(Bg, 900),
    always(Cy, 500),
    always(Cy, 900),
    from(Cy, 300, Day(2023, 7, 1)),
    until(Cz, 1000, Day(2024, 1, 1)),
    until(Cz, 1500, Day(2024, 1, 1)),
    from(Cz, 1200, Day(2024, 1, 1)),
    always(De, 700),
    between(De, 500, Day(2020, 7, 1), Day(2021, 1, 1)),
    always(Ee, 900),
    between(Ee, 500, Day(2022, 8, 1), Day(2025, 1, 1)),
    from(Ee, 1300, Day(2025, 1, 1)),
    always(Es, 1000),
    always(Es, 400),
    between(Es, 500, Day(2021, 6, 26), Day(2025, 1, 1)),
    between(Es, 750, Day(2024, 10, 1), Day(2025, 1, 1)),
    between(Es, 200, Day(2024, 10, 1), Day(2025, 1, 1)),
    always(Fi, 1000),
    until(Fi, 1400, Day(2026, 1, 1)),
    from(Fi, 1350, Day(2026, 1, 1)),
    always(Fr, 1000),
    always(Fr, 550),
    always(Fr, 210),
    // Corsica.
    always(Fr, 1300),
    always(Fr, 90),
    always(Gr, 1300),
    always(Gr, 600),
    // Islands of the Aegean.
    always(Gr, 1700),
    always(Gr, 900),
    always(Gr, 400),
    always(Hr, 1300),
    always(Hr, 500),
    always(Hu, 1800),
    always(Hu, 500),
    always(Ie, 1350),
    always(Ie, 900),
    always(Ie, 480),
    always(It, 1000),
    always(It, 500),
    always(It, 400),
    until(Lt, 900, Day(2026, 1, 1)),
    always(Lt, 500),
    from(Lt, 1200, Day(2026, 1, 1)),
    always(Lu, 300),
    until(Lu, 800, Day(2023, 1, 1)),
    until(Lu, 1400, Day(2023, 1, 1)),
    between(Lu, 700, Day(2023, 1, 1), Day(2024, 1, 1)),
    between(Lu, 1300, Day(2023, 1, 1), Day(2024, 1, 1)),
    from(Lu, 800, Day(2024, 1, 1)),
    from(Lu, 1400, Day(2024, 1, 1)),
    always(Lv, 1200),
    always(Lv, 500),
    from(Mt, 1200, Day(2024, 1, 1)),
    always(Mt, 700),
    always(Mt, 500),
    until(Nl, 600, Day(2019, 1, 1)),
    from(Nl, 900, Day(2019, 1, 1)),
    always(Pl, 800),
    always(Pl, 500),
    always(Pt, 1300),
    always(Pt, 600),
    // Madeira: standard and reduced.
    always(Pt, 2200),
    always(Pt, 1200),
    always(Pt, 500),
    // The Azores: standard and reduced; the lowest is Madeira's too since 2024.
    until(Pt, 1800, Day(2021, 7, 1)),
    from(Pt, 1600, Day(2021, 7, 1)),
    always(Pt, 900),
    always(Pt, 400),
    // Housing kept the old 9 % for a year.
    until(Ro, 900, Day(2026, 8, 1)),
    until(Ro, 500, Day(2025, 8, 1)),
    from(Ro, 1100, Day(2025, 8, 1)),
    always(Se, 1200),
    always(Se, 600),
    always(Si, 950),
    from(Si, 500, Day(2020, 1, 1)),
    until(Sk, 1000, Day(2025, 1, 1)),
    from(Sk, 500, Day(2023, 1, 1)),
    from(Sk, 1900, Day(2025, 1, 1)),
];

/// Currencies other than the euro, with the day on which the euro replaced them.
pub(super) const CURRENCIES: &[(EuCountry, &str, Option<Day>)] = &[
    (Bg, "BGN", Some(Day(2026, 1, 1))),
    (Cz, "CZK", None),
    (Dk, "DKK", None),
    (Hr, "HRK", Some(Day(2023, 1, 1))),
    (Hu, "HUF", None),
    (Pl, "PLN", None),
    (Ro, "RON", None),
    (Se, "SEK", None),
];
