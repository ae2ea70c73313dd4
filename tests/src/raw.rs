//! Requests as anybody may send them, and answers that are held against the specification before a test sees them.
use crate::spec;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use scaicontrol_api::Operation;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request that is being put together; [`Call::send`] sends it.
#[derive(Clone, Debug)]
pub struct Call {
    addr: SocketAddr,
    method: String,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    pub(crate) fn new(addr: SocketAddr, method: &str, target: &str) -> Call {
        Call {
            addr,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// Sends `Authorization: Bearer …`.
    #[must_use]
    pub fn token(self, token: &str) -> Call {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Adds a header; one of the same name stays.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Call {
        let name: HeaderName = name.parse().expect("a header's name");
        self.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header's value"));
        self
    }

    /// Sends JSON.
    #[must_use]
    pub fn json(self, value: &Value) -> Call {
        self.header("content-type", "application/json").bytes(value.to_string())
    }

    /// Sends these bytes, and says nothing of their type.
    #[must_use]
    pub fn bytes(mut self, body: impl Into<Bytes>) -> Call {
        self.body = body.into();
        self
    }

    /// Sends it on a connection of its own and checks the answer.
    pub async fn send(self) -> Answer {
        let said = format!("{} {}", self.method, self.target);
        let method = Method::from_bytes(self.method.as_bytes()).expect("a method");
        let mut request = Request::builder().method(&method).uri(&self.target);
        request = request.header("host", self.addr.to_string());
        let mut request = request.body(Full::new(self.body)).unwrap_or_else(|e| panic!("{said}: {e}"));
        request.headers_mut().extend(self.headers);
        let socket = TcpStream::connect(self.addr).await.unwrap_or_else(|e| panic!("{said}: {e}"));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .unwrap_or_else(|e| panic!("{said}: {e}"));
        tokio::spawn(connection);
        let response = crate::wait::at_most(&said, sender.send_request(request)).await;
        let (head, body) = response.unwrap_or_else(|e| panic!("{said}: {e}")).into_parts();
        let body = body.collect().await.unwrap_or_else(|e| panic!("{said}: {e}")).to_bytes();
        let operation = spec::find(&self.method, &self.target);
        let answer = Answer { said, status: head.status.as_u16(), headers: head.headers, body, operation };
        answer.check(method == Method::HEAD);
        answer
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    said: String,
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body as it came.
    pub body: Bytes,
    /// The operation that answered, if one did.
    pub operation: Option<&'static Operation>,
}

impl Answer {
    /// A header's value; none when it is missing.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().expect("a header is text"))
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{}: {}: no JSON: {e}: {:?}", self.said, self.status, self.body))
    }

    /// The body, of an answer with that status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.said, String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// Fails unless it is a file with that status.
    #[track_caller]
    pub fn expect_bytes(&self, status: u16) {
        assert_eq!(self.status, status, "{}: {}", self.said, String::from_utf8_lossy(&self.body));
        assert!(!self.body.is_empty(), "{}: nothing in it", self.said);
    }

    /// `data` of an answer with that status.
    #[track_caller]
    pub fn data(&self, status: u16) -> Value {
        self.expect(status)["data"].take()
    }

    /// The refusal, of an answer with that status.
    #[track_caller]
    pub fn refused(&self, status: u16) -> Refusal {
        let body = self.expect(status);
        Refusal { said: self.said.clone(), error: body["error"].clone() }
    }

    /// What holds for every answer, whichever test asked.
    fn check(&self, is_head: bool) {
        let request_id = self
            .header("x-request-id")
            .unwrap_or_else(|| panic!("{}: {} without x-request-id", self.said, self.status));
        assert!(request_id.starts_with("req_"), "{}: {request_id}", self.said);
        if is_head {
            assert!(self.body.is_empty(), "{}: HEAD with a body", self.said);
            return;
        }
        let media_type =
            self.header("content-type").map(|t| t.split(';').next().unwrap_or_default().trim().to_owned());
        let is_json =
            media_type.as_deref() == Some("application/json") && self.header("content-encoding").is_none();
        let json = is_json.then(|| self.json());
        if self.status >= 400 {
            let body = json.as_ref().unwrap_or_else(|| {
                panic!("{}: {} without the envelope: {:?}", self.said, self.status, self.body)
            });
            let problems = spec::problems_of("ErrorEnvelope", body);
            assert!(problems.is_empty(), "{}: {}: {problems:?} in {body}", self.said, self.status);
            assert_eq!(body["error"]["request_id"], request_id, "{}: the id in body and header", self.said);
            assert_eq!(body["error"]["code"], code(self.status), "{}: {}", self.said, self.status);
            if self.status == 401 {
                let asks = self.header("www-authenticate").unwrap_or_default();
                assert!(asks.starts_with("Bearer"), "{}: 401 without WWW-Authenticate: Bearer", self.said);
            }
            if self.status == 429 {
                assert!(self.header("retry-after").is_some(), "{}: 429 without Retry-After", self.said);
            }
        }
        if let Some(operation) = self.operation
            && self.status != 405
        {
            let problems = spec::problems(operation, self.status, media_type.as_deref(), json.as_ref());
            assert!(
                problems.is_empty(),
                "{}: {problems:?} in {}",
                self.said,
                String::from_utf8_lossy(&self.body)
            );
        }
    }
}

/// The code that belongs to a status.
fn code(status: u16) -> &'static str {
    match status {
        400 => "bad_request",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        409 => "conflict",
        413 => "payload_too_large",
        415 => "unsupported_media_type",
        429 => "rate_limited",
        500 => "internal_error",
        503 => "service_unavailable",
        414 | 416 | 431 => "bad_request",
        _ => "none",
    }
}

/// The error of a refused request.
#[derive(Clone, Debug)]
pub struct Refusal {
    said: String,
    /// `error` of the envelope.
    pub error: Value,
}

impl Refusal {
    /// Its message.
    pub fn message(&self) -> &str {
        self.error["message"].as_str().unwrap_or_default()
    }

    /// The fields that it names.
    pub fn fields(&self) -> Vec<&str> {
        self.error["details"].as_array().into_iter().flatten().filter_map(|d| d["field"].as_str()).collect()
    }

    /// Fails unless it names that field.
    #[track_caller]
    pub fn names(&self, field: &str) -> &Refusal {
        assert!(self.fields().contains(&field), "{}: {field} is not named in {}", self.said, self.error);
        self
    }

    /// Fails unless the message holds that text.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Refusal {
        assert!(self.message().contains(text), "{}: {text:?} is not in {:?}", self.said, self.message());
        self
    }
}

/// Sends bytes that need not be HTTP and answers what comes back, until the server closes or stops talking.
pub async fn speak(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(addr).await.expect("a connection");
    socket.write_all(bytes).await.expect("sent");
    let mut said = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        loop {
            match socket.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(n) => said.extend_from_slice(&buffer[..n]),
            }
            if is_whole(&said) {
                return;
            }
        }
    };
    crate::wait::at_most("an answer", reading).await;
    String::from_utf8_lossy(&said).into_owned()
}

/// Whether head and body of an answer with a `content-length` are there.
fn is_whole(said: &[u8]) -> bool {
    let text = String::from_utf8_lossy(said);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|l| l.to_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}
