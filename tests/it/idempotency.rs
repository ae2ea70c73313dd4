//! One effect for one `Idempotency-Key`, whatever happens between the request and its answer.
use crate::support::{each, finalize, run_with, verified};
use chrono::TimeDelta;
use futures::future::join_all;
use scaicontrol_server::identity::dev_issuer::Mint;
use scaicontrol_tests::given::{self, Plan, Tenant};
use scaicontrol_tests::raw::Call;
use scaicontrol_tests::{OPERATOR, TestApp, wait};
use serde_json::{Value, json};
use uuid::Uuid;

const INVOICES: &str = "/api/v1/admin/invoices";
const SUBSCRIPTIONS: &str = "/api/v1/subscriptions";

async fn start() -> (TestApp, String, Tenant) {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let admin = app.operator("billing_admin");
    (app, admin, tenant)
}

fn draft(tenant: &Tenant, price: &str) -> Value {
    let line = json!({"description": "Consulting", "quantity": "1", "unit_price_cents": price});
    json!({"tenant_id": tenant.id, "currency": "EUR", "line_items": [line]})
}

fn create(app: &TestApp, token: &str, key: &str, asked: &Value) -> Call {
    app.call("POST", INVOICES).token(token).header("idempotency-key", key).json(asked)
}

async fn count(app: &TestApp, table: &str) -> i64 {
    let row = app.db().await.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await;
    row.expect("a count").get(0)
}

#[tokio::test]
async fn sixteen_at_once_have_one_effect() {
    let (app, admin, tenant) = start().await;
    let asked = draft(&tenant, "100");
    let answers = join_all((0..16).map(|_| create(&app, &admin, "order-17", &asked).send())).await;
    let made: Vec<Value> = answers.iter().filter(|a| a.status == 201).map(|a| a.data(201)).collect();
    assert!(!made.is_empty());
    for answer in answers.iter().filter(|a| a.status != 201) {
        answer.refused(409).says("still running");
    }
    assert!(made.iter().all(|m| *m == made[0]), "all of them got the same");
    assert_eq!(create(&app, &admin, "order-17", &asked).send().await.data(201), made[0]);
    assert_eq!(count(&app, "invoices").await, 1);
    assert_eq!(count(&app, "audit_log WHERE operation = 'admin_invoice_create'").await, 1);

    // The same of finalize: one number.
    let path = format!("{INVOICES}/{}/finalize", made[0]["id"].as_str().unwrap_or_default());
    let call = || app.call("POST", &path).token(&admin).header("idempotency-key", "order-17").send();
    let answers = join_all((0..16).map(|_| call())).await;
    let issued: Vec<Value> = answers.iter().filter(|a| a.status == 200).map(|a| a.data(200)).collect();
    assert!(answers.iter().all(|a| [200, 409].contains(&a.status)));
    assert!(issued.iter().all(|i| i["number"] == "SCAI-2026-000001") && !issued.is_empty());
    assert_eq!(call().await.data(200), issued[0]);
    assert_eq!(count(&app, "invoice_numbers").await, 1);
    verified(&app).await;
}

#[tokio::test]
async fn without_a_key_sixteen_finalizers_issue_once() {
    let (app, admin, tenant) = start().await;
    let id = given::draft(&app, &admin, &tenant, "100").await;
    let path = format!("{INVOICES}/{id}/finalize");
    let answers = join_all((0..16).map(|_| app.call("POST", &path).token(&admin).send())).await;
    let mut statuses: Vec<u16> = answers.iter().map(|a| a.status).collect();
    statuses.sort_unstable();
    let mut wanted = vec![409; 16];
    wanted[0] = 200;
    assert_eq!(statuses, wanted);
    verified(&app).await;
}

