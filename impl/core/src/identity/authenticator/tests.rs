//! Who is let in, and as what.
use super::*;
use crate::identity::dev_issuer::{AUDIENCE, DevIssuer, Mint};
use crate::identity::jwks::tests::Fixed;
use crate::identity::service_key;
use crate::identity::store::StoredKey;
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::ExposeSecret;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use uuid::Uuid;

/// The database's side, in memory: the same answers as the functions of the migration.
#[derive(Debug, Default)]
struct Memory {
    users: Mutex<HashMap<String, Known>>,
    tenants: Mutex<HashMap<String, (String, bool)>>,
    partners: Mutex<HashMap<String, bool>>,
    service: Mutex<Option<StoredKey>>,
    asked: AtomicU32,
    mirrored: AtomicU32,
    syncs: Mutex<Vec<(Subject, String)>>,
    refusals: Mutex<Vec<Refused>>,
}
#[async_trait]
impl Directory for Memory {
    async fn principal(
        &self,
        user: &str,
        tenant: Option<&str>,
        partner: Option<&str>,
    ) -> crate::error::Result<Known> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let absent = Known {
            user_is_active: true,
            tenant_is_active: true,
            partner_is_active: true,
            ..Known::default()
        };
        let mut known = self.users.lock().expect("lock").get(user).cloned().unwrap_or(absent);
        if let Some((partner_id, active)) =
            tenant.and_then(|t| self.tenants.lock().expect("lock").get(t).cloned())
        {
            (known.tenant_known, known.tenant_partner_id, known.tenant_is_active) =
                (true, Some(partner_id), active);
        }
        if let Some(active) = partner.and_then(|p| self.partners.lock().expect("lock").get(p).copied()) {
            (known.partner_known, known.partner_is_active) = (true, active);
        }
        Ok(known)
    }
    async fn service(&self, client_id: &str) -> crate::error::Result<Option<Service>> {
        let stored = self.service.lock().expect("lock").clone();
        Ok(stored.filter(|s| s.client_id.as_deref() == Some(client_id)).map(|s| s.service))
    }
    async fn service_key(&self, key_id: &str) -> crate::error::Result<Option<StoredKey>> {
        Ok(self.service.lock().expect("lock").clone().filter(|_| key_id != "unknownkey"))
    }
    async fn mirror(&self, unknown: &Unknown) -> crate::error::Result<()> {
        self.mirrored.fetch_add(1, Ordering::SeqCst);
        self.partners.lock().expect("lock").entry(unknown.partner_id.clone()).or_insert(true);
        self.tenants
            .lock()
            .expect("lock")
            .entry(unknown.tenant_id.clone())
            .or_insert((unknown.partner_id.clone(), true));
        self.add_user(&unknown.user_id, &unknown.tenant_id, |_| ());
        Ok(())
    }
    async fn seen(&self, user: &str, roles: &[&str]) -> crate::error::Result<()> {
        if let Some(user) = self.users.lock().expect("lock").get_mut(user) {
            user.last_seen_at = Some(self.now());
            user.token_roles = roles.iter().map(|r| (*r).to_owned()).collect();
        }
        Ok(())
    }
    async fn rate_limits(&self) -> crate::error::Result<RateLimits> {
        Ok(RateLimits { tenant_per_minute: 30, ..RateLimits::default() })
    }
    async fn ask_for_sync(&self, subject: Subject, id: &str, _: &str, _: &str) -> crate::error::Result<()> {
        self.syncs.lock().expect("lock").push((subject, id.to_owned()));
        Ok(())
    }
    async fn refused(&self, refused: &Refused) -> crate::error::Result<()> {
        self.refusals.lock().expect("lock").push(refused.clone());
        Ok(())
    }
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000, 0).expect("a time")
    }
}
impl Memory {
    fn add_user(&self, id: &str, tenant_id: &str, change: impl FnOnce(&mut Known)) {
        let mut user = Known {
            user_known: true,
            user_tenant_id: Some(tenant_id.to_owned()),
            user_is_active: true,
            tenant_is_active: true,
            partner_is_active: true,
            last_seen_at: Some(self.now()),
            ..Known::default()
        };
        change(&mut user);
        self.users.lock().expect("lock").entry(id.to_owned()).or_insert(user);
    }
    fn home(&self) {
        for partner in ["prt_op", "prt_1"] {
            self.partners.lock().expect("lock").insert(partner.into(), true);
        }
        self.tenants.lock().expect("lock").insert("tnt_1".into(), ("prt_1".into(), true));
        self.tenants.lock().expect("lock").insert("tnt_op".into(), ("prt_op".into(), true));
    }
}

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct Bench {
    issuer: DevIssuer,
    memory: Arc<Memory>,
    identity: Identity,
}
fn bench() -> Bench {
    let issuer = DevIssuer::generate("https://id.test");
    let keys =
        Keys::new(Arc::new(Fixed::new(issuer.jwks())), Duration::from_secs(3600), Duration::from_secs(30));
    let expect = Expect {
        issuer: "https://id.test".into(),
        audience: vec![AUDIENCE.into()],
        leeway: Duration::from_secs(60),
    };
    let memory = Arc::new(Memory::default());
    memory.home();
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let identity = Identity::new(keys, expect, Some("prt_op".into()), memory.clone(), log);
    Bench { issuer, memory, identity }
}
impl Bench {
    async fn call(&self, mint: &Mint) -> Result<Caller, Error> {
        let header = format!("Bearer {}", self.issuer.mint(mint));
        self.identity.caller(Credentials { authorization: Some(&header), service_key: None }).await
    }
}
fn user(id: &str, tenant: &str, partner: &str, roles: &[&str]) -> Mint {
    Mint {
        subject: id.into(),
        tenant_id: Some(tenant.into()).filter(|t: &String| !t.is_empty()),
        partner_id: Some(partner.into()).filter(|p: &String| !p.is_empty()),
        roles: roles.iter().map(|r| (*r).to_owned()).collect(),
        ..Mint::default()
    }
}
fn refused(result: Result<Caller, Error>) -> &'static str {
    match result {
        Err(Error::Unauthorized(_)) => "401",
        Err(Error::Forbidden { .. }) => "403",
        Err(Error::Unavailable(_)) => "503",
        Err(_) => "other",
        Ok(_) => "accepted",
    }
}

