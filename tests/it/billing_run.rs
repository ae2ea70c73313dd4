//! The billing run: everything that is due is billed, once, and the same whether it is only tried or done.
use crate::support::{
    agrees, cents, each, finalize, flat, get, made, run, run_with, service, used, uuid, verified,
};
use chrono::{DateTime, TimeDelta, Utc};
use scaicontrol_tests::given::{self, Plan, Service, Tenant};
use scaicontrol_tests::{TestApp, body};
use scaicontrol_types as types;
use serde_json::{Value, json};

const RUN: &str = "/api/v1/admin/billing/run";

struct Given {
    app: TestApp,
    admin: String,
    tenant: Tenant,
    service: Service,
}

async fn start() -> Given {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let service = service(&app, "vault").await;
    let admin = app.operator("billing_admin");
    Given { app, admin, tenant, service }
}

impl Given {
    /// A plan of the service with usage prices, and the tenant's subscription to it.
    async fn subscribed(&self, fields: Value, tiers: Value) -> Plan {
        let plan = given::plan_with(&self.app, &self.service, "pro", fields).await;
        given::tiers(&self.app, &plan, &tiers).await;
        given::subscription(&self.app, &self.tenant, &plan, 1).await;
        plan
    }
    async fn run(&self) -> Value {
        run(&self.app, &self.admin, &self.tenant.id).await
    }
    async fn ahead(&self, until: &str) -> Value {
        run_with(
            &self.app,
            &self.admin,
            json!({"tenant_id": self.tenant.id, "until": until, "dry_run": true}),
        )
        .await
    }
    async fn used(&self, usage: &[(&str, &str)]) {
        used(&self.app, &self.service, &self.tenant, usage).await;
    }
    async fn at(&self, time: &str) {
        self.app.advance_to(instant(time)).await;
    }
    async fn delete(&self, invoice: &Value, query: &str) {
        let path = format!("/api/v1/admin/invoices/{}{query}", uuid(&invoice["id"]));
        self.app.call("DELETE", &path).token(&self.admin).send().await.expect(200);
    }
    /// What the partner says of itself is not enough to issue an invoice from now on, or is again.
    async fn can_sell(&self, can: bool) {
        let name = can.then_some("Noord Software B.V.");
        let change = "UPDATE partners SET legal_name = $1 WHERE partner_id = 'prt_north'";
        self.app.db().await.execute(change, &[&name]).await.expect("changed");
    }
    async fn items(&self) -> Vec<(String, String, bool)> {
        let db = self.app.db().await;
        let rows =
            db.query("SELECT kind, status, waived FROM billed_items ORDER BY period_start, kind", &[]).await;
        rows.expect("items").iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect()
    }
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn dates(run: &Value) -> Vec<&str> {
    each(&run["invoices"], "invoice_date").into_iter().map(|d| d.as_str().unwrap_or_default()).collect()
}

fn subtotals(run: &Value) -> Vec<i64> {
    each(&run["invoices"], "subtotal_cents").into_iter().map(cents).collect()
}

/// A run without what only a real one has.
fn without_ids(mut run: Value) -> Value {
    run["dry_run"] = Value::Null;
    for invoice in run["invoices"].as_array_mut().expect("invoices") {
        for own in ["invoice_id", "status", "number"] {
            invoice[own] = Value::Null;
        }
        for line in invoice["lines"].as_array_mut().expect("lines") {
            // a segment that is opened ahead gets its id anew; how it is taxed is said when it is issued
            if let Some(explanation) = line["explanation"].as_object_mut() {
                explanation.remove("segment_id");
                explanation.remove("tax");
            }
        }
    }
    run
}

/// The invoices of a run that an earlier one did not make.
fn new_in<'a>(run: &'a Value, earlier: &[&Value]) -> Vec<&'a Value> {
    let known: Vec<&Value> = earlier.iter().flat_map(|run| each(&run["invoices"], "invoice_id")).collect();
    let all = run["invoices"].as_array().expect("invoices");
    all.iter().filter(|invoice| !known.contains(&&invoice["invoice_id"])).collect()
}

