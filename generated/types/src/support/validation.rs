//! The limits of the specification: checks that `validator` has no attribute for, and what is said about a violation.
use super::ErrorDetail;
use chrono::Datelike;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Display;
use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

/// A text within its limits; characters are counted, not bytes.
pub fn text(
    v: &str,
    min: Option<u64>,
    max: Option<u64>,
    pattern: Option<&regex::Regex>,
) -> Result<(), String> {
    let n = v.chars().count() as u64;
    if min.is_some_and(|m| n < m) || max.is_some_and(|m| n > m) {
        return Err(must("have", min, max, "characters"));
    }
    match pattern {
        Some(p) if !p.is_match(v) => Err(format!("must match {}", p.as_str())),
        _ => Ok(()),
    }
}

/// A number within its limits.
pub fn integer(v: i64, min: Option<i64>, max: Option<i64>) -> Result<(), String> {
    if min.is_some_and(|m| v < m) || max.is_some_and(|m| v > m) {
        return Err(must("be", min, max, ""));
    }
    Ok(())
}

/// Times and dates that every part of the system can hold and write: of the years 1 to 9999.
pub fn year(year: i32) -> Result<(), String> {
    if (1..=9999).contains(&year) { Ok(()) } else { Err("must be in the years 0001 to 9999".into()) }
}

/// For `validator`.
pub fn time(v: &chrono::DateTime<chrono::Utc>) -> Result<(), ValidationError> {
    year(v.year()).map_err(|m| ValidationError::new("time").with_message(Cow::Owned(m)))
}

/// For `validator`.
pub fn date(v: &chrono::NaiveDate) -> Result<(), ValidationError> {
    year(v.year()).map_err(|m| ValidationError::new("date").with_message(Cow::Owned(m)))
}

fn must<N: Display>(verb: &str, min: Option<N>, max: Option<N>, unit: &str) -> String {
    let limits = match (min, max) {
        (Some(a), Some(b)) => format!("{a} to {b}"),
        (Some(a), None) => format!("at least {a}"),
        (None, Some(b)) => format!("at most {b}"),
        (None, None) => "within limits".into(),
    };
    format!("must {verb} {limits} {unit}").trim_end().to_string()
}

/// Checks every item of a list or value of a map; the first violation says which it is.
pub fn each<K: Display, V>(
    all: impl Iterator<Item = (K, V)>,
    check: impl Fn(V) -> Result<(), String>,
) -> Result<(), ValidationError> {
    for (at, v) in all {
        if let Err(message) = check(v) {
            let mut e = ValidationError::new("item").with_message(Cow::Owned(message));
            e.add_param("at".into(), &at.to_string());
            return Err(e);
        }
    }
    Ok(())
}

/// The violations as a caller reads them: the path of each field and what is wrong with it.
pub fn violations(errors: &ValidationErrors) -> Vec<ErrorDetail> {
    let mut out = Vec::new();
    collect("", errors, &mut out);
    // a stable sort: of two that one field has, the length stands before the pattern and says enough
    out.sort_by(|a, b| a.field.cmp(&b.field));
    out.dedup_by(|b, a| a.field == b.field);
    out.truncate(1000);
    out
}

fn collect(prefix: &str, errors: &ValidationErrors, out: &mut Vec<ErrorDetail>) {
    for (name, kind) in errors.errors() {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let path = if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") };
        match kind {
            ValidationErrorsKind::Struct(inner) => collect(&path, inner, out),
            ValidationErrorsKind::List(items) => {
                for (i, inner) in items {
                    collect(&format!("{path}.{i}"), inner, out);
                }
            }
            ValidationErrorsKind::Field(list) => {
                for e in list {
                    let field = match e.params.get("at").and_then(Value::as_str) {
                        Some(at) if e.code == "item" => format!("{path}.{at}"),
                        _ => path.clone(),
                    };
                    out.push(ErrorDetail { field, message: message(e) });
                }
            }
        }
    }
}

fn message(e: &ValidationError) -> String {
    if let Some(m) = &e.message {
        return m.to_string();
    }
    let limit = |k: &str| e.params.get(k).and_then(Value::as_i64);
    match e.code.as_ref() {
        "length" => {
            let unit = match e.params.get("value") {
                Some(Value::Array(_)) => "items",
                Some(Value::Object(_)) => "entries",
                _ => "characters",
            };
            must("have", limit("min"), limit("max"), unit)
        }
        "range" => must("be", limit("min"), limit("max"), ""),
        "email" => "must be an email address".into(),
        "url" => "must be a URL".into(),
        code => format!("is not valid ({code})"),
    }
}
