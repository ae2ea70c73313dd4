//! Usage: counted exactly once, summed as it arrives, shown at once.
//!
//! A service reports events ([`ingest`]); the server's one [`writer`] stores them in groups. In one transaction a group
//! takes the events' keys (what was taken before is a duplicate), keeps the events, adds them to the totals of their hour
//! and of their segment, and tells tenants about quotas. So when a batch is acknowledged, quotas and the next invoice
//! know it. Billing and quotas read [`totals`] of segments; charts read hours.
//!
//! What a group costs does not depend on what is stored: keys are found by their hash, totals are rows that are added to,
//! and events are only ever appended to the partition of their week. [`keeper`] drops what is too old.
mod group;
mod ingest;
pub mod keeper;
mod late;
pub mod lookup;
mod notices;
pub mod quota;
pub mod rules;
mod slot;
mod standings;
pub mod store;
pub mod totals;
pub mod usage;
pub mod writer;
mod writes;

pub use ingest::usage_events_post;
pub use quota::{quota_check, service_quota_list, usage_quota_list};
pub use totals::segment_usage;
pub use usage::{HistoryFilter, usage_by_service_get, usage_history_get, usage_summary_get};

use crate::clock::Clock;
use crate::db::Db;
use crate::op::Ids;
use lookup::Lookup;
use quota::Answers;
use std::sync::Arc;
use writer::Writer;

/// What metering keeps in memory, and the way to its writer. Cheap to clone; one for each server.
#[derive(Clone, Debug)]
pub struct Metering {
    shared: Arc<Shared>,
    writer: Writer,
}

/// What requests and the writer share.
#[derive(Debug)]
struct Shared {
    db: Db,
    clock: Clock,
    ids: Ids,
    log: slog::Logger,
    lookup: Lookup,
    quotas: Answers,
    standings: standings::Queue,
}

impl Metering {
    /// Starts the writer; needs a tokio runtime. It takes its first connection when the first batch comes.
    pub fn start(db: &Db, clock: &Clock, ids: &Ids, log: &slog::Logger) -> Self {
        let shared = Arc::new(Shared {
            db: db.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            log: log.clone(),
            lookup: Lookup::default(),
            quotas: Answers::default(),
            standings: standings::Queue::default(),
        });
        let writer = Writer::start(&shared);
        Metering { shared, writer }
    }

    /// Waits until everything that was sent to the writer is stored; what comes later is refused with 503. The last
    /// step of a graceful stop, after the requests have been answered.
    pub async fn stop(&self) {
        self.writer.stop().await;
    }

    fn lookup(&self) -> &Lookup {
        &self.shared.lookup
    }

    fn answers(&self) -> &Answers {
        &self.shared.quotas
    }

    fn writer(&self) -> &Writer {
        &self.writer
    }
}
