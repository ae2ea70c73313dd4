//! Changes of plan and quantity, with figures that were worked out by hand.
//!
//! A test begins on 2026-03-10 at 09:00 UTC, which is 10:00 in Amsterdam. The first period of a monthly plan then lasts until
//! the local midnight of 10 April (summer time by then): 733 hours.
use crate::support::{cents, each, finalize, flat, run, service, used, uuid, verified};
use chrono::{DateTime, Utc};
use scaicontrol_tests::given::{self, Plan, Service, Tenant};
use scaicontrol_tests::raw::Call;
use scaicontrol_tests::{TestApp, body};
use scaicontrol_types as types;
use serde_json::{Value, json};
use uuid::Uuid;

/// A tenant, a service, and whoever bills.
pub struct Given {
    pub app: TestApp,
    pub admin: String,
    pub tenant: Tenant,
    pub service: Service,
}

pub async fn start() -> Given {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let service = service(&app, "vault").await;
    let admin = app.operator("super_admin");
    Given { app, admin, tenant, service }
}

impl Given {
    pub async fn plan(&self, slug: &str, fields: Value) -> Plan {
        given::plan_with(&self.app, &self.service, slug, fields).await
    }
    pub async fn at(&self, time: &str) {
        self.app.advance_to(time.parse::<DateTime<Utc>>().expect("a time")).await;
    }
    pub async fn used(&self, calls: &str) {
        used(&self.app, &self.service, &self.tenant, &[("calls", calls)]).await;
    }
    pub async fn subscribed(&self, plan: &Plan) -> Uuid {
        given::subscription(&self.app, &self.tenant, plan, 1).await
    }
    /// What the tenant does to its subscription.
    pub fn ask(&self, id: Uuid, what: &str, asked: &Value) -> Call {
        let path = format!("/api/v1/subscriptions/{id}/{what}");
        with(self.app.call("POST", &path).token(&self.tenant.admin), asked)
    }
    /// What an administrator does to it.
    pub fn order(&self, id: Uuid, what: &str, asked: &Value) -> Call {
        let path = format!("/api/v1/admin/subscriptions/{id}/{what}");
        with(self.app.call("POST", &path).token(&self.admin), asked)
    }
    pub async fn change(&self, id: Uuid, asked: Value) -> Value {
        self.ask(id, "change-plan", &asked).send().await.data(200)
    }
    /// The customer has another billing profile from now on.
    async fn moves(&self, profile: &Value) {
        let put =
            self.app.call("PUT", "/api/v1/billing/billing-profile").token(&self.tenant.admin).json(profile);
        put.send().await.expect(200);
    }
    pub async fn read(&self, id: Uuid) -> Value {
        let path = format!("/api/v1/subscriptions/{id}");
        self.app.call("GET", &path).token(&self.tenant.admin).send().await.data(200)
    }
    /// All documents of the tenant, oldest first.
    pub async fn documents(&self) -> Vec<Value> {
        let path = format!("/api/v1/admin/invoices?page_size=200&tenant_id={}", self.tenant.id);
        let list = self.app.call("GET", &path).token(&self.admin).send().await.data(200);
        let mut all = vec![];
        for id in each(&list, "id").into_iter().rev() {
            all.push(crate::support::get(&self.app, &self.admin, uuid(id)).await);
        }
        all
    }
    /// Bills what is due and issues every draft; answers all documents of the tenant.
    pub async fn billed(&self) -> Vec<Value> {
        run(&self.app, &self.admin, &self.tenant.id).await;
        for draft in self.documents().await.iter().filter(|d| d["status"] == "draft") {
            finalize(&self.app, &self.admin, uuid(&draft["id"])).await;
        }
        let all = self.documents().await;
        verified(&self.app).await;
        all
    }
    /// The amounts of the lines, document by document.
    pub async fn lines(&self) -> Vec<Vec<i64>> {
        self.billed().await.iter().map(amounts).collect()
    }
    /// Events of the subscription by their topic, with what changed.
    pub async fn events(&self, id: Uuid) -> Vec<String> {
        let sql = "SELECT event_type || COALESCE(':' || (data->>'change_kind'), '') FROM outbox_events WHERE object_id = $1 ORDER BY sequence";
        let rows = self.app.db().await.query(sql, &[&id.to_string()]).await.expect("events");
        rows.iter().map(|r| r.get::<_, String>(0).replace("subscription.", "")).collect()
    }
    /// Keys of what the tenant was told, oldest first.
    pub async fn told(&self) -> Vec<String> {
        let sql = "SELECT message FROM notifications WHERE message LIKE '%subscription%' OR message LIKE 'trial%' ORDER BY notification_id";
        let rows = self.app.db().await.query(sql, &[]).await.expect("notifications");
        rows.iter().map(|r| r.get(0)).collect()
    }
}

/// A body, where there is one.
fn with(call: Call, asked: &Value) -> Call {
    if asked.is_null() { call } else { call.json(asked) }
}

