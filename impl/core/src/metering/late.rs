//! Usage that is counted in a segment which is billed already: it leaves a mark, of which the billing run makes a correction.
use super::group::Total;
use crate::db::Conn;
use crate::db::statement::statement;
use crate::error::Result;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, Bool, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use scaicontrol_types::MetricAggregation;
use std::collections::HashSet;
use uuid::Uuid;

/// Segments that are billed, by tenant and id.
pub(super) type Billed = HashSet<(String, Uuid)>;

/// Marks those of the billed segments that something was counted in. Their share locks are held, so that none is billed
/// meanwhile. What is left of a `last` metric at the end of a segment is carried into the segments after it, so these are
/// marked too; of one that is not billed yet the mark means nothing.
pub(super) async fn mark(
    conn: &mut Conn,
    billed: &Billed,
    totals: &[Total<'_>],
    at: DateTime<Utc>,
) -> Result<()> {
    if billed.is_empty() {
        return Ok(());
    }
    let (mut tenants, mut segments, mut carries) = (vec![], vec![], vec![]);
    for total in totals {
        if billed.contains(&(total.tenant_id.to_owned(), total.segment.segment_id)) {
            tenants.push(total.tenant_id);
            segments.push(total.segment.segment_id);
            carries.push(total.metric.aggregation == MetricAggregation::Last);
        }
    }
    if tenants.is_empty() {
        return Ok(());
    }
    statement::<()>(
        "INSERT INTO late_usage (tenant_id, segment_id, partner_id, marked_at)
         SELECT DISTINCT s.tenant_id, s.segment_id, s.partner_id, $1::timestamptz
         FROM unnest($2::text[], $3::uuid[], $4::boolean[]) AS k (tenant_id, segment_id, carries)
         JOIN segments g ON g.tenant_id = k.tenant_id AND g.segment_id = k.segment_id
         JOIN segments s ON s.tenant_id = g.tenant_id AND s.subscription_id = g.subscription_id
           AND (s.starts_at = g.starts_at OR (k.carries AND s.starts_at > g.starts_at))
         ORDER BY s.tenant_id, s.segment_id ON CONFLICT DO NOTHING",
    )
    .bind::<Timestamptz, _>(at)
    .bind::<Array<Text>, _>(tenants)
    .bind::<Array<SqlUuid>, _>(segments)
    .bind::<Array<Bool>, _>(carries)
    .execute(conn)
    .await?;
    Ok(())
}
