//! Answers of operations.
use super::{ApiError, Body, Response};
use dropshot::{ApiEndpointResponse, HttpError, HttpResponse};
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// 200 with something that is not JSON; 206 with a part of it, or 304 for a caller that has it.
#[derive(Debug)]
pub struct Download {
    /// 200, 206 or 304.
    pub status: StatusCode,
    pub content_type: &'static str,
    /// A name to save it under; without one it is shown where it can be.
    pub file_name: Option<String>,
    /// More headers (`ETag`, `Cache-Control`).
    pub headers: HeaderMap,
    pub body: Body,
}

impl Download {
    pub fn new(content_type: &'static str, body: impl Into<Body>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            file_name: None,
            headers: HeaderMap::new(),
            body: body.into(),
        }
    }

    #[must_use]
    pub fn named(mut self, file_name: impl Into<String>) -> Self {
        self.file_name = Some(file_name.into());
        self
    }
}

impl HttpResponse for Download {
    fn to_result(self) -> Result<Response, HttpError> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        let headers = response.headers_mut();
        if self.status != StatusCode::NOT_MODIFIED {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        }
        if let Some(name) = self.file_name {
            let safe: String = name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' })
                .collect();
            if let Ok(v) = HeaderValue::from_str(&format!("attachment; filename=\"{safe}\"")) {
                headers.insert(header::CONTENT_DISPOSITION, v);
            }
        }
        Ok(response)
    }

    fn response_metadata() -> ApiEndpointResponse {
        ApiEndpointResponse {
            success: Some(StatusCode::OK),
            description: Some("a file".into()),
            ..Default::default()
        }
    }

    fn status_code(&self) -> StatusCode {
        self.status
    }
}

/// What a handler answers, as a response.
pub fn respond<R: HttpResponse>(answer: R) -> Result<Response, ApiError> {
    answer.to_result().map_err(|e| ApiError::internal(e.internal_message))
}
