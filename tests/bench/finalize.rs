//! Issuing documents: drafts of ten lines, finalized by several callers at once, all of one seller, so that every one of
//! them waits for the same series of numbers. Beside it what no implementation can do without: the row of the series,
//! locked, counted up and committed. Then the electronic invoice alone, from our terms to checked XML.
use crate::load::{self, Run, Shot, Shots, Template, microseconds};
use crate::report::{Bound, Report, Sample};
use crate::stand::{Bench, Server, progress};
use http::Uri;
use scaicontrol_einvoice::{Document, Profile, build, cases};
use scaicontrol_tests::OPERATOR;
use scaicontrol_tests::database::Database;
use serde_json::{Value, json};
use std::time::Instant;

const CALLERS: usize = 8;
const TENANTS: usize = 20;
const LINES: usize = 10;
/// Documents before those that are measured.
const WARM: usize = 8 * CALLERS;
const INVOICES: &str = "/api/v1/admin/invoices";
/// Documents an hour that must be reached, as documents a second.
const PER_SECOND: f64 = 200_000.0 / 3_600.0;

fn uri(path: &str) -> Uri {
    path.parse().expect("a path")
}

/// A seller, and buyers who are known from their first tokens.
async fn parties(bench: &Bench, server: &Server) {
    let partner = json!({
        "partner_id": "prt_bench", "name": "Noord", "legal_name": "Noord Software B.V.", "seller_address_line1": "Keizersgracht 12",
        "seller_postal_code": "1015 CN", "seller_city": "Amsterdam", "seller_country_code": "NL",
        "seller_vat_number": "NL123456782B90", "seller_registration_number": "34123456", "timezone": "Europe/Amsterdam",
        "seller_iban": "NL91ABNA0417164300", "seller_email": "billing@example.com",
    });
    let made = Template::post(server.addr, 201, b"prt_bench").token(&bench.operator());
    load::once(&made, Shot::post(&uri("/api/v1/admin/partners"), partner.to_string())).await;
    let profile = json!({
        "company_name": "Acme B.V.", "address_line1": "Coolsingel 40", "postal_code": "3011 AD", "city": "Rotterdam",
        "country_code": "NL", "is_business": true, "contact_email": "finance@example.com", "buyer_reference": "PO-1",
    });
    for tenant in 0..TENANTS {
        let token = bench.token("tenant_admin", &format!("tnt_{tenant}"), "prt_bench");
        let put = Template::put(server.addr).token(&token);
        load::once(&put, Shot::post(&uri("/api/v1/billing/billing-profile"), profile.to_string())).await;
    }
}

/// Drafts of ten lines; answers their ids.
async fn drafts(bench: &Bench, server: &Server, count: usize) -> Vec<String> {
    let token = bench.operator();
    let tasks: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let template = Template::post(server.addr, 201, b"draft").token(&token);
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for n in (caller..count).step_by(CALLERS) {
                    let lines: Vec<Value> = (1..=LINES)
                        .map(|n| json!({"description": format!("Service of item {n}"), "quantity": "3", "unit_price_cents": "1995"}))
                        .collect();
                    let asked = json!({"tenant_id": format!("tnt_{}", n % TENANTS), "currency": "EUR", "line_items": lines});
                    let made = load::once(&template, Shot::post(&uri(INVOICES), asked.to_string())).await;
                    let made: Value = serde_json::from_slice(&made).expect("a draft");
                    ids.push(made["data"]["id"].as_str().expect("an id").to_owned());
                }
                ids
            })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.extend(task.await.expect("drafts"));
    }
    ids
}

async fn finalize(bench: &Bench, server: &Server, ids: &[String]) -> Run {
    let template = Template::post(server.addr, 200, b"finalized").token(&bench.operator());
    let shots = ids
        .chunks(ids.len().div_ceil(CALLERS))
        .map(|ids| {
            let own: Vec<Shot> =
                ids.iter().map(|id| Shot::post(&uri(&format!("{INVOICES}/{id}/finalize")), "")).collect();
            Box::new(own.into_iter()) as Shots
        })
        .collect();
    load::run(&template, shots, None).await
}

