//! How a subscription begins, and what its tenant sees of it.
use crate::plan_changes::start;
use crate::support::{flat, run, service, verified, walk};
use chrono::TimeDelta;
use scaicontrol_tests::{TestApp, body, given};
use scaicontrol_types as types;
use serde_json::{Value, json};
use uuid::Uuid;

const SUBSCRIPTIONS: &str = "/api/v1/subscriptions";

#[tokio::test]
async fn a_subscription_begins_at_once_where_nothing_is_to_be_set_up() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let service = given::service(&app, "scaivault").await;
    given::plan(&app, &service, "pro", 4900).await;
    let client = app.client(&tenant.admin);
    let asked: types::SubscriptionCreateRequest =
        body(json!({"plan_key": "scaivault.pro", "quantity": 3, "metadata": {"order": 7}}));
    let made = client.subscription_create().body(asked).send().await.expect("created").into_inner().data;
    assert_eq!(
        (made.status, made.quantity, made.mrr_amount_cents),
        (types::SubscriptionStatus::Active, 3, 14700)
    );
    let day = |date: Option<chrono::NaiveDate>| date.map(|d| d.to_string()).unwrap_or_default();
    let time = |at: Option<chrono::DateTime<chrono::Utc>>| at.map(|t| t.to_rfc3339()).unwrap_or_default();
    assert_eq!(
        (day(made.anchor_date).as_str(), made.timezone.as_deref()),
        ("2026-03-10", Some("Europe/Amsterdam"))
    );
    assert_eq!(made.activated_at, Some(app.now()));
    // From the very instant to the local midnight of the same day of the next month.
    assert_eq!(time(made.current_period_start), "2026-03-10T09:00:00+00:00");
    assert_eq!(time(made.current_period_end), "2026-04-09T22:00:00+00:00");
    assert_eq!(made.metadata.get("order"), Some(&json!(7)));
    let read =
        client.subscription_get().subscription_id(made.id).send().await.expect("read").into_inner().data;
    assert_eq!(read.id, made.id);
    let rows = app
        .db()
        .await
        .query("SELECT event_type, data FROM outbox_events WHERE object_id = $1", &[&made.id.to_string()])
        .await;
    let rows = rows.expect("events");
    assert_eq!(rows.iter().map(|r| r.get::<_, String>(0)).collect::<Vec<_>>(), ["subscription.activated"]);
    assert_eq!(rows[0].get::<_, Value>(1)["plan_key"], "scaivault.pro");
    app.advance(TimeDelta::days(40)).await;
    run(&app, &app.operator("billing_admin"), &tenant.id).await;
    let read =
        client.subscription_get().subscription_id(made.id).send().await.expect("read").into_inner().data;
    assert_eq!(time(read.current_period_end), "2026-05-09T22:00:00+00:00");
    verified(&app).await;
}

