//! The statements of the writer: one for each table and group, whatever the group holds.
//!
//! Where the arrays are the rows, `unnest` stands in the list of columns and not after FROM: there PostgreSQL would copy all
//! rows aside before it inserts the first.
use super::group::Total;
use super::ingest::Batch;
use crate::db::Conn;
use crate::db::statement::statement;
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::sql_types::{
    Array, BigInt, Bool, Jsonb, Nullable, Numeric, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use rust_decimal::Decimal;
use scaicontrol_types::MetricAggregation;
use uuid::Uuid;

/// Locks segments against change, and answers when they end and whether they are billed. One that is locked by somebody else is not in the answer.
///
/// A share lock: several servers may count in a segment at once, but whoever changes its end or bills it waits until
/// what is being counted is there to be seen.
pub async fn hold_segments(
    conn: &mut Conn,
    tenants: &[&str],
    segments: &[Uuid],
) -> Result<Vec<(String, Uuid, DateTime<Utc>, bool)>> {
    Ok(statement::<(Text, SqlUuid, Timestamptz, Bool)>(
        "SELECT s.tenant_id, s.segment_id, s.ends_at, s.billed_at IS NOT NULL
         FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS k (tenant_id, segment_id, place)
         JOIN segments s ON s.tenant_id = k.tenant_id AND s.segment_id = k.segment_id
         ORDER BY k.place FOR SHARE OF s SKIP LOCKED",
    )
    .bind::<Array<Text>, _>(tenants)
    .bind::<Array<SqlUuid>, _>(segments)
    .load(conn)
    .await?)
}

/// The keys of events, column by column, in the order in which they are taken.
#[derive(Debug, Default)]
pub struct Keys<'a> {
    pub tenants: Vec<&'a str>,
    pub services: Vec<Uuid>,
    pub hashes: Vec<Uuid>,
    pub received: Vec<DateTime<Utc>>,
}

/// Takes keys of which none should be taken yet; answers false, and leaves the transaction broken, when one is.
///
/// A plain insert costs about half of one that looks for conflicts first, and most batches are sent once.
pub async fn take_new_keys(conn: &mut Conn, keys: &Keys<'_>) -> Result<bool> {
    let taken = statement::<()>(
        "INSERT INTO usage_keys (tenant_id, service_id, key_hash, received_at)
         SELECT unnest($1::text[]), unnest($2::uuid[]), unnest($3::uuid[]), unnest($4::timestamptz[])",
    )
    .bind::<Array<Text>, _>(keys.tenants.as_slice())
    .bind::<Array<SqlUuid>, _>(keys.services.as_slice())
    .bind::<Array<SqlUuid>, _>(keys.hashes.as_slice())
    .bind::<Array<Timestamptz>, _>(keys.received.as_slice())
    .execute(conn)
    .await;
    match taken {
        Err(diesel::result::Error::DatabaseError(diesel::result::DatabaseErrorKind::UniqueViolation, _)) => {
            Ok(false)
        }
        other => Ok(other.map(|_| true)?),
    }
}

/// Takes keys and answers those that were free. A key that another transaction is taking is waited for.
pub async fn take_keys(conn: &mut Conn, keys: &Keys<'_>) -> Result<Vec<(String, Uuid, Uuid)>> {
    Ok(statement::<(Text, SqlUuid, SqlUuid)>(
        "INSERT INTO usage_keys (tenant_id, service_id, key_hash, received_at)
         SELECT unnest($1::text[]), unnest($2::uuid[]), unnest($3::uuid[]), unnest($4::timestamptz[])
         ON CONFLICT DO NOTHING RETURNING tenant_id, service_id, key_hash",
    )
    .bind::<Array<Text>, _>(keys.tenants.as_slice())
    .bind::<Array<SqlUuid>, _>(keys.services.as_slice())
    .bind::<Array<SqlUuid>, _>(keys.hashes.as_slice())
    .bind::<Array<Timestamptz>, _>(keys.received.as_slice())
    .load(conn)
    .await?)
}

/// Members of the sets behind `unique_count`, column by column, in order.
#[derive(Debug, Default)]
pub struct Members<'a> {
    pub tenants: Vec<&'a str>,
    pub segments: Vec<Uuid>,
    pub metrics: Vec<Uuid>,
    pub hashes: Vec<Uuid>,
    pub services: Vec<Uuid>,
}

