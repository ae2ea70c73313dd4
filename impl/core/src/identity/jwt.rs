//! Proves a token: its form, its signature, its issuer, audience and times.
//!
//! Everything that could let the token choose how it is proved is refused before a key is looked for: `alg` outside the
//! three asymmetric algorithms (`none`, and HMAC with a public key as its secret), keys inside the header (`jwk`, `x5c`)
//! or behind an address in it (`jku`, `x5u`), and extensions that must be understood (`crit`). The key then says which
//! algorithm it is for, and the header has to agree.
//!
//! The same token is not proven twice by the same key ([`super::proven`]); its claims are checked at each use.
//!
//! The times are those of the machine's clock, also under a simulated one: an issuer does not simulate.
use super::jwks::{Key, KeyError, Keys};
use super::proven::Proven;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A longer token is not looked at.
pub const TOKEN_BYTES_MAX: usize = 8192;
const KEY_ID_MAX: usize = 256;
/// Header fields that carry a key, point to one, or change how the token is read.
const REFUSED_HEADERS: [&str; 7] = ["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip"];

/// What a token must say.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The issuer.
    pub issuer: String,
    /// One of these audiences; none are asked for when it is empty (never in production).
    pub audience: Vec<String>,
    /// Difference of clocks.
    pub leeway: Duration,
}

/// Why a token was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It proves nothing; the text goes to the caller and says no more than the caller could know.
    Invalid(&'static str),
    /// The issuer's keys cannot be had now, and none are known from before.
    Unavailable,
}

/// What a proven token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// `sub`
    pub subject: String,
    /// `iat`, in seconds since 1970.
    pub issued_at: Option<i64>,
    /// `exp`
    pub expires_at: i64,
    /// `tenant_id`
    pub tenant_id: Option<String>,
    /// `partner_id`
    pub partner_id: Option<String>,
    /// `roles` and `role`
    pub roles: Vec<String>,
    /// `permissions` and `scope`
    pub permissions: Vec<String>,
    /// Whether it is a service account's.
    pub is_service: bool,
    /// `client_id`, else `azp`
    pub client_id: Option<String>,
    /// `email`
    pub email: Option<String>,
    /// `name`
    pub name: Option<String>,
    /// `tenant_name`
    pub tenant_name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Raw {
    iss: Option<Value>,
    sub: Option<Value>,
    aud: Option<OneOrMany>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    tenant_id: Option<String>,
    partner_id: Option<String>,
    #[serde(default)]
    roles: Option<OneOrMany>,
    #[serde(default)]
    role: Option<OneOrMany>,
    #[serde(default)]
    permissions: Option<OneOrMany>,
    #[serde(default)]
    scope: Option<OneOrMany>,
    token_type: Option<String>,
    client_id: Option<String>,
    azp: Option<String>,
    email: Option<String>,
    name: Option<String>,
    tenant_name: Option<String>,
}

/// Issuers disagree on whether one value is a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn whole(this: Option<&OneOrMany>) -> &[String] {
        match this {
            None => &[],
            Some(OneOrMany::One(one)) => std::slice::from_ref(one),
            Some(OneOrMany::Many(many)) => many,
        }
    }
    /// Words between spaces, as in `scope`.
    fn words(this: Option<&OneOrMany>) -> impl Iterator<Item = String> {
        Self::whole(this).iter().flat_map(|s| s.split_whitespace()).map(str::to_owned)
    }
}

/// A token whose signature is right, and the key that it was proven by.
#[derive(Debug)]
pub(super) struct Signed {
    raw: Raw,
    key_id: String,
    key: Arc<Key>,
}

/// Proves `token` at the time `now` of the machine's clock.
pub async fn verify(token: &str, keys: &Keys, expect: &Expect, now: SystemTime) -> Result<Claims, Refusal> {
    let digest = Proven::digest(token);
    if let Some(known) = keys.proven.get(&digest)
        && keys.key(&known.key_id).await.is_ok_and(|key| Arc::ptr_eq(&key, &known.key))
    {
        return check(&known.raw, expect, now);
    }
    let signed = prove(token, keys).await?;
    let claims = check(&signed.raw, expect, now)?;
    keys.proven.put(digest, Arc::new(signed));
    Ok(claims)
}

