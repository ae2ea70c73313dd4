//! The body of every answer outside 2xx.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of refusal it is; stable, for programs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    PayloadTooLarge,
    UnsupportedMediaType,
    RateLimited,
    InternalError,
    ServiceUnavailable,
}

impl ErrorCode {
    pub const ALL: &[Self] = &[
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::RateLimited,
        Self::InternalError,
        Self::ServiceUnavailable,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::RateLimited => "rate_limited",
            Self::InternalError => "internal_error",
            Self::ServiceUnavailable => "service_unavailable",
        }
    }

    /// The HTTP status of the code.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::PayloadTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::RateLimited => 429,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
        }
    }
}

super::name_of_enum!(
    ErrorCode,
    "bad_request, unauthorized, forbidden, not_found, method_not_allowed, conflict, payload_too_large, \
     unsupported_media_type, rate_limited, internal_error, service_unavailable"
);

/// One field that was not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDetail {
    /// Path of the field in the body (`events.3.quantity`), or name of the parameter.
    #[schemars(length(max = 300))]
    pub field: String,
    /// What is wrong with it.
    #[schemars(length(max = 1000))]
    pub message: String,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// What kind of refusal it is.
    pub code: ErrorCode,
    /// What went wrong, for people.
    #[schemars(length(max = 2000))]
    pub message: String,
    /// Id of the request, also in the `x-request-id` header.
    #[schemars(length(max = 64))]
    pub request_id: String,
    /// The fields that were not as they must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<ErrorDetail>", length(max = 1000))]
    pub details: Option<Vec<ErrorDetail>>,
}

/// The body of every answer outside 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorEnvelope {
    /// What went wrong.
    pub error: ErrorBody,
}
