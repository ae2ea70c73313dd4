//! The nightly proof that what is stored about money agrees with itself.
use super::Done;
use crate::app::Control;
use crate::db::Conn;
use crate::db::schema::{partners, worker_state};
use crate::error::{Error, Result};
use crate::ledger::verify::{self, Difference};
use crate::notifications::{self, Notice, Severity};
use crate::op::{OpContext, Scope};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;

const NAME: &str = "reconciliation";
/// When people were told of a difference, beside when a night passed.
const TOLD: &str = "reconciliation_told";
/// The hour, UTC, of its night.
const HOUR: i64 = 2;

/// Verifies everything, until it has passed once in a night. A difference is an error in the log, counted, and told to the
/// operator's people, once a night; it is looked for again until it is mended, so that no night passes over it.
///
/// Errors: 409 that names the difference: whoever moves a simulated clock is told of it.
pub(super) async fn tick(op: &OpContext, app: &Control) -> Result<Done> {
    let op = &op.with_scope(Scope::Platform);
    let last: Option<DateTime<Utc>> = app.db.read_one(op, async |conn| last_run(conn, NAME).await).await?;
    if last.is_some_and(|last| night(op.now) <= last) {
        return Ok(Done::default());
    }
    let Some(found) = verify::run(&app.db, op).await? else {
        app.db.tx(op, NAME, async |conn| note_run(conn, NAME, op.now).await).await?;
        return Ok(Done::of([("checks", verify::count())]));
    };
    let operator = app.config.platform.operator_partner_id.as_deref();
    let is_new = app.db.tx(op, TOLD, async |conn| note_difference(conn, op, operator, &found).await).await?;
    if is_new {
        app.metrics.books_differ();
        slog::error!(app.log, "the books do not agree"; "check" => found.check, "found" => &found.found);
    }
    Err(Error::conflict(format!("the books do not agree: {}: {}", found.check, found.found)))
}

/// Tells of a difference, unless that was done this night. Answers whether it was done now.
async fn note_difference(
    conn: &mut Conn,
    op: &OpContext,
    operator: Option<&str>,
    found: &Difference,
) -> Result<bool> {
    if last_run(conn, TOLD).await?.is_some_and(|told| night(op.now) <= told) {
        return Ok(false);
    }
    note_run(conn, TOLD, op.now).await?;
    if let Some(operator) = operator {
        tell(conn, op, operator, found).await?;
    }
    Ok(true)
}

/// The beginning of the night that `now` is in or after.
fn night(now: DateTime<Utc>) -> DateTime<Utc> {
    let day = (now - TimeDelta::hours(HOUR)).date_naive();
    day.and_time(chrono::NaiveTime::MIN).and_utc() + TimeDelta::hours(HOUR)
}

async fn last_run(mut conn: &Conn, what: &str) -> Result<Option<DateTime<Utc>>> {
    let last = worker_state::table.find(what).select(worker_state::last_run_at);
    Ok(last.first(&mut conn).await.optional()?)
}

async fn note_run(conn: &mut Conn, what: &str, at: DateTime<Utc>) -> Result<()> {
    diesel::insert_into(worker_state::table)
        .values((worker_state::worker.eq(what), worker_state::last_run_at.eq(at)))
        .on_conflict(worker_state::worker)
        .do_update()
        .set(worker_state::last_run_at.eq(at))
        .execute(conn)
        .await?;
    Ok(())
}

/// Tells everybody of the operator's home tenant.
async fn tell(conn: &mut Conn, op: &OpContext, operator: &str, found: &Difference) -> Result<()> {
    let home: Option<Option<String>> =
        partners::table.find(operator).select(partners::home_tenant_id).first(conn).await.optional()?;
    let Some(home) = home.flatten() else { return Ok(()) };
    let notice = Notice {
        tenant_id: &home,
        partner_id: operator,
        user_id: None,
        category: "system",
        severity: Severity::Critical,
        message: "books_differ",
        parameters: json!({"check": found.check, "found": found.found}),
        link: None,
    };
    notifications::tell(conn, op, notice).await
}

#[cfg(test)]
mod tests {
    use super::night;

    #[test]
    fn a_night_begins_at_two() {
        let at = |text: &str| text.parse().expect("a time");
        assert_eq!(night(at("2026-03-10T01:59:59Z")), at("2026-03-09T02:00:00Z"));
        assert_eq!(night(at("2026-03-10T02:00:00Z")), at("2026-03-10T02:00:00Z"));
        assert_eq!(night(at("2026-03-10T23:00:00Z")), at("2026-03-10T02:00:00Z"));
    }
}
