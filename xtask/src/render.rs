//! The renderer of PDFs: a program of its own, built with optimisations whatever the rest is built with, since laying out
//! a page without them takes many times as long. Its first build takes some minutes; nothing that is edited often is in it.
use crate::{child, python};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Package and program.
pub const PACKAGE: &str = "scaicontrol-render";
/// Reads PDFs; the version that judges hybrids too.
const PIKEPDF: &str = "pikepdf==10.18.0";
/// Everything but the renderer. Cargo unites the features of what is selected, so all else is always selected like this:
/// with two selections most of the dependencies would be compiled twice.
pub const REST: [&str; 3] = ["--workspace", "--exclude", PACKAGE];
/// The setting of the server that says where it is.
pub const SETTING: &str = "SCAICONTROL_RENDER__PROGRAM";

/// Builds the program and answers where it is.
pub fn build(root: &Path) -> Result<PathBuf> {
    let mut build = Command::new("cargo");
    build.args(["build", "--quiet", "--release", "--package", PACKAGE, "--bin", PACKAGE]).current_dir(root);
    if !child::run(&mut build)?.success() {
        bail!("the renderer does not build");
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    Ok(target.join("release").join(PACKAGE))
}

/// Its own tests, with optimisations too; then what it makes of every case in every language, judged by other programs.
pub fn test(root: &Path) -> Result<()> {
    if !cargo(root, &["test"])?.success() {
        bail!("the renderer's tests failed");
    }
    let folder = samples(root)?;
    let bin = python::environment(root, "pdf-judges", &[PIKEPDF])?;
    let mut judge = Command::new(bin.join("python3"));
    judge.arg("impl/render/tests/oracle.py").arg(&folder).current_dir(root).stdin(Stdio::null());
    if child::run(&mut judge)?.success() { Ok(()) } else { bail!("a PDF is not sound") }
}

/// Renders a document of every case in every language; answers the folder with their PDFs.
pub fn samples(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/judges/pdf");
    let _ = std::fs::remove_dir_all(&folder);
    if !cargo(root, &["run", "--example", "samples", "--", &folder.to_string_lossy()])?.success() {
        bail!("the samples cannot be rendered");
    }
    Ok(folder)
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<ExitStatus> {
    let mut cargo = Command::new("cargo");
    cargo.arg(arguments[0]).args(["--quiet", "--release", "--package", PACKAGE]).args(&arguments[1..]);
    child::run(cargo.current_dir(root))
}

/// How fast it is, on one core and in process.
pub fn bench(root: &Path) -> Result<()> {
    let bench = cargo(root, &["run", "--example", "samples", "--", "--bench"])?;
    if bench.success() { Ok(()) } else { bail!("the renderer's bench failed") }
}
