//! What a development server writes down about itself (`dev.json`), and the commands that read it: `dev token` and
//! `dev clock`. Tools are written against the file, so its fields stay.
use super::{Outcome, say};
use crate::identity::dev_issuer::{DevIssuer, Mint};
use crate::seed;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// `dev.json`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DevFile {
    pub(crate) base_url: String,
    /// As the server's own role.
    pub(crate) database_url: String,
    /// As the owner of the tables.
    pub(crate) owner_database_url: String,
    pub(crate) issuer: String,
    /// The key that the issuer signs with.
    pub(crate) issuer_key_file: PathBuf,
    pub(crate) audience: String,
    pub(crate) tokens: BTreeMap<String, String>,
    pub(crate) service_key: String,
    pub(crate) ids: BTreeMap<String, String>,
    /// The process of the server.
    pub(crate) pid: u32,
}

impl DevFile {
    pub(crate) fn read(file: &Path) -> Result<DevFile, String> {
        let text = std::fs::read_to_string(file)
            .map_err(|e| format!("cannot read {}: {e} (is `scaicontrol dev` running?)", file.display()))?;
        serde_json::from_str(&text)
            .map_err(|e| format!("{} is not the file of a development server: {e}", file.display()))
    }

    /// Appears whole or not at all, and only its owner can read it: it holds tokens.
    pub(crate) fn write(&self, file: &Path) -> std::io::Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let draft = file.with_extension("json.new");
        let _ = std::fs::remove_file(&draft);
        let mut out = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
        writeln!(out, "{}", serde_json::to_string_pretty(self)?)?;
        drop(out);
        std::fs::rename(&draft, file)
    }
}

/// Tokens of the roles that samples and tests need, each with its name in `dev.json`.
pub(crate) fn sample_tokens(issuer: &DevIssuer) -> BTreeMap<String, String> {
    let mut tokens = BTreeMap::new();
    for (name, role, tenant) in [
        ("super_admin", "super_admin", seed::HOME_TENANT),
        ("platform_admin", "platform_admin", seed::HOME_TENANT),
        ("billing_admin", "billing_admin", seed::HOME_TENANT),
        ("support", "support", seed::HOME_TENANT),
        ("partner_admin", "partner_admin", seed::HOME_TENANT),
        ("tenant_admin", "tenant_admin", seed::TENANT),
        ("tenant_member", "tenant_member", seed::TENANT),
        ("other_tenant_admin", "tenant_admin", seed::OTHER_TENANT),
        ("other_partner_admin", "partner_admin", seed::OTHER_TENANT),
    ] {
        let mint = Mint {
            subject: format!("usr_{name}"),
            tenant_id: Some(tenant.to_owned()),
            partner_id: partner_of(tenant).map(str::to_owned),
            roles: vec![role.to_owned()],
            ..Mint::default()
        };
        tokens.insert(name.to_owned(), issuer.mint(&mint));
    }
    tokens.insert("service".to_owned(), issuer.mint(&service_mint(seed::SERVICE, vec![])));
    tokens
}

fn partner_of(tenant: &str) -> Option<&'static str> {
    seed::TENANTS.iter().find(|(t, _)| *t == tenant).map(|(_, partner)| *partner)
}

fn service_mint(slug: &str, permissions: Vec<String>) -> Mint {
    let client_id = seed::client_id(slug);
    Mint {
        subject: client_id.clone(),
        client_id: Some(client_id),
        roles: vec!["service_account".to_owned()],
        permissions,
        ..Mint::default()
    }
}

/// `scaicontrol dev token`
#[derive(Args, Debug)]
pub(crate) struct Token {
    /// The file that the development server wrote.
    #[arg(long, value_name = "DEV.JSON", default_value = ".dev/dev.json")]
    config: PathBuf,
    /// A role; may be given several times, or separated by commas.
    #[arg(long, value_delimiter = ',')]
    role: Vec<String>,
    /// Id of the tenant; one that nobody knows yet is made known by the token's first use.
    #[arg(long)]
    tenant: Option<String>,
    /// Id of the partner; without it that of the tenant, or the operator.
    #[arg(long)]
    partner: Option<String>,
    /// Permissions besides those of the roles, separated by commas.
    #[arg(long, value_delimiter = ',')]
    permissions: Vec<String>,
    /// Id of the user; without it one that is made of the role and the tenant.
    #[arg(long)]
    user: Option<String>,
    /// A token of the service account of this service instead of a user's.
    #[arg(long, value_name = "SLUG", conflicts_with_all = ["user", "tenant", "partner"])]
    service: Option<String>,
}

impl Token {
    pub(crate) fn run(self) -> Outcome {
        let file = DevFile::read(&self.config)?;
        let key = &file.issuer_key_file;
        let issuer =
            DevIssuer::open(key, &file.issuer).map_err(|e| format!("cannot read {}: {e}", key.display()))?;
        say(issuer.mint(&self.mint()));
        Ok(ExitCode::SUCCESS)
    }