#[tokio::test]
async fn a_run_bills_what_is_due_and_a_second_one_nothing() {
    let g = start().await;
    g.subscribed(json!({"base_price_cents": 4900}), json!([flat("calls", "10")])).await;
    g.used(&[("calls", "7"), ("calls", "5")]).await;
    let tried = g.ahead("2026-03-10T09:00:00Z").await;
    assert_eq!(g.items().await[0], ("base".into(), "due".into(), false), "a dry run writes nothing");
    let done = g.run().await;
    assert_eq!(without_ids(tried), without_ids(done.clone()));
    assert_eq!((subtotals(&done), dates(&done)), (vec![4900], vec!["2026-03-10"]));
    assert_eq!(subtotals(&g.run().await), [0; 0]);

    // The month is over at local midnight; billing waits an hour more.
    let tried = g.ahead("2026-04-09T23:00:00Z").await;
    g.at("2026-04-09T22:59:59Z").await;
    assert_eq!(subtotals(&g.run().await), [0; 0]);
    g.at("2026-04-09T23:00:00Z").await;
    let done = g.run().await;
    assert_eq!(without_ids(tried), without_ids(done.clone()));
    assert_eq!((subtotals(&done), dates(&done)), (vec![4900 + 120], vec!["2026-04-10"]));
    assert_eq!(done["items_billed"], 2);
    assert_eq!(each(&done["invoices"][0]["lines"], "kind"), [&json!("base"), &json!("usage")]);
    assert_eq!(subtotals(&g.run().await), [0; 0]);
    let all = made(&g.app, &g.admin, &done).await;
    assert_eq!(all.len(), 1);
    for invoice in all {
        agrees(&invoice);
        assert_eq!((&invoice["status"], &invoice["number"]), (&json!("sent"), &json!("SCAI-2026-000002")));
        assert_eq!(invoice["due_date"], "2026-04-24", "14 days to pay");
    }
    let mails = g
        .app
        .db()
        .await
        .query("SELECT to_address, kind, held FROM mails WHERE kind = 'invoice' ORDER BY created_at", &[])
        .await;
    let mails: Vec<(String, String, bool)> =
        mails.expect("mails").iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect();
    let mail = ("finance@example.com".to_owned(), "invoice".to_owned(), true);
    assert_eq!(mails, [mail.clone(), mail], "each waits for its PDF");
    verified(&g.app).await;
}

#[tokio::test]
async fn what_cannot_be_issued_stays_a_draft_until_it_can() {
    let g = start().await;
    g.subscribed(json!({"base_price_cents": 4900}), json!([])).await;
    let by_hand = given::draft(&g.app, &g.admin, &g.tenant, "700").await;
    let db = g.app.db().await;
    let told = async || -> Vec<(String, String)> {
        let rows =
            db.query("SELECT tenant_id, message FROM notifications ORDER BY notification_id", &[]).await;
        rows.expect("notifications").iter().map(|r| (r.get(0), r.get(1))).collect()
    };
    // The partner's people are told of what only they can mend.
    let home = "UPDATE partners SET home_tenant_id = 'tnt_acme' WHERE partner_id = 'prt_north'";
    db.execute(home, &[]).await.expect("a home");
    g.can_sell(false).await;
    let first = g.run().await;
    let refused = &first["invoices"][0];
    assert_eq!((&refused["status"], &refused["number"]), (&json!("draft"), &Value::Null));
    assert_eq!(refused["problem"], "partner.legal_name: is required to issue an invoice");
    assert_eq!(g.ahead("2026-03-10T09:00:00Z").await["invoices"], json!([]), "a draft that waits is no news");
    let again = g.run().await;
    assert_eq!((&again["items_billed"], &again["invoices"]), (&json!(0), &first["invoices"]));
    let expected = [("tnt_acme".to_owned(), "invoice_not_issued".to_owned())];
    assert_eq!(told().await, expected, "once");
    // Another problem, which only the tenant can mend.
    g.can_sell(true).await;
    db.execute("UPDATE billing_profiles SET city = ' '", &[]).await.expect("changed");
    let third = g.run().await;
    assert_eq!(third["invoices"][0]["problem"], "billing_profile.city: is required to issue an invoice");
    assert_eq!(told().await.last().map(|(_, message)| message.as_str()), Some("invoice_profile_incomplete"));
    db.execute("UPDATE billing_profiles SET city = 'Rotterdam'", &[]).await.expect("changed");
    let last = g.run().await;
    assert_eq!(
        (&last["invoices"][0]["status"], &last["invoices"][0]["problem"]),
        (&json!("sent"), &Value::Null)
    );
    assert_eq!(last["invoices"][0]["invoice_id"], refused["invoice_id"]);
    assert_eq!(g.run().await["invoices"], json!([]));
    assert_eq!(get(&g.app, &g.admin, by_hand).await["status"], "draft", "what was written by hand stays");
    let left = db.query_one("SELECT count(*) FROM run_drafts", &[]).await.expect("a count");
    assert_eq!(left.get::<_, i64>(0), 0);
    verified(&g.app).await;
}

