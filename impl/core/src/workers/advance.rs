//! A simulated clock that is moved: everything that falls due on the way is done at its own instant.
//!
//! The clock goes to the next instant at which a worker has something to do, stands there until none has anything left,
//! and goes on. So a jump of years leaves the same behind as many jumps of a day. What goes by the machine's clock
//! (files, mails, questions to others) is done once the clock has come to a stand: it is about the rows that are there,
//! not about the time at which it happens.
use super::{Due, NextDue, WORKERS, Worker, driver, next_due};
use crate::app::Control;
use crate::clock::Clock;
use crate::dev::{self, keep_clock};
use crate::error::{Error, Result};
use crate::op::{OpContext, Scope};
use chrono::{DateTime, Utc};

/// Instants at which one move stops at most: three years in which something happens each hour.
const STOPS_MAX: usize = 30_000;
/// How often the workers are asked at one instant whether anything is left, before that counts as running away.
const ROUNDS_MAX: usize = 100;

/// What moving the clock did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Instants at which something was due.
    pub stops: usize,
}

/// Moves a simulated clock to `target`, and does what falls due on the way.
///
/// Errors: 409 when the clock is real, when `target` lies behind it, or when more happens on the way than one move does;
/// what a worker answers, which leaves the clock where that happened.
pub async fn advance(control: &Control, target: DateTime<Utc>) -> Result<Moved> {
    // On the heap: whoever waits for it does not hold the state of every worker on its stack.
    let work = Box::pin(async {
        let moved = walk(control, target).await?;
        dev::apart(machines(control)).await?;
        Ok(moved)
    });
    alone(control, work).await
}

/// The same, without what goes by the machine's clock or by night.
pub async fn on_clock(control: &Control, target: DateTime<Utc>) -> Result<Moved> {
    alone(control, Box::pin(walk(control, target))).await
}

/// One at a time, whoever asks.
async fn alone(control: &Control, work: impl Future<Output = Result<Moved>>) -> Result<Moved> {
    let moved = control.db.alone("clock", work).await?;
    moved.unwrap_or_else(|| Err(Error::conflict("the clock is being moved already")))
}

/// What goes by the machine's clock and has waited, and the proof of the night.
async fn machines(control: &Control) -> Result<()> {
    let on_machine = |due| match due {
        Due::OnMachine(next_due) => Some(next_due),
        Due::OnClock(_) | Due::Nightly(_) | Due::Always(_) => None,
    };
    let waiting = due_after(control, DateTime::UNIX_EPOCH, on_machine).await?;
    let waiting = until(&waiting, Clock::Real.now());
    for worker in WORKERS {
        match worker.due {
            Due::OnClock(_) => {}
            Due::OnMachine(_) if waiting.iter().all(|other| other.name != worker.name) => {}
            Due::OnMachine(_) | Due::Nightly(_) => {
                driver::tick_at(control, worker).await?;
            }
            // Their own loops go on meanwhile.
            Due::Always(_) => {
                driver::tick(control, worker).await?;
            }
        }
    }
    Ok(())
}

async fn walk(control: &Control, target: DateTime<Utc>) -> Result<Moved> {
    if !control.clock.is_simulated() || target < control.clock.now() {
        return Err(Error::conflict("the clock cannot be moved there"));
    }
    let mut moved = Moved::default();
    let mut coming = settle(control, None).await?;
    while let Some(next) = coming.iter().map(|(_, at)| *at).min().filter(|next| *next <= target) {
        if moved.stops == STOPS_MAX {
            let now = control.clock.now().to_rfc3339();
            return Err(Error::conflict(format!(
                "more happens until then than one move does; it is {now} now"
            )));
        }
        stand(control, next)?;
        coming = settle(control, Some(coming)).await?;
        moved.stops += 1;
    }
    stand(control, target)?;
    Ok(moved)
}

/// Puts the clock to an instant. The file is first: a server that is killed begins again at no time before its rows.
fn stand(control: &Control, at: DateTime<Utc>) -> Result<()> {
    if let Some(dev) = &control.dev {
        keep_clock(&dev.clock_file, at).map_err(Error::internal)?;
    }
    control.clock.set(at);
    Ok(())
}

/// Workers and when they have something to do.
type Coming = Vec<(&'static Worker, DateTime<Utc>)>;

/// Lets workers do their work at this instant, in their order, until none has anything left; answers what comes then.
/// `known` is what was known to come before the clock stood here.
async fn settle(control: &Control, known: Option<Coming>) -> Result<Coming> {
    let now = control.clock.now();
    let mut due = match known {
        Some(known) => known,
        None => due_after(control, DateTime::UNIX_EPOCH, by_clock).await?,
    };
    for _ in 0..ROUNDS_MAX {
        let workers = until(&due, now);
        if workers.is_empty() {
            return Ok(due);
        }
        let mut idle = true;
        for worker in workers {
            idle &= driver::tick_at(control, worker).await?.is_nothing();
        }
        // What one did may be another's work. What a worker leaves alone for now is asked for again at the next stop.
        let after = if idle { now } else { DateTime::UNIX_EPOCH };
        due = due_after(control, after, by_clock).await?;
    }
    Err(Error::internal(format!("the workers find no end at {}", now.to_rfc3339())))
}

/// What a worker waits for that goes by the business clock.
fn by_clock(due: Due) -> Option<NextDue> {
    match due {
        Due::OnClock(next_due) => Some(next_due),
        Due::OnMachine(_) | Due::Nightly(_) | Due::Always(_) => None,
    }
}

/// Those that have something to do at an instant.
fn until(due: &[(&'static Worker, DateTime<Utc>)], at: DateTime<Utc>) -> Vec<&'static Worker> {
    due.iter().filter(|(_, due)| *due <= at).map(|(worker, _)| *worker).collect()
}

/// The first instant after the given one at which something falls due, of each worker that waits for one, in their order.
async fn due_after(
    control: &Control,
    after: DateTime<Utc>,
    which: fn(Due) -> Option<NextDue>,
) -> Result<Coming> {
    let op = OpContext::system(&control.clock, &control.ids, "clock").with_scope(Scope::Platform);
    let asked: Vec<_> =
        WORKERS.iter().filter_map(|worker| which(worker.due).map(|next_due| (worker, next_due))).collect();
    control.db.read_one(&op, async |conn| next_due(conn, &asked, after).await).await
}
