//! `cargo xtask peers`: the tests that need servers of others' making, which come as Python packages.
//!
//! An S3 service (moto) for the object store and a mail server (aiosmtpd) for the outbox. Each is started on a free port;
//! the tests learn where from a variable, and say that they are skipped without it.
use crate::{python, test};
use anyhow::{Context, Result, bail};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PACKAGES: [&str; 2] = ["moto[server]==5.2.5", "aiosmtpd==1.4.6"];
const TESTS: [&str; 2] = ["a_bucket_keeps_files", "a_real_mail_server_takes_a_mail"];
const START_WITHIN: Duration = Duration::from_secs(60);

pub fn peers(root: &Path) -> Result<()> {
    let bin = python::environment(root, "peers", &PACKAGES)?;
    let (s3, smtp) = (free_port()?, free_port()?);
    let port = s3.to_string();
    let _s3 = Peer::start(Command::new(bin.join("moto_server")).args(["-H", "127.0.0.1", "-p", &port]), s3)?;
    let address = format!("127.0.0.1:{smtp}");
    let mut aiosmtpd = Command::new(bin.join("python"));
    aiosmtpd.args(["-m", "aiosmtpd", "-n", "-l", &address, "-c", "aiosmtpd.handlers.Sink"]);
    let _smtp = Peer::start(&mut aiosmtpd, smtp)?;
    let places = [
        ("SCAICONTROL_TEST_S3", format!("http://127.0.0.1:{s3}")),
        ("SCAICONTROL_TEST_SMTP", smtp.to_string()),
    ];
    if test::some(root, &TESTS, &places)? { Ok(()) } else { bail!("tests failed") }
}

/// Asks for a port and gives it back: the server is told which to take.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A server that ends with its value.
struct Peer(Child);

impl Peer {
    fn start(command: &mut Command, port: u16) -> Result<Peer> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("{command:?} does not start"))?;
        let mut peer = Peer(child);
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = peer.0.try_wait()? {
                bail!("{command:?}: {status}");
            }
            if begin.elapsed() > START_WITHIN {
                bail!("{command:?} does not answer within {START_WITHIN:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
