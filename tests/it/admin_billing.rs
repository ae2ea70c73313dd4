//! Drafts by hand, and what becomes of them: everything that can be refused before an invoice gets its number, the VAT
//! that is decided then, and that nothing changes it afterwards.
use crate::support::{agrees, cents, difference, each, finalize, get, uuid, verified, walk};
use scaicontrol_tests::given::{self, Tenant};
use scaicontrol_tests::{OPERATOR, TestApp, body};
use scaicontrol_types as types;
use serde_json::{Value, json};
use uuid::Uuid;

const INVOICES: &str = "/api/v1/admin/invoices";

async fn start() -> (TestApp, String, Tenant) {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let admin = app.operator("billing_admin");
    (app, admin, tenant)
}

fn line(description: &str, quantity: &str, price: &str) -> Value {
    json!({"description": description, "quantity": quantity, "unit_price_cents": price})
}

async fn create(app: &TestApp, token: &str, tenant: &Tenant, lines: Value) -> Value {
    let asked = json!({"tenant_id": tenant.id, "currency": "EUR", "line_items": lines});
    app.call("POST", INVOICES).token(token).json(&asked).send().await.data(201)
}

/// Everything that a line of a draft may not say: the field of the line that is named, and what the line says.
fn wrong_lines() -> Vec<(&'static str, Value)> {
    vec![
        ("quantity", json!({"quantity": "0"})),
        ("unit_price_cents", json!({"unit_price_cents": "-1"})),
        ("unit_divisor", json!({"unit_divisor": "0"})),
        ("unit_divisor", json!({"unit_divisor": "-100"})),
        ("period_end", json!({"period_start": "2026-02-01"})),
        ("period_start", json!({"period_end": "2026-02-01"})),
        ("period_end", json!({"period_start": "2026-02-02", "period_end": "2026-02-01"})),
        ("tax_rate", json!({"tax_rate": "-1"})),
        ("tax_rate", json!({"tax_rate": "100.1"})),
        ("tax_rate", json!({"tax_rate": "21.0001"})),
        ("tax_rate", json!({"tax_category": "S"})),
        ("tax_rate", json!({"tax_category": "S", "tax_rate": "0"})),
        ("tax_rate", json!({"tax_category": "O", "tax_rate": "0"})),
        ("tax_rate", json!({"tax_category": "AE", "tax_rate": "21"})),
        ("tax_category", json!({"tax_category": "K"})),
        ("service_slug", json!({"service_slug": "nothing"})),
        ("quantity", json!({"quantity": "900719925474", "unit_price_cents": "1001"})),
        ("unit_price_cents", json!({"unit_price_cents": "0.00000000001"})),
        ("quantity", json!({"quantity": "x"})),
        ("description", json!({"description": ""})),
    ]
}

fn changed(mut line: Value, fields: &Value) -> Value {
    for (name, value) in fields.as_object().into_iter().flatten() {
        line[name] = value.clone();
    }
    line
}

