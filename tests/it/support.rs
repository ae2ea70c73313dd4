//! What several of the tests of money do: run billing, finalize, and prove afterwards that everything agrees.
use scaicontrol_domain::explanation::{Explanation, recompute};
use scaicontrol_server::ledger::verify;
use scaicontrol_server::op::OpContext;
use scaicontrol_tests::TestApp;
use scaicontrol_tests::given::{self, Service, Tenant};
use serde_json::{Value, json};
use uuid::Uuid;

/// What does not agree in the books, if anything.
pub async fn difference(app: &TestApp) -> Option<verify::Difference> {
    let control = app.control();
    let op = OpContext::system(&control.clock, &control.ids, "verify");
    verify::run(&control.db, &op).await.expect("the proof runs")
}

/// Fails when anything in the books does not agree.
pub async fn verified(app: &TestApp) {
    assert_eq!(difference(app).await, None);
}

/// Fails unless each line that the platform computed comes to its amount again, from its explanation alone.
#[track_caller]
pub fn recomputes(lines: &Value) {
    for line in lines.as_array().expect("lines") {
        if line["kind"] == "manual" {
            continue;
        }
        let explanation = serde_json::from_value::<Explanation>(line["explanation"].clone());
        let explanation = explanation.unwrap_or_else(|e| panic!("{e}: {line}"));
        let amount = recompute(&explanation).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(json!(amount.0), line["amount_cents"], "{line}");
    }
}

/// `data` of a billing run of one tenant.
pub async fn run(app: &TestApp, token: &str, tenant_id: &str) -> Value {
    run_with(app, token, json!({"tenant_id": tenant_id, "dry_run": false})).await
}

/// `data` of a billing run.
pub async fn run_with(app: &TestApp, token: &str, asked: Value) -> Value {
    let data = app.call("POST", "/api/v1/admin/billing/run").token(token).json(&asked).send().await.data(200);
    for invoice in data["invoices"].as_array().expect("invoices") {
        recomputes(&invoice["lines"]);
    }
    data
}

/// The invoices that a run made, as operators see them.
pub async fn made(app: &TestApp, token: &str, run: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    for invoice in run["invoices"].as_array().expect("invoices") {
        all.push(get(app, token, uuid(&invoice["invoice_id"])).await);
    }
    all
}

/// An invoice as operators see it.
pub async fn get(app: &TestApp, token: &str, id: Uuid) -> Value {
    app.call("GET", &format!("/api/v1/admin/invoices/{id}")).token(token).send().await.data(200)
}

/// Finalizes a draft, and checks that the document agrees with its lines to the cent. What a run has issued already is
/// checked as it is.
pub async fn finalize(app: &TestApp, token: &str, id: Uuid) -> Value {
    let path = format!("/api/v1/admin/invoices/{id}/finalize");
    let before = get(app, token, id).await;
    let invoice = match before["status"].as_str() {
        Some("draft") => app.call("POST", &path).token(token).send().await.data(200),
        _ => before,
    };
    agrees(&invoice);
    invoice
}

/// Fails unless sums, breakdown and lines of a document agree to the cent.
#[track_caller]
pub fn agrees(invoice: &Value) {
    let sum = |items: &Value, field: &str| -> i64 {
        items.as_array().expect("a list").iter().map(|i| cents(&i[field])).sum()
    };
    let (lines, breakdown) = (&invoice["line_items"], &invoice["vat_details"]["breakdown"]);
    assert_eq!(sum(lines, "amount_cents"), cents(&invoice["subtotal_cents"]), "{invoice}");
    assert_eq!(sum(lines, "tax_cents"), cents(&invoice["tax_cents"]), "{invoice}");
    assert_eq!(sum(breakdown, "taxable_cents"), cents(&invoice["subtotal_cents"]), "{invoice}");
    assert_eq!(sum(breakdown, "tax_cents"), cents(&invoice["tax_cents"]), "{invoice}");
    let total = cents(&invoice["subtotal_cents"]) + cents(&invoice["tax_cents"]);
    assert_eq!(total, cents(&invoice["total_cents"]), "{invoice}");
    let settled =
        cents(&invoice["paid_cents"]) + cents(&invoice["credited_cents"]) + cents(&invoice["due_cents"]);
    assert_eq!(total, settled, "{invoice}");
    recomputes(lines);
}

/// An amount in cents.
#[track_caller]
pub fn cents(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no amount"))
}

