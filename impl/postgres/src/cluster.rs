//! One cluster: its folder, its server process, from `initdb` to the stop.
//!
//! `<dir>/data` is the cluster, `<dir>/run` its socket, `<dir>/log` what the server prints, `<dir>/lock` is held while
//! somebody uses the folder.

use crate::Error;
use crate::binaries::{self, Binaries};
use crate::place::{self, RunAs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File, TryLockError};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Part of the socket's name only: nothing listens on the network.
const PORT: u16 = 5432;
const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// How long a server whose owner was killed may take to go away.
const LEFTOVER_WITHIN: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(5);
const LOG_MAX: u64 = 20 * 1024 * 1024;

/// Whether a commit outlives a power failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// As PostgreSQL is out of the box. The only choice outside tests.
    #[default]
    On,
    /// No fsync: fast, and a crash of the machine may leave a broken cluster. For tests, whose data nobody keeps.
    Off,
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Breaks off the sessions, writes everything down.
    Fast,
    /// At once, like a crash; the next start recovers.
    Immediate,
}

/// What kind of cluster, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's folder; made when it is missing, used again when it is there.
    pub dir: PathBuf,
    /// Whether commits are written through.
    pub durability: Durability,
    /// `max_connections`.
    pub max_connections: u32,
    /// Further settings of `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// Whether the server goes away when this process dies, even by SIGKILL (Linux).
    pub die_with_parent: bool,
}

impl Options {
    /// A durable cluster in `dir` that goes away with this process.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Options {
            dir: dir.into(),
            durability: Durability::On,
            max_connections: 100,
            settings: Vec::new(),
            die_with_parent: true,
        }
    }
}

/// A running cluster. Dropping it stops it.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    socket_dir: PathBuf,
    binaries: Binaries,
    pid: Pid,
    keeper: Option<JoinHandle<std::io::Result<ExitStatus>>>,
    _lock: File,
}

impl Cluster {
    /// Makes the cluster when there is none yet, starts it, and waits until it answers.
    pub fn start(options: Options) -> Result<Cluster, Error> {
        let who = place::run_as()?;
        fs::create_dir_all(&options.dir)
            .map_err(Error::io(format!("make the folder {}", options.dir.display())))?;
        let dir = fs::canonicalize(&options.dir)
            .map_err(Error::io(format!("find the folder {}", options.dir.display())))?;
        if let Some(who) = &who {
            place::reachable(&dir, who)?;
        }
        place::own_folder(&dir, who.as_ref())?;
        let lock = lock(&dir)?;
        let data = dir.join("data");
        let wrote = fs::read_to_string(data.join("PG_VERSION")).ok().map(|v| v.trim().to_owned());
        let fetched: Vec<PathBuf> = dir.parent().map(|p| p.join("pg/bin")).into_iter().collect();
        let binaries = binaries::find(wrote.as_deref(), &fetched).map_err(|e| match e {
            Error::OtherVersion { wrote, found, .. } => {
                Error::OtherVersion { data: data.clone(), wrote, found }
            }
            e => e,
        })?;
        if let Some(who) = &who {
            place::reachable(&binaries.dir.join("postgres"), who)?;
        }
        let socket_dir = place::socket_dir(&dir, who.as_ref())?;
        let at =
            At { dir: &dir, data: &data, socket_dir: &socket_dir, who: who.as_ref(), binaries: &binaries };
        if wrote.is_none() {
            initdb(&at, options.durability)?;
        }
        clear_leftover(&data)?;
        let (pid, keeper) = launch(&at, &options)?;
        Ok(Cluster { pid, keeper: Some(keeper), socket_dir, binaries, _lock: lock, dir })
    }

