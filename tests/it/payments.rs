//! Money that comes in for an invoice and goes out again: marked as paid, given up, kept as credit, sent back.
use crate::admin_billing::{INVOICES, create, line, start};
use crate::support::{cents, each, finalize, get, uuid, verified, walk};
use chrono::TimeDelta;
use scaicontrol_tests::given::{self, Tenant};
use scaicontrol_tests::raw::Call;
use scaicontrol_tests::{TestApp, body};
use scaicontrol_types as types;
use serde_json::{Value, json};
use uuid::Uuid;

const PAYMENTS: &str = "/api/v1/admin/billing/payments";

/// A call of what is done to an invoice.
pub fn ask(app: &TestApp, token: &str, id: Uuid, what: &str, asked: &Value) -> Call {
    app.call("POST", &format!("{INVOICES}/{id}/{what}")).token(token).json(asked)
}

/// A payment by hand, of all that is due when no amount is given.
pub fn paid(amount: Option<i64>, method: &str) -> Value {
    let mut asked = json!({"paid_at": "2026-03-10T00:00:00Z", "reference": "NL91 10-03", "method": method});
    if let Some(amount) = amount {
        asked["amount_cents"] = json!(amount);
    }
    asked
}

/// An issued invoice of one line at 21 %.
pub async fn issued(app: &TestApp, token: &str, tenant: &Tenant, price: &str) -> Uuid {
    let id = given::draft(app, token, tenant, price).await;
    finalize(app, token, id).await;
    id
}

/// Paid, credited and due of an invoice, and its state.
pub fn stands(invoice: &Value) -> (i64, i64, i64, String) {
    let state = invoice["status"].as_str().unwrap_or_default().to_owned();
    (cents(&invoice["paid_cents"]), cents(&invoice["credited_cents"]), cents(&invoice["due_cents"]), state)
}

fn standing(paid: i64, credited: i64, due: i64, state: &str) -> (i64, i64, i64, String) {
    (paid, credited, due, state.to_owned())
}

#[tokio::test]
async fn a_part_keeps_the_state_and_the_last_part_pays() {
    let (app, admin, tenant) = start().await;
    let id = issued(&app, &admin, &tenant, "10000").await;
    let client = app.client(&admin);
    let asked: types::InvoiceMarkPaidRequest = body(paid(Some(2100), "bank_transfer"));
    let part = client.admin_invoice_mark_paid().invoice_id(id).body(asked).send().await.expect("a part");
    let part = part.into_inner().data;
    assert_eq!((part.paid_cents, part.due_cents, part.paid_at), (2100, 10000, None));
    assert_eq!(part.status, types::InvoiceStatus::Finalized);
    assert_eq!(part.line_items.len(), 1);
    app.advance(TimeDelta::hours(1)).await;
    let rest = ask(&app, &admin, id, "mark-paid", &paid(None, "cash")).send().await.data(200);
    assert_eq!(stands(&rest), standing(12100, 0, 0, "paid"));
    assert_eq!(rest["paid_at"], "2026-03-10T00:00:00Z", "when the money came in");
    assert_eq!(each(&rest["payments"], "amount_cents"), [&json!(2100), &json!(10000)]);
    assert_eq!(each(&rest["payments"], "method_type"), [&json!("bank_transfer"), &json!("cash")]);
    for payment in rest["payments"].as_array().expect("payments") {
        assert_eq!((&payment["kind"], &payment["status"]), (&json!("payment"), &json!("succeeded")));
        assert_eq!((&payment["provider"], &payment["reference"]), (&json!("manual"), &json!("NL91 10-03")));
        assert_eq!(payment["refunded_cents"], 0);
    }
    // The tenant sees the same.
    let path = format!("/api/v1/billing/invoices/{id}");
    let seen = app.call("GET", &path).token(&tenant.admin).send().await.data(200);
    assert_eq!(seen["payments"], rest["payments"]);
    ask(&app, &admin, id, "mark-paid", &paid(None, "cash")).send().await.refused(409).says("nothing is due");
    let db = app.db().await;
    let audits =
        "SELECT count(*) FROM audit_log WHERE operation = 'admin_invoice_mark_paid' AND before IS NOT NULL";
    assert_eq!(db.query_one(audits, &[]).await.expect("a count").get::<_, i64>(0), 2);
    verified(&app).await;
}

