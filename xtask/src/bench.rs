//! `cargo xtask bench`: builds the released server and the program that measures it, and runs that on a PostgreSQL of its
//! own: on the disk, durable, removed afterwards. Ten million events take some 6 GB while it runs.
use crate::child;
use crate::pg::{TEST_PG, TestCluster};
use crate::render;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PDF: &str = "pdf";

/// Passes `args` on to the program; `pdf` is the renderer, which measures itself.
pub fn bench(root: &Path, args: &[&str]) -> Result<()> {
    let asked_for_pdf = args.contains(&PDF);
    if asked_for_pdf {
        render::bench(root)?;
    }
    let args: Vec<&str> = args.iter().copied().filter(|arg| *arg != PDF).collect();
    if args.is_empty() && asked_for_pdf {
        return Ok(());
    }
    let [server, bench] = build(root)?;
    let cluster = TestCluster::start_durable(root)?;
    let mut command = Command::new(bench);
    command.args(args).arg("--server").arg(server).env(TEST_PG, cluster.url());
    if !child::run(&mut command)?.success() {
        bail!("the benchmarks did not come to their end");
    }
    Ok(())
}

/// Builds both in one go, so that what they share is built once; answers where they are.
fn build(root: &Path) -> Result<[PathBuf; 2]> {
    let names = ["scaicontrol", "bench"];
    let mut command = Command::new("cargo");
    command.args(["build", "--release"]).args(render::REST);
    command.args(["--bin", names[0], "--bin", names[1], "--message-format", "json-render-diagnostics"]);
    let out = command.current_dir(root).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !out.status.success() {
        bail!("the benchmarks do not build");
    }
    let messages: Vec<serde_json::Value> = String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let find = |name: &str| {
        let program =
            messages.iter().filter(|m| m["target"]["name"] == name).find_map(|m| m["executable"].as_str());
        program.map(PathBuf::from).with_context(|| format!("cargo did not say where {name} is"))
    };
    Ok([find(names[0])?, find(names[1])?])
}
