//! What the server answers to requests that are no proper ones, and what stands around every answer.
use flate2::read::GzDecoder;
use scaicontrol_tests::{TestApp, given, raw, wait};
use serde_json::{Value, json};
use std::io::Read;
use std::time::Duration;

const PLANS: &str = "/api/v1/admin/catalog/plans";

fn a_plan() -> Value {
    json!({
        "service_id": "0192f0c4-6b02-7d51-8a44-2f7f0b1c9e20", "slug": "pro", "name": "Pro", "billing_period": "monthly",
        "base_price_cents": 100, "currency": "EUR",
    })
}

fn with(mut value: Value, name: &str, field: Value) -> Value {
    value[name] = field;
    value
}

#[tokio::test]
async fn an_unknown_route_and_a_wrong_method() {
    let app = TestApp::start().await;
    for path in
        ["/nothing", "/api/v1", "/api/v2/catalog/services", "/api/v1/catalog/services/x/y", "/health/dead"]
    {
        app.call("GET", path).send().await.refused(404);
    }
    let answer = app.call("DELETE", "/api/v1/admin/partners/prt_1").send().await;
    answer.refused(405);
    assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS, PATCH"));
    let answer = app.call("POST", "/health").send().await;
    answer.refused(405);
    assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn methods_that_nobody_has() {
    let app = TestApp::start().await;
    for method in ["TRACE", "PROPFIND", "FOO", "get", "LONGERTHANANYOTHERMETHODTHATTHEREIS"] {
        let answer = app.call(method, "/health").send().await;
        answer.refused(405);
        assert!(answer.header("allow").is_some(), "{method}");
        app.call(method, "/nothing").send().await.refused(404);
    }
}

#[tokio::test]
async fn a_path_with_a_malformed_encoding() {
    let app = TestApp::start().await;
    for path in ["/%", "/%zz", "/api/v1/catalog/services/%ff", "/api/v1/catalog/services/%2", "/%C3%28"] {
        let answer = app.call("GET", path).token(&app.operator("super_admin")).send().await;
        answer.refused(400);
    }
    let token = app.operator("super_admin");
    app.call("GET", "/api/v1/admin/partners?page=%zz").token(&token).send().await.refused(400).names("page");
    app.call("GET", "/api/v1/admin/partners/%2e%2e").token(&token).send().await.refused(404);
    app.call("GET", "/api/v1/admin/partners/..%2f..").token(&token).send().await.refused(404);
    app.call("GET", "/api/v1/admin/partners/%00").token(&token).send().await.refused(404);
}

#[tokio::test]
async fn a_query_that_is_not_right_names_the_parameter() {
    let app = TestApp::start().await;
    let token = app.operator("super_admin");
    for (query, field) in [
        ("page=0", "page"),
        ("page=x", "page"),
        ("page=1.5", "page"),
        ("page=+1", "page"),
        ("page=99999999999999999999", "page"),
        ("page_size=0", "page_size"),
        ("page_size=201", "page_size"),
        ("cursor=nonsense", "cursor"),
        ("page=1&page=2", "page"),
        ("unknown=1", "unknown"),
        ("page=1000&page_size=200", "cursor"),
    ] {
        let answer = app.call("GET", &format!("/api/v1/admin/partners?{query}")).token(&token).send().await;
        answer.refused(400).names(field);
    }
    app.call("GET", "/api/v1/admin/partners?page=1&page_size=200").token(&token).send().await.expect(200);
}

#[tokio::test]
async fn a_body_that_is_not_right_names_the_field() {
    let app = TestApp::start().await;
    let token = app.operator("super_admin");
    let post = || app.call("POST", PLANS).token(&token);
    for body in ["{", "", "{]", "[1,2", "\u{feff}{}", "{\"a\":1}}", "nul"] {
        let answer = post().header("content-type", "application/json").bytes(body.to_owned()).send().await;
        answer.refused(400);
    }
    for body in [json!([]), json!("text"), json!(1), json!(null), json!([a_plan()])] {
        post().json(&body).send().await.refused(400);
    }
    post().header("content-type", "application/json").bytes(vec![b'{', 0xff, b'}']).send().await.refused(400);
    for (name, value) in [
        ("name", json!(5)),
        ("name", json!(null)),
        ("name", json!("")),
        ("name", json!("x".repeat(201))),
        ("name", json!("a\u{0}b")),
        ("slug", json!("Pro")),
        ("service_id", json!("not-an-id")),
        ("base_price_cents", json!("100")),
        ("base_price_cents", json!(1.5)),
        ("base_price_cents", json!(-1)),
        ("base_price_cents", json!(9_007_199_254_740_991_i64)),
        ("currency", json!("EURO")),
        ("currency", json!("eur")),
        ("billing_period", json!("weekly")),
        ("trial_days", json!(366)),
        ("surprise", json!(true)),
    ] {
        post().json(&with(a_plan(), name, value)).send().await.refused(400).names(name);
    }
    let mut short = a_plan();
    short.as_object_mut().expect("object").remove("currency");
    post().json(&short).send().await.refused(400).names("currency");
    // Characters are counted, not bytes.
    let answer = post().json(&with(a_plan(), "name", json!("ü".repeat(200)))).send().await;
    assert!(!answer.refused(if answer.status == 404 { 404 } else { 400 }).fields().contains(&"name"));
}

#[tokio::test]
async fn a_body_of_another_type_or_too_large() {
    let app = TestApp::start().await;
    let token = app.operator("super_admin");
    for media in
        ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application/jsonp", "json"]
    {
        let answer = app
            .call("POST", PLANS)
            .token(&token)
            .header("content-type", media)
            .bytes(a_plan().to_string())
            .send()
            .await;
        answer.refused(415);
    }
    let charset =
        app.call("POST", PLANS).token(&token).header("content-type", "Application/JSON; charset=utf-8");
    let answer = charset.bytes(a_plan().to_string()).send().await;
    assert_ne!(answer.status, 415);
    let limit = scaicontrol_tests::spec::operation("admin_plan_create").max_body_bytes;
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(limit));
    let answer = app
        .call("POST", PLANS)
        .token(&token)
        .header("content-type", "application/json")
        .bytes(large)
        .send()
        .await;
    answer.refused(413);
}

