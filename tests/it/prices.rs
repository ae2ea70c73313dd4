//! New prices: who is told of them, what, and from when on they hold.
use crate::dunning::{count, instant};
use crate::support::flat;
use futures::future::join_all;
use scaicontrol_server::op::OpContext;
use scaicontrol_server::subscriptions::prices;
use scaicontrol_tests::TestApp;
use scaicontrol_tests::given::{self, Plan, Service, Tenant};
use serde_json::{Value, json};

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