#[tokio::test]
async fn a_run_at_once_from_many_sides_bills_once() {
    let g = start().await;
    g.subscribed(json!({"base_price_cents": 4900}), json!([flat("calls", "10")])).await;
    g.used(&[("calls", "7")]).await;
    g.at("2026-06-20T12:00:00Z").await;
    let runs = (0..8).map(|_| g.run());
    let all = futures::future::join_all(runs).await;
    let mut billed: Vec<i64> = all.iter().flat_map(subtotals).collect();
    billed.sort_unstable();
    assert_eq!(billed, [4900, 4900, 4900, 4970]);
    verified(&g.app).await;
}

#[tokio::test]
async fn what_a_run_refuses() {
    let g = start().await;
    let post = async |asked: Value| g.app.call("POST", RUN).token(&g.admin).json(&asked).send().await;
    post(json!({"dry_run": false, "until": "2026-03-10T09:00:01Z"})).await.refused(400).names("until");
    post(json!({"dry_run": true, "until": "8585-11-12T03:28:00Z"})).await.refused(400).names("until");
    post(json!({"dry_run": true, "until": "+262142-12-31T23:59:59Z"})).await.refused(400).names("until");
    post(json!({"dry_run": true, "until": "2031-03-10T09:00:00Z"})).await.expect(200);
    post(json!({"dry_run": false, "until": "tomorrow"})).await.refused(400).names("until");
    post(json!({"dry_run": false, "tenant_id": "tnt_nobody"})).await.refused(404);
    post(json!({"dry_run": true, "tenant_id": "tnt_nobody"})).await.refused(404);
    post(json!({})).await.refused(400).names("dry_run");
    let asked = json!({"dry_run": false});
    g.app.call("POST", RUN).token(&g.tenant.admin).json(&asked).send().await.refused(403);
    let support = g.app.operator("support");
    g.app.call("POST", RUN).token(&support).json(&asked).send().await.refused(403);
}

#[tokio::test]
async fn a_partner_bills_its_own_tenants() {
    let g = start().await;
    let south = given::tenant(&g.app, "tnt_south", "prt_south").await;
    let plan = g.subscribed(json!({"base_price_cents": 4900}), json!([])).await;
    given::subscription(&g.app, &south, &plan, 2).await;
    let partner = g.app.token("partner_admin", "tnt_home", "prt_south");
    let asked = json!({"dry_run": false, "tenant_id": g.tenant.id});
    g.app.call("POST", RUN).token(&partner).json(&asked).send().await.refused(404);
    let asked: types::BillingRunRequest = body(json!({"dry_run": false}));
    let done = g
        .app
        .client(&partner)
        .admin_billing_run()
        .body(asked)
        .send()
        .await
        .expect("billed")
        .into_inner()
        .data;
    assert_eq!(
        done.invoices.iter().map(|i| (i.tenant_id.as_str(), i.subtotal_cents)).collect::<Vec<_>>(),
        [("tnt_south", 9800)]
    );
    let rest = run_with(&g.app, &g.admin, json!({"dry_run": false})).await;
    assert_eq!(each(&rest["invoices"], "tenant_id"), [&json!("tnt_acme")]);
    verified(&g.app).await;
}