#[tokio::test]
async fn a_draft_is_written_changed_sorted_and_deleted() {
    let (app, admin, tenant) = start().await;
    given::service(&app, "scaivault").await;
    let client = app.client(&admin);
    let asked: types::AdminInvoiceCreateRequest = body(json!({
        "tenant_id": tenant.id, "currency": "EUR", "notes": "Order 7", "due_date": "2026-04-30",
        "period_start": "2026-02-01", "period_end": "2026-02-28",
        "line_items": [
            {"description": "no date", "quantity": "1.5", "unit_price_cents": "1000", "unit_label": "hour", "service_slug": "scaivault"},
            {"description": "03-03-2026 later", "quantity": "3", "unit_price_cents": "0.5"},
            {"description": "28-02-2026 earlier", "quantity": "-1", "unit_price_cents": "100"},
            {"description": "31-02-2026 no such day", "quantity": "250", "unit_price_cents": "99", "unit_divisor": "100"},
        ],
    }));
    let made = client.admin_invoice_create().body(asked).send().await.expect("created").into_inner().data;
    assert_eq!((made.status, made.number), (types::InvoiceStatus::Draft, None));
    assert_eq!(made.partner_id, "prt_north");
    // 1.5 has its cent from "half away from zero", 247.5 too
    let amounts: Vec<i64> = made.line_items.iter().map(|l| l.amount_cents).collect();
    assert_eq!(amounts, [1500, 2, -100, 248]);
    assert_eq!((made.subtotal_cents, made.tax_cents, made.total_cents, made.due_cents), (1650, 0, 1650, 1650));
    assert!(made.line_items.iter().all(|l| l.kind == types::LineItemKind::Manual));

    let sorted = client.admin_invoice_lines_sort().invoice_id(made.id).send().await.expect("sorted").into_inner().data;
    let order: Vec<&str> = sorted.line_items.iter().map(|l| l.description.as_str()).collect();
    assert_eq!(order, ["28-02-2026 earlier", "03-03-2026 later", "no date", "31-02-2026 no such day"]);

    let ids: Vec<Uuid> = sorted.line_items.iter().rev().map(|l| l.id).collect();
    let asked: types::LineItemOrderRequest = body(json!({"line_item_ids": ids}));
    let ordered = client.admin_invoice_lines_order().invoice_id(made.id).body(asked).send().await.expect("ordered");
    let ordered = ordered.into_inner().data;
    assert_eq!(ordered.line_items.iter().map(|l| l.id).collect::<Vec<_>>(), ids);
    assert_eq!(ordered.line_items.iter().map(|l| l.order_index).collect::<Vec<_>>(), [0, 1, 2, 3]);

    // The first line stays as it is, the second changes its price, two are dropped, one is new.
    let asked: types::AdminInvoiceUpdateRequest = body(json!({
        "notes": null, "due_date": "2026-05-01",
        "line_items": [{"id": ids[0]}, {"id": ids[1], "unit_price_cents": "2000"}, line("new", "1", "5")],
    }));
    let updated = client.admin_invoice_update().invoice_id(made.id).body(asked).send().await.expect("updated");
    let updated = updated.into_inner().data;
    assert_eq!(updated.line_items.iter().map(|l| l.amount_cents).collect::<Vec<_>>(), [248, 3000, 5]);
    assert_eq!((updated.line_items[0].id, updated.line_items[1].id), (ids[0], ids[1]));
    assert_eq!((updated.notes, updated.subtotal_cents), (None, 3253));
    assert_eq!(updated.due_date.map(|d| d.to_string()).as_deref(), Some("2026-05-01"));
    assert_eq!(updated.period_start.map(|d| d.to_string()).as_deref(), Some("2026-02-01"), "left out: stays");
    let read = client.admin_invoice_get().invoice_id(made.id).send().await.expect("read").into_inner().data;
    assert_eq!(read.line_items.len(), 3);
    verified(&app).await;

    client.admin_invoice_delete().invoice_id(made.id).send().await.expect("deleted");
    let path = format!("{INVOICES}/{}", made.id);
    app.call("GET", &path).token(&admin).send().await.refused(404);
    let db = app.db().await;
    let rows = db.query_one("SELECT count(*) FROM invoice_lines", &[]).await.expect("a count");
    assert_eq!(rows.get::<_, i64>(0), 0);
    let rows = db.query("SELECT operation FROM audit_log WHERE object_type = 'invoice' ORDER BY 1", &[]).await.expect("audit");
    let wrote: Vec<String> = rows.iter().map(|r| r.get(0)).collect();
    for operation in ["create", "update", "delete", "lines_order", "lines_sort"] {
        assert!(wrote.contains(&format!("admin_invoice_{operation}")), "{operation} in {wrote:?}");
    }
}

