//! The writer of usage of a server: it gathers the batches that wait into one transaction, and answers each when that is
//! committed.
//!
//! A group is whatever waits when the writer becomes free, up to [`GROUP_EVENTS_MAX`] events: nobody is made to wait for
//! company, and under load the groups grow by themselves, since a commit takes its time and requests arrive meanwhile. So
//! a single event costs one commit, and a thousand of them do too.
//!
//! Batches that are a group by themselves have a second lane, which works while the first one waits for its commit to
//! reach the disk, and the other way round; for small ones it would only halve the groups. To each other the lanes are
//! what two servers are: each has a stripe of its own, and both write in the same order.
//!
//! What could make one batch fail is found out before it gets here. When a group fails all the same, each of its batches
//! is tried alone, once, so that the others do not suffer.
use super::group::{Candidates, Group, Place, Total};
use super::ingest::Batch;
use super::late::{self, Billed};
use super::notices::{self, Month, Told};
use super::writes::{self, Events, Keys, Members};
use super::{Shared, slot::Stripe};
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::op::OpContext;
use chrono::{DateTime, Utc};
use diesel_async::RunQueryDsl;
use futures::FutureExt;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use uuid::Uuid;

/// Events after which a group takes no further batch.
const GROUP_EVENTS_MAX: usize = 10_000;
/// Events that may wait; above it the answer is 503.
const WAITING_EVENTS_MAX: usize = 100_000;
/// Batches that may wait.
const WAITING_BATCHES_MAX: usize = 4_096;

/// Events of a batch that is worth a transaction of its own.
const LARGE_FROM: usize = 200;
/// Groups that look for duplicates from the start after one was found.
const CAREFUL_GROUPS: u32 = 32;

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is stored.
    Stored {
        /// New events.
        accepted: i32,
        /// Events that were known.
        duplicates: i32,
    },
    /// A segment it counts in is no longer what it was: resolve it again.
    Stale,
    /// A segment it counts in is being changed or billed: try again in a moment.
    Held,
}

struct Waiting {
    batch: Batch,
    reply: oneshot::Sender<Result<Outcome>>,
    _room: OwnedSemaphorePermit,
}

/// The way to the writer.
#[derive(Clone, Debug)]
pub struct Writer {
    small: mpsc::Sender<Waiting>,
    large: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

impl Writer {
    /// Starts the lanes. They end when the last `Writer` is dropped and everything that waits is stored.
    pub(super) fn start(shared: &Arc<Shared>) -> Self {
        let (small, waiting_small) = mpsc::channel(WAITING_BATCHES_MAX);
        let (large, waiting_large) = mpsc::channel(WAITING_BATCHES_MAX);
        let waiting_large = Arc::new(Mutex::new(waiting_large));
        for small in [Some(waiting_small), None] {
            let lane = Lane {
                shared: shared.clone(),
                small,
                large: waiting_large.clone(),
                stripe: Stripe::default(),
                weeks: HashSet::new(),
                told: Told::default(),
                careful: 0,
            };
            tokio::spawn(lane.run());
        }
        Writer { small, large, room: Arc::new(Semaphore::new(WAITING_EVENTS_MAX)) }
    }

    /// Waits until nothing waits any more, and takes nothing from then on.
    pub(super) async fn stop(&self) {
        // All the room is there once everything is stored and answered. It fails when it was stopped before.
        let all = self.room.acquire_many(u32::try_from(WAITING_EVENTS_MAX).unwrap_or(u32::MAX)).await;
        self.room.close();
        drop(all);
    }

