//! Decimal numbers on the wire.
use schemars::{
    JsonSchema, r#gen::SchemaGenerator, schema::InstanceType, schema::Schema, schema::SchemaObject,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A decimal number, in JSON always a string: no reader can make a float of it on the way.
///
/// It takes what the specification says and nothing else: no exponent, no plus, no underscore, no number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(pub rust_decimal::Decimal);

const MAX_WHOLE: usize = 18;
const MAX_FRACTION: usize = 10;
const PATTERN: &str = r"^-?[0-9]{1,18}(\.[0-9]{1,10})?$";

/// Why a text is no decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotADecimal {
    /// It does not look like one.
    Form,
    /// It has more digits than are computed with.
    Digits,
}

impl fmt::Display for NotADecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => write!(
                f,
                "must be a decimal number as a string, with at most {MAX_WHOLE} digits before and {MAX_FRACTION} after the point"
            ),
            Self::Digits => write!(f, "must have at most 28 digits"),
        }
    }
}

impl std::error::Error for NotADecimal {}

impl FromStr for Decimal {
    type Err = NotADecimal;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let digits = |part: &str, max: usize| {
            (1..=max).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
        };
        let number = s.strip_prefix('-').unwrap_or(s);
        let fine = match number.split_once('.') {
            Some((whole, fraction)) => digits(whole, MAX_WHOLE) && digits(fraction, MAX_FRACTION),
            None => digits(number, MAX_WHOLE),
        };
        if !fine {
            return Err(NotADecimal::Form);
        }
        rust_decimal::Decimal::from_str_exact(s).map(Self).map_err(|_| NotADecimal::Digits)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<rust_decimal::Decimal> for Decimal {
    fn from(d: rust_decimal::Decimal) -> Self {
        Self(d)
    }
}

impl From<Decimal> for rust_decimal::Decimal {
    fn from(d: Decimal) -> Self {
        d.0
    }
}

impl std::ops::Deref for Decimal {
    type Target = rust_decimal::Decimal;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Decimal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number as a string")
            }

            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<Decimal, E> {
                s.parse().map_err(E::custom)
            }
        }
        d.deserialize_str(Text)
    }
}

impl JsonSchema for Decimal {
    fn schema_name() -> String {
        "Decimal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = SchemaObject {
            instance_type: Some(InstanceType::String.into()),
            format: Some("decimal".into()),
            ..Default::default()
        };
        schema.string().max_length = Some(40);
        schema.string().pattern = Some(PATTERN.into());
        schema.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strings_of_the_pattern() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        for s in [
            "0",
            "12.5",
            "-0.000000000001",
            "123456789012345678",
            "007",
            "1e5",
            "+1",
            "1_000",
            "",
            ".5",
            "5.",
            "-",
            "1.2.3",
            "1234567890123456789",
            "0.12345678901",
            " 1",
            "1 ",
            "NaN",
            "0x1",
            "١",
        ] {
            assert_eq!(s.parse::<Decimal>().is_ok(), pattern.is_match(s), "{s:?}");
        }
        let longest = "-999999999999999999.9999999999";
        assert_eq!(
            longest.parse::<Decimal>().unwrap().to_string(),
            longest,
            "all that the pattern allows is exact"
        );
        assert!(serde_json::from_str::<Decimal>("1.5").is_err());
        assert_eq!(
            serde_json::to_string(&serde_json::from_str::<Decimal>("\"1.50\"").unwrap()).unwrap(),
            "\"1.50\""
        );
    }
}
