//! What comes next, where a tenant stands, and where the business does: each equal to what it is a summary of.
use crate::admin_billing::start;
use crate::payments::{ask, issued, paid};
use crate::support::{cents, each, finalize, flat, get, run, service, used, uuid, verified};
use chrono::{DateTime, TimeDelta, Utc};
use scaicontrol_tests::TestApp;
use scaicontrol_tests::given::{self, Tenant};
use serde_json::{Value, json};

const UPCOMING: &str = "/api/v1/billing/upcoming";
const OVERVIEW: &str = "/api/v1/billing/overview";
const DASHBOARD: &str = "/api/v1/admin/billing/overview";

async fn upcoming(app: &TestApp, tenant: &Tenant) -> Value {
    app.call("GET", UPCOMING).token(&tenant.admin).send().await.data(200)
}

async fn dashboard(app: &TestApp, token: &str, query: &str) -> Value {
    app.call("GET", &format!("{DASHBOARD}?{query}")).token(token).send().await.data(200)
}

fn at(time: &str) -> DateTime<Utc> {
    time.parse().expect("a time")
}

/// A line without what only the real one has.
fn essence(line: &Value) -> Value {
    let mut line = line.clone();
    for field in ["id", "order_index"] {
        line.as_object_mut().expect("a line").remove(field);
    }
    if let Some(explanation) = line["explanation"].as_object_mut() {
        // An upcoming line's tax stands beside it; a segment that is opened ahead gets its id anew.
        explanation.remove("tax");
        explanation.remove("segment_id");
    }
    line
}

/// Fails unless `invoice` is what `next` said would come.
fn came(next: &Value, invoice: &Value) {
    for field in [
        "currency",
        "period_start",
        "period_end",
        "subtotal_cents",
        "tax_cents",
        "total_cents",
        "due_cents",
        "vat_details",
    ] {
        assert_eq!(next[field], invoice[field], "{field}");
    }
    assert_eq!(next["invoice_date"], invoice["issue_date"]);
    assert_eq!(next["customer_credit_cents"], invoice["paid_cents"]);
    let essences = |lines: &Value| lines.as_array().expect("lines").iter().map(essence).collect::<Vec<_>>();
    assert_eq!(essences(&next["line_items"]), essences(&invoice["line_items"]));
}

#[tokio::test]
async fn what_is_upcoming_is_what_comes_to_the_cent() {
    let (app, admin, tenant) = start().await;
    given::patience(&app).await;
    let client = app.client(&tenant.admin);
    let none = client.upcoming_invoice_get().send().await.expect("nothing").into_inner().data;
    assert!(none.is_empty());
    let service = service(&app, "vault").await;
    let plan = given::plan_with(&app, &service, "pro", json!({"base_price_cents": 4901})).await;
    given::tiers(&app, &plan, &json!([flat("calls", "0.7")])).await;
    given::subscription(&app, &tenant, &plan, 3).await;
    // Credit that it will use up in part.
    let other = issued(&app, &admin, &tenant, "100").await;
    ask(&app, &admin, other, "mark-paid", &paid(Some(5121), "bank_transfer")).send().await.data(200);
    used(&app, &service, &tenant, &[("calls", "1234"), ("calls", "3")]).await;

    let before = snapshot(&app).await;
    for month in ["2026-03-10T09:00:00Z", "2026-04-09T23:00:00Z", "2026-05-09T23:00:00Z"] {
        let next = upcoming(&app, &tenant).await;
        assert_eq!(next.as_array().map(Vec::len), Some(1));
        app.advance_to(at(month)).await;
        let id = uuid(&run(&app, &admin, &tenant.id).await["invoices"][0]["invoice_id"]);
        came(&next[0], &finalize(&app, &admin, id).await);
        verified(&app).await;
    }
    let after = snapshot(&app).await;
    assert_ne!(before, after, "what is real is written");
    let looked = snapshot(&app).await;
    upcoming(&app, &tenant).await;
    assert_eq!(looked, snapshot(&app).await, "what is asked is not");
}

