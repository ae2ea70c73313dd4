//! Bodies of requests.
use super::auth::own;
use super::{ApiError, Body, Cx, Request};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use dropshot::{
    ApiEndpointBodyContentType, ExclusiveExtractor, ExtractorMetadata, HttpError, MultipartBody,
    RequestContext, ServerContext, TypedBody, UntypedBody,
};
use http::header;
use http_body_util::BodyExt;
use scaicontrol_types::ErrorDetail;
use scaicontrol_types::support::violations;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use validator::Validate;

/// Memory that is set aside for a body before it has come.
const RESERVED_MAX: usize = 256 * 1024;

/// A JSON body whose limits were checked.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// What the body is on the outside. (serde would take a list for a struct, field by field.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Object,
    List,
}

impl<T: DeserializeOwned + Validate> Json<T> {
    pub async fn take(rqctx: &Cx, request: Request, shape: Shape) -> Result<Self, ApiError> {
        Ok(Self::take_with_bytes(rqctx, request, shape).await?.0)
    }

    /// The bytes too, as they came.
    pub async fn take_with_bytes(
        rqctx: &Cx,
        request: Request,
        shape: Shape,
    ) -> Result<(Self, Bytes), ApiError> {
        let bytes = json_bytes(rqctx, request, shape).await?;
        let value: T = match serde_json::from_slice(&bytes) {
            Ok(value) => value,
            // To say where it is wrong takes a slower look.
            Err(_) => read_with_path(&bytes)?,
        };
        value.validate().map_err(|e| limits(&e, &bytes))?;
        Ok((Self(value), bytes))
    }
}

fn read_with_path<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|e| not_of_type(&e.path().to_string(), e.inner()))?;
    json.end().map_err(|e| malformed(&e))?;
    Ok(value)
}

async fn json_bytes(rqctx: &Cx, request: Request, shape: Shape) -> Result<Bytes, ApiError> {
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !media.split(';').next().is_some_and(|m| m.trim().eq_ignore_ascii_case("application/json")) {
        // no body and no type: the missing body is what is wrong
        if http_body::Body::size_hint(request.body()).exact() == Some(0) && media.is_empty() {
            return Err(ApiError::bad_request("a JSON body is required"));
        }
        return Err(ApiError::unsupported_media_type("application/json"));
    }
    let bytes = collect(rqctx.request_body_max_bytes(), request).await?;
    if shape == Shape::Object && first(&bytes) == Some(b'[') {
        return Err(ApiError::bad_request("the body must be a JSON object"));
    }
    check_nul(&bytes)?;
    Ok(bytes)
}

/// The whole body, if it is within the limit. What is over it is read and thrown away for a moment, so that a caller
/// who is still sending gets to read the answer.
async fn collect(max: usize, request: Request) -> Result<Bytes, ApiError> {
    let mut body = request.into_body();
    let declared = http_body::Body::size_hint(&body).lower();
    // As declared, as long as that is not much: the caller has not sent it yet.
    let mut out =
        BytesMut::with_capacity(usize::try_from(declared).unwrap_or(max).min(max).min(RESERVED_MAX));
    let mut too_large = declared > max as u64;
    while !too_large {
        match body.frame().await {
            None => return Ok(out.freeze()),
            Some(Err(e)) => return Err(ApiError::bad_request("the body did not arrive").with_internal(e)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    too_large = out.len() + data.len() > max;
                    if !too_large {
                        out.extend_from_slice(&data);
                    }
                }
            }
        }
    }
    drain(body).await;
    Err(ApiError::payload_too_large(max))
}

/// Reads on for a moment, and throws it away.
async fn drain(mut body: Body) {
    let read = async {
        let mut left = 16 * 1024 * 1024_usize;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), read).await;
}

fn first(bytes: &[u8]) -> Option<u8> {
    bytes.iter().copied().find(|b| !b.is_ascii_whitespace())
}

fn malformed(e: &serde_json::Error) -> ApiError {
    ApiError::bad_request(format!("the body is not JSON: {e}"))
}

fn not_of_type(path: &str, e: &serde_json::Error) -> ApiError {
    if !e.is_data() {
        return malformed(e);
    }
    let mut message = e.to_string();
    if let Some(at) = message.rfind(" at line ") {
        message.truncate(at);
    }
    // `events[3].quantity` → `events.3.quantity`
    let mut field = path.replace('[', ".").replace(']', "");
    field = field.trim_start_matches('.').to_string();
    if field == "." || field == "?" {
        field.clear();
    }
    // what is unknown, missing or twice stands in the message, not in the path
    for kind in ["unknown field `", "missing field `", "duplicate field `"] {
        if let Some(name) = message.strip_prefix(kind).and_then(|rest| rest.split('`').next()) {
            if field.split('.').next_back() != Some(name) || kind.starts_with("missing") {
                field = if field.is_empty() { name.to_string() } else { format!("{field}.{name}") };
            }
            message = match kind.split(' ').next() {
                Some("unknown") => "is not a known field".into(),
                Some("missing") => "is required".into(),
                _ => "stands there twice".into(),
            };
            break;
        }
    }
    if field.is_empty() {
        return ApiError::bad_request(message);
    }
    ApiError::field(field, message)
}

