//! What the server does by itself, in the background: the only loops there are.
//!
//! A tick is safe to repeat and to run at several servers at once. It takes no input; the next one is the retry. A server
//! that stops lets the ticks in hand come to an end, as long as it may.
use crate::app::Control;
use crate::db::idempotency;
use crate::error::Result;
use crate::metering::keeper;
use crate::op::OpContext;
use crate::subscriptions::{notices, prices};
use crate::{documents, dunning, mails, vat_register};
use futures::future::BoxFuture;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// One of them: its name, how often it looks (by the machine's clock), and what it does.
struct Worker {
    name: &'static str,
    period: Duration,
    tick: for<'a> fn(&'a OpContext, &'a Control) -> BoxFuture<'a, Result<()>>,
}

/// How long a tick may take before the worker is missed, however often it looks.
const MISSED_AFTER: Duration = Duration::from_secs(60);

/// In the order in which they run when a clock was moved.
const WORKERS: [Worker; 7] = [
    // Makes and drops partitions and forgets old keys: partitions are made a week ahead.
    Worker {
        name: "partition_keeper",
        period: Duration::from_secs(3600),
        tick: |op, control| Box::pin(keep(op, control)),
    },
    Worker {
        name: "vat_register",
        period: Duration::from_secs(60),
        tick: |op, control| Box::pin(async move { vat_register::worker::tick(op, control).await.map(drop) }),
    },
    Worker {
        name: "dunning",
        period: Duration::from_secs(30),
        tick: |op, control| Box::pin(async move { dunning::tick(op, control).await.map(drop) }),
    },
    Worker {
        name: "trial_monitor",
        period: Duration::from_secs(30),
        tick: |op, control| Box::pin(async move { notices::tick(op, control).await.map(drop) }),
    },
    Worker {
        name: "price_announcer",
        period: Duration::from_secs(10),
        tick: |op, control| Box::pin(async move { prices::tick(op, control).await.map(drop) }),
    },
    Worker {
        name: documents::pdf::RENDERER,
        period: Duration::from_secs(2),
        tick: |op, control| Box::pin(documents::pdf::tick(op, control)),
    },
    Worker {
        name: "mailer",
        period: Duration::from_secs(5),
        tick: |op, control| Box::pin(async move { mails::worker::tick(op, control).await.map(drop) }),
    },
];

/// The workers of one server.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Starts the workers.
pub fn start(control: &Control) -> Workers {
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for worker in &WORKERS {
        control.metrics.worker_started(worker.name, worker.period.max(MISSED_AFTER));
        tasks.spawn(run(control.clone(), worker, stopped.clone()));
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
            // The sender is gone when the server is.
            _ = stopped.wait_for(|stop| *stop) => return,
            _ = interval.tick() => {}
        }
        let op = OpContext::system(&control.clock, &control.ids, worker.name);
        let done = (worker.tick)(&op, &control).await;
        control.metrics.worker_ran(worker.name, done.is_ok(), None);
        if let Err(e) = done {
            slog::warn!(control.log, "worker failed"; "worker" => worker.name, "error" => %e);
        }
    }
}

/// Everything that workers do up to now, once: for a clock that was moved.
pub async fn run_once(control: &Control) -> Result<()> {
    for worker in &WORKERS {
        let op = OpContext::system(&control.clock, &control.ids, worker.name);
        (worker.tick)(&op, control).await?;
    }
    Ok(())
}

async fn keep(op: &OpContext, control: &Control) -> Result<()> {
    keeper::tick(op, control).await?;
    control.db.tx(op, "idempotency_forget", async |conn| idempotency::forget(conn, op.now).await).await?;
    Ok(())
}
