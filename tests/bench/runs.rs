//! The billing run: subscriptions that are all due at once, each with a base price and a month of usage, carried on, billed,
//! issued (numbered, posted, checked as an electronic invoice) and queued as mails; by a server of its own that is asked
//! again until nothing is left. Then what a run costs when nothing is due, and a year of one tenant.
//!
//! Files are not part of it: no PDF is rendered.
use crate::load::{self, Shot, Template};
use crate::report::{Bound, Report, Sample};
use crate::stand::{Bench, Server, progress, uri};
use chrono::{DateTime, Utc};
use scaicontrol_tests::database::Database;
use scaicontrol_tests::{TestApp, given};
use serde_json::{Value, json};
use std::time::Instant;
use tokio_postgres::Client;

const PARTNER: &str = "prt_bench";
const RUN: &str = "/api/v1/admin/billing/run";
/// An invoice holds 2,000 lines, and each subscription has two: its base price and its usage.
const SUBSCRIPTIONS_AN_INVOICE: u32 = 1_000;
/// Invoices an hour that must be reached.
const PER_HOUR: f64 = 200_000.0;

/// A seller, tenants with profiles, and of each tenant a subscription to so many services. When `due`, their month was over
/// at the midnight before the last one, with usage; else it has just begun.
async fn fill(db: &Client, tenants: u32, services: u32, due: bool) {
    let month = if due {
        "date_trunc('day', now()) - interval '32 days' AS start, date_trunc('day', now()) - interval '1 day' AS stop"
    } else {
        "date_trunc('day', now()) AS start, date_trunc('day', now()) + interval '31 days' AS stop"
    };
    let sql = format!(
        "SET TimeZone = 'UTC';
         INSERT INTO partners (partner_id, name, legal_name, seller_address_line1, seller_postal_code, seller_city, seller_country_code,
             seller_vat_number, seller_registration_number, seller_email, seller_iban, created_at, updated_at)
           VALUES ('{PARTNER}', 'Noord', 'Noord Software B.V.', 'Keizersgracht 12', '1015 CN', 'Amsterdam', 'NL', 'NL123456782B90', '34123456',
             'billing@example.com', 'NL91ABNA0417164300', now(), now());
         INSERT INTO tenants (tenant_id, partner_id, name, created_at, updated_at)
           SELECT 'tnt_' || t, '{PARTNER}', 'Tenant ' || t, now(), now() FROM generate_series(1, {tenants}) t;
         INSERT INTO billing_profiles (tenant_id, partner_id, company_name, address_line1, postal_code, city, country_code, is_business,
             contact_email, created_at, updated_at)
           SELECT tenant_id, partner_id, 'Acme B.V.', 'Coolsingel 40', '3011 AD', 'Rotterdam', 'NL', true, 'finance@example.com', now(), now()
           FROM tenants;
         INSERT INTO services (service_id, slug, name, status, created_at, updated_at)
           SELECT ('00000000-0000-0000-0001-' || lpad(to_hex(s), 12, '0'))::uuid, 'service-' || s, 'Service ' || s, 'active', now(), now()
           FROM generate_series(1, {services}) s;
         INSERT INTO metrics (metric_id, service_id, slug, name, unit, aggregation, created_at)
           SELECT ('00000000-0000-0000-0002-' || right(service_id::text, 12))::uuid, service_id, 'calls', 'Calls', 'call', 'sum', now() FROM services;
         INSERT INTO plans (plan_id, service_id, slug, name, billing_period, currency, created_at, updated_at)
           SELECT ('00000000-0000-0000-0003-' || right(service_id::text, 12))::uuid, service_id, 'pro', 'Pro', 'monthly', 'EUR', now(), now()
           FROM services;
         INSERT INTO plan_versions (plan_id, version, valid_from, base_price_cents, created_at)
           SELECT plan_id, 1, now() - interval '1 year', 4900, now() FROM plans;
         INSERT INTO pricing_tiers (plan_id, version, metric_slug, position, pricing_model, tier_start, unit_price_cents, unit_label, unit_divisor)
           SELECT plan_id, 1, 'calls', 0, 'graduated', 0, 0.5, 'call', 1 FROM plans;
         INSERT INTO subscriptions (tenant_id, subscription_id, partner_id, service_id, plan_id, quantity, status, billing_period, currency,
             mrr_amount_cents, current_period_start, current_period_end, activated_at, anchor_date, anchored_at, timezone, usage_until,
             next_event_at, created_at, updated_at)
           SELECT t.tenant_id, gen_random_uuid(), '{PARTNER}', p.service_id, p.plan_id, 1, 'active', 'monthly', 'EUR', 4900, m.start, m.stop,
             m.start, m.start::date, m.start, 'UTC', m.stop, m.stop, now(), now()
           FROM tenants t, plans p, (SELECT {month}) m;
         INSERT INTO subscription_periods (tenant_id, period_id, partner_id, subscription_id, ordinal, starts_at, ends_at, plan_id, plan_version,
             quantity, created_at, billed_until, whole_starts_at, whole_ends_at)
           SELECT tenant_id, gen_random_uuid(), partner_id, subscription_id, 0, current_period_start, current_period_end, plan_id, 1, 1, now(),
             current_period_end, current_period_start, current_period_end
           FROM subscriptions;
         INSERT INTO segments (tenant_id, segment_id, partner_id, subscription_id, service_id, plan_id, plan_version, month_starts_at,
             month_ends_at, starts_at, ends_at, is_trial, created_at)
           SELECT tenant_id, gen_random_uuid(), partner_id, subscription_id, service_id, plan_id, 1, current_period_start, current_period_end,
             current_period_start, current_period_end, false, now()
           FROM subscriptions;
         INSERT INTO billed_items (tenant_id, billed_item_id, partner_id, source_type, source_id, period_start, kind, revision, subscription_id,
             currency, due_at, run_date, own_invoice, status, created_at)
           SELECT tenant_id, gen_random_uuid(), partner_id, 'segment', segment_id, starts_at, 'usage', 0, subscription_id, 'EUR',
             ends_at + interval '1 hour', ends_at::date, false, 'due', now()
           FROM segments;
         INSERT INTO usage_segment_totals (tenant_id, segment_id, metric_id, stripe, service_id, value, events, first_event_at, newest_event_at)
           SELECT g.tenant_id, g.segment_id, m.metric_id, 0, g.service_id, 1234, 100, g.starts_at, g.starts_at
           FROM segments g JOIN metrics m USING (service_id);
         INSERT INTO mrr_changes (tenant_id, subscription_id, ordinal, partner_id, kind, currency, delta_cents, counted_cents, occurred_at, created_at)
           SELECT tenant_id, subscription_id, 1, partner_id, 'new', 'EUR', 4900, 4900, activated_at, now() FROM subscriptions;"
    );
    db.batch_execute(&sql).await.expect("subscriptions");
    db.batch_execute("VACUUM ANALYZE").await.expect("statistics");
    db.batch_execute("CHECKPOINT").await.expect("a checkpoint");
}

