//! What an operator sees of a running server: its log, its metrics, its health.
//!
//! Writing a log line must never hold up a request: lines wait in a bounded queue for a thread of their own, and when it
//! is full they are dropped and counted. Lines hold ids, names of operations and statuses; no bodies, no queries, no
//! headers, so nothing secret can get into them by accident.
use crate::app::Control;
use crate::config::{self, LogFormat, LogLevel};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use scaicontrol_api::Observe;
use slog::{Drain, Level, Logger, OwnedKVList, Record, o};
use std::collections::BTreeMap;
use std::io::LineWriter;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

// ---- the log

/// A longer line of the log takes more than one write.
const LINE_BYTES: usize = 8192;

/// A log, and what belongs to it.
pub struct Log {
    /// Where lines go in.
    pub logger: Logger,
    /// Counts lines that were dropped.
    pub dropped: Counter,
    /// Writes what still waits when it is dropped; keep it until the process ends.
    flush: slog_async::AsyncGuard,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("dropped", &self.dropped.get()).finish_non_exhaustive()
    }
}

/// The log and the counter of lines that it dropped, without the promise to write the last lines before the end.
pub fn logger(config: &config::Log) -> (Logger, Counter) {
    let Log { logger, dropped, flush } = log(config);
    std::mem::forget(flush);
    (logger, dropped)
}

/// The log as configured. Lines go to standard error.
pub fn log(config: &config::Log) -> Log {
    let level = match config.level {
        LogLevel::Error => Level::Error,
        LogLevel::Warning => Level::Warning,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
        LogLevel::Trace => Level::Trace,
    };
    match config.format {
        // A line is written whole: piece by piece, as it is put together, it would cost dozens of system calls.
        LogFormat::Json => {
            queued(json(LineWriter::with_capacity(LINE_BYTES, std::io::stderr())), level, config.buffer)
        }
        LogFormat::Terminal => {
            let decorator = slog_term::TermDecorator::new().stderr().build();
            queued(Mutex::new(slog_term::CompactFormat::new(decorator).build()), level, config.buffer)
        }
    }
}

fn json<W: std::io::Write + Send + 'static>(
    out: W,
) -> impl Drain<Ok = (), Err = impl std::fmt::Debug> + Send + 'static {
    let head = o!(
        // Written from the last to the first.
        "msg" => slog::PushFnValue(|r: &Record<'_>, s| s.emit(r.msg())),
        "level" => slog::FnValue(|r| r.level().as_str().to_ascii_lowercase()),
        "ts" => slog::FnValue(|_| timestamp()),
    );
    Mutex::new(slog_json::Json::new(out).add_key_value(head).build())
}

#[expect(clippy::disallowed_methods, reason = "a log line carries the time at which it was really written")]
fn timestamp() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

fn queued<D>(drain: D, level: Level, buffer: usize) -> Log
where
    D: Drain + Send + 'static,
    D::Err: std::fmt::Debug,
{
    let core = slog_async::AsyncCore::custom(drain.ignore_res());
    let (core, flush) = core.chan_size(buffer).blocking(false).thread_name("log".into()).build_with_guard();
    let dropped = Counter::default();
    let drain = CountDropped { core, dropped: dropped.clone() };
    Log { logger: Logger::root(slog::LevelFilter::new(drain, level).ignore_res(), o!()), dropped, flush }
}

struct CountDropped {
    core: slog_async::AsyncCore,
    dropped: Counter,
}

impl Drain for CountDropped {
    type Ok = ();
    type Err = slog::Never;
    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        if self.core.log(record, values).is_err() {
            self.dropped.inc();
        }
        Ok(())
    }
}

