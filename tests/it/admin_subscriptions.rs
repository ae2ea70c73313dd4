//! What administrators do to subscriptions, and what is left of a debt.
use crate::plan_changes::{Given, amounts, start};
use crate::support::{each, flat, service, uuid, verified, walk};
use scaicontrol_server::op::OpContext;
use scaicontrol_server::settings;
use scaicontrol_server::subscriptions::{lifecycle, transitions};
use scaicontrol_tests::body;
use scaicontrol_tests::given;
use scaicontrol_types as types;
use serde_json::{Value, json};
use uuid::Uuid;

const ADMIN: &str = "/api/v1/admin/subscriptions";

/// Makes the newest issued invoice overdue, and its subscription with it, as dunning does.
async fn overdue(g: &Given, id: Uuid) -> Value {
    let all = g.documents().await;
    let invoice = all.iter().rfind(|d| d["document_type"] == "invoice").expect("an invoice");
    let late = "UPDATE invoices SET status = 'past_due' WHERE invoice_id = $1";
    g.app.db().await.execute(late, &[&uuid(&invoice["id"])]).await.expect("late");
    let control = g.app.control();
    let op = &OpContext::system(&control.clock, &control.ids, "dunning");
    let tenant = g.tenant.id.clone();
    control
        .db
        .tx(op, "past_due", async |conn| {
            let settings = settings::load(conn).await?;
            let mut sub = lifecycle::lock(conn, op, &settings, &tenant, id).await?;
            // The worker may have been here before.
            if sub.status == "past_due" {
                Ok(())
            } else {
                transitions::past_due(conn, op, &mut sub, op.now).await
            }
        })
        .await
        .expect("past due");
    invoice.clone()
}

async fn pay(g: &Given, invoice: &Value) {
    let path = format!("/api/v1/admin/invoices/{}/mark-paid", uuid(&invoice["id"]));
    let asked = json!({"paid_at": "2026-03-10T00:00:00Z", "method": "cash", "reference": "NL91"});
    g.app.call("POST", &path).token(&g.admin).json(&asked).send().await.data(200);
}

#[tokio::test]
async fn a_fixed_term_renews_until_it_expires() {
    let g = start().await;
    let plan = g.plan("hidden", json!({"base_price_cents": 3000, "is_public": false})).await;
    given::tiers(&g.app, &plan, &json!([flat("calls", "10")])).await;
    let client = g.app.client(&g.admin);
    let asked: types::AdminSubscriptionCreateRequest = body(json!({
        "tenant_id": g.tenant.id, "plan_id": plan.id, "quantity": 2, "ends_at": "2026-04-20T10:00:00Z",
    }));
    let made = client.admin_subscription_create().body(asked).send().await.expect("made").into_inner().data;
    assert_eq!((made.status, made.quantity), (types::SubscriptionStatus::Active, 2));
    let read = client.admin_subscription_get().subscription_id(made.id).send().await.expect("read");
    assert_eq!(read.into_inner().data.id, made.id);
    g.at("2026-04-10T09:00:00Z").await;
    g.used("1").await;
    let sub = g.read(made.id).await;
    assert_eq!(sub["current_period_end"], "2026-04-20T10:00:00Z", "the last period is cut");
    g.at("2026-04-20T09:00:00Z").await;
    g.used("2").await;
    g.at("2026-06-01T00:00:00Z").await;
    // 10.5 of the 30 days from 10 April to 10 May: 2100 of 6000.
    let documents = g.billed().await;
    assert_eq!(documents.iter().map(amounts).collect::<Vec<_>>(), [vec![6000], vec![2100], vec![30]]);
    let sub = g.read(made.id).await;
    assert_eq!((&sub["status"], &sub["cancelled_at"]), (&json!("expired"), &json!("2026-04-20T10:00:00Z")));
    assert_eq!(g.events(made.id).await.last().map(String::as_str), Some("cancelled"));
    assert_eq!(g.told().await, ["subscription_ended"]);
}