#[tokio::test]
async fn what_a_deleted_draft_billed_is_billed_again() {
    let g = start().await;
    g.can_sell(false).await;
    g.subscribed(json!({"base_price_cents": 4900}), json!([flat("calls", "10")])).await;
    g.used(&[("calls", "7")]).await;
    g.at("2026-04-10T09:00:00Z").await;
    let first = g.run().await;
    assert_eq!(subtotals(&first), [4900, 4970]);
    let drafts = made(&g.app, &g.admin, &first).await;
    g.delete(&drafts[1], "").await;
    let second = g.run().await;
    assert_eq!(subtotals(&second), [4900, 4970], "the draft that waits is tried again");
    assert_eq!(without_ids(second.clone())["invoices"][1], without_ids(first)["invoices"][1]);
    let again = made(&g.app, &g.admin, &second).await;
    g.delete(&again[1], "?waive=true").await;
    assert_eq!(subtotals(&g.run().await), [4900], "waived for good");
    let spent = g.items().await.into_iter().filter(|i| *i == ("base".into(), "spent".into(), true)).count();
    assert_eq!(spent, 1);
    g.delete(&drafts[0], "?waive=false").await;
    assert_eq!(subtotals(&g.run().await), [4900]);
    verified(&g.app).await;
}

#[tokio::test]
async fn a_line_that_is_dropped_is_billed_again() {
    let g = start().await;
    g.can_sell(false).await;
    g.subscribed(json!({"base_price_cents": 4900}), json!([flat("calls", "10")])).await;
    g.used(&[("calls", "7")]).await;
    g.at("2026-04-10T09:00:00Z").await;
    let run = g.run().await;
    let first = made(&g.app, &g.admin, &run).await;
    let month = &first[1];
    let (base, usage) = (&month["line_items"][0], &month["line_items"][1]);
    assert_eq!((&base["kind"], &usage["kind"]), (&json!("base"), &json!("usage")));
    let path = format!("/api/v1/admin/invoices/{}", uuid(&month["id"]));
    let patch = async |asked: Value| g.app.call("PATCH", &path).token(&g.admin).json(&asked).send().await;
    // What was computed stays; only its words and its place change.
    for wrong in [
        json!({"quantity": "2"}),
        json!({"unit_price_cents": "1"}),
        json!({"tax_rate": "9"}),
        json!({"period_start": "2026-01-01"}),
    ] {
        let mut line = wrong.clone();
        line["id"] = base["id"].clone();
        patch(json!({"line_items": [line, {"id": usage["id"]}]})).await.refused(400).names("line_items.0.id");
    }
    let same = json!({"id": base["id"], "description": "Vault, April", "quantity": base["quantity"]});
    let changed = patch(json!({"line_items": [{"id": usage["id"]}, same]})).await.data(200);
    assert_eq!(each(&changed["line_items"], "kind"), [&json!("usage"), &json!("base")]);
    assert_eq!(changed["line_items"][1]["description"], "Vault, April");
    assert_eq!(new_in(&g.run().await, &[&run]).len(), 0);

    let dropped = patch(json!({"line_items": [{"id": base["id"]}]})).await.data(200);
    assert_eq!(dropped["subtotal_cents"], 4900);
    let second = g.run().await;
    let new = new_in(&second, &[&run]);
    assert_eq!(new.iter().map(|i| cents(&i["subtotal_cents"])).collect::<Vec<_>>(), [70]);
    // A draft cannot be emptied by dropping its last line, but the line can be written by hand instead.
    let path = format!("/api/v1/admin/invoices/{}", uuid(&new[0]["invoice_id"]));
    let asked = json!({"waive": true, "line_items": [{"description": "Usage as agreed", "quantity": "1", "unit_price_cents": "50"}]});
    let by_hand = g.app.call("PATCH", &path).token(&g.admin).json(&asked).send().await.data(200);
    assert_eq!(
        (&by_hand["subtotal_cents"], &by_hand["line_items"][0]["kind"]),
        (&json!(50), &json!("manual"))
    );
    g.can_sell(true).await;
    assert_eq!(new_in(&g.run().await, &[&run, &second]).len(), 0, "waived for good");
    finalize(&g.app, &g.admin, uuid(&by_hand["id"])).await;
    verified(&g.app).await;
}

