//! What a tenant or one of its users is told, in the transaction of what it tells of.
//!
//! A notification is stored as a message key with its values, and put into words in the reader's language when it is read.
//! One that is for the whole tenant is one row; who has read it is a row for each reader, so one user's reading changes
//! nothing for another.
mod store;
mod view;
pub mod words;

use crate::app::Control;
use crate::audit;
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::db::schema::notifications;
use crate::error::{Error, Result};
use crate::op::OpContext;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_types as api;
use serde_json::json;
use uuid::Uuid;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Something went well.
    Success,
    /// Something should be done.
    Warning,
    /// Something stops unless it is done.
    Critical,
}

impl Severity {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Success => "success",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// Something to tell.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    /// Whom it concerns.
    pub tenant_id: &'a str,
    /// Whose customer that is.
    pub partner_id: &'a str,
    /// The one user that is told; none: everybody of the tenant.
    pub user_id: Option<&'a str>,
    /// `billing`, `subscription`, `usage`, `provisioning` or `system`.
    pub category: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The key of the message; its words are in `words/`.
    pub message: &'static str,
    /// The values that the words name.
    pub parameters: serde_json::Value,
    /// Where to look, as a path.
    pub link: Option<String>,
}

/// Tells it, in the transaction of what it tells of.
///
/// While developing, a message without words, or one whose words name what is not there, stops here.
pub async fn tell(conn: &mut Conn, op: &OpContext, notice: Notice<'_>) -> Result<()> {
    debug_assert_eq!(words::check(notice.message, &notice.parameters), Ok(()));
    use notifications as t;
    diesel::insert_into(t::table)
        .values((
            t::tenant_id.eq(notice.tenant_id),
            t::notification_id.eq(op.id()),
            t::partner_id.eq(notice.partner_id),
            t::user_id.eq(notice.user_id),
            t::category.eq(notice.category),
            t::severity.eq(notice.severity.as_str()),
            t::message.eq(notice.message),
            t::parameters.eq(notice.parameters),
            t::link.eq(notice.link),
            t::created_at.eq(op.now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// What a list of notifications is narrowed to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// What the caller has not read yet.
    pub unread_only: bool,
    /// What it is about.
    pub category: Option<api::NotificationCategory>,
}

/// A page of what the calling user is told, the newest first.
pub async fn list(
    op: &OpContext,
    app: &Control,
    page: &PageRequest,
    filter: Filter,
) -> Result<(Vec<api::NotificationResponse>, api::Pagination)> {
    app.db
        .read(op, async |conn| {
            let (rows, count) = store::list(conn, op, page, filter).await?;
            let (rows, pagination) = page.finish(rows, count, |row| row.notification_id.to_string());
            let reader = store::reader(conn, op).await?;
            Ok((
                rows.into_iter().map(|row| view::notification(row, reader)).collect::<Result<_>>()?,
                pagination,
            ))
        })
        .await
}

/// Marks one as read by the calling user. One that is read already stays as it is.
///
/// Errors: 404 for one that the caller is not told.
pub async fn read(op: &OpContext, app: &Control, notification_id: Uuid) -> Result<api::NotificationResponse> {
    app.db
        .tx(op, "notification_read", async |conn| {
            let mut row =
                store::get(conn, op, notification_id).await?.ok_or(Error::NotFound("notification"))?;
            if row.read_at.is_none() {
                let marked = store::mark(conn, op, notification_id).await?;
                // Another request of the same user may have come first, and its time counts.
                row = store::get(conn, op, notification_id).await?.ok_or(Error::NotFound("notification"))?;
                if marked {
                    let after = json!({"read_by": op.actor.id, "read_at": row.read_at});
                    audit::record(
                        conn,
                        op,
                        audited(op, notification_id.to_string()),
                        None::<&()>,
                        Some(&after),
                    )
                    .await?;
                }
            }
            view::notification(row, store::reader(conn, op).await?)
        })
        .await
}

/// Marks everything that is there as read by the calling user, and answers how many were not read before. Each mark is a
/// row that is made once, so of two that do this at the same time each counts what it marked itself.
pub async fn read_all(op: &OpContext, app: &Control) -> Result<api::NotificationReadAllResponse> {
    app.db
        .tx(op, "notification_read_all", async |conn| {
            let marked = store::mark_all(conn, op).await?;
            if 0 < marked {
                let after = json!({"read_by": op.actor.id, "marked": marked});
                audit::record(conn, op, audited(op, op.actor.id.clone()), None::<&()>, Some(&after)).await?;
            }
            Ok(api::NotificationReadAllResponse { marked })
        })
        .await
}

fn audited(op: &OpContext, object_id: String) -> audit::Entry<'_> {
    audit::Entry {
        object_type: "notification",
        object_id,
        tenant_id: op.actor.tenant_id.as_deref(),
        partner_id: op.actor.partner_id.as_deref(),
        reason: None,
    }
}