    fn mint(self) -> Mint {
        if let Some(slug) = self.service {
            let mut mint = service_mint(&slug, self.permissions);
            if !self.role.is_empty() {
                mint.roles = self.role;
            }
            return mint;
        }
        let tenant = self.tenant.unwrap_or_else(|| seed::TENANT.to_owned());
        let partner =
            self.partner.unwrap_or_else(|| partner_of(&tenant).unwrap_or(seed::OPERATOR).to_owned());
        let made_up = || {
            let name = format!("usr_{}_{}", self.role.join("_"), tenant.trim_start_matches("tnt_"));
            name.chars().take(64).collect()
        };
        Mint {
            subject: self.user.unwrap_or_else(made_up),
            tenant_id: Some(tenant),
            partner_id: Some(partner),
            roles: self.role,
            permissions: self.permissions,
            ..Mint::default()
        }
    }
}

/// `scaicontrol dev clock`
#[derive(Args, Debug)]
pub(crate) struct Clock {
    /// The file that the development server wrote.
    #[arg(long, global = true, value_name = "DEV.JSON", default_value = ".dev/dev.json")]
    config: PathBuf,
    #[command(subcommand)]
    to: To,
}

#[derive(Debug, Subcommand)]
enum To {
    /// Let time pass: 90s, 5m, 1h, 30d.
    Advance {
        /// How much.
        span: String,
    },
    /// Go on to a time.
    Set {
        /// RFC 3339, not before the server's time.
        time: String,
    },
    /// Print the server's time.
    Show,
}

impl Clock {
    pub(crate) async fn run(self) -> Outcome {
        let file = DevFile::read(&self.config)?;
        let url = format!("{}/dev/clock", file.base_url);
        // A year of work may be due on the way.
        let client = crate::gateways::http::client(Duration::from_secs(3600)).map_err(|e| e.to_string())?;
        let request = match &self.to {
            To::Advance { span } => client.post(&url).json(&serde_json::json!({"advance": span})),
            To::Set { time } => client.post(&url).json(&serde_json::json!({"set": time})),
            To::Show => client.get(&url),
        };
        let response = request
            .send()
            .await
            .map_err(|e| format!("the server does not answer: {}", crate::gateways::http::without_url(&e)))?;
        let ok = response.status().is_success();
        let answer: serde_json::Value =
            response.json().await.map_err(|e| format!("that is no development server: {e}"))?;
        if !ok {
            return Err(answer["error"]["message"].as_str().unwrap_or("the server refused").to_owned());
        }
        say(answer["now"].as_str().unwrap_or_default());
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            config: "x".into(),
            role: vec![],
            tenant: None,
            partner: None,
            permissions: vec![],
            user: None,
            service: None,
        }
    }

    #[test]
    fn what_is_left_out_of_a_token_follows_from_the_rest() {
        let mint =
            Token { role: vec!["tenant_admin".into()], tenant: Some("tnt_globex".into()), ..token() }.mint();
        assert_eq!(mint.subject, "usr_tenant_admin_globex");
        assert_eq!(mint.partner_id.as_deref(), Some("prt_reseller"));
        let mint = Token { service: Some("scaiflow".into()), ..token() }.mint();
        assert_eq!(
            (mint.client_id.as_deref(), mint.roles),
            (Some("svc-scaiflow"), vec!["service_account".to_owned()])
        );
        assert!(mint.tenant_id.is_none());
    }

    #[test]
    fn the_file_is_written_whole_and_closed() {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("scaicontrol-devfile-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("folder");
        let file = dir.join("dev.json");
        let issuer = DevIssuer::generate("http://x");
        let dev = DevFile {
            base_url: "http://x".into(),
            database_url: "a".into(),
            owner_database_url: "b".into(),
            issuer: "http://x".into(),
            issuer_key_file: "k".into(),
            audience: "scaicontrol".into(),
            tokens: sample_tokens(&issuer),
            service_key: "sck".into(),
            ids: BTreeMap::new(),
            pid: 1,
        };
        dev.write(&file).expect("write");
        dev.write(&file).expect("write over it");
        assert_eq!(std::fs::metadata(&file).expect("file").permissions().mode() & 0o777, 0o600);
        let read = DevFile::read(&file).expect("read");
        for name in [
            "super_admin",
            "platform_admin",
            "billing_admin",
            "partner_admin",
            "tenant_admin",
            "tenant_member",
            "other_tenant_admin",
            "other_partner_admin",
            "service",
        ] {
            assert!(read.tokens.contains_key(name), "{name}");
        }
        assert_eq!(std::fs::read_dir(&dir).expect("folder").count(), 1, "no draft is left");
        let _ = std::fs::remove_dir_all(dir);
    }
}
