//! Drafts by hand, and what becomes of them: everything that can be refused before an invoice gets its number,
//! and that nothing changes it afterwards. Its VAT has a module of its own.
use crate::support::{agrees, cents, difference, each, finalize, get, uuid, verified, walk};
use scaicontrol_tests::given::{self, Tenant};
use scaicontrol_tests::{OPERATOR, TestApp, body};
use scaicontrol_types as types;
use serde_json::{Value, json};
use uuid::Uuid;

/// Where they are.
pub const INVOICES: &str = "/api/v1/admin/invoices";

/// A server with a tenant, and a token of the operator's finance.
pub async fn start() -> (TestApp, String, Tenant) {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let admin = app.operator("billing_admin");
    (app, admin, tenant)
}

/// A line of a draft.
pub fn line(description: &str, quantity: &str, price: &str) -> Value {
    json!({"description": description, "quantity": quantity, "unit_price_cents": price})
}

/// A draft of these lines.
pub async fn create(app: &TestApp, token: &str, tenant: &Tenant, lines: Value) -> Value {
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

/// The same with some fields of its own.
pub fn changed(mut line: Value, fields: &Value) -> Value {
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
    assert_eq!(
        (made.subtotal_cents, made.tax_cents, made.total_cents, made.due_cents),
        (1650, 0, 1650, 1650)
    );
    assert!(made.line_items.iter().all(|l| l.kind == types::LineItemKind::Manual));

    let sorted =
        client.admin_invoice_lines_sort().invoice_id(made.id).send().await.expect("sorted").into_inner().data;
    let order: Vec<&str> = sorted.line_items.iter().map(|l| l.description.as_str()).collect();
    assert_eq!(order, ["28-02-2026 earlier", "03-03-2026 later", "no date", "31-02-2026 no such day"]);

    let ids: Vec<Uuid> = sorted.line_items.iter().rev().map(|l| l.id).collect();
    let asked: types::LineItemOrderRequest = body(json!({"line_item_ids": ids}));
    let ordered =
        client.admin_invoice_lines_order().invoice_id(made.id).body(asked).send().await.expect("ordered");
    let ordered = ordered.into_inner().data;
    assert_eq!(ordered.line_items.iter().map(|l| l.id).collect::<Vec<_>>(), ids);
    assert_eq!(ordered.line_items.iter().map(|l| l.order_index).collect::<Vec<_>>(), [0, 1, 2, 3]);

    // The first line stays as it is, the second changes its price, two are dropped, one is new.
    let asked: types::AdminInvoiceUpdateRequest = body(json!({
        "notes": null, "due_date": "2026-05-01",
        "line_items": [{"id": ids[0]}, {"id": ids[1], "unit_price_cents": "2000"}, line("new", "1", "5")],
    }));
    let updated =
        client.admin_invoice_update().invoice_id(made.id).body(asked).send().await.expect("updated");
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
    let rows = db
        .query("SELECT operation FROM audit_log WHERE object_type = 'invoice' ORDER BY 1", &[])
        .await
        .expect("audit");
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
    let issued =
        client.admin_invoice_finalize().invoice_id(id).send().await.expect("issued").into_inner().data;
    assert_eq!(issued.number.as_deref(), Some("SCAI-2026-000001"));
    assert_eq!(
        (issued.subtotal_cents, issued.tax_cents, issued.total_cents, issued.due_cents),
        (10000, 2100, 12100, 12100)
    );
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
        (
            "invoices",
            "subtotal_cents = subtotal_cents + 1, tax_cents = tax_cents - 1",
            "subtotal_cents = subtotal_cents - 1, tax_cents = tax_cents + 1",
            "a document's sums are those of its lines",
        ),
        (
            "invoices",
            "paid_cents = 1, due_cents = due_cents - 1",
            "paid_cents = 0, due_cents = due_cents + 1",
            "what is owed by the documents is what the ledger says is receivable",
        ),
        (
            "invoices",
            "issue_date = issue_date + 365",
            "issue_date = issue_date - 365",
            "every number's year is that of the issue date",
        ),
        (
            "invoices",
            "number = 'SCAI-2026-000009'",
            "number = 'SCAI-2026-000001'",
            "every number belongs to the document that shows it",
        ),
        (
            "invoice_lines",
            "amount_cents = amount_cents + 1",
            "amount_cents = amount_cents - 1",
            "a document's sums are those of its lines",
        ),
        ("invoice_numbers", "value = 2", "value = 1", "numbers run from 1 without a gap in every series"),
        (
            "ledger_entries",
            "amount_cents = amount_cents * 2",
            "amount_cents = amount_cents / 2",
            "every issued document is in the ledger with its total, tax and net revenue",
        ),
        (
            "ledger_entries",
            "amount_cents = amount_cents + entry_no + 1",
            "amount_cents = amount_cents - entry_no - 1",
            "every journal sums to zero in every currency",
        ),
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

#[tokio::test]
async fn a_tenant_without_profile_cannot_be_invoiced() {
    let app = TestApp::start().await;
    given::partner(&app, "prt_north").await;
    let token = app.token("tenant_admin", "tnt_new", "prt_north");
    app.call("GET", "/api/v1/billing/invoices").token(&token).send().await.expect(200);
    let admin = app.operator("billing_admin");
    let tenant =
        Tenant { id: "tnt_new".into(), partner: "prt_north".into(), admin: token.clone(), member: token };
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
    app.call("PATCH", "/api/v1/admin/partners/prt_north")
        .token(&operator)
        .json(&prefix)
        .send()
        .await
        .expect(200);
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
    let rows = app
        .db()
        .await
        .query_one("SELECT count(*) FROM ledger_entries WHERE account LIKE 'partner_%'", &[])
        .await;
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
    let get =
        async |filter: &str| app.call("GET", &format!("{INVOICES}?{filter}")).token(&admin).send().await;
    get("from=2026-03-11&to=2026-03-10").await.refused(400).names("from");
    get("status=new").await.refused(400).names("status");
    get("document_type=bill").await.refused(400).names("document_type");
    app.call("GET", &format!("{INVOICES}/nothing")).token(&admin).send().await.refused(404);
    app.call("GET", &format!("{INVOICES}/{}", Uuid::now_v7())).token(&admin).send().await.refused(404);
}
