//! The outbox of mails: what is to be sent is a row of the transaction that it tells of, and a worker sends it.
//!
//! A mail is rendered when it is queued, so that it says what was true then and every attempt sends the same bytes; files
//! that are still being made (the PDF of an invoice) hold it until [`release`]. It is sent at least once: an answer that is
//! lost is asked for again with the same message id. What became of it is in its row: `queued`, `sent` or `failed` with the
//! reason.
pub mod letters;
pub mod store;
pub mod worker;

use crate::clock::Clock;
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::gateways::mail::{
    ATTACHMENTS_MAX, BODY_BYTES_MAX, LINE_CHARS_MAX, address as is_address, one_line,
};
use crate::op::OpContext;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Mails of one document that may be queued within a day.
pub const PER_DAY_MAX: i64 = 10;

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailKind {
    /// An invoice, attached.
    Invoice,
    /// A credit note, attached.
    CreditNote,
    /// A trial ends soon.
    TrialEnding,
    /// A payment failed, or an invoice is overdue.
    PaymentFailed,
    /// A subscription renews at another price.
    RenewalPriceChange,
}

impl MailKind {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            MailKind::Invoice => "invoice",
            MailKind::CreditNote => "credit_note",
            MailKind::TrialEnding => "trial_ending",
            MailKind::PaymentFailed => "payment_failed",
            MailKind::RenewalPriceChange => "renewal_price_change",
        }
    }
}

/// A file of a mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where it is in the object store.
    pub key: String,
    /// Its name in the mail.
    pub file_name: String,
    /// Its media type.
    pub content_type: String,
}

/// The files of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    /// These.
    Ready(Vec<File>),
    /// They are being made; the mail waits for [`release`].
    Held,
}

/// A mail to be sent.
#[derive(Clone, Debug)]
pub struct NewMail<'a> {
    /// Whom it is for.
    pub tenant_id: &'a str,
    /// Whose customer that is.
    pub partner_id: &'a str,
    /// What it is about.
    pub kind: MailKind,
    /// The document that it is about.
    pub invoice_id: Option<Uuid>,
    /// The template it was rendered from.
    pub template_name: &'a str,
    /// Its language: `en`, `nl`, `de`, `fr`, `es` or `it`.
    pub language: &'a str,
    /// Name of the sender, when it is not the platform's; the address is that of the configuration.
    pub from_name: Option<&'a str>,
    /// Whom an answer goes to.
    pub reply_to: Option<&'a str>,
    /// Address of the receiver.
    pub to: &'a str,
    /// Its subject. Line breaks become blanks, and what is too long is cut.
    pub subject: &'a str,
    /// What a reader without HTML sees.
    pub text: &'a str,
    /// What all others see.
    pub html: Option<&'a str>,
    /// Its files.
    pub files: Files,
}

/// Queues a mail in the transaction of what it tells; answers its id. It is due at once, or when it is released.
///
/// Errors: 400 naming `to` when that is no address; internal when it is larger than a mail may be.
pub async fn enqueue(conn: &mut Conn, op: &OpContext, mail: NewMail<'_>) -> Result<Uuid> {
    if is_address(mail.to).is_none() {
        return Err(Error::field("to", "is not an address that mail can be sent to"));
    }
    if mail.text.len() > BODY_BYTES_MAX || mail.html.is_some_and(|h| h.len() > BODY_BYTES_MAX) {
        return Err(Error::internal("a mail was rendered that is too long"));
    }
    let held = mail.files == Files::Held;
    let files = match mail.files {
        Files::Ready(files) => checked(files)?,
        Files::Held => vec![],
    };
    let row = store::NewRow {
        tenant_id: mail.tenant_id,
        mail_id: op.id(),
        partner_id: mail.partner_id,
        kind: mail.kind.as_str(),
        invoice_id: mail.invoice_id,
        template_name: mail.template_name,
        language: mail.language,
        from_name: mail.from_name.map(|name| one_line(name, LINE_CHARS_MAX)),
        // An address that cannot be one is left out: the mail matters more than where an answer goes.
        reply_to: mail.reply_to.filter(|text| is_address(text).is_some()),
        to_address: mail.to,
        subject: one_line(mail.subject, LINE_CHARS_MAX),
        text_body: mail.text,
        html_body: mail.html,
        attachments: serde_json::to_value(files).map_err(Error::internal)?,
        held,
        status: "queued",
        next_attempt_at: Clock::Real.now(),
        created_at: op.now,
    };
    store::insert(conn, &row).await?;
    Ok(row.mail_id)
}

/// Gives a held mail the files that were made, and lets it go. One that is not held any more stays as it is.
pub async fn release(conn: &mut Conn, tenant_id: &str, mail_id: Uuid, files: Vec<File>) -> Result<()> {
    let files = serde_json::to_value(checked(files)?).map_err(Error::internal)?;
    store::release(conn, tenant_id, mail_id, files, Clock::Real.now()).await
}

/// Gives up a held mail, because its files cannot be made.
pub async fn abandon(
    conn: &mut Conn,
    op: &OpContext,
    tenant_id: &str,
    mail_id: Uuid,
    reason: &str,
) -> Result<()> {
    store::abandon(conn, tenant_id, mail_id, &one_line(reason, 500), op.now).await
}

/// Refuses one more mail of a document when there were enough within a day. The document is locked by the caller, so that
/// two at once cannot both be the last.
///
/// Errors: 429, with the time until the oldest is a day old.
pub async fn limit(conn: &mut Conn, tenant_id: &str, invoice_id: Uuid, now: DateTime<Utc>) -> Result<()> {
    let day = TimeDelta::days(1);
    let Some(oldest) = store::nth_newest(conn, tenant_id, invoice_id, now - day, PER_DAY_MAX).await? else {
        return Ok(());
    };
    let seconds = (oldest + day - now).num_seconds().max(1);
    Err(Error::TooMany { retry_after_seconds: u32::try_from(seconds).unwrap_or(u32::MAX) })
}

fn checked(files: Vec<File>) -> Result<Vec<File>> {
    if files.len() > ATTACHMENTS_MAX {
        return Err(Error::internal(format!("{} files are too many for a mail", files.len())));
    }
    Ok(files)
}
