//! The configuration: one table of keys, read from the table's defaults, a file, the environment and flags, in that
//! order, each over the one before.
//!
//! [`KEYS`] is the only list: defaults, names in the environment, the page that `scaicontrol config` prints and the
//! README's table all come from it. The structs below have no defaults of their own and refuse unknown fields, so a key
//! that is in one place only fails the first test that loads a configuration.
//!
//! A wrong value, and a key that nobody reads, stop the start with one line that names it: a typing error in a limit or a
//! URL must never run as the default. Values that are secret are held by [`secrecy`], and no message repeats them.

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod keys;
mod sections;
pub use keys::{KEYS, Key, Kind};
pub use sections::{Mail, MailTransport, Objects, Render, S3, ScaiSend, Smtp, SmtpTls, Vies};

const PREFIX: &str = "SCAICONTROL_";
/// Variables with our prefix that are no key: the file itself.
const NO_KEYS: [&str; 1] = ["SCAICONTROL_CONFIG"];
/// The file that is read when it is there and no other is named.
pub const FILE: &str = "scaicontrol.toml";

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address of the API.
    pub bind: SocketAddr,
    /// Address of `/metrics` alone.
    pub metrics_bind: Option<SocketAddr>,
    /// Address that callers reach the server at.
    pub public_url: Option<String>,
    /// The database.
    pub database: Database,
    /// Tokens and where they come from.
    pub auth: Auth,
    /// The operator.
    pub platform: Platform,
    /// The catalogue.
    pub catalog: Catalog,
    /// Browsers from elsewhere.
    pub cors: Cors,
    /// What bounds a request.
    pub limits: Limits,
    /// The log.
    pub log: Log,
    /// Which time the rules see.
    pub clock: ClockKind,
    /// Background work.
    pub workers: Workers,
    /// The service registry.
    pub registry: Registry,
    /// Calls to services, partners and subscribers.
    pub outbound: Outbound,
    /// Stored files.
    pub objects: Objects,
    /// The program that makes PDFs.
    pub render: Render,
    /// Outgoing mail.
    pub mail: Mail,
    /// The register of VAT numbers.
    pub vies: Vies,
    /// Encryption of secrets at rest.
    pub secrets: Secrets,
}

/// `database.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// As the application's role.
    pub url: Option<SecretString>,
    /// As the owner.
    pub owner_url: Option<SecretString>,
    /// Connections of one server.
    pub pool_size: usize,
    /// How long to wait for one.
    #[serde(deserialize_with = "span")]
    pub pool_wait: Duration,
    /// Longest run of one statement.
    #[serde(deserialize_with = "span")]
    pub statement_timeout: Duration,
}

/// `auth.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Issuer of the tokens, without a slash at the end.
    #[serde(default)]
    pub issuer: String,
    /// Accepted audiences.
    pub audience: Vec<String>,
    /// Where its keys are, when not at the usual place.
    pub jwks_url: Option<String>,
    /// How long keys are used.
    #[serde(deserialize_with = "span")]
    pub jwks_ttl: Duration,
    /// Least time between fetches for unknown keys.
    #[serde(deserialize_with = "span")]
    pub jwks_cooldown: Duration,
    /// Difference of clocks.
    #[serde(deserialize_with = "span")]
    pub leeway: Duration,
    /// OAuth client.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<SecretString>,
    /// Id of the application.
    pub app_id: Option<String>,
    /// Where codes become tokens, when not at the usual place.
    pub token_url: Option<String>,
    /// Where a browser signs out.
    pub logout_url: Option<String>,
    /// Scopes that a browser asks for.
    pub scopes: Vec<String>,
}

impl Auth {
    /// Where the issuer's keys are.
    pub fn jwks_url(&self) -> String {
        self.jwks_url
            .clone()
            .unwrap_or_else(|| format!("{}/api/v1/platform/.well-known/jwks.json", self.issuer))
    }
    /// Where codes become tokens.
    pub fn token_url(&self) -> String {
        self.token_url.clone().unwrap_or_else(|| format!("{}/api/v1/platform/oauth/token", self.issuer))
    }
}

/// `platform.*`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Platform {
    /// The partner that runs the platform.
    pub operator_partner_id: Option<String>,
}

/// `catalog.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Readable without a token.
    pub public: bool,
}

