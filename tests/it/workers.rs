//! The workers: each is known by its name, runs at one server at a time where it must, and says how it went.
use crate::support::{difference, service, verified};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use scaicontrol_server::ledger::verify;
use scaicontrol_server::workers::rounds::Rounds;
use scaicontrol_server::workers::{self, Due, WORKERS, Worker};
use scaicontrol_tests::given::{self, Tenant};
use scaicontrol_tests::{OPERATOR, TestApp, wait};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

async fn metrics(app: &TestApp) -> String {
    app.control().metrics.text(app.control())
}

async fn worked(app: &TestApp, name: &str) -> workers::Done {
    workers::run_by_name(app.control(), name).await.expect("it works").expect("nobody else is in it")
}

#[tokio::test]
async fn there_is_a_worker_for_each_thing_that_happens_by_itself() {
    let names: Vec<&str> = WORKERS.iter().map(|worker| worker.name).collect();
    for name in [
        "partition_keeper",
        "vat_register",
        "subscription_reaper",
        "billing_run",
        "pdf_renderer",
        "mailer",
        "reconciliation",
    ] {
        assert_eq!(names.iter().filter(|n| **n == name).count(), 1, "{name}");
    }
    let place = |name: &str| names.iter().position(|n| *n == name);
    assert!(place("subscription_reaper") < place("billing_run"), "what ends comes before what is billed");
    assert!(place("billing_run") < place("pdf_renderer") && place("pdf_renderer") < place("mailer"));
    // Nobody else is in them.
    let app = TestApp::with(&[("workers.enabled", "false")]).await;
    for name in names {
        workers::run_by_name(app.control(), name).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    assert!(workers::run_by_name(app.control(), "nobody").await.is_err());
    let text = metrics(&app).await;
    for worker in WORKERS {
        let ran = format!("scaicontrol_worker_runs_total{{worker=\"{}\",result=\"ok\"}}", worker.name);
        assert!(text.contains(&ran), "{ran}: {text}");
        assert_eq!(lag(&text, worker.name), 0, "nothing waits for {}: {text}", worker.name);
    }
}

/// How far a worker is behind, as the metrics have it; -1 when they say nothing.
fn lag(text: &str, worker: &str) -> i64 {
    let begins = format!("scaicontrol_worker_lag_seconds{{worker=\"{worker}\"}}");
    let line = text.lines().find(|line| line.starts_with(&begins));
    line.and_then(|line| line.rsplit(' ').next()).and_then(|n| n.parse().ok()).unwrap_or(-1)
}

/// Panics whenever it looks.
static BROKEN: [Worker; 1] = [Worker {
    name: "broken",
    period: Duration::from_millis(5),
    alone: true,
    due: Due::Always(|_| None),
    tick: |_, _| Box::pin(async { panic!("on purpose") }),
}];

#[tokio::test]
async fn one_that_panics_has_failed_and_looks_again() {
    let app = TestApp::start().await;
    let failed = workers::tick(app.control(), &BROKEN[0]).await.expect_err("it failed");
    assert!(failed.to_string().contains("panicked"), "{failed}");
    let running = workers::start(app.control(), &BROKEN);
    let failures = async || -> u64 {
        let text = metrics(&app).await;
        let begins = "scaicontrol_worker_runs_total{worker=\"broken\",result=\"failed\"}";
        let line = text.lines().find(|line| line.starts_with(begins)).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
    };
    wait::until("its loop goes on", async || 3 <= failures().await).await;
    running.stop(Duration::from_secs(5)).await;
    assert_eq!(lag(&metrics(&app).await, "broken"), 0);
}

#[tokio::test]
async fn a_night_that_is_missed_is_lag() {
    let app = TestApp::with(&[("workers.enabled", "false")]).await;
    worked(&app, "reconciliation").await;
    assert_eq!(lag(&metrics(&app).await, "reconciliation"), 0);
    // The proof of the next night does not come to an end.
    app.control().clock.set("2026-03-11T05:00:00Z".parse().expect("a time"));
    app.db().await.batch_execute("ALTER TABLE journals RENAME TO gone").await.expect("broken");
    workers::run_by_name(app.control(), "reconciliation").await.expect_err("it cannot look");
    assert_eq!(lag(&metrics(&app).await, "reconciliation"), 3 * 3600, "the night began at two");
}

#[tokio::test]
async fn the_keeper_makes_the_partitions_of_the_next_days() {
    let app = TestApp::with(&[("workers.enabled", "false")]).await;
    let made = async || -> Vec<String> {
        let sql = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'idempotency_keys'::regclass ORDER BY 1";
        let rows = app.db().await.query(sql, &[]).await.expect("partitions");
        rows.iter().map(|row| row.get(0)).collect()
    };
    worked(&app, "partition_keeper").await;
    let days = ["20260310", "20260311", "20260312"].map(|day| format!("idempotency_keys_{day}"));
    assert_eq!(made().await, days);
    assert!(worked(&app, "partition_keeper").await.is_nothing(), "they are there");
    app.control().clock.advance(TimeDelta::days(1));
    worked(&app, "partition_keeper").await;
    assert!(made().await.contains(&"idempotency_keys_20260313".to_owned()), "{:?}", made().await);
}

#[tokio::test]
async fn what_cannot_be_carried_on_holds_up_nobody_when_time_is_short() {
    let app = TestApp::start().await;
    tenants(&app, 12).await;
    worked(&app, "billing_run").await;
    app.control().clock.advance(TimeDelta::days(31));
    // The first that a tick takes up.
    let broken = "UPDATE subscriptions SET timezone = 'Nowhere/At_all', next_event_at = next_event_at - interval '1 hour'
        WHERE tenant_id IN (SELECT tenant_id FROM subscriptions ORDER BY tenant_id LIMIT 8)";
    assert_eq!(app.db().await.execute(broken, &[]).await.expect("broken"), 8);
    let mut control = app.control().clone();
    control.rounds = Arc::new(Rounds::of(Duration::ZERO));
    let tick = async || workers::run_by_name(&control, "subscription_reaper").await;
    let first = tick().await.expect("its time is over").expect("nobody else is in it");
    assert!(first.has_more() && first.count("carried") == 0, "{first}");
    let second = tick().await.expect("its time is over").expect("nobody else is in it");
    assert_eq!(second.count("carried"), 4, "it goes on behind what failed");
    let ended = tick().await.expect_err("its round ends");
    assert!(ended.to_string().contains("8 subscriptions cannot be carried on"), "{ended}");
}

#[tokio::test]
async fn one_server_at_a_time_is_in_it_and_a_server_that_dies_lets_go() {
    let app = TestApp::start().await;
    let db = app.control().db.clone();
    let (begun, is_in) = tokio::sync::oneshot::channel();
    let first = tokio::spawn({
        let db = db.clone();
        async move {
            let work = async {
                let _ = begun.send(());
                std::future::pending::<()>().await;
            };
            db.alone("billing_run", work).await
        }
    });
    is_in.await.expect("it began");
    assert!(
        workers::run_by_name(app.control(), "billing_run").await.expect("fine").is_none(),
        "another is in it"
    );
    let text = metrics(&app).await;
    let runs =
        |result: &str| format!("scaicontrol_worker_runs_total{{worker=\"billing_run\",result=\"{result}\"}}");
    assert!(text.contains(&runs("skipped")) && !text.contains(&runs("ok")), "{text}");
    let ran = "scaicontrol_worker_last_run_timestamp_seconds{worker=\"billing_run\"}";
    assert!(!text.contains(ran) && lag(&text, "billing_run") == 0, "{text}");
    assert_eq!(db.alone("other", async { 7 }).await.expect("fine"), Some(7), "the name is the lock");
    first.abort();
    wait::until("the lock is free", async || {
        workers::run_by_name(app.control(), "billing_run").await.expect("fine").is_some()
    })
    .await;
}

async fn tenants(app: &TestApp, count: usize) -> Vec<Tenant> {
    let service = service(app, "vault").await;
    let plan = given::plan_with(app, &service, "pro", json!({"base_price_cents": 4900})).await;
    let mut all = vec![];
    for n in 0..count {
        let tenant = given::tenant(app, &format!("tnt_{n}"), "prt_north").await;
        given::subscription(app, &tenant, &plan, 1).await;
        all.push(tenant);
    }
    all
}

async fn count(app: &TestApp, of: &str) -> i64 {
    app.db().await.query_one(&format!("SELECT count(*) FROM {of}"), &[]).await.expect("a count").get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_by_hand_and_by_itself_at_once_bill_once() {
    let app = TestApp::start().await;
    given::patience(&app).await;
    tenants(&app, 12).await;
    let admin = app.operator("billing_admin");
    let by_hand = || async {
        let run = json!({"dry_run": false});
        app.call("POST", "/api/v1/admin/billing/run").token(&admin).json(&run).send().await.expect(200);
    };
    let by_itself = || async {
        workers::run_by_name(app.control(), "billing_run").await.expect("it works");
    };
    for _ in 0..2 {
        tokio::join!(join_all((0..3).map(|_| by_hand())), join_all((0..3).map(|_| by_itself())));
        app.advance(TimeDelta::days(31)).await;
    }
    assert_eq!(
        (count(&app, "invoices").await, count(&app, "invoices WHERE status = 'sent'").await),
        (24, 24)
    );
    assert_eq!((count(&app, "mails").await, count(&app, "run_drafts").await), (24, 0));
    let again = worked(&app, "billing_run").await;
    assert_eq!((again.count("items"), again.count("issued")), (24, 12), "{again}");
    assert!(worked(&app, "billing_run").await.is_nothing());
    verified(&app).await;
}

#[tokio::test]
async fn a_tenant_that_cannot_be_billed_holds_up_nobody() {
    let app = TestApp::start().await;
    tenants(&app, 3).await;
    worked(&app, "billing_run").await;
    let broken = "UPDATE subscriptions SET timezone = 'Nowhere/At_all' WHERE tenant_id = 'tnt_1'";
    app.db().await.execute(broken, &[]).await.expect("broken");
    app.control().clock.advance(TimeDelta::days(31));
    let failed = workers::run_by_name(app.control(), "billing_run").await.expect_err("it says so");
    assert!(failed.to_string().contains("tnt_1"), "{failed}");
    assert_eq!(count(&app, "invoices").await, 5, "the others are billed");
    let text = metrics(&app).await;
    assert!(
        text.contains("scaicontrol_worker_runs_total{worker=\"billing_run\",result=\"failed\"} 1"),
        "{text}"
    );
    workers::run_by_name(app.control(), "subscription_reaper").await.expect_err("nor can it be carried on");
    let lag = |text: &str| lag(text, "subscription_reaper");
    let text = metrics(&app).await;
    assert!((1..86_400 * 2).contains(&lag(&text)), "{text}");
    let mend = "UPDATE subscriptions SET timezone = 'Europe/Amsterdam' WHERE tenant_id = 'tnt_1'";
    app.db().await.execute(mend, &[]).await.expect("mended");
    worked(&app, "billing_run").await;
    assert_eq!(count(&app, "invoices").await, 6);
    worked(&app, "subscription_reaper").await;
    assert_eq!(lag(&metrics(&app).await), 0);
    verified(&app).await;
}

#[tokio::test]
async fn an_account_that_runs_away_is_parked_and_told_once() {
    let app = TestApp::start().await;
    tenants(&app, 2).await;
    worked(&app, "billing_run").await;
    let admin = app.operator("billing_admin");
    let run = async || {
        let asked = json!({"dry_run": false});
        app.call("POST", "/api/v1/admin/billing/run").token(&admin).json(&asked).send().await.data(200)
    };
    // As if nobody had looked at it for eleven years.
    let ago = app.now() - TimeDelta::days(11 * 366);
    let late = "UPDATE subscriptions SET next_event_at = $1 WHERE tenant_id = 'tnt_0'";
    app.db().await.execute(late, &[&ago]).await.expect("late");
    app.control().clock.advance(TimeDelta::days(31));
    for _ in 0..2 {
        let done = run().await;
        let parked = done["parked"].as_array().expect("a list");
        assert_eq!(parked.len(), 1, "{done}");
        assert_eq!(
            (&parked[0]["tenant_id"], &parked[0]["reason"]),
            (&json!("tnt_0"), &json!("too_many_periods"))
        );
    }
    assert_eq!(count(&app, "invoices").await, 3, "the other one is billed");
    assert_eq!(
        count(&app, "notifications WHERE message = 'billing_parked' AND tenant_id = 'tnt_0'").await,
        1
    );
    let mend = "UPDATE subscriptions SET next_event_at = current_period_end WHERE tenant_id = 'tnt_0'";
    app.db().await.execute(mend, &[]).await.expect("mended");
    assert_eq!(run().await["parked"], json!([]));
    assert_eq!((count(&app, "invoices").await, count(&app, "billing_parked").await), (4, 0));
    verified(&app).await;
}

#[tokio::test]
async fn too_many_lines_are_parked_and_the_rest_goes_on() {
    let app = TestApp::start().await;
    tenants(&app, 1).await;
    worked(&app, "billing_run").await;
    let db = app.db().await;
    // The usage of more segments than an invoice holds lines: copies of one that is over, in another currency.
    app.control().clock.advance(TimeDelta::days(40));
    worked(&app, "subscription_reaper").await;
    let copies = "
        INSERT INTO billed_items (tenant_id, billed_item_id, partner_id, source_type, source_id, period_start, kind, revision, subscription_id,
          currency, due_at, run_date, own_invoice, status, created_at)
        SELECT tenant_id, gen_random_uuid(), partner_id, source_type, source_id, period_start, kind, n, subscription_id, 'USD', due_at, run_date,
          own_invoice, 'due', created_at
        FROM billed_items, generate_series(100, 5200) n WHERE kind = 'base' AND status = 'due'";
    assert_eq!(db.execute(copies, &[]).await.expect("copies"), 5_101);
    let done = worked(&app, "billing_run").await;
    assert_eq!(done.count("issued"), 1, "the euros: {done}");
    let parked = "billing_parked WHERE currency = 'USD' AND reason = 'too_many_lines'";
    assert_eq!(count(&app, parked).await, 1);
    assert_eq!(count(&app, "notifications WHERE message = 'billing_parked'").await, 1);
    assert!(worked(&app, "billing_run").await.is_nothing(), "it is left alone for a day");
    assert_eq!(count(&app, "billed_items WHERE currency = 'USD' AND status = 'due'").await, 5_101);
}

#[tokio::test]
async fn more_lines_than_an_invoice_holds_go_on_a_further_one() {
    let app = TestApp::start().await;
    given::patience(&app).await;
    let tenant = given::tenant(&app, "tnt_large", "prt_north").await;
    for slug in ["vault", "flow", "send"] {
        let service = service(&app, slug).await;
        let plan = given::plan_with(&app, &service, "pro", json!({"base_price_cents": 4900})).await;
        given::subscription(&app, &tenant, &plan, 1).await;
    }
    worked(&app, "billing_run").await;
    app.control().clock.advance(TimeDelta::days(40));
    worked(&app, "subscription_reaper").await;
    let copies = "
        INSERT INTO billed_items (tenant_id, billed_item_id, partner_id, source_type, source_id, period_start, kind, revision, subscription_id,
          currency, due_at, run_date, own_invoice, status, created_at)
        SELECT tenant_id, gen_random_uuid(), partner_id, source_type, source_id, period_start, kind, n, subscription_id, currency, due_at, run_date,
          own_invoice, 'due', created_at
        FROM billed_items, generate_series(100, 799) n WHERE kind = 'base' AND status = 'due'";
    assert_eq!(app.db().await.execute(copies, &[]).await.expect("copies"), 2_100);
    let done = worked(&app, "billing_run").await;
    assert_eq!(done.count("issued"), 2, "{done}");
    let made = "SELECT count(*), count(DISTINCT l.subscription_id), i.subtotal_cents FROM invoices i JOIN invoice_lines l USING (tenant_id, invoice_id)
                GROUP BY i.number, i.subtotal_cents HAVING 1 < count(*) ORDER BY i.number";
    let made: Vec<(i64, i64, i64)> = app
        .db()
        .await
        .query(made, &[])
        .await
        .expect("invoices")
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    // What belongs to a subscription stays together: two fit, the third does not.
    assert_eq!(made, [(1_402, 2, 1_402 * 4900), (701, 1, 701 * 4900)]);
    assert!(worked(&app, "billing_run").await.is_nothing());
    assert_eq!(count(&app, "billing_parked").await, 0);
    // The copies are one period billed many times, and the books say so. Journals, sums and numbers, which are
    // looked at before that, agree.
    let found = difference(&app).await.expect("the copies are found");
    assert_eq!(found.check, "nothing is billed by two documents that stand", "{}", found.found);
}

#[tokio::test]
async fn books_that_do_not_agree_are_told_of_once_a_night() {
    let app = TestApp::start().await;
    given::tenant(&app, "tnt_home", OPERATOR).await;
    let db = app.db().await;
    let home = "UPDATE partners SET home_tenant_id = 'tnt_home' WHERE partner_id = $1";
    assert_eq!(db.execute(home, &[&OPERATOR]).await.expect("a home"), 1);
    assert_eq!(worked(&app, "reconciliation").await.count("checks"), verify::count() as u64);
    assert!(worked(&app, "reconciliation").await.is_nothing(), "once a night");
    let missing =
        "INSERT INTO invoice_counters (partner_id, series, year, last_value) VALUES ($1, 'invoice', 2026, 3)";
    db.execute(missing, &[&OPERATOR]).await.expect("a counter without its numbers");
    let night: DateTime<Utc> = "2026-03-11T02:00:00Z".parse().expect("a time");
    assert!(app.control().clock.set(night - TimeDelta::seconds(1)));
    assert!(worked(&app, "reconciliation").await.is_nothing(), "not before two");
    assert!(app.control().clock.set(night));
    let found = workers::run_by_name(app.control(), "reconciliation").await.expect_err("it says so");
    assert!(found.to_string().contains("numbers run from 1 without a gap"), "{found}");
    let again = workers::run_by_name(app.control(), "reconciliation").await.expect_err("it still does");
    assert_eq!(again.to_string(), found.to_string(), "a night that failed does not pass");
    assert!(metrics(&app).await.contains("scaicontrol_books_differences_total 1"));
    let row = db
        .query_one(
            "SELECT tenant_id, severity, parameters FROM notifications WHERE message = 'books_differ'",
            &[],
        )
        .await;
    let row = row.expect("one notification");
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("tnt_home", "critical"));
    assert!(row.get::<_, Value>(2)["found"].as_str().is_some_and(|text| text.contains(OPERATOR)));
    let mended = "DELETE FROM invoice_counters WHERE partner_id = $1";
    db.execute(mended, &[&OPERATOR]).await.expect("the counter is gone");
    assert_eq!(worked(&app, "reconciliation").await.count("checks"), verify::count() as u64);
    assert!(worked(&app, "reconciliation").await.is_nothing());
}

fn program() -> PathBuf {
    PathBuf::from(std::env::var_os("SCAICONTROL_BIN").expect("the tests are run by `cargo xtask test`"))
}

fn run(app: &TestApp, words: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.args(words).env_clear().current_dir(std::env::temp_dir());
    for (key, value) in [
        ("DATABASE_URL", app.database().app_url().as_str()),
        ("SCAIKEY_ISSUER", app.issuer().url()),
        ("SCAICONTROL_AUTH__AUDIENCE", "scaicontrol"),
        ("SCAICONTROL_PLATFORM__OPERATOR_PARTNER_ID", OPERATOR),
        ("SCAICONTROL_OUTBOUND__ALLOW_PRIVATE", "true"),
        ("SCAICONTROL_VIES__ENABLED", "false"),
    ] {
        command.env(key, value);
    }
    command.output().expect("it runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_run_from_the_command_line() {
    let app = TestApp::start().await;
    tenants(&app, 2).await;
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let list = run(&app, &["worker", "list"]);
    assert!(list.status.success());
    assert_eq!(said(&list).lines().count(), WORKERS.len());
    let done = run(&app, &["worker", "run", "billing_run"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // The program goes by the real clock, for which the subscriptions are months old.
    assert!(said(&done).starts_with("billing_run: items: "), "{}", said(&done));
    assert_eq!(count(&app, "invoices WHERE status <> 'sent'").await, 0);
    assert!(2 <= count(&app, "invoices").await);
    let again = run(&app, &["worker", "run", "billing_run"]);
    assert_eq!(said(&again).trim(), "billing_run: nothing to do");
    let nobody = run(&app, &["worker", "run", "nobody"]);
    assert_eq!(nobody.status.code(), Some(1));
    let words = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(words.contains("subscription_reaper"), "it lists them: {words}");
    verified(&app).await;
}
