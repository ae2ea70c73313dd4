//! From what a request shows to who calls: token or key, then the database, then level and permissions.
//!
//! What the database says is at most one second old ([`Fresh`]), so a role that is taken away, and an account that is
//! switched off, count from the next second on every server, and at once on the one that was told ([`Identity::forget`]).
use super::fresh::Fresh;
use super::jwks::Keys;
use super::jwt::{self, Claims, Expect, Refusal};
use super::refusals::{Recent, Refused, Subject};
use super::roles::{self, Held, Needs};
use super::service_key::Shown;
use super::store::{Directory, Known, Service, Unknown};
use crate::admission::Admission;
use crate::config::is_external_id;
use crate::error::Error;
use crate::settings::RateLimits;
use async_trait::async_trait;
use chrono::TimeDelta;
use http::HeaderMap;
use scaicontrol_api::{ApiError, Authenticator, CallerLevel, Level, Operation, Principal};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How old an answer of the database may be.
const MAX_AGE: Duration = Duration::from_secs(1);

/// How often it is written down that a user called.
const SEEN_EVERY: TimeDelta = TimeDelta::hours(1);
/// How often, at most, when the roles of its tokens change.
const SEEN_ANEW_EVERY: TimeDelta = TimeDelta::minutes(1);

/// A caller whose identity is proven.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user's id, or the client id of a service.
    pub subject: String,
    /// How far it reaches.
    pub level: CallerLevel,
    /// Its tenant; none for a service.
    pub tenant_id: Option<String>,
    /// Its partner; none for a service.
    pub partner_id: Option<String>,
    /// The service it acts for; none for a user, and for a service account that has registered nothing yet.
    pub service: Option<Service>,
    /// Its roles that mean something here, in alphabetical order.
    pub roles: Vec<&'static str>,
    /// Its permissions.
    pub held: Held,
    /// Names and addresses, for people.
    pub about: About,
}

/// What a caller is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct About {
    pub email: Option<String>,
    pub display_name: Option<String>,
    pub tenant_name: Option<String>,
    pub partner_name: Option<String>,
}

impl Caller {
    fn service(subject: String, service: Option<Service>, held: Held, roles: Vec<&'static str>) -> Caller {
        let about = About::default();
        Caller {
            subject,
            level: CallerLevel::Service,
            tenant_id: None,
            partner_id: None,
            service,
            roles,
            held,
            about,
        }
    }
}

/// What a request showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The `x-scaicontrol-key` header.
    pub service_key: Option<&'a str>,
}

/// See the module.
#[derive(Debug)]
pub struct Identity {
    keys: Keys,
    expect: Expect,
    operator_partner_id: Option<String>,
    directory: Arc<dyn Directory>,
    known: Fresh<(String, Option<String>, Option<String>), Arc<Known>>,
    services: Fresh<String, Option<Service>>,
    stored_keys: Fresh<String, Option<super::store::StoredKey>>,
    rate_limits: Fresh<(), RateLimits>,
    refusals: Recent,
    log: slog::Logger,
}

fn unauthorized(message: &str) -> Error {
    Error::Unauthorized(message.to_owned())
}
fn forbidden(message: impl Into<String>) -> Error {
    Error::Forbidden { message: message.into(), details: vec![] }
}

impl Identity {
    /// Proves tokens by `keys` and looks callers up in `directory`.
    pub fn new(
        keys: Keys,
        expect: Expect,
        operator_partner_id: Option<String>,
        directory: Arc<dyn Directory>,
        log: slog::Logger,
    ) -> Identity {
        let (known, services, stored_keys) = (Fresh::new(MAX_AGE), Fresh::new(MAX_AGE), Fresh::new(MAX_AGE));
        let (rate_limits, refusals) = (Fresh::new(MAX_AGE), Recent::default());
        Identity {
            keys,
            expect,
            operator_partner_id,
            directory,
            known,
            services,
            stored_keys,
            rate_limits,
            refusals,
            log,
        }
    }

    /// Forgets what the database said, after this server changed who somebody is or may do.
    pub fn forget(&self) {
        self.known.clear();
        self.services.clear();
        self.stored_keys.clear();
        self.rate_limits.clear();
    }

