//! Templates: who may have which, what is refused when one is stored, and which one a document is made with.
use crate::support::finalize;
use scaicontrol_tests::given::{self, Tenant};
use scaicontrol_tests::{Answer, TestApp, body, renderer};
use scaicontrol_types as types;
use serde_json::{Value, json};

const TEMPLATES: &str = "/api/v1/admin/billing/templates";

struct Given {
    app: TestApp,
    admin: String,
    partner: String,
    tenant: Tenant,
}

async fn given() -> Given {
    let app = TestApp::with(&[("render.program", &renderer()), ("workers.enabled", "false")]).await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    given::tenant(&app, "tnt_other", "prt_south").await;
    let admin = app.operator("super_admin");
    let partner = app.token("partner_admin", "tnt_acme", "prt_north");
    Given { app, admin, partner, tenant }
}

fn template(fields: Value) -> Value {
    let mut asked = json!({
        "name": "modern", "document_type": "invoice", "scope": "platform",
        "html_content": "<h1>{{ invoice.number }}</h1>",
    });
    for (name, value) in fields.as_object().into_iter().flatten() {
        asked[name] = value.clone();
    }
    asked
}

impl Given {
    async fn post(&self, token: &str, asked: &Value) -> Answer {
        self.app.call("POST", TEMPLATES).token(token).json(asked).send().await
    }
    async fn id(&self, token: &str, fields: Value) -> String {
        let made = self.post(token, &template(fields)).await.data(201);
        made["id"].as_str().expect("an id").to_owned()
    }
    async fn preview(&self, id: &str, asked: Value) -> Answer {
        self.app
            .call("POST", &format!("{TEMPLATES}/{id}/preview"))
            .token(&self.admin)
            .json(&asked)
            .send()
            .await
    }
}