pub fn amounts(document: &Value) -> Vec<i64> {
    each(&document["line_items"], "amount_cents").into_iter().map(cents).collect()
}

fn sums(proration: &Value) -> (i64, i64, i64) {
    (cents(&proration["credit_cents"]), cents(&proration["charge_cents"]), cents(&proration["net_cents"]))
}

#[tokio::test]
async fn an_upgrade_of_a_subscription_that_began_on_the_31st() {
    let g = start().await;
    let small = g.plan("small", json!({"base_price_cents": 3000})).await;
    let big = g.plan("big", json!({"base_price_cents": 9000})).await;
    g.at("2026-03-31T10:00:00Z").await;
    let id = g.subscribed(&small).await;
    g.at("2026-04-15T10:00:00Z").await;
    // 14.5 of 29.5 days are left: 29/59 of 3000 is 1474.58, of 9000 it is 4423.73.
    let tried = g.change(id, json!({"plan_id": big.id, "dry_run": true})).await;
    assert_eq!(sums(&tried["proration"]), (1475, 4424, 2949));
    assert_eq!(tried["subscription"]["plan_key"], "vault.big");
    assert_eq!(g.read(id).await["plan_key"], "vault.small", "nothing was stored");
    let asked: types::ChangePlanRequest = body(json!({"plan_key": "vault.big"}));
    let client = g.app.client(&g.tenant.admin);
    let done = client.subscription_change_plan().subscription_id(id).body(asked).send().await.expect("done");
    let done = serde_json::to_value(done.into_inner().data).expect("json");
    assert_eq!(done["proration"], tried["proration"], "what was shown is what is billed");
    let sub = &done["subscription"];
    assert_eq!((&sub["anchor_date"], &sub["mrr_amount_cents"]), (&json!("2026-03-31"), &json!(9000)));
    assert_eq!(sub["current_period_start"], "2026-03-31T10:00:00Z");
    assert_eq!(sub["current_period_end"], "2026-04-29T22:00:00Z");
    assert_eq!(g.events(id).await, ["activated", "changed:plan_change"]);

    let documents = g.billed().await;
    assert_eq!(documents.iter().map(amounts).collect::<Vec<_>>(), [vec![3000], vec![-1475, 4424]]);
    let lines = &documents[1]["line_items"];
    assert_eq!(each(lines, "kind"), [&json!("proration"), &json!("proration")]);
    assert_eq!((&lines[0]["quantity"], &lines[0]["unit_price_cents"]), (&json!("-1"), &json!("1475")));
    assert_eq!((&lines[0]["tax_rate"], &lines[0]["tax_cents"]), (&json!("21"), &json!(-310)));
    assert_eq!(lines[0]["explanation"]["credited_invoice_id"], documents[0]["id"]);
    assert_eq!(
        (&lines[1]["period_start"], &lines[1]["period_end"]),
        (&json!("2026-04-15"), &json!("2026-04-29"))
    );
    assert_eq!(documents[1]["total_cents"], 2949 + 619);
    // The electronic invoice refers to the one whose line it takes back.
    let path = format!("/api/v1/billing/invoices/{}/download", uuid(&documents[1]["id"]));
    let xml = g.app.call("GET", &path).token(&g.tenant.admin).send().await;
    let xml = String::from_utf8_lossy(&xml.body).into_owned();
    let number = documents[0]["number"].as_str().expect("a number");
    assert!(xml.contains("BillingReference") && xml.contains(number), "{xml}");
    // The day of the anchor stays the 31st.
    g.at("2026-05-31T10:00:00Z").await;
    let all = g.billed().await;
    assert_eq!(all[2..].iter().map(amounts).collect::<Vec<_>>(), [vec![9000], vec![9000]]);
    let starts: Vec<&Value> = all[2..].iter().map(|d| &d["line_items"][0]["period_start"]).collect();
    assert_eq!(starts, [&json!("2026-04-30"), &json!("2026-05-31")]);
}

#[tokio::test]
async fn from_monthly_to_yearly_in_the_middle_of_a_month() {
    let g = start().await;
    let month = g.plan("month", json!({"base_price_cents": 3000})).await;
    let year = g.plan("year", json!({"base_price_cents": 30_000, "billing_period": "yearly"})).await;
    let id = g.subscribed(&month).await;
    g.at("2026-03-20T09:00:00Z").await;
    // A twelfth of 30000 is less than 3000: of itself it would wait.
    let later = g.change(id, json!({"plan_id": year.id})).await;
    assert_eq!(sums(&later["proration"]), (0, 0, 0));
    assert_eq!(later["proration"]["effective_at"], "2026-04-09T22:00:00Z");
    assert_eq!(later["subscription"]["pending_plan_id"], json!(year.id));
    // 493 of 733 hours are left: 2017.74 of 3000.
    let now = g.change(id, json!({"plan_id": year.id, "timing": "immediate"})).await;
    assert_eq!(sums(&now["proration"]), (2018, 30_000, 27_982));
    let sub = &now["subscription"];
    assert_eq!((&sub["pending_plan_id"], &sub["anchor_date"]), (&Value::Null, &json!("2026-03-20")));
    assert_eq!(sub["current_period_start"], "2026-03-20T09:00:00Z");
    assert_eq!(sub["current_period_end"], "2027-03-19T23:00:00Z");
    assert_eq!((&sub["billing_period"], &sub["mrr_amount_cents"]), (&json!("yearly"), &json!(2500)));
    g.at("2027-03-21T00:00:00Z").await;
    assert_eq!(g.lines().await, [vec![3000], vec![-2018, 30_000], vec![30_000]]);
}

