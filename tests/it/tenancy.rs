//! What belongs to one tenant or partner does not exist for another: over every operation, and in the database itself.
use scaicontrol_api::{Level, OPERATIONS, Operation};
use scaicontrol_tests::database::Database;
use scaicontrol_tests::given::{self, Service, Tenant};
use scaicontrol_tests::{Answer, TestApp, renderer, spec};
use serde_json::json;
use std::collections::BTreeMap;
use tokio_postgres::Client;
use uuid::Uuid;

const NOBODY: &str = "0192f0c4-6b02-7d51-8a44-2f7f0b1c9e20";

/// One of two tenants that live side by side, with everything that a tenant can have.
struct Side {
    tenant: Tenant,
    partner_admin: String,
    subscription: Uuid,
    pack_subscription: Uuid,
    invoice: Uuid,
    draft: Uuid,
    charge: Uuid,
    number: String,
}

impl Side {
    /// What must not be seen from the other side.
    fn marks(&self) -> Vec<String> {
        let ids = [self.subscription, self.pack_subscription, self.invoice, self.draft, self.charge];
        let ids = ids.map(|id| id.to_string());
        let names = [self.tenant.id.clone(), self.tenant.partner.clone(), self.number.clone()];
        ids.into_iter().chain(names).collect()
    }
}

struct World {
    app: TestApp,
    service: Service,
    acme: Side,
    other: Side,
}

async fn world() -> World {
    let app = TestApp::with(&[("render.program", &renderer()), ("workers.enabled", "false")]).await;
    let service = given::service(&app, "scaivault").await;
    let plan = given::plan(&app, &service, "pro", 4900).await;
    given::pack(&app, "office", &given::service(&app, "drive").await, 2500).await;
    let acme = side(&app, &service, &plan, "tnt_acme", "prt_north", "NORTH").await;
    let other = side(&app, &service, &plan, "tnt_other", "prt_south", "SOUTH").await;
    World { app, service, acme, other }
}

async fn side(
    app: &TestApp,
    service: &Service,
    plan: &given::Plan,
    tenant: &str,
    partner: &str,
    prefix: &str,
) -> Side {
    let tenant = given::tenant(app, tenant, partner).await;
    let partner_admin = app.token("partner_admin", &format!("{}_home", tenant.id), partner);
    let path = format!("/api/v1/admin/partners/{partner}");
    let prefix = json!({"invoice_number_prefix": prefix});
    app.call("PATCH", &path).token(&app.operator("super_admin")).json(&prefix).send().await.expect(200);
    let subscription = given::subscription(app, &tenant, plan, 1).await;
    let event = json!({"idempotency_key": "first", "tenant_id": tenant.id, "metric_slug": "api_calls", "quantity": "7"});
    let answer = app
        .call("POST", "/api/v1/metering/events")
        .token(&service.token)
        .json(&json!({"events": [event]}))
        .send()
        .await;
    assert_eq!(answer.data(202)["accepted"], 1);
    let invoice = given::draft(app, &partner_admin, &tenant, "10000").await;
    let path = format!("/api/v1/admin/invoices/{invoice}/finalize");
    let finalized = app.call("POST", &path).token(&partner_admin).send().await.data(200);
    let number = finalized["number"].as_str().expect("a number").to_owned();
    let draft = given::draft(app, &partner_admin, &tenant, "20000").await;
    let charge = json!({
        "tenant_id": tenant.id, "description": "Work", "quantity": "1", "unit_price_cents": "100", "currency": "EUR",
        "occurred_at": app.now(), "external_reference": tenant.id,
    });
    let path = "/api/v1/service-billing/charges";
    let charge = app.call("POST", path).token(&service.token).json(&charge).send().await;
    let charge = given::id_of(&charge.data(201));
    let path = "/api/v1/service-packs/office/subscribe";
    let pack_subscription = given::id_of(&app.call("POST", path).token(&tenant.admin).send().await.data(201));
    Side { tenant, partner_admin, subscription, pack_subscription, invoice, draft, charge, number }
}

