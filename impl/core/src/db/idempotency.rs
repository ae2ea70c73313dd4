//! Stored answers of requests with an `Idempotency-Key`.
//!
//! The key is locked first, so that of two requests at once the second is refused and not made to wait; the answer is
//! stored in the transaction of the effect, so that there is never one without the other.
use super::Conn;
use super::statement::kept;
use crate::error::{Error, Result};
use crate::op::{Idempotency, OpContext};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Jsonb, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

diesel::define_sql_function! {
    /// Takes an advisory lock until the transaction ends, or answers false.
    fn pg_try_advisory_xact_lock(key: BigInt) -> diesel::sql_types::Bool;
}

/// How long a stored answer is repeated.
const KEPT_HOURS: i64 = 24;
/// Days that have their partition ahead of time, beside today.
const DAYS_AHEAD: i64 = 2;

#[derive(QueryableByName)]
struct Stored {
    #[diesel(sql_type = Binary)]
    fingerprint: Vec<u8>,
    #[diesel(sql_type = Jsonb)]
    response: serde_json::Value,
}

/// Keys of different callers never meet: level, tenant or partner or service, and subject.
fn scope(op: &OpContext) -> String {
    let a = &op.actor;
    let owner = match a.level {
        "service" => a.service_id.map(|id| id.to_string()),
        "platform" => None,
        "partner" => a.partner_id.clone(),
        _ => a.tenant_id.clone(),
    };
    format!("{}|{}|{}", a.level, owner.unwrap_or_default(), a.id)
}

/// The answer that an earlier request with this key got, if there is one.
///
/// Errors: 409 when the key is in use by a request that still runs, or was used with another body.
pub async fn find<T: DeserializeOwned>(
    conn: &mut Conn,
    op: &OpContext,
    request: &Idempotency,
) -> Result<Option<T>> {
    let scope = scope(op);
    let digest = Sha256::digest(format!("{scope}\n{}\n{}", op.operation, request.key));
    let lock = i64::from_be_bytes(digest[..8].try_into().map_err(Error::internal)?);
    if !diesel::select(pg_try_advisory_xact_lock(lock)).get_result::<bool>(conn).await? {
        return Err(Error::conflict("a request with this Idempotency-Key is still running"));
    }
    // The keeper makes it ahead; this is for a clock that jumps. Before anything of the table is read: to make the day's
    // partition takes the table for itself, and of two that have read in it and both want that, one must give up.
    ensure_partition(conn, op.now).await?;
    let since: DateTime<Utc> = op.now - TimeDelta::hours(KEPT_HOURS);
    let stored = diesel::sql_query("SELECT fingerprint, response FROM sc_idempotency_find($1, $2, $3, $4)")
        .bind::<Text, _>(scope)
        .bind::<Text, _>(op.operation)
        .bind::<Text, _>(&request.key)
        .bind::<Timestamptz, _>(since);
    let stored: Option<Stored> = kept(stored).get_result(conn).await.optional()?;
    match stored {
        None => Ok(None),
        Some(s) if s.fingerprint == request.fingerprint => {
            serde_json::from_value(s.response).map(Some).map_err(Error::internal)
        }
        Some(_) => Err(Error::conflict("this Idempotency-Key was used with another request body")),
    }
}

/// Stores the answer for later repeats.
pub async fn store<T: Serialize>(
    conn: &mut Conn,
    op: &OpContext,
    request: &Idempotency,
    answer: &T,
) -> Result<()> {
    let stored = diesel::sql_query("SELECT sc_idempotency_store($1, $2, $3, $4, $5, $6)")
        .bind::<Text, _>(scope(op))
        .bind::<Text, _>(op.operation)
        .bind::<Text, _>(&request.key)
        .bind::<Binary, _>(request.fingerprint.as_slice())
        .bind::<Jsonb, _>(serde_json::to_value(answer).map_err(Error::internal)?)
        .bind::<Timestamptz, _>(op.now);
    kept(stored).execute(conn).await?;
    Ok(())
}

diesel::define_sql_function! {
    /// Makes the partition that holds the date; see the migrations.
    fn sc_partition_ensure(parent: Text, at: diesel::sql_types::Date, days: diesel::sql_types::Integer) -> diesel::sql_types::Bool;
}

async fn ensure_partition(conn: &mut Conn, at: DateTime<Utc>) -> Result<bool> {
    let made = diesel::select(sc_partition_ensure("idempotency_keys", at.date_naive(), 1));
    Ok(kept(made).get_result(conn).await?)
}

/// Makes the partitions of today and the next days; answers how many were missing. Whoever makes one holds the table for
/// itself until it commits, and a request that is the first of its day may have much to do before that.
pub async fn partitions(conn: &mut Conn, now: DateTime<Utc>) -> Result<usize> {
    let mut made = 0;
    for day in 0..=DAYS_AHEAD {
        made += usize::from(ensure_partition(conn, now + TimeDelta::days(day)).await?);
    }
    Ok(made)
}

diesel::define_sql_function! {
    /// Drops the partitions that end on or before the date; see the migrations.
    fn sc_partition_drop(parent: Text, before: diesel::sql_types::Date, days: diesel::sql_types::Integer) -> diesel::sql_types::Integer;
}

/// Drops the answers of days that nobody is answered from any more; answers how many days there were.
pub async fn forget(conn: &mut Conn, now: DateTime<Utc>) -> Result<i32> {
    let before = (now - TimeDelta::hours(KEPT_HOURS)).date_naive();
    Ok(diesel::select(sc_partition_drop("idempotency_keys", before, 1)).get_result(conn).await?)
}
