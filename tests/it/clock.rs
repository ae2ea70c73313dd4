//! A clock that is moved: whatever falls due on the way is done at its own instant, however far the clock goes at once.
use crate::support::{agrees, cents, each, flat, recomputes, service, used, verified};
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use futures::future::join_all;
use scaicontrol_domain::period::{local_date, parse_timezone};
use scaicontrol_tests::given::{self, Plan, Service, Tenant};
use scaicontrol_tests::{START, TestApp};
use serde_json::{Value, json};

fn at(time: &str) -> DateTime<Utc> {
    time.parse().expect("a time")
}

/// A tenant with plans of every interval, with and without usage and a trial.
struct Life {
    app: TestApp,
    tenant: Tenant,
    services: Vec<Service>,
}

impl Life {
    async fn begin() -> Life {
        let app = TestApp::start().await;
        given::patience(&app).await;
        let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
        let mut services = vec![];
        for (slug, plan) in [
            ("alpha", json!({"base_price_cents": 4900})),
            ("beta", json!({"base_price_cents": 120_000, "billing_period": "yearly"})),
            ("gamma", json!({"base_price_cents": 9_999, "billing_period": "quarterly"})),
            ("delta", json!({"base_price_cents": 50_000, "billing_period": "one_time"})),
            ("omega", json!({"base_price_cents": 1_234, "trial_days": 14})),
        ] {
            let service = service(&app, slug).await;
            let plan = given::plan_with(&app, &service, "pro", plan).await;
            let minimum = json!({"metric_slug": "rows", "tier_start": "0", "unit_price_cents": "1", "minimum_cents": 310});
            given::tiers(&app, &plan, &json!([flat("calls", "0.7"), flat("level", "3"), minimum])).await;
            given::subscription(&app, &tenant, &plan, 3).await;
            services.push(service);
        }
        Life { app, tenant, services }
    }

    async fn use_some(&self, calls: &str) {
        for service in &self.services {
            used(&self.app, service, &self.tenant, &[("calls", calls), ("level", "7"), ("rows", "11")]).await;
        }
    }

    /// Every row that a life leaves, with ids replaced by the word `id`.
    async fn left(&self) -> Vec<String> {
        let id = regex::Regex::new("[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}").expect("a pattern");
        let db = self.app.db().await;
        let mut rows = vec![];
        for table in [
            "subscriptions",
            "subscription_periods",
            "segments",
            "billed_items",
            "invoices",
            "invoice_lines",
            "journals",
            "ledger_entries",
            "invoice_numbers",
            "mrr_changes",
            "notifications",
            "outbox_events",
            "run_drafts",
            "late_usage",
            "usage_segment_totals",
        ] {
            let all = db.query(&format!("SELECT to_jsonb(t)::text FROM {table} t"), &[]).await.expect("rows");
            rows.extend(all.iter().map(|r| format!("{table} {}", id.replace_all(r.get(0), "id"))));
        }
        rows.sort();
        rows
    }
}

#[tokio::test]
async fn a_jump_of_three_years_is_a_thousand_days() {
    let (jump, days) = (Life::begin().await, Life::begin().await);
    for (life, step) in [(&jump, None), (&days, Some(TimeDelta::days(1)))] {
        for (until, calls) in [(100, "1000"), (400, "77"), (401, "1"), (1_095, "5")] {
            life.use_some(calls).await;
            let until = at(START) + TimeDelta::days(until);
            while let Some(step) = step.filter(|step| life.app.now() + *step < until) {
                life.app.step_to(life.app.now() + step).await;
            }
            life.app.step_to(until).await;
        }
        verified(&life.app).await;
    }
    let (left, right) = (jump.left().await, days.left().await);
    assert!(1_000 < left.len(), "{} rows", left.len());
    let different = left.iter().zip(&right).find(|(a, b)| a != b);
    assert_eq!(different, None);
    assert_eq!(left.len(), right.len());
    let late = left.iter().filter(|row| row.starts_with("invoices") && !row.contains("SCAI-")).count();
    assert_eq!(late, 0, "each has its number");
    recomputed(&jump.app).await;
}

/// Fails unless every line that the platform computed comes to its amount again, from its explanation alone.
async fn recomputed(app: &TestApp) {
    let rows = app.db().await.query("SELECT to_jsonb(l) FROM invoice_lines l", &[]).await.expect("lines");
    let lines: Vec<Value> = rows.iter().map(|r| r.get(0)).collect();
    assert!(100 < lines.len(), "{} lines", lines.len());
    recomputes(&json!(lines));
}

