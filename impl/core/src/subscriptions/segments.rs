//! Segments for those who count usage: the one that covers an instant must be there before an event can be counted in it.
use super::{lifecycle, store};
use crate::db::Conn;
use crate::error::Result;
use crate::op::OpContext;
use crate::settings;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Carries the subscription to `until`, so that its segments cover every instant up to it at which it is live.
///
/// Runs under the subscription's row lock, with the platform's sight.
pub async fn ensure(
    conn: &mut Conn,
    op: &OpContext,
    tenant_id: &str,
    subscription_id: Uuid,
    until: DateTime<Utc>,
) -> Result<()> {
    let settings = settings::load(conn).await?;
    let mut sub = store::lock(conn, tenant_id, subscription_id).await?;
    lifecycle::advance(conn, op, &settings, &mut sub, until).await
}