#[tokio::test]
async fn a_template_from_its_first_version_to_its_end() {
    let g = given().await;
    let client = g.app.client(&g.admin);
    let asked: types::TemplateCreateRequest = body(template(json!({"css_content": "h1 { color: #333 }"})));
    let made = client.admin_template_create().body(asked).send().await.expect("made").into_inner().data;
    assert_eq!((made.version, made.name.as_str()), (1, "modern"));
    g.post(&g.admin, &template(json!({}))).await.refused(409);
    let changed = json!({"name": "modern", "html_content": "<h2>{{ invoice.number }}</h2>", "version": 1});
    let asked: types::TemplateUpdateRequest = body(changed.clone());
    let put = client.admin_template_update().template_id(made.id).body(asked);
    assert_eq!(put.send().await.expect("changed").into_inner().data.version, 2);
    let path = format!("{TEMPLATES}/{}", made.id);
    g.app.call("PUT", &path).token(&g.admin).json(&changed).send().await.refused(409).says("version 2");
    let got = client.admin_template_get().template_id(made.id).send().await.expect("there").into_inner().data;
    assert_eq!((got.version, got.html_content.as_str()), (2, "<h2>{{ invoice.number }}</h2>"));
    let page = client.admin_template_list().send().await.expect("a page").into_inner();
    assert_eq!((page.data.len(), page.pagination.total_items), (1, 1));
    let versions = "SELECT count(*) FROM template_versions";
    assert_eq!(g.app.db().await.query_one(versions, &[]).await.expect("a count").get::<_, i64>(0), 2);
    client.admin_template_delete().template_id(made.id).send().await.expect("gone");
    g.app.call("GET", &path).token(&g.admin).send().await.refused(404);
    g.app.call("DELETE", &path).token(&g.admin).send().await.refused(404);
    let variables = client.admin_template_variable_list().send().await.expect("variables").into_inner().data;
    assert!(
        variables.iter().any(|v| v.name == "invoice.number" && v.example == "SCAI-2026-000042"),
        "{variables:?}"
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_template_is_said_with_its_place() {
    let g = given().await;
    let html = "<p>\n{{ invoice.numbre }}</p>";
    let refused = g.post(&g.admin, &template(json!({"html_content": html}))).await.refused(400);
    refused.names("html_content").says("line 2");
    for (fields, field) in [
        (json!({"html_content": "{% if %}"}), "html_content"),
        (json!({"html_content": "{% include 'x' %}"}), "html_content"),
        (json!({"html_content": "<!--JS:if invoice.number-->open"}), "html_content"),
        (json!({"html_content": "<p></p><script>alert(1)</script>"}), "html_content"),
        (json!({"subject": "Hello"}), "subject"),
        (json!({"document_type": "email_invoice"}), "subject"),
        (json!({"scope": "tenant"}), "tenant_id"),
        (json!({"scope": "partner"}), "partner_id"),
        (json!({"partner_id": "prt_north"}), "partner_id"),
    ] {
        g.post(&g.admin, &template(fields)).await.refused(400).names(field);
    }
    g.post(&g.admin, &template(json!({"scope": "tenant", "tenant_id": "tnt_nobody"}))).await.refused(404);
}

#[tokio::test]
async fn a_partner_has_its_own_and_reads_the_platforms() {
    let g = given().await;
    let platform = g.id(&g.admin, json!({})).await;
    let south = g.id(&g.admin, json!({"scope": "partner", "partner_id": "prt_south"})).await;
    let own = g.id(&g.partner, json!({"scope": "partner"})).await;
    let tenants = g.id(&g.partner, json!({"scope": "tenant", "tenant_id": "tnt_acme"})).await;
    let list = g.app.call("GET", TEMPLATES).token(&g.partner).send().await;
    let mut seen: Vec<String> = list.json()["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|t| t["id"].as_str().map(str::to_owned))
        .collect();
    seen.sort();
    let mut wanted = vec![platform.clone(), own.clone(), tenants];
    wanted.sort();
    assert_eq!(seen, wanted);
    let call =
        |method: &'static str, id: &str| g.app.call(method, &format!("{TEMPLATES}/{id}")).token(&g.partner);
    let change = json!({"name": "x", "html_content": "x"});
    call("GET", &platform).send().await.expect(200);
    call("PUT", &platform).json(&change).send().await.refused(403);
    call("DELETE", &platform).send().await.refused(403);
    call("GET", &south).send().await.refused(404);
    call("PUT", &south).json(&change).send().await.refused(404);
    call("DELETE", &south).send().await.refused(404);
    g.post(&g.partner, &template(json!({}))).await.refused(403).names("scope");
    g.post(&g.partner, &template(json!({"scope": "tenant", "tenant_id": "tnt_other"}))).await.refused(404);
    g.post(&g.partner, &template(json!({"scope": "partner", "partner_id": "prt_south"}))).await.refused(404);
}

#[tokio::test]
async fn the_nearest_template_is_used_and_kept_for_what_it_made() {
    let g = given().await;
    g.id(&g.admin, json!({})).await;
    g.id(&g.admin, json!({"scope": "partner", "partner_id": "prt_north"})).await;
    g.id(&g.admin, json!({"scope": "partner", "partner_id": "prt_north", "language": "de"})).await;
    let own = g.id(&g.admin, json!({"scope": "tenant", "tenant_id": "tnt_acme"})).await;
    let dutch = g.id(&g.admin, json!({"scope": "tenant", "tenant_id": "tnt_acme", "language": "nl"})).await;
    let profile = json!({
        "company_name": "Acme B.V.", "address_line1": "Coolsingel 40", "postal_code": "3011 AD", "city": "Rotterdam",
        "country_code": "NL", "preferred_language": "nl", "invoice_template_name": "modern",
    });
    let put = g.app.call("PUT", "/api/v1/billing/billing-profile").token(&g.tenant.admin).json(&profile);
    put.send().await.expect(200);
    let id = given::draft(&g.app, &g.admin, &g.tenant, "10000").await;
    finalize(&g.app, &g.admin, id).await;
    let path = format!("/api/v1/billing/invoices/{id}/pdf");
    let pdf = g.app.call("GET", &path).token(&g.tenant.admin).send().await;
    pdf.expect_bytes(200);
    let used = "SELECT template_id::text, template_version, language FROM invoice_pdfs";
    let row = g.app.db().await.query_one(used, &[]).await.expect("a PDF");
    assert_eq!(row.get::<_, String>(0), dutch);
    assert_eq!((row.get::<_, i32>(1), row.get::<_, &str>(2)), (1, "nl"));
    // One that is named may go as long as another of its kind is found under the name.
    let delete = |id: &str| g.app.call("DELETE", &format!("{TEMPLATES}/{id}")).token(&g.admin);
    delete(&dutch).send().await.expect(200);
    delete(&own).send().await.expect(200);
    assert_eq!(
        g.app.call("GET", &path).token(&g.tenant.admin).send().await.body,
        pdf.body,
        "what was made stays"
    );
}

#[tokio::test]
async fn the_last_one_of_a_name_that_is_chosen_stays() {
    let g = given().await;
    let id = g.id(&g.admin, json!({})).await;
    let choose = json!({"invoice_template_name": "modern"});
    let patch =
        |fields: &Value| g.app.call("PATCH", "/api/v1/admin/partners/prt_north").token(&g.admin).json(fields);
    patch(&choose).send().await.expect(200);
    let delete = || g.app.call("DELETE", &format!("{TEMPLATES}/{id}")).token(&g.admin);
    delete().send().await.refused(409);
    patch(&json!({"invoice_template_name": null})).send().await.expect(200);
    delete().send().await.expect(200);
}

#[tokio::test]
async fn previews() {
    let g = given().await;
    let document = g.id(&g.admin, json!({})).await;
    let pdf = g.preview(&document, json!({})).await;
    pdf.expect_bytes(200);
    assert!(pdf.body.starts_with(b"%PDF-"));
    let mail = g
        .id(&g.admin, json!({"document_type": "email_invoice", "subject": "Invoice {{ invoice.number }}", "html_content": "<p>{{ totals.total }}</p>"}))
        .await;
    let client = g.app.client(&g.admin);
    let asked: types::TemplatePreviewRequest = body(json!({}));
    client.admin_template_preview().template_id(mail.as_str()).body(asked).send().await.expect("a preview");
    let html = g.preview(&mail, json!({})).await;
    html.expect_bytes(200);
    let text = String::from_utf8_lossy(&html.body).into_owned();
    assert!(
        html.header("content-type").is_some_and(|t| t.starts_with("text/html")) && text.contains("<p"),
        "{text}"
    );
    let id = given::draft(&g.app, &g.admin, &g.tenant, "10000").await;
    g.preview(&document, json!({"invoice_id": id})).await.refused(400).names("invoice_id");
    finalize(&g.app, &g.admin, id).await;
    let seen = g.preview(&mail, json!({"invoice_id": id})).await;
    assert!(String::from_utf8_lossy(&seen.body).contains("121"), "{:?}", seen.body);
    let note = g.id(&g.admin, json!({"document_type": "credit_note"})).await;
    g.preview(&note, json!({"invoice_id": id})).await.refused(400).names("invoice_id");
    g.preview(&note, json!({"invoice_id": uuid::Uuid::now_v7()})).await.refused(404);
}
