//! `verify` finds what does not agree about money: for each of its checks something is changed by hand, behind the back of
//! triggers and row-level security, and it must be that check that says so.
use crate::admin_billing::{create, line, start};
use crate::payments::{ask, issued, paid, stands};
use crate::support::{difference, finalize, get, run, uuid, verified};
use scaicontrol_tests::given;
use scaicontrol_tests::{TestApp, database};
use serde_json::json;
use uuid::Uuid;

struct World {
    app: TestApp,
    /// Paid in excess, credited in part, refunded in part.
    first: Uuid,
    /// Billed twice, the first time on a document that is void.
    void: Uuid,
}

async fn world() -> World {
    let (app, admin, tenant) = start().await;
    let service = given::service(&app, "vault").await;
    let plan = given::plan(&app, &service, "pro", 4900).await;
    given::subscription(&app, &tenant, &plan, 1).await;
    let lines = json!([line("a", "1", "10000"), line("b", "1", "5")]);
    let first = uuid(&create(&app, &admin, &tenant, lines).await["id"]);
    let large = finalize(&app, &admin, first).await["line_items"][0]["id"].clone();
    let call = async |id: Uuid, what: &str, asked| ask(&app, &admin, id, what, &asked).send().await;
    call(first, "mark-paid", paid(Some(12106 + 30), "bank_transfer")).await.data(200);
    let part = json!({"reason": "x", "lines": [{"line_item_id": large, "amount_cents": 1000}]});
    call(first, "credit-note", part).await.data(201);
    let second = issued(&app, &admin, &tenant, "100").await;
    assert_eq!(
        stands(&get(&app, &admin, second).await),
        (121, 0, 0, "paid".into()),
        "30 of one lot, 91 of another"
    );
    call(first, "refund", json!({"reason": "x", "amount_cents": 1119})).await.data(200);
    let third = issued(&app, &admin, &tenant, "1000").await;
    call(third, "mark-paid", paid(Some(50), "cash")).await.data(200);
    call(third, "mark-paid", paid(Some(60), "write_off")).await.data(200);
    let void = uuid(&run(&app, &admin, &tenant.id).await["invoices"][0]["invoice_id"]);
    finalize(&app, &admin, void).await;
    call(void, "void", json!({"reason": "x", "rebill": true})).await.data(200);
    let again = uuid(&run(&app, &admin, &tenant.id).await["invoices"][0]["invoice_id"]);
    finalize(&app, &admin, again).await;
    verified(&app).await;
    World { app, first, void }
}

