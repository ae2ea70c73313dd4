//! Tenants as operators and partners see them.
use crate::support::{each, finalize, walk};
use scaicontrol_tests::{TestApp, body, given};
use scaicontrol_types as types;
use serde_json::{Value, json};

const TENANTS: &str = "/api/v1/admin/tenants";

#[tokio::test]
async fn a_tenant_with_what_it_has_and_owes() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let service = given::service(&app, "scaivault").await;
    let plan = given::plan(&app, &service, "pro", 4900).await;
    let subscription = given::subscription(&app, &tenant, &plan, 1).await;
    let admin = app.operator("billing_admin");
    let id = given::draft(&app, &admin, &tenant, "10000").await;
    let client = app.client(&admin);
    let read = client.admin_tenant_get().tenant_id("tnt_acme").send().await.expect("read").into_inner().data;
    assert!(read.balances.iter().all(|b| b.due_cents == 0), "a draft is in no balance");
    finalize(&app, &admin, id).await;
    let read = client.admin_tenant_get().tenant_id("tnt_acme").send().await.expect("read").into_inner().data;
    assert_eq!(read.subscriptions.iter().map(|s| s.id).collect::<Vec<_>>(), [subscription]);
    let balances: Vec<(&str, i64)> =
        read.balances.iter().map(|b| (b.currency.as_str(), b.due_cents)).collect();
    assert_eq!(balances, [("EUR", 12100)]);
    assert_eq!(read.billing_profile.map(|p| p.company_name).as_deref(), Some("Customer tnt_acme B.V."));
}

#[tokio::test]
async fn who_is_exempt_is_decided_by_the_seller_with_a_reason() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let partner = app.token("partner_admin", "tnt_home", "prt_north");
    let path = format!("{TENANTS}/tnt_acme/billing-profile");
    let base = json!({"company_name": "Acme", "address_line1": "Street 1", "postal_code": "1015 AA", "city": "Amsterdam", "country_code": "NL"});
    let with = |more: Value| {
        let mut all = base.clone();
        for (name, value) in more.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        all
    };
    let put = async |asked: Value| app.call("PUT", &path).token(&partner).json(&asked).send().await;
    let refusal = put(with(json!({"tax_exempt": true}))).await.refused(400);
    refusal.names("reason").names("tax_exempt_reason");
    put(with(json!({"tax_exempt": true, "reason": "seen"}))).await.refused(400).names("tax_exempt_reason");
    put(with(json!({"tax_exempt_reason": "Art. 151"}))).await.refused(400).names("tax_exempt_reason");
    put(with(json!({"vat_number": "DE136695970"}))).await.refused(400).names("vat_number");
    put(with(json!({"country_code": "ZZ"}))).await.refused(400).names("country_code");
    let asked: types::AdminBillingProfileUpsertRequest =
        body(with(json!({"tax_exempt": true, "reason": "seen", "tax_exempt_reason": "Art. 151"})));
    let client = app.client(&partner);
    let call = client.admin_tenant_billing_profile_upsert().tenant_id("tnt_acme").body(asked);
    assert!(call.send().await.expect("exempt").into_inner().data.tax_exempt);
    // The tenant's own save neither ends nor needs to repeat it.
    let own = app
        .call("PUT", "/api/v1/billing/billing-profile")
        .token(&tenant.admin)
        .json(&base)
        .send()
        .await
        .data(200);
    assert_eq!(own["tax_exempt"], true);
    put(with(json!({"tax_exempt": false}))).await.refused(400).names("reason");
    assert_eq!(
        put(with(json!({"tax_exempt": false, "reason": "expired"}))).await.data(200)["tax_exempt"],
        false
    );
    let rows = app.db().await.query("SELECT reason FROM audit_log WHERE operation = 'admin_tenant_billing_profile_upsert' ORDER BY at, id", &[]).await;
    let reasons: Vec<Option<String>> = rows.expect("audit").iter().map(|r| r.get(0)).collect();
    assert_eq!(reasons, [Some("seen".into()), Some("expired".into())]);
}

#[tokio::test]
async fn a_partner_sees_its_own_tenants_only() {
    let app = TestApp::start().await;
    let north = given::tenant(&app, "tnt_north", "prt_north").await;
    given::tenant(&app, "tnt_south", "prt_south").await;
    let partner = app.token("partner_admin", "tnt_home", "prt_north");
    let listed = app.call("GET", TENANTS).token(&partner).send().await.data(200);
    assert!(each(&listed, "partner_id").iter().all(|p| **p == json!("prt_north")), "{listed}");
    app.call("GET", &format!("{TENANTS}/tnt_south")).token(&partner).send().await.refused(404);
    app.call("GET", &format!("{TENANTS}/tnt_nobody"))
        .token(&app.operator("support"))
        .send()
        .await
        .refused(404);
    let asked = json!({"company_name": "x", "address_line1": "x", "postal_code": "x", "city": "x", "country_code": "NL"});
    app.call("PUT", &format!("{TENANTS}/tnt_south/billing-profile"))
        .token(&partner)
        .json(&asked)
        .send()
        .await
        .refused(404);
    let support = app.operator("support");
    app.call("PUT", &format!("{TENANTS}/tnt_south/billing-profile"))
        .token(&support)
        .json(&asked)
        .send()
        .await
        .refused(403);
    app.call("GET", TENANTS).token(&north.admin).send().await.refused(403);
}

#[tokio::test]
async fn the_list_is_sorted_filtered_and_walked() {
    let app = TestApp::start().await;
    for n in [3, 1, 2, 5, 4] {
        given::tenant(&app, &format!("tnt_{n}"), "prt_north").await;
    }
    let admin = app.operator("platform_admin");
    let walked = walk(&app, &admin, TENANTS, "q=tnt_1", "tenant_id").await;
    let named: Vec<&Value> = walked.iter().filter(|id| **id != json!("tnt_operator")).collect();
    assert_eq!(named, [&json!("tnt_1"), &json!("tnt_2"), &json!("tnt_3"), &json!("tnt_4"), &json!("tnt_5")]);
    let found = async |query: &str| {
        let page = app.call("GET", &format!("{TENANTS}?{query}")).token(&admin).send().await.data(200);
        page.as_array().map_or(0, Vec::len)
    };
    assert_eq!((found("q=CUSTOMER%20tnt_2").await, found("q=tnt_2").await, found("q=%25").await), (1, 1, 0));
}
