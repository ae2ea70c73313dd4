//! The renderer of PDFs: a program of its own, built with optimisations whatever the rest is built with, since laying out
//! a page without them takes many times as long. Its first build takes some minutes; nothing that is edited often is in it.
use crate::child;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Package and program.
pub const PACKAGE: &str = "scaicontrol-render";
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

/// Its own tests, with optimisations too.
pub fn test(root: &Path) -> Result<()> {
    let mut test = Command::new("cargo");
    test.args(["test", "--quiet", "--release", "--package", PACKAGE]).current_dir(root);
    if child::run(&mut test)?.success() { Ok(()) } else { bail!("the renderer's tests failed") }
}
