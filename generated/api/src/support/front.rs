//! Every request passes here: it gets an id, is looked up, run and finished.
use super::context::Seed;
use super::finish::{Asked, finish};
use super::params::{decode, rest};
use super::{Api, ApiError, App, Body, Cx, Request, Response};
use dropshot::{HttpError, RequestEndpointMetadata, RequestInfo};
use futures::future::BoxFuture;
use http::{HeaderValue, Method, StatusCode, header};
use scaicontrol_types::ErrorCode;
use slog::Logger;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Instant;

/// A page or a tool outside the specification.
pub type Plain = fn(Cx, Request) -> BoxFuture<'static, Result<Response, ApiError>>;

/// Where such a page is; a path that ends in `/*` has everything under it.
pub struct PlainRoute {
    pub method: Method,
    pub path: &'static str,
    /// Name in metrics and log.
    pub name: &'static str,
    pub run: Plain,
}

impl PlainRoute {
    fn matches(&self, path: &str) -> bool {
        match self.path.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == self.path,
        }
    }
}

type Handler = Box<dyn FnOnce(Cx, Request) -> BoxFuture<'static, Response> + Send>;
type Lookup =
    Box<dyn Fn(&Method, &str) -> Result<(RequestEndpointMetadata, Handler), HttpError> + Send + Sync>;

pub(super) struct Front {
    seed: Seed,
    layers: Vec<Lookup>,
    plain: Vec<PlainRoute>,
    log: Logger,
}

/// `req_` and a UUIDv7, so that ids sort by time.
fn new_request_id() -> String {
    format!("req_{}", uuid::Uuid::now_v7().simple())
}

enum Found {
    Operation(RequestEndpointMetadata, Handler),
    Plain(&'static str, Plain),
    Preflight(String),
}

impl Front {
    pub(super) async fn new(api: Api, app: App, plain: Vec<PlainRoute>, log: Logger) -> Result<Self, String> {
        let mut layers: Vec<Lookup> = Vec::new();
        for description in api.into_layers()? {
            let router = description.into_router();
            layers.push(Box::new(move |method, path| {
                let found = router.lookup_route(method, path.into(), None)?;
                let handler: Handler = Box::new(move |rqctx, request| {
                    Box::pin(async move {
                        let id = rqctx.request_id.clone();
                        match found.handler.handle_request(rqctx, request).await {
                            Ok(response) => response,
                            // the one handler type has no other failure than one of dropshot's own
                            Err(_) => ApiError::internal("dropshot").response(&id),
                        }
                    })
                });
                Ok((found.endpoint, handler))
            }));
        }
        Ok(Self { seed: Seed::new(app).await?, layers, plain, log })
    }

    pub(super) fn app(&self) -> &App {
        self.seed.app()
    }

    pub(super) async fn handle(&self, request: Request, remote: SocketAddr) -> Response {
        let start = Instant::now();
        let id = new_request_id();
        let asked = Asked::of(&request, &self.app().config);
        let method = request.method().clone();
        let (operation, response) = match self.find(&request) {
            Err(e) => ("none", e.response(&id)),
            Ok(Found::Preflight(allow)) => ("none", preflight(&allow)),
            Ok(Found::Operation(endpoint, handler)) => {
                let name = super::api::operation(&endpoint.operation_id).map_or("none", |o| o.id);
                let rqctx = self.context(endpoint, &id, &request, remote);
                (name, handler(rqctx, request).await)
            }
            Ok(Found::Plain(name, run)) => {
                let endpoint = RequestEndpointMetadata {
                    operation_id: name.into(),
                    variables: Default::default(),
                    body_content_type: dropshot::ApiEndpointBodyContentType::Json,
                    request_body_max_bytes: None,
                };
                let rqctx = self.context(endpoint, &id, &request, remote);
                let deadline = self.app().config.request_deadline;
                let work =
                    futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(run(rqctx, request)));
                let response = match tokio::time::timeout(deadline, work).await {
                    Ok(Ok(Ok(response))) => response,
                    Ok(Ok(Err(e))) => e.response(&id),
                    Ok(Err(_)) => ApiError::internal("panic").response(&id),
                    Err(_) => ApiError::unavailable("the request took too long", 5).response(&id),
                };
                (name, response)
            }
        };
        let response = finish(response, &asked, &id).await;
        let (status, elapsed) = (response.status().as_u16(), start.elapsed());
        self.app().observe.request(operation, status, elapsed);
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        // no path (it holds ids), no query, no header: an operation and an id find the rest
        slog::info!(self.log, "request"; "operation" => operation, "method" => method.as_str(), "status" => status,
            "ms" => ms, "request_id" => id);
        response
    }

