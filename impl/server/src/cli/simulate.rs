//! `scaicontrol simulate`: see the crate `scaicontrol-simulation`.
use super::{Outcome, note, say};
use clap::Args;
use futures::StreamExt;
use scaicontrol_simulation::{Failure, Options, Summary, prepare, run};
use std::path::PathBuf;
use std::process::ExitCode;

const DAYS_A_YEAR: u32 = 365;

/// See the module.
#[derive(Args, Debug)]
pub(crate) struct Simulate {
    /// Everything that happens follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, beginning with that one.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many of them at once, each with a server and a database of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
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
        if self.data_dir.is_some() && 1 < self.seeds {
            return Err("a folder that is kept is for one seed".into());
        }
        let template = std::env::temp_dir().join(format!("scaicontrol-simulate-{}", std::process::id()));
        let prepared = Folder(template.clone());
        prepare(program.clone(), template).await.map_err(|e| format!("cannot prepare a server: {e}"))?;
        let seeds = self.seed..self.seed.saturating_add(self.seeds);
        let mut runs = futures::stream::iter(seeds.map(|seed| self.one(seed, program.clone(), &prepared)))
            .buffer_unordered(usize::from(self.jobs));
        // The first that fails ends the others: their servers end with them.
        while let Some(done) = runs.next().await {
            match done {
                Ok((seed, summary)) => say(told(seed, &summary)),
                Err(failure) => {
                    note(format_args!("FAILED: {failure}"));
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn one(&self, seed: u64, program: PathBuf, prepared: &Folder) -> Result<(u64, Summary), Failure> {
        let own = Folder(prepared.0.with_added_extension(seed.to_string()));
        let options = Options {
            seed,
            days: self.days.unwrap_or(self.years * DAYS_A_YEAR),
            tenants: usize::try_from(self.tenants).unwrap_or(1),
            faults: self.faults,
            program,
            data_dir: self.data_dir.clone().unwrap_or_else(|| own.0.clone()),
            template: Some(prepared.0.clone()),
            trace: self.trace,
        };
        run(&options).await.map(|summary| (seed, summary))
    }
}

/// A folder that goes away with its value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn told(seed: u64, s: &Summary) -> String {
    format!(
        "seed {seed}: {} days, {} things done and {} refused, {} events, {} documents, {} foreseen, {} kills: all held ({:.1} s)",
        s.days,
        s.done,
        s.refused,
        s.events,
        s.documents,
        s.foreseen,
        s.kills,
        s.took.as_secs_f64(),
    )
}
