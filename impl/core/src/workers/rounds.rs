//! Where ticks that ran out of time stopped.
//!
//! A tick that has filled its time leaves its round, and the next one goes on behind it. Were it to begin at the front again,
//! what fails there, tick by tick, would keep the rest waiting for ever. Nothing else leans on this memory: a server that
//! forgets it begins at the front, and what is due is still read from the rows.
use super::{Done, WORK_MAX};
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// One way of a worker through what is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Which of its lists it is in.
    pub list: usize,
    /// The last row of that list that it looked at.
    pub after: Option<(DateTime<Utc>, Uuid)>,
    /// Rows that failed so far.
    pub failed: u64,
    /// Whether an earlier tick began it.
    is_left: bool,
}

impl Round {
    /// Goes on to the next list.
    pub fn turn(&mut self) {
        (self.list, self.after) = (self.list + 1, None);
    }

    /// The end of the round: what its last tick did. What came to its front meanwhile is looked at at once.
    ///
    /// Errors: internal, when something failed on the way; `what` names it.
    pub fn end(self, done: Done, what: &str) -> Result<Done> {
        match self.failed {
            0 if self.is_left => Ok(done.and_more()),
            0 => Ok(done),
            failed => Err(Error::internal(format!("{failed} {what}"))),
        }
    }
}

/// The rounds that were left, by the names of their workers.
#[derive(Debug)]
pub struct Rounds {
    work_max: Duration,
    left: Mutex<BTreeMap<&'static str, Round>>,
}

impl Default for Rounds {
    fn default() -> Self {
        Rounds::of(WORK_MAX)
    }
}

impl Rounds {
    /// With ticks of that length.
    pub fn of(work_max: Duration) -> Self {
        Rounds { work_max, left: Mutex::default() }
    }

    /// Whether a tick that began then has filled its time.
    pub fn is_over(&self, began: Instant) -> bool {
        self.work_max <= began.elapsed()
    }

    /// The round that a worker left, or a new one.
    pub fn take(&self, worker: &'static str) -> Round {
        self.left().remove(worker).unwrap_or_default()
    }

    /// Leaves a round to the next tick.
    pub fn leave(&self, worker: &'static str, round: Round) {
        self.left().insert(worker, Round { is_left: true, ..round });
    }

    fn left(&self) -> MutexGuard<'_, BTreeMap<&'static str, Round>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Round, Rounds};
    use crate::workers::Done;
    use chrono::DateTime;
    use std::time::{Duration, Instant};
    use uuid::Uuid;

    #[test]
    fn the_next_tick_goes_on_where_the_last_one_stopped() {
        let rounds = Rounds::default();
        assert_eq!(rounds.take("dunning"), Round::default());
        let mut round = Round { failed: 2, ..Round::default() };
        round.turn();
        round.after = Some((DateTime::UNIX_EPOCH, Uuid::nil()));
        rounds.leave("dunning", round);
        assert_eq!(rounds.take("trial_monitor"), Round::default(), "each worker has its own");
        let next = rounds.take("dunning");
        assert_eq!((next.list, next.after, next.failed), (1, round.after, 2));
        assert_eq!(rounds.take("dunning"), Round::default(), "it is gone on with once");
    }

    #[test]
    fn a_round_tells_of_its_failures_when_it_ends() {
        let done = || Done::of([("invoices", 3)]);
        assert_eq!(Round::default().end(done(), "are stuck").ok(), Some(done()));
        let failed =
            Round { failed: 2, ..Round::default() }.end(done(), "are stuck").expect_err("it says so");
        assert!(failed.to_string().contains("2 are stuck"), "{failed}");
        let rounds = Rounds::default();
        rounds.leave("dunning", Round::default());
        assert_eq!(rounds.take("dunning").end(done(), "are stuck").ok(), Some(done().and_more()));
    }

    #[test]
    fn a_tick_has_its_time() {
        assert!(!Rounds::default().is_over(Instant::now()));
        assert!(Rounds::of(Duration::ZERO).is_over(Instant::now()));
    }
}