    /// How often each may call.
    async fn rate_limits(&self) -> Result<RateLimits, Error> {
        self.rate_limits.get((), async || self.directory.rate_limits().await).await
    }

    /// What the tenant and the partner of a caller are called; as fresh as what let the caller in.
    pub async fn names(&self, principal: &Principal) -> Result<(Option<String>, Option<String>), Error> {
        let Some(user_id) = &principal.user_id else { return Ok((None, None)) };
        let key = (user_id.clone(), principal.tenant_id.clone(), principal.partner_id.clone());
        let (tenant_id, partner_id) = (principal.tenant_id.as_deref(), principal.partner_id.as_deref());
        let load = async || self.directory.principal(user_id, tenant_id, partner_id).await.map(Arc::new);
        let known = self.known.get(key, load).await?;
        Ok((known.tenant_name.clone(), known.partner_name.clone()))
    }

    /// Whether the issuer's keys are there.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Who calls. Both a token and a key is a mistake, and refused: which of them counts must never be a guess.
    pub async fn caller(&self, shown: Credentials<'_>) -> Result<Caller, Error> {
        match (shown.authorization, shown.service_key) {
            (None, None) => Err(unauthorized("this needs a token")),
            (Some(_), Some(_)) => Err(unauthorized("show a token or a key, not both")),
            (None, Some(key)) => self.by_key(key).await,
            (Some(header), None) => {
                let token = bearer(header)
                    .ok_or_else(|| unauthorized("the Authorization header must be `Bearer <token>`"))?;
                self.by_token(token).await
            }
        }
    }

    async fn by_token(&self, token: &str) -> Result<Caller, Error> {
        #[expect(clippy::disallowed_methods, reason = "an issuer's times are those of the machine's clock")]
        let now = SystemTime::now();
        let claims =
            jwt::verify(token, &self.keys, &self.expect, now).await.map_err(|refusal| match refusal {
                Refusal::Invalid(why) => unauthorized(why),
                Refusal::Unavailable => Error::Unavailable("the issuer of the tokens does not answer".into()),
            })?;
        if claims.is_service { self.service_account(claims).await } else { self.user(claims).await }
    }

    async fn by_key(&self, text: &str) -> Result<Caller, Error> {
        const WRONG: &str = "the key is not valid";
        let shown = Shown::parse(text).ok_or_else(|| unauthorized(WRONG))?;
        let load = async || self.directory.service_key(&shown.key_id).await;
        let stored = self.stored_keys.get(shown.key_id.clone(), load).await?;
        // An unknown id costs the same comparison as a known one.
        let hash = stored.as_ref().map_or(&[0_u8; 32][..], |k| &k.secret_sha256);
        let matches = shown.matches(hash);
        let Some(stored) = stored.filter(|_| matches) else { return Err(unauthorized(WRONG)) };
        if stored.expires_at.is_some_and(|end| end <= self.directory.now()) {
            return Err(unauthorized("the key has been replaced"));
        }
        if !stored.service.may_act() {
            return Err(unauthorized("the service is suspended or deregistered"));
        }
        let held = Held::new([roles::SERVICE_ACCOUNT], []);
        let subject = stored.client_id.unwrap_or_else(|| format!("key:{}", shown.key_id));
        Ok(Caller::service(subject, Some(stored.service), held, vec![roles::SERVICE_ACCOUNT]))
    }

    async fn service_account(&self, claims: Claims) -> Result<Caller, Error> {
        let client_id = claims.client_id.unwrap_or(claims.subject);
        let load = async || self.directory.service(&client_id).await;
        let service = self.services.get(client_id.clone(), load).await?;
        let roles = known_roles(claims.roles.iter().map(String::as_str));
        let held = Held::new(roles.iter().copied(), claims.permissions.iter().map(String::as_str));
        Ok(Caller::service(client_id, service, held, roles))
    }

