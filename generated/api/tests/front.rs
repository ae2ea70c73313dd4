//! The front with a small server behind it, over raw sockets: every answer has the request id, the security headers and,
//! outside 2xx, the one envelope, whatever is sent.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use async_trait::async_trait;
use futures::FutureExt;
use scaicontrol_api::{auth, metering, models, subscriptions, untagged, *};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

// ---- a server that knows nothing

struct Fake;

/// A value of a type, from the examples of the specification.
fn sample<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let text = include_str!("../../openapi.json");
    let doc: Value = serde_json::from_str(text).unwrap();
    let value = example(&doc, &doc["components"]["schemas"][name]);
    serde_json::from_value(value).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn example(doc: &Value, schema: &Value) -> Value {
    if let Some(r) = schema.get("$ref").or_else(|| schema["allOf"][0].get("$ref")).and_then(Value::as_str) {
        return example(doc, doc.pointer(&r[1..]).unwrap());
    }
    if let Some(e) = schema.get("example") {
        return e.clone();
    }
    match schema["type"].as_str().unwrap() {
        "object" => {
            let properties = schema["properties"].as_object();
            properties.into_iter().flatten().map(|(k, v)| (k.clone(), example(doc, v))).collect()
        }
        "array" => json!([example(doc, &schema["items"])]),
        other => panic!("no example of {other}"),
    }
}

#[async_trait]
impl Authenticator for Fake {
    async fn authorize(
        &self,
        headers: &http::HeaderMap,
        _: std::net::IpAddr,
        _: &str,
        op: &'static Operation,
    ) -> Result<Principal, ApiError> {
        match headers.get("authorization").and_then(|v| v.to_str().ok()) {
            Some("Bearer good") => Ok(Principal { subject: "s".into(), ..Principal::public() }),
            Some(_) => Err(ApiError::forbidden(format!("{} needs {}", op.id, op.permission))),
            None => Err(ApiError::unauthorized("a token is required")),
        }
    }
}

impl auth::AuthApi for Fake {
    type Context = App;
    async fn auth_config_get(_: Cx) -> Result<R200<models::AuthConfigResponse>, ApiError> {
        Ok(dropshot::HttpResponseOk(sample("AuthConfigResponse")))
    }
    async fn auth_me_get(
        _: Cx,
        _: Auth<auth::perm::AuthMeGet>,
    ) -> Result<R200<models::MeResponse>, ApiError> {
        Err(ApiError::rate_limited(7))
    }
    async fn auth_token_proxy(
        _: Cx,
        _: Json<models::TokenRequest>,
    ) -> Result<R200<models::TokenResponse>, ApiError> {
        Err(ApiError::unavailable("the issuer does not answer", 3))
    }
}

impl untagged::UntaggedApi for Fake {
    type Context = App;
    async fn health_get(_: Cx) -> Result<R200<models::HealthResponse>, ApiError> {
        Err(ApiError::internal("secret detail"))
    }
    async fn metrics_get(_: Cx) -> Result<Download, ApiError> {
        Ok(Download::new("text/plain; version=0.0.4", "up 1\n".repeat(1000).into_bytes()))
    }
}