async fn invoices(app: &TestApp, tenant: &Tenant) -> Vec<Value> {
    let path = "/api/v1/billing/invoices?page_size=200";
    let list = app.call("GET", path).token(&tenant.admin).send().await.data(200);
    let ids = each(&list, "id").into_iter().map(|id| id.as_str().unwrap_or_default().to_owned());
    let mut all = vec![];
    for id in ids.collect::<Vec<_>>() {
        let path = format!("/api/v1/billing/invoices/{id}");
        all.push(app.call("GET", &path).token(&tenant.admin).send().await.data(200));
    }
    all.sort_by_key(|invoice| invoice["number"].as_str().map(str::to_owned));
    all
}

#[tokio::test]
async fn what_is_upcoming_comes_by_itself() {
    let life = Life::begin().await;
    let (app, tenant) = (&life.app, &life.tenant);
    app.live_to(at(START)).await;
    life.use_some("123").await;
    for _ in 0..8 {
        let next = app.call("GET", "/api/v1/billing/upcoming").token(&tenant.admin).send().await.data(200)[0]
            .clone();
        let known = invoices(app, tenant).await.len();
        let mut all = vec![];
        for _ in 0..40 {
            app.step_to(app.now() + TimeDelta::days(1)).await;
            all = invoices(app, tenant).await;
            if known < all.len() {
                break;
            }
        }
        let came = &all[known];
        agrees(came);
        for field in ["subtotal_cents", "tax_cents", "total_cents", "due_cents", "vat_details"] {
            assert_eq!(next[field], came[field], "{field}");
        }
        assert_eq!(next["invoice_date"], came["issue_date"]);
        let amounts = |lines: &Value| -> Vec<(i64, i64)> {
            let lines = lines.as_array().expect("lines").iter();
            lines.map(|l| (cents(&l["amount_cents"]), cents(&l["tax_cents"]))).collect()
        };
        assert_eq!(amounts(&next["line_items"]), amounts(&came["line_items"]));
        life.use_some("55").await;
    }
    verified(app).await;
}

#[tokio::test]
async fn what_falls_due_later_on_a_day_is_on_another_invoice() {
    let app = TestApp::start().await;
    given::patience(&app).await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let minimum = json!([{"metric_slug": "calls", "tier_start": "0", "tier_end": null, "unit_price_cents": "1", "minimum_cents": 500}]);
    let mut plans = vec![];
    for slug in ["vault", "flow"] {
        let plan =
            given::plan_with(&app, &service(&app, slug).await, "pro", json!({"base_price_cents": 4900}))
                .await;
        given::tiers(&app, &plan, &minimum).await;
        plans.push(plan);
    }
    given::subscription(&app, &tenant, &plans[0], 1).await;
    // Its term ends at noon of the day on which both begin their second month.
    let asked = json!({"tenant_id": tenant.id, "plan_id": plans[1].id, "ends_at": "2026-04-10T12:00:00Z"});
    let admin = app.operator("super_admin");
    app.call("POST", "/api/v1/admin/subscriptions").token(&admin).json(&asked).send().await.expect(201);
    app.live_to(at("2026-03-20T09:00:00Z")).await;
    let next =
        app.call("GET", "/api/v1/billing/upcoming").token(&tenant.admin).send().await.data(200)[0].clone();
    let known = invoices(&app, &tenant).await.len();
    app.live_to(at("2026-04-11T09:00:00Z")).await;
    let all = invoices(&app, &tenant).await;
    assert_eq!(all.len(), known + 2, "one after midnight, one after noon");
    let date = json!("2026-04-10");
    assert_eq!([&all[known]["issue_date"], &all[known + 1]["issue_date"]], [&date; 2]);
    assert_eq!((&next["invoice_date"], &next["total_cents"]), (&date, &all[known]["total_cents"]));
    verified(&app).await;
}

/// A partner of that timezone, and its tenant.
async fn tenant_in(app: &TestApp, name: &str, timezone: &str) -> Tenant {
    let (tenant_id, partner_id) = (format!("tnt_{name}"), format!("prt_{name}"));
    given::partner(app, &partner_id).await;
    let path = format!("/api/v1/admin/partners/{partner_id}");
    let operator = app.operator("super_admin");
    app.call("PATCH", &path).token(&operator).json(&json!({"timezone": timezone})).send().await.expect(200);
    // Making the tenant writes the partner anew.
    let tenant = given::tenant(app, &tenant_id, &partner_id).await;
    app.call("PATCH", &path).token(&operator).json(&json!({"timezone": timezone})).send().await.expect(200);
    tenant
}