/// Adds to the sets, and answers what was not in them.
pub async fn add_members(conn: &mut Conn, members: &Members<'_>) -> Result<Vec<(String, Uuid, Uuid, Uuid)>> {
    Ok(statement::<(Text, SqlUuid, SqlUuid, SqlUuid)>(
        "INSERT INTO usage_uniques (tenant_id, segment_id, metric_id, key_hash, service_id)
         SELECT unnest($1::text[]), unnest($2::uuid[]), unnest($3::uuid[]), unnest($4::uuid[]), unnest($5::uuid[])
         ON CONFLICT DO NOTHING RETURNING tenant_id, segment_id, metric_id, key_hash",
    )
    .bind::<Array<Text>, _>(members.tenants.as_slice())
    .bind::<Array<SqlUuid>, _>(members.segments.as_slice())
    .bind::<Array<SqlUuid>, _>(members.metrics.as_slice())
    .bind::<Array<SqlUuid>, _>(members.hashes.as_slice())
    .bind::<Array<SqlUuid>, _>(members.services.as_slice())
    .load(conn)
    .await?)
}

/// In which of the `others` (the other segments of the month) a member is too: by place, from 1.
pub async fn elsewhere(conn: &mut Conn, members: &Members<'_>) -> Result<Vec<(i64, Uuid)>> {
    Ok(statement::<(BigInt, SqlUuid)>(
        "SELECT k.place, u.segment_id
         FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[]) WITH ORDINALITY AS k (tenant_id, segment_id, metric_id, key_hash, place)
         JOIN segments own ON own.tenant_id = k.tenant_id AND own.segment_id = k.segment_id
         JOIN segments other ON other.tenant_id = own.tenant_id AND other.subscription_id = own.subscription_id
           AND other.starts_at >= own.month_starts_at AND other.starts_at < own.month_ends_at
           AND other.month_starts_at = own.month_starts_at AND other.segment_id <> own.segment_id
         JOIN usage_uniques u ON u.tenant_id = k.tenant_id AND u.segment_id = other.segment_id
           AND u.metric_id = k.metric_id AND u.key_hash = k.key_hash",
    )
    .bind::<Array<Text>, _>(members.tenants.as_slice())
    .bind::<Array<SqlUuid>, _>(members.segments.as_slice())
    .bind::<Array<SqlUuid>, _>(members.metrics.as_slice())
    .bind::<Array<SqlUuid>, _>(members.hashes.as_slice())
    .load(conn)
    .await?)
}

/// Accepted events, column by column. The last two are empty when no event has the field.
#[derive(Debug, Default)]
pub struct Events<'a> {
    pub tenants: Vec<&'a str>,
    pub services: Vec<Uuid>,
    pub metrics: Vec<Uuid>,
    pub segments: Vec<Uuid>,
    pub keys: Vec<&'a str>,
    pub quantities: Vec<Decimal>,
    pub occurred: Vec<DateTime<Utc>>,
    pub received: Vec<DateTime<Utc>>,
    pub unique_keys: Vec<Option<&'a str>>,
    pub metadata: Vec<Option<serde_json::Value>>,
}

async fn add_events(mut conn: &Conn, events: &Events<'_>) -> Result<()> {
    if events.tenants.is_empty() {
        return Ok(());
    }
    // An array that is too short is filled with nulls.
    statement::<()>(
        "INSERT INTO usage_events (tenant_id, service_id, metric_id, segment_id, idempotency_key, quantity, occurred_at, received_at, unique_key, metadata)
         SELECT unnest($1::text[]), unnest($2::uuid[]), unnest($3::uuid[]), unnest($4::uuid[]), unnest($5::text[]), unnest($6::numeric[]),
           unnest($7::timestamptz[]), unnest($8::timestamptz[]), unnest($9::text[]), unnest($10::jsonb[])",
    )
    .bind::<Array<Text>, _>(events.tenants.as_slice())
    .bind::<Array<SqlUuid>, _>(events.services.as_slice())
    .bind::<Array<SqlUuid>, _>(events.metrics.as_slice())
    .bind::<Array<SqlUuid>, _>(events.segments.as_slice())
    .bind::<Array<Text>, _>(events.keys.as_slice())
    .bind::<Array<Numeric>, _>(events.quantities.as_slice())
    .bind::<Array<Timestamptz>, _>(events.occurred.as_slice())
    .bind::<Array<Timestamptz>, _>(events.received.as_slice())
    .bind::<Array<Nullable<Text>>, _>(events.unique_keys.as_slice())
    .bind::<Array<Nullable<Jsonb>>, _>(events.metadata.as_slice())
    .execute(&mut conn)
    .await?;
    Ok(())
}