#[tokio::test]
async fn what_a_creation_refuses() {
    let g = start().await;
    let plan = g.plan("pro", json!({"base_price_cents": 3000, "trial_days": 14})).await;
    let post = async |more: Value| {
        let mut asked = json!({"tenant_id": g.tenant.id, "plan_id": plan.id});
        for (name, value) in more.as_object().into_iter().flatten() {
            asked[name] = value.clone();
        }
        g.app.call("POST", ADMIN).token(&g.admin).json(&asked).send().await
    };
    post(json!({"ends_at": "2026-03-10T09:00:00Z"})).await.refused(400).names("ends_at");
    post(json!({"ends_at": "2026-03-24T09:00:00Z"})).await.refused(400).names("ends_at").says("trial");
    post(json!({"tenant_id": "tnt_nobody"})).await.refused(404);
    post(json!({"plan_key": plan.key})).await.refused(400).names("plan_key");
    post(json!({"plan_id": Uuid::now_v7()})).await.refused(404);
    post(json!({"quantity": 0})).await.refused(400).names("quantity");
    let south = given::tenant(&g.app, "tnt_south", "prt_south").await;
    let partner = g.app.token("partner_admin", "tnt_home", "prt_north");
    let asked = json!({"tenant_id": south.id, "plan_id": plan.id});
    g.app.call("POST", ADMIN).token(&partner).json(&asked).send().await.refused(404);
    g.app.call("POST", ADMIN).token(&g.tenant.admin).json(&asked).send().await.refused(403);
    let asked = json!({"tenant_id": g.tenant.id, "plan_id": plan.id, "ends_at": "2026-03-24T09:00:01Z"});
    let made = g.app.call("POST", ADMIN).token(&partner).json(&asked).send().await.data(201);
    assert_eq!(made["status"], "trialing");
    post(json!({})).await.refused(409);
    let fresh = g.app.token("tenant_admin", "tnt_fresh", "prt_north");
    g.app.call("GET", "/api/v1/subscriptions").token(&fresh).send().await.expect(200);
    post(json!({"tenant_id": "tnt_fresh"})).await.refused(400).says("billing profile");
    // It is over a second after its trial, which costs a second's share of the price: nothing.
    g.at("2026-04-01T00:00:00Z").await;
    assert!(g.billed().await.is_empty());
    assert_eq!(g.read(given::id_of(&made)).await["status"], "expired");
}

#[tokio::test]
async fn an_end_at_once_keeps_or_gives_back_the_rest() {
    let g = start().await;
    let plan = g.plan("pro", json!({"base_price_cents": 7330})).await;
    given::tiers(&g.app, &plan, &json!([flat("calls", "10")])).await;
    let id = g.subscribed(&plan).await;
    g.billed().await;
    g.at("2026-03-20T09:00:00Z").await;
    g.used("4").await;
    let order = async |asked: Value| g.order(id, "cancel", &asked).send().await;
    order(json!({})).await.refused(400).names("reason");
    order(json!({"reason": "x", "credit_unused": true})).await.refused(400).names("credit_unused");
    let sub = order(json!({"reason": "breach", "immediately": true})).await.data(200);
    assert_eq!((&sub["status"], &sub["cancelled_at"]), (&json!("cancelled"), &json!("2026-03-20T09:00:00Z")));
    assert_eq!(g.lines().await, [vec![7330], vec![40]], "what was paid for the rest is kept");
    order(json!({"reason": "x", "immediately": true})).await.refused(400).says("cancelled");
    // With credit: 493 of 733 hours, as a line beside the usage when that is more.
    let again = g.subscribed(&plan).await;
    g.billed().await;
    g.at("2026-03-30T09:00:00Z").await;
    g.used("1000").await;
    let asked = json!({"reason": "by consent", "immediately": true, "credit_unused": true});
    g.order(again, "cancel", &asked).send().await.data(200);
    // The second began on 20 March at 10:00 local time: 733 hours to 20 April (summer time), 493 of them are left.
    let documents = g.billed().await;
    let last = documents.last().expect("a document");
    assert_eq!(amounts(last), [10_000, -4930]);
    assert_eq!(last["line_items"][1]["explanation"]["credited_invoice_id"], documents[2]["id"]);
}