#[tokio::test]
async fn invoices_come_an_hour_after_local_midnight_everywhere() {
    let app = TestApp::start().await;
    given::patience(&app).await;
    let service = service(&app, "vault").await;
    let plan = given::plan_with(&app, &service, "pro", json!({"base_price_cents": 100})).await;
    let zones = [
        ("ams", "Europe/Amsterdam"),
        ("line", "Pacific/Kiritimati"),
        ("edge", "Etc/GMT+12"),
        ("noon", "Etc/GMT-14"),
        // Its clocks go forward at midnight: that day has none.
        ("cairo", "Africa/Cairo"),
        ("york", "America/New_York"),
        ("howe", "Australia/Lord_Howe"),
    ];
    // The 31st of January, on every wall of the world.
    app.live_to(at("2027-01-31T11:00:00Z")).await;
    let tenants = join_all(zones.map(|(name, zone)| tenant_in(&app, name, zone))).await;
    for tenant in &tenants {
        given::subscription(&app, tenant, &plan, 1).await;
    }
    app.live_to(at("2028-04-15T00:00:00Z")).await;
    for (tenant, (_, zone)) in tenants.iter().zip(zones) {
        let timezone = parse_timezone(zone).expect("a timezone");
        let all = invoices(&app, tenant).await;
        let first = local_date(at("2027-01-31T11:00:00Z"), timezone).expect("a date");
        let expected: Vec<NaiveDate> = (0..)
            .map_while(|n| first.checked_add_months(chrono::Months::new(n)))
            .take_while(|day| *day < "2028-04-15".parse().expect("a day"))
            .collect();
        let dates: Vec<Value> = all.iter().map(|invoice| invoice["issue_date"].clone()).collect();
        assert_eq!(json!(dates), json!(expected), "{zone}");
        let leap = "2028-02-29".parse().expect("a day");
        assert_eq!(expected.contains(&leap), 29 <= first.day(), "{expected:?}");
        for (invoice, day) in all.iter().zip(&expected).skip(1) {
            let issued = at(invoice["finalized_at"].as_str().expect("a time"));
            let midnight = issued - TimeDelta::hours(1);
            assert_eq!(local_date(midnight, timezone).expect("a date"), *day, "{zone}: not before it");
            let before = midnight - TimeDelta::microseconds(1);
            assert_eq!(
                local_date(before, timezone).expect("a date"),
                *day - TimeDelta::days(1),
                "{zone}: at it"
            );
        }
        for pair in all.windows(2) {
            let (end, start) =
                (&pair[0]["line_items"][0]["period_end"], &pair[1]["line_items"][0]["period_start"]);
            let end: NaiveDate = end.as_str().and_then(|d| d.parse().ok()).expect("a day");
            assert_eq!(json!(end + TimeDelta::days(1)), *start, "{zone}: periods tile");
        }
    }
    verified(&app).await;
}

#[tokio::test]
async fn a_clock_that_stands_or_is_moved_already() {
    let app = TestApp::start().await;
    let control = app.control();
    let back =
        scaicontrol_server::workers::advance::advance(control, app.now() - TimeDelta::seconds(1)).await;
    assert!(back.is_err(), "it does not go back");
    let moved = app.live_to(app.now()).await;
    assert_eq!(moved.stops, 0);
    let done = control
        .db
        .alone("clock", async { scaicontrol_server::workers::advance::on_clock(control, app.now()).await });
    assert!(done.await.expect("a lock").expect("mine").is_err(), "one moves it at a time");
}

#[tokio::test]
async fn a_year_of_five_subscriptions_is_lived_at_once() {
    let life = Life::begin().await;
    let plan: Plan = given::plan(&life.app, &service(&life.app, "extra").await, "basic", 100).await;
    given::subscription(&life.app, &life.tenant, &plan, 1).await;
    let moved = life.app.live_to(at("2027-03-10T12:00:00Z")).await;
    assert!((20..200).contains(&moved.stops), "{} stops", moved.stops);
    let all = invoices(&life.app, &life.tenant).await;
    let base = |slug: &str| {
        let lines = all.iter().flat_map(|i| i["line_items"].as_array().expect("lines").iter());
        lines.filter(|l| l["kind"] == "base" && l["service_slug"] == slug).count()
    };
    assert_eq!((base("alpha"), base("beta"), base("gamma"), base("delta")), (13, 2, 5, 1));
    assert_eq!((base("omega"), base("extra")), (12, 13));
    assert!(all.iter().all(|invoice| invoice["status"] != "draft" && !invoice["number"].is_null()));
    verified(&life.app).await;
}