fn limits(e: &validator::ValidationErrors, bytes: &[u8]) -> ApiError {
    let mut details = violations(e);
    // a body that is a list has a type around it; its fields start with the index
    if first(bytes) == Some(b'[') {
        for d in &mut details {
            if let Some(rest) = d.field.strip_prefix("items.") {
                d.field = rest.to_string();
            }
        }
    }
    ApiError::fields(details)
}

/// A NUL in a string is JSON, but no text that the database can keep.
fn check_nul(bytes: &[u8]) -> Result<(), ApiError> {
    // What is no UTF-8 is no JSON either, and is refused as such.
    if !std::str::from_utf8(bytes).is_ok_and(|text| text.contains("\\u0000")) {
        return Ok(());
    }
    // rare, and perhaps only an escaped backslash: look closely
    let value: Value = serde_json::from_slice(bytes).map_err(|e| malformed(&e))?;
    let mut found = Vec::new();
    find_nul("", &value, &mut found);
    if found.is_empty() { Ok(()) } else { Err(ApiError::fields(found)) }
}

fn find_nul(path: &str, v: &Value, out: &mut Vec<ErrorDetail>) {
    let under = |name: &dyn std::fmt::Display| {
        if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
    };
    let mut say =
        |field: String| out.push(ErrorDetail { field, message: "must not contain NUL characters".into() });
    match v {
        Value::String(s) if s.contains('\0') => say(path.to_string()),
        Value::Array(a) => {
            for (i, x) in a.iter().enumerate() {
                find_nul(&under(&i), x, out);
            }
        }
        Value::Object(m) => {
            for (k, x) in m {
                if k.contains('\0') {
                    let field = under(&k.replace('\0', "\u{fffd}"));
                    out.push(ErrorDetail { field, message: "must not contain NUL characters".into() });
                }
                find_nul(&under(k), x, out);
            }
        }
        _ => {}
    }
}

#[async_trait]
impl<T: DeserializeOwned + Validate + JsonSchema + Send + Sync + 'static> ExclusiveExtractor for Json<T> {
    async fn from_request<C: ServerContext>(
        rqctx: &RequestContext<C>,
        request: Request,
    ) -> Result<Self, HttpError> {
        Ok(Self::take(own(rqctx)?, request, Shape::List).await?)
    }

    fn metadata(t: ApiEndpointBodyContentType) -> ExtractorMetadata {
        <TypedBody<T> as ExclusiveExtractor>::metadata(t)
    }
}

/// A body as it came, whatever it is.
#[derive(Debug)]
pub struct RawBody(pub Bytes);

impl RawBody {
    pub async fn take(rqctx: &Cx, request: Request) -> Result<Self, ApiError> {
        collect(rqctx.request_body_max_bytes(), request).await.map(Self)
    }
}

#[async_trait]
impl ExclusiveExtractor for RawBody {
    async fn from_request<C: ServerContext>(
        rqctx: &RequestContext<C>,
        request: Request,
    ) -> Result<Self, HttpError> {
        Ok(Self::take(own(rqctx)?, request).await?)
    }

    fn metadata(t: ApiEndpointBodyContentType) -> ExtractorMetadata {
        <UntypedBody as ExclusiveExtractor>::metadata(t)
    }
}

/// A form with files. dropshot's own has no limit and cannot read a quoted boundary.
pub struct Multipart(pub multer::Multipart<'static>);

impl Multipart {
    pub fn take(rqctx: &Cx, request: Request) -> Result<Self, ApiError> {
        let boundary = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| multer::parse_boundary(v).ok())
            .ok_or_else(|| ApiError::unsupported_media_type("multipart/form-data"))?;
        let max = rqctx.request_body_max_bytes();
        let body: Body = request.into_body();
        if http_body::Body::size_hint(&body).lower() > max as u64 {
            tokio::spawn(drain(body));
            return Err(ApiError::payload_too_large(max));
        }
        let limit = multer::SizeLimit::new().whole_stream(max as u64);
        let limits = multer::Constraints::new().size_limit(limit);
        Ok(Self(multer::Multipart::with_constraints(body.into_data_stream(), boundary, limits)))
    }
}

#[async_trait]
impl ExclusiveExtractor for Multipart {
    async fn from_request<C: ServerContext>(
        rqctx: &RequestContext<C>,
        request: Request,
    ) -> Result<Self, HttpError> {
        Ok(Self::take(own(rqctx)?, request)?)
    }

    fn metadata(t: ApiEndpointBodyContentType) -> ExtractorMetadata {
        <MultipartBody as ExclusiveExtractor>::metadata(t)
    }
}
