//! What a tenant sees of its billing: its profile, and the invoices that have a number.
use crate::support::{agrees, each, finalize, recomputes, run, uuid, verified, walk};
use chrono::TimeDelta;
use scaicontrol_tests::{TestApp, body, given};
use scaicontrol_types as types;
use serde_json::{Value, json};
use uuid::Uuid;

const PROFILE: &str = "/api/v1/billing/billing-profile";
const INVOICES: &str = "/api/v1/billing/invoices";

fn profile() -> Value {
    json!({"company_name": "Acme", "address_line1": "Street 1", "postal_code": "1015 AA", "city": "Amsterdam", "country_code": "NL"})
}

fn with(mut all: Value, more: Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    all
}

#[tokio::test]
async fn a_profile_is_saved_as_a_whole() {
    let app = TestApp::start().await;
    given::partner(&app, "prt_north").await;
    let token = app.token("tenant_admin", "tnt_acme", "prt_north");
    let client = app.client(&token);
    assert!(client.billing_profile_get().send().await.expect("none").into_inner().data.is_none());
    let full = json!({
        "vat_number": "nl 0044.95.445.b01", "phone": "+31 20 123", "is_business": false, "contact_email": "a@example.com",
        "preferred_einvoice_format": "xrechnung", "buyer_reference": "PO 7", "preferred_language": "de",
    });
    let asked: types::BillingProfileCreateUpdate = body(with(profile(), full));
    let saved = client.billing_profile_upsert().body(asked).send().await.expect("saved").into_inner().data;
    assert_eq!((saved.vat_number.as_deref(), saved.is_business), (Some("NL004495445B01"), false));
    let asked: types::BillingProfileCreateUpdate = body(profile());
    let saved = client.billing_profile_upsert().body(asked).send().await.expect("saved").into_inner().data;
    assert_eq!(
        (saved.vat_number, saved.phone, saved.is_business),
        (None, None, true),
        "what is left out is emptied"
    );
    let read = client.billing_profile_get().send().await.expect("one").into_inner().data.expect("one");
    assert_eq!(read.company_name, "Acme");
    let rows = app
        .db()
        .await
        .query("SELECT event_type FROM outbox_events WHERE object_id = 'tnt_acme' ORDER BY sequence", &[])
        .await;
    let topics: Vec<String> = rows.expect("events").iter().map(|r| r.get(0)).collect();
    assert_eq!(topics, ["tenant.billing_linked", "tenant.billing_updated"]);
}

#[tokio::test]
async fn a_profile_that_does_not_hold_is_refused() {
    let app = TestApp::start().await;
    given::partner(&app, "prt_north").await;
    let token = app.token("tenant_admin", "tnt_acme", "prt_north");
    let put = async |asked: Value| app.call("PUT", PROFILE).token(&token).json(&asked).send().await;
    for field in ["company_name", "address_line1", "postal_code", "city", "country_code"] {
        let mut asked = profile();
        asked.as_object_mut().expect("an object").remove(field);
        put(asked).await.refused(400).names(field);
        put(with(profile(), json!({field: ""}))).await.refused(400).names(field);
    }
    put(with(profile(), json!({"company_name": "  "}))).await.refused(400).names("company_name");
    for (field, more) in [
        ("country_code", json!({"country_code": "ZZ"})),
        ("vat_number", json!({"vat_number": "DE136695970"})),
        ("peppol_scheme", json!({"peppol_id": "12345678"})),
        ("peppol_id", json!({"peppol_scheme": "0106"})),
        ("leitweg_id", json!({"leitweg_id": "04011000-1234512345-07"})),
        ("invoice_template_name", json!({"invoice_template_name": "none"})),
        ("email_template_name", json!({"email_template_name": "none"})),
        ("contact_email", json!({"preferred_einvoice_format": "xrechnung", "buyer_reference": "7"})),
        (
            "buyer_reference",
            json!({"preferred_einvoice_format": "xrechnung", "contact_email": "a@example.com"}),
        ),
        ("preferred_einvoice_format", json!({"preferred_einvoice_format": "pdf"})),
        ("is_business", json!({"is_business": "yes"})),
        ("colour", json!({"colour": "red"})),
    ] {
        put(with(profile(), more)).await.refused(400).names(field);
    }
    put(with(profile(), json!({"tax_exempt": true}))).await.refused(403).names("tax_exempt");
    put(with(profile(), json!({"tax_exempt": false}))).await.expect(200);
    let member = app.token("tenant_member", "tnt_acme", "prt_north");
    app.call("PUT", PROFILE).token(&member).json(&profile()).send().await.refused(403);
    app.call("GET", PROFILE).token(&member).send().await.refused(403);
    app.call("GET", PROFILE).send().await.refused(401);
}

