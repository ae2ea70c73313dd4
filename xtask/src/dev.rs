//! `cargo xtask dev`: builds `scaicontrol` and becomes `scaicontrol dev`, so that signals and the exit code are its own.
use crate::pg;
use crate::render;
use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const USAGE: &str = "usage: cargo xtask dev [--port 8000] [--data-dir DIR] [--fresh] [--clock real|simulated] [--clock-from TIME] [--release|--debug]";

/// Does not come back unless something is wrong.
pub fn dev(root: &Path, args: &[&str]) -> Result<()> {
    let options = Options::read(args)?;
    pg::ensure_programs(root)?;
    let program = build(root, options.release)?;
    let renderer = render::build(root)?;
    let failed = command(root, &program, &options).env(render::SETTING, renderer).exec();
    bail!("{} does not start: {failed}", program.display())
}

/// What `scaicontrol dev` is started with.
pub struct Options {
    pub port: u16,
    pub data_dir: Option<PathBuf>,
    pub fresh: bool,
    pub clock: String,
    pub clock_from: Option<String>,
    pub release: bool,
}

impl Default for Options {
    fn default() -> Self {
        let clock = "real".into();
        Options { port: 8000, data_dir: None, fresh: false, clock, clock_from: None, release: false }
    }
}

impl Options {
    fn read(args: &[&str]) -> Result<Options> {
        let mut options = Options::default();
        let mut words = args.iter().flat_map(|a| match a.split_once('=') {
            Some((name, value)) if name.starts_with("--") => vec![name, value],
            _ => vec![*a],
        });
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
            match word {
                "--port" => options.port = value()?.parse().context("--port must be a port number")?,
                "--data-dir" => options.data_dir = Some(value()?.into()),
                "--clock" => options.clock = value()?.to_owned(),
                "--clock-from" => options.clock_from = Some(value()?.to_owned()),
                "--fresh" => options.fresh = true,
                "--release" => options.release = true,
                "--debug" => options.release = false,
                _ => bail!("{word} is no option\n{USAGE}"),
            }
        }
        if !["real", "simulated"].contains(&options.clock.as_str()) {
            bail!("--clock is `real` or `simulated`\n{USAGE}");
        }
        Ok(options)
    }
}

/// The command that runs the built program.
pub fn command(root: &Path, program: &Path, options: &Options) -> Command {
    let mut command = Command::new(program);
    command.arg("dev").args(["--port", &options.port.to_string(), "--clock", &options.clock]);
    command.arg("--data-dir").arg(options.data_dir.clone().unwrap_or_else(|| data_dir(root)));
    if let Some(from) = &options.clock_from {
        command.args(["--clock-from", from]);
    }
    if options.fresh {
        command.arg("--fresh");
    }
    command
}

/// `.dev` in the checkout, where PostgreSQL's user can reach it.
fn data_dir(root: &Path) -> PathBuf {
    if pg::reachable(root) {
        return root.join(".dev");
    }
    let dir = pg::elsewhere(root, "dev");
    eprintln!(
        "PostgreSQL cannot run as root, and its user cannot reach {}: the data is in {}",
        root.display(),
        dir.display()
    );
    dir
}

/// Builds the program and answers where it is.
pub fn build(root: &Path, release: bool) -> Result<PathBuf> {
    let mut command = Command::new("cargo");
    command.arg("build").args(render::REST).args(["--bin", "scaicontrol"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    if release {
        command.arg("--release");
    }
    let out = command.current_dir(root).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !out.status.success() {
        bail!("the server does not build");
    }
    let messages = String::from_utf8_lossy(&out.stdout);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|m| m["target"]["name"] == "scaicontrol")
        .find_map(|m| m["executable"].as_str().map(PathBuf::from))
        .context("cargo did not say where the program is")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let options =
            Options::read(&["--port=9", "--data-dir", "x", "--clock", "simulated", "--release", "--fresh"])
                .expect("valid");
        assert_eq!(
            (options.port, options.data_dir, options.fresh, options.release),
            (9, Some("x".into()), true, true)
        );
        assert_eq!(options.clock_from, None);
        let from =
            Options::read(&["--clock=simulated", "--clock-from", "2028-01-15T08:00:00Z"]).expect("valid");
        let command =
            command(Path::new("."), Path::new("x"), &Options { data_dir: Some("y".into()), ..from });
        let words: Vec<_> = command.get_args().filter_map(|word| word.to_str()).collect();
        assert!(words.windows(2).any(|pair| pair == ["--clock-from", "2028-01-15T08:00:00Z"]), "{words:?}");
        for wrong in [&["--port"][..], &["--port", "x"], &["--clock", "y"], &["--nonsense"], &["word"]] {
            assert!(Options::read(wrong).is_err(), "{wrong:?}");
        }
    }
}
