//! The issuer's keys: fetched, kept, and fetched again when they may have changed.
//!
//! - Keys are used for `ttl`, then fetched again before the next use; when that fails, the last ones stay in use: an
//!   outage of the issuer must not become ours.
//! - An unknown key id causes one fetch, at most one in each `cooldown`: whoever sends random key ids costs the issuer
//!   one request, and the others nothing.
//! - However many requests find the keys missing at once, one fetches and the others wait for it.
use super::proven::Proven;
use async_trait::async_trait;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

/// More keys than this are no key set.
const KEYS_MAX: usize = 100;
/// After a failed fetch nobody tries again for this long.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// An RSA key shorter than this proves nothing.
const RSA_BYTES_MIN: usize = 256;

/// Where the key set comes from.
#[async_trait]
pub trait KeySource: Send + Sync + std::fmt::Debug {
    /// The document as it is now; bounded in size and time.
    async fn fetch(&self) -> Result<Vec<u8>, String>;
}

/// A key, and the one algorithm it is for.
#[derive(Clone)]
pub struct Key {
    /// What the header of a token must say.
    pub algorithm: Algorithm,
    /// The key itself.
    pub decoding: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The issuer has no key of that id.
    Unknown,
    /// The issuer does not answer, and never did.
    Unavailable,
}

/// The keys of one issuer.
#[derive(Debug)]
pub struct Keys {
    source: Arc<dyn KeySource>,
    ttl: Duration,
    cooldown: Duration,
    known: RwLock<Known>,
    fetching: tokio::sync::Mutex<()>,
    /// What was proven by these keys.
    pub(super) proven: Proven,
}

#[derive(Clone, Debug, Default)]
struct Known {
    keys: HashMap<String, Arc<Key>>,
    /// Counts successful fetches, so that who waited for one knows that it happened.
    edition: u64,
    fetched_at: Option<Instant>,
    failed_at: Option<Instant>,
    /// When an unknown key id last caused a fetch.
    asked_for_unknown_at: Option<Instant>,
}

fn within(at: Option<Instant>, span: Duration) -> bool {
    at.is_some_and(|at| at.elapsed() < span)
}

impl Keys {
    /// No key is fetched before one is asked for.
    pub fn new(source: Arc<dyn KeySource>, ttl: Duration, cooldown: Duration) -> Keys {
        Keys {
            source,
            ttl,
            cooldown,
            known: RwLock::default(),
            fetching: tokio::sync::Mutex::new(()),
            proven: Proven::default(),
        }
    }

    /// The key of that id. The same one until the keys are fetched again.
    pub async fn key(&self, id: &str) -> Result<Arc<Key>, KeyError> {
        let seen = {
            let known = self.read();
            if within(known.fetched_at, self.ttl) || within(known.failed_at, RETRY_AFTER) {
                if let Some(key) = known.keys.get(id) {
                    return Ok(key.clone());
                }
                if known.fetched_at.is_none() {
                    return Err(KeyError::Unavailable);
                }
                if within(known.asked_for_unknown_at, self.cooldown) {
                    return Err(KeyError::Unknown);
                }
            }
            known.edition
        };
        let _one = self.fetching.lock().await;
        {
            // Somebody else may have fetched, or used up the one fetch for unknown ids, while we waited.
            let mut known = self.write();
            let fresh = known.edition != seen || within(known.failed_at, RETRY_AFTER);
            let stale = !within(known.fetched_at, self.ttl);
            if fresh || (!stale && within(known.asked_for_unknown_at, self.cooldown)) {
                return Self::answer(&known, id);
            }
            if !stale {
                known.asked_for_unknown_at = Some(Instant::now());
            }
        }
        let fetched = self.source.fetch().await.and_then(|body| parse(&body));
        let mut known = self.write();
        match fetched {
            Ok(keys) => {
                known.keys = keys;
                known.edition += 1;
                known.fetched_at = Some(Instant::now());
                known.failed_at = None;
            }
            Err(_) => known.failed_at = Some(Instant::now()),
        }
        Self::answer(&known, id)
    }

