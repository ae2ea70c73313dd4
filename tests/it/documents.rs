//! What an issued document is handed out as: the e-invoice it was issued as, copies in other formats, its PDF, and mails.
use crate::admin_billing::INVOICES;
use crate::support::{finalize, verified};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use scaicontrol_einvoice::{Limits, extract, validate};
use scaicontrol_server::documents::pdf;
use scaicontrol_server::op::OpContext;
use scaicontrol_tests::given::{self, Tenant};
use scaicontrol_tests::{Answer, TestApp, body, renderer};
use scaicontrol_types as types;
use serde_json::{Value, json};
use uuid::Uuid;

const OWN: &str = "/api/v1/billing/invoices";
const FORMATS: [&str; 5] = ["ubl", "xrechnung", "cii", "zugferd", "facturx"];

struct Given {
    app: TestApp,
    admin: String,
    tenant: Tenant,
}

/// A server that renders when it is asked to, with a seller and a buyer that any format can be written of.
async fn given() -> Given {
    given_with(&renderer()).await
}

async fn given_with(program: &str) -> Given {
    let app = TestApp::with(&[("render.program", program), ("workers.enabled", "false")]).await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let admin = app.operator("super_admin");
    let seller = json!({"seller_contact_name": "Finance desk", "seller_phone": "+31 20 123 4567"});
    app.call("PATCH", "/api/v1/admin/partners/prt_north")
        .token(&admin)
        .json(&seller)
        .send()
        .await
        .expect(200);
    let g = Given { app, admin, tenant };
    g.profile(json!({"buyer_reference": "PO-2291"})).await;
    g
}

impl Given {
    async fn profile(&self, fields: Value) {
        let mut profile = json!({
            "company_name": "Acme B.V.", "address_line1": "Coolsingel 40", "postal_code": "3011 AD", "city": "Rotterdam",
            "country_code": "NL", "is_business": true, "contact_email": "finance@example.com",
        });
        for (name, value) in fields.as_object().into_iter().flatten() {
            profile[name] = value.clone();
        }
        let put = self.app.call("PUT", "/api/v1/billing/billing-profile").token(&self.tenant.admin);
        put.json(&profile).send().await.expect(200);
    }
    async fn seller(&self, fields: Value) {
        let path = "/api/v1/admin/partners/prt_north";
        self.app.call("PATCH", path).token(&self.admin).json(&fields).send().await.expect(200);
    }
    async fn issued(&self) -> Uuid {
        let id = given::draft(&self.app, &self.admin, &self.tenant, "10000").await;
        finalize(&self.app, &self.admin, id).await;
        id
    }
    async fn own(&self, id: Uuid, what: &str) -> Answer {
        self.app.call("GET", &format!("{OWN}/{id}/{what}")).token(&self.tenant.admin).send().await
    }
    async fn post(&self, path: &str, token: &str, asked: &Value) -> Answer {
        self.app.call("POST", path).token(token).json(asked).send().await
    }
    async fn rows(&self, sql: &str) -> Vec<tokio_postgres::Row> {
        self.app.db().await.query(sql, &[]).await.expect("rows")
    }
    async fn render(&self) {
        let control = self.app.control();
        let op = OpContext::system(&control.clock, &control.ids, pdf::RENDERER);
        pdf::tick(&op, control).await.expect("a tick");
    }
}

fn is_valid(xml: &[u8]) {
    let report = validate(xml, &Limits::default()).expect("an invoice");
    assert!(report.valid, "{:?}", report.violations);
}

#[tokio::test]
async fn an_invoice_in_every_format() {
    let g = given().await;
    let id = g.issued().await;
    let original = g.own(id, "download").await;
    original.expect_bytes(200);
    assert_eq!(original.header("content-type"), Some("application/xml"));
    assert!(original.header("content-disposition").is_some_and(|v| v.contains("SCAI-2026-000001.xml")));
    is_valid(&original.body);
    let kept = g.rows("SELECT content, sha256 FROM invoice_originals").await;
    assert_eq!(kept[0].get::<_, Vec<u8>>(0), original.body, "the original is what was kept");
    for format in FORMATS {
        let copy = g.own(id, &format!("download?format={format}")).await;
        copy.expect_bytes(200);
        let admin = format!("{INVOICES}/{id}/download?format={format}");
        let seen = g.app.call("GET", &admin).token(&g.admin).send().await;
        assert_eq!(seen.body, copy.body, "{format}: the same bytes whoever asks, and again");
        if ["zugferd", "facturx"].contains(&format) {
            assert_eq!(copy.header("content-type"), Some("application/pdf"));
            is_valid(&extract(&copy.body, &Limits::default()).expect("an XML inside"));
        } else {
            is_valid(&copy.body);
        }
    }
    assert_eq!(g.own(id, "download?format=ubl").await.body, original.body);
    g.own(id, "download?format=edifact").await.refused(400).names("format");
    let draft = given::draft(&g.app, &g.admin, &g.tenant, "1").await;
    g.own(draft, "download").await.refused(404);
    let path = format!("{INVOICES}/{draft}/download");
    g.app.call("GET", &path).token(&g.admin).send().await.refused(409);
    verified(&g.app).await;
}

