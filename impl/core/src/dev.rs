//! What only a development server has: an issuer of its own, a clock that can be told to go on, and a fuse.
//!
//! The fuse ends the process as a failing machine would, at a place that is counted and not timed: whoever kills a server by
//! a seed kills it at the same place again. It burns before and after each commit of a transaction that writes. What the
//! machine's clock brings about does not burn it ([`apart`]), since it comes when it comes.
use crate::identity::dev_issuer::DevIssuer;
use chrono::{DateTime, Utc};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the issuer is, under the server's address.
pub const ISSUER_PATH: &str = "/dev/issuer";

/// The state of a development server.
#[derive(Debug)]
pub struct Dev {
    /// Signs tokens.
    pub issuer: DevIssuer,
    /// Where the time of a simulated clock is kept, so that a restart does not fall behind what is stored.
    pub clock_file: PathBuf,
}

/// The time that a simulated clock begins with: `start`, or where it stood.
pub fn clock_at_start(file: &Path, start: DateTime<Utc>) -> DateTime<Utc> {
    let kept = std::fs::read_to_string(file).ok().and_then(|t| t.trim().parse::<DateTime<Utc>>().ok());
    kept.map_or(start, |kept| kept.max(start))
}

/// Keeps where a simulated clock stands. The file is the old one or the new one, whenever the server is killed.
pub fn keep_clock(file: &Path, at: DateTime<Utc>) -> std::io::Result<()> {
    let draft = file.with_extension("new");
    std::fs::write(&draft, at.to_rfc3339())?;
    std::fs::rename(&draft, file)
}

#[cfg(test)]
mod tests {
    use super::{clock_at_start, keep_clock};
    use chrono::{DateTime, TimeDelta, Utc};

    #[test]
    fn a_restart_does_not_go_back() {
        let dir = std::env::temp_dir().join(format!("scaicontrol-clock-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let file = dir.join("clock");
        let (early, late): (DateTime<Utc>, DateTime<Utc>) = (
            "2026-01-31T00:00:00Z".parse().expect("a time"),
            "2027-01-31T00:00:00Z".parse().expect("a time"),
        );
        assert_eq!(clock_at_start(&file, early), early);
        for kept in [early, late] {
            keep_clock(&file, kept).expect("kept");
            assert_eq!(clock_at_start(&file, early), kept);
        }
        assert_eq!(clock_at_start(&file, late + TimeDelta::days(1)), late + TimeDelta::days(1));
        assert_eq!(std::fs::read_dir(&dir).expect("the folder").count(), 1, "no draft is left");
        let _ = std::fs::remove_dir_all(dir);
    }
}

/// How many places are left until the process ends; 0: it is not lit.
static FUSE: AtomicU32 = AtomicU32::new(0);

tokio::task_local! {
    static APART: ();
}

/// Lights the fuse: the process ends at the so-manieth place from now on. With 0 it is put out.
pub fn light(places: u32) {
    FUSE.store(places, Ordering::SeqCst);
}

/// Work whose transactions do not burn the fuse.
pub async fn apart<T>(work: impl Future<Output = T>) -> T {
    APART.scope((), work).await
}

/// A place at which the process may end.
pub(crate) fn burn() {
    if FUSE.load(Ordering::Relaxed) == 0 || APART.try_with(|()| ()).is_ok() {
        return;
    }
    let left = FUSE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if left == Ok(1) {
        std::process::abort();
    }
}
