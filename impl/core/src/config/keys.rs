//! The table of keys, and what a key says of itself.
use super::PREFIX;

/// How the text of a variable becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text as it stands.
    Text,
    /// Text that is never shown.
    Secret,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Bool,
    /// `a,b,c`.
    List,
    /// `90s`, `5m`, `1h`, `30d`; a bare number is seconds.
    Span,
    /// `name=value,name=value`, or one variable for each name.
    Table,
    /// A table whose values are never shown.
    SecretTable,
}

/// One key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file, with dots.
    pub name: &'static str,
    /// Its name in the environment, when that is not the usual `SCAICONTROL_…`.
    pub alias: Option<&'static str>,
    /// How text becomes its value.
    pub kind: Kind,
    /// The default as TOML; empty: none.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

impl Key {
    /// The variable that sets it.
    pub fn variable(&self) -> String {
        match self.alias {
            Some(alias) => alias.to_owned(),
            None => format!("{PREFIX}{}", self.name.to_uppercase().replace('.', "__")),
        }
    }
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::SecretTable)
    }
    pub(super) fn is_table(&self) -> bool {
        matches!(self.kind, Kind::Table | Kind::SecretTable)
    }
}

macro_rules! key {
    ($name:literal, $kind:ident, $default:literal, $meaning:literal) => {
        Key { name: $name, alias: None, kind: Kind::$kind, default: $default, meaning: $meaning }
    };
    ($name:literal = $alias:literal, $kind:ident, $default:literal, $meaning:literal) => {
        Key { name: $name, alias: Some($alias), kind: Kind::$kind, default: $default, meaning: $meaning }
    };
}

