//! Keeps tables in bounds: the partitions of usage, and answers under idempotency keys.
use super::Done;
use crate::app::Control;
use crate::db::idempotency;
use crate::error::Result;
use crate::metering::keeper;
use crate::op::OpContext;

/// Makes partitions before they are needed, and drops and forgets what is too old.
pub(super) async fn tick(op: &OpContext, app: &Control) -> Result<Done> {
    let kept = keeper::tick(op, app).await?;
    app.db.tx(op, "idempotency_forget", async |conn| idempotency::forget(conn, op.now).await).await?;
    let dropped = usize::try_from(kept.dropped).unwrap_or_default();
    Ok(Done::of([
        ("partitions made", kept.made),
        ("partitions dropped", dropped),
        ("keys forgotten", kept.keys),
    ]))
}
