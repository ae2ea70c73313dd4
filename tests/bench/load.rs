//! The callers: connections that are kept open, requests that are made before the clock starts, and nothing else, since
//! the callers share the machine's cores with what they measure.
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// What all requests of a run have in common.
#[derive(Clone, Debug)]
pub struct Template {
    addr: SocketAddr,
    method: Method,
    headers: HeaderMap,
    status: u16,
    /// What the body of each answer must hold.
    holds: &'static [u8],
}

impl Template {
    /// A GET that must be answered with 200.
    pub fn get(addr: SocketAddr) -> Template {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, value(&addr.to_string()));
        Template { addr, method: Method::GET, headers, status: 200, holds: b"" }
    }
    /// A POST of JSON.
    pub fn post(addr: SocketAddr, status: u16, holds: &'static [u8]) -> Template {
        let mut template = Template { method: Method::POST, status, holds, ..Template::get(addr) };
        template.headers.insert(header::CONTENT_TYPE, value("application/json"));
        template
    }
    /// A PUT of JSON that must be answered with 200.
    pub fn put(addr: SocketAddr) -> Template {
        Template { method: Method::PUT, ..Template::post(addr, 200, b"") }
    }
    #[must_use]
    pub fn header(mut self, name: &str, text: &str) -> Template {
        self.headers.insert(name.parse::<HeaderName>().expect("a header's name"), value(text));
        self
    }
    #[must_use]
    pub fn token(self, token: &str) -> Template {
        self.header("authorization", &format!("Bearer {token}"))
    }

    fn request(&self, shot: Shot) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(shot.body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = shot.target;
        *request.headers_mut() = self.headers.clone();
        request
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a header's value")
}

/// One request.
#[derive(Clone, Debug)]
pub struct Shot {
    target: Uri,
    body: Bytes,
}

impl Shot {
    pub fn get(target: &str) -> Shot {
        Shot { target: target.parse().expect("a path"), body: Bytes::new() }
    }
    pub fn post(target: &Uri, body: impl Into<Bytes>) -> Shot {
        Shot { target: target.clone(), body: body.into() }
    }
}

/// The requests of one caller, in order.
pub type Shots = Box<dyn Iterator<Item = Shot> + Send>;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Run {
    elapsed: Duration,
    /// Sorted, in microseconds.
    latencies: Vec<u32>,
}

impl Run {
    pub fn of(elapsed: Duration, mut latencies: Vec<u32>) -> Run {
        latencies.sort_unstable();
        Run { elapsed, latencies }
    }
    pub fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
    /// The time that `percent` of the requests stayed under, in milliseconds.
    pub fn within_ms(&self, percent: usize) -> f64 {
        let place = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(place).map_or(f64::NAN, |us| f64::from(*us) / 1000.0)
    }
}

/// Each caller sends its requests one after the other on one connection, to their end or until `length` is over.
pub async fn run(template: &Template, callers: Vec<Shots>, length: Option<Duration>) -> Run {
    let mut connections = Vec::with_capacity(callers.len());
    for shots in callers {
        connections.push((connect(template.addr).await, shots));
    }
    let start = Instant::now();
    let end = length.map(|length| start + length);
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|(sender, shots)| tokio::spawn(caller(template.clone(), sender, shots, end)))
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a caller"));
    }
    Run::of(start.elapsed(), latencies)
}

async fn connect(addr: SocketAddr) -> SendRequest<Full<Bytes>> {
    let socket = TcpStream::connect(addr).await.expect("the server listens");
    socket.set_nodelay(true).expect("a socket");
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.expect("a connection");
    tokio::spawn(connection);
    sender
}

async fn caller(
    template: Template,
    mut sender: SendRequest<Full<Bytes>>,
    shots: Shots,
    end: Option<Instant>,
) -> Vec<u32> {
    let mut latencies = Vec::with_capacity(1 << 14);
    for shot in shots {
        let sent = Instant::now();
        if end.is_some_and(|end| end <= sent) {
            break;
        }
        send(&template, &mut sender, shot).await;
        latencies.push(microseconds(sent.elapsed()));
    }
    latencies
}

/// A time as it is kept.
pub fn microseconds(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

async fn send(template: &Template, sender: &mut SendRequest<Full<Bytes>>, shot: Shot) -> Bytes {
    sender.ready().await.expect("the connection stays open");
    let response = sender.send_request(template.request(shot)).await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
    let is_right = status == template.status
        && (template.holds.is_empty() || body.windows(template.holds.len()).any(|w| w == template.holds));
    assert!(is_right, "the answer is {status}: {}", String::from_utf8_lossy(&body));
    body
}

/// One request on a connection of its own; answers the body.
pub async fn once(template: &Template, shot: Shot) -> Bytes {
    let mut sender = connect(template.addr).await;
    send(template, &mut sender, shot).await
}
