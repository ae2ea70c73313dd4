//! What the server does by itself, in the background: the only loops there are.
//!
//! A tick is safe to repeat and to run at several servers at once. It takes no input; the next one is the retry.
use crate::app::Control;
use crate::db::idempotency;
use crate::error::Result;
use crate::metering::keeper;
use crate::op::OpContext;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Name of the worker that makes and drops partitions and forgets old keys.
const KEEPER: &str = "partition_keeper";
/// How often it looks, by the machine's clock: partitions are made a week ahead.
const KEEPER_PERIOD: Duration = Duration::from_secs(3600);

/// Starts the workers; they end when the handle is aborted, between two ticks or in the middle of one.
pub fn start(control: &Control) -> JoinHandle<()> {
    let control = control.clone();
    control.metrics.worker_started(KEEPER, KEEPER_PERIOD);
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(KEEPER_PERIOD);
        loop {
            interval.tick().await;
            let done = keep(&control).await;
            control.metrics.worker_ran(KEEPER, done.is_ok(), None);
            if let Err(e) = done {
                slog::warn!(control.log, "worker failed"; "worker" => KEEPER, "error" => %e);
            }
        }
    })
}

/// Everything that workers do up to now, once: for a clock that was moved.
pub async fn run_once(control: &Control) -> Result<()> {
    keep(control).await
}

async fn keep(control: &Control) -> Result<()> {
    let op = OpContext::system(&control.clock, &control.ids, KEEPER);
    keeper::tick(&op, control).await?;
    control.db.tx(&op, "idempotency_forget", async |conn| idempotency::forget(conn, op.now).await).await?;
    Ok(())
}
