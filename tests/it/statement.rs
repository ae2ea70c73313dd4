//! A partner's statement: what it billed and what it owes for that, as its documents say.
use crate::admin_platform::set;
use crate::payments::{ask, paid};
use crate::support::{cents, finalize, run, uuid, verified};
use chrono::{DateTime, Utc};
use scaicontrol_tests::given::{self, Tenant};
use scaicontrol_tests::{OPERATOR, TestApp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

struct Given {
    app: TestApp,
    admin: String,
    partner: String,
    tenant: Tenant,
}

async fn start() -> Given {
    let app = TestApp::with(&[("workers.enabled", "false")]).await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let admin = app.operator("billing_admin");
    let partner = app.token("partner_admin", "tnt_home", "prt_north");
    Given { app, admin, partner, tenant }
}

impl Given {
    async fn statement(&self, from: &str, to: &str) -> Value {
        let path = format!("/api/v1/admin/partners/prt_north/statement?from={from}&to={to}");
        self.app.call("GET", &path).token(&self.partner).send().await.data(200)
    }
    async fn subscribed(&self, plan: &given::Plan) -> Uuid {
        given::subscription(&self.app, &self.tenant, plan, 1).await;
        let run = run(&self.app, &self.admin, &self.tenant.id).await;
        uuid(&run["invoices"][0]["invoice_id"])
    }
    /// A draft of one line for a service.
    async fn manual(&self, slug: Option<&str>, price: &str, currency: &str) -> Uuid {
        let mut line = json!({"description": "Work", "quantity": "1", "unit_price_cents": price});
        if let Some(slug) = slug {
            line["service_slug"] = json!(slug);
        }
        let asked = json!({"tenant_id": self.tenant.id, "currency": currency, "line_items": [line]});
        let made =
            self.app.call("POST", "/api/v1/admin/invoices").token(&self.admin).json(&asked).send().await;
        given::id_of(&made.data(201))
    }
    /// The statement once more, from the lines of the documents of those days.
    async fn recomputed(&self, from: &str, to: &str) -> BTreeMap<(Option<String>, String), (i64, i64)> {
        let sql = "SELECT l.service_slug, i.currency, sum(l.amount_cents)::bigint, sum(l.platform_cost_cents)::bigint
                   FROM invoices i JOIN invoice_lines l USING (tenant_id, invoice_id)
                   WHERE i.partner_id = 'prt_north' AND i.number IS NOT NULL AND i.issue_date BETWEEN $1::text::date AND $2::text::date
                   GROUP BY 1, 2";
        let rows = self.app.db().await.query(sql, &[&from, &to]).await.expect("sums");
        rows.iter().map(|r| ((r.get(0), r.get(1)), (r.get(2), r.get(3)))).collect()
    }
    /// The statement of some days, which must be what the documents come to.
    async fn checked(&self, from: &str, to: &str) -> Value {
        let statement = self.statement(from, to).await;
        let lines = statement["lines"].as_array().expect("lines");
        let shown: BTreeMap<_, _> = lines
            .iter()
            .map(|l| {
                let key = (
                    l["service_slug"].as_str().map(str::to_owned),
                    l["currency"].as_str().expect("a currency").to_owned(),
                );
                (key, (cents(&l["retail_cents"]), cents(&l["platform_cost_cents"])))
            })
            .collect();
        assert_eq!(shown.len(), lines.len(), "one line for each service and currency");
        assert_eq!(shown, self.recomputed(from, to).await, "{from} to {to}");
        for item in lines.iter().chain(statement["totals"].as_array().expect("totals")) {
            let margin = cents(&item["retail_cents"]) - cents(&item["platform_cost_cents"]);
            assert_eq!(cents(&item["margin_cents"]), margin, "{item}");
        }
        for total in statement["totals"].as_array().expect("totals") {
            let of = lines.iter().filter(|l| l["currency"] == total["currency"]);
            assert_eq!(
                of.map(|l| cents(&l["retail_cents"])).sum::<i64>(),
                cents(&total["retail_cents"]),
                "{total}"
            );
        }
        statement
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

#[tokio::test]
async fn it_is_what_the_documents_come_to() {
    let g = start().await;
    let vault = given::service(&g.app, "vault").await;
    let send = given::service(&g.app, "send").await;
    let vault_pro = given::plan_with(&g.app, &vault, "pro", json!({"base_price_cents": 4999})).await;
    let send_pro = given::plan_with(&g.app, &send, "pro", json!({"base_price_cents": 10_001})).await;
    set(&g.app, |s| s["cost_multipliers"] = json!({"*": "0.8", "vault.pro": "0.5"})).await;
    let first = g.subscribed(&vault_pro).await;
    let second = g.subscribed(&send_pro).await;
    for draft in
        [first, second, g.manual(Some("send"), "2500", "EUR").await, g.manual(None, "700", "EUR").await]
    {
        finalize(&g.app, &g.admin, draft).await;
    }
    // A draft does not count.
    g.manual(Some("vault"), "99999", "EUR").await;
    let day = "2026-03-10";
    let statement = g.checked(day, day).await;
    let client = g.app.client(&g.partner);
    let typed = client
        .admin_partner_statement_get()
        .partner_id("prt_north")
        .from(at("2026-03-10T00:00:00Z").date_naive())
        .to(at("2026-03-10T00:00:00Z").date_naive())
        .send()
        .await
        .expect("a statement")
        .into_inner()
        .data;
    assert_eq!(json!(typed), statement);
    let line = |i: usize, slug: Value, retail: i64, cost: i64, percent: &str| {
        let l = &statement["lines"][i];
        let found = (&l["service_slug"], cents(&l["retail_cents"]), cents(&l["platform_cost_cents"]));
        assert_eq!((found, &l["margin_percent"]), ((&slug, retail, cost), &json!(percent)), "{l}");
    };
    // Half of 4999, and 8,001 of 10,001; what is written by hand costs nothing.
    line(0, json!("send"), 12_501, 8_001, "36");
    line(1, json!("vault"), 4_999, 2_500, "49.99");
    line(2, Value::Null, 700, 0, "100");
    assert_eq!(
        (&statement["timezone"], &statement["lines"][1]["service_name"]),
        (&json!("Europe/Amsterdam"), &json!("VAULT"))
    );
    let total = &statement["totals"][0];
    assert_eq!((cents(&total["collected_cents"]), cents(&total["payable_cents"])), (0, -10_501));
    verified(&g.app).await;

    // Credit notes and refunds take off what they take back, in the days that they are made.
    g.app.advance_to(at("2026-03-12T09:00:00Z")).await;
    let asked = json!({"reason": "Too much", "lines": [{"line_item_id": null, "amount_cents": 1000}]});
    let invoice = crate::support::get(&g.app, &g.admin, second).await;
    let mut asked = asked;
    asked["lines"][0]["line_item_id"] = invoice["line_items"][0]["id"].clone();
    ask(&g.app, &g.admin, second, "credit-note", &asked).send().await.data(201);
    ask(&g.app, &g.admin, first, "mark-paid", &paid(None, "bank_transfer")).send().await.data(200);
    let refund = json!({"amount_cents": 1210, "reason": "Goodwill"});
    ask(&g.app, &g.admin, first, "refund", &refund).send().await.data(200);
    let notes = g.checked("2026-03-12", "2026-03-12").await;
    let retail: Vec<i64> =
        notes["lines"].as_array().expect("lines").iter().map(|l| cents(&l["retail_cents"])).collect();
    assert_eq!(retail, [-1000, -1000]);
    assert!(notes["lines"].as_array().expect("lines").iter().all(|l| cents(&l["platform_cost_cents"]) < 0));
    assert_eq!(g.checked(day, day).await["lines"], statement["lines"], "what was is as it was");
    let both = g.checked(day, "2026-03-12").await;
    assert_eq!(cents(&both["totals"][0]["retail_cents"]), 18_200 - 2_000);
    assert!(g.checked("2026-03-13", "2026-03-31").await["lines"].as_array().expect("lines").is_empty());
    verified(&g.app).await;
}

#[tokio::test]
async fn the_days_are_the_partners_and_currencies_stay_apart() {
    let g = start().await;
    given::service(&g.app, "vault").await;
    set(&g.app, |s| s["exchange_rates"] = json!([{"currency": "USD", "date": "2026-03-09", "rate": "1.1"}]))
        .await;
    g.app.advance_to(at("2026-03-31T21:59:59Z")).await;
    let last = g.manual(Some("vault"), "100", "EUR").await;
    finalize(&g.app, &g.admin, last).await;
    g.app.advance_to(at("2026-03-31T22:00:00Z")).await;
    let next = g.manual(Some("vault"), "300", "EUR").await;
    finalize(&g.app, &g.admin, next).await;
    let dollars = g.manual(Some("vault"), "500", "USD").await;
    finalize(&g.app, &g.admin, dollars).await;
    let march = g.checked("2026-03-01", "2026-03-31").await;
    assert_eq!(march["lines"].as_array().map(Vec::len), Some(1));
    assert_eq!(march["lines"][0]["retail_cents"], 100);
    let april = g.checked("2026-04-01", "2026-04-30").await;
    let shown: Vec<_> = april["totals"]
        .as_array()
        .expect("totals")
        .iter()
        .map(|t| (t["currency"].clone(), cents(&t["retail_cents"])))
        .collect();
    assert_eq!(shown, [(json!("EUR"), 300), (json!("USD"), 500)]);
    // The date that a document carries counts, wherever its partner lives later.
    let moved = json!({"timezone": "UTC"});
    let operator = g.app.operator("super_admin");
    g.app
        .call("PATCH", "/api/v1/admin/partners/prt_north")
        .token(&operator)
        .json(&moved)
        .send()
        .await
        .expect(200);
    assert_eq!(g.checked("2026-03-01", "2026-03-31").await["lines"], march["lines"]);
}

#[tokio::test]
async fn the_operator_owes_nothing_for_its_own_tenants() {
    let app = TestApp::with(&[("workers.enabled", "false")]).await;
    let service = given::service(&app, "vault").await;
    let tenant = given::tenant(&app, "tnt_own", OPERATOR).await;
    let plan = given::plan(&app, &service, "pro", 4900).await;
    given::subscription(&app, &tenant, &plan, 1).await;
    let admin = app.operator("billing_admin");
    let made = run(&app, &admin, &tenant.id).await;
    finalize(&app, &admin, uuid(&made["invoices"][0]["invoice_id"])).await;
    let path = format!("/api/v1/admin/partners/{OPERATOR}/statement?from=2026-03-10&to=2026-03-10");
    let statement = app.call("GET", &path).token(&admin).send().await.data(200);
    let line = &statement["lines"][0];
    assert_eq!((cents(&line["retail_cents"]), cents(&line["platform_cost_cents"])), (4900, 0));
    assert_eq!(cents(&statement["totals"][0]["payable_cents"]), 0);
}

#[tokio::test]
async fn a_partner_sees_its_own_and_days_must_be_in_order() {
    let g = start().await;
    given::tenant(&g.app, "tnt_south", "prt_south").await;
    let ask = async |token: &str, partner: &str, days: &str| {
        let path = format!("/api/v1/admin/partners/{partner}/statement?{days}");
        g.app.call("GET", &path).token(token).send().await
    };
    let days = "from=2026-03-01&to=2026-03-31";
    ask(&g.partner, "prt_north", days).await.expect(200);
    ask(&g.admin, "prt_south", days).await.expect(200);
    ask(&g.partner, "prt_south", days).await.refused(404);
    ask(&g.partner, "prt_nobody", days).await.refused(404);
    ask(&g.tenant.admin, "prt_north", days).await.refused(403);
    ask(&g.partner, "prt_north", "from=2026-03-02&to=2026-03-01").await.refused(400).names("to");
    ask(&g.partner, "prt_north", "from=2026-01-01&to=2027-01-03").await.refused(400).names("to");
    ask(&g.partner, "prt_north", "from=2026-01-01&to=2027-01-02").await.expect(200);
    ask(&g.partner, "prt_north", "from=2026-01-01").await.refused(400).names("to");
    ask(&g.partner, "prt_north", "from=soon&to=2026-01-01").await.refused(400).names("from");
}