impl subscriptions::SubscriptionsApi for Fake {
    type Context = App;
    async fn subscription_create(
        rqctx: Cx,
        auth: Auth<subscriptions::perm::SubscriptionCreate>,
        _: Json<models::SubscriptionCreateRequest>,
    ) -> Result<R201<models::SubscriptionEnvelope>, ApiError> {
        let mut answer: models::SubscriptionEnvelope = sample("SubscriptionEnvelope");
        answer.meta.request_id = rqctx.request_id.clone();
        if let Some(key) = auth.idempotency {
            answer.data.service_slug = format!("{}-{}", key.key, key.fingerprint[0]);
        }
        Ok(dropshot::HttpResponseCreated(answer))
    }
    async fn subscription_get(
        _: Cx,
        _: Auth<subscriptions::perm::SubscriptionGet>,
        path: PathParams<subscriptions::SubscriptionGetPath>,
    ) -> Result<R200<models::SubscriptionEnvelope>, ApiError> {
        match path.0.subscription_id.as_u128() {
            1 => panic!("on purpose"),
            2 => tokio::time::sleep(Duration::from_secs(60)).await,
            3 => return Err(ApiError::not_found("subscription")),
            _ => {}
        }
        Ok(dropshot::HttpResponseOk(sample("SubscriptionEnvelope")))
    }
    async fn subscription_list(
        _: Cx,
        _: Auth<subscriptions::perm::SubscriptionList>,
        query: QueryParams<subscriptions::SubscriptionListQuery>,
    ) -> Result<R200<models::SubscriptionPage>, ApiError> {
        let mut page: models::SubscriptionPage = sample("SubscriptionPage");
        page.data = vec![page.data[0].clone(); 20];
        page.pagination.page = Some(query.0.page);
        page.pagination.page_size = query.0.page_size;
        Ok(dropshot::HttpResponseOk(page))
    }
    async fn subscription_cancel(
        _: Cx,
        _: Auth<subscriptions::perm::SubscriptionCancel>,
        _: PathParams<subscriptions::SubscriptionCancelPath>,
        _: Json<models::CancelRequest>,
    ) -> Result<R200<models::SubscriptionEnvelope>, ApiError> {
        Ok(dropshot::HttpResponseOk(sample("SubscriptionEnvelope")))
    }
    async fn subscription_change_plan(
        _: Cx,
        _: Auth<subscriptions::perm::SubscriptionChangePlan>,
        _: PathParams<subscriptions::SubscriptionChangePlanPath>,
        _: Json<models::ChangePlanRequest>,
    ) -> Result<R200<models::ChangePlanEnvelope>, ApiError> {
        Ok(dropshot::HttpResponseOk(sample("ChangePlanEnvelope")))
    }
    async fn subscription_reactivate(
        _: Cx,
        _: Auth<subscriptions::perm::SubscriptionReactivate>,
        _: PathParams<subscriptions::SubscriptionReactivatePath>,
    ) -> Result<R200<models::SubscriptionEnvelope>, ApiError> {
        Ok(dropshot::HttpResponseOk(sample("SubscriptionEnvelope")))
    }
}

impl metering::MeteringApi for Fake {
    type Context = App;
    async fn quota_check(
        _: Cx,
        _: Auth<metering::perm::QuotaCheck>,
        path: PathParams<metering::QuotaCheckPath>,
    ) -> Result<R200<models::QuotaStatusEnvelope>, ApiError> {
        let mut answer: models::QuotaStatusEnvelope = sample("QuotaStatusEnvelope");
        answer.data.tenant_id = path.0.tenant_id;
        Ok(dropshot::HttpResponseOk(answer))
    }
    async fn usage_by_service_get(
        _: Cx,
        _: Auth<metering::perm::UsageByServiceGet>,
        _: PathParams<metering::UsageByServiceGetPath>,
    ) -> Result<R200<models::ServiceUsageEnvelope>, ApiError> {
        Err(ApiError::conflict("no"))
    }
    async fn usage_events_post(
        _: Cx,
        _: Auth<metering::perm::UsageEventsPost>,
        _: Json<models::UsageEventsRequest>,
    ) -> Result<R202<models::UsageEventsEnvelope>, ApiError> {
        Ok(dropshot::HttpResponseAccepted(sample("UsageEventsEnvelope")))
    }
    async fn usage_history_get(
        _: Cx,
        _: Auth<metering::perm::UsageHistoryGet>,
        _: QueryParams<metering::UsageHistoryGetQuery>,
    ) -> Result<R200<models::UsageHistoryEnvelope>, ApiError> {
        Err(ApiError::conflict("no"))
    }
    async fn usage_quota_list(
        _: Cx,
        _: Auth<metering::perm::UsageQuotaList>,
    ) -> Result<R200<models::QuotaStatusList>, ApiError> {
        Err(ApiError::conflict("no"))
    }
    async fn usage_summary_get(
        _: Cx,
        _: Auth<metering::perm::UsageSummaryGet>,
        _: QueryParams<metering::UsageSummaryGetQuery>,
    ) -> Result<R200<models::UsageSummaryEnvelope>, ApiError> {
        Err(ApiError::conflict("no"))
    }
}

fn page(rqctx: Cx, _: Request) -> futures::future::BoxFuture<'static, Result<Response, ApiError>> {
    async move {
        let mut response = Response::new(Body::from("<p>page</p>".to_string()));
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/html"));
        response.headers_mut().insert("cache-control", http::HeaderValue::from_static("max-age=60"));
        assert_eq!(rqctx.context().config.cors_origins.len(), 1);
        Ok(response)
    }
    .boxed()
}

