//! The rows of the outbox, and the statements that read and write them.
use super::File;
use crate::checks::stored_json;
use crate::db::Conn;
use crate::db::schema::mails;
use crate::db::statement::statement;
use crate::error::Result;
use crate::workers::NextDue;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

/// A mail as it is queued.
#[derive(Debug, Insertable)]
#[diesel(table_name = mails, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct NewRow<'a> {
    pub tenant_id: &'a str,
    pub mail_id: Uuid,
    pub partner_id: &'a str,
    pub kind: &'a str,
    pub invoice_id: Option<Uuid>,
    pub template_name: &'a str,
    pub language: &'a str,
    pub from_name: Option<String>,
    pub reply_to: Option<&'a str>,
    pub to_address: &'a str,
    pub subject: String,
    pub text_body: &'a str,
    pub html_body: Option<&'a str>,
    pub attachments: Value,
    pub held: bool,
    pub status: &'a str,
    pub next_attempt_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
}

/// A mail that one worker has taken up, until its lease is over.
#[derive(Clone, Debug, Queryable)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct Leased {
    pub tenant_id: String,
    pub mail_id: Uuid,
    pub partner_id: String,
    pub from_name: Option<String>,
    pub reply_to: Option<String>,
    pub to_address: String,
    pub subject: String,
    pub text_body: String,
    pub html_body: Option<String>,
    attachments: Value,
    /// Counts this attempt; whoever takes it up after the lease counts another.
    pub attempts: i32,
    pub sender: String,
    pub message_id: String,
    pub first_attempt_at: DateTime<Utc>,
}

impl Leased {
    /// Its files.
    pub fn files(&self) -> Result<Vec<File>> {
        stored_json(&self.attachments)
    }
}

/// Adds a mail.
pub async fn insert(conn: &mut Conn, row: &NewRow<'_>) -> Result<()> {
    diesel::insert_into(mails::table).values(row).execute(conn).await?;
    Ok(())
}

