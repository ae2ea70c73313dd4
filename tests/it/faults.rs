//! What was acknowledged stays, and nothing happens twice, when the server or its database is killed in the middle of it.
//!
//! The server is the real program, started as `scaicontrol serve`, on a cluster of its own that writes through as in
//! production. Both are killed with SIGKILL while requests run, started again, and asked for the rest.
use futures::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use scaicontrol_client::{Client, Error};
use scaicontrol_postgres::{Cluster, Options, Stop};
use scaicontrol_server::identity::dev_issuer::{AUDIENCE, Mint};
use scaicontrol_server::migrations;
use scaicontrol_tests::issuer::Issuer;
use scaicontrol_tests::{OPERATOR, body, database, wait};
use scaicontrol_types as types;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use uuid::Uuid;

mod billing;
mod dunning;
mod money;

const DATABASE: &str = "scaicontrol";

/// Where the program is: what `cargo xtask test` built, or beside the folder of this test's own program.
fn program() -> PathBuf {
    let beside = || {
        let own = std::env::current_exe().expect("a program has a path");
        own.ancestors().nth(2).unwrap_or(Path::new(".")).join("scaicontrol")
    };
    let path = std::env::var_os("SCAICONTROL_BIN").map_or_else(beside, PathBuf::from);
    assert!(
        path.is_file(),
        "{} is not there: run the tests with `cargo xtask test [FILTER]`",
        path.display()
    );
    path
}

/// A folder that goes away with its value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that runs.
struct Server {
    child: Child,
    base_url: String,
    // Read no further, but kept: the program must be able to write.
    _said: Lines<BufReader<ChildStdout>>,
}

/// A server, its database, and who signs its tokens.
struct Stand {
    server: Server,
    cluster: Option<Cluster>,
    issuer: Issuer,
    folder: Folder,
    /// Whether its workers work.
    with_workers: bool,
}

impl Stand {
    async fn start() -> Stand {
        Stand::begin(true).await
    }
    async fn begin(with_workers: bool) -> Stand {
        let folder =
            Folder(std::env::temp_dir().join(format!("scaicontrol-faults-{}", Uuid::now_v7().simple())));
        let (issuer, cluster) = (Issuer::start().await, start_cluster(&folder.0).await);
        let admin = database::connect(&cluster.url("postgres", "postgres")).await;
        admin.batch_execute("CREATE ROLE scaicontrol_owner LOGIN CREATEROLE").await.expect("the owner");
        admin
            .batch_execute(&format!("CREATE DATABASE {DATABASE} OWNER scaicontrol_owner"))
            .await
            .expect("a database");
        migrations::up(&cluster.url("scaicontrol_owner", DATABASE)).await.expect("the migrations run");
        let server = start_server(&folder.0, &cluster, &issuer, with_workers).await;
        Stand { server, cluster: Some(cluster), issuer, folder, with_workers }
    }

    fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().expect("a cluster")
    }
    /// A connection that sees every row.
    async fn db(&self) -> tokio_postgres::Client {
        database::connect(&self.cluster().url("postgres", DATABASE)).await
    }
    async fn count(&self, of: &str) -> i64 {
        let row = self.db().await.query_one(&format!("SELECT count(*) FROM {of}"), &[]).await;
        row.expect("a count").get(0)
    }

    /// The server's process.
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.server.child.id().expect("it runs")).expect("a pid"))
    }
    /// Starts the server again, which was killed.
    async fn start_server(&mut self) {
        let status = wait::at_most("the server is gone", self.server.child.wait()).await.expect("its status");
        assert_eq!(status.code(), None, "it was killed");
        self.server = start_server(&self.folder.0, self.cluster(), &self.issuer, self.with_workers).await;
    }
    /// Comes back when the database server is gone, which was killed.
    async fn cluster_killed(&mut self) {
        let cluster = self.cluster.take().expect("a cluster");
        wait::until("the database server is gone", async || !cluster.is_running()).await;
        tokio::task::spawn_blocking(move || drop(cluster)).await.expect("forgotten");
    }
    /// Starts the database again. The server stayed, and notices.
    async fn start_cluster(&mut self) {
        self.cluster = Some(start_cluster(&self.folder.0).await);
        let client = self.client("");
        wait::until("the server has its database again", async || client.health_get().send().await.is_ok())
            .await;
    }

    /// Passes when the program itself finds nothing in the books.
    async fn verify(&self) {
        let mut command = Command::new(program());
        command
            .arg("verify")
            .env_clear()
            .env("DATABASE_URL", self.cluster().url("scaicontrol_app", DATABASE));
        let done = command.current_dir(&self.folder.0).output().await.expect("it runs");
        assert!(
            done.status.success(),
            "{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
    }

    fn client(&self, token: &str) -> Client {
        scaicontrol_client::connect(&self.server.base_url, token, Duration::from_secs(30)).expect("a client")
    }
    fn operator(&self) -> Client {
        self.client(&self.token("super_admin", "tnt_operator", OPERATOR))
    }
    fn token(&self, role: &str, tenant: &str, partner: &str) -> String {
        self.issuer.signer().mint(&Mint {
            subject: format!("usr_{role}_{tenant}"),
            tenant_id: Some(tenant.into()),
            partner_id: Some(partner.into()),
            roles: vec![role.into()],
            ..Mint::default()
        })
    }

    async fn partner(&self) {
        let asked: types::PartnerCreateRequest = body(json!({
            "partner_id": "prt_north", "name": "North", "legal_name": "Noord B.V.", "seller_address_line1": "Street 1",
            "seller_postal_code": "1015 CN", "seller_city": "Amsterdam", "seller_country_code": "NL", "seller_vat_number": "NL123456782B90",
        }));
        self.operator().admin_partner_create().body(asked).send().await.expect("a partner");
    }
    /// A tenant with a billing profile.
    async fn tenant(&self, id: &str) -> Client {
        let client = self.client(&self.token("tenant_admin", id, "prt_north"));
        let asked: types::BillingProfileCreateUpdate = body(json!({
            "company_name": "Customer", "address_line1": "Street 1", "postal_code": "3011 AD", "city": "Rotterdam", "country_code": "NL",
        }));
        client.billing_profile_upsert().body(asked).send().await.expect("a profile");
        client
    }
    /// A service with one metric and one plan.
    async fn plan(&self) {
        let asked: types::ServiceCreateRequest = body(json!({
            "slug": "vault", "name": "Vault", "client_id": "client-vault",
            "metrics": [{"slug": "calls", "name": "Calls", "unit": "call", "aggregation": "sum"}],
        }));
        let operator = self.operator();
        let service =
            operator.admin_service_create().body(asked).send().await.expect("a service").into_inner().data;
        let asked: types::PlanCreateRequest = body(json!({
            "service_id": service.id, "slug": "pro", "name": "Pro", "billing_period": "monthly", "base_price_cents": 4900, "currency": "EUR",
        }));
        operator.admin_plan_create().body(asked).send().await.expect("a plan");
    }
    async fn subscribed(&self, id: &str) {
        let asked: types::SubscriptionCreateRequest = body(json!({"plan_key": "vault.pro"}));
        self.tenant(id).await.subscription_create().body(asked).send().await.expect("a subscription");
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // Nobody reads it again: no need to write it down.
        if let Some(cluster) = self.cluster.take() {
            let _ = cluster.stop(Stop::Immediate);
        }
    }
}

async fn start_cluster(folder: &Path) -> Cluster {
    let options = Options {
        settings: vec![("shared_buffers".into(), "64MB".into())],
        ..Options::new(folder.join("cluster"))
    };
    let started = tokio::task::spawn_blocking(move || Cluster::start(options)).await.expect("no panic");
    started.expect("a database server")
}

