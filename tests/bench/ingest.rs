//! Usage events: in batches, on an empty database and on one where many are stored, and one by one.
use crate::fill;
use crate::load::{self, Run, Shot, Shots, Template, microseconds};
use crate::report::{Bound, Report, Sample};
use crate::stand::{Bench, Server, progress, uri};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::SinkExt;
use scaicontrol_server::metering::rules::text_hash;
use scaicontrol_tests::database::Database;
use std::fmt::Write;
use std::time::Instant;
use tokio_postgres::Client;

/// Tenants that are subscribed.
const TENANTS: usize = 1_000;
/// Tenants that the events of a batch belong to.
const USUAL: usize = 20;
const BATCH_CALLERS: usize = 4;
const BATCH: usize = 1_000;
const SINGLE_CALLERS: usize = 32;
const PATH: &str = "/api/v1/metering/events";

/// The table that the baseline writes into: the columns of an event and its unique key, nothing else.
const RAW: &str = "CREATE TABLE raw (tenant_id text NOT NULL, service_id uuid NOT NULL, metric_id uuid NOT NULL,
    segment_id uuid NOT NULL, idempotency_key text NOT NULL, quantity numeric(28, 10) NOT NULL, occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL, key_hash uuid NOT NULL, PRIMARY KEY (key_hash, tenant_id, service_id))";

/// Events are told apart by the run, the caller, the batch and their place in it.
#[derive(Clone, Copy)]
struct Event<'a> {
    run: &'a str,
    caller: usize,
    batch: usize,
    place: usize,
    /// Tenants among which the events of a batch are.
    among: usize,
    now: DateTime<Utc>,
}

impl Event<'_> {
    fn key(&self) -> String {
        let Event { run, caller, batch, place, .. } = self;
        format!("{run}-{caller:02}-{batch:06}-{place:04}-usage-event")
    }
    fn tenant(&self) -> usize {
        (self.batch * 7 + self.place) % self.among
    }
    fn metric(&self) -> usize {
        self.place / self.among % 2
    }
    fn occurred_at(&self) -> DateTime<Utc> {
        self.now - TimeDelta::seconds((self.place % 600) as i64)
    }

    /// As the service sends it.
    fn json(&self, out: &mut String) {
        let metric = [fill::CALLS, fill::STORAGE][self.metric()];
        let at = self.occurred_at().format("%Y-%m-%dT%H:%M:%SZ");
        let (key, tenant) = (self.key(), fill::tenant(self.tenant()));
        // Writing into a string does not fail.
        let _ = write!(
            out,
            r#"{{"idempotency_key":"{key}","tenant_id":"{tenant}","metric_slug":"{metric}","quantity":"1.5","occurred_at":"{at}"}}"#
        );
    }
    /// As COPY takes it.
    fn row(&self, out: &mut String) {
        let (key, tenant) = (self.key(), self.tenant());
        let (occurred, received) = (self.occurred_at().format("%F %T+00"), self.now.format("%F %T%.6f+00"));
        let _ = writeln!(
            out,
            "{}\t{}\t{}\t{}\t{key}\t1.5\t{occurred}\t{received}\t{}",
            fill::tenant(tenant),
            fill::service_id(),
            fill::metric_ids()[self.metric()],
            fill::segment(tenant),
            text_hash(&key)
        );
    }
}

#[expect(clippy::disallowed_methods, reason = "the measured server runs on the machine's clock")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// What the callers of a run send.
#[derive(Clone, Copy)]
struct Plan {
    callers: usize,
    /// Batches of each caller.
    count: usize,
    /// Events of a batch.
    size: usize,
    /// Tenants among which the events of a batch are.
    among: usize,
}

impl Plan {
    const fn batches(count: usize, among: usize) -> Plan {
        Plan { callers: BATCH_CALLERS, count, size: BATCH, among }
    }
    const fn singles(count: usize) -> Plan {
        Plan { callers: SINGLE_CALLERS, count, size: 1, among: USUAL }
    }