// ---- metrics

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    operation: &'static str,
    status: u16,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Of {
    operation: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct State {
    state: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Queue {
    queue: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Worker {
    worker: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Run {
    worker: &'static str,
    result: &'static str,
}

/// The media type of [`Metrics::text`].
pub const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Upper bounds of the buckets of a request's time, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Counters and gauges; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Of, Histogram, fn() -> Histogram>,
    pool: Family<State, Gauge>,
    queues: Family<Queue, Gauge>,
    last_run: Family<Worker, Gauge>,
    lag: Family<Worker, Gauge>,
    runs: Family<Run, Counter>,
    differences: Counter,
    workers: Mutex<BTreeMap<&'static str, Watched>>,
}

#[derive(Debug)]
struct Watched {
    period: Duration,
    last_success: Instant,
}

/// How a look of a worker went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It did its work.
    Ok,
    /// It failed.
    Failed,
    /// Another server was in it.
    Skipped {
        /// How long ago it last did its work, at whichever server; none when that is not known.
        worked: Option<Duration>,
    },
}

impl Ran {
    fn as_str(self) -> &'static str {
        match self {
            Ran::Ok => "ok",
            Ran::Failed => "failed",
            Ran::Skipped { .. } => "skipped",
        }
    }
}

impl Metrics {
    /// Nothing counted yet. `dropped` is the log's counter.
    pub fn new(dropped: Counter) -> Metrics {
        let mut registry = Registry::with_prefix("scaicontrol");
        let requests = Family::default();
        let seconds = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let (pool, queues, last_run, lag, runs) =
            (Family::default(), Family::default(), Family::default(), Family::default(), Family::default());
        registry.register("http_requests", "Requests by operation and status", Family::clone(&requests));
        registry.register_with_unit(
            "http_request_duration",
            "Time of a request",
            Unit::Seconds,
            Family::clone(&seconds),
        );
        registry.register(
            "db_pool_connections",
            "Connections of the pool; `waiting` counts requests",
            Family::clone(&pool),
        );
        registry.register("queue_depth", "Rows that wait for a worker", Family::clone(&queues));
        registry.register_with_unit(
            "worker_last_run_timestamp",
            "When a worker last ran at this server",
            Unit::Seconds,
            Family::clone(&last_run),
        );
        registry.register_with_unit(
            "worker_lag",
            "How far a worker is behind",
            Unit::Seconds,
            Family::clone(&lag),
        );
        registry.register(
            "worker_runs",
            "Looks of a worker by result; `skipped`: another server was in it",
            Family::clone(&runs),
        );
        let differences = Counter::default();
        registry.register(
            "books_differences",
            "Nightly proofs of the books that found a difference",
            differences.clone(),
        );
        registry.register("log_lines_dropped", "Log lines that did not fit into the queue", dropped);
        let info = prometheus_client::metrics::info::Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program", info);
        let workers = Mutex::default();
        let inner =
            Inner { registry, requests, seconds, pool, queues, last_run, lag, runs, differences, workers };
        Metrics(Arc::new(inner))
    }

    /// How many rows wait in a queue.
    pub fn queue(&self, queue: &'static str, depth: i64) {
        self.0.queues.get_or_create(&Queue { queue }).set(depth);
    }

    /// A worker of that period runs in this server from now on; from here on its absence is noticed.
    pub fn worker_started(&self, worker: &'static str, period: Duration) {
        self.workers().insert(worker, Watched { period, last_success: Instant::now() });
    }

    /// A worker looked. `lag` is how far it is behind, when that is known.
    ///
    /// A look that another server is in says nothing about the work: it is no run of this server. Whether the worker is
    /// missed follows from when the work was last done, wherever: a server that is always second is well, and when nobody
    /// gets on with it, all of them say so.
    pub fn worker_ran(&self, worker: &'static str, ran: Ran, lag: Option<Duration>) {
        self.0.runs.get_or_create(&Run { worker, result: ran.as_str() }).inc();
        if let Some(lag) = lag {
            self.0
                .lag
                .get_or_create(&Worker { worker })
                .set(i64::try_from(lag.as_secs()).unwrap_or(i64::MAX));
        }
        let worked = match ran {
            Ran::Skipped { worked } => worked,
            Ran::Ok | Ran::Failed => {
                self.0.last_run.get_or_create(&Worker { worker }).set(seconds_since_1970());
                (ran == Ran::Ok).then_some(Duration::ZERO)
            }
        };
        if let Some(at) = worked.and_then(|ago| Instant::now().checked_sub(ago))
            && let Some(watched) = self.workers().get_mut(worker)
        {
            watched.last_success = watched.last_success.max(at);
        }
    }

    /// The nightly proof found a difference.
    pub fn books_differ(&self) {
        self.0.differences.inc();
    }

    /// Workers that did not succeed, at this server or at another that was in them, within three of their periods and a minute.
    pub fn overdue_workers(&self) -> Vec<&'static str> {
        let late = |w: &Watched| w.last_success.elapsed() > w.period * 3 + Duration::from_secs(60);
        self.workers().iter().filter(|(_, w)| late(w)).map(|(name, _)| *name).collect()
    }

    /// The text that Prometheus reads.
    pub fn text(&self, control: &Control) -> String {
        let pool = control.db.status();
        for (state, value) in [("open", pool.size), ("idle", pool.idle), ("waiting", pool.waiting)] {
            self.0.pool.get_or_create(&State { state }).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        let mut out = String::new();
        // Writing into a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut out, &self.0.registry);
        out
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Watched>> {
        self.0.workers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Observe for Metrics {
    fn request(&self, operation: &'static str, status: u16, elapsed: Duration) {
        self.0.requests.get_or_create(&Request { operation, status }).inc();
        self.0.seconds.get_or_create(&Of { operation }).observe(elapsed.as_secs_f64());
    }
}

#[expect(clippy::disallowed_methods, reason = "monitoring compares it with the machine's clock")]
fn seconds_since_1970() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_json_object() {
        let buffer = Buffer::default();
        let log = Logger::root(json(buffer.clone()).ignore_res(), o!("request_id" => "req_1"));
        slog::warn!(log, "two\nlines"; "status" => 200);
        let text = String::from_utf8(buffer.0.lock().expect("lock").clone()).expect("text");
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!(line["msg"], "two\nlines");
        assert_eq!(line["level"], "warning");
        assert_eq!((&line["status"], &line["request_id"]), (&200.into(), &"req_1".into()));
        assert!(line["ts"].as_str().expect("a time").ends_with('Z'));
    }

    #[test]
    fn lines_that_do_not_fit_are_counted_and_hold_nobody_up() {
        /// Does not return before it is told to.
        struct Stuck(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);
        impl Drain for Stuck {
            type Ok = ();
            type Err = slog::Never;
            fn log(&self, _: &Record<'_>, _: &OwnedKVList) -> Result<(), slog::Never> {
                let _ = self.0.lock().expect("lock").recv();
                Ok(())
            }
        }
        let (free, stuck) = std::sync::mpsc::channel();
        let Log { logger: log, dropped, flush: _flush } =
            queued(Stuck(std::sync::Mutex::new(stuck)), Level::Info, 2);
        for _ in 0..100 {
            slog::info!(log, "line");
            slog::debug!(log, "below the level");
        }
        assert!((95..=98).contains(&dropped.get()), "{}", dropped.get());
        drop(free);
        drop(log);
    }

    #[test]
    fn a_worker_that_never_started_is_not_missed() {
        let metrics = Metrics::new(Counter::default());
        assert!(metrics.overdue_workers().is_empty());
        metrics.worker_started("outbox", Duration::from_secs(1));
        metrics.worker_ran("outbox", Ran::Ok, Some(Duration::from_secs(2)));
        assert!(metrics.overdue_workers().is_empty());
    }

    #[test]
    fn a_server_that_is_always_second_is_well_while_the_work_is_done() {
        let metrics = Metrics::new(Counter::default());
        let (period, old) = (Duration::from_secs(1), Duration::from_secs(64));
        metrics.worker_started("outbox", period);
        let Some(since) = Instant::now().checked_sub(old) else { return };
        let long_ago = || {
            for watched in metrics.workers().values_mut() {
                watched.last_success = since;
            }
        };
        long_ago();
        for worked in [None, Some(old)] {
            metrics.worker_ran("outbox", Ran::Skipped { worked }, None);
            assert_eq!(metrics.overdue_workers(), ["outbox"], "nobody gets on: {worked:?}");
        }
        metrics.worker_ran("outbox", Ran::Skipped { worked: Some(period) }, None);
        assert!(metrics.overdue_workers().is_empty(), "another server does");
        long_ago();
        metrics.worker_ran("outbox", Ran::Failed, None);
        assert_eq!(metrics.overdue_workers(), ["outbox"]);
        let runs = |result| metrics.0.runs.get_or_create(&Run { worker: "outbox", result }).get();
        assert_eq!((runs("ok"), runs("skipped"), runs("failed")), (0, 3, 1));
    }
}