#[tokio::test]
async fn an_unknown_caller_becomes_known_once() {
    let bench = bench();
    let mint = user("usr_new", "tnt_new", "prt_new", &["tenant_admin", "no_such_role"]);
    let caller = bench.call(&mint).await.expect("accepted");
    assert_eq!((caller.level, caller.roles.as_slice()), (CallerLevel::Tenant, &["tenant_admin"][..]));
    bench.call(&mint).await.expect("accepted");
    assert_eq!(bench.memory.mirrored.load(Ordering::SeqCst), 1);
    let asked = bench.memory.asked.load(Ordering::SeqCst);
    for _ in 0..20 {
        bench.call(&mint).await.expect("accepted");
    }
    assert_eq!(
        bench.memory.asked.load(Ordering::SeqCst),
        asked,
        "within a second the database is not asked again"
    );
}

#[tokio::test]
async fn a_token_never_moves_anybody() {
    let bench = bench();
    bench.memory.add_user("usr_1", "tnt_1", |_| ());
    assert_eq!(refused(bench.call(&user("usr_1", "tnt_op", "prt_op", &[])).await), "403");
    assert_eq!(refused(bench.call(&user("usr_1", "tnt_1", "prt_op", &[])).await), "403");
    assert_eq!(refused(bench.call(&user("usr_new", "tnt_1", "prt_op", &[])).await), "403");
    assert_eq!(refused(bench.call(&user("usr_1", "tnt_never_seen", "prt_1", &[])).await), "403");
    // Which is right is to be asked; once, however often such a token comes.
    let syncs = [(Subject::User, "usr_1".to_owned()), (Subject::Tenant, "tnt_1".to_owned())];
    assert_eq!(*bench.memory.syncs.lock().expect("lock"), syncs);
    assert_eq!(bench.memory.mirrored.load(Ordering::SeqCst), 0, "and nothing is made known on the way");
    assert_eq!(refused(bench.call(&user("usr_1", "tnt_1", "prt_1", &[])).await), "accepted");
}