/// How many rows there are of what a run writes.
async fn snapshot(app: &TestApp) -> Vec<i64> {
    let db = app.db().await;
    let mut counts = vec![];
    for table in
        ["invoices", "invoice_lines", "billed_items", "segments", "outbox_events", "audit_log", "mrr_changes"]
    {
        let row = db.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.expect("a count");
        counts.push(row.get(0));
    }
    counts
}

#[tokio::test]
async fn several_currencies_and_long_periods_come_each_by_itself() {
    let (app, admin, tenant) = start().await;
    given::patience(&app).await;
    let vault = given::service(&app, "vault").await;
    let send = given::service(&app, "send").await;
    let flow = given::service(&app, "flow").await;
    let yearly = json!({"base_price_cents": 120_000, "billing_period": "yearly"});
    let plans = [
        given::plan_with(&app, &vault, "pro", yearly).await,
        given::plan_with(&app, &send, "pro", json!({"base_price_cents": 700, "currency": "USD"})).await,
        given::plan_with(&app, &flow, "pro", json!({"base_price_cents": 500, "billing_period": "quarterly"}))
            .await,
    ];
    for plan in &plans {
        given::subscription(&app, &tenant, plan, 1).await;
    }
    run(&app, &admin, &tenant.id).await;
    // The dollars cannot be taxed without a rate, and are shown without.
    let next = upcoming(&app, &tenant).await;
    assert_eq!(each(&next, "currency"), [&json!("EUR"), &json!("USD")]);
    assert_eq!(
        each(&next, "subtotal_cents"),
        [&json!(500), &json!(700)],
        "the quarter is over before the year"
    );
    assert_eq!(each(&next, "tax_cents"), [&json!(105), &Value::Null]);
    assert_eq!(each(&next, "invoice_date"), [&json!("2026-06-10"), &json!("2026-04-10")]);
    // What is left alone is what was due in time.
    app.advance_to(at("2026-12-10T12:00:00Z")).await;
    run(&app, &admin, &tenant.id).await;
    let next = upcoming(&app, &tenant).await;
    assert_eq!(each(&next, "subtotal_cents"), [&json!(120_500), &json!(700)], "quarter and year on one day");
}

#[tokio::test]
async fn a_tenant_sees_where_it_stands() {
    let (app, admin, tenant) = start().await;
    let client = app.client(&tenant.admin);
    let empty = client.billing_overview_get().send().await.expect("an overview").into_inner().data;
    assert!(empty.balances.is_empty() && empty.recent_invoices.is_empty());
    let service = given::service(&app, "vault").await;
    let plan = given::plan_with(
        &app,
        &service,
        "pro",
        json!({"base_price_cents": 1200, "billing_period": "yearly"}),
    )
    .await;
    given::subscription(&app, &tenant, &plan, 5).await;
    let id = uuid(&run(&app, &admin, &tenant.id).await["invoices"][0]["invoice_id"]);
    finalize(&app, &admin, id).await;
    let second = issued(&app, &admin, &tenant, "100").await;
    ask(&app, &admin, second, "mark-paid", &paid(Some(221), "cash")).send().await.data(200);
    given::draft(&app, &admin, &tenant, "7777").await;
    let seen = async || app.call("GET", OVERVIEW).token(&tenant.admin).send().await.data(200);
    let now = seen().await;
    let balance = &now["balances"][0];
    assert_eq!(now["balances"].as_array().map(Vec::len), Some(1));
    assert_eq!((cents(&balance["due_cents"]), cents(&balance["overdue_cents"])), (7260, 0));
    assert_eq!((cents(&balance["customer_credit_cents"]), cents(&balance["mrr_cents"])), (100, 500));
    assert_eq!(
        (&balance["next_invoice_date"], &balance["next_invoice_estimate_cents"]),
        (&json!("2027-03-10"), &json!(7260))
    );
    assert_eq!(now["default_payment_method"], Value::Null);
    assert_eq!(each(&now["recent_invoices"], "id"), [&json!(second), &json!(id)], "no draft among them");
    // Due on the 24th, in Amsterdam: late from the next local midnight on.
    app.advance_to(at("2026-03-24T22:59:59Z")).await;
    assert_eq!(seen().await["balances"][0]["overdue_cents"], 0);
    app.advance_to(at("2026-03-24T23:00:00Z")).await;
    assert_eq!(seen().await["balances"][0]["overdue_cents"], 7260);
    // Nobody else sees any of it.
    let other = given::tenant(&app, "tnt_other", "prt_north").await;
    let theirs = app.call("GET", OVERVIEW).token(&other.admin).send().await.data(200);
    assert_eq!(theirs["balances"], json!([]));
    app.call("GET", OVERVIEW).token(&tenant.member).send().await.refused(403);
    app.call("GET", UPCOMING).token(&tenant.member).send().await.refused(403);
}

