//! Usage that arrives after its month was billed: the difference comes as a correction, once, whatever races.
use crate::support::{agrees, cents, each, flat, get, made, run, run_with, service, uuid, verified};
use chrono::{DateTime, Utc};
use futures::future::join_all;
use scaicontrol_tests::TestApp;
use scaicontrol_tests::given::{self, Service, Tenant};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use uuid::Uuid;

fn at(time: &str) -> DateTime<Utc> {
    time.parse().expect("a time")
}

struct Given {
    app: TestApp,
    admin: String,
    tenant: Tenant,
    service: Service,
    subscription: Uuid,
}

/// A subscription that is in its second month, the first one billed: 100 calls at 10, then 5 cents each.
async fn start() -> Given {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let service = service(&app, "vault").await;
    let plan = given::plan_with(&app, &service, "pro", json!({"base_price_cents": 4900})).await;
    let tier = |start: &str, end: Option<&str>, price: &str| json!({"metric_slug": "calls", "tier_start": start, "tier_end": end, "unit_price_cents": price});
    let tiers = json!([
        tier("0", Some("100"), "10"),
        tier("100", None, "5"),
        flat("level", "1"),
        flat("storage", "1")
    ]);
    given::tiers(&app, &plan, &tiers).await;
    let subscription = given::subscription(&app, &tenant, &plan, 1).await;
    let admin = app.operator("billing_admin");
    let g = Given { app, admin, tenant, service, subscription };
    g.used("2026-03-10T09:00:00Z", "calls", "90").await;
    g.app.advance_to(at("2026-04-10T09:00:00Z")).await;
    let done = g.run().await;
    assert_eq!(each(&done["invoices"], "subtotal_cents"), [&json!(4900), &json!(4900 + 900)]);
    g
}

/// The same when it is over, and seven calls are reported after that.
async fn late_after_the_end() -> Given {
    let g = start().await;
    let end = "UPDATE subscriptions SET ends_at = usage_until, next_event_at = usage_until WHERE subscription_id = $1";
    g.app.db().await.execute(end, &[&g.subscription]).await.expect("a term");
    g.app.advance_to(at("2026-05-20T09:00:00Z")).await;
    g.run().await;
    g.used("2026-05-01T12:00:00Z", "calls", "7").await;
    g
}