async fn start_server(folder: &Path, cluster: &Cluster, issuer: &Issuer, with_workers: bool) -> Server {
    let mut command = Command::new(program());
    // The environment of the tests is not the server's.
    command.env_clear().current_dir(folder).args(["serve", "--bind", "127.0.0.1:0"]);
    for (key, value) in [
        ("database.url", cluster.url("scaicontrol_app", DATABASE).as_str()),
        ("auth.issuer", issuer.url()),
        ("auth.audience", AUDIENCE),
        ("platform.operator_partner_id", OPERATOR),
        ("outbound.allow_private", "true"),
        ("vies.enabled", "false"),
        ("workers.enabled", if with_workers { "true" } else { "false" }),
        ("log.level", "error"),
    ] {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("it starts");
    let mut said = BufReader::new(child.stdout.take().expect("its output")).lines();
    let listens = async {
        loop {
            let line = said.next_line().await.expect("text").expect("a line before it ends");
            if let Some(url) = line.strip_prefix("listening on ") {
                return url.to_owned();
            }
        }
    };
    let base_url = wait::at_most("the server listens", listens).await;
    Server { child, base_url, _said: said }
}

/// SIGKILL for the database server and each of its processes.
fn kill_database(postmaster: i32) {
    let sessions = children(postmaster);
    kill(Pid::from_raw(postmaster), Signal::SIGKILL).expect("killed");
    for pid in sessions {
        // It may have ended by itself a moment ago.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// The processes that a process has started.
fn children(parent: i32) -> Vec<i32> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // `pid (name) state ppid …`; the name may hold anything.
        let ppid =
            stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<i32>().ok());
        if ppid == Some(parent) {
            all.push(pid);
        }
    }
    all
}

/// How a request ended that may have been cut off.
enum Ended<T> {
    Done(T),
    Refused(u16),
    /// Nobody knows whether it was done.
    Cut,
}

fn ended<T>(result: Result<scaicontrol_client::ResponseValue<T>, Error<types::ErrorEnvelope>>) -> Ended<T> {
    match result {
        Ok(value) => Ended::Done(value.into_inner()),
        Err(Error::ErrorResponse(refusal)) if refusal.status().is_client_error() => {
            Ended::Refused(refusal.status().as_u16())
        }
        Err(_) => Ended::Cut,
    }
}

