//! Databases for tests: a template that the first test migrates, and a copy of it for each.
//!
//! The cluster comes from outside (`cargo xtask test` starts one and says where in `SCAICONTROL_TEST_PG`), because each
//! test is a process of its own. The template's name holds the digest of the migrations, so a cluster that stays
//! (`cargo xtask pg`) never hands out an old schema. A copy at the level of files costs some 30 ms.
use scaicontrol_server::migrations;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use tokio_postgres::{Client, NoTls};

const TEST_PG: &str = "SCAICONTROL_TEST_PG";
/// Owns the tables, as in production: no superuser, so the migrations prove that they need none.
const OWNER: &str = "scaicontrol_owner";
/// What the server logs in as.
const APP: &str = "scaicontrol_app";
/// Any number: held by who makes the template.
const LOCK: i64 = 0x5343_5445_5354;

/// A database that goes away with its value.
#[derive(Debug)]
pub struct Database {
    cluster: String,
    name: String,
}

impl Database {
    /// A copy of the migrated template.
    pub async fn create() -> Database {
        let cluster = cluster();
        let admin = connect(&cluster).await;
        let template = template(&cluster, &admin).await;
        Database::named(cluster, &admin, &format!("TEMPLATE {template} STRATEGY FILE_COPY")).await
    }

    /// A database without anything in it.
    pub async fn empty() -> Database {
        let cluster = cluster();
        let admin = connect(&cluster).await;
        ensure_owner(&admin).await;
        Database::named(cluster, &admin, "").await
    }

    async fn named(cluster: String, admin: &Client, how: &str) -> Database {
        let name = format!("t_{}", uuid::Uuid::now_v7().simple());
        admin
            .batch_execute(&format!("CREATE DATABASE {name} OWNER {OWNER} {how}"))
            .await
            .expect("a database");
        Database { cluster, name }
    }

    /// As the server logs in.
    pub fn app_url(&self) -> String {
        url(&self.cluster, APP, &self.name)
    }

    /// As the owner of the tables.
    pub fn owner_url(&self) -> String {
        url(&self.cluster, OWNER, &self.name)
    }

    /// A connection that sees every row: as superuser, whom row-level security does not bind.
    pub async fn connect(&self) -> Client {
        connect(&url(&self.cluster, "postgres", &self.name)).await
    }

    /// A connection as the server's login.
    pub async fn connect_as_app(&self) -> Client {
        connect(&self.app_url()).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (cluster, sql) =
            (self.cluster.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        // Dropping cannot wait for the test's own runtime, which may be the one that is ending.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let connected = tokio_postgres::connect(&cluster, NoTls).await;
                if let Ok((client, connection)) = connected {
                    tokio::spawn(connection);
                    let _ = client.batch_execute(&sql).await;
                }
            });
            Ok::<(), std::io::Error>(())
        });
        let _ = dropped.join();
    }
}

fn cluster() -> String {
    std::env::var(TEST_PG).unwrap_or_else(|_| {
        panic!("{TEST_PG} is not set: run the tests with `cargo xtask test [FILTER]`, or keep a cluster with `cargo xtask pg`")
    })
}

/// The same cluster, as another user in another database.
fn url(cluster: &str, user: &str, database: &str) -> String {
    let (_, rest) = cluster.split_once("://").expect("a URL");
    let (authority, tail) = rest.rsplit_once('/').expect("a URL with a database");
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let query = tail.split_once('?').map_or(String::new(), |(_, q)| format!("?{q}"));
    format!("postgres://{user}@{host}/{database}{query}")
}

/// A connection; it ends with its client.
pub async fn connect(url: &str) -> Client {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.unwrap_or_else(|e| panic!("{url}: {e}"));
    tokio::spawn(connection);
    client
}

/// The folder of the migrations.
pub fn migrations_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations")
}

/// The migrations as they are on the disk: folder and `up.sql`, in order.
pub fn migrations_on_disk() -> Vec<(String, String)> {
    let folders = std::fs::read_dir(migrations_folder()).expect("migrations/").flatten().map(|e| e.path());
    let mut all: Vec<(String, String)> = folders
        .filter(|folder| folder.is_dir())
        .map(|folder| {
            let sql = std::fs::read_to_string(folder.join("up.sql")).expect("up.sql");
            (folder.file_name().expect("a name").to_string_lossy().into_owned(), sql)
        })
        .collect();
    all.sort();
    all
}

fn digest() -> String {
    let mut hash = Sha256::new();
    for (name, sql) in migrations_on_disk() {
        hash.update(name.as_bytes());
        hash.update(sql.len().to_be_bytes());
        hash.update(sql.as_bytes());
    }
    hex::encode(&hash.finalize()[..12])
}

async fn ensure_owner(admin: &Client) {
    let sql = format!(
        "DO $$ BEGIN CREATE ROLE {OWNER} LOGIN CREATEROLE; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    );
    admin.batch_execute(&sql).await.expect("the owner");
}

async fn template(cluster: &str, admin: &Client) -> String {
    let name = format!("template_{}", digest());
    if is_ready(admin, &name).await {
        return name;
    }
    // Several tests may find it missing at once: one makes it, the others wait here.
    admin.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.expect("the lock");
    if !is_ready(admin, &name).await {
        ensure_owner(admin).await;
        admin
            .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await
            .expect("no half-made one");
        admin.batch_execute(&format!("CREATE DATABASE {name} OWNER {OWNER}")).await.expect("a database");
        let ran = migrations::up(&url(cluster, OWNER, &name)).await.expect("the migrations run");
        assert_eq!(
            ran.len(),
            migrations_on_disk().len(),
            "the program was built with other migrations than are here"
        );
        // Whoever stays connected would keep it from being copied.
        let mark = format!("ALTER DATABASE {name} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false");
        admin.batch_execute(&mark).await.expect("marked as whole");
    }
    admin.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await.expect("unlocked");
    name
}

async fn is_ready(admin: &Client, name: &str) -> bool {
    let sql = "SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate";
    admin.query_opt(sql, &[&name]).await.expect("the list of databases").is_some()
}