#[tokio::test]
async fn debts_are_counted_by_age_and_currency() {
    let (app, admin, tenant) = start().await;
    let south = given::tenant(&app, "tnt_south", "prt_south").await;
    for (days, who, price) in [
        (0, &tenant, "100000"),
        (40, &tenant, "10000"),
        (31, &south, "1000"),
        (30, &tenant, "100"),
        (10, &tenant, "10"),
    ] {
        app.advance(TimeDelta::days(days)).await;
        issued(&app, &admin, who, price).await;
    }
    let first =
        app.client(&admin).admin_billing_overview_get().send().await.expect("a dashboard").into_inner().data;
    assert_eq!(first.currencies.len(), 1);
    let all = dashboard(&app, &admin, "").await;
    let eur = &all["currencies"][0];
    assert_eq!(
        each(&eur["ageing"], "bucket"),
        [
            &json!("not_due"),
            &json!("days_1_30"),
            &json!("days_31_60"),
            &json!("days_61_90"),
            &json!("days_over_90")
        ]
    );
    // 111, 71, 40, 10 and 0 days old, and 14 days were given for each.
    assert_eq!(
        each(&eur["ageing"], "amount_cents"),
        [&json!(133), &json!(1210), &json!(12100), &json!(0), &json!(121_000)]
    );
    assert_eq!(
        each(&eur["ageing"], "invoice_count"),
        [&json!(2), &json!(1), &json!(1), &json!(0), &json!(1)]
    );
    assert_eq!((cents(&eur["outstanding_cents"]), cents(&eur["overdue_cents"])), (134_443, 134_310));
    let theirs = app.token("partner_admin", "tnt_home", "prt_south");
    assert_eq!(dashboard(&app, &theirs, "").await["currencies"][0]["outstanding_cents"], 1210);
    assert_eq!(
        dashboard(&app, &admin, "partner_id=prt_south").await["currencies"][0]["outstanding_cents"],
        1210
    );
    assert_eq!(dashboard(&app, &theirs, "partner_id=prt_north").await["currencies"], json!([]));
    let refused = app.call("GET", &format!("{DASHBOARD}?from=2026-03-11&to=2026-03-10")).token(&admin);
    refused.send().await.refused(400).names("from");
}

