//! The list of the catalogue, beside a bare dropshot server that answers the same body.
use crate::fill;
use crate::load::{self, Run, Shot, Shots, Template};
use crate::report::{Bound, Report, Sample};
use crate::stand::{Bench, Server, fetch, progress};
use dropshot::{
    ApiDescription, ConfigDropshot, HttpError, HttpResponseOk, RequestContext, ServerBuilder, endpoint,
};
use scaicontrol_tests::database::Database;
use scaicontrol_types::CatalogServicePage;
use std::path::Path;
use std::time::Duration;

const CALLERS: usize = 32;
const SERVICES: usize = 10;
const PATH: &str = "/api/v1/catalog/services";

/// The one route of the bare server.
#[endpoint { method = GET, path = "/api/v1/catalog/services" }]
async fn list(
    rqctx: RequestContext<CatalogServicePage>,
) -> Result<HttpResponseOk<CatalogServicePage>, HttpError> {
    Ok(HttpResponseOk(rqctx.context().clone()))
}

/// The bare server, in this program when it is started for that; it runs until it is killed.
pub async fn serve_bare(page: &Path) -> Result<(), String> {
    let page = std::fs::read(page).map_err(|e| e.to_string())?;
    let page: CatalogServicePage = serde_json::from_slice(&page).map_err(|e| e.to_string())?;
    let mut api = ApiDescription::new();
    api.register(list).map_err(|e| e.to_string())?;
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let config = ConfigDropshot { bind_address: ([127, 0, 0, 1], 0).into(), ..Default::default() };
    let server = ServerBuilder::new(api, page, log).config(config).start().map_err(|e| e.to_string())?;
    println!("listening on http://{}", server.local_addr());
    server.await
}

async fn ask(server: &Server, token: &str, length: Duration) -> Run {
    let template = Template::get(server.addr).token(token);
    let shot = Shot::get(PATH);
    let shots = (0..CALLERS).map(|_| Box::new(std::iter::repeat(shot.clone())) as Shots).collect();
    load::run(&template, shots, Some(length)).await
}

/// See the module.
pub async fn run(bench: &Bench) -> Report {
    let database = Database::create().await;
    fill::catalogue(&database.connect().await, SERVICES).await;
    let server = bench.start(&database).await;
    let token = bench.token("tenant_admin", "tnt_reads", fill::PARTNER);
    let body = fetch(server.addr, &token, PATH).await;
    let page = bench.logs.join("page.json");
    std::fs::write(&page, &body).expect("a file");
    let mut command = bench.command(std::env::current_exe().expect("this program"));
    command.arg("--serve-bare").arg(&page);
    let bare = Server::listening(command).await;
    let same = fetch(bare.addr, &token, PATH).await;
    let json = |body: &[u8]| serde_json::from_slice::<serde_json::Value>(body).expect("JSON");
    assert_eq!(json(&same), json(&body), "the bare route answers the same");
    let warm = Duration::from_millis(500);
    ask(&bare, &token, warm).await;
    ask(&server, &token, warm).await;
    let [mut baseline, mut ours, mut p99]: [Sample; 3] = Default::default();
    for round in 1..=bench.scale.rounds {
        baseline.push(ask(&bare, &token, bench.scale.length).await.per_second());
        let done = ask(&server, &token, bench.scale.length).await;
        ours.push(done.per_second());
        p99.push(done.within_ms(99));
        progress(format_args!(
            "reads, round {round}: bare {:.0}, ours {:.0} requests/s",
            baseline.last(),
            ours.last()
        ));
    }
    server.stop().await;
    let how = format!(
        "the list of the catalogue, {SERVICES} services, {} bytes, {CALLERS} callers, each with a token",
        body.len()
    );
    let mut report = Report::new("reads", how);
    report.shown("bare dropshot route, requests/s", &baseline);
    report.shown("ours, requests/s", &ours);
    report.bound("ours / bare", &ours.over(&baseline), Bound::AtLeast(0.5));
    report.shown("ours, p99, ms", &p99);
    report
}
