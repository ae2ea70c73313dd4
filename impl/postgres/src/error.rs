//! What can go wrong, said so that the reader knows the next step.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a cluster did not start or stop.
#[derive(Debug)]
pub enum Error {
    /// No folder with `initdb` and `postgres` was found.
    NoBinaries,
    /// `PG_BIN` is set, but is not such a folder.
    BadPgBin(PathBuf),
    /// The binaries found are older than the oldest version that is supported.
    TooOld {
        /// Where they are.
        bin: PathBuf,
        /// Their major version.
        major: u32,
    },
    /// The data was written by another major version than any that was found.
    OtherVersion {
        /// The data folder.
        data: PathBuf,
        /// The version that wrote it.
        wrote: String,
        /// The versions that are here.
        found: Vec<u32>,
    },
    /// A parent folder does not let the user through that the server runs as.
    NotReachable {
        /// What was to be reached.
        path: PathBuf,
        /// The folder that is in the way.
        blocked_by: PathBuf,
        /// The user that the server would run as.
        user: String,
    },
    /// Running as root, and there is neither a user `postgres` nor `nobody`.
    NoUser,
    /// Another process uses the folder.
    InUse {
        /// The folder of the cluster.
        dir: PathBuf,
        /// The server that runs there, when it is known.
        pid: Option<i32>,
    },
    /// The folder for the socket belongs to somebody else.
    UnsafeSocketDir(PathBuf),
    /// One of the programs failed; its own words.
    Failed {
        /// Which program.
        program: &'static str,
        /// The end of what it printed.
        output: String,
    },
    /// It did not get ready, or did not stop, in time.
    Timeout(&'static str),
    /// The operating system refused something.
    Io {
        /// What was tried.
        action: String,
        /// What it said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let action = action.into();
        move |source| Error::Io { action, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoBinaries => f.write_str(
                "PostgreSQL was not found (looked in PG_BIN, PATH and the usual folders). Install it \
                 (`apt-get install postgresql`, `dnf install postgresql-server`, `brew install postgresql@16`), or set \
                 PG_BIN to the folder that holds `initdb` and `postgres`",
            ),
            Error::BadPgBin(dir) => {
                write!(f, "PG_BIN={} does not hold the programs `initdb` and `postgres`", dir.display())
            }
            Error::TooOld { bin, major } => write!(
                f,
                "PostgreSQL {major} in {} is too old: {} or newer is needed",
                bin.display(),
                crate::binaries::OLDEST
            ),
            Error::OtherVersion { data, wrote, found } => write!(
                f,
                "{} was written by PostgreSQL {wrote}, but only {found:?} is here: set PG_BIN to that version, or start \
                 afresh in an empty folder",
                data.display()
            ),
            Error::NotReachable { path, blocked_by, user } => write!(
                f,
                "PostgreSQL cannot run as root, and the user `{user}` that it would run as cannot reach {}: {} lets \
                 nobody else through. Use a folder elsewhere, allow it with `chmod o+x {}`, or do not run as root",
                path.display(),
                blocked_by.display(),
                blocked_by.display()
            ),
            Error::NoUser => f.write_str(
                "PostgreSQL cannot run as root, and this system has neither a user `postgres` nor `nobody` to run it as",
            ),
            Error::InUse { dir, pid: Some(pid) } => {
                write!(f, "{} is in use: PostgreSQL runs there as process {pid}", dir.display())
            }
            Error::InUse { dir, pid: None } => write!(f, "{} is in use by another process", dir.display()),
            Error::UnsafeSocketDir(dir) => write!(
                f,
                "{} is there already and belongs to another user or is open to others: remove it",
                dir.display()
            ),
            Error::Failed { program, output } => write!(f, "{program} failed: {}", output.trim()),
            Error::Timeout(what) => write!(f, "PostgreSQL did not {what} in time"),
            Error::Io { action, source } => write!(f, "cannot {action}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