#[tokio::test]
async fn a_downgrade_waits_for_the_end_of_the_period() {
    let g = start().await;
    let big = g.plan("big", json!({"base_price_cents": 9000})).await;
    given::tiers(&g.app, &big, &json!([flat("calls", "10")])).await;
    let small = g.plan("small", json!({"base_price_cents": 3000})).await;
    given::tiers(&g.app, &small, &json!([flat("calls", "100")])).await;
    let id = g.subscribed(&big).await;
    let later = g.change(id, json!({"plan_id": small.id, "quantity": 2})).await;
    let sub = &later["subscription"];
    assert_eq!((&sub["pending_plan_id"], &sub["pending_quantity"]), (&json!(small.id), &json!(2)));
    assert_eq!((&sub["plan_id"], &sub["mrr_amount_cents"]), (&json!(big.id), &json!(9000)));
    g.at("2026-04-09T21:59:59Z").await;
    g.used("3").await;
    g.at("2026-04-09T22:00:00Z").await;
    g.used("2").await;
    let sub = g.read(id).await;
    assert_eq!((&sub["plan_id"], &sub["quantity"]), (&json!(small.id), &json!(2)));
    assert_eq!((&sub["pending_plan_id"], &sub["pending_quantity"]), (&Value::Null, &Value::Null));
    assert_eq!(g.events(id).await, ["activated", "changed:plan_change", "changed:renewal"]);
    g.at("2026-05-10T09:00:00Z").await;
    assert_eq!(g.lines().await, [vec![9000], vec![6000, 30], vec![6000, 200]]);
}

#[tokio::test]
async fn what_is_scheduled_is_replaced_dropped_and_undone() {
    let g = start().await;
    let big = g.plan("big", json!({"base_price_cents": 9000})).await;
    let small = g.plan("small", json!({"base_price_cents": 3000})).await;
    let none = g.plan("none", json!({"base_price_cents": 0})).await;
    let id = g.subscribed(&big).await;
    g.change(id, json!({"plan_id": small.id})).await;
    let replaced = g.change(id, json!({"plan_id": none.id})).await;
    assert_eq!(replaced["subscription"]["pending_plan_id"], json!(none.id));
    let client = g.app.client(&g.tenant.admin);
    let undone = client.subscription_reactivate().subscription_id(id).send().await.expect("undone");
    let undone = undone.into_inner().data;
    assert_eq!((undone.pending_plan_id, undone.pending_quantity), (None, None));
    g.ask(id, "reactivate", &Value::Null).send().await.refused(400).says("nothing is scheduled");
    g.change(id, json!({"plan_id": small.id})).await;
    let asked: types::CancelRequest = body(json!({"reason": "too dear"}));
    let leaving = client.subscription_cancel().subscription_id(id).body(asked).send().await.expect("leaving");
    let leaving = leaving.into_inner().data;
    assert_eq!((leaving.pending_plan_id, leaving.status), (None, types::SubscriptionStatus::Cancelling));
    // An undone cancellation brings no change of plan back.
    g.ask(id, "reactivate", &Value::Null).send().await.data(200);
    g.at("2026-04-11T09:00:00Z").await;
    assert_eq!(g.lines().await, [vec![9000], vec![9000]]);
    assert_eq!(
        g.events(id).await,
        [
            "activated",
            "changed:scheduled_cancellation",
            "changed:scheduled_cancellation_undone",
            "changed:renewal"
        ]
    );
}

#[tokio::test]
async fn the_end_that_a_tenant_scheduled_is_told_when_it_comes() {
    let g = start().await;
    let plan = g.plan("pro", json!({"base_price_cents": 1000})).await;
    let id = g.subscribed(&plan).await;
    g.ask(id, "cancel", &json!({})).send().await.data(200);
    g.at("2026-04-09T21:59:59Z").await;
    g.billed().await;
    assert!(g.told().await.is_empty());
    g.at("2026-04-10T09:00:00Z").await;
    g.billed().await;
    assert_eq!(g.read(id).await["status"], "cancelled");
    assert_eq!(g.told().await, ["subscription_ended"]);
}

