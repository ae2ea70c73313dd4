//! `scaicontrol simulate`: see the crate `scaicontrol-simulation`.
use super::{Outcome, note, say};
use clap::Args;
use scaicontrol_simulation::{Options, run};
use std::path::PathBuf;
use std::process::ExitCode;

const DAYS_A_YEAR: u32 = 365;

/// See the module.
#[derive(Args, Debug)]
pub(crate) struct Simulate {
    /// Everything that happens follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, one after another, beginning with that one.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Years to live.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=20), conflicts_with = "days")]
    years: u32,
    /// Days to live, instead of years.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=7300))]
    days: Option<u32>,
    /// Tenants.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1000))]
    tenants: u64,
    /// Kill the server in the middle of requests, and repeat requests.
    #[arg(long)]
    faults: bool,
    /// Print each thing that happens.
    #[arg(long)]
    trace: bool,
    /// Folder of the server's data, which is kept; without it one that goes away.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Simulate {
    pub(crate) async fn run(self) -> Outcome {
        let program = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
        for seed in self.seed..self.seed.saturating_add(self.seeds) {
            let own =
                std::env::temp_dir().join(format!("scaicontrol-simulate-{}-{seed}", std::process::id()));
            let options = Options {
                seed,
                days: self.days.unwrap_or(self.years * DAYS_A_YEAR),
                tenants: usize::try_from(self.tenants).unwrap_or(1),
                faults: self.faults,
                program: program.clone(),
                data_dir: self.data_dir.clone().unwrap_or_else(|| own.clone()),
                trace: self.trace,
            };
            let done = run(&options).await;
            if self.data_dir.is_none() {
                let _ = std::fs::remove_dir_all(&own);
            }
            match done {
                Ok(summary) => say(format_args!(
                    "seed {seed}: {} days, {} things done and {} refused, {} events, {} documents, {} foreseen, {} kills: all held ({:.1} s)",
                    summary.days,
                    summary.done,
                    summary.refused,
                    summary.events,
                    summary.documents,
                    summary.foreseen,
                    summary.kills,
                    summary.took.as_secs_f64(),
                )),
                Err(failure) => {
                    note(format_args!("FAILED: {failure}"));
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
