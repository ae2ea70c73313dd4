//! The billing run as a worker: what is due, for everybody, as it falls due.
use super::run::{Run, sweep};
use crate::app::Control;
use crate::db::Conn;
use crate::db::statement::statement;
use crate::error::{Error, Result};
use crate::op::{OpContext, Scope};
use crate::settings;
use crate::workers::Done;
use crate::workers::NextDue;
use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Timestamptz};
use diesel_async::RunQueryDsl;
use std::time::Instant;

/// When something falls due: an item, usage that came after its segment was billed, another try of a draft that was refused,
/// or of an account that is parked.
pub const NEXT_DUE: NextDue = "SELECT LEAST(
       (SELECT min(due_at) FROM billed_items WHERE status = 'due' AND due_at > $1),
       (SELECT min(marked_at) FROM late_usage WHERE marked_at > $1),
       (SELECT min(try_at) FROM run_drafts WHERE try_at > $1),
       (SELECT min(try_at) FROM billing_parked WHERE try_at > $1))";

/// Bills, issues and sends what is due by now.
///
/// Errors: when a tenant cannot be billed; the others are.
pub async fn tick(op: &OpContext, app: &Control) -> Result<Done> {
    let op = &op.with_scope(Scope::Platform);
    let begin = async |conn: &mut Conn| {
        Ok(if is_due(conn, op.now).await? { Some(settings::load(conn).await?) } else { None })
    };
    let Some(settings) = app.db.read(op, begin).await? else { return Ok(Done::default()) };
    let run = Run { op, app, settings, until: op.now, is_by_hand: false, began: Instant::now() };
    let swept = sweep(&run, usize::MAX).await?;
    let (unissued, parked) = app.db.read(op, async |conn| stuck(conn).await).await?;
    app.metrics.queue("unissued_drafts", unissued);
    app.metrics.queue("parked_accounts", parked);
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

/// Whether there is anything to do: what a run with nothing due costs.
async fn is_due(conn: &mut Conn, now: DateTime<Utc>) -> Result<bool> {
    let query = statement::<Bool>(
        "SELECT COALESCE((SELECT min(due_at) FROM billed_items WHERE status = 'due') <= t.now, false)
           OR COALESCE((SELECT min(next_event_at) FROM subscriptions) <= t.now, false)
           OR COALESCE((SELECT min(try_at) FROM run_drafts) <= t.now, false)
           OR EXISTS (SELECT 1 FROM late_usage) FROM (SELECT $1::timestamptz AS now) AS t",
    );
    Ok(query.bind::<Timestamptz, _>(now).get_result(conn).await?)
}

/// Drafts of the run that are refused, and accounts that are parked, up to 10,001 each.
async fn stuck(conn: &mut Conn) -> Result<(i64, i64)> {
    let query = statement::<(BigInt, BigInt)>(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM run_drafts WHERE attempts > 0 LIMIT 10001) AS refused),
           (SELECT count(*) FROM (SELECT 1 FROM billing_parked LIMIT 10001) AS parked)",
    );
    Ok(query.get_result(conn).await?)
}
