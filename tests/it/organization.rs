//! A tenant as its own users see it.
use crate::support::finalize;
use chrono::TimeDelta;
use scaicontrol_tests::{TestApp, body, given};
use scaicontrol_types as types;
use serde_json::{Value, json};

const PATH: &str = "/api/v1/organization";

#[tokio::test]
async fn a_tenant_sees_itself_and_its_partner() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let asked = json!({"support_email": "help@north.example", "seller_phone": "+31 20 555 0100", "logo_url": "https://north.example/logo.png"});
    app.call("PATCH", "/api/v1/admin/partners/prt_north")
        .token(&app.operator("super_admin"))
        .json(&asked)
        .send()
        .await
        .expect(200);
    let client = app.client(&tenant.member);
    let own = client.organization_get().send().await.expect("own").into_inner().data;
    assert_eq!((own.tenant_id.as_str(), own.name.as_str(), own.is_active), ("tnt_acme", "tnt_acme", true));
    let partner = client.organization_partner_get().send().await.expect("partner").into_inner().data;
    assert_eq!(partner.partner_id, "prt_north");
    assert_eq!(partner.legal_name.as_deref(), Some("Noord Software B.V."));
    assert_eq!(partner.support_email.as_deref(), Some("help@north.example"));
    assert_eq!(partner.support_phone.as_deref(), Some("+31 20 555 0100"));
    assert_eq!(partner.logo_url.as_deref(), Some("https://north.example/logo.png"));
    assert_eq!(
        serde_json::to_value(&own.partner).expect("json"),
        serde_json::to_value(&partner).expect("json")
    );
    let shown = app.call("GET", "/api/v1/organization/partner").token(&tenant.member).send().await;
    assert!(!String::from_utf8_lossy(&shown.body).contains("IBAN"), "no account, no numbers");
    let service = given::service(&app, "scaivault").await;
    for path in [PATH, "/api/v1/organization/users", "/api/v1/organization/partner"] {
        app.call("GET", path).token(&service.token).send().await.refused(403);
        app.call("GET", path).send().await.refused(401);
    }
}

#[tokio::test]
async fn what_is_given_is_changed() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    given::tenant(&app, "tnt_other", "prt_north").await;
    let client = app.client(&tenant.admin);
    app.advance(TimeDelta::hours(1)).await;
    let asked: types::OrganizationUpdateRequest = body(
        json!({"name": "  Acme B.V. ", "preferred_language": "nl", "timezone": "Europe/Amsterdam", "metadata": {"crm": 7}}),
    );
    let saved = client.organization_update().body(asked).send().await.expect("saved").into_inner().data;
    assert_eq!((saved.name.as_str(), saved.timezone.as_deref()), ("Acme B.V.", Some("Europe/Amsterdam")));
    assert_eq!(saved.updated_at, app.now());
    let patch = async |asked: Value| app.call("PATCH", PATH).token(&tenant.admin).json(&asked).send().await;
    let left = patch(json!({"preferred_language": null, "timezone": null})).await.data(200);
    assert_eq!((&left["name"], &left["metadata"]), (&json!("Acme B.V."), &json!({"crm": 7})));
    assert_eq!((&left["preferred_language"], &left["timezone"]), (&json!(null), &json!(null)));
    assert_eq!(patch(json!({})).await.data(200), left, "an empty body changes nothing");
    let me = app.call("GET", "/api/v1/auth/me").token(&tenant.admin).send().await.expect(200);
    assert_eq!(me["tenant_name"], "Acme B.V.", "at once");
    let sql = "SELECT before->>'name', after->>'name' FROM audit_log WHERE operation = 'organization_update' AND tenant_id = 'tnt_acme' ORDER BY at, id";
    let rows = app.db().await.query(sql, &[]).await.expect("audit");
    let names: Vec<(String, String)> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
    let name = "Acme B.V.".to_owned();
    assert_eq!(names, [("tnt_acme".to_owned(), name.clone()), (name.clone(), name)], "two real changes");
    let others =
        app.call("GET", PATH).token(&app.token("tenant_member", "tnt_other", "prt_north")).send().await;
    assert_eq!(others.data(200)["name"], "tnt_other");
}

#[tokio::test]
async fn what_does_not_hold_is_refused() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let patch = async |asked: Value| app.call("PATCH", PATH).token(&tenant.admin).json(&asked).send().await;
    for (field, asked) in [
        ("name", json!({"name": ""})),
        ("name", json!({"name": "   "})),
        ("name", json!({"name": null})),
        ("name", json!({"name": "x".repeat(201)})),
        ("preferred_language", json!({"preferred_language": "pt"})),
        ("timezone", json!({"timezone": "Europe/Atlantis"})),
        ("timezone", json!({"timezone": "+01:00"})),
        ("timezone", json!({"timezone": "../etc/localtime"})),
        ("timezone", json!({"timezone": ""})),
        ("metadata", json!({"metadata": {"x": "y".repeat(17_000)}})),
        ("metadata", json!({"metadata": []})),
        ("tenant_id", json!({"tenant_id": "tnt_other"})),
        ("partner_id", json!({"partner_id": "prt_other"})),
        ("is_active", json!({"is_active": false})),
    ] {
        patch(asked).await.refused(400).names(field);
    }
    let both = patch(json!({"name": " ", "timezone": "Nowhere/Else"})).await.refused(400);
    both.names("name").names("timezone");
    app.call("PATCH", PATH).token(&tenant.member).json(&json!({"name": "x"})).send().await.refused(403);
    let own = app.call("GET", PATH).token(&tenant.admin).send().await.data(200);
    assert_eq!((&own["name"], &own["timezone"]), (&json!("tnt_acme"), &json!(null)));
}