macro_rules! hours {
    () => {
        "INSERT INTO usage_totals AS t (stripe, tenant_id, segment_id, metric_id, hour, service_id, value, events, last_at, last_received_at)
         SELECT $1::smallint, unnest($2::text[]), unnest($3::uuid[]), unnest($4::uuid[]), unnest($5::timestamptz[]), unnest($6::uuid[]),
           unnest($7::numeric[]), unnest($8::bigint[]), unnest($9::timestamptz[]), unnest($10::timestamptz[])
         ON CONFLICT (tenant_id, segment_id, metric_id, hour, stripe) DO UPDATE SET "
    };
}
macro_rules! segments {
    () => {
        "INSERT INTO usage_segment_totals AS t (stripe, tenant_id, segment_id, metric_id, service_id, value, events, last_at, last_received_at, repeats, first_event_at, newest_event_at)
         SELECT $1::smallint, unnest($2::text[]), unnest($3::uuid[]), unnest($4::uuid[]), unnest($5::uuid[]), unnest($6::numeric[]),
           unnest($7::bigint[]), unnest($8::timestamptz[]), unnest($9::timestamptz[]), unnest($10::bigint[]), unnest($11::timestamptz[]),
           unnest($12::timestamptz[])
         ON CONFLICT (tenant_id, segment_id, metric_id, stripe) DO UPDATE SET "
    };
}
/// Of equal times the addition is the newer one: it is received later.
macro_rules! newest {
    () => {
        "value = CASE WHEN (EXCLUDED.last_at, EXCLUDED.last_received_at) >= (t.last_at, t.last_received_at) THEN EXCLUDED.value ELSE t.value END,
         last_at = GREATEST(t.last_at, EXCLUDED.last_at),
         last_received_at = CASE WHEN (EXCLUDED.last_at, EXCLUDED.last_received_at) >= (t.last_at, t.last_received_at) THEN EXCLUDED.last_received_at ELSE t.last_received_at END,
         events = t.events + EXCLUDED.events"
    };
}
macro_rules! receipts {
    () => {
        "first_event_at = LEAST(t.first_event_at, EXCLUDED.first_event_at), newest_event_at = GREATEST(t.newest_event_at, EXCLUDED.newest_event_at)"
    };
}
macro_rules! counts {
    () => {
        concat!("events = t.events + EXCLUDED.events, repeats = t.repeats + EXCLUDED.repeats, ", receipts!())
    };
}

/// What an addition does to a row that is there.
const ADD: usize = 0;
const GREATEST: usize = 1;
const NEWEST: usize = 2;

/// The statements for the hours, by what an addition does.
const HOURS: [&str; 3] = [
    concat!(hours!(), "value = t.value + EXCLUDED.value, events = t.events + EXCLUDED.events"),
    concat!(hours!(), "value = GREATEST(t.value, EXCLUDED.value), events = t.events + EXCLUDED.events"),
    concat!(hours!(), newest!()),
];

/// The statements for the segments.
const SEGMENTS: [&str; 3] = [
    concat!(segments!(), "value = t.value + EXCLUDED.value, ", counts!()),
    concat!(segments!(), "value = GREATEST(t.value, EXCLUDED.value), ", counts!()),
    concat!(segments!(), newest!(), ", ", receipts!()),
];

/// The columns that both tables of totals have.
struct Columns<'a> {
    tenants: Vec<&'a str>,
    segments: Vec<Uuid>,
    metrics: Vec<Uuid>,
    services: Vec<Uuid>,
    values: Vec<Decimal>,
    events: Vec<i64>,
    last: Vec<Option<DateTime<Utc>>>,
    last_received: Vec<Option<DateTime<Utc>>>,
}

impl<'a> Columns<'a> {
    fn new(totals: &[&Total<'a>]) -> Self {
        Columns {
            tenants: totals.iter().map(|t| t.tenant_id).collect(),
            segments: totals.iter().map(|t| t.segment.segment_id).collect(),
            metrics: totals.iter().map(|t| t.metric.metric_id).collect(),
            services: totals.iter().map(|t| t.batch.service.service_id).collect(),
            values: totals.iter().map(|t| t.value).collect(),
            events: totals.iter().map(|t| t.events).collect(),
            last: totals.iter().map(|t| t.newest.map(|n| n.0)).collect(),
            last_received: totals.iter().map(|t| t.newest.map(|n| n.1)).collect(),
        }
    }
}

fn by_effect<'b, 'a>(totals: &'b [Total<'a>]) -> [Vec<&'b Total<'a>>; 3] {
    let mut split = [vec![], vec![], vec![]];
    for total in totals {
        let effect = match total.metric.aggregation {
            MetricAggregation::Sum | MetricAggregation::UniqueCount => ADD,
            MetricAggregation::Max => GREATEST,
            MetricAggregation::Last => NEWEST,
        };
        split[effect].push(total);
    }
    split
}

