//! Request contexts of dropshot's, made for requests that dropshot itself has not seen.
//!
//! dropshot's own server answers malformed paths and unknown methods by itself, puts its own id into `x-request-id` and
//! lets hyper answer what does not parse: none of it has our envelope, and there is no hook. So connections are accepted
//! by [`super::serve`], and only routers, handlers and extractors are dropshot's. A handler needs a
//! [`dropshot::RequestContext`], whose server state only dropshot can make: a server of dropshot's is started on a
//! loopback port, asked once, and stopped; the context that its one handler was called with is the [`Seed`] of all others.
use super::{App, Cx};
use dropshot::{
    ApiDescription, ApiEndpoint, ApiEndpointVersions, ConfigDropshot, HttpError, HttpResponseOk, Method,
    RequestEndpointMetadata, RequestInfo, ServerBuilder,
};
use slog::Logger;
use std::mem::{MaybeUninit, size_of};
use std::ptr::addr_of_mut;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;

pub(super) struct Seed(Cx);

impl Seed {
    pub(super) async fn new(app: App) -> Result<Self, String> {
        let (send, receive) = tokio::sync::oneshot::channel::<Cx>();
        let send = Arc::new(Mutex::new(Some(send)));
        let handler = move |rqctx: Cx| {
            let send = Arc::clone(&send);
            async move {
                if let Some(send) = send.lock().ok().and_then(|mut s| s.take()) {
                    let _ = send.send(rqctx);
                }
                Ok::<_, HttpError>(HttpResponseOk(()))
            }
        };
        let mut api = ApiDescription::new();
        let endpoint = ApiEndpoint::new(
            "seed".into(),
            handler,
            Method::GET,
            "application/json",
            "/seed",
            ApiEndpointVersions::All,
        );
        api.register(endpoint).map_err(|e| e.to_string())?;
        let config = ConfigDropshot {
            bind_address: ([127, 0, 0, 1], 0).into(),
            default_request_body_max_bytes: crate::operations::DEFAULT_MAX_BODY_BYTES,
            ..Default::default()
        };
        let quiet = Logger::root(slog::Discard, slog::o!());
        let server = ServerBuilder::new(api, app, quiet).config(config).start().map_err(|e| e.to_string())?;
        let mut socket =
            tokio::net::TcpStream::connect(server.local_addr()).await.map_err(|e| e.to_string())?;
        socket
            .write_all(b"GET /seed HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await
            .map_err(|e| e.to_string())?;
        let seed = receive.await.map_err(|e| e.to_string())?;
        // dropped, not closed: closing would wait for the state that is kept here
        drop(server);
        Ok(Self(seed))
    }

    pub(super) fn app(&self) -> &App {
        self.0.context()
    }

    pub(super) fn context(
        &self,
        endpoint: RequestEndpointMetadata,
        request_id: String,
        log: Logger,
        request: RequestInfo,
    ) -> Cx {
        // The struct is `non_exhaustive`, so it cannot be written as a literal here. A field more would make it larger.
        const {
            assert!(
                size_of::<Cx>()
                    == size_of::<Arc<()>>()
                        + size_of::<RequestEndpointMetadata>()
                        + size_of::<String>()
                        + size_of::<Logger>()
                        + size_of::<RequestInfo>(),
                "dropshot::RequestContext has other fields than the five that are written here"
            );
        }
        let mut made = MaybeUninit::<Cx>::uninit();
        let p = made.as_mut_ptr();
        // SAFETY: `p` points to memory for a `Cx`; each of its five fields (all are public, and the assertion above
        // holds that there is no other) is written once, with a value of its type, before `assume_init`.
        #[expect(unsafe_code, reason = "see above; the version of dropshot is pinned")]
        unsafe {
            addr_of_mut!((*p).server).write(Arc::clone(&self.0.server));
            addr_of_mut!((*p).endpoint).write(endpoint);
            addr_of_mut!((*p).request_id).write(request_id);
            addr_of_mut!((*p).log).write(log);
            addr_of_mut!((*p).request).write(request);
            made.assume_init()
        }
    }
}