#[tokio::test]
async fn sixteen_at_once_subscribe_once() {
    let (app, _, tenant) = start().await;
    let service = given::service(&app, "scaivault").await;
    let plan = given::plan(&app, &service, "pro", 4900).await;
    let asked = json!({"plan_id": plan.id});
    let call = || {
        app.call("POST", SUBSCRIPTIONS)
            .token(&tenant.admin)
            .header("idempotency-key", "k")
            .json(&asked)
            .send()
    };
    let answers = join_all((0..16).map(|_| call())).await;
    assert!(answers.iter().all(|a| [201, 409].contains(&a.status)));
    let first = call().await.data(201);
    assert!(answers.iter().filter(|a| a.status == 201).all(|a| a.data(201) == first));
    assert_eq!(count(&app, "subscriptions").await, 1);
    assert_eq!(count(&app, "billed_items WHERE kind = 'base'").await, 1);
    assert_eq!(count(&app, "outbox_events WHERE event_type = 'subscription.activated'").await, 1);
}

#[tokio::test]
async fn another_body_under_the_same_key_is_refused() {
    let (app, admin, tenant) = start().await;
    let made = create(&app, &admin, "order-17", &draft(&tenant, "100")).send().await.data(201);
    create(&app, &admin, "order-17", &draft(&tenant, "101"))
        .send()
        .await
        .refused(409)
        .says("another request body");
    assert_eq!(create(&app, &admin, "order-17", &draft(&tenant, "100")).send().await.data(201), made);
    create(&app, &admin, "order-18", &draft(&tenant, "101")).send().await.expect(201);
    assert_eq!(count(&app, "invoices").await, 2);
    create(&app, &admin, "", &draft(&tenant, "100")).send().await.refused(400);
    create(&app, &admin, &"k".repeat(256), &draft(&tenant, "100")).send().await.refused(400);
    create(&app, &admin, &"k".repeat(255), &draft(&tenant, "100")).send().await.expect(201);
}

#[tokio::test]
async fn another_path_under_the_same_key_is_another_request() {
    let (app, admin, tenant) = start().await;
    let first = given::draft(&app, &admin, &tenant, "100").await;
    let second = given::draft(&app, &admin, &tenant, "200").await;
    let call = |id: Uuid| {
        app.call("POST", &format!("{INVOICES}/{id}/finalize"))
            .token(&admin)
            .header("idempotency-key", "k")
            .send()
    };
    let issued = call(first).await.data(200);
    // Either it is refused or it is done; what it must not be is answered with the other invoice.
    let answer = call(second).await;
    if answer.status == 200 {
        assert_eq!(answer.data(200)["id"], json!(second));
    } else {
        answer.refused(409);
    }
    assert_eq!(call(first).await.data(200), issued);
}

#[tokio::test]
async fn a_refusal_is_not_kept() {
    let app = TestApp::start().await;
    given::partner(&app, "prt_north").await;
    let token = app.token("tenant_admin", "tnt_new", "prt_north");
    let service = given::service(&app, "scaivault").await;
    let plan = given::plan(&app, &service, "pro", 4900).await;
    let asked = json!({"plan_id": plan.id});
    let call =
        || app.call("POST", SUBSCRIPTIONS).token(&token).header("idempotency-key", "k").json(&asked).send();
    call().await.refused(400).says("billing profile");
    given::tenant(&app, "tnt_new", "prt_north").await;
    call().await.expect(201);
    call().await.expect(201);
    assert_eq!(count(&app, "subscriptions").await, 1);
}

#[tokio::test]
async fn after_a_day_it_is_a_new_request() {
    let (app, admin, tenant) = start().await;
    let asked = draft(&tenant, "100");
    let made = create(&app, &admin, "k", &asked).send().await.data(201);
    app.advance(TimeDelta::hours(24) - TimeDelta::seconds(1)).await;
    assert_eq!(create(&app, &admin, "k", &asked).send().await.data(201), made);
    app.advance(TimeDelta::seconds(1)).await;
    let second = create(&app, &admin, "k", &asked).send().await.data(201);
    assert_ne!(second["id"], made["id"]);
    assert_eq!(create(&app, &admin, "k", &asked).send().await.data(201), second);
    assert_eq!(count(&app, "invoices").await, 2);
}

