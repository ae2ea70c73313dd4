//! What servers tell each other of their workers: when each last did its work.
//!
//! Of a worker that one server at a time is in, the others would know nothing: they look, find it taken and go. Whoever has
//! done the work notes it, so that a server whose looks are always in vain knows whether it is done at all.
use crate::db::Conn;
use crate::db::schema::worker_state;
use crate::db::statement::kept;
use crate::error::Result;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// The name under which it is noted, by the machine's clock, that a worker did its work.
pub(super) fn worked(worker: &str) -> String {
    format!("worked:{worker}")
}

/// When what has that name was last noted.
pub(super) async fn last(mut conn: &Conn, name: &str) -> Result<Option<DateTime<Utc>>> {
    let last = worker_state::table.find(name).select(worker_state::last_run_at);
    Ok(last.first(&mut conn).await.optional()?)
}

/// Notes it.
pub(super) async fn note(conn: &mut Conn, name: &str, at: DateTime<Utc>) -> Result<()> {
    let noted = diesel::insert_into(worker_state::table)
        .values((worker_state::worker.eq(name), worker_state::last_run_at.eq(at)))
        .on_conflict(worker_state::worker)
        .do_update()
        .set(worker_state::last_run_at.eq(at));
    kept(noted).execute(conn).await?;
    Ok(())
}
