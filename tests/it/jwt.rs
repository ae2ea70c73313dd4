//! Tokens that must not get in, against the running server, and those that must.
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use scaicontrol_server::identity::dev_issuer::{AUDIENCE, DevIssuer, Mint};
use scaicontrol_tests::issuer::Issuer;
use scaicontrol_tests::{TestApp, wait};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

#[expect(clippy::disallowed_methods, reason = "the times of tokens are those of the machine's clock")]
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("a time")
}

/// Claims that are right.
fn claims(app: &TestApp) -> Value {
    json!({
        "iss": app.issuer().url(), "aud": AUDIENCE, "sub": "usr_1", "tenant_id": "tnt_1", "partner_id": "prt_1",
        "roles": ["tenant_admin"], "iat": now(), "nbf": now(), "exp": now() + 3600,
    })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().expect("object").remove(name);
    claims
}

fn header(kid: &str) -> Value {
    json!({"alg": "EdDSA", "typ": "JWT", "kid": kid})
}

fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

async fn status(app: &TestApp, token: &str) -> u16 {
    app.call("GET", "/api/v1/auth/me").token(token).send().await.status
}

#[tokio::test]
async fn a_token_of_the_issuer_gets_in() {
    let app = TestApp::start().await;
    let token = app.issuer().signer().sign(&claims(&app));
    let me = app.call("GET", "/api/v1/auth/me").token(&token).send().await.expect(200);
    assert_eq!(me["user_id"], "usr_1", "{me}");
    let several = with(claims(&app), "aud", json!(["somebody", AUDIENCE]));
    assert_eq!(status(&app, &app.issuer().signer().sign(&several)).await, 200, "one audience of several");
}

#[tokio::test]
async fn none_is_no_algorithm() {
    let app = TestApp::start().await;
    let kid = app.issuer().signer().key_id().to_owned();
    for alg in ["none", "None", "NONE", ""] {
        let head = json!({"alg": alg, "typ": "JWT", "kid": kid});
        let unsigned = format!("{}.{}.", encode(&head), encode(&claims(&app)));
        assert_eq!(status(&app, &unsigned).await, 401, "{alg:?}");
        // The right signature does not make it better: the algorithm belongs to the key, not to the token.
        let signed = app.issuer().signer().sign_with_header(&head, &claims(&app));
        assert_eq!(status(&app, &signed).await, 401, "{alg:?} with a signature");
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let app = TestApp::start().await;
    let jwks: Value = serde_json::from_slice(&app.issuer().signer().jwks()).expect("json");
    let x = jwks["keys"][0]["x"].as_str().expect("a key").to_owned();
    let raw = URL_SAFE_NO_PAD.decode(&x).expect("base64");
    // An Ed25519 key as PEM: twelve fixed bytes before the key.
    let der: Vec<u8> =
        [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &raw].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&der));
    let kid = app.issuer().signer().key_id().to_owned();
    let secrets = [
        raw,
        x.into_bytes(),
        der,
        pem.clone().into_bytes(),
        pem.trim().as_bytes().to_vec(),
        jwks.to_string().into_bytes(),
    ];
    for (i, secret) in secrets.iter().enumerate() {
        for (alg, algorithm) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            let signed = format!(
                "{}.{}",
                encode(&json!({"alg": alg, "typ": "JWT", "kid": kid})),
                encode(&claims(&app))
            );
            let tag = hmac::sign(&hmac::Key::new(algorithm, secret), signed.as_bytes());
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
            assert_eq!(status(&app, &token).await, 401, "{alg} with form {i} of the public key");
        }
    }
}

#[tokio::test]
async fn a_foreign_key_does_not_sign() {
    let app = TestApp::start().await;
    let stranger = DevIssuer::generate(app.issuer().url());
    assert_eq!(status(&app, &stranger.sign(&claims(&app))).await, 401, "its own key id");
    let kid = app.issuer().signer().key_id();
    assert_eq!(
        status(&app, &stranger.sign_with_header(&header(kid), &claims(&app))).await,
        401,
        "our key id"
    );
    assert_eq!(
        status(&app, &app.issuer().signer().sign_with_header(&json!({"alg": "EdDSA"}), &claims(&app))).await,
        401,
        "no key id"
    );
    let other = json!({"alg": "ES256", "typ": "JWT", "kid": kid});
    assert_eq!(
        status(&app, &app.issuer().signer().sign_with_header(&other, &claims(&app))).await,
        401,
        "another algorithm"
    );
    let good = app.issuer().signer().sign(&claims(&app));
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let mut parts = signed.split('.');
    let head = parts.next().expect("a header");
    let changed = with(claims(&app), "tenant_id", json!("tnt_2"));
    assert_eq!(
        status(&app, &format!("{head}.{}.{signature}", encode(&changed))).await,
        401,
        "changed claims"
    );
}

