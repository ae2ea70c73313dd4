//! Credit notes and void documents: what is taken back of an invoice, to the cent, and what becomes of what it billed.
use crate::admin_billing::{INVOICES, create, line, start};
use crate::payments::{ask, issued, paid, stands};
use crate::support::{agrees, cents, each, finalize, get, run, uuid, verified};
use chrono::TimeDelta;
use scaicontrol_tests::given::{self, Tenant};
use scaicontrol_tests::{TestApp, body};
use scaicontrol_types as types;
use serde_json::{Value, json};
use uuid::Uuid;

async fn credit(app: &TestApp, token: &str, id: Uuid, asked: &Value) -> Value {
    let note = ask(app, token, id, "credit-note", asked).send().await.data(201);
    agrees(&note);
    note
}

/// An issued invoice of three lines: two at 21 %, one of them with a divisor, and one at 9 %.
async fn mixed(app: &TestApp, token: &str, tenant: &Tenant) -> Value {
    let lines = json!([
        {"description": "a", "quantity": "3", "unit_price_cents": "3333", "unit_label": "hour", "period_start": "2026-02-01", "period_end": "2026-02-28"},
        {"description": "b", "quantity": "2500", "unit_price_cents": "7", "unit_divisor": "100"},
        {"description": "c", "quantity": "1", "unit_price_cents": "4999", "tax_rate": "9"},
    ]);
    let id = uuid(&create(app, token, tenant, lines).await["id"]);
    finalize(app, token, id).await
}

#[tokio::test]
async fn a_whole_invoice_is_taken_back_as_it_was() {
    let (app, admin, tenant) = start().await;
    let invoice = mixed(&app, &admin, &tenant).await;
    let id = uuid(&invoice["id"]);
    // What changes afterwards is not on the note.
    let moved = json!({"legal_name": "Anders B.V.", "invoice_number_prefix": "NEW"});
    let operator = app.operator("super_admin");
    let path = "/api/v1/admin/partners/prt_north";
    app.call("PATCH", path).token(&operator).json(&moved).send().await.expect(200);
    app.advance(TimeDelta::days(2)).await;
    let client = app.client(&admin);
    let asked: types::CreditNoteCreateRequest = body(json!({"reason": "Wrong customer"}));
    let made =
        client.admin_invoice_credit_note_create().invoice_id(id).body(asked).send().await.expect("a note");
    let note = get(&app, &admin, made.into_inner().data.id).await;
    agrees(&note);
    assert_eq!(
        (&note["document_type"], &note["number"]),
        (&json!("credit_note"), &json!("NEW-CN-2026-000001"))
    );
    assert_eq!((&note["status"], &note["notes"]), (&json!("finalized"), &json!("Wrong customer")));
    assert_eq!((&note["issue_date"], &note["referenced_invoice_id"]), (&json!("2026-03-12"), &invoice["id"]));
    for field in ["subtotal_cents", "tax_cents", "total_cents"] {
        assert_eq!(cents(&note[field]), -cents(&invoice[field]), "{field}");
    }
    assert_eq!(stands(&note), (0, cents(&note["total_cents"]), 0, "finalized".into()));
    for field in ["buyer_snapshot", "seller_snapshot", "currency", "partner_id", "tenant_id"] {
        assert_eq!(note[field], invoice[field], "{field}");
    }
    let (lines, of) =
        (note["line_items"].as_array().expect("lines"), invoice["line_items"].as_array().expect("lines"));
    assert_eq!(lines.len(), of.len());
    for (line, of) in lines.iter().zip(of) {
        for field in [
            "description",
            "unit_price_cents",
            "unit_label",
            "tax_rate",
            "tax_category",
            "kind",
            "period_start",
        ] {
            assert_eq!(line[field], of[field], "{field}");
        }
        assert_eq!(cents(&line["amount_cents"]), -cents(&of["amount_cents"]));
        assert_eq!(cents(&line["tax_cents"]), -cents(&of["tax_cents"]));
        assert_eq!(
            line["quantity"].as_str().map(str::to_owned),
            of["quantity"].as_str().map(|q| format!("-{q}"))
        );
        assert_eq!(line["explanation"]["line_item_id"], of["id"]);
    }
    assert_eq!(stands(&get(&app, &admin, id).await), (0, cents(&invoice["total_cents"]), 0, "paid".into()));
    ask(&app, &admin, id, "credit-note", &json!({"reason": "x"})).send().await.refused(409).says("in full");
    verified(&app).await;
    // The tenant sees it in its list; it is final like every document.
    let list = app.call("GET", "/api/v1/billing/invoices").token(&tenant.admin).send().await.data(200);
    assert_eq!(each(&list, "id"), [&note["id"], &invoice["id"]]);
    let number = uuid(&note["id"]);
    for (what, asked) in [
        ("credit-note", json!({"reason": "x"})),
        ("refund", json!({"reason": "x"})),
        ("void", json!({"reason": "x"})),
        ("mark-paid", paid(None, "cash")),
    ] {
        ask(&app, &admin, number, what, &asked).send().await.refused(409).says("credit note");
    }
}

