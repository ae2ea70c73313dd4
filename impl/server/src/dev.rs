//! What only a development server has: an issuer of its own, a clock that can be told to go on, and a fuse.
//!
//! All are reached under `/dev/`. `serve` has neither the state nor the routes.
use crate::api::Enter;
use crate::config::parse_span;
use crate::identity::dev_issuer::JWKS_PATH;
use crate::workers::advance::advance;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use scaicontrol_api::{ApiError, Cx, PlainRoute, Request, Response};
use scaicontrol_core::dev::light;
pub use scaicontrol_core::dev::{Dev, ISSUER_PATH, clock_at_start, keep_clock};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Where the issuer exchanges codes for tokens, under its own address.
const TOKEN_PATH: &str = "/api/v1/platform/oauth/token";
const BODY_BYTES_MAX: usize = 4096;
/// The last instant of the simulated clock: dates a lifetime later still have four digits in their year.
const TIME_MAX: DateTime<Utc> = DateTime::from_timestamp(250_000_000_000, 0).unwrap();

type Answer = BoxFuture<'static, Result<Response, ApiError>>;

/// The routes of this module.
pub fn routes() -> Vec<PlainRoute> {
    vec![
        PlainRoute { method: Method::GET, path: "/dev/issuer/*", name: "dev_issuer", run: issuer },
        PlainRoute { method: Method::POST, path: "/dev/issuer/*", name: "dev_issuer_token", run: no_grant },
        PlainRoute { method: Method::GET, path: "/dev/clock", name: "dev_clock_get", run: clock_get },
        PlainRoute { method: Method::POST, path: "/dev/clock", name: "dev_clock_set", run: clock_set },
        PlainRoute { method: Method::POST, path: "/dev/fuse", name: "dev_fuse_light", run: fuse_light },
    ]
}

fn json_answer(value: &Value) -> Response {
    let mut response = Response::new(value.to_string().into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The key set, and the discovery document that points to it.
fn issuer(rqctx: Cx, request: Request) -> Answer {
    Box::pin(async move {
        let nothing = || ApiError::not_found("page");
        let dev = rqctx.control().dev.clone().ok_or_else(nothing)?;
        let base = dev.issuer.issuer();
        match request.uri().path().strip_prefix(ISSUER_PATH) {
            Some(JWKS_PATH) => {
                let keys: Value = serde_json::from_slice(&dev.issuer.jwks()).map_err(ApiError::internal)?;
                Ok(json_answer(&keys))
            }
            Some(
                "/.well-known/openid-configuration"
                | "/api/v1/platform/oauth/.well-known/openid-configuration",
            ) => Ok(json_answer(&json!({
                "issuer": base,
                "jwks_uri": format!("{base}{JWKS_PATH}"),
                "id_token_signing_alg_values_supported": ["EdDSA"],
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
            }))),
            _ => Err(nothing()),
        }
    })
}

/// Nobody signs in at this issuer, so no code and no refresh token of it is good: its tokens are in `dev.json`.
fn no_grant(_: Cx, request: Request) -> Answer {
    Box::pin(async move {
        if request.uri().path().strip_prefix(ISSUER_PATH) != Some(TOKEN_PATH) {
            return Err(ApiError::not_found("page"));
        }
        let mut answer = json_answer(&json!({
            "error": "invalid_grant",
            "error_description": "the development issuer gives out no codes; take a token from dev.json or `scaicontrol dev token`",
        }));
        *answer.status_mut() = StatusCode::BAD_REQUEST;
        Ok(answer)
    })
}

fn clock_get(rqctx: Cx, _: Request) -> Answer {
    let clock = rqctx.control().clock.clone();
    Box::pin(async move { Ok(json_answer(&json!({"now": clock.now(), "simulated": clock.is_simulated()}))) })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    advance: Option<String>,
    set: Option<String>,
}

/// Moves the clock on, and answers when everything that became due on the way is done.
fn clock_set(rqctx: Cx, request: Request) -> Answer {
    Box::pin(async move {
        let control = rqctx.control();
        if !control.clock.is_simulated() {
            return Err(ApiError::conflict(
                "the clock of this server is the real one; start it with `--clock simulated`",
            ));
        }
        let asked: Move = body(request).await?;
        let target = target(&asked, control.clock.now())?;
        let stops = advance(control, target).await?.stops;
        Ok(json_answer(&json!({"now": control.clock.now(), "simulated": true, "stops": stops})))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fuse {
    places: u32,
}

/// Makes the server end by itself, as if it were killed, at a place that is counted; see [`scaicontrol_core::dev`].
fn fuse_light(_: Cx, request: Request) -> Answer {
    Box::pin(async move {
        let asked: Fuse = body(request).await?;
        light(asked.places);
        Ok(json_answer(&json!({"places": asked.places})))
    })
}

/// What is asked for.
async fn body<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|_| ApiError::payload_too_large(BODY_BYTES_MAX))?.to_bytes();
    serde_json::from_slice(&body).map_err(|e| ApiError::bad_request(e.to_string()))
}

fn target(asked: &Move, now: DateTime<Utc>) -> Result<DateTime<Utc>, ApiError> {
    let target = match (&asked.advance, &asked.set) {
        (Some(span), None) => {
            let step = parse_span(span).and_then(|s| TimeDelta::from_std(s).ok());
            let step = step.ok_or_else(|| {
                ApiError::field("advance", "must be a span of time like 90s, 5m, 1h or 30d")
            })?;
            now.checked_add_signed(step)
                .ok_or_else(|| ApiError::field("advance", "leads beyond the end of time"))?
        }
        (None, Some(time)) => {
            time.parse().map_err(|_| ApiError::field("set", "must be a time like 2026-03-10T09:00:00Z"))?
        }
        _ => return Err(ApiError::bad_request("give either `advance` or `set`")),
    };
    if TIME_MAX < target {
        return Err(ApiError::bad_request(format!("the clock goes to {} at most", TIME_MAX.to_rfc3339())));
    }
    if target < now {
        return Err(ApiError::field(
            "set",
            format!("must not lie before now, which is {}", now.to_rfc3339()),
        ));
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_forward_only() {
        let now: DateTime<Utc> = "2026-01-31T00:00:00Z".parse().expect("a time");
        let ask = |text: &str| target(&serde_json::from_str(text).expect("json"), now);
        assert_eq!(ask(r#"{"advance": "30d"}"#).expect("fine").to_rfc3339(), "2026-03-02T00:00:00+00:00");
        assert_eq!(
            ask(r#"{"set": "2026-02-01T00:00:00Z"}"#).expect("fine").to_rfc3339(),
            "2026-02-01T00:00:00+00:00"
        );
        for wrong in [
            r#"{"set": "2026-01-30T00:00:00Z"}"#,
            "{}",
            r#"{"advance": "soon"}"#,
            r#"{"advance":"1d","set":"2027-01-01T00:00:00Z"}"#,
        ] {
            assert!(ask(wrong).is_err(), "{wrong}");
        }
    }
}