#[tokio::test]
async fn what_a_payment_refuses() {
    let (app, admin, tenant) = start().await;
    let draft = given::draft(&app, &admin, &tenant, "10000").await;
    let call = async |id: Uuid, asked: &Value| ask(&app, &admin, id, "mark-paid", asked).send().await;
    call(draft, &paid(None, "cash")).await.refused(409).says("draft");
    call(Uuid::now_v7(), &paid(None, "cash")).await.refused(404);
    let id = issued(&app, &admin, &tenant, "10000").await;
    for (field, name, value) in [
        ("paid_at", "paid_at", json!("2026-03-10T09:00:01Z")),
        ("amount_cents", "amount_cents", json!(0)),
        ("amount_cents", "amount_cents", json!(-1)),
        ("amount_cents", "amount_cents", json!(900_719_925_474_100_i64)),
        ("method", "method", json!("stripe")),
        ("reference", "reference", json!("")),
        ("status", "status", json!("paid")),
    ] {
        let mut asked = paid(None, "bank_transfer");
        asked[name] = value;
        call(id, &asked).await.refused(400).names(field);
    }
    call(id, &paid(Some(12101), "write_off")).await.refused(400).names("amount_cents");
    let note = ask(&app, &admin, id, "credit-note", &json!({"reason": "wrong"})).send().await.data(201);
    call(uuid(&note["id"]), &paid(None, "cash")).await.refused(409).says("credit note");
    let second = issued(&app, &admin, &tenant, "10000").await;
    ask(&app, &admin, second, "void", &json!({"reason": "wrong"})).send().await.data(200);
    call(second, &paid(None, "cash")).await.refused(409).says("void");
    // Whatever the amounts, the books stay whole: the largest there is on top of what is due.
    let third = issued(&app, &admin, &tenant, "10000").await;
    let most = call(third, &paid(Some(900_719_925_474_099), "bank_transfer")).await.data(200);
    assert_eq!(stands(&most), standing(12100, 0, 0, "paid"));
    verified(&app).await;
}

#[tokio::test]
async fn a_debt_that_is_given_up_is_settled_and_given_to_nobody() {
    let (app, admin, tenant) = start().await;
    let id = issued(&app, &admin, &tenant, "10000").await;
    ask(&app, &admin, id, "mark-paid", &paid(Some(6000), "bank_transfer")).send().await.data(200);
    let part = ask(&app, &admin, id, "mark-paid", &paid(Some(100), "write_off")).send().await.data(200);
    assert_eq!(stands(&part), standing(6100, 0, 6000, "finalized"));
    let rest = ask(&app, &admin, id, "mark-paid", &paid(None, "write_off")).send().await.data(200);
    assert_eq!(stands(&rest), standing(12100, 0, 0, "paid"));
    verified(&app).await;
    // The whole invoice was wrong: the loss is taken back, and only what was paid is credit.
    ask(&app, &admin, id, "credit-note", &json!({"reason": "wrong"})).send().await.data(201);
    assert_eq!(stands(&get(&app, &admin, id).await), standing(0, 12100, 0, "paid"));
    let next = given::draft(&app, &admin, &tenant, "10000").await;
    assert_eq!(stands(&finalize(&app, &admin, next).await), standing(6000, 0, 6100, "finalized"));
    let db = app.db().await;
    let given_up =
        "SELECT COALESCE(sum(amount_cents), 0)::bigint FROM ledger_entries WHERE account = 'write_off'";
    assert_eq!(db.query_one(given_up, &[]).await.expect("a sum").get::<_, i64>(0), 0);
    verified(&app).await;
}