#[tokio::test]
async fn an_overdue_one_is_suspended_and_resumed_by_hand() {
    let g = start().await;
    // Nothing but what is done by hand here.
    given::patience(&g.app).await;
    let plan = g.plan("pro", json!({"base_price_cents": 3000})).await;
    given::tiers(&g.app, &plan, &json!([flat("calls", "10")])).await;
    let id = g.subscribed(&plan).await;
    g.billed().await;
    let client = g.app.client(&g.admin);
    g.order(id, "suspend", &json!({"reason": "x"})).send().await.refused(400).says("active");
    g.order(id, "resume", &Value::Null).send().await.refused(400);
    g.at("2026-03-25T00:00:00Z").await;
    let invoice = overdue(&g, id).await;
    let number = invoice["number"].as_str().expect("a number");
    g.ask(id, "cancel", &json!({})).send().await.refused(400).says(number);
    g.ask(id, "change-plan", &json!({"quantity": 2})).send().await.refused(409).says("past_due");
    g.order(id, "cancel", &json!({"reason": "x"})).send().await.refused(400).says(number);
    let asked: types::AdminSuspendRequest = body(json!({"reason": "third time"}));
    let sub = client.admin_subscription_suspend().subscription_id(id).body(asked).send().await.expect("done");
    let sub = sub.into_inner().data;
    assert_eq!(sub.suspension_reason, Some(types::SuspensionReason::Admin));
    g.ask(id, "cancel", &json!({})).send().await.refused(400).says(number);
    g.order(id, "resume", &Value::Null).send().await.refused(409).says(number);
    // No new period is billed, usage is. Paying does not end what an administrator did.
    g.at("2026-04-12T10:00:00Z").await;
    g.used("7").await;
    pay(&g, &invoice).await;
    assert_eq!(g.read(id).await["status"], "suspended");
    g.at("2026-04-25T10:00:00Z").await;
    let resumed = client.admin_subscription_resume().subscription_id(id).send().await.expect("resumed");
    let resumed = resumed.into_inner().data;
    assert_eq!((resumed.status, resumed.past_due_since), (types::SubscriptionStatus::Active, None));
    g.order(id, "resume", &Value::Null).send().await.refused(400);
    // From 25 April 12:00 to 10 May: 14.5 of 30 days.
    assert_eq!(g.lines().await, [vec![3000], vec![1450]]);
    g.at("2026-05-10T10:00:00Z").await;
    assert_eq!(g.lines().await[2..], [vec![3000, 70]]);
    assert_eq!(g.told().await, ["subscription_suspended_by_admin", "subscription_resumed"]);
    assert_eq!(
        g.events(id).await,
        ["activated", "changed:status_change", "suspended", "resumed", "changed:renewal"]
    );
    verified(&g.app).await;
}

#[tokio::test]
async fn what_dunning_suspended_comes_back_when_it_is_paid() {
    let g = start().await;
    let plan = g.plan("pro", json!({"base_price_cents": 3000})).await;
    let id = g.subscribed(&plan).await;
    g.billed().await;
    g.at("2026-03-25T00:00:00Z").await;
    let invoice = overdue(&g, id).await;
    let control = g.app.control();
    let op = &OpContext::system(&control.clock, &control.ids, "dunning");
    let tenant = g.tenant.id.clone();
    let suspend = async |conn: &mut scaicontrol_server::db::Conn| {
        let settings = settings::load(conn).await?;
        let mut sub = lifecycle::lock(conn, op, &settings, &tenant, id).await?;
        transitions::suspend(conn, op, &mut sub, scaicontrol_domain::subscription::SuspensionReason::Dunning)
            .await
    };
    control.db.tx(op, "suspend", suspend).await.expect("suspended");
    // Still within the period that was charged: nothing more is due when it comes back.
    g.at("2026-04-01T00:00:00Z").await;
    pay(&g, &invoice).await;
    let sub = g.read(id).await;
    assert_eq!((&sub["status"], &sub["suspended_at"]), (&json!("active"), &Value::Null));
    assert_eq!(g.lines().await, [[3000]]);
}

