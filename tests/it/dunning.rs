//! Invoices that are not paid in time: when they become past due, what happens to them and their subscriptions day by
//! day, and what a payment, a credit note or new settings change of it.
use crate::admin_billing::start as given_start;
use crate::payments::{ask, issued, paid};
use crate::support::{finalize, get, made, run, uuid, verified};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use scaicontrol_server::dunning;
use scaicontrol_server::op::OpContext;
use scaicontrol_server::workers::rounds::Rounds;
use scaicontrol_tests::given::{self, Service, Tenant};
use scaicontrol_tests::{TestApp, wait};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

struct Given {
    app: TestApp,
    admin: String,
    tenant: Tenant,
    service: Service,
}

impl Given {
    async fn start() -> Given {
        let (app, admin, tenant) = given_start().await;
        let service = given::service(&app, "vault").await;
        Given { app, admin, tenant, service }
    }

    /// A monthly subscription, and the issued invoice of its first month.
    async fn subscribed(&self) -> (Uuid, Uuid) {
        let plan = given::plan(&self.app, &self.service, "pro", 4900).await;
        let subscription = given::subscription(&self.app, &self.tenant, &plan, 1).await;
        (subscription, self.billed().await)
    }

    /// Bills what is due, as one issued invoice.
    async fn billed(&self) -> Uuid {
        let done = run(&self.app, &self.admin, &self.tenant.id).await;
        let drafts = made(&self.app, &self.admin, &done).await;
        let [draft] = drafts.as_slice() else { panic!("{drafts:?}") };
        let id = uuid(&draft["id"]);
        finalize(&self.app, &self.admin, id).await;
        id
    }

    async fn at(&self, time: &str) {
        self.app.advance_to(instant(time)).await;
    }

    /// One second before a time nothing is different from before; then it is that time.
    async fn exactly_at(&self, time: &str) {
        let before = self.told().await;
        self.app.advance_to(instant(time) - TimeDelta::seconds(1)).await;
        assert_eq!(self.told().await, before, "before {time}");
        self.at(time).await;
    }

    async fn invoice(&self, id: Uuid) -> String {
        get(&self.app, &self.admin, id).await["status"].as_str().unwrap_or_default().to_owned()
    }

    async fn subscription(&self, id: Uuid) -> Value {
        let path = format!("/api/v1/subscriptions/{id}");
        self.app.call("GET", &path).token(&self.tenant.admin).send().await.data(200)
    }

    async fn state(&self, id: Uuid) -> String {
        self.subscription(id).await["status"].as_str().unwrap_or_default().to_owned()
    }

    async fn count(&self, of: &str) -> i64 {
        count(&self.app, of).await
    }

    /// Mails and notifications of dunning so far.
    async fn told(&self) -> (i64, i64) {
        let told = "notifications WHERE message IN ('invoice_past_due', 'invoice_reminder', 'invoice_unpaid_suspended')";
        (self.count("mails WHERE kind = 'payment_failed'").await, self.count(told).await)
    }

    /// The text of the newest mail.
    async fn text(&self) -> String {
        let sql = "SELECT text_body FROM mails WHERE kind = 'payment_failed' ORDER BY mail_id DESC LIMIT 1";
        self.app.db().await.query_one(sql, &[]).await.expect("a mail").get(0)
    }

    async fn pay(&self, id: Uuid, amount: Option<i64>) {
        ask(&self.app, &self.admin, id, "mark-paid", &paid(amount, "bank_transfer")).send().await.data(200);
    }

    async fn timezone(&self, name: &str) {
        let path = format!("/api/v1/admin/partners/{}", self.tenant.partner);
        let operator = self.app.operator("super_admin");
        self.app
            .call("PATCH", &path)
            .token(&operator)
            .json(&json!({"timezone": name}))
            .send()
            .await
            .expect(200);
    }

    async fn past_due_at(&self, id: Uuid) -> DateTime<Utc> {
        let sql = "SELECT past_due_at FROM dunning_cases WHERE invoice_id = $1";
        self.app.db().await.query_one(sql, &[&id]).await.expect("a case").get(0)
    }