    /// The folder of the unix socket, for `psql -h` and `?host=`.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }
    /// The port: part of the socket's name, nothing listens on the network.
    pub fn port(&self) -> u16 {
        PORT
    }
    /// The cluster's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// The programs it runs on.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }
    /// The server's process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }
    /// A connection URL, in the form that libpq and the Rust and Node drivers all read. There is no password: whoever
    /// may enter the socket's folder may log in.
    pub fn url(&self, user: &str, database: &str) -> String {
        let host = self.socket_dir.to_string_lossy().bytes().fold(String::new(), |mut out, byte| {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
                other => out.push_str(&format!("%{other:02X}")),
            }
            out
        });
        format!("postgres://{user}@{host}/{database}")
    }
    /// Whether the server still runs.
    pub fn is_running(&self) -> bool {
        self.keeper.as_ref().is_some_and(|k| !k.is_finished())
    }
    /// Stops the server and waits until it is gone. The data stays.
    pub fn stop(mut self, how: Stop) -> Result<(), Error> {
        self.end(how)
    }
    /// Leaves the server running after this process (only for a cluster without `die_with_parent`); end it with
    /// [`Cluster::stop_in`].
    pub fn leave_running(mut self) {
        self.keeper = None;
    }
    /// Stops the server that runs in a cluster's folder, whoever started it. `false` when none does.
    pub fn stop_in(dir: &Path, how: Stop) -> Result<bool, Error> {
        let data = dir.join("data");
        let Some(pid) = running_in(&data) else { return Ok(false) };
        let _ = kill(pid, signal(how));
        let since = Instant::now();
        while running_in(&data) == Some(pid) {
            if since.elapsed() > STOP_WITHIN {
                return Err(Error::Timeout("stop"));
            }
            std::thread::sleep(POLL);
        }
        Ok(true)
    }

    fn end(&mut self, how: Stop) -> Result<(), Error> {
        let Some(keeper) = self.keeper.take() else { return Ok(()) };
        let mut how = how;
        let mut since = Instant::now();
        // Once it is gone its number may be another process's.
        if !keeper.is_finished() {
            let _ = kill(self.pid, signal(how));
        }
        while !keeper.is_finished() {
            if since.elapsed() > STOP_WITHIN {
                if how == Stop::Immediate {
                    return Err(Error::Timeout("stop"));
                }
                how = Stop::Immediate;
                since = Instant::now();
                let _ = kill(self.pid, signal(how));
            }
            std::thread::sleep(POLL);
        }
        let _ = keeper.join();
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.end(Stop::Fast);
    }
}

fn signal(how: Stop) -> Signal {
    match how {
        Stop::Fast => Signal::SIGINT,
        Stop::Immediate => Signal::SIGQUIT,
    }
}

struct At<'a> {
    dir: &'a Path,
    data: &'a Path,
    socket_dir: &'a Path,
    who: Option<&'a RunAs>,
    binaries: &'a Binaries,
}

impl At<'_> {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.dir.join(program));
        if let Some(who) = self.who {
            command.uid(who.uid.as_raw()).gid(who.gid.as_raw());
        }
        // HOME and the working folder must be places that the user may read; PG* of the caller are not ours.
        command.current_dir(self.dir).env("HOME", self.dir).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").env("TZ", "UTC");
        command
    }
}

fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(Error::io(format!("open {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::InUse { dir: dir.to_path_buf(), pid: running_in(&dir.join("data")).map(Pid::as_raw) })
        }
        Err(TryLockError::Error(e)) => Err(Error::io(format!("lock {}", path.display()))(e)),
    }
}

/// Makes the cluster beside its place and moves it there when it is whole: a kill in between leaves nothing half made.
fn initdb(at: &At<'_>, durability: Durability) -> Result<(), Error> {
    let draft = at.dir.join("data.new");
    let mut said = String::new();
    for locale in ["C.UTF-8", "C"] {
        if draft.exists() {
            fs::remove_dir_all(&draft).map_err(Error::io(format!("remove {}", draft.display())))?;
        }
        let mut command = at.command("initdb");
        command
            .arg("-D")
            .arg(&draft)
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8"])
            .arg(format!("--locale={locale}"));
        if durability == Durability::Off {
            command.arg("--no-sync");
        }
        let done = command.output().map_err(Error::io("run initdb"))?;
        if done.status.success() {
            return fs::rename(&draft, at.data).map_err(Error::io(format!("name {}", at.data.display())));
        }
        said = String::from_utf8_lossy(&done.stderr).into_owned();
        if !said.contains("locale") {
            break;
        }
    }
    Err(Error::Failed { program: "initdb", output: tail(&said) })
}

/// Deals with a `postmaster.pid` from before. The server refuses to start over a live process of that number, whoever
/// it is, and in a container the numbers come round quickly: a file whose process is not this cluster's is removed.
fn clear_leftover(data: &Path) -> Result<(), Error> {
    let file = data.join("postmaster.pid");
    let since = Instant::now();
    // A server whose owner was just killed is on its way out.
    while let Some(pid) = running_in(data) {
        if since.elapsed() > LEFTOVER_WITHIN {
            return Err(Error::InUse {
                dir: data.parent().unwrap_or(data).to_path_buf(),
                pid: Some(pid.as_raw()),
            });
        }
        std::thread::sleep(POLL);
    }
    match fs::remove_file(&file) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", file.display()))(e))
        }
        _ => Ok(()),
    }
}

/// The server that runs on this data folder, if one does.
fn running_in(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok().filter(|p| *p > 0)?);
    match kill(pid, None) {
        Ok(()) | Err(nix::errno::Errno::EPERM) => {}
        Err(_) => return None,
    }
    // The server works in its data folder; a process elsewhere only has the same number.
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(cwd) => (fs::canonicalize(data).ok()? == cwd).then_some(pid),
        Err(_) if Path::new("/proc/self").exists() => None,
        Err(_) => Some(pid),
    }
}

