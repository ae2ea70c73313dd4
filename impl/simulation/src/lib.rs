//! Years of a platform's life in minutes, from a seed, and after each day what must always hold.
//!
//! A simulation starts the development server as a process of its own, on a simulated clock, and uses it as partners,
//! tenants and services do: over HTTP, with tokens. What happens is drawn from the seed alone, so a seed that fails fails
//! again on the same day. With faults, the server is killed in the middle of requests and requests are repeated; where it
//! is killed is drawn too, as a number of commits, so that it is killed there again. What replays is what is written: reads,
//! and what goes by the machine's clock (mails, files), have their own order each time.
//!
//! | Module | Owns |
//! |---|---|
//! | [`server`] | the process: started, killed, started again |
//! | [`api`] | calls, repeated until they are answered |
//! | [`world`] | what there is on the first day: partners, tenants, plans, packs |
//! | [`life`] | what happens on a day |
//! | [`billed`] | predictions: what was shown before is what is billed |
//! | [`usage`] | what was used, added up a second time |
//! | [`database`] | a connection to look with |
//! | [`invariants`] | what must hold after each day |
//! | [`complete`] | what must hold at the end: all that there was to bill is billed |
mod api;
mod billed;
mod complete;
mod database;
mod invariants;
mod life;
mod server;
mod usage;
mod world;

use api::Api;
use chrono::{DateTime, TimeDelta, Utc};
use life::Life;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use world::World;

/// When every simulation begins: before a leap day, so that two years have one.
pub const START: &str = "2028-01-15T08:00:00Z";

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything that happens follows from it.
    pub seed: u64,
    /// How many days.
    pub days: u32,
    /// How many tenants.
    pub tenants: usize,
    /// Whether the server is killed and requests are repeated.
    pub faults: bool,
    /// The program to start: this one.
    pub program: PathBuf,
    /// Folder of the server's data, empty or not there.
    pub data_dir: PathBuf,
    /// A folder made by [`prepare`], which the server begins with a copy of.
    pub template: Option<PathBuf>,
    /// Whether to print each thing that happens.
    pub trace: bool,
}

/// What a simulation did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Days that passed.
    pub days: u32,
    /// Things that were asked for and done.
    pub done: u64,
    /// Things that were asked for and refused.
    pub refused: u64,
    /// Usage events that were accepted.
    pub events: u64,
    /// Documents with a number.
    pub documents: u64,
    /// Invoices that were shown before they came, and came so.
    pub foreseen: u64,
    /// How often the server was killed.
    pub kills: u64,
    /// How long it took.
    pub took: Duration,
}

/// What did not hold.
#[derive(Debug, thiserror::Error)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The day, from 0.
    pub day: u32,
    /// Its date.
    pub at: DateTime<Utc>,
    /// The first thing that did not hold.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, day {} ({}): {}", self.seed, self.day, self.at.date_naive(), self.what)
    }
}

/// What goes wrong inside: words for [`Failure`].
type Outcome<T = ()> = Result<T, String>;

/// Makes what each simulation begins with: a server's folder with an empty database in it. To copy it takes a tenth of the
/// time.
///
/// # Errors
/// When the server does not start or stop.
pub async fn prepare(program: PathBuf, data_dir: PathBuf) -> Result<(), String> {
    let mut server = server::Server::start(program, data_dir, None).await?;
    server.stop().await
}

/// Runs a simulation to its last day, or to the first thing that does not hold.
///
/// # Errors
/// [`Failure`]: with the same options it fails so again.
pub async fn run(options: &Options) -> Result<Summary, Failure> {
    let started = Instant::now();
    let start: DateTime<Utc> = START.parse().unwrap_or_default();
    let mut day = 0;
    let mut at = start;
    let done = simulate(options, start, &mut day, &mut at).await;
    let mut summary = done.map_err(|what| Failure { seed: options.seed, day, at, what })?;
    summary.took = started.elapsed();
    Ok(summary)
}

async fn simulate(
    options: &Options,
    start: DateTime<Utc>,
    day: &mut u32,
    at: &mut DateTime<Utc>,
) -> Outcome<Summary> {
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut api = Api::start(options).await?;
    api.clock(start).await?;
    let world = World::make(&mut api, &mut rng, options).await?;
    let mut life = Life::new(world, options.trace);
    let mut checks = invariants::Checks::connect(&api).await?;
    for n in 0..options.days {
        *day = n;
        // Any time of the day: nothing may lean on midnight.
        *at = start + TimeDelta::days(i64::from(n)) + TimeDelta::seconds(rng.random_range(0..36_000));
        let today = life.drawn(&mut rng, n, *at)?;
        // A day on which nobody does anything is lived with the next one: what falls due on it is done at its own instant.
        if today.is_quiet() {
            continue;
        }
        api.clock(*at).await?;
        life.day(&mut api, &checks, &mut rng, *at, &today).await?;
        checks.after_day(&mut life, *at).await?;
    }
    // What is still to be billed is billed, and then everything must have been.
    for _ in 0..8 {
        *at += TimeDelta::days(8);
        api.clock(*at).await?;
        checks.after_day(&mut life, *at).await?;
    }
    complete::check(&*checks.db().await?, &life.accepted).await?;
    api.verify().await?;
    let summary = Summary {
        days: options.days,
        done: life.done,
        refused: life.refused,
        events: life.events,
        documents: checks.documents(),
        foreseen: life.foreseen.confirmed,
        kills: api.kills,
        took: Duration::ZERO,
    };
    api.stop().await?;
    Ok(summary)
}