#[tokio::test]
async fn lines_of_one_thing_are_dropped_together_or_waived() {
    let g = start().await;
    g.can_sell(false).await;
    let tier = |start: &str, end: Option<&str>, price: &str| json!({"metric_slug": "calls", "tier_start": start, "tier_end": end, "unit_price_cents": price});
    let tiers = json!([tier("0", Some("10"), "10"), tier("10", None, "5")]);
    g.subscribed(json!({"base_price_cents": 4900}), tiers).await;
    g.used(&[("calls", "14")]).await;
    g.at("2026-04-10T09:00:00Z").await;
    let run = g.run().await;
    let month = made(&g.app, &g.admin, &run).await.remove(1);
    assert_eq!(each(&month["line_items"], "amount_cents"), [&json!(4900), &json!(100), &json!(20)]);
    let ids = each(&month["line_items"], "id");
    let path = format!("/api/v1/admin/invoices/{}", uuid(&month["id"]));
    let patch = async |asked: Value| g.app.call("PATCH", &path).token(&g.admin).json(&asked).send().await;
    let without_one = json!([{"id": ids[0]}, {"id": ids[1]}]);
    patch(json!({"line_items": without_one})).await.refused(400).names("line_items");
    assert_eq!(
        patch(json!({"line_items": without_one, "waive": true})).await.data(200)["subtotal_cents"],
        5000
    );
    assert_eq!(new_in(&g.run().await, &[&run]).len(), 0);
    // What is reported late is billed beside what was waived.
    let event = json!({"idempotency_key": "late", "tenant_id": g.tenant.id, "metric_slug": "calls", "quantity": "2", "occurred_at": "2026-04-01T12:00:00Z"});
    let call = g.app.call("POST", "/api/v1/metering/events").token(&g.service.token);
    call.json(&json!({"events": [event]})).send().await.expect(202);
    g.at("2026-05-10T09:00:00Z").await;
    let last = g.run().await;
    let corrected = |invoice: &&Value| each(&invoice["lines"], "kind").contains(&&json!("correction"));
    let new = new_in(&last, &[&run]);
    let invoice = new.into_iter().find(corrected).expect("a correction");
    let line = invoice["lines"].as_array().expect("lines").iter().find(|l| l["kind"] == "correction");
    assert_eq!(line.expect("it")["amount_cents"], 10);
    g.can_sell(true).await;
    g.run().await;
    verified(&g.app).await;
}

#[tokio::test]
async fn the_days_of_a_period_stay_where_the_subscription_began() {
    let g = start().await;
    g.subscribed(json!({"base_price_cents": 4900}), json!([flat("calls", "10")])).await;
    g.run().await;
    g.used(&[("calls", "7")]).await;
    let moved = "UPDATE partners SET timezone = 'America/New_York'";
    g.app.db().await.execute(moved, &[]).await.expect("it moves");
    g.at("2026-04-10T09:00:00Z").await;
    let run = g.run().await;
    let lines = run["invoices"][0]["lines"].as_array().expect("lines").clone();
    let days = |kind: &str| {
        let line = lines.iter().find(|line| line["kind"] == kind).expect("a line");
        (line["period_start"].clone(), line["period_end"].clone())
    };
    assert_eq!(days("base"), (json!("2026-04-10"), json!("2026-05-09")));
    assert_eq!(days("usage"), (json!("2026-03-10"), json!("2026-04-09")));
    verified(&g.app).await;
}

#[tokio::test]
async fn a_run_for_all_tries_again_what_was_refused_and_goes_on_past_what_fails() {
    let g = start().await;
    g.can_sell(false).await;
    g.subscribed(json!({"base_price_cents": 4900}), json!([])).await;
    let other = given::tenant(&g.app, "tnt_other", "prt_south").await;
    let plan = given::plan(&g.app, &g.service, "basic", 900).await;
    given::subscription(&g.app, &other, &plan, 1).await;
    let all = async || run_with(&g.app, &g.admin, json!({"dry_run": false})).await;
    assert_eq!(subtotals(&all().await), [4900, 900]);
    let again = all().await;
    assert_eq!(subtotals(&again), [4900], "what was refused is named again");
    assert!(again["invoices"][0]["problem"].is_string(), "{again}");
    g.can_sell(true).await;
    assert_eq!(all().await["invoices"][0]["status"], "sent");
    // A fault of the server stops one tenant.
    g.at("2026-04-10T09:00:00Z").await;
    let broken = "UPDATE subscriptions SET timezone = 'Nowhere' WHERE tenant_id = 'tnt_acme'";
    g.app.db().await.execute(broken, &[]).await.expect("broken");
    let done = all().await;
    assert_eq!((&done["failed_tenants"], subtotals(&done)), (&json!(["tnt_acme"]), vec![900]));
    let mended = "UPDATE subscriptions SET timezone = 'Europe/Amsterdam' WHERE tenant_id = 'tnt_acme'";
    g.app.db().await.execute(mended, &[]).await.expect("mended");
    let done = all().await;
    assert_eq!((&done["failed_tenants"], subtotals(&done)), (&json!([]), vec![4900]));
    verified(&g.app).await;
}

