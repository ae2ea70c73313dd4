//! What users are told: who sees it, in which words, and who has read it.
use crate::support::walk;
use chrono::TimeDelta;
use futures::future::join_all;
use scaicontrol_server::notifications::{Notice, Severity, tell};
use scaicontrol_server::op::OpContext;
use scaicontrol_tests::given::{self, Tenant};
use scaicontrol_tests::{TestApp, spec};
use scaicontrol_types as types;
use serde_json::{Value, json};
use uuid::Uuid;

const PATH: &str = "/api/v1/notifications";
const READ_ALL: &str = "/api/v1/notifications/read-all";

/// Tells a tenant, or one of its users, that a VAT number is not registered.
async fn told(app: &TestApp, tenant: &Tenant, user_id: Option<&str>, category: &'static str) {
    let control = app.control();
    let op = OpContext::system(&control.clock, &control.ids, "test");
    let notice = Notice {
        tenant_id: &tenant.id,
        partner_id: &tenant.partner,
        user_id,
        category,
        severity: Severity::Critical,
        message: "vat_number_invalid",
        parameters: json!({"vat_number": "NL004495445B01"}),
        link: Some("/billing".into()),
    };
    control.db.tx(&op, "tell", async |conn| tell(conn, &op, notice.clone()).await).await.expect("told");
}

async fn listed(app: &TestApp, token: &str, query: &str) -> Vec<Value> {
    let data = app.call("GET", &format!("{PATH}{query}")).token(token).send().await.data(200);
    data.as_array().expect("a list").clone()
}

async fn unread(app: &TestApp, token: &str) -> i64 {
    let page = app.call("GET", &format!("{PATH}?unread_only=true")).token(token).send().await.expect(200);
    page["pagination"]["total_items"].as_i64().expect("a count")
}

async fn marked(app: &TestApp, token: &str) -> i64 {
    app.call("POST", READ_ALL).token(token).send().await.data(200)["marked"].as_i64().expect("a count")
}

async fn read(app: &TestApp, token: &str, id: &Value) -> Value {
    let path = format!("{PATH}/{}/read", id.as_str().expect("an id"));
    app.call("POST", &path).token(token).send().await.data(200)
}

