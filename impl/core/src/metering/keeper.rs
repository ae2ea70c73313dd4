//! Keeps the tables of usage in bounds: partitions are made before they are needed, and what is no longer needed goes.
use super::writer::ensure_partition;
use crate::db::Conn;
use crate::db::statement::statement;
use crate::error::Result;
use chrono::{DateTime, Months, TimeDelta, Utc};
use diesel::sql_types::{BigInt, Date, Integer, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// How long a key makes its event a duplicate: two days longer than an event may be late.
const KEYS_KEPT: TimeDelta = TimeDelta::days(37);
/// How long events are kept.
const EVENTS_KEPT: Months = Months::new(13);
/// Keys that go in one transaction, so that none is long.
const KEYS_AT_ONCE: i64 = 10_000;

diesel::define_sql_function! {
    /// Drops the partitions that end on or before the date; see the migrations.
    fn sc_partition_drop(parent: Text, before: Date, days: Integer) -> Integer;
}

/// Makes the partitions of this week and the next and drops those of events older than 13 months; answers how many of each.
pub async fn partitions(conn: &mut Conn, now: DateTime<Utc>) -> Result<(usize, i32)> {
    let mut made = 0;
    for at in [now, now + TimeDelta::days(7)] {
        made += usize::from(ensure_partition(conn, at).await?);
    }
    let Some(before) = now.checked_sub_months(EVENTS_KEPT) else { return Ok((made, 0)) };
    let drop = diesel::select(sc_partition_drop("usage_events", before.date_naive(), 7));
    Ok((made, drop.get_result(conn).await?))
}

/// Forgets some of the keys that are older than 37 days; answers how many, and whether there are more.
pub async fn forget_keys(conn: &mut Conn, now: DateTime<Utc>) -> Result<(usize, bool)> {
    let gone = statement::<()>(
        "DELETE FROM usage_keys k USING (
           SELECT tenant_id, service_id, key_hash FROM usage_keys WHERE received_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
         ) old
         WHERE k.tenant_id = old.tenant_id AND k.service_id = old.service_id AND k.key_hash = old.key_hash",
    )
    .bind::<Timestamptz, _>(now - KEYS_KEPT)
    .bind::<BigInt, _>(KEYS_AT_ONCE)
    .execute(conn)
    .await?;
    Ok((gone, i64::try_from(gone).is_ok_and(|gone| KEYS_AT_ONCE <= gone)))
}
