//! Keeps tables in bounds: the partitions of usage, and answers under idempotency keys.
use super::{Done, NextDue, WORK_MAX};
use crate::app::Control;
use crate::db::{Conn, idempotency};
use crate::error::Result;
use crate::metering::keeper;
use crate::op::{OpContext, Scope};
use std::time::Instant;

/// An hour after it last did its work, at whichever server.
pub(super) const NEXT_DUE: NextDue = "SELECT min(last_run_at) + interval '1 hour' FROM worker_state WHERE worker = 'worked:partition_keeper' AND last_run_at > $1";

/// Makes partitions before they are needed, and drops and forgets what is too old. Safe to repeat.
pub(super) async fn tick(op: &OpContext, app: &Control) -> Result<Done> {
    let (op, began) = (&op.with_scope(Scope::Platform), Instant::now());
    let work = async |conn: &mut Conn| {
        let forgotten = keeper::forget_keys(conn, op.now).await?;
        // Last, since it may hold up whoever writes.
        let (made, dropped) = keeper::partitions(conn, op.now).await?;
        Ok((forgotten, made, dropped))
    };
    let ((mut keys, mut has_more), mut made, dropped) = app.db.tx(op, "tables_keep", work).await?;
    // For itself: who takes two tables whole at once may meet somebody who has one of them and wants the other.
    let answers = async |conn: &mut Conn| {
        let made = idempotency::partitions(conn, op.now).await?;
        Ok((made, idempotency::forget(conn, op.now).await?))
    };
    made += app.db.tx(op, "answers_keep", answers).await?.0;
    while has_more && began.elapsed() < WORK_MAX {
        let purge = async |conn: &mut Conn| keeper::forget_keys(conn, op.now).await;
        let (gone, more) = app.db.tx(op, "usage_keys_purge", purge).await?;
        (keys, has_more) = (keys + gone, more);
    }
    let dropped = usize::try_from(dropped).unwrap_or_default();
    let done =
        Done::of([("partitions made", made), ("partitions dropped", dropped), ("keys forgotten", keys)]);
    Ok(if has_more { done.and_more() } else { done })
}
