//! Owns the way in which values are written as text: one name per variant, the same in JSON, SQL and codes.
//!
//! An enum that is stored or sent has exactly one spelling. The macros below derive parsing, printing and serde
//! from a single list, so that the three cannot drift apart.

/// A text that is not one of the allowed values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a {kind}")]
pub struct UnknownText {
    /// What was expected, for instance `"subscription state"`.
    pub kind: &'static str,
    /// What was found, cut to 64 characters.
    pub value: String,
}

impl UnknownText {
    pub(crate) fn new(kind: &'static str, value: &str) -> Self {
        Self { kind, value: value.chars().take(64).collect() }
    }
}

/// Serde through `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(<D::Error as serde::de::Error>::custom)
            }
        }
    };
}

/// An enum with one text per variant: `ALL`, `as_str`, `Display`, `FromStr`, serde.
macro_rules! text_enum {
    (
        $(#[$meta:meta])*
        $name:ident, $kind:literal {
            $( $(#[$variant_meta:meta])* $variant:ident = $text:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )+
        }

        impl $name {
            /// Every value, in the order of the declaration.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The text that stands for the value in JSON and in the database.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::text::UnknownText;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $( $text => Ok(Self::$variant), )+
                    other => Err($crate::text::UnknownText::new($kind, other)),
                }
            }
        }

        $crate::text::serde_as_text!($name);
    };
}

pub(crate) use {serde_as_text, text_enum};

#[cfg(test)]
mod tests {
    text_enum! {
        /// A sample.
        Sample, "sample" {
            /// First.
            One = "one",
            /// Second.
            TwoWords = "two_words",
        }
    }

    #[test]
    fn one_spelling_everywhere() {
        for value in Sample::ALL {
            assert_eq!(value.as_str().parse::<Sample>().as_ref(), Ok(value));
            let json = serde_json::to_string(value).expect("json");
            assert_eq!(json, format!("\"{value}\""));
            assert_eq!(serde_json::from_str::<Sample>(&json).ok(), Some(*value));
        }
        let error = "three".parse::<Sample>().expect_err("unknown");
        assert_eq!(error.to_string(), "\"three\" is not a sample");
    }
}
