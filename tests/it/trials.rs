//! What a tenant is told before its trial ends, when, and how often.
use crate::dunning::{count, events, instant, settings};
use crate::support::verified;
use chrono::TimeDelta;
use futures::future::join_all;
use scaicontrol_server::db::Conn;
use scaicontrol_server::op::{OpContext, Scope};
use scaicontrol_server::settings::load;
use scaicontrol_server::subscriptions::{notices, store};
use scaicontrol_tests::TestApp;
use scaicontrol_tests::given::{self, Plan, Service, Tenant};
use serde_json::{Value, json};
use uuid::Uuid;

struct Given {
    app: TestApp,
    tenant: Tenant,
    service: Service,
}

impl Given {
    async fn start() -> Given {
        let app = TestApp::start().await;
        let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
        let service = given::service(&app, "vault").await;
        Given { app, tenant, service }
    }

    async fn trial(&self, days: u32) -> Uuid {
        let plan = given::plan_with(&self.app, &self.service, "pro", json!({"trial_days": days})).await;
        given::subscription(&self.app, &self.tenant, &plan, 2).await
    }

    /// Mails, notifications and events so far.
    async fn told(&self) -> (i64, i64, usize) {
        (
            count(&self.app, "mails WHERE kind = 'trial_ending'").await,
            count(&self.app, "notifications WHERE message = 'trial_ending'").await,
            events(&self.app, "subscription.trial_ending").await.len(),
        )
    }

    /// One second before a time nothing more was told; at that time the tenant was told once more.
    async fn told_at(&self, time: &str) {
        let (mails, notices, topics) = self.told().await;
        self.app.advance_to(instant(time) - TimeDelta::seconds(1)).await;
        assert_eq!(self.told().await, (mails, notices, topics), "before {time}");
        self.app.advance_to(instant(time)).await;
        assert_eq!(self.told().await, (mails + 1, notices + 1, topics + 1), "{time}");
    }

    async fn days(&self) -> Vec<Value> {
        events(&self.app, "subscription.trial_ending").await.iter().map(|e| e["days_left"].clone()).collect()
    }
}

#[tokio::test]
async fn seven_three_and_one_day_before_over_the_change_of_clocks() {
    let g = Given::start().await;
    g.app.advance_to(instant("2026-03-18T09:00:00Z")).await;
    let sub = g.trial(14).await;
    // Ends on 1 April at 11:00 in Amsterdam, where clocks go forward on 29 March.
    g.told_at("2026-03-25T10:00:00Z").await;
    let sql = "SELECT subject, text_body, language FROM mails WHERE kind = 'trial_ending'";
    let row = g.app.db().await.query_one(sql, &[]).await.expect("a mail");
    assert_eq!(row.get::<_, &str>(0), "Your trial of VAULT ends on 1 April 2026");
    let text: &str = row.get(1);
    assert!(text.contains("in 7 days") && text.contains("€98.00 a month"), "{text}");
    g.told_at("2026-03-29T09:00:00Z").await;
    g.told_at("2026-03-31T09:00:00Z").await;
    assert_eq!(g.days().await, [json!(7), json!(3), json!(1)]);
    g.app.advance_to(instant("2026-06-01T00:00:00Z")).await;
    assert_eq!(g.told().await, (3, 3, 3));
    let path = format!("/api/v1/subscriptions/{sub}");
    let after = g.app.call("GET", &path).token(&g.tenant.admin).send().await.data(200);
    assert_eq!(after["status"], "active");
    assert_eq!(count(&g.app, "trial_notices").await, 0, "nothing is left to be told");
    verified(&g.app).await;
}

#[tokio::test]
async fn a_short_trial_has_the_notices_that_fit() {
    let g = Given::start().await;
    g.trial(2).await;
    g.told_at("2026-03-11T09:00:00Z").await;
    g.app.advance(TimeDelta::days(10)).await;
    assert_eq!(g.days().await, [json!(1)]);
}

#[tokio::test]
async fn a_cancelled_trial_has_none_left() {
    let g = Given::start().await;
    let sub = g.trial(14).await;
    g.told_at("2026-03-17T09:00:00Z").await;
    let path = format!("/api/v1/subscriptions/{sub}/cancel");
    let asked = json!({"reason": "not for us"});
    g.app.call("POST", &path).token(&g.tenant.admin).json(&asked).send().await.data(200);
    g.app.advance(TimeDelta::days(30)).await;
    assert_eq!((g.told().await, count(&g.app, "trial_notices").await), ((1, 1, 1), 0));
}

#[tokio::test]
async fn who_looks_late_tells_once_and_many_servers_too() {
    let g = Given::start().await;
    g.trial(14).await;
    let control = g.app.control();
    // Both the notice of day 7 and of day 3 are due: the newer one is given.
    control.clock.set(instant("2026-03-22T00:00:00Z"));
    let servers = (0..6).map(async |_| {
        let op = OpContext::system(&control.clock, &control.ids, "trial_monitor");
        notices::tick(&op, control).await.expect("a tick")
    });
    join_all(servers).await;
    assert_eq!((g.told().await, g.days().await), ((1, 1, 1), vec![json!(3)]));
    let sql = "SELECT text_body FROM mails WHERE kind = 'trial_ending'";
    let text: String = g.app.db().await.query_one(sql, &[]).await.expect("a mail").get(0);
    assert!(text.contains("in 2 days"), "as many as there are: {text}");
    g.told_at("2026-03-23T09:00:00Z").await;
}

