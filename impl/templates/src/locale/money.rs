//! Owns where a language puts the sign of a currency, and which sign that is.

use rust_decimal::Decimal;
use scaicontrol_domain::money::{Cents, Currency};

use super::{Language, Locale, NBSP};

impl Locale {
    /// An amount in minor units, with its currency: `€1,234.56`, `1.234,56 €`, `€ 1.234,56`.
    pub fn money(self, amount: Cents, currency: Currency) -> String {
        self.decimal_money(currency.to_major(amount), currency)
    }

    /// A price in minor units that may have fractions of them: all decimals it has, and at least those of the
    /// currency.
    pub fn price(self, minor: Decimal, currency: Currency) -> String {
        let divisor = Decimal::from(10_u32.pow(currency.minor_digits()));
        // Minor units have at most two decimals, so that the quotient is exact unless the price fills 28 digits.
        self.decimal_money(minor.checked_div(divisor).unwrap_or(minor), currency)
    }

    fn decimal_money(self, amount: Decimal, currency: Currency) -> String {
        let number = self.number(amount.abs(), currency.minor_digits());
        let minus = if amount.is_sign_negative() && !amount.is_zero() { "-" } else { "" };
        let sign = sign(self.language, currency.code());
        match self.language {
            // A sign stands close, a code of letters apart.
            Language::En if sign.ends_with(char::is_alphabetic) => format!("{minus}{sign}{NBSP}{number}"),
            Language::En => format!("{minus}{sign}{number}"),
            Language::Nl => format!("{sign}{NBSP}{minus}{number}"),
            Language::De | Language::Fr | Language::Es | Language::It => {
                format!("{minus}{number}{NBSP}{sign}")
            }
        }
    }
}

/// The sign that a reader of this language takes for this currency and no other; else the ISO code.
fn sign(language: Language, code: &'static str) -> &'static str {
    match (code, language) {
        ("EUR", _) => "€",
        ("GBP", Language::Fr) => "£GB",
        ("GBP", _) => "£",
        ("USD", Language::En | Language::De) => "$",
        ("USD", Language::Fr) => "$US",
        ("USD", Language::Nl | Language::Es) => "US$",
        ("JPY", Language::En | Language::De) => "¥",
        ("JPY", Language::Nl) => "JP¥",
        _ => code,
    }
}
