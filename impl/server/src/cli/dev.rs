//! `scaicontrol dev`: a complete server on one machine with one command.
//!
//! It runs a database of its own in the data folder, makes it what the migrations say, signs its own tokens, writes
//! sample data once, and then is the same server as `serve`, with `/dev/` besides. When it is ready it writes `dev.json`
//! and prints one line; when it is told to stop, or dies, the database stops too.
use super::dev_client::{Clock as ClockCommand, DevFile, Token, sample_tokens};
use super::{Context, Outcome, Settings, note, say, told_to_stop};
use crate::clock::Clock;
use crate::config::{ClockKind, Config, DEV_KEY};
use crate::db::Db;
use crate::dev::{Dev as DevState, ISSUER_PATH, clock_at_start, keep_clock};
use crate::identity::dev_issuer::{AUDIENCE, DevIssuer};
use crate::observability::{self, Log, Metrics};
use crate::op::{Ids, OpContext};
use crate::server::{Server, assemble};
use crate::{migrations, pages, seed};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use scaicontrol_postgres::{Cluster, Error as ClusterError, Options, Stop};
use secrecy::ExposeSecret;
use std::fs::{self, File, TryLockError};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const DATABASE: &str = "scaicontrol";
const OWNER: &str = "scaicontrol_owner";
const APP: &str = "scaicontrol_app";
/// 32 zero bytes: nothing in a development database is secret, and it must be the same at each start.
const DEV_KEY_BASE64: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
/// What `--fresh` takes away; everything else in the folder is not ours.
const OURS: [&str; 7] =
    ["postgres", "objects", "dev.json", "dev.json.new", "issuer.key", "clock", "clock.new"];

/// See the module.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Dev {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a token of the development server's issuer.
    Token(Token),
    /// Move the clock of a development server that was started with `--clock simulated`.
    Clock(ClockCommand),
}

#[derive(Args, Debug)]
struct Run {
    /// Folder of the database, the keys and `dev.json`.
    #[arg(long, value_name = "DIR", default_value = ".dev")]
    data_dir: PathBuf,
    /// Port to listen on; 0 takes any that is free.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Address to listen on.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    bind: IpAddr,
    /// Which time the rules see.
    #[arg(long, value_enum, default_value = "real")]
    clock: ClockChoice,
    /// Where a simulated clock begins, RFC 3339, instead of now; one that stood later already goes on from there.
    #[arg(long, value_name = "TIME")]
    clock_from: Option<DateTime<Utc>>,
    /// Begin with an empty database and new keys.
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClockChoice {
    /// The machine's clock.
    Real,
    /// Stands still until `scaicontrol dev clock` moves it.
    Simulated,
}

impl Dev {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        match self.command {
            Some(Command::Token(command)) => command.run(),
            Some(Command::Clock(command)) => command.run().await,
            None => self.run.run(context).await,
        }
    }
}

impl Run {
    async fn run(self, context: &Context) -> Outcome {
        if self.clock_from.is_some() && self.clock != ClockChoice::Simulated {
            return Err(
                "--clock-from is for `--clock simulated`: the real clock cannot be told what time it is"
                    .into(),
            );
        }
        let dir = prepare(&self.data_dir)?;
        let _lock = lock(&dir)?;
        if self.fresh {
            clear(&dir)?;
        }
        let _ = fs::remove_file(dir.join("dev.json"));
        let port = if self.port == 0 { free_port(self.bind)? } else { self.port };
        let address = SocketAddr::new(self.bind, port);
        let base_url = format!("http://{}", reachable(address));
        let cluster = {
            let dir = dir.clone();
            tokio::task::spawn_blocking(move || start_cluster(&dir)).await.map_err(|e| e.to_string())??
        };
        let outcome = self.until_stopped(context, &dir, &cluster, address, &base_url).await;
        let stopped =
            tokio::task::spawn_blocking(move || cluster.stop(Stop::Fast)).await.map_err(|e| e.to_string())?;
        outcome.and(stopped.map_err(|e| e.to_string())).map(|()| ExitCode::SUCCESS)
    }

    async fn until_stopped(
        &self,
        context: &Context,
        dir: &Path,
        cluster: &Cluster,
        address: SocketAddr,
        base_url: &str,
    ) -> Result<(), String> {
        let config = self.config(context, dir, cluster, address, base_url)?;
        let grace = config.limits.shutdown_grace;
        let log = observability::log(&config.log);
        let mut stop = std::pin::pin!(told_to_stop());
        let server = tokio::select! {
            server = start(dir, base_url, config, self.clock_from, cluster, &log) => server?,
            stopped = &mut stop => return stopped,
        };
        let stopped = stop.await;
        server.stop(grace).await;
        stopped
    }