#[tokio::test]
async fn what_is_more_than_due_pays_the_next_invoices() {
    let (app, admin, tenant) = start().await;
    let first = issued(&app, &admin, &tenant, "10000").await;
    let over =
        ask(&app, &admin, first, "mark-paid", &paid(Some(15000), "bank_transfer")).send().await.data(200);
    assert_eq!(stands(&over), standing(12100, 0, 0, "paid"));
    app.advance(TimeDelta::days(1)).await;
    // A second lot, from a credit note.
    let second = issued(&app, &admin, &tenant, "1000").await;
    assert_eq!(
        stands(&get(&app, &admin, second).await),
        standing(1210, 0, 0, "paid"),
        "paid by the first lot"
    );
    ask(&app, &admin, second, "credit-note", &json!({"reason": "wrong"})).send().await.data(201);
    // 2900 − 1210 are left of the first lot, 1210 of the second: the older one goes first.
    let third = issued(&app, &admin, &tenant, "1500").await;
    let third = get(&app, &admin, third).await;
    assert_eq!(stands(&third), standing(1815, 0, 0, "paid"));
    assert_eq!(each(&third["payments"], "method_type"), [&json!("customer_credit")]);
    assert_eq!(third["payments"][0]["reference"], Value::Null);
    let db = app.db().await;
    let sql = "SELECT amount_cents, origin_invoice_id FROM customer_credit_entries WHERE used_invoice_id = $1 ORDER BY entry_id";
    let rows = db.query(sql, &[&uuid(&third["id"])]).await.expect("entries");
    let used: Vec<(i64, Uuid)> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
    assert_eq!(used, [(-1690, first), (-125, second)]);
    // Another currency, another tenant: nothing of it.
    let other = given::tenant(&app, "tnt_other", "prt_north").await;
    let theirs = issued(&app, &admin, &other, "10000").await;
    assert_eq!(stands(&get(&app, &admin, theirs).await), standing(0, 0, 12100, "finalized"));
    // What is left covers a part.
    let fourth = issued(&app, &admin, &tenant, "10000").await;
    assert_eq!(stands(&get(&app, &admin, fourth).await), standing(1085, 0, 11015, "finalized"));
    verified(&app).await;
}