    async fn user(&self, claims: Claims) -> Result<Caller, Error> {
        for id in [Some(&claims.subject), claims.tenant_id.as_ref(), claims.partner_id.as_ref()]
            .into_iter()
            .flatten()
        {
            if !is_external_id(id) {
                return Err(unauthorized("the token names an id that cannot be one"));
            }
        }
        let mut known = self.load(&claims, claims.tenant_id.as_deref(), claims.partner_id.as_deref()).await?;
        // A token may leave out what is known of its user: the tenant, and the tenant's partner.
        let tenant_id = claims.tenant_id.clone().or_else(|| known.user_tenant_id.clone());
        let tenant_id = tenant_id.ok_or_else(|| unauthorized("the token names no tenant"))?;
        if claims.tenant_id.is_none() {
            known = self.load(&claims, Some(&tenant_id), claims.partner_id.as_deref()).await?;
        }
        let partner_id = claims.partner_id.clone().or_else(|| known.tenant_partner_id.clone());
        let partner_id = partner_id
            .ok_or_else(|| forbidden("the tenant is not known yet, and the token names no partner"))?;
        if claims.partner_id.is_none() {
            known = self.load(&claims, Some(&tenant_id), Some(&partner_id)).await?;
        }
        self.same(&known, &claims, &tenant_id, &partner_id).await?;
        if !(known.user_known && known.tenant_known && known.partner_known) {
            known = self.mirror(&claims, &tenant_id, &partner_id).await?;
            self.same(&known, &claims, &tenant_id, &partner_id).await?;
        }
        for (active, what) in [
            (known.user_is_active, "the user is deactivated"),
            (known.tenant_is_active, "the tenant is deactivated"),
            (known.partner_is_active, "the partner is deactivated"),
        ] {
            if !active {
                return Err(unauthorized(what));
            }
        }
        self.seen(&claims, &known, &tenant_id, &partner_id).await;
        Ok(self.with_rights(&claims, &known, tenant_id, partner_id))
    }

    /// Level and permissions. What the token claims counts only when it was issued after the last change of the user.
    fn with_rights(&self, claims: &Claims, known: &Known, tenant_id: String, partner_id: String) -> Caller {
        let (claimed_roles, claimed): (&[String], &[String]) =
            if is_outdated(claims, known) { (&[], &[]) } else { (&claims.roles, &claims.permissions) };
        let all =
            claimed_roles.iter().chain(&known.local_roles).chain(&known.group_roles).map(String::as_str);
        let roles = known_roles(all);
        let level =
            roles::level_of_user(roles.iter().copied(), &partner_id, self.operator_partner_id.as_deref());
        let held = Held::new(roles.iter().copied(), claimed.iter().map(String::as_str));
        let about = About {
            email: known.email.clone().or_else(|| claims.email.clone()),
            display_name: known.display_name.clone().or_else(|| claims.name.clone()),
            tenant_name: known.tenant_name.clone(),
            partner_name: known.partner_name.clone(),
        };
        let (tenant_id, partner_id) = (Some(tenant_id), Some(partner_id));
        Caller {
            subject: claims.subject.clone(),
            level,
            tenant_id,
            partner_id,
            service: None,
            roles,
            held,
            about,
        }
    }

    /// Keeps when a user last called and what its token claimed, for those who look at the list of users. It is written
    /// once an hour, or a minute after other roles were claimed, and a failure keeps nobody out.
    async fn seen(&self, claims: &Claims, known: &Known, tenant_id: &str, partner_id: &str) {
        let claimed: &[String] = if is_outdated(claims, known) { &[] } else { &claims.roles };
        let roles = known_roles(claimed.iter().map(String::as_str));
        let age = known.last_seen_at.map(|at| self.directory.now() - at);
        let every = if roles == known.token_roles { SEEN_EVERY } else { SEEN_ANEW_EVERY };
        if age.is_some_and(|age| age < every) {
            return;
        }
        if let Err(e) = self.directory.seen(&claims.subject, &roles).await {
            slog::warn!(self.log, "a user's call was not written down"; "user_id" => &claims.subject, "error" => %e);
        }
        self.known.forget(&key_of(claims, Some(tenant_id), Some(partner_id)));
    }

    async fn load(
        &self,
        claims: &Claims,
        tenant_id: Option<&str>,
        partner_id: Option<&str>,
    ) -> Result<Arc<Known>, Error> {
        let key = key_of(claims, tenant_id, partner_id);
        let load =
            async || self.directory.principal(&claims.subject, tenant_id, partner_id).await.map(Arc::new);
        self.known.get(key, load).await
    }

