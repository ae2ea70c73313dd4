//! Partners as the platform and they themselves configure them.
use crate::support::walk;
use scaicontrol_tests::{OPERATOR, TestApp, body, given};
use scaicontrol_types as types;
use serde_json::{Value, json};

const PARTNERS: &str = "/api/v1/admin/partners";

#[tokio::test]
async fn a_partner_is_taken_up_and_configured() {
    let app = TestApp::start().await;
    let client = app.client(&app.operator("super_admin"));
    let asked: types::PartnerCreateRequest = body(json!({"partner_id": "prt_new", "name": "New"}));
    let made = client.admin_partner_create().body(asked).send().await.expect("made").into_inner().data;
    assert_eq!(
        (made.invoice_number_prefix.as_str(), made.timezone.as_str(), made.oss_registered),
        ("SCAI", "UTC", false)
    );
    let asked: types::PartnerUpdateRequest = body(json!({
        "legal_name": "New B.V.", "seller_country_code": "NL", "seller_iban": "nl91 abna 0417 1643 00", "seller_vat_number": "nl 123456782b90", "timezone": "Europe/Paris",
    }));
    let changed = client
        .admin_partner_update()
        .partner_id("prt_new")
        .body(asked)
        .send()
        .await
        .expect("changed")
        .into_inner()
        .data;
    assert_eq!(changed.seller_iban.as_deref(), Some("NL91ABNA0417164300"));
    assert_eq!(changed.seller_vat_number.as_deref(), Some("NL123456782B90"));
    let asked: types::PartnerUpdateRequest = body(json!({"seller_iban": null, "legal_name": "Newer B.V."}));
    client.admin_partner_update().partner_id("prt_new").body(asked).send().await.expect("changed");
    let read = client.admin_partner_get().partner_id("prt_new").send().await.expect("read").into_inner().data;
    assert_eq!(
        (read.seller_iban, read.legal_name.as_deref(), read.name.as_str()),
        (None, Some("Newer B.V."), "New")
    );
    let rows = app
        .db()
        .await
        .query("SELECT event_type FROM outbox_events WHERE object_id = 'prt_new' ORDER BY sequence", &[])
        .await;
    let told: Vec<String> = rows.expect("events").iter().map(|r| r.get(0)).collect();
    assert_eq!(told, ["partner.billing_linked", "partner.billing_updated"]);
}

#[tokio::test]
async fn what_does_not_hold_is_refused() {
    let app = TestApp::start().await;
    let operator = app.operator("super_admin");
    given::partner(&app, "prt_north").await;
    given::tenant(&app, "tnt_south", "prt_south").await;
    let path = format!("{PARTNERS}/prt_north");
    let post = async |asked: &Value| app.call("POST", PARTNERS).token(&operator).json(asked).send().await;
    let patch = async |asked: Value| app.call("PATCH", &path).token(&operator).json(&asked).send().await;
    for (field, value) in [
        ("seller_iban", json!("NL91ABNA0417164301")),
        ("seller_vat_number", json!("DE136695970")),
        ("seller_country_code", json!("ZZ")),
        ("seller_bic", json!("ABNAZZ2A")),
        ("seller_peppol_scheme", json!("0106")),
        ("timezone", json!("Europe/Nowhere")),
        ("invoice_number_prefix", json!("low")),
        ("invoice_template_name", json!("none")),
        ("home_tenant_id", json!("tnt_south")),
        ("home_tenant_id", json!("tnt_nobody")),
        ("colour", json!("red")),
    ] {
        let named = if field == "seller_peppol_scheme" { "seller_peppol_id" } else { field };
        let mut asked = json!({"partner_id": "prt_new", "name": "New"});
        asked[field] = value.clone();
        post(&asked).await.refused(400).names(named);
        patch(json!({field: value})).await.refused(400).names(named);
    }
    patch(json!({})).await.refused(400);
    post(&json!({"partner_id": "a b", "name": "x"})).await.refused(400).names("partner_id");
    post(&json!({"partner_id": "prt_north", "name": "x"})).await.refused(409);
    app.call("PATCH", &format!("{PARTNERS}/prt_nobody"))
        .token(&operator)
        .json(&json!({"name": "x"}))
        .send()
        .await
        .refused(404);
    app.call("GET", &format!("{PARTNERS}/prt_nobody")).token(&operator).send().await.refused(404);
}

#[tokio::test]
async fn a_partner_sees_and_changes_itself_only() {
    let app = TestApp::start().await;
    let north = given::tenant(&app, "tnt_north", "prt_north").await;
    given::tenant(&app, "tnt_south", "prt_south").await;
    let partner = app.token("partner_admin", "tnt_home", "prt_north");
    let get = async |path: &str| app.call("GET", &format!("{PARTNERS}{path}")).token(&partner).send().await;
    get("").await.refused(403);
    get("/prt_south").await.refused(404);
    get("/prt_south/tenants").await.refused(404);
    assert_eq!(get("/prt_north").await.data(200)["partner_id"], "prt_north");
    let asked = json!({"seller_city": "Utrecht"});
    app.call("PATCH", &format!("{PARTNERS}/prt_north")).token(&partner).json(&asked).send().await.expect(200);
    app.call("PATCH", &format!("{PARTNERS}/prt_south"))
        .token(&partner)
        .json(&asked)
        .send()
        .await
        .refused(404);
    let home = json!({"home_tenant_id": "tnt_north"});
    app.call("PATCH", &format!("{PARTNERS}/prt_north"))
        .token(&partner)
        .json(&home)
        .send()
        .await
        .refused(403)
        .names("home_tenant_id");
    let new = json!({"partner_id": "prt_new", "name": "x"});
    app.call("POST", PARTNERS).token(&partner).json(&new).send().await.refused(403);
    app.call("GET", &format!("{PARTNERS}/prt_north")).token(&north.admin).send().await.refused(403);
    let operator = app.operator("super_admin");
    app.call("PATCH", &format!("{PARTNERS}/prt_north")).token(&operator).json(&home).send().await.expect(200);
}

#[tokio::test]
async fn the_lists_are_sorted_filtered_and_walked() {
    let app = TestApp::start().await;
    let operator = app.operator("super_admin");
    for (id, name) in [("prt_1", "Beta"), ("prt_2", "Alpha"), ("prt_3", "Gamma"), ("prt_4", "Beta")] {
        app.call("POST", PARTNERS)
            .token(&operator)
            .json(&json!({"partner_id": id, "name": name}))
            .send()
            .await
            .expect(201);
    }
    let walked = walk(&app, &operator, PARTNERS, "q=beta", "partner_id").await;
    let named: Vec<&Value> = walked.iter().filter(|id| **id != json!(OPERATOR)).collect();
    assert_eq!(named, [&json!("prt_2"), &json!("prt_1"), &json!("prt_4"), &json!("prt_3")]);
    let found = async |query: &str| {
        let page = app.call("GET", &format!("{PARTNERS}?{query}")).token(&operator).send().await.data(200);
        page.as_array().map_or(0, Vec::len)
    };
    assert_eq!((found("q=BETA").await, found("q=prt_3").await, found("q=%25").await), (2, 1, 0));
    for n in 0..5 {
        given::tenant(&app, &format!("tnt_{n}"), "prt_1").await;
    }
    let walked = walk(&app, &operator, "/api/v1/admin/partners/prt_1/tenants", "q=tnt_2", "tenant_id").await;
    assert_eq!(walked, ["tnt_0", "tnt_1", "tnt_2", "tnt_3", "tnt_4"].map(|id| json!(id)));
}
