//! What the generated types lean on.
mod decimal;
mod envelope;
mod strict;
mod validation;

pub use decimal::Decimal;
pub use envelope::{ErrorBody, ErrorCode, ErrorDetail, ErrorEnvelope};
pub use strict::{
    nullable, nullable_object, object, objects, present, present_nullable_object, present_object,
    present_objects,
};
pub use validation::{date, each, integer, text, time, violations, year};

use schemars::{JsonSchema, r#gen::SchemaGenerator, schema::Schema};

/// A pattern of the specification; the lint has compiled each of them.
#[expect(clippy::expect_used, reason = "the lint of api-spec/ compiles every pattern")]
pub(crate) fn pattern(text: &str) -> regex::Regex {
    regex::Regex::new(text).expect("a pattern of the specification")
}

/// Stands for `Option<T>` in the schema of a field that is always there: nullable, and yet required.
pub struct Nullable<T>(std::marker::PhantomData<T>);

impl<T: JsonSchema> JsonSchema for Nullable<T> {
    fn is_referenceable() -> bool {
        false
    }

    fn schema_name() -> String {
        Option::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

/// A text that is not one of an enum's.
#[derive(Clone, Copy, Debug)]
pub struct UnknownName {
    /// The texts that are.
    pub known: &'static str,
}

impl std::fmt::Display for UnknownName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "must be one of {}", self.known)
    }
}

impl std::error::Error for UnknownName {}

/// Text to an enum and back.
macro_rules! name_of_enum {
    ($name:ident, $known:literal) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::support::UnknownName;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.iter().copied().find(|v| v.as_str() == s);
                found.ok_or($crate::support::UnknownName { known: $known })
            }
        }
    };
}
pub(crate) use name_of_enum;