/// `cors.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins of browser applications.
    pub origins: Vec<String>,
}

/// `limits.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Longest run of a request.
    #[serde(deserialize_with = "span")]
    pub deadline: Duration,
    /// Calls of `/auth/token` from one address in a minute.
    pub sign_ins_per_minute: u32,
    /// How long a stopping server finishes what is in hand.
    #[serde(deserialize_with = "span")]
    pub shutdown_grace: Duration,
}

/// `log.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Least important level that is written.
    pub level: LogLevel,
    /// Form of a line.
    pub format: LogFormat,
    /// Lines that may wait.
    pub buffer: usize,
}

/// `log.level`
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warning,
    Info,
    Debug,
    Trace,
}

/// `log.format`
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Terminal,
}

/// `clock`
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ClockKind {
    /// The machine's.
    Real,
    /// Stands still until it is told to go on.
    Simulated,
}

/// `workers.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workers {
    /// Whether they run in this server.
    pub enabled: bool,
}

/// `registry.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// Which client may register which slug.
    pub allow: BTreeMap<String, String>,
    /// How often missing heartbeats are looked for.
    #[serde(deserialize_with = "span")]
    pub monitor_interval: Duration,
    /// A heartbeat is overdue after its interval times this.
    pub grace_multiplier: u32,
    /// Misses until degraded.
    pub degraded_threshold: u32,
    /// Misses until unreachable.
    pub unreachable_threshold: u32,
}

/// `outbound.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    /// Private addresses and plain http are allowed.
    pub allow_private: bool,
}

/// `secrets.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// Id of the key for new secrets.
    pub active: Option<String>,
    /// All keys, base64, by id.
    pub keys: BTreeMap<String, SecretString>,
}

/// Id of the key that the development server makes; `serve` refuses it.
pub const DEV_KEY: &str = "dev";

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file that must be there; `None`: `scaicontrol.toml` when it is there.
    pub file: Option<PathBuf>,
    /// Defaults of this way to start, as `(key, text)`: below the file and the environment.
    pub defaults: Vec<(String, String)>,
    /// Variables, `None`: those of the process.
    pub environment: Option<Vec<(String, String)>>,
    /// Flags as `(key, text)`.
    pub flags: Vec<(String, String)>,
}

/// What is wrong, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for ConfigError {}

