//! Whether this server can do its work.
//!
//! The database and its migrations decide: without them nothing can be answered, and a load balancer should send callers
//! elsewhere (503). Late workers and a missing object store make it `degraded`: requests are served. A worker is late when
//! neither this server nor another that was in it has done its work for a while. The checks run at most once a second,
//! however often somebody asks: the page is open to all.
use crate::app::Control;
use crate::error::Error;
use crate::gateways::objects::Reach;
use crate::identity::fresh::Fresh;
use crate::migrations;
use diesel_async::RunQueryDsl;
use scaicontrol_api::ApiError;
use scaicontrol_types::{ErrorDetail, HealthChecks, HealthResponse, ServerCheckStatus, ServerHealthStatus};
use std::time::Duration;

const CHECK_WITHIN: Duration = Duration::from_secs(2);

/// The checks, kept for a second.
#[derive(Debug)]
pub struct Health(Fresh<(), Found>);

#[derive(Clone, Copy, Debug)]
struct Found {
    database: bool,
    migrations: bool,
    files: Reach,
}

impl Default for Health {
    fn default() -> Self {
        Health(Fresh::new(Duration::from_secs(1)))
    }
}

impl Health {
    /// The answer of `GET /health`.
    pub async fn get(&self, control: &Control) -> Result<HealthResponse, ApiError> {
        let found = self.0.get((), async || Ok::<_, std::convert::Infallible>(check(control).await)).await;
        let Ok(found) = found;
        let problems: Vec<ErrorDetail> = [
            (found.database, "checks.database", "the database does not answer"),
            (
                found.migrations,
                "checks.migrations",
                "the schema of the database is not the one of this version",
            ),
        ]
        .into_iter()
        .filter(|(ok, ..)| !ok)
        .map(|(_, field, message)| ErrorDetail { field: field.into(), message: message.into() })
        .collect();
        if !problems.is_empty() {
            return Err(ApiError::unavailable("this server cannot do its work now", 5).with_details(problems));
        }
        let workers = control.metrics.overdue_workers().is_empty();
        let files = found.files != Reach::Failing;
        let status = if workers && files { ServerHealthStatus::Ok } else { ServerHealthStatus::Degraded };
        let said = |ok| if ok { ServerCheckStatus::Ok } else { ServerCheckStatus::Failing };
        let checks = HealthChecks {
            database: said(true),
            migrations: said(true),
            workers: said(workers),
            object_store: match found.files {
                Reach::Ok => ServerCheckStatus::Ok,
                Reach::Failing => ServerCheckStatus::Failing,
                Reach::NotUsed => ServerCheckStatus::NotUsed,
            },
        };
        Ok(HealthResponse { status, version: env!("CARGO_PKG_VERSION").into(), checks })
    }
}

async fn check(control: &Control) -> Found {
    let asked = tokio::time::timeout(CHECK_WITHIN, applied(control));
    let files = tokio::time::timeout(CHECK_WITHIN, control.objects.reach());
    let (asked, files) = tokio::join!(asked, files);
    let files = files.unwrap_or(Reach::Failing);
    let (database, migrations) = match asked {
        Ok(Ok(applied)) => (true, applied == migrations::versions()),
        // Reached, but there is nothing that migrations have made.
        Ok(Err(Error::Internal(_))) => (true, false),
        Ok(Err(_)) | Err(_) => (false, false),
    };
    Found { database, migrations, files }
}

/// The migrations that the database says it has, in order.
async fn applied(control: &Control) -> Result<Vec<String>, Error> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        version: String,
    }
    let mut conn = control.db.bare().await?;
    let query = diesel::sql_query("SELECT version FROM sc_migrations() AS version ORDER BY version");
    let rows: Vec<Row> = query.get_results(&mut conn).await?;
    Ok(rows.into_iter().map(|r| r.version).collect())
}