    /// Stores a batch; answers after the commit.
    ///
    /// Errors: 503 when too much waits already, or when nothing can be stored.
    pub(super) async fn store(&self, batch: Batch) -> Result<Outcome> {
        let full = || Error::Unavailable("too much usage is waiting to be stored".into());
        let events = u32::try_from(batch.events.len().max(1)).map_err(Error::internal)?;
        let room = self.room.clone().try_acquire_many_owned(events).map_err(|_| full())?;
        let (reply, answer) = oneshot::channel();
        let queue = if batch.events.len() < LARGE_FROM { &self.small } else { &self.large };
        queue.try_send(Waiting { batch, reply, _room: room }).map_err(|_| full())?;
        answer.await.map_err(|_| Error::Unavailable("the server is stopping".into()))?
    }
}

/// Writes one group after the other.
struct Lane {
    shared: Arc<Shared>,
    /// Batches that wait for company; one lane has them all.
    small: Option<mpsc::Receiver<Waiting>>,
    large: Arc<Mutex<mpsc::Receiver<Waiting>>>,
    stripe: Stripe,
    /// Weeks (by their number) whose partition is there.
    weeks: HashSet<i64>,
    told: Told,
    /// Groups to go that look for duplicates from the start.
    careful: u32,
}

/// What a committed group leaves behind.
struct Written {
    outcomes: Vec<Outcome>,
    touched: Vec<(String, Uuid)>,
    told: Vec<Month>,
    /// Whether a key was known before the group.
    knew_some: bool,
}

impl Lane {
    async fn run(mut self) {
        while let Some(group) = self.next_group().await {
            self.store(group).await;
        }
    }

    /// What waits, when something does; nothing when no more will come.
    async fn next_group(&mut self) -> Option<Vec<Waiting>> {
        let large = async { self.large.lock().await.recv().await };
        let first = match &mut self.small {
            None => large.await?,
            Some(small) => tokio::select! {
                Some(first) = small.recv() => first,
                Some(first) = large => first,
                else => return None,
            },
        };
        let mut events = first.batch.events.len();
        let mut group = vec![first];
        while events < GROUP_EVENTS_MAX {
            let small = self.small.as_mut().and_then(|small| small.try_recv().ok());
            let next = small.or_else(|| self.large.try_lock().ok()?.try_recv().ok());
            let Some(next) = next else { break };
            events += next.batch.events.len();
            group.push(next);
        }
        Some(group)
    }

    async fn store(&mut self, group: Vec<Waiting>) {
        let batches: Vec<&Batch> = group.iter().map(|w| &w.batch).collect();
        match self.write(&batches).await {
            Ok(outcomes) => {
                for (waiting, outcome) in group.into_iter().zip(outcomes) {
                    // Nobody listens when the request has been given up; what is stored stays stored.
                    let _ = waiting.reply.send(Ok(outcome));
                }
            }
            // Without a database no batch fares better alone.
            Err(Error::Unavailable(cause)) => {
                self.stripe = Stripe::default();
                for waiting in group {
                    let _ = waiting.reply.send(Err(Error::Unavailable(cause.clone())));
                }
            }
            Err(error) if group.len() == 1 => {
                slog::error!(self.shared.log, "a batch of usage cannot be stored"; "error" => %error);
                for waiting in group {
                    let _ = waiting.reply.send(Err(Error::internal(&error)));
                }
            }
            Err(error) => {
                slog::warn!(self.shared.log, "a group of usage failed, each batch is tried alone"; "error" => %error, "batches" => group.len());
                for waiting in group {
                    Box::pin(self.store(vec![waiting])).await;
                }
            }
        }
    }

    async fn write(&mut self, batches: &[&Batch]) -> Result<Vec<Outcome>> {
        let op = OpContext::system(&self.shared.clock, &self.shared.ids, "worker:metering");
        let written = AssertUnwindSafe(async {
            self.ensure_partitions(&op, batches).await?;
            let stripe = self.stripe.number(&self.shared.db).await?;
            let group = Group::new(batches.to_vec());
            let (told, careful) = (&self.told, AtomicBool::new(0 < self.careful));
            let careful = &careful;
            self.shared
                .db
                .tx(&op, "usage_store", async |conn| {
                    write_group(conn, &op, &group, stripe, told, careful).boxed().await
                })
                .await
        })
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(Error::internal("the writer of usage panicked")))?;
        for (tenant_id, metric_id) in &written.touched {
            self.shared.quotas.changed(tenant_id, *metric_id);
        }
        self.told.add(written.told);
        self.careful = if written.knew_some { CAREFUL_GROUPS } else { self.careful.saturating_sub(1) };
        Ok(written.outcomes)
    }

