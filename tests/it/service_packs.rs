//! Packs as tenants see and use them: what they cost, how the children go along, and what is billed.
use crate::payments::{ask, paid};
use crate::support::{
    cents, difference, each, finalize, flat, get, made, run, service, used, uuid, verified, walk,
};
use chrono::{DateTime, TimeDelta, Utc};
use scaicontrol_domain::subscription::SuspensionReason;
use scaicontrol_server::db::Conn;
use scaicontrol_server::error::Result;
use scaicontrol_server::op::OpContext;
use scaicontrol_server::settings;
use scaicontrol_server::subscriptions::store::SubscriptionRow;
use scaicontrol_server::subscriptions::{lifecycle, transitions};
use scaicontrol_tests::given::{self, Plan, Service, Tenant};
use scaicontrol_tests::{TestApp, body, database};
use serde_json::{Value, json};
use uuid::Uuid;

const PACKS: &str = "/api/v1/service-packs";
const TAKEN: &str = "/api/v1/service-pack-subscriptions";

/// Three services, a plan of each, and somebody who sells and somebody who buys.
pub struct World {
    pub app: TestApp,
    pub admin: String,
    pub tenant: Tenant,
    pub services: Vec<Service>,
    pub plans: Vec<Plan>,
}

/// Plans of 30.00, 10.00 and 10.01 a month.
pub async fn world() -> World {
    let app = TestApp::start().await;
    let admin = app.operator("super_admin");
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let (mut services, mut plans) = (Vec::new(), Vec::new());
    for (slug, price) in [("chat", 3000), ("drive", 1000), ("vault", 1001)] {
        let service = service(&app, slug).await;
        plans.push(given::plan(&app, &service, "pro", price).await);
        services.push(service);
    }
    World { app, admin, tenant, services, plans }
}

impl World {
    /// A pack of the first plans with some fields of its own; 45.00 when nothing else is said.
    pub async fn pack(&self, slug: &str, size: usize, fields: Value) -> Value {
        let items = self.services.iter().zip(&self.plans).take(size);
        let items: Vec<Value> = items.map(|(s, p)| json!({"service_id": s.id, "plan_id": p.id})).collect();
        let mut asked = json!({
            "slug": slug, "name": slug.to_uppercase(), "billing_period": "monthly", "currency": "EUR",
            "discount_type": "fixed_price", "base_price_cents": 4500, "items": items,
        });
        for (name, value) in fields.as_object().into_iter().flatten() {
            asked[name] = value.clone();
        }
        if asked["discount_type"] == "percentage" {
            asked["base_price_cents"] = json!(0);
        }
        let call = self.app.call("POST", "/api/v1/admin/service-packs").token(&self.admin);
        call.json(&asked).send().await.data(201)
    }

    /// Takes a pack.
    pub async fn take(&self, tenant: &Tenant, slug: &str) -> Value {
        let path = format!("{PACKS}/{slug}/subscribe");
        self.app.call("POST", &path).token(&tenant.admin).send().await.data(201)
    }

    async fn cancel(&self, id: &Value) -> scaicontrol_tests::Answer {
        let path = format!("{TAKEN}/{}/cancel", uuid(id));
        let asked = json!({"reason": "moving on"});
        self.app.call("POST", &path).token(&self.tenant.admin).json(&asked).send().await
    }

    /// The pack subscriptions of the tenant, as it sees them.
    async fn taken(&self) -> Value {
        self.app.call("GET", TAKEN).token(&self.tenant.member).send().await.data(200)
    }

    async fn run(&self) -> Value {
        run(&self.app, &self.app.operator("billing_admin"), &self.tenant.id).await
    }

    async fn to(&self, time: &str) {
        self.app.advance_to(time.parse().expect("a time")).await;
    }

    /// Types of the events so far, each payload held against the schema of its topic.
    async fn events(&self) -> Vec<String> {
        let sql =
            "SELECT event_type, data FROM outbox_events WHERE event_type LIKE '%subscription.%' ORDER BY id";
        let rows = self.app.db().await.query(sql, &[]).await.expect("events");
        let events = rows.iter().map(|row| (row.get::<_, String>(0), row.get::<_, Value>(1)));
        events
            .map(|(topic, data)| {
                holds(&topic, &data);
                match data["change_kind"].as_str() {
                    Some(kind) => format!("{topic}:{kind}"),
                    None => topic,
                }
            })
            .collect()
    }

