//! The statements behind notifications.
//!
//! The transaction sees one tenant's rows; which of them are for the user that asks is said here.
use super::Filter;
use super::words::Reader;
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::db::statement::statement;
use crate::error::{Error, Result};
use crate::op::OpContext;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel::OptionalExtension;
use diesel::prelude::Queryable;
use diesel::sql_types::{BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use scaicontrol_domain::period::parse_timezone;
use scaicontrol_templates::Language;
use uuid::Uuid;

/// A notification, and when the user that asks has read it.
#[derive(Clone, Debug, Queryable)]
pub struct NotificationRow {
    pub notification_id: Uuid,
    pub category: String,
    pub severity: String,
    pub message: String,
    pub parameters: serde_json::Value,
    pub link: Option<String>,
    pub created_at: DateTime<Utc>,
    pub read_at: Option<DateTime<Utc>>,
}

type Columns = (SqlUuid, Text, Text, Text, Jsonb, Nullable<Text>, Timestamptz, Nullable<Timestamptz>);

/// A page of what the user is told, the newest first, and how many there are.
pub async fn list(
    conn: &mut Conn,
    op: &OpContext,
    page: &PageRequest,
    filter: Filter,
) -> Result<(Vec<NotificationRow>, i64)> {
    let after: Option<Uuid> = page.after()?;
    let category = filter.category.map(|c| c.to_string());
    let rows = statement::<Columns>(
        "SELECT n.notification_id, n.category, n.severity, n.message, n.parameters, n.link, n.created_at, r.read_at
         FROM notifications n LEFT JOIN notification_reads r ON r.tenant_id = n.tenant_id AND r.notification_id = n.notification_id AND r.user_id = $1
         WHERE n.tenant_id = $2 AND (n.user_id IS NULL OR n.user_id = $3) AND n.category = COALESCE($4, n.category)
           AND NOT ($5 AND r.read_at IS NOT NULL) AND n.notification_id < COALESCE($6, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
         ORDER BY n.notification_id DESC LIMIT $7 OFFSET $8",
    )
    .bind::<Text, _>(&op.actor.id)
    .bind::<Text, _>(op.tenant_id())
    .bind::<Text, _>(&op.actor.id)
    .bind::<Nullable<Text>, _>(&category)
    .bind::<Bool, _>(filter.unread_only)
    .bind::<Nullable<SqlUuid>, _>(after)
    .bind::<BigInt, _>(page.limit())
    .bind::<BigInt, _>(page.offset())
    .load(conn)
    .await?;
    let count = statement::<BigInt>(
        "SELECT count(*) FROM (SELECT 1
         FROM notifications n LEFT JOIN notification_reads r ON r.tenant_id = n.tenant_id AND r.notification_id = n.notification_id AND r.user_id = $1
         WHERE n.tenant_id = $2 AND (n.user_id IS NULL OR n.user_id = $3) AND n.category = COALESCE($4, n.category)
           AND NOT ($5 AND r.read_at IS NOT NULL) LIMIT 10001) AS counted",
    )
    .bind::<Text, _>(&op.actor.id)
    .bind::<Text, _>(op.tenant_id())
    .bind::<Text, _>(&op.actor.id)
    .bind::<Nullable<Text>, _>(&category)
    .bind::<Bool, _>(filter.unread_only)
    .get_result(conn)
    .await?;
    Ok((rows, count))
}

/// One notification of those that the user is told.
pub async fn get(conn: &mut Conn, op: &OpContext, notification_id: Uuid) -> Result<Option<NotificationRow>> {
    let row = statement::<Columns>(
        "SELECT n.notification_id, n.category, n.severity, n.message, n.parameters, n.link, n.created_at, r.read_at
         FROM notifications n LEFT JOIN notification_reads r ON r.tenant_id = n.tenant_id AND r.notification_id = n.notification_id AND r.user_id = $1
         WHERE n.tenant_id = $2 AND n.notification_id = $3 AND (n.user_id IS NULL OR n.user_id = $4)",
    )
    .bind::<Text, _>(&op.actor.id)
    .bind::<Text, _>(op.tenant_id())
    .bind::<SqlUuid, _>(notification_id)
    .bind::<Text, _>(&op.actor.id);
    Ok(row.get_result(conn).await.optional()?)
}

/// Marks one as read by the user; answers whether it was not before.
pub async fn mark(conn: &mut Conn, op: &OpContext, notification_id: Uuid) -> Result<bool> {
    let marked = statement::<()>(
        "INSERT INTO notification_reads (tenant_id, user_id, notification_id, read_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(op.tenant_id())
    .bind::<Text, _>(&op.actor.id)
    .bind::<SqlUuid, _>(notification_id)
    .bind::<Timestamptz, _>(op.now)
    .execute(conn)
    .await?;
    Ok(marked == 1)
}

/// Marks all that the user has not read and that is there when the statement begins; answers how many.
pub async fn mark_all(conn: &mut Conn, op: &OpContext) -> Result<i64> {
    let marked = statement::<()>(
        "INSERT INTO notification_reads (tenant_id, user_id, notification_id, read_at)
         SELECT n.tenant_id, $1, n.notification_id, $2 FROM notifications n
         WHERE n.tenant_id = $3 AND (n.user_id IS NULL OR n.user_id = $4)
           AND NOT EXISTS (SELECT 1 FROM notification_reads r WHERE r.tenant_id = n.tenant_id AND r.notification_id = n.notification_id AND r.user_id = $5)
         ORDER BY n.notification_id ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(&op.actor.id)
    .bind::<Timestamptz, _>(op.now)
    .bind::<Text, _>(op.tenant_id())
    .bind::<Text, _>(&op.actor.id)
    .bind::<Text, _>(&op.actor.id)
    .execute(conn)
    .await?;
    i64::try_from(marked).map_err(Error::internal)
}

/// How the user reads: in its own language, else its organization's, else that of its invoices, else in English; in the
/// organization's timezone, else the partner's.
pub async fn reader(conn: &mut Conn, op: &OpContext) -> Result<Reader> {
    type Found = (Nullable<Text>, Nullable<Text>);
    let found: Option<(Option<String>, Option<String>)> = statement::<Found>(
        "SELECT COALESCE((SELECT u.preferred_language FROM users u WHERE u.user_id = $1), t.preferred_language,
             (SELECT b.preferred_language FROM billing_profiles b WHERE b.tenant_id = t.tenant_id)),
           COALESCE(t.timezone, (SELECT p.timezone FROM sc_own_partner() p))
         FROM tenants t WHERE t.tenant_id = $2",
    )
    .bind::<Text, _>(&op.actor.id)
    .bind::<Text, _>(op.tenant_id())
    .get_result(conn)
    .await
    .optional()?;
    let (language, timezone) = found.unwrap_or_default();
    Ok(Reader {
        language: language.and_then(|l| l.parse().ok()).unwrap_or(Language::En),
        timezone: timezone.and_then(|t| parse_timezone(&t).ok()).unwrap_or(Tz::UTC),
    })
}