    fn context(
        &self,
        endpoint: RequestEndpointMetadata,
        id: &str,
        request: &Request,
        remote: SocketAddr,
    ) -> Cx {
        let log = self.log.new(slog::o!("request_id" => id.to_string()));
        self.seed.context(endpoint, id.to_string(), log, RequestInfo::new(request, remote))
    }

    fn find(&self, request: &Request) -> Result<Found, ApiError> {
        let path = request.uri().path();
        let method = request.method();
        if !path.starts_with('/') {
            return Err(ApiError::bad_request("the path must start with /"));
        }
        // The rest of a path is one variable, whatever is in it: what is asked of the routers has a plain word there.
        let path = taking_the_rest(path).unwrap_or(path);
        if path.split('/').any(|segment| decode(segment, false).is_none()) {
            return Err(ApiError::bad_request("the path has a malformed %-encoding, or is not UTF-8"));
        }
        let wanted = match method.as_str() {
            "HEAD" => Method::GET,
            // methods are case-sensitive, the router is not: one that nobody has
            m if m.bytes().any(|b| b.is_ascii_lowercase()) => Method::TRACE,
            _ => method.clone(),
        };
        let mut allow: Vec<String> = Vec::new();
        let mut refused = false;
        for route in self.plain.iter().filter(|r| r.matches(path)) {
            if route.method == wanted {
                return Ok(Found::Plain(route.name, route.run));
            }
            refused = true;
            allow.push(route.method.to_string());
        }
        if !refused {
            for layer in &self.layers {
                match layer(&wanted, path) {
                    Ok((endpoint, handler)) => return Ok(Found::Operation(endpoint, handler)),
                    Err(e) if e.status_code.as_u16() == 404 => {}
                    Err(e) if e.status_code.as_u16() == 405 => {
                        let named = e.headers.iter().flat_map(|h| h.get_all(header::ALLOW));
                        allow.extend(named.filter_map(|v| v.to_str().ok()).map(str::to_string));
                        refused = true;
                        break;
                    }
                    Err(e) => return Err(e.into()),
                }
            }
        }
        if !refused {
            return Err(ApiError::new(ErrorCode::NotFound, "there is nothing at this path"));
        }
        if allow.iter().any(|m| m == "GET") {
            allow.push("HEAD".into());
        }
        allow.push("OPTIONS".into());
        allow.sort();
        allow.dedup();
        let allow = allow.join(", ");
        if method == Method::OPTIONS {
            Ok(Found::Preflight(allow))
        } else {
            Err(ApiError::method_not_allowed(&allow))
        }
    }
}

/// The template of the operation that takes everything under its prefix, when the path is under one.
fn taking_the_rest(path: &str) -> Option<&'static str> {
    static ALL: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
        let all = crate::operations::OPERATIONS.iter();
        all.filter_map(|o| Some((rest(o)?.0, o.path))).collect()
    });
    let mut under = ALL.iter().filter(|(prefix, _)| path.len() > prefix.len() && path.starts_with(prefix));
    under.next().map(|(_, template)| *template)
}

/// The answer to OPTIONS; what belongs to CORS is added when it is finished.
fn preflight(allow: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(v) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, v);
    }
    response
}