#[tokio::test]
async fn a_draft_that_contradicts_itself_is_refused() {
    let (app, admin, tenant) = start().await;
    let good = json!({"tenant_id": tenant.id, "currency": "EUR", "line_items": [line("a", "1", "1"), line("b", "1", "1")]});
    let post = async |asked: &Value| app.call("POST", INVOICES).token(&admin).json(asked).send().await;
    let draft = uuid(&post(&good).await.data(201)["id"]);
    let path = format!("{INVOICES}/{draft}");
    let patch = async |asked: &Value| app.call("PATCH", &path).token(&admin).json(asked).send().await;
    for (field, fields) in wrong_lines() {
        let mut asked = good.clone();
        asked["line_items"][1] = changed(line("b", "1", "1"), &fields);
        let name = format!("line_items.1.{field}");
        post(&asked).await.refused(400).names(&name);
        patch(&json!({"line_items": asked["line_items"]})).await.refused(400).names(&name);
    }
    let whole = [
        ("period_end", json!({"period_start": "2026-02-01"})),
        ("period_start", json!({"period_end": "2026-02-01"})),
        ("period_end", json!({"period_start": "2026-02-02", "period_end": "2026-02-01"})),
        ("due_date", json!({"due_date": "1899-12-31"})),
        ("tax_point_date", json!({"tax_point_date": "1899-12-31"})),
        ("due_date", json!({"due_date": "2026-02-30"})),
        ("line_items", json!({"line_items": []})),
        ("line_items", json!({"line_items": [line("a", "1", "900719925474099"), line("b", "1", "1")]})),
        ("notes", json!({"notes": ""})),
        ("number", json!({"number": "SCAI-2026-000001"})),
    ];
    for (field, fields) in whole {
        post(&changed(good.clone(), &fields)).await.refused(400).names(field);
        patch(&fields).await.refused(400).names(field);
    }
    for (field, fields) in [
        ("currency", json!({"currency": "BHD"})),
        ("currency", json!({"currency": "XXY"})),
        ("currency", json!({"currency": "eur"})),
        ("line_items.0.id", json!({"line_items": [{"id": draft}]})),
    ] {
        post(&changed(good.clone(), &fields)).await.refused(400).names(field);
    }
    post(&changed(good.clone(), &json!({"tenant_id": "tnt_nobody"}))).await.refused(404);
    let other = get(&app, &admin, draft).await;
    assert_eq!(other["line_items"].as_array().map(Vec::len), Some(2), "nothing of it was written");

    // Lines by id.
    let known = other["line_items"][0]["id"].clone();
    for (field, lines) in [
        ("line_items.0.id", json!([{"id": Uuid::now_v7()}])),
        ("line_items.1.id", json!([{"id": known}, {"id": known}])),
        ("line_items.0.description", json!([{"quantity": "1", "unit_price_cents": "1"}])),
        ("line_items.0.quantity", json!([{"description": "a", "unit_price_cents": "1"}])),
        ("line_items.0.unit_price_cents", json!([{"description": "a", "quantity": "1"}])),
        ("line_items.0.quantity", json!([{"id": known, "quantity": "0"}])),
    ] {
        patch(&json!({"line_items": lines})).await.refused(400).names(field);
    }
    let second = other["line_items"][1]["id"].clone();
    let order = format!("{path}/line-items/order");
    for (field, ids) in [
        ("line_item_ids", json!([known])),
        ("line_item_ids.1", json!([known, known])),
        ("line_item_ids.1", json!([known, Uuid::now_v7()])),
        ("line_item_ids.2", json!([known, second, Uuid::now_v7()])),
        ("line_item_ids", json!([])),
    ] {
        let asked = json!({"line_item_ids": ids});
        app.call("PUT", &order).token(&admin).json(&asked).send().await.refused(400).names(field);
    }
    verified(&app).await;
}

#[tokio::test]
async fn a_partner_has_its_own_drafts_only() {
    let (app, admin, tenant) = start().await;
    let south = given::tenant(&app, "tnt_south", "prt_south").await;
    let partner = app.token("partner_admin", "tnt_home", "prt_south");
    let id = given::draft(&app, &admin, &tenant, "100").await;
    let own = given::draft(&app, &partner, &south, "100").await;
    let listed = app.call("GET", INVOICES).token(&partner).send().await.data(200);
    assert_eq!(each(&listed, "id"), [&json!(own)]);
    let asked = json!({"tenant_id": tenant.id, "currency": "EUR", "line_items": [line("a", "1", "1")]});
    app.call("POST", INVOICES).token(&partner).json(&asked).send().await.refused(404);
    let path = format!("{INVOICES}/{id}");
    let ids = json!({"line_item_ids": [Uuid::now_v7()]});
    for (method, path, asked) in [
        ("GET", path.clone(), None),
        ("PATCH", path.clone(), Some(json!({"notes": "x"}))),
        ("DELETE", path.clone(), None),
        ("PUT", format!("{path}/line-items/order"), Some(ids)),
        ("POST", format!("{path}/line-items/sort-by-date"), None),
        ("POST", format!("{path}/finalize"), None),
    ] {
        let call = app.call(method, &path).token(&partner);
        let call = if let Some(asked) = asked { call.json(&asked) } else { call };
        call.send().await.refused(404);
        // A tenant's own token has no way in at all.
        app.call(method, &path).token(&tenant.admin).send().await.refused(403);
    }
    assert_eq!(get(&app, &admin, id).await["status"], "draft");
}

