//! Who calls, and the key that makes a retry safe.
use super::{ApiError, App, Cx, Operation};
use async_trait::async_trait;
use dropshot::{
    ApiEndpointBodyContentType, ExtensionMode, ExtractorMetadata, HttpError, RequestContext, ServerContext,
    SharedExtractor,
};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::any::Any;
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::net::IpAddr;

/// Says who the caller is and whether it may call the operation.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// 401 when the caller is unknown, 403 when it may not; otherwise who it is.
    async fn authorize(
        &self,
        headers: &http::HeaderMap,
        address: IpAddr,
        request_id: &str,
        operation: &'static Operation,
    ) -> Result<Principal, ApiError>;
}

/// What the caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallerLevel {
    Public,
    Tenant,
    Partner,
    Platform,
    Service,
}

impl CallerLevel {
    /// As the audit log and the log have it.
    pub fn as_str(self) -> &'static str {
        match self {
            CallerLevel::Public => "public",
            CallerLevel::Tenant => "tenant",
            CallerLevel::Partner => "partner",
            CallerLevel::Platform => "platform",
            CallerLevel::Service => "service",
        }
    }
}

/// A caller whose proof was checked.
#[derive(Clone, Debug)]
pub struct Principal {
    pub level: CallerLevel,
    pub subject: String,
    pub user_id: Option<String>,
    pub tenant_id: Option<String>,
    pub partner_id: Option<String>,
    pub service_slug: Option<String>,
    pub service_id: Option<uuid::Uuid>,
    pub client_id: Option<String>,
    pub email: Option<String>,
    pub display_name: Option<String>,
    pub roles: Vec<String>,
    /// Scopes it may write with.
    pub permissions: BTreeSet<String>,
    /// Scopes it may only read with.
    pub read_permissions: BTreeSet<String>,
}

impl Principal {
    /// Nobody in particular.
    pub fn public() -> Self {
        Self {
            level: CallerLevel::Public,
            subject: String::new(),
            user_id: None,
            tenant_id: None,
            partner_id: None,
            service_slug: None,
            service_id: None,
            client_id: None,
            email: None,
            display_name: None,
            roles: Vec::new(),
            permissions: BTreeSet::new(),
            read_permissions: BTreeSet::new(),
        }
    }
}

/// Ties an operation to a type, so that its permission stands in the signature of its handler.
pub trait Permission: Send + Sync + 'static {
    const OPERATION: &'static Operation;
}

/// A caller that may call the operation. There is no other way to get one than to pass the authenticator.
pub struct Auth<P> {
    pub principal: Principal,
    /// Set when the operation takes a key and the request has one.
    pub idempotency: Option<IdempotencyRequest>,
    pub operation: &'static Operation,
    marker: PhantomData<fn() -> P>,
}

impl<P: Permission> Auth<P> {
    pub async fn take(rqctx: &Cx) -> Result<Self, ApiError> {
        let principal = authorize(rqctx, P::OPERATION).await?;
        Ok(Self { principal, idempotency: None, operation: P::OPERATION, marker: PhantomData })
    }
}

async fn authorize(rqctx: &Cx, operation: &'static Operation) -> Result<Principal, ApiError> {
    let (headers, address) = (rqctx.request.headers(), rqctx.request.remote_addr().ip());
    rqctx.context().auth.authorize(headers, address, &rqctx.request_id, operation).await
}

/// The context of any server is ours: there is one `App`.
pub(super) fn own<C: ServerContext>(rqctx: &RequestContext<C>) -> Result<&RequestContext<App>, ApiError> {
    let any: &dyn Any = rqctx;
    any.downcast_ref().ok_or_else(|| ApiError::internal("the context of the server is not App"))
}

#[async_trait]
impl<P: Permission> SharedExtractor for Auth<P> {
    async fn from_request<C: ServerContext>(rqctx: &RequestContext<C>) -> Result<Self, HttpError> {
        Ok(Self::take(own(rqctx)?).await?)
    }

    fn metadata(_: ApiEndpointBodyContentType) -> ExtractorMetadata {
        ExtractorMetadata { extension_mode: ExtensionMode::None, parameters: vec![] }
    }
}

// ---- the key that makes a retry safe

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const MAX_KEY: usize = 255;

/// A request that may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRequest {
    pub key: String,
    /// SHA-256 of method, path, query and body: another request under the same key has another one.
    pub fingerprint: [u8; 32],
}

/// The key of the request, if it has one.
pub fn idempotency(rqctx: &Cx, body: &[u8]) -> Result<Option<IdempotencyRequest>, ApiError> {
    let mut keys = rqctx.request.headers().get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let bytes = key.as_bytes();
    let fine = (1..=MAX_KEY).contains(&bytes.len()) && bytes.iter().all(|b| (0x20..0x7f).contains(b));
    if !fine || keys.next().is_some() {
        return Err(ApiError::field(
            "Idempotency-Key",
            "must be given once and have 1 to 255 printable ASCII characters",
        ));
    }
    let mut hash = Sha256::new();
    let uri = rqctx.request.uri();
    for part in [rqctx.request.method().as_str(), uri.path(), uri.query().unwrap_or_default()] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(body);
    let key = bytes.iter().map(|b| char::from(*b)).collect();
    Ok(Some(IdempotencyRequest { key, fingerprint: hash.finalize().into() }))
}

/// Says in the document that the operation takes a key; the key itself comes in [`Auth::idempotency`].
pub struct IdempotencyKey;

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct IdempotencyHeaders {
    #[serde(rename = "Idempotency-Key", default)]
    #[schemars(with = "String", length(min = 1, max = 255))]
    key: Option<String>,
}

#[async_trait]
impl SharedExtractor for IdempotencyKey {
    async fn from_request<C: ServerContext>(_: &RequestContext<C>) -> Result<Self, HttpError> {
        Ok(Self)
    }

    fn metadata(t: ApiEndpointBodyContentType) -> ExtractorMetadata {
        <dropshot::Header<IdempotencyHeaders> as SharedExtractor>::metadata(t)
    }
}
