//! `scaicontrol worker`: one tick of a background worker by hand, on the database that `serve` works on.
use super::{Context, Outcome, Settings, say};
use crate::clock::Clock;
use crate::observability::{self, Metrics};
use crate::server::assemble;
use crate::workers::{self, WORKERS};
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// See the module.
#[derive(Debug, Subcommand)]
pub(crate) enum Worker {
    /// Let a worker do what is due, once, and print what it did (DATABASE_URL, and the configuration of `serve`).
    Run(Run),
    /// Print the names of the workers, in the order in which they work, with how often each looks.
    List,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Its name, as `worker list` prints it.
    name: String,
    #[command(flatten)]
    settings: Settings,
}

impl Worker {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        match self {
            Worker::Run(run) => run.run(context).await,
            Worker::List => {
                for worker in WORKERS {
                    say(format_args!("{:<20} every {} s", worker.name, worker.period.as_secs()));
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Run {
    async fn run(self, context: &Context) -> Outcome {
        if workers::find(&self.name).is_none() {
            let names: Vec<&str> = WORKERS.iter().map(|worker| worker.name).collect();
            return Err(format!("there is no worker {}: they are {}", self.name, names.join(", ")));
        }
        let config = context
            .load(vec![], self.settings.set)
            .and_then(|config| config.check_production().map(|()| config))
            .map_err(|e| e.to_string())?;
        let observability::Log { logger: log, dropped, .. } = &observability::log(&config.log);
        let control = assemble(config, Clock::Real, Metrics::new(dropped.clone()), log.clone(), None)
            .map_err(|e| e.to_string())?;
        let done = workers::run_by_name(&control, &self.name).await;
        control.metering.stop().await;
        match done.map_err(|e| format!("{}: {e}", self.name))? {
            Some(done) => say(format_args!("{}: {done}", self.name)),
            None => say(format_args!("{}: another server is at it", self.name)),
        }
        Ok(ExitCode::SUCCESS)
    }
}
