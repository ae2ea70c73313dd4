//! Who the server runs as, whether that user can get there, and where the socket goes.

use crate::Error;
use nix::unistd::{Gid, Uid, User};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// `sockaddr_un.sun_path` holds 108 bytes on Linux and 104 on macOS, with the closing zero.
const SOCKET_PATH_MAX: usize = 103;
/// What PostgreSQL puts into the socket's folder, at its longest: `/.s.PGSQL.65535.lock`.
const SOCKET_NAME: usize = 21;

/// The user that the server runs as when we are root.
#[derive(Clone, Debug)]
pub(crate) struct RunAs {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) name: String,
}

/// `None`: as ourselves.
pub(crate) fn run_as() -> Result<Option<RunAs>, Error> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Ok(Some(user)) = User::from_name(name) {
            return Ok(Some(RunAs { uid: user.uid, gid: user.gid, name: name.to_owned() }));
        }
    }
    Err(Error::NoUser)
}

/// Whether `who` may pass through every parent of `path` (and, for a folder of programs, through itself).
pub(crate) fn reachable(path: &Path, who: &RunAs) -> Result<(), Error> {
    for parent in path.ancestors().skip(1) {
        let Ok(meta) = fs::metadata(parent) else { continue };
        let needed = if meta.uid() == who.uid.as_raw() {
            0o100
        } else if meta.gid() == who.gid.as_raw() {
            0o010
        } else {
            0o001
        };
        if meta.mode() & needed == 0 {
            return Err(Error::NotReachable {
                path: path.to_path_buf(),
                blocked_by: parent.to_path_buf(),
                user: who.name.clone(),
            });
        }
    }
    Ok(())
}

/// Makes `dir` a folder of `who` alone.
pub(crate) fn own_folder(dir: &Path, who: Option<&RunAs>) -> Result<(), Error> {
    let action = || format!("prepare the folder {}", dir.display());
    fs::create_dir_all(dir).map_err(Error::io(action()))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(Error::io(action()))?;
    if let Some(who) = who {
        chown(dir, Some(who.uid.as_raw()), Some(who.gid.as_raw())).map_err(Error::io(action()))?;
    }
    Ok(())
}

/// The folder for the socket: inside `dir` when the path is short enough, else a short one in the temp folder.
pub(crate) fn socket_dir(dir: &Path, who: Option<&RunAs>) -> Result<PathBuf, Error> {
    let inside = dir.join("run");
    if inside.as_os_str().len() + SOCKET_NAME <= SOCKET_PATH_MAX {
        own_folder(&inside, who)?;
        return Ok(inside);
    }
    let uid = who.map_or_else(Uid::effective, |w| w.uid);
    let name = format!("scpg-{}-{:016x}", uid, fingerprint(dir));
    let temp = std::env::temp_dir();
    let mut short = temp.join(&name);
    if short.as_os_str().len() + SOCKET_NAME > SOCKET_PATH_MAX
        || who.is_some_and(|w| reachable(&short, w).is_err())
    {
        short = Path::new("/tmp").join(&name);
    }
    // Anybody may create names in the temp folder: one that is there already must be ours and closed to others.
    match fs::DirBuilder::new().mode(0o700).create(&short) {
        Ok(()) => own_folder(&short, who)?,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let meta =
                fs::symlink_metadata(&short).map_err(Error::io(format!("look at {}", short.display())))?;
            if !meta.is_dir() || meta.uid() != uid.as_raw() || meta.mode() & 0o077 != 0 {
                return Err(Error::UnsafeSocketDir(short));
            }
        }
        Err(e) => return Err(Error::io(format!("make the folder {}", short.display()))(e)),
    }
    Ok(short)
}

/// FNV-1a of the path: the same folder always gets the same socket.
pub(crate) fn fingerprint(dir: &Path) -> u64 {
    dir.as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
