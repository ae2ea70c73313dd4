//! The sections of what the server stores elsewhere and sends out: files, mail, questions to the VAT register.
use super::{ConfigError, missing, span, wrong};
use secrecy::SecretString;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// `objects.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objects {
    /// Where files are, on this machine; not used with a bucket.
    pub folder: Option<PathBuf>,
    /// Where files are, elsewhere.
    pub s3: S3,
    /// Longest wait for one call.
    #[serde(deserialize_with = "span")]
    pub timeout: Duration,
}

/// `objects.s3.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// The bucket; none: S3 is not used.
    pub bucket: Option<String>,
    /// Address of the service.
    pub endpoint: Option<String>,
    /// Region of the bucket.
    pub region: String,
    /// Whose key it is.
    pub access_key_id: Option<String>,
    /// Its secret.
    pub secret_access_key: Option<SecretString>,
}

impl Objects {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.s3.bucket.is_some() && self.s3.access_key_id.is_some() != self.s3.secret_access_key.is_some()
        {
            return Err(missing(match self.s3.access_key_id {
                Some(_) => "objects.s3.secret_access_key",
                None => "objects.s3.access_key_id",
            }));
        }
        Ok(())
    }
}

/// `render.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Render {
    /// The program; unset: beside this one.
    pub program: Option<PathBuf>,
    /// Longest time for one document.
    #[serde(deserialize_with = "span")]
    pub timeout: Duration,
}

impl Render {
    /// Where the program is.
    pub fn program(&self) -> PathBuf {
        let beside = || std::env::current_exe().ok()?.parent().map(|dir| dir.join("scaicontrol-render"));
        self.program.clone().or_else(beside).unwrap_or_else(|| PathBuf::from("scaicontrol-render"))
    }
}

/// `mail.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// How mails go out.
    pub transport: MailTransport,
    /// Sender of all mails.
    pub from: Option<String>,
    /// Longest wait for one mail to be taken.
    #[serde(deserialize_with = "span")]
    pub timeout: Duration,
    /// By a mail server.
    pub smtp: Smtp,
    /// By ScaiSend.
    pub scaisend: ScaiSend,
}

/// `mail.transport`
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum MailTransport {
    /// They wait in the outbox.
    None,
    /// A mail server takes them.
    Smtp,
    /// ScaiSend takes them.
    #[serde(rename = "scaisend")]
    ScaiSend,
}

/// `mail.smtp.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// The server.
    pub host: Option<String>,
    /// Its port; 0 for the usual one.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// Who logs in.
    pub user: Option<String>,
    /// With what.
    pub password: Option<SecretString>,
}

/// `mail.smtp.tls`
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// Not at all.
    None,
    /// From STARTTLS on, which the server must offer.
    Starttls,
    /// From its first byte.
    Implicit,
}

/// `mail.scaisend.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaiSend {
    /// Its address.
    pub base_url: Option<String>,
    /// What it knows us by.
    pub key: Option<SecretString>,
}

impl Mail {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let needed = match self.transport {
            MailTransport::None => return Ok(()),
            MailTransport::Smtp => ("mail.smtp.host", self.smtp.host.is_some()),
            MailTransport::ScaiSend => ("mail.scaisend.base_url", self.scaisend.base_url.is_some()),
        };
        if !needed.1 {
            return Err(missing(needed.0));
        }
        let Some(from) = &self.from else { return Err(missing("mail.from")) };
        if crate::gateways::mail::mailbox(from).is_none() {
            return Err(wrong("mail.from", format!("{from:?} is not like `Name <address>`")));
        }
        if self.transport == MailTransport::Smtp && self.smtp.user.is_some() != self.smtp.password.is_some() {
            return Err(missing(match self.smtp.user {
                Some(_) => "mail.smtp.password",
                None => "mail.smtp.user",
            }));
        }
        Ok(())
    }
}

/// `vies.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vies {
    /// Whether it is asked.
    pub enabled: bool,
    /// Its address.
    pub base_url: String,
    /// Longest wait for one answer.
    #[serde(deserialize_with = "span")]
    pub timeout: Duration,
    /// Age at which an answer is asked for again.
    #[serde(deserialize_with = "span")]
    pub recheck_after: Duration,
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Sources};

    fn load(settings: &[(&str, &str)]) -> Result<Config, String> {
        let flags = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::load(&Sources { flags, environment: Some(vec![]), ..Sources::default() }).map_err(|e| e.0)
    }

    #[test]
    fn what_a_transport_needs_is_named() {
        let smtp = [("mail.transport", "smtp"), ("mail.smtp.host", "h"), ("mail.from", "A <a@b.example>")];
        load(&smtp).expect("whole");
        let scaisend = [
            ("mail.transport", "scaisend"),
            ("mail.scaisend.base_url", "http://h"),
            ("mail.from", "a@b.example"),
        ];
        load(&scaisend).expect("whole");
        for (settings, missing) in
            [(smtp, "mail.smtp.host"), (scaisend, "mail.scaisend.base_url"), (smtp, "mail.from")]
        {
            let some: Vec<_> = settings.iter().filter(|(key, _)| *key != missing).copied().collect();
            assert!(load(&some).expect_err("refused").contains(missing), "{missing}");
        }
        let with = |key, value| load(&[&smtp[..], &[(key, value)]].concat());
        for (key, value, named) in [
            ("mail.from", "nobody", "mail.from"),
            ("mail.from", "A\nBcc: x <a@b.example>", "mail.from"),
            ("mail.smtp.user", "u", "mail.smtp.password"),
            ("mail.smtp.password", "p", "mail.smtp.user"),
            ("mail.smtp.tls", "sometimes", "mail.smtp.tls"),
            ("mail.transport", "pigeon", "mail.transport"),
            ("mail.smtp.port", "70000", "mail.smtp.port"),
            ("vies.base_url", "nowhere", "vies.base_url"),
            ("vies.recheck_after", "0", "vies.recheck_after"),
        ] {
            let refused = with(key, value).expect_err(value);
            assert!(refused.contains(named) && !refused.contains('\n'), "{value}: {refused:?}");
        }
    }

    #[test]
    fn a_key_for_a_bucket_is_whole() {
        let bucket = ("objects.s3.bucket", "files");
        load(&[bucket]).expect("the machine's own role");
        let half = load(&[bucket, ("objects.s3.access_key_id", "id")]).expect_err("refused");
        assert!(half.contains("objects.s3.secret_access_key"), "{half}");
        let half = load(&[bucket, ("objects.s3.secret_access_key", "topsecret")]).expect_err("refused");
        assert!(half.contains("objects.s3.access_key_id") && !half.contains("topsecret"), "{half}");
    }
}
