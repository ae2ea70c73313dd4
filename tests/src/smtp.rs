//! A mail server that does as the test says, one step for each message, and keeps what it was given.
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What is done with the next message.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// It is taken.
    Take,
    /// The receiver is answered with this line.
    Receiver(&'static str),
    /// The message is read, and answered with this line.
    Message(&'static str),
    /// The message is read, and the connection is closed without an answer.
    Close,
    /// The message is read, and taken after so long.
    Slow(Duration),
    /// Nothing is answered to the receiver any more.
    Silence,
}

/// A message that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// `MAIL FROM`.
    pub from: String,
    /// `RCPT TO`.
    pub to: String,
    /// Header and body as they came, dots unstuffed.
    pub message: String,
}

#[derive(Debug, Default)]
struct Shared {
    steps: Mutex<VecDeque<Step>>,
    received: Mutex<Vec<Received>>,
    login_refused: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Smtp {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Smtp {
    /// Begins to answer on a free port; what no step is left for is taken.
    pub async fn start(steps: impl IntoIterator<Item = Step>) -> Smtp {
        Smtp::with(Shared { steps: Mutex::new(steps.into_iter().collect()), ..Shared::default() }).await
    }
    /// One that lets nobody log in.
    pub async fn closed() -> Smtp {
        Smtp::with(Shared { login_refused: true, ..Shared::default() }).await
    }

    async fn with(shared: Shared) -> Smtp {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (addr, shared) = (listener.local_addr().expect("an address"), Arc::new(shared));
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                // A caller that leaves early is no failure of the test.
                tokio::spawn(async move { drop(serve(socket, &shared).await) });
            }
        });
        Smtp { addr, shared }
    }

    /// Its port, as text.
    pub fn port(&self) -> String {
        self.addr.port().to_string()
    }
    /// What it read so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().expect("lock").clone()
    }
}

async fn serve(socket: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let (read, mut write) = socket.into_split();
    let mut lines = BufReader::new(read).lines();
    let (mut from, mut to) = (String::new(), String::new());
    let mut step = Step::Take;
    write.write_all(b"220 fake\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        let reply = match word.as_str() {
            "EHLO" => "250-fake\r\n250-AUTH PLAIN\r\n250 8BITMIME",
            "AUTH" if shared.login_refused => "535 5.7.8 not you",
            "AUTH" => "235 welcome",
            "MAIL" => {
                from = address(&line);
                step = shared.steps.lock().expect("lock").pop_front().unwrap_or(Step::Take);
                "250 ok"
            }
            "RCPT" => {
                to = address(&line);
                match step {
                    Step::Receiver(reply) => reply,
                    Step::Silence => std::future::pending().await,
                    _ => "250 ok",
                }
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await?;
                let mut message = String::new();
                while let Some(line) = lines.next_line().await?.filter(|l| l != ".") {
                    message.push_str(line.strip_prefix('.').unwrap_or(&line));
                    message.push_str("\r\n");
                }
                let received = Received { from: from.clone(), to: to.clone(), message };
                shared.received.lock().expect("lock").push(received);
                match step {
                    Step::Message(reply) => reply,
                    Step::Close => return Ok(()),
                    Step::Slow(time) => {
                        crate::wait::take(time).await;
                        "250 taken at last"
                    }
                    _ => "250 taken",
                }
            }
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        write.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
    Ok(())
}

fn address(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or_else(String::new, |(address, _)| address.to_owned())
}
