//! `cargo xtask test`: everything that the tests need, then the tests.
//!
//! A cluster in memory, the doc tests, then `cargo nextest` (`cargo test` where it is not installed), whose closing lines
//! are the last thing printed. The first test that needs the template database makes it. With `SCAICONTROL_TEST_PG` set
//! the tests use that cluster, and none is started.
use crate::child;
use crate::pg::{TEST_PG, TestCluster};
use crate::render;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The variable that tells the tests where the program is that they start and kill.
const PROGRAM: &str = "SCAICONTROL_BIN";

/// How a run of the tests ended.
pub struct Outcome {
    /// Whether all of them passed.
    pub passed: bool,
    /// What the runner said at its end.
    pub closing: Vec<String>,
}

/// Runs the tests whose names hold one of `filters`, or all; the doc tests too when all.
///
/// The runner has the last word: when tests failed, this ends the process without one more line.
pub fn test(root: &Path, filters: &[&str]) -> Result<()> {
    build_programs(root)?;
    let (url, cluster) = cluster(root)?;
    let docs = filters.is_empty() && !child::run(&mut doc_tests(root, &url))?.success();
    if docs {
        eprintln!("error: doc tests failed; the other tests follow");
    }
    let status = child::run(&mut runner(root, &url, filters, "default"))?;
    drop(cluster);
    if !status.success() || docs {
        std::process::exit(1);
    }
    Ok(())
}

/// All tests, as CI runs them: nothing is read from the terminal, and the closing lines are kept.
pub fn test_and_keep(root: &Path) -> Result<Outcome> {
    build_programs(root)?;
    let (url, _cluster) = cluster(root)?;
    let (docs, _) = child::run_and_keep(&mut doc_tests(root, &url))?;
    let (status, lines) = child::run_and_keep(&mut runner(root, &url, &[], "ci"))?;
    let mut closing = closing(&lines);
    if !docs.success() {
        closing.insert(0, "doc tests failed".to_owned());
    }
    Ok(Outcome { passed: docs.success() && status.success(), closing })
}

/// The tests of these names alone, with variables set; answers whether all of them passed.
pub fn some(root: &Path, names: &[&str], variables: &[(&str, String)]) -> Result<bool> {
    build_programs(root)?;
    let (url, _cluster) = cluster(root)?;
    let mut passed = true;
    // One after the other: without nextest a run takes one name only.
    for name in names {
        let mut command = runner(root, &url, &[name], "ci");
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        passed &= child::run(&mut command)?.success();
    }
    Ok(passed)
}

/// The programs that tests start: the server's, and the renderer's.
fn build_programs(root: &Path) -> Result<()> {
    build_program(root)?;
    render::build(root).map(drop)
}

/// The server's program: tests of another package cannot have cargo build it for them.
fn build_program(root: &Path) -> Result<()> {
    let mut build = Command::new("cargo");
    build.args(["build", "--quiet"]).args(render::REST).args(["--bin", "scaicontrol"]).current_dir(root);
    if child::run(&mut build)?.success() { Ok(()) } else { bail!("the server does not build") }
}

/// Where programs are built.
fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

fn cluster(root: &Path) -> Result<(String, Option<TestCluster>)> {
    if let Ok(url) = std::env::var(TEST_PG) {
        return Ok((url, None));
    }
    let cluster = TestCluster::start(root)?;
    Ok((cluster.url(), Some(cluster)))
}

fn has_nextest() -> bool {
    let mut ask = Command::new("cargo");
    ask.args(["nextest", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    ask.status().is_ok_and(|s| s.success())
}

fn runner(root: &Path, url: &str, filters: &[&str], profile: &str) -> Command {
    let mut command = Command::new("cargo");
    if has_nextest() {
        command.args(["nextest", "run"]).args(render::REST).args(["--profile", profile]);
        command.args(filters);
    } else {
        // It takes one filter only; the lines that say `test result` are its closing lines.
        command
            .arg("test")
            .args(render::REST)
            .args(["--lib", "--bins", "--tests", "--no-fail-fast"])
            .args(filters.iter().take(1));
    }
    if profile == "ci" {
        // A failed test says where; forty lines of its runtime do not help.
        command.env("RUST_BACKTRACE", "0");
    }
    let target = target(root);
    command.current_dir(root).env(TEST_PG, url).env(PROGRAM, target.join("debug/scaicontrol"));
    command.env(render::SETTING, target.join("release").join(render::PACKAGE));
    command
}

fn doc_tests(root: &Path, url: &str) -> Command {
    let mut command = Command::new("cargo");
    command.args(["test", "--quiet", "--doc"]).args(render::REST).current_dir(root).env(TEST_PG, url);
    // The comments of generated code are the specification's words, which are no Rust (`doctest = false` does not hold with
    // `--doc`).
    for other in ["types", "api", "client"] {
        command.args(["--exclude", &format!("scaicontrol-{other}")]);
    }
    command
}

/// What a runner says at its end: nextest's summary with the failures after it, or the sum of the `test result` lines.
fn closing(lines: &[String]) -> Vec<String> {
    if let Some(at) = lines.iter().rposition(|l| l.trim_start().starts_with("Summary [")) {
        return lines[at..].to_vec();
    }
    let results: Vec<&String> = lines.iter().filter(|l| l.starts_with("test result: ")).collect();
    if results.is_empty() {
        return lines.iter().rev().take(5).rev().cloned().collect();
    }
    let count = |what: &str| -> u64 {
        let number = |line: &&String| {
            line.split(&[';', '.'][..]).find_map(|p| p.trim().strip_suffix(what)?.trim().parse::<u64>().ok())
        };
        results.iter().filter_map(number).sum()
    };
    vec![format!("{} passed, {} failed", count("passed"), count("failed"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_both_runners() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let nextest = lines("a\n     Summary [   1.0s] 2 tests run: 1 passed, 1 failed\n        FAIL x");
        assert_eq!(closing(&nextest), nextest[1..]);
        let cargo = lines(
            "test result: ok. 3 passed; 0 failed; 0 ignored\nb\ntest result: FAILED. 1 passed; 2 failed; 0 ignored",
        );
        assert_eq!(closing(&cargo), ["4 passed, 2 failed"]);
    }
}
