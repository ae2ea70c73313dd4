//! The database: a pool of connections, and transactions that run as the role of their caller.
//!
//! [`Db::tx`] is the only way to write. One round trip begins the transaction, takes the role and sets the variables
//! that row-level security compares with; a collision is tried again; an answer under an idempotency key is stored in
//! the transaction of its effect. No HTTP call belongs inside: a closure may run several times.
pub mod idempotency;
pub mod page;
pub mod schema;
pub mod statement;

use crate::dev;
use crate::error::{Error, Result};
use crate::op::{OpContext, Scope};
use deadpool::managed::QueueMode;
use diesel::QueryResult;
use diesel::sql_types::Text;
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures::TryFutureExt;
use futures::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// A connection inside a transaction.
pub type Conn = AsyncPgConnection;

/// How often a transaction that collided with another is tried.
const ATTEMPTS_MAX: u32 = 5;

diesel::define_sql_function! {
    /// Sets a variable for the rest of the transaction.
    fn set_config(name: Text, value: Text, is_local: diesel::sql_types::Bool) -> Text;
}

diesel::define_sql_function! {
    /// Takes a lock until the transaction ends, unless somebody has it.
    fn pg_try_advisory_xact_lock(key: diesel::sql_types::BigInt) -> diesel::sql_types::Bool;
}
diesel::define_sql_function! {
    /// A number that stands for a text.
    fn hashtextextended(text: Text, seed: diesel::sql_types::BigInt) -> diesel::sql_types::BigInt;
}

/// Keeps the locks of [`Db::alone`] apart from those that others make of a text.
const ALONE: i64 = 0x616c_6f6e;

/// The pool. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: Pool<AsyncPgConnection>,
    statement_timeout: Duration,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("pool", &self.pool.status()).finish()
    }
}

impl Db {
    /// A pool of at most `size` connections to `url`; none is opened yet. A request waits at most `wait` for one, and each
    /// of its statements runs at most `statement_timeout`.
    pub fn new(url: &str, size: usize, wait: Duration, statement_timeout: Duration) -> Result<Self> {
        // A connection that was closed is known as such; asking it with a query of its own before each transaction would
        // cost every transaction a flight.
        let mut how = ManagerConfig::default();
        how.recycling_method = RecyclingMethod::Fast;
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(url, how);
        let pool = Pool::builder(manager)
            .max_size(size)
            // The one that was used last knows its statements and its plans best, at both ends.
            .queue_mode(QueueMode::Lifo)
            .wait_timeout(Some(wait))
            .create_timeout(Some(wait))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(Error::internal)?;
        Ok(Db { pool, statement_timeout })
    }

    /// Connections in use, idle, and requests that wait for one.
    pub fn status(&self) -> PoolStatus {
        let s = self.pool.status();
        PoolStatus { size: s.size, idle: s.available, waiting: s.waiting }
    }

    /// A connection without a role, for what needs none: it can do nothing but ask whether the server is there.
    pub async fn bare(&self) -> Result<Object<AsyncPgConnection>> {
        self.pool.get().await.map_err(|e| Error::Unavailable(format!("no database connection: {e}")))
    }