#[tokio::test]
async fn a_refund_takes_credit_first_and_credits_the_rest() {
    let (app, admin, tenant) = start().await;
    let lines = json!([line("a", "1", "10000"), line("b", "3", "1000")]);
    let id = uuid(&create(&app, &admin, &tenant, lines).await["id"]);
    assert_eq!(cents(&finalize(&app, &admin, id).await["total_cents"]), 15730);
    let refund = async |asked: Value| ask(&app, &admin, id, "refund", &asked).send().await;
    refund(json!({"reason": "x"})).await.refused(409).says("no money was captured");
    ask(&app, &admin, id, "mark-paid", &paid(Some(10000), "bank_transfer")).send().await.data(200);
    ask(&app, &admin, id, "mark-paid", &paid(Some(7730), "cash")).send().await.data(200);
    refund(json!({"reason": "x", "amount_cents": 17731})).await.refused(400).names("amount_cents");
    refund(json!({"reason": "", "amount_cents": 1})).await.refused(400).names("reason");

    // 2000 are credit from the second payment: they go first, and no document is needed for them.
    let client = app.client(&admin);
    let asked: types::InvoiceRefundRequest = body(json!({"reason": "twice", "amount_cents": 1500}));
    let done = client.admin_invoice_refund().invoice_id(id).body(asked).send().await.expect("refunded");
    let done = done.into_inner().data;
    assert!(done.credit_note.is_none());
    assert_eq!(done.refunds.iter().map(|r| r.amount_cents).collect::<Vec<_>>(), [1500]);
    assert_eq!(done.refunds[0].method_type, types::PaymentMethodType::Cash, "the newest payment first");
    assert_eq!((done.invoice.paid_cents, done.invoice.status), (15730, types::InvoiceStatus::Paid));
    verified(&app).await;

    // 500 more of credit, and 7230 of the invoice itself: from both payments, with a credit note over both lines.
    let done = refund(json!({"reason": "not delivered", "amount_cents": 7730})).await.data(200);
    assert_eq!(each(&done["refunds"], "amount_cents"), [&json!(6230), &json!(1500)]);
    assert_eq!(each(&done["refunds"], "status"), [&json!("succeeded"), &json!("succeeded")]);
    assert_eq!(stands(&done["invoice"]), standing(8500, 7230, 0, "paid"));
    let note = get(&app, &admin, uuid(&done["credit_note"]["id"])).await;
    assert_eq!((cents(&note["total_cents"]), &note["notes"]), (-7230, &json!("not delivered")));
    crate::support::agrees(&note);
    assert_eq!(each(&note["line_items"], "amount_cents").len(), 2);
    let payments = get(&app, &admin, id).await["payments"].clone();
    assert_eq!(
        each(&payments, "refunded_cents"),
        [&json!(1500), &json!(7730), &json!(0), &json!(0), &json!(0)]
    );
    verified(&app).await;

    // All the rest, and then no more.
    let done = refund(json!({"reason": "the rest"})).await.data(200);
    assert_eq!(each(&done["refunds"], "amount_cents"), [&json!(8500)]);
    assert_eq!(stands(&done["invoice"]), standing(0, 15730, 0, "paid"));
    assert_eq!(cents(&done["credit_note"]["total_cents"]), -8500);
    refund(json!({"reason": "x"})).await.refused(409).says("refunded or used");
    verified(&app).await;
}

#[tokio::test]
async fn a_refund_of_a_part_that_was_paid_leaves_what_is_due() {
    let (app, admin, tenant) = start().await;
    let id = issued(&app, &admin, &tenant, "10000").await;
    ask(&app, &admin, id, "mark-paid", &paid(Some(6000), "bank_transfer")).send().await.data(200);
    let done = ask(&app, &admin, id, "refund", &json!({"reason": "x"})).send().await.data(200);
    assert_eq!(stands(&done["invoice"]), standing(0, 6000, 6100, "finalized"));
    // Of credit that has paid something else nothing goes back.
    let second = issued(&app, &admin, &tenant, "10000").await;
    ask(&app, &admin, second, "mark-paid", &paid(Some(20000), "bank_transfer")).send().await.data(200);
    let third = issued(&app, &admin, &tenant, "5000").await;
    assert_eq!(stands(&get(&app, &admin, third).await), standing(6050, 0, 0, "paid"));
    let asked = json!({"reason": "x", "amount_cents": 13951});
    ask(&app, &admin, second, "refund", &asked).send().await.refused(400).says("13950");
    let none = json!({"reason": "x"});
    ask(&app, &admin, third, "refund", &none).send().await.refused(409).says("no money was captured");
    let done = ask(&app, &admin, second, "refund", &none).send().await.data(200);
    assert_eq!(each(&done["refunds"], "amount_cents"), [&json!(13950)]);
    verified(&app).await;
}

#[tokio::test]
async fn a_repeat_under_the_same_key_moves_money_once() {
    let (app, admin, tenant) = start().await;
    let id = issued(&app, &admin, &tenant, "10000").await;
    for (what, asked) in [
        ("mark-paid", paid(Some(2000), "bank_transfer")),
        (
            "credit-note",
            json!({"reason": "x", "lines": [{"line_item_id": get(&app, &admin, id).await["line_items"][0]["id"], "amount_cents": 100}]}),
        ),
        ("refund", json!({"reason": "x", "amount_cents": 700})),
    ] {
        let call = || ask(&app, &admin, id, what, &asked).header("idempotency-key", "once").send();
        let status = if what == "credit-note" { 201 } else { 200 };
        let first = call().await.data(status);
        assert_eq!(call().await.data(status), first, "{what}");
    }
    let invoice = get(&app, &admin, id).await;
    assert_eq!(stands(&invoice), standing(1300, 821, 9979, "finalized"));
    verified(&app).await;
}

