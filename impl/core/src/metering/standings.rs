//! Quotas that are asked for at the same moment are read together.
//!
//! A read of its own costs a quota four statements, and thirty callers at once wait for each other's. Here a few readers
//! take all that waits for one service in one read. Under little load that is one quota, and nothing waits for company.
use super::Metering;
use super::store::{self, Asked, StandingRow};
use crate::error::{Error, Result};
use crate::op::{OpContext, Scope};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Reads at once; each takes a connection.
const READERS_MAX: usize = 3;
/// Quotas of one read.
const TOGETHER_MAX: usize = 100;

type Answer = Result<Vec<StandingRow>>;

#[derive(Debug)]
struct Waiting {
    service_id: Uuid,
    asked: Asked,
    answer: oneshot::Sender<Answer>,
}

/// Quotas that wait to be read.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    readers: usize,
}

impl Metering {
    /// Where a tenant stands with a metric of a service, read with what else is asked for at this moment.
    pub(super) async fn standing(&self, service_id: Uuid, asked: Asked) -> Answer {
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.shared.standings.lock();
            state.waiting.push_back(Waiting { service_id, asked, answer });
            if state.readers < READERS_MAX {
                state.readers += 1;
                // Of its own, so that a caller that leaves takes nobody's answer along.
                tokio::spawn(Reader { metering: self.clone(), is_over: false }.work());
            }
        }
        answered.await.map_err(|_| Error::internal("a quota was not read"))?
    }
}

/// Reads until nothing waits.
struct Reader {
    metering: Metering,
    /// Whether it has left the queue.
    is_over: bool,
}

impl Reader {
    async fn work(mut self) {
        while let Some((service_id, batch)) = self.metering.shared.standings.take() {
            let asked: Vec<Asked> = batch.iter().map(|waiting| waiting.asked.clone()).collect();
            let shared = &self.metering.shared;
            let op = OpContext::system(&shared.clock, &shared.ids, "quotas");
            let op = op.with_scope(Scope::Service(service_id));
            let read = shared.db.read_one(&op, async |conn| store::standings(conn, service_id, &asked).await);
            // Somebody who is gone misses nothing.
            match read.await {
                Ok(all) => {
                    for (waiting, rows) in batch.into_iter().zip(all) {
                        let _ = waiting.answer.send(Ok(rows));
                    }
                }
                Err(e) => {
                    let message = e.to_string();
                    let is_unavailable = matches!(e, Error::Unavailable(_));
                    for waiting in batch {
                        let e = message.clone();
                        let e = if is_unavailable { Error::Unavailable(e) } else { Error::internal(e) };
                        let _ = waiting.answer.send(Err(e));
                    }
                }
            }
        }
        self.is_over = true;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It was ended in the middle of its work.
        if !self.is_over {
            self.metering.shared.standings.lock().readers -= 1;
        }
    }
}

impl Queue {
    /// The longest waiting quota and those of the same service. When there is none the reader has left: both under one lock,
    /// or the next quota would count on a reader that is about to go.
    fn take(&self) -> Option<(Uuid, Vec<Waiting>)> {
        let mut state = self.lock();
        let Some(first) = state.waiting.pop_front() else {
            state.readers -= 1;
            return None;
        };
        let service_id = first.service_id;
        let mut batch = vec![first];
        let mut others = VecDeque::new();
        for waiting in state.waiting.drain(..) {
            if waiting.service_id == service_id && batch.len() < TOGETHER_MAX {
                batch.push(waiting);
            } else {
                others.push_back(waiting);
            }
        }
        state.waiting = others;
        Some((service_id, batch))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn those_of_one_service_are_taken_together_and_the_oldest_first() {
        let queue = Queue::default();
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let services = [one, two, one].into_iter().chain(std::iter::repeat_n(one, TOGETHER_MAX));
        for (n, service_id) in services.enumerate() {
            let (answer, _) = oneshot::channel();
            let (tenant_id, now) = (n.to_string(), DateTime::UNIX_EPOCH);
            let asked = Asked { tenant_id, metric_id: Uuid::nil(), now };
            queue.lock().waiting.push_back(Waiting { service_id, asked, answer });
        }
        let taken = || {
            let (service_id, batch) = queue.take()?;
            Some((service_id, batch.len(), batch[0].asked.tenant_id.clone()))
        };
        assert_eq!(taken(), Some((one, TOGETHER_MAX, "0".into())));
        assert_eq!(taken(), Some((two, 1, "1".into())));
        assert_eq!(taken(), Some((one, 2, (TOGETHER_MAX + 1).to_string())));
        queue.lock().readers = 1;
        assert_eq!(taken(), None);
        assert_eq!(queue.lock().readers, 0);
    }
}
