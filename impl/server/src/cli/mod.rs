//! The command line. Each command is a module; here are their names and how they end.
//!
//! What a command was asked for goes to standard output; everything else (the log, what is being done, errors) to
//! standard error. A command that fails prints one line and ends with 1.
mod admin;
mod dev;
mod dev_client;
mod einvoice;
mod migrate;
mod serve;
#[cfg(feature = "simulate")]
mod simulate;
mod verify;
mod worker;

use crate::config::{self, Config, ConfigError, Sources};
use clap::{Args, Parser, Subcommand};
use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// What a command ends with.
pub(crate) type Outcome = Result<ExitCode, String>;

/// The control plane for software services: catalogue, subscriptions, metering, billing.
#[derive(Debug, Parser)]
#[command(name = "scaicontrol", version, propagate_version = true)]
struct Line {
    /// Configuration file; without it `scaicontrol.toml`, when it is there.
    #[arg(long, global = true, env = "SCAICONTROL_CONFIG", value_name = "FILE")]
    config_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Serve),
    /// Run a complete development server: database, issuer of tokens, sample data.
    Dev(dev::Dev),
    /// Bring the database to the schema of this version (as its owner: DATABASE_OWNER_URL).
    Migrate(migrate::Migrate),
    /// Prove that what is stored about money agrees with itself; 1 and the first difference when it does not.
    Verify(verify::Verify),
    /// What only the operator's own people do, on the database itself (DATABASE_OWNER_URL).
    #[command(subcommand)]
    Admin(admin::Admin),
    /// The background workers, by hand.
    #[command(subcommand)]
    Worker(worker::Worker),
    /// Electronic invoices of anybody's making.
    #[command(subcommand)]
    Einvoice(einvoice::Einvoice),
    /// Live years of a platform from a seed, and prove after each day what must always hold.
    #[cfg(feature = "simulate")]
    Simulate(simulate::Simulate),
    /// Print every key of the configuration, its variable, default and meaning.
    Config,
}

/// Keys of the configuration on the command line.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Settings {
    /// A key of the configuration, such as `log.level=debug`; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must look like KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// What every command can read the configuration from.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    file: Option<PathBuf>,
}

impl Context {
    fn load(
        &self,
        defaults: Vec<(String, String)>,
        flags: Vec<(String, String)>,
    ) -> Result<Config, ConfigError> {
        Config::load(&Sources { file: self.file.clone(), defaults, environment: None, flags })
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let line = Line::parse();
    let context = Context { file: line.config_file };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return failed(&format!("cannot start: {e}")),
    };
    let outcome = runtime.block_on(async move {
        match line.command {
            Command::Serve(command) => command.run(&context).await,
            Command::Dev(command) => command.run(&context).await,
            Command::Migrate(command) => command.run(&context).await,
            Command::Verify(command) => command.run(&context).await,
            Command::Admin(command) => command.run(&context).await,
            Command::Worker(command) => command.run(&context).await,
            Command::Einvoice(command) => command.run().await,
            #[cfg(feature = "simulate")]
            Command::Simulate(command) => command.run().await,
            Command::Config => {
                say(config::reference().trim_end());
                Ok(ExitCode::SUCCESS)
            }
        }
    });
    // What still runs in the background has nothing to finish.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|message| failed(&message))
}

fn failed(message: &str) -> ExitCode {
    note(format_args!("error: {message}"));
    ExitCode::FAILURE
}

/// A line of what was asked for.
pub(crate) fn say(line: impl Display) {
    // Whoever reads may have gone away; that is no reason to fail.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A line for the person who watches.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Ends at the first SIGTERM or SIGINT. At the second one the process ends at once.
pub(crate) async fn told_to_stop() -> Result<(), String> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|e| format!("cannot listen for signals: {e}"));
    let (mut term, mut int) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! { _ = term.recv() => (), _ = int.recv() => () }
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => (), _ = int.recv() => () }
        std::process::exit(1);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_well_formed() {
        Line::command().debug_assert();
        for line in [
            "serve --bind 127.0.0.1:1 --set log.level=debug",
            "dev --port 0 --data-dir x --fresh --clock simulated --clock-from 2027-01-01T00:00:00Z",
            "dev token --config x/dev.json --role tenant_admin --tenant tnt_1 --partner prt_1 --permissions billing:read,billing:manage",
            "dev token --config x/dev.json --service scaivault",
            "dev clock advance 30d --config x/dev.json",
            "dev clock set 2027-01-01T00:00:00Z",
            "migrate --status",
            "migrate --down 1",
            "verify --json",
            "admin grant-role --user usr_1 --role super_admin",
            "admin templates validate",
            "worker run mailer --set log.level=debug",
            "worker list",
            "einvoice validate x.xml --json",
            "config",
        ] {
            let words = std::iter::once("scaicontrol").chain(line.split(' '));
            if let Err(e) = Line::try_parse_from(words) {
                panic!("{line}: {e}");
            }
        }
    }
}