    /// The week of each receipt has its partition: the keeper makes them ahead, this is for a clock that jumps.
    async fn ensure_partitions(&mut self, op: &OpContext, batches: &[&Batch]) -> Result<()> {
        for batch in batches {
            let week = week(batch.received_at);
            if !self.weeks.contains(&week) {
                self.shared
                    .db
                    .tx(op, "usage_partition", async |conn| ensure_partition(conn, batch.received_at).await)
                    .await?;
                self.weeks.insert(week);
            }
        }
        Ok(())
    }
}

/// Number of the week, from a Monday, that a partition is for.
fn week(at: DateTime<Utc>) -> i64 {
    // 1970-01-05 was a Monday.
    (at.timestamp() - 4 * 86_400).div_euclid(7 * 86_400)
}

diesel::define_sql_function! {
    /// Makes the partition that holds the date; see the migrations.
    fn sc_partition_ensure(parent: diesel::sql_types::Text, at: diesel::sql_types::Date, days: diesel::sql_types::Integer) -> diesel::sql_types::Bool;
}

/// Makes the partition of `usage_events` for an instant, when it is missing.
pub(super) async fn ensure_partition(conn: &mut Conn, at: DateTime<Utc>) -> Result<bool> {
    Ok(diesel::select(sc_partition_ensure("usage_events", at.date_naive(), 7)).get_result(conn).await?)
}

async fn write_group(
    conn: &mut Conn,
    op: &OpContext,
    group: &Group<'_>,
    stripe: i16,
    told: &Told,
    careful: &AtomicBool,
) -> Result<Written> {
    let (standing, billed) = standing(conn, group).await?;
    let takes_part: Vec<bool> = standing.iter().map(|s| *s == Standing::Good).collect();
    let candidates = group.candidates(&takes_part);
    let (new, known) = take_keys(conn, group, &candidates, careful).await?;
    let counted = count_members(conn, group, &new).await?;
    let hours = group.totals(&new, &counted)?;
    let segments = Total::of_segments(&hours)?;
    let outcomes = outcomes(group, &standing, &candidates, &new, &known);
    let audit: Vec<(&Batch, serde_json::Value)> = group
        .batches
        .iter()
        .zip(&outcomes)
        .filter_map(|(batch, outcome)| {
            let Outcome::Stored { accepted, duplicates } = outcome else { return None };
            Some((
                *batch,
                json!({"accepted": accepted, "duplicates": duplicates, "rejected": batch.rejected}),
            ))
        })
        .collect();
    writes::add_all(conn, stripe, &events(group, &new), &hours, &segments, &audit).await?;
    late::mark(conn, &billed, &segments, op.now).await?;
    let told = notices::check(conn, op, &segments, told).await?;
    let touched = segments.iter().map(|t| (t.tenant_id.to_owned(), t.metric.metric_id)).collect();
    Ok(Written { outcomes, touched, told, knew_some: known.iter().any(|n| 0 < *n) })
}

/// Whether a batch can be counted as it was resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    Stale,
    Held,
}