/// Form and signature.
async fn prove(token: &str, keys: &Keys) -> Result<Signed, Refusal> {
    let Header { algorithm, key_id } = read_header(token)?;
    let key = keys.key(&key_id).await.map_err(|e| match e {
        KeyError::Unknown => Refusal::Invalid("the token is signed with an unknown key"),
        KeyError::Unavailable => Refusal::Unavailable,
    })?;
    if key.algorithm != algorithm {
        return Err(Refusal::Invalid("the token's algorithm is not that of its key"));
    }
    let mut how = Validation::new(key.algorithm);
    // Claims are checked by `check`, with our clock and our words; here it is the signature alone.
    how.required_spec_claims.clear();
    (how.validate_exp, how.validate_nbf, how.validate_aud) = (false, false, false);
    let decoded = jsonwebtoken::decode::<Raw>(token, &key.decoding, &how).map_err(|e| match e.kind() {
        jsonwebtoken::errors::ErrorKind::Json(_) => {
            Refusal::Invalid("the token's claims have the wrong form")
        }
        _ => Refusal::Invalid("the token's signature is wrong"),
    })?;
    Ok(Signed { raw: decoded.claims, key_id, key })
}

struct Header {
    algorithm: Algorithm,
    key_id: String,
}

fn read_header(token: &str) -> Result<Header, Refusal> {
    const FORM: Refusal = Refusal::Invalid("that is not a token");
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refusal::Invalid("the token is too long"));
    }
    let mut parts = token.split('.');
    let (Some(first), Some(_), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(FORM);
    };
    let header = URL_SAFE_NO_PAD.decode(first).map_err(|_| FORM)?;
    let header: Map<String, Value> = serde_json::from_slice(&header).map_err(|_| FORM)?;
    if header.keys().any(|name| REFUSED_HEADERS.contains(&name.as_str())) {
        return Err(Refusal::Invalid("the token's header holds what it must not"));
    }
    let algorithm = match header.get("alg").and_then(Value::as_str) {
        Some("RS256") => Algorithm::RS256,
        Some("ES256") => Algorithm::ES256,
        Some("EdDSA") => Algorithm::EdDSA,
        _ => return Err(Refusal::Invalid("the token's algorithm is not accepted")),
    };
    if signature.is_empty() {
        return Err(Refusal::Invalid("the token is not signed"));
    }
    // Other kinds of tokens of the same issuer (logout tokens, proofs) must not pass as access tokens.
    if let Some(kind) = header.get("typ") {
        let kind = kind.as_str().unwrap_or_default().to_ascii_lowercase();
        if !["jwt", "at+jwt", "application/at+jwt"].contains(&kind.as_str()) {
            return Err(Refusal::Invalid("that is another kind of token"));
        }
    }
    let key_id =
        header.get("kid").and_then(Value::as_str).filter(|id| !id.is_empty() && id.len() <= KEY_ID_MAX);
    let key_id = key_id.ok_or(Refusal::Invalid("the token does not name its key"))?.to_owned();
    Ok(Header { algorithm, key_id })
}