#[tokio::test]
async fn two_upgrades_in_one_day_then_an_end_with_credit() {
    let g = start().await;
    let one = g.plan("one", json!({"base_price_cents": 1000})).await;
    let two = g.plan("two", json!({"base_price_cents": 2000})).await;
    let five = g.plan("five", json!({"base_price_cents": 5000})).await;
    for (plan, price) in [(&one, "10"), (&two, "20"), (&five, "30")] {
        given::tiers(&g.app, plan, &json!([flat("calls", price)])).await;
    }
    let id = g.subscribed(&one).await;
    g.used("7").await;
    g.at("2026-03-20T09:00:00Z").await;
    // 493/733 of 1000 is 672.58, of 2000 it is 1345.16.
    assert_eq!(sums(&g.change(id, json!({"plan_id": two.id})).await["proration"]), (673, 1345, 672));
    g.used("5").await;
    g.at("2026-03-20T15:00:00Z").await;
    // Of the 1345, for 493 hours, 487 are left: 1328.63; 487/733 of 5000 is 3321.96.
    assert_eq!(sums(&g.change(id, json!({"plan_id": five.id})).await["proration"]), (1329, 3322, 1993));
    assert_eq!(g.lines().await, [vec![1000], vec![-673, 1345], vec![-1329, 3322]]);
    g.at("2026-03-30T09:00:00Z").await;
    g.used("1").await;
    let asked: types::AdminCancelRequest =
        body(json!({"reason": "by consent", "immediately": true, "credit_unused": true}));
    let client = g.app.client(&g.admin);
    let ended =
        client.admin_subscription_cancel().subscription_id(id).body(asked).send().await.expect("ended");
    let ended = ended.into_inner().data;
    assert_eq!(ended.status, types::SubscriptionStatus::Cancelled);
    assert_eq!(ended.cancellation_reason.as_deref(), Some("by consent"));
    // 253 of 487 hours are left of what 3322 was billed for: 1725.82. The usage of all three plans, 70 + 100 + 30, is less,
    // so that comes as a credit note of the change's invoice.
    let documents = g.billed().await;
    assert_eq!(documents[3..].iter().map(amounts).collect::<Vec<_>>(), [vec![70, 100, 30], vec![-1726]]);
    assert_eq!(documents[4]["document_type"], "credit_note");
    assert_eq!(documents[4]["referenced_invoice_id"], documents[2]["id"]);
    assert_eq!(documents[4]["line_items"][0]["explanation"]["because"]["computation"]["billed_cents"], 3322);
    assert_eq!(g.told().await, ["subscription_cancelled"]);
    assert_eq!(g.events(id).await.last().map(String::as_str), Some("cancelled"));
    g.at("2026-07-01T00:00:00Z").await;
    assert_eq!(g.billed().await.len(), 5, "nothing comes after the end");
}

#[tokio::test]
async fn what_is_cancelled_with_credit_before_it_is_billed_is_billed_and_given_back() {
    let g = start().await;
    given::patience(&g.app).await;
    let plan = g.plan("one", json!({"base_price_cents": 1000})).await;
    let two = g.plan("two", json!({"base_price_cents": 2000})).await;
    given::tiers(&g.app, &plan, &json!([flat("calls", "10")])).await;
    let asked = json!({"reason": "fraud", "immediately": true, "credit_unused": true});
    let id = g.subscribed(&plan).await;
    g.used("3").await;
    assert_eq!(g.lines().await, [[1000]]);
    // In the hour after the boundary the new month is not billed yet.
    g.at("2026-04-09T22:30:00Z").await;
    g.order(id, "cancel", &asked).send().await.data(200);
    g.at("2026-04-10T09:00:00Z").await;
    let documents = g.billed().await;
    let lines: Vec<Vec<i64>> = documents.iter().map(amounts).collect();
    assert_eq!(
        lines.iter().flatten().sum::<i64>(),
        1000 + 30 + 1,
        "all but half an hour comes back: {lines:?}"
    );
    assert!(documents.iter().all(|d| d["status"] != "draft"), "{documents:?}");
    assert_eq!(documents.last().expect("one")["document_type"], "credit_note");
    // The same with changes before it.
    let id = g.subscribed(&plan).await;
    assert_eq!(g.lines().await.last(), Some(&vec![1000]));
    g.at("2026-05-09T22:10:00Z").await;
    g.change(id, json!({"plan_id": two.id})).await;
    g.at("2026-05-09T22:20:00Z").await;
    g.change(id, json!({"quantity": 2})).await;
    g.at("2026-05-09T22:30:00Z").await;
    g.order(id, "cancel", &asked).send().await.data(200);
    g.at("2026-05-10T09:00:00Z").await;
    let documents = g.billed().await;
    assert!(documents.iter().all(|d| d["status"] != "draft"), "{documents:?}");
    // And on the day on which it began.
    let id = g.subscribed(&plan).await;
    g.order(id, "cancel", &asked).send().await.data(200);
    let documents = g.billed().await;
    assert!(documents.iter().all(|d| d["status"] != "draft"), "{documents:?}");
    assert_eq!(documents[documents.len() - 2..].iter().map(amounts).collect::<Vec<_>>(), [[1000], [-1000]]);
}