#[tokio::test]
async fn a_token_may_leave_out_what_is_known() {
    let bench = bench();
    bench.memory.add_user("usr_1", "tnt_1", |_| ());
    for mint in [user("usr_1", "", "", &[]), user("usr_1", "tnt_1", "", &[]), user("usr_1", "", "prt_1", &[])]
    {
        let caller = bench.call(&mint).await.expect("accepted");
        assert_eq!(
            (caller.tenant_id.as_deref(), caller.partner_id.as_deref()),
            (Some("tnt_1"), Some("prt_1"))
        );
    }
    assert_eq!(refused(bench.call(&user("usr_new", "", "", &[])).await), "401");
    assert_eq!(refused(bench.call(&user("usr_new", "tnt_new", "", &[])).await), "403");
    assert_eq!(refused(bench.call(&user("usr'; --", "tnt_1", "prt_1", &[])).await), "401");
}

#[tokio::test]
async fn whoever_is_switched_off_is_out() {
    for what in ["user", "tenant", "partner"] {
        let bench = bench();
        bench.memory.add_user("usr_1", "tnt_1", |u| u.user_is_active = what != "user");
        bench.memory.tenants.lock().expect("lock").insert("tnt_1".into(), ("prt_1".into(), what != "tenant"));
        bench.memory.partners.lock().expect("lock").insert("prt_1".into(), what != "partner");
        assert_eq!(
            refused(bench.call(&user("usr_1", "tnt_1", "prt_1", &["super_admin"])).await),
            "401",
            "{what}"
        );
        assert_eq!(
            refused(bench.call(&user("usr_1", "tnt_1", "", &[])).await),
            "401",
            "{what}, left out of the token"
        );
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "an issuer's times are those of the machine's clock")]
async fn an_outdated_token_keeps_its_identity_and_loses_its_roles() {
    let bench = bench();
    bench.memory.add_user("usr_1", "tnt_1", |u| {
        u.claims_valid_from = Some(Utc::now() + TimeDelta::hours(1));
        u.local_roles = vec!["tenant_member".into()];
    });
    let caller = bench.call(&user("usr_1", "tnt_1", "prt_1", &["partner_admin"])).await.expect("accepted");
    assert_eq!(caller.roles, ["tenant_member"], "what is granted here stays");
    assert_eq!(caller.level, CallerLevel::Tenant);
    assert_eq!(caller.held.names(), ["services:read", "subscriptions:read"]);
}

#[tokio::test]
async fn roles_come_from_token_database_and_groups() {
    let bench = bench();
    bench.memory.add_user("usr_1", "tnt_op", |u| {
        u.local_roles = vec!["support".into()];
        u.group_roles = vec!["billing_admin".into(), "support".into()];
    });
    let caller = bench.call(&user("usr_1", "tnt_op", "prt_op", &["tenant_admin"])).await.expect("accepted");
    assert_eq!(caller.roles, ["billing_admin", "support", "tenant_admin"]);
    assert_eq!(caller.level, CallerLevel::Platform);
    // The same roles at another partner make nobody staff of the platform.
    bench.memory.add_user("usr_2", "tnt_1", |u| u.local_roles = vec!["super_admin".into()]);
    let caller = bench.call(&user("usr_2", "tnt_1", "prt_1", &["platform_admin"])).await.expect("accepted");
    assert_eq!(caller.level, CallerLevel::Tenant);
}

