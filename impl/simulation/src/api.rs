//! Calls of the server, as a careful client makes them: with an idempotency key, repeated until they are answered.
//!
//! With faults, some requests are sent twice, and in the middle of some the server is killed and started again. It kills
//! itself, before or after a commit that is drawn; a request that has fewer of them is answered, and the server killed then.
use crate::server::Server;
use crate::{Options, Outcome};
use chrono::{DateTime, SecondsFormat, Utc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::time::Duration;

/// How often a call is made before its silence is a failure.
const ATTEMPTS_MAX: u32 = 8;
/// One request in so many, of those that may write, is cut by a kill of the server, when there are faults.
const KILL_ONE_IN: u32 = 80;
/// Places at which a request is cut at most: before and after each of its commits.
const PLACES_MAX: u32 = 3;
/// The same when the clock is moved, on whose way much is written.
const PLACES_MAX_OF_CLOCK: u32 = 20;
/// One request in so many is sent twice.
const TWICE_ONE_IN: u32 = 12;

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The JSON of its body.
    pub body: Value,
}

impl Answer {
    /// Whether it was done.
    pub fn is_done(&self) -> bool {
        self.status < 300
    }
    /// What it carries.
    pub fn data(&self) -> &Value {
        &self.body["data"]
    }
}

/// See the module.
#[derive(Debug)]
pub struct Api {
    server: Server,
    client: Client,
    /// Draws faults, apart from what happens: with and without them the same things happen.
    faults: Option<StdRng>,
    keys: u64,
    /// How often the server was killed.
    pub kills: u64,
    /// Token of the operator's administrator.
    pub admin: String,
}

impl Api {
    /// Starts the server.
    pub async fn start(options: &Options) -> Outcome<Api> {
        let (program, data_dir) = (options.program.clone(), options.data_dir.clone());
        let server = Server::start(program, data_dir, options.template.as_deref()).await?;
        let client =
            Client::builder().timeout(Duration::from_secs(600)).build().map_err(|e| e.to_string())?;
        let admin = server.said["tokens"]["super_admin"].as_str().unwrap_or_default().to_owned();
        let faults = options.faults.then(|| StdRng::seed_from_u64(!options.seed));
        Ok(Api { server, client, faults, keys: 0, kills: 0, admin })
    }

    /// The database, as one who sees every row.
    pub fn database_url(&self) -> String {
        let url = self.server.text("owner_database_url");
        match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
            Some((scheme, rest)) => format!("{scheme}://postgres@{rest}"),
            None => url.to_owned(),
        }
    }

    /// A token of the server's issuer; the arguments are those of `dev token`.
    pub async fn token(&self, arguments: &[&str]) -> Outcome<String> {
        let file = self.server.file();
        let all: Vec<&str> =
            ["dev", "token", "--config", &file].into_iter().chain(arguments.iter().copied()).collect();
        self.server.command(&all).await
    }

    /// Proves that the books agree.
    pub async fn verify(&self) -> Outcome {
        self.server.command(&["verify"]).await.map(drop)
    }

    /// Stops the server.
    pub async fn stop(&mut self) -> Outcome {
        self.server.stop().await
    }

    /// Moves the clock on, and with it everything that becomes due.
    pub async fn clock(&mut self, to: DateTime<Utc>) -> Outcome {
        let to = json!({"set": to.to_rfc3339_opts(SecondsFormat::Micros, true)});
        let answer = self.call(Method::POST, "/dev/clock", "", Some(&to)).await?;
        if answer.is_done() { Ok(()) } else { Err(format!("the clock cannot be moved: {}", answer.body)) }
    }

    /// A `GET` that must be answered.
    pub async fn get(&mut self, token: &str, path: &str) -> Outcome<Value> {
        let answer = self.call(Method::GET, path, token, None).await?;
        if answer.is_done() {
            return Ok(answer.body["data"].clone());
        }
        Err(format!("GET {path} answers {}: {}", answer.status, answer.body))
    }

    /// A call that must be done.
    pub async fn must(&mut self, method: Method, path: &str, token: &str, body: &Value) -> Outcome<Value> {
        let answer = self.call(method.clone(), path, token, Some(body)).await?;
        if answer.is_done() {
            return Ok(answer.body["data"].clone());
        }
        Err(format!("{method} {path} {body} answers {}: {}", answer.status, answer.body))
    }

    /// A call, whatever comes of it; a fault of the server (5xx) is a failure.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Outcome<Answer> {
        self.keys += 1;
        let key = format!("simulated-{}", self.keys);
        let mut twice = false;
        let mut kill = None;
        if let Some(rng) = self.faults.as_mut().filter(|_| method != Method::GET) {
            twice = rng.random_ratio(1, TWICE_ONE_IN);
            let most = if path == "/dev/clock" { PLACES_MAX_OF_CLOCK } else { PLACES_MAX };
            kill = rng.random_ratio(1, KILL_ONE_IN).then(|| rng.random_range(1..=most));
        }
        if let Some(place) = kill {
            self.cut(&method, path, token, body, &key, place).await?;
        }
        let answer = self.answered(&method, path, token, body, &key).await?;
        let is_keyed = method == Method::POST && !token.is_empty() && path != "/api/v1/metering/events";
        if twice && is_keyed && answer.is_done() {
            let again = self.answered(&method, path, token, body, &key).await?;
            // An answer that is stored is the same; an operation that stores none does nothing a second time.
            if again.is_done() && again.data() != answer.data() {
                return Err(format!(
                    "{method} {path} answers a repeat with {} instead of {}",
                    again.body, answer.body
                ));
            }
        }
        Ok(answer)
    }

    /// Sends a request to a server that ends at a place of its work on it, or else when it has answered.
    async fn cut(
        &mut self,
        method: &Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
        key: &str,
        place: u32,
    ) -> Outcome {
        self.answered(&Method::POST, "/dev/fuse", "", Some(&json!({ "places": place })), key).await?;
        let _ = self.request(method, path, token, body, key).send().await;
        self.server.kill().await?;
        self.kills += 1;
        self.server.again().await
    }

    async fn answered(
        &mut self,
        method: &Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
        key: &str,
    ) -> Outcome<Answer> {
        let mut last = String::new();
        for attempt in 0..ATTEMPTS_MAX {
            match self.request(method, path, token, body, key).send().await {
                Ok(response) => {
                    let status = response.status().as_u16();
                    let text = response.text().await.map_err(|e| e.to_string())?;
                    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
                    if status < 500 && status != 429 {
                        return Ok(Answer { status, body });
                    }
                    last = format!("{status}: {body}");
                    if status == 500 {
                        // What went wrong is for the log only, and that goes away with its folder.
                        last = format!("{last}; its log ends with: {}", self.server.last_words());
                        break;
                    }
                }
                Err(e) => last = e.without_url().to_string(),
            }
            tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
        }
        Err(format!("{method} {path} {} is not answered: {last}", body.unwrap_or(&Value::Null)))
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
        key: &str,
    ) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.server.text("base_url"));
        let mut request = self.client.request(method.clone(), url);
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if *method == Method::POST {
            request = request.header("idempotency-key", key);
        }
        match body {
            Some(body) => request.json(body),
            None => request,
        }
    }
}