#[tokio::test]
async fn several_changes_at_one_instant_stay_exact() {
    let g = start().await;
    let one = g.plan("one", json!({"base_price_cents": 1000})).await;
    let two = g.plan("two", json!({"base_price_cents": 2000})).await;
    let id = g.subscribed(&one).await;
    assert_eq!(sums(&g.change(id, json!({"plan_id": two.id})).await["proration"]), (1000, 2000, 1000));
    assert_eq!(sums(&g.change(id, json!({"quantity": 3})).await["proration"]), (2000, 6000, 4000));
    let down = g.change(id, json!({"plan_id": one.id, "quantity": 1, "timing": "immediate"})).await;
    assert_eq!(sums(&down["proration"]), (6000, 1000, -5000));
    // Below 0: what is given back comes as credit notes. The invoice of the change holds 4000 of the 6000, for it gave back
    // 2000 itself; of these the one before holds 1000, and the first one the rest.
    let documents = g.billed().await;
    let lines: Vec<Vec<i64>> = documents.iter().map(amounts).collect();
    assert_eq!(lines[..4], [vec![1000], vec![-1000, 2000], vec![-2000, 6000], vec![1000]]);
    assert_eq!(lines[4..], [[-4000], [-1000], [-1000]]);
    for (note, invoice) in [(4, 2), (5, 1), (6, 0)] {
        assert_eq!(documents[note]["referenced_invoice_id"], documents[invoice]["id"]);
        assert_eq!(documents[invoice]["due_cents"], 0, "settled by its credit note");
    }
    assert_eq!(documents.iter().map(|d| cents(&d["subtotal_cents"])).sum::<i64>(), 1000);
    // What is left of the last charge can be given back, and nothing of what was passed on.
    let asked = json!({"reason": "x", "immediately": true, "credit_unused": true});
    g.order(id, "cancel", &asked).send().await.data(200);
    let documents = g.billed().await;
    assert_eq!(amounts(&documents[7]), [-1000]);
    assert_eq!(documents[7]["referenced_invoice_id"], documents[3]["id"]);
}

#[tokio::test]
async fn usage_in_the_old_plan_is_priced_by_its_tiers() {
    let g = start().await;
    let tier = |start: &str, end: Value, price: &str| json!({"metric_slug": "calls", "tier_start": start, "tier_end": end, "unit_price_cents": price});
    let old = g.plan("old", json!({"base_price_cents": 1000, "quotas": {"calls": "100"}})).await;
    given::tiers(&g.app, &old, &json!([tier("0", json!("10"), "10"), tier("10", Value::Null, "1")])).await;
    let new = g.plan("new", json!({"base_price_cents": 2000, "quotas": {"calls": "50"}})).await;
    given::tiers(&g.app, &new, &json!([tier("0", json!("10"), "5"), tier("10", Value::Null, "2")])).await;
    let id = g.subscribed(&old).await;
    g.used("12").await;
    g.at("2026-03-20T09:00:00Z").await;
    // A change of the quantity alone leaves the tiers where they are.
    g.change(id, json!({"quantity": 2})).await;
    g.used("3").await;
    g.at("2026-03-25T09:00:00Z").await;
    g.change(id, json!({"plan_id": new.id})).await;
    g.used("13").await;
    let quotas = g.app.call("GET", "/api/v1/usage/quotas").token(&g.tenant.member).send().await.data(200);
    let quota =
        quotas.as_array().expect("quotas").iter().find(|q| q["metric_slug"] == "calls").expect("calls");
    assert_eq!((&quota["used"], &quota["limit"]), (&json!("28"), &json!("50")));
    g.at("2026-04-10T09:00:00Z").await;
    let documents = g.billed().await;
    // 10 × 10 + 5 × 1 by the old tiers, 10 × 5 + 3 × 2 by the new ones, with the next period.
    assert_eq!(amounts(&documents[documents.len() - 1]), [4000, 100, 5, 50, 6]);
}