    /// The batches of one caller: what stands before, between and after the events, and how an event is written.
    fn make(
        &self,
        run: &str,
        caller: usize,
        [before, between, after]: [&str; 3],
        write: fn(&Event<'_>, &mut String),
    ) -> Vec<Bytes> {
        let now = now();
        let one = |batch| {
            let mut out = String::from(before);
            for place in 0..self.size {
                if place > 0 {
                    out.push_str(between);
                }
                write(&Event { run, caller, batch, place, among: self.among, now }, &mut out);
            }
            out.push_str(after);
            Bytes::from(out)
        };
        (0..self.count).map(one).collect()
    }
}

/// Events stored by requests.
async fn post(server: &Server, key: &str, run: &str, plan: Plan) -> Run {
    let holds: &[u8] = if plan.size == 1 {
        b"\"accepted\":1,\"duplicates\":0"
    } else {
        b"\"accepted\":1000,\"duplicates\":0"
    };
    let template = Template::post(server.addr, 202, holds).header("x-scaicontrol-key", key);
    let target = uri(PATH);
    let shots = (0..plan.callers)
        .map(|caller| {
            let target = target.clone();
            let bodies = plan.make(run, caller, [r#"{"events":["#, ",", "]}"], |e, out| e.json(out));
            Box::new(bodies.into_iter().map(move |body| Shot::post(&target, body))) as Shots
        })
        .collect();
    load::run(&template, shots, None).await
}

/// The same rows by COPY.
async fn copy(database: &Database, run: &str, plan: Plan) -> Run {
    let mut work = Vec::new();
    for caller in 0..plan.callers {
        let batches = plan.make(run, caller, ["", "", ""], |e, out| e.row(out));
        work.push((database.connect().await, batches));
    }
    let start = Instant::now();
    let tasks: Vec<_> = work.into_iter().map(|(db, batches)| tokio::spawn(copy_all(db, batches))).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a caller"));
    }
    Run::of(start.elapsed(), latencies)
}

async fn copy_all(db: Client, batches: Vec<Bytes>) -> Vec<u32> {
    let mut latencies = Vec::with_capacity(batches.len());
    for batch in batches {
        let start = Instant::now();
        let sink = db.copy_in::<_, Bytes>("COPY raw FROM STDIN").await.expect("a copy");
        let mut sink = std::pin::pin!(sink);
        sink.send(batch).await.expect("rows");
        sink.finish().await.expect("rows that are stored");
        latencies.push(microseconds(start.elapsed()));
    }
    latencies
}

/// A database whose events can be counted, with a server on it.
struct Target {
    server: Server,
    key: String,
    db: Client,
    database: Database,
    stored: i64,
}

impl Target {
    async fn new(bench: &Bench, stored: i64) -> Target {
        let database = Database::create().await;
        let db = database.connect().await;
        fill::subscribed(&db, TENANTS).await;
        let key = fill::service_key(&db).await;
        if 0 < stored {
            fill::events(&database, TENANTS, stored).await;
        }
        let server = bench.start(&database).await;
        Target { server, key, db, database, stored }
    }

    /// Ends it, when each accepted event was counted once.
    async fn end(self, accepted: usize) {
        self.server.stop().await;
        let sql = "SELECT (SELECT count(*) FROM usage_keys), (SELECT count(*) FROM usage_events), (SELECT sum(events)::bigint FROM usage_totals),
            (SELECT sum(events)::bigint FROM usage_segment_totals)";
        let row = self.db.query_one(sql, &[]).await.expect("counts");
        let expected = self.stored + accepted as i64;
        for (place, what) in
            ["keys", "events", "events in the hours", "events in the segments"].iter().enumerate()
        {
            let found: i64 = row.get(place);
            assert_eq!(found, expected, "{what}: each event that was accepted is stored once");
        }
        drop(self.database);
    }
}

/// Batches of 1,000 from four callers.
pub async fn batched(bench: &Bench) -> Report {
    let stored = bench.scale.stored;
    let raw = Database::empty().await;
    raw.connect().await.batch_execute(RAW).await.expect("a table");
    let small = Target::new(bench, 0).await;
    let large = Target::new(bench, stored).await;
    let (warm, usual) = (Plan::batches(5, USUAL), Plan::batches(bench.scale.batches, USUAL));
    let wide = Plan::batches(bench.scale.batches / 4, TENANTS);
    copy(&raw, "warm", warm).await;
    post(&small.server, &small.key, "warm", warm).await;
    // After a checkpoint the first change of each page is written whole, which a running server does once in minutes. The
    // large table is measured as it runs, so each page of its keys is changed once before: a tenth of what is stored.
    let settling = Plan::batches(usize::try_from(stored / 40_000).unwrap_or_default().max(warm.count), USUAL);
    post(&large.server, &large.key, "warm", settling).await;
    let [mut baseline, mut empty, mut full, mut spread]: [Sample; 4] = Default::default();
    let [mut empty_p99, mut full_p99]: [Sample; 2] = Default::default();
    for round in 1..=bench.scale.rounds {
        let run = format!("r{round:02}");
        baseline.push(copy(&raw, &run, usual).await.per_second() * BATCH as f64);
        let ours = post(&small.server, &small.key, &run, usual).await;
        empty.push(ours.per_second() * BATCH as f64);
        empty_p99.push(ours.within_ms(99));
        let ours = post(&large.server, &large.key, &run, usual).await;
        full.push(ours.per_second() * BATCH as f64);
        full_p99.push(ours.within_ms(99));
        let ours = post(&small.server, &small.key, &format!("w{round:02}"), wide).await;
        spread.push(ours.per_second() * BATCH as f64);
        progress(format_args!(
            "ingest, round {round}: COPY {:.0}, ours {:.0}, with {stored} stored {:.0}, wide {:.0} events/s",
            baseline.last(),
            empty.last(),
            full.last(),
            spread.last()
        ));
    }
    let accepted = |plan: Plan, rounds: usize| plan.callers * plan.count * plan.size * rounds;
    let measured = accepted(usual, bench.scale.rounds);
    small.end(accepted(warm, 1) + measured + accepted(wide, bench.scale.rounds)).await;
    large.end(accepted(settling, 1) + measured).await;
    let how = format!(
        "batches of {BATCH}, {BATCH_CALLERS} callers, 2 metrics of {USUAL} tenants in a batch; {} batches of each caller in a round",
        usual.count
    );
    let mut report = Report::new("ingest", how);
    report.shown("COPY into one table, rows/s", &baseline);
    report.bound("ours, events/s", &empty, Bound::AtLeast(20_000.0));
    report.bound("ours / COPY", &empty.over(&baseline), Bound::AtLeast(0.5));
    report.shown("ours, p99 of a batch, ms", &empty_p99);
    report.bound(format!("ours with {stored} stored, events/s"), &full, Bound::AtLeast(20_000.0));
    report.bound(format!("ours with {stored} stored / COPY"), &full.over(&baseline), Bound::AtLeast(0.5));
    report.bound(format!("ours with {stored} stored / without"), &full.over(&empty), Bound::Within(0.9, 1.1));
    report.shown(format!("ours with {stored} stored, p99 of a batch, ms"), &full_p99);
    report.bound(format!("ours, {TENANTS} tenants in a batch, events/s"), &spread, Bound::AtLeast(20_000.0));
    report
}

/// Single events from 32 callers.
pub async fn single(bench: &Bench) -> Report {
    let raw = Database::empty().await;
    raw.connect().await.batch_execute(RAW).await.expect("a table");
    let target = Target::new(bench, 0).await;
    let (warm, plan) = (Plan::singles(20), Plan::singles(bench.scale.singles));
    post(&target.server, &target.key, "warm", warm).await;
    insert(&raw, "warm", warm).await;
    let [mut baseline, mut ours, mut p50, mut p99]: [Sample; 4] = Default::default();
    for round in 1..=bench.scale.rounds {
        let run = format!("r{round:02}");
        baseline.push(insert(&raw, &run, plan).await.per_second());
        let done = post(&target.server, &target.key, &run, plan).await;
        ours.push(done.per_second());
        p50.push(done.within_ms(50));
        p99.push(done.within_ms(99));
        progress(format_args!(
            "ingest_single, round {round}: INSERT {:.0}, ours {:.0} requests/s, p99 {:.1} ms",
            baseline.last(),
            ours.last(),
            p99.last()
        ));
    }
    target.end(SINGLE_CALLERS * (warm.count + plan.count * bench.scale.rounds)).await;
    let how = format!("one event in a request, {SINGLE_CALLERS} callers, {USUAL} tenants");
    let mut report = Report::new("ingest_single", how);
    report.shown(format!("INSERT of one row, {SINGLE_CALLERS} connections, rows/s"), &baseline);
    report.bound("ours, requests/s", &ours, Bound::AtLeast(3_000.0));
    report.shown("ours / INSERT", &ours.over(&baseline));
    report.shown("ours, p50, ms", &p50);
    report.bound("ours, p99, ms", &p99, Bound::AtMost(20.0));
    report
}

/// The same rows, each by a prepared statement in a transaction of its own.
async fn insert(database: &Database, run: &str, plan: Plan) -> Run {
    let mut work = Vec::new();
    for caller in 0..plan.callers {
        work.push((database.connect().await, caller));
    }
    let now = now();
    let start = Instant::now();
    let tasks: Vec<_> = work
        .into_iter()
        .map(|(db, caller)| {
            let run = run.to_owned();
            tokio::spawn(async move {
                let sql = "INSERT INTO raw (tenant_id, service_id, metric_id, segment_id, idempotency_key, quantity, occurred_at, received_at, key_hash)
                    VALUES ($1, $2, $3, $4, $5, 1.5, $6, $7, $8)";
                let statement = db.prepare(sql).await.expect("a statement");
                let mut latencies = Vec::with_capacity(plan.count);
                for batch in 0..plan.count {
                    let event = Event { run: &run, caller, batch, place: 0, among: plan.among, now };
                    let (key, tenant) = (event.key(), event.tenant());
                    let sent = Instant::now();
                    let metric = fill::metric_ids()[event.metric()];
                    let (service, segment, at) = (fill::service_id(), fill::segment(tenant), event.occurred_at());
                    let (tenant, hash) = (fill::tenant(tenant), text_hash(&key));
                    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
                        [&tenant, &service, &metric, &segment, &key, &at, &now, &hash];
                    db.execute(&statement, &values).await.expect("a row");
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