#[tokio::test]
async fn keys_of_different_callers_do_not_meet() {
    let (app, admin, tenant) = start().await;
    let other = given::tenant(&app, "tnt_other", "prt_north").await;
    let service = given::service(&app, "scaivault").await;
    let plan: Plan = given::plan(&app, &service, "pro", 4900).await;
    let mut made = Vec::new();
    for token in [&tenant.admin, &other.admin] {
        let call = app.call("POST", SUBSCRIPTIONS).token(token).header("idempotency-key", "k");
        made.push(call.json(&json!({"plan_id": plan.id})).send().await.data(201)["tenant_id"].clone());
    }
    assert_eq!(made, ["tnt_acme", "tnt_other"]);
    // Of one tenant or platform, too: a colleague's key is not mine.
    let asked = draft(&tenant, "100");
    let mine = create(&app, &admin, "k", &asked).send().await.data(201);
    let theirs = create(&app, &app.operator("super_admin"), "k", &asked).send().await.data(201);
    let partner = app.token("partner_admin", "tnt_home", "prt_north");
    let partners = create(&app, &partner, "k", &asked).send().await.data(201);
    assert_eq!(count(&app, "invoices").await, 3);
    assert!(mine["id"] != theirs["id"] && theirs["id"] != partners["id"] && mine["id"] != partners["id"]);
    // Nor is a key of one operation one of another.
    let path = format!("{INVOICES}/{}/line-items/sort-by-date", mine["id"].as_str().unwrap_or_default());
    app.call("POST", &path).token(&admin).header("idempotency-key", "k").send().await.expect(200);
}

#[tokio::test]
async fn who_may_no_longer_ask_is_not_answered_from_memory() {
    let (app, _, tenant) = start().await;
    let who = |roles: &[&str]| {
        app.mint(&Mint {
            subject: "usr_jo".into(),
            tenant_id: Some("tnt_operator".into()),
            partner_id: Some(OPERATOR.into()),
            roles: roles.iter().map(|r| (*r).to_owned()).collect(),
            ..Mint::default()
        })
    };
    let asked = draft(&tenant, "100");
    let made = create(&app, &who(&["billing_admin"]), "k", &asked).send().await.data(201);
    create(&app, &who(&[]), "k", &asked).send().await.refused(403);
    create(&app, &who(&["support"]), "k", &asked).send().await.refused(403);
    create(&app, "nonsense", "k", &asked).send().await.refused(401);
    assert_eq!(create(&app, &who(&["billing_admin"]), "k", &asked).send().await.data(201), made);
}

#[tokio::test]
async fn a_run_answers_what_it_did_the_first_time() {
    let (app, admin, tenant) = start().await;
    let service = given::service(&app, "scaivault").await;
    let plan = given::plan(&app, &service, "pro", 4900).await;
    given::subscription(&app, &tenant, &plan, 1).await;
    let asked = json!({"dry_run": false});
    let call = || {
        app.call("POST", "/api/v1/admin/billing/run")
            .token(&admin)
            .header("idempotency-key", "k")
            .json(&asked)
            .send()
    };
    let answers = join_all((0..16).map(|_| call())).await;
    assert!(answers.iter().all(|a| [200, 409].contains(&a.status)));
    let first = call().await.data(200);
    assert_eq!(each(&first["invoices"], "subtotal_cents"), [&json!(4900)]);
    assert!(answers.iter().filter(|a| a.status == 200).all(|a| a.data(200) == first));
    assert_eq!(
        run_with(&app, &admin, json!({"dry_run": false})).await["invoices"],
        json!([]),
        "without the key: nothing is left"
    );
    // A dry run is not an effect: it takes no key and keeps nothing.
    let dry = json!({"dry_run": true});
    let call = app
        .call("POST", "/api/v1/admin/billing/run")
        .token(&admin)
        .header("idempotency-key", "k2")
        .json(&dry);
    call.send().await.expect(200);
    verified(&app).await;
}

