//! Owns how a language writes dates, numbers, money and percentages.
//!
//! The forms are those of Unicode's CLDR, with two differences that suit business documents: an amount always has
//! all decimals of its currency, and Italian groups four-digit amounts as its invoices do. Spaces inside a value
//! never break a line.

mod countries;
mod labels;
mod money;
mod units;

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;

pub use labels::Labels;
pub use scaicontrol_domain::tax::wording::Language;

/// A space at which no line is broken.
pub const NBSP: char = '\u{a0}';
/// The narrow one, which French sets between thousands and before `%`.
pub const NARROW_NBSP: char = '\u{202f}';

/// The formats of one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locale {
    language: Language,
}

impl Locale {
    /// The formats of a language.
    pub const fn new(language: Language) -> Self {
        Self { language }
    }

    /// The language.
    pub const fn language(self) -> Language {
        self.language
    }

    /// Every fixed text of the default templates.
    pub const fn labels(self) -> &'static Labels {
        labels::of(self.language)
    }

    /// The name of a country, by its ISO code of two letters. Where we have no translation: the English name of
    /// ISO 3166; for a code that does not exist: the code.
    pub fn country(self, code: &str) -> String {
        countries::name(self.language, code)
    }

    /// A unit of measure (`seat`, `hour`) in this language, in the number that fits the quantity. Unknown units
    /// stay as they are.
    pub fn unit(self, unit: &str, quantity: Decimal) -> String {
        units::name(self.language, unit, quantity).map_or_else(|| unit.to_owned(), str::to_owned)
    }

    /// A date in words: `1 March 2026`, `1. März 2026`.
    pub fn long_date(self, date: NaiveDate) -> String {
        let (day, year) = (date.day(), date.year());
        let month = months(self.language)[date.month0() as usize % 12];
        match self.language {
            Language::En | Language::Nl => format!("{day}{NBSP}{month} {year}"),
            Language::De => format!("{day}.{NBSP}{month} {year}"),
            Language::Fr if day == 1 => format!("1er{NBSP}{month} {year}"),
            Language::It if day == 1 => format!("1º{NBSP}{month} {year}"),
            Language::Fr | Language::It => format!("{day}{NBSP}{month} {year}"),
            Language::Es => format!("{day}{NBSP}de {month} de {year}"),
        }
    }

    /// A date in its shortest unmistakable form: `01.03.2026`; in English, where the order of figures differs
    /// between readers, `1 Mar 2026`.
    pub fn short_date(self, date: NaiveDate) -> String {
        let (day, month, year) = (date.day(), date.month(), date.year());
        match self.language {
            Language::En => {
                let name: String =
                    months(self.language)[date.month0() as usize % 12].chars().take(3).collect();
                format!("{day}{NBSP}{name}{NBSP}{year}")
            }
            Language::Nl => format!("{day:02}-{month:02}-{year}"),
            Language::De => format!("{day:02}.{month:02}.{year}"),
            Language::Fr | Language::Es | Language::It => format!("{day:02}/{month:02}/{year}"),
        }
    }

    /// A period from its first to its last day, in short dates; one day is that day.
    pub fn period(self, first: NaiveDate, last: NaiveDate) -> String {
        if first == last {
            return self.short_date(first);
        }
        format!("{} – {}", self.short_date(first), self.short_date(last))
    }

    /// A number with grouped thousands, with at least `min_decimals` and as many decimals as it has beyond.
    pub fn number(self, value: Decimal, min_decimals: u32) -> String {
        let value = value.normalize();
        let decimals = value.scale().max(min_decimals);
        let plain = format!("{:.*}", decimals as usize, value.abs());
        let (whole, fraction) = plain.split_once('.').unwrap_or((plain.as_str(), ""));
        let mut out = String::with_capacity(plain.len() + 8);
        if value.is_sign_negative() && !value.is_zero() {
            out.push('-');
        }
        self.push_grouped(&mut out, whole);
        if !fraction.is_empty() {
            out.push(if self.language == Language::En { '.' } else { ',' });
            out.push_str(fraction);
        }
        out
    }

    /// A percentage: `21%`, in German `21 %`.
    pub fn percent(self, value: Decimal) -> String {
        let number = self.number(value, 0);
        match self.language {
            Language::En | Language::Nl | Language::It => format!("{number}%"),
            Language::De | Language::Es => format!("{number}{NBSP}%"),
            Language::Fr => format!("{number}{NARROW_NBSP}%"),
        }
    }

    fn push_grouped(self, out: &mut String, digits: &str) {
        let separator = match self.language {
            Language::En => ',',
            Language::Nl | Language::De | Language::Es | Language::It => '.',
            Language::Fr => NARROW_NBSP,
        };
        // The Spanish academy groups from five digits on.
        let smallest = if self.language == Language::Es { 5 } else { 4 };
        for (index, digit) in digits.chars().enumerate() {
            let left = digits.len() - index;
            if index > 0 && left.is_multiple_of(3) && digits.len() >= smallest {
                out.push(separator);
            }
            out.push(digit);
        }
    }
}

const fn months(language: Language) -> &'static [&'static str; 12] {
    match language {
        Language::En => &[
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ],
        Language::Nl => &[
            "januari",
            "februari",
            "maart",
            "april",
            "mei",
            "juni",
            "juli",
            "augustus",
            "september",
            "oktober",
            "november",
            "december",
        ],
        Language::De => &[
            "Januar",
            "Februar",
            "März",
            "April",
            "Mai",
            "Juni",
            "Juli",
            "August",
            "September",
            "Oktober",
            "November",
            "Dezember",
        ],
        Language::Fr => &[
            "janvier",
            "février",
            "mars",
            "avril",
            "mai",
            "juin",
            "juillet",
            "août",
            "septembre",
            "octobre",
            "novembre",
            "décembre",
        ],
        Language::Es => &[
            "enero",
            "febrero",
            "marzo",
            "abril",
            "mayo",
            "junio",
            "julio",
            "agosto",
            "septiembre",
            "octubre",
            "noviembre",
            "diciembre",
        ],
        Language::It => &[
            "gennaio",
            "febbraio",
            "marzo",
            "aprile",
            "maggio",
            "giugno",
            "luglio",
            "agosto",
            "settembre",
            "ottobre",
            "novembre",
            "dicembre",
        ],
    }
}

#[cfg(test)]
mod tests;