    /// Whether keys are there, for the health page.
    pub fn is_ready(&self) -> bool {
        self.read().fetched_at.is_some()
    }

    fn answer(known: &Known, id: &str) -> Result<Arc<Key>, KeyError> {
        match known.keys.get(id) {
            Some(key) => Ok(key.clone()),
            None if known.fetched_at.is_none() => Err(KeyError::Unavailable),
            None => Err(KeyError::Unknown),
        }
    }
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The keys in a document that can be used here. A key that we do not understand is passed over; a document without a
/// single usable one is a failure, and the last keys stay.
fn parse(body: &[u8]) -> Result<HashMap<String, Arc<Key>>, String> {
    #[derive(serde::Deserialize)]
    struct Document {
        keys: Vec<serde_json::Value>,
    }
    let document: Document = serde_json::from_slice(body).map_err(|e| format!("not a key set: {e}"))?;
    if document.keys.len() > KEYS_MAX {
        return Err(format!("{} keys are too many", document.keys.len()));
    }
    let mut keys = HashMap::new();
    for value in document.keys {
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else { continue };
        if let (Some(id), Some(key)) = (jwk.common.key_id.clone(), usable(&jwk)) {
            keys.entry(id).or_insert_with(|| Arc::new(key));
        }
    }
    if keys.is_empty() { Err("no usable key".to_owned()) } else { Ok(keys) }
}

fn usable(jwk: &Jwk) -> Option<Key> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            use base64::Engine;
            let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&rsa.n).ok()?;
            if modulus.iter().skip_while(|b| **b == 0).count() < RSA_BYTES_MIN {
                return None;
            }
            (Algorithm::RS256, KeyAlgorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|said| said != named) {
        return None;
    }
    Some(Key { algorithm, decoding: DecodingKey::from_jwk(jwk).ok()? })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::identity::dev_issuer::DevIssuer;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A source that answers what it is told, and counts.
    #[derive(Debug)]
    pub(crate) struct Fixed {
        answer: Mutex<Result<Vec<u8>, String>>,
        count: AtomicU32,
    }
    impl Fixed {
        pub(crate) fn new(document: Vec<u8>) -> Self {
            Fixed { answer: Mutex::new(Ok(document)), count: AtomicU32::new(0) }
        }
        pub(crate) fn say(&self, answer: Result<Vec<u8>, String>) {
            *self.answer.lock().expect("lock") = answer;
        }
        pub(crate) fn fetches(&self) -> u32 {
            self.count.load(Ordering::SeqCst)
        }
    }
    #[async_trait]
    impl KeySource for Fixed {
        async fn fetch(&self) -> Result<Vec<u8>, String> {
            self.count.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            self.answer.lock().expect("lock").clone()
        }
    }

    /// A public RSA key of 2048 bits: its DER, and a key set with it.
    pub(crate) fn rsa_key() -> (Vec<u8>, Vec<u8>) {
        use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
        use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
        use base64::Engine;
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key");
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("der");
        let public = pair.public_key();
        let b64 = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let (n, e) = (
            public.modulus().big_endian_without_leading_zero(),
            public.exponent().big_endian_without_leading_zero(),
        );
        let jwks = serde_json::json!({"keys": [{"kty": "RSA", "kid": "rsa", "n": b64(n), "e": b64(e), "use": "sig"}]});
        (der.as_ref().to_vec(), jwks.to_string().into_bytes())
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_flood_of_unknown_ids_costs_one_fetch() {
        let issuer = DevIssuer::generate("https://id.test");
        let source = Arc::new(Fixed::new(issuer.jwks()));
        let keys = Keys::new(source.clone(), HOUR, HOUR);
        keys.key(issuer.key_id()).await.expect("known");
        assert_eq!(source.fetches(), 1);
        let ids: Vec<String> = (0..1000).map(|i| format!("random-{i}")).collect();
        let answers = futures::future::join_all(ids.iter().map(|id| keys.key(id))).await;
        assert!(answers.iter().all(|a| matches!(a, Err(KeyError::Unknown))));
        assert_eq!(source.fetches(), 2, "one for the start, one for the flood");
        keys.key(issuer.key_id()).await.expect("still known");
    }

    #[tokio::test]
    async fn a_flood_at_the_start_costs_one_fetch_too() {
        let issuer = DevIssuer::generate("https://id.test");
        let source = Arc::new(Fixed::new(issuer.jwks()));
        let keys = Keys::new(source.clone(), HOUR, HOUR);
        let answers = futures::future::join_all((0..100).map(|_| keys.key(issuer.key_id()))).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(source.fetches(), 1);
    }

    #[tokio::test]
    async fn a_new_key_is_found_at_once() {
        let (old, new) = (DevIssuer::generate("https://id.test"), DevIssuer::generate("https://id.test"));
        let source = Arc::new(Fixed::new(old.jwks()));
        let keys = Keys::new(source.clone(), HOUR, HOUR);
        keys.key(old.key_id()).await.expect("known");
        source.say(Ok(new.jwks()));
        keys.key(new.key_id()).await.expect("fetched again");
        assert!(
            matches!(keys.key(old.key_id()).await, Err(KeyError::Unknown)),
            "a key that the issuer took back is gone"
        );
    }

    #[tokio::test]
    async fn an_outage_keeps_the_last_keys() {
        let issuer = DevIssuer::generate("https://id.test");
        let source = Arc::new(Fixed::new(issuer.jwks()));
        let keys = Keys::new(source.clone(), Duration::ZERO, HOUR);
        keys.key(issuer.key_id()).await.expect("known");
        for answer in [Err("down".to_owned()), Ok(b"<html>".to_vec()), Ok(br#"{"keys": []}"#.to_vec())] {
            source.say(answer);
            keys.key(issuer.key_id()).await.expect("the last keys");
        }
        assert_eq!(source.fetches(), 2, "nobody tries again right after a failure");
    }

    #[tokio::test]
    async fn an_outage_from_the_start_is_said() {
        let source = Arc::new(Fixed::new(vec![]));
        let keys = Keys::new(source.clone(), HOUR, HOUR);
        for _ in 0..5 {
            assert!(matches!(keys.key("any").await, Err(KeyError::Unavailable)));
        }
        assert_eq!(source.fetches(), 1);
        assert!(!keys.is_ready());
    }

    #[test]
    fn keys_that_cannot_be_used_are_passed_over() {
        let (_, rsa) = rsa_key();
        let good = serde_json::from_slice::<serde_json::Value>(&rsa).expect("json")["keys"][0].clone();
        let change = |name: &str, value: serde_json::Value| {
            let mut key = good.clone();
            key[name] = value;
            key
        };
        let weak = serde_json::json!("v".repeat(170)); // 1020 bits
        let bad = [
            change("use", "enc".into()),
            change("alg", "RS512".into()),
            change("alg", "HS256".into()),
            change("kid", serde_json::Value::Null),
            change("n", weak),
            serde_json::json!({"kty": "oct", "kid": "rsa", "k": "c2VjcmV0"}),
            serde_json::json!({"kty": "EC", "crv": "P-521", "kid": "rsa", "x": "AA", "y": "AA"}),
            serde_json::json!("not a key"),
        ];
        for key in &bad {
            assert!(parse(serde_json::json!({"keys": [key]}).to_string().as_bytes()).is_err(), "{key}");
        }
        let mut all = bad.to_vec();
        all.push(change("alg", "RS256".into()));
        let keys = parse(serde_json::json!({"keys": all}).to_string().as_bytes()).expect("one is good");
        assert_eq!(keys.len(), 1);
        assert_eq!(keys["rsa"].algorithm, Algorithm::RS256);
    }
}