#[tokio::test]
async fn an_amount_that_does_not_fit_parks_its_account() {
    let g = start().await;
    let home = "UPDATE partners SET home_tenant_id = 'tnt_acme' WHERE partner_id = 'prt_north'";
    g.app.db().await.execute(home, &[]).await.expect("a home");
    g.subscribed(json!({"base_price_cents": 0}), json!([flat("calls", "900719925474099")])).await;
    g.used(&[("calls", "1000000")]).await;
    g.at("2026-04-10T09:00:00Z").await;
    let run = g.run().await;
    assert_eq!(each(&run["parked"], "reason"), [&json!("amount_overflow")]);
    let told = "SELECT message FROM notifications WHERE message LIKE '%parked' ORDER BY 1";
    let rows = g.app.db().await.query(told, &[]).await.expect("notifications");
    assert_eq!(rows.iter().map(|r| r.get(0)).collect::<Vec<String>>(), ["billing_parked", "customer_parked"]);
}

#[tokio::test]
async fn a_trial_costs_nothing_until_it_ends() {
    let g = start().await;
    g.subscribed(json!({"base_price_cents": 4900, "trial_days": 14}), json!([flat("calls", "10")])).await;
    g.used(&[("calls", "100")]).await;
    g.at("2026-03-24T08:59:59Z").await;
    assert_eq!(subtotals(&g.run().await), [0; 0]);
    g.at("2026-03-24T09:00:00Z").await;
    let done = g.run().await;
    assert_eq!((subtotals(&done), dates(&done)), (vec![4900], vec!["2026-03-24"]));
    let line = &done["invoices"][0]["lines"][0];
    assert_eq!((&line["period_start"], &line["period_end"]), (&json!("2026-03-24"), &json!("2026-04-23")));
    g.used(&[("calls", "3")]).await;
    g.at("2026-04-24T09:00:00Z").await;
    assert_eq!(subtotals(&g.run().await), [4930], "usage of the trial is not in it");
    verified(&g.app).await;
}

#[tokio::test]
async fn a_yearly_plan_bills_its_usage_by_the_month() {
    let g = start().await;
    g.subscribed(
        json!({"base_price_cents": 120_000, "billing_period": "yearly"}),
        json!([flat("calls", "10")]),
    )
    .await;
    g.used(&[("calls", "1")]).await;
    g.at("2026-06-20T12:00:00Z").await;
    g.used(&[("calls", "2")]).await;
    g.at("2027-03-01T12:00:00Z").await;
    g.used(&[("calls", "3")]).await;
    g.at("2027-04-12T12:00:00Z").await;
    let done = g.run().await;
    assert_eq!(dates(&done), ["2026-03-10", "2026-04-10", "2026-07-10", "2027-03-10"]);
    assert_eq!(subtotals(&done), [120_000, 10, 20, 120_030]);
    assert_eq!(done["invoices"][3]["lines"][0]["period_end"], "2028-03-09");
    assert_eq!(subtotals(&g.run().await), [0; 0]);
    verified(&g.app).await;
}

#[tokio::test]
async fn a_one_time_plan_is_billed_once_and_its_usage_by_calendar_month() {
    let g = start().await;
    let minimum =
        json!({"metric_slug": "rows", "tier_start": "0", "unit_price_cents": "1", "minimum_cents": 1000});
    let plan = json!({"base_price_cents": 5000, "billing_period": "one_time"});
    g.subscribed(plan, json!([flat("calls", "10"), minimum])).await;
    g.used(&[("calls", "4"), ("rows", "100")]).await;
    g.at("2026-05-02T12:00:00Z").await;
    let done = g.run().await;
    assert_eq!(dates(&done), ["2026-03-10", "2026-04-01", "2026-05-01"]);
    // March is used for 517 of its 743 hours: of the minimum of 1000 there are 696 due, 100 of them used.
    assert_eq!(subtotals(&done), [5000, 40 + 100 + 596, 1000]);
    let march = &done["invoices"][1]["lines"];
    assert_eq!(each(march, "kind"), [&json!("usage"), &json!("usage"), &json!("minimum")]);
    let list = g.app.call("GET", "/api/v1/subscriptions").token(&g.tenant.admin).send().await.data(200);
    assert_eq!(list[0]["current_period_end"], Value::Null);
    verified(&g.app).await;
}

