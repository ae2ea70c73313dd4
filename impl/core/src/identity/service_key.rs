//! Keys of services: `sck_<key id>_<secret>`.
//!
//! The id is for finding the row; the secret is 32 random bytes, so a plain SHA-256 is stored (there is nothing to
//! guess that a slow hash would protect) and compared in constant time.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const PREFIX: &str = "sck_";
const SECRET_BYTES: usize = 32;
const ID_CHARS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const ID_LENGTH: usize = 16;

/// A key as it is made; the text is shown once.
#[derive(Debug)]
pub struct NewKey {
    /// For finding it again.
    pub key_id: String,
    /// What the service sends.
    pub text: SecretString,
    /// What is stored.
    pub sha256: [u8; 32],
}

/// Makes a key.
pub fn generate() -> NewKey {
    let mut rng = rand::rng();
    let mut random = [0_u8; ID_LENGTH];
    rng.fill_bytes(&mut random);
    let key_id: String =
        random.iter().map(|b| char::from(ID_CHARS[usize::from(*b) % ID_CHARS.len()])).collect();
    let mut secret = [0_u8; SECRET_BYTES];
    rng.fill_bytes(&mut secret);
    let text = SecretString::from(format!("{PREFIX}{key_id}_{}", URL_SAFE_NO_PAD.encode(secret)));
    NewKey { key_id, text, sha256: Sha256::digest(secret).into() }
}

/// A key as a caller showed it.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown {
    /// Says which row.
    pub key_id: String,
    sha256: [u8; 32],
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Shown {
    /// `None` when it does not have the form of a key.
    pub fn parse(text: &str) -> Option<Shown> {
        let (key_id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        if !(8..=32).contains(&key_id.len()) || !key_id.bytes().all(|b| ID_CHARS.contains(&b)) {
            return None;
        }
        let secret = URL_SAFE_NO_PAD.decode(secret).ok().filter(|s| s.len() == SECRET_BYTES)?;
        Some(Shown { key_id: key_id.to_owned(), sha256: Sha256::digest(secret).into() })
    }

    /// Whether it is the key with that stored hash; takes the same time whatever the hash.
    pub fn matches(&self, stored: &[u8]) -> bool {
        self.sha256.ct_eq(stored).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_key_matches_itself_and_nothing_else() {
        let (one, two) = (generate(), generate());
        let shown = Shown::parse(one.text.expose_secret()).expect("the form of a key");
        assert_eq!(shown.key_id, one.key_id);
        assert!(shown.matches(&one.sha256));
        assert!(!shown.matches(&two.sha256));
        assert!(!shown.matches(&[]));
        assert!(!shown.matches(&one.sha256[..31]));
        assert!(!format!("{one:?} {shown:?}").contains(one.text.expose_secret()));
    }

    #[test]
    fn other_texts_are_no_keys() {
        let key = generate();
        let text = key.text.expose_secret();
        for wrong in [
            "",
            "sck_",
            "sck__",
            "sck_abcdefgh_",
            "sck_abcdefgh_c2hvcnQ",
            &text[4..],
            &format!("{text}A"),
            &text[..text.len() - 1],
            &text.replace("sck_", "sck_'"),
            &text.to_uppercase(),
        ] {
            assert!(Shown::parse(wrong).is_none(), "{wrong}");
        }
    }
}
