//! What an operation fails with, and how it becomes the error envelope.
use super::{Body, Response};
use dropshot::{ErrorStatusCode, HttpError, HttpResponseError};
use http::{HeaderValue, header};
use scaicontrol_types::{ErrorBody, ErrorCode, ErrorDetail, ErrorEnvelope};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// A refusal or a failure. The message goes to the caller, the inner detail to the log only.
#[derive(Debug, Clone)]
pub struct ApiError(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    code: ErrorCode,
    message: String,
    details: Vec<ErrorDetail>,
    retry_after: Option<u32>,
    allow: Option<HeaderValue>,
    /// Bytes that there are, for 416.
    range_of: Option<u64>,
    internal: Option<String>,
}

const RETRY_AFTER_SECONDS: u32 = 5;

impl ApiError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let inner = Inner {
            code,
            message: message.into(),
            details: vec![],
            retry_after: None,
            allow: None,
            range_of: None,
            internal: None,
        };
        Self(Box::new(inner))
    }

    /// 400
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    /// 400 because of one field: its path (`lines.0.quantity`) or the name of the parameter.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::fields(vec![ErrorDetail { field: field.into(), message: message.into() }])
    }

    /// 400 because of several fields.
    pub fn fields(mut details: Vec<ErrorDetail>) -> Self {
        details.truncate(1000);
        for d in &mut details {
            cut(&mut d.field, 300);
            cut(&mut d.message, 1000);
        }
        let message = match details.as_slice() {
            [one] => format!("{}: {}", one.field, one.message),
            _ => "some fields are not as they must be".into(),
        };
        let mut e = Self::bad_request(message);
        e.0.details = details;
        e
    }

    /// 401, with `WWW-Authenticate: Bearer`
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unauthorized, message)
    }

    /// 403
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    /// 404: `what` is the noun, “invoice”.
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("{what} not found"))
    }

    /// 405; `allow` names the methods that there are.
    pub fn method_not_allowed(allow: &str) -> Self {
        let mut e = Self::new(ErrorCode::MethodNotAllowed, "this method is not allowed here");
        e.0.allow = HeaderValue::from_str(allow).ok();
        e
    }

    /// 409
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Conflict, message)
    }

    /// 413
    pub fn payload_too_large(max_bytes: usize) -> Self {
        Self::new(ErrorCode::PayloadTooLarge, format!("the body may have at most {max_bytes} bytes"))
    }

    /// 415; `wanted` is the media type that would be right.
    pub fn unsupported_media_type(wanted: &str) -> Self {
        Self::new(ErrorCode::UnsupportedMediaType, format!("the content type must be {wanted}"))
    }

    /// 416, with the code of a bad request: the part that was asked for is not there; the whole has `total` bytes.
    pub fn range_not_satisfiable(total: u64) -> Self {
        let mut e = Self::bad_request("the range is not within the file");
        e.0.range_of = Some(total);
        e
    }

    /// 429
    pub fn rate_limited(retry_after_seconds: u32) -> Self {
        let mut e = Self::new(ErrorCode::RateLimited, "too many requests");
        e.0.retry_after = Some(retry_after_seconds);
        e
    }

    /// 500: the detail goes to the log, the caller is told nothing of it.
    pub fn internal(detail: impl fmt::Display) -> Self {
        let mut e = Self::new(ErrorCode::InternalError, "something went wrong on our side");
        e.0.internal = Some(detail.to_string());
        e
    }

    /// 503
    pub fn unavailable(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut e = Self::new(ErrorCode::ServiceUnavailable, message);
        e.0.retry_after = Some(retry_after_seconds);
        e
    }

    /// More about it for the log, nothing of it for the caller.
    #[must_use]
    pub fn with_internal(mut self, detail: impl fmt::Display) -> Self {
        self.0.internal = Some(detail.to_string());
        self
    }

    /// The same refusal, naming fields.
    #[must_use]
    pub fn with_details(mut self, details: Vec<ErrorDetail>) -> Self {
        self.0.details = Self::fields(details).0.details;
        self
    }

    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    pub fn status(&self) -> u16 {
        if self.0.range_of.is_some() { 416 } else { self.0.code.status() }
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn details(&self) -> &[ErrorDetail] {
        &self.0.details
    }

    pub fn internal_detail(&self) -> Option<&str> {
        self.0.internal.as_deref()
    }

    /// The answer: the envelope and the headers that belong to the code.
    pub fn response(&self, request_id: &str) -> Response {
        let bytes = serde_json::to_vec(&self.envelope(request_id)).unwrap_or_default();
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() =
            http::StatusCode::from_u16(self.status()).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(total) = self.0.range_of
            && let Ok(range) = HeaderValue::from_str(&format!("bytes */{total}"))
        {
            headers.insert(header::CONTENT_RANGE, range);
        }
        match self.0.code {
            ErrorCode::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ErrorCode::RateLimited | ErrorCode::ServiceUnavailable => {
                let seconds = self.0.retry_after.unwrap_or(RETRY_AFTER_SECONDS);
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            ErrorCode::MethodNotAllowed => {
                if let Some(allow) = &self.0.allow {
                    headers.insert(header::ALLOW, allow.clone());
                }
            }
            _ => {}
        }
        response
    }

    pub fn envelope(&self, request_id: &str) -> ErrorEnvelope {
        let mut message = self.0.message.clone();
        cut(&mut message, 2000);
        let details = (!self.0.details.is_empty()).then(|| self.0.details.clone());
        ErrorEnvelope {
            error: ErrorBody { code: self.0.code, message, request_id: request_id.into(), details },
        }
    }
}

/// At most so many characters.
fn cut(text: &mut String, max: usize) {
    if let Some((at, _)) = text.char_indices().nth(max) {
        text.truncate(at);
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)
    }
}

impl std::error::Error for ApiError {}

// dropshot wants these of an error; all of them speak for the envelope.
impl Serialize for ApiError {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.envelope("").serialize(s)
    }
}

impl JsonSchema for ApiError {
    fn schema_name() -> String {
        ErrorEnvelope::schema_name()
    }

    fn json_schema(generator: &mut schemars::r#gen::SchemaGenerator) -> schemars::schema::Schema {
        ErrorEnvelope::json_schema(generator)
    }
}

impl HttpResponseError for ApiError {
    fn status_code(&self) -> ErrorStatusCode {
        ErrorStatusCode::from_u16(self.status()).unwrap_or(ErrorStatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<HttpError> for ApiError {
    fn from(e: HttpError) -> Self {
        match e.status_code.as_u16() {
            404 => Self::new(ErrorCode::NotFound, "there is nothing at this path"),
            405 => {
                let allow: Vec<&str> = e
                    .headers
                    .iter()
                    .flat_map(|h| h.get_all(header::ALLOW))
                    .filter_map(|v| v.to_str().ok())
                    .collect();
                Self::method_not_allowed(&allow.join(", "))
            }
            400..500 => Self::bad_request(e.external_message),
            _ => Self::internal(e.internal_message),
        }
    }
}

/// For the extractors, which dropshot lets fail with its own error only.
impl From<ApiError> for HttpError {
    fn from(e: ApiError) -> Self {
        match dropshot::ClientErrorStatusCode::from_u16(e.status()) {
            Ok(status) => HttpError::for_client_error(None, status, e.message().to_string()),
            Err(_) => HttpError::for_internal_error(e.to_string()),
        }
    }
}
