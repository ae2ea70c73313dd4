//! What services see of their tenants' billing, and the one-off charges that they make.
use crate::admin_platform::set;
use crate::support::{cents, difference, each, finalize, get, run, uuid, verified, walk};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use scaicontrol_tests::given::{self, Plan, Service, Tenant};
use scaicontrol_tests::{Answer, TestApp, body};
use scaicontrol_types as types;
use serde_json::{Value, json};
use uuid::Uuid;

const CHARGES: &str = "/api/v1/service-billing/charges";
/// The 1st of the next month in the partner's timezone, and the grace of an hour.
const FIRST: &str = "2026-03-31T23:00:00Z";

struct Given {
    app: TestApp,
    admin: String,
    tenant: Tenant,
    service: Service,
    plan: Plan,
}

/// A tenant that subscribed, and whose first invoice is out of the way.
async fn start() -> Given {
    let app = TestApp::with(&[("workers.enabled", "false")]).await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let service = given::service(&app, "vault").await;
    let plan = given::plan(&app, &service, "pro", 4900).await;
    given::subscription(&app, &tenant, &plan, 1).await;
    let admin = app.operator("billing_admin");
    run(&app, &admin, &tenant.id).await;
    Given { app, admin, tenant, service, plan }
}

/// A charge of 15.00 EUR with this reference.
fn asked(tenant: &str, reference: &str) -> Value {
    json!({
        "tenant_id": tenant, "description": "Migration of 3 mailboxes", "quantity": "3", "unit_price_cents": "500",
        "currency": "EUR", "occurred_at": "2026-03-10T08:00:00Z", "external_reference": reference,
    })
}

impl Given {
    async fn post(&self, asked: &Value) -> Answer {
        self.app.call("POST", CHARGES).token(&self.service.token).json(asked).send().await
    }
    async fn charge(&self, reference: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut asked = asked(&self.tenant.id, reference);
        change(&mut asked);
        self.post(&asked).await.data(201)
    }
    async fn ask(&self, method: &str, path: &str) -> Answer {
        self.app.call(method, path).token(&self.service.token).send().await
    }
    async fn shown(&self, charge: &Value) -> Value {
        self.ask("GET", &one(charge)).await.data(200)
    }
    async fn status(&self, charge: &Value) -> String {
        self.shown(charge).await["status"].as_str().expect("a status").to_owned()
    }
    async fn withdraw(&self, charge: &Value) -> Answer {
        self.ask("DELETE", &one(charge)).await
    }
    async fn about(&self, what: &str) -> Answer {
        self.ask("GET", &format!("/api/v1/service-billing/tenants/{}/{what}", self.tenant.id)).await
    }
    /// Bills what is due on the first of April; answers the drafts that charges are on.
    async fn billed(&self) -> Vec<Value> {
        if self.app.now() < at(FIRST) {
            self.app.advance_to(at(FIRST)).await;
        }
        // A seller that says too little of itself: what the run makes stays a draft, and is issued by hand.
        self.can_sell(false).await;
        let run = run(&self.app, &self.admin, &self.tenant.id).await;
        self.can_sell(true).await;
        let mut drafts = vec![];
        for id in each(&run["invoices"], "invoice_id") {
            drafts.push(get(&self.app, &self.admin, uuid(id)).await);
        }
        drafts
            .retain(|d| d["status"] == "draft" && each(&d["line_items"], "kind").contains(&&json!("charge")));
        drafts
    }
    async fn can_sell(&self, can: bool) {
        let name = can.then_some("Noord Software B.V.");
        let change = "UPDATE partners SET legal_name = $1 WHERE partner_id = 'prt_north'";
        self.app.db().await.execute(change, &[&name]).await.expect("changed");
    }
    async fn admin(&self, method: &str, path: &str, asked: Value) -> Answer {
        let path = format!("/api/v1/admin/invoices/{path}");
        let call = self.app.call(method, &path).token(&self.admin);
        if asked.is_null() { call.send().await } else { call.json(&asked).send().await }
    }
    async fn execute(&self, sql: &str) {
        assert_eq!(self.app.db().await.execute(sql, &[]).await.expect("set"), 1, "{sql}");
    }
}

