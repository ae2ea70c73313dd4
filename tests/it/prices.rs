//! New prices: who is told of them, what, and from when on they hold.
use crate::dunning::{count, instant};
use crate::support::flat;
use futures::future::join_all;
use scaicontrol_server::op::OpContext;
use scaicontrol_server::subscriptions::prices;
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

    async fn price(&self, plan: &Plan, cents: i64) {
        let path = format!("/api/v1/admin/catalog/plans/{}", plan.id);
        let asked = json!({"base_price_cents": cents});
        let operator = self.app.operator("super_admin");
        self.app.call("PUT", &path).token(&operator).json(&asked).send().await.expect(200);
        self.now().await;
    }

    /// Lets the workers do what is due now.
    async fn now(&self) {
        self.app.advance_to(self.app.now()).await;
    }

    async fn told(&self, message: &str) -> Vec<Value> {
        told(&self.app, message).await
    }

    /// What the tenant does to its subscription.
    async fn ask(&self, id: Uuid, what: &str, asked: Value) {
        let path = format!("/api/v1/subscriptions/{id}/{what}");
        let call = self.app.call("POST", &path).token(&self.tenant.admin);
        let call = if asked.is_null() { call } else { call.json(&asked) };
        call.send().await.expect(200);
    }

    async fn mrr(&self, id: Uuid) -> i64 {
        let sql = "SELECT mrr_amount_cents FROM subscriptions WHERE subscription_id = $1";
        self.app.db().await.query_one(sql, &[&id]).await.expect("it").get(0)
    }
}