/// Variables of a path that name something of one tenant or partner.
fn is_owned(operation: &Operation) -> bool {
    let owned =
        ["tenant_id", "partner_id", "invoice_id", "subscription_id", "pack_subscription_id", "charge_id"];
    operation.path_params.iter().any(|p| owned.contains(p))
}

/// The operation's path with what belongs to `side`, without one with ids that nobody has, and the query that it needs.
fn path(operation: &Operation, world: &World, side: Option<&Side>) -> String {
    let whole = operation.path_params.iter().fold(operation.path.to_owned(), |path, name| {
        let value = match (*name, side) {
            ("tenant_id", Some(s)) => s.tenant.id.clone(),
            ("tenant_id", None) => "tnt_nobody".to_owned(),
            ("partner_id", Some(s)) => s.tenant.partner.clone(),
            ("partner_id", None) => "prt_nobody".to_owned(),
            // What can only be done to a draft would be refused for another reason.
            ("invoice_id", Some(s)) if operation.method == "GET" => s.invoice.to_string(),
            ("invoice_id", Some(s)) => s.draft.to_string(),
            ("subscription_id", Some(s)) => s.subscription.to_string(),
            ("charge_id", Some(s)) => s.charge.to_string(),
            ("pack_subscription_id", Some(s)) => s.pack_subscription.to_string(),
            ("slug" | "service_slug", _) => world.service.slug.clone(),
            ("metric_slug", _) => "api_calls".to_owned(),
            (name, _) if name.ends_with("_id") => NOBODY.to_owned(),
            (name, _) => panic!("{}: what is {name}?", operation.id),
        };
        path.replace(&format!("{{{name}}}"), &value)
    });
    whole + &spec::required_query(operation)
}

async fn ask(world: &World, operation: &Operation, target: &str, token: &str, about: &str) -> Answer {
    let call = world.app.call(operation.method, target).token(token);
    match spec::sample_body(operation) {
        Some(mut body) => {
            if spec::takes_field(operation, "tenant_id") {
                body["tenant_id"] = json!(about);
            }
            call.json(&body).send().await
        }
        None => call.send().await,
    }
}

/// Everything that the database holds of a tenant and its partner, a digest for each table.
async fn holdings(db: &Client, side: &Side) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (table, column) in owned_tables(db).await {
        // Whoever asks leaves traces there.
        if table == "audit_log" || column == "service_id" {
            continue;
        }
        let id = if column == "tenant_id" { &side.tenant.id } else { &side.tenant.partner };
        let sql = format!(
            "SELECT coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '') FROM {table} t WHERE {column} = $1"
        );
        let row = db.query_one(&sql, &[id]).await.expect("a digest");
        all.insert(format!("{table}.{column}"), row.get(0));
    }
    all
}

/// Tables with a column that says whose a row is; partitions are part of their table.
async fn owned_tables(db: &Client) -> Vec<(String, String)> {
    let sql = "SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                 AND a.attname IN ('tenant_id', 'partner_id', 'service_id') AND NOT a.attisdropped ORDER BY 1, 2";
    db.query(sql, &[]).await.expect("the tables").iter().map(|r| (r.get(0), r.get(1))).collect()
}

#[tokio::test]
async fn another_tenants_and_another_partners_things_are_not_there() {
    let world = world().await;
    let db = world.app.db().await;
    let before = holdings(&db, &world.acme).await;
    let mut tried = 0;
    for operation in OPERATIONS {
        let token = match operation.level {
            Level::Tenant | Level::TenantOrService => &world.other.tenant.admin,
            Level::Partner => &world.other.partner_admin,
            Level::Public | Level::Platform | Level::Service => continue,
        };
        tried += 1;
        let about = &world.acme.tenant.id;
        let answer = ask(&world, operation, &path(operation, &world, Some(&world.acme)), token, about).await;
        let said = String::from_utf8_lossy(&answer.body);
        for mark in world.acme.marks() {
            assert!(!said.contains(&mark), "{}: {mark} is seen: {said}", operation.id);
        }
        if is_owned(operation) {
            let theirs = answer.refused(404);
            let nobodys = ask(&world, operation, &path(operation, &world, None), token, "tnt_nobody")
                .await
                .refused(404);
            assert_eq!(theirs.message(), nobodys.message(), "{}: the two can be told apart", operation.id);
        }
        if spec::takes_field(operation, "tenant_id") {
            // What is refused for another reason is refused in the same words whoever it is about.
            let nobodys = match answer.status {
                404 | 200 => continue,
                _ => ask(&world, operation, &path(operation, &world, None), token, "tnt_nobody").await,
            };
            let message = |answer: &Answer| answer.refused(400).message().to_owned();
            assert_eq!(message(&answer), message(&nobodys), "{}: {said}", operation.id);
        }
    }
    assert!(tried >= 25, "{tried} operations were tried");
    assert_eq!(before, holdings(&db, &world.acme).await, "nothing was changed from the other side");
}