impl Config {
    /// Reads all sources and checks what can be checked without a network.
    pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
        let mut figment =
            Figment::from(Layer::defaults()?).merge(Layer::given("the defaults", &sources.defaults)?);
        let file = match &sources.file {
            Some(file) => Some(file.clone()),
            None => Some(PathBuf::from(FILE)).filter(|f| f.exists()),
        };
        if let Some(file) = &file {
            figment = figment.merge(Layer::file(file)?);
        }
        let environment = match &sources.environment {
            Some(given) => given.clone(),
            None => std::env::vars_os()
                .filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
        };
        figment = figment
            .merge(Layer::environment(&environment)?)
            .merge(Layer::given("the command line", &sources.flags)?);
        let mut config: Config = figment.extract().map_err(explain)?;
        config.auth.issuer = config.auth.issuer.trim_end_matches('/').to_owned();
        config.check()?;
        Ok(config)
    }

    /// What no configuration may say.
    fn check(&self) -> Result<(), ConfigError> {
        let urls = [
            ("auth.issuer", Some(&self.auth.issuer).filter(|u| !u.is_empty())),
            ("auth.jwks_url", self.auth.jwks_url.as_ref()),
            ("auth.token_url", self.auth.token_url.as_ref()),
            ("auth.logout_url", self.auth.logout_url.as_ref()),
            ("public_url", self.public_url.as_ref()),
            ("objects.s3.endpoint", self.objects.s3.endpoint.as_ref()),
            ("mail.scaisend.base_url", self.mail.scaisend.base_url.as_ref()),
            ("vies.base_url", Some(&self.vies.base_url)),
        ];
        for (name, url) in urls {
            if let Some(url) = url {
                let parsed = reqwest::Url::parse(url)
                    .ok()
                    .filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
                if parsed.is_none() {
                    return Err(wrong(name, format!("`{url}` is not an http or https address")));
                }
            }
        }
        if let Some(id) = &self.platform.operator_partner_id
            && !is_external_id(id)
        {
            return Err(wrong("platform.operator_partner_id", format!("`{id}` is not an id")));
        }
        for (name, value) in [
            ("database.pool_size", self.database.pool_size),
            ("log.buffer", self.log.buffer),
            ("registry.grace_multiplier", self.registry.grace_multiplier as usize),
            ("registry.degraded_threshold", self.registry.degraded_threshold as usize),
            ("registry.unreachable_threshold", self.registry.unreachable_threshold as usize),
        ] {
            if value == 0 {
                return Err(wrong(name, "must be at least 1"));
            }
        }
        for (name, value) in [
            ("limits.deadline", self.limits.deadline),
            ("database.pool_wait", self.database.pool_wait),
            ("registry.monitor_interval", self.registry.monitor_interval),
            ("auth.jwks_ttl", self.auth.jwks_ttl),
            ("objects.timeout", self.objects.timeout),
            ("render.timeout", self.render.timeout),
            ("mail.timeout", self.mail.timeout),
            ("vies.timeout", self.vies.timeout),
            ("vies.recheck_after", self.vies.recheck_after),
        ] {
            if value.is_zero() {
                return Err(wrong(name, "must be longer than 0"));
            }
        }
        if self.auth.leeway > Duration::from_secs(300) {
            return Err(wrong(
                "auth.leeway",
                "at most 5m: a longer one would accept tokens long after they ended",
            ));
        }
        if self.registry.unreachable_threshold < self.registry.degraded_threshold {
            return Err(wrong(
                "registry.unreachable_threshold",
                "must not be below registry.degraded_threshold",
            ));
        }
        self.objects.check()?;
        self.mail.check()?;
        for (id, key) in &self.secrets.keys {
            use base64::Engine;
            let bytes =
                base64::engine::general_purpose::STANDARD.decode(key.expose_secret()).map(|b| b.len());
            if bytes.ok() != Some(32) {
                return Err(wrong(&format!("secrets.keys.{id}"), "must be 32 bytes in base64"));
            }
        }
        if let Some(active) = &self.secrets.active
            && !self.secrets.keys.contains_key(active)
        {
            return Err(wrong("secrets.active", format!("there is no key `{active}` in secrets.keys")));
        }
        Ok(())
    }

    /// What a server that others rely on must not start without, or with.
    pub fn check_production(&self) -> Result<(), ConfigError> {
        if self.database.url.is_none() {
            return Err(missing("database.url"));
        }
        if self.auth.issuer.is_empty() {
            return Err(missing("auth.issuer"));
        }
        if self.auth.audience.iter().all(|a| a.trim().is_empty()) {
            return Err(missing("auth.audience"));
        }
        if self.platform.operator_partner_id.is_none() {
            return Err(missing("platform.operator_partner_id"));
        }
        if self.clock == ClockKind::Simulated {
            return Err(wrong("clock", "`simulated` is for `scaicontrol dev` and tests only"));
        }
        if self.secrets.keys.contains_key(DEV_KEY) || self.secrets.active.as_deref() == Some(DEV_KEY) {
            return Err(wrong("secrets.keys", "the development key must not be used here"));
        }
        Ok(())
    }
}

/// An id given out by ScaiKey.
pub fn is_external_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
}

fn wrong(name: &str, problem: impl fmt::Display) -> ConfigError {
    ConfigError(format!("configuration: {}: {problem}", named(name)))
}
fn missing(name: &str) -> ConfigError {
    wrong(name, "must be set")
}
/// A key with its variable beside it.
fn named(name: &str) -> String {
    match KEYS.iter().find(|k| k.name == name) {
        Some(key) => format!("{name} ({})", key.variable()),
        None => name.to_owned(),
    }
}