#[tokio::test]
async fn parts_add_up_to_the_whole_to_the_cent() {
    let (app, admin, tenant) = start().await;
    let invoice = mixed(&app, &admin, &tenant).await;
    let id = uuid(&invoice["id"]);
    let of = |index: usize| invoice["line_items"][index]["id"].clone();
    let mut notes = vec![];
    for lines in [
        json!([{"line_item_id": of(0), "amount_cents": 1}, {"line_item_id": of(2), "amount_cents": 17}]),
        json!([{"line_item_id": of(0), "amount_cents": 1}]),
        json!([{"line_item_id": of(0), "amount_cents": 1}]),
        json!([{"line_item_id": of(1)}]),
    ] {
        notes.push(credit(&app, &admin, id, &json!({"reason": "part", "lines": lines})).await);
        verified(&app).await;
    }
    // 21 % of one and of two cents is nothing, of three cents one.
    let taxes: Vec<i64> = notes[..3].iter().map(|n| cents(&n["line_items"][0]["tax_cents"])).collect();
    assert_eq!(taxes, [0, 0, -1]);
    assert_eq!(notes[3]["line_items"][0]["quantity"], "-2500", "a whole line looks like the original");
    assert_eq!(notes[0]["line_items"][1]["quantity"], "-1", "a part is one piece");
    notes.push(credit(&app, &admin, id, &json!({"reason": "the rest"})).await);
    for field in ["subtotal_cents", "tax_cents", "total_cents"] {
        let sum: i64 = notes.iter().map(|n| cents(&n[field])).sum();
        assert_eq!(sum, -cents(&invoice[field]), "{field}");
    }
    assert_eq!(stands(&get(&app, &admin, id).await), (0, cents(&invoice["total_cents"]), 0, "paid".into()));
    verified(&app).await;
}

#[tokio::test]
async fn what_is_due_comes_first_and_settle_says_where_the_rest_goes() {
    let (app, admin, tenant) = start().await;
    let credit_of = async || {
        let row = app
            .db()
            .await
            .query_one("SELECT COALESCE(sum(amount_cents), 0)::bigint FROM customer_credit_entries", &[])
            .await;
        row.expect("a sum").get::<_, i64>(0)
    };
    let part = async |id: Uuid, settle: Option<&str>, amount: i64| {
        let line = get(&app, &admin, id).await["line_items"][0]["id"].clone();
        let mut asked = json!({"reason": "x", "lines": [{"line_item_id": line, "amount_cents": amount}]});
        if let Some(settle) = settle {
            asked["settle"] = json!(settle);
        }
        ask(&app, &admin, id, "credit-note", &asked).send().await
    };
    let id = issued(&app, &admin, &tenant, "10000").await;
    part(id, Some("refund"), 100).await.refused(409).says("no money is held");
    ask(&app, &admin, id, "mark-paid", &paid(Some(6050), "bank_transfer")).send().await.data(200);
    part(id, None, 5000).await.data(201);
    assert_eq!(stands(&get(&app, &admin, id).await), (6050, 6050, 0, "paid".into()));
    assert_eq!(credit_of().await, 0);
    part(id, Some("apply"), 1000).await.data(201);
    assert_eq!(credit_of().await, 1210);
    part(id, Some("customer_credit"), 1000).await.data(201);
    assert_eq!(credit_of().await, 2420);
    part(id, Some("refund"), 1000).await.data(201);
    assert_eq!(credit_of().await, 2420);
    let invoice = get(&app, &admin, id).await;
    assert_eq!(stands(&invoice), (2420, 9680, 0, "paid".into()));
    assert_eq!(each(&invoice["payments"], "kind"), [&json!("payment"), &json!("refund")]);
    assert_eq!(each(&invoice["payments"], "refunded_cents"), [&json!(1210), &json!(0)]);
    verified(&app).await;
    // What credit had paid is not money: it becomes credit again, refund or not.
    let second = issued(&app, &admin, &tenant, "10000").await;
    assert_eq!(stands(&get(&app, &admin, second).await), (2420, 0, 9680, "finalized".into()));
    ask(&app, &admin, second, "mark-paid", &paid(None, "cash")).send().await.data(200);
    credit(&app, &admin, second, &json!({"reason": "x", "settle": "refund"})).await;
    assert_eq!(credit_of().await, 2420);
    let payments = get(&app, &admin, second).await["payments"].clone();
    assert_eq!(each(&payments, "amount_cents"), [&json!(2420), &json!(9680), &json!(9680)]);
    verified(&app).await;
}

