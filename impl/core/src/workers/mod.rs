//! What the server does by itself, in the background: the only loops there are.
//!
//! Each worker is a line of [`WORKERS`]. A tick is safe to repeat and to run at several servers at once: it takes what it
//! works on under row locks, or holds a lock of its own so that one server at a time is in it ([`Db::alone`]). It takes no
//! input; the next one is the retry. One that goes through a list begins with no more of it after [`WORK_MAX`]: metrics move,
//! and a server that stops lets the ticks in hand come to an end, as long as it may.
//!
//! [`Db::alone`]: crate::db::Db::alone
pub mod advance;
mod driver;
mod keeper;
mod reaper;
mod reconciliation;
pub mod rounds;
mod state;

use crate::app::Control;
use crate::db::Conn;
use crate::db::statement::kept;
use crate::error::Result;
use crate::op::OpContext;
use crate::subscriptions::{notices, prices};
use crate::{billing, documents, dunning, mails, vat_register};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Integer, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;
use futures::future::BoxFuture;
use std::fmt;
use std::time::Duration;

pub use driver::{Workers, once, run_by_name, start, tick};

/// How long a tick begins with another piece of work: well within the time that a server has to stop.
pub const WORK_MAX: Duration = Duration::from_secs(15);

/// One of them.
pub struct Worker {
    /// Its name, in metrics, in the log and on the command line.
    pub name: &'static str,
    /// How often it looks, by the machine's clock.
    pub period: Duration,
    /// Whether only one server at a time is in it.
    pub alone: bool,
    /// When it has something to do.
    pub due: Due,
    /// What it does. Answers what it did; an error says that something is left, which the next tick tries again.
    pub tick: Tick,
}

/// Does what is due.
pub type Tick = for<'a> fn(&'a OpContext, &'a Control) -> BoxFuture<'a, Result<Done>>;

/// A query of one instant: the earliest after `$1` at which something falls due, when that is known now. Reads of indexes.
/// With the beginning of time for `$1` it is the oldest thing that waits.
pub type NextDue = &'static str;

/// By which clock a worker's work falls due.
#[derive(Clone, Copy)]
pub enum Due {
    /// By the business clock: a simulated one stops at each of these instants and lets the worker do its work.
    OnClock(NextDue),
    /// By the machine's clock: files, mails and questions to others wait for machines, whatever time it is.
    OnMachine(NextDue),
    /// Once a night of the business clock; which night was the last is the worker's to know. The query says when the next is.
    Nightly(NextDue),
    /// Whenever it looks. What waits for it is only asked for its lag.
    Always(Waits),
}

/// The query of what waits for a worker by the machine's clock; none when this server has nothing to do it with.
pub type Waits = fn(&Control) -> Option<NextDue>;

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("name", &self.name)
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

/// What a tick did: how many of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    counts: Vec<(&'static str, u64)>,
    has_more: bool,
}

impl Done {
    /// So many of each.
    pub fn of<N: TryInto<u64>>(counts: impl IntoIterator<Item = (&'static str, N)>) -> Self {
        let counts = counts.into_iter().map(|(what, n)| (what, n.try_into().unwrap_or_default())).collect();
        Done { counts, has_more: false }
    }

    /// And there is more to do: the next tick need not wait.
    #[must_use]
    pub fn and_more(self) -> Self {
        Done { has_more: true, ..self }
    }

    /// Whether there is more to do at once.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// Whether there was anything to do.
    pub fn is_nothing(&self) -> bool {
        !self.has_more && self.counts.iter().all(|(_, n)| *n == 0)
    }

    /// How many of that.
    pub fn count(&self, what: &str) -> u64 {
        self.counts.iter().filter(|(name, _)| *name == what).map(|(_, n)| n).sum()
    }
}

/// `invoices: 3, sent: 2`
impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nothing() {
            return f.write_str("nothing to do");
        }
        let counts = self.counts.iter().filter(|(_, n)| *n != 0).map(|(what, n)| format!("{what}: {n}"));
        f.write_str(&counts.collect::<Vec<_>>().join(", "))
    }
}