/// Figment's error as one line that names the key, and never a secret.
fn explain(error: figment::Error) -> ConfigError {
    use figment::error::Kind as E;
    let source = error.metadata.as_ref().map(|m| m.name.to_string()).unwrap_or_default();
    let mut path = error.path.join(".");
    let secret =
        KEYS.iter().any(|k| k.is_secret() && (path == k.name || path.starts_with(&format!("{}.", k.name))));
    let problem = match &error.kind {
        E::UnknownField(field, _) => {
            if !path.ends_with(field.as_str()) {
                path = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
            }
            "there is no such key".to_owned()
        }
        E::MissingField(field) => {
            path = if path.is_empty() { field.to_string() } else { format!("{path}.{field}") };
            "must be set".to_owned()
        }
        E::InvalidType(_, expected) | E::InvalidValue(_, expected) if secret => format!("must be {expected}"),
        E::InvalidType(actual, expected) | E::InvalidValue(actual, expected) => {
            format!("is {actual}, must be {expected}")
        }
        E::UnknownVariant(variant, allowed) => {
            format!("is `{variant}`, must be one of {}", allowed.join(", "))
        }
        other => other.to_string().replace('\n', " "),
    };
    let source = if source.is_empty() { String::new() } else { format!(" (from {source})") };
    ConfigError(format!("configuration: {}: {problem}{source}", named(&path)))
}

/// One source, already as values.
struct Layer {
    name: String,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }
    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

impl Layer {
    fn defaults() -> Result<Layer, ConfigError> {
        let mut dict = Dict::new();
        for key in KEYS.iter().filter(|k| !k.default.is_empty()) {
            let document: Dict = toml::from_str(&format!("v = {}", key.default))
                .map_err(|e| wrong(key.name, format!("the default does not parse: {}", e.message())))?;
            let value = document.get("v").cloned().unwrap_or_else(|| Value::from(""));
            insert(&mut dict, key.name, value);
        }
        // A section whose keys have no defaults would otherwise be missing.
        for section in ["platform", "mail.scaisend"] {
            insert_section(&mut dict, section);
        }
        Ok(Layer { name: "the defaults".into(), dict })
    }

    fn file(file: &Path) -> Result<Layer, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|e| ConfigError(format!("configuration: cannot read {}: {e}", file.display())))?;
        let dict = toml::from_str(&text).map_err(|e| {
            let line = e.span().map_or(1, |s| 1 + text.bytes().take(s.start).filter(|b| *b == b'\n').count());
            ConfigError(format!(
                "configuration: {} line {line}: {}",
                file.display(),
                e.message().replace('\n', " ")
            ))
        })?;
        Ok(Layer { name: file.display().to_string(), dict })
    }

    fn environment(variables: &[(String, String)]) -> Result<Layer, ConfigError> {
        let mut dict = Dict::new();
        for (name, text) in variables.iter().filter(|(_, text)| !text.is_empty()) {
            if let Some(key) = KEYS.iter().find(|k| k.variable() == *name) {
                insert(&mut dict, key.name, value_of(key, text)?);
                continue;
            }
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if NO_KEYS.contains(&name.as_str()) {
                continue;
            }
            let path = rest.to_lowercase().replace("__", ".");
            let table = KEYS
                .iter()
                .filter(|k| k.is_table())
                .find_map(|k| Some((k, path.strip_prefix(k.name)?.strip_prefix('.')?)));
            match table {
                Some((key, entry)) => {
                    insert(&mut dict, &format!("{}.{entry}", key.name), Value::from(text.as_str()))
                }
                // The usual name works for a key with a name of its own as well.
                None => match KEYS.iter().find(|k| k.name == path) {
                    Some(key) => insert(&mut dict, key.name, value_of(key, text)?),
                    None => return Err(ConfigError(format!("configuration: {name}: there is no such key"))),
                },
            }
        }
        Ok(Layer { name: "the environment".into(), dict })
    }

    fn given(by: &str, values: &[(String, String)]) -> Result<Layer, ConfigError> {
        let mut dict = Dict::new();
        for (name, text) in values {
            let Some(key) = KEYS.iter().find(|k| k.name == name) else {
                return Err(ConfigError(format!("configuration: {name}: there is no such key")));
            };
            insert(&mut dict, key.name, value_of(key, text)?);
        }
        Ok(Layer { name: by.into(), dict })
    }
}

fn insert_section(dict: &mut Dict, path: &str) {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let entry = dict.entry(first.to_owned()).or_insert_with(|| Value::from(Dict::new()));
    if let Value::Dict(_, inner) = entry
        && !rest.is_empty()
    {
        insert_section(inner, rest);
    }
}

fn insert(dict: &mut Dict, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            dict.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let entry = dict.entry(first.to_owned()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = entry {
                insert(inner, rest, value);
            }
        }
    }
}