#[tokio::test]
async fn what_a_credit_note_refuses() {
    let (app, admin, tenant) = start().await;
    let invoice = mixed(&app, &admin, &tenant).await;
    let id = uuid(&invoice["id"]);
    let of = |index: usize| invoice["line_items"][index]["id"].clone();
    let call = async |asked: Value| ask(&app, &admin, id, "credit-note", &asked).send().await;
    for (field, lines) in [
        ("lines.0.line_item_id", json!([{"line_item_id": Uuid::now_v7()}])),
        (
            "lines.1.line_item_id",
            json!([{"line_item_id": of(0)}, {"line_item_id": of(0), "amount_cents": 1}]),
        ),
        (
            "lines.1.amount_cents",
            json!([{"line_item_id": of(0)}, {"line_item_id": of(1), "amount_cents": 176}]),
        ),
        ("lines.0.amount_cents", json!([{"line_item_id": of(0), "amount_cents": 0}])),
        ("lines", json!([])),
    ] {
        call(json!({"reason": "x", "lines": lines})).await.refused(400).names(field);
    }
    call(json!({})).await.refused(400).names("reason");
    call(json!({"reason": ""})).await.refused(400).names("reason");
    call(json!({"reason": "x", "settle": "cash"})).await.refused(400).names("settle");
    call(json!({"reason": "x", "amount_cents": 5})).await.refused(400).names("amount_cents");
    credit(&app, &admin, id, &json!({"reason": "x", "lines": [{"line_item_id": of(1)}]})).await;
    call(json!({"reason": "x", "lines": [{"line_item_id": of(1)}]}))
        .await
        .refused(400)
        .names("lines.0.line_item_id");
    let path = format!("{INVOICES}/{}/credit-note", Uuid::now_v7());
    app.call("POST", &path).token(&admin).json(&json!({"reason": "x"})).send().await.refused(404);
    let draft = given::draft(&app, &admin, &tenant, "100").await;
    ask(&app, &admin, draft, "credit-note", &json!({"reason": "x"})).send().await.refused(409).says("draft");
    // An invoice of nothing has nothing to take back.
    let nothing = uuid(&create(&app, &admin, &tenant, json!([line("free", "1", "0")])).await["id"]);
    finalize(&app, &admin, nothing).await;
    ask(&app, &admin, nothing, "credit-note", &json!({"reason": "x"}))
        .send()
        .await
        .refused(409)
        .says("in full");
    // No number was lost on the way.
    let rows = app
        .db()
        .await
        .query_one("SELECT last_value FROM invoice_counters WHERE series = 'credit_note'", &[])
        .await;
    assert_eq!(rows.expect("a counter").get::<_, i64>(0), 1);
    verified(&app).await;
}

#[tokio::test]
async fn credit_lines_of_an_invoice_are_taken_back_with_it() {
    let (app, admin, tenant) = start().await;
    let lines = json!([line("a", "1", "10000"), line("discount", "-1", "4000")]);
    let id = uuid(&create(&app, &admin, &tenant, lines).await["id"]);
    let invoice = finalize(&app, &admin, id).await;
    let of = |index: usize| invoice["line_items"][index]["id"].clone();
    let only = |lines: Value| json!({"reason": "x", "lines": lines});
    let call = async |asked: Value| ask(&app, &admin, id, "credit-note", &asked).send().await;
    call(only(json!([{"line_item_id": of(0)}]))).await.refused(400).names("lines");
    call(only(json!([{"line_item_id": of(1)}]))).await.refused(400).names("lines");
    let asked = only(
        json!([{"line_item_id": of(0), "amount_cents": 6000}, {"line_item_id": of(1), "amount_cents": 1000}]),
    );
    let note = credit(&app, &admin, id, &asked).await;
    assert_eq!(each(&note["line_items"], "amount_cents"), [&json!(-6000), &json!(1000)]);
    let rest = credit(&app, &admin, id, &json!({"reason": "rest"})).await;
    assert_eq!(cents(&note["total_cents"]) + cents(&rest["total_cents"]), -cents(&invoice["total_cents"]));
    verified(&app).await;
}

