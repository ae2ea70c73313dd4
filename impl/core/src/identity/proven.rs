//! Tokens whose signature was found right, so that a caller who shows one with every request is not proven every time.
//!
//! Whether a signature is right depends on the token and its key alone. So what is kept counts for as long as the issuer
//! has that very key; what time or the configuration can change (times, issuer, audience) is checked at each use. Only an
//! accepted token gets in: wrong ones cost their sender a whole proof each, and us no memory.
use super::jwt::Signed;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tokens in memory; when there are more, all are forgotten.
const TOKENS_MAX: usize = 4096;

/// SHA-256 of a token.
pub(super) type TokenDigest = [u8; 32];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Proven(Mutex<HashMap<TokenDigest, Arc<Signed>>>);

impl Proven {
    /// What a token is found by: the whole of it, its signature included.
    pub fn digest(token: &str) -> TokenDigest {
        Sha256::digest(token).into()
    }

    pub fn get(&self, digest: &TokenDigest) -> Option<Arc<Signed>> {
        self.lock().get(digest).cloned()
    }

    pub fn put(&self, digest: TokenDigest, signed: Arc<Signed>) {
        let mut tokens = self.lock();
        if TOKENS_MAX <= tokens.len() {
            tokens.clear();
        }
        tokens.insert(digest, signed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenDigest, Arc<Signed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
