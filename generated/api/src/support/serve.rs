//! The listener: accepts connections until it is told to stop, then lets what runs end.
use super::edge::Edge;
use super::front::Front;
use super::{Api, ApiError, App, Body, PlainRoute, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use slog::Logger;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

/// A server that accepts connections.
pub struct Running {
    addr: SocketAddr,
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Running {
    /// Where it listens; with port 0 asked for, the port that it got.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes no new connection, and waits at most so long for running requests. Those that still run are dropped.
    pub async fn stop(self, grace: Duration) {
        let _ = self.stop.send(grace);
        let _ = self.task.await;
    }
}

/// Starts a server and leaves it running.
pub async fn start(
    api: Api,
    app: App,
    plain: Vec<PlainRoute>,
    bind: SocketAddr,
    log: Logger,
) -> Result<Running, String> {
    let listener = TcpListener::bind(bind).await.map_err(|e| format!("{bind}: {e}"))?;
    let addr = listener.local_addr().map_err(|e| e.to_string())?;
    let front = Arc::new(Front::new(api, app, plain, log.clone()).await?);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(accept(listener, front, log, stopped));
    Ok(Running { addr, stop, task })
}

async fn accept(
    listener: TcpListener,
    front: Arc<Front>,
    log: Logger,
    mut stopped: oneshot::Receiver<Duration>,
) {
    let config = front.app().config.clone();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(config.header_timeout);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(config.header_timeout);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
    // every request holds a sender: when all are gone, nothing runs
    let (running, mut done) = mpsc::channel::<Infallible>(1);
    let grace = loop {
        let place = tokio::select! {
            grace = &mut stopped => break grace,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let (socket, remote) = tokio::select! {
            grace = &mut stopped => break grace,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    // out of file descriptors, most likely: wait for some to be free
                    slog::warn!(log, "no connection accepted"; "error" => %e);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let _ = socket.set_nodelay(true);
        let (front, running) = (Arc::clone(&front), running.clone());
        let service =
            service_fn(move |request| request_handled(Arc::clone(&front), running.clone(), remote, request));
        let connection = builder.serve_connection(TokioIo::new(Edge::new(socket)), service);
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            let _ = connection.await;
            drop(place);
        });
    };
    drop(listener);
    drop(running);
    let ends = async {
        graceful.shutdown().await;
        done.recv().await;
    };
    // without a grace the handle was dropped: nobody waits
    let grace = grace.unwrap_or_default();
    if tokio::time::timeout(grace, ends).await.is_err() {
        slog::warn!(log, "requests were still running when the server stopped");
    }
}

/// In a task of its own: a caller who leaves does not stop what was begun.
async fn request_handled(
    front: Arc<Front>,
    running: mpsc::Sender<Infallible>,
    remote: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Result<Response, Infallible> {
    let task = tokio::spawn(async move {
        let response = front.handle(request.map(Body::wrap), remote).await;
        drop(running);
        response
    });
    Ok(task.await.unwrap_or_else(|_| {
        let id = format!("req_{}", uuid::Uuid::now_v7().simple());
        let mut response = ApiError::internal("the front panicked").response(&id);
        if let Ok(v) = http::HeaderValue::from_str(&id) {
            response.headers_mut().insert("x-request-id", v);
        }
        response
    }))
}