    /// The settings of a development server: defaults that a file and the environment may change, and what only this
    /// command knows.
    fn config(
        &self,
        context: &Context,
        dir: &Path,
        cluster: &Cluster,
        address: SocketAddr,
        base_url: &str,
    ) -> Result<Config, String> {
        let pair = |key: &str, value: String| (key.to_owned(), value);
        let allow: Vec<String> =
            seed::SERVICES.iter().map(|slug| format!("{slug}={}", seed::client_id(slug))).collect();
        let defaults = vec![
            pair("log.format", "terminal".into()),
            pair("log.level", "warning".into()),
            pair("limits.shutdown_grace", "5s".into()),
            // A clock that is moved by years answers when all is done.
            pair("limits.deadline", "1h".into()),
            pair("auth.client_id", "scaicontrol-web".into()),
            pair("outbound.allow_private", "true".into()),
            pair("objects.folder", dir.join("objects").to_string_lossy().into_owned()),
            // A development server asks nobody outside unless it is told to.
            pair("vies.enabled", "false".into()),
            pair("registry.allow", allow.join(",")),
        ];
        let clock = if self.clock == ClockChoice::Simulated { "simulated" } else { "real" };
        let mut flags = vec![
            pair("bind", address.to_string()),
            pair("public_url", base_url.to_owned()),
            pair("database.url", cluster.url(APP, DATABASE)),
            pair("database.owner_url", cluster.url(OWNER, DATABASE)),
            pair("auth.issuer", format!("{base_url}{ISSUER_PATH}")),
            pair("auth.audience", AUDIENCE.into()),
            pair("platform.operator_partner_id", seed::OPERATOR.into()),
            pair("clock", clock.into()),
            pair("secrets.keys", format!("{DEV_KEY}={DEV_KEY_BASE64}")),
            pair("secrets.active", DEV_KEY.into()),
        ];
        flags.extend(self.settings.set.iter().cloned());
        context.load(defaults, flags).map_err(|e| e.to_string())
    }
}

/// From a database that runs to a server that listens.
async fn start(
    dir: &Path,
    base_url: &str,
    config: Config,
    clock_from: Option<DateTime<Utc>>,
    cluster: &Cluster,
    log: &Log,
) -> Result<Server, String> {
    let words = |e: crate::error::Error| e.to_string();
    make_database(cluster).await?;
    let owner_url = cluster.url(OWNER, DATABASE);
    migrations::up(&owner_url).await.map_err(words)?;
    let clock_file = dir.join("clock");
    let clock = clock(config.clock, clock_from, &clock_file)?;
    let database_url = config.database.url.as_ref().map(|u| u.expose_secret().to_owned()).unwrap_or_default();
    let db = Db::new(&database_url, 1, Duration::from_secs(10), Duration::from_secs(60)).map_err(words)?;
    let op = OpContext::system(&clock, &Ids::default(), "seed");
    seed::write(&db, &op).await.map_err(words)?;
    let service_key = seed::new_service_key(&db, &op).await.map_err(words)?;
    drop(db);

    let key_file = dir.join("issuer.key");
    let issuer = DevIssuer::open(&key_file, &config.auth.issuer);
    let issuer = issuer.map_err(|e| format!("cannot use {}: {e}", key_file.display()))?;
    let file = DevFile {
        base_url: base_url.to_owned(),
        database_url,
        owner_database_url: owner_url,
        issuer: config.auth.issuer.clone(),
        issuer_key_file: key_file.clone(),
        audience: AUDIENCE.to_owned(),
        tokens: sample_tokens(&issuer),
        service_key: service_key.text.expose_secret().to_owned(),
        ids: ids(),
        pid: std::process::id(),
    };
    let metrics = Metrics::new(log.dropped.clone());
    let control = assemble(config, clock, metrics, log.logger.clone(), Some(DevState { issuer, clock_file }))
        .map_err(words)?;
    let server = Server::start(control).await?;
    tokio::task::spawn_blocking(pages::pack);
    let path = dir.join("dev.json");
    file.write(&path).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    say(format_args!("listening on {base_url}"));
    note(format_args!("page of the API: {base_url}/docs, tokens and keys: {}", path.display()));
    Ok(server)
}

