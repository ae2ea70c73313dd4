//! One server for one test.
use crate::database::Database;
use crate::issuer::Issuer;
use crate::raw::Call;
use chrono::{DateTime, TimeDelta, Utc};
use scaicontrol_client::Client;
use scaicontrol_server::app::Control;
use scaicontrol_server::clock::Clock;
use scaicontrol_server::config::{Config, Sources};
use scaicontrol_server::identity::dev_issuer::{AUDIENCE, Mint};
use scaicontrol_server::observability::{Metrics, logger};
use scaicontrol_server::server::{Server, assemble};
use scaicontrol_server::workers::advance::{Moved, advance, on_clock};
use scaicontrol_server::workers::{self, Due, Worker};
use std::net::SocketAddr;
use std::time::Duration;

/// When it is at the start of each test.
pub const START: &str = "2026-03-10T09:00:00Z";
/// The partner that runs the platform.
pub const OPERATOR: &str = "prt_operator";
const OPERATOR_TENANT: &str = "tnt_operator";

/// See the crate.
pub struct TestApp {
    control: Control,
    server: Option<Server>,
    addr: SocketAddr,
    issuer: Issuer,
    files: Files,
    // The last field: it goes when nobody uses it any more.
    database: Database,
}

impl TestApp {
    /// A server with the defaults of the tests.
    pub async fn start() -> TestApp {
        TestApp::with(&[]).await
    }

    /// A server with these keys of the configuration set.
    pub async fn with(settings: &[(&str, &str)]) -> TestApp {
        let (issuer, database) = tokio::join!(Issuer::start(), Database::create());
        let start: DateTime<Utc> = START.parse().expect("a time");
        TestApp::on(database, issuer, Clock::simulated(start), settings).await
    }

    async fn on(database: Database, issuer: Issuer, clock: Clock, settings: &[(&str, &str)]) -> TestApp {
        let url = database.app_url();
        let files = Files::new();
        let folder = files.0.to_string_lossy().into_owned();
        let own = [
            ("bind", "127.0.0.1:0"),
            ("database.url", &url),
            ("database.pool_size", "10"),
            ("auth.issuer", issuer.url()),
            ("auth.audience", AUDIENCE),
            ("platform.operator_partner_id", OPERATOR),
            ("outbound.allow_private", "true"),
            ("objects.folder", &folder),
            // Nobody outside is asked, unless a test says who.
            ("vies.enabled", "false"),
            // Only the tests of documents want PDFs, and say so.
            ("render.program", "/dev/null/none"),
            ("clock", "simulated"),
            ("log.level", "error"),
            ("log.format", "terminal"),
        ];
        let flags = own.iter().chain(settings).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let sources = Sources { flags, environment: Some(Vec::new()), ..Sources::default() };
        let config = Config::load(&sources).expect("a configuration");
        let (log, dropped) = logger(&config.log);
        let control = assemble(config, clock, Metrics::new(dropped), log, None).expect("a server");
        let server = Server::start(control.clone()).await.expect("it listens");
        let addr = server.addr();
        TestApp { control, server: Some(server), addr, issuer, files, database }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
    /// The same, as a URL.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }
    /// The state of the server, for what has no operation.
    pub fn control(&self) -> &Control {
        &self.control
    }
    /// The issuer of its tokens.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }
    /// The folder of its stored files.
    pub fn files(&self) -> &std::path::Path {
        &self.files.0
    }
    /// Its database.
    pub fn database(&self) -> &Database {
        &self.database
    }
    /// A connection that sees every row.
    pub async fn db(&self) -> tokio_postgres::Client {
        self.database.connect().await
    }
    /// When it is.
    pub fn now(&self) -> DateTime<Utc> {
        self.control.clock.now()
    }

    /// Moves the clock on; see [`TestApp::advance_to`].
    pub async fn advance(&self, step: TimeDelta) {
        self.advance_to(self.now() + step).await;
    }
    /// Moves the clock on to `time` at once, and lets each worker look once: all but the billing run, which tests of
    /// billing call themselves.
    pub async fn advance_to(&self, time: DateTime<Utc>) {
        assert!(self.control.clock.set(time), "the clock goes forward");
        let which = |worker: &Worker| worker.name != "billing_run" && !matches!(worker.due, Due::Nightly(_));
        workers::once(&self.control, which).await.expect("the workers work");
    }
    /// Lives on to `time`, as the server of `scaicontrol dev clock` does: everything that falls due on the way is done at its
    /// own instant, billing included.
    pub async fn live_to(&self, time: DateTime<Utc>) -> Moved {
        advance(&self.control, time).await.expect("the clock goes on")
    }
    /// The same, for many small steps: files and mails wait.
    pub async fn step_to(&self, time: DateTime<Utc>) -> Moved {
        on_clock(&self.control, time).await.expect("the clock goes on")
    }

    /// A token of a user with that role, in that tenant of that partner. One user for each role and tenant.
    pub fn token(&self, role: &str, tenant: &str, partner: &str) -> String {
        self.mint(&Mint {
            roles: vec![role.to_owned()],
            ..user(&format!("usr_{role}_{tenant}"), tenant, partner)
        })
    }
    /// A token of a user of the operator.
    pub fn operator(&self, role: &str) -> String {
        self.token(role, OPERATOR_TENANT, OPERATOR)
    }
    /// A token of a user without roles, and with these permissions.
    pub fn token_with(&self, permissions: &[&str], tenant: &str, partner: &str) -> String {
        let permissions = permissions.iter().map(|p| (*p).to_owned()).collect();
        self.mint(&Mint { permissions, ..user(&format!("usr_plain_{tenant}"), tenant, partner) })
    }
    /// A token of a service account.
    pub fn service_token(&self, client_id: &str) -> String {
        let roles = vec!["service_account".to_owned()];
        self.mint(&Mint {
            subject: client_id.to_owned(),
            client_id: Some(client_id.to_owned()),
            roles,
            ..Mint::default()
        })
    }
    /// A token that says what it is told to.
    pub fn mint(&self, what: &Mint) -> String {
        self.issuer.signer().mint(what)
    }

    /// The generated client, with a token.
    pub fn client(&self, token: &str) -> Client {
        scaicontrol_client::connect(&self.base_url(), token, Duration::from_secs(30)).expect("a client")
    }
    /// A request by hand; its answer is held against the specification.
    pub fn call(&self, method: &str, target: &str) -> Call {
        Call::new(self.addr, method, target)
    }
    /// Stops the server as SIGTERM would, and leaves its database.
    pub async fn stop(&mut self, grace: Duration) {
        if let Some(server) = self.server.take() {
            server.stop(grace).await;
        }
    }
}

/// A folder for stored files, which goes with its value.
#[derive(Debug)]
struct Files(std::path::PathBuf);

impl Files {
    fn new() -> Files {
        Files(std::env::temp_dir().join(format!("scaicontrol-files-{}", uuid::Uuid::now_v7().simple())))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn user(subject: &str, tenant: &str, partner: &str) -> Mint {
    Mint {
        subject: subject.to_owned(),
        tenant_id: Some(tenant.to_owned()),
        partner_id: Some(partner.to_owned()),
        email: Some(format!("{subject}@example.com")),
        ..Mint::default()
    }
}
