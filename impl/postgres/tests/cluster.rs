//! Starts real clusters: made, used again, taken over after kills, refused while in use.

use scaicontrol_postgres::{Cluster, Durability, Error, Options, Stop};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Folder(PathBuf);
impl Folder {
    fn new(name: &str) -> Folder {
        let base =
            if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        let dir = base.join(format!("scpg-test-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Folder(dir)
    }
    fn options(&self) -> Options {
        Options { durability: Durability::Off, max_connections: 20, ..Options::new(&self.0) }
    }
}
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn kill(signal: &str, pid: i32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill").success());
}

#[test]
fn is_made_used_again_and_taken_over() {
    let folder = Folder::new("life");
    let cluster = Cluster::start(folder.options()).expect("a new cluster");
    assert!(cluster.is_running());
    assert!(cluster.socket_dir().join(".s.PGSQL.5432").exists());
    assert!(cluster.url("me", "db").starts_with("postgres://me@%2F"));

    let second = Cluster::start(folder.options()).expect_err("the folder is in use");
    assert!(matches!(&second, Error::InUse { pid: Some(pid), .. } if *pid == cluster.pid()), "{second}");
    cluster.stop(Stop::Fast).expect("stop");

    let again = Cluster::start(folder.options()).expect("the same data");
    kill("-9", again.pid());
    while again.is_running() {
        std::thread::yield_now();
    }
    drop(again);
    // In a container the number in the file soon belongs to somebody else: here, to this process.
    let pid_file = folder.0.join("data/postmaster.pid");
    let text = fs::read_to_string(&pid_file).expect("left behind by the kill");
    let (_, rest) = text.split_once('\n').expect("lines");
    fs::write(&pid_file, format!("{}\n{rest}", std::process::id())).expect("write");
    Cluster::start(folder.options()).expect("taken over").stop(Stop::Immediate).expect("stop");
}

#[test]
fn may_be_left_running_and_stopped_later() {
    let folder = Folder::new("left");
    let cluster = Cluster::start(Options { die_with_parent: false, ..folder.options() }).expect("start");
    cluster.leave_running();
    assert!(Cluster::stop_in(&folder.0, Stop::Fast).expect("stop"));
    assert!(!Cluster::stop_in(&folder.0, Stop::Fast).expect("nothing to stop"));
}

#[test]
fn a_long_path_gets_a_short_socket() {
    let folder = Folder::new("long");
    let dir = folder.0.join("x".repeat(90));
    let cluster = Cluster::start(Options { dir, ..folder.options() }).expect("start");
    assert!(cluster.socket_dir().as_os_str().len() < 80, "{}", cluster.socket_dir().display());
    let socket = cluster.socket_dir().to_path_buf();
    cluster.stop(Stop::Fast).expect("stop");
    let _ = fs::remove_dir_all(socket);
}

#[test]
fn a_wrong_setting_is_reported_in_the_servers_words() {
    let folder = Folder::new("setting");
    let settings = vec![("no_such_setting".to_owned(), "1".to_owned())];
    let error = Cluster::start(Options { settings, ..folder.options() }).expect_err("refused");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[test]
fn an_unreachable_parent_is_named() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let folder = Folder::new("closed");
    fs::create_dir_all(&folder.0).expect("folder");
    if fs::metadata(&folder.0).expect("metadata").uid() != 0 {
        return; // only root drops to another user
    }
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).expect("mode");
    let error =
        Cluster::start(Options { dir: folder.0.join("inner"), ..folder.options() }).expect_err("refused");
    assert!(error.to_string().contains("chmod o+x"), "{error}");
}