#[tokio::test]
async fn what_is_refused() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let other = given::tenant(&app, "tnt_other", "prt_north").await;
    let vault = given::service(&app, "scaivault").await;
    let plan = given::plan(&app, &vault, "pro", 4900).await;
    let second = given::plan(&app, &vault, "max", 9900).await;
    let secret = given::plan_with(&app, &vault, "secret", json!({"is_public": false})).await;
    let old = given::plan_with(&app, &vault, "old", json!({"is_active": false})).await;
    let post =
        async |asked: Value| app.call("POST", SUBSCRIPTIONS).token(&tenant.admin).json(&asked).send().await;
    post(json!({})).await.refused(400);
    post(json!({"plan_id": plan.id, "plan_key": plan.key})).await.refused(400);
    post(json!({"plan_id": old.id})).await.refused(400).names("plan_id");
    post(json!({"plan_key": old.key})).await.refused(400).names("plan_key");
    post(json!({"plan_id": secret.id})).await.refused(404);
    post(json!({"plan_id": Uuid::now_v7()})).await.refused(404);
    post(json!({"plan_key": "scaivault.nothing"})).await.refused(404);
    for (field, more) in [
        ("quantity", json!({"quantity": 0})),
        ("quantity", json!({"quantity": 1_000_001})),
        ("plan_key", json!({"plan_key": "nothing"})),
        ("metadata", json!({"metadata": {"a": "x".repeat(16 * 1024)}})),
        ("colour", json!({"colour": "red"})),
    ] {
        let mut asked = json!({"plan_id": plan.id});
        asked[field] = more[field].clone();
        post(asked).await.refused(400).names(field);
    }
    let asked = json!({"plan_id": plan.id});
    app.call("POST", SUBSCRIPTIONS).token(&tenant.member).json(&asked).send().await.refused(403);
    app.call("POST", SUBSCRIPTIONS).token(&vault.token).json(&asked).send().await.refused(403);
    let fresh = app.token("tenant_admin", "tnt_fresh", "prt_north");
    app.call("POST", SUBSCRIPTIONS)
        .token(&fresh)
        .json(&asked)
        .send()
        .await
        .refused(400)
        .says("billing profile");
    let made = given::id_of(&post(asked.clone()).await.data(201));
    post(asked).await.refused(409);
    post(json!({"plan_id": second.id})).await.refused(409);
    let path = format!("{SUBSCRIPTIONS}/{made}");
    app.call("GET", &path).token(&other.admin).send().await.refused(404);
    app.call("GET", &path).token(&tenant.member).send().await.expect(200);
    app.call("GET", &format!("{SUBSCRIPTIONS}/{}", Uuid::now_v7()))
        .token(&tenant.admin)
        .send()
        .await
        .refused(404);
}

#[tokio::test]
async fn a_service_off_show_takes_no_subscription() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let vault = given::service(&app, "scaivault").await;
    let plan = given::plan(&app, &vault, "pro", 4900).await;
    let path = "/api/v1/admin/catalog/services/scaivault";
    let operator = app.operator("super_admin");
    for field in ["is_active", "is_public"] {
        app.call("PUT", path).token(&operator).json(&json!({field: false})).send().await.expect(200);
        let asked = json!({"plan_id": plan.id});
        app.call("POST", SUBSCRIPTIONS).token(&tenant.admin).json(&asked).send().await.refused(404);
        app.call("PUT", path).token(&operator).json(&json!({field: true})).send().await.expect(200);
    }
    given::subscription(&app, &tenant, &plan, 1).await;
}

#[tokio::test]
async fn a_new_price_waits_for_a_renewal_that_is_thirty_days_away() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let vault = given::service(&app, "scaivault").await;
    let plan = given::plan(&app, &vault, "pro", 1000).await;
    given::subscription(&app, &tenant, &plan, 1).await;
    let (admin, operator) = (app.operator("billing_admin"), app.operator("super_admin"));
    // Twenty days before the first renewal, which keeps the old price; the second one takes the new one.
    app.advance_to("2026-03-20T22:00:00Z".parse().expect("a time")).await;
    let path = format!("/api/v1/admin/catalog/plans/{}", plan.id);
    app.call("PUT", &path).token(&operator).json(&json!({"base_price_cents": 1500})).send().await.expect(200);
    app.advance_to("2026-05-11T00:00:00Z".parse().expect("a time")).await;
    let done = run(&app, &admin, &tenant.id).await;
    let amounts: Vec<&Value> =
        done["invoices"].as_array().expect("invoices").iter().map(|i| &i["subtotal_cents"]).collect();
    assert_eq!(amounts, [&json!(1000), &json!(1000), &json!(1500)]);
    // Who begins now pays it at once.
    let other = given::tenant(&app, "tnt_other", "prt_north").await;
    given::subscription(&app, &other, &plan, 1).await;
    assert_eq!(run(&app, &admin, &other.id).await["invoices"][0]["subtotal_cents"], 1500);
    verified(&app).await;
}

