//! What is measured: the server as it is released, in a process of its own, on a database of its own.
use crate::load::{self, Shot, Template};
use http::Uri;
use scaicontrol_server::identity::dev_issuer::{AUDIENCE, Mint};
use scaicontrol_tests::OPERATOR;
use scaicontrol_tests::database::Database;
use scaicontrol_tests::issuer::Issuer;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Connections of a server's pool, and of every baseline that uses one.
pub const POOL_SIZE: usize = 20;
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Rounds of each benchmark.
    pub rounds: usize,
    /// How long a round of reading takes.
    pub length: Duration,
    /// Events that are stored before the second half of `ingest`.
    pub stored: i64,
    /// Batches that each of the callers of `ingest` sends in a round.
    pub batches: usize,
    /// Single events that each of the callers of `ingest_single` sends in a round.
    pub singles: usize,
    /// Invoices of the large list.
    pub invoices: i64,
    /// Subscriptions that are due in `runs`.
    pub due: u32,
    /// Subscriptions of which nothing is due in `runs`.
    pub idle: u32,
}

/// What every benchmark is given.
#[derive(Debug)]
pub struct Bench {
    pub scale: Scale,
    /// The released `scaicontrol`.
    pub server: PathBuf,
    /// A folder for what the servers say.
    pub logs: PathBuf,
    pub issuer: Issuer,
}

impl Bench {
    /// A token of a user with that role.
    pub fn token(&self, role: &str, tenant: &str, partner: &str) -> String {
        self.issuer.signer().mint(&Mint {
            subject: format!("usr_{role}_{tenant}"),
            tenant_id: Some(tenant.to_owned()),
            partner_id: Some(partner.to_owned()),
            roles: vec![role.to_owned()],
            email: Some("someone@example.com".to_owned()),
            ..Mint::default()
        })
    }
    /// A token of an administrator of the platform.
    pub fn operator(&self) -> String {
        self.token("super_admin", "tnt_operator", OPERATOR)
    }

    /// The command that runs `scaicontrol serve` on a database, at a port (0: any).
    pub fn serve(&self, database: &Database, port: u16) -> Command {
        let settings = [
            ("database.url", database.app_url()),
            ("database.pool_size", POOL_SIZE.to_string()),
            ("auth.issuer", self.issuer.url().to_owned()),
            ("auth.audience", AUDIENCE.to_owned()),
            ("platform.operator_partner_id", OPERATOR.to_owned()),
            ("vies.enabled", "false".to_owned()),
        ];
        let mut command = self.command(&self.server);
        command.arg("serve").arg("--bind").arg(format!("127.0.0.1:{port}"));
        for (key, value) in settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command
    }

    /// A server on a database.
    pub async fn start(&self, database: &Database) -> Server {
        Server::listening(self.serve(database, 0)).await
    }

    /// A program that knows nothing of our environment, and whose log goes to a file as in production.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = std::fs::File::create(self.logs.join(format!("server-{number}.log"))).expect("a log");
        let mut command = Command::new(program);
        command.env_clear().current_dir(&self.logs).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        command.kill_on_drop(true);
        command
    }
}

/// A process that listens. It is killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    pub addr: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts a program that says `listening on http://…`, and waits until it does.
    pub async fn listening(mut command: Command) -> Server {
        let mut child = command.spawn().expect("the server starts");
        let out = child.stdout.take().expect("its output");
        let mut lines = BufReader::new(out).lines();
        let said = async {
            while let Some(line) = lines.next_line().await.expect("its output") {
                if let Some(addr) = line.strip_prefix("listening on http://") {
                    return addr.parse().expect("an address");
                }
            }
            panic!("the server ended before it listened");
        };
        let addr = tokio::time::timeout(READY_WITHIN, said).await.expect("the server listens in time");
        Server { addr, child }
    }

    /// A process of which the caller knows where it will listen.
    pub fn spawn(mut command: Command, addr: SocketAddr) -> Server {
        Server { addr, child: command.spawn().expect("the server starts") }
    }

    /// Memory of the process, in MiB.
    pub fn rss_mib(&self) -> f64 {
        let id = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches("kB").trim().parse::<f64>().map_or(f64::NAN, |kib| kib / 1024.0)
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(mut self) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.child.wait().await;
    }
}

/// One line of progress, for people who wait.
pub fn progress(line: impl std::fmt::Display) {
    eprintln!("  {line}");
}

/// Answers the body of a GET as it comes.
pub async fn fetch(addr: SocketAddr, token: &str, target: &str) -> bytes::Bytes {
    load::once(&Template::get(addr).token(token), Shot::get(target)).await
}

/// A path as the callers take it.
pub fn uri(path: &str) -> Uri {
    path.parse().expect("a path")
}

/// A folder that goes away with its value.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn create() -> Folder {
        let dir = std::env::temp_dir().join(format!("scaicontrol-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        Folder(dir)
    }
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