#[tokio::test]
async fn a_document_that_cannot_be_read_is_put_off_and_the_others_are_rendered() {
    let g = given().await;
    let (broken, whole) = (g.issued().await, g.issued().await);
    let gone = format!(
        "SET session_replication_role = replica; DELETE FROM invoices WHERE invoice_id = '{broken}'; RESET session_replication_role"
    );
    g.app.db().await.batch_execute(&gone).await.expect("gone");
    g.render().await;
    let state = async |id: Uuid| {
        let sql = "SELECT status, attempts, failure IS NOT NULL, COALESCE(next_attempt_at > now(), false) FROM invoice_pdfs WHERE invoice_id = $1";
        let row = g.app.db().await.query_one(sql, &[&id]).await.expect("a row");
        (row.get::<_, String>(0), row.get::<_, i32>(1), row.get::<_, bool>(2), row.get::<_, bool>(3))
    };
    assert_eq!(state(whole).await.0, "rendered");
    for _ in 0..2 {
        assert_eq!(state(broken).await, ("queued".into(), 1, true, true), "it is noted, and waits");
        g.render().await;
    }
}

#[tokio::test]
async fn a_credit_note_comes_in_the_format_of_its_invoice() {
    let g = given().await;
    g.profile(json!({"preferred_einvoice_format": "xrechnung", "buyer_reference": "PO-1"})).await;
    let id = g.issued().await;
    g.profile(json!({"preferred_einvoice_format": "cii"})).await;
    let path = format!("{INVOICES}/{id}/credit-note");
    let note = g.post(&path, &g.admin, &json!({"reason": "Returned"})).await.data(201);
    let rows = g.rows("SELECT format, profile FROM invoice_originals ORDER BY invoice_id").await;
    let forms: Vec<(String, String)> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
    let xrechnung = ("xrechnung".to_owned(), "xrechnung_ubl".to_owned());
    assert_eq!(forms, [xrechnung.clone(), xrechnung]);
    let xml = g.own(note["id"].as_str().expect("an id").parse().expect("an id"), "download").await;
    xml.expect_bytes(200);
    is_valid(&xml.body);
    let text = String::from_utf8_lossy(&xml.body).into_owned();
    assert!(text.contains("381") && text.contains("SCAI-2026-000001") && text.contains("Returned"), "{text}");
}

/// A German seller in Peppol without the contact that the rules for such sellers ask for, and a German buyer in Peppol.
async fn without_contact() -> Given {
    let g = given().await;
    let seller = json!({
        "seller_contact_name": null, "seller_country_code": "DE", "seller_city": "Berlin", "seller_postal_code": "10115",
        "seller_vat_number": "DE136695976", "seller_registration_number": "HRB 1234", "seller_peppol_id": "DE136695976",
        "seller_peppol_scheme": "9930", "seller_iban": "DE89370400440532013000",
    });
    g.seller(seller).await;
    g
}

/// A German business that is reached through Peppol.
fn german(fields: Value) -> Value {
    let mut profile = json!({
        "postal_code": "80331", "city": "Muenchen", "country_code": "DE", "preferred_einvoice_format": "ubl",
        "peppol_id": "DE129273398", "peppol_scheme": "9930", "buyer_reference": "PO-1",
    });
    for (name, value) in fields.as_object().into_iter().flatten() {
        profile[name] = value.clone();
    }
    profile
}

#[tokio::test]
async fn a_rule_that_is_broken_keeps_the_draft() {
    let g = without_contact().await;
    // A public buyer takes no other form.
    g.profile(german(json!({"leitweg_id": "04011000-1234512345-06"}))).await;
    let id = given::draft(&g.app, &g.admin, &g.tenant, "10000").await;
    let path = format!("{INVOICES}/{id}/finalize");
    let refused = g.post(&path, &g.admin, &json!(null)).await.refused(400);
    refused.says("DE-R-").names("partner.seller_contact_name");
    let rows = g.rows("SELECT status, number IS NULL FROM invoices").await;
    assert_eq!((rows[0].get::<_, &str>(0), rows[0].get::<_, bool>(1)), ("draft", true));
    let spent = "SELECT (SELECT count(*) FROM invoice_numbers) + (SELECT count(*) FROM journals) + (SELECT count(*) FROM invoice_pdfs)";
    assert_eq!(g.rows(spent).await[0].get::<_, i64>(0), 0);
    g.seller(json!({"seller_contact_name": "Finance desk"})).await;
    finalize(&g.app, &g.admin, id).await;
    assert_eq!(g.rows("SELECT number FROM invoices").await[0].get::<_, &str>(0), "SCAI-2026-000001");
    assert_eq!(g.rows("SELECT profile FROM invoice_originals").await[0].get::<_, &str>(0), "peppol_bis3");
}

