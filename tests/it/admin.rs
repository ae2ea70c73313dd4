//! The catalogue as operators keep it: services, plans and prices.
use crate::support::{flat, service};
use scaicontrol_tests::{TestApp, body, given};
use scaicontrol_types as types;
use serde_json::{Value, json};
use uuid::Uuid;

const SERVICES: &str = "/api/v1/admin/catalog/services";
const PLANS: &str = "/api/v1/admin/catalog/plans";

fn metric(slug: &str, aggregation: &str) -> Value {
    json!({"slug": slug, "name": slug, "unit": "call", "aggregation": aggregation})
}

#[tokio::test]
async fn a_service_is_made_and_changed() {
    let app = TestApp::start().await;
    let client = app.client(&app.operator("platform_admin"));
    let asked: types::ServiceCreateRequest =
        body(json!({"slug": "vault", "name": "Vault", "metrics": [metric("calls", "sum")]}));
    let made = client.admin_service_create().body(asked).send().await.expect("made").into_inner().data;
    assert_eq!((made.slug.as_str(), made.status), ("vault", types::ServiceStatus::Active));
    let asked: types::ServiceUpdateRequest =
        body(json!({"name": "The vault", "metrics": [metric("calls", "sum"), metric("rows", "max")]}));
    let changed = client
        .admin_service_update()
        .slug("vault")
        .body(asked)
        .send()
        .await
        .expect("changed")
        .into_inner()
        .data;
    assert_eq!(changed.name, "The vault");
    let asked: types::ServiceUpdateRequest = body(json!({}));
    client.admin_service_update().slug("vault").body(asked).send().await.expect("nothing changed");
    let rows = app
        .db()
        .await
        .query_one("SELECT count(*) FROM audit_log WHERE operation = 'admin_service_update'", &[])
        .await;
    assert_eq!(rows.expect("a count").get::<_, i64>(0), 1, "what changes nothing leaves no row");
}

#[tokio::test]
async fn a_service_that_does_not_hold_is_refused() {
    let app = TestApp::start().await;
    let operator = app.operator("super_admin");
    let post = async |asked: &Value| app.call("POST", SERVICES).token(&operator).json(asked).send().await;
    let put = async |asked: Value| {
        app.call("PUT", &format!("{SERVICES}/vault")).token(&operator).json(&asked).send().await
    };
    let vault = service(&app, "vault").await;
    let good = json!({"slug": "new", "name": "New"});
    for (field, more) in [
        ("slug", json!({"slug": "New"})),
        ("name", json!({"name": " "})),
        ("name", json!({"name": "x".repeat(201)})),
        ("metrics.1.slug", json!({"metrics": [metric("a", "sum"), metric("a", "max")]})),
        ("metrics.0.aggregation", json!({"metrics": [metric("a", "mean")]})),
        ("base_url", json!({"base_url": "nowhere"})),
        ("base_url", json!({"provisioning": {"provision_path": "/setup"}})),
        ("colour", json!({"colour": "red"})),
    ] {
        let mut asked = good.clone();
        for (name, value) in more.as_object().into_iter().flatten() {
            asked[name] = value.clone();
        }
        post(&asked).await.refused(400).names(field);
    }
    let depends = json!({"slug": "new", "name": "New", "base_url": "https://new.example.com", "provisioning": {"provision_path": "/setup", "depends_on": ["nothing"]}});
    post(&depends).await.refused(400);
    post(&json!({"slug": "vault", "name": "Again"})).await.refused(409);
    post(&json!({"slug": "other", "name": "Other", "client_id": "client-vault"})).await.refused(409);
    app.call("PUT", &format!("{SERVICES}/nothing"))
        .token(&operator)
        .json(&json!({"name": "x"}))
        .send()
        .await
        .refused(404);
    // A metric that a plan limits or prices stays as it is.
    let plan = given::plan_with(&app, &vault, "pro", json!({"quotas": {"calls": "10"}})).await;
    given::tiers(&app, &plan, &json!([flat("rows", "1")])).await;
    put(json!({"metrics": [metric("rows", "sum")]})).await.refused(409);
    put(json!({"metrics": [metric("calls", "sum")]})).await.refused(409);
    put(json!({"metrics": [metric("calls", "max"), metric("rows", "sum")]})).await.refused(409);
    put(json!({"metrics": [metric("calls", "sum"), metric("rows", "sum")]})).await.expect(200);
    for role in ["billing_admin", "support"] {
        app.call("POST", SERVICES).token(&app.operator(role)).json(&good).send().await.refused(403);
    }
    let partner = app.token("partner_admin", "tnt_home", "prt_north");
    given::partner(&app, "prt_north").await;
    app.call("POST", SERVICES).token(&partner).json(&good).send().await.refused(403);
}