#[tokio::test]
async fn payments_are_listed_filtered_and_walked() {
    let (app, admin, tenant) = start().await;
    let south = given::tenant(&app, "tnt_south", "prt_south").await;
    let first = issued(&app, &admin, &tenant, "10000").await;
    ask(&app, &admin, first, "mark-paid", &paid(Some(13000), "bank_transfer")).send().await.data(200);
    app.advance(TimeDelta::days(1)).await;
    let second = issued(&app, &admin, &tenant, "10000").await;
    ask(&app, &admin, second, "mark-paid", &paid(Some(100), "write_off")).send().await.data(200);
    ask(&app, &admin, first, "refund", &json!({"reason": "x", "amount_cents": 50})).send().await.data(200);
    let theirs = issued(&app, &admin, &south, "10000").await;
    ask(&app, &admin, theirs, "mark-paid", &paid(Some(5), "cash")).send().await.data(200);

    let all = app.client(&admin).admin_payment_list().send().await.expect("a page").into_inner();
    let shown: Vec<(i64, String)> =
        all.data.iter().map(|p| (p.payment.amount_cents, p.payment.method_type.to_string())).collect();
    let wanted = [
        (5, "cash"),
        (50, "bank_transfer"),
        (100, "write_off"),
        (900, "customer_credit"),
        (13000, "bank_transfer"),
    ];
    assert_eq!(shown, wanted.map(|(cents, method)| (cents, method.to_owned())));
    assert_eq!(all.data[4].invoice_number.as_deref(), Some("SCAI-2026-000001"));
    assert_eq!(all.data[4].payment.refunded_cents, 50);
    assert_eq!(
        (&all.data[4].provider_account, all.data[4].entered_by.as_deref()),
        (&None, Some("usr_billing_admin_tnt_operator"))
    );
    assert_eq!(all.data[3].entered_by, None, "credit is applied by the system");
    let ids = walk(&app, &admin, PAYMENTS, "kind=refund", "invoice_number").await;
    assert_eq!(ids.len(), 5);
    let get =
        async |filter: &str| app.call("GET", &format!("{PAYMENTS}?{filter}")).token(&admin).send().await;
    for (filter, count) in [
        ("status=succeeded".to_owned(), 5),
        ("status=failed".to_owned(), 0),
        ("kind=refund".to_owned(), 1),
        ("kind=payment".to_owned(), 4),
        ("provider=manual".to_owned(), 5),
        ("provider=stripe".to_owned(), 0),
        ("tenant_id=tnt_south".to_owned(), 1),
        ("partner_id=prt_north".to_owned(), 4),
        ("tenant_id=tnt_nobody".to_owned(), 0),
        (format!("invoice_id={first}"), 2),
        ("from=2026-03-11".to_owned(), 4),
        ("to=2026-03-10".to_owned(), 1),
        ("from=2026-03-12".to_owned(), 0),
        ("to=9999-12-31".to_owned(), 5),
    ] {
        assert_eq!(get(&filter).await.data(200).as_array().map(Vec::len), Some(count), "{filter}");
    }
    get("from=2026-03-11&to=2026-03-10").await.refused(400).names("from");
    get("status=paid").await.refused(400).names("status");
    // A partner sees its own.
    let partner = app.token("partner_admin", "tnt_home", "prt_south");
    let seen = app.call("GET", PAYMENTS).token(&partner).send().await.data(200);
    assert_eq!(seen.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn subscriptions_that_waited_recover_with_the_last_debt() {
    let (app, admin, tenant) = start().await;
    let service = given::service(&app, "vault").await;
    let plan = given::plan(&app, &service, "pro", 4900).await;
    let subscription = given::subscription(&app, &tenant, &plan, 1).await;
    app.advance(TimeDelta::days(40)).await;
    let made = crate::support::run(&app, &admin, &tenant.id).await;
    let ids: Vec<Uuid> = each(&made["invoices"], "invoice_id").into_iter().map(uuid).collect();
    for id in &ids {
        finalize(&app, &admin, *id).await;
    }
    let db = app.db().await;
    let late = "UPDATE invoices SET status = 'past_due'; UPDATE subscriptions SET status = 'past_due', past_due_since = '2026-04-01Z'";
    db.batch_execute(late).await.expect("late");
    let state = async || {
        let path = format!("/api/v1/subscriptions/{subscription}");
        let sub = app.call("GET", &path).token(&tenant.admin).send().await.data(200);
        (sub["status"].clone(), sub["past_due_since"].is_null())
    };
    ask(&app, &admin, ids[0], "mark-paid", &paid(Some(100), "cash")).send().await.data(200);
    ask(&app, &admin, ids[0], "mark-paid", &paid(None, "cash")).send().await.data(200);
    assert_eq!(state().await, (json!("past_due"), false), "another one is still overdue");
    ask(&app, &admin, ids[1], "credit-note", &json!({"reason": "goodwill"})).send().await.data(201);
    assert_eq!(state().await, (json!("active"), true));
    let sql =
        "SELECT data->>'change_kind' FROM outbox_events WHERE object_id = $1 ORDER BY sequence DESC LIMIT 1";
    let row = db.query_one(sql, &[&subscription.to_string()]).await.expect("an event");
    assert_eq!(row.get::<_, String>(0), "status_change");
    verified(&app).await;
}

#[tokio::test]
async fn payments_of_one_invoice_are_bounded_and_one_refund_reaches_them_all() {
    let (app, admin, tenant) = start().await;
    let id = issued(&app, &admin, &tenant, "10000").await;
    for _ in 0..100 {
        ask(&app, &admin, id, "mark-paid", &paid(Some(3), "cash")).send().await.data(200);
    }
    ask(&app, &admin, id, "mark-paid", &paid(None, "cash")).send().await.refused(409).says("100 payments");
    let done = ask(&app, &admin, id, "refund", &json!({"reason": "x"})).send().await.data(200);
    assert_eq!(done["refunds"].as_array().map(Vec::len), Some(100));
    assert_eq!(stands(&done["invoice"]), standing(0, 300, 11800, "finalized"));
    verified(&app).await;
}

#[tokio::test]
async fn a_partner_moves_money_of_its_own_invoices_only() {
    let (app, admin, tenant) = start().await;
    let id = issued(&app, &admin, &tenant, "10000").await;
    let (own, other) = (
        app.token("partner_admin", "tnt_h", "prt_north"),
        app.token("partner_admin", "tnt_home", "prt_south"),
    );
    let calls = [
        ("mark-paid", paid(Some(13000), "bank_transfer"), 200),
        ("credit-note", json!({"reason": "x", "settle": "customer_credit"}), 201),
        ("refund", json!({"reason": "x"}), 200),
    ];
    for (what, asked, status) in &calls {
        ask(&app, &other, id, what, asked).send().await.refused(404);
        ask(&app, &tenant.admin, id, what, asked).send().await.refused(403);
        ask(&app, &own, id, what, asked).send().await.data(*status);
    }
    let second = issued(&app, &own, &tenant, "10000").await;
    ask(&app, &other, second, "void", &json!({"reason": "x"})).send().await.refused(404);
    ask(&app, &own, second, "void", &json!({"reason": "x"})).send().await.data(200);
    verified(&app).await;
}