/// Holds the segments and looks whether they still are what the batches believe them to be; answers those that are billed
/// too.
async fn standing(conn: &mut Conn, group: &Group<'_>) -> Result<(Vec<Standing>, Billed)> {
    let believed = group.segments();
    let tenants: Vec<&str> = believed.iter().map(|b| b.tenant_id).collect();
    let ids: Vec<Uuid> = believed.iter().map(|b| b.segment_id).collect();
    let held = if believed.is_empty() { vec![] } else { writes::hold_segments(conn, &tenants, &ids).await? };
    let ends: HashMap<(&str, Uuid), DateTime<Utc>> =
        held.iter().map(|(t, s, end, _)| ((t.as_str(), *s), *end)).collect();
    let standing = group
        .batches
        .iter()
        .map(|batch| {
            let mut standing = Standing::Good;
            let mut before = None;
            for slot in &batch.events {
                if before.replace((slot.tenant, slot.segment)) == Some((slot.tenant, slot.segment)) {
                    continue;
                }
                let segment = &batch.tenants[slot.tenant as usize].segments[slot.segment as usize];
                match ends.get(&(segment.tenant_id.as_str(), segment.segment_id)) {
                    None => return Standing::Held,
                    Some(end) if *end != segment.ends_at => standing = Standing::Stale,
                    Some(_) => {}
                }
            }
            standing
        })
        .collect();
    let billed =
        held.into_iter().filter(|(.., billed)| *billed).map(|(tenant, id, ..)| (tenant, id)).collect();
    Ok((standing, billed))
}

/// Takes the keys, at first as if all were new; answers the events whose key was free, and for each batch how many were not.
async fn take_keys(
    conn: &mut Conn,
    group: &Group<'_>,
    candidates: &Candidates,
    careful: &AtomicBool,
) -> Result<(Vec<Place>, Vec<usize>)> {
    let mut known = vec![0; group.batches.len()];
    if candidates.places.is_empty() {
        return Ok((vec![], known));
    }
    let mut keys = Keys::default();
    for place in &candidates.places {
        let (batch, slot) = group.slot(*place);
        keys.tenants.push(group.tenant_id(*place));
        keys.services.push(batch.service.service_id);
        keys.hashes.push(slot.key);
        keys.received.push(batch.received_at);
    }
    if !careful.load(Ordering::Relaxed) {
        if writes::take_new_keys(conn, &keys).await? {
            return Ok((candidates.places.clone(), known));
        }
        // The transaction begins anew, and this time it looks for what is known.
        careful.store(true, Ordering::Relaxed);
        return Err(Error::Collision("a key of usage is known".into()));
    }
    let free = writes::take_keys(conn, &keys).await?;
    // Rows come back in the order in which they were given.
    let mut free = free.iter().map(|(tenant, service, hash)| (tenant.as_str(), *service, *hash)).peekable();
    let mut new = Vec::with_capacity(free.len());
    for (n, place) in candidates.places.iter().enumerate() {
        if free.next_if_eq(&(keys.tenants[n], keys.services[n], keys.hashes[n])).is_some() {
            new.push(*place);
        } else {
            known[place.batch as usize] += 1;
        }
    }
    match free.next() {
        None => Ok((new, known)),
        Some(_) => Err(Error::internal("the keys of usage came back in another order")),
    }
}

/// Adds the new keys of `unique_count` metrics to their sets; answers those that were not in them, each with whether
/// another segment of its usage month had the key before.
async fn count_members(conn: &mut Conn, group: &Group<'_>, new: &[Place]) -> Result<Vec<(Place, bool)>> {
    let places = group.uniques(new);
    if places.is_empty() {
        return Ok(vec![]);
    }
    let added = writes::add_members(conn, &members(group, &places)).await?;
    let counted = counted(group, places, &added)?;
    // Most months are one segment; only then is there no other to look into.
    let several: Vec<Place> =
        counted.iter().copied().filter(|place| shares_its_month(group, *place)).collect();
    let mut repeats = HashSet::new();
    if !several.is_empty() {
        let ours: HashSet<_> = several.iter().map(|place| member(group, *place)).collect();
        for (n, other) in writes::elsewhere(conn, &members(group, &several)).await? {
            let place = usize::try_from(n - 1).ok().and_then(|n| several.get(n)).copied();
            let Some((tenant, segment, metric, key)) = place.map(|place| member(group, place)) else {
                continue;
            };
            // Of two that this group added, the first in order is the one that counts.
            if !ours.contains(&(tenant, other, metric, key)) || other < segment {
                repeats.insert((tenant, segment, metric, key));
            }
        }
    }
    Ok(counted.into_iter().map(|place| (place, repeats.contains(&member(group, place)))).collect())
}