fn ids() -> std::collections::BTreeMap<String, String> {
    [
        ("partner", seed::OPERATOR),
        ("tenant", seed::TENANT),
        ("other_tenant", seed::OTHER_TENANT),
        ("other_partner", seed::OTHER_PARTNER),
        ("home_tenant", seed::HOME_TENANT),
        ("service", seed::SERVICE),
    ]
    .into_iter()
    .map(|(name, id)| (name.to_owned(), id.to_owned()))
    .collect()
}

/// A simulated clock begins now (tokens and people live in the present) or when it is told to, or where it stood. It is kept
/// before anything is written by it: who starts again without being told does not fall behind.
fn clock(kind: ClockKind, from: Option<DateTime<Utc>>, file: &Path) -> Result<Clock, String> {
    if kind == ClockKind::Real {
        return Ok(Clock::Real);
    }
    let at = clock_at_start(file, from.unwrap_or_else(|| Clock::Real.now()));
    keep_clock(file, at).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    Ok(Clock::simulated(at))
}

/// The data folder. As root the database runs as another user, who must be able to pass through it.
fn prepare(dir: &Path) -> Result<PathBuf, String> {
    use std::os::unix::fs::PermissionsExt;
    let error = |e: std::io::Error| format!("cannot use the folder {}: {e}", dir.display());
    if !dir.exists() {
        fs::create_dir_all(dir).map_err(error)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(error)?;
    }
    fs::canonicalize(dir).map_err(error)
}

/// One server for each folder.
fn lock(dir: &Path) -> Result<File, String> {
    let path = dir.join("lock");
    let error = |e: std::io::Error| format!("cannot use {}: {e}", path.display());
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(format!("a development server is running in {} already", dir.display()))
        }
        Err(TryLockError::Error(e)) => Err(error(e)),
    }
}

fn clear(dir: &Path) -> Result<(), String> {
    let aside = aside(dir);
    for cluster in [dir.join("postgres"), aside.clone()] {
        // One whose server was just killed may still be on its way out.
        Cluster::stop_in(&cluster, Stop::Immediate).map_err(|e| e.to_string())?;
    }
    for name in OURS {
        let path = dir.join(name);
        let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match gone {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("cannot remove {}: {e}", path.display()));
            }
            _ => {}
        }
    }
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(|e| format!("cannot remove {}: {e}", aside.display()))?;
    }
    Ok(())
}

/// Where the database goes when the data folder cannot be reached by the user that it runs as.
fn aside(dir: &Path) -> PathBuf {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    Path::new("/var/tmp").join(format!("scaicontrol-{}", hex::encode(&digest[..6])))
}

fn start_cluster(dir: &Path) -> Result<Cluster, String> {
    match Cluster::start(Options::new(dir.join("postgres"))) {
        Err(ClusterError::NotReachable { blocked_by, user, .. }) => {
            let aside = aside(dir);
            note(format_args!(
                "{} lets the user `{user}` not through; the database is in {}",
                blocked_by.display(),
                aside.display()
            ));
            Cluster::start(Options::new(aside)).map_err(|e| e.to_string())
        }
        other => other.map_err(|e| e.to_string()),
    }
}

/// The owner and the database; the migrations make everything else. The owner is no superuser, so that what works here
/// works where nobody is one.
async fn make_database(cluster: &Cluster) -> Result<(), String> {
    let error = |e: &dyn std::fmt::Display| format!("cannot prepare the database: {e}");
    let mut conn =
        AsyncPgConnection::establish(&cluster.url("postgres", "postgres")).await.map_err(|e| error(&e))?;
    let already = |e: diesel::result::Error| {
        if e.to_string().contains("already exists") { Ok(()) } else { Err(error(&e)) }
    };
    conn.batch_execute(&format!("CREATE ROLE {OWNER} LOGIN CREATEROLE")).await.or_else(already)?;
    conn.batch_execute(&format!("CREATE DATABASE {DATABASE} OWNER {OWNER}")).await.or_else(already)
}

/// Asks for a port and gives it back: the issuer's address is in the tokens, so it must be known before the start.
fn free_port(ip: IpAddr) -> Result<u16, String> {
    let listener = TcpListener::bind((ip, 0)).and_then(|l| l.local_addr());
    listener.map(|a| a.port()).map_err(|e| format!("cannot listen on {ip}: {e}"))
}

/// An address that can be called from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::from([127, 0, 0, 1]), address.port())
    } else {
        address
    }
}