#[tokio::test]
async fn a_key_that_comes_with_the_token_is_not_looked_at() {
    let app = TestApp::start().await;
    let attacker = Issuer::start().await;
    let jwks: Value = serde_json::from_slice(&attacker.signer().jwks()).expect("json");
    let url = format!("{}/api/v1/platform/.well-known/jwks.json", attacker.url());
    for kid in [attacker.signer().key_id(), app.issuer().signer().key_id()] {
        for (name, value) in [
            ("jwk", jwks["keys"][0].clone()),
            ("jku", json!(url)),
            ("x5u", json!(url)),
            ("x5c", json!(["AAAA"])),
        ] {
            let head = with(header(kid), name, value);
            assert_eq!(
                status(&app, &attacker.signer().sign_with_header(&head, &claims(&app))).await,
                401,
                "{name}"
            );
            // The issuer itself does not send such headers either.
            let own = with(header(app.issuer().signer().key_id()), name, head[name].clone());
            assert_eq!(
                status(&app, &app.issuer().signer().sign_with_header(&own, &claims(&app))).await,
                401,
                "{name} of our own"
            );
        }
    }
    assert_eq!(attacker.fetches(), 0, "nobody asked the attacker");
}

#[tokio::test]
async fn a_flood_of_key_ids_costs_one_fetch() {
    let app = TestApp::start().await;
    assert_eq!(status(&app, &app.issuer().signer().sign(&claims(&app))).await, 200);
    let before = app.issuer().fetches();
    let flood = (0..200).map(|i| {
        let token = app.issuer().signer().sign_with_header(&header(&format!("kid-{i}")), &claims(&app));
        let app = &app;
        async move { status(app, &token).await }
    });
    let answers = futures::future::join_all(flood).await;
    assert!(answers.iter().all(|s| *s == 401), "{answers:?}");
    assert_eq!(app.issuer().fetches() - before, 1);
    assert_eq!(
        status(&app, &app.issuer().signer().sign(&claims(&app))).await,
        200,
        "the known key still works"
    );
}