fn one(charge: &Value) -> String {
    format!("{CHARGES}/{}", charge["id"].as_str().expect("an id"))
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

#[tokio::test]
async fn a_charge_becomes_a_line_of_the_next_invoice() {
    let g = start().await;
    let client = g.app.client(&g.service.token);
    let asked: types::ChargeCreateRequest = body(asked(&g.tenant.id, "job-1"));
    let made = client.service_charge_create().body(asked).send().await.expect("made").into_inner().data;
    assert_eq!(
        (made.status, made.amount_cents, made.service_slug.as_str()),
        (types::ChargeStatus::Pending, 1500, "vault")
    );
    assert_eq!((made.invoice_id, made.invoice_number.as_deref(), made.created_at), (None, None, g.app.now()));
    let read = client.service_charge_get().charge_id(made.id).send().await.expect("read").into_inner().data;
    assert_eq!(json!(read), json!(made));
    let listed = client.service_charge_list().send().await.expect("a list").into_inner().data;
    assert_eq!(json!(listed), json!([made]));
    // The tenant sees it coming.
    let upcoming =
        g.app.call("GET", "/api/v1/billing/upcoming").token(&g.tenant.admin).send().await.data(200);
    let kinds: Vec<_> =
        upcoming.as_array().expect("invoices").iter().flat_map(|i| each(&i["line_items"], "kind")).collect();
    assert!(kinds.contains(&&json!("charge")), "{upcoming}");

    let draft = g.billed().await.pop().expect("a draft");
    let line = &draft["line_items"][0];
    let shown =
        ["description", "quantity", "unit_price_cents", "amount_cents", "service_slug", "subscription_id"]
            .map(|f| line[f].clone());
    assert_eq!(
        shown,
        [
            json!("Migration of 3 mailboxes"),
            json!("3"),
            json!("500"),
            json!(1500),
            json!("vault"),
            Value::Null
        ]
    );
    let explained = ["external_reference", "charge_id"].map(|f| line["explanation"][f].clone());
    assert_eq!(explained, [json!("job-1"), json!(made.id)]);
    assert_eq!(line["explanation"]["computation"]["rule"], "priced");
    let on_draft = g.shown(&json!(made)).await;
    assert_eq!(
        (&on_draft["status"], &on_draft["invoice_id"]),
        (&json!("invoiced"), &Value::Null),
        "a draft is not shown"
    );
    let none = client.service_charge_invoice_list().tenant_id(&g.tenant.id).send().await.expect("a page");
    assert!(
        none.into_inner()
            .data
            .iter()
            .all(|i| i.line_items.iter().all(|l| l.kind != types::LineItemKind::Charge))
    );

    let invoice = finalize(&g.app, &g.admin, uuid(&draft["id"])).await;
    let issued = g.shown(&json!(made)).await;
    assert_eq!((&issued["invoice_id"], &issued["invoice_number"]), (&invoice["id"], &invoice["number"]));
    assert_eq!(issued["updated_at"], json!(made.updated_at), "the service did not change it");
    let page = client
        .service_charge_invoice_list()
        .tenant_id(&g.tenant.id)
        .send()
        .await
        .expect("a page")
        .into_inner();
    let first = json!(page.data[0]);
    assert_eq!((&first["number"], &first["line_items"]), (&invoice["number"], &invoice["line_items"]));
    assert!(first.get("total_cents").is_none() && first.get("due_cents").is_none(), "no totals");
    assert!(g.billed().await.is_empty(), "once");
    verified(&g.app).await;
}

#[tokio::test]
async fn a_reference_stands_for_one_charge() {
    let g = start().await;
    let made = g.charge("job-1", |_| ()).await;
    let again = |field: &str, value: Value| {
        let mut asked = asked(&g.tenant.id, "job-1");
        asked[field] = value;
        asked
    };
    // Other ways to write the same.
    for (field, value) in [
        ("quantity", json!("3.00")),
        ("unit_price_cents", json!("500.0")),
        ("occurred_at", json!("2026-03-10T09:00:00.0000001+01:00")),
    ] {
        assert_eq!(g.post(&again(field, value)).await.data(201), made, "{field}");
    }
    given::tenant(&g.app, "tnt_other", "prt_north").await;
    let other = Tenant {
        id: "tnt_other".into(),
        admin: g.app.token("tenant_admin", "tnt_other", "prt_north"),
        ..g.tenant.clone()
    };
    given::subscription(&g.app, &other, &g.plan, 1).await;
    for (field, value) in [
        ("quantity", json!("4")),
        ("unit_price_cents", json!("501")),
        ("description", json!("Another")),
        ("currency", json!("USD")),
        ("occurred_at", json!("2026-03-10T08:00:01Z")),
        ("tax_rate", json!("9")),
        ("tenant_id", json!("tnt_other")),
    ] {
        g.post(&again(field, value)).await.refused(409).says("external_reference");
    }
    // Whatever changed since: it is the stored one.
    set(&g.app, |s| s["max_charge_cents"] = json!(1)).await;
    g.app.advance(TimeDelta::days(1)).await;
    assert_eq!(g.post(&asked(&g.tenant.id, "job-1")).await.data(201), made);
    g.withdraw(&made).await.expect(200);
    assert_eq!(g.post(&asked(&g.tenant.id, "job-1")).await.data(201)["status"], "withdrawn");
    set(&g.app, |s| s["max_charge_cents"] = json!(1_000_000)).await;
    // Another service has references of its own.
    let send = given::service(&g.app, "send").await;
    let plan = given::plan(&g.app, &send, "pro", 100).await;
    given::subscription(&g.app, &g.tenant, &plan, 1).await;
    let theirs =
        g.app.call("POST", CHARGES).token(&send.token).json(&asked(&g.tenant.id, "job-1")).send().await;
    assert_ne!(theirs.data(201)["id"], made["id"]);
    // Sixteen at once are one.
    let same = asked(&g.tenant.id, "job-2");
    let answers = join_all((0..16).map(|_| g.post(&same))).await;
    let ids: std::collections::BTreeSet<String> =
        answers.iter().map(|a| a.data(201)["id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused() {
    let g = start().await;
    for (field, value) in [
        ("quantity", json!("0")),
        ("quantity", json!("-1")),
        ("quantity", json!("999999999999999999")),
        ("unit_price_cents", json!("-0.01")),
        ("unit_price_cents", json!("1000000")),
        ("currency", json!("QQQ")),
        ("currency", json!("BHD")),
        ("tax_rate", json!("101")),
        ("tax_rate", json!("-1")),
        ("tax_rate", json!("13")),
        ("occurred_at", json!("2026-03-10T10:00:01Z")),
        ("occurred_at", json!("2025-03-09T08:59:59Z")),
        ("description", json!(" ")),
        ("description", json!("")),
        ("external_reference", json!("")),
        ("tenant_id", json!("a b")),
        ("colour", json!("red")),
    ] {
        let mut asked = asked(&g.tenant.id, "job-1");
        asked[field] = value.clone();
        let answer = g.post(&asked).await;
        let refusal = answer.refused(400);
        // A price can be too high because of the quantity, and the other way round.
        let named = refusal.fields().contains(&field) || field == "quantity";
        assert!(named, "{field} {value}: {}", refusal.message());
    }
    assert!(g.ask("GET", CHARGES).await.data(200).as_array().expect("a list").is_empty());
    g.ask("GET", &format!("{CHARGES}?status=lost")).await.refused(400).names("status");
    let nobody = format!("{CHARGES}/{}", Uuid::now_v7());
    g.ask("GET", &nobody).await.refused(404);
    g.ask("DELETE", &nobody).await.refused(404);
    // A rate of the country, which the line then has.
    g.charge("reduced", |c| c["tax_rate"] = json!("9")).await;
    let draft = g.billed().await.pop().expect("a draft");
    let invoice = finalize(&g.app, &g.admin, uuid(&draft["id"])).await;
    assert_eq!((&invoice["line_items"][0]["tax_rate"], &invoice["tax_cents"]), (&json!("9"), &json!(135)));
    // Who is deactivated is not charged.
    g.execute("UPDATE tenants SET is_active = false WHERE tenant_id = 'tnt_acme'").await;
    g.post(&asked(&g.tenant.id, "job-2")).await.refused(409).says("deactivated");
    assert_eq!(g.about("billing-status").await.data(200)["block"], "tenant_inactive");
}

#[tokio::test]
async fn a_tenant_is_charged_so_much_in_a_day() {
    let g = start().await;
    set(&g.app, |s| s["max_charge_cents"] = json!(4_000)).await;
    let of = |cents: i64| {
        move |c: &mut Value| {
            c["quantity"] = json!("1");
            c["unit_price_cents"] = json!(cents.to_string());
        }
    };
    let mut too_much = asked(&g.tenant.id, "much");
    of(4_001)(&mut too_much);
    g.post(&too_much).await.refused(400).names("unit_price_cents").says("4000");
    // Of sixteen at once as many get through as fit.
    let mut each_of = vec![];
    for i in 0..16 {
        let mut asked = asked(&g.tenant.id, &format!("race-{i}"));
        of(900)(&mut asked);
        each_of.push(asked);
    }
    let answers = join_all(each_of.iter().map(|asked| g.post(asked))).await;
    let made: Vec<Value> = answers.iter().filter(|a| a.status == 201).map(|a| a.data(201)).collect();
    assert_eq!(made.len(), 4);
    answers.iter().filter(|a| a.status != 201).for_each(|a| {
        a.refused(400).names("unit_price_cents");
    });
    g.charge("rest", of(400)).await;
    let mut more = asked(&g.tenant.id, "more");
    of(1)(&mut more);
    g.post(&more).await.refused(400);
    // What is taken back does not count, nor another currency, nor another service, nor another day of the partner's.
    g.withdraw(&made[0]).await.expect(200);
    g.charge("again", of(900)).await;
    g.charge("dollars", |c| {
        of(4_000)(c);
        c["currency"] = json!("USD");
    })
    .await;
    let send = given::service(&g.app, "send").await;
    let plan = given::plan(&g.app, &send, "pro", 100).await;
    given::subscription(&g.app, &g.tenant, &plan, 1).await;
    g.app
        .call("POST", CHARGES)
        .token(&send.token)
        .json(&asked(&g.tenant.id, "theirs"))
        .send()
        .await
        .data(201);
    g.app.advance_to(at("2026-03-10T22:59:59Z")).await;
    g.post(&more).await.refused(400);
    g.app.advance_to(at("2026-03-10T23:00:00Z")).await;
    g.charge("more", of(4_000)).await;
    set(&g.app, |s| s["max_charge_cents"] = json!(0)).await;
    let mut free = asked(&g.tenant.id, "free");
    of(0)(&mut free);
    g.post(&free).await.refused(400);
}

#[tokio::test]
async fn what_a_draft_drops_is_pending_again() {
    let g = start().await;
    let charge = g.charge("job-1", |_| ()).await;
    let kept = g.charge("job-2", |_| ()).await;
    let draft = g.billed().await.pop().expect("a draft");
    assert_eq!((g.status(&charge).await, g.status(&kept).await), ("invoiced".into(), "invoiced".into()));
    g.withdraw(&charge).await.refused(409).says("invoice");
    let without = |reference: &str| {
        let lines = draft["line_items"].as_array().expect("lines").iter();
        let kept = lines.filter(|l| l["explanation"]["external_reference"] != json!(reference));
        json!({"line_items": kept.map(|l| json!({"id": l["id"]})).collect::<Vec<_>>()})
    };
    let id = draft["id"].as_str().expect("an id");
    g.admin("PATCH", id, without("job-1")).await.expect(200);
    assert_eq!((g.status(&charge).await, g.status(&kept).await), ("pending".into(), "invoiced".into()));
    // The next run bills it on a draft of its own; thrown away, it is free once more.
    let second = g.billed().await.pop().expect("a draft");
    assert_eq!(second["line_items"].as_array().map(Vec::len), Some(1));
    assert_eq!(g.status(&charge).await, "invoiced");
    g.admin("DELETE", second["id"].as_str().expect("an id"), Value::Null).await.expect(200);
    assert_eq!(g.status(&charge).await, "pending");
    // Void like deleted.
    let third = g.billed().await.pop().expect("a draft");
    let void = format!("{}/void", third["id"].as_str().expect("an id"));
    g.admin("POST", &void, json!({"reason": "x"})).await.expect(200);
    assert_eq!(g.status(&charge).await, "pending");
    // Pending is pending: it can be taken back.
    let client = g.app.client(&g.service.token);
    client.service_charge_withdraw().charge_id(uuid(&charge["id"])).send().await.expect("withdrawn");
    let taken = g.shown(&charge).await;
    assert_eq!((&taken["status"], &taken["withdrawn_at"]), (&json!("withdrawn"), &json!(g.app.now())));
    assert_eq!(taken["updated_at"], taken["withdrawn_at"]);
    g.withdraw(&charge).await.expect(200);
    assert!(g.billed().await.iter().all(|d| d["id"] == *id), "no other");
    // Waived, it stays spent.
    g.admin("DELETE", &format!("{id}?waive=true"), Value::Null).await.expect(200);
    assert_eq!(g.status(&kept).await, "invoiced");
    g.withdraw(&kept).await.refused(409);
    assert!(g.billed().await.is_empty());
    let rows = g
        .app
        .db()
        .await
        .query("SELECT operation FROM audit_log WHERE object_type = 'service_charge' ORDER BY id", &[])
        .await;
    let audited: Vec<String> = rows.expect("rows").iter().map(|r| r.get(0)).collect();
    assert_eq!(audited, ["service_charge_create", "service_charge_create", "service_charge_withdraw"]);
    verified(&g.app).await;
}

#[tokio::test]
async fn an_issued_invoice_that_is_voided_bills_it_anew() {
    let g = start().await;
    let charge = g.charge("job-1", |_| ()).await;
    let draft = g.billed().await.pop().expect("a draft");
    let first = finalize(&g.app, &g.admin, uuid(&draft["id"])).await;
    let void = format!("{}/void", first["id"].as_str().expect("an id"));
    g.admin("POST", &void, json!({"reason": "Wrong", "rebill": true})).await.expect(200);
    let shown = g.shown(&charge).await;
    assert_eq!((&shown["status"], &shown["invoice_number"]), (&json!("pending"), &Value::Null));
    let draft = g.billed().await.pop().expect("a draft");
    let second = finalize(&g.app, &g.admin, uuid(&draft["id"])).await;
    assert_eq!(g.shown(&charge).await["invoice_number"], second["number"]);
    // Both invoices and the credit note between them are shown, the newest first.
    let path = format!("/api/v1/service-billing/tenants/{}/invoices", g.tenant.id);
    let page = g.ask("GET", &path).await.data(200);
    let kinds: Vec<_> = page
        .as_array()
        .expect("a page")
        .iter()
        .map(|i| (i["document_type"].clone(), i["status"].clone(), i["due_date"].is_null()))
        .collect();
    assert_eq!(
        kinds,
        [
            (json!("invoice"), json!("finalized"), false),
            (json!("credit_note"), json!("finalized"), true),
            (json!("invoice"), json!("void"), false),
            // The first period, which nobody paid.
            (json!("invoice"), json!("past_due"), false),
        ]
    );
    let (mut walked, mut cursor) = (vec![], String::new());
    loop {
        let page = g.ask("GET", &format!("{path}?page_size=1{cursor}")).await.expect(200);
        walked.push(page["data"][0]["id"].clone());
        let Some(next) = page["pagination"]["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(json!(walked), json!(each(&page, "id")));
    let other = g.ask("GET", &format!("{CHARGES}?page_size=1{cursor}")).await;
    other.refused(400).names("cursor");
    verified(&g.app).await;
}

#[tokio::test]
async fn the_proof_finds_a_charge_that_does_not_follow() {
    let g = start().await;
    g.charge("job-1", |_| ()).await;
    verified(&g.app).await;
    g.execute("UPDATE service_charges SET status = 'invoiced'").await;
    let found = difference(&g.app).await.expect("a difference");
    assert_eq!(found.check, "a charge of a service is what bills it");
    g.execute("UPDATE service_charges SET status = 'pending'").await;
    verified(&g.app).await;
}

#[tokio::test]
async fn what_comes_to_nothing_is_spent() {
    let g = start().await;
    let free = g.charge("free", |c| c["unit_price_cents"] = json!("0")).await;
    let small = g.charge("small", |c| c["unit_price_cents"] = json!("0.1")).await;
    assert_eq!((cents(&free["amount_cents"]), cents(&small["amount_cents"])), (0, 0));
    assert!(g.billed().await.is_empty());
    assert_eq!((g.status(&free).await, g.status(&small).await), ("invoiced".into(), "invoiced".into()));
}

#[tokio::test]
async fn a_charge_is_billed_or_withdrawn_and_never_both() {
    let g = start().await;
    let mut charges = vec![];
    for i in 0..12 {
        charges.push(g.charge(&format!("job-{i}"), |_| ()).await);
    }
    g.app.advance_to(at(FIRST)).await;
    let (_, withdrawn) = tokio::join!(g.billed(), join_all(charges.iter().map(|c| g.withdraw(c))));
    g.billed().await;
    let db = g.app.db().await;
    let sql = "SELECT count(*) FROM invoice_lines WHERE kind = 'charge' AND explanation->>'charge_id' = $1";
    for (charge, answer) in charges.iter().zip(withdrawn) {
        let id = charge["id"].as_str().expect("an id");
        let lines: i64 = db.query_one(sql, &[&id]).await.expect("a count").get(0);
        let expected = if answer.status == 200 { ("withdrawn", 0) } else { ("invoiced", 1) };
        assert!([200, 409].contains(&answer.status), "{}", answer.status);
        assert_eq!((g.status(charge).await.as_str(), lines), expected);
    }
}

#[tokio::test]
async fn a_service_sees_its_own_charges_of_tenants_it_reaches() {
    let g = start().await;
    let send = given::service(&g.app, "send").await;
    for i in 0..5 {
        g.charge(&format!("job-{i}"), |_| ()).await;
    }
    let all = walk(&g.app, &g.service.token, CHARGES, "status=withdrawn", "external_reference").await;
    assert_eq!(all, ["job-4", "job-3", "job-2", "job-1", "job-0"].map(|r| json!(r)));
    let first = g.ask("GET", CHARGES).await.data(200)[0].clone();
    g.withdraw(&first).await.expect(200);
    let count = async |query: &str| {
        g.ask("GET", &format!("{CHARGES}{query}")).await.data(200).as_array().map(Vec::len)
    };
    assert_eq!((count("?status=pending").await, count("?status=withdrawn").await), (Some(4), Some(1)));
    assert_eq!((count("?tenant_id=tnt_acme").await, count("?tenant_id=tnt_other").await), (Some(5), Some(0)));

    // For another service none of it is there.
    let theirs = async |method: &str, path: &str| g.app.call(method, path).token(&send.token).send().await;
    assert_eq!(theirs("GET", CHARGES).await.data(200), json!([]));
    theirs("GET", &one(&first)).await.refused(404);
    theirs("DELETE", &one(&first)).await.refused(404);
    for what in ["billing-status", "subscription", "invoices"] {
        let path = |tenant: &str| format!("/api/v1/service-billing/tenants/{tenant}/{what}");
        let out_of_reach = theirs("GET", &path(&g.tenant.id)).await;
        let unknown = theirs("GET", &path("tnt_nobody")).await;
        assert_eq!(out_of_reach.refused(404).message(), unknown.refused(404).message());
        g.app.call("GET", &path(&g.tenant.id)).token(&g.tenant.admin).send().await.refused(403);
        g.app.call("GET", &path(&g.tenant.id)).token(&g.admin).send().await.refused(403);
    }
    let refused = g.app.call("POST", CHARGES).token(&send.token).json(&asked(&g.tenant.id, "x")).send().await;
    refused.refused(404);

    // Ended: reached for 90 days more.
    g.execute("UPDATE subscriptions SET status = 'cancelled', cancelled_at = '2026-03-10T09:00:00Z', next_event_at = NULL").await;
    g.app.advance_to(at("2026-06-08T08:59:59Z")).await;
    let status = g.about("billing-status").await.data(200);
    assert_eq!((&status["is_billable"], &status["block"]), (&json!(false), &json!("subscription_not_live")));
    assert_eq!(g.about("subscription").await.data(200)["subscription"]["status"], "cancelled");
    g.charge("late", |c| c["occurred_at"] = json!("2026-03-09T00:00:00Z")).await;
    assert_eq!(count("").await, Some(6));
    g.app.advance_to(at("2026-06-08T09:00:00Z")).await;
    assert_eq!(count("").await, Some(0));
    g.ask("GET", &one(&first)).await.refused(404);
    g.ask("DELETE", &one(&first)).await.refused(404);
    g.about("subscription").await.refused(404);
    g.post(&asked(&g.tenant.id, "job-0")).await.refused(404);
}

#[tokio::test]
async fn a_service_knows_whether_a_tenant_can_be_billed() {
    let g = start().await;
    let client = g.app.client(&g.service.token);
    let status = async || {
        let answer = client.service_tenant_billing_status_get().tenant_id(&g.tenant.id).send().await;
        answer.expect("a status").into_inner().data
    };
    let now = status().await;
    assert_eq!((now.is_billable, now.block, now.is_past_due, now.past_due_since), (true, None, false, None));
    assert_eq!((now.currency.as_str(), now.country_code.as_deref(), now.language), ("EUR", Some("NL"), None));
    g.execute("UPDATE billing_profiles SET preferred_language = 'nl'").await;
    assert_eq!(status().await.language, Some(types::Language::Nl));
    // Overdue.
    let draft = given::draft(&g.app, &g.admin, &g.tenant, "1000").await;
    let invoice = finalize(&g.app, &g.admin, draft).await;
    assert_eq!(invoice["due_date"], "2026-03-24");
    g.execute(&format!("UPDATE invoices SET status = 'past_due' WHERE invoice_id = '{draft}'")).await;
    let late = status().await;
    assert_eq!(
        (late.is_billable, late.is_past_due, late.past_due_since),
        (true, true, Some(at("2026-03-24T23:00:00Z")))
    );
    // What was fixed when it was issued holds, wherever the partner is by now, and whatever goes back later.
    g.execute("UPDATE partners SET timezone = 'Pacific/Kiritimati' WHERE partner_id = 'prt_north'").await;
    let reversed = "UPDATE invoices SET payment_reversed_at = $t WHERE invoice_id = $i";
    let reversed = async |time: &str| {
        let sql = reversed.replace("$t", &format!("'{time}'")).replace("$i", &format!("'{draft}'"));
        g.execute(&sql).await;
    };
    reversed("2026-04-10T12:00:00Z").await;
    assert_eq!(status().await.past_due_since, Some(at("2026-03-24T23:00:00Z")));
    reversed("2026-03-20T12:00:00Z").await;
    assert_eq!(status().await.past_due_since, Some(at("2026-03-20T12:00:00Z")));
    // One that had been paid was in time.
    g.execute(&format!("UPDATE invoices SET status = 'paid' WHERE invoice_id = '{draft}'")).await;
    reversed("2026-04-10T12:00:00Z").await;
    assert_eq!(status().await.past_due_since, Some(at("2026-04-10T12:00:00Z")));
    // Without a profile charges wait.
    g.execute("DELETE FROM billing_profiles WHERE tenant_id = 'tnt_acme'").await;
    let without = status().await;
    assert_eq!((without.is_billable, without.block), (false, Some(types::BillingBlock::NoBillingProfile)));
    assert_eq!(without.country_code, None);
    g.charge("waits", |c| c["tax_rate"] = json!("13")).await;
}

#[tokio::test]
async fn a_service_sees_its_subscription_with_plan_and_quotas() {
    let g = start().await;
    let send = given::service(&g.app, "send").await;
    let plan = given::plan_with(
        &g.app,
        &send,
        "pro",
        json!({"base_price_cents": 700, "quotas": {"api_calls": 100}}),
    )
    .await;
    let id = given::subscription(&g.app, &g.tenant, &plan, 2).await;
    let event = json!({"idempotency_key": "1", "tenant_id": g.tenant.id, "metric_slug": "api_calls", "quantity": "40"});
    let events = json!({"events": [event]});
    g.app.call("POST", "/api/v1/metering/events").token(&send.token).json(&events).send().await.expect(202);
    let client = g.app.client(&send.token);
    let read = async || {
        let answer = client.service_tenant_subscription_get().tenant_id(&g.tenant.id).send().await;
        answer.expect("a subscription").into_inner().data
    };
    let now = read().await;
    assert_eq!(
        (now.subscription.id, now.subscription.quantity, now.plan.plan_key.as_str()),
        (id, 2, "send.pro")
    );
    assert_eq!((now.plan.base_price_cents, now.plan.cost_multiplier), (700, None));
    let quotas: Vec<_> =
        now.quotas.iter().map(|q| (q.metric_slug.clone(), json!(q.used), json!(q.limit))).collect();
    assert_eq!(
        quotas,
        [("api_calls".into(), json!("40"), json!("100")), ("storage_gb".into(), json!("0"), Value::Null)]
    );
    // Nobody has looked at it for two months: what happened meanwhile shows.
    g.app.advance_to(at("2026-05-20T00:00:00Z")).await;
    let later = read().await;
    assert_eq!(later.subscription.current_period_start, Some(at("2026-05-09T22:00:00Z")));
    assert_eq!(json!(later.quotas[0].used), json!("0"));
    assert_eq!(later.quotas[0].period_start, at("2026-05-09T22:00:00Z"));
}