impl Given {
    async fn used(&self, when: &str, metric: &str, quantity: &str) {
        let event = json!({"idempotency_key": Uuid::now_v7(), "tenant_id": self.tenant.id, "metric_slug": metric, "quantity": quantity, "occurred_at": when});
        let answer = self.app.call("POST", "/api/v1/metering/events").token(&self.service.token);
        let answer = answer.json(&json!({"events": [event]})).send().await.data(202);
        assert_eq!(answer["accepted"], 1, "{answer}");
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
    /// What is billed by corrections: status, revision, and what is due when.
    async fn corrections(&self) -> Vec<(String, i32, String)> {
        let query = "SELECT status, revision, due_at FROM billed_items WHERE kind = 'correction' ORDER BY period_start, revision";
        let rows = self.app.db().await.query(query, &[]).await.expect("items");
        let due = |at: DateTime<Utc>| at.format("%m-%dT%H:%M").to_string();
        rows.iter().map(|r| (r.get(0), r.get(1), due(r.get(2)))).collect()
    }
    /// What the credit lines take back of earlier lines.
    async fn taken_back(&self) -> Vec<i64> {
        let query = "SELECT net_cents FROM credit_note_lines ORDER BY 1";
        let rows = self.app.db().await.query(query, &[]).await.expect("lines");
        rows.iter().map(|r| r.get(0)).collect()
    }
    async fn count(&self, of: &str) -> i64 {
        let row = self.app.db().await.query_one(&format!("SELECT count(*) FROM {of}"), &[]).await;
        row.expect("a count").get(0)
    }
}

/// Kind, quantity and amount of the lines of a metric.
fn of_metric(invoice: &Value, metric: &str) -> Vec<(String, String, i64)> {
    let lines = invoice["lines"].as_array().expect("lines").iter().filter(|l| l["metric_slug"] == metric);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines.map(|l| (text(&l["kind"]), text(&l["quantity"]), cents(&l["amount_cents"]))).collect()
}

#[tokio::test]
async fn late_usage_comes_with_the_next_invoice_by_the_tiers_of_its_month() {
    let g = start().await;
    g.used("2026-03-20T12:00:00Z", "calls", "15").await;
    g.used("2026-04-02T12:00:00Z", "calls", "5").await;
    g.used("2026-04-10T09:00:00Z", "calls", "1").await;
    assert_eq!(g.count("late_usage").await, 1, "a mark for each segment");
    assert_eq!(g.run().await["invoices"], json!([]), "it floats");
    assert_eq!(g.corrections().await, [("due".to_owned(), 1, "04-30T23:00".to_owned())]);
    assert_eq!(g.count("late_usage").await, 0);
    // More of it joins what is due.
    g.used("2026-03-21T12:00:00Z", "calls", "1").await;
    g.run().await;
    assert_eq!(g.corrections().await.len(), 1);
    // With nothing else due it is billed on the first, by itself.
    let tried = g.ahead("2026-04-30T23:00:00Z").await;
    g.app.advance_to(at("2026-04-30T22:59:59Z")).await;
    assert_eq!(g.run().await["invoices"], json!([]));
    g.app.advance_to(at("2026-04-30T23:00:00Z")).await;
    let done = g.run().await;
    assert_eq!(each(&done["invoices"], "invoice_date"), [&json!("2026-05-01")]);
    let invoice = &done["invoices"][0];
    // 111 calls: 1,000 + 55, of which 900 were billed.
    assert_eq!(of_metric(invoice, "calls"), [("correction".to_owned(), "1".to_owned(), 155)]);
    assert_eq!(tried["invoices"][0]["total_cents"], invoice["total_cents"]);
    let line = &made(&g.app, &g.admin, &done).await[0]["line_items"][0];
    assert_eq!((&line["period_start"], &line["period_end"]), (&json!("2026-03-10"), &json!("2026-04-09")));
    assert_eq!(line["explanation"]["computation"]["billed_cents"], 900, "{line}");
    // And once more, beside what the second month costs: it goes along with that.
    g.used("2026-04-01T12:00:00Z", "calls", "9").await;
    g.app.advance_to(at("2026-05-10T09:00:00Z")).await;
    let done = g.run().await;
    assert_eq!(done["invoices"].as_array().map(Vec::len), Some(1));
    let lines = of_metric(&done["invoices"][0], "calls");
    assert_eq!(lines, [("correction".into(), "1".into(), 45), ("usage".into(), "1".into(), 10)]);
    assert_eq!(g.corrections().await.iter().map(|c| c.1).collect::<Vec<_>>(), [1, 2]);
    verified(&g.app).await;
}

#[tokio::test]
async fn usage_that_is_taken_back_is_credited() {
    let g = start().await;
    g.app.advance_to(at("2026-05-02T09:00:00Z")).await;
    g.used("2026-04-05T12:00:00Z", "calls", "-30").await;
    g.app.advance_to(at("2026-05-10T09:00:00Z")).await;
    let done = g.run().await;
    let invoice = &done["invoices"].as_array().expect("invoices").last().expect("one").clone();
    let line = invoice["lines"].as_array().expect("lines").iter().find(|l| l["kind"] == "correction");
    let line = line.expect("a correction");
    assert_eq!((&line["quantity"], &line["unit_price_cents"]), (&json!("-1"), &json!("300")));
    assert_eq!(cents(&line["amount_cents"]), -300);
    assert!(line["explanation"]["credited_item_id"].is_string(), "{line}");
    verified(&g.app).await;
}

#[tokio::test]
async fn what_was_billed_in_several_lines_is_taken_back_of_all_of_them() {
    let g = start().await;
    g.app.advance_to(at("2026-04-21T09:00:00Z")).await;
    g.used("2026-04-20T12:00:00Z", "calls", "300").await;
    g.used("2026-04-20T12:00:00Z", "level", "2500").await;
    g.app.advance_to(at("2026-05-10T09:00:00Z")).await;
    let done = g.run().await;
    let line = |kind: &str, quantity: &str, amount| (kind.to_owned(), quantity.to_owned(), amount);
    let tiers = [line("usage", "100", 1_000), line("usage", "200", 1_000)];
    assert_eq!(of_metric(&done["invoices"][0], "calls"), tiers);
    // Ten of the three hundred stay: 1,900 less, which neither tier was alone, and not of the level. By itself it comes
    // to less than 0, so credit notes do it.
    g.used("2026-05-01T12:00:00Z", "calls", "-290").await;
    g.used("2026-05-02T12:00:00Z", "level", "100").await;
    g.app.advance_to(at("2026-06-10T09:00:00Z")).await;
    g.run().await;
    assert_eq!(g.taken_back().await, [900, 1_000, 2_400]);
    assert_eq!(g.count("run_drafts").await, 0, "nothing waits");
    verified(&g.app).await;
}

#[tokio::test]
async fn what_was_billed_on_several_invoices_is_taken_back_of_all_of_them() {
    let g = start().await;
    g.used("2026-03-20T12:00:00Z", "calls", "100").await;
    g.app.advance_to(at("2026-05-01T09:00:00Z")).await;
    assert_eq!(each(&g.run().await["invoices"], "subtotal_cents"), [&json!(550)]);
    g.used("2026-04-01T12:00:00Z", "calls", "-185").await;
    g.app.advance_to(at("2026-05-10T09:00:00Z")).await;
    let done = g.run().await;
    assert_eq!(of_metric(&done["invoices"][0], "calls"), [("correction".into(), "-1".into(), -1_400)]);
    assert_eq!(g.taken_back().await, [500, 900]);
    verified(&g.app).await;
}

#[tokio::test]
async fn what_credit_notes_gave_back_counts_when_more_is_late() {
    let g = start().await;
    g.used("2026-04-05T12:00:00Z", "calls", "-30").await;
    g.app.advance_to(at("2026-05-01T09:00:00Z")).await;
    let done = g.run().await;
    assert_eq!(each(&done["invoices"], "subtotal_cents"), [&json!(-300)], "by itself it is a credit note");
    g.used("2026-04-06T12:00:00Z", "calls", "10").await;
    g.app.advance_to(at("2026-05-10T09:00:00Z")).await;
    let done = g.run().await;
    assert_eq!(of_metric(&done["invoices"][0], "calls"), [("correction".into(), "1".into(), 100)]);
    verified(&g.app).await;
}

#[tokio::test]
async fn what_is_late_after_the_end_is_foreseen() {
    let g = late_after_the_end().await;
    let path = "/api/v1/billing/upcoming";
    let shown = g.app.call("GET", path).token(&g.tenant.admin).send().await.data(200);
    assert_eq!(each(&shown, "subtotal_cents"), [&json!(70)]);
    assert_eq!(each(&shown, "invoice_date"), [&json!("2026-06-01")]);
}

#[tokio::test]
async fn what_changes_nothing_costs_nothing() {
    let g = start().await;
    g.used("2026-03-20T12:00:00Z", "calls", "0").await;
    g.app.advance_to(at("2026-05-02T09:00:00Z")).await;
    assert_eq!(g.run().await["invoices"], json!([]));
    assert_eq!(g.corrections().await[0].0, "spent");
    verified(&g.app).await;
}

#[tokio::test]
async fn the_last_value_of_a_month_is_carried_into_those_that_are_billed() {
    let g = start().await;
    g.app.advance_to(at("2026-05-10T09:00:00Z")).await;
    g.run().await;
    // April had no value of its own: it costs what March ended with.
    g.used("2026-04-09T12:00:00Z", "level", "40").await;
    g.app.advance_to(at("2026-06-12T09:00:00Z")).await;
    let done = g.run().await;
    let all: Vec<_> =
        done["invoices"].as_array().expect("invoices").iter().flat_map(|i| of_metric(i, "level")).collect();
    let mut amounts: Vec<(String, i64)> = all.into_iter().map(|(kind, _, amount)| (kind, amount)).collect();
    amounts.sort();
    let one = |kind: &str| (kind.to_owned(), 40);
    assert_eq!(amounts, [one("correction"), one("correction"), one("usage")]);
    verified(&g.app).await;
}

#[tokio::test]
async fn after_the_end_it_comes_on_the_first_of_the_next_month() {
    let g = late_after_the_end().await;
    assert_eq!(g.run().await["invoices"], json!([]));
    g.app.advance_to(at("2026-05-31T23:00:00Z")).await;
    let done = g.run().await;
    assert_eq!(each(&done["invoices"], "subtotal_cents"), [&json!(70)]);
    assert_eq!(each(&done["invoices"], "invoice_date"), [&json!("2026-06-01")]);
    assert_eq!(g.ahead("2027-06-01T00:00:00Z").await["invoices"], json!([]), "nothing more ever");
    verified(&g.app).await;
}

#[tokio::test]
async fn what_is_billed_again_is_billed_net_of_its_corrections() {
    let g = start().await;
    let list = g.app.call("GET", "/api/v1/billing/invoices").token(&g.tenant.admin).send().await.data(200);
    let month =
        list.as_array().expect("invoices").iter().find(|i| i["subtotal_cents"] == 5800).expect("it").clone();
    g.used("2026-03-20T12:00:00Z", "calls", "10").await;
    g.app.advance_to(at("2026-05-01T09:00:00Z")).await;
    assert_eq!(each(&g.run().await["invoices"], "subtotal_cents"), [&json!(100)]);
    // The month is voided and billed again: 1,000 less the 100 that stand.
    let path = format!("/api/v1/admin/invoices/{}/void", uuid(&month["id"]));
    let asked = json!({"reason": "Wrong address", "rebill": true});
    g.app.call("POST", &path).token(&g.admin).json(&asked).send().await.expect(200);
    g.used("2026-04-05T12:00:00Z", "calls", "2").await;
    let done = g.run().await;
    assert_eq!(each(&done["invoices"], "subtotal_cents"), [&json!(4900 + 910)]);
    assert_eq!(of_metric(&done["invoices"][0], "calls"), [("correction".into(), "1".into(), 910)]);
    // The correction itself is voided and billed again.
    let list = g.app.call("GET", "/api/v1/billing/invoices").token(&g.tenant.admin).send().await.data(200);
    let small =
        list.as_array().expect("invoices").iter().find(|i| i["subtotal_cents"] == 100).expect("it").clone();
    let path = format!("/api/v1/admin/invoices/{}/void", uuid(&small["id"]));
    g.app.call("POST", &path).token(&g.admin).json(&asked).send().await.expect(200);
    assert_eq!(each(&g.run().await["invoices"], "subtotal_cents"), [&json!(100)]);
    for id in each(&done["invoices"], "invoice_id") {
        agrees(&get(&g.app, &g.admin, uuid(id)).await);
    }
    verified(&g.app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_counted_while_the_run_bills_is_billed() {
    let g = start().await;
    g.app.advance_to(at("2026-05-09T22:30:00Z")).await;
    let sent = AtomicUsize::new(0);
    let count = async |n: usize| {
        for _ in 0..n {
            g.used("2026-05-01T12:00:00Z", "calls", "1").await;
            sent.fetch_add(1, Ordering::SeqCst);
        }
    };
    count(3).await;
    g.app.advance_to(at("2026-05-09T23:00:00Z")).await;
    let runs = async {
        for _ in 0..6 {
            g.run().await;
        }
    };
    tokio::join!(runs, join_all((0..4).map(|_| count(10))));
    g.app.advance_to(at("2026-06-05T12:00:00Z")).await;
    g.run().await;
    let billed = "SELECT COALESCE(sum(l.amount_cents), 0)::bigint FROM invoice_lines l WHERE l.metric_slug = 'calls' AND l.period_start = '2026-04-10'";
    let row = g.app.db().await.query_one(billed, &[]).await.expect("a sum");
    assert_eq!(sent.load(Ordering::SeqCst), 43);
    assert_eq!(row.get::<_, i64>(0), 430, "each call once");
    assert_eq!(g.count("late_usage").await, 0);
    verified(&g.app).await;
}

#[tokio::test]
async fn of_two_corrections_of_one_month_one_bills_what_is_late() {
    let g = start().await;
    g.used("2026-03-20T12:00:00Z", "calls", "3").await;
    g.app.advance_to(at("2026-05-01T09:00:00Z")).await;
    assert_eq!(each(&g.run().await["invoices"], "subtotal_cents"), [&json!(30)]);
    // The next one floats when the first is voided and billed again: both are due, and stand on one invoice.
    g.used("2026-04-01T12:00:00Z", "calls", "2").await;
    assert_eq!(g.run().await["invoices"], json!([]));
    let list = g.app.call("GET", "/api/v1/billing/invoices").token(&g.tenant.admin).send().await.data(200);
    let list = list.as_array().expect("invoices").clone();
    let small = list.iter().find(|invoice| invoice["subtotal_cents"] == 30).expect("the correction");
    let path = format!("/api/v1/admin/invoices/{}/void", uuid(&small["id"]));
    let asked = json!({"reason": "Wrong address", "rebill": true});
    g.app.call("POST", &path).token(&g.admin).json(&asked).send().await.expect(200);
    g.app.advance_to(at("2026-06-10T09:00:00Z")).await;
    let done = g.run().await;
    let all: Vec<_> =
        done["invoices"].as_array().expect("invoices").iter().flat_map(|i| of_metric(i, "calls")).collect();
    assert_eq!(all.iter().map(|line| line.2).sum::<i64>(), 50, "{all:?}");
    verified(&g.app).await;
}

#[tokio::test]
async fn a_correction_takes_back_no_more_than_credit_notes_have_left() {
    let g = start().await;
    let list = g.app.call("GET", "/api/v1/billing/invoices").token(&g.tenant.admin).send().await.data(200);
    let list = list.as_array().expect("invoices").clone();
    let month = list.iter().find(|invoice| invoice["subtotal_cents"] == 5800).expect("the month");
    let month = get(&g.app, &g.admin, uuid(&month["id"])).await;
    let usage = month["line_items"].as_array().expect("lines").iter().find(|l| l["kind"] == "usage");
    let asked = json!({"reason": "Outage", "lines": [{"line_item_id": usage.expect("usage")["id"], "amount_cents": 700}]});
    let path = format!("/api/v1/admin/invoices/{}/credit-note", uuid(&month["id"]));
    g.app.call("POST", &path).token(&g.admin).json(&asked).send().await.expect(201);
    // Of the 900 just 200 are left, and 300 were reported by mistake.
    g.app.advance_to(at("2026-05-02T09:00:00Z")).await;
    g.used("2026-04-05T12:00:00Z", "calls", "-30").await;
    g.app.advance_to(at("2026-05-10T09:00:00Z")).await;
    let tried = g.ahead("2026-05-10T09:00:00Z").await;
    let done = g.run().await;
    let line = ("correction".to_owned(), "-1".to_owned(), -200);
    assert_eq!(of_metric(&done["invoices"][0], "calls"), [line]);
    assert_eq!(tried["invoices"][0]["total_cents"], done["invoices"][0]["total_cents"]);
    assert_eq!(done["invoices"][0]["problem"], Value::Null, "{done}");
    let invoice = get(&g.app, &g.admin, uuid(&done["invoices"][0]["invoice_id"])).await;
    let line = invoice["line_items"].as_array().expect("lines").iter().find(|l| l["kind"] == "correction");
    assert_eq!(line.expect("it")["explanation"]["computation"]["left_cents"], 200);
    // Even less was used: nothing is left to take back.
    g.used("2026-04-06T12:00:00Z", "calls", "-30").await;
    g.app.advance_to(at("2026-06-10T09:00:00Z")).await;
    let done = g.run().await;
    let all: Vec<_> =
        done["invoices"].as_array().expect("invoices").iter().flat_map(|i| of_metric(i, "calls")).collect();
    assert_eq!(all, []);
    verified(&g.app).await;
}

#[tokio::test]
async fn what_is_waived_of_a_month_is_just_an_amount() {
    let g = start().await;
    g.used("2026-03-20T12:00:00Z", "calls", "4").await;
    g.app.db().await.execute("UPDATE partners SET legal_name = NULL", &[]).await.expect("no seller");
    g.app.advance_to(at("2026-05-01T09:00:00Z")).await;
    let done = g.run().await;
    let path = format!("/api/v1/admin/invoices/{}?waive=true", uuid(&done["invoices"][0]["invoice_id"]));
    g.app.call("DELETE", &path).token(&g.admin).send().await.expect(200);
    // What is reported after that is billed, without the 40.
    g.used("2026-04-05T12:00:00Z", "calls", "2").await;
    g.app.advance_to(at("2026-05-10T09:00:00Z")).await;
    let done = g.run().await;
    let drafts = done["invoices"].as_array().expect("invoices");
    let all: Vec<_> = drafts.iter().flat_map(|i| of_metric(i, "calls")).collect();
    assert_eq!(all, [("correction".to_owned(), "1".to_owned(), 20)]);
    verified(&g.app).await;
}