#[tokio::test]
async fn a_trial_in_a_leap_february_is_swapped_without_money() {
    let g = start().await;
    let small = g.plan("small", json!({"base_price_cents": 3000, "trial_days": 14})).await;
    let big = g.plan("big", json!({"base_price_cents": 9000, "trial_days": 30})).await;
    g.at("2028-02-20T10:00:00Z").await;
    let id = g.subscribed(&small).await;
    g.at("2028-02-29T10:00:00Z").await;
    g.used("5").await;
    for timing in ["auto", "immediate", "period_end"] {
        let tried = g.change(id, json!({"plan_id": big.id, "timing": timing, "dry_run": true})).await;
        assert_eq!(sums(&tried["proration"]), (0, 0, 0), "{timing}");
        assert_eq!(tried["subscription"]["plan_id"], json!(big.id), "{timing}");
    }
    let swapped = g.change(id, json!({"plan_id": big.id, "quantity": 2})).await;
    let sub = &swapped["subscription"];
    assert_eq!((&sub["status"], &sub["trial_ends_at"]), (&json!("trialing"), &json!("2028-03-05T10:00:00Z")));
    assert_eq!(sub["mrr_amount_cents"], 18_000);
    // Down again in a trial is at once, too.
    g.change(id, json!({"quantity": 1})).await;
    g.at("2028-03-05T11:00:00Z").await;
    let documents = g.billed().await;
    assert_eq!(documents.iter().map(amounts).collect::<Vec<_>>(), [vec![9000]]);
    let line = &documents[0]["line_items"][0];
    assert_eq!((&line["period_start"], &line["period_end"]), (&json!("2028-03-05"), &json!("2028-04-04")));
}

/// Bills while the seller says too little of itself, so that what is made stays a draft.
async fn bill(g: &Given) {
    let db = g.app.db().await;
    let name = |to: &str| format!("UPDATE partners SET legal_name = {to} WHERE partner_id = 'prt_north'");
    db.batch_execute(&name("NULL")).await.expect("changed");
    run(&g.app, &g.admin, &g.tenant.id).await;
    db.batch_execute(&name("'Noord Software B.V.'")).await.expect("changed");
}

#[tokio::test]
async fn what_is_taken_back_is_issued_first() {
    let g = start().await;
    let small = g.plan("small", json!({"base_price_cents": 1000})).await;
    let big = g.plan("big", json!({"base_price_cents": 2000})).await;
    let id = g.subscribed(&small).await;
    g.change(id, json!({"plan_id": big.id})).await;
    // Both are due and none is issued: what had not been billed yet is credited all the same.
    bill(&g).await;
    let drafts = g.documents().await;
    assert_eq!(drafts.iter().map(amounts).collect::<Vec<_>>(), [vec![1000], vec![-1000, 2000]]);
    let path = |draft: &Value| format!("/api/v1/admin/invoices/{}", uuid(&draft["id"]));
    let issue = async |draft: &Value| {
        g.app.call("POST", &format!("{}/finalize", path(draft))).token(&g.admin).send().await
    };
    issue(&drafts[1]).await.refused(409).says("must be issued first");
    g.app.call("DELETE", &path(&drafts[0])).token(&g.admin).send().await.expect(200);
    issue(&drafts[1]).await.refused(409).says("not billed yet");
    bill(&g).await;
    let base = g.documents().await.into_iter().find(|d| amounts(d) == [1000]).expect("the base price");
    g.app.call("DELETE", &format!("{}?waive=true", path(&base))).token(&g.admin).send().await.expect(200);
    issue(&drafts[1]).await.refused(400).names("line_items.0.id").says("drop the line");
    let kept = json!({"line_items": [{"id": drafts[1]["line_items"][1]["id"]}], "waive": true});
    g.app.call("PATCH", &path(&drafts[1])).token(&g.admin).json(&kept).send().await.data(200);
    assert_eq!(g.lines().await, [[2000]]);
}

#[tokio::test]
async fn what_was_taken_back_is_not_taken_back_again() {
    let g = start().await;
    let small = g.plan("small", json!({"base_price_cents": 1000})).await;
    let big = g.plan("big", json!({"base_price_cents": 2000})).await;
    let id = g.subscribed(&small).await;
    let first = g.billed().await;
    let base = uuid(&first[0]["id"]);
    let credit = json!({"reason": "a gift", "lines": [{"line_item_id": first[0]["line_items"][0]["id"], "amount_cents": 400}]});
    let post = async |what: &str, asked: &Value| {
        let path = format!("/api/v1/admin/invoices/{base}/{what}");
        g.app.call("POST", &path).token(&g.admin).json(asked).send().await
    };
    post("credit-note", &credit).await.data(201);
    // Net of the credit note 600 were billed, all of it unused.
    assert_eq!(sums(&g.change(id, json!({"plan_id": big.id})).await["proration"]), (600, 2000, 1400));
    g.billed().await;
    post("credit-note", &json!({"reason": "more"})).await.refused(409).says("in full");
    post("void", &json!({"reason": "gone"})).await.refused(409);
    verified(&g.app).await;
}