type Keeper = JoinHandle<std::io::Result<ExitStatus>>;

fn launch(at: &At<'_>, options: &Options) -> Result<(Pid, Keeper), Error> {
    let log = at.dir.join("log");
    if fs::metadata(&log).is_ok_and(|m| m.len() > LOG_MAX) {
        let _ = fs::remove_file(&log);
    }
    let since = Instant::now();
    loop {
        let from = fs::metadata(&log).map_or(0, |m| m.len());
        let (pid, keeper) = spawn(server_command(at, options, &log)?)?;
        if wait_ready(at.data, pid, &keeper)? {
            return Ok((pid, keeper));
        }
        let _ = keeper.join();
        let said = fs::read(&log).unwrap_or_default();
        let said =
            String::from_utf8_lossy(said.get(usize::try_from(from).unwrap_or(0)..).unwrap_or_default())
                .into_owned();
        // The sessions of a server that was killed notice it a moment later, and hold its shared memory until then.
        let retry = said.contains("still in use") && since.elapsed() < LEFTOVER_WITHIN;
        if !retry {
            return Err(Error::Failed { program: "postgres", output: tail(&said) });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn server_command(at: &At<'_>, options: &Options, log: &Path) -> Result<Command, Error> {
    let open = |_| {
        File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(Error::io(format!("open {}", log.display())))
    };
    let mut command = at.command("postgres");
    command.arg("-D").arg(at.data).arg("-k").arg(at.socket_dir).arg("-p").arg(PORT.to_string());
    let mut settings: Vec<(String, String)> = vec![
        ("listen_addresses".into(), String::new()),
        ("unix_socket_permissions".into(), "0700".into()),
        ("max_connections".into(), options.max_connections.to_string()),
        ("timezone".into(), "UTC".into()),
        ("log_timezone".into(), "UTC".into()),
    ];
    if options.durability == Durability::Off {
        for name in ["fsync", "synchronous_commit", "full_page_writes"] {
            settings.push((name.into(), "off".into()));
        }
    }
    settings.extend(options.settings.iter().cloned());
    for (name, value) in settings {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command.stdout(open(())?).stderr(open(())?).process_group(0);
    if options.die_with_parent {
        die_with_parent(
            &mut command,
            if options.durability == Durability::On { Stop::Fast } else { Stop::Immediate },
        );
    }
    Ok(command)
}

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command, how: Stop) {
    let parent = nix::unistd::getpid();
    #[expect(
        unsafe_code,
        reason = "between fork and exec; the closure makes two system calls and allocates nothing"
    )]
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(signal(how))?;
            // The parent may have died before the line above.
            if nix::unistd::getppid() == parent {
                Ok(())
            } else {
                Err(std::io::Error::from_raw_os_error(nix::libc::ESRCH))
            }
        });
    }
}
/// Only Linux can tie a child to its parent's life; elsewhere the stop or the drop has to do.
#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut Command, _: Stop) {}

/// Starts the server from a thread that lives as long as it.
fn spawn(mut command: Command) -> Result<(Pid, Keeper), Error> {
    let (started, start) = mpsc::channel();
    let keeper = std::thread::Builder::new()
        .name("postgres-keeper".into())
        .spawn(move || match command.spawn() {
            Ok(mut child) => {
                let _ = started.send(Ok(child.id()));
                child.wait()
            }
            Err(e) => {
                let _ = started.send(Err(std::io::Error::new(e.kind(), e.to_string())));
                Err(e)
            }
        })
        .map_err(Error::io("start a thread"))?;
    match start.recv() {
        Ok(Ok(id)) => Ok((Pid::from_raw(id.cast_signed()), keeper)),
        Ok(Err(e)) => Err(Error::io("run postgres")(e)),
        Err(_) => Err(Error::Timeout("start")),
    }
}

/// `false`: it ended instead. The server writes its state into line 8 of `postmaster.pid`.
fn wait_ready(data: &Path, pid: Pid, keeper: &Keeper) -> Result<bool, Error> {
    let since = Instant::now();
    loop {
        if let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) {
            let mut lines = text.lines();
            let ours = lines.next().is_some_and(|l| l.trim() == pid.to_string());
            if ours && lines.nth(6).is_some_and(|l| l.trim() == "ready") {
                return Ok(true);
            }
        }
        if keeper.is_finished() {
            return Ok(false);
        }
        if since.elapsed() > READY_WITHIN {
            let _ = kill(pid, Signal::SIGQUIT);
            return Err(Error::Timeout("get ready"));
        }
        std::thread::sleep(POLL);
    }
}

/// The last lines, which say why.
fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