#[tokio::test]
async fn a_statement_that_fails_after_the_effect_takes_the_effect_back() {
    let (app, admin, tenant) = start().await;
    let asked = draft(&tenant, "100");
    create(&app, &admin, "before", &asked).send().await.expect(201);
    let owner = scaicontrol_tests::database::connect(&app.database().owner_url()).await;
    let trap =
        "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trap'; END $$;
        CREATE TRIGGER trap BEFORE INSERT ON idempotency_keys FOR EACH ROW EXECUTE FUNCTION trap()";
    owner.batch_execute(trap).await.expect("set");
    let refusal = create(&app, &admin, "k", &asked).send().await.refused(500);
    assert!(!refusal.message().contains("trap"), "nothing of the inside is told: {}", refusal.message());
    assert_eq!(count(&app, "invoices").await, 1, "no effect without a stored answer");
    let draft = given::draft(&app, &admin, &tenant, "100").await;
    let path = format!("{INVOICES}/{draft}/finalize");
    let call = || app.call("POST", &path).token(&admin).header("idempotency-key", "k").send();
    call().await.refused(500);
    assert_eq!((count(&app, "invoice_counters").await, count(&app, "journals").await), (0, 0));
    owner.batch_execute("DROP FUNCTION trap() CASCADE").await.expect("taken away");
    create(&app, &admin, "k", &asked).send().await.expect(201);
    assert_eq!(call().await.data(200)["number"], "SCAI-2026-000001");
    verified(&app).await;
}

/// Holds up every transaction that wants to write its audit row: its effect is there, its answer is not stored yet.
struct HeldUp {
    lock: tokio_postgres::Client,
    /// Another one to look: within a transaction the list of backends never changes.
    db: tokio_postgres::Client,
}

impl HeldUp {
    async fn new(app: &TestApp) -> HeldUp {
        let lock = app.db().await;
        lock.batch_execute("BEGIN; LOCK TABLE audit_log IN EXCLUSIVE MODE").await.expect("locked");
        HeldUp { lock, db: app.db().await }
    }
    /// The backend of the server that waits.
    async fn backend(&self) -> i32 {
        let sql = "SELECT pid FROM pg_stat_activity WHERE usename = 'scaicontrol_app' AND datname = current_database() AND wait_event_type = 'Lock'";
        let mut pid = 0;
        wait::until("a transaction waits", async || {
            let row = self.db.query_opt(sql, &[]).await.expect("the list of backends");
            pid = row.map_or(0, |row| row.get(0));
            pid != 0
        })
        .await;
        pid
    }
    async fn end(self) {
        self.lock.batch_execute("COMMIT").await.expect("unlocked");
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_leaves_no_answer_without_effect() {
    let (app, admin, tenant) = start().await;
    let asked = draft(&tenant, "100");
    let held = HeldUp::new(&app).await;
    let running = tokio::spawn(create(&app, &admin, "k", &asked).send());
    let pid = held.backend().await;
    // While it runs, the key is taken.
    create(&app, &admin, "k", &asked).send().await.refused(409).says("still running");
    held.db.query_one("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("cut");
    let gone = "SELECT 1 FROM pg_stat_activity WHERE pid = $1";
    wait::until("it is gone", async || held.db.query_opt(gone, &[&pid]).await.expect("the list").is_none())
        .await;
    held.end().await;
    let cut = wait::at_most("an answer", running).await.expect("an answer");
    assert_eq!(cut.status, 503, "{:?}", cut.body);
    assert_eq!((count(&app, "invoices").await, count(&app, "idempotency_keys").await), (0, 0));
    let made = create(&app, &admin, "k", &asked).send().await.data(201);
    assert_eq!(create(&app, &admin, "k", &asked).send().await.data(201), made);
    assert_eq!(count(&app, "invoices").await, 1);
    verified(&app).await;
}

#[tokio::test]
async fn a_client_that_leaves_finds_its_answer_when_it_comes_back() {
    let (app, admin, tenant) = start().await;
    let asked = draft(&tenant, "100");
    let held = HeldUp::new(&app).await;
    let leaving = tokio::spawn(create(&app, &admin, "k", &asked).send());
    held.backend().await;
    leaving.abort();
    assert!(leaving.await.is_err_and(|e| e.is_cancelled()));
    held.end().await;
    wait::until("the work is done", async || count(&app, "idempotency_keys").await == 1).await;
    assert_eq!(count(&app, "invoices").await, 1);
    let made = create(&app, &admin, "k", &asked).send().await.data(201);
    let id = given::id_of(&made);
    assert_eq!(count(&app, "invoices").await, 1);
    finalize(&app, &admin, id).await;
    verified(&app).await;
}
