//! What is registered: operations with what runs them.
use super::{ApiError, App, Cx, Operation, Request, Response};
use dropshot::{
    ApiDescription, ApiEndpoint, ApiEndpointVersions, HttpError, Method, RawRequest, StubContext,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// What a handler gives back, in a box: the one thing that depends on the implementation.
pub type Answer<R> = BoxFuture<'static, Result<R, ApiError>>;
/// An operation as it is run.
pub type Run = Box<dyn Fn(Cx, Request) -> BoxFuture<'static, Result<Response, ApiError>> + Send + Sync>;

/// What dropshot must know of an operation: the tuple of its extractors and its answer.
#[doc(hidden)]
#[macro_export]
macro_rules! describe {
    ($method:ident, $content:literal, ($($arg:ty),*), $answer:ty) => {
        dropshot::ApiEndpoint::new_for_types::<($($arg,)*), Result<$answer, ApiError>>(
            String::new(), dropshot::Method::$method, $content, "/", dropshot::ApiEndpointVersions::All,
        )
    };
}
pub use describe;

/// The table entry of an operation.
pub(super) fn operation(id: &str) -> Option<&'static Operation> {
    let all = crate::operations::OPERATIONS;
    all.binary_search_by(|o| o.id.cmp(id)).ok().and_then(|i| all.get(i)).copied()
}

/// The operations of a server. Fill it with the `register` of each group and give it to [`super::start`].
#[derive(Default)]
pub struct Api {
    endpoints: Vec<ApiEndpoint<App>>,
}

impl Api {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an operation: what it says of itself comes from its types, what it does from `run`. All operations have one
    /// and the same type of handler, so that nothing of dropshot is compiled once for each.
    pub fn add(&mut self, operation: &'static Operation, said: ApiEndpoint<StubContext>, run: Run) {
        let run = Arc::new(run);
        let handler = move |rqctx: Cx, raw: RawRequest| {
            let run = Arc::clone(&run);
            async move { Ok::<Response, HttpError>(answer(operation, rqctx, raw.into_inner(), &run).await) }
        };
        let method = Method::from_bytes(operation.method.as_bytes()).unwrap_or(Method::GET);
        let mut endpoint = ApiEndpoint::new(
            operation.id.to_string(),
            handler,
            method,
            "application/json",
            operation.path,
            ApiEndpointVersions::All,
        );
        endpoint.parameters = said.parameters;
        endpoint.body_content_type = said.body_content_type;
        endpoint.request_body_max_bytes = Some(operation.max_body_bytes);
        endpoint.response = said.response;
        endpoint.error = said.error;
        endpoint.summary = said.summary;
        endpoint.tags = vec![operation.group.to_string()];
        endpoint.extension_mode = said.extension_mode;
        endpoint.deprecated = said.deprecated;
        self.endpoints.push(endpoint);
    }

    /// Ids of what is registered.
    pub fn operation_ids(&self) -> Vec<&str> {
        self.endpoints.iter().map(|e| e.operation_id.as_str()).collect()
    }

    /// dropshot's router has literals or a variable at one place of a path, not both. So there are as many routers as
    /// are needed (in practice two), asked one after the other; literals come first, so that they win.
    pub(super) fn into_layers(self) -> Result<Vec<ApiDescription<App>>, String> {
        let mut endpoints = self.endpoints;
        endpoints.sort_by_key(|e| {
            let segments: Vec<(bool, String)> =
                e.path.split('/').map(|s| (s.starts_with('{'), s.to_string())).collect();
            (segments, e.method.to_string())
        });
        let mut layers: Vec<(ApiDescription<App>, BTreeMap<String, bool>)> = Vec::new();
        for e in endpoints {
            let places = places(&e.path);
            let fits = |taken: &BTreeMap<String, bool>| {
                places.iter().all(|(place, variable)| taken.get(place).is_none_or(|t| t == variable))
            };
            let at = match layers.iter().position(|(_, taken)| fits(taken)) {
                Some(at) => at,
                None => {
                    layers.push((ApiDescription::new(), BTreeMap::new()));
                    layers.len() - 1
                }
            };
            let (description, taken) = &mut layers[at];
            taken.extend(places);
            description.register(e).map_err(|e| e.to_string())?;
        }
        Ok(layers.into_iter().map(|(d, _)| d).collect())
    }