fn value_of(key: &Key, text: &str) -> Result<Value, ConfigError> {
    Ok(match key.kind {
        Kind::Text | Kind::Secret | Kind::Span => Value::from(text),
        Kind::Number => Value::from(
            text.trim()
                .parse::<i64>()
                .map_err(|_| wrong(key.name, format!("is `{text}`, must be a whole number")))?,
        ),
        Kind::Bool => match text.trim() {
            "true" | "1" => Value::from(true),
            "false" | "0" => Value::from(false),
            other => return Err(wrong(key.name, format!("is `{other}`, must be true or false"))),
        },
        Kind::List => text
            .split(',')
            .map(str::trim)
            .filter(|t| !t.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .into(),
        Kind::Table | Kind::SecretTable => {
            let mut entries = Dict::new();
            for entry in text.split(',').map(str::trim).filter(|t| !t.is_empty()) {
                let Some((name, value)) = entry.split_once('=') else {
                    return Err(wrong(key.name, "must look like `name=value,name=value`"));
                };
                entries.insert(name.trim().to_owned(), Value::from(value.trim()));
            }
            Value::from(entries)
        }
    })
}

/// `90s`, `5m`, `1h`, `30d`, `250ms`; a bare number is seconds.
pub fn parse_span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit.trim() {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        "d" => number.checked_mul(86_400).map(Duration::from_secs),
        _ => None,
    }
}

fn span<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Seconds(u64),
        Text(String),
    }
    let bad = || serde::de::Error::custom("must be a span of time like 90s, 5m, 1h or 30d");
    match Raw::deserialize(d).map_err(|_| bad())? {
        Raw::Seconds(seconds) => Ok(Duration::from_secs(seconds)),
        Raw::Text(text) => parse_span(&text).ok_or_else(bad),
    }
}

