//! Runs the workers: each in a loop of its own, as often as its line says, with its metrics.
use super::{Done, Due, WORKERS, Worker, find, next_due, state};
use crate::app::Control;
use crate::clock::Clock;
use crate::db::Conn;
use crate::dev;
use crate::error::{Error, Result};
use crate::observability::Ran;
use crate::op::{OpContext, Scope};
use chrono::DateTime;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a tick may take before the worker is missed, however often it looks.
const MISSED_AFTER: Duration = Duration::from_secs(60);

/// The workers of one server.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Starts these workers. Under a simulated clock those that go by it have no loop: they work when it is moved.
pub fn start(control: &Control, workers: &'static [Worker]) -> Workers {
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let by_clock = |worker: &Worker| matches!(worker.due, Due::OnClock(_) | Due::Nightly(_));
    for worker in workers.iter().filter(|w| !(control.clock.is_simulated() && by_clock(w))) {
        control.metrics.worker_started(worker.name, worker.period.max(MISSED_AFTER));
        tasks.spawn(dev::apart(run(control.clone(), worker, stopped.clone())));
    }
    Workers { stop, tasks }
}

impl Workers {
    /// Lets the ticks in hand come to an end, for at most `grace`; then ends them.
    pub async fn stop(mut self, grace: Duration) {
        let _ = self.stop.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(grace, all).await;
        self.tasks.abort_all();
    }
}

async fn run(control: Control, worker: &'static Worker, mut stopped: watch::Receiver<bool>) {
    let mut interval = tokio::time::interval(worker.period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Whoever has more to do stops nevertheless.
            biased;
            // The sender is gone when the server is.
            _ = stopped.wait_for(|stop| *stop) => return,
            _ = interval.tick() => {}
        }
        match tick(&control, worker).await {
            Err(e) => slog::warn!(control.log, "worker failed"; "worker" => worker.name, "error" => %e),
            Ok(Some(done)) if done.has_more() => interval.reset_immediately(),
            Ok(_) => {}
        }
    }
}

/// What the worker does. One that panics has failed like any other: what panicked is its transaction, not its loop.
async fn work(op: &OpContext, control: &Control, worker: &Worker) -> Result<Done> {
    let work = AssertUnwindSafe(async { (worker.tick)(op, control).await });
    work.catch_unwind().await.unwrap_or_else(|_| Err(Error::internal("it panicked")))
}

/// One tick, counted; nothing when another server is in it.
///
/// The next look of a worker that another server is in finds out what that one left.
pub async fn tick(control: &Control, worker: &Worker) -> Result<Option<Done>> {
    let op = OpContext::system(&control.clock, &control.ids, worker.name);
    let done = if worker.alone {
        control.db.alone(worker.name, Box::pin(noted(&op, control, worker))).await.and_then(Option::transpose)
    } else {
        work(&op, control, worker).await.map(Some)
    };
    let ran = match &done {
        Ok(Some(_)) => Ran::Ok,
        Ok(None) => Ran::Skipped { worked: worked_ago(control, &op, worker).await },
        Err(_) => Ran::Failed,
    };
    let lag = match lag(control, worker).await {
        Ok(lag) => Some(lag),
        Err(e) => {
            slog::warn!(control.log, "a worker's lag is unknown"; "worker" => worker.name, "error" => %e);
            None
        }
    };
    control.metrics.worker_ran(worker.name, ran, lag);
    if let Ok(Some(done)) = &done
        && !done.is_nothing()
    {
        slog::debug!(control.log, "worker"; "worker" => worker.name, "did" => %done);
    }
    done
}

/// The same, and a note for the servers that found it taken.
async fn noted(op: &OpContext, control: &Control, worker: &Worker) -> Result<Done> {
    let done = work(op, control, worker).await?;
    let (op, name, now) = (op.with_scope(Scope::Platform), state::worked(worker.name), Clock::Real.now());
    let note = async |conn: &mut Conn| state::note(conn, &name, now).await;
    // What was done stays done.
    if let Err(e) = control.db.tx(&op, "worker_note", note).await {
        slog::warn!(control.log, "a worker's run is not noted"; "worker" => worker.name, "error" => %e);
    }
    Ok(done)
}

/// How long ago a worker last did its work, at whichever server; none when that is not known.
async fn worked_ago(control: &Control, op: &OpContext, worker: &Worker) -> Option<Duration> {
    let (op, name) = (op.with_scope(Scope::Platform), state::worked(worker.name));
    let last = control.db.read_one(&op, async |conn: &Conn| state::last(conn, &name).await).await;
    let last = last.ok().flatten()?;
    // The clocks of two machines differ a little.
    Some((Clock::Real.now() - last).to_std().unwrap_or_default())
}

/// One tick for a clock that is being moved, which nobody else does: without the lock, and without asking how far behind it
/// is, since it never is.
pub(super) async fn tick_at(control: &Control, worker: &Worker) -> Result<Done> {
    let op = OpContext::system(&control.clock, &control.ids, worker.name);
    let done = work(&op, control, worker).await;
    let ran = if done.is_ok() { Ran::Ok } else { Ran::Failed };
    control.metrics.worker_ran(worker.name, ran, None);
    if let Err(e) = &done {
        slog::error!(control.log, "worker failed"; "worker" => worker.name, "error" => %e);
    }
    done
}

/// How far the worker is behind: the age of the oldest thing that is due, 0 when nothing is.
async fn lag(control: &Control, worker: &Worker) -> Result<Duration> {
    let (query, now) = match worker.due {
        Due::OnClock(query) | Due::Nightly(query) => (query, control.clock.now()),
        Due::OnMachine(query) => (query, Clock::Real.now()),
        Due::Always(waits) => match waits(control) {
            Some(query) => (query, Clock::Real.now()),
            None => return Ok(Duration::ZERO),
        },
    };
    let op = OpContext::system(&control.clock, &control.ids, worker.name).with_scope(Scope::Platform);
    let asked = [(worker, query)];
    let oldest = async |conn: &Conn| next_due(conn, &asked, DateTime::UNIX_EPOCH).await;
    let oldest = control.db.read_one(&op, oldest).await?;
    Ok(oldest.first().and_then(|(_, at)| (now - *at).to_std().ok()).unwrap_or_default())
}

/// One tick of the worker of that name, by hand; nothing when another server is in it.
///
/// Errors: 404 for a name that no worker has.
pub async fn run_by_name(control: &Control, name: &str) -> Result<Option<Done>> {
    tick(control, find(name).ok_or(Error::NotFound("worker"))?).await
}

/// One tick of each worker that `which` picks, in their order.
pub async fn once(control: &Control, which: fn(&Worker) -> bool) -> Result<()> {
    for worker in WORKERS.iter().filter(|worker| which(worker)) {
        tick(control, worker).await?;
    }
    Ok(())
}