    async fn settings(&self, version: i32, data: &Value) {
        settings(&self.app, version, data).await;
    }
}

pub fn instant(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

pub async fn count(app: &TestApp, of: &str) -> i64 {
    app.db().await.query_one(&format!("SELECT count(*) FROM {of}"), &[]).await.expect("a count").get(0)
}

/// Saves settings as the next version, as their operation will.
pub async fn settings(app: &TestApp, version: i32, data: &Value) {
    let sql = "INSERT INTO platform_settings (version, data, updated_at) VALUES ($1, $2, $3)
        ON CONFLICT (id) DO UPDATE SET version = $1, data = $2, updated_at = $3";
    app.db().await.execute(sql, &[&version, data, &app.now()]).await.expect("saved");
}

/// Every event of a topic, checked against its schema.
pub async fn events(app: &TestApp, topic: &str) -> Vec<Value> {
    let sql = "SELECT data FROM outbox_events WHERE event_type = $1 ORDER BY id";
    let rows = app.db().await.query(sql, &[&topic]).await.expect("events");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn the_days_of_an_unpaid_invoice() {
    let g = Given::start().await;
    let (sub, invoice) = g.subscribed().await;
    // Issued on 10 March with 14 days: the 24th is the last day, which ends at 23:00 UTC in Amsterdam.
    g.exactly_at("2026-03-24T23:00:00Z").await;
    assert_eq!((g.invoice(invoice).await, g.state(sub).await), ("past_due".into(), "past_due".into()));
    assert_eq!(g.subscription(sub).await["past_due_since"], "2026-03-24T23:00:00Z");
    assert_eq!(g.past_due_at(invoice).await, instant("2026-03-24T23:00:00Z"));
    assert_eq!(g.told().await, (1, 1), "the first mail goes with it");
    let text = g.text().await;
    assert!(text.contains("24\u{a0}March 2026") && text.contains("€59.29"), "{text}");
    assert!(text.contains("8\u{a0}April 2026"), "when it is suspended: {text}");
    let failed = events(&g.app, "subscription.payment_failed").await;
    assert_eq!(failed.len(), 1);
    assert_eq!((&failed[0]["status"], &failed[0]["due_cents"]), (&json!("past_due"), &json!(5929)));
    assert_eq!((&failed[0]["attempt_count"], &failed[0]["failure_code"]), (&json!(0), &json!(null)));
    let changed = events(&g.app, "subscription.changed").await;
    assert_eq!(changed.last().map(|e| &e["previous_status"]), Some(&json!("active")));
    // Clocks go forward on the 29th: midnight is an hour earlier in UTC from then on.
    for (time, told) in
        [("2026-03-27T23:00:00Z", (2, 2)), ("2026-03-31T22:00:00Z", (3, 3)), ("2026-04-03T22:00:00Z", (4, 4))]
    {
        g.exactly_at(time).await;
        assert_eq!((g.told().await, g.state(sub).await), (told, "past_due".into()), "{time}");
    }
    g.exactly_at("2026-04-07T22:00:00Z").await;
    let suspended = g.subscription(sub).await;
    assert_eq!(
        (&suspended["status"], &suspended["suspension_reason"]),
        (&json!("suspended"), &json!("dunning"))
    );
    assert_eq!(g.told().await, (4, 5), "the suspension is told of, and not mailed");
    assert_eq!(events(&g.app, "subscription.suspended").await.len(), 1);
    // Without a day of cancellation it stays so.
    g.at("2026-04-20T08:00:00Z").await;
    assert_eq!((g.told().await, g.state(sub).await), ((4, 5), "suspended".into()));
    g.pay(invoice, None).await;
    assert_eq!((g.invoice(invoice).await, g.state(sub).await), ("paid".into(), "active".into()));
    assert_eq!(events(&g.app, "subscription.resumed").await.len(), 1);
    assert_eq!(g.count("dunning_cases WHERE ended_at IS NULL").await, 0);
    g.at("2026-07-01T00:00:00Z").await;
    assert_eq!(g.told().await, (4, 5));
    verified(&g.app).await;
}

#[tokio::test]
async fn a_payment_stops_the_rest_and_a_part_does_not() {
    let g = Given::start().await;
    let (sub, invoice) = g.subscribed().await;
    g.at("2026-03-24T23:00:00Z").await;
    g.at("2026-03-27T23:00:00Z").await;
    g.pay(invoice, Some(1000)).await;
    assert_eq!(g.state(sub).await, "past_due");
    g.at("2026-03-31T22:00:00Z").await;
    assert_eq!(g.told().await, (3, 3));
    assert!(g.text().await.contains("€49.29"), "what is left: {}", g.text().await);
    g.pay(invoice, None).await;
    assert_eq!(
        (g.state(sub).await, g.subscription(sub).await["past_due_since"].is_null()),
        ("active".into(), true)
    );
    g.at("2026-04-08T22:00:00Z").await;
    assert_eq!((g.told().await, g.state(sub).await), ((3, 3), "active".into()));
    verified(&g.app).await;
}

#[tokio::test]
async fn what_nothing_is_due_on_is_never_past_due() {
    let g = Given::start().await;
    let credited = issued(&g.app, &g.admin, &g.tenant, "10000").await;
    let void = issued(&g.app, &g.admin, &g.tenant, "10000").await;
    let written_off = issued(&g.app, &g.admin, &g.tenant, "10000").await;
    given::draft(&g.app, &g.admin, &g.tenant, "10000").await;
    ask(&g.app, &g.admin, credited, "credit-note", &json!({"reason": "goodwill"})).send().await.data(201);
    ask(&g.app, &g.admin, void, "void", &json!({"reason": "mistake"})).send().await.data(200);
    ask(&g.app, &g.admin, written_off, "mark-paid", &paid(None, "write_off")).send().await.data(200);
    g.at("2026-05-01T00:00:00Z").await;
    assert_eq!((g.told().await, g.count("dunning_cases").await), ((0, 0), 0));
    // Credited when it is past due already: the case is over.
    let late = issued(&g.app, &g.admin, &g.tenant, "10000").await;
    g.at("2026-05-16T00:00:00Z").await;
    assert_eq!(g.invoice(late).await, "past_due");
    ask(&g.app, &g.admin, late, "credit-note", &json!({"reason": "goodwill"})).send().await.data(201);
    g.at("2026-07-01T00:00:00Z").await;
    assert_eq!((g.told().await, g.count("dunning_cases WHERE ended_at IS NULL").await), ((1, 1), 0));
    verified(&g.app).await;
}

/// A suspended subscription, and two overdue invoices with a line of it.
async fn twice_overdue(g: &Given) -> (Uuid, Uuid, Uuid) {
    let (sub, first) = g.subscribed().await;
    g.at("2026-04-09T23:00:00Z").await;
    // Suspended since the 8th: only usage is billed, so the second invoice is made by hand with a line of it.
    assert_eq!(g.state(sub).await, "suspended");
    let second = issued(&g.app, &g.admin, &g.tenant, "10000").await;
    let line = "SET session_replication_role = replica; UPDATE invoice_lines SET subscription_id = $s WHERE invoice_id = $i; RESET session_replication_role";
    let line = line.replace("$s", &format!("'{sub}'")).replace("$i", &format!("'{second}'"));
    g.app.db().await.batch_execute(&line).await.expect("a line of the subscription");
    g.at("2026-04-24T22:00:00Z").await;
    assert_eq!(g.invoice(second).await, "past_due");
    (sub, first, second)
}

#[tokio::test]
async fn of_two_overdue_invoices_the_last_one_frees() {
    let g = Given::start().await;
    let (sub, first, second) = twice_overdue(&g).await;
    g.pay(first, None).await;
    assert_eq!(g.state(sub).await, "suspended", "another one is overdue");
    g.pay(second, None).await;
    assert_eq!(g.state(sub).await, "active");
    assert_eq!(g.count("dunning_cases WHERE ended_at IS NULL").await, 0);
    verified(&g.app).await;
}

#[tokio::test]
async fn two_invoices_that_are_paid_at_one_moment_free_too() {
    let g = Given::start().await;
    let (sub, first, second) = twice_overdue(&g).await;
    // Somebody else holds the subscription until both payments have written what they are.
    let db = g.app.db().await;
    db.batch_execute("BEGIN").await.expect("a transaction");
    db.batch_execute(&format!("SELECT 1 FROM subscriptions WHERE subscription_id = '{sub}' FOR UPDATE"))
        .await
        .expect("its row");
    let release = async {
        let waiting = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        wait::until("both payments wait", async || 2 <= g.count(waiting).await).await;
        db.batch_execute("COMMIT").await.expect("the row is free");
    };
    tokio::join!(g.pay(first, None), g.pay(second, None), release);
    assert_eq!(g.state(sub).await, "active");
    assert_eq!(g.count("dunning_cases WHERE ended_at IS NULL").await, 0);
    verified(&g.app).await;
}

#[tokio::test]
async fn who_looks_late_takes_each_step_and_mails_once() {
    let g = Given::start().await;
    let (sub, invoice) = g.subscribed().await;
    g.app.control().clock.set(instant("2026-04-20T12:00:00Z"));
    g.app.advance(TimeDelta::zero()).await;
    assert_eq!((g.invoice(invoice).await, g.state(sub).await), ("past_due".into(), "suspended".into()));
    assert_eq!(g.past_due_at(invoice).await, instant("2026-03-24T23:00:00Z"), "whenever it is seen");
    assert_eq!(g.subscription(sub).await["past_due_since"], "2026-03-24T23:00:00Z");
    assert_eq!(g.told().await, (1, 2));
    assert_eq!(g.count("dunning_cases WHERE reminded_day = 10 AND suspended_at IS NOT NULL").await, 1);
    g.app.advance(TimeDelta::days(30)).await;
    assert_eq!(g.told().await, (1, 2));
    verified(&g.app).await;
}

#[tokio::test]
async fn open_steps_follow_new_settings_and_cancellation_is_one_of_them() {
    let g = Given::start().await;
    let (sub, invoice) = g.subscribed().await;
    g.at("2026-03-24T23:00:00Z").await;
    let dunning = |suspend: u32, cancel: Option<u32>| json!({"dunning": {"reminder_days": [0, 4], "suspend_after_days": suspend, "cancel_after_days": cancel}});
    g.settings(2, &dunning(6, Some(20))).await;
    g.exactly_at("2026-03-28T23:00:00Z").await;
    assert_eq!(g.told().await, (2, 2), "the day of the new settings");
    g.exactly_at("2026-03-30T22:00:00Z").await;
    assert_eq!(g.state(sub).await, "suspended");
    g.settings(3, &dunning(6, Some(10))).await;
    g.exactly_at("2026-04-03T22:00:00Z").await;
    let ended = g.subscription(sub).await;
    assert_eq!((&ended["status"], ended["suspended_at"].is_null()), (&json!("cancelled"), true));
    assert_eq!(g.invoice(invoice).await, "past_due", "what is owed stays owed");
    assert_eq!(g.count("invoices WHERE document_type = 'credit_note'").await, 0, "and nothing is given back");
    let cancelled = events(&g.app, "subscription.cancelled").await;
    assert_eq!((cancelled.len(), &cancelled[0]["effective_immediately"]), (1, &json!(true)));
    g.pay(invoice, None).await;
    assert_eq!(g.state(sub).await, "cancelled");
    verified(&g.app).await;
}

#[tokio::test]
async fn a_clock_that_is_moved_by_a_second_takes_up_new_settings() {
    let g = Given::start().await;
    let (sub, invoice) = g.subscribed().await;
    g.app.live_to(instant("2026-03-30T09:00:00Z")).await;
    assert_eq!((g.invoice(invoice).await, g.state(sub).await), ("past_due".into(), "past_due".into()));
    g.settings(2, &json!({"dunning": {"reminder_days": [0], "suspend_after_days": 2}})).await;
    let moved = g.app.live_to(g.app.now() + TimeDelta::seconds(1)).await;
    assert_eq!(moved.stops, 0, "it is due where the clock stands");
    assert_eq!(g.state(sub).await, "suspended", "its day is over");
    assert_eq!(g.count("dunning_cases WHERE settings_version = 2").await, 1);
    verified(&g.app).await;
}

#[tokio::test]
async fn what_fails_at_the_front_holds_up_nobody_when_time_is_short() {
    let g = Given::start().await;
    let broken = issued(&g.app, &g.admin, &g.tenant, "10000").await;
    let whole = issued(&g.app, &g.admin, &g.tenant, "10000").await;
    // It cannot be shown, so its case cannot be opened.
    let sql = format!(
        "SET session_replication_role = replica; UPDATE invoices SET seller_snapshot = '[]', overdue_at = overdue_at - interval '1 hour' WHERE invoice_id = '{broken}'; RESET session_replication_role"
    );
    g.app.db().await.batch_execute(&sql).await.expect("broken");
    let mut control = g.app.control().clone();
    control.rounds = Arc::new(Rounds::of(Duration::ZERO));
    control.clock.set(instant("2026-03-25T00:00:00Z"));
    let op = OpContext::system(&control.clock, &control.ids, "dunning");
    let first = dunning::tick(&op, &control).await.expect("its time is over");
    assert!(first.has_more() && first.count("invoices") == 0, "{first}");
    let second = dunning::tick(&op, &control).await.expect("its time is over");
    assert_eq!((second.count("invoices"), g.invoice(whole).await), (1, "past_due".into()));
    let mut ends = None;
    for _ in 0..4 {
        if let Err(e) = dunning::tick(&op, &control).await {
            ends = Some(e.to_string());
            break;
        }
    }
    assert!(ends.as_ref().is_some_and(|e| e.contains("1 unpaid invoices are stuck")), "{ends:?}");
}

#[tokio::test]
async fn a_day_ends_where_the_seller_is() {
    let g = Given::start().await;
    // It is 10 March, 23:00 in Kiritimati, and 9 March, 22:00 in Niue.
    for (zone, overdue) in
        [("Pacific/Kiritimati", "2026-03-24T10:00:00Z"), ("Pacific/Niue", "2026-03-24T11:00:00Z")]
    {
        g.timezone(zone).await;
        let invoice = issued(&g.app, &g.admin, &g.tenant, "10000").await;
        // What was issued keeps its place, wherever the seller goes.
        g.timezone("Europe/Amsterdam").await;
        let sql = "SELECT overdue_at FROM invoices WHERE invoice_id = $1";
        let at: DateTime<Utc> = g.app.db().await.query_one(sql, &[&invoice]).await.expect("it").get(0);
        assert_eq!(at, instant(overdue), "{zone}");
    }
    g.exactly_at("2026-03-24T10:00:00Z").await;
    assert_eq!(g.told().await, (1, 1));
    g.exactly_at("2026-03-24T11:00:00Z").await;
    assert_eq!(g.told().await, (2, 2));
    // Three local days later each, at its own midnight.
    g.exactly_at("2026-03-27T10:00:00Z").await;
    g.exactly_at("2026-03-27T11:00:00Z").await;
    assert_eq!(g.told().await, (4, 4));
    verified(&g.app).await;
}

#[tokio::test]
async fn the_leap_day_is_a_day() {
    let g = Given::start().await;
    g.at("2028-02-15T12:00:00Z").await;
    let invoice = issued(&g.app, &g.admin, &g.tenant, "10000").await;
    assert_eq!(get(&g.app, &g.admin, invoice).await["due_date"], "2028-02-29");
    g.exactly_at("2028-02-29T23:00:00Z").await;
    assert_eq!((g.invoice(invoice).await, g.told().await), ("past_due".into(), (1, 1)));
    g.exactly_at("2028-03-03T23:00:00Z").await;
    assert_eq!(g.told().await, (2, 2));
}

#[tokio::test]
async fn many_servers_at_once_take_a_step_once() {
    let g = Given::start().await;
    let (sub, _) = g.subscribed().await;
    for _ in 0..5 {
        issued(&g.app, &g.admin, &g.tenant, "10000").await;
    }
    let control = g.app.control();
    for time in ["2026-03-24T23:00:00Z", "2026-03-27T23:00:00Z", "2026-04-07T22:00:00Z"] {
        control.clock.set(instant(time));
        let servers = (0..6).map(async |_| {
            let op = OpContext::system(&control.clock, &control.ids, "dunning");
            dunning::tick(&op, control).await.expect("a tick")
        });
        join_all(servers).await;
    }
    assert_eq!(g.count("mails WHERE kind = 'payment_failed'").await, 3 * 6);
    assert_eq!(g.count("notifications WHERE message = 'invoice_past_due'").await, 6);
    assert_eq!(g.count("notifications WHERE message = 'invoice_reminder'").await, 2 * 6);
    assert_eq!(g.count("notifications WHERE message = 'invoice_unpaid_suspended'").await, 1);
    assert_eq!((g.count("dunning_cases").await, g.state(sub).await), (6, "suspended".into()));
    assert_eq!(events(&g.app, "subscription.suspended").await.len(), 1);
    verified(&g.app).await;
}

#[tokio::test]
async fn a_reversed_payment_counts_as_overdue() {
    let g = Given::start().await;
    let (sub, invoice) = g.subscribed().await;
    g.pay(invoice, None).await;
    g.at("2026-03-15T15:20:00Z").await;
    // As the gateways of payments will write it down.
    let back = "UPDATE invoices SET paid_cents = 0, due_cents = total_cents, payment_reversed_at = '2026-03-15T15:20:00Z' WHERE invoice_id = $1";
    g.app.db().await.execute(back, &[&invoice]).await.expect("reversed");
    g.app.advance(TimeDelta::zero()).await;
    assert_eq!((g.invoice(invoice).await, g.state(sub).await), ("paid".into(), "past_due".into()));
    assert_eq!(g.past_due_at(invoice).await, instant("2026-03-15T15:20:00Z"));
    g.exactly_at("2026-03-18T15:20:00Z").await;
    assert_eq!(g.told().await, (2, 2));
    g.at("2026-03-26T00:00:00Z").await;
    // The same time of day, after the change of clocks.
    g.exactly_at("2026-03-29T14:20:00Z").await;
    assert_eq!(g.state(sub).await, "suspended");
    g.pay(invoice, None).await;
    assert_eq!(g.state(sub).await, "active");
}

#[tokio::test]
async fn without_a_contact_there_is_no_mail_and_nothing_else_is_missing() {
    let g = Given::start().await;
    let (sub, _) = g.subscribed().await;
    g.app.db().await.batch_execute("UPDATE billing_profiles SET contact_email = NULL").await.expect("gone");
    g.at("2026-03-24T23:00:00Z").await;
    g.at("2026-04-07T22:00:00Z").await;
    assert_eq!((g.told().await, g.state(sub).await), ((0, 3), "suspended".into()));
}

#[tokio::test]
async fn trialing_and_cancelling_ones_stay_and_are_told() {
    let g = Given::start().await;
    let (sub, invoice) = g.subscribed().await;
    let path = format!("/api/v1/subscriptions/{sub}/cancel");
    let asked = json!({"reason": "too dear"});
    g.app.call("POST", &path).token(&g.tenant.admin).json(&asked).send().await.data(200);
    g.at("2026-03-24T23:00:00Z").await;
    assert_eq!((g.invoice(invoice).await, g.state(sub).await), ("past_due".into(), "cancelling".into()));
    let failed = events(&g.app, "subscription.payment_failed").await;
    assert_eq!((&failed[0]["status"], &failed[0]["past_due_since"]), (&json!("cancelling"), &json!(null)));
    g.at("2026-04-08T00:00:00Z").await;
    assert_eq!(g.state(sub).await, "cancelling");
    verified(&g.app).await;
}

#[tokio::test]
async fn who_stays_after_all_meets_the_steps_that_were_taken_meanwhile() {
    let g = Given::start().await;
    let (sub, invoice) = g.subscribed().await;
    let post = async |what: &str| {
        let path = format!("/api/v1/subscriptions/{sub}/{what}");
        let call = g.app.call("POST", &path).token(&g.tenant.admin);
        let call = if what == "cancel" { call.json(&json!({"reason": "too dear"})) } else { call };
        call.send().await.data(200)
    };
    post("cancel").await;
    g.at("2026-04-08T00:00:00Z").await;
    assert_eq!(g.state(sub).await, "cancelling");
    assert_eq!(g.count("dunning_cases WHERE suspended_at IS NOT NULL").await, 1, "of nothing");
    let suspended = "notifications WHERE message = 'invoice_unpaid_suspended'";
    assert_eq!(g.count(suspended).await, 0);
    let stays = post("reactivate").await;
    assert_eq!((&stays["status"], &stays["suspension_reason"]), (&json!("suspended"), &json!("dunning")));
    assert_eq!(stays["past_due_since"], "2026-03-24T23:00:00Z");
    assert_eq!(g.count(suspended).await, 1);
    assert_eq!(events(&g.app, "subscription.suspended").await.len(), 1);
    g.pay(invoice, None).await;
    assert_eq!(g.state(sub).await, "active");
    verified(&g.app).await;
}

#[tokio::test]
async fn who_stays_before_the_suspension_is_suspended_on_its_day() {
    let g = Given::start().await;
    let (sub, _) = g.subscribed().await;
    let path = format!("/api/v1/subscriptions/{sub}");
    let asked = json!({"reason": "too dear"});
    let cancel = g.app.call("POST", &format!("{path}/cancel")).token(&g.tenant.admin).json(&asked);
    cancel.send().await.data(200);
    g.at("2026-03-28T12:00:00Z").await;
    let stays = g.app.call("POST", &format!("{path}/reactivate")).token(&g.tenant.admin).send().await;
    let stays = stays.data(200);
    assert_eq!(
        (&stays["status"], &stays["past_due_since"]),
        (&json!("past_due"), &json!("2026-03-24T23:00:00Z"))
    );
    g.at("2026-04-07T22:00:00Z").await;
    assert_eq!(g.state(sub).await, "suspended");
}

#[tokio::test]
async fn a_mail_speaks_the_tenants_language_and_a_broken_template_does_not_stop_it() {
    let g = Given::start().await;
    issued(&g.app, &g.admin, &g.tenant, "10000").await;
    let template = json!({
        "name": "ours", "document_type": "email_payment_failed", "scope": "platform", "language": null,
        "subject": "{{ invoice.number }}", "html_content": "<p>{{ failure.amount }} {{ invoice.number }}</p>",
    });
    let operator = g.app.operator("super_admin");
    g.app
        .call("POST", "/api/v1/admin/billing/templates")
        .token(&operator)
        .json(&template)
        .send()
        .await
        .data(201);
    let db = g.app.db().await;
    let own = "UPDATE billing_profiles SET preferred_language = 'nl', email_template_name = 'ours'";
    db.batch_execute(own).await.expect("chosen");
    g.at("2026-03-24T23:00:00Z").await;
    let newest = "SELECT template_name, language, subject FROM mails ORDER BY mail_id DESC LIMIT 1";
    let row = db.query_one(newest, &[]).await.expect("a mail");
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("ours", "nl"));
    // What is stored is checked; this one got there some other way.
    let broken = "SET session_replication_role = replica; UPDATE template_versions SET html_content = '{% if %}'; RESET session_replication_role";
    db.batch_execute(broken).await.expect("broken");
    g.at("2026-03-27T23:00:00Z").await;
    let row = db.query_one(newest, &[]).await.expect("a mail");
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("standard", "nl"));
    assert!(row.get::<_, &str>(2).ends_with("is nog niet betaald"), "{}", row.get::<_, &str>(2));
}
