//! What only a development server has: an issuer of its own, and a clock that can be told to go on.
use crate::identity::dev_issuer::DevIssuer;
use chrono::{DateTime, Utc};
use std::path::{Path, PathBuf};

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

/// The time that a simulated clock begins with: now, or where it stood.
pub fn clock_at_start(file: &Path, now: DateTime<Utc>) -> DateTime<Utc> {
    let kept = std::fs::read_to_string(file).ok().and_then(|t| t.trim().parse::<DateTime<Utc>>().ok());
    kept.map_or(now, |kept| kept.max(now))
}
