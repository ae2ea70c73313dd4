//! Outgoing mail: one message at a time, by a mail server or by ScaiSend.
//!
//! A [`Mail`] is whole when it comes here, and what is sent of it depends on nothing else: tried again it is the same
//! message with the same id, so a server that took it twice can tell. What becomes of it is an [`Outcome`], and the outbox
//! (`mails/`) decides what follows. Nothing that a template or a customer wrote can add a header: a line break in a header's
//! text refuses the mail.
pub mod scaisend;
pub mod smtp;

use crate::config::{Config, MailTransport};
use crate::error::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use lettre::message::Mailbox;
use std::sync::Arc;
use std::time::Duration;

/// Longest subject, name of a sender and name of a file, in characters.
pub const LINE_CHARS_MAX: usize = 255;
/// Longest text, and longest HTML.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Most attachments.
pub const ATTACHMENTS_MAX: usize = 10;
/// Largest sum of the attachments; encoded it stays below what servers commonly take.
pub const ATTACHED_BYTES_MAX: usize = 15 * 1024 * 1024;
/// Longest wait that a receiver can ask for.
const AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longest reason that is kept.
const REASON_CHARS_MAX: usize = 500;

/// A message.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Its id without the angle brackets: the same in every attempt.
    pub message_id: String,
    /// Its date: that of the first attempt.
    pub date: DateTime<Utc>,
    /// Who sends.
    pub from: Mailbox,
    /// Whom an answer goes to, when not to the sender.
    pub reply_to: Option<String>,
    /// Address of the receiver.
    pub to: String,
    /// One line.
    pub subject: String,
    /// What a reader without HTML sees.
    pub text: String,
    /// What all others see.
    pub html: Option<String>,
    /// Files.
    pub attachments: Vec<Attachment>,
}

/// A file of a message.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Its name.
    pub file_name: String,
    /// Its media type.
    pub content_type: String,
    /// Its content.
    pub bytes: Bytes,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody else has it now.
    Sent,
    /// Not now; when the receiver said so, not before that time is over.
    Later {
        /// Why.
        reason: String,
        /// How long the receiver wants to be left alone.
        after: Option<Duration>,
    },
    /// Never: it would be refused again.
    Refused(String),
}

impl Outcome {
    fn later(reason: impl Into<String>) -> Outcome {
        Outcome::Later { reason: reason_of(reason), after: None }
    }
    fn refused(reason: impl Into<String>) -> Outcome {
        Outcome::Refused(reason_of(reason))
    }
}

/// A reason as it is kept: one line, not too long.
fn reason_of(text: impl Into<String>) -> String {
    one_line(&text.into(), REASON_CHARS_MAX)
}

/// Who takes messages.
#[async_trait]
pub trait Mailer: Send + Sync + std::fmt::Debug {
    /// Hands a message over. Bounded in time; may be called again with the same message.
    async fn send(&self, mail: &Mail) -> Outcome;
}

/// The transport of a configuration and the sender of its mails; none when mails are to wait.
///
/// Errors: when the settings do not fit together.
pub fn open(config: &Config) -> Result<Option<(Arc<dyn Mailer>, Mailbox)>> {
    let mail = &config.mail;
    let mailer: Arc<dyn Mailer> = match mail.transport {
        MailTransport::None => return Ok(None),
        MailTransport::Smtp => Arc::new(smtp::SmtpMailer::new(mail)?),
        MailTransport::ScaiSend => Arc::new(scaisend::ScaiSendMailer::new(mail)?),
    };
    let from = mail.from.as_deref().and_then(mailbox);
    let from = from.ok_or_else(|| Error::internal("mail.from is not like `Name <address>`"))?;
    Ok(Some((mailer, from)))
}

/// A name with an address, or an address alone; nothing when it is neither.
pub fn mailbox(text: &str) -> Option<Mailbox> {
    let text = text.trim();
    let found: Mailbox = text.parse().ok()?;
    let is_whole = text.ends_with('>') || text == found.email.to_string();
    let is_line = found.name.as_deref().is_none_or(is_line);
    (is_whole && is_line && address(found.email.as_ref()).is_some()).then_some(found)
}

/// An address that mail can be sent to; nothing when it cannot.
pub fn address(text: &str) -> Option<lettre::Address> {
    let plain = text.len() <= 254 && text.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if plain { text.parse().ok() } else { None }
}

/// A text as one line of at most so many characters: what breaks lines becomes a blank.
pub fn one_line(text: &str, max: usize) -> String {
    text.split(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}')
        .flat_map(|part| part.split(' '))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(max)
        .collect()
}

fn is_line(text: &str) -> bool {
    text.chars().count() <= LINE_CHARS_MAX && !text.chars().any(char::is_control)
}

