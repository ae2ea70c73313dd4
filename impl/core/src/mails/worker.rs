//! Sends the mails that are due.
//!
//! A mail is taken up under a lease, sent outside of any transaction, and what became of it is written down; a server that
//! dies in between leaves a lease that ends by itself. The pauses grow: a minute, 5 minutes, half an hour, 2, 12 and 24
//! hours, then the mail has failed. Leases and pauses go by the machine's clock, under a simulated one too.
use super::store::{self, Became, Lease, Leased};
use crate::app::Control;
use crate::audit;
use crate::clock::Clock;
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::gateways::mail::{ATTACHED_BYTES_MAX, Attachment, Mail, Mailer, Outcome};
use crate::op::{OpContext, Scope};
use crate::settings::{self, MailSender};
use crate::workers::WORK_MAX;
use chrono::TimeDelta;
use futures::StreamExt;
use futures::future::BoxFuture;
use lettre::message::Mailbox;
use serde_json::json;
use std::time::{Duration, Instant};

/// Pauses after the first, the second … attempt; after the last one there is no more.
const PAUSES: [TimeDelta; 6] = [
    TimeDelta::minutes(1),
    TimeDelta::minutes(5),
    TimeDelta::minutes(30),
    TimeDelta::hours(2),
    TimeDelta::hours(12),
    TimeDelta::hours(24),
];
/// Attempts after which a mail that ends the server each time is given up.
const ATTEMPTS_MAX: usize = PAUSES.len() + 4;
/// Mails that are taken up together.
const LEASED_AT_ONCE: i64 = 8;
/// Mails that are sent at a time.
const SENT_AT_ONCE: usize = 4;
/// Shortest lease.
const LEASE_MIN: Duration = Duration::from_secs(300);

/// What a tick did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Mails that were sent.
    pub sent: usize,
    /// Mails that are tried again later.
    pub put_off: usize,
    /// Mails that were given up.
    pub failed: usize,
    /// Whether its time was over before the mails were.
    pub has_more: bool,
}

/// Sends what is due, for as long as a tick may. Without a transport mails wait. Safe to repeat, and at several servers at once.
pub async fn tick(op: &OpContext, app: &Control) -> Result<Done> {
    let mut done = Done::default();
    let Some((mailer, from)) = &app.mailer else { return Ok(done) };
    let op = &op.with_scope(Scope::Platform);
    let Sender { from, reply_to } = &app.db.read(op, async |conn| sender(conn, from).await).await?;
    // Longer than a whole round can take.
    let lease = LEASE_MIN.max(app.config.mail.timeout * 8);
    let begin = Instant::now();
    loop {
        if WORK_MAX < begin.elapsed() {
            done.has_more = true;
            break;
        }
        let (now, sender) = (Clock::Real.now(), from.email.to_string());
        let until = now + TimeDelta::from_std(lease).map_err(Error::internal)?;
        let lease = Lease { now, until, sender: &sender, domain: from.email.domain() };
        let mut mails = app
            .db
            .tx(op, "mails_lease", async |conn| store::lease(conn, lease, LEASED_AT_ONCE).await)
            .await?;
        if mails.is_empty() {
            break;
        }
        let mut attempts: Vec<BoxFuture<'_, Result<Option<Became>>>> = Vec::new();
        for mail in &mut mails {
            mail.reply_to = mail.reply_to.take().or_else(|| reply_to.clone());
            attempts.push(Box::pin(attempt(op, app, mailer.as_ref(), from, mail)));
        }
        let sent = futures::stream::iter(attempts).buffer_unordered(SENT_AT_ONCE);
        let outcomes: Vec<Result<Option<Became>>> = sent.collect().await;
        for outcome in outcomes {
            match outcome? {
                Some(Became::Sent) => done.sent += 1,
                Some(Became::Again(..)) => done.put_off += 1,
                Some(Became::Failed(_)) => done.failed += 1,
                None => {}
            }
        }
    }
    let due = app.db.read(op, async |conn| store::due(conn, Clock::Real.now()).await).await?;
    app.metrics.queue("mails", due);
    Ok(done)
}

/// Who sends: what the platform's settings say, and before anybody has set that, the configuration.
struct Sender {
    from: Mailbox,
    /// For mails that say nothing else.
    reply_to: Option<String>,
}

