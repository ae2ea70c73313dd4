//! A private PostgreSQL cluster for development and tests: find the binaries, drop root, `initdb`, start on a unix
//! socket, wait until it is ready, stop.
//!
//! It owns the processes and the folder of one cluster, nothing inside the databases. It exists so that a fresh checkout
//! runs with one command: no service to set up, no password, no port. Whoever may enter the socket's folder (mode 0700)
//! may log in as anybody, which is why such a cluster never listens on the network.
//!
//! Choices that are easy to undo by accident:
//! - PostgreSQL refuses to run as root, so as root both `initdb` and the server run as `postgres`, or `nobody` when there
//!   is no such user (`initdb` insists that the uid has a name). Every parent of the folder must then let that user pass.
//! - `PR_SET_PDEATHSIG` fires when the *thread* that spawned the child ends, and pools end idle threads: each cluster
//!   has a keeper thread of its own, which spawns the server and then waits for it.
//! - The server gets a process group of its own: Ctrl-C in a terminal goes to the whole foreground group, and the
//!   database must outlive the program that still writes its last rows.
#![warn(missing_docs)]

mod binaries;
mod cluster;
mod error;
mod place;

pub use binaries::{Binaries, find};
pub use cluster::{Cluster, Durability, Options, Stop};
pub use error::Error;