#[tokio::test]
async fn periods_keep_the_day_of_the_anchor_where_the_month_has_it() {
    let g = start().await;
    g.at("2027-10-31T10:00:00Z").await;
    g.subscribed(json!({"base_price_cents": 100}), json!([])).await;
    let plan = given::plan_with(
        &g.app,
        &service(&g.app, "archive").await,
        "year",
        json!({"base_price_cents": 1, "billing_period": "yearly"}),
    )
    .await;
    let ahead = g.ahead("2028-06-01T00:00:00Z").await;
    let days = [
        "2027-10-31",
        "2027-11-30",
        "2027-12-31",
        "2028-01-31",
        "2028-02-29",
        "2028-03-31",
        "2028-04-30",
        "2028-05-31",
    ];
    assert_eq!(dates(&ahead), days);
    for (invoice, next) in ahead["invoices"].as_array().expect("invoices").iter().zip(&days[1..]) {
        let last = next.parse::<chrono::NaiveDate>().expect("a day") - TimeDelta::days(1);
        assert_eq!(invoice["lines"][0]["period_end"], json!(last), "a period ends where the next begins");
    }
    g.at("2028-02-29T10:00:00Z").await;
    g.run().await;
    given::subscription(&g.app, &g.tenant, &plan, 1).await;
    // A dry run looks two years ahead.
    g.at("2030-04-01T00:00:00Z").await;
    let (done, ahead) = (g.run().await, g.ahead("2032-03-30T00:00:00Z").await);
    let invoices = [&done, &ahead].into_iter().flat_map(|run| run["invoices"].as_array().expect("invoices"));
    let yearly: Vec<&str> = invoices
        .filter(|i| i["lines"].as_array().is_some_and(|l| l.iter().any(|l| l["service_slug"] == "archive")))
        .filter_map(|i| i["invoice_date"].as_str())
        .collect();
    assert_eq!(yearly, ["2028-02-29", "2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]);
}

#[tokio::test]
async fn usage_is_priced_by_every_model() {
    let g = start().await;
    let tier = |metric: &str, model: &str, start: &str, end: Option<&str>, price: &str, more: Value| {
        let mut tier = json!({"metric_slug": metric, "pricing_model": model, "tier_start": start, "tier_end": end, "unit_price_cents": price});
        for (name, value) in more.as_object().into_iter().flatten() {
            tier[name] = value.clone();
        }
        tier
    };
    let tiers = json!([
        tier("calls", "graduated", "0", Some("100"), "10", json!({})),
        tier("calls", "graduated", "100", None, "5", json!({"flat_fee_cents": 200})),
        tier("rows", "package", "0", Some("1000"), "250", json!({"unit_divisor": "100"})),
        tier("rows", "package", "1000", None, "200", json!({"unit_divisor": "100"})),
        tier("seats", "volume", "0", Some("10"), "1000", json!({"flat_fee_cents": 500})),
        tier("seats", "volume", "10", None, "800", json!({"flat_fee_cents": 70})),
        tier("storage", "graduated", "0", None, "100", json!({"minimum_cents": 3000})),
        tier("users", "graduated", "0", None, "50", json!({})),
        tier("level", "graduated", "0", None, "0.5", json!({"unit_divisor": "10"})),
    ]);
    g.subscribed(json!({"base_price_cents": 4900}), tiers).await;
    g.used(&[
        ("calls", "250"),
        ("rows", "1000.5"),
        ("seats", "12"),
        ("storage", "7.5"),
        ("storage", "2"),
        ("level", "99"),
        ("level", "130"),
    ])
    .await;
    let events: Vec<Value> = ["anna", "ben", "anna", "cleo"].iter().enumerate()
        .map(|(i, who)| json!({"idempotency_key": format!("u{i}"), "tenant_id": g.tenant.id, "metric_slug": "users", "quantity": "1", "unique_key": who}))
        .collect();
    g.app
        .call("POST", "/api/v1/metering/events")
        .token(&g.service.token)
        .json(&json!({"events": events}))
        .send()
        .await
        .expect(202);
    g.run().await;
    g.at("2026-04-10T09:00:00Z").await;
    let cost =
        g.app.call("GET", "/api/v1/usage/by-service/vault").token(&g.tenant.admin).send().await.data(200);
    assert_eq!(cost["service_slug"], "vault");
    let done = g.run().await;
    let lines = done["invoices"][0]["lines"].as_array().expect("lines");
    let of = |metric: &str| -> Vec<(String, i64)> {
        let of = lines.iter().filter(|l| l["metric_slug"] == metric);
        of.map(|l| (l["quantity"].as_str().unwrap_or_default().to_owned(), cents(&l["amount_cents"])))
            .collect()
    };
    let line = |quantity: &str, amount: i64| (quantity.to_owned(), amount);
    assert_eq!(
        of("calls"),
        [line("100", 1000), line("150", 750), line("1", 200)],
        "graduated, with the fee of the tier reached"
    );
    assert_eq!(of("rows"), [line("11", 2200)], "eleven packages begun, at the tier of the whole");
    assert_eq!(
        of("seats"),
        [line("12", 9600), line("1", 70)],
        "all at the tier of the whole, with its fee only"
    );
    assert_eq!(of("storage"), [line("7.5", 750), line("1", 2250)], "the largest, and what the minimum lacks");
    assert_eq!(of("users"), [line("3", 150)], "each once");
    assert_eq!(of("level"), [line("130", 7)], "the last; 6.5 away from zero");
    assert_eq!(subtotals(&done), [4900 + 1950 + 2200 + 9670 + 3000 + 150 + 7]);
    let id = uuid(&done["invoices"][0]["invoice_id"]);
    assert_eq!(finalize(&g.app, &g.admin, id).await["status"], "sent");
    verified(&g.app).await;
}

#[tokio::test]
async fn what_falls_due_on_one_day_is_one_invoice_for_each_currency() {
    let g = start().await;
    g.subscribed(json!({"base_price_cents": 4900}), json!([])).await;
    let other = service(&g.app, "archive").await;
    let plan = given::plan(&g.app, &other, "basic", 1000).await;
    given::subscription(&g.app, &g.tenant, &plan, 1).await;
    let third = service(&g.app, "courier").await;
    let plan =
        given::plan_with(&g.app, &third, "us", json!({"base_price_cents": 700, "currency": "USD"})).await;
    given::subscription(&g.app, &g.tenant, &plan, 1).await;
    let first = g.run().await;
    let mut alone = subtotals(&first);
    alone.sort_unstable();
    assert_eq!(alone, [700, 1000, 4900], "each activation by itself");
    g.at("2026-04-10T09:00:00Z").await;
    let month = g.run().await;
    // The dollars wait for a rate of exchange, and are tried again.
    let mut by_currency: Vec<(&str, i64)> = new_in(&month, &[&first])
        .into_iter()
        .map(|i| (i["currency"].as_str().unwrap_or_default(), cents(&i["subtotal_cents"])))
        .collect();
    by_currency.sort_unstable();
    assert_eq!(by_currency, [("EUR", 5900), ("USD", 700)]);
    verified(&g.app).await;
}

#[tokio::test]
async fn what_costs_nothing_makes_no_invoice_and_is_spent() {
    let g = start().await;
    g.subscribed(json!({"base_price_cents": 0}), json!([flat("calls", "10")])).await;
    g.at("2026-04-10T09:00:00Z").await;
    assert_eq!(subtotals(&g.run().await), [0; 0]);
    let open = g.items().await.into_iter().filter(|(_, status, _)| status == "due").count();
    assert_eq!(open, 1, "the segment that is still open");
    g.used(&[("calls", "1")]).await;
    g.at("2026-05-10T09:00:00Z").await;
    assert_eq!(subtotals(&g.run().await), [10]);
    verified(&g.app).await;
}
