//! Puts the parts of a server together and runs it: the state, the operations, the pages, the listeners.
use crate::api::{Handlers, control};
use crate::app::Control;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::dev::{self, Dev};
use crate::error::{Error, Result};
use crate::gateways::objects::Objects;
use crate::gateways::renderer::Renderer;
use crate::gateways::scaikey::ScaiKey;
use crate::gateways::{mail, vies};
use crate::identity::authenticator::{Gate, Identity};
use crate::identity::jwks::Keys;
use crate::identity::jwt::Expect;
use crate::identity::store::Store;
use crate::metering::Metering;
use crate::observability::{METRICS_TYPE, Metrics};
use crate::op::Ids;
use crate::pages;
use crate::workers;
use async_trait::async_trait;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, header};
use scaicontrol_api::{
    Api, ApiError, App, Authenticator, Cx, FrontConfig, Operation, PlainRoute, Principal, Request, Response,
    Running,
};
use scaicontrol_templates::job::Limits;
use secrecy::ExposeSecret;
use slog::Logger;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The state of a server with that configuration; needs a tokio runtime. Nothing is connected or fetched yet.
pub fn assemble(
    config: Config,
    clock: Clock,
    metrics: Metrics,
    log: Logger,
    dev: Option<Dev>,
) -> Result<Control> {
    let url = config.database.url.as_ref().ok_or_else(|| Error::internal("DATABASE_URL is not set"))?;
    let db = Db::new(
        url.expose_secret(),
        config.database.pool_size,
        config.database.pool_wait,
        config.database.statement_timeout,
    )?;
    let ids = Ids::default();
    let scaikey = ScaiKey::new(&config)?;
    let objects = Objects::open(&config.objects, &log)?;
    let renderer = Arc::new(Renderer::new(config.render.program(), config.render.timeout, Limits::default()));
    let (mailer, vies) = (mail::open(&config)?, vies::open(&config.vies)?);
    let auth = &config.auth;
    let keys = Keys::new(Arc::new(scaikey.clone()), auth.jwks_ttl, auth.jwks_cooldown);
    let expect = Expect { issuer: auth.issuer.clone(), audience: auth.audience.clone(), leeway: auth.leeway };
    let store = Arc::new(Store::new(db.clone(), clock.clone(), ids.clone()));
    let identity =
        Identity::new(keys, expect, config.platform.operator_partner_id.clone(), store, log.clone());
    let metering = Metering::start(&db, &clock, &ids, &log);
    Ok(Control {
        config: Arc::new(config),
        db,
        clock,
        ids,
        metering,
        unbillable: Arc::default(),
        shown: Arc::default(),
        identity: Arc::new(identity),
        scaikey,
        objects,
        renderer,
        mailer,
        vies,
        sign_ins: Arc::default(),
        rounds: Arc::default(),
        metrics,
        health: Arc::default(),
        log,
        dev: dev.map(Arc::new),
    })
}

/// Every operation that is built.
pub fn api() -> Api {
    use scaicontrol_api as api;
    let mut all = Api::new();
    api::admin::register::<Handlers>(&mut all);
    api::admin_billing::register::<Handlers>(&mut all);
    api::admin_packs::register::<Handlers>(&mut all);
    api::admin_partners::register::<Handlers>(&mut all);
    api::admin_subscriptions::register::<Handlers>(&mut all);
    api::admin_platform::register::<Handlers>(&mut all);
    api::admin_tenants::register::<Handlers>(&mut all);
    api::auth::register::<Handlers>(&mut all);
    api::billing::register::<Handlers>(&mut all);
    api::catalog::register::<Handlers>(&mut all);
    api::metering::register::<Handlers>(&mut all);
    api::notifications::register::<Handlers>(&mut all);
    api::organization::register::<Handlers>(&mut all);
    api::service_packs::register::<Handlers>(&mut all);
    api::service_billing::register::<Handlers>(&mut all);
    api::subscriptions::register::<Handlers>(&mut all);
    api::untagged::register::<Handlers>(&mut all);
    api::uploads::register::<Handlers>(&mut all);
    all
}

/// A server that listens.
pub struct Server {
    main: Running,
    metrics: Option<Running>,
    metering: Metering,
    workers: Option<workers::Workers>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("addr", &self.addr()).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds and begins to answer.
    pub async fn start(control: Control) -> Result<Server, String> {
        let metrics = match control.config.metrics_bind {
            Some(bind) => Some(metrics_server(&control, bind).await?),
            None => None,
        };
        let config = &control.config;
        let front = FrontConfig {
            cors_origins: config.cors.origins.clone(),
            request_deadline: config.limits.deadline,
            ..FrontConfig::default()
        };
        let mut plain = pages::routes();
        if control.dev.is_some() {
            plain.extend(dev::routes());
        }
        let (bind, log) = (config.bind, control.log.clone());
        let metering = control.metering.clone();
        let workers = config.workers.enabled.then(|| workers::start(&control, workers::WORKERS));
        let gate = Gate::new(Arc::clone(&control.identity), config.catalog.public);
        let observe = Box::new(control.metrics.clone());
        let app = App { auth: Box::new(gate), observe, config: front, state: Box::new(control) };
        let main = scaicontrol_api::start(api(), app, plain, bind, log).await?;
        Ok(Server { main, metrics, metering, workers })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.main.addr()
    }

    /// Takes no more requests and finishes those in hand, for at most that long; then stores the usage that was taken.
    pub async fn stop(self, grace: Duration) {
        let workers = async {
            if let Some(workers) = self.workers {
                workers.stop(grace).await;
            }
        };
        tokio::join!(self.main.stop(grace), workers);
        self.metering.stop().await;
        if let Some(metrics) = self.metrics {
            metrics.stop(Duration::from_secs(1)).await;
        }
    }
}

/// `/metrics` at an address of its own, for a network that the API's callers are not in.
async fn metrics_server(control: &Control, bind: SocketAddr) -> Result<Running, String> {
    let app = App {
        auth: Box::new(Nobody),
        observe: Box::new(()),
        config: FrontConfig::default(),
        state: Box::new(control.clone()),
    };
    let route = PlainRoute { method: Method::GET, path: "/metrics", name: "metrics", run: metrics_page };
    scaicontrol_api::start(Api::new(), app, vec![route], bind, control.log.clone()).await
}

fn metrics_page(rqctx: Cx, _: Request) -> BoxFuture<'static, Result<Response, ApiError>> {
    Box::pin(async move {
        let control = control(rqctx.context());
        let mut response = Response::new(control.metrics.text(control).into());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE));
        Ok(response)
    })
}

/// There are no operations to be let into.
struct Nobody;

#[async_trait]
impl Authenticator for Nobody {
    async fn authorize(
        &self,
        _: &HeaderMap,
        _: IpAddr,
        _: &str,
        _: &'static Operation,
    ) -> Result<Principal, ApiError> {
        Err(ApiError::unauthorized("there is nothing here"))
    }
}