#[tokio::test]
async fn a_plan_is_made_and_changed() {
    let app = TestApp::start().await;
    let vault = service(&app, "vault").await;
    let operator = app.operator("super_admin");
    let client = app.client(&operator);
    let asked: types::PlanCreateRequest = body(json!({
        "service_id": vault.id, "slug": "pro", "name": "Pro", "billing_period": "quarterly", "base_price_cents": 4900, "currency": "EUR",
        "features": {"items": ["one"]}, "quotas": {"calls": "100.50"}, "trial_days": 14,
    }));
    let made = client.admin_plan_create().body(asked).send().await.expect("made").into_inner().data;
    assert_eq!((made.plan_key.as_str(), made.trial_days), ("vault.pro", 14));
    let asked: types::PlanUpdateRequest =
        body(json!({"name": "Professional", "base_price_cents": 5900, "quotas": {}}));
    let changed = client
        .admin_plan_update()
        .plan_id(made.id)
        .body(asked)
        .send()
        .await
        .expect("changed")
        .into_inner()
        .data;
    assert_eq!(
        (changed.name.as_str(), changed.base_price_cents, changed.trial_days),
        ("Professional", 5900, 14)
    );
    let path = format!("{PLANS}/{}/pricing-tiers", made.id);
    let put = async |asked: Value| app.call("PUT", &path).token(&operator).json(&asked).send().await;
    let tier = |metric: &str, start: &str, end: Option<&str>, more: Value| {
        let mut tier =
            json!({"metric_slug": metric, "tier_start": start, "tier_end": end, "unit_price_cents": "1"});
        for (name, value) in more.as_object().into_iter().flatten() {
            tier[name] = value.clone();
        }
        tier
    };
    let none = || json!({});
    let priced = put(json!([tier("calls", "10", None, none()), tier("calls", "0", Some("10"), none())]))
        .await
        .data(200);
    assert_eq!(priced["pricing_tiers"].as_array().map(Vec::len), Some(2), "{priced}");
    for (field, tiers) in [
        ("0.metric_slug", json!([tier("nothing", "0", None, none())])),
        ("0.tier_start", json!([tier("calls", "1", None, none())])),
        ("1.tier_start", json!([tier("calls", "0", Some("10"), none()), tier("calls", "11", None, none())])),
        ("1.tier_start", json!([tier("calls", "0", Some("10"), none()), tier("calls", "9", None, none())])),
        ("0.tier_end", json!([tier("calls", "0", Some("10"), none())])),
        (
            "1.unit_divisor",
            json!([
                tier("calls", "0", Some("10"), none()),
                tier("calls", "10", None, json!({"unit_divisor": "2"}))
            ]),
        ),
        (
            "1.minimum_cents",
            json!([
                tier("calls", "0", Some("10"), none()),
                tier("calls", "10", None, json!({"minimum_cents": 2}))
            ]),
        ),
        (
            "1.pricing_model",
            json!([
                tier("calls", "0", Some("10"), none()),
                tier("calls", "10", None, json!({"pricing_model": "volume"}))
            ]),
        ),
        ("0.unit_divisor", json!([tier("calls", "0", None, json!({"unit_divisor": "0"}))])),
        ("0.unit_price_cents", json!([tier("calls", "0", None, json!({"unit_price_cents": "-1"}))])),
    ] {
        put(tiers).await.refused(400).names(field);
    }
    let kept = app
        .call("GET", &format!("/api/v1/catalog/plans/{}", made.id))
        .token(&operator)
        .send()
        .await
        .data(200);
    assert_eq!(kept["pricing_tiers"], priced["pricing_tiers"], "a refusal changes nothing");
    assert_eq!(put(json!([])).await.data(200)["pricing_tiers"], json!([]));
    app.call("PUT", &format!("{PLANS}/{}/pricing-tiers", Uuid::now_v7()))
        .token(&operator)
        .json(&json!([]))
        .send()
        .await
        .refused(404);
}

#[tokio::test]
async fn a_plan_that_does_not_hold_is_refused() {
    let app = TestApp::start().await;
    let vault = service(&app, "vault").await;
    let plan = given::plan(&app, &vault, "pro", 100).await;
    let operator = app.operator("super_admin");
    let good = json!({"service_id": vault.id, "slug": "new", "name": "New", "billing_period": "monthly", "base_price_cents": 1, "currency": "EUR"});
    for (field, value) in [
        ("service_id", json!(Uuid::now_v7())),
        ("currency", json!("BHD")),
        ("currency", json!("XXY")),
        ("billing_period", json!("fortnightly")),
        ("base_price_cents", json!(-1)),
        ("base_price_cents", json!("100")),
        ("trial_days", json!(366)),
        ("name", json!("  ")),
        ("slug", json!("a b")),
        ("quotas.nothing", json!({"nothing": "1"})),
        ("quotas.calls", json!({"calls": "-1"})),
    ] {
        let mut asked = good.clone();
        asked[field.split('.').next().unwrap_or_default()] = value;
        app.call("POST", PLANS).token(&operator).json(&asked).send().await.refused(400).names(field);
    }
    let mut again = good.clone();
    again["slug"] = json!("pro");
    app.call("POST", PLANS).token(&operator).json(&again).send().await.refused(409);
    let path = format!("{PLANS}/{}", plan.id);
    let put = async |asked: Value| app.call("PUT", &path).token(&operator).json(&asked).send().await;
    put(json!({"quotas": {"nothing": "1"}})).await.refused(400).names("quotas.nothing");
    put(json!({"currency": "USD"})).await.refused(400).names("currency");
    put(json!({"name": " "})).await.refused(400).names("name");
    put(json!({"metadata": {"a": "x".repeat(16 * 1024)}})).await.refused(400).names("metadata");
    app.call("PUT", &format!("{PLANS}/{}", Uuid::now_v7()))
        .token(&operator)
        .json(&json!({"name": "x"}))
        .send()
        .await
        .refused(404);
    app.call("POST", PLANS).token(&app.operator("billing_admin")).json(&good).send().await.refused(403);
}