fn check(raw: &Raw, expect: &Expect, now: SystemTime) -> Result<Claims, Refusal> {
    let issuer = raw.iss.as_ref().and_then(Value::as_str).unwrap_or_default();
    if !is_issuer(issuer, &expect.issuer, raw.tenant_id.as_deref()) {
        return Err(Refusal::Invalid("the token is from another issuer"));
    }
    let audience = OneOrMany::whole(raw.aud.as_ref());
    if !expect.audience.is_empty() && !audience.iter().any(|a| expect.audience.contains(a)) {
        return Err(Refusal::Invalid("the token is for another audience"));
    }
    let now = i64::try_from(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
    let leeway = i64::try_from(expect.leeway.as_secs()).unwrap_or_default();
    let expires_at = seconds(raw.exp.as_ref())?.ok_or(Refusal::Invalid("the token has no end"))?;
    if now >= expires_at.saturating_add(leeway) {
        return Err(Refusal::Invalid("the token has expired"));
    }
    let issued_at = seconds(raw.iat.as_ref())?;
    for begin in [seconds(raw.nbf.as_ref())?, issued_at].into_iter().flatten() {
        if begin > now.saturating_add(leeway) {
            return Err(Refusal::Invalid("the token is not valid yet"));
        }
    }
    let is_service = matches!(raw.token_type.as_deref(), Some("client_credentials" | "app_scope"));
    let subject = raw.sub.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    if subject.is_empty() {
        return Err(Refusal::Invalid("the token does not say whose it is"));
    }
    let mut roles = OneOrMany::whole(raw.roles.as_ref()).to_vec();
    roles.extend(OneOrMany::words(raw.role.as_ref()));
    let permissions = OneOrMany::words(raw.permissions.as_ref()).chain(OneOrMany::words(raw.scope.as_ref()));
    let text = |value: &Option<String>, max: usize| value.clone().filter(|v| v.chars().count() <= max);
    Ok(Claims {
        issued_at,
        expires_at,
        tenant_id: raw.tenant_id.clone().filter(|v| !v.is_empty()),
        partner_id: raw.partner_id.clone().filter(|v| !v.is_empty()),
        roles,
        permissions: permissions.collect(),
        is_service,
        client_id: raw
            .client_id
            .clone()
            .or_else(|| raw.azp.clone())
            .or_else(|| is_service.then(|| subject.clone())),
        subject,
        email: text(&raw.email, 254),
        name: text(&raw.name, 200),
        tenant_name: text(&raw.tenant_name, 200),
    })
}

/// The issuer itself, or its address for the tenant that the token names: ScaiKey signs both with the same keys.
fn is_issuer(said: &str, expected: &str, tenant_id: Option<&str>) -> bool {
    said == expected
        || tenant_id.is_some_and(|t| {
            said.strip_prefix(expected).and_then(|rest| rest.strip_prefix("/tenants/")) == Some(t)
        })
}

/// A time as whole seconds; the standard allows fractions.
fn seconds(value: Option<&Value>) -> Result<Option<i64>, Refusal> {
    const WRONG: Refusal = Refusal::Invalid("the token's times have the wrong form");
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(n)) => {
            if let Some(whole) = n.as_i64() {
                return Ok(Some(whole));
            }
            let text = n.to_string();
            let whole = text.split_once('.').map(|(whole, _)| whole).ok_or(WRONG)?;
            whole.parse().map(Some).map_err(|_| WRONG)
        }
        Some(_) => Err(WRONG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::dev_issuer::{DevIssuer, Mint};
    use crate::identity::jwks::tests::{Fixed, rsa_key};
    use jsonwebtoken::EncodingKey;
    use serde_json::json;

    const NOW: u64 = 1_800_000_000;
    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
    }
    fn expect() -> Expect {
        Expect {
            issuer: "https://id.test".into(),
            audience: vec!["scaicontrol".into()],
            leeway: Duration::from_secs(60),
        }
    }
    fn good() -> Value {
        json!({"iss": "https://id.test", "aud": "scaicontrol", "sub": "usr_1", "exp": NOW + 600, "iat": NOW, "tenant_id": "tnt_1",
               "partner_id": "prt_1", "roles": ["tenant_admin"], "scope": "openid billing:read"})
    }
    fn with(change: impl FnOnce(&mut Map<String, Value>)) -> Value {
        let mut claims = good();
        change(claims.as_object_mut().expect("an object"));
        claims
    }

    struct Bench {
        issuer: DevIssuer,
        keys: Keys,
        source: Arc<Fixed>,
    }
    fn bench() -> Bench {
        let issuer = DevIssuer::generate("https://id.test");
        let source = Arc::new(Fixed::new(issuer.jwks()));
        Bench {
            keys: Keys::new(source.clone(), Duration::from_secs(3600), Duration::from_secs(30)),
            issuer,
            source,
        }
    }
    impl Bench {
        async fn check(&self, token: &str) -> Result<Claims, Refusal> {
            verify(token, &self.keys, &expect(), now()).await
        }
        async fn check_claims(&self, claims: &Value) -> Result<Claims, Refusal> {
            self.check(&self.issuer.sign(claims)).await
        }
    }
    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "an issuer's times are those of the machine's clock")]
    async fn a_good_token_says_what_it_says() {
        let bench = bench();
        let claims = bench.check_claims(&good()).await.expect("accepted");
        assert_eq!(claims.subject, "usr_1");
        assert_eq!(claims.roles, ["tenant_admin"]);
        assert_eq!(claims.permissions, ["openid", "billing:read"]);
        assert!(!claims.is_service);
        let service = with(|c| {
            c.insert("token_type".into(), json!("client_credentials"));
            c.insert("role".into(), json!("service_account"));
            c.insert("aud".into(), json!(["other", "scaicontrol"]));
            c.insert("exp".into(), json!(1_800_000_600.5));
        });
        let claims = bench.check_claims(&service).await.expect("accepted");
        assert!(claims.is_service);
        assert_eq!(claims.client_id.as_deref(), Some("usr_1"));
        assert_eq!(claims.roles, ["tenant_admin", "service_account"]);
        let minted = bench.issuer.mint(&Mint { subject: "usr_2".into(), ..Mint::default() });
        verify(&minted, &bench.keys, &expect(), SystemTime::now())
            .await
            .expect("what the issuer mints is accepted");
    }

    #[tokio::test]
    async fn a_token_that_was_accepted_is_asked_again_each_time() {
        let bench = bench();
        let token = bench.issuer.sign(&good());
        bench.check(&token).await.expect("accepted");
        assert!(bench.keys.proven.get(&Proven::digest(&token)).is_some());
        bench.check(&token).await.expect("accepted again");
        let later = verify(&token, &bench.keys, &expect(), now() + Duration::from_secs(661)).await;
        assert_eq!(later, Err(Refusal::Invalid("the token has expired")));
        let elsewhere = Expect { issuer: "https://other.test".into(), ..expect() };
        assert!(verify(&token, &bench.keys, &elsewhere, now()).await.is_err());
        let mut forged = token.clone();
        forged.replace_range(forged.len() - 8..forged.len() - 4, "AAAA");
        assert_eq!(bench.check(&forged).await, Err(Refusal::Invalid("the token's signature is wrong")));
        assert!(bench.keys.proven.get(&Proven::digest(&forged)).is_none(), "what is wrong is not kept");
        // Another key under the same id: what the old one proved counts no longer.
        let mut jwks: Value = serde_json::from_slice(&bench.issuer.jwks()).expect("json");
        let other: Value =
            serde_json::from_slice(&DevIssuer::generate("https://id.test").jwks()).expect("json");
        jwks["keys"][0]["x"] = other["keys"][0]["x"].clone();
        bench.source.say(Ok(jwks.to_string().into_bytes()));
        assert!(bench.keys.key("unknown").await.is_err(), "makes it fetch");
        assert_eq!(bench.check(&token).await, Err(Refusal::Invalid("the token's signature is wrong")));
    }

    #[tokio::test]
    async fn claims_that_do_not_fit_are_refused() {
        let bench = bench();
        for (what, claims) in [
            ("expired", with(|c| drop(c.insert("exp".into(), json!(NOW - 60))))),
            ("without end", with(|c| drop(c.remove("exp")))),
            ("end as text", with(|c| drop(c.insert("exp".into(), json!("9999999999"))))),
            ("future nbf", with(|c| drop(c.insert("nbf".into(), json!(NOW + 61))))),
            ("future iat", with(|c| drop(c.insert("iat".into(), json!(NOW + 61))))),
            ("other issuer", with(|c| drop(c.insert("iss".into(), json!("https://evil.test"))))),
            ("longer issuer", with(|c| drop(c.insert("iss".into(), json!("https://id.test.evil.test"))))),
            (
                "issuer of another tenant",
                with(|c| drop(c.insert("iss".into(), json!("https://id.test/tenants/tnt_2")))),
            ),
            ("no issuer", with(|c| drop(c.remove("iss")))),
            ("other audience", with(|c| drop(c.insert("aud".into(), json!(["a", "b"]))))),
            ("no audience", with(|c| drop(c.remove("aud")))),
            ("no subject", with(|c| drop(c.remove("sub")))),
            ("roles of a wrong form", with(|c| drop(c.insert("roles".into(), json!({"a": 1}))))),
        ] {
            assert!(matches!(bench.check_claims(&claims).await, Err(Refusal::Invalid(_))), "{what}");
        }
        for (what, claims) in [
            ("ended within the leeway", with(|c| drop(c.insert("exp".into(), json!(NOW - 59))))),
            ("begins within the leeway", with(|c| drop(c.insert("nbf".into(), json!(NOW + 60))))),
            (
                "the tenant's address of the issuer",
                with(|c| drop(c.insert("iss".into(), json!("https://id.test/tenants/tnt_1")))),
            ),
        ] {
            assert!(bench.check_claims(&claims).await.is_ok(), "{what}");
        }
    }

    #[tokio::test]
    async fn headers_that_choose_the_proof_are_refused() {
        let bench = bench();
        let kid = bench.issuer.key_id().to_owned();
        let jwk = serde_json::from_slice::<Value>(&bench.issuer.jwks()).expect("json")["keys"][0].clone();
        let mine = DevIssuer::generate("https://id.test");
        for header in [
            json!({"alg": "EdDSA", "kid": kid, "jwk": jwk}),
            json!({"alg": "EdDSA", "kid": kid, "jku": "https://evil.test/jwks.json"}),
            json!({"alg": "EdDSA", "kid": kid, "x5u": "https://evil.test/cert"}),
            json!({"alg": "EdDSA", "kid": kid, "x5c": ["AAAA"]}),
            json!({"alg": "EdDSA", "kid": kid, "crit": ["exp"]}),
            json!({"alg": "EdDSA", "kid": kid, "typ": "logout+jwt"}),
            json!({"alg": "EdDSA"}),
            json!({"alg": "EdDSA", "kid": ""}),
            json!({"alg": "RS256", "kid": kid}),
            json!({"alg": "ES256", "kid": kid}),
            json!({"alg": "eddsa", "kid": kid}),
            json!({"kid": kid}),
        ] {
            // Signed with the issuer's own key: only the header is wrong.
            let token = bench.issuer.sign_with_header(&header, &good());
            assert!(matches!(bench.check(&token).await, Err(Refusal::Invalid(_))), "{header}");
        }
        // And with a key of the attacker's, under the issuer's key id.
        let token = mine.sign_with_header(&json!({"alg": "EdDSA", "kid": kid}), &good());
        assert_eq!(bench.check(&token).await, Err(Refusal::Invalid("the token's signature is wrong")));
        assert_eq!(bench.source.fetches(), 1, "no refused header makes us fetch");
    }

    #[tokio::test]
    async fn none_and_hmac_are_refused() {
        let bench = bench();
        let kid = bench.issuer.key_id().to_owned();
        for alg in ["none", "None", "NONE", "", "HS256", "HS384", "HS512", "RS512", "PS256"] {
            let head = part(&json!({"alg": alg, "kid": kid, "typ": "JWT"}));
            for signature in ["", "AAAA"] {
                let token = format!("{head}.{}.{signature}", part(&good()));
                assert!(matches!(bench.check(&token).await, Err(Refusal::Invalid(_))), "{alg}");
            }
        }
        // HMAC whose secret is the public key, in each form that a careless verifier might use.
        let (public_der, jwks) = rsa_key();
        let keys =
            Keys::new(Arc::new(Fixed::new(jwks.clone())), Duration::from_secs(3600), Duration::from_secs(30));
        let mut header = jsonwebtoken::Header::new(Algorithm::HS256);
        header.kid = Some("rsa".into());
        for secret in [public_der, jwks] {
            let token =
                jsonwebtoken::encode(&header, &good(), &EncodingKey::from_secret(&secret)).expect("signs");
            let refusal = verify(&token, &keys, &expect(), now()).await;
            assert_eq!(refusal, Err(Refusal::Invalid("the token's algorithm is not accepted")));
        }
    }

    #[tokio::test]
    async fn what_is_changed_after_signing_is_refused() {
        let bench = bench();
        let token = bench.issuer.sign(&good());
        let parts: Vec<&str> = token.split('.').collect();
        let other = part(&with(|c| drop(c.insert("roles".into(), json!(["super_admin"])))));
        for (what, wrong) in [
            ("other claims", format!("{}.{other}.{}", parts[0], parts[2])),
            ("no signature", format!("{}.{}.", parts[0], parts[1])),
            ("a part too few", format!("{}.{}", parts[0], parts[1])),
            ("a part too many", format!("{token}.AAAA")),
            ("a space", format!(" {token}")),
            ("padding", format!("{}=.{}.{}", parts[0], parts[1], parts[2])),
            ("nothing", String::new()),
            ("too long", format!("{token}{}", "A".repeat(TOKEN_BYTES_MAX))),
        ] {
            assert!(matches!(bench.check(&wrong).await, Err(Refusal::Invalid(_))), "{what}");
        }
    }
}
