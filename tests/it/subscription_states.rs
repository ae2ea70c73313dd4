//! Which state refuses what: every operation on a subscription in every state, and that a refusal changes nothing.
use crate::plan_changes::{Given, start};
use crate::support::verified;
use scaicontrol_domain::subscription::SuspensionReason;
use scaicontrol_server::catalog;
use scaicontrol_server::op::OpContext;
use scaicontrol_server::settings;
use scaicontrol_server::subscriptions::{lifecycle, transitions};
use scaicontrol_tests::given::{self, Plan};
use serde_json::{Value, json};
use uuid::Uuid;

/// Status of each operation: cancel, reactivate and change by the tenant; cancel, cancel at once, suspend and resume by an
/// administrator. 0: it may be done, which other tests do.
const REFUSED: [(&str, [u16; 7]); 8] = [
    ("pending", [400, 400, 409, 400, 400, 400, 400]),
    ("trialing", [0, 400, 0, 0, 0, 400, 400]),
    ("active", [0, 400, 0, 0, 0, 400, 400]),
    ("past_due", [400, 400, 409, 400, 0, 0, 400]),
    ("suspended", [400, 400, 409, 400, 0, 400, 0]),
    ("cancelling", [400, 0, 409, 400, 0, 400, 400]),
    ("cancelled", [400, 400, 409, 400, 400, 400, 400]),
    ("expired", [400, 400, 409, 400, 400, 400, 400]),
];

/// Brings a subscription of a new tenant into the state.
async fn make(g: &mut Given, state: &str, plan: &Plan, trial: &Plan, slow: &Plan) -> Uuid {
    g.tenant = given::tenant(&g.app, &format!("tnt_{state}"), "prt_north").await;
    let plan = match state {
        "pending" => slow,
        "trialing" => trial,
        _ => plan,
    };
    let mut asked = json!({"tenant_id": g.tenant.id, "plan_id": plan.id});
    if state == "expired" {
        asked["ends_at"] = json!(g.app.now() + chrono::TimeDelta::minutes(1));
    }
    let post = g.app.call("POST", "/api/v1/admin/subscriptions").token(&g.admin).json(&asked);
    let id = given::id_of(&post.send().await.data(201));
    match state {
        "past_due" | "suspended" => owe(g, id, state == "suspended").await,
        "cancelling" => drop(g.ask(id, "cancel", &json!({})).send().await.data(200)),
        "cancelled" => {
            let now = json!({"reason": "x", "immediately": true});
            g.order(id, "cancel", &now).send().await.data(200);
        }
        "expired" => {
            g.app.advance(chrono::TimeDelta::minutes(2)).await;
            g.billed().await;
        }
        _ => {}
    }
    id
}

async fn owe(g: &Given, id: Uuid, suspend: bool) {
    let control = g.app.control();
    let op = &OpContext::system(&control.clock, &control.ids, "dunning");
    let work = async |conn: &mut scaicontrol_server::db::Conn| {
        let settings = settings::load(conn).await?;
        let mut sub = lifecycle::lock(conn, op, &settings, &g.tenant.id, id).await?;
        transitions::past_due(conn, op, &mut sub, op.now).await?;
        match suspend {
            true => transitions::suspend(conn, op, &mut sub, SuspensionReason::Dunning).await,
            false => Ok(()),
        }
    };
    control.db.tx(op, "owe", work).await.expect("it owes");
}

#[tokio::test]
async fn every_state_refuses_what_it_does_not_allow() {
    let mut g = start().await;
    let plan = g.plan("pro", json!({"base_price_cents": 1000})).await;
    let trial = g.plan("trial", json!({"base_price_cents": 1000, "trial_days": 14})).await;
    let other = crate::support::service(&g.app, "slow").await;
    let slow = given::plan(&g.app, &other, "pro", 1000).await;
    let set = "UPDATE services SET provisioning = '{\"provision_path\": \"/setup\"}', base_url = 'https://slow.example.com' WHERE slug = 'slow'";
    g.app.db().await.execute(set, &[]).await.expect("it must be set up");
    for (state, statuses) in REFUSED {
        let id = make(&mut g, state, &plan, &trial, &slow).await;
        let before = g.read(id).await;
        assert_eq!(before["status"], state);
        let events = g.events(id).await;
        let calls = [
            g.ask(id, "cancel", &json!({})),
            g.ask(id, "reactivate", &Value::Null),
            g.ask(id, "change-plan", &json!({"quantity": 2})),
            g.order(id, "cancel", &json!({"reason": "x"})),
            g.order(id, "cancel", &json!({"reason": "x", "immediately": true})),
            g.order(id, "suspend", &json!({"reason": "x"})),
            g.order(id, "resume", &Value::Null),
        ];
        for (place, (call, status)) in calls.into_iter().zip(statuses).enumerate() {
            if status == 0 {
                continue;
            }
            let answer = call.send().await;
            assert_eq!(answer.status, status, "{state}, {place}");
            assert_eq!(g.read(id).await, before, "{state}, {place}");
        }
        assert_eq!(g.events(id).await, events, "{state}");
    }
    verified(&g.app).await;
}

#[tokio::test]
async fn the_timezone_is_that_of_the_start() {
    let mut g = start().await;
    let other = crate::support::service(&g.app, "slow").await;
    let slow = given::plan(&g.app, &other, "pro", 1000).await;
    let set = "UPDATE services SET provisioning = '{\"provision_path\": \"/setup\"}', base_url = 'https://slow.example.com' WHERE slug = 'slow'";
    g.app.db().await.execute(set, &[]).await.expect("it must be set up");
    let id = make(&mut g, "pending", &slow, &slow, &slow).await;
    assert_eq!(g.read(id).await["timezone"], Value::Null);
    let moved = json!({"timezone": "America/New_York"});
    let partner = g.app.call("PATCH", "/api/v1/admin/partners/prt_north").token(&g.admin).json(&moved);
    partner.send().await.expect(200);
    // As the end of its provisioning will.
    let control = g.app.control();
    let op = &OpContext::system(&control.clock, &control.ids, "provisioning");
    let work = async |conn: &mut scaicontrol_server::db::Conn| {
        let settings = settings::load(conn).await?;
        let mut sub = lifecycle::lock(conn, op, &settings, &g.tenant.id, id).await?;
        let price = catalog::plan_in_force(conn, sub.plan_id, op.now).await?;
        lifecycle::start(conn, op, &settings, &mut sub, &price, false).await
    };
    control.db.tx(op, "start", work).await.expect("it starts");
    let sub = g.read(id).await;
    assert_eq!((&sub["status"], &sub["timezone"]), (&json!("active"), &json!("America/New_York")));
    assert_eq!(sub["current_period_end"], "2026-04-10T04:00:00Z", "midnight there");
    verified(&g.app).await;
}
