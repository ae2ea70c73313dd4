//! ScaiKey, the issuer of the tokens: its keys, and the exchange of codes for tokens.
//!
//! The exchange exists because a browser must not hold the client's secret. What ScaiKey refuses is passed on in its
//! words (`error_description` is written for the caller, who chose the code and the address); what ScaiKey fails at is
//! ours to say.
use super::http;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::identity::jwks::KeySource;
use async_trait::async_trait;
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);
const JWKS_BYTES_MAX: usize = 256 * 1024;
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const MESSAGE_CHARS_MAX: usize = 300;

/// The gateway.
#[derive(Clone, Debug)]
pub struct ScaiKey {
    client: Client,
    jwks_url: String,
    token_url: String,
    client_id: Option<String>,
    client_secret: Option<SecretString>,
}

/// What ScaiKey gives for a code or a refresh token.
#[derive(Clone, Deserialize)]
#[expect(missing_docs, reason = "the names are those of OAuth")]
pub struct Tokens {
    pub access_token: String,
    #[serde(default = "bearer")]
    pub token_type: String,
    pub expires_in: Option<i64>,
    pub refresh_token: Option<String>,
    pub id_token: Option<String>,
    pub scope: Option<String>,
}

fn bearer() -> String {
    "Bearer".to_owned()
}

#[derive(Deserialize)]
struct Refused {
    error: Option<String>,
    error_description: Option<String>,
}

impl ScaiKey {
    /// The issuer of that configuration.
    pub fn new(config: &Config) -> Result<ScaiKey> {
        let auth = &config.auth;
        Ok(ScaiKey {
            client: http::client(TIMEOUT)?,
            jwks_url: auth.jwks_url(),
            token_url: auth.token_url(),
            client_id: auth.client_id.clone(),
            client_secret: auth.client_secret.clone(),
        })
    }

    /// Exchanges what `form` holds (a grant type and its fields) for tokens.
    pub async fn exchange(&self, form: &[(&str, &str)]) -> Result<Tokens> {
        let client_id = self.client_id.as_deref();
        let client_id =
            client_id.ok_or_else(|| Error::Unavailable("sign-in is not set up on this server".into()))?;
        let mut form = form.to_vec();
        let mut request = self.client.post(&self.token_url).header("accept", "application/json");
        match &self.client_secret {
            Some(secret) => request = request.basic_auth(client_id, Some(secret.expose_secret())),
            None => form.push(("client_id", client_id)),
        }
        let outage = || Error::Unavailable("the identity provider does not answer".into());
        let response = request.form(&form).send().await.map_err(|_| outage())?;
        let status = response.status();
        let body = http::read(response, ANSWER_BYTES_MAX).await.map_err(|_| outage())?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|_| outage());
        }
        if !status.is_client_error()
            || status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT
        {
            return Err(outage());
        }
        Err(refusal(status, &body).unwrap_or_else(outage))
    }
}

/// A refusal in the issuer's words; `None` when it is none that OAuth knows, as when the address is wrong.
fn refusal(status: StatusCode, body: &[u8]) -> Option<Error> {
    let said: Refused = serde_json::from_slice(body).ok()?;
    let code = said.error.filter(|e| !e.is_empty())?;
    let text = match said.error_description.filter(|d| !d.is_empty()) {
        Some(description) => format!("{code}: {description}"),
        None => code.clone(),
    };
    let text: String = text.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect();
    let client_refused = status == StatusCode::UNAUTHORIZED
        || matches!(code.as_str(), "invalid_client" | "unauthorized_client");
    Some(if client_refused { Error::Unauthorized(text) } else { Error::bad(text) })
}

#[async_trait]
impl KeySource for ScaiKey {
    async fn fetch(&self) -> Result<Vec<u8>, String> {
        let request = self
            .client
            .get(&self.jwks_url)
            .timeout(Duration::from_secs(5))
            .header("accept", "application/json");
        let response = request.send().await.map_err(|e| http::without_url(&e))?;
        if response.status() != StatusCode::OK {
            return Err(format!("the issuer answered {}", response.status()));
        }
        http::read(response, JWKS_BYTES_MAX).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_passed_on_in_bounded_words() {
        let refused = |status: u16, body: &str| {
            refusal(StatusCode::from_u16(status).expect("a status"), body.as_bytes())
        };
        let grant = refused(400, r#"{"error":"invalid_grant","error_description":"code\u0000 expired"}"#);
        assert!(
            matches!(grant, Some(Error::BadRequest { message, .. }) if message == "invalid_grant: code expired")
        );
        for (status, body) in
            [(401, r#"{"error":"invalid_client"}"#), (400, r#"{"error":"unauthorized_client"}"#)]
        {
            assert!(matches!(refused(status, body), Some(Error::Unauthorized(_))), "{body}");
        }
        let long = format!(r#"{{"error":"{}"}}"#, "x".repeat(5000));
        assert!(
            matches!(refused(400, &long), Some(Error::BadRequest { message, .. }) if message.len() == MESSAGE_CHARS_MAX)
        );
        for body in ["", "<html>", "{}", r#"{"error":""}"#, r#"{"error":{}}"#] {
            assert!(refused(404, body).is_none(), "{body}");
        }
    }
}
