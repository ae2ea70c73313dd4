//! The start of the server on a migrated database, and the memory that it takes while nobody asks.
use crate::load::{self, Shot, Template};
use crate::report::{Bound, Report, Sample};
use crate::stand::{Bench, Server, progress};
use scaicontrol_tests::database::Database;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

const PAUSE: Duration = Duration::from_millis(1);
/// How long nobody asks before the memory is looked at.
const IDLE: Duration = Duration::from_secs(3);

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// See the module.
pub async fn run(bench: &Bench) -> Report {
    let database = Database::create().await;
    let [mut live, mut ready, mut memory]: [Sample; 3] = Default::default();
    for round in 1..=bench.scale.rounds.max(3) * 2 {
        let port = free_port();
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let command = bench.serve(&database, port);
        let start = Instant::now();
        let server = Server::spawn(command, addr);
        while TcpStream::connect(addr).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
        load::once(&Template::get(addr), Shot::get("/health/live")).await;
        live.push(start.elapsed().as_secs_f64());
        load::once(&Template::get(addr), Shot::get("/health")).await;
        ready.push(start.elapsed().as_secs_f64());
        tokio::time::sleep(IDLE).await;
        memory.push(server.rss_mib());
        progress(format_args!("start {round}: ready after {:.3} s, {:.0} MiB", ready.last(), memory.last()));
        server.stop().await;
    }
    let how = format!("from the start of the process to the first 200; memory {} s later", IDLE.as_secs());
    let mut report = Report::new("start", how);
    report.shown("until /health/live, s", &live);
    report.bound("until /health, s", &ready, Bound::AtMost(1.0));
    report.bound("RSS of the idle server, MiB", &memory, Bound::AtMost(100.0));
    report
}
