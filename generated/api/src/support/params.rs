//! Parameters in the path, the query and the headers, read by generated code.
use super::auth::own;
use super::{ApiError, Cx, Operation};
use async_trait::async_trait;
use chrono::Datelike;
use dropshot::{
    ApiEndpointBodyContentType, ExtractorMetadata, HttpError, RequestContext, ServerContext, SharedExtractor,
};
use scaicontrol_types::ErrorDetail;
use scaicontrol_types::support::{integer, text, year};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// A struct of parameters that can be read.
pub trait Parameters: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    const NAMES: &'static [&'static str];

    /// `None` when a required one is missing or wrong; what is wrong stands in the reader.
    fn read(reader: &mut Reader) -> Option<Self>;
}

/// The values of a request and what is wrong with them.
#[derive(Default)]
pub struct Reader {
    values: BTreeMap<String, String>,
    problems: Vec<ErrorDetail>,
}

impl Reader {
    fn problem(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(ErrorDetail { field: name.into(), message: message.into() });
    }

    pub fn required<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if !self.values.contains_key(name) {
            self.problem(name, "is required");
            return None;
        }
        read(self)
    }

    pub fn text(
        &mut self,
        name: &str,
        min: Option<u64>,
        max: Option<u64>,
        pattern: Option<&regex::Regex>,
    ) -> Option<String> {
        let v = self.values.get(name)?.clone();
        if let Err(message) = check_nul(&v).and_then(|()| text(&v, min, max, pattern)) {
            self.problem(name, message);
            return None;
        }
        Some(v)
    }

    pub fn integer<T: TryFrom<i64>>(&mut self, name: &str, min: Option<i64>, max: Option<i64>) -> Option<T> {
        let v = self.values.get(name)?;
        // `+5` is a number to Rust, and a blank and a 5 to a query
        let parsed = if v.starts_with('+') { None } else { v.parse::<i64>().ok() };
        let result = match parsed {
            None => Err("must be an integer".to_string()),
            Some(n) => {
                integer(n, min, max).and_then(|()| T::try_from(n).map_err(|_| "is too large".to_string()))
            }
        };
        result.map_err(|message| self.problem(name, message)).ok()
    }

    pub fn parsed<T: FromStr>(&mut self, name: &str) -> Option<T>
    where
        T::Err: Display,
    {
        let v = self.values.get(name)?.clone();
        v.parse().map_err(|e: T::Err| self.problem(name, e.to_string())).ok()
    }

    /// A UUID as we write them: 36 characters.
    pub fn id(&mut self, name: &str) -> Option<uuid::Uuid> {
        let v = self.values.get(name)?;
        let id = if v.len() == 36 { uuid::Uuid::try_parse(v).ok() } else { None };
        if id.is_none() {
            self.problem(name, "must be a UUID");
        }
        id
    }

    pub fn time(&mut self, name: &str) -> Option<chrono::DateTime<chrono::Utc>> {
        let v = self.values.get(name)?;
        let parsed = chrono::DateTime::parse_from_rfc3339(v).map(|t| t.to_utc());
        let result = parsed.map_err(|_| "must be a time like 2026-01-31T12:00:00Z".to_string());
        result.and_then(|t| year(t.year()).map(|()| t)).map_err(|message| self.problem(name, message)).ok()
    }

    pub fn date(&mut self, name: &str) -> Option<chrono::NaiveDate> {
        let v = self.values.get(name)?;
        let result = v.parse::<chrono::NaiveDate>().map_err(|_| "must be a date like 2026-01-31".to_string());
        result.and_then(|d| year(d.year()).map(|()| d)).map_err(|message| self.problem(name, message)).ok()
    }

    fn read<T: Parameters>(&mut self) -> Result<T, Vec<ErrorDetail>> {
        match T::read(self) {
            Some(v) if self.problems.is_empty() => Ok(v),
            _ => Err(std::mem::take(&mut self.problems)),
        }
    }
}

fn check_nul(v: &str) -> Result<(), String> {
    if v.contains('\0') { Err("must not contain NUL characters".into()) } else { Ok(()) }
}

/// Undoes %-encoding; `None` when it is malformed or not UTF-8.
pub(super) fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    if !text.contains(['%', '+']) {
        return Some(text.into());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            b'+' if plus_is_space => out.push(b' '),
            b => out.push(b),
        }
    }
    String::from_utf8(out).ok()
}

pub struct PathParams<T>(pub T);
pub struct QueryParams<T>(pub T);
pub struct HeaderParams<T>(pub T);

impl<T: Parameters> PathParams<T> {
    /// A variable that cannot be right names nothing that is there: 404.
    pub fn take(rqctx: &Cx) -> Result<Self, ApiError> {
        path_reader(rqctx).read().map(Self).map_err(|problems| {
            ApiError::not_found("what the path names").with_internal(format!("{problems:?}"))
        })
    }
}