#[tokio::test]
async fn a_service_account_is_a_service_whatever_it_claims() {
    let bench = bench();
    let mint =
        Mint { client_id: Some("client-1".into()), ..user("client-1", "tnt_op", "prt_op", &["super_admin"]) };
    let caller = bench.call(&mint).await.expect("accepted");
    assert_eq!(caller.level, CallerLevel::Service);
    assert!(
        caller.service.is_none() && caller.tenant_id.is_none(),
        "it has registered nothing, and has no tenant"
    );
    assert_eq!(bench.memory.mirrored.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn keys_of_services() {
    let bench = bench();
    let key = service_key::generate();
    let text = key.text.expose_secret().to_owned();
    let stored = |status: &str, expires_at| StoredKey {
        service: Service { service_id: Uuid::nil(), slug: "vault".into(), status: status.into() },
        client_id: Some("client-1".into()),
        secret_sha256: key.sha256.to_vec(),
        expires_at,
    };
    let now = bench.memory.now();
    let other = service_key::generate().text.expose_secret().to_owned();
    for (status, expires_at, shown, expected) in [
        ("active", None, &text, "accepted"),
        ("degraded", None, &text, "accepted"),
        ("pending", None, &text, "accepted"),
        ("suspended", None, &text, "401"),
        ("deregistered", None, &text, "401"),
        ("active", Some(now + TimeDelta::seconds(1)), &text, "accepted"),
        ("active", Some(now), &text, "401"),
        ("active", None, &other, "401"),
    ] {
        *bench.memory.service.lock().expect("lock") = Some(stored(status, expires_at));
        bench.identity.forget();
        let got = bench.identity.caller(Credentials { authorization: None, service_key: Some(shown) }).await;
        assert_eq!(refused(got), expected, "{status} {expires_at:?}");
    }
    *bench.memory.service.lock().expect("lock") = None;
    bench.identity.forget();
    let got = bench.identity.caller(Credentials { authorization: None, service_key: Some(&text) }).await;
    assert_eq!(refused(got), "401");
}

#[tokio::test]
async fn headers_that_are_no_credentials() {
    let bench = bench();
    let token = bench.issuer.mint(&user("usr_1", "tnt_1", "prt_1", &[]));
    for (header, expected) in [
        (format!("Bearer {token}"), "accepted"),
        (format!("bearer  {token}"), "accepted"),
        (token.clone(), "401"),
        (format!("Basic {token}"), "401"),
        ("Bearer".to_owned(), "401"),
        ("Bearer ".to_owned(), "401"),
        (format!("Bearer {token} x"), "401"),
    ] {
        let got =
            bench.identity.caller(Credentials { authorization: Some(&header), service_key: None }).await;
        assert_eq!(refused(got), expected, "{header}");
    }
    let both = format!("Bearer {token}");
    let got =
        bench.identity.caller(Credentials { authorization: Some(&both), service_key: Some("sck_x") }).await;
    assert_eq!(refused(got), "401");
    assert_eq!(refused(bench.identity.caller(Credentials::default()).await), "401");
}

#[test]
fn every_operation_of_the_specification_is_decided() {
    let caller = |level, roles: &[&'static str]| Caller {
        subject: "x".into(),
        level,
        tenant_id: None,
        partner_id: None,
        service: None,
        roles: roles.to_vec(),
        held: Held::new(roles.iter().copied(), []),
        about: About::default(),
    };
    for operation in scaicontrol_api::OPERATIONS.iter().copied() {
        let allowed = |level, roles: &[&'static str]| may(&caller(level, roles), operation).is_ok();
        let everything = ["super_admin"];
        let open = operation.level == Level::Public;
        assert_eq!(allowed(CallerLevel::Public, &everything), open, "{}: nobody", operation.id);
        let platform = !matches!(operation.level, Level::Service);
        assert_eq!(allowed(CallerLevel::Platform, &everything), platform, "{}: super_admin", operation.id);
        let service = matches!(operation.level, Level::Public | Level::TenantOrService | Level::Service);
        assert_eq!(allowed(CallerLevel::Service, &everything), service, "{}: a service", operation.id);
        let free = matches!(operation.permission, "any" | "none");
        assert_eq!(allowed(CallerLevel::Platform, &[]), platform && free, "{}: without a role", operation.id);
        if matches!(operation.level, Level::Partner | Level::Platform) {
            assert!(
                !allowed(CallerLevel::Tenant, &everything),
                "{}: a tenant with every permission",
                operation.id
            );
        }
        if operation.level == Level::Platform {
            assert!(
                !allowed(CallerLevel::Partner, &everything),
                "{}: a partner with every permission",
                operation.id
            );
        }
    }
}

#[test]
fn credentials_that_stand_twice_are_refused() {
    let mut headers = HeaderMap::new();
    headers.append("authorization", "Bearer a".parse().expect("a value"));
    assert!(credentials(&headers).is_ok());
    headers.append("authorization", "Bearer b".parse().expect("a value"));
    assert_eq!(credentials(&headers).expect_err("refused").status(), 401);
}

#[tokio::test]
async fn what_is_refused_is_kept_once() {
    let bench = bench();
    bench.memory.add_user("usr_1", "tnt_1", |_| ());
    let token = bench.issuer.mint(&user("usr_1", "tnt_1", "prt_1", &["tenant_admin"]));
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    let operation = |id| *scaicontrol_api::OPERATIONS.iter().find(|o| o.id == id).expect("an operation");
    let memory = bench.memory.clone();
    let gate = Gate::new(Arc::new(bench.identity), false);
    for (request_id, id) in
        [("req_1", "admin_plan_create"), ("req_2", "admin_plan_create"), ("req_3", "subscription_list")]
    {
        let _ = gate.authorize(&headers, ADDRESS, request_id, operation(id)).await;
    }
    let kept = memory.refusals.lock().expect("lock").clone();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(
        (kept[0].actor.as_str(), kept[0].level, kept[0].operation, kept[0].request_id.as_str()),
        ("usr_1", "tenant", "admin_plan_create", "req_1")
    );
    assert_eq!(kept[0].tenant_id.as_deref(), Some("tnt_1"));
}

#[tokio::test]
async fn who_calls_too_often_is_told_when_to_come_again() {
    let bench = bench();
    for user in ["usr_1", "usr_2"] {
        bench.memory.add_user(user, "tnt_1", |_| ());
    }
    let headers = |id| {
        let token = bench.issuer.mint(&user(id, "tnt_1", "prt_1", &["tenant_admin"]));
        HeaderMap::from_iter([(
            http::header::AUTHORIZATION,
            format!("Bearer {token}").parse().expect("a header"),
        )])
    };
    let (one, two) = (headers("usr_1"), headers("usr_2"));
    let operation = *scaicontrol_api::OPERATIONS.iter().find(|o| o.id == "subscription_list").expect("it");
    let gate = Gate::new(Arc::new(bench.identity), true);
    for _ in 0..60 {
        gate.authorize(&one, ADDRESS, "req_1", operation).await.expect("as many at once as in two minutes");
    }
    let refused = gate.authorize(&one, ADDRESS, "req_1", operation).await.expect_err("one too many");
    assert_eq!(refused.status(), 429);
    gate.authorize(&two, ADDRESS, "req_1", operation).await.expect("another user");
    let catalog = *scaicontrol_api::OPERATIONS.iter().find(|o| o.id == "catalog_plan_list").expect("it");
    for _ in 0..100 {
        gate.authorize(&HeaderMap::new(), ADDRESS, "req_1", catalog).await.expect("no limit is set");
    }
}