#[tokio::test]
async fn a_filter_reaches_no_further_than_its_caller() {
    let world = world().await;
    let mut tried = 0;
    for operation in OPERATIONS
        .iter()
        .filter(|o| o.level == Level::Partner && o.method == "GET" && o.path_params.is_empty())
    {
        for parameter in spec::query_parameters(operation) {
            let value = match parameter {
                "tenant_id" => &world.acme.tenant.id,
                "partner_id" => &world.acme.tenant.partner,
                "q" | "search" => &world.acme.number,
                _ => continue,
            };
            tried += 1;
            let target = format!("{}?{parameter}={value}", operation.path);
            let answer = world.app.call("GET", &target).token(&world.other.partner_admin).send().await;
            let found =
                if answer.status == 404 { 0 } else { answer.data(200).as_array().map_or(0, Vec::len) };
            assert_eq!(found, 0, "{target}");
        }
    }
    assert!(tried > 0);
}

#[tokio::test]
async fn each_sees_what_is_its_own() {
    let world = world().await;
    // Without this the sweep would pass on a server that shows nobody anything.
    for side in [&world.acme, &world.other] {
        for operation in OPERATIONS.iter().filter(|o| o.method == "GET" && is_owned(o)) {
            let token = match operation.level {
                Level::Tenant => &side.tenant.admin,
                Level::Partner => &side.partner_admin,
                _ => continue,
            };
            let answer =
                world.app.call("GET", &path(operation, &world, Some(side))).token(token).send().await;
            answer.expect_bytes(200);
        }
        let list = world
            .app
            .call("GET", "/api/v1/billing/invoices")
            .token(&side.tenant.admin)
            .send()
            .await
            .data(200);
        assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
        assert_eq!(list[0]["id"], side.invoice.to_string(), "the numbered one, and no draft");
        let list =
            world.app.call("GET", "/api/v1/admin/invoices").token(&side.partner_admin).send().await.data(200);
        assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
    }
    let list = world
        .app
        .call("GET", "/api/v1/admin/invoices")
        .token(&world.app.operator("billing_admin"))
        .send()
        .await
        .data(200);
    assert_eq!(list.as_array().map(Vec::len), Some(4), "the operator sees all");
}

#[tokio::test]
async fn a_service_reaches_only_tenants_that_subscribed_to_it() {
    let world = world().await;
    let stranger = given::service(&world.app, "scaisend").await;
    let quota = |slug: &str, tenant: &str| format!("/api/v1/internal/quotas/{tenant}/{slug}/api_calls");
    let app = &world.app;
    let own = quota("scaivault", &world.acme.tenant.id);
    app.call("GET", &own).token(&world.service.token).send().await.expect(200);
    for target in [own, quota("scaisend", &world.acme.tenant.id), quota("scaisend", "tnt_nobody")] {
        app.call("GET", &target).token(&stranger.token).send().await.refused(404);
    }
    let event = json!({"idempotency_key": "k", "tenant_id": world.acme.tenant.id, "metric_slug": "api_calls", "quantity": "1"});
    let answer = app
        .call("POST", "/api/v1/metering/events")
        .token(&stranger.token)
        .json(&json!({"events": [event]}))
        .send()
        .await;
    let result = answer.data(202);
    assert_eq!(
        (&result["accepted"], &result["rejected"][0]["code"]),
        (&json!(0), &json!("no_subscription")),
        "{result}"
    );
}