/// What stands before the rest of a path, and the variable's name, for an operation that takes the rest.
pub(super) fn rest(operation: &Operation) -> Option<(&'static str, &'static str)> {
    if !operation.path_rest {
        return None;
    }
    let (prefix, name) = operation.path.rsplit_once('{')?;
    Some((prefix, name.strip_suffix('}')?))
}

fn path_reader(rqctx: &Cx) -> Reader {
    let mut reader = Reader::default();
    let segments = |p: &'static str| p.split('/').filter(|s| !s.is_empty());
    let operation = super::api::operation(&rqctx.endpoint.operation_id);
    let template = operation.map_or("", |o| o.path);
    let path = rqctx.request.uri().path();
    if let Some((prefix, name)) = operation.and_then(rest) {
        let rest = path.strip_prefix(prefix).unwrap_or_default();
        // What cannot be decoded is no name of anything, so it may stand as it was written.
        reader.values.insert(name.into(), decode(rest, false).unwrap_or_else(|| rest.into()));
        return reader;
    }
    let given = path.split('/').filter(|s| !s.is_empty());
    for (name, value) in segments(template).zip(given) {
        if let Some(name) = name.strip_prefix('{').and_then(|n| n.strip_suffix('}'))
            && let Some(value) = decode(value, false)
        {
            reader.values.insert(name.into(), value);
        }
    }
    reader
}

impl<T: Parameters> QueryParams<T> {
    pub fn take(rqctx: &Cx) -> Result<Self, ApiError> {
        let mut reader = query_reader(rqctx.request.uri().query().unwrap_or_default(), T::NAMES);
        reader.read().map(Self).map_err(ApiError::fields)
    }
}

/// The query as it is written: a name that the operation does not know, or one that stands twice, is a mistake.
fn query_reader(query: &str, known: &[&str]) -> Reader {
    let mut reader = Reader::default();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = decode(name, true) else {
            reader.problem("query", "a name has a malformed %-encoding");
            continue;
        };
        let Some(value) = decode(value, true) else {
            reader.problem(&name, "has a malformed %-encoding, or is not UTF-8");
            continue;
        };
        if !known.contains(&name.as_str()) {
            reader.problem(&name, "is not a parameter of this operation");
        } else if reader.values.insert(name.clone(), value).is_some() {
            reader.problem(&name, "must be given once");
        }
    }
    reader
}

/// An operation without query parameters takes no query.
pub fn no_query(rqctx: &Cx) -> Result<(), ApiError> {
    let reader = query_reader(rqctx.request.uri().query().unwrap_or_default(), &[]);
    if reader.problems.is_empty() { Ok(()) } else { Err(ApiError::fields(reader.problems)) }
}

impl<T: Parameters> HeaderParams<T> {
    pub fn take(rqctx: &Cx) -> Result<Self, ApiError> {
        header_reader(rqctx.request.headers(), T::NAMES).read().map(Self).map_err(ApiError::fields)
    }
}

fn header_reader(headers: &http::HeaderMap, known: &[&str]) -> Reader {
    let mut reader = Reader::default();
    for name in known {
        let mut values = headers.get_all(*name).iter();
        let Some(value) = values.next() else { continue };
        match std::str::from_utf8(value.as_bytes()) {
            Ok(v) if values.next().is_none() => {
                reader.values.insert((*name).into(), v.into());
            }
            Ok(_) => reader.problem(name, "must be given once"),
            Err(_) => reader.problem(name, "is not UTF-8"),
        }
    }
    reader
}

macro_rules! extractor {
    ($name:ident, $said:ident) => {
        #[async_trait]
        impl<T: Parameters> SharedExtractor for $name<T> {
            async fn from_request<C: ServerContext>(rqctx: &RequestContext<C>) -> Result<Self, HttpError> {
                Ok(Self::take(own(rqctx)?)?)
            }

            fn metadata(t: ApiEndpointBodyContentType) -> ExtractorMetadata {
                <dropshot::$said<T> as SharedExtractor>::metadata(t)
            }
        }
    };
}
extractor!(PathParams, Path);
extractor!(QueryParams, Query);
extractor!(HeaderParams, Header);

// ---- defaults of parameters, for serde's `default = "…"`

pub const fn default_i32<const N: i32>() -> i32 {
    N
}

pub const fn default_i64<const N: i64>() -> i64 {
    N
}

pub const fn default_bool<const B: bool>() -> bool {
    B
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding() {
        assert_eq!(decode("a%20b+c", true).as_deref(), Some("a b c"));
        assert_eq!(decode("a%20b+c", false).as_deref(), Some("a b+c"));
        for bad in ["%", "%2", "%zz", "%ff", "a%+1", "%C3%28"] {
            assert_eq!(decode(bad, true), None, "{bad}");
        }
    }

    #[test]
    fn query() {
        let reader = query_reader("a=1&b=2&a=3&c=%ff&&b2=", &["a", "b", "c"]);
        let named: Vec<&str> = reader.problems.iter().map(|p| p.field.as_str()).collect();
        assert_eq!(named, ["a", "c", "b2"]);
    }
}
