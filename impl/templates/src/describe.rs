//! Owns the list of variables: what a template may name, with description and example.
//!
//! The types of the context are declared through one macro that makes the struct and its description at once, and
//! examples are read from the sample documents. So the list that users see, the check of a template and what is
//! really there at rendering cannot drift apart.

use serde::Serialize;
use serde_json::Value;

use crate::kind::Kind;
use crate::samples;

/// What a value of the context is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A text.
    Text,
    /// A whole number, or a decimal number written as text.
    Number,
    /// True or false.
    Flag,
    /// A list of values of one shape.
    List(&'static Shape),
    /// Named values.
    Object(&'static [Field]),
}

/// One named value of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it stands for, in English.
    pub description: &'static str,
    /// What it is.
    pub shape: Shape,
}

impl Shape {
    /// The value of that name in an object.
    pub fn field(self, name: &str) -> Option<Self> {
        match self {
            Self::Object(fields) => fields.iter().find(|field| field.name == name).map(|field| field.shape),
            _ => None,
        }
    }

    /// The name of the type in a sentence.
    pub(crate) const fn with_article(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Flag => "a flag",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// The name of the type in lists and messages.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Flag => "flag",
            Self::List(_) => "list",
            Self::Object(_) => "object",
        }
    }
}

/// A type whose values can stand in a context.
pub trait Described {
    /// What it is.
    const SHAPE: Shape;
}

impl Described for String {
    const SHAPE: Shape = Shape::Text;
}

impl Described for &'static str {
    const SHAPE: Shape = Shape::Text;
}

impl Described for i64 {
    const SHAPE: Shape = Shape::Number;
}

impl Described for bool {
    const SHAPE: Shape = Shape::Flag;
}

impl<T: Described> Described for Option<T> {
    const SHAPE: Shape = T::SHAPE;
}

impl<T: Described> Described for &'static T {
    const SHAPE: Shape = T::SHAPE;
}

impl<T: Described> Described for Vec<T> {
    const SHAPE: Shape = Shape::List(&T::SHAPE);
}

/// A struct of the context with its description: the documentation of a field is what users read about it.
macro_rules! context_type {
    (
        $(#[doc = $doc:literal])+
        $name:ident {
            $( $(#[doc = $field_doc:literal])+ $field:ident: $type:ty, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        pub struct $name {
            $( $(#[doc = $field_doc])+ pub $field: $type, )+
        }

        impl $crate::describe::Described for $name {
            const SHAPE: $crate::describe::Shape = $crate::describe::Shape::Object(&[
                $( $crate::describe::Field {
                    name: stringify!($field),
                    description: concat!($($field_doc),+),
                    shape: <$type as $crate::describe::Described>::SHAPE,
                }, )+
            ]);
        }
    };
}

pub(crate) use context_type;

/// A variable that templates of a kind may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// As written between double braces: `invoice.number`. What stands in a list has `[]` behind the list's name
    /// and is reached through a loop: `lines[].amount`.
    pub name: String,
    /// `text`, `number`, `flag`, `list` or `object`.
    pub type_name: &'static str,
    /// What it stands for.
    pub description: String,
    /// What it could look like; empty for an object.
    pub example: String,
    /// Whether it is a list to go through.
    pub is_list: bool,
}

/// The longest example that the specification allows.
const MAX_EXAMPLE_CHARS: usize = 500;

/// Every variable of a kind of template, sorted by name.
pub fn variables(kind: Kind) -> Vec<Variable> {
    let sample =
        |kind| serde_json::to_value(samples::context(kind, crate::Language::En)).unwrap_or(Value::Null);
    // What one of a pair lacks, such as the due date of a credit note, is exemplified by the other.
    let spare = match kind {
        Kind::Invoice => Kind::CreditNote,
        Kind::CreditNote => Kind::Invoice,
        Kind::EmailInvoice => Kind::EmailCreditNote,
        Kind::EmailCreditNote => Kind::EmailInvoice,
        Kind::EmailTrialEnding | Kind::EmailPaymentFailed | Kind::EmailRenewalPriceChange => kind,
    };
    let mut out = Vec::new();
    if let Shape::Object(fields) = crate::engine::shape(kind) {
        collect(fields, "", [&sample(kind), &sample(spare)], &mut out);
    }
    out.sort_by(|left, right| left.name.cmp(&right.name));
    out
}

fn collect(fields: &[Field], prefix: &str, samples: [&Value; 2], out: &mut Vec<Variable>) {
    for field in fields {
        let name = format!("{prefix}{}", field.name);
        let values = samples.map(|sample| &sample[field.name]);
        out.push(Variable {
            name: name.clone(),
            type_name: field.shape.type_name(),
            description: field.description.trim().to_owned(),
            example: values.map(example).into_iter().find(|text| !text.is_empty()).unwrap_or_default(),
            is_list: matches!(field.shape, Shape::List(_)),
        });
        match field.shape {
            Shape::Object(inner) => collect(inner, &format!("{name}."), values, out),
            Shape::List(Shape::Object(inner)) => {
                let [item, spare] = values.map(typical_item);
                collect(inner, &format!("{name}[]."), [&item, &spare], out);
            }
            _ => {}
        }
    }
}

/// An item in which everything has a value that any item of the sample has.
fn typical_item(list: &Value) -> Value {
    let mut item = serde_json::Map::new();
    for (key, value) in list.as_array().into_iter().flatten().filter_map(Value::as_object).flatten() {
        if item.get(key).is_none_or(Value::is_null) {
            item.insert(key.clone(), value.clone());
        }
    }
    Value::Object(item)
}

fn example(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(items) => items.first().map(example).unwrap_or_default(),
        Value::Null | Value::Object(_) => String::new(),
    };
    text.chars().take(MAX_EXAMPLE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name of the context is listed, and everything listed is in the context.
    fn names(value: &Value, prefix: &str, out: &mut Vec<String>) {
        let Value::Object(map) = value else { return };
        for (key, value) in map {
            let name = format!("{prefix}{key}");
            out.push(name.clone());
            match value {
                Value::Object(_) => names(value, &format!("{name}."), out),
                Value::Array(items) => {
                    if let Some(first) = items.first() {
                        names(first, &format!("{name}[]."), out);
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn the_list_is_what_is_there() {
        for kind in Kind::ALL {
            let mut real = Vec::new();
            let context = serde_json::to_value(samples::context(*kind, crate::Language::En)).unwrap();
            names(&context, "", &mut real);
            real.sort();
            let listed: Vec<String> = variables(*kind).into_iter().map(|variable| variable.name).collect();
            assert_eq!(listed, real, "{kind}");
        }
    }

    #[test]
    fn every_variable_is_described_within_the_limits_of_the_specification() {
        for kind in Kind::ALL {
            let all = variables(*kind);
            assert!(all.len() <= 1000, "{kind}: {}", all.len());
            for variable in all {
                assert!(variable.name.len() <= 100, "{}", variable.name);
                assert!((3..=500).contains(&variable.description.len()), "{}", variable.name);
                let is_value = ["text", "number", "flag"].contains(&variable.type_name);
                let has_example = !variable.example.is_empty();
                // A sample need not be void, a draft, or in a foreign tax currency.
                let may_be_absent =
                    ["void_notice", "taxes[].note", "tax_currency", "referenced", "tax_point", "qr_svg"]
                        .iter()
                        .any(|part| variable.name.contains(part));
                assert!(!is_value || has_example || may_be_absent, "{kind} {}", variable.name);
            }
        }
    }
}
