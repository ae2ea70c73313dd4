//! What is served beside the API: the specification, its page for people, and a sign of life.
//!
//! The page (`/docs`) is a script that comes with a crate and is served from here. It may ask nobody else for anything:
//! its fonts, its telemetry, its proxy and its assistant are off, and the policy in its header would not let it. The
//! inline part of the page is allowed by its hash, so that nothing else that is inline runs.
use crate::api::Enter;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::{Compression, write::GzEncoder};
use futures::future::BoxFuture;
use http::{HeaderValue, Method, StatusCode, header};
use scaicontrol_api::{ApiError, Cx, OPERATIONS, PlainRoute, Request, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::sync::LazyLock;

/// The bundled specification, as it was generated.
pub static SPECIFICATION: &str = include_str!("../../../generated/openapi.json");

type Answer = BoxFuture<'static, Result<Response, ApiError>>;

/// The routes of this module.
pub fn routes() -> Vec<PlainRoute> {
    let get = |path, name, run| PlainRoute { method: Method::GET, path, name, run };
    vec![
        get("/openapi.json", "openapi", |_, request| ready(SPEC.answer(&request))),
        get("/docs", "docs", |_, request| ready(PAGE.answer(&request))),
        get("/docs/openapi.json", "docs_openapi", |_, request| ready(SHOWN_SPEC.answer(&request))),
        get("/docs/scalar.js", "docs_script", |_, request| ready(SCRIPT.answer(&request))),
        get("/health/live", "health_live", live),
        get("/", "root", |_, _| ready(redirect("/docs"))),
    ]
}

/// Packs the pages before somebody asks for them; takes a moment, and a thread that may be held up.
pub fn pack() {
    for page in [&SPEC, &SHOWN_SPEC, &SCRIPT, &PAGE] {
        LazyLock::force(page);
    }
}

fn ready(response: Response) -> Answer {
    Box::pin(std::future::ready(Ok(response)))
}

/// The process runs and answers; nothing else is looked at.
fn live(rqctx: Cx, _: Request) -> Answer {
    let _ = rqctx.control();
    let mut response = Response::new(json!({"status": "ok"}).to_string().into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ready(response)
}

fn redirect(to: &'static str) -> Response {
    let mut response = Response::new(dropshot::Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(to));
    response
}

/// A page that never changes while the program runs: packed once, and not sent again to who has it.
struct Fixed {
    content_type: &'static str,
    policy: Option<HeaderValue>,
    plain: Vec<u8>,
    packed: Vec<u8>,
    tag: HeaderValue,
    packed_tag: HeaderValue,
}

impl Fixed {
    fn new(content_type: &'static str, plain: Vec<u8>) -> Fixed {
        let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::default());
        let packed = encoder.write_all(&plain).and_then(|()| encoder.finish()).unwrap_or_default();
        let tag = |bytes: &[u8]| {
            let digest = URL_SAFE_NO_PAD.encode(&Sha256::digest(bytes)[..16]);
            HeaderValue::from_str(&format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
        };
        let (tag, packed_tag) = (tag(&plain), tag(&packed));
        Fixed { content_type, policy: None, plain, packed, tag, packed_tag }
    }

    fn with_policy(mut self, policy: &str) -> Fixed {
        self.policy = HeaderValue::from_str(policy).ok();
        self
    }

    fn answer(&self, request: &Request) -> Response {
        let packed = !self.packed.is_empty() && accepts_gzip(request);
        let (body, tag) = if packed { (&self.packed, &self.packed_tag) } else { (&self.plain, &self.tag) };
        let known = has(request, tag);
        let mut response = Response::new(if known { dropshot::Body::empty() } else { body.clone().into() });
        let headers = response.headers_mut();
        headers.insert(header::ETAG, tag.clone());
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if packed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(policy) = &self.policy {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
        }
        response
    }
}

fn accepts_gzip(request: &Request) -> bool {
    let named = request.headers().get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    named.flat_map(|v| v.split(',')).any(|part| {
        let mut part = part.split(';').map(str::trim);
        let gzip = part.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused =
            part.any(|p| matches!(p.replace(' ', "").as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        gzip && !refused
    })
}

/// Whether the caller holds the version of this tag.
fn has(request: &Request, tag: &HeaderValue) -> bool {
    let held = request.headers().get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    let tag = tag.to_str().unwrap_or_default();
    held.flat_map(|v| v.split(','))
        .map(str::trim)
        .any(|t| t == "*" || t.strip_prefix("W/").unwrap_or(t) == tag)
}

static SPEC: LazyLock<Fixed> = LazyLock::new(|| Fixed::new("application/json", SPECIFICATION.into()));
static SHOWN_SPEC: LazyLock<Fixed> =
    LazyLock::new(|| Fixed::new("application/json", shown_specification().into()));
static SCRIPT: LazyLock<Fixed> = LazyLock::new(|| {
    let script = scalar_api_reference::get_asset("scalar.js").unwrap_or_default();
    Fixed::new("text/javascript; charset=utf-8", script)
});
static PAGE: LazyLock<Fixed> = LazyLock::new(|| {
    let html = page();
    let policy = policy(&html);
    Fixed::new("text/html; charset=utf-8", html.into()).with_policy(&policy)
});

/// The specification as the page shows it: with who may call each operation.
fn shown_specification() -> String {
    let mut document: Value = serde_json::from_str(SPECIFICATION).unwrap_or_default();
    for operation in OPERATIONS {
        let method = operation.method.to_ascii_lowercase();
        let Some(shown) = document.get_mut("paths").and_then(|p| p.get_mut(operation.path)?.get_mut(method))
        else {
            continue;
        };
        let level = match operation.level {
            scaicontrol_api::Level::Public => "anybody",
            scaicontrol_api::Level::Tenant => "users",
            scaicontrol_api::Level::TenantOrService => "users and services",
            scaicontrol_api::Level::Partner => "partner and platform staff",
            scaicontrol_api::Level::Platform => "platform staff",
            scaicontrol_api::Level::Service => "services",
        };
        let permission = match operation.permission {
            "any" | "none" => "no permission needed",
            "any_admin" => "any admin permission",
            permission => permission,
        };
        let text = shown.get("description").and_then(Value::as_str).unwrap_or_default();
        let open =
            operation.public_when.map(|w| format!(" Open to anybody when `{w}` is set.")).unwrap_or_default();
        shown["description"] =
            format!("**For:** {level} · **Permission:** `{permission}`.{open}\n\n{text}").into();
        shown["x-badges"] = json!([{"name": level}, {"name": permission}]);
    }
    document.to_string()
}

fn page() -> String {
    let config = json!({
        "url": "/docs/openapi.json",
        "withDefaultFonts": false,
        "telemetry": false,
        "agent": {"disabled": true},
        "hideClientButton": true,
        "showDeveloperTools": "never",
        "persistAuth": false,
    });
    let html = scalar_api_reference::scalar_html(&config, Some("/docs/scalar.js"));
    html.replace("<title>Scalar API Reference</title>", "<title>ScaiControl API</title>")
}

/// Scripts from here and the one inline script, requests to here, and nothing from anywhere else.
fn policy(html: &str) -> String {
    let inline = html
        .rsplit_once("<script>")
        .and_then(|(_, rest)| rest.split_once("</script>"))
        .map_or("", |(s, _)| s);
    let hash = STANDARD.encode(Sha256::digest(inline));
    format!(
        "default-src 'none'; script-src 'self' 'sha256-{hash}'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
         font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Request {
        let mut request = http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(dropshot::Body::empty()).expect("a request")
    }

    #[test]
    fn the_specification_is_sent_once() {
        let plain = SPEC.answer(&asked(&[]));
        assert_eq!(plain.status(), 200);
        assert!(!plain.headers().contains_key("content-encoding"));
        let packed = SPEC.answer(&asked(&[("accept-encoding", "br, gzip;q=0.8")]));
        assert_eq!(packed.headers()["content-encoding"], "gzip");
        let (one, two) = (&plain.headers()["etag"], &packed.headers()["etag"]);
        assert_ne!(one, two, "different bytes, different tags");
        let held = one.to_str().expect("text");
        assert_eq!(SPEC.answer(&asked(&[("if-none-match", held)])).status(), 304);
        assert_eq!(SPEC.answer(&asked(&[("if-none-match", &format!("\"x\", W/{held}"))])).status(), 304);
        assert_eq!(SPEC.answer(&asked(&[("if-none-match", "\"x\"")])).status(), 200);
        assert_eq!(
            SPEC.answer(&asked(&[("accept-encoding", "gzip;q=0")])).headers().get("content-encoding"),
            None
        );
    }

    #[test]
    fn the_page_asks_nobody_else() {
        let html = page();
        assert!(!html.contains("http://") && !html.contains("https://"), "{html}");
        let policy = policy(&html);
        assert!(!policy.contains("http") && !policy.contains('*'), "{policy}");
        assert!(policy.contains("'sha256-"));
        assert!(SCRIPT.plain.len() > 100_000, "the script is inside");
    }

    #[test]
    fn the_page_says_who_may_call() {
        let document: Value = serde_json::from_str(&shown_specification()).expect("json");
        for operation in OPERATIONS {
            let shown = &document["paths"][operation.path][operation.method.to_ascii_lowercase()];
            let text = shown["description"].as_str().unwrap_or_default();
            assert!(text.starts_with("**For:** "), "{}", operation.id);
            assert!(
                matches!(operation.permission, "any" | "none" | "any_admin")
                    || text.contains(operation.permission)
            );
        }
    }
}
