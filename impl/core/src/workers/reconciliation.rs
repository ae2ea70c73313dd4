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
/// The hour, UTC, of its night.
const HOUR: i64 = 2;

/// When the night after that of its last run begins.
pub(super) const NEXT_DUE: NextDue = "SELECT min((date_trunc('day', last_run_at AT TIME ZONE 'UTC' - interval '2 hours') + interval '26 hours') AT TIME ZONE 'UTC')
     FROM worker_state WHERE worker = 'reconciliation' AND last_run_at > $1";

/// Verifies everything, once a night. A difference is an error in the log, counted, and told to the operator's people.
///
/// Errors: an internal one that names the difference.
pub(super) async fn tick(op: &OpContext, app: &Control) -> Result<Done> {
    let op = &op.with_scope(Scope::Platform);
    let last: Option<DateTime<Utc>> = app.db.read_one(op, async |conn| state::last(conn, NAME).await).await?;
    if last.is_some_and(|last| night(op.now) <= last) {
        return Ok(Done::default());
    }
    let found = verify::run(&app.db, op).await?;
    let operator = app.config.platform.operator_partner_id.as_deref();
    app.db
        .tx(op, NAME, async |conn| {
            state::note(conn, NAME, op.now).await?;
            match (&found, operator) {
                (Some(found), Some(operator)) => tell(conn, op, operator, found).await,
                _ => Ok(()),
            }
        })
        .await?;
    let Some(found) = found else { return Ok(Done::of([("checks", verify::count())])) };
    app.metrics.books_differ();
    slog::error!(app.log, "the books do not agree"; "check" => found.check, "found" => &found.found);
    Err(Error::internal(format!("the books do not agree: {}: {}", found.check, found.found)))
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