impl Mail {
    /// What no message may be, whoever takes it.
    ///
    /// Errors: what is wrong, in words for the outbox.
    pub fn check(&self) -> Result<(), String> {
        let names = self.attachments.iter().flat_map(|a| [&a.file_name, &a.content_type]);
        let lines = [&self.subject, &self.message_id].into_iter().chain(names).chain(&self.from.name);
        for line in lines {
            if !is_line(line) {
                return Err("a header is too long, or holds a line break".to_owned());
            }
        }
        let is_id = self.message_id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._@".contains(&b));
        if !is_id || self.message_id.matches('@').count() != 1 {
            return Err("the message id is none".to_owned());
        }
        for address_of in std::iter::once(&self.to).chain(&self.reply_to) {
            if address(address_of).is_none() {
                return Err("an address is none that mail can be sent to".to_owned());
            }
        }
        if self.text.len() > BODY_BYTES_MAX || self.html.as_ref().is_some_and(|h| h.len() > BODY_BYTES_MAX) {
            return Err(format!("the text is longer than {BODY_BYTES_MAX} bytes"));
        }
        let attached: usize = self.attachments.iter().map(|a| a.bytes.len()).sum();
        if self.attachments.len() > ATTACHMENTS_MAX || attached > ATTACHED_BYTES_MAX {
            return Err(format!(
                "more than {ATTACHMENTS_MAX} files or {ATTACHED_BYTES_MAX} bytes are attached"
            ));
        }
        if let Some(wrong) = self.attachments.iter().find(|a| !is_media_type(&a.content_type)) {
            return Err(format!("`{}` is no media type", wrong.content_type));
        }
        Ok(())
    }
}

fn is_media_type(text: &str) -> bool {
    let is_word =
        |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-".contains(&b));
    text.split_once('/').is_some_and(|(kind, rest)| is_word(kind) && is_word(rest))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn mail() -> Mail {
        Mail {
            message_id: "0192f0c4-6b02-7d51-8a44-2f7f0b1c9e20@billing.example".into(),
            date: "2026-03-10T09:00:00Z".parse().expect("a time"),
            from: mailbox("Noord Software <billing@north.example>").expect("a sender"),
            reply_to: Some("help@north.example".into()),
            to: "ap@acme.example".into(),
            subject: "Rechnung für März – 121,00 €".into(),
            text: "Guten Tag,\n\nanbei die Rechnung.\n.\nEnde".into(),
            html: Some("<p>Guten Tag,</p>".into()),
            attachments: vec![Attachment {
                file_name: "SCAI-2026-000042.pdf".into(),
                content_type: "application/pdf".into(),
                bytes: Bytes::from_static(b"%PDF-1.7 \x00\xff"),
            }],
        }
    }

    #[test]
    fn no_text_can_add_a_header() {
        mail().check().expect("a good one");
        let with = |change: &dyn Fn(&mut Mail)| {
            let mut mail = mail();
            change(&mut mail);
            mail.check()
        };
        for bad in ["a\r\nBcc: x@example.com", "a\nb", "a\rb", "a\0b"] {
            assert!(with(&|m| m.subject = bad.into()).is_err(), "subject {bad:?}");
            assert!(with(&|m| m.from.name = Some(bad.into())).is_err(), "name {bad:?}");
            assert!(with(&|m| m.attachments[0].file_name = bad.into()).is_err(), "file {bad:?}");
            assert!(with(&|m| m.attachments[0].content_type = bad.into()).is_err(), "type {bad:?}");
            assert!(with(&|m| m.message_id = bad.into()).is_err(), "id {bad:?}");
            assert!(with(&|m| m.to = format!("{bad}@example.com")).is_err(), "to {bad:?}");
            assert!(with(&|m| m.reply_to = Some(format!("x@example.com{bad}"))).is_err(), "reply to {bad:?}");
        }
        for id in ["no-at", "a@b@c", "<a@b>", "a b@c"] {
            assert!(with(&|m| m.message_id = id.into()).is_err(), "{id}");
        }
        assert!(with(&|m| m.subject = "x".repeat(256)).is_err());
        assert!(with(&|m| m.text = "x".repeat(BODY_BYTES_MAX + 1)).is_err());
        assert!(with(&|m| m.attachments = vec![m.attachments[0].clone(); 11]).is_err());
        assert!(with(&|m| m.attachments[0].bytes = vec![0; ATTACHED_BYTES_MAX + 1].into()).is_err());
    }

    #[test]
    fn lines_and_senders() {
        assert_eq!(one_line("a\r\nBcc: b\t c  d", 99), "a Bcc: b c d");
        assert_eq!(one_line("für alle", 3), "für");
        for good in ["a@b.example", "A B <a@b.example>", "\"A, B\" <a@b.example>"] {
            assert!(mailbox(good).is_some(), "{good}");
        }
        for bad in ["", "a", "a@b.example, c@d.example", "a@b.example c", "A\nB <a@b.example>", "<>"] {
            assert!(mailbox(bad).is_none(), "{bad:?}");
        }
    }
}