async fn server() -> Running {
    let mut api = Api::new();
    auth::register::<Fake>(&mut api);
    metering::register::<Fake>(&mut api);
    subscriptions::register::<Fake>(&mut api);
    untagged::register::<Fake>(&mut api);
    let config = FrontConfig {
        cors_origins: vec!["https://app.example.com".into()],
        request_deadline: Duration::from_millis(300),
        ..Default::default()
    };
    let app = App { auth: Box::new(Fake), observe: Box::new(()), config, state: Box::new(()) };
    let plain = vec![PlainRoute { method: http::Method::GET, path: "/docs/*", name: "docs", run: page }];
    start(api, app, plain, ([127, 0, 0, 1], 0).into(), slog::Logger::root(slog::Discard, slog::o!()))
        .await
        .unwrap()
}

// ---- raw calls

struct Got {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_string()
    }
    fn fields(&self) -> Vec<String> {
        let json = self.json();
        let details = json["error"]["details"].as_array().cloned().unwrap_or_default();
        details.iter().map(|d| d["field"].as_str().unwrap().to_string()).collect()
    }
}

fn raw(addr: SocketAddr, bytes: &[u8]) -> Got {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // the server may close while a large request is still being written
    let _ = socket.write_all(bytes);
    let mut all = Vec::new();
    let _ = socket.read_to_end(&mut all);
    let at = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("no head: {all:?}"));
    let head = String::from_utf8_lossy(&all[..at]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers: HashMap<String, String> = HashMap::new();
    for (k, v) in lines.filter_map(|l| l.split_once(": ")) {
        let entry = headers.entry(k.to_lowercase()).or_default();
        *entry = if entry.is_empty() { v.to_string() } else { format!("{entry}, {v}") };
    }
    Got { status, headers, body: all[at + 4..].to_vec() }
}

