//! The words of notifications: message keys and their values become a title and a text in the reader's language.
//!
//! The words are data, `words/*.toml`, one file for each part of the system: a table for each key, with `title` and `body`
//! in every language. `{name}` stands for the value of that name in the parameters, which hold what is the same in every
//! language: how a value is written follows from the end of its name.
//!
//! | name ends in | value | is written as |
//! |---|---|---|
//! | `_cents` | minor units of the parameter `currency` | an amount of money |
//! | `_date` | a date | a date in words |
//! | `_at` | an instant | the date it is in the reader's timezone, in words |
//! | `_quantity` | a number, or a decimal as a string | a number with grouped thousands |
//! | anything else | a text or a number | as it is |
//!
//! Nothing here can fail a reader: where a language lacks something it is English, and where that lacks it too, the key.
//! What is lacking is found when it is told, by [`check`].
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_domain::period::local_date;
use scaicontrol_templates::{Language, Locale};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Characters of a title and of a body that are shown at most, as the specification promises.
const TITLE_MAX: usize = 200;
const BODY_MAX: usize = 4_000;

/// The files, by name.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/words.rs"));

/// All words by message key. A file that cannot be read has none; a test reads them all.
static WORDS: LazyLock<BTreeMap<String, Words>> = LazyLock::new(|| {
    FILES
        .iter()
        .filter_map(|(_, text)| toml::from_str::<BTreeMap<String, Words>>(text).ok())
        .flatten()
        .collect()
});

/// What one key says, by language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    title: BTreeMap<String, String>,
    body: BTreeMap<String, String>,
}

impl Words {
    fn in_language(&self, language: Language) -> Option<(&str, &str)> {
        let code = language.as_str();
        Some((self.title.get(code)?, self.body.get(code)?))
    }
}

/// Who reads.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// In which language.
    pub language: Language,
    /// Whose days dates are counted in.
    pub timezone: Tz,
}

/// What a notification says to a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// One line.
    pub title: String,
    /// The text; may be empty.
    pub body: String,
}

/// Puts a message into words.
pub fn say(message: &str, parameters: &Value, reader: Reader) -> Said {
    let words = WORDS.get(message);
    let said = [reader.language, Language::En].into_iter().find_map(|language| {
        let (title, body) = words?.in_language(language)?;
        let values = Values { parameters, locale: Locale::new(language), timezone: reader.timezone };
        Some(Said { title: cut(values.fill(title)?, TITLE_MAX), body: cut(values.fill(body)?, BODY_MAX) })
    });
    said.unwrap_or_else(|| Said { title: cut(message.to_owned(), TITLE_MAX), body: String::new() })
}

/// Whether a message can be said in every language with these parameters.
///
/// Errors: what is lacking, in a sentence for the developer.
pub fn check(message: &str, parameters: &Value) -> Result<(), String> {
    let words = WORDS.get(message).ok_or_else(|| format!("no words for {message}"))?;
    for language in Language::ALL.iter().copied() {
        let (title, body) =
            words.in_language(language).ok_or_else(|| format!("{message} has no {language}"))?;
        let lacking =
            names(title).chain(names(body)).find(|name| parameters.get(name).is_none_or(Value::is_null));
        if let Some(name) = lacking {
            return Err(format!("{message} in {language} names {name}, which the parameters lack"));
        }
        if names(title).chain(names(body)).any(|n| n.ends_with("_cents"))
            && parameters["currency"].as_str().is_none()
        {
            return Err(format!("{message} has an amount, and the parameters have no currency"));
        }
    }
    Ok(())
}

struct Values<'a> {
    parameters: &'a Value,
    locale: Locale,
    timezone: Tz,
}

impl Values<'_> {
    /// The text with its values; none when one is missing.
    fn fill(&self, text: &str) -> Option<String> {
        let mut out = String::with_capacity(text.len() + 32);
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Name(name) => out.push_str(&self.value(name)?),
            }
        }
        Some(out)
    }

    fn value(&self, name: &str) -> Option<String> {
        let plain = match self.parameters.get(name)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some(self.written(name, &plain).unwrap_or(plain))
    }

    /// The value as the language writes it; none when it is not what its name says, and stays as it is.
    fn written(&self, name: &str, plain: &str) -> Option<String> {
        let (_, kind) = name.rsplit_once('_')?;
        Some(match kind {
            "cents" => {
                let currency = Currency::parse(self.parameters.get("currency")?.as_str()?).ok()?;
                self.locale.money(Cents(plain.parse().ok()?), currency)
            }
            "date" => self.locale.long_date(plain.parse::<NaiveDate>().ok()?),
            "at" => {
                let at = plain.parse::<DateTime<Utc>>().ok()?;
                self.locale.long_date(local_date(at, self.timezone).ok()?)
            }
            "quantity" => self.locale.number(plain.parse::<Decimal>().ok()?, 0),
            _ => return None,
        })
    }
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// Text and names in turn. A brace that opens and never closes is text.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        pieces.push(Piece::Text(before));
        pieces.push(Piece::Name(name));
        rest = behind;
    }
    pieces.push(Piece::Text(rest));
    pieces
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    let names: BTreeSet<&str> = pieces(text)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Name(name) => Some(name),
            Piece::Text(_) => None,
        })
        .collect();
    names.into_iter()
}

/// At most so many characters, with an ellipsis when there were more.
fn cut(mut text: String, max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(max) {
        let last = text[..end].char_indices().next_back().map_or(0, |(at, _)| at);
        text.truncate(last);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