#[tokio::test]
async fn an_unauthorized_caller_learns_nothing_of_the_body() {
    let app = TestApp::start().await;
    let answer = app.call("POST", PLANS).header("content-type", "text/plain").bytes("{").send().await;
    answer.refused(401);
    let tenant = app.token("tenant_admin", "tnt_1", "prt_1");
    app.call("POST", PLANS)
        .token(&tenant)
        .header("content-type", "application/json")
        .bytes("{")
        .send()
        .await
        .refused(403);
}

#[tokio::test]
async fn what_is_no_http_gets_the_envelope_too() {
    let app = TestApp::start().await;
    let long_uri = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(100_000));
    let header = format!("GET /health HTTP/1.1\r\nhost: a\r\n{}\r\n", "x-y: z\r\n".repeat(500));
    for (what, bytes) in [
        ("no request line", b"nonsense\r\n\r\n".to_vec()),
        ("a blank in the path", b"GET /a b HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
        (
            "two lengths",
            b"POST /health HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_vec(),
        ),
        ("a long path", long_uri.into_bytes()),
        ("many headers", header.into_bytes()),
    ] {
        let said = raw::speak(app.addr(), &bytes).await;
        let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{what}: {said:?}"));
        assert!(head.starts_with("HTTP/1.1 4"), "{what}: {head}");
        let body: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{what}: {e}: {body:?}"));
        let id = body["error"]["request_id"].as_str().unwrap_or_default();
        assert!(id.starts_with("req_") && head.to_lowercase().contains(id), "{what}: {head} {body}");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let app = TestApp::start().await;
    let token = app.operator("super_admin");
    for path in ["/health", "/api/v1/admin/partners", "/openapi.json", "/metrics"] {
        let get = app.call("GET", path).token(&token).send().await;
        let head = app.call("HEAD", path).token(&token).send().await;
        assert_eq!(
            (head.status, head.header("content-type")),
            (get.status, get.header("content-type")),
            "{path}"
        );
    }
    assert_eq!(app.call("HEAD", "/nothing").send().await.status, 404);
    assert_eq!(app.call("HEAD", "/api/v1/admin/partners").send().await.status, 401);
}

#[tokio::test]
async fn only_configured_origins_may_call_from_a_browser() {
    const OURS: &str = "https://app.example.com";
    let app = TestApp::with(&[("cors.origins", OURS)]).await;
    let preflight = |origin: &str| {
        let call = app.call("OPTIONS", PLANS).header("origin", origin);
        call.header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization")
            .send()
    };
    let answer = preflight(OURS).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.header("access-control-allow-origin"), Some(OURS));
    assert!(
        answer.header("access-control-allow-methods").is_some_and(|m| m.contains("POST")),
        "{:?}",
        answer.headers
    );
    assert!(
        answer
            .header("access-control-allow-headers")
            .is_some_and(|h| h.contains("authorization") && h.contains("idempotency-key"))
    );
    assert_eq!(answer.header("access-control-allow-credentials"), None, "tokens are sent, not cookies");
    for other in
        ["https://evil.example.com", "https://app.example.com.evil.com", "http://app.example.com", "null"]
    {
        assert_eq!(preflight(other).await.header("access-control-allow-origin"), None, "{other}");
    }
    let answer = app.call("GET", "/health").header("origin", OURS).send().await;
    assert_eq!(answer.header("access-control-allow-origin"), Some(OURS));
    assert!(answer.header("vary").is_some(), "caches must not mix origins");
    let refused = app.call("GET", "/api/v1/auth/me").header("origin", OURS).send().await;
    refused.refused(401);
    assert_eq!(refused.header("access-control-allow-origin"), Some(OURS), "a browser may read the refusal");
    assert_eq!(app.call("OPTIONS", "/nothing").send().await.status, 404);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let app = TestApp::start().await;
    for (method, path) in [
        ("GET", "/health"),
        ("GET", "/nothing"),
        ("POST", "/health"),
        ("GET", "/api/v1/auth/me"),
        ("OPTIONS", "/health"),
        ("GET", "/%"),
    ] {
        let answer = app.call(method, path).send().await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{method} {path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{method} {path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{method} {path}");
        assert!(
            answer.header("content-security-policy").is_some_and(|p| p.contains("frame-ancestors 'none'")),
            "{method} {path}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
        assert_eq!(answer.header("server"), None, "nobody needs to know");
    }
}

#[tokio::test]
async fn large_answers_are_packed_for_whoever_can_unpack() {
    let app = TestApp::start().await;
    given::service(&app, "scaivault").await;
    let token = app.operator("super_admin");
    for path in ["/openapi.json", "/metrics"] {
        let plain = app.call("GET", path).token(&token).send().await;
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        let packed = app.call("GET", path).token(&token).header("accept-encoding", "br, gzip").send().await;
        assert_eq!(packed.header("content-encoding"), Some("gzip"), "{path}");
        assert!(packed.body.len() < plain.body.len(), "{path}");
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).expect("gzip");
        if path == "/openapi.json" {
            assert_eq!(unpacked, plain.body, "{path}");
        }
    }
    let refused = app.call("GET", "/openapi.json").header("accept-encoding", "gzip;q=0").send().await;
    assert_eq!(refused.header("content-encoding"), None);
}

#[tokio::test]
async fn a_request_has_a_deadline() {
    let app = TestApp::with(&[("limits.deadline", "1s")]).await;
    let token = app.operator("super_admin");
    app.call("GET", "/api/v1/admin/partners").token(&token).send().await.expect(200);
    let mut blocker = app.db().await;
    let held = blocker.transaction().await.expect("a transaction");
    held.batch_execute("LOCK TABLE partners IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    let slow = app.call("GET", "/api/v1/admin/partners").token(&token).send().await;
    slow.refused(503);
    assert!(slow.header("retry-after").is_some());
    held.rollback().await.expect("released");
    let again = app.call("GET", "/api/v1/admin/partners").token(&token).send().await;
    again.expect(200);
}

#[tokio::test]
async fn stopping_finishes_what_is_in_hand() {
    let mut app = TestApp::start().await;
    let token = app.operator("super_admin");
    app.call("GET", "/api/v1/admin/partners").token(&token).send().await.expect(200);
    let mut blocker = app.db().await;
    let held = blocker.transaction().await.expect("a transaction");
    held.batch_execute("LOCK TABLE partners IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    let running = tokio::spawn(app.call("GET", "/api/v1/admin/partners").token(&token).send());
    let watch = app.db().await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    wait::until("the request waits for the lock", async || {
        watch.query_one(waits, &[]).await.expect("a count").get::<_, i64>(0) > 0
    })
    .await;
    let addr = app.addr();
    let stopping = app.stop(Duration::from_secs(20));
    let releasing = async {
        wait::until("no new connection is taken", async || {
            tokio::net::TcpStream::connect(addr).await.is_err()
        })
        .await;
        held.rollback().await.expect("released");
    };
    wait::at_most("the stop", async { tokio::join!(stopping, releasing) }).await;
    running.await.expect("it ended").expect(200);
}

#[tokio::test]
async fn a_500_says_nothing_of_what_is_inside() {
    let app = TestApp::start().await;
    let token = app.operator("super_admin");
    app.call("GET", "/api/v1/admin/partners").token(&token).send().await.expect(200);
    app.db().await.batch_execute("ALTER TABLE services RENAME TO services_gone").await.expect("renamed");
    let answer = app.call("GET", "/api/v1/catalog/services").token(&token).send().await;
    let refusal = answer.refused(500);
    let said = refusal.error.to_string();
    for inner in ["services", "relation", "SELECT", "diesel", "postgres"] {
        assert!(!said.contains(inner), "{inner:?} in {said}");
    }
}
