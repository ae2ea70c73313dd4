//! The billing run as a worker: what is due, for everybody, as it falls due.
use super::run::{Run, sweep};
use crate::app::Control;
use crate::db::Conn;
use crate::db::statement::statement;
use crate::error::{Error, Result};
use crate::op::{OpContext, Scope};
use crate::settings;
use crate::workers::Done;
use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;
use std::time::Instant;

/// When something next falls due: an item, another try of a draft that was refused, or of an account that is parked.
pub async fn next_due(conn: &mut Conn, after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
    let mut next = None;
    for source in [
        "SELECT min(due_at) FROM billed_items WHERE status = 'due' AND due_at > $1",
        "SELECT min(try_at) FROM run_drafts WHERE try_at > $1",
        "SELECT min(try_at) FROM billing_parked WHERE try_at > $1",
    ] {
        let query = statement::<Nullable<Timestamptz>>(source);
        let due: Option<DateTime<Utc>> = query.bind::<Timestamptz, _>(after).get_result(conn).await?;
        next = next.into_iter().chain(due).min();
    }
    Ok(next)
}

/// Bills, issues and sends what is due by now.
///
/// Errors: when a tenant cannot be billed; the others are.
pub async fn tick(op: &OpContext, app: &Control) -> Result<Done> {
    let op = &op.with_scope(Scope::Platform);
    let settings = app.db.read(op, async |conn| settings::load(conn).await).await?;
    let run = Run { op, app, settings, until: op.now, is_by_hand: false, began: Instant::now() };
    let swept = sweep(&run, usize::MAX).await?;
    let unissued = app.db.read(op, async |conn| unissued(conn).await).await?;
    app.metrics.queue("unissued_drafts", unissued);
    if let [(tenant_id, e), others @ ..] = swept.failed.as_slice() {
        let others = others.len();
        return Err(Error::internal(format!(
            "tenant {tenant_id} cannot be billed, nor {others} others: {e}"
        )));
    }
    let all = swept.all;
    let done = Done::of([
        ("items", usize::try_from(all.items).unwrap_or_default()),
        ("issued", all.issued),
        ("sent", all.sent),
        ("refused", all.refused),
    ]);
    Ok(if all.has_more { done.and_more() } else { done })
}

/// Drafts of the run that are refused, up to 10,001.
async fn unissued(conn: &mut Conn) -> Result<i64> {
    let query = statement::<BigInt>(
        "SELECT count(*) FROM (SELECT 1 FROM run_drafts WHERE attempts > 0 LIMIT 10001) AS refused",
    );
    Ok(query.get_result(conn).await?)
}