#[tokio::test]
async fn the_people_of_a_tenant_with_their_roles() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    given::tenant(&app, "tnt_other", "prt_north").await;
    let whoami = async |token: &str| app.call("GET", "/api/v1/auth/me").token(token).send().await.expect(200);
    let anna = app.mint(&person("usr_anna", &["tenant_member", "not_a_role"]));
    whoami(&tenant.member).await;
    app.advance(TimeDelta::minutes(5)).await;
    whoami(&anna).await;
    let grants = "INSERT INTO user_roles (user_id, tenant_id, partner_id, role, granted_by, granted_at) VALUES ('usr_anna', 'tnt_acme', 'prt_north', 'tenant_admin', 'x', now());
        INSERT INTO groups (group_id, tenant_id, partner_id, name, role, created_at, updated_at) VALUES ('grp_1', 'tnt_acme', 'prt_north', 'g', 'billing_admin', now(), now());
        INSERT INTO group_members (group_id, user_id, tenant_id, partner_id) VALUES ('grp_1', 'usr_anna', 'tnt_acme', 'prt_north')";
    app.db().await.batch_execute(grants).await.expect("granted");
    let client = app.client(&tenant.member);
    let listed = client.organization_user_list().send().await.expect("a page").into_inner().data;
    let ids: Vec<&str> = listed.iter().map(|u| u.user_id.as_str()).collect();
    assert_eq!(ids, ["usr_tenant_admin_tnt_acme", "usr_tenant_member_tnt_acme", "usr_anna"], "by age");
    let roles = |user: &types::UserResponse| user.roles.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(roles(&listed[0]), ["tenant_admin"], "from the token");
    assert_eq!(roles(&listed[2]), ["billing_admin", "tenant_admin", "tenant_member"], "each once, in order");
    assert_eq!(listed[2].last_seen_at, Some(app.now()));
    assert_eq!(listed[2].email.as_deref(), Some("usr_anna@example.com"));

    // Seen is kept to about an hour; other roles in a token count from the next minute on.
    let seen = listed[2].last_seen_at;
    app.advance(TimeDelta::minutes(30)).await;
    whoami(&anna).await;
    let anna_now = async || {
        let listed =
            app.client(&tenant.member).organization_user_list().send().await.expect("a page").into_inner();
        listed.data.into_iter().find(|u| u.user_id == "usr_anna").expect("anna")
    };
    assert_eq!(anna_now().await.last_seen_at, seen);
    whoami(&app.mint(&person("usr_anna", &[]))).await;
    assert_eq!(roles(&anna_now().await), ["billing_admin", "tenant_admin"]);
    whoami(&anna).await;
    app.advance(TimeDelta::hours(1)).await;
    app.control().identity.forget();
    whoami(&anna).await;
    assert_eq!(anna_now().await.last_seen_at, Some(app.now()));

    // What a token claimed before the user was changed counts no more; who was deactivated is shown, who was erased not.
    let change = "UPDATE users SET claims_valid_from = last_seen_at + interval '1 second', is_active = false WHERE user_id = 'usr_anna'";
    app.db().await.execute(change, &[]).await.expect("changed");
    let changed = anna_now().await;
    assert_eq!(
        (roles(&changed), changed.is_active),
        (vec!["billing_admin".into(), "tenant_admin".into()], false)
    );
    app.db()
        .await
        .execute("UPDATE users SET erased_at = now() WHERE user_id = 'usr_anna'", &[])
        .await
        .expect("erased");
    let left = app.client(&tenant.member).organization_user_list().send().await.expect("a page").into_inner();
    assert_eq!((left.data.len(), left.pagination.total_items), (2, 2));
}

fn person(id: &str, roles: &[&str]) -> scaicontrol_server::identity::dev_issuer::Mint {
    scaicontrol_server::identity::dev_issuer::Mint {
        subject: id.to_owned(),
        tenant_id: Some("tnt_acme".into()),
        partner_id: Some("prt_north".into()),
        email: Some(format!("{id}@example.com")),
        roles: roles.iter().map(|r| (*r).to_owned()).collect(),
        ..Default::default()
    }
}

#[tokio::test]
async fn the_list_is_walked_by_its_cursor() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    for n in 0..5 {
        // Two of each age: the id decides.
        let add = format!(
            "INSERT INTO users (user_id, tenant_id, partner_id, created_at, updated_at)
             VALUES ('usr_{n}', 'tnt_acme', 'prt_north', '2026-01-0{}', now())",
            5 - n / 2
        );
        app.db().await.execute(&add, &[]).await.expect("added");
    }
    // Another list's cursor does not fit; a list without a filter has no other filter to try.
    let page = async |more: &str| {
        app.call("GET", &format!("/api/v1/organization/users?page_size=2{more}"))
            .token(&tenant.admin)
            .send()
            .await
    };
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = page(&cursor).await.expect(200);
        let ids = answer["data"].as_array().expect("data").iter();
        all.extend(ids.map(|u| u["user_id"].as_str().expect("an id").to_owned()));
        let Some(next) = answer["pagination"]["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(all, ["usr_4", "usr_2", "usr_3", "usr_0", "usr_1", "usr_tenant_admin_tnt_acme"]);
    let invoices = "/api/v1/billing/invoices";
    let admin = app.operator("billing_admin");
    for _ in 0..3 {
        let id = given::draft(&app, &admin, &tenant, "100").await;
        finalize(&app, &admin, id).await;
    }
    let other =
        app.call("GET", &format!("{invoices}?page_size=2")).token(&tenant.admin).send().await.expect(200);
    let cursor = other["pagination"]["next_cursor"].as_str().expect("a cursor");
    page(&format!("&cursor={cursor}")).await.refused(400).names("cursor");
}
