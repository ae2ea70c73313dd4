//! What the whole server shares.
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::metering::Metering;
use crate::op::Ids;
use std::sync::Arc;

/// The state behind every request and every worker; cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    /// The configuration the server was started with.
    pub config: Arc<Config>,
    /// The database, as the app role.
    pub db: Db,
    /// Business time.
    pub clock: Clock,
    /// Makes ids.
    pub ids: Ids,
    /// The writer of usage, and what is kept of quotas.
    pub metering: Metering,
}
