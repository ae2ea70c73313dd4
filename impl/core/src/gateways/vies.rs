//! VIES, the EU's register of VAT numbers: whether a number is registered.
//!
//! The answer has three values, and the third is the important one: a register that does not answer, or answers something
//! that cannot be understood, has said nothing about the number. `Invalid` is only what the register itself says of this
//! very number. A country whose own register is away is told apart from VIES being away, so that the others are still asked.
use super::http;
use crate::config;
use crate::error::Result;
use async_trait::async_trait;
use reqwest::Client;
use scaicontrol_domain::tax::VatNumber;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What the register says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is registered.
    Valid,
    /// It is not registered.
    Invalid,
    /// Nothing, and why.
    Unavailable(Away, String),
}

/// Who is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// The register of the number's country.
    Country,
    /// All of it, as far as we can tell.
    Everybody,
}

/// A register of VAT numbers.
#[async_trait]
pub trait Register: Send + Sync + std::fmt::Debug {
    /// Asks about a number, bounded in time.
    async fn ask(&self, number: &VatNumber) -> Answer;
}

/// The register of a configuration; none when it is not to be asked.
pub fn open(config: &config::Vies) -> Result<Option<Arc<dyn Register>>> {
    if !config.enabled {
        return Ok(None);
    }
    let url = format!("{}/check-vat-number", config.base_url.trim_end_matches('/'));
    Ok(Some(Arc::new(Vies { client: http::client(config.timeout)?, url })))
}

/// VIES by its REST interface.
#[derive(Debug)]
struct Vies {
    client: Client,
    url: String,
}

/// What VIES writes: an answer, or errors in its place.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    country_code: Option<String>,
    vat_number: Option<String>,
    valid: Option<bool>,
    #[serde(default)]
    error_wrappers: Vec<Wrapped>,
}

#[derive(Deserialize)]
struct Wrapped {
    error: Option<String>,
}

#[async_trait]
impl Register for Vies {
    async fn ask(&self, number: &VatNumber) -> Answer {
        let everybody = |why: String| Answer::Unavailable(Away::Everybody, why);
        // The canonical form begins with the two letters of the country, `EL` for Greece, which is what VIES wants.
        let Some((country, rest)) = number.as_str().split_at_checked(2) else {
            return everybody("the number has no country".into());
        };
        let question = json!({"countryCode": country, "vatNumber": rest});
        let response = match self.client.post(&self.url).json(&question).send().await {
            Ok(response) => response,
            Err(e) => return everybody(http::without_url(&e)),
        };
        let status = response.status();
        let body = match http::read(response, ANSWER_BYTES_MAX).await {
            Ok(body) => body,
            Err(e) => return everybody(e),
        };
        let Ok(said) = serde_json::from_slice::<Said>(&body) else {
            return everybody(format!("{status}, and the answer is not understood"));
        };
        if let Some(code) = said.error_wrappers.iter().find_map(|w| w.error.as_deref()) {
            return Answer::Unavailable(away(code), code.chars().take(100).collect());
        }
        let about_it =
            said.country_code.as_deref() == Some(country) && said.vat_number.as_deref() == Some(rest);
        match said.valid {
            Some(true) if status.is_success() && about_it => Answer::Valid,
            Some(false) if status.is_success() && about_it => Answer::Invalid,
            Some(_) if status.is_success() => everybody("the answer is about another number".into()),
            _ => everybody(format!("{status}, without an answer")),
        }
    }
}

/// Who is away, by the code of an error.
fn away(code: &str) -> Away {
    match code {
        "MS_UNAVAILABLE"
        | "MS_MAX_CONCURRENT_REQ"
        | "MS_MAX_CONCURRENT_REQ_TIME"
        | "TIMEOUT"
        | "INVALID_INPUT" => Away::Country,
        _ => Away::Everybody,
    }
}
