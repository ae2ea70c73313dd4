//! What the generated operations lean on, written by hand.
//!
//! A request goes through it in this order: [`start`] accepts the connection, `front` gives the request an id, looks it
//! up and finishes the answer (headers, compression, log line), [`Api`] holds what is registered, and the generated
//! endpoint takes the caller ([`Auth`]), the parameters ([`PathParams`], [`QueryParams`], [`HeaderParams`]) and the body
//! ([`Json`], [`RawBody`], [`Multipart`]) one after the other. Every failure on the way is an [`ApiError`], which is the
//! one error envelope.
mod api;
mod auth;
mod body;
mod context;
mod edge;
mod error;
mod finish;
mod front;
mod params;
mod respond;
mod serve;

pub use api::{Answer, Api, Run, describe};
pub use auth::{
    Auth, Authenticator, CallerLevel, IdempotencyKey, IdempotencyRequest, Permission, Principal, idempotency,
};
pub use body::{Json, Multipart, RawBody, Shape};
pub use dropshot::{
    Body, HttpResponseAccepted as R202, HttpResponseCreated as R201, HttpResponseDeleted as R204,
    HttpResponseOk as R200, RequestContext,
};
pub use error::ApiError;
pub use front::{Plain, PlainRoute};
pub use params::{
    HeaderParams, Parameters, PathParams, QueryParams, Reader, default_bool, default_i32, default_i64,
    no_query,
};
pub use respond::{Download, respond};
pub use serve::{Running, start};

use std::any::Any;
use std::time::Duration;

/// What a handler is called with: request id, log, headers, and the [`App`].
pub type Cx = RequestContext<App>;
pub type Request = hyper::Request<Body>;
pub type Response = http::Response<Body>;

/// What every request can reach.
pub struct App {
    pub auth: Box<dyn Authenticator>,
    pub observe: Box<dyn Observe>,
    pub config: FrontConfig,
    /// The server's own state; the server crate knows its type.
    pub state: Box<dyn Any + Send + Sync>,
}

#[derive(Clone, Debug)]
pub struct FrontConfig {
    /// Origins of browser applications that may call, as browsers write them (`https://app.example.com`).
    pub cors_origins: Vec<String>,
    /// A handler that has not answered by then is stopped: 503.
    pub request_deadline: Duration,
    /// Connections at a time; more wait until one ends.
    pub max_connections: usize,
    /// Time for the head of a request to arrive, and for an idle connection to send the next one.
    pub header_timeout: Duration,
}

impl Default for FrontConfig {
    fn default() -> Self {
        Self {
            cors_origins: Vec::new(),
            request_deadline: Duration::from_secs(30),
            max_connections: 10_000,
            header_timeout: Duration::from_secs(60),
        }
    }
}

/// Who counts requests.
pub trait Observe: Send + Sync {
    /// Once for each request; `operation` is `none` when the request had no route.
    fn request(&self, operation: &'static str, status: u16, elapsed: Duration);
}

impl Observe for () {
    fn request(&self, _: &'static str, _: u16, _: Duration) {}
}

/// Who may call an operation at all (`x-level`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Public,
    Tenant,
    TenantOrService,
    Partner,
    Platform,
    Service,
}

/// What the specification says of an operation beside its types.
#[derive(Debug)]
pub struct Operation {
    pub id: &'static str,
    pub group: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    pub level: Level,
    /// A scope, `any` (every caller of the level), `any_admin` (any scope that starts with `admin:`) or `none` (public).
    pub permission: &'static str,
    /// It takes an `Idempotency-Key`.
    pub idempotent: bool,
    /// It leaves an entry in the audit log.
    pub audit: bool,
    pub max_body_bytes: usize,
    /// The setting that opens it to callers without a token.
    pub public_when: Option<&'static str>,
    /// The last variable is everything that follows in the path, slashes included and however it is written.
    pub path_rest: bool,
    /// The variables of the path, in their order.
    pub path_params: &'static [&'static str],
    /// The status of its success.
    pub success: u16,
}