#[tokio::test]
async fn each_user_sees_what_it_or_its_tenant_is_told() {
    let app = TestApp::start().await;
    let acme = given::tenant(&app, "tnt_acme", "prt_north").await;
    let other = given::tenant(&app, "tnt_other", "prt_north").await;
    told(&app, &acme, None, "billing").await;
    told(&app, &acme, Some("usr_tenant_admin_tnt_acme"), "usage").await;
    told(&app, &acme, Some("usr_tenant_member_tnt_acme"), "system").await;
    let client = app.client(&acme.admin);
    let page = client.notification_list().send().await.expect("a page").into_inner();
    let shown: Vec<_> = page.data.iter().map(|n| n.category).collect();
    use types::NotificationCategory as Category;
    assert_eq!(shown, [Category::Usage, Category::Billing], "the newest first");
    let newest = &page.data[0];
    assert_eq!(
        (newest.severity, newest.is_read, newest.read_at),
        (types::NotificationSeverity::Error, false, None)
    );
    assert_eq!((newest.link.as_deref(), newest.created_at), (Some("/billing"), app.now()));
    let categories = async |token: &str, query: &str| {
        let all = listed(&app, token, query).await;
        all.iter().map(|n| n["category"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(categories(&acme.member, "").await, ["system", "billing"]);
    assert_eq!(categories(&acme.admin, "?category=usage").await, ["usage"]);
    assert!(categories(&acme.admin, "?category=system").await.is_empty(), "that is another user's");
    assert!(categories(&other.admin, "").await.is_empty());
    app.call("GET", &format!("{PATH}?category=colour"))
        .token(&acme.admin)
        .send()
        .await
        .refused(400)
        .names("category");
    // A partner's and the operator's people read what their own tenant is told.
    assert!(categories(&app.token("partner_admin", "tnt_home", "prt_north"), "").await.is_empty());
    assert!(categories(&app.operator("super_admin"), "").await.is_empty());

    let service = given::service(&app, "vault").await;
    let id = newest.id;
    for (method, path) in
        [("GET", PATH.to_owned()), ("POST", READ_ALL.to_owned()), ("POST", format!("{PATH}/{id}/read"))]
    {
        app.call(method, &path).token(&service.token).send().await.refused(403);
        app.call(method, &path).send().await.refused(401);
    }
    for token in [&acme.member, &other.admin, &app.operator("super_admin")] {
        app.call("POST", &format!("{PATH}/{id}/read")).token(token).send().await.refused(404);
    }
    app.call("POST", &format!("{PATH}/{}/read", Uuid::now_v7())).token(&acme.admin).send().await.refused(404);
    app.call("POST", &format!("{PATH}/nothing/read")).token(&acme.admin).send().await.refused(404);
    assert_eq!(unread(&app, &acme.admin).await, 2, "nothing of that read it");
}

#[tokio::test]
async fn reading_is_each_users_own() {
    let app = TestApp::start().await;
    let acme = given::tenant(&app, "tnt_acme", "prt_north").await;
    for _ in 0..3 {
        told(&app, &acme, None, "billing").await;
    }
    let first = listed(&app, &acme.admin, "").await[2].clone();
    app.advance(TimeDelta::minutes(1)).await;
    let at = app.now();
    let client = app.client(&acme.admin);
    let id: Uuid = first["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let read_now =
        client.notification_read().notification_id(id).send().await.expect("read").into_inner().data;
    assert_eq!((read_now.is_read, read_now.read_at), (true, Some(at)));
    app.advance(TimeDelta::minutes(1)).await;
    assert_eq!(read(&app, &acme.admin, &first["id"]).await["read_at"], json!(at), "the first time counts");
    assert_eq!((unread(&app, &acme.admin).await, unread(&app, &acme.member).await), (2, 3));
    let left = listed(&app, &acme.admin, "?unread_only=true").await;
    assert!(left.iter().all(|n| n["is_read"] == json!(false) && n["id"] != first["id"]), "{left:?}");

    let all = client.notification_read_all().send().await.expect("marked").into_inner().data;
    assert_eq!((all.marked, marked(&app, &acme.admin).await), (2, 0));
    assert_eq!((unread(&app, &acme.admin).await, unread(&app, &acme.member).await), (0, 3));
    assert_eq!(listed(&app, &acme.admin, "").await.len(), 3, "what is read stays");
    let sql = "SELECT operation, after->>'read_by', after->>'marked' FROM audit_log WHERE object_type = 'notification' ORDER BY at, id";
    let rows = app.db().await.query(sql, &[]).await.expect("rows");
    let audited: Vec<(String, String, Option<String>)> =
        rows.iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect();
    let who = "usr_tenant_admin_tnt_acme".to_owned();
    assert_eq!(
        audited,
        [
            ("notification_read".into(), who.clone(), None),
            ("notification_read_all".into(), who, Some("2".into()))
        ],
        "what changes nothing leaves nothing"
    );
}

#[tokio::test]
async fn a_long_list_is_walked_by_cursor() {
    let app = TestApp::start().await;
    let acme = given::tenant(&app, "tnt_acme", "prt_north").await;
    for _ in 0..7 {
        told(&app, &acme, None, "billing").await;
    }
    let all = walk(&app, &acme.admin, PATH, "unread_only=true", "id").await;
    assert_eq!(all.len(), 7);
    for id in all.iter().step_by(2) {
        read(&app, &acme.admin, id).await;
    }
    let unread = walk(&app, &acme.admin, &format!("{PATH}?unread_only=true"), "category=billing", "id").await;
    let expected: Vec<Value> = all.iter().skip(1).step_by(2).cloned().collect();
    assert_eq!(unread, expected);
}

#[tokio::test]
async fn nothing_is_lost_or_counted_twice_at_once() {
    let app = TestApp::start().await;
    let acme = given::tenant(&app, "tnt_acme", "prt_north").await;
    for _ in 0..20 {
        told(&app, &acme, None, "billing").await;
    }
    let ids: Vec<Value> = listed(&app, &acme.admin, "").await.iter().map(|n| n["id"].clone()).collect();
    // Readers of one and of all, each one several times, while more comes in.
    let (_, _, mut marks) = tokio::join!(
        join_all((0..30).map(|_| told(&app, &acme, None, "billing"))),
        join_all(ids.iter().chain(&ids).map(|id| read(&app, &acme.admin, id))),
        join_all((0..6).map(|_| marked(&app, &acme.admin))),
    );
    let left = unread(&app, &acme.admin).await;
    let db = app.db().await;
    let rows = |sql: &'static str| {
        let db = &db;
        async move { db.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0) }
    };
    let read_rows = rows("SELECT count(*) FROM notification_reads").await;
    assert_eq!(left, 50 - read_rows, "unread is all that has no mark");
    let alone = "SELECT count(*) FROM audit_log WHERE operation = 'notification_read'";
    assert_eq!(marks.iter().sum::<i64>() + rows(alone).await, read_rows, "each was marked by one of them");
    marks = join_all((0..4).map(|_| marked(&app, &acme.admin))).await;
    assert_eq!(marks.iter().sum::<i64>(), left);
    assert_eq!(unread(&app, &acme.admin).await, 0);
    assert_eq!(unread(&app, &acme.member).await, 50);
}

#[tokio::test]
async fn it_is_said_in_the_readers_language() {
    let app = TestApp::start().await;
    let acme = given::tenant(&app, "tnt_acme", "prt_north").await;
    told(&app, &acme, None, "billing").await;
    let title =
        async || listed(&app, &acme.admin, "").await[0]["title"].as_str().expect("a title").to_owned();
    assert_eq!(title().await, "VAT number NL004495445B01 is not registered");
    let db = app.db().await;
    let set = async |sql: &str| assert_eq!(db.execute(sql, &[]).await.expect("set"), 1, "{sql}");
    set("UPDATE billing_profiles SET preferred_language = 'fr' WHERE tenant_id = 'tnt_acme'").await;
    assert!(title().await.starts_with("Le numéro de TVA"));
    let asked = json!({"preferred_language": "nl"});
    app.call("PATCH", "/api/v1/organization").token(&acme.admin).json(&asked).send().await.expect(200);
    assert!(title().await.starts_with("Btw-nummer"));
    set("UPDATE users SET preferred_language = 'de' WHERE user_id = 'usr_tenant_admin_tnt_acme'").await;
    assert!(title().await.starts_with("Die USt-IdNr."));
    assert!(listed(&app, &acme.member, "").await[0]["title"].as_str().expect("a title").starts_with("Btw"));
    // A key that this release has no words for, and one whose values are not there.
    set("UPDATE notifications SET message = 'from_the_future'").await;
    let all = listed(&app, &acme.admin, "").await;
    assert_eq!((&all[0]["title"], &all[0]["body"]), (&json!("from_the_future"), &json!("")));
    set("UPDATE notifications SET message = 'quota_80', parameters = '{\"metric_name\": null}'").await;
    assert_eq!(title().await, "quota_80");
}

#[tokio::test]
async fn a_quota_is_told_with_its_numbers_and_dates() {
    let app = TestApp::start().await;
    let acme = given::tenant(&app, "tnt_acme", "prt_north").await;
    let service = given::service(&app, "vault").await;
    let plan = given::plan_with(&app, &service, "pro", json!({"quotas": {"api_calls": 10_000}})).await;
    given::subscription(&app, &acme, &plan, 1).await;
    let event =
        json!({"idempotency_key": "1", "tenant_id": acme.id, "metric_slug": "api_calls", "quantity": "8500"});
    let events = json!({"events": [event]});
    app.call("POST", "/api/v1/metering/events").token(&service.token).json(&events).send().await.expect(202);
    let asked = json!({"preferred_language": "de"});
    app.call("PATCH", "/api/v1/organization").token(&acme.admin).json(&asked).send().await.expect(200);
    let notice = listed(&app, &acme.member, "?category=usage").await[0].clone();
    assert_eq!(notice["title"], "api_calls: 80 % des Kontingents sind verbraucht");
    let body = notice["body"].as_str().expect("a body").replace('\u{a0}', " ");
    assert_eq!(
        body,
        "VAULT hat 8.500 von 10.000 api_calls gezählt. Der nächste Nutzungsmonat beginnt am 10. April 2026."
    );
    assert_eq!(notice["severity"], "warning");
}

#[test]
fn the_two_paths_stand_side_by_side() {
    let paths = ["notification_read_all", "notification_read"].map(|id| spec::operation(id).path);
    assert_eq!(paths, [READ_ALL, "/api/v1/notifications/{notification_id}/read"]);
}