/// An id.
#[track_caller]
pub fn uuid(value: &Value) -> Uuid {
    value.as_str().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("{value} is no id"))
}

/// A field of each item of a list.
#[track_caller]
pub fn each<'a>(items: &'a Value, field: &str) -> Vec<&'a Value> {
    items.as_array().unwrap_or_else(|| panic!("{items} is no list")).iter().map(|i| &i[field]).collect()
}

/// Walks a list by its cursor, two items at a time, and answers the given field of all of them. On the way: a cursor does
/// not fit another filter, and a page too far to count to is refused.
pub async fn walk(app: &TestApp, token: &str, path: &str, other_filter: &str, field: &str) -> Vec<Value> {
    let join = if path.contains('?') { '&' } else { '?' };
    let get = async |more: String| app.call("GET", &format!("{path}{join}{more}")).token(token).send().await;
    get("page=101&page_size=100".into()).await.refused(400).names("cursor");
    get("page=0".into()).await.refused(400).names("page");
    get("page_size=0".into()).await.refused(400).names("page_size");
    get("page_size=201".into()).await.refused(400).names("page_size");
    get("cursor=bm9uZQ".into()).await.refused(400).names("cursor");
    let (mut all, mut cursor, mut first) = (Vec::new(), String::new(), true);
    loop {
        let page = get(format!("page_size=2{cursor}")).await.expect(200);
        all.extend(page["data"].as_array().expect("data").iter().map(|item| item[field].clone()));
        assert_eq!(page["pagination"]["page"].is_null(), !first, "{}", page["pagination"]);
        let Some(next) = page["pagination"]["next_cursor"].as_str() else { break };
        if first {
            let other = format!("{path}{join}{other_filter}&cursor={next}");
            app.call("GET", &other).token(token).send().await.refused(400).names("cursor");
            let numbered = get("page=2&page_size=2".into()).await.expect(200);
            let by_cursor = get(format!("page_size=2&cursor={next}")).await.expect(200);
            assert_eq!(numbered["data"], by_cursor["data"], "{path}: by number and by cursor");
        }
        (cursor, first) = (format!("&cursor={next}"), false);
    }
    let whole = get("page_size=200".into()).await.expect(200);
    assert_eq!(whole["data"].as_array().map(Vec::len), Some(all.len()), "{path}: by cursor and at once");
    assert_eq!(whole["pagination"]["total_items"], json!(all.len()), "{path}");
    all
}

/// A service that measures one metric of each kind: `calls`, `rows` and `seats` are summed up, of `storage` counts the
/// largest, of `level` the last, of `users` how many different ones.
pub async fn service(app: &TestApp, slug: &str) -> Service {
    let metric = |slug: &str, aggregation: &str| json!({"slug": slug, "name": slug, "unit": "unit", "aggregation": aggregation});
    let asked = json!({
        "slug": slug, "name": slug.to_uppercase(), "client_id": format!("client-{slug}"),
        "metrics": [
            metric("calls", "sum"), metric("rows", "sum"), metric("seats", "sum"), metric("storage", "max"),
            metric("level", "last"), metric("users", "unique_count"),
        ],
    });
    let operator = app.operator("super_admin");
    let answer =
        app.call("POST", "/api/v1/admin/catalog/services").token(&operator).json(&asked).send().await;
    let id = given::id_of(&answer.data(201));
    Service { id, slug: slug.to_owned(), token: app.service_token(&format!("client-{slug}")) }
}

/// A tier from 0 upwards: each unit at that price.
pub fn flat(metric_slug: &str, unit_price_cents: &str) -> Value {
    json!({"metric_slug": metric_slug, "tier_start": "0", "tier_end": null, "unit_price_cents": unit_price_cents})
}

/// Reports usage; every event must be accepted. Each pair is a metric and a quantity, now.
pub async fn used(app: &TestApp, service: &Service, tenant: &Tenant, usage: &[(&str, &str)]) {
    let events = usage.iter().map(|(metric, quantity)| {
        json!({"idempotency_key": Uuid::now_v7(), "tenant_id": tenant.id, "metric_slug": metric, "quantity": quantity, "occurred_at": app.now()})
    });
    let asked = json!({"events": events.collect::<Vec<_>>()});
    let answer =
        app.call("POST", "/api/v1/metering/events").token(&service.token).json(&asked).send().await.data(202);
    assert_eq!(answer, json!({"accepted": usage.len(), "duplicates": 0, "rejected": []}));
}