#[tokio::test]
async fn an_undone_cancellation_meets_the_debt_that_came_meanwhile() {
    let g = start().await;
    let plan = g.plan("pro", json!({"base_price_cents": 3000})).await;
    let id = g.subscribed(&plan).await;
    g.billed().await;
    g.ask(id, "cancel", &json!({})).send().await.data(200);
    let late = "UPDATE invoices SET status = 'past_due'";
    g.app.db().await.execute(late, &[]).await.expect("late");
    let sub = g.ask(id, "reactivate", &Value::Null).send().await.data(200);
    assert_eq!(sub["status"], "past_due");
    assert_eq!(g.events(id).await[2..], ["changed:scheduled_cancellation_undone", "changed:status_change"]);
    // Ended by an administrator from there, it keeps its debt.
    g.order(id, "cancel", &json!({"reason": "x", "immediately": true})).send().await.data(200);
    assert_eq!(g.documents().await[0]["due_cents"], 3630);
    verified(&g.app).await;
}

#[tokio::test]
async fn a_term_that_ends_in_debt_expires_when_it_is_paid() {
    let g = start().await;
    given::patience(&g.app).await;
    let plan = g.plan("pro", json!({"base_price_cents": 3000})).await;
    let asked = json!({"tenant_id": g.tenant.id, "plan_id": plan.id, "ends_at": "2026-04-05T00:00:00Z"});
    let made = g.app.call("POST", ADMIN).token(&g.admin).json(&asked).send().await.data(201);
    let id = given::id_of(&made);
    g.billed().await;
    g.at("2026-03-25T00:00:00Z").await;
    let invoice = overdue(&g, id).await;
    g.at("2026-07-01T00:00:00Z").await;
    assert_eq!(g.billed().await.len(), 1, "no new period");
    assert_eq!(g.read(id).await["status"], "past_due");
    pay(&g, &invoice).await;
    let sub = g.read(id).await;
    assert_eq!((&sub["status"], &sub["cancelled_at"]), (&json!("expired"), &json!("2026-07-01T00:00:00Z")));
    verified(&g.app).await;
}

#[tokio::test]
async fn the_list_is_filtered_and_walked() {
    let g = start().await;
    let south = given::tenant(&g.app, "tnt_south", "prt_south").await;
    let mut all = Vec::new();
    for n in 0..3 {
        let of = service(&g.app, &format!("s{n}")).await;
        let plan = given::plan_with(&g.app, &of, "p", json!({"trial_days": n % 2})).await;
        for tenant in [&g.tenant, &south] {
            all.push(given::subscription(&g.app, tenant, &plan, 1).await);
        }
    }
    let newest: Vec<Value> = all.iter().rev().map(|id| json!(id)).collect();
    assert_eq!(walk(&g.app, &g.admin, ADMIN, "status=active", "id").await, newest);
    let get = async |token: &str, query: &str| {
        let list = g.app.call("GET", &format!("{ADMIN}?{query}")).token(token).send().await.data(200);
        each(&list, "id").len()
    };
    let partner = g.app.token("partner_admin", "tnt_home", "prt_south");
    for (query, whole, own) in [
        ("page_size=200", 6, 3),
        ("status=trialing", 2, 1),
        ("service_slug=s1", 2, 1),
        ("plan_key=s2.p", 2, 1),
        ("plan_key=s2.q", 0, 0),
        ("tenant_id=tnt_acme", 3, 0),
        ("partner_id=prt_south", 3, 3),
        ("partner_id=prt_north&service_slug=s0", 1, 0),
    ] {
        assert_eq!(get(&g.admin, query).await, whole, "{query}");
        assert_eq!(get(&partner, query).await, own, "{query}");
    }
    let listed = g.app.client(&partner).admin_subscription_list().send().await.expect("a list");
    assert_eq!(listed.into_inner().data.len(), 3);
    let read = |id: Uuid| g.app.call("GET", &format!("{ADMIN}/{id}")).token(&partner).send();
    read(all[0]).await.refused(404);
    read(all[1]).await.expect(200);
}