#[tokio::test]
async fn a_document_without_number_does_not_exist_for_a_tenant() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let other = given::tenant(&app, "tnt_other", "prt_north").await;
    let admin = app.operator("billing_admin");
    let id = given::draft(&app, &admin, &tenant, "10000").await;
    let path = format!("{INVOICES}/{id}");
    let empty = async |filter: &str| {
        let page =
            app.call("GET", &format!("{INVOICES}{filter}")).token(&tenant.admin).send().await.expect(200);
        assert_eq!((&page["data"], &page["pagination"]["total_items"]), (&json!([]), &json!(0)), "{filter}");
    };
    empty("").await;
    empty("?status=draft").await;
    app.call("GET", &path).token(&tenant.admin).send().await.refused(404);
    // Nor for anybody who is let into the database as the tenant.
    let db = app.database().connect_as_app().await;
    let look = "BEGIN; SET LOCAL ROLE sc_tenant; SELECT set_config('app.tenant_id', 'tnt_acme', true)";
    db.batch_execute(look).await.expect("in");
    assert!(db.query("SELECT 1 FROM invoices", &[]).await.expect("a query").is_empty());
    db.batch_execute("ROLLBACK").await.expect("out");

    finalize(&app, &admin, id).await;
    let read =
        app.client(&tenant.admin).invoice_get().invoice_id(id).send().await.expect("mine").into_inner().data;
    assert_eq!((read.number.as_deref(), read.total_cents), (Some("SCAI-2026-000001"), 12100));
    let listed = app.client(&tenant.admin).invoice_list().send().await.expect("a page").into_inner().data;
    assert_eq!(listed.iter().map(|i| i.id).collect::<Vec<_>>(), [id]);
    empty("?status=paid").await;
    empty("?status=draft").await;
    app.call("GET", &path).token(&other.admin).send().await.refused(404);
    app.call("GET", &format!("{INVOICES}/{}", Uuid::now_v7())).token(&tenant.admin).send().await.refused(404);
    app.call("GET", &path).token(&tenant.member).send().await.refused(403);
    app.call("GET", &format!("{INVOICES}?status=open"))
        .token(&tenant.admin)
        .send()
        .await
        .refused(400)
        .names("status");
    verified(&app).await;
}

#[tokio::test]
async fn the_newest_issue_date_comes_first() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let admin = app.operator("billing_admin");
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(given::draft(&app, &admin, &tenant, "100").await);
    }
    // The draft that was written first is issued last, two days share the rest.
    for (index, id) in all.iter().enumerate().rev() {
        finalize(&app, &admin, *id).await;
        if index % 2 == 1 {
            app.advance(TimeDelta::days(1)).await;
        }
    }
    let newest = [all[0], all[2], all[1], all[4], all[3]];
    let walked = walk(&app, &tenant.admin, INVOICES, "status=finalized", "id").await;
    assert_eq!(walked, newest.map(|id| json!(id)));
    verified(&app).await;
}

#[tokio::test]
async fn every_computed_line_explains_itself_to_the_tenant() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let service = given::service(&app, "scaivault").await;
    let plan = given::plan(&app, &service, "pro", 4900).await;
    let subscription = given::subscription(&app, &tenant, &plan, 3).await;
    let admin = app.operator("billing_admin");
    let id = uuid(&run(&app, &admin, &tenant.id).await["invoices"][0]["invoice_id"]);
    finalize(&app, &admin, id).await;
    let mine = app.call("GET", &format!("{INVOICES}/{id}")).token(&tenant.admin).send().await.data(200);
    agrees(&mine);
    recomputes(&mine["line_items"]);
    let line = &mine["line_items"][0];
    assert_eq!(
        (&line["kind"], &line["quantity"], &line["amount_cents"]),
        (&json!("base"), &json!("3"), &json!(14700))
    );
    assert_eq!((&line["period_start"], &line["period_end"]), (&json!("2026-03-10"), &json!("2026-04-09")));
    assert_eq!(line["subscription_id"], json!(subscription));
    assert_eq!(line["explanation"]["computation"]["rule"], "base", "{line}");
    assert_eq!(line["explanation"]["tax"]["rule"], "domestic", "{line}");
    assert_eq!(each(&mine["line_items"], "tax_rate"), [&json!("21")]);
    // A changed profile reaches nothing that was issued.
    app.call("PUT", PROFILE).token(&tenant.admin).json(&profile()).send().await.expect(200);
    let again = app.call("GET", &format!("{INVOICES}/{id}")).token(&tenant.admin).send().await.data(200);
    assert_eq!(again, mine);
    verified(&app).await;
}