#[tokio::test]
async fn the_platform_gives_its_part_back_pro_rata() {
    let (app, admin, tenant) = start().await;
    let service = given::service(&app, "scaivault").await;
    let plan = given::plan(&app, &service, "pro", 4999).await;
    given::subscription(&app, &tenant, &plan, 1).await;
    let id = uuid(&run(&app, &admin, &tenant.id).await["invoices"][0]["invoice_id"]);
    let invoice = finalize(&app, &admin, id).await;
    let db = app.db().await;
    let cost = async || {
        let sum = "SELECT COALESCE(sum(amount_cents), 0)::bigint FROM ledger_entries WHERE account LIKE 'partner\\_cost%'";
        db.query_one(sum, &[]).await.expect("a sum").get::<_, i64>(0)
    };
    assert_eq!(cost().await, 4999);
    // Another price from now on changes nothing of what was issued.
    let settings = r#"UPDATE platform_settings SET data = '{"cost_multipliers": {"*": "0.1"}}'"#;
    db.execute(settings, &[]).await.expect("set");
    let line = &invoice["line_items"][0]["id"];
    let part = json!({"reason": "x", "lines": [{"line_item_id": line, "amount_cents": 1000}]});
    credit(&app, &admin, id, &part).await;
    assert_eq!(cost().await, 3999);
    credit(&app, &admin, id, &json!({"reason": "rest"})).await;
    assert_eq!(cost().await, 0);
    verified(&app).await;
}

#[tokio::test]
async fn tax_in_another_currency_is_taken_back_in_parts_too() {
    let (app, admin, tenant) = start().await;
    let settings = r#"UPDATE platform_settings SET data = '{"exchange_rates": [{"currency": "USD", "date": "2026-03-09", "rate": "1.0837"}]}'"#;
    app.db().await.execute(settings, &[]).await.expect("set");
    let asked = json!({"tenant_id": tenant.id, "currency": "USD", "line_items": [line("a", "1", "9999")]});
    let id = uuid(&app.call("POST", INVOICES).token(&admin).json(&asked).send().await.data(201)["id"]);
    let invoice = finalize(&app, &admin, id).await;
    let stated = cents(&invoice["vat_details"]["tax_currency_tax_cents"]);
    assert_eq!((cents(&invoice["tax_cents"]), stated), (2100, 1938));
    let line = invoice["line_items"][0]["id"].clone();
    let mut back = 0;
    for amount in [1, 3333, 2222] {
        let asked = json!({"reason": "x", "lines": [{"line_item_id": line, "amount_cents": amount}]});
        back += cents(&credit(&app, &admin, id, &asked).await["vat_details"]["tax_currency_tax_cents"]);
    }
    let rest = credit(&app, &admin, id, &json!({"reason": "x"})).await;
    assert_eq!(rest["vat_details"]["tax_currency"], "EUR");
    assert_eq!(back + cents(&rest["vat_details"]["tax_currency_tax_cents"]), -stated);
    verified(&app).await;
}

#[tokio::test]
async fn a_void_invoice_has_a_full_credit_note() {
    let (app, admin, tenant) = start().await;
    let invoice = mixed(&app, &admin, &tenant).await;
    let id = uuid(&invoice["id"]);
    let void = async |id: Uuid, asked: Value| ask(&app, &admin, id, "void", &asked).send().await;
    void(id, json!({"reason": "x", "waive": true})).await.refused(400).names("waive");
    void(id, json!({})).await.refused(400).names("reason");
    void(Uuid::now_v7(), json!({"reason": "x"})).await.refused(404);
    let client = app.client(&admin);
    let asked: types::InvoiceVoidRequest = body(json!({"reason": "Wrong legal entity"}));
    let done = client.admin_invoice_void().invoice_id(id).body(asked).send().await.expect("void");
    let done = done.into_inner().data;
    let total = cents(&invoice["total_cents"]);
    assert_eq!((done.invoice.status, done.invoice.due_cents), (types::InvoiceStatus::Void, 0));
    assert_eq!((done.invoice.credited_cents, done.invoice.paid_at), (total, None));
    assert_eq!(done.invoice.voided_at.map(|t| t.to_rfc3339()).as_deref(), Some("2026-03-10T09:00:00+00:00"));
    let note = done.credit_note.expect("a credit note");
    assert_eq!((note.total_cents, note.number.as_deref()), (-total, Some("SCAI-CN-2026-000001")));
    void(id, json!({"reason": "x"})).await.refused(409).says("void");
    // Nothing of it may be paid or credited.
    let second = issued(&app, &admin, &tenant, "10000").await;
    ask(&app, &admin, second, "mark-paid", &paid(Some(1), "cash")).send().await.data(200);
    void(second, json!({"reason": "x"})).await.refused(409).says("paid or credited");
    ask(&app, &admin, second, "mark-paid", &paid(None, "cash")).send().await.data(200);
    void(second, json!({"reason": "x"})).await.refused(409).says("paid");
    let third = mixed(&app, &admin, &tenant).await;
    let one = json!({"reason": "x", "lines": [{"line_item_id": third["line_items"][1]["id"]}]});
    credit(&app, &admin, uuid(&third["id"]), &one).await;
    void(uuid(&third["id"]), json!({"reason": "x"})).await.refused(409).says("paid or credited");
    verified(&app).await;
}