#[tokio::test]
async fn recurring_revenue_moves_as_its_subscriptions_do() {
    let (app, admin, tenant) = start().await;
    given::patience(&app).await;
    let south = given::tenant(&app, "tnt_south", "prt_south").await;
    let vault = given::service(&app, "vault").await;
    let monthly = given::plan(&app, &vault, "pro", 1000).await;
    let once = given::service(&app, "once").await;
    let one_time =
        given::plan_with(&app, &once, "one", json!({"base_price_cents": 9999, "billing_period": "one_time"}))
            .await;
    let trial = given::service(&app, "trial").await;
    let trial =
        given::plan_with(&app, &trial, "try", json!({"base_price_cents": 300, "trial_days": 14})).await;
    given::subscription(&app, &tenant, &monthly, 2).await;
    given::subscription(&app, &tenant, &one_time, 1).await;
    given::subscription(&app, &tenant, &trial, 1).await;
    app.advance_to(at("2026-03-20T12:00:00Z")).await;
    given::subscription(&app, &south, &monthly, 1).await;
    let movement = async |token: &str, query: &str| {
        let all = dashboard(&app, token, query).await;
        let m = &all["currencies"][0]["mrr_movement"];
        ["opening_cents", "new_cents", "expansion_cents", "contraction_cents", "churn_cents", "closing_cents"]
            .map(|f| cents(&m[f]))
    };
    assert_eq!(
        movement(&admin, "").await,
        [0, 3000, 0, 0, 0, 3000],
        "neither what is tried nor what is paid once"
    );
    // The trial ends on the 24th; nobody looks before the run in April, and it still counts from the 24th on.
    app.advance_to(at("2026-04-21T12:00:00Z")).await;
    for id in ["tnt_acme", "tnt_south"] {
        run(&app, &admin, id).await;
    }
    assert_eq!(movement(&admin, "from=2026-03-20&to=2026-03-24").await, [2000, 1300, 0, 0, 0, 3300]);
    assert_eq!(movement(&admin, "from=2026-03-20&to=2026-03-23").await, [2000, 1000, 0, 0, 0, 3000]);
    // A subscription that is cancelled at the end of its period, and prices that change with a renewal.
    let db = app.db().await;
    let cancel = "UPDATE subscriptions SET status = 'cancelling', pending_cancellation_at = current_period_end WHERE tenant_id = 'tnt_south'";
    db.execute(cancel, &[]).await.expect("scheduled");
    let change = "INSERT INTO plan_versions SELECT plan_id, 2, '2026-03-11T00:00:00Z', base_price_cents + 500, '2026-03-11T00:00:00Z' FROM plan_versions WHERE plan_id = $1";
    db.execute(change, &[&monthly.id]).await.expect("a price");
    app.advance_to(at("2026-05-21T12:00:00Z")).await;
    for id in ["tnt_acme", "tnt_south"] {
        run(&app, &admin, id).await;
    }
    let may = movement(&admin, "from=2026-05-01&to=2026-05-31").await;
    assert_eq!(may, [3300, 0, 1000, 0, -1000, 3300]);
    let all = dashboard(&app, &admin, "").await;
    let eur = &all["currencies"][0];
    assert_eq!((cents(&eur["mrr_cents"]), cents(&eur["arr_cents"])), (3300, 39600));
    assert_eq!((&all["from"], &all["to"]), (&json!("2026-05-01"), &json!("2026-05-21")));
    let theirs = app.token("partner_admin", "tnt_home", "prt_south");
    assert_eq!(movement(&theirs, "from=2026-03-01&to=2026-05-31").await, [0, 1000, 0, 0, -1000, 0]);
    // Recomputed from the rows themselves.
    let sum = "SELECT sum(mrr_amount_cents)::bigint FROM subscriptions WHERE status IN ('active', 'past_due', 'cancelling') AND billing_period <> 'one_time'";
    assert_eq!(db.query_one(sum, &[]).await.expect("a sum").get::<_, i64>(0), 3300);
    verified(&app).await;
    // What is cut off from its history is found.
    let cut = "ALTER TABLE subscriptions NO FORCE ROW LEVEL SECURITY; UPDATE subscriptions SET mrr_amount_cents = mrr_amount_cents + 1 WHERE status = 'active'";
    let owner = scaicontrol_tests::database::connect(&app.database().owner_url()).await;
    owner.batch_execute(cut).await.expect("changed");
    let found = crate::support::difference(&app).await.expect("a difference");
    assert_eq!(found.check, "recurring revenue is what its changes add up to");
}

#[tokio::test]
async fn credit_and_what_is_returned_are_counted() {
    let (app, admin, tenant) = start().await;
    let id = issued(&app, &admin, &tenant, "10000").await;
    ask(&app, &admin, id, "mark-paid", &paid(Some(13000), "bank_transfer")).send().await.data(200);
    let eur = dashboard(&app, &admin, "").await["currencies"][0].clone();
    assert_eq!((cents(&eur["customer_credit_cents"]), cents(&eur["outstanding_cents"])), (900, 0));
    assert_eq!(eur["mrr_movement"]["closing_cents"], 0);
    assert_eq!(get(&app, &admin, id).await["due_cents"], 0);
}