    async fn mirror(&self, claims: &Claims, tenant_id: &str, partner_id: &str) -> Result<Arc<Known>, Error> {
        let unknown = Unknown {
            partner_id: partner_id.to_owned(),
            tenant_id: tenant_id.to_owned(),
            tenant_name: claims.tenant_name.clone(),
            user_id: claims.subject.clone(),
            email: claims.email.clone(),
            display_name: claims.name.clone(),
        };
        self.directory.mirror(&unknown).await?;
        slog::info!(self.log, "made known from a token"; "user_id" => &unknown.user_id, "tenant_id" => tenant_id, "partner_id" => partner_id);
        self.known.forget(&key_of(claims, Some(tenant_id), Some(partner_id)));
        self.load(claims, Some(tenant_id), Some(partner_id)).await
    }

    /// A token that names another tenant or partner than the known one is refused: tenants and users move by ScaiKey's
    /// events, never by a token that somebody still holds. Which of both is right is to be asked, and that is written down.
    async fn same(
        &self,
        known: &Known,
        claims: &Claims,
        tenant_id: &str,
        partner_id: &str,
    ) -> Result<(), Error> {
        let other = |known: &Option<String>, said: &str| known.as_deref().is_some_and(|k| k != said);
        let (subject, id, refusal) = if known.user_known && other(&known.user_tenant_id, tenant_id) {
            (
                Subject::User,
                claims.subject.as_str(),
                "the user is known in another tenant than the token names",
            )
        } else if known.tenant_known && other(&known.tenant_partner_id, partner_id) {
            (Subject::Tenant, tenant_id, "the tenant is known at another partner than the token names")
        } else {
            return Ok(());
        };
        slog::warn!(self.log, "token and mirror disagree, a sync is due"; "user_id" => &claims.subject, "tenant_id" => tenant_id, "partner_id" => partner_id, "reason" => refusal);
        if self.refusals.is_first(id, subject.as_str())
            && let Err(e) = self.directory.ask_for_sync(subject, id, tenant_id, partner_id).await
        {
            slog::error!(self.log, "a sync was not asked for"; "subject_id" => id, "error" => %e);
        }
        Err(forbidden(refusal))
    }

    /// Keeps what a caller was refused. A failure changes nothing about the refusal.
    async fn refused(&self, refused: Refused) {
        slog::warn!(self.log, "refused"; "operation" => refused.operation, "actor" => &refused.actor, "tenant_id" => &refused.tenant_id,
            "reason" => &refused.reason, "request_id" => &refused.request_id);
        if self.refusals.is_first(&refused.actor, refused.operation)
            && let Err(e) = self.directory.refused(&refused).await
        {
            slog::error!(self.log, "a refusal was not written down"; "request_id" => &refused.request_id, "error" => %e);
        }
    }
}

/// Whether the user was changed after the token was issued: what it claims of rights then counts no more.
fn is_outdated(claims: &Claims, known: &Known) -> bool {
    known.claims_valid_from.is_some_and(|from| claims.issued_at.is_none_or(|at| at < from.timestamp()))
}

type KnownKey = (String, Option<String>, Option<String>);
fn key_of(claims: &Claims, tenant_id: Option<&str>, partner_id: Option<&str>) -> KnownKey {
    (claims.subject.clone(), tenant_id.map(str::to_owned), partner_id.map(str::to_owned))
}

/// Asks [`Identity`] for the generated API, before every operation that is not open to all.
#[derive(Clone, Debug)]
pub struct Gate {
    identity: Arc<Identity>,
    public_catalog: bool,
    admission: Arc<Admission<(CallerLevel, String)>>,
}

impl Gate {
    /// `public_catalog` opens the reads of the catalogue to callers without a token.
    pub fn new(identity: Arc<Identity>, public_catalog: bool) -> Gate {
        Gate { identity, public_catalog, admission: Arc::default() }
    }

