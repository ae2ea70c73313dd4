//! What is on offer, and to whom.
use crate::support::{each, flat, service, walk};
use scaicontrol_tests::{TestApp, given};
use serde_json::{Value, json};
use uuid::Uuid;

const SERVICES: &str = "/api/v1/catalog/services";

#[tokio::test]
async fn every_caller_sees_what_is_on_offer() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let vault = service(&app, "vault").await;
    let quotas = json!({"calls": "1000"});
    let plan = given::plan_with(&app, &vault, "pro", json!({"quotas": quotas, "sort_order": 2})).await;
    given::tiers(&app, &plan, &json!([flat("calls", "0.50")])).await;
    let cheap = given::plan_with(&app, &vault, "basic", json!({"sort_order": 1})).await;
    let secret = given::plan_with(&app, &vault, "secret", json!({"is_public": false})).await;
    let old = given::plan_with(&app, &vault, "old", json!({"is_active": false})).await;
    for token in [&tenant.member, &vault.token, &app.operator("support")] {
        let client = app.client(token);
        let services = client.catalog_service_list().send().await.expect("a page").into_inner().data;
        assert_eq!(services.iter().map(|s| s.slug.as_str()).collect::<Vec<_>>(), ["vault"]);
        let detail = client.catalog_service_get().slug("vault").send().await.expect("one").into_inner().data;
        assert_eq!(detail.plans.iter().map(|p| p.id).collect::<Vec<_>>(), [cheap.id, plan.id]);
        assert_eq!(detail.metrics.len(), 6);
        let plans = client.catalog_plan_list().slug("vault").send().await.expect("plans").into_inner().data;
        assert_eq!(plans.iter().map(|p| p.id).collect::<Vec<_>>(), [cheap.id, plan.id]);
        let one = client.catalog_plan_get().plan_id(plan.id).send().await.expect("a plan").into_inner().data;
        assert_eq!((one.plan_key.as_str(), one.base_price_cents), ("vault.pro", 4900));
    }
    let get = async |path: &str| {
        app.call("GET", &format!("/api/v1/catalog/{path}")).token(&tenant.member).send().await
    };
    let one = get(&format!("plans/{}", plan.id)).await.data(200);
    assert_eq!(one["pricing_tiers"][0]["unit_price_cents"], "0.5", "{one}");
    for path in [
        format!("plans/{}", secret.id),
        format!("plans/{}", old.id),
        format!("plans/{}", Uuid::now_v7()),
        "plans/nothing".into(),
        "services/nothing".into(),
        "services/nothing/plans".into(),
    ] {
        get(&path).await.refused(404);
    }
    app.call("GET", SERVICES).send().await.refused(401);
    // Off show, all of it is gone.
    let operator = app.operator("super_admin");
    let hide = json!({"is_public": false});
    app.call("PUT", "/api/v1/admin/catalog/services/vault")
        .token(&operator)
        .json(&hide)
        .send()
        .await
        .expect(200);
    for path in ["services/vault".into(), "services/vault/plans".into(), format!("plans/{}", plan.id)] {
        get(&path).await.refused(404);
    }
    assert_eq!(get("services").await.data(200), json!([]));
}

#[tokio::test]
async fn a_public_catalogue_needs_no_token() {
    let app = TestApp::with(&[("catalog.public", "true")]).await;
    let vault = service(&app, "vault").await;
    let plan = given::plan(&app, &vault, "pro", 100).await;
    for path in [
        SERVICES.to_owned(),
        format!("{SERVICES}/vault"),
        format!("{SERVICES}/vault/plans"),
        format!("/api/v1/catalog/plans/{}", plan.id),
    ] {
        app.call("GET", &path).send().await.expect(200);
    }
    app.call("GET", "/api/v1/subscriptions").send().await.refused(401);
}

#[tokio::test]
async fn the_list_is_sorted_filtered_and_walked() {
    let app = TestApp::start().await;
    let token = app.token("tenant_member", "tnt_acme", "prt_north");
    given::partner(&app, "prt_north").await;
    let operator = app.operator("super_admin");
    for (slug, sort_order, category) in
        [("c", 1, "tools"), ("a", 3, "tools"), ("b", 2, "data"), ("e", 2, "data"), ("d", 0, "50%")]
    {
        let asked = json!({"slug": slug, "name": format!("Name {slug}"), "description": "text", "sort_order": sort_order, "category": category});
        app.call("POST", "/api/v1/admin/catalog/services")
            .token(&operator)
            .json(&asked)
            .send()
            .await
            .expect(201);
    }
    let walked = walk(&app, &token, SERVICES, "category=tools", "slug").await;
    assert_eq!(walked, ["d", "c", "b", "e", "a"].map(|slug| json!(slug)));
    let get = async |query: &str| app.call("GET", &format!("{SERVICES}?{query}")).token(&token).send().await;
    for (query, slugs) in [
        ("category=tools", vec!["c", "a"]),
        ("category=tool", vec![]),
        ("category=50%25", vec!["d"]),
        ("q=NAME%20b", vec!["b"]),
        ("q=%25", vec![]),
        ("q=text&category=data", vec!["b", "e"]),
    ] {
        let page = get(query).await.data(200);
        let found: Vec<Value> = each(&page, "slug").into_iter().cloned().collect();
        assert_eq!(found, slugs.iter().map(|s| json!(s)).collect::<Vec<_>>(), "{query}");
    }
    get("colour=red").await.refused(400).names("colour");
}