    /// Runs `work` in a transaction with the sight of `op`, and commits it. `work` runs again when it collided.
    ///
    /// Each run is a clone that is called once: of a closure that is called by reference rustc cannot prove that its future
    /// is `Send` when it captures references, and every handler must be.
    pub async fn tx<T, F>(&self, op: &OpContext, name: &'static str, work: F) -> Result<T>
    where
        F: AsyncFnOnce(&mut Conn) -> Result<T> + Clone,
    {
        for attempt in 1.. {
            match self.attempt(op, Mode::Write, work.clone()).await {
                Err(Error::Collision(_)) if attempt < ATTEMPTS_MAX => {
                    tokio::time::sleep(Duration::from_millis(rand::random_range(0..10 * u64::from(attempt))))
                        .await;
                }
                Err(Error::Collision(cause)) => {
                    return Err(Error::Unavailable(format!("{name}: too many collisions: {cause}")));
                }
                done => return done,
            }
        }
        unreachable!("the loop returns")
    }

    /// Like [`Db::tx`], once for each `Idempotency-Key`: a repeat answers what was stored.
    pub async fn once<T, F>(&self, op: &OpContext, name: &'static str, work: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: AsyncFnOnce(&mut Conn) -> Result<T> + Clone,
    {
        let Some(request) = &op.idempotency else { return self.tx(op, name, work).await };
        self.tx(op, name, async move |conn| {
            if let Some(stored) = idempotency::find(conn, op, request).await? {
                return Ok(stored);
            }
            let answer = work(conn).await?;
            idempotency::store(conn, op, request, &answer).await?;
            Ok(answer)
        })
        .await
    }

    /// Runs `work` in a transaction that cannot write.
    pub async fn read<T, F>(&self, op: &OpContext, work: F) -> Result<T>
    where
        F: AsyncFnOnce(&mut Conn) -> Result<T> + Clone,
    {
        self.attempt(op, Mode::Read, work).await
    }

    /// Runs one statement in a transaction that cannot write, in two flights instead of three: for what is asked before each
    /// unit of work.
    pub async fn read_one<T>(&self, op: &OpContext, work: impl AsyncFnOnce(&Conn) -> Result<T>) -> Result<T> {
        let conn = self.bare().await?;
        let (tx, value) =
            Transaction::begin_with(conn, &op.scope, Mode::Read, self.statement_timeout, work).await?;
        tx.end("COMMIT").await?;
        Ok(value)
    }

    /// Runs `work` in a transaction that cannot write and sees one instant throughout.
    pub async fn snapshot<T, F>(&self, op: &OpContext, work: F) -> Result<T>
    where
        F: AsyncFnOnce(&mut Conn) -> Result<T> + Clone,
    {
        self.attempt(op, Mode::Snapshot, work).await
    }

    /// Runs `work` while no other server runs work of that name; answers nothing when one does.
    ///
    /// The lock is that of an open transaction on a connection of its own, which does nothing else: whatever becomes of
    /// this server, it ends with it. Should only that connection be lost, another server may begin while this one still
    /// works; what the work takes, it takes under row locks.
    pub async fn alone<T>(&self, name: &str, work: impl Future<Output = T>) -> Result<Option<T>> {
        let mut tx =
            Transaction::begin(self.bare().await?, &Scope::Public, Mode::Read, self.statement_timeout)
                .await?;
        let is_mine: bool = diesel::select(pg_try_advisory_xact_lock(hashtextextended(name, ALONE)))
            .get_result(tx.conn())
            .await?;
        if !is_mine {
            tx.end("ROLLBACK").await?;
            return Ok(None);
        }
        let done = work.await;
        // What was done stays done, even if the lock was lost meanwhile.
        let _ = tx.end("COMMIT").await;
        Ok(Some(done))
    }

    /// Runs `work` in a transaction that is rolled back: what it would have done, without doing it.
    pub async fn dry_run<T, F>(&self, op: &OpContext, work: F) -> Result<T>
    where
        F: AsyncFnOnce(&mut Conn) -> Result<T> + Clone,
    {
        self.attempt(op, Mode::DryRun, work).await
    }

    async fn attempt<T, F>(&self, op: &OpContext, mode: Mode, work: F) -> Result<T>
    where
        F: AsyncFnOnce(&mut Conn) -> Result<T>,
    {
        let mut tx = Transaction::begin(self.bare().await?, &op.scope, mode, self.statement_timeout).await?;
        match work(tx.conn()).await {
            Ok(value) if mode == Mode::Write => {
                dev::burn();
                tx.end("COMMIT").await?;
                dev::burn();
                Ok(value)
            }
            Ok(value) => {
                tx.end(if mode == Mode::DryRun { "ROLLBACK" } else { "COMMIT" }).await?;
                Ok(value)
            }
            Err(e) => {
                // The first error is the one that says what happened.
                let _ = tx.end("ROLLBACK").await;
                Err(e)
            }
        }
    }
}

/// Runs `work` in the open transaction and takes back what it did, locks included: what it would do, without doing it.
pub async fn undone<T, F>(conn: &mut Conn, work: F) -> Result<T>
where
    F: AsyncFnOnce(&mut Conn) -> Result<T>,
{
    conn.batch_execute("SAVEPOINT undone").await?;
    let done = work(conn).await;
    conn.batch_execute("ROLLBACK TO SAVEPOINT undone; RELEASE SAVEPOINT undone").await?;
    done
}

/// The role that stands for a scope.
const fn role(scope: &Scope) -> &'static str {
    match scope {
        Scope::Tenant(_) => "sc_tenant",
        Scope::Partner(_) => "sc_partner",
        Scope::Service(_) => "sc_service",
        Scope::Public => "sc_public",
        Scope::Platform => "sc_platform",
    }
}

/// Goes on with another role in the open transaction; its variable must be set already. For the few reads whose rows do not
/// say whose they are: what may be read was asked under the caller's own role before.
pub async fn take_role(conn: &mut Conn, scope: &Scope) -> Result<()> {
    Ok(conn.batch_execute(&format!("SET LOCAL ROLE {}", role(scope))).await?)
}

/// How full the pool is.
#[derive(Clone, Copy, Debug)]
pub struct PoolStatus {
    /// Open connections.
    pub size: usize,
    /// Of them, not in use.
    pub idle: usize,
    /// Requests that wait for one.
    pub waiting: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Read,
    Snapshot,
    Write,
    DryRun,
}

/// An open transaction. When its future is dropped half-way (a deadline passed), the connection is closed, so that the
/// pool never gets one back that is still inside a transaction.
struct Transaction {
    conn: Option<Object<AsyncPgConnection>>,
}

impl Transaction {
    async fn begin(
        conn: Object<AsyncPgConnection>,
        scope: &Scope,
        mode: Mode,
        statement_timeout: Duration,
    ) -> Result<Self> {
        let (tx, ()) =
            Self::begin_with(conn, scope, mode, statement_timeout, async |_: &Conn| Ok(())).await?;
        Ok(tx)
    }

