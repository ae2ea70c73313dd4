//! What each language writes, by hand. `_` stands for a no-break space, `^` for the narrow one.

use scaicontrol_domain::money::{Cents, Currency};

use super::*;

const LANGUAGES: [Language; 6] =
    [Language::En, Language::Nl, Language::De, Language::Fr, Language::Es, Language::It];

fn written(text: &str) -> String {
    text.replace('_', &NBSP.to_string()).replace('^', &NARROW_NBSP.to_string())
}

/// Compares what the six languages write, in the order en, nl, de, fr, es, it.
fn assert_all(wanted: [&str; 6], write: impl Fn(Locale) -> String) {
    for (language, wanted) in LANGUAGES.into_iter().zip(wanted) {
        assert_eq!(write(Locale::new(language)), written(wanted), "{language}");
    }
}

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[test]
fn amounts() {
    let money = |code: &str, cents: i64| {
        let currency = Currency::parse(code).unwrap();
        move |locale: Locale| locale.money(Cents(cents), currency)
    };
    assert_all(
        ["€1,234.56", "€_1.234,56", "1.234,56_€", "1^234,56_€", "1234,56_€", "1.234,56_€"],
        money("EUR", 123_456),
    );
    assert_all(
        [
            "-€12,345,678.90",
            "€_-12.345.678,90",
            "-12.345.678,90_€",
            "-12^345^678,90_€",
            "-12.345.678,90_€",
            "-12.345.678,90_€",
        ],
        money("EUR", -1_234_567_890),
    );
    assert_all(["€0.00", "€_0,00", "0,00_€", "0,00_€", "0,00_€", "0,00_€"], money("EUR", 0));
    assert_all(
        ["¥12,345", "JP¥_12.345", "12.345_¥", "12^345_JPY", "12.345_JPY", "12.345_JPY"],
        money("JPY", 12_345),
    );
    assert_all(
        ["CHF_1,000.50", "CHF_1.000,50", "1.000,50_CHF", "1^000,50_CHF", "1000,50_CHF", "1.000,50_CHF"],
        money("CHF", 100_050),
    );
    assert_all(["-$0.05", "US$_-0,05", "-0,05_$", "-0,05_$US", "-0,05_US$", "-0,05_USD"], money("USD", -5));
    assert_all(["£7.00", "£_7,00", "7,00_£", "7,00_£GB", "7,00_£", "7,00_£"], money("GBP", 700));
}

#[test]
fn prices_keep_their_fractions_of_a_cent() {
    let euro = |cents: &str| {
        let cents = decimal(cents);
        move |locale: Locale| locale.price(cents, Currency::EUR)
    };
    assert_all(["€0.0123", "€_0,0123", "0,0123_€", "0,0123_€", "0,0123_€", "0,0123_€"], euro("1.2300"));
    assert_all(["€49.00", "€_49,00", "49,00_€", "49,00_€", "49,00_€", "49,00_€"], euro("4900"));
    let yen = Currency::parse("JPY").unwrap();
    assert_eq!(Locale::new(Language::En).price(decimal("0.5"), yen), "¥0.5");
}

#[test]
fn numbers_and_percentages() {
    assert_all(["1,250,000", "1.250.000", "1.250.000", "1^250^000", "1.250.000", "1.250.000"], |locale| {
        locale.number(decimal("1250000"), 0)
    });
    assert_all(
        ["-1,234.000001", "-1.234,000001", "-1.234,000001", "-1^234,000001", "-1234,000001", "-1.234,000001"],
        |locale| locale.number(decimal("-1234.000001"), 0),
    );
    assert_all(["12.50", "12,50", "12,50", "12,50", "12,50", "12,50"], |locale| {
        locale.number(decimal("12.500"), 2)
    });
    assert_all(["0", "0", "0", "0", "0", "0"], |locale| locale.number(decimal("-0.000"), 0));
    assert_all(["21%", "21%", "21_%", "21^%", "21_%", "21%"], |locale| locale.percent(decimal("21.00")));
    assert_all(["5.5%", "5,5%", "5,5_%", "5,5^%", "5,5_%", "5,5%"], |locale| locale.percent(decimal("5.5")));
}

#[test]
fn dates() {
    assert_all(
        [
            "1_March 2026",
            "1_maart 2026",
            "1._März 2026",
            "1er_mars 2026",
            "1_de marzo de 2026",
            "1º_marzo 2026",
        ],
        |locale| locale.long_date(day(2026, 3, 1)),
    );
    assert_all(
        [
            "31_December 2025",
            "31_december 2025",
            "31._Dezember 2025",
            "31_décembre 2025",
            "31_de diciembre de 2025",
            "31_dicembre 2025",
        ],
        |locale| locale.long_date(day(2025, 12, 31)),
    );
    assert_all(
        ["5_Feb_2026", "05-02-2026", "05.02.2026", "05/02/2026", "05/02/2026", "05/02/2026"],
        |locale| locale.short_date(day(2026, 2, 5)),
    );
    assert_all(
        [
            "1_Feb_2026 – 28_Feb_2026",
            "01-02-2026 – 28-02-2026",
            "01.02.2026 – 28.02.2026",
            "01/02/2026 – 28/02/2026",
            "01/02/2026 – 28/02/2026",
            "01/02/2026 – 28/02/2026",
        ],
        |locale| locale.period(day(2026, 2, 1), day(2026, 2, 28)),
    );
    assert_eq!(Locale::new(Language::De).period(day(2026, 2, 1), day(2026, 2, 1)), "01.02.2026");
}

#[test]
fn countries_and_units() {
    assert_all(["Germany", "Duitsland", "Deutschland", "Allemagne", "Alemania", "Germania"], |locale| {
        locale.country("DE")
    });
    assert_all(["seats", "plaatsen", "Plätze", "postes", "puestos", "postazioni"], |locale| {
        locale.unit("seat", decimal("12"))
    });
    assert_all(["hour", "uur", "Stunde", "heure", "hora", "ora"], |locale| {
        locale.unit("Hours", decimal("-1.0"))
    });
    assert_all(["hours", "uur", "Stunden", "heure", "horas", "ore"], |locale| {
        locale.unit("hour", decimal("1.5"))
    });
    assert_eq!(Locale::new(Language::De).unit("GB", decimal("2")), "GB");
}

#[test]
fn labels_keep_their_places() {
    for language in LANGUAGES {
        let labels = serde_json::to_value(Locale::new(language).labels()).unwrap();
        let english = serde_json::to_value(Locale::new(Language::En).labels()).unwrap();
        for (name, text) in labels.as_object().unwrap() {
            let text = text.as_str().unwrap();
            assert!(!text.is_empty() && !text.contains(['"', '\\', '<', '&']), "{language} {name}");
            for place in ["{amount}", "{date}", "{number}", "{currency}"] {
                let wanted = english[name].as_str().unwrap().contains(place);
                assert_eq!(text.contains(place), wanted, "{language} {name} {place}");
            }
        }
    }
}
