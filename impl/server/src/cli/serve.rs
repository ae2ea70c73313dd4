//! `scaicontrol serve`: the server that others rely on.
use super::{Context, Outcome, Settings, note, say, told_to_stop};
use crate::clock::Clock;
use crate::observability::{self, Metrics};
use crate::pages;
use crate::server::{Server, assemble};
use clap::Args;
use std::process::ExitCode;

/// See the module.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

impl Serve {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let mut flags = self.settings.set;
        flags.extend(self.bind.map(|bind| ("bind".to_owned(), bind)));
        let config = context
            .load(vec![], flags)
            .and_then(|c| c.check_production().map(|()| c))
            .map_err(|e| e.to_string())?;
        let observability::Log { logger: log, dropped, .. } = &observability::log(&config.log);
        let grace = config.limits.shutdown_grace;
        let control = assemble(config, Clock::Real, Metrics::new(dropped.clone()), log.clone(), None)
            .map_err(|e| e.to_string())?;
        if let Err(e) = control.health.get(&control).await {
            // It may be on its way; until then the health page says so and nothing can be served.
            let details: Vec<_> = e.details().iter().map(|d| d.message.as_str()).collect();
            slog::warn!(log, "not ready yet"; "reason" => details.join("; "));
            note(format_args!("not ready yet: {} (see `scaicontrol migrate --status`)", details.join("; ")));
        }
        let server = Server::start(control).await?;
        tokio::task::spawn_blocking(pages::pack);
        slog::info!(log, "listening"; "address" => %server.addr(), "version" => env!("CARGO_PKG_VERSION"));
        say(format_args!("listening on http://{}", server.addr()));
        told_to_stop().await?;
        slog::info!(log, "stopping");
        server.stop(grace).await;
        slog::info!(log, "stopped");
        Ok(ExitCode::SUCCESS)
    }
}
