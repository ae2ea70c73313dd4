//! What the server can do, each beside a baseline that is measured in the same run: `cargo xtask bench`.
//!
//! The server is the released program in a process of its own, on a PostgreSQL that writes through; callers, baselines
//! and server share the machine. Rounds alternate between baseline and server, so that a slow moment of the machine meets
//! both; the median of the rounds is what is reported, with the smallest and the largest. A figure that misses its bound
//! is shown as such and fails nothing: that is for people to judge.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]
#![allow(clippy::missing_panics_doc, reason = "a benchmark that cannot go on panics")]
mod fill;
mod finalize;
mod ingest;
mod lists;
mod load;
mod quota;
mod reads;
mod report;
mod runs;
mod stand;
mod start;

use report::Report;
use scaicontrol_tests::database::Database;
use scaicontrol_tests::issuer::Issuer;
use serde_json::json;
use stand::{Bench, Folder, Scale};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str =
    "usage: bench [NAME…] --server PROGRAM [--json FILE] [--quick] [--rounds N] [--stored N] [--due N]
  NAME  ingest, ingest_single, quota, reads, lists, start, finalize, einvoice, runs; none: all of them";
const NAMES: [&str; 9] =
    ["start", "reads", "quota", "ingest_single", "einvoice", "finalize", "runs", "lists", "ingest"];

struct Options {
    names: Vec<&'static str>,
    server: PathBuf,
    json: Option<PathBuf>,
    scale: Scale,
}

impl Options {
    fn read(words: &[String]) -> Result<Options, String> {
        let full = Scale {
            rounds: 5,
            length: Duration::from_secs(4),
            stored: 10_000_000,
            batches: 60,
            singles: 500,
            invoices: 1_000_000,
            due: 20_000,
            idle: 1_000_000,
        };
        let mut options = Options { names: vec![], server: PathBuf::new(), json: None, scale: full };
        let (mut rounds, mut stored, mut due) = (None, None, None);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
            let number =
                |text: &String| text.parse::<u32>().map_err(|_| format!("{text} is no number\n{USAGE}"));
            match word.as_str() {
                "--server" => options.server = value()?.into(),
                "--json" => options.json = Some(value()?.into()),
                "--rounds" => rounds = Some(number(value()?)?),
                "--stored" => stored = Some(number(value()?)?),
                "--due" => due = Some(number(value()?)?),
                "--quick" => {
                    let length = Duration::from_secs(1);
                    options.scale = Scale {
                        rounds: 2,
                        length,
                        stored: 200_000,
                        batches: 10,
                        singles: 100,
                        invoices: 100_000,
                        due: 1_000,
                        idle: 50_000,
                    };
                }
                name => {
                    let known = NAMES.iter().find(|n| **n == name);
                    options
                        .names
                        .push(known.ok_or_else(|| format!("there is no benchmark {name}\n{USAGE}"))?);
                }
            }
        }
        if options.server.as_os_str().is_empty() {
            return Err(USAGE.to_owned());
        }
        if options.names.is_empty() {
            options.names = NAMES.to_vec();
        }
        options.scale.rounds = rounds.map_or(options.scale.rounds, |n| n.max(1) as usize);
        options.scale.stored = stored.map_or(options.scale.stored, i64::from);
        options.scale.due = due.map_or(options.scale.due, |n| n.max(10));
        Ok(options)
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async {
        if let [flag, page] = words.as_slice()
            && flag == "--serve-bare"
        {
            return reads::serve_bare(page.as_ref()).await;
        }
        let options = Options::read(&words)?;
        tokio::select! {
            done = run(&options) => done,
            () = asked_to_end() => Err("interrupted".to_owned()),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Ends with the first signal, so that servers and databases are given back.
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate()).expect("signals");
    let mut int = signal(SignalKind::interrupt()).expect("signals");
    tokio::select! { _ = term.recv() => (), _ = int.recv() => () }
}

async fn run(options: &Options) -> Result<(), String> {
    let folder = Folder::create();
    let bench = Bench {
        scale: options.scale.clone(),
        server: options.server.clone(),
        logs: folder.path().to_owned(),
        issuer: Issuer::start().await,
    };
    let machine = machine().await;
    println!(
        "{}",
        machine
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, v)| format!("{k}: {v}"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let mut reports: Vec<Report> = Vec::new();
    for name in &options.names {
        let report = match *name {
            "ingest" => ingest::batched(&bench).await,
            "ingest_single" => ingest::single(&bench).await,
            "quota" => quota::run(&bench).await,
            "reads" => reads::run(&bench).await,
            "lists" => lists::run(&bench).await,
            "finalize" => finalize::run(&bench).await,
            "einvoice" => finalize::einvoice(&bench),
            "runs" => runs::run(&bench).await,
            _ => start::run(&bench).await,
        };
        println!("{}", report.text());
        reports.push(report);
    }
    if let Some(file) = &options.json {
        let reports: Vec<_> = reports.iter().map(Report::json).collect();
        let text = json!({"machine": machine, "rounds": options.scale.rounds, "benchmarks": reports});
        let text = serde_json::to_string_pretty(&text).map_err(|e| e.to_string())?;
        std::fs::write(file, text).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    }
    Ok(())
}

/// What the figures depend on. A machine that is busy with other things gives other figures: hence its load.
async fn machine() -> serde_json::Value {
    let database = Database::empty().await;
    let db = database.connect().await;
    let setting = async |name: &str| -> String {
        db.query_one(&format!("SHOW {name}"), &[]).await.expect("a setting").get(0)
    };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "load before": load.split(' ').next(),
        "postgres": setting("server_version").await,
        "fsync": setting("fsync").await,
        "synchronous_commit": setting("synchronous_commit").await,
        "full_page_writes": setting("full_page_writes").await,
        "shared_buffers": setting("shared_buffers").await,
        "max_wal_size": setting("max_wal_size").await,
    })
}
