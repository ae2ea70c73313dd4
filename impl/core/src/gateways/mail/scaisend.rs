//! ScaiSend, the platform's own service for mail: one message in one POST of JSON to `<base_url>/api/v1/messages`.
//!
//! The message id is sent as `Idempotency-Key` too, so that an attempt whose answer was lost is not sent twice. 2xx is
//! sent; 408, 425, 429 (with its `Retry-After`) and 5xx are later, and so are 401 and 403, which speak of our key and not of
//! the message; any other answer is a message that will never be taken. No redirects are followed.
use super::{AFTER_MAX, Mail, Mailer, Outcome};
use crate::config;
use crate::error::{Error, Result};
use crate::gateways::http;
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Client, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::time::Duration;

/// Longest answer that is read for its reason.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// See the module.
#[derive(Debug)]
pub struct ScaiSendMailer {
    client: Client,
    url: String,
    key: Option<SecretString>,
}

impl ScaiSendMailer {
    /// The service of that configuration. It is not asked yet.
    ///
    /// Errors: when it has no address.
    pub fn new(config: &config::Mail) -> Result<ScaiSendMailer> {
        let base = config.scaisend.base_url.as_deref();
        let base = base.ok_or_else(|| Error::internal("mail.scaisend.base_url is not set"))?;
        let url = format!("{}/api/v1/messages", base.trim_end_matches('/'));
        Ok(ScaiSendMailer { client: http::client(config.timeout)?, url, key: config.scaisend.key.clone() })
    }
}

#[async_trait]
impl Mailer for ScaiSendMailer {
    async fn send(&self, mail: &Mail) -> Outcome {
        if let Err(why) = mail.check() {
            return Outcome::refused(why);
        }
        let mut request = self.client.post(&self.url).header("idempotency-key", &mail.message_id);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose_secret());
        }
        match request.json(&body(mail)).send().await {
            Ok(response) => outcome(response).await,
            Err(e) => Outcome::later(format!("ScaiSend: {}", http::without_url(&e))),
        }
    }
}

fn body(mail: &Mail) -> Value {
    let files: Vec<Value> = mail
        .attachments
        .iter()
        .map(|file| {
            let content = STANDARD.encode(&file.bytes);
            json!({"file_name": file.file_name, "content_type": file.content_type, "content": content})
        })
        .collect();
    json!({
        "message_id": mail.message_id,
        "date": mail.date,
        "from": {"name": mail.from.name, "email": mail.from.email.to_string()},
        "reply_to": mail.reply_to,
        "to": [{"email": mail.to}],
        "subject": mail.subject,
        "text": mail.text,
        "html": mail.html,
        "attachments": files,
    })
}

async fn outcome(response: Response) -> Outcome {
    let status = response.status();
    if status.is_success() {
        return Outcome::Sent;
    }
    let after = retry_after(&response);
    let said = http::read(response, ANSWER_BYTES_MAX).await.unwrap_or_default();
    let reason = super::reason_of(format!("ScaiSend: {status}: {}", reason(&said)));
    match status {
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_EARLY
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN => Outcome::Later { reason, after },
        _ if status.is_client_error() => Outcome::Refused(reason),
        // 5xx, and what is no answer to a POST at all: a redirect is a wrong address.
        _ => Outcome::Later { reason, after },
    }
}

/// The words of an answer: the message of an error in JSON, else its first characters.
fn reason(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let message =
        json.as_ref().and_then(|v| v["error"]["message"].as_str().or_else(|| v["message"].as_str()));
    message.map_or_else(|| String::from_utf8_lossy(body).chars().take(200).collect(), str::to_owned)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(AFTER_MAX))
}