/// Every key there is.
pub const KEYS: &[Key] = &[
    key!("bind", Text, "\"127.0.0.1:8000\"", "Address and port of the API."),
    key!("metrics_bind", Text, "", "Address and port of `/metrics` alone; unset: with the API."),
    key!(
        "public_url",
        Text,
        "",
        "Address that callers reach the server at, for links in mails and callbacks."
    ),
    key!("database.url" = "DATABASE_URL", Secret, "", "PostgreSQL as the role `scaicontrol_app`."),
    key!(
        "database.owner_url" = "DATABASE_OWNER_URL",
        Secret,
        "",
        "PostgreSQL as the owner of the tables: `migrate` and `admin` only."
    ),
    key!("database.pool_size", Number, "20", "Connections of one server."),
    key!("database.pool_wait", Span, "\"5s\"", "How long a request waits for a connection before 503."),
    key!("database.statement_timeout", Span, "\"30s\"", "Longest run of one statement of a request."),
    key!(
        "auth.issuer" = "SCAIKEY_ISSUER",
        Text,
        "",
        "Issuer (`iss`) of the tokens, and base address of ScaiKey."
    ),
    key!("auth.audience", List, "[]", "Accepted audiences (`aud`); required by `serve`."),
    key!(
        "auth.jwks_url",
        Text,
        "",
        "Where the issuer's keys are; unset: `<issuer>/api/v1/platform/.well-known/jwks.json`."
    ),
    key!("auth.jwks_ttl", Span, "\"3600s\"", "How long fetched keys are used without asking again."),
    key!(
        "auth.jwks_cooldown",
        Span,
        "\"30s\"",
        "Least time between two fetches that an unknown key id causes."
    ),
    key!("auth.leeway", Span, "\"60s\"", "Difference of clocks allowed in `exp` and `nbf`."),
    key!("auth.client_id" = "SCAIKEY_CLIENT_ID", Text, "", "OAuth client of the browser sign-in."),
    key!("auth.client_secret" = "SCAIKEY_CLIENT_SECRET", Secret, "", "Its secret."),
    key!("auth.app_id" = "SCAIKEY_APP_ID", Text, "", "Id of this application in ScaiKey."),
    key!(
        "auth.token_url",
        Text,
        "",
        "Where codes become tokens; unset: `<issuer>/api/v1/platform/oauth/token`."
    ),
    key!("auth.logout_url", Text, "", "Where a browser signs out."),
    key!("auth.scopes", List, "[\"openid\", \"profile\", \"email\"]", "Scopes that a browser asks for."),
    key!(
        "platform.operator_partner_id",
        Text,
        "",
        "The partner that runs the platform; required by `serve`."
    ),
    key!("catalog.public", Bool, "false", "Whether the catalogue may be read without a token."),
    key!(
        "cors.origins",
        List,
        "[]",
        "Origins of browser applications that may call, such as `https://app.example.com`."
    ),
    key!("limits.deadline", Span, "\"30s\"", "Longest run of a request."),
    key!("limits.sign_ins_per_minute", Number, "60", "Calls of `/auth/token` from one address in a minute."),
    key!("limits.shutdown_grace", Span, "\"30s\"", "How long a stopping server finishes what is in hand."),
    key!("log.level", Text, "\"info\"", "`error`, `warning`, `info`, `debug` or `trace`."),
    key!("log.format", Text, "\"json\"", "`json` or `terminal`."),
    key!("log.buffer", Number, "8192", "Lines that may wait to be written; more are dropped and counted."),
    key!("clock", Text, "\"real\"", "`real` or `simulated` (development and tests only)."),
    key!("workers.enabled", Bool, "true", "Whether this server runs the background workers too."),
    key!("registry.allow", Table, "{}", "Services that may register, as `slug = client id`."),
    key!(
        "registry.monitor_interval" = "REGISTRY_HEARTBEAT_MONITOR_INTERVAL",
        Span,
        "\"60s\"",
        "How often missing heartbeats are looked for."
    ),
    key!(
        "registry.grace_multiplier" = "REGISTRY_HEARTBEAT_GRACE_MULTIPLIER",
        Number,
        "3",
        "A heartbeat is overdue after its interval times this."
    ),
    key!(
        "registry.degraded_threshold" = "REGISTRY_HEARTBEAT_DEGRADED_THRESHOLD",
        Number,
        "3",
        "Misses until a service is degraded."
    ),
    key!(
        "registry.unreachable_threshold" = "REGISTRY_HEARTBEAT_UNREACHABLE_THRESHOLD",
        Number,
        "10",
        "Misses until a service is unreachable."
    ),
    key!(
        "outbound.allow_private",
        Bool,
        "false",
        "Whether services and subscribers may be at private addresses and plain http."
    ),
    key!(
        "objects.folder",
        Text,
        "",
        "Folder for stored files (uploads, documents); without it and without a bucket there is no store."
    ),
    key!("objects.s3.bucket", Text, "", "Bucket for stored files, in place of a folder."),
    key!("objects.s3.endpoint", Text, "", "Address of the S3 service; unset: that of AWS for the region."),
    key!("objects.s3.region", Text, "\"us-east-1\"", "Region of the bucket."),
    key!("objects.s3.access_key_id", Text, "", "Key for the bucket; unset: that of the machine's own role."),
    key!("objects.s3.secret_access_key", Secret, "", "Its secret."),
    key!("objects.timeout", Span, "\"10s\"", "Longest wait for one call of the store."),
    key!("render.program", Text, "", "Program that makes PDFs; unset: `scaicontrol-render` beside this one."),
    key!("render.timeout", Span, "\"60s\"", "Longest time that one PDF may take."),
    key!("mail.transport", Text, "\"none\"", "`none` (mails wait), `smtp` or `scaisend`."),
    key!("mail.from", Text, "", "Sender of all mails, as `Name <address>`; required by a transport."),
    key!("mail.timeout", Span, "\"30s\"", "Longest wait for one mail to be taken."),
    key!("mail.smtp.host", Text, "", "Mail server that takes the mails."),
    key!("mail.smtp.port", Number, "0", "Its port; 0: 465 (implicit), 587 (starttls) or 25 (none)."),
    key!("mail.smtp.tls", Text, "\"starttls\"", "`none`, `starttls` or `implicit`."),
    key!("mail.smtp.user", Text, "", "User to log in as; unset: no login."),
    key!("mail.smtp.password", Secret, "", "Its password."),
    key!("mail.scaisend.base_url", Text, "", "Address of ScaiSend."),
    key!("mail.scaisend.key", Secret, "", "Key for ScaiSend."),
    key!("vies.enabled", Bool, "true", "Whether VAT numbers are looked up in the EU's register."),
    key!(
        "vies.base_url",
        Text,
        "\"https://ec.europa.eu/taxation_customs/vies/rest-api\"",
        "Address of the register (VIES)."
    ),
    key!("vies.timeout", Span, "\"20s\"", "Longest wait for one answer of the register."),
    key!("vies.recheck_after", Span, "\"30d\"", "Age at which an answer of the register is asked for again."),
    key!("secrets.active", Text, "", "Id of the key that new secrets are encrypted with."),
    key!("secrets.keys", SecretTable, "{}", "Keys for secrets at rest, as `id = 32 bytes in base64`."),
];