/// Lets a held mail go, with its files.
pub async fn release(
    conn: &mut Conn,
    tenant_id: &str,
    mail_id: Uuid,
    files: Value,
    at: DateTime<Utc>,
) -> Result<()> {
    statement::<()>(
        "UPDATE mails SET attachments = $1, next_attempt_at = $2, held = false
         WHERE tenant_id = $3 AND mail_id = $4 AND held AND status = 'queued'",
    )
    .bind::<Jsonb, _>(files)
    .bind::<Timestamptz, _>(at)
    .bind::<Text, _>(tenant_id)
    .bind::<SqlUuid, _>(mail_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up a held mail.
pub async fn abandon(
    conn: &mut Conn,
    tenant_id: &str,
    mail_id: Uuid,
    reason: &str,
    at: DateTime<Utc>,
) -> Result<()> {
    statement::<()>(
        "UPDATE mails SET status = 'failed', reason = $1, failed_at = $2
         WHERE tenant_id = $3 AND mail_id = $4 AND held AND status = 'queued'",
    )
    .bind::<Text, _>(reason)
    .bind::<Timestamptz, _>(at)
    .bind::<Text, _>(tenant_id)
    .bind::<SqlUuid, _>(mail_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether there is a mail of a document.
pub async fn is_mailed(conn: &mut Conn, tenant_id: &str, invoice_id: Uuid) -> Result<bool> {
    use mails as t;
    let mailed = t::table.filter(t::tenant_id.eq(tenant_id).and(t::invoice_id.eq(invoice_id)));
    Ok(diesel::select(diesel::dsl::exists(mailed)).get_result(conn).await?)
}

/// When the n-th newest mail of a document since an instant was queued, if there are so many.
pub async fn nth_newest(
    conn: &mut Conn,
    tenant_id: &str,
    invoice_id: Uuid,
    since: DateTime<Utc>,
    n: i64,
) -> Result<Option<DateTime<Utc>>> {
    let query = statement::<Timestamptz>(
        "SELECT created_at FROM mails WHERE tenant_id = $1 AND invoice_id = $2 AND created_at > $3
         ORDER BY created_at DESC OFFSET $4 LIMIT 1",
    )
    .bind::<Text, _>(tenant_id)
    .bind::<SqlUuid, _>(invoice_id)
    .bind::<Timestamptz, _>(since)
    .bind::<BigInt, _>(n - 1);
    Ok(query.get_result(conn).await.optional()?)
}

/// How a lease is taken.
#[derive(Clone, Copy, Debug)]
pub struct Lease<'a> {
    /// Now, by the machine's clock.
    pub now: DateTime<Utc>,
    /// When somebody else may take the mail up.
    pub until: DateTime<Utc>,
    /// Address of the sender, for a mail that has none yet.
    pub sender: &'a str,
    /// What a message id ends in, for a mail that has none yet.
    pub domain: &'a str,
}

/// Takes up some of the mails that are due, the longest due first. Nobody else gets them before the lease is over.
pub async fn lease(conn: &mut Conn, lease: Lease<'_>, count: i64) -> Result<Vec<Leased>> {
    type Columns = (
        Text,
        SqlUuid,
        Text,
        Nullable<Text>,
        Nullable<Text>,
        Text,
        Text,
        Text,
        Nullable<Text>,
        Jsonb,
        Integer,
        Text,
        Text,
        Timestamptz,
    );
    let query = statement::<Columns>(
        "UPDATE mails m SET next_attempt_at = $1, attempts = m.attempts + 1,
           sender = COALESCE(m.sender, $2), message_id = COALESCE(m.message_id, m.mail_id::text || '@' || $3),
           first_attempt_at = COALESCE(m.first_attempt_at, $4)
         FROM (SELECT tenant_id, mail_id FROM mails WHERE status = 'queued' AND NOT held AND next_attempt_at <= $5
               ORDER BY next_attempt_at LIMIT $6 FOR UPDATE SKIP LOCKED) AS due
         WHERE m.tenant_id = due.tenant_id AND m.mail_id = due.mail_id
         RETURNING m.tenant_id, m.mail_id, m.partner_id, m.from_name, m.reply_to, m.to_address, m.subject, m.text_body, m.html_body,
           m.attachments, m.attempts, m.sender, m.message_id, m.first_attempt_at",
    )
    .bind::<Timestamptz, _>(lease.until)
    .bind::<Text, _>(lease.sender)
    .bind::<Text, _>(lease.domain)
    .bind::<Timestamptz, _>(lease.now)
    .bind::<Timestamptz, _>(lease.now)
    .bind::<BigInt, _>(count);
    Ok(query.load(conn).await?)
}

/// How many mails are due at an instant of the machine's clock, up to 10,001.
pub async fn due(conn: &mut Conn, now: DateTime<Utc>) -> Result<i64> {
    let query = statement::<BigInt>(
        "SELECT count(*) FROM (SELECT 1 FROM mails WHERE status = 'queued' AND NOT held AND next_attempt_at <= $1 LIMIT 10001) AS due",
    );
    Ok(query.bind::<Timestamptz, _>(now).get_result(conn).await?)
}

/// When a mail is due, by the machine's clock.
pub const NEXT_DUE: NextDue =
    "SELECT min(next_attempt_at) FROM mails WHERE status = 'queued' AND NOT held AND next_attempt_at > $1";

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// Sent.
    Sent,
    /// Tried again at that time of the machine's clock, and why.
    Again(DateTime<Utc>, String),
    /// Given up, and why.
    Failed(String),
}

/// Writes down what became of an attempt, unless somebody else has taken the mail up since. Answers whether it was written.
pub async fn became(conn: &mut Conn, mail: &Leased, now: DateTime<Utc>, became: &Became) -> Result<bool> {
    let (status, reason, sent, failed, next) = match became {
        Became::Sent => ("sent", None, Some(now), None, None),
        Became::Again(next, reason) => ("queued", Some(reason.as_str()), None, None, Some(*next)),
        Became::Failed(reason) => ("failed", Some(reason.as_str()), None, Some(now), None),
    };
    let written = statement::<()>(
        "UPDATE mails SET status = $1, reason = $2, sent_at = $3, failed_at = $4, next_attempt_at = COALESCE($5, next_attempt_at)
         WHERE tenant_id = $6 AND mail_id = $7 AND attempts = $8 AND status = 'queued'",
    )
    .bind::<Text, _>(status)
    .bind::<Nullable<Text>, _>(reason)
    .bind::<Nullable<Timestamptz>, _>(sent)
    .bind::<Nullable<Timestamptz>, _>(failed)
    .bind::<Nullable<Timestamptz>, _>(next)
    .bind::<Text, _>(&mail.tenant_id)
    .bind::<SqlUuid, _>(mail.mail_id)
    .bind::<Integer, _>(mail.attempts)
    .execute(conn)
    .await?;
    Ok(written == 1)
}

/// The mails of a document that wait for its files.
pub async fn held(conn: &mut Conn, tenant_id: &str, invoice_id: Uuid) -> Result<Vec<Uuid>> {
    use mails as t;
    Ok(t::table
        .filter(
            t::tenant_id
                .eq(tenant_id)
                .and(t::invoice_id.eq(invoice_id))
                .and(t::held)
                .and(t::status.eq("queued")),
        )
        .select(t::mail_id)
        .load(conn)
        .await?)
}
