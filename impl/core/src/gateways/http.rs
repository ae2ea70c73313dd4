//! The client that the gateways share: bounded in time and size, no redirects.
use crate::error::{Error, Result};
use reqwest::{Client, Response};
use std::time::Duration;

/// A client whose calls take at most `timeout`, all in all.
pub fn client(timeout: Duration) -> Result<Client> {
    let builder = || {
        Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(5)))
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(8)
            .user_agent(concat!("ScaiControl/", env!("CARGO_PKG_VERSION")))
    };
    // A machine without certificate authorities (a bare container) can still reach plain http.
    builder().build().or_else(|_| builder().tls_certs_only([]).build()).map_err(Error::internal)
}

/// The body, when it is not longer than `max` bytes.
pub async fn read(mut response: Response, max: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| without_url(&e))? {
        if body.len() + chunk.len() > max {
            return Err(format!("the answer is longer than {max} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What went wrong, with its causes, and without the address (which may hold a secret).
pub fn without_url(error: &reqwest::Error) -> String {
    let kind = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "failed"
    };
    let mut causes = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        causes.push_str(": ");
        causes.push_str(&e.to_string());
        cause = e.source();
    }
    format!("{kind}{causes}")
}