/// A server whose workers do not help.
async fn server(bench: &Bench, database: &Database) -> Server {
    let mut command = bench.serve(database, 0);
    command.arg("--set").arg("workers.enabled=false");
    Server::listening(command).await
}

/// One call; answers `data`.
async fn called(bench: &Bench, server: &Server) -> Value {
    let template = Template::post(server.addr, 200, b"items_billed").token(&bench.operator());
    let answer = load::once(&template, Shot::post(&uri(RUN), json!({"dry_run": false}).to_string())).await;
    let answer: Value = serde_json::from_slice(&answer).expect("an answer");
    answer["data"].clone()
}

/// How fast everything was billed.
struct Billed {
    invoices: f64,
    subscriptions: f64,
    seconds: f64,
    /// Of the last half through that of the first.
    held: f64,
    rss: f64,
}

/// Bills `tenants` × `services` subscriptions.
async fn billed(bench: &Bench, tenants: u32, services: u32) -> Billed {
    let database = Database::create().await;
    let db = database.connect().await;
    fill(&db, tenants, services, true).await;
    let server = server(bench, &database).await;
    let (start, mut rss, mut seen) = (Instant::now(), 0.0_f64, Vec::new());
    let mut made = 0;
    loop {
        let answer = called(bench, &server).await;
        made += answer["invoices"].as_array().map_or(0, Vec::len);
        rss = rss.max(server.rss_mib());
        seen.push((start.elapsed().as_secs_f64(), made));
        if answer["has_more"] == false {
            break;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    server.stop().await;
    let row =
        db.query_one("SELECT count(*) FILTER (WHERE status = 'sent'), count(*) FROM invoices", &[]).await;
    let row = row.expect("a count");
    let (sent, all): (i64, i64) = (row.get(0), row.get(1));
    let invoices = tenants * services.div_ceil(SUBSCRIPTIONS_AN_INVOICE);
    assert_eq!(
        (sent, all),
        (i64::from(invoices), i64::from(invoices)),
        "everybody is billed, and it is sent"
    );
    let half = seen.iter().find(|(_, n)| made / 2 <= *n).copied().unwrap_or((seconds, made));
    let first = half.1 as f64 / half.0;
    let rest = (made - half.1) as f64 / (seconds - half.0);
    progress(format_args!("runs: {tenants} tenants × {services}: {seconds:.1} s, {rss:.0} MiB"));
    Billed {
        invoices: f64::from(invoices),
        subscriptions: f64::from(tenants * services),
        seconds,
        held: if rest.is_finite() { rest / first } else { 1.0 },
        rss,
    }
}

/// Seconds of a run with nothing due.
async fn idle(bench: &Bench, subscriptions: u32) -> Sample {
    let database = Database::create().await;
    let db = database.connect().await;
    fill(&db, subscriptions, 1, false).await;
    let server = server(bench, &database).await;
    let mut sample = Sample::default();
    for _ in 0..bench.scale.rounds {
        let start = Instant::now();
        let answer = called(bench, &server).await;
        assert_eq!(answer["items_billed"], 0);
        sample.push(start.elapsed().as_secs_f64());
    }
    server.stop().await;
    progress(format_args!("runs: nothing due of {subscriptions}: {:.3} s", sample.last()));
    sample
}

/// Seconds of a year of one tenant with five subscriptions, usage in each.
async fn year() -> f64 {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", PARTNER).await;
    let mut events = vec![];
    for (slug, fields) in [
        ("alpha", json!({"base_price_cents": 4900})),
        ("beta", json!({"base_price_cents": 120_000, "billing_period": "yearly"})),
        ("gamma", json!({"base_price_cents": 9_999, "billing_period": "quarterly"})),
        ("delta", json!({"base_price_cents": 700, "trial_days": 14})),
        ("omega", json!({"base_price_cents": 1_234})),
    ] {
        let service = given::service(&app, slug).await;
        let plan = given::plan_with(&app, &service, "pro", fields).await;
        let tier = json!([{"metric_slug": "api_calls", "tier_start": "0", "tier_end": null, "unit_price_cents": "0.7"}]);
        given::tiers(&app, &plan, &tier).await;
        given::subscription(&app, &tenant, &plan, 1).await;
        events.push((service.token.clone(), slug));
    }
    let started: DateTime<Utc> = app.now();
    let begin = Instant::now();
    for month in 1..=12 {
        for (token, slug) in &events {
            let event = json!({"events": [{"idempotency_key": format!("{slug}-{month}"), "tenant_id": "tnt_acme", "metric_slug": "api_calls", "quantity": "1000"}]});
            app.call("POST", "/api/v1/metering/events").token(token).json(&event).send().await.expect(202);
        }
        app.step_to(started + chrono::TimeDelta::hours(month * 730)).await;
    }
    begin.elapsed().as_secs_f64()
}

/// See the module.
pub async fn run(bench: &Bench) -> Report {
    let due = bench.scale.due;
    let [mut invoices, mut shared, mut held, mut rss, mut lived]: [Sample; 5] = Default::default();
    for _ in 0..bench.scale.rounds.min(2) {
        let each = billed(bench, due, 1).await;
        invoices.push(each.invoices / each.seconds * 3_600.0);
        held.push(each.held);
        // As many subscriptions of few tenants.
        let few = billed(bench, 10, due / 10).await;
        shared.push((few.subscriptions / few.seconds) / (each.subscriptions / each.seconds));
        rss.push(each.rss.max(few.rss));
        lived.push(year().await);
    }
    let nothing = idle(bench, bench.scale.idle).await;
    let how =
        format!("{due} subscriptions due, base and usage, one tenant each, then ten tenants; one seller");
    let mut report = Report::new("runs", how);
    report.bound("invoices issued and sent an hour", &invoices, Bound::AtLeast(PER_HOUR));
    report.bound("speed of the last half / the first", &held, Bound::AtLeast(0.75));
    report.bound("subscriptions/s of ten tenants / of one each", &shared, Bound::AtLeast(1.0));
    report.bound("RSS of the server, MiB", &rss, Bound::AtMost(300.0));
    report.bound(format!("a run with nothing due of {}, s", bench.scale.idle), &nothing, Bound::AtMost(1.0));
    report.bound("a year of five subscriptions, s", &lived, Bound::AtMost(5.0));
    report
}