#[tokio::test]
async fn what_only_the_preferred_format_asks_does_not_hold_an_invoice_up() {
    let g = without_contact().await;
    g.profile(german(json!({}))).await;
    let id = g.issued().await;
    let xml = g.own(id, "download").await;
    is_valid(&xml.body);
    assert_eq!(g.rows("SELECT profile FROM invoice_originals").await[0].get::<_, &str>(0), "ubl");
    let told = g.rows("SELECT message, parameters FROM notifications").await;
    assert_eq!(told[0].get::<_, &str>(0), "einvoice_fallback");
    assert_eq!(told[0].get::<_, Value>(1)["number"], "SCAI-2026-000001");
    g.own(id, "download?format=xrechnung").await.refused(400).names("partner.seller_contact_name");
}

#[tokio::test]
async fn by_the_client() {
    let g = given().await;
    let id = g.issued().await;
    let (admin, own) = (g.app.client(&g.admin), g.app.client(&g.tenant.admin));
    let read = async |stream: scaicontrol_client::ByteStream| {
        let chunks: Vec<_> = stream.into_inner().collect().await;
        chunks.into_iter().map(|c| c.expect("a chunk").len()).sum::<usize>()
    };
    let pdf = admin.admin_invoice_pdf_download().invoice_id(id).send().await.expect("a PDF");
    assert!(read(pdf.into_inner()).await > 5_000);
    let pdf = own.invoice_pdf_download().invoice_id(id).send().await.expect("a PDF");
    assert!(read(pdf.into_inner()).await > 5_000);
    let xml = admin.admin_invoice_einvoice_download().invoice_id(id).send().await.expect("an XML");
    assert!(read(xml.into_inner()).await > 2_000);
    let xml = own.invoice_einvoice_download().invoice_id(id).send().await.expect("an XML");
    assert!(read(xml.into_inner()).await > 2_000);
    let anew = admin.admin_invoice_regenerate_pdf().invoice_id(id).send().await.expect("anew").into_inner();
    assert_eq!(anew.data.id, id);
    let nobody = || body::<types::InvoiceSendRequest>(json!({}));
    let mail = admin.admin_invoice_send().invoice_id(id).body(nobody()).send().await.expect("queued");
    assert_eq!(mail.into_inner().data.to, "finance@example.com");
    let mail = own.invoice_send().invoice_id(id).body(nobody()).send().await.expect("queued").into_inner();
    assert_eq!(mail.data.status, types::InvoiceStatus::Sent);
}

#[tokio::test]
async fn a_pdf_is_rendered_once_and_anew_when_asked() {
    let g = given().await;
    let id = g.issued().await;
    assert_eq!(g.rows("SELECT status FROM invoice_pdfs").await[0].get::<_, &str>(0), "queued");
    let first = g.own(id, "pdf").await;
    first.expect_bytes(200);
    assert!(first.body.starts_with(b"%PDF-"));
    assert!(first.header("content-disposition").is_some_and(|v| v.contains("SCAI-2026-000001.pdf")));
    // The worker finds nothing to do, and rendering it again makes the same bytes.
    g.render().await;
    let regenerate = format!("{INVOICES}/{id}/regenerate-pdf");
    let done = g.post(&regenerate, &g.admin, &json!(null)).await.data(200);
    assert_eq!(done["pdf_url"], json!(format!("{INVOICES}/{id}/pdf")));
    let rows = g.rows("SELECT version, status, object_key FROM invoice_pdfs ORDER BY version").await;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].get::<_, String>(2), rows[1].get::<_, String>(2), "the same bytes");
    assert_eq!(g.own(id, "pdf").await.body, first.body);
    let seen = g.app.call("GET", &format!("{OWN}/{id}")).token(&g.tenant.admin).send().await.data(200);
    assert_eq!(seen["pdf_url"], json!(format!("{OWN}/{id}/pdf")));
    let draft = given::draft(&g.app, &g.admin, &g.tenant, "1").await;
    g.post(&format!("{INVOICES}/{draft}/regenerate-pdf"), &g.admin, &json!(null)).await.refused(409);
}