#[tokio::test]
async fn times_issuer_and_audience_are_checked() {
    let app = TestApp::start().await;
    let good = || claims(&app);
    let cases = [
        ("expired", with(good(), "exp", json!(now() - 3600)), 401),
        ("expired within the leeway", with(good(), "exp", json!(now() - 20)), 200),
        ("expired beyond the leeway", with(good(), "exp", json!(now() - 90)), 401),
        ("without an end", without(good(), "exp"), 401),
        ("not yet", with(good(), "nbf", json!(now() + 3600)), 401),
        ("not yet, within the leeway", with(good(), "nbf", json!(now() + 20)), 200),
        ("another issuer", with(good(), "iss", json!("https://id.example.com")), 401),
        (
            "an issuer that begins like ours",
            with(good(), "iss", json!(format!("{}.example.com", app.issuer().url()))),
            401,
        ),
        ("no issuer", without(good(), "iss"), 401),
        ("another audience", with(good(), "aud", json!("somebody")), 401),
        ("other audiences", with(good(), "aud", json!(["somebody", "else"])), 401),
        ("no audience", without(good(), "aud"), 401),
        ("nobody", without(good(), "sub"), 401),
        ("an id that cannot be one", with(good(), "tenant_id", json!("tnt_1' OR '1'='1")), 401),
        ("a time that is a text", with(good(), "exp", json!("tomorrow")), 401),
    ];
    for (what, claims, expected) in cases {
        let answer =
            app.call("GET", "/api/v1/auth/me").token(&app.issuer().signer().sign(&claims)).send().await;
        assert_eq!(answer.status, expected, "{what}: {}", String::from_utf8_lossy(&answer.body));
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let app = TestApp::start().await;
    let good = app.issuer().signer().sign(&claims(&app));
    let long = "a".repeat(6000);
    for token in [
        "",
        "a",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "..",
        &format!("{good}."),
        &format!("{good}x"),
        &long,
        "%00",
        "\u{e9}",
    ] {
        let answer = app
            .call("GET", "/api/v1/auth/me")
            .header("authorization", &format!("Bearer {token}"))
            .send()
            .await;
        assert_eq!(answer.status, 401, "{token:?}");
    }
    for header in [
        format!("Basic {good}"),
        good.clone(),
        format!("Bearer{good}"),
        "Bearer".to_owned(),
        format!("Bearer {good} {good}"),
    ] {
        let answer = app.call("GET", "/api/v1/auth/me").header("authorization", &header).send().await;
        assert_eq!(answer.status, 401, "{header:?}");
    }
    let twice = app.call("GET", "/api/v1/auth/me").token(&good).token(&good).send().await;
    assert_eq!(twice.status, 401, "two tokens");
    let both = app
        .call("GET", "/api/v1/auth/me")
        .token(&good)
        .header("x-scaicontrol-key", "sck_abcdefgh_x")
        .send()
        .await;
    assert_eq!(both.status, 401, "a token and a key");
    let lower =
        app.call("GET", "/api/v1/auth/me").header("authorization", &format!("bearer {good}")).send().await;
    assert_eq!(lower.status, 200, "the scheme's case says nothing");
}

#[tokio::test]
async fn an_outage_of_the_issuer_keeps_the_last_keys() {
    let app = TestApp::with(&[("auth.jwks_ttl", "1s")]).await;
    let token = app.issuer().signer().sign(&claims(&app));
    assert_eq!(status(&app, &token).await, 200);
    app.issuer().set_down(true);
    let before = app.issuer().fetches();
    wait::until("the keys are old and asked for again, in vain", async || {
        assert_eq!(status(&app, &token).await, 200, "the last keys");
        app.issuer().fetches() > before
    })
    .await;

    let never = TestApp::start().await;
    never.issuer().set_down(true);
    let token = never.issuer().signer().sign(&claims(&never));
    assert_eq!(status(&never, &token).await, 503, "keys that never came cannot prove anything");
}

#[tokio::test]
async fn what_is_refused_stands_in_the_audit_log() {
    let app = TestApp::start().await;
    let token = app.token("tenant_member", "tnt_acme", "prt_north");
    let db = app.db().await;
    for _ in 0..2 {
        let asked = json!({"dry_run": true});
        let path = "/api/v1/admin/billing/run";
        assert_eq!(app.call("POST", path).token(&token).json(&asked).send().await.status, 403);
    }
    let sql =
        "SELECT actor, level, tenant_id, operation, reason FROM audit_log WHERE object_type = 'refusal'";
    let rows = db.query(sql, &[]).await.expect("rows");
    assert_eq!(rows.len(), 1, "the same again is not another row");
    let text = |n| rows[0].get::<_, &str>(n);
    assert_eq!(
        (text(0), text(1), text(2), text(3)),
        ("usr_tenant_member_tnt_acme", "tenant", "tnt_acme", "admin_billing_run")
    );
    assert!(!text(4).is_empty());

    // Tokens of a user that is known elsewhere, and of a tenant that is.
    let named = |user: &str, tenant: &str, partner: &str| Mint {
        subject: user.to_owned(),
        tenant_id: Some(tenant.to_owned()),
        partner_id: Some(partner.to_owned()),
        roles: vec!["tenant_admin".to_owned()],
        ..Mint::default()
    };
    let elsewhere = named("usr_tenant_member_tnt_acme", "tnt_other", "prt_north");
    let moved = named("usr_new", "tnt_acme", "prt_south");
    for mint in [&elsewhere, &moved, &moved] {
        assert_eq!(status(&app, &app.mint(mint)).await, 403);
    }
    let sql = "SELECT subject_type || ' ' || subject_id || ' ' || named_tenant_id || ' ' || named_partner_id FROM identity_sync_requests ORDER BY 1";
    let rows = db.query(sql, &[]).await.expect("rows");
    let asked: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        asked,
        ["tenant tnt_acme tnt_acme prt_south", "user usr_tenant_member_tnt_acme tnt_other prt_north"]
    );
}