#[tokio::test]
async fn open_notices_follow_new_settings() {
    let g = Given::start().await;
    g.trial(14).await;
    settings(&g.app, 2, &json!({"trial_notice_days": [10, 2]})).await;
    g.told_at("2026-03-14T09:00:00Z").await;
    settings(&g.app, 3, &json!({"trial_notice_days": []})).await;
    g.app.advance(TimeDelta::days(30)).await;
    assert_eq!(g.days().await, [json!(10)]);
}

#[tokio::test]
async fn a_clock_that_is_moved_by_a_second_takes_up_new_settings() {
    let g = Given::start().await;
    g.trial(14).await;
    g.app.live_to(instant("2026-03-16T09:00:00Z")).await;
    settings(&g.app, 2, &json!({"trial_notice_days": [8, 1]})).await;
    g.app.live_to(g.app.now() + TimeDelta::seconds(1)).await;
    assert_eq!(g.days().await, [json!(8)]);
    assert_eq!(count(&g.app, "trial_notices WHERE settings_version = 2").await, 1);
}

#[tokio::test]
async fn settings_that_are_saved_while_a_trial_begins_hold_for_it() {
    let g = Given::start().await;
    let sub = g.trial(14).await;
    let control = g.app.control();
    let op = OpContext::system(&control.clock, &control.ids, "test").with_scope(Scope::Platform);
    g.app.db().await.batch_execute("DELETE FROM trial_notices").await.expect("not planned yet");
    let old = control.db.read(&op, async |conn| load(conn).await).await.expect("settings");
    settings(&g.app, old.version + 1, &json!({"trial_notice_days": [10]})).await;
    let planned = async |conn: &mut Conn| {
        let row = store::lock(conn, &g.tenant.id, sub).await?;
        notices::plan(conn, &op, &old, &row).await
    };
    control.db.tx(&op, "test", planned).await.expect("planned");
    g.told_at("2026-03-14T09:00:00Z").await;
    assert_eq!(g.days().await, [json!(10)]);
}

#[tokio::test]
async fn without_a_contact_there_is_a_notification_alone() {
    let g = Given::start().await;
    g.trial(14).await;
    g.app.db().await.batch_execute("UPDATE billing_profiles SET contact_email = NULL").await.expect("gone");
    g.app.advance_to(instant("2026-03-17T09:00:00Z")).await;
    assert_eq!(g.told().await, (0, 1, 1));
}

impl Given {
    async fn price(&self, plan: &Plan, cents: i64) {
        let path = format!("/api/v1/admin/catalog/plans/{}", plan.id);
        let operator = self.app.operator("super_admin");
        let asked = json!({"base_price_cents": cents});
        self.app.call("PUT", &path).token(&operator).json(&asked).send().await.expect(200);
    }

    async fn read(&self, id: Uuid) -> Value {
        let path = format!("/api/v1/subscriptions/{id}");
        self.app.call("GET", &path).token(&self.tenant.admin).send().await.data(200)
    }

    /// What each base price so far was.
    async fn billed(&self) -> Vec<i64> {
        let sql = "SELECT amount_cents FROM invoice_lines WHERE kind = 'base' ORDER BY line_item_id";
        let rows = self.app.db().await.query(sql, &[]).await.expect("lines");
        rows.iter().map(|row| row.get(0)).collect()
    }
}

#[tokio::test]
async fn the_price_that_is_told_is_the_one_that_is_charged() {
    let g = Given::start().await;
    given::patience(&g.app).await;
    let plan = given::plan_with(&g.app, &g.service, "pro", json!({"trial_days": 14})).await;
    given::subscription(&g.app, &g.tenant, &plan, 1).await;
    g.app.live_to(instant("2026-03-12T09:00:00Z")).await;
    // Less than thirty days before the end of the trial.
    g.price(&plan, 5900).await;
    g.app.live_to(instant("2026-03-24T12:00:00Z")).await;
    let sql = "SELECT text_body FROM mails WHERE kind = 'trial_ending'";
    let rows = g.app.db().await.query(sql, &[]).await.expect("mails");
    let texts: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts.iter().all(|text| text.contains("€49.00 a month")), "{texts:?}");
    assert_eq!(g.billed().await, [4900]);
}

#[tokio::test]
async fn a_price_that_came_in_a_long_trial_is_recurring_revenue_from_its_end_on() {
    let g = Given::start().await;
    given::patience(&g.app).await;
    let fields = json!({"trial_days": 60, "base_price_cents": 1000});
    let plan = given::plan_with(&g.app, &g.service, "pro", fields).await;
    let id = given::subscription(&g.app, &g.tenant, &plan, 1).await;
    g.app.live_to(instant("2026-03-20T09:00:00Z")).await;
    g.price(&plan, 2000).await;
    assert_eq!(g.read(id).await["mrr_amount_cents"], 1000);
    g.app.live_to(instant("2026-05-09T12:00:00Z")).await;
    let sub = g.read(id).await;
    assert_eq!((&sub["status"], &sub["mrr_amount_cents"]), (&json!("active"), &json!(2000)));
    assert_eq!(g.billed().await, [2000]);
    let began = &events(&g.app, "subscription.changed").await[0];
    assert_eq!(
        (&began["previous_mrr_amount_cents"], &began["mrr_amount_cents"]),
        (&json!(1000), &json!(2000))
    );
    verified(&g.app).await;
}
