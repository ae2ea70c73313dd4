//! An issuer of tokens for the development server and for tests.
//!
//! It stands in for ScaiKey: it has a key, publishes it, and signs. The server proves its tokens exactly as it proves
//! those of the real one, over HTTP, by the same code. `serve` never starts one.
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the key set is, under the issuer's address.
pub const JWKS_PATH: &str = "/api/v1/platform/.well-known/jwks.json";
/// The audience of its tokens.
pub const AUDIENCE: &str = "scaicontrol";
/// How long its tokens are good for.
pub const LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// See the module.
pub struct DevIssuer {
    issuer: String,
    pair: Ed25519KeyPair,
    key_id: String,
}

impl std::fmt::Debug for DevIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevIssuer")
            .field("issuer", &self.issuer)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// What a minted token says.
#[derive(Clone, Debug, Default)]
pub struct Mint {
    /// `sub`
    pub subject: String,
    /// `tenant_id`
    pub tenant_id: Option<String>,
    /// `partner_id`
    pub partner_id: Option<String>,
    /// `roles`
    pub roles: Vec<String>,
    /// `permissions`
    pub permissions: Vec<String>,
    /// The client of a service account; makes it a service's token.
    pub client_id: Option<String>,
    /// `email`
    pub email: Option<String>,
    /// `name`
    pub name: Option<String>,
}

impl DevIssuer {
    /// An issuer with a key of its own that nobody keeps.
    #[expect(clippy::missing_panics_doc, reason = "only a machine without randomness fails here")]
    pub fn generate(issuer: &str) -> DevIssuer {
        Self::with_pair(issuer, Ed25519KeyPair::generate().expect("randomness"))
    }

    /// An issuer whose key is in a file; made when it is not there yet, readable by its owner alone.
    pub fn open(file: &Path, issuer: &str) -> io::Result<DevIssuer> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let wrong =
            || io::Error::new(io::ErrorKind::InvalidData, format!("{} does not hold a key", file.display()));
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let der = STANDARD.decode(text.trim()).map_err(|_| wrong())?;
                Ok(Self::with_pair(issuer, Ed25519KeyPair::from_pkcs8(&der).map_err(|_| wrong())?))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let pair = Ed25519KeyPair::generate().map_err(io::Error::other)?;
                let der = pair.to_pkcs8().map_err(io::Error::other)?;
                let mut out = std::fs::File::options().write(true).create_new(true).mode(0o600).open(file)?;
                writeln!(out, "{}", STANDARD.encode(der.as_ref()))?;
                Ok(Self::with_pair(issuer, pair))
            }
            Err(e) => Err(e),
        }
    }

    fn with_pair(issuer: &str, pair: Ed25519KeyPair) -> DevIssuer {
        let digest = Sha256::digest(pair.public_key().as_ref());
        DevIssuer { issuer: issuer.to_owned(), key_id: format!("dev-{}", hex::encode(&digest[..8])), pair }
    }

    /// `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
    /// `kid` of its tokens.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The key set, as it is published.
    pub fn jwks(&self) -> Vec<u8> {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        let key =
            json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.key_id, "x": x});
        json!({"keys": [key]}).to_string().into_bytes()
    }

    /// A token that is good for [`LIFETIME`].
    #[expect(clippy::disallowed_methods, reason = "an issuer's times are those of the machine's clock")]
    pub fn mint(&self, what: &Mint) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut claims = json!({
            "iss": self.issuer, "aud": AUDIENCE, "sub": what.subject, "iat": now.as_secs(), "nbf": now.as_secs(),
            "exp": (now + LIFETIME).as_secs(), "roles": what.roles, "permissions": what.permissions,
        });
        let optional = [
            ("tenant_id", &what.tenant_id),
            ("partner_id", &what.partner_id),
            ("client_id", &what.client_id),
            ("email", &what.email),
            ("name", &what.name),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                claims[name] = value.as_str().into();
            }
        }
        if what.client_id.is_some() {
            claims["token_type"] = "client_credentials".into();
        }
        self.sign(&claims)
    }

    /// A token with exactly these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with_header(&json!({"alg": "EdDSA", "typ": "JWT", "kid": self.key_id}), claims)
    }

    /// A token with exactly this header and these claims.
    pub fn sign_with_header(&self, header: &Value, claims: &Value) -> String {
        let (header, claims) = (header.to_string(), claims.to_string());
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_kept_and_closed_to_others() {
        let file = std::env::temp_dir().join(format!("scaicontrol-issuer-{}", std::process::id()));
        let _ = std::fs::remove_file(&file);
        let made = DevIssuer::open(&file, "http://a").expect("made");
        assert_eq!(std::fs::metadata(&file).expect("file").permissions().mode() & 0o777, 0o600);
        let again = DevIssuer::open(&file, "http://b").expect("found");
        assert_eq!(made.key_id(), again.key_id());
        assert_eq!(made.jwks(), again.jwks());
        std::fs::write(&file, "nonsense").expect("write");
        assert!(DevIssuer::open(&file, "http://a").is_err());
        let _ = std::fs::remove_file(file);
    }
}