#[tokio::test]
async fn what_a_void_invoice_billed_is_billed_once_more_and_only_when_asked() {
    let (app, admin, tenant) = start().await;
    let service = crate::support::service(&app, "vault").await;
    let plan = given::plan(&app, &service, "pro", 4900).await;
    given::tiers(&app, &plan, &json!([crate::support::flat("calls", "10")])).await;
    given::subscription(&app, &tenant, &plan, 1).await;
    crate::support::used(&app, &service, &tenant, &[("calls", "7")]).await;
    app.advance(TimeDelta::days(40)).await;
    let billed = async || {
        let made = run(&app, &admin, &tenant.id).await;
        made["invoices"].as_array().expect("invoices").clone()
    };
    let first = billed().await;
    assert_eq!(first.iter().map(|i| cents(&i["subtotal_cents"])).collect::<Vec<_>>(), [4900, 4970]);
    let ids: Vec<Uuid> = first.iter().map(|i| uuid(&i["invoice_id"])).collect();
    for id in &ids {
        finalize(&app, &admin, *id).await;
    }
    let void = async |id: Uuid, rebill: bool| {
        let asked = json!({"reason": "x", "rebill": rebill});
        ask(&app, &admin, id, "void", &asked).send().await.data(200)
    };
    void(ids[0], false).await;
    assert!(billed().await.is_empty(), "it stays billed");
    let mut last = ids[1];
    for _ in 0..2 {
        void(last, true).await;
        verified(&app).await;
        let again = billed().await;
        assert_eq!(again.iter().map(|i| cents(&i["subtotal_cents"])).collect::<Vec<_>>(), [4970], "once");
        assert_eq!(again[0]["invoice_date"], first[1]["invoice_date"]);
        assert!(billed().await.is_empty());
        last = uuid(&again[0]["invoice_id"]);
        finalize(&app, &admin, last).await;
        verified(&app).await;
    }
}

#[tokio::test]
async fn a_draft_is_discarded_and_what_it_billed_is_free_or_waived() {
    let (app, admin, tenant) = start().await;
    let service = given::service(&app, "scaivault").await;
    let plan = given::plan(&app, &service, "pro", 4900).await;
    given::subscription(&app, &tenant, &plan, 1).await;
    // What its seller lacks keeps a draft a draft.
    app.db().await.execute("UPDATE partners SET legal_name = NULL", &[]).await.expect("no seller");
    let draft = async || {
        let made = run(&app, &admin, &tenant.id).await;
        made["invoices"].as_array().expect("invoices").first().map(|i| uuid(&i["invoice_id"]))
    };
    let first = draft().await.expect("a draft");
    let void = async |id: Uuid, asked: Value| ask(&app, &admin, id, "void", &asked).send().await;
    void(first, json!({"reason": "x", "rebill": true})).await.refused(400).names("rebill");
    let done = void(first, json!({"reason": "x"})).await.data(200);
    assert_eq!((&done["invoice"]["status"], &done["invoice"]["number"]), (&json!("void"), &Value::Null));
    assert_eq!(done["credit_note"], Value::Null);
    let seen = get(&app, &admin, first).await;
    assert_eq!(seen["line_items"].as_array().map(Vec::len), Some(1), "it can still be looked at");
    let path = format!("/api/v1/billing/invoices/{first}");
    app.call("GET", &path).token(&tenant.admin).send().await.refused(404);
    for what in ["void", "finalize", "mark-paid", "refund", "credit-note"] {
        let asked = if what == "mark-paid" { paid(None, "cash") } else { json!({"reason": "x"}) };
        let call = if what == "finalize" {
            app.call("POST", &format!("{INVOICES}/{first}/finalize")).token(&admin)
        } else {
            ask(&app, &admin, first, what, &asked)
        };
        call.send().await.refused(409);
    }
    verified(&app).await;
    let second = draft().await.expect("what it billed is free");
    void(second, json!({"reason": "x", "waive": true})).await.data(200);
    assert_eq!(draft().await, None, "and now it is waived");
    verified(&app).await;
}