/// The row of a series, counted up in transactions of their own.
async fn counted(database: &Database, count: usize) -> Run {
    let mut connections = Vec::new();
    for _ in 0..CALLERS {
        connections.push(database.connect().await);
    }
    let start = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|db| {
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                for _ in 0..count / CALLERS {
                    let sent = Instant::now();
                    db.execute("UPDATE raw SET value = value + 1", &[]).await.expect("counted");
                    latencies.push(microseconds(sent.elapsed()));
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a caller"));
    }
    Run::of(start.elapsed(), latencies)
}

/// See the module.
pub async fn run(bench: &Bench) -> Report {
    let database = Database::create().await;
    let raw = Database::empty().await;
    let table = "CREATE TABLE raw (value bigint NOT NULL); INSERT INTO raw VALUES (0)";
    raw.connect().await.batch_execute(table).await.expect("a table");
    let mut command = bench.serve(&database, 0);
    // PDFs are rendered afterwards, by a worker, and are not what is measured.
    command.arg("--set").arg("workers.enabled=false");
    let server = Server::listening(command).await;
    parties(bench, &server).await;
    let count = bench.scale.batches * CALLERS;
    let warm = drafts(bench, &server, WARM).await;
    finalize(bench, &server, &warm).await;
    let db = database.connect().await;
    let [mut baseline, mut ours, mut p50, mut p99]: [Sample; 4] = Default::default();
    for round in 1..=bench.scale.rounds {
        baseline.push(counted(&raw, count).await.per_second());
        let ids = drafts(bench, &server, count + WARM).await;
        // A database that lives knows its tables; one that was just made has them analysed a minute later. Every
        // connection then plans anew, once.
        db.batch_execute("ANALYZE").await.expect("statistics");
        let (warm, ids) = ids.split_at(WARM);
        finalize(bench, &server, warm).await;
        let done = finalize(bench, &server, ids).await;
        ours.push(done.per_second());
        p50.push(done.within_ms(50));
        p99.push(done.within_ms(99));
        progress(format_args!(
            "finalize, round {round}: counter {:.0}, ours {:.0} a second, p99 {:.1} ms",
            baseline.last(),
            ours.last(),
            p99.last()
        ));
    }
    server.stop().await;
    let how = format!(
        "{CALLERS} callers, one seller ({OPERATOR} aside), {TENANTS} tenants, {LINES} lines; {count} documents in a round"
    );
    let mut report = Report::new("finalize", how);
    report.shown("the series' row alone, commits/s", &baseline);
    report.bound("documents issued a second", &ours, Bound::AtLeast(PER_SECOND));
    report.shown("ours / the series' row alone", &ours.over(&baseline));
    report.shown("p50, ms", &p50);
    report.bound("p99, ms", &p99, Bound::AtMost(50.0));
    report
}

/// A domestic invoice of ten lines.
fn invoice() -> Document {
    let lines = (1..=LINES).map(|n| cases::line(&format!("Service of item {n}, March 2026"), 3, 1_995));
    let usual =
        cases::all().into_iter().find(|case| case.name == "domestic_business").expect("a case").document;
    cases::Given::new(usual.seller, usual.buyer, lines.collect()).invoice()
}

/// The electronic invoice alone, in every profile: built, checked and written.
pub fn einvoice(bench: &Bench) -> Report {
    let document = invoice();
    let mut report = Report::new("einvoice", format!("{LINES} lines: built, checked by every rule, written"));
    for profile in Profile::ALL {
        let mut each = Sample::default();
        for _ in 0..bench.scale.rounds {
            let begin = Instant::now();
            for _ in 0..500 {
                build(&document, profile).expect("an invoice");
            }
            each.push(begin.elapsed().as_secs_f64() * 1_000.0 / 500.0);
        }
        report.bound(format!("{profile}, ms"), &each, Bound::AtMost(2.0));
    }
    report
}