    /// Counts the call. The settings say how many a minute; twice as many may come at once.
    async fn admit(&self, level: CallerLevel, who: String) -> Result<(), ApiError> {
        let per_minute = self.identity.rate_limits().await?.of(level);
        let admitted = self.admission.admit((level, who), per_minute, per_minute.saturating_mul(2));
        admitted.map_err(ApiError::rate_limited)
    }

    fn is_public(&self, operation: &Operation) -> bool {
        operation.level == Level::Public
            || (operation.public_when == Some("catalog.public") && self.public_catalog)
    }
}

#[async_trait]
impl Authenticator for Gate {
    async fn authorize(
        &self,
        headers: &HeaderMap,
        address: IpAddr,
        request_id: &str,
        operation: &'static Operation,
    ) -> Result<Principal, ApiError> {
        let shown = credentials(headers)?;
        if self.is_public(operation) && shown.authorization.is_none() && shown.service_key.is_none() {
            self.admit(CallerLevel::Public, address.to_string()).await?;
            return Ok(Principal::public());
        }
        let caller = self.identity.caller(shown).await?;
        self.admit(caller.level, caller.subject.clone()).await?;
        if let Err(reason) = may(&caller, operation) {
            let service_id = caller.service.as_ref().map(|service| service.service_id);
            let (actor, level, request_id) = (caller.subject, caller.level.as_str(), request_id.to_owned());
            let (tenant_id, partner_id, operation) = (caller.tenant_id, caller.partner_id, operation.id);
            let answer = ApiError::forbidden(reason.clone());
            let refused =
                Refused { actor, level, tenant_id, partner_id, service_id, operation, reason, request_id };
            self.identity.refused(refused).await;
            return Err(answer);
        }
        Ok(caller.into())
    }
}

/// The headers that can hold credentials; each at most once, or a proxy and we might read different ones.
fn credentials(headers: &HeaderMap) -> Result<Credentials<'_>, ApiError> {
    let one = |name: &'static str| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => {
                value.to_str().map(Some).map_err(|_| ApiError::unauthorized("the credentials are not text"))
            }
            (Some(_), Some(_)) => Err(ApiError::unauthorized("show your credentials once")),
        }
    };
    Ok(Credentials { authorization: one("authorization")?, service_key: one("x-scaicontrol-key")? })
}

/// Whether a caller may run an operation, and if not, why.
pub fn may(caller: &Caller, operation: &Operation) -> Result<(), String> {
    let access = if operation.method == "GET" { roles::Access::Read } else { roles::Access::Write };
    roles::authorise(
        caller.level,
        &caller.held,
        Needs { level: operation.level, permission: operation.permission, access },
    )?;
    // The registry itself says (409) what a suspended service may not do there.
    let suspended = caller.service.as_ref().is_some_and(|s| !s.may_act());
    if suspended && operation.level == Level::Service && operation.group != "registry" {
        return Err("the service is suspended or deregistered".to_owned());
    }
    Ok(())
}

impl From<Caller> for Principal {
    fn from(caller: Caller) -> Principal {
        let is_service = caller.level == CallerLevel::Service;
        let (read, write): (Vec<_>, Vec<_>) =
            caller.held.names().into_iter().partition(|p| !caller.held.has(p, roles::Access::Write));
        Principal {
            level: caller.level,
            user_id: (!is_service).then(|| caller.subject.clone()),
            client_id: is_service.then(|| caller.subject.clone()),
            subject: caller.subject,
            tenant_id: caller.tenant_id,
            partner_id: caller.partner_id,
            service_slug: caller.service.as_ref().map(|s| s.slug.clone()),
            service_id: caller.service.as_ref().map(|s| s.service_id),
            email: caller.about.email,
            display_name: caller.about.display_name,
            roles: caller.roles.into_iter().map(str::to_owned).collect(),
            permissions: write.into_iter().map(str::to_owned).collect(),
            read_permissions: read.into_iter().map(str::to_owned).collect(),
        }
    }
}

/// The token in `Bearer <token>`; the scheme's case does not matter.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The roles that mean something here, each once, in alphabetical order.
fn known_roles<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'static str> {
    let mut known: Vec<_> = names.filter_map(roles::role).map(|r| r.name).collect();
    known.sort_unstable();
    known.dedup();
    known
}

#[cfg(test)]
mod tests;