async fn add_hours(mut conn: &Conn, stripe: i16, sql: &'static str, totals: &[&Total<'_>]) -> Result<()> {
    if totals.is_empty() {
        return Ok(());
    }
    let columns = Columns::new(totals);
    statement::<()>(sql)
        .bind::<SmallInt, _>(stripe)
        .bind::<Array<Text>, _>(columns.tenants)
        .bind::<Array<SqlUuid>, _>(columns.segments)
        .bind::<Array<SqlUuid>, _>(columns.metrics)
        .bind::<Array<Timestamptz>, _>(totals.iter().map(|t| t.hour).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(columns.services)
        .bind::<Array<Numeric>, _>(columns.values)
        .bind::<Array<BigInt>, _>(columns.events)
        .bind::<Array<Nullable<Timestamptz>>, _>(columns.last)
        .bind::<Array<Nullable<Timestamptz>>, _>(columns.last_received)
        .execute(&mut conn)
        .await?;
    Ok(())
}

async fn add_segments(mut conn: &Conn, stripe: i16, sql: &'static str, totals: &[&Total<'_>]) -> Result<()> {
    if totals.is_empty() {
        return Ok(());
    }
    let columns = Columns::new(totals);
    statement::<()>(sql)
        .bind::<SmallInt, _>(stripe)
        .bind::<Array<Text>, _>(columns.tenants)
        .bind::<Array<SqlUuid>, _>(columns.segments)
        .bind::<Array<SqlUuid>, _>(columns.metrics)
        .bind::<Array<SqlUuid>, _>(columns.services)
        .bind::<Array<Numeric>, _>(columns.values)
        .bind::<Array<BigInt>, _>(columns.events)
        .bind::<Array<Nullable<Timestamptz>>, _>(columns.last)
        .bind::<Array<Nullable<Timestamptz>>, _>(columns.last_received)
        .bind::<Array<BigInt>, _>(totals.iter().map(|t| t.repeats).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(totals.iter().map(|t| t.first_event_at).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(totals.iter().map(|t| t.newest_event_at).collect::<Vec<_>>())
        .execute(&mut conn)
        .await?;
    Ok(())
}

/// The audit rows of the batches: like [`crate::audit::record`], all in one statement.
async fn add_audit(mut conn: &Conn, batches: &[(&Batch, serde_json::Value)]) -> Result<()> {
    statement::<()>(
        "INSERT INTO audit_log (level, object_type, id, at, actor, service_id, operation, object_id, after, request_id)
         SELECT 'service', 'usage', k.* FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::jsonb[], $8::text[]) AS k",
    )
    .bind::<Array<SqlUuid>, _>(batches.iter().map(|(b, _)| b.audit_id).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(batches.iter().map(|(b, _)| b.received_at).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(batches.iter().map(|(b, _)| b.actor.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(batches.iter().map(|(b, _)| b.service.service_id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(batches.iter().map(|(b, _)| b.operation).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(batches.iter().map(|(b, _)| b.service.slug.as_str()).collect::<Vec<_>>())
    .bind::<Array<Jsonb>, _>(batches.iter().map(|(_, after)| after).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(batches.iter().map(|(b, _)| b.request_id.as_str()).collect::<Vec<_>>())
    .execute(&mut conn)
    .await?;
    Ok(())
}

/// Writes everything that follows from the new events, in one flight. The server runs the statements in order.
pub async fn add_all(
    conn: &mut Conn,
    stripe: i16,
    events: &Events<'_>,
    hours: &[Total<'_>],
    segments: &[Total<'_>],
    audit: &[(&Batch, serde_json::Value)],
) -> Result<(), Error> {
    let conn: &Conn = conn;
    let (hours, segments) = (by_effect(hours), by_effect(segments));
    futures::try_join!(
        add_events(conn, events),
        add_hours(conn, stripe, HOURS[ADD], &hours[ADD]),
        add_hours(conn, stripe, HOURS[GREATEST], &hours[GREATEST]),
        add_hours(conn, stripe, HOURS[NEWEST], &hours[NEWEST]),
        add_segments(conn, stripe, SEGMENTS[ADD], &segments[ADD]),
        add_segments(conn, stripe, SEGMENTS[GREATEST], &segments[GREATEST]),
        add_segments(conn, stripe, SEGMENTS[NEWEST], &segments[NEWEST]),
        add_audit(conn, audit),
    )?;
    Ok(())
}
