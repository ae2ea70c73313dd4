//! A client for the API, made by progenitor: one method for each operation, named like it.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = scaicontrol_client::connect("http://127.0.0.1:8000", "token", std::time::Duration::from_secs(30))?;
//! let page = client.subscription_list().page(2).send().await?.into_inner();
//! # Ok(())
//! # }
//! ```
//! What goes in and comes out has the types of `scaicontrol-types`, which the server uses too. A refusal is
//! [`Error::ErrorResponse`] with the error envelope.
#[allow(clippy::all, unused, rustdoc::all)]
mod generated;

pub use generated::{ByteStream, Client, ClientInfo, Error, ResponseValue, builder};
pub use scaicontrol_types as types;

/// A client that sends the token with each call; an empty token sends none.
pub fn connect(
    base_url: &str,
    token: &str,
    timeout: std::time::Duration,
) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let mut headers = reqwest::header::HeaderMap::new();
    if !token.is_empty() {
        let mut value = reqwest::header::HeaderValue::from_str(&format!("Bearer {token}"))?;
        value.set_sensitive(true);
        headers.insert(reqwest::header::AUTHORIZATION, value);
    }
    let http = reqwest::Client::builder().timeout(timeout).default_headers(headers).build()?;
    Ok(Client::new_with_client(base_url, http))
}