fn call(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    for (k, v) in headers {
        text.push_str(&format!("{k}: {v}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    let got = raw(addr, format!("{text}\r\n{body}").as_bytes());
    check(&got, &format!("{method} {path}"), method == "HEAD");
    got
}

/// What holds for every answer.
fn check(got: &Got, what: &str, head: bool) {
    let id = got.header("x-request-id");
    assert!(id.starts_with("req_") && id.len() == 36, "{what}: x-request-id {id:?}");
    assert_eq!(got.header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(got.header("x-frame-options"), "DENY", "{what}");
    assert!(
        !got.header("cache-control").is_empty() && !got.header("content-security-policy").is_empty(),
        "{what}"
    );
    if !(200..300).contains(&got.status) && !head {
        let json = got.json();
        assert_eq!(json["error"]["request_id"], id, "{what}");
        assert!(json["error"]["message"].as_str().is_some_and(|m| !m.is_empty()), "{what}");
        assert_eq!(got.header("content-type"), "application/json", "{what}");
    }
}

const GOOD: (&str, &str) = ("authorization", "Bearer good");
const JSON: (&str, &str) = ("content-type", "application/json");
const SUBSCRIPTIONS: &str = "/api/v1/subscriptions";
const EVENTS: &str = "/api/v1/metering/events";

async fn blocking(f: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(f).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers() {
    let running = server().await;
    let a = running.addr();
    blocking(move || {
        // successes
        let got = call(a, "GET", SUBSCRIPTIONS, &[GOOD], "");
        assert_eq!((got.status, &got.json()["pagination"]["page_size"]), (200, &json!(50)));
        assert_eq!(got.header("cache-control"), "no-store");
        let got = call(
            a,
            "POST",
            SUBSCRIPTIONS,
            &[GOOD, JSON, ("idempotency-key", "k 1")],
            r#"{"plan_key":"a.b"}"#,
        );
        assert_eq!(got.status, 201);
        assert_eq!(got.json()["meta"]["request_id"], got.header("x-request-id"));
        let first = got.json()["data"]["service_slug"].clone();
        assert!(first.as_str().unwrap().starts_with("k 1-"));
        let got = call(
            a,
            "POST",
            SUBSCRIPTIONS,
            &[GOOD, JSON, ("idempotency-key", "k 1")],
            r#"{"plan_key":"a.c"}"#,
        );
        assert_ne!(got.json()["data"]["service_slug"], first);
        let event =
            r#"{"events":[{"idempotency_key":"e","tenant_id":"t","metric_slug":"m","quantity":"1.5"}]}"#;
        assert_eq!(call(a, "POST", EVENTS, &[GOOD, JSON], event).status, 202);
        assert_eq!(call(a, "GET", "/api/v1/auth/config", &[], "").status, 200);
        assert_eq!(call(a, "GET", "/metrics", &[], "").header("content-type"), "text/plain; version=0.0.4");
        let got = call(a, "GET", "/docs/x", &[], "");
        assert_eq!((got.status, got.header("cache-control")), (200, "max-age=60"));
        let got = call(a, "GET", "/api/v1/internal/quotas/t%3A1/svc/metric", &[GOOD], "");
        assert_eq!(got.json()["data"]["tenant_id"], "t:1");

        // refusals
        let got = call(a, "GET", SUBSCRIPTIONS, &[], "");
        assert_eq!((got.status, got.header("www-authenticate")), (401, "Bearer"));
        assert_eq!(call(a, "GET", SUBSCRIPTIONS, &[("authorization", "Bearer bad")], "").status, 403);
        for path in ["/", "/api/v1/nothing", "/api/v1/subscriptions/x/y", "/health/", "/docs"] {
            let expect = if path == "/health/" { 500 } else { 404 };
            assert_eq!(call(a, "GET", path, &[], "").status, expect, "{path}");
        }
        for id in ["not-a-uuid", "00000000-0000-0000-0000-000000000003", "%00", "a%2Fb"] {
            let got = call(a, "GET", &format!("{SUBSCRIPTIONS}/{id}"), &[GOOD], "");
            assert_eq!((got.status, got.code()), (404, "not_found".into()), "{id}");
        }
        assert_eq!(call(a, "GET", "/api/v1/usage/quotas", &[GOOD], "").code(), "conflict");
        let got = call(a, "GET", "/api/v1/auth/me", &[GOOD], "");
        assert_eq!((got.status, got.header("retry-after")), (429, "7"));
        // 5xx
        let got = call(a, "GET", "/health", &[], "");
        assert_eq!((got.status, got.code()), (500, "internal_error".into()));
        assert!(!String::from_utf8_lossy(&got.body).contains("secret detail"));
        let id = |n: u128| format!("{SUBSCRIPTIONS}/{}", uuid::Uuid::from_u128(n));
        assert_eq!(call(a, "GET", &id(1), &[GOOD], "").status, 500);
        let got = call(a, "GET", &id(2), &[GOOD], "");
        assert_eq!((got.status, got.code()), (503, "service_unavailable".into()));
        assert!(!got.header("retry-after").is_empty());
        let body = r#"{"grant_type":"refresh_token","refresh_token":"x"}"#;
        assert_eq!(call(a, "POST", "/api/v1/auth/token", &[JSON], body).header("retry-after"), "3");
    })
    .await;
    running.stop(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_and_bodies() {
    let running = server().await;
    let a = running.addr();
    blocking(move || {
        let list = |query: &str| call(a, "GET", &format!("{SUBSCRIPTIONS}?{query}"), &[GOOD], "");
        for (query, field) in [
            ("page=0", "page"),
            ("page=x", "page"),
            ("page=", "page"),
            ("page=%2B1", "page"),
            ("page=99999999999999999999", "page"),
            ("page_size=201", "page_size"),
            ("page=1&page=1", "page"),
            ("status=gone", "status"),
            ("service_slug=UPPER", "service_slug"),
            ("service_slug=a%00", "service_slug"),
            ("cursor=%ff", "cursor"),
            ("cursor=%zz", "cursor"),
            ("nonsense=1", "nonsense"),
        ] {
            let got = list(query);
            assert_eq!((got.status, got.fields()), (400, vec![field.to_string()]), "{query}");
        }
        assert_eq!(list("page=0&status=gone&x=1").fields(), ["x", "status", "page"]);
        assert_eq!(list("status=active&page=2&page_size=1&service_slug=a").status, 200);
        assert_eq!(call(a, "GET", "/api/v1/usage/quotas?x=1", &[GOOD], "").fields(), ["x"]);

        let create = |body: &str| call(a, "POST", SUBSCRIPTIONS, &[GOOD, JSON], body);
        for (body, field) in [
            (r#"{"plan_key":1}"#, "plan_key"),
            (r#"{"plan_key":"a.b","extra":1}"#, "extra"),
            (r#"{"plan_key":null}"#, "plan_key"),
            (r#"{"plan_id":"x"}"#, "plan_id"),
            (r#"{"plan_key":"A"}"#, "plan_key"),
            (r#"{"plan_key":"a.b\u0000"}"#, "plan_key"),
            (r#"{"quantity":0}"#, "quantity"),
            (r#"{"quantity":1.5}"#, "quantity"),
            (r#"{"quantity":1,"quantity":2}"#, "quantity"),
            (r#"{"metadata":{"a":{"b":"\u0000"}}}"#, "metadata.a.b"),
        ] {
            let got = create(body);
            assert_eq!((got.status, got.fields()), (400, vec![field.to_string()]), "{body} {:?}", got.json());
        }
        for body in ["{", "[]", "null", "{}x", "\u{1}", "\"\\ud800\"", "{\"plan_key\":\"a.b\"}{}"] {
            assert_eq!(create(body).code(), "bad_request", "{body}");
        }
        assert_eq!(create(r#"{"plan_key":"a.b","metadata":{"a":"\\u0000"}}"#).status, 201);
        let mut bad_utf8 = b"POST /api/v1/subscriptions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer good\r\n\
            content-type: application/json\r\ncontent-length: 18\r\n\r\n{\"plan_key\":\"a.".to_vec();
        bad_utf8.extend([0xff, b'"', b'}']);
        assert_eq!(raw(a, &bad_utf8).status, 400);

        // nested lists, several at once
        let got = call(a, "POST", EVENTS, &[GOOD, JSON], r#"{"events":[{"idempotency_key":"e","tenant_id":"t","metric_slug":"m","quantity":"1"},
            {"idempotency_key":"","tenant_id":"t t","metric_slug":"m","quantity":"1"}]}"#);
        assert_eq!(got.fields(), ["events.1.idempotency_key", "events.1.tenant_id"]);
        let got = call(a, "POST", EVENTS, &[GOOD, JSON], r#"{"events":[{"idempotency_key":"e","tenant_id":"t","metric_slug":"m","quantity":1}]}"#);
        assert_eq!(got.fields(), ["events.0.quantity"]);
        let got = call(a, "POST", EVENTS, &[GOOD, JSON], r#"{"events":[{"idempotency_key":"e","tenant_id":"t","metric_slug":"m"}]}"#);
        assert_eq!(got.fields(), ["events.0.quantity"]);
        let got = call(a, "POST", EVENTS, &[GOOD, JSON], r#"{"events":[{"idempotency_key":"e","tenant_id":"t","metric_slug":"m","quantity":"1","x":1}]}"#);
        assert_eq!(got.fields(), ["events.0.x"]);
        assert_eq!(call(a, "POST", EVENTS, &[GOOD, JSON], r#"{"events":[]}"#).fields(), ["events"]);
        // a list is no struct
        assert_eq!(call(a, "POST", EVENTS, &[GOOD, JSON], r#"{"events":[["e","t","m","1"]]}"#).fields(), ["events.0"]);
        assert_eq!(call(a, "POST", EVENTS, &[GOOD, JSON], r#"[[]]"#).code(), "bad_request");

        // content type, size, key
        let body = r#"{"plan_key":"a.b"}"#;
        assert_eq!(call(a, "POST", SUBSCRIPTIONS, &[GOOD], body).code(), "unsupported_media_type");
        assert_eq!(call(a, "POST", SUBSCRIPTIONS, &[GOOD, ("content-type", "text/plain")], body).status, 415);
        assert_eq!(call(a, "POST", SUBSCRIPTIONS, &[GOOD], "").status, 400);
        assert_eq!(call(a, "POST", SUBSCRIPTIONS, &[GOOD, ("content-type", "Application/JSON; charset=utf-8")], body).status, 201);
        let large = format!(r#"{{"plan_key":"{}"}}"#, "a".repeat(3_000_000));
        assert_eq!(create(&large).code(), "payload_too_large");
        let chunked = format!(
            "POST {SUBSCRIPTIONS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer good\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
        let got = raw(a, chunked.as_bytes());
        check(&got, "chunked", false);
        assert_eq!(got.status, 413);
        // the caller comes first: without a token nothing of the body is looked at
        assert_eq!(call(a, "POST", SUBSCRIPTIONS, &[], "{").status, 401);
        let long = "k".repeat(256);
        for key in ["", &long, "ä"] {
            let got = call(a, "POST", SUBSCRIPTIONS, &[GOOD, JSON, ("idempotency-key", key)], body);
            assert_eq!(got.fields(), ["Idempotency-Key"], "{key}");
        }
    })
    .await;
    running.stop(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_paths_and_headers() {
    let running = server().await;
    let a = running.addr();
    blocking(move || {
        for method in ["PUT", "PATCH", "TRACE", "DELETE", "FOO", "get", "PROPFIND"] {
            let got = call(a, method, SUBSCRIPTIONS, &[GOOD], "");
            assert_eq!((got.status, got.header("allow")), (405, "GET, HEAD, OPTIONS, POST"), "{method}");
        }
        assert_eq!(call(a, "POST", "/docs/x", &[], "").header("allow"), "GET, HEAD, OPTIONS");
        assert_eq!(call(a, "FOO", "/nothing", &[], "").status, 404);

        let got = call(a, "HEAD", SUBSCRIPTIONS, &[GOOD], "");
        assert_eq!((got.status, got.body.len()), (200, 0));
        let full = call(a, "GET", SUBSCRIPTIONS, &[GOOD], "");
        assert_eq!(got.header("content-length"), full.body.len().to_string());
        assert_eq!(call(a, "HEAD", "/nothing", &[], "").status, 404);

        // CORS
        let ours = ("origin", "https://app.example.com");
        let ask = ("access-control-request-method", "POST");
        let got = call(a, "OPTIONS", SUBSCRIPTIONS, &[ours, ask], "");
        assert_eq!((got.status, got.header("access-control-allow-origin")), (204, ours.1));
        assert!(got.header("access-control-allow-methods").contains("POST"));
        assert!(got.header("access-control-allow-headers").contains("idempotency-key"));
        let got = call(a, "OPTIONS", SUBSCRIPTIONS, &[("origin", "https://evil.example.com"), ask], "");
        assert!(got.headers.keys().all(|k| !k.starts_with("access-control")));
        let got = call(a, "GET", SUBSCRIPTIONS, &[ours], "");
        assert_eq!((got.status, got.header("access-control-allow-origin")), (401, ours.1));
        assert!(got.header("vary").contains("origin"));
        assert_eq!(call(a, "OPTIONS", "/nothing", &[ours, ask], "").status, 404);

        // compression
        let got = call(a, "GET", SUBSCRIPTIONS, &[GOOD, ("accept-encoding", "gzip")], "");
        assert_eq!((got.header("content-encoding"), &got.body[..2]), ("gzip", &[0x1f, 0x8b][..]));
        assert!(got.body.len() < full.body.len() / 2);
        let mut text = String::new();
        flate2::read::GzDecoder::new(got.body.as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text.len(), full.body.len());
        let got = call(a, "GET", SUBSCRIPTIONS, &[GOOD, ("accept-encoding", "br, gzip;q=0")], "");
        assert_eq!(got.header("content-encoding"), "");

        // what is no path
        for path in ["/%zz", "/%", "/api/v1/subscriptions/%ff", "/a/../b", "*", "/api/%2"] {
            let got = call(a, "GET", path, &[GOOD], "");
            assert_eq!((got.status, got.code()), (400, "bad_request".into()), "{path}");
        }
        assert_eq!(call(a, "CONNECT", "example.com:443", &[], "").status / 100, 4);
        assert_eq!(call(a, "GET", "http://other.example.com/api/v1/auth/config", &[], "").status, 200);
        // what is no HTTP: hyper answers, and in our words
        let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
        let many = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(600_000));
        for (text, status) in [
            (long.as_str(), 414),
            (many.as_str(), 431),
            ("nonsense\r\n\r\n", 400),
            ("GET / HTTP/9.9\r\n\r\n", 400),
            ("GET /\u{0}bad HTTP/1.1\r\nhost: x\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1x\r\n\r\n", 400),
        ] {
            let got = raw(a, text.as_bytes());
            let what = &text[..text.len().min(30)];
            check(&got, what, false);
            assert_eq!(got.status, status, "{what}");
        }
    })
    .await;
    running.stop(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stops() {
    let running = server().await;
    let a = running.addr();
    let slow = format!("{SUBSCRIPTIONS}/{}", uuid::Uuid::from_u128(2));
    let waits = tokio::task::spawn_blocking(move || call(a, "GET", &slow, &[GOOD], "").status);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begin = std::time::Instant::now();
    running.stop(Duration::from_secs(5)).await;
    assert!(begin.elapsed() < Duration::from_secs(2), "as long as the running request takes, not longer");
    assert_eq!(waits.await.unwrap(), 503, "what ran was answered");
    assert!(TcpStream::connect(a).is_err(), "nobody listens");
}

#[test]
fn every_operation_is_in_the_table_once() {
    let ids: Vec<&str> = OPERATIONS.iter().map(|o| o.id).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(ids, sorted);
}