/// Sixteen finalizers, each through all drafts in an order of its own, until a request is cut off. Notes every number that
/// was acknowledged.
async fn finalizers(
    stand: &Stand,
    drafts: &[Uuid],
    numbers: &Mutex<BTreeMap<Uuid, String>>,
    done: &AtomicUsize,
) {
    let client = stand.operator();
    let one = async |turn: usize| {
        for step in 0..drafts.len() {
            let id = drafts[(step + turn * 3) % drafts.len()];
            match ended(client.admin_invoice_finalize().invoice_id(id).send().await) {
                Ended::Done(issued) => {
                    let number = issued.data.number.expect("a number");
                    let before = numbers.lock().expect("not poisoned").insert(id, number);
                    assert_eq!(before, None, "{id} was issued twice");
                    done.fetch_add(1, Ordering::SeqCst);
                }
                Ended::Refused(status) => assert_eq!(status, 409),
                Ended::Cut => return,
            }
        }
    };
    join_all((0..16).map(one)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_have_no_gap_whoever_is_killed() {
    let mut stand = Stand::start().await;
    stand.partner().await;
    stand.tenant("tnt_acme").await;
    let operator = stand.operator();
    let mut drafts = Vec::new();
    for n in 1..=50 {
        let asked: types::AdminInvoiceCreateRequest = body(json!({
            "tenant_id": "tnt_acme", "currency": "EUR",
            "line_items": [{"description": "Consulting", "quantity": "1", "unit_price_cents": (n * 101).to_string()}],
        }));
        drafts.push(
            operator.admin_invoice_create().body(asked).send().await.expect("a draft").into_inner().data.id,
        );
    }
    let (numbers, done) = (Mutex::new(BTreeMap::new()), AtomicUsize::new(0));
    let reached = async |count: usize| {
        wait::until("enough were issued", async || count <= done.load(Ordering::SeqCst)).await;
    };
    // Killed from another side while they work: first the server, then the database.
    let pid = stand.pid();
    tokio::join!(finalizers(&stand, &drafts, &numbers, &done), async {
        reached(8).await;
        kill(pid, Signal::SIGKILL).expect("killed");
    });
    stand.start_server().await;
    let so_far = done.load(Ordering::SeqCst);
    let postmaster = stand.cluster().pid();
    tokio::join!(finalizers(&stand, &drafts, &numbers, &done), async {
        reached((so_far + 8).min(50 - 16)).await;
        kill_database(postmaster);
    });
    stand.cluster_killed().await;
    stand.start_cluster().await;
    wait::until("all are issued", async || {
        finalizers(&stand, &drafts, &numbers, &done).await;
        stand.count("invoices WHERE number IS NULL").await == 0
    })
    .await;

    let rows = stand
        .db()
        .await
        .query("SELECT invoice_id, number FROM invoices ORDER BY number", &[])
        .await
        .expect("invoices");
    let issued: BTreeMap<Uuid, String> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
    for (id, number) in numbers.lock().expect("not poisoned").iter() {
        assert_eq!(issued.get(id), Some(number), "what was acknowledged is what is stored");
    }
    let values = "SELECT array_agg(value ORDER BY value) FROM invoice_numbers WHERE partner_id = 'prt_north'";
    let row = stand.db().await.query_one(values, &[]).await.expect("numbers");
    assert_eq!(row.get::<_, Vec<i64>>(0), (1..=50).collect::<Vec<_>>());
    let sum = "SELECT COALESCE(sum(amount_cents), 0)::bigint, count(DISTINCT journal_id) FROM ledger_entries";
    let row = stand.db().await.query_one(sum, &[]).await.expect("the ledger");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (0, 50));
    stand.verify().await;
}

/// A batch of 500 events that no other batch has.
fn batch(number: usize) -> types::UsageEventsRequest {
    let event = |i: usize| json!({"idempotency_key": format!("b{number}-{i}"), "tenant_id": "tnt_acme", "metric_slug": "calls", "quantity": "1"});
    body(json!({"events": (0..500).map(event).collect::<Vec<_>>()}))
}

/// Sends batches from four sides until one is cut off, and notes which were acknowledged.
async fn senders(stand: &Stand, batches: &[usize], acknowledged: &Mutex<Vec<usize>>) {
    let roles = vec!["service_account".to_owned()];
    let mint = Mint {
        subject: "client-vault".into(),
        client_id: Some("client-vault".into()),
        roles,
        ..Mint::default()
    };
    let client = stand.client(&stand.issuer.signer().mint(&mint));
    let one = async |turn: usize| {
        for number in batches.iter().skip(turn).step_by(4) {
            match ended(client.usage_events_post().body(batch(*number)).send().await) {
                Ended::Done(answer) => {
                    assert_eq!(
                        (answer.data.accepted + answer.data.duplicates, answer.data.rejected.len()),
                        (500, 0)
                    );
                    acknowledged.lock().expect("not poisoned").push(*number);
                }
                Ended::Refused(status) => panic!("batch {number} was refused with {status}"),
                Ended::Cut => return,
            }
        }
    };
    join_all((0..4).map(one)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_event_is_stored_once() {
    let mut stand = Stand::start().await;
    stand.partner().await;
    stand.plan().await;
    stand.subscribed("tnt_acme").await;
    let all: Vec<usize> = (0..48).collect();
    let acknowledged = Mutex::new(Vec::new());
    let reached = async |count: usize| {
        wait::until("enough is acknowledged", async || {
            count <= acknowledged.lock().expect("not poisoned").len()
        })
        .await;
    };
    let pid = stand.pid();
    tokio::join!(senders(&stand, &all, &acknowledged), async {
        reached(6).await;
        kill(pid, Signal::SIGKILL).expect("killed");
    });
    stand.start_server().await;
    stored(&stand, &acknowledged).await;
    let rest: Vec<usize> = all[24..].to_vec();
    let so_far = acknowledged.lock().expect("not poisoned").len();
    let postmaster = stand.cluster().pid();
    tokio::join!(senders(&stand, &rest, &acknowledged), async {
        reached(so_far + 4).await;
        kill_database(postmaster);
    });
    stand.cluster_killed().await;
    stand.start_cluster().await;
    stored(&stand, &acknowledged).await;
    // Everything again, acknowledged or not, until all of it is.
    wait::until("all is acknowledged", async || {
        acknowledged.lock().expect("not poisoned").clear();
        senders(&stand, &all, &acknowledged).await;
        acknowledged.lock().expect("not poisoned").len() == all.len()
    })
    .await;
    stored(&stand, &acknowledged).await;
    let counts = "SELECT count(*), count(DISTINCT idempotency_key), sum(quantity)::bigint FROM usage_events";
    let row = stand.db().await.query_one(counts, &[]).await.expect("events");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2)), (24_000, 24_000, 24_000));
    for table in ["usage_totals", "usage_segment_totals"] {
        let row = stand
            .db()
            .await
            .query_one(&format!("SELECT sum(value)::bigint, sum(events)::bigint FROM {table}"), &[])
            .await;
        let row = row.expect("totals");
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (24_000, 24_000), "{table}");
    }
    stand.verify().await;
}