#[tokio::test]
async fn another_services_tenants_and_charges_are_not_there() {
    let world = world().await;
    let stranger = given::service(&world.app, "scaisend").await;
    let db = world.app.db().await;
    let before = holdings(&db, &world.acme).await;
    let (mut tried, about) = (0, &world.acme.tenant.id);
    for operation in OPERATIONS.iter().filter(|o| o.level == Level::Service) {
        tried += 1;
        let theirs = path(operation, &world, Some(&world.acme));
        let answer = ask(&world, operation, &theirs, &stranger.token, about).await;
        let said = String::from_utf8_lossy(&answer.body);
        // The tenant's id is what the caller itself sent.
        for mark in world.acme.marks().into_iter().filter(|mark| mark != about) {
            assert!(!said.contains(&mark), "{}: {mark} is seen: {said}", operation.id);
        }
        let nobodys = path(operation, &world, None);
        let nobodys = ask(&world, operation, &nobodys, &stranger.token, "tnt_nobody").await;
        assert_eq!(answer.status, nobodys.status, "{}: {said}", operation.id);
        if is_owned(operation) {
            let (theirs, nobodys) = (answer.refused(404), nobodys.refused(404));
            assert_eq!(theirs.message(), nobodys.message(), "{}: the two can be told apart", operation.id);
        }
    }
    assert!(tried >= 9, "{tried} operations were tried");
    assert_eq!(before, holdings(&db, &world.acme).await, "nothing was changed from the other side");
}