/// The parameters of all notifications with that message.
pub async fn told(app: &TestApp, message: &str) -> Vec<Value> {
    let sql = "SELECT parameters FROM notifications WHERE message = $1 ORDER BY notification_id";
    let rows = app.db().await.query(sql, &[&message]).await.expect("notifications");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn subscribers_are_told_of_the_first_renewal_that_is_thirty_days_away() {
    let g = Given::start().await;
    let plan = given::plan(&g.app, &g.service, "pro", 1000).await;
    given::subscription(&g.app, &g.tenant, &plan, 3).await;
    g.app.advance_to(instant("2026-03-20T22:00:00Z")).await;
    g.price(&plan, 1500).await;
    let told = g.told("renewal_price_change").await;
    assert_eq!(told.len(), 1);
    // The renewal of 10 April is twenty days away and keeps the old price.
    assert_eq!(told[0]["from_date"], "2026-05-10");
    assert_eq!((&told[0]["old_cents"], &told[0]["new_cents"]), (&json!(3000), &json!(4500)));
    let sql = "SELECT subject, text_body FROM mails WHERE kind = 'renewal_price_change'";
    let row = g.app.db().await.query_one(sql, &[]).await.expect("one mail");
    assert_eq!(row.get::<_, &str>(0), "New price of VAULT (PRO)");
    let text: &str = row.get(1);
    assert!(
        text.contains("From 10\u{a0}May 2026") && text.contains("€45.00 a month instead of €30.00"),
        "{text}"
    );
    // Again the same price is no change; a change that is taken back is one.
    g.price(&plan, 1500).await;
    assert_eq!(g.told("renewal_price_change").await.len(), 1);
    g.price(&plan, 1000).await;
    let told = g.told("renewal_price_change").await;
    assert_eq!(told.len(), 2);
    assert_eq!((&told[1]["old_cents"], &told[1]["new_cents"]), (&json!(4500), &json!(3000)));
    assert_eq!(count(&g.app, "price_announcements WHERE finished_at IS NULL").await, 0);
}

#[tokio::test]
async fn those_whom_it_never_reaches_are_not_told() {
    let g = Given::start().await;
    let monthly = given::plan(&g.app, &g.service, "pro", 1000).await;
    // One that ends before, one that begins after the change, and one that is paid once.
    let cancelling = given::subscription(&g.app, &g.tenant, &monthly, 1).await;
    let path = format!("/api/v1/subscriptions/{cancelling}/cancel");
    let asked = json!({"reason": "enough"});
    g.app.call("POST", &path).token(&g.tenant.admin).json(&asked).send().await.data(200);
    let once = given::service(&g.app, "once").await;
    let single = given::plan_with(&g.app, &once, "pro", json!({"billing_period": "one_time"})).await;
    given::subscription(&g.app, &g.tenant, &single, 1).await;
    g.price(&monthly, 1500).await;
    g.price(&single, 1500).await;
    let later = given::tenant(&g.app, "tnt_later", "prt_north").await;
    given::subscription(&g.app, &later, &monthly, 1).await;
    g.now().await;
    assert_eq!(g.told("renewal_price_change").await.len(), 0);
    assert_eq!(count(&g.app, "mails WHERE kind = 'renewal_price_change'").await, 0);
}

#[tokio::test]
async fn usage_has_its_own_first_month() {
    let g = Given::start().await;
    let plan = given::plan_with(&g.app, &g.service, "pro", json!({"billing_period": "yearly"})).await;
    given::tiers(&g.app, &plan, &json!([flat("api_calls", "2")])).await;
    given::subscription(&g.app, &g.tenant, &plan, 1).await;
    given::tiers(&g.app, &plan, &json!([flat("api_calls", "3")])).await;
    g.now().await;
    let told = g.told("usage_price_change").await;
    // Thirty days from now is 9 April; the usage month after it begins on the 10th.
    assert_eq!((told.len(), &told[0]["from_date"]), (1, &json!("2026-04-10")));
    assert_eq!(g.told("renewal_price_change").await.len(), 0);
    g.price(&plan, 9900).await;
    let told = g.told("renewal_price_change").await;
    assert_eq!((told.len(), &told[0]["from_date"]), (1, &json!("2027-03-10")), "the next year");
}

#[tokio::test]
async fn a_trial_is_told_of_what_it_will_pay() {
    let g = Given::start().await;
    let plan = given::plan_with(&g.app, &g.service, "pro", json!({"trial_days": 14})).await;
    given::subscription(&g.app, &g.tenant, &plan, 1).await;
    g.price(&plan, 5900).await;
    let told = g.told("renewal_price_change").await;
    // The trial ends on 24 March; the first month keeps the old price, the second begins on 24 April.
    assert_eq!((told.len(), &told[0]["from_date"]), (1, &json!("2026-04-24")));
    assert_eq!((&told[0]["old_cents"], &told[0]["new_cents"]), (&json!(4900), &json!(5900)));
}

#[tokio::test]
async fn who_stays_after_all_is_told_then_and_has_thirty_days_from_then_on() {
    let g = Given::start().await;
    given::patience(&g.app).await;
    let plan = given::plan(&g.app, &g.service, "pro", 1000).await;
    given::tiers(&g.app, &plan, &json!([flat("api_calls", "2")])).await;
    let id = given::subscription(&g.app, &g.tenant, &plan, 1).await;
    g.now().await;
    g.ask(id, "cancel", json!({})).await;
    given::tiers(&g.app, &plan, &json!([flat("api_calls", "3")])).await;
    g.price(&plan, 1500).await;
    assert_eq!(count(&g.app, "mails WHERE kind = 'renewal_price_change'").await, 0, "it ends before");
    g.app.live_to(instant("2026-03-20T22:00:00Z")).await;
    g.ask(id, "reactivate", Value::Null).await;
    let base = g.told("renewal_price_change").await;
    // Thirty days from the change the renewal of 10 April would take the new price; thirty days from now it does not.
    assert_eq!((base.len(), &base[0]["from_date"]), (1, &json!("2026-05-10")));
    assert_eq!((&base[0]["old_cents"], &base[0]["new_cents"]), (&json!(1000), &json!(1500)));
    let usage = g.told("usage_price_change").await;
    assert_eq!((usage.len(), &usage[0]["from_date"]), (1, &json!("2026-05-10")));
    // An announcer that comes by late does not tell it again, and who goes and stays again gains nothing by it.
    let again = "UPDATE price_announcements SET finished_at = NULL, after_tenant_id = NULL, after_subscription_id = NULL";
    g.app.db().await.batch_execute(again).await.expect("again");
    g.now().await;
    g.app.live_to(instant("2026-04-01T22:00:00Z")).await;
    g.ask(id, "cancel", json!({})).await;
    g.ask(id, "reactivate", Value::Null).await;
    assert_eq!(count(&g.app, "mails WHERE kind = 'renewal_price_change'").await, 1);
    for (time, cents) in [("2026-04-11T12:00:00Z", 1000), ("2026-05-11T12:00:00Z", 1500)] {
        g.app.live_to(instant(time)).await;
        assert_eq!(g.mrr(id).await, cents, "{time}");
    }
    let versions = "SELECT plan_version FROM segments WHERE subscription_id = $1 ORDER BY starts_at";
    let rows = g.app.db().await.query(versions, &[&id]).await.expect("segments");
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), [2, 2, 4]);
}

#[tokio::test]
async fn who_stays_before_the_announcer_came_is_told_by_it() {
    let g = Given::start().await;
    let plan = given::plan(&g.app, &g.service, "pro", 1000).await;
    let id = given::subscription(&g.app, &g.tenant, &plan, 1).await;
    g.ask(id, "cancel", json!({})).await;
    let path = format!("/api/v1/admin/catalog/plans/{}", plan.id);
    let operator = g.app.operator("super_admin");
    let asked = json!({"base_price_cents": 1500});
    g.app.control().clock.set(instant("2026-03-20T22:00:00Z"));
    g.app.call("PUT", &path).token(&operator).json(&asked).send().await.expect(200);
    g.ask(id, "reactivate", Value::Null).await;
    g.now().await;
    let told = g.told("renewal_price_change").await;
    assert_eq!((told.len(), &told[0]["from_date"]), (1, &json!("2026-05-10")));
}

