//! The nightly proof that what is stored about money agrees with itself.
use super::{Done, NextDue, state};
use crate::app::Control;
use crate::db::Conn;
use crate::db::schema::partners;
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

/// When the night after that of its last run begins.
pub(super) const NEXT_DUE: NextDue = "SELECT min((date_trunc('day', last_run_at AT TIME ZONE 'UTC' - interval '2 hours') + interval '26 hours') AT TIME ZONE 'UTC')
     FROM worker_state WHERE worker = 'reconciliation' AND last_run_at > $1";

/// Verifies everything, once a night. A difference is an error in the log, counted, and told to the operator's people. A
/// simulated night passes when its proof does: until then each move of the clock finds the difference again. By the real
/// clock the next night does; years of books are too much to look through each minute.
///
/// Errors: 409 that names the difference: whoever moves a simulated clock is told of it.
pub(super) async fn tick(op: &OpContext, app: &Control) -> Result<Done> {
    let op = &op.with_scope(Scope::Platform);
    let last: Option<DateTime<Utc>> = app.db.read_one(op, async |conn| state::last(conn, NAME).await).await?;
    if last.is_some_and(|last| night(op.now) <= last) {
        return Ok(Done::default());
    }
    let Some(found) = verify::run(&app.db, op).await? else {
        app.db.tx(op, NAME, async |conn| state::note(conn, NAME, op.now).await).await?;
        return Ok(Done::of([("checks", verify::count())]));
    };
    let operator = app.config.platform.operator_partner_id.as_deref();
    let is_over = !app.clock.is_simulated();
    let is_new = app
        .db
        .tx(op, TOLD, async |conn| note_difference(conn, op, operator, (&found, is_over)).await)
        .await?;
    if is_new {
        app.metrics.books_differ();
        slog::error!(app.log, "the books do not agree"; "check" => found.check, "found" => &found.found);
    }
    Err(Error::conflict(format!("the books do not agree: {}: {}", found.check, found.found)))
}

/// Tells of a difference, unless that was done this night; with `is_over` the night is. Answers whether it was done now.
async fn note_difference(
    conn: &mut Conn,
    op: &OpContext,
    operator: Option<&str>,
    (found, is_over): (&Difference, bool),
) -> Result<bool> {
    if state::last(conn, TOLD).await?.is_some_and(|told| night(op.now) <= told) {
        return Ok(false);
    }
    state::note(conn, TOLD, op.now).await?;
    if is_over {
        state::note(conn, NAME, op.now).await?;
    }
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