    /// What each account of revenue holds.
    async fn revenue(&self) -> Vec<(String, i64)> {
        let sql = "SELECT account, -sum(amount_cents)::bigint FROM ledger_entries WHERE account LIKE 'revenue%' GROUP BY 1 ORDER BY 1";
        let rows = self.app.db().await.query(sql, &[]).await.expect("entries");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

/// Fails unless the payload is of the schema of its topic.
#[track_caller]
fn holds(topic: &str, data: &Value) {
    fn read<T: serde::de::DeserializeOwned + serde::Serialize>(data: &Value) -> Value {
        let event: T = serde_json::from_value(data.clone()).unwrap_or_else(|e| panic!("{e}: {data}"));
        serde_json::to_value(event).expect("JSON")
    }
    let again = match topic {
        "pack_subscription.activated" => read::<scaicontrol_types::EventPackSubscriptionActivated>(data),
        "pack_subscription.changed" => read::<scaicontrol_types::EventPackSubscriptionChanged>(data),
        "pack_subscription.cancelled" => read::<scaicontrol_types::EventPackSubscriptionCancelled>(data),
        _ => return,
    };
    assert_eq!(&again, data, "{topic}");
}

fn amounts(list: &Value, field: &str) -> Vec<i64> {
    each(list, field).into_iter().map(cents).collect()
}

#[tokio::test]
async fn a_pack_is_one_line_and_each_service_earns_its_part_of_it() {
    let world = world().await;
    let app = &world.app;
    let multipliers = json!({"cost_multipliers": {"*": "0.5", "drive.pro": "0.25"}});
    app.db()
        .await
        .execute("UPDATE platform_settings SET data = data || $1", &[&multipliers])
        .await
        .expect("set");
    world.pack("office", 3, json!({"sort_order": 2})).await;
    world.pack("hidden", 2, json!({"is_public": false})).await;
    world.pack("first", 1, json!({"sort_order": 1})).await;
    let client = app.client(&world.tenant.admin);
    let listed = client.service_pack_list().send().await.expect("listed").into_inner().data;
    assert_eq!(listed.iter().map(|p| p.slug.as_str()).collect::<Vec<_>>(), ["first", "office"]);
    let read = client.service_pack_get().slug("office").send().await.expect("read").into_inner().data;
    assert_eq!((read.price_cents, read.items.len()), (4500, 3));
    assert_eq!(read.items.iter().map(|i| i.plan_price_cents).collect::<Vec<_>>(), [3000, 1000, 1001]);
    let made_ = client.service_pack_subscribe().slug("office").send().await.expect("taken").into_inner().data;
    // 4500 by 3000 : 1000 : 1001 is 2699.46 + 899.82 + 900.72.
    assert_eq!(made_.subscriptions.iter().map(|s| s.mrr_amount_cents).collect::<Vec<_>>(), [2699, 900, 901]);
    for child in &made_.subscriptions {
        assert_eq!((child.pack_subscription_id, child.status), (Some(made_.id), made_.status));
        assert_eq!(child.current_period_end, made_.current_period_end);
    }
    let taken = client.pack_subscription_list().send().await.expect("listed").into_inner().data;
    assert_eq!((taken.len(), taken[0].id, taken[0].subscriptions.len()), (1, made_.id, 3));

    let done = world.run().await;
    let lines = &done["invoices"][0]["lines"];
    assert_eq!((each(lines, "kind"), amounts(lines, "amount_cents")), (vec![&json!("pack")], vec![4500]));
    assert_eq!((&lines[0]["description"], &lines[0]["service_slug"]), (&json!("OFFICE"), &Value::Null));
    assert_eq!(lines[0]["subscription_id"], json!(made_.id));
    let items = &lines[0]["explanation"]["items"];
    assert_eq!(amounts(items, "amount_cents"), [2699, 900, 901]);
    let id = uuid(&done["invoices"][0]["invoice_id"]);
    let admin = app.operator("billing_admin");
    let invoice = finalize(app, &admin, id).await;
    assert_eq!(invoice["total_cents"], 5445);
    let by_service = |a, b, c| {
        [("revenue:chat", a), ("revenue:drive", b), ("revenue:vault", c)].map(|(s, n)| (s.to_owned(), n))
    };
    assert_eq!(world.revenue().await, by_service(2699, 900, 901));
    // Half of 26.99, a quarter of 9.00, half of 9.01, each rounded.
    let cost = "SELECT platform_cost_cents FROM invoice_lines WHERE invoice_id = $1";
    let cost: i64 = app.db().await.query_one(cost, &[&id]).await.expect("a line").get(0);
    assert_eq!(cost, 1350 + 225 + 451);
    verified(app).await;

    // A part of it, in proportion; then the rest, to the last cent.
    let line = invoice["line_items"][0]["id"].clone();
    let note = json!({"reason": "x", "lines": [{"line_item_id": line, "amount_cents": 1001}]});
    ask(app, &admin, id, "credit-note", &note).send().await.data(201);
    // 1001 by 2699 : 900 : 901 is 600.38 + 200.20 + 200.42.
    assert_eq!(world.revenue().await, by_service(2699 - 600, 900 - 200, 901 - 201));
    verified(app).await;
    ask(app, &admin, id, "credit-note", &json!({"reason": "y"})).send().await.data(201);
    assert!(world.revenue().await.iter().all(|(_, left)| *left == 0));
    verified(app).await;
}

#[tokio::test]
async fn a_percentage_follows_the_prices_of_its_plans_with_thirty_days_notice() {
    let world = world().await;
    let app = &world.app;
    let items = json!([
        {"service_id": world.services[1].id, "plan_id": world.plans[1].id, "override_price_cents": 800},
        {"service_id": world.services[2].id, "plan_id": world.plans[2].id},
    ]);
    let pack = json!({"discount_type": "percentage", "discount_percentage": "12.5", "items": items});
    // (800 + 1001) × 0.875 is 1575.875.
    assert_eq!(world.pack("duo", 2, pack).await["price_cents"], 1576);
    let taken = world.take(&world.tenant, "duo").await;
    // 1576 by 800 : 1001 is 700.06 + 875.94.
    assert_eq!(amounts(&taken["subscriptions"], "mrr_amount_cents"), [700, 876]);
    // Less than thirty days before the first renewal.
    app.advance(TimeDelta::days(3)).await;
    let path = format!("/api/v1/admin/catalog/plans/{}", world.plans[2].id);
    app.call("PUT", &path)
        .token(&world.admin)
        .json(&json!({"base_price_cents": 2001}))
        .send()
        .await
        .expect(200);
    let seen = app.call("GET", &format!("{PACKS}/duo")).token(&world.tenant.member).send().await.data(200);
    // (800 + 2001) × 0.875 is 2450.875.
    assert_eq!(seen["price_cents"], 2451, "who begins now pays it at once");
    world.to("2026-05-11T00:00:00Z").await;
    let done = world.run().await;
    assert_eq!(amounts(&done["invoices"], "subtotal_cents"), [1576, 1576, 2451]);
    let now = &world.taken().await[0];
    assert_eq!((&now["price_cents"], &now["status"]), (&json!(2451), &json!("active")));
    // 2451 by 800 : 2001 is 700.04 + 1750.96.
    assert_eq!(amounts(&now["subscriptions"], "mrr_amount_cents"), [700, 1751]);
    assert_eq!(
        world.events().await,
        [
            "pack_subscription.activated",
            "pack_subscription.changed:renewal",
            "pack_subscription.changed:renewal"
        ]
    );
    verified(app).await;
}

#[tokio::test]
async fn usage_of_the_children_is_billed_beside_the_line_of_the_pack() {
    let world = world().await;
    let app = &world.app;
    given::tiers(app, &world.plans[0], &json!([flat("calls", "2")])).await;
    given::tiers(app, &world.plans[2], &json!([flat("rows", "0.5")])).await;
    world.pack("office", 3, json!({})).await;
    let pack = world.take(&world.tenant, "office").await;
    let admin = app.operator("billing_admin");
    for invoice in made(app, &admin, &world.run().await).await {
        finalize(app, &admin, uuid(&invoice["id"])).await;
    }
    app.advance(TimeDelta::days(5)).await;
    used(app, &world.services[0], &world.tenant, &[("calls", "10")]).await;
    used(app, &world.services[2], &world.tenant, &[("rows", "7")]).await;
    world.to("2026-04-09T23:00:01Z").await;
    let upcoming =
        app.call("GET", "/api/v1/billing/upcoming").token(&world.tenant.admin).send().await.data(200);
    let done = world.run().await;
    let lines = &done["invoices"][0]["lines"];
    assert_eq!(each(lines, "kind"), ["pack", "usage", "usage"]);
    assert_eq!(amounts(lines, "amount_cents"), [4500, 20, 4]);
    assert_eq!(each(lines, "service_slug"), [&Value::Null, &json!("chat"), &json!("vault")]);
    assert_eq!(lines[0]["subscription_id"], pack["id"]);
    assert_eq!(lines[1]["subscription_id"], pack["subscriptions"][0]["id"]);
    assert_eq!(upcoming[0]["subtotal_cents"], 4524);
    assert_eq!(done["invoices"].as_array().map(Vec::len), Some(1));
    finalize(app, &admin, uuid(&done["invoices"][0]["invoice_id"])).await;
    verified(app).await;
}

#[tokio::test]
async fn the_trial_of_a_pack_counts_for_every_service_in_it() {
    let world = world().await;
    let app = &world.app;
    let long = given::plan_with(app, &world.services[0], "long", json!({"trial_days": 30})).await;
    let items = json!([{"service_id": world.services[0].id, "plan_id": long.id}]);
    world.pack("trial", 1, json!({"trial_days": 14, "items": items})).await;
    world.pack("other", 2, json!({"trial_days": 7})).await;
    let taken = world.take(&world.tenant, "trial").await;
    assert_eq!(
        (&taken["status"], &taken["trial_ends_at"]),
        (&json!("trialing"), &json!("2026-03-24T09:00:00Z"))
    );
    assert_eq!(taken["subscriptions"][0]["trial_ends_at"], taken["trial_ends_at"]);
    world.to("2026-03-24T08:59:59Z").await;
    assert_eq!(world.run().await["invoices"], json!([]));
    world.to("2026-03-24T09:00:00Z").await;
    let done = world.run().await;
    assert_eq!(amounts(&done["invoices"], "subtotal_cents"), [4500]);
    let now = &world.taken().await[0];
    assert_eq!((&now["status"], &now["activated_at"]), (&json!("active"), &json!("2026-03-24T09:00:00Z")));
    assert_eq!(now["current_period_end"], "2026-04-23T22:00:00Z");
    world.cancel(&taken["id"]).await.data(200);
    world.to("2026-04-24T00:00:00Z").await;
    world.run().await;
    assert_eq!(
        world.events().await,
        [
            "pack_subscription.activated",
            "pack_subscription.changed:status_change",
            "pack_subscription.changed:scheduled_cancellation",
            "pack_subscription.cancelled",
        ]
    );
    // The other pack holds a service that was tried, and one that never was.
    let again = world.take(&world.tenant, "other").await;
    assert_eq!((&again["status"], &again["trial_ends_at"]), (&json!("active"), &Value::Null));
    // Nor is there a trial of a plan whose service was tried in a pack.
    let fresh = given::tenant(app, "tnt_fresh", "prt_north").await;
    let tried = world.take(&fresh, "trial").await;
    let path = format!("{TAKEN}/{}/cancel", uuid(&tried["id"]));
    let ended = app.call("POST", &path).token(&fresh.admin).json(&json!({})).send().await.data(200);
    assert_eq!(
        (&ended["status"], &ended["subscriptions"][0]["status"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
    assert_eq!(run(app, &app.operator("billing_admin"), &fresh.id).await["items_billed"], 0);
    let alone = given::subscription(app, &fresh, &long, 1).await;
    let path = format!("/api/v1/subscriptions/{alone}");
    assert_eq!(app.call("GET", &path).token(&fresh.admin).send().await.data(200)["status"], "active");
    verified(app).await;
}

#[tokio::test]
async fn cancelling_ends_everything_together_at_the_end_of_the_period() {
    let world = world().await;
    let app = &world.app;
    given::tiers(app, &world.plans[0], &json!([flat("calls", "2")])).await;
    world.pack("office", 2, json!({})).await;
    let taken = world.take(&world.tenant, "office").await;
    let client = app.client(&world.tenant.admin);
    let ending = client
        .pack_subscription_cancel()
        .pack_subscription_id(uuid(&taken["id"]))
        .body(body::<scaicontrol_types::CancelRequest>(json!({"reason": "moving on"})))
        .send()
        .await
        .expect("cancelled")
        .into_inner()
        .data;
    assert_eq!(ending.status, scaicontrol_types::SubscriptionStatus::Cancelling);
    assert_eq!(ending.pending_cancellation_at, ending.current_period_end);
    assert!(ending.subscriptions.iter().all(|s| s.status == ending.status));
    world.cancel(&taken["id"]).await.refused(400);
    used(app, &world.services[0], &world.tenant, &[("calls", "10")]).await;
    world.to("2026-06-01T00:00:00Z").await;
    let done = world.run().await;
    assert_eq!(amounts(&done["invoices"], "subtotal_cents"), [4500, 20]);
    let over = &world.taken().await[0];
    assert_eq!(
        (&over["status"], &over["cancelled_at"]),
        (&json!("cancelled"), &json!("2026-04-09T22:00:00Z"))
    );
    assert_eq!(over["cancellation_reason"], "moving on");
    assert_eq!(each(&over["subscriptions"], "status"), ["cancelled", "cancelled"]);
    world.cancel(&taken["id"]).await.refused(400);
    world.take(&world.tenant, "office").await;
    verified(app).await;
}

#[tokio::test]
async fn a_pack_that_is_billed_once_ends_when_it_is_cancelled() {
    let world = world().await;
    let app = &world.app;
    let mut items = Vec::new();
    for service in &world.services[..2] {
        let once = json!({"billing_period": "one_time", "base_price_cents": 9000});
        let plan = given::plan_with(app, service, "once", once).await;
        given::tiers(app, &plan, &json!([flat("calls", "3")])).await;
        items.push(json!({"service_id": service.id, "plan_id": plan.id}));
    }
    world.pack("forever", 2, json!({"billing_period": "one_time", "items": items})).await;
    let taken = world.take(&world.tenant, "forever").await;
    assert_eq!(taken["current_period_end"], Value::Null);
    app.advance(TimeDelta::hours(2)).await;
    used(app, &world.services[0], &world.tenant, &[("calls", "5")]).await;
    app.advance(TimeDelta::hours(2)).await;
    let ended = world.cancel(&taken["id"]).await.data(200);
    assert_eq!(each(&ended["subscriptions"], "status"), ["cancelled", "cancelled"]);
    let mut billed = amounts(&world.run().await["invoices"], "subtotal_cents");
    billed.sort_unstable();
    assert_eq!(billed, [15, 4500]);
    world.to("2026-09-01T00:00:00Z").await;
    assert_eq!(world.run().await["items_billed"], 0);
    verified(app).await;
}

#[tokio::test]
async fn a_service_is_in_one_subscription_only() {
    let world = world().await;
    let app = &world.app;
    world.pack("office", 2, json!({})).await;
    world.pack("more", 3, json!({})).await;
    let alone = given::subscription(app, &world.tenant, &world.plans[1], 1).await;
    let subscribe = async |slug: &str| {
        app.call("POST", &format!("{PACKS}/{slug}/subscribe")).token(&world.tenant.admin).send().await
    };
    subscribe("office").await.refused(409).says("drive");
    let path = format!("/api/v1/subscriptions/{alone}/cancel");
    app.call("POST", &path).token(&world.tenant.admin).json(&json!({})).send().await.data(200);
    subscribe("office").await.refused(409);
    world.to("2026-04-10T00:00:00Z").await;
    world.run().await;
    let first = subscribe("office").await.data(201);
    subscribe("office").await.refused(409);
    subscribe("more").await.refused(409).says("chat, drive");
    let asked = json!({"plan_id": world.plans[0].id});
    app.call("POST", "/api/v1/subscriptions")
        .token(&world.tenant.admin)
        .json(&asked)
        .send()
        .await
        .refused(409);
    // What belongs to a pack is not changed by itself.
    let child = uuid(&first["subscriptions"][0]["id"]);
    for (what, asked) in
        [("cancel", json!({})), ("reactivate", json!({})), ("change-plan", json!({"quantity": 2}))]
    {
        let path = format!("/api/v1/subscriptions/{child}/{what}");
        let call = app.call("POST", &path).token(&world.tenant.admin);
        let call = if what == "reactivate" { call } else { call.json(&asked) };
        call.send().await.refused(409);
    }
    verified(app).await;
}

#[tokio::test]
async fn of_two_who_subscribe_at_once_one_gets_it() {
    let world = world().await;
    let app = &world.app;
    world.pack("office", 3, json!({})).await;
    world.pack("duo", 2, json!({})).await;
    let office = format!("{PACKS}/office/subscribe");
    let duo = format!("{PACKS}/duo/subscribe");
    let call = |path: &str| app.call("POST", path).token(&world.tenant.admin).send();
    let answers = tokio::join!(call(&office), call(&duo), call(&office), call(&duo));
    let mut statuses = [answers.0.status, answers.1.status, answers.2.status, answers.3.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409]);
    assert_eq!(world.taken().await.as_array().map(Vec::len), Some(1));
    verified(app).await;
}

#[tokio::test]
async fn what_is_refused() {
    let world = world().await;
    let app = &world.app;
    let office = world.pack("office", 3, json!({})).await;
    world.pack("hidden", 1, json!({"is_public": false})).await;
    let path = format!("{PACKS}/office/subscribe");
    app.call("POST", &path).token(&world.tenant.member).send().await.refused(403);
    app.call("POST", &path).token(&world.services[0].token).send().await.refused(403);
    let fresh = app.token("tenant_admin", "tnt_new", "prt_north");
    app.call("POST", &path).token(&fresh).send().await.refused(400).says("billing profile");
    for slug in ["hidden", "nothing"] {
        let token = &world.tenant.admin;
        app.call("GET", &format!("{PACKS}/{slug}")).token(token).send().await.refused(404);
        app.call("POST", &format!("{PACKS}/{slug}/subscribe")).token(token).send().await.refused(404);
    }
    // A plan that is no longer sold, and a service that takes nobody.
    let plan = format!("/api/v1/admin/catalog/plans/{}", world.plans[2].id);
    let service = "/api/v1/admin/catalog/services/vault";
    for target in [plan.as_str(), service] {
        let set = async |active: bool| {
            app.call("PUT", target)
                .token(&world.admin)
                .json(&json!({"is_active": active}))
                .send()
                .await
                .expect(200)
        };
        set(false).await;
        app.call("POST", &path).token(&world.tenant.admin).send().await.refused(409).says("vault.pro");
        set(true).await;
    }
    let taken = world.take(&world.tenant, "office").await;
    let other = given::tenant(app, "tnt_other", "prt_north").await;
    let cancel = format!("{TAKEN}/{}/cancel", uuid(&taken["id"]));
    app.call("POST", &cancel).token(&other.admin).json(&json!({})).send().await.refused(404);
    app.call("POST", &cancel).token(&world.tenant.member).json(&json!({})).send().await.refused(403);
    let nobody = format!("{TAKEN}/{}/cancel", Uuid::now_v7());
    app.call("POST", &nobody).token(&world.tenant.admin).json(&json!({})).send().await.refused(404);
    assert_eq!(app.call("GET", TAKEN).token(&other.admin).send().await.data(200), json!([]));
    app.call("GET", &format!("{TAKEN}?status=new"))
        .token(&other.admin)
        .send()
        .await
        .refused(400)
        .names("status");
    // One that has the pack sees it in its own list, whatever becomes of the offer.
    let retired = format!("/api/v1/admin/service-packs/{}", uuid(&office["id"]));
    app.call("PUT", &retired).token(&world.admin).json(&json!({"is_active": false})).send().await.expect(200);
    assert_eq!(world.taken().await[0]["pack_slug"], "office");
    world.cancel(&taken["id"]).await.data(200);
    verified(app).await;
}

#[tokio::test]
async fn the_list_is_filtered_and_walked() {
    let world = world().await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let items = json!([{"service_id": world.services[n].id, "plan_id": world.plans[n].id}]);
        let slug = format!("p{n}");
        world.pack(&slug, 1, json!({"items": items, "trial_days": n % 2})).await;
        ids.push(world.take(&world.tenant, &slug).await["id"].clone());
    }
    ids.reverse();
    assert_eq!(walk(&world.app, &world.tenant.member, TAKEN, "status=active", "id").await, ids);
    let path = format!("{TAKEN}?status=trialing");
    let found = world.app.call("GET", &path).token(&world.tenant.member).send().await.data(200);
    assert_eq!(each(&found, "id"), [&ids[1]]);
}

/// Does something to the first child of the pack, as a worker does it to a subscription.
async fn move_child(
    world: &World,
    child: Uuid,
    what: impl AsyncFn(&mut Conn, &OpContext, &mut SubscriptionRow) -> Result<()>,
) {
    let control = world.app.control();
    let op = OpContext::system(&control.clock, &control.ids, "dunning");
    let (op, what, tenant) = (&op, &what, world.tenant.id.as_str());
    let work = async |conn: &mut Conn| {
        let settings = settings::load(conn).await?;
        let mut sub = lifecycle::lock(conn, op, &settings, tenant, child).await?;
        what(conn, op, &mut sub).await
    };
    control.db.tx(op, "test", work).await.expect("moved");
}

#[tokio::test]
async fn debt_and_payment_move_the_pack_and_all_its_children() {
    let world = world().await;
    let app = &world.app;
    world.pack("office", 3, json!({})).await;
    let taken = world.take(&world.tenant, "office").await;
    let child = uuid(&taken["subscriptions"][1]["id"]);
    let admin = app.operator("billing_admin");
    let first = uuid(&world.run().await["invoices"][0]["invoice_id"]);
    let number = finalize(app, &admin, first).await["number"].clone();
    let overdue = "UPDATE invoices SET status = 'past_due' WHERE invoice_id = $1";
    app.db().await.execute(overdue, &[&first]).await.expect("overdue");
    let states = async || {
        let pack = world.taken().await[0].clone();
        let mut all = vec![pack["status"].clone()];
        all.extend(each(&pack["subscriptions"], "status").into_iter().cloned());
        all.dedup();
        all
    };
    move_child(&world, child, async |conn, op, sub| transitions::past_due(conn, op, sub, op.now).await).await;
    assert_eq!(states().await, ["past_due"]);
    world.cancel(&taken["id"]).await.refused(400).says(number.as_str().expect("a number"));
    // The other children were there already when their turn comes.
    let other = uuid(&taken["subscriptions"][2]["id"]);
    move_child(&world, other, async |conn, op, sub| transitions::past_due(conn, op, sub, op.now).await).await;
    verified(app).await;
    let dunning = SuspensionReason::Dunning;
    move_child(&world, child, async |conn, op, sub| transitions::suspend(conn, op, sub, dunning).await).await;
    assert_eq!(states().await, ["suspended"]);
    // A period begins while it is suspended, and is not billed; the half of it that is left is, when it is paid.
    world.to("2026-04-24T22:00:00Z").await;
    assert_eq!(world.run().await["items_billed"], 3, "the usage of the first month, of nothing");
    ask(app, &admin, first, "mark-paid", &paid(None, "bank_transfer")).send().await.data(200);
    assert_eq!(states().await, ["active"]);
    let resumed = "SELECT parameters->>'pack' FROM notifications WHERE message = 'pack_resumed'";
    let resumed: String = app.db().await.query_one(resumed, &[]).await.expect("told once").get(0);
    assert_eq!(resumed, "OFFICE");
    let lines = &world.run().await["invoices"][0]["lines"];
    assert_eq!(amounts(lines, "amount_cents"), [2250]);
    assert_eq!(
        (&lines[0]["period_start"], &lines[0]["period_end"]),
        (&json!("2026-04-25"), &json!("2026-05-09"))
    );
    assert_eq!(get(app, &admin, first).await["status"], "paid");
    assert_eq!(
        world.events().await,
        [
            "pack_subscription.activated",
            "pack_subscription.changed:status_change",
            "pack_subscription.changed:status_change",
            "pack_subscription.changed:status_change",
        ]
    );
    let next: DateTime<Utc> = "2026-05-09T22:00:00Z".parse().expect("a time");
    app.advance_to(next + TimeDelta::hours(2)).await;
    assert_eq!(amounts(&world.run().await["invoices"], "subtotal_cents"), [4500]);
    verified(app).await;
}

#[tokio::test]
async fn the_proof_finds_what_does_not_agree_about_packs() {
    let world = world().await;
    let app = &world.app;
    world.pack("office", 3, json!({})).await;
    world.take(&world.tenant, "office").await;
    let admin = app.operator("billing_admin");
    let id = uuid(&world.run().await["invoices"][0]["invoice_id"]);
    let line = finalize(app, &admin, id).await["line_items"][0]["id"].clone();
    let note = json!({"reason": "x", "lines": [{"line_item_id": line, "amount_cents": 1001}]});
    ask(app, &admin, id, "credit-note", &note).send().await.data(201);
    verified(app).await;
    let owner = database::connect(&app.database().owner_url()).await;
    let chat = format!("plan_id = '{}'", world.plans[0].id);
    let drive = format!("plan_id = '{}'", world.plans[1].id);
    let of_chat = format!("WHERE service_id = '{}'", world.services[0].id);
    let shifted = |by: i64| {
        format!(
            "amount_cents = amount_cents + CASE position WHEN 0 THEN 0 - ({by}) WHEN 1 THEN {by} ELSE 0 END WHERE invoice_id <> '{id}'"
        )
    };
    let named = |to: &str| format!("service_slug = '{to}' WHERE invoice_id = '{id}' AND position = 1");
    let s = str::to_owned;
    for (table, change, back, check) in [
        (
            "pack_subscriptions",
            s("timezone = 'UTC'"),
            s("timezone = 'Europe/Amsterdam'"),
            "the children of a pack are in its state and its time",
        ),
        (
            "subscriptions",
            format!("{drive} {of_chat}"),
            format!("{chat} {of_chat}"),
            "a pack has one child for each of its items",
        ),
        (
            "pack_subscriptions",
            s("mrr_amount_cents = mrr_amount_cents + 1"),
            s("mrr_amount_cents = mrr_amount_cents - 1"),
            "recurring revenue of a pack's children is that of the pack",
        ),
        (
            "billed_items",
            s("kind = 'charge' WHERE kind = 'pack'"),
            s("kind = 'pack' WHERE kind = 'charge'"),
            "a period of a pack is billed once, by the pack",
        ),
        (
            "invoice_line_parts",
            format!("cost_cents = cost_cents + 1 WHERE invoice_id = '{id}' AND position = 2"),
            format!("cost_cents = cost_cents - 1 WHERE invoice_id = '{id}' AND position = 2"),
            "the parts of a pack's line are its amount and its platform cost",
        ),
        (
            "invoice_line_parts",
            shifted(2500),
            shifted(-2500),
            "no part is taken back beyond its amount and its platform cost",
        ),
        ("invoice_line_parts", named("other"), named("drive"), "what each service earned is in the ledger"),
    ] {
        let plant = async |set: &str| {
            let tables = ["pack_subscriptions", "subscriptions", "billed_items", "invoice_line_parts"];
            let each =
                |what: &str| tables.iter().map(|t| format!("ALTER TABLE {t} {what};")).collect::<String>();
            let sql = format!(
                "{} UPDATE {table} SET {set}; {}",
                each("DISABLE TRIGGER USER, NO FORCE ROW LEVEL SECURITY"),
                each("ENABLE TRIGGER USER, FORCE ROW LEVEL SECURITY")
            );
            owner.batch_execute(&sql).await.unwrap_or_else(|e| panic!("{set}: {e:?}"));
        };
        plant(&change).await;
        assert_eq!(difference(app).await.map(|d| d.check), Some(check), "{change}");
        plant(&back).await;
        verified(app).await;
    }
    let db = app.db().await;
    for sql in [
        "UPDATE invoice_line_parts SET amount_cents = 0",
        "DELETE FROM invoice_line_parts",
        "UPDATE pack_versions SET base_price_cents = 1",
        "DELETE FROM pack_items",
    ] {
        assert!(db.batch_execute(sql).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn what_happens_to_a_pack_by_itself_is_in_the_log() {
    let world = world().await;
    world.pack("office", 2, json!({"trial_days": 14})).await;
    let taken = world.take(&world.tenant, "office").await;
    world.to("2026-03-25T00:00:00Z").await;
    world.run().await;
    world.cancel(&taken["id"]).await.data(200);
    world.to("2026-04-25T00:00:00Z").await;
    world.run().await;
    let sql = "SELECT before->'row'->>'status', after->'row'->>'status' FROM audit_log
        WHERE object_type = 'pack_subscription' AND before IS NOT NULL ORDER BY id";
    let rows = world.app.db().await.query(sql, &[]).await.expect("the log");
    let moves: Vec<(&str, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(moves, [("trialing", "active"), ("active", "cancelling"), ("cancelling", "cancelled")]);
}
