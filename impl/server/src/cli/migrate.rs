//! `scaicontrol migrate`: the schema of the database.
use super::{Context, Outcome, note, say};
use crate::config::Config;
use crate::migrations;
use clap::Args;
use secrecy::ExposeSecret;
use std::process::ExitCode;

/// See the module.
#[derive(Args, Debug)]
pub(crate) struct Migrate {
    /// Only show which migrations the database has; 1 when some are missing.
    #[arg(long, conflicts_with = "down")]
    status: bool,
    /// Take the last N migrations back, with their data. For development and tests.
    #[arg(long, value_name = "N")]
    down: Option<usize>,
}

impl Migrate {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let config = context.load(vec![], vec![]).map_err(|e| e.to_string())?;
        let url = owner_url(&config)?;
        if self.status {
            let all = migrations::status(&url).await.map_err(|e| e.to_string())?;
            for one in &all {
                say(format_args!("{} {}", if one.applied { "applied" } else { "missing" }, one.name));
            }
            let whole = all.iter().all(|m| m.applied);
            return Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        let (done, word) = match self.down {
            Some(count) => (migrations::down(&url, count).await, "taken back"),
            None => (migrations::up(&url).await, "applied"),
        };
        let done = done.map_err(|e| e.to_string())?;
        for version in &done {
            say(format_args!("{word} {version}"));
        }
        if done.is_empty() {
            note("nothing to do");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The owner's address.
pub(crate) fn owner_url(config: &Config) -> Result<String, String> {
    let url = config
        .database
        .owner_url
        .as_ref()
        .ok_or("DATABASE_OWNER_URL must be set (the owner of the tables)")?;
    Ok(url.expose_secret().to_owned())
}