/// All of them, in the order in which they work at one instant: what ends comes before what is billed, what is billed
/// before what is collected, and files and mails go out last.
pub const WORKERS: &[Worker] = &[
    // Partitions are made a week ahead.
    Worker {
        name: "partition_keeper",
        period: Duration::from_secs(3600),
        alone: true,
        due: Due::Always(|_| Some(keeper::NEXT_DUE)),
        tick: |op, app| Box::pin(keeper::tick(op, app)),
    },
    Worker {
        name: "vat_register",
        period: Duration::from_secs(60),
        alone: false,
        due: Due::Always(|app| app.vies.is_some().then_some(vat_register::worker::NEXT_DUE)),
        tick: |op, app| {
            Box::pin(async move {
                let learned = vat_register::worker::tick(op, app).await?;
                Ok(Done::of([
                    ("valid", learned.valid),
                    ("invalid", learned.invalid),
                    ("unavailable", learned.unavailable),
                ]))
            })
        },
    },
    Worker {
        name: "subscription_reaper",
        period: Duration::from_secs(10),
        alone: true,
        due: Due::OnClock(reaper::NEXT_DUE),
        tick: |op, app| Box::pin(reaper::tick(op, app)),
    },
    Worker {
        name: "trial_monitor",
        period: Duration::from_secs(30),
        alone: true,
        due: Due::OnClock(notices::NEXT_DUE),
        tick: |op, app| Box::pin(notices::tick(op, app)),
    },
    Worker {
        name: "billing_run",
        period: Duration::from_secs(30),
        alone: true,
        due: Due::OnClock(billing::worker::NEXT_DUE),
        tick: |op, app| Box::pin(billing::worker::tick(op, app)),
    },
    Worker {
        name: "dunning",
        period: Duration::from_secs(30),
        alone: true,
        due: Due::OnClock(dunning::store::NEXT_DUE),
        tick: |op, app| Box::pin(dunning::tick(op, app)),
    },
    Worker {
        name: "price_announcer",
        period: Duration::from_secs(10),
        alone: true,
        due: Due::OnClock(prices::NEXT_DUE),
        tick: |op, app| Box::pin(prices::tick(op, app)),
    },
    Worker {
        name: documents::pdf::RENDERER,
        period: Duration::from_secs(2),
        alone: false,
        due: Due::OnMachine(documents::store::NEXT_DUE),
        tick: |op, app| Box::pin(documents::pdf::tick(op, app)),
    },
    Worker {
        name: "mailer",
        period: Duration::from_secs(5),
        alone: false,
        due: Due::OnMachine(mails::store::NEXT_DUE),
        tick: |op, app| {
            Box::pin(async move {
                let done = mails::worker::tick(op, app).await?;
                let counts =
                    Done::of([("sent", done.sent), ("put off", done.put_off), ("failed", done.failed)]);
                Ok(if done.has_more { counts.and_more() } else { counts })
            })
        },
    },
    // Each night: it looks often, and works once.
    Worker {
        name: "reconciliation",
        period: Duration::from_secs(600),
        alone: true,
        due: Due::Nightly(reconciliation::NEXT_DUE),
        tick: |op, app| Box::pin(reconciliation::tick(op, app)),
    },
];

/// A place among the queries that are asked together, and its answer.
#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct Answered {
    #[diesel(sql_type = Integer)]
    place: i32,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    due_at: Option<DateTime<Utc>>,
}

/// The workers among `asked` that have something due after an instant, and when; one statement for all of them.
async fn next_due<'w>(
    mut conn: &Conn,
    asked: &[(&'w Worker, NextDue)],
    after: DateTime<Utc>,
) -> Result<Vec<(&'w Worker, DateTime<Utc>)>> {
    let each = asked.iter().enumerate();
    let each = each.map(|(place, (_, query))| format!("SELECT {place} AS place, ({query}) AS due_at"));
    let all = each.collect::<Vec<_>>().join(" UNION ALL ");
    let query = kept(diesel::sql_query(all).bind::<Timestamptz, _>(after));
    let mut rows: Vec<Answered> = query.load(&mut conn).await?;
    rows.sort_by_key(|row| row.place);
    let due = rows.into_iter().filter_map(|row| {
        let (worker, _) = asked.get(usize::try_from(row.place).ok()?)?;
        Some((*worker, row.due_at?))
    });
    Ok(due.collect())
}

/// The worker of that name.
pub fn find(name: &str) -> Option<&'static Worker> {
    WORKERS.iter().find(|worker| worker.name == name)
}
