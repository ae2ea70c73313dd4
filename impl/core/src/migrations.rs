//! The migrations, which are inside the program: a server and its schema cannot come apart.
//!
//! They run as the owner of the tables (`DATABASE_OWNER_URL`), never as the server, which owns nothing. An advisory lock
//! makes two that start at once follow each other.
use crate::error::{Error, Result};
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_async::{
    AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

/// All of them.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// Any number; nobody else in this database takes it.
const LOCK: i64 = 0x7363_6169_6d69_6772;

/// Lets the server see which migrations there are (and nothing else of that table), for its health page.
const SHOW: &str = "
    CREATE OR REPLACE FUNCTION sc_migrations() RETURNS SETOF text
      LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
      AS 'SELECT version::text FROM __diesel_schema_migrations';
    REVOKE ALL ON FUNCTION sc_migrations() FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION sc_migrations() TO scaicontrol_app;";

/// It belongs to no migration, and would hold on to a role that one of them drops.
const HIDE: &str = "DROP FUNCTION IF EXISTS sc_migrations()";

/// One migration and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its folder's name.
    pub name: String,
    /// Whether it has been run.
    pub applied: bool,
}

/// The versions of all migrations, in order, as diesel writes them into the database.
pub fn versions() -> Vec<String> {
    let all = MigrationSource::<Pg>::migrations(&MIGRATIONS).unwrap_or_default();
    let mut versions: Vec<String> = all.iter().map(|m| m.name().version().to_string()).collect();
    versions.sort_unstable();
    versions
}

/// Runs what the database does not have yet; answers the names of what was run.
pub async fn up(owner_url: &str) -> Result<Vec<String>> {
    with_harness(owner_url, "", |harness| {
        let ran = harness.run_pending_migrations(MIGRATIONS).map_err(Error::internal)?;
        Ok(ran.iter().map(ToString::to_string).collect())
    })
    .await
}

/// Takes the last `count` back; answers their versions.
pub async fn down(owner_url: &str, count: usize) -> Result<Vec<String>> {
    with_harness(owner_url, HIDE, move |harness| {
        let has = harness.applied_migrations().map_err(Error::internal)?.len();
        (0..count.min(has))
            .map(|_| {
                harness.revert_last_migration(MIGRATIONS).map(|v| v.to_string()).map_err(Error::internal)
            })
            .collect()
    })
    .await
}

/// All migrations, in order, and whether the database has them.
pub async fn status(owner_url: &str) -> Result<Vec<Status>> {
    with_harness(owner_url, "", |harness| {
        let applied: Vec<String> =
            harness.applied_migrations().map_err(Error::internal)?.iter().map(ToString::to_string).collect();
        let all = MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(Error::internal)?;
        let mut all: Vec<Status> = all
            .iter()
            .map(|m| Status {
                name: m.name().to_string(),
                applied: applied.contains(&m.name().version().to_string()),
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    })
    .await
}

type Harness = AsyncMigrationHarness<AsyncPgConnection>;

async fn with_harness<T: Send + 'static>(
    owner_url: &str,
    before: &str,
    work: impl FnOnce(&mut Harness) -> Result<T> + Send + 'static,
) -> Result<T> {
    let connect = async || {
        let error = |e| Error::Unavailable(format!("cannot connect as the owner: {e}"));
        AsyncPgConnection::establish(owner_url).await.map_err(error)
    };
    let mut locked = connect().await?;
    diesel::sql_query(format!("SELECT pg_advisory_lock({LOCK})")).execute(&mut locked).await?;
    locked.batch_execute(before).await?;
    let mut harness = AsyncMigrationHarness::new(connect().await?);
    let (harness, done) = tokio::task::spawn_blocking(move || {
        let done = work(&mut harness);
        (harness, done)
    })
    .await
    .map_err(Error::internal)?;
    let done = done?;
    let mut conn = harness.into_inner();
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        there: bool,
    }
    // Without the role, no migration has run.
    let asked = diesel::sql_query(
        "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'scaicontrol_app') AS there",
    );
    if asked.get_result::<Row>(&mut conn).await?.there {
        conn.batch_execute(SHOW).await?;
    }
    // The lock goes with its connection.
    drop(locked);
    Ok(done)
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_in_order_and_each_once() {
        let versions = super::versions();
        assert!(versions.len() >= 9, "{versions:?}");
        assert!(versions.windows(2).all(|w| w[0] < w[1]), "{versions:?}");
    }
}
