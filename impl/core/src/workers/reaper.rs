//! Carries subscriptions through what happens to them by itself: trials and terms that end, renewals, usage months.
//!
//! The billing run does the same for a tenant before it bills; this makes it happen on time for those that nobody bills.
use super::Done;
use crate::app::Control;
use crate::billing::run::tenant::BEHIND_MAX;
use crate::db::Conn;
use crate::db::statement::statement;
use crate::error::Result;
use crate::op::{OpContext, Scope};
use crate::settings;
use crate::subscriptions::{lifecycle, store};
use crate::workers::NextDue;
use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use futures::StreamExt;
use futures::future::BoxFuture;
use std::time::Instant;
use uuid::Uuid;

/// Subscriptions that are looked up together.
const PAGE: i64 = 500;
/// How many are carried at a time.
const AT_ONCE: usize = 4;
/// How many times as many are taken up before the time is looked at.
const TURNS: usize = 8;
const NAME: &str = "subscription_reaper";

/// When a subscription next has something happening to it.
pub(super) const NEXT_DUE: NextDue = "SELECT min(next_event_at) FROM subscriptions WHERE next_event_at > $1";

/// A page of what is due, after the given place; one range of an index.
async fn due(
    conn: &mut Conn,
    until: DateTime<Utc>,
    (at, id): (DateTime<Utc>, Uuid),
) -> Result<Vec<(String, Uuid, DateTime<Utc>)>> {
    let query = statement::<(Text, SqlUuid, Timestamptz)>(
        "SELECT tenant_id, subscription_id, next_event_at FROM subscriptions
         WHERE next_event_at <= $1 AND (next_event_at, subscription_id) > ($2, $3)
         ORDER BY next_event_at, subscription_id LIMIT $4",
    )
    .bind::<Timestamptz, _>(until)
    .bind::<Timestamptz, _>(at)
    .bind::<SqlUuid, _>(id)
    .bind::<BigInt, _>(PAGE);
    Ok(query.load(conn).await?)
}

/// Carries what is due. One that cannot be carried does not hold up the others.
///
/// Errors: internal when some failed and nothing else was left to do.
pub(super) async fn tick(op: &OpContext, app: &Control) -> Result<Done> {
    let op = &op.with_scope(Scope::Platform);
    // One after the other under a simulated clock, so that a simulation repeats itself.
    let at_once = if app.clock.is_simulated() { 1 } else { AT_ONCE };
    let (began, mut round, mut carried) = (Instant::now(), app.rounds.take(NAME), 0_u64);
    // Those too far behind are the billing run's to park.
    let front = (op.now - BEHIND_MAX, Uuid::nil());
    loop {
        let after = round.after.unwrap_or(front).max(front);
        let due = app.db.read(op, async |conn| due(conn, op.now, after).await).await?;
        if due.is_empty() {
            break;
        }
        for some in due.chunks(at_once * TURNS) {
            let mut work: Vec<BoxFuture<'_, Result<()>>> = Vec::with_capacity(some.len());
            for (tenant_id, id, _) in some {
                work.push(Box::pin(carry(op, app, tenant_id, *id)));
            }
            let outcomes: Vec<Result<()>> = futures::stream::iter(work).buffered(at_once).collect().await;
            for outcome in outcomes {
                if outcome.is_ok() { carried += 1 } else { round.failed += 1 }
            }
            round.after = some.last().map(|(_, id, at)| (*at, *id));
            if app.rounds.is_over(began) {
                app.rounds.leave(NAME, round);
                return Ok(Done::of([("carried", carried)]).and_more());
            }
        }
    }
    let done = Done::of([("carried", carried)]);
    if 0 < carried {
        round.failed = 0;
    }
    round.end(done, "subscriptions cannot be carried on")
}

async fn carry(op: &OpContext, app: &Control, tenant_id: &str, subscription_id: Uuid) -> Result<()> {
    let done = app
        .db
        .tx(op, "subscription_carry", async |conn| {
            let settings = settings::load(conn).await?;
            let mut sub = store::lock(conn, tenant_id, subscription_id).await?;
            lifecycle::advance(conn, op, &settings, &mut sub, op.now).await
        })
        .await;
    if let Err(e) = &done {
        slog::error!(app.log, "a subscription cannot be carried on"; "subscription_id" => %subscription_id,
            "tenant_id" => tenant_id, "error" => %e);
    }
    done
}