#[tokio::test]
async fn the_list_is_filtered_and_walked() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let mut all = Vec::new();
    for n in 0..5 {
        let plan =
            given::plan_with(&app, &service(&app, &format!("s{n}")).await, "p", json!({"trial_days": n % 2}))
                .await;
        all.push(given::subscription(&app, &tenant, &plan, 1).await);
    }
    let newest: Vec<Value> = all.iter().rev().map(|id| json!(id)).collect();
    assert_eq!(walk(&app, &tenant.member, SUBSCRIPTIONS, "status=active", "id").await, newest);
    let get = async |query: &str| {
        app.call("GET", &format!("{SUBSCRIPTIONS}?{query}")).token(&tenant.member).send().await
    };
    for (query, count) in [
        ("status=trialing", 2),
        ("status=active", 3),
        ("service_slug=s1", 1),
        ("service_slug=s1&status=active", 0),
        ("service_slug=no", 0),
    ] {
        assert_eq!(get(query).await.data(200).as_array().map(Vec::len), Some(count), "{query}");
    }
    get("status=new").await.refused(400).names("status");
    let other = given::tenant(&app, "tnt_other", "prt_north").await;
    assert_eq!(app.call("GET", SUBSCRIPTIONS).token(&other.admin).send().await.data(200), json!([]));
}

#[tokio::test]
async fn a_trial_that_is_cancelled_is_over_at_once_and_costs_nothing() {
    let g = start().await;
    let plan = g.plan("pro", json!({"base_price_cents": 4900, "trial_days": 14})).await;
    given::tiers(&g.app, &plan, &json!([flat("calls", "10")])).await;
    let id = g.subscribed(&plan).await;
    g.used("3").await;
    g.at("2026-03-12T09:00:00Z").await;
    let sub = g.ask(id, "cancel", &json!({"reason": "not for us"})).send().await.data(200);
    assert_eq!((&sub["status"], &sub["cancelled_at"]), (&json!("cancelled"), &json!("2026-03-12T09:00:00Z")));
    assert_eq!(sub["cancellation_reason"], "not for us");
    let data =
        "SELECT data->'effective_immediately' FROM outbox_events WHERE event_type = 'subscription.cancelled'";
    let row = g.app.db().await.query_one(data, &[]).await.expect("an event");
    assert_eq!(row.get::<_, Value>(0), json!(true));
    g.at("2026-06-01T09:00:00Z").await;
    assert!(g.billed().await.is_empty());
    g.ask(id, "cancel", &json!({})).send().await.refused(400).says("cancelled already");
    g.ask(id, "reactivate", &Value::Null).send().await.refused(400);
    // The trial was had; the next one is paid from the start.
    let again = g.subscribed(&plan).await;
    assert_eq!(g.read(again).await["status"], "active");
}

#[tokio::test]
async fn an_active_one_is_cancelled_at_the_end_of_its_period() {
    let g = start().await;
    let plan = g.plan("pro", json!({"base_price_cents": 4900})).await;
    given::tiers(&g.app, &plan, &json!([flat("calls", "10")])).await;
    let id = g.subscribed(&plan).await;
    let sub = g.ask(id, "cancel", &json!({})).send().await.data(200);
    assert_eq!(sub["status"], "cancelling");
    assert_eq!(sub["pending_cancellation_at"], "2026-04-09T22:00:00Z");
    g.ask(id, "cancel", &json!({})).send().await.refused(400).says("scheduled already");
    g.ask(id, "change-plan", &json!({"quantity": 2})).send().await.refused(409);
    g.at("2026-04-09T21:00:00Z").await;
    g.used("4").await;
    // Undone at the last hour it goes on as if nothing had been; scheduled again it ends.
    g.ask(id, "reactivate", &Value::Null).send().await.data(200);
    g.ask(id, "cancel", &json!({"reason": "done"})).send().await.data(200);
    g.at("2026-04-09T22:00:00Z").await;
    g.ask(id, "reactivate", &Value::Null).send().await.refused(400).says("cancelled");
    g.at("2026-07-01T00:00:00Z").await;
    assert_eq!(g.lines().await, [vec![4900], vec![40]]);
    let sub = g.read(id).await;
    assert_eq!((&sub["status"], &sub["cancelled_at"]), (&json!("cancelled"), &json!("2026-04-09T22:00:00Z")));
    let data =
        "SELECT data->'effective_immediately' FROM outbox_events WHERE event_type = 'subscription.cancelled'";
    let row = g.app.db().await.query_one(data, &[]).await.expect("an event");
    assert_eq!(row.get::<_, Value>(0), json!(false));
}

