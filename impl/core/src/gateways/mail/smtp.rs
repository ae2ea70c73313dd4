//! A mail server that takes messages by SMTP.
//!
//! The bytes of a message depend on the message alone: its date, its id and the boundaries between its parts come from it.
//! What the server answers decides: 2xx is sent, 4xx is later, 5xx is never. A server that does not let us in (530, 534,
//! 535, 538) says nothing of the message, which waits until the settings are right.
use super::{Mail, Mailer, Outcome};
use crate::config::{self, SmtpTls};
use crate::error::{Error, Result};
use async_trait::async_trait;
use lettre::message::header::{ContentDisposition, ContentTransferEncoding, ContentType};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime};

/// Connections that are kept.
const CONNECTIONS_MAX: u32 = 4;
/// Answers about us, and not about the message.
const NOT_LET_IN: [&str; 4] = ["530", "534", "535", "538"];

/// See the module.
#[derive(Debug)]
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    timeout: Duration,
}

impl SmtpMailer {
    /// The server of that configuration. It is not asked yet.
    ///
    /// Errors: when TLS cannot be set up for its name.
    pub fn new(config: &config::Mail) -> Result<SmtpMailer> {
        let smtp = &config.smtp;
        let host = smtp.host.as_deref().ok_or_else(|| Error::internal("mail.smtp.host is not set"))?;
        let parameters = || TlsParameters::new(host.to_owned()).map_err(Error::internal);
        let (tls, usual_port) = match smtp.tls {
            SmtpTls::None => (Tls::None, 25),
            SmtpTls::Starttls => (Tls::Required(parameters()?), 587),
            SmtpTls::Implicit => (Tls::Wrapper(parameters()?), 465),
        };
        let port = if smtp.port == 0 { usual_port } else { smtp.port };
        let sender = config.from.as_deref().and_then(super::mailbox);
        let domain = sender.map_or_else(|| "localhost".to_owned(), |from| from.email.domain().to_owned());
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .timeout(Some(config.timeout))
            .hello_name(ClientId::Domain(domain))
            .pool_config(PoolConfig::new().max_size(CONNECTIONS_MAX));
        if let (Some(user), Some(password)) = (&smtp.user, &smtp.password) {
            builder =
                builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()));
        }
        Ok(SmtpMailer { transport: builder.build(), timeout: config.timeout })
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Outcome {
        if let Err(why) = mail.check() {
            return Outcome::refused(why);
        }
        let message = match message(mail) {
            Ok(message) => message,
            Err(why) => return Outcome::refused(why),
        };
        // The timeout of the transport is one for each step.
        match tokio::time::timeout(self.timeout, self.transport.send(message)).await {
            Ok(Ok(_)) => Outcome::Sent,
            Ok(Err(error)) => outcome(&error),
            Err(_) => Outcome::later("the mail server does not answer in time"),
        }
    }
}

fn outcome(error: &lettre::transport::smtp::Error) -> Outcome {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !said.contains(&text) {
            said.push_str(": ");
            said.push_str(&text);
        }
        cause = inner.source();
    }
    let code = error.status().map(|code| code.to_string()).unwrap_or_default();
    if error.is_permanent() && !NOT_LET_IN.contains(&code.as_str()) {
        Outcome::refused(said)
    } else {
        Outcome::later(said)
    }
}

/// The message in bytes that depend on nothing else.
fn message(mail: &Mail) -> Result<Message, String> {
    let to = super::address(&mail.to).ok_or("the receiver's address is none")?;
    let mut builder = Message::builder()
        .message_id(Some(format!("<{}>", mail.message_id)))
        .date(SystemTime::from(mail.date))
        .from(mail.from.clone())
        .to(Mailbox::new(None, to))
        .subject(&mail.subject);
    if let Some(reply_to) = mail.reply_to.as_deref().and_then(super::address) {
        builder = builder.reply_to(Mailbox::new(None, reply_to));
    }
    let text = part(ContentType::TEXT_PLAIN, mail.text.as_bytes());
    let body = MultiPart::alternative().boundary(boundary(mail, "alternative")).singlepart(text);
    let body = match &mail.html {
        Some(html) => body.singlepart(part(ContentType::TEXT_HTML, html.as_bytes())),
        None => body,
    };
    let mut all = MultiPart::mixed().boundary(boundary(mail, "mixed")).multipart(body);
    for file in &mail.attachments {
        let content_type = ContentType::parse(&file.content_type).map_err(|e| e.to_string())?;
        let named = ContentDisposition::attachment(&file.file_name);
        let single = SinglePart::builder().header(content_type).header(named);
        all = all.singlepart(encoded(single, &file.bytes)?);
    }
    builder.multipart(all).map_err(|e| e.to_string())
}

fn part(content_type: ContentType, bytes: &[u8]) -> SinglePart {
    let single = SinglePart::builder().header(content_type);
    // Base64 takes any text, so that the encoding never depends on what is in it.
    encoded(single, bytes).unwrap_or_else(|_| SinglePart::plain(String::new()))
}

fn encoded(single: lettre::message::SinglePartBuilder, bytes: &[u8]) -> Result<SinglePart, String> {
    use lettre::message::Body;
    let body = Body::new_with_encoding(bytes.to_vec(), ContentTransferEncoding::Base64);
    Ok(single.body(body.map_err(|_| "a part cannot be encoded")?))
}

/// A line that is in no part: parts are in base64, and `_` is no letter of it.
fn boundary(mail: &Mail, of: &str) -> String {
    let digest = Sha256::digest(format!("{of}:{}", mail.message_id));
    format!("_{}", hex::encode(&digest[..16]))
}

#[cfg(test)]
mod tests {
    use super::super::tests::mail;
    use super::*;

    #[test]
    fn the_same_mail_is_the_same_bytes() {
        let first = message(&mail()).expect("a message").formatted();
        assert_eq!(first, message(&mail()).expect("a message").formatted());
        let text = String::from_utf8(first).expect("text");
        for line in [
            "Message-ID: <0192f0c4-6b02-7d51-8a44-2f7f0b1c9e20@billing.example>\r\n",
            "Date: Tue, 10 Mar 2026 09:00:00 +0000\r\n",
            "From: \"Noord Software\" <billing@north.example>\r\n",
            "To: ap@acme.example\r\n",
            "Reply-To: help@north.example\r\n",
            "MIME-Version: 1.0\r\n",
            "Content-Disposition: attachment; filename=\"SCAI-2026-000042.pdf\"\r\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 998), "lines are not too long");
        assert_eq!(text.matches("\r\nSubject: ").count(), 1);
    }

    #[test]
    fn a_refused_header_never_becomes_bytes() {
        let mut bad = mail();
        bad.subject = "a\r\nBcc: eve@example.com".into();
        assert!(bad.check().is_err());
        // Behind the check the encoding keeps it in one header too.
        let text = String::from_utf8(message(&bad).expect("a message").formatted()).expect("text");
        assert!(!text.contains("\r\nBcc:"), "{text}");
    }
}