async fn sender(conn: &mut Conn, configured: &Mailbox) -> Result<Sender> {
    let set = settings::load(conn).await?.mail_sender;
    if set == MailSender::default() {
        return Ok(Sender { from: configured.clone(), reply_to: None });
    }
    let address = set.from_address.parse().map_err(|e| {
        Error::internal(format!("the settings' mail_sender.from_address {}: {e}", set.from_address))
    })?;
    Ok(Sender { from: Mailbox::new(Some(set.from_name), address), reply_to: set.reply_to })
}

/// Sends one mail, and writes down what became of it; nothing when somebody else has taken it up meanwhile.
async fn attempt(
    op: &OpContext,
    app: &Control,
    mailer: &dyn Mailer,
    from: &Mailbox,
    row: &Leased,
) -> Result<Option<Became>> {
    let attempts = usize::try_from(row.attempts).unwrap_or(usize::MAX);
    let outcome = if attempts > ATTEMPTS_MAX {
        Outcome::Refused("no attempt came to an end".into())
    } else {
        match message(app, from, row).await {
            Ok(Ok(mail)) => mailer.send(&mail).await,
            Ok(Err(why)) => Outcome::Refused(why),
            // The object store or the database: nothing is known to be wrong with the mail.
            Err(e) => {
                slog::warn!(app.log, "a mail cannot be put together"; "mail_id" => %row.mail_id, "error" => %e);
                Outcome::Later { reason: "its files cannot be reached".into(), after: None }
            }
        }
    };
    let became = became(outcome, attempts);
    if let Became::Failed(_) = &became {
        // Without the reason: servers put addresses into it.
        slog::warn!(app.log, "a mail was given up"; "mail_id" => %row.mail_id, "tenant_id" => &row.tenant_id);
    }
    let written = app.db.tx(op, "mails_became", async |conn| write(conn, op, row, &became).await).await?;
    Ok(written.then_some(became))
}

/// What follows from the outcome of the n-th attempt.
fn became(outcome: Outcome, attempts: usize) -> Became {
    match outcome {
        Outcome::Sent => Became::Sent,
        Outcome::Refused(reason) => Became::Failed(reason),
        Outcome::Later { reason, after } => match attempts.checked_sub(1).and_then(|n| PAUSES.get(n)) {
            Some(pause) => {
                let after = after.and_then(|a| TimeDelta::from_std(a).ok()).unwrap_or_default();
                Became::Again(Clock::Real.now() + (*pause).max(after), reason)
            }
            None => Became::Failed(format!("given up after {attempts} attempts: {reason}")),
        },
    }
}

/// Writes down what became of an attempt; the end of a mail goes into the audit log too.
async fn write(conn: &mut Conn, op: &OpContext, row: &Leased, became: &Became) -> Result<bool> {
    let written = store::became(conn, row, op.now, became).await?;
    let (status, reason) = match became {
        Became::Again(..) => return Ok(written),
        Became::Sent => ("sent", None),
        Became::Failed(reason) => ("failed", Some(reason)),
    };
    if written {
        let entry = audit::Entry {
            object_type: "mail",
            object_id: row.mail_id.to_string(),
            tenant_id: Some(&row.tenant_id),
            partner_id: Some(&row.partner_id),
            reason: None,
        };
        let after = json!({"status": status, "attempts": row.attempts, "reason": reason});
        audit::record(conn, op, entry, Some(&json!({"status": "queued"})), Some(&after)).await?;
    }
    Ok(written)
}

/// The message of a row, with its files.
///
/// Errors: the inner one, when it can never be a message; 503 when the object store does not answer.
async fn message(app: &Control, from: &Mailbox, row: &Leased) -> Result<Result<Mail, String>> {
    let Ok(email) = row.sender.parse() else { return Ok(Err("the sender's address is none".into())) };
    let name = row.from_name.clone().or_else(|| from.name.clone());
    let mut attachments = Vec::new();
    for file in row.files()? {
        let Some(bytes) = app.objects.get(&file.key, None, ATTACHED_BYTES_MAX).await? else {
            return Ok(Err(format!("the file {} is not there", file.file_name)));
        };
        attachments.push(Attachment { file_name: file.file_name, content_type: file.content_type, bytes });
    }
    Ok(Ok(Mail {
        message_id: row.message_id.clone(),
        date: row.first_attempt_at,
        from: Mailbox::new(name, email),
        reply_to: row.reply_to.clone(),
        to: row.to_address.clone(),
        subject: row.subject.clone(),
        text: row.text_body.clone(),
        html: row.html_body.clone(),
        attachments,
    }))
}
