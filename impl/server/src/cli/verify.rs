//! `scaicontrol verify`: the proof that what is stored about money agrees with itself.
use super::{Context, Outcome, say};
use crate::clock::Clock;
use crate::db::Db;
use crate::ledger::verify;
use crate::op::{Ids, OpContext};
use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// See the module.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
    /// Verify the database of the development server of this file instead of DATABASE_URL.
    #[arg(long = "config", value_name = "DEV.JSON")]
    dev: Option<PathBuf>,
}

impl Verify {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let url = match &self.dev {
            Some(file) => super::dev_client::DevFile::read(file)?.database_url,
            None => {
                let config = context.load(vec![], vec![]).map_err(|e| e.to_string())?;
                let url = config.database.url.as_ref().ok_or("DATABASE_URL must be set")?;
                url.expose_secret().to_owned()
            }
        };
        let db =
            Db::new(&url, 1, Duration::from_secs(10), Duration::from_secs(60)).map_err(|e| e.to_string())?;
        let op = OpContext::system(&Clock::Real, &Ids::default(), "verify");
        let found = verify::run(&db, &op).await.map_err(|e| e.to_string())?;
        if self.json {
            say(json!({"ok": found.is_none(), "checks": verify::count(), "difference": found}));
        } else {
            match &found {
                None => say(format_args!("ok: {} checks", verify::count())),
                Some(difference) => say(format_args!("differs: {}: {}", difference.check, difference.found)),
            }
        }
        Ok(if found.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
