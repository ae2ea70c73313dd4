//! Lists of invoices: the first page and a deep one of a large list, beside the first page of a small list.
use crate::fill;
use crate::load::{self, Shot, Shots, Template};
use crate::report::{Bound, Report, Sample};
use crate::stand::{Bench, Server, fetch, progress};
use scaicontrol_server::billing::store::Filter;
use scaicontrol_server::db::page::PageRequest;
use scaicontrol_tests::database::Database;
use serde_json::Value;
use tokio_postgres::Client;

const PAGE_SIZE: usize = 50;
const SMALL: i64 = 10_000;
/// Requests of one caller in a round, of which the median counts.
const REQUESTS: usize = 200;

/// A list, as its operation and its database know it.
struct List {
    what: &'static str,
    path: &'static str,
    token: String,
    operation: &'static str,
    filter: Filter,
    /// The key of the row at place `$1`.
    key: &'static str,
}

impl List {
    /// The target of the first page.
    fn first(&self) -> String {
        format!("{}?page_size={PAGE_SIZE}", self.path)
    }
    /// The target of the page after `rows` rows: by the cursor that the page before it would have given.
    async fn deep(&self, db: &Client, rows: i64) -> String {
        let key: String = db.query_one(self.key, &[&(rows - 1)]).await.expect("a deep row").get(0);
        let size = i32::try_from(PAGE_SIZE).expect("a small number");
        let page = PageRequest::new(1, size, None, &(self.operation, &self.filter)).expect("a page");
        let (_, pagination) = page.finish(vec![(); PAGE_SIZE + 1], 0, |()| key.clone());
        format!("{}&cursor={}", self.first(), pagination.next_cursor.expect("there is more"))
    }
}

fn lists(bench: &Bench) -> [List; 2] {
    let tenant = List {
        what: "a tenant's list",
        path: "/api/v1/billing/invoices",
        token: bench.token("tenant_admin", fill::BIG, fill::PARTNER),
        operation: "invoice_list",
        filter: Filter { tenant_id: Some(fill::BIG.to_owned()), ..Filter::default() },
        key: "SELECT issue_date || '_' || invoice_id FROM invoices WHERE tenant_id = 'tnt_big' AND number IS NOT NULL
            ORDER BY issue_date DESC, invoice_id DESC LIMIT 1 OFFSET $1",
    };
    let admin = List {
        what: "the list of all",
        path: "/api/v1/admin/invoices",
        token: bench.operator(),
        operation: "admin_invoice_list",
        filter: Filter::default(),
        key: "SELECT invoice_id::text FROM invoices ORDER BY invoice_id DESC LIMIT 1 OFFSET $1",
    };
    [admin, tenant]
}

async fn cost(server: &Server, token: &str, target: &str) -> f64 {
    let template = Template::get(server.addr).token(token);
    let shots = vec![Box::new(std::iter::repeat_n(Shot::get(target), REQUESTS)) as Shots];
    load::run(&template, shots, None).await.within_ms(50)
}

async fn server(bench: &Bench, invoices: i64) -> (Server, Client, Database) {
    let database = Database::create().await;
    let db = database.connect().await;
    fill::invoices(&db, invoices).await;
    (bench.start(&database).await, db, database)
}

/// See the module.
pub async fn run(bench: &Bench) -> Report {
    let count = bench.scale.invoices;
    let (small, _, _small) = server(bench, SMALL).await;
    let (large, db, _large) = server(bench, count).await;
    // The 10,000th page of a list of a million.
    let skipped = count / 2 - PAGE_SIZE as i64;
    let page = skipped / PAGE_SIZE as i64 + 1;
    let how =
        format!("pages of {PAGE_SIZE}, one caller, {count} invoices (19 in 20 of one tenant) and {SMALL}");
    let mut report = Report::new("lists", how);
    for list in lists(bench) {
        let (first, deep) = (list.first(), list.deep(&db, skipped).await);
        for (server, target) in [(&small, &first), (&large, &first), (&large, &deep)] {
            let body = fetch(server.addr, &list.token, target).await;
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(body["data"].as_array().map_or(0, Vec::len), PAGE_SIZE, "{target}: a full page");
            cost(server, &list.token, target).await;
        }
        let [mut base, mut first_cost, mut deep_cost]: [Sample; 3] = Default::default();
        for round in 1..=bench.scale.rounds {
            base.push(cost(&small, &list.token, &first).await);
            first_cost.push(cost(&large, &list.token, &first).await);
            deep_cost.push(cost(&large, &list.token, &deep).await);
            progress(format_args!(
                "lists, {}, round {round}: {:.2} ms of {SMALL}, {:.2} ms of {count}, {:.2} ms deep",
                list.what,
                base.last(),
                first_cost.last(),
                deep_cost.last()
            ));
        }
        let what = list.what;
        report.shown(format!("{what}, first page of {SMALL}, ms"), &base);
        report.shown(format!("{what}, first page of {count}, ms"), &first_cost);
        report.bound(format!("{what}, first page / small"), &first_cost.over(&base), Bound::AtMost(1.5));
        report.shown(format!("{what}, page {page} of {count}, ms"), &deep_cost);
        report.bound(format!("{what}, page {page} / small"), &deep_cost.over(&base), Bound::AtMost(1.5));
    }
    small.stop().await;
    large.stop().await;
    report
}