    /// Opens a transaction and does its first work in the same flight: the server runs all of it in order.
    async fn begin_with<T>(
        conn: Object<AsyncPgConnection>,
        scope: &Scope,
        mode: Mode,
        statement_timeout: Duration,
        work: impl AsyncFnOnce(&Conn) -> Result<T>,
    ) -> Result<(Self, T)> {
        let tx = Transaction { conn: Some(conn) };
        let role = role(scope);
        let (variable, value) = match scope {
            Scope::Tenant(id) => ("app.tenant_id", id.clone()),
            Scope::Partner(id) => ("app.partner_id", id.clone()),
            Scope::Service(id) => ("app.service_id", id.to_string()),
            Scope::Public | Scope::Platform => ("app.tenant_id", String::new()),
        };
        let how = match mode {
            Mode::Read => "READ COMMITTED READ ONLY",
            Mode::Snapshot => "REPEATABLE READ READ ONLY",
            Mode::Write | Mode::DryRun => "READ COMMITTED READ WRITE",
        };
        // A snapshot is for proofs over everything, which take the time they take.
        let timeout = if mode == Mode::Snapshot { 0 } else { statement_timeout.as_millis() };
        let begin = format!(
            "BEGIN ISOLATION LEVEL {how}; SET LOCAL ROLE {role}; SET LOCAL statement_timeout = {timeout}"
        );
        let shared: &AsyncPgConnection =
            tx.conn.as_deref().ok_or_else(|| Error::internal("no connection"))?;
        let (mut first, mut second) = (shared, shared);
        // They are polled in this order, so they are sent in it. Work that came before the role would be refused: the
        // login itself may read nothing.
        let (.., done) = futures::try_join!(
            first.batch_execute(&begin).map_err(Error::from),
            diesel::select(set_config(variable, value, true)).execute(&mut second).map_err(Error::from),
            work(shared)
        )?;
        Ok((tx, done))
    }

    fn conn(&mut self) -> &mut Conn {
        self.conn.as_deref_mut().expect("a transaction has its connection until it ends")
    }

    async fn end(mut self, how: &str) -> QueryResult<()> {
        self.conn().batch_execute(how).await?;
        // Only a connection that is out of its transaction goes back to the pool.
        drop(self.conn.take());
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            drop(Object::take(conn));
        }
    }
}

/// The `LIMIT` under which a count stops: one more than what is counted exactly.
pub const COUNTED: i64 = page::COUNTED_MAX + 1;

/// Counts the rows of a query that has its own limit. Boxed, so that the query's type stays out of the caller's future.
pub fn count_up_to<Q>(conn: &mut Conn, limited: Q) -> BoxFuture<'_, Result<i64>>
where
    Q: Send + 'static,
    Counted<Q>: diesel_async::methods::LoadQuery<'static, Conn, i64>,
{
    Box::pin(async move { Ok(Counted(limited).get_result::<i64>(conn).await?) })
}

/// `SELECT count(*) FROM (…)`.
#[derive(Debug, Clone, Copy, diesel::query_builder::QueryId)]
pub struct Counted<Q>(Q);

impl<Q: diesel::query_builder::Query> diesel::query_builder::Query for Counted<Q> {
    type SqlType = diesel::sql_types::BigInt;
}

impl<Q, C> diesel::RunQueryDsl<C> for Counted<Q> {}

impl<Q: diesel::query_builder::QueryFragment<diesel::pg::Pg>>
    diesel::query_builder::QueryFragment<diesel::pg::Pg> for Counted<Q>
{
    fn walk_ast<'b>(
        &'b self,
        mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
    ) -> QueryResult<()> {
        out.push_sql("SELECT count(*) FROM (");
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(") AS counted");
        Ok(())
    }
}