#[tokio::test]
async fn every_table_that_is_somebodys_is_protected() {
    let database = Database::create().await;
    let db = database.connect().await;
    let tables = owned_tables(&db).await;
    assert!(tables.len() > 30, "{tables:?}");
    let mut wrong = Vec::new();
    for (table, _) in &tables {
        let sql = "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = $1::text::regclass";
        let row = db.query_one(sql, &[table]).await.expect("a table");
        if !row.get::<_, bool>(0) || !row.get::<_, bool>(1) {
            wrong.push(format!("{table}: row-level security is not forced"));
        }
        let sql = "SELECT roles::text[], coalesce(qual, ''), coalesce(with_check, ''), permissive FROM pg_policies WHERE schemaname = 'public' AND tablename = $1";
        let policies = db.query(sql, &[table]).await.expect("policies");
        for role in ["sc_tenant", "sc_partner", "sc_service", "sc_platform"] {
            let own: Vec<_> = policies.iter().filter(|p| p.get::<_, Vec<String>>(0) == [role]).collect();
            match own.as_slice() {
                [policy] => {
                    let (using, check): (String, String) = (policy.get(1), policy.get(2));
                    if using != check {
                        wrong.push(format!("{table}: {role} may write what it does not see"));
                    }
                    if using.contains(" OR ") {
                        wrong.push(format!("{table}: {role}: an OR keeps the planner from the index"));
                    }
                    if role != "sc_platform" && using != "false" && !using.contains("current_setting") {
                        wrong.push(format!("{table}: {role} sees {using}"));
                    }
                }
                several => wrong.push(format!("{table}: {} policies of {role} alone", several.len())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_partition_cannot_be_read_past_its_table() {
    let database = Database::create().await;
    let db = database.connect().await;
    for (parent, days) in [("idempotency_keys", 1), ("usage_events", 7)] {
        db.query_one("SELECT sc_partition_ensure($1, '2026-03-10', $2)", &[&parent, &days])
            .await
            .expect("a partition");
    }
    let sql = "SELECT c.relname::text, c.relrowsecurity AND c.relforcerowsecurity,
                 array(SELECT r.rolname::text FROM pg_roles r, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p
                       WHERE r.rolname ~ '^(sc_|scaicontrol_app)' AND has_table_privilege(r.oid, c.oid, p))
               FROM pg_class c WHERE c.relispartition AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace";
    let partitions = db.query(sql, &[]).await.expect("partitions");
    assert!(partitions.len() >= 10, "{}", partitions.len());
    for row in partitions {
        let (name, forced, holders): (String, bool, Vec<String>) = (row.get(0), row.get(1), row.get(2));
        assert!(forced, "{name}: row-level security is not forced");
        assert!(holders.is_empty(), "{name}: rights of {holders:?}");
    }
}

#[tokio::test]
async fn the_login_of_the_server_can_do_nothing_by_itself() {
    let database = Database::create().await;
    let db = database.connect().await;
    let sql = "SELECT rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication FROM pg_roles WHERE rolname = $1";
    let row = db.query_one(sql, &[&"scaicontrol_app"]).await.expect("the role");
    assert_eq!((0..6).map(|i| row.get::<_, bool>(i)).collect::<Vec<_>>(), [false; 6]);
    for role in ["sc_tenant", "sc_partner", "sc_service", "sc_public", "sc_platform"] {
        let row = db
            .query_one(
                "SELECT rolsuper OR rolbypassrls OR rolcanlogin FROM pg_roles WHERE rolname = $1",
                &[&role],
            )
            .await;
        assert!(!row.expect("the role").get::<_, bool>(0), "{role}");
    }
    let sql = "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
               AND (c.relowner = 'scaicontrol_app'::regrole OR has_table_privilege('scaicontrol_app', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE'))";
    let rights: Vec<String> = db.query(sql, &[]).await.expect("rights").iter().map(|r| r.get(0)).collect();
    assert!(rights.is_empty(), "{rights:?}");
    let app = database.connect_as_app().await;
    assert!(app.batch_execute("SELECT * FROM tenants").await.is_err());
    assert!(app.batch_execute("CREATE TABLE mine (a int)").await.is_err());
    assert!(app.batch_execute("SET ROLE scaicontrol_owner").await.is_err());
}

#[tokio::test]
async fn plain_sql_without_a_tenant_sees_nothing() {
    let world = world().await;
    let tables = owned_tables(&world.app.db().await).await;
    let login = world.app.database().connect_as_app().await;
    // What is on public show is for everybody.
    let shown = ["services", "plans", "metrics"];
    for role in ["sc_tenant", "sc_partner", "sc_service", "sc_public"] {
        for setting in [
            "",
            "SET LOCAL app.tenant_id = ''; SET LOCAL app.partner_id = ''; SET LOCAL app.service_id = '';",
        ] {
            for (table, _) in
                tables.iter().filter(|(t, _)| role != "sc_public" || !shown.contains(&t.as_str()))
            {
                login
                    .batch_execute(&format!("BEGIN; SET LOCAL ROLE {role}; {setting}"))
                    .await
                    .expect("a transaction");
                match login.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await {
                    Ok(row) => assert_eq!(row.get::<_, i64>(0), 0, "{role} sees rows of {table}"),
                    Err(e) => assert_eq!(e.code().map(|c| c.code()), Some("42501"), "{role} {table}: {e}"),
                }
                login.batch_execute("ROLLBACK").await.expect("rolled back");
            }
        }
    }
    login
        .batch_execute("BEGIN; SET LOCAL ROLE sc_tenant; SET LOCAL app.tenant_id = 'tnt_acme'")
        .await
        .expect("a transaction");
    let row = login
        .query_one("SELECT count(*), count(*) FILTER (WHERE tenant_id = 'tnt_acme') FROM subscriptions", &[])
        .await;
    let row = row.expect("its own");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 2), "a tenant sees its own");
    let write = "INSERT INTO billing_profiles (tenant_id, partner_id, company_name, address_line1, postal_code, city, country_code, is_business, created_at, updated_at)
                 VALUES ('tnt_other', 'prt_south', 'x', 'x', 'x', 'x', 'NL', true, now(), now()) ON CONFLICT (tenant_id) DO UPDATE SET company_name = 'taken'";
    let error = login.batch_execute(write).await.expect_err("another tenant's row cannot be written");
    assert_eq!(error.code().map(|c| c.code()), Some("42501"), "{error}");
}