/// The table of keys as Markdown, as it stands in the README.
pub fn reference() -> String {
    let mut out = String::from("| key | variable | default | meaning |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        out.push_str(&format!("| `{}` | `{}` | {default} | {} |\n", key.name, key.variable(), key.meaning));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Config::load(&Sources { environment: Some(environment), ..Sources::default() })
    }
    fn with_file(text: &str) -> Result<Config, ConfigError> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("scaicontrol-config-{}-{n}.toml", std::process::id()));
        std::fs::write(&file, text).expect("write");
        let loaded = Config::load(&Sources {
            file: Some(file.clone()),
            environment: Some(vec![]),
            ..Sources::default()
        });
        let _ = std::fs::remove_file(file);
        loaded
    }
    fn says(result: Result<Config, ConfigError>, parts: &[&str]) {
        let message = result.expect_err("refused").0;
        assert!(!message.contains('\n'), "one line: {message}");
        for part in parts {
            assert!(message.contains(part), "{message:?} should contain {part:?}");
        }
    }

    #[test]
    fn the_table_and_the_structs_hold_the_same_keys() {
        let config = load(&[]).expect("the defaults are whole");
        assert_eq!(config.auth.jwks_ttl, Duration::from_secs(3600));
        assert_eq!(config.bind.port(), 8000);
        // Every key without a default is known to the structs as well.
        for key in KEYS.iter().filter(|k| k.default.is_empty()) {
            let text = match key.kind {
                Kind::Text if key.name.ends_with("bind") => "127.0.0.1:1",
                Kind::Text if key.name.ends_with("active") => continue,
                _ => "http://example.test",
            };
            let id = if key.name.ends_with("_id") { "an_id" } else { text };
            if let Err(e) = load(&[(&key.variable(), id)]) {
                panic!("{}: {e}", key.name);
            }
        }
    }

    #[test]
    fn later_sources_win() {
        let sources = Sources {
            environment: Some(vec![
                ("SCAICONTROL_BIND".into(), "127.0.0.1:1".into()),
                ("SCAICONTROL_LIMITS__DEADLINE".into(), "2m".into()),
                ("REGISTRY_HEARTBEAT_MONITOR_INTERVAL".into(), "15".into()),
                ("SCAICONTROL_AUTH__AUDIENCE".into(), "a, b".into()),
                ("SCAICONTROL_REGISTRY__ALLOW__SCAI_SEND".into(), "client-1".into()),
                ("SCAIKEY_CLIENT_SECRET".into(), "12345".into()),
                ("DATABASE_URL".into(), String::new()),
            ]),
            flags: vec![("bind".into(), "127.0.0.1:2".into())],
            defaults: vec![("bind".into(), "127.0.0.1:3".into()), ("log.format".into(), "terminal".into())],
            file: None,
        };
        let config = Config::load(&sources).expect("loads");
        assert_eq!(config.bind.port(), 2);
        assert_eq!(config.log.format, LogFormat::Terminal);
        assert_eq!(config.limits.deadline, Duration::from_secs(120));
        assert_eq!(config.registry.monitor_interval, Duration::from_secs(15));
        assert_eq!(config.auth.audience, ["a", "b"]);
        assert_eq!(config.registry.allow.get("scai_send").map(String::as_str), Some("client-1"));
        assert_eq!(config.auth.client_secret.expect("set").expose_secret(), "12345", "digits are text too");
        assert!(config.database.url.is_none(), "an empty variable is no value");
    }

    #[test]
    fn what_is_wrong_is_named_in_one_line() {
        says(load(&[("SCAICONTROL_BNID", "x")]), &["SCAICONTROL_BNID", "no such key"]);
        says(load(&[("SCAICONTROL_BIND", "nowhere")]), &["bind", "SCAICONTROL_BIND"]);
        says(
            load(&[("SCAICONTROL_DATABASE__POOL_SIZE", "many")]),
            &["database.pool_size", "many", "whole number"],
        );
        says(load(&[("SCAICONTROL_DATABASE__POOL_SIZE", "0")]), &["database.pool_size", "at least 1"]);
        says(
            load(&[("REGISTRY_HEARTBEAT_MONITOR_INTERVAL", "soon")]),
            &["registry.monitor_interval", "span of time"],
        );
        says(load(&[("SCAICONTROL_LOG__LEVEL", "loud")]), &["log.level", "loud", "warning"]);
        says(load(&[("SCAIKEY_ISSUER", "example.test")]), &["auth.issuer", "SCAIKEY_ISSUER"]);
        says(with_file("[database]\npoolsize = 3\n"), &["database.poolsize", "no such key", ".toml"]);
        says(with_file("[nothing]\n"), &["nothing", "no such key"]);
        says(with_file("bind = \"127.0.0.1:1\"\nbind = 2"), &["line 2"]);
        says(
            Config::load(&Sources { file: Some("/nowhere/x.toml".into()), ..Sources::default() }),
            &["/nowhere/x.toml"],
        );
    }

    #[test]
    fn secrets_are_never_shown() {
        says(
            with_file("[auth]\nclient_secret = 987654321\n"),
            &["auth.client_secret", "SCAIKEY_CLIENT_SECRET"],
        );
        let message = with_file("[auth]\nclient_secret = 987654321\n").expect_err("refused").0;
        assert!(!message.contains("987654321"), "{message}");
        let message = load(&[("SCAICONTROL_SECRETS__KEYS__K1", "c2hvcnQ=")]).expect_err("refused").0;
        assert!(!message.contains("c2hvcnQ="), "{message}");
        let config = load(&[("DATABASE_URL", "postgres://u:topsecret@h/d")]).expect("loads");
        assert!(!format!("{config:?}").contains("topsecret"));
    }

    #[test]
    fn production_refuses_what_is_for_development() {
        let good = [
            ("DATABASE_URL", "postgres://h/d"),
            ("SCAIKEY_ISSUER", "https://id.example.test/"),
            ("SCAICONTROL_AUTH__AUDIENCE", "scaicontrol"),
            ("SCAICONTROL_PLATFORM__OPERATOR_PARTNER_ID", "prt_operator"),
        ];
        let config = load(&good).expect("loads");
        config.check_production().expect("whole");
        assert_eq!(config.auth.jwks_url(), "https://id.example.test/api/v1/platform/.well-known/jwks.json");
        for left_out in 0..good.len() {
            let some: Vec<_> =
                good.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, v)| *v).collect();
            let message = load(&some).expect("loads").check_production().expect_err("refused").0;
            assert!(message.contains(good[left_out].0), "{message}");
        }
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        for (name, value) in [("SCAICONTROL_CLOCK", "simulated"), ("SCAICONTROL_SECRETS__KEYS__DEV", key)] {
            let mut all = good.to_vec();
            all.push((name, value));
            assert!(load(&all).expect("loads").check_production().is_err(), "{name}");
        }
    }
}