#[tokio::test]
async fn what_is_upcoming_takes_back_at_the_old_rate() {
    let g = start().await;
    let small = g.plan("small", json!({"base_price_cents": 1000})).await;
    let big = g.plan("big", json!({"base_price_cents": 2000})).await;
    let id = g.subscribed(&small).await;
    g.billed().await;
    // The customer moves to France: what it is charged now is reverse charge, what it is given back was taxed at home.
    let profile = json!({
        "company_name": "Client S.A.", "address_line1": "1 rue de la Paix", "postal_code": "75002", "city": "Paris",
        "country_code": "FR", "vat_number": "FR40303265045", "is_business": true, "contact_email": "finance@example.com",
    });
    g.moves(&profile).await;
    g.change(id, json!({"plan_id": big.id, "timing": "immediate"})).await;
    let upcoming = g.app.call("GET", "/api/v1/billing/upcoming").token(&g.tenant.admin);
    let upcoming = upcoming.send().await.data(200)[0].clone();
    let tried = json!({"dry_run": true, "tenant_id": g.tenant.id});
    let tried = g.app.call("POST", "/api/v1/admin/billing/run").token(&g.admin).json(&tried);
    let tried = tried.send().await.data(200)["invoices"][0].clone();
    let issued = g.billed().await[1].clone();
    assert_eq!((&issued["subtotal_cents"], &issued["tax_cents"]), (&json!(1000), &json!(-210)));
    for shown in [&upcoming, &tried] {
        assert_eq!(
            (&shown["tax_cents"], &shown["total_cents"]),
            (&issued["tax_cents"], &issued["total_cents"]),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn what_a_credit_line_took_back_is_not_refunded_again() {
    let g = start().await;
    let small = g.plan("small", json!({"base_price_cents": 1000})).await;
    let big = g.plan("big", json!({"base_price_cents": 2000})).await;
    let id = g.subscribed(&small).await;
    let first = uuid(&g.billed().await[0]["id"]);
    let ask = async |what: &str, asked: Value| {
        let path = format!("/api/v1/admin/invoices/{first}/{what}");
        g.app.call("POST", &path).token(&g.admin).json(&asked).send().await
    };
    ask("mark-paid", json!({"paid_at": "2026-03-10T00:00:00Z", "reference": "10-03", "method": "cash"}))
        .await
        .expect(200);
    g.at("2026-03-25T12:00:00Z").await;
    g.change(id, json!({"plan_id": big.id, "timing": "immediate"})).await;
    let taken_back = &g.billed().await[1]["line_items"][0];
    assert!(cents(&taken_back["amount_cents"]) < 0, "{taken_back}");
    let left = 1210 + cents(&taken_back["amount_cents"]) + cents(&taken_back["tax_cents"]);
    ask("refund", json!({"reason": "x", "amount_cents": left + 1})).await.refused(400).names("amount_cents");
    let done = ask("refund", json!({"reason": "x"})).await.data(200);
    assert_eq!(done["credit_note"]["total_cents"], -left);
    verified(&g.app).await;
    ask("refund", json!({"reason": "x"})).await.refused(409).says("was taken back");
}

#[tokio::test]
async fn credit_of_a_buyer_that_has_no_vat_number_any_more_is_a_credit_note() {
    let g = start().await;
    let small = g.plan("small", json!({"base_price_cents": 1000})).await;
    let big = g.plan("big", json!({"base_price_cents": 2000})).await;
    let abroad = json!({
        "company_name": "Client S.A.", "address_line1": "1 rue de la Paix", "postal_code": "75002", "city": "Paris",
        "country_code": "FR", "vat_number": "FR40303265045", "is_business": true, "contact_email": "finance@example.com",
    });
    g.moves(&abroad).await;
    let id = g.subscribed(&small).await;
    assert_eq!(g.billed().await[0]["line_items"][0]["tax_category"], "AE");
    let mut private = abroad.clone();
    (private["vat_number"], private["is_business"]) = (Value::Null, json!(false));
    g.moves(&private).await;
    g.change(id, json!({"plan_id": big.id})).await;
    let upcoming = g.app.call("GET", "/api/v1/billing/upcoming").token(&g.tenant.admin);
    let upcoming = upcoming.send().await.data(200)[0].clone();
    let documents = g.billed().await;
    let mut lines: Vec<Vec<i64>> = documents.iter().map(amounts).collect();
    lines.sort();
    assert_eq!(lines, [vec![-1000], vec![1000], vec![2000]]);
    assert!(documents.iter().all(|document| document["status"] != "draft"), "{documents:?}");
    let came: i64 = documents[1..].iter().map(|document| cents(&document["total_cents"])).sum();
    assert_eq!(cents(&upcoming["total_cents"]), came);
}

#[tokio::test]
async fn credit_that_cannot_stand_beside_the_charge_is_a_credit_note() {
    let g = start().await;
    let small = g.plan("small", json!({"base_price_cents": 1000})).await;
    let big = g.plan("big", json!({"base_price_cents": 2000})).await;
    let id = g.subscribed(&small).await;
    g.billed().await;
    // The customer moves out of the EU and the seller gives up its VAT number: new lines are outside the scope of VAT.
    let profile = json!({
        "company_name": "Customer Inc.", "address_line1": "1 Main St", "postal_code": "10001", "city": "New York",
        "country_code": "US", "is_business": true, "contact_email": "finance@example.com",
    });
    g.moves(&profile).await;
    let without =
        json!({"seller_vat_number": null, "seller_tax_number": "NL-1", "small_business_note": "KOR"});
    let partner = g.app.call("PATCH", "/api/v1/admin/partners/prt_north").token(&g.admin).json(&without);
    partner.send().await.expect(200);
    g.change(id, json!({"plan_id": big.id})).await;
    let documents = g.billed().await;
    assert_eq!(documents.iter().map(amounts).collect::<Vec<_>>(), [vec![1000], vec![2000], vec![-1000]]);
    assert_eq!(documents[1]["line_items"][0]["tax_category"], "O");
    let note = &documents[2];
    assert_eq!((&note["document_type"], &note["total_cents"]), (&json!("credit_note"), &json!(-1210)));
    // The first invoice was not paid: the note settles it, and nothing is left to pay the second with.
    assert_eq!(documents[1]["due_cents"], 2000);
}

#[tokio::test]
async fn what_is_refused() {
    let g = start().await;
    let small = g.plan("small", json!({"base_price_cents": 1000})).await;
    let big = g.plan("big", json!({"base_price_cents": 2000})).await;
    let once = g.plan("once", json!({"billing_period": "one_time"})).await;
    let dollar = g.plan("dollar", json!({"currency": "USD"})).await;
    let old = g.plan("old", json!({"is_active": false})).await;
    let hidden = g.plan("hidden", json!({"is_public": false})).await;
    let chat = service(&g.app, "chat").await;
    let other = given::plan(&g.app, &chat, "pro", 100).await;
    let id = g.subscribed(&small).await;
    let post = async |asked: Value| g.ask(id, "change-plan", &asked).send().await;
    post(json!({})).await.refused(400).names("plan_id");
    post(json!({"plan_id": big.id, "plan_key": big.key})).await.refused(400).names("plan_key");
    post(json!({"plan_id": small.id})).await.refused(400).names("plan_id");
    post(json!({"plan_key": small.key, "quantity": 1})).await.refused(400).names("plan_key");
    post(json!({"quantity": 1})).await.refused(400).names("quantity");
    post(json!({"quantity": 0})).await.refused(400).names("quantity");
    post(json!({"plan_id": big.id, "timing": "soon"})).await.refused(400).names("timing");
    post(json!({"plan_id": other.id})).await.refused(400).names("plan_id").says("another service");
    post(json!({"plan_id": dollar.id})).await.refused(400).names("plan_id").says("currency");
    post(json!({"plan_id": once.id})).await.refused(400).names("plan_id").says("billed once");
    post(json!({"plan_key": old.key})).await.refused(400).names("plan_key").says("not available");
    post(json!({"plan_id": hidden.id})).await.refused(404);
    post(json!({"plan_id": Uuid::now_v7()})).await.refused(404);
    let stranger = given::tenant(&g.app, "tnt_other", "prt_south").await;
    let path = format!("/api/v1/subscriptions/{id}/change-plan");
    let asked = json!({"plan_id": big.id});
    g.app.call("POST", &path).token(&stranger.admin).json(&asked).send().await.refused(404);
    g.app.call("POST", &path).token(&g.tenant.member).json(&asked).send().await.refused(403);
    // An administrator may give a plan that is not public, and its tenant is told.
    let client = g.app.client(&g.admin);
    let asked: types::ChangePlanRequest = body(json!({"plan_id": hidden.id}));
    client.admin_subscription_change_plan().subscription_id(id).body(asked).send().await.expect("changed");
    assert_eq!(g.told().await, ["subscription_changed_by_admin"]);
    let south = g.app.token("partner_admin", "tnt_home", "prt_south");
    let path = format!("/api/v1/admin/subscriptions/{id}/change-plan");
    g.app.call("POST", &path).token(&south).json(&json!({"quantity": 2})).send().await.refused(404);
    // One that is not sold any more may still change its quantity.
    let gone = format!("/api/v1/admin/catalog/plans/{}", hidden.id);
    g.app.call("PUT", &gone).token(&g.admin).json(&json!({"is_active": false})).send().await.expect(200);
    g.change(id, json!({"quantity": 2})).await;
    g.ask(id, "cancel", &json!({})).send().await.data(200);
    post(json!({"plan_id": big.id})).await.refused(409).says("cancelling");
    g.order(id, "cancel", &json!({"reason": "x", "immediately": true})).send().await.data(200);
    post(json!({"plan_id": big.id})).await.refused(409).says("cancelled");
    // A one_time plan stays what it is.
    let second = given::subscription(&g.app, &stranger, &once, 1).await;
    let path = format!("/api/v1/subscriptions/{second}/change-plan");
    let refused = g.app.call("POST", &path).token(&stranger.admin).json(&json!({"quantity": 2})).send().await;
    refused.refused(400).names("quantity").says("billed once");
}
