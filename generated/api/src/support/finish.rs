//! What is done to every answer: request id, security headers, CORS, compression, and no body for HEAD.
use super::{Body, FrontConfig, Request, Response};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use std::io::Write;

/// Smaller bodies do not gain by it.
const COMPRESS_FROM: u64 = 1024;

/// What must be known of the request when its answer is finished.
pub(super) struct Asked {
    head: bool,
    preflight: bool,
    gzip: bool,
    /// The origin, when it is one of ours.
    origin: Option<HeaderValue>,
}

impl Asked {
    pub(super) fn of(request: &Request, config: &FrontConfig) -> Self {
        let headers = request.headers();
        let origin = headers
            .get(header::ORIGIN)
            .filter(|o| config.cors_origins.iter().any(|c| c.as_bytes() == o.as_bytes()))
            .cloned();
        Self {
            head: request.method() == Method::HEAD,
            preflight: request.method() == Method::OPTIONS
                && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD),
            gzip: accepts_gzip(headers),
            origin,
        }
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut any = None;
    for part in headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
    {
        let (name, q) = part.split_once(';').unwrap_or((part, "q=1"));
        let q = q.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok()).unwrap_or(1.0);
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => return q > 0.0,
            "*" => any = Some(q > 0.0),
            _ => {}
        }
    }
    any.unwrap_or(false)
}

pub(super) async fn finish(mut response: Response, asked: &Asked, request_id: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in [
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    cors(headers, asked);
    let compressible = is_compressible(headers);
    if compressible {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if asked.head {
        if let Some(n) = response.body().size_hint().exact()
            && !response.headers().contains_key(header::CONTENT_LENGTH)
        {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(n));
        }
        *response.body_mut() = Body::empty();
        return response;
    }
    if compressible && asked.gzip && response.body().size_hint().exact().is_some_and(|n| n >= COMPRESS_FROM) {
        return compress(response).await;
    }
    response
}

fn cors(headers: &mut HeaderMap, asked: &Asked) {
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let Some(origin) = &asked.origin else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if asked.preflight {
        if let Some(allow) = headers.get(header::ALLOW).cloned() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow);
        }
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, idempotency-key"),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    } else {
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("x-request-id, retry-after, content-disposition, etag"),
        );
    }
}

fn is_compressible(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) || headers.contains_key(header::CONTENT_RANGE) {
        return false;
    }
    let media = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    media.starts_with("text/")
        || ["application/json", "application/xml", "application/javascript", "image/svg+xml"].contains(&media)
}

async fn compress(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        return Response::from_parts(parts, Body::empty());
    };
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    let packed = encoder.write_all(&bytes).and_then(|()| encoder.finish());
    let Ok(packed) = packed else { return Response::from_parts(parts, Body::from(bytes.to_vec())) };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    // another body than the one without: a strong tag would be wrong
    if let Some(tag) = parts.headers.get(header::ETAG).and_then(|t| t.to_str().ok()).map(str::to_string)
        && !tag.starts_with("W/")
        && let Ok(weak) = HeaderValue::from_str(&format!("W/{tag}"))
    {
        parts.headers.insert(header::ETAG, weak);
    }
    Response::from_parts(parts, Body::from(packed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_asked_for() {
        let asks = |v: &'static str| {
            let mut h = HeaderMap::new();
            h.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(v));
            accepts_gzip(&h)
        };
        assert!(asks("gzip"));
        assert!(asks("br, gzip;q=0.5"));
        assert!(asks("*"));
        assert!(!asks("gzip;q=0"));
        assert!(!asks("*;q=0, br"));
        assert!(!asks("gzip; q=0, *"));
        assert!(!asks("identity"));
    }
}
