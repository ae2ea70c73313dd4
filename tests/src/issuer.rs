//! An issuer of tokens in place of ScaiKey, at an address of its own: the server fetches its keys as it would fetch those
//! of the real one, and a test can count how often.
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use scaicontrol_server::identity::dev_issuer::{DevIssuer, JWKS_PATH};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::net::{TcpListener, TcpStream};

/// See the module.
#[derive(Debug)]
pub struct Issuer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    issuer: DevIssuer,
    fetches: AtomicU32,
    is_down: AtomicBool,
}

impl Issuer {
    /// Begins to answer on a free port.
    pub async fn start() -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let issuer = DevIssuer::generate(&format!("http://{address}"));
        let shared = Arc::new(Shared { issuer, fetches: AtomicU32::new(0), is_down: AtomicBool::new(false) });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&serving)));
            }
        });
        Issuer { shared }
    }

    /// Its address, and `iss` of its tokens.
    pub fn url(&self) -> &str {
        self.shared.issuer.issuer()
    }
    /// What signs.
    pub fn signer(&self) -> &DevIssuer {
        &self.shared.issuer
    }
    /// How often its keys were asked for.
    pub fn fetches(&self) -> u32 {
        self.shared.fetches.load(Ordering::SeqCst)
    }
    /// Answers 503 from now on, or no longer.
    pub fn set_down(&self, down: bool) {
        self.shared.is_down.store(down, Ordering::SeqCst);
    }
}

async fn serve(socket: TcpStream, shared: Arc<Shared>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request.uri().path())) }
    });
    // A caller that leaves early is no failure of the test.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer).await;
}

fn answer(shared: &Shared, path: &str) -> Response<Full<bytes::Bytes>> {
    let mut response = Response::new(Full::default());
    if path != JWKS_PATH {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    if shared.is_down.load(Ordering::SeqCst) {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    }
    *response.body_mut() = Full::new(shared.issuer.jwks().into());
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