#[tokio::test]
async fn a_renderer_that_fails_holds_nothing_up() {
    let g = given_with("/bin/false").await;
    let id = g.issued().await;
    g.own(id, "pdf").await.refused(503);
    g.post(&format!("{INVOICES}/{id}/regenerate-pdf"), &g.admin, &json!(null)).await.refused(503);
    // The mail is queued all the same, and waits for its files.
    g.post(&format!("{INVOICES}/{id}/send"), &g.admin, &json!({})).await.expect(202);
    assert!(g.rows("SELECT held FROM mails").await[0].get::<_, bool>(0));
    let sql = "SELECT status, failure, next_attempt_at, attempts FROM invoice_pdfs";
    let row = &g.rows(sql).await[0];
    assert_eq!(row.get::<_, &str>(0), "queued");
    assert!(row.get::<_, Option<String>>(1).is_some_and(|f| f.contains("renderer")));
    assert!(
        row.get::<_, Option<DateTime<Utc>>>(2)
            .is_some_and(|at| scaicontrol_server::clock::Clock::Real.now() < at),
        "it is tried again later"
    );
    verified(&g.app).await;
}

#[tokio::test]
async fn a_document_by_mail() {
    let g = given().await;
    let id = g.issued().await;
    let send = format!("{OWN}/{id}/send");
    let sent = g.post(&send, &g.tenant.admin, &json!({})).await.data(202);
    assert_eq!((&sent["to"], &sent["status"]), (&json!("finance@example.com"), &json!("sent")));
    assert_eq!(sent["number"], "SCAI-2026-000001");
    let sql = "SELECT subject, html_body, text_body, attachments, held, language FROM mails";
    let row = &g.rows(sql).await[0];
    assert!(row.get::<_, &str>(0).contains("SCAI-2026-000001"));
    assert!(row.get::<_, &str>(2).contains("121.00") || row.get::<_, &str>(2).contains("121,00"));
    let files: Value = row.get(3);
    let names: Vec<&str> =
        files.as_array().into_iter().flatten().filter_map(|f| f["file_name"].as_str()).collect();
    assert_eq!(names, ["SCAI-2026-000001.pdf", "SCAI-2026-000001.xml"]);
    assert!(!row.get::<_, bool>(4));
    // Somebody else's address is refused to a tenant, and open to the operator.
    let other = json!({"to": "somebody@elsewhere.example"});
    g.post(&send, &g.tenant.admin, &other).await.refused(400).names("to");
    g.post(&format!("{INVOICES}/{id}/send"), &g.admin, &other).await.expect(202);
    for _ in 0..8 {
        g.post(&send, &g.tenant.admin, &json!({})).await.expect(202);
    }
    let limit = g.post(&send, &g.tenant.admin, &json!({})).await;
    limit.refused(429);
    assert!(limit.header("retry-after").is_some());
    g.post(&send, &g.tenant.member, &json!({})).await.refused(403);
    let draft = given::draft(&g.app, &g.admin, &g.tenant, "1").await;
    g.post(&format!("{INVOICES}/{draft}/send"), &g.admin, &json!({})).await.refused(409);
    g.post(&format!("{OWN}/{draft}/send"), &g.tenant.admin, &json!({})).await.refused(404);
    g.post(&format!("{INVOICES}/{draft}/void"), &g.admin, &json!({"reason": "a mistake"})).await.expect(200);
}

#[tokio::test]
async fn a_mail_that_waits_goes_when_the_pdf_is_there() {
    let dir = std::env::temp_dir().join(format!("scaicontrol-renderer-{}", Uuid::now_v7()));
    std::fs::create_dir(&dir).expect("a folder");
    let program = dir.join("renderer");
    std::os::unix::fs::symlink("/bin/false", &program).expect("a link");
    let g = given_with(&program.to_string_lossy()).await;
    let id = g.issued().await;
    g.post(&format!("{INVOICES}/{id}/send"), &g.admin, &json!({})).await.expect(202);
    std::fs::remove_file(&program).expect("no link");
    std::os::unix::fs::symlink(renderer(), &program).expect("a link");
    let db = g.app.db().await;
    db.execute("UPDATE invoice_pdfs SET next_attempt_at = '2020-01-01Z'", &[]).await.expect("due");
    g.render().await;
    let row = db.query_one("SELECT held, attachments FROM mails", &[]).await.expect("a mail");
    assert!(!row.get::<_, bool>(0));
    assert_eq!(row.get::<_, Value>(1).as_array().map(Vec::len), Some(2));
    std::fs::remove_dir_all(&dir).expect("tidy");
}