#[tokio::test]
async fn a_cancellation_and_the_renewal_at_one_time() {
    let g = start().await;
    given::patience(&g.app).await;
    let plan = g.plan("pro", json!({"base_price_cents": 4900})).await;
    let id = g.subscribed(&plan).await;
    g.billed().await;
    g.at("2026-04-09T22:00:00Z").await;
    // Whoever comes first carries it over the boundary: it renews, and the cancellation is for the end of the new period.
    let cancel = async { g.ask(id, "cancel", &json!({})).send().await.data(200) };
    let (sub, _, _) =
        futures::join!(cancel, run(&g.app, &g.admin, &g.tenant.id), run(&g.app, &g.admin, &g.tenant.id));
    assert_eq!(sub["pending_cancellation_at"], "2026-05-09T22:00:00Z");
    g.at("2026-06-01T00:00:00Z").await;
    assert_eq!(g.lines().await, [vec![4900], vec![4900]]);
    assert_eq!(g.read(id).await["status"], "cancelled");
}

#[tokio::test]
async fn a_one_time_plan_is_cancelled_at_once() {
    let g = start().await;
    let plan = g.plan("once", json!({"base_price_cents": 5000, "billing_period": "one_time"})).await;
    given::tiers(&g.app, &plan, &json!([flat("calls", "10")])).await;
    let id = g.subscribed(&plan).await;
    g.at("2026-03-12T09:00:00Z").await;
    g.used("3").await;
    let sub = g.ask(id, "cancel", &json!({})).send().await.data(200);
    assert_eq!((&sub["status"], &sub["cancelled_at"]), (&json!("cancelled"), &json!("2026-03-12T09:00:00Z")));
    assert_eq!(g.lines().await, [vec![5000], vec![30]]);
}

#[tokio::test]
async fn a_trial_without_a_payment_method_ends_as_the_platform_says() {
    let g = start().await;
    let plan = g.plan("pro", json!({"base_price_cents": 4900, "trial_days": 14})).await;
    let id = g.subscribed(&plan).await;
    let set = "UPDATE platform_settings SET data = data || '{\"trial_end_without_method\": \"cancel\"}'";
    g.app.db().await.execute(set, &[]).await.expect("set");
    g.at("2026-03-18T09:00:00Z").await;
    g.at("2026-04-24T09:00:00Z").await;
    run(&g.app, &g.admin, &g.tenant.id).await;
    let sub = g.read(id).await;
    assert_eq!((&sub["status"], &sub["cancelled_at"]), (&json!("cancelled"), &json!("2026-03-24T09:00:00Z")));
    assert!(g.billed().await.is_empty());
    let told = g.told().await;
    assert!(told.contains(&"trial_ended_without_method".to_owned()));
    assert!(told.contains(&"trial_ending_for_good".to_owned()), "{told:?}");
    let mail = "SELECT text_body FROM mails WHERE kind = 'trial_ending' LIMIT 1";
    let mail = g.app.db().await.query_one(mail, &[]).await.expect("a mail").get::<_, String>(0);
    assert!(mail.contains("no payment method") && !mail.contains("After that"), "{mail}");
}

#[tokio::test]
async fn a_write_is_done_once_for_each_key() {
    let g = start().await;
    let small = g.plan("small", json!({"base_price_cents": 1000})).await;
    let big = g.plan("big", json!({"base_price_cents": 2000})).await;
    let id = g.subscribed(&small).await;
    let asked = json!({"plan_id": big.id});
    let change = || g.ask(id, "change-plan", &asked).header("idempotency-key", "change-1").send();
    let (first, again) = (change().await.data(200), change().await.data(200));
    assert_eq!(first, again);
    g.ask(id, "change-plan", &json!({"quantity": 9}))
        .header("idempotency-key", "change-1")
        .send()
        .await
        .refused(409);
    let audits = "SELECT count(*) FROM audit_log WHERE operation = 'subscription_change_plan'";
    let count = g.app.db().await.query_one(audits, &[]).await.expect("a count").get::<_, i64>(0);
    assert_eq!(count, 1);
    assert_eq!(g.lines().await, [vec![1000], vec![-1000, 2000]]);
}
