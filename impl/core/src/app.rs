//! What the whole server shares.
use crate::admission::Admission;
use crate::catalog::shown::Shown;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::dev::Dev;
use crate::gateways::mail::Mailer;
use crate::gateways::objects::Objects;
use crate::gateways::renderer::Renderer;
use crate::gateways::scaikey::ScaiKey;
use crate::gateways::vies::Register;
use crate::health::Health;
use crate::identity::authenticator::Identity;
use crate::metering::Metering;
use crate::observability::Metrics;
use crate::op::Ids;
use crate::workers::rounds::Rounds;
use slog::Logger;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

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
    /// Tenants that could not be billed when it was tried last; lost with the process.
    pub unbillable: Arc<Mutex<HashSet<String>>>,
    /// What the catalogue shows.
    pub shown: Arc<Shown>,
    /// Who calls.
    pub identity: Arc<Identity>,
    /// The issuer, for browsers that sign in.
    pub scaikey: ScaiKey,
    /// Stored files.
    pub objects: Objects,
    /// Makes PDFs.
    pub renderer: Arc<Renderer>,
    /// Who takes mails, and who sends them; none: mails wait.
    pub mailer: Option<(Arc<dyn Mailer>, lettre::message::Mailbox)>,
    /// The register of VAT numbers; none: it is not asked.
    pub vies: Option<Arc<dyn Register>>,
    /// How many sign-ins an address may try.
    pub sign_ins: Arc<Admission<IpAddr>>,
    /// Where ticks of workers ran out of time.
    pub rounds: Arc<Rounds>,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether the server can work.
    pub health: Arc<Health>,
    /// Where it is written down.
    pub log: Logger,
    /// What only a dev server has.
    pub dev: Option<Arc<Dev>>,
}