    /// The OpenAPI document as dropshot makes it of the registered operations: the other side of the contract test.
    pub fn document(self, title: &str) -> Result<Value, String> {
        let mut out = Value::Object(Map::new());
        for layer in self.into_layers()? {
            let part =
                layer.openapi(title, semver::Version::new(1, 0, 0)).json().map_err(|e| e.to_string())?;
            merge(&mut out, part);
        }
        Ok(out)
    }
}

/// Each place of a path, and whether a variable stands there.
fn places(path: &str) -> Vec<(String, bool)> {
    let mut prefix = String::new();
    let mut out = Vec::new();
    for segment in path.split('/').skip(1) {
        out.push((prefix.clone(), segment.starts_with('{')));
        prefix.push('/');
        prefix.push_str(segment);
    }
    out
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(a), Value::Object(b)) => {
            for (k, v) in b {
                merge(a.entry(k).or_insert(Value::Null), v);
            }
        }
        (a, b) => *a = b,
    }
}

/// Around every operation: its deadline, a panic, and the error as the envelope.
async fn answer(operation: &'static Operation, rqctx: Cx, request: Request, run: &Run) -> Response {
    let (id, log) = (rqctx.request_id.clone(), rqctx.log.clone());
    let deadline = rqctx.context().config.request_deadline;
    let work = AssertUnwindSafe(async { run(rqctx, request).await }).catch_unwind();
    let error = match tokio::time::timeout(deadline, work).await {
        Ok(Ok(Ok(response))) => return response,
        Ok(Ok(Err(e))) => e,
        Ok(Err(panic)) => {
            let what = panic
                .downcast_ref::<&str>()
                .map(ToString::to_string)
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            ApiError::internal(format!("panic: {what}"))
        }
        Err(_) => ApiError::unavailable("the request took too long", 5),
    };
    if let Some(detail) = error.internal_detail() {
        if error.status() >= 500 {
            slog::error!(log, "operation failed"; "operation" => operation.id, "code" => %error.code(), "detail" => detail);
        } else {
            slog::debug!(log, "operation refused"; "operation" => operation.id, "code" => %error.code(), "detail" => detail);
        }
    }
    error.response(&id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{Level, R200};

    static OPERATIONS: [Operation; 4] = [
        of("a", "GET", "/things/{id}"),
        of("b", "GET", "/things/{id}/parts"),
        of("c", "POST", "/things/preview"),
        of("d", "GET", "/things"),
    ];

    const fn of(id: &'static str, method: &'static str, path: &'static str) -> Operation {
        Operation {
            id,
            group: "g",
            method,
            path,
            level: Level::Public,
            permission: "none",
            idempotent: false,
            audit: false,
            max_body_bytes: 10,
            public_when: None,
            path_rest: false,
            path_params: &[],
            success: 200,
        }
    }

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Id {
        id: String,
    }

    /// `/things/{id}` and `/things/preview` would make dropshot's router panic.
    #[test]
    fn a_literal_beside_a_variable() {
        let mut api = Api::new();
        for o in &OPERATIONS {
            let run: Run = Box::new(|_, _| Box::pin(async { Err(ApiError::conflict("")) }));
            if o.path.contains('{') {
                api.add(o, describe!(GET, "application/json", (dropshot::Path<Id>), R200<String>), run);
            } else {
                api.add(o, describe!(GET, "application/json", (), R200<String>), run);
            }
        }
        let routers: Vec<_> =
            api.into_layers().unwrap().into_iter().map(ApiDescription::into_router).collect();
        assert_eq!(routers.len(), 2);
        let find = |method: &Method, path: &str| {
            routers
                .iter()
                .find_map(|r| r.lookup_route(method, path.into(), None).ok())
                .map(|f| f.endpoint.operation_id)
        };
        assert_eq!(find(&Method::POST, "/things/preview").as_deref(), Some("c"));
        assert_eq!(find(&Method::GET, "/things/x").as_deref(), Some("a"));
        assert_eq!(find(&Method::GET, "/things/x/parts").as_deref(), Some("b"));
        assert_eq!(find(&Method::GET, "/things").as_deref(), Some("d"));
        assert_eq!(find(&Method::GET, "/other"), None);
    }
}
