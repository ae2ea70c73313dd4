//! What a tenant or one of its users is told, in the transaction of what it tells of.
//!
//! A notification is stored as a message key with its values, and put into words in the reader's language when it is read.
use crate::db::Conn;
use crate::db::schema::notifications;
use crate::error::Result;
use crate::op::OpContext;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Good to know.
    Info,
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
pub async fn tell(conn: &mut Conn, op: &OpContext, notice: Notice<'_>) -> Result<()> {
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