#[tokio::test]
async fn an_issued_document_is_final() {
    let (app, admin, tenant) = start().await;
    let id = given::draft(&app, &admin, &tenant, "10000").await;
    let client = app.client(&admin);
    let issued = client.admin_invoice_finalize().invoice_id(id).send().await.expect("issued").into_inner().data;
    assert_eq!(issued.number.as_deref(), Some("SCAI-2026-000001"));
    assert_eq!((issued.subtotal_cents, issued.tax_cents, issued.total_cents, issued.due_cents), (10000, 2100, 12100, 12100));
    assert_eq!(issued.issue_date.map(|d| d.to_string()).as_deref(), Some("2026-03-10"));
    assert_eq!(issued.due_date.map(|d| d.to_string()).as_deref(), Some("2026-03-24"), "14 days");
    assert_eq!(issued.buyer_snapshot.map(|b| b.name).as_deref(), Some("Customer tnt_acme B.V."));
    assert_eq!(issued.seller_snapshot.map(|s| s.name).as_deref(), Some("Noord Software B.V."));
    let path = format!("{INVOICES}/{id}");
    let ids = json!({"line_item_ids": [issued.line_items[0].id]});
    for (method, path, asked) in [
        ("PATCH", path.clone(), Some(json!({"notes": "x"}))),
        ("DELETE", path.clone(), None),
        ("PUT", format!("{path}/line-items/order"), Some(ids)),
        ("POST", format!("{path}/line-items/sort-by-date"), None),
        ("POST", format!("{path}/finalize"), None),
    ] {
        let call = app.call(method, &path).token(&admin);
        let call = if let Some(asked) = asked { call.json(&asked) } else { call };
        call.send().await.refused(409).says("not a draft");
    }
    // Nor by hand: the triggers hold for the owner of the tables too.
    let db = app.db().await;
    for sql in [
        "UPDATE invoices SET total_cents = total_cents - 1, due_cents = due_cents - 1, subtotal_cents = subtotal_cents - 1",
        "UPDATE invoices SET number = 'SCAI-2026-000002'",
        "UPDATE invoices SET number = NULL, finalized_at = NULL, status = 'draft'",
        "UPDATE invoices SET issue_date = issue_date + 1",
        "UPDATE invoices SET buyer_snapshot = '{}'",
        "UPDATE invoices SET vat_details = '{}'",
        "DELETE FROM invoices",
        "UPDATE invoice_lines SET amount_cents = 1",
        "UPDATE invoice_lines SET description = 'x'",
        "DELETE FROM invoice_lines",
        "INSERT INTO invoice_lines SELECT tenant_id, gen_random_uuid(), invoice_id, partner_id, 1, kind, description, quantity, unit_label,
           unit_price_cents, unit_divisor, 0, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM invoice_lines",
        "UPDATE invoice_numbers SET value = 2",
        "DELETE FROM invoice_numbers",
        "UPDATE journals SET kind = 'payment'",
        "DELETE FROM ledger_entries",
        "UPDATE ledger_entries SET amount_cents = 1",
    ] {
        let refused = db.execute(sql, &[]).await.expect_err(sql);
        let code = refused.code().map(|c| c.code().to_owned()).unwrap_or_default();
        assert!(["23001", "42501", "23514", "P0001"].contains(&code.as_str()), "{sql}: {code} {refused:?}");
    }
    verified(&app).await;
}

#[tokio::test]
async fn a_journal_that_does_not_balance_is_not_committed() {
    let (app, admin, tenant) = start().await;
    let id = given::draft(&app, &admin, &tenant, "10000").await;
    finalize(&app, &admin, id).await;
    let mut db = app.db().await;
    let tx = db.transaction().await.expect("a transaction");
    let add = "INSERT INTO ledger_entries SELECT tenant_id, journal_id, 99, partner_id, account, currency, 1, occurred_at FROM ledger_entries LIMIT 1";
    tx.execute(add, &[]).await.expect("only the commit checks");
    let refused = tx.commit().await.expect_err("it does not balance");
    assert!(refused.as_db_error().is_some_and(|e| e.message().contains("does not balance")), "{refused:?}");
    verified(&app).await;
}