/// Fails unless each event of each acknowledged batch is stored exactly once, and in the totals.
async fn stored(stand: &Stand, acknowledged: &Mutex<Vec<usize>>) {
    let known = acknowledged.lock().expect("not poisoned").clone();
    let db = stand.db().await;
    let sql = "SELECT split_part(idempotency_key, '-', 1), count(*), count(DISTINCT idempotency_key) FROM usage_events GROUP BY 1";
    let rows = db.query(sql, &[]).await.expect("events");
    let found: BTreeMap<String, (i64, i64)> = rows.iter().map(|r| (r.get(0), (r.get(1), r.get(2)))).collect();
    for number in known {
        assert_eq!(found.get(&format!("b{number}")), Some(&(500, 500)), "batch {number} was acknowledged");
    }
    assert!(
        found.values().all(|counts| *counts == (500, 500)),
        "a batch is stored as a whole or not at all: {found:?}"
    );
    let row =
        db.query_one("SELECT COALESCE(sum(events), 0)::bigint FROM usage_totals", &[]).await.expect("totals");
    assert_eq!(row.get::<_, i64>(0), i64::try_from(found.len() * 500).expect("it fits"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_stop_finishes_what_runs() {
    let mut stand = Stand::start().await;
    stand.partner().await;
    stand.tenant("tnt_acme").await;
    let held = stand.db().await;
    held.batch_execute("BEGIN; LOCK TABLE audit_log IN EXCLUSIVE MODE").await.expect("locked");
    let client = stand.operator();
    let asked: types::AdminInvoiceCreateRequest = body(json!({
        "tenant_id": "tnt_acme", "currency": "EUR", "line_items": [{"description": "a", "quantity": "1", "unit_price_cents": "1"}],
    }));
    let running = tokio::spawn(async move {
        client.admin_invoice_create().body(asked).send().await.map(|a| a.into_inner().data.id)
    });
    let look = stand.db().await;
    let waits =
        "SELECT 1 FROM pg_stat_activity WHERE usename = 'scaicontrol_app' AND wait_event_type = 'Lock'";
    wait::until("the request runs", async || look.query_opt(waits, &[]).await.expect("the list").is_some())
        .await;
    let pid = stand.pid();
    kill(pid, Signal::SIGTERM).expect("told");
    // Nothing new is taken, while what runs goes on.
    let stranger = stand.client("");
    wait::until("it takes no more", async || stranger.health_get().send().await.is_err()).await;
    assert!(stand.server.child.try_wait().expect("its state").is_none(), "it waits for what runs");
    held.batch_execute("COMMIT").await.expect("unlocked");
    let id = wait::at_most("the answer", running).await.expect("no panic").expect("created");
    let status: ExitStatus = wait::at_most("it ends", stand.server.child.wait()).await.expect("its status");
    assert_eq!(status.code(), Some(0));
    let row = stand.db().await.query_one("SELECT invoice_id FROM invoices", &[]).await.expect("one");
    assert_eq!(row.get::<_, Uuid>(0), id);
    let json: Value = json!(stand.count("audit_log WHERE operation = 'admin_invoice_create'").await);
    assert_eq!(json, 1);
}