/// What a member of a set is known by: tenant, segment, metric, key.
fn member<'a>(group: &Group<'a>, place: Place) -> (&'a str, Uuid, Uuid, Uuid) {
    let (_, slot) = group.slot(place);
    (group.tenant_id(place), group.segment(place).segment_id, group.metric(place).metric_id, slot.unique)
}

/// Those of the places that were added. Rows come back in the order in which they were given.
fn counted(
    group: &Group<'_>,
    places: Vec<Place>,
    added: &[(String, Uuid, Uuid, Uuid)],
) -> Result<Vec<Place>> {
    let mut added = added.iter().map(|(t, s, m, k)| (t.as_str(), *s, *m, *k)).peekable();
    let counted =
        places.into_iter().filter(|place| added.next_if_eq(&member(group, *place)).is_some()).collect();
    match added.next() {
        None => Ok(counted),
        Some(_) => Err(Error::internal("the members of sets came back in another order")),
    }
}

fn shares_its_month(group: &Group<'_>, place: Place) -> bool {
    let (batch, slot) = group.slot(place);
    let own = group.segment(place);
    batch.tenants[slot.tenant as usize].segments.iter().any(|other| {
        other.segment_id != own.segment_id
            && other.subscription_id == own.subscription_id
            && other.month_starts_at == own.month_starts_at
    })
}

fn members<'a>(group: &Group<'a>, places: &[Place]) -> Members<'a> {
    let mut members = Members::default();
    for place in places {
        let (batch, slot) = group.slot(*place);
        members.tenants.push(group.tenant_id(*place));
        members.segments.push(group.segment(*place).segment_id);
        members.metrics.push(group.metric(*place).metric_id);
        members.hashes.push(slot.unique);
        members.services.push(batch.service.service_id);
    }
    members
}

fn events<'a>(group: &Group<'a>, new: &[Place]) -> Events<'a> {
    let (mut has_unique, mut has_metadata) = (false, false);
    let mut events = Events::default();
    for place in new {
        let (batch, slot) = group.slot(*place);
        let event = batch.event(slot);
        has_unique |= event.unique_key.is_some();
        has_metadata |= event.metadata.is_some();
        events.tenants.push(group.tenant_id(*place));
        events.services.push(batch.service.service_id);
        events.metrics.push(group.metric(*place).metric_id);
        events.segments.push(group.segment(*place).segment_id);
        events.keys.push(&event.idempotency_key);
        events.quantities.push(event.quantity.0);
        events.occurred.push(slot.occurred_at);
        events.received.push(batch.received_at);
    }
    let event = |place: &Place| {
        let (batch, slot) = group.slot(*place);
        batch.event(slot)
    };
    if has_unique {
        events.unique_keys = new.iter().map(|place| event(place).unique_key.as_deref()).collect();
    }
    if has_metadata {
        let json =
            |m: &std::collections::BTreeMap<_, _>| serde_json::Value::Object(m.clone().into_iter().collect());
        events.metadata = new.iter().map(|place| event(place).metadata.as_ref().map(json)).collect();
    }
    events
}

fn outcomes(
    group: &Group<'_>,
    standing: &[Standing],
    candidates: &Candidates,
    new: &[Place],
    known: &[usize],
) -> Vec<Outcome> {
    let mut accepted = vec![0_usize; group.batches.len()];
    for place in new {
        accepted[place.batch as usize] += 1;
    }
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    standing
        .iter()
        .enumerate()
        .map(|(n, standing)| match standing {
            Standing::Stale => Outcome::Stale,
            Standing::Held => Outcome::Held,
            Standing::Good => Outcome::Stored {
                accepted: count(accepted[n]),
                duplicates: count(candidates.duplicates[n] + known[n]),
            },
        })
        .collect()
}