#[tokio::test]
async fn each_check_finds_what_it_is_for() {
    let World { app, first, void } = world().await;
    let owner = database::connect(&app.database().owner_url()).await;
    let entry = |kind: &str| {
        format!(
            "account = '{{}}' WHERE journal_id IN (SELECT journal_id FROM journals WHERE kind = '{kind}') AND account = '{{}}'"
        )
    };
    let renamed = |kind: &str, from: &str, to: &str| {
        let template = entry(kind);
        let fill = |to: &str, from: &str| template.replacen("{}", to, 1).replacen("{}", from, 1);
        (fill(to, from), fill(from, to))
    };
    let moved = renamed("credit_move", "customer_credit", "partner_payable");
    let cleared = renamed("payment", "clearing:manual", "clearing:other");
    let given_up = renamed("write_off", "write_off", "partner_payable");
    let lines = format!("FROM invoice_lines WHERE invoice_id = '{first}'");
    let link = |order: i32| {
        format!(
            "credited_line_item_id = (SELECT line_item_id {lines} AND order_index = {order}) WHERE net_cents = 1000"
        )
    };
    let lot = |kind: &str| {
        format!(
            "lot_id = (SELECT entry_id FROM customer_credit_entries WHERE kind = '{kind}' AND origin_invoice_id = '{first}') WHERE amount_cents = -91"
        )
    };
    let of_refund = |method: &str| {
        format!(
            "refunds_payment_id = (SELECT payment_id FROM payments WHERE method_type = '{method}' AND kind = 'payment') WHERE kind = 'refund'"
        )
    };
    let s = str::to_owned;
    for (table, change, back, check) in [
        (
            "payment_allocations",
            s("amount_cents = amount_cents + 1 WHERE kind = 'write_off'"),
            s("amount_cents = amount_cents - 1 WHERE kind = 'write_off'"),
            "what was paid of an invoice is the sum of what moved it",
        ),
        (
            "invoices",
            format!(
                "referenced_invoice_id = '{void}' WHERE referenced_invoice_id = '{first}' AND total_cents = -1210"
            ),
            format!(
                "referenced_invoice_id = '{first}' WHERE referenced_invoice_id = '{void}' AND total_cents = -1210"
            ),
            "what was credited of an invoice is the sum of its credit notes",
        ),
        (
            "invoices",
            s("currency = 'USD' WHERE document_type = 'credit_note'"),
            s("currency = 'EUR' WHERE document_type = 'credit_note'"),
            "a credit note is of the tenant, partner and currency of an issued invoice, and settled by being issued",
        ),
        (
            "credit_note_lines",
            s("net_cents = 999 WHERE net_cents = 1000"),
            s("net_cents = 1000 WHERE net_cents = 999"),
            "every line of a credit note takes back a line of its invoice, and that is its amount",
        ),
        (
            "credit_note_lines",
            link(1),
            link(0),
            "no line is taken back beyond its amount and its platform cost",
        ),
        (
            "invoice_lines",
            format!("platform_cost_cents = 7 WHERE invoice_id = '{first}'"),
            format!("platform_cost_cents = 0 WHERE invoice_id = '{first}'"),
            "the platform's cost of a document's lines is in the ledger",
        ),
        (
            "invoices",
            format!("status = 'sent' WHERE invoice_id = '{first}'"),
            format!("status = 'paid' WHERE invoice_id = '{first}'"),
            "the state of an issued invoice is that of what is due",
        ),
        (
            "payments",
            s("amount_cents = amount_cents + 1 WHERE method_type = 'cash'"),
            s("amount_cents = amount_cents - 1 WHERE method_type = 'cash'"),
            "a payment's parts are its amount",
        ),
        (
            "payments",
            of_refund("cash"),
            of_refund("bank_transfer"),
            "no more goes back of a payment than came in by it",
        ),
        (
            "customer_credit_entries",
            format!("origin_invoice_id = '{void}' WHERE kind = 'overpayment'"),
            format!("origin_invoice_id = '{first}' WHERE kind = 'overpayment'"),
            "what came in and was not sent back is on its invoice, credit, or was used elsewhere",
        ),
        (
            "ledger_entries",
            moved.0,
            moved.1,
            "credit of the tenants is what the ledger says, and never below 0",
        ),
        (
            "customer_credit_entries",
            lot("overpayment"),
            lot("credit_note"),
            "no credit is used beyond what was given",
        ),
        (
            "ledger_entries",
            cleared.0,
            cleared.1,
            "the money of the payments is what the ledger has on their accounts",
        ),
        ("ledger_entries", given_up.0, given_up.1, "what was given up is what the ledger says"),
        (
            "invoices",
            format!("status = 'paid', voided_at = NULL WHERE invoice_id = '{void}'"),
            format!("status = 'void', voided_at = updated_at WHERE invoice_id = '{void}'"),
            "nothing is billed by two documents that stand",
        ),
    ] {
        let plant = async |set: &str| {
            let tables = "invoices, invoice_lines, payments, payment_allocations, customer_credit_entries, credit_note_lines, journals, ledger_entries";
            let each = |what: &str| {
                tables.split(", ").map(|t| format!("ALTER TABLE {t} {what};")).collect::<String>()
            };
            let sql = format!(
                "{} UPDATE {table} SET {set}; {}",
                each("DISABLE TRIGGER USER, NO FORCE ROW LEVEL SECURITY"),
                each("ENABLE TRIGGER USER, FORCE ROW LEVEL SECURITY")
            );
            owner.batch_execute(&sql).await.unwrap_or_else(|e| panic!("{set}: {e:?}"));
        };
        plant(&change).await;
        assert_eq!(difference(&app).await.map(|d| d.check), Some(check), "{change}");
        plant(&back).await;
        verified(&app).await;
    }
}

#[tokio::test]
async fn the_database_itself_refuses_what_would_break_the_books() {
    let World { app, first, .. } = world().await;
    let db = app.db().await;
    for sql in [
        "UPDATE payments SET amount_cents = amount_cents + 1".to_owned(),
        "UPDATE payments SET invoice_id = gen_random_uuid()".into(),
        "DELETE FROM payments".into(),
        "UPDATE payment_allocations SET amount_cents = amount_cents + 1".into(),
        "DELETE FROM payment_allocations".into(),
        "UPDATE customer_credit_entries SET amount_cents = amount_cents - 1".into(),
        "DELETE FROM customer_credit_entries".into(),
        "UPDATE credit_note_lines SET net_cents = 1".into(),
        "DELETE FROM credit_note_lines".into(),
        "UPDATE mrr_changes SET delta_cents = 0".into(),
        "DELETE FROM mrr_changes".into(),
        // More of a lot than there is, and more of a line than it came to.
        format!("INSERT INTO customer_credit_entries (tenant_id, entry_id, partner_id, currency, lot_id, kind, origin_invoice_id, used_invoice_id, payment_id, amount_cents, created_at)
           SELECT tenant_id, gen_random_uuid(), partner_id, currency, lot_id, 'applied', origin_invoice_id, origin_invoice_id, payment_id, -1, created_at
           FROM customer_credit_entries WHERE kind = 'overpayment' AND origin_invoice_id = '{first}'"),
        "INSERT INTO credit_note_lines SELECT l.tenant_id, l.line_item_id, partner_id, (SELECT invoice_id FROM invoices WHERE document_type = 'invoice' LIMIT 1), l.invoice_id, l.line_item_id, amount_cents + 1, 0, 0
           FROM invoice_lines l WHERE amount_cents > 0 LIMIT 1".into(),
    ] {
        assert!(db.batch_execute(&sql).await.is_err(), "{sql}");
    }
    verified(&app).await;
}
