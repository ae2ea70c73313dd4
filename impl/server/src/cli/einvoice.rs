//! `scaicontrol einvoice`: electronic invoices of anybody's making.
use super::Outcome;
use clap::Subcommand;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// See the module.
#[derive(Debug, Subcommand)]
pub(crate) enum Einvoice {
    /// Print every rule that a UBL or CII invoice (or a PDF that holds one) breaks; ends with 0 when it is valid, 1 when it
    /// is not, 2 when it cannot be read.
    Validate {
        /// The file.
        file: PathBuf,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Einvoice {
    pub(crate) async fn run(self) -> Outcome {
        let Einvoice::Validate { file, json } = self;
        let judged = tokio::task::spawn_blocking(move || scaicontrol_einvoice::run_cli(&file, json));
        let (text, code) = judged.await.map_err(|e| e.to_string())?;
        let mut out = std::io::stdout().lock();
        // Whoever reads may have gone away; that is no reason to fail.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        Ok(ExitCode::from(code))
    }
}
