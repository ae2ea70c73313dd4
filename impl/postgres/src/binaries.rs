//! Where PostgreSQL is: `PG_BIN`, the PATH, the folders of the distributions.
//!
//! A folder counts only when `initdb` and `postgres` lie side by side as real programs. Distributions and people put
//! wrapper scripts and single links into the PATH, and `initdb` finds `postgres` and its own files relative to where it
//! really is, so links are followed first and scripts are passed over.

use crate::Error;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest major version that the migrations work on.
pub(crate) const OLDEST: u32 = 15;

/// A folder of PostgreSQL programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// The folder.
    pub dir: PathBuf,
    /// Their major version.
    pub major: u32,
}

/// The binaries to use: the first that are new enough, or with `wanted` those of that major version. `extra` folders
/// are looked at last.
pub fn find(wanted: Option<&str>, extra: &[PathBuf]) -> Result<Binaries, Error> {
    if let Some(dir) = std::env::var_os("PG_BIN").filter(|v| !v.is_empty()) {
        let dir = PathBuf::from(dir);
        let folder = real_folder(&dir).ok_or_else(|| Error::BadPgBin(dir.clone()))?;
        let major = major_of(&folder).ok_or(Error::BadPgBin(dir))?;
        return choose(vec![Binaries { dir: folder, major }], wanted);
    }
    let mut seen: Vec<PathBuf> = Vec::new();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates =
        on_path(&path).into_iter().chain(installed()).chain(extra.iter().filter_map(|d| real_folder(d)));
    for folder in candidates {
        if !seen.contains(&folder) {
            seen.push(folder);
        }
    }
    let found = seen
        .into_iter()
        .filter_map(|dir| major_of(&dir).map(|major| Binaries { dir, major }))
        .collect::<Vec<_>>();
    choose(found, wanted)
}

fn choose(found: Vec<Binaries>, wanted: Option<&str>) -> Result<Binaries, Error> {
    let Some(first) = found.first().cloned() else { return Err(Error::NoBinaries) };
    if let Some(wrote) = wanted {
        let versions = found.iter().map(|b| b.major).collect();
        return found.into_iter().find(|b| b.major.to_string() == wrote).ok_or_else(|| Error::OtherVersion {
            data: PathBuf::new(),
            wrote: wrote.to_owned(),
            found: versions,
        });
    }
    found.into_iter().find(|b| b.major >= OLDEST).ok_or(Error::TooOld { bin: first.dir, major: first.major })
}

/// The folder that really holds both programs, with all links followed.
fn real_folder(dir: &Path) -> Option<PathBuf> {
    let initdb = fs::canonicalize(dir.join("initdb")).ok()?;
    let folder = initdb.parent()?.to_path_buf();
    (is_program(&folder.join("initdb")) && is_program(&folder.join("postgres"))).then_some(folder)
}

/// Whether it is a program rather than a script that calls one.
fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let executable = fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    let mut start = [0_u8; 2];
    executable && fs::File::open(file).and_then(|mut f| f.read_exact(&mut start)).is_ok() && &start != b"#!"
}

fn on_path(path: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(path).filter(|d| d.is_absolute()).filter_map(|d| real_folder(&d)).collect()
}

/// Where distributions put it, the highest version first.
fn installed() -> Vec<PathBuf> {
    let versioned = [
        ("/usr/lib/postgresql", "bin"),
        ("/usr", "bin"),
        ("/usr/local", "bin"),
        ("/opt/homebrew/opt", "bin"),
        ("/usr/local/opt", "bin"),
        ("/Applications/Postgres.app/Contents/Versions", "bin"),
    ];
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (root, bin) in versioned {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // `/usr/lib/postgresql/16`, `/usr/pgsql-16`, `/usr/local/pgsql`, `…/opt/postgresql@16`
            let numbered = root.ends_with("postgresql") || root.ends_with("Versions");
            if !(numbered || name.starts_with("pgsql") || name.starts_with("postgresql")) {
                continue;
            }
            let digits: String =
                name.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
            if let Some(folder) = real_folder(&entry.path().join(bin)) {
                found.push((digits.parse().unwrap_or(0), folder));
            }
        }
    }
    found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn major_of(dir: &Path) -> Option<u32> {
    let said = Command::new(dir.join("postgres")).arg("--version").stdin(Stdio::null()).output().ok()?;
    major_in(&String::from_utf8_lossy(&said.stdout))
}

/// The major version in `postgres (PostgreSQL) 15.20 (Debian …)`.
fn major_in(said: &str) -> Option<u32> {
    let number = said.split(')').nth(1)?.trim_start();
    number.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn program(file: &Path, content: &[u8]) {
        fs::write(file, content).expect("write");
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("mode");
    }
    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("scpg-bin-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("folder");
        fs::canonicalize(dir).expect("real path")
    }

    #[test]
    fn reads_the_major_version() {
        assert_eq!(major_in("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"), Some(15));
        assert_eq!(major_in("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_in("something else"), None);
    }

    #[test]
    fn follows_links_and_passes_over_wrappers() {
        let real = folder("real");
        program(&real.join("initdb"), b"\x7fELF");
        program(&real.join("postgres"), b"\x7fELF");
        let links = folder("links");
        symlink(real.join("initdb"), links.join("initdb")).expect("link");
        assert_eq!(real_folder(&links), Some(real.clone()), "a link is followed to where both programs are");

        let alone = folder("alone");
        program(&alone.join("initdb"), b"\x7fELF");
        assert_eq!(real_folder(&alone), None, "initdb without postgres beside it");

        let scripts = folder("scripts");
        program(&scripts.join("initdb"), b"#!/bin/sh\n");
        program(&scripts.join("postgres"), b"#!/bin/sh\n");
        assert_eq!(real_folder(&scripts), None, "wrapper scripts");

        let path = std::env::join_paths([&scripts, &alone, &links]).expect("path");
        assert_eq!(on_path(&path), vec![real.clone()]);
        for dir in [real, links, alone, scripts] {
            let _ = fs::remove_dir_all(dir);
        }
    }

    #[test]
    fn chooses_by_version() {
        let found = |v: &[u32]| {
            v.iter().map(|&major| Binaries { dir: format!("/{major}").into(), major }).collect::<Vec<_>>()
        };
        assert_eq!(
            choose(found(&[13, 16, 15]), None).expect("found").major,
            16,
            "the first that is new enough"
        );
        assert_eq!(
            choose(found(&[16, 15]), Some("15")).expect("found").major,
            15,
            "the version that wrote the data"
        );
        assert!(matches!(choose(found(&[16]), Some("15")), Err(Error::OtherVersion { .. })));
        assert!(matches!(choose(found(&[13]), None), Err(Error::TooOld { major: 13, .. })));
        assert!(matches!(choose(found(&[]), None), Err(Error::NoBinaries)));
    }
}