#[tokio::test]
async fn the_proof_finds_what_is_planted() {
    let (app, admin, tenant) = start().await;
    let id = given::draft(&app, &admin, &tenant, "10000").await;
    finalize(&app, &admin, id).await;
    verified(&app).await;
    let owner = scaicontrol_tests::database::connect(&app.database().owner_url()).await;
    // Each is planted alone, found under its name, and taken back.
    for (table, change, back, check) in [
        ("invoices", "subtotal_cents = subtotal_cents + 1, tax_cents = tax_cents - 1", "subtotal_cents = subtotal_cents - 1, tax_cents = tax_cents + 1", "a document's sums are those of its lines"),
        ("invoices", "paid_cents = 1, due_cents = due_cents - 1", "paid_cents = 0, due_cents = due_cents + 1", "what is owed by the documents is what the ledger says is receivable"),
        ("invoices", "issue_date = issue_date + 365", "issue_date = issue_date - 365", "every number's year is that of the issue date"),
        ("invoices", "number = 'SCAI-2026-000009'", "number = 'SCAI-2026-000001'", "every number belongs to the document that shows it"),
        ("invoice_lines", "amount_cents = amount_cents + 1", "amount_cents = amount_cents - 1", "a document's sums are those of its lines"),
        ("invoice_numbers", "value = 2", "value = 1", "numbers run from 1 without a gap in every series"),
        ("ledger_entries", "amount_cents = amount_cents * 2", "amount_cents = amount_cents / 2", "every issued document is in the ledger with its total, tax and net revenue"),
        ("ledger_entries", "amount_cents = amount_cents + entry_no + 1", "amount_cents = amount_cents - entry_no - 1", "every journal sums to zero in every currency"),
    ] {
        let plant = async |set: &str| {
            let sql = format!(
                "ALTER TABLE {table} DISABLE TRIGGER USER, NO FORCE ROW LEVEL SECURITY; UPDATE {table} SET {set};
                 ALTER TABLE {table} ENABLE TRIGGER USER, FORCE ROW LEVEL SECURITY"
            );
            owner.batch_execute(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        };
        plant(change).await;
        assert_eq!(difference(&app).await.map(|d| d.check), Some(check), "{change}");
        plant(back).await;
        verified(&app).await;
    }
}

/// Seller and buyer of a VAT case, as they differ from the Dutch ones.
async fn parties(app: &TestApp, tenant: &Tenant, seller: &Value, buyer: &Value) {
    let operator = app.operator("super_admin");
    let path = format!("/api/v1/admin/partners/{}", tenant.partner);
    let base = json!({
        "seller_country_code": "NL", "seller_postal_code": "1015 CN", "seller_vat_number": "NL123456782B90",
        "seller_tax_number": null, "small_business_note": null, "oss_registered": false,
    });
    app.call("PATCH", &path).token(&operator).json(&changed(base, seller)).send().await.expect(200);
    let path = format!("/api/v1/admin/tenants/{}/billing-profile", tenant.id);
    let base = json!({
        "company_name": "Buyer", "address_line1": "Street 1", "postal_code": "10115", "city": "City", "country_code": "NL",
        "is_business": true, "tax_exempt": false, "reason": "case",
    });
    app.call("PUT", &path).token(&operator).json(&changed(base, buyer)).send().await.expect(200);
}

/// A VAT case: seller, buyer, then category, rate, tax of 100.00 (in cents), treatment, label, note and taxing country.
type Case = (Value, Value, &'static str, Option<&'static str>, i64, &'static str, &'static str, Option<&'static str>, Option<&'static str>);

fn vat_cases() -> Vec<Case> {
    let nl = || json!({});
    let consumer = |country: &str| json!({"country_code": country, "is_business": false});
    let business = |country: &str, number: &str| json!({"country_code": country, "vat_number": number});
    let export = "Export outside the EU - VAT not applicable";
    let reverse = "Reverse charge - Art. 196 EU VAT Directive";
    let no_number = || json!({"seller_vat_number": null, "seller_tax_number": "12/345/67890", "small_business_note": "Art. 25 Wet OB"});
    let swiss = || json!({"seller_country_code": "CH", "seller_postal_code": "8001", "seller_vat_number": null});
    let exempt = json!({"tax_exempt": true, "tax_exempt_reason": "Art. 151 Directive 2006/112/EC"});
    let v21 = "VAT 21.00%";
    vec![
        (nl(), json!({"vat_number": "NL004495445B01"}), "S", Some("21"), 2100, "domestic", v21, None, Some("NL")),
        (nl(), consumer("NL"), "S", Some("21"), 2100, "domestic", v21, None, Some("NL")),
        (nl(), business("DE", "DE136695976"), "AE", Some("0"), 0, "reverse_charge", "VAT 0% (Reverse Charge)", Some(reverse), None),
        (nl(), business("GR", "EL094259216"), "AE", Some("0"), 0, "reverse_charge", "VAT 0% (Reverse Charge)", Some(reverse), None),
        // a business without number, and one with the number of another country, are taxed like consumers
        (nl(), json!({"country_code": "DE"}), "S", Some("21"), 2100, "seller_rate", v21, None, Some("NL")),
        (nl(), business("FR", "DE136695976"), "S", Some("21"), 2100, "seller_rate", v21, None, Some("NL")),
        (nl(), consumer("DE"), "S", Some("21"), 2100, "seller_rate", v21, None, Some("NL")),
        (json!({"oss_registered": true}), consumer("DE"), "S", Some("19"), 1900, "oss", "VAT 19.00%", None, Some("DE")),
        (json!({"oss_registered": true}), consumer("FI"), "S", Some("25.5"), 2550, "oss", "VAT 25.50%", None, Some("FI")),
        (json!({"oss_registered": true}), business("DE", "DE136695976"), "AE", Some("0"), 0, "reverse_charge", "VAT 0% (Reverse Charge)", Some(reverse), None),
        (nl(), consumer("US"), "G", Some("0"), 0, "export", "No VAT", Some(export), None),
        (nl(), business("CH", "CHE123456789MWST"), "G", Some("0"), 0, "export", "No VAT", Some(export), None),
        (no_number(), consumer("US"), "O", None, 0, "export", "No VAT", Some(export), None),
        (swiss(), json!({"country_code": "NL"}), "O", None, 0, "seller_outside_eu", "No VAT", Some("No VAT"), None),
        (swiss(), consumer("US"), "O", None, 0, "export", "No VAT", Some(export), None),
        (no_number(), json!({}), "E", Some("0"), 0, "small_business", "No VAT", Some("Art. 25 Wet OB"), None),
        (nl(), exempt, "E", Some("0"), 0, "exempt", "No VAT", Some("Art. 151 Directive 2006/112/EC"), None),
        // territories
        (nl(), json!({"country_code": "ES", "postal_code": "35001"}), "G", Some("0"), 0, "export", "No VAT", Some(export), None),
        (nl(), json!({"country_code": "ES", "postal_code": "28001"}), "S", Some("21"), 2100, "seller_rate", v21, None, Some("NL")),
        (nl(), json!({"country_code": "DE", "postal_code": "78266"}), "G", Some("0"), 0, "export", "No VAT", Some(export), None),
        (nl(), consumer("XI"), "G", Some("0"), 0, "export", "No VAT", Some(export), None),
        (nl(), consumer("GP"), "G", Some("0"), 0, "export", "No VAT", Some(export), None),
        (json!({"oss_registered": true}), consumer("MC"), "S", Some("20"), 2000, "oss", "VAT 20.00%", None, Some("FR")),
    ]
}

#[tokio::test]
async fn vat_is_decided_in_the_published_order() {
    let (app, admin, tenant) = start().await;
    for (seller, buyer, category, rate, tax, treatment, label, note, taxing) in vat_cases() {
        let case = format!("{seller} {buyer}");
        parties(&app, &tenant, &seller, &buyer).await;
        let id = given::draft(&app, &admin, &tenant, "10000").await;
        let issued = finalize(&app, &admin, id).await;
        let (line, vat) = (&issued["line_items"][0], &issued["vat_details"]);
        assert_eq!((&line["tax_category"], &line["tax_rate"]), (&json!(category), &json!(rate)), "{case}: {line}");
        assert_eq!(cents(&issued["tax_cents"]), tax, "{case}");
        assert_eq!((&vat["treatment"], &vat["label"]), (&json!(treatment), &json!(label)), "{case}: {vat}");
        assert_eq!((&vat["note"], &vat["taxing_country"]), (&json!(note), &json!(taxing)), "{case}: {vat}");
        assert_eq!(vat["breakdown"][0]["tax_category"], category, "{case}: {vat}");
        let code = match category {
            "AE" => json!("VATEX-EU-AE"),
            "G" => json!("VATEX-EU-G"),
            "O" => json!("VATEX-EU-O"),
            _ => Value::Null,
        };
        assert_eq!(vat["breakdown"][0]["exemption_code"], code, "{case}: {vat}");
    }
    verified(&app).await;
}

#[tokio::test]
async fn several_rates_agree_to_the_cent() {
    let (app, admin, tenant) = start().await;
    let lines = json!([
        line("standard", "1", "333"), line("standard", "1", "333"), line("standard", "1", "333"),
        changed(line("reduced", "1", "101"), &json!({"tax_rate": "9"})),
        changed(line("reduced by category", "1", "104"), &json!({"tax_rate": "9", "tax_category": "S"})),
        changed(line("zero", "1", "50"), &json!({"tax_category": "Z"})),
        changed(line("exempt", "1", "7"), &json!({"tax_category": "E"})),
        line("discount", "-1", "10"),
    ]);
    let id = uuid(&create(&app, &admin, &tenant, lines).await["id"]);
    let issued = finalize(&app, &admin, id).await;
    // 989 × 21 % = 207.69, 205 × 9 % = 18.45
    assert_eq!((cents(&issued["subtotal_cents"]), cents(&issued["tax_cents"])), (1251, 226));
    let mut groups: Vec<(String, i64, i64)> = Vec::new();
    for group in issued["vat_details"]["breakdown"].as_array().expect("groups") {
        let name = format!("{} {}", group["tax_category"].as_str().unwrap_or_default(), group["tax_rate"].as_str().unwrap_or_default());
        groups.push((name, cents(&group["taxable_cents"]), cents(&group["tax_cents"])));
    }
    groups.sort();
    let wanted = [("E 0", 7, 0), ("S 21", 989, 208), ("S 9", 205, 18), ("Z 0", 50, 0)];
    assert_eq!(groups, wanted.map(|(name, base, tax)| (name.to_owned(), base, tax)));
    let db = app.db().await;
    let rows = db.query("SELECT account, amount_cents FROM ledger_entries WHERE account LIKE 'vat:%' ORDER BY 1", &[]).await;
    let posted: Vec<(String, i64)> = rows.expect("entries").iter().map(|r| (r.get(0), r.get(1))).collect();
    assert_eq!(posted, [("vat:NL:21:domestic".to_owned(), -208), ("vat:NL:9:domestic".to_owned(), -18)]);
    verified(&app).await;
}

#[tokio::test]
async fn what_cannot_be_issued_stays_a_draft() {
    let (app, admin, tenant) = start().await;
    let operator = app.operator("super_admin");
    let seller = format!("/api/v1/admin/partners/{}", tenant.partner);
    let refused = async |lines: Value, more: Value| {
        let asked = changed(json!({"tenant_id": tenant.id, "currency": "EUR", "line_items": lines}), &more);
        let id = uuid(&app.call("POST", INVOICES).token(&admin).json(&asked).send().await.data(201)["id"]);
        let refusal = app.call("POST", &format!("{INVOICES}/{id}/finalize")).token(&admin).send().await.refused(400);
        let draft = get(&app, &admin, id).await;
        assert_eq!((&draft["status"], &draft["number"]), (&json!("draft"), &Value::Null));
        refusal
    };
    let one = || json!([line("a", "1", "100")]);

    // The seller, field by field, all of them named.
    let fields = ["legal_name", "seller_address_line1", "seller_postal_code", "seller_city", "seller_country_code"];
    let none: Value = fields.iter().map(|f| ((*f).to_owned(), Value::Null)).collect::<serde_json::Map<_, _>>().into();
    let was = app.call("GET", &seller).token(&operator).send().await.data(200);
    app.call("PATCH", &seller).token(&operator).json(&none).send().await.expect(200);
    let refusal = refused(one(), json!({})).await;
    for field in fields {
        refusal.names(&format!("partner.{field}"));
    }
    let again: Value = fields.iter().map(|f| ((*f).to_owned(), was[f].clone())).collect::<serde_json::Map<_, _>>().into();
    app.call("PATCH", &seller).token(&operator).json(&again).send().await.expect(200);

    // Dates, sums, rates and categories.
    refused(one(), json!({"due_date": "2026-03-09"})).await.names("due_date");
    refused(json!([line("a", "1", "100"), line("b", "-1", "101")]), json!({})).await.names("line_items");
    refused(json!([line("a", "1", "100"), changed(line("b", "1", "1"), &json!({"tax_rate": "20"}))]), json!({}))
        .await
        .names("line_items.1.tax_rate");
    refused(json!([line("a", "1", "100"), changed(line("b", "1", "1"), &json!({"tax_category": "O"}))]), json!({}))
        .await
        .names("line_items.1.tax_category");
    let reverse = json!([changed(line("a", "1", "100"), &json!({"tax_category": "AE"}))]);
    let refusal = refused(reverse.clone(), json!({})).await;
    refusal.names("billing_profile.vat_number").names("billing_profile.country_code");
    refused(one(), json!({"tax_point_date": "1999-01-01"})).await.names("tax_point_date");
    // Tax is stated in the currency of the state too; no rate of the dollar is known.
    refused(one(), json!({"currency": "USD"})).await.names("exchange_rate");

    // A seller without VAT number.
    parties(&app, &tenant, &json!({"seller_vat_number": null}), &json!({})).await;
    refused(one(), json!({})).await.names("partner.seller_vat_number").names("partner.seller_tax_number");
    parties(&app, &tenant, &json!({"seller_vat_number": null, "seller_tax_number": "12/345"}), &json!({})).await;
    refused(one(), json!({})).await.names("partner.small_business_note");
    let small = json!({"seller_vat_number": null, "seller_tax_number": "12/345", "small_business_note": "Art. 25"});
    parties(&app, &tenant, &small, &json!({"country_code": "DE", "vat_number": "DE136695976"})).await;
    refused(reverse, json!({})).await.names("partner.seller_vat_number");

    // A buyer who wants XRechnung needs a seller that can be asked.
    let wants = json!({"preferred_einvoice_format": "xrechnung", "buyer_reference": "PO 7", "contact_email": "a@example.com"});
    parties(&app, &tenant, &json!({"seller_email": null}), &wants).await;
    let refusal = refused(one(), json!({})).await;
    refusal.names("partner.seller_contact_name").names("partner.seller_phone").names("partner.seller_email");

    // No number was used by any of it.
    let counted = app.db().await.query_one("SELECT count(*) FROM invoice_counters", &[]).await.expect("a count");
    assert_eq!(counted.get::<_, i64>(0), 0);
    verified(&app).await;
}

#[tokio::test]
async fn a_tenant_without_profile_cannot_be_invoiced() {
    let app = TestApp::start().await;
    given::partner(&app, "prt_north").await;
    let token = app.token("tenant_admin", "tnt_new", "prt_north");
    app.call("GET", "/api/v1/billing/invoices").token(&token).send().await.expect(200);
    let admin = app.operator("billing_admin");
    let tenant = Tenant { id: "tnt_new".into(), partner: "prt_north".into(), admin: token.clone(), member: token };
    let id = given::draft(&app, &admin, &tenant, "100").await;
    let path = format!("{INVOICES}/{id}/finalize");
    app.call("POST", &path).token(&admin).send().await.refused(400).names("billing_profile");
}

#[tokio::test]
async fn numbers_count_by_seller_and_year_and_survive_another_prefix() {
    let (app, admin, tenant) = start().await;
    let south = given::tenant(&app, "tnt_south", "prt_south").await;
    let issue = async |tenant: &Tenant| {
        let id = given::draft(&app, &admin, tenant, "100").await;
        finalize(&app, &admin, id).await["number"].as_str().map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(issue(&tenant).await, "SCAI-2026-000001");
    assert_eq!(issue(&south).await, "SCAI-2026-000001");
    let prefix = json!({"invoice_number_prefix": "NORD1"});
    let operator = app.operator("super_admin");
    app.call("PATCH", "/api/v1/admin/partners/prt_north").token(&operator).json(&prefix).send().await.expect(200);
    assert_eq!(issue(&tenant).await, "NORD1-2026-000002");
    // New year comes in Amsterdam an hour before it comes in UTC.
    app.advance_to("2026-12-31T22:59:59Z".parse().expect("a time")).await;
    assert_eq!(issue(&tenant).await, "NORD1-2026-000003");
    app.advance_to("2026-12-31T23:00:00Z".parse().expect("a time")).await;
    assert_eq!(issue(&tenant).await, "NORD1-2027-000001");
    verified(&app).await;
}

#[tokio::test]
async fn an_invoice_of_nothing_is_paid() {
    let (app, admin, tenant) = start().await;
    let id = uuid(&create(&app, &admin, &tenant, json!([line("free", "1", "0")])).await["id"]);
    let issued = finalize(&app, &admin, id).await;
    assert_eq!((&issued["status"], cents(&issued["due_cents"])), (&json!("paid"), 0));
    verified(&app).await;
}

#[tokio::test]
async fn the_platform_takes_its_part_of_what_it_made_and_nothing_of_its_own() {
    let (app, admin, _) = start().await;
    let own = given::tenant(&app, "tnt_own", OPERATOR).await;
    let id = given::draft(&app, &admin, &own, "100").await;
    finalize(&app, &admin, id).await;
    let rows = app.db().await.query_one("SELECT count(*) FROM ledger_entries WHERE account LIKE 'partner_%'", &[]).await;
    assert_eq!(rows.expect("a count").get::<_, i64>(0), 0);
    verified(&app).await;
}

#[tokio::test]
async fn the_list_is_filtered_and_walked() {
    let (app, admin, tenant) = start().await;
    let south = given::tenant(&app, "tnt_south", "prt_south").await;
    let mut all = Vec::new();
    for index in 0..5 {
        let who = if index == 4 { &south } else { &tenant };
        all.push(given::draft(&app, &admin, who, "100").await);
    }
    let issued = finalize(&app, &admin, all[1]).await;
    agrees(&issued);
    let newest: Vec<Value> = all.iter().rev().map(|id| json!(id)).collect();
    assert_eq!(walk(&app, &admin, INVOICES, "status=draft", "id").await, newest);
    let found = async |filter: &str| {
        let data = app.call("GET", &format!("{INVOICES}?{filter}")).token(&admin).send().await.data(200);
        data.as_array().map_or(0, Vec::len)
    };
    for (filter, count) in [
        ("status=draft", 4),
        ("status=finalized", 1),
        ("status=void", 0),
        ("document_type=invoice", 5),
        ("document_type=credit_note", 0),
        ("tenant_id=tnt_south", 1),
        ("tenant_id=tnt_nobody", 0),
        ("partner_id=prt_north", 4),
        ("partner_id=prt_north&tenant_id=tnt_south", 0),
        ("q=2026-000001", 1),
        ("q=customer%20TNT_ACME", 1),
        ("q=%25", 0),
        ("from=2026-03-10&to=2026-03-10", 1),
        ("from=2026-03-11", 0),
        ("to=2026-03-09", 0),
    ] {
        assert_eq!(found(filter).await, count, "{filter}");
    }
    let get = async |filter: &str| app.call("GET", &format!("{INVOICES}?{filter}")).token(&admin).send().await;
    get("from=2026-03-11&to=2026-03-10").await.refused(400).names("from");
    get("status=new").await.refused(400).names("status");
    get("document_type=bill").await.refused(400).names("document_type");
    app.call("GET", &format!("{INVOICES}/nothing")).token(&admin).send().await.refused(404);
    app.call("GET", &format!("{INVOICES}/{}", Uuid::now_v7())).token(&admin).send().await.refused(404);
}