#[tokio::test]
async fn a_scheduled_change_is_told_what_it_comes_to_and_an_undone_one_what_it_stays_with() {
    let g = Given::start().await;
    let big = given::plan(&g.app, &g.service, "big", 9000).await;
    let small = given::plan(&g.app, &g.service, "small", 3000).await;
    let id = given::subscription(&g.app, &g.tenant, &big, 1).await;
    g.ask(id, "change-plan", json!({"plan_id": small.id, "quantity": 2, "timing": "period_end"})).await;
    g.app.advance_to(instant("2026-03-15T09:00:00Z")).await;
    g.price(&big, 9500).await;
    assert_eq!(g.told("renewal_price_change").await.len(), 0, "it leaves that plan");
    g.price(&small, 3500).await;
    let told = g.told("renewal_price_change").await;
    assert_eq!((told.len(), &told[0]["plan"]), (1, &json!("SMALL")));
    assert_eq!((&told[0]["old_cents"], &told[0]["new_cents"]), (&json!(6000), &json!(7000)));
    assert_eq!(told[0]["from_date"], "2026-04-10", "from the change on");
    g.app.advance_to(instant("2026-03-16T09:00:00Z")).await;
    g.ask(id, "reactivate", Value::Null).await;
    let told = g.told("renewal_price_change").await;
    assert_eq!((told.len(), &told[1]["plan"]), (2, &json!("BIG")));
    assert_eq!((&told[1]["old_cents"], &told[1]["new_cents"]), (&json!(9000), &json!(9500)));
    assert_eq!(told[1]["from_date"], "2026-05-10");
    assert_eq!(count(&g.app, "mails WHERE kind = 'renewal_price_change'").await, 2);
}

/// Subscriptions of many tenants, copies of the one that is there.
pub const COPIES: &str = "
    INSERT INTO tenants SELECT (jsonb_populate_record(t, jsonb_build_object('tenant_id', 'tnt_c' || g))).* FROM tenants t, generate_series(1000, 1449) g
      WHERE t.tenant_id = 'tnt_acme';
    INSERT INTO billing_profiles SELECT (jsonb_populate_record(t, jsonb_build_object('tenant_id', 'tnt_c' || g))).* FROM billing_profiles t, generate_series(1000, 1449) g
      WHERE t.tenant_id = 'tnt_acme';
    INSERT INTO subscriptions SELECT (jsonb_populate_record(t, jsonb_build_object('tenant_id', 'tnt_c' || g))).* FROM subscriptions t, generate_series(1000, 1449) g
      WHERE t.tenant_id = 'tnt_acme';
    INSERT INTO subscription_periods SELECT (jsonb_populate_record(t, jsonb_build_object('tenant_id', 'tnt_c' || g))).* FROM subscription_periods t, generate_series(1000, 1449) g
      WHERE t.tenant_id = 'tnt_acme';
    INSERT INTO segments SELECT (jsonb_populate_record(t, jsonb_build_object('tenant_id', 'tnt_c' || g))).* FROM segments t, generate_series(1000, 1449) g
      WHERE t.tenant_id = 'tnt_acme';";

#[tokio::test]
async fn many_servers_tell_many_subscribers_once() {
    let app = TestApp::with(&[("workers.enabled", "false")]).await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let service = given::service(&app, "vault").await;
    let plan = given::plan(&app, &service, "pro", 1000).await;
    given::subscription(&app, &tenant, &plan, 1).await;
    app.db().await.batch_execute(COPIES).await.expect("copies");
    let path = format!("/api/v1/admin/catalog/plans/{}", plan.id);
    let operator = app.operator("super_admin");
    app.call("PUT", &path).token(&operator).json(&json!({"base_price_cents": 1500})).send().await.expect(200);
    let control = app.control();
    let servers = (0..4).map(async |_| {
        let op = OpContext::system(&control.clock, &control.ids, "price_announcer");
        prices::tick(&op, control).await.expect("a tick")
    });
    let pages: u64 = join_all(servers).await.iter().map(|done| done.count("pages")).sum();
    assert_eq!(pages, 4, "451 subscribers in three pages, and one that finds nobody");
    let each = "(SELECT tenant_id, count(*) n FROM notifications WHERE message = 'renewal_price_change' GROUP BY 1) x WHERE n = 1";
    assert_eq!(count(&app, each).await, 451);
    assert_eq!(count(&app, "mails WHERE kind = 'renewal_price_change'").await, 451);
    let finished =
        app.db().await.query_one("SELECT told, finished_at IS NOT NULL FROM price_announcements", &[]).await;
    let finished = finished.expect("the announcement");
    assert_eq!((finished.get::<_, i64>(0), finished.get::<_, bool>(1)), (451, true));
}
