//! Tells a tenant when a quota is nearly used and when it is used up: once for each threshold and usage month, in the
//! transaction of the event that did it.
use super::group::Total;
use super::rules::{Part, limit, month_value};
use crate::db::Conn;
use crate::db::statement::statement;
use crate::error::Result;
use crate::notifications::words;
use crate::op::OpContext;
use chrono::{DateTime, Utc};
use diesel::sql_types::{
    Array, BigInt, Jsonb, Nullable, Numeric, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use rust_decimal::Decimal;
use scaicontrol_domain::quota::{Threshold, crossed};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use uuid::Uuid;

/// Quotas in memory of which everything has been told; when there are more, all are forgotten.
const TOLD_MAX: usize = 100_000;

/// A quota of a usage month: tenant, metric, start of the month.
pub(super) type Month = (String, Uuid, DateTime<Utc>);

/// Quotas that this server need not look at again: the tenant was told that they are used up.
#[derive(Debug, Default)]
pub(super) struct Told(HashSet<Month>);

impl Told {
    /// Remembers; only after the commit.
    pub fn add(&mut self, months: Vec<Month>) {
        if TOLD_MAX < self.0.len() + months.len() {
            self.0.clear();
        }
        self.0.extend(months);
    }
}

/// A quota that new events may have brought to a threshold.
struct Watched<'a> {
    total: &'a Total<'a>,
    limit: Decimal,
}

/// Checks the quotas that the new events count in, and tells their tenants of thresholds that were reached now. Answers
/// the quotas that need not be looked at again.
pub(super) async fn check(
    conn: &mut Conn,
    op: &OpContext,
    segments: &[Total<'_>],
    told: &Told,
) -> Result<Vec<Month>> {
    let mut watched: Vec<Watched<'_>> = segments
        .iter()
        .filter_map(|total| {
            let s = total.segment;
            // A late event in a month that is over tells nobody anything.
            let running = s.month_starts_at <= op.now && op.now < s.month_ends_at;
            let limit = limit(&s.quotas, &total.metric.slug).filter(|_| running)?;
            let month = (s.tenant_id.clone(), total.metric.metric_id, s.month_starts_at);
            (!told.0.contains(&month)).then_some(Watched { total, limit })
        })
        .collect();
    watched.dedup_by_key(|w| (w.total.tenant_id, w.total.metric.metric_id, w.total.segment.month_starts_at));
    if watched.is_empty() {
        return Ok(vec![]);
    }
    let used = used(conn, &watched).await?;
    let mut reached: Vec<Reached<'_>> = Vec::new();
    for (watched, used) in watched.iter().zip(used) {
        // From 0 up: what was told before is told apart by its row.
        reached.extend(
            crossed(Some(watched.limit), Decimal::ZERO, used).into_iter().map(|t| (watched, used, t)),
        );
    }
    if reached.is_empty() {
        return Ok(vec![]);
    }
    // Sorted like every other row that several servers may write at once.
    reached.sort_by_key(|(w, _, threshold)| {
        (w.total.tenant_id, w.total.metric.metric_id, w.total.segment.month_starts_at, percent(*threshold))
    });
    let new = take(conn, op, &reached).await?;
    let news: Vec<_> = reached.iter().filter(|(w, _, threshold)| new.contains(&key(w, *threshold))).collect();
    notify(conn, op, &news).await?;
    let used_up = reached.iter().filter(|(_, _, threshold)| *threshold == Threshold::Reached);
    Ok(used_up
        .map(|(w, ..)| {
            (w.total.tenant_id.to_owned(), w.total.metric.metric_id, w.total.segment.month_starts_at)
        })
        .collect())
}

/// A quota, what was used of it, and a threshold that this reaches.
type Reached<'a> = (&'a Watched<'a>, Decimal, Threshold);

/// What a notice is known by.
type Key = (String, Uuid, DateTime<Utc>, i16);

fn key(watched: &Watched<'_>, threshold: Threshold) -> Key {
    let t = watched.total;
    (t.tenant_id.to_owned(), t.metric.metric_id, t.segment.month_starts_at, percent(threshold))
}

fn percent(threshold: Threshold) -> i16 {
    i16::try_from(threshold.percent()).unwrap_or(i16::MAX)
}

/// The columns of a [`Part`] in a segment: place of the question, segment, value, repeats, newest, stripe.
type PartColumns = (BigInt, SqlUuid, Numeric, BigInt, Nullable<Timestamptz>, Nullable<Timestamptz>, SmallInt);
type PartRow = (i64, Uuid, Decimal, i64, Option<DateTime<Utc>>, Option<DateTime<Utc>>, i16);

/// What was used of each quota in its month, all servers together.
async fn used(conn: &mut Conn, watched: &[Watched<'_>]) -> Result<Vec<Decimal>> {
    let rows: Vec<PartRow> = statement::<PartColumns>(
        "SELECT k.place, t.segment_id, t.value, t.repeats, t.last_at, t.last_received_at, t.stripe
         FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::uuid[]) WITH ORDINALITY
           AS k (tenant_id, subscription_id, month_starts_at, month_ends_at, metric_id, place)
         JOIN segments s ON s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id
           AND s.starts_at >= k.month_starts_at AND s.starts_at < k.month_ends_at AND s.month_starts_at = k.month_starts_at
         JOIN usage_segment_totals t ON t.tenant_id = k.tenant_id AND t.segment_id = s.segment_id AND t.metric_id = k.metric_id",
    )
    .bind::<Array<Text>, _>(watched.iter().map(|w| w.total.tenant_id).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(watched.iter().map(|w| w.total.segment.subscription_id).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(watched.iter().map(|w| w.total.segment.month_starts_at).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(watched.iter().map(|w| w.total.segment.month_ends_at).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(watched.iter().map(|w| w.total.metric.metric_id).collect::<Vec<_>>())
    .load(conn)
    .await?;
    let mut parts: Vec<BTreeMap<Uuid, Vec<Part>>> = watched.iter().map(|_| BTreeMap::new()).collect();
    for (place, segment, value, repeats, last_at, last_received_at, stripe) in rows {
        let newest = last_at.zip(last_received_at).map(|(at, received)| (at, received, stripe));
        if let Some(parts) = usize::try_from(place - 1).ok().and_then(|place| parts.get_mut(place)) {
            parts.entry(segment).or_default().push(Part { value, repeats, newest });
        }
    }
    watched
        .iter()
        .zip(&parts)
        .map(|(w, parts)| {
            Ok(month_value(w.total.metric.aggregation, parts.values().map(Vec::as_slice))?
                .unwrap_or_default())
        })
        .collect()
}

/// Notes that the tenants are told, and answers of what they were not told before.
async fn take(conn: &mut Conn, op: &OpContext, reached: &[Reached<'_>]) -> Result<HashSet<Key>> {
    let new: Vec<Key> = statement::<(Text, SqlUuid, Timestamptz, SmallInt)>(
        "INSERT INTO quota_notices (created_at, tenant_id, service_id, metric_id, month_starts_at, threshold_percent)
         SELECT $1::timestamptz, * FROM unnest($2::text[], $3::uuid[], $4::uuid[], $5::timestamptz[], $6::smallint[])
         ON CONFLICT DO NOTHING RETURNING tenant_id, metric_id, month_starts_at, threshold_percent",
    )
    .bind::<Timestamptz, _>(op.now)
    .bind::<Array<Text>, _>(reached.iter().map(|(w, ..)| w.total.tenant_id).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(reached.iter().map(|(w, ..)| w.total.batch.service.service_id).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(reached.iter().map(|(w, ..)| w.total.metric.metric_id).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(reached.iter().map(|(w, ..)| w.total.segment.month_starts_at).collect::<Vec<_>>())
    .bind::<Array<SmallInt>, _>(reached.iter().map(|(_, _, threshold)| percent(*threshold)).collect::<Vec<_>>())
    .load(conn)
    .await?;
    Ok(new.into_iter().collect())
}

async fn notify(conn: &mut Conn, op: &OpContext, news: &[&Reached<'_>]) -> Result<()> {
    if news.is_empty() {
        return Ok(());
    }
    let severity = |threshold: Threshold| match threshold {
        Threshold::Warning => "warning",
        Threshold::Reached => "critical",
    };
    let parameters: Vec<serde_json::Value> = news
        .iter()
        .map(|(w, used, threshold)| {
            let (service, metric) = (&w.total.batch.service, w.total.metric);
            json!({
                "service_slug": service.slug,
                "service_name": service.name,
                "metric_slug": metric.slug,
                "metric_name": metric.name,
                "unit": metric.unit,
                "threshold_percent": threshold.percent(),
                "limit_quantity": w.limit.normalize().to_string(),
                "used_quantity": used.normalize().to_string(),
                "period_starts_at": w.total.segment.month_starts_at,
                "period_ends_at": w.total.segment.month_ends_at,
            })
        })
        .collect();
    debug_assert!(news.iter().zip(&parameters).all(|((_, _, t), p)| words::check(t.as_str(), p) == Ok(())));
    statement::<()>(
        "INSERT INTO notifications (category, created_at, tenant_id, partner_id, notification_id, severity, message, parameters, link)
         SELECT 'usage', $1::timestamptz, k.*, '/usage' FROM unnest($2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::jsonb[]) AS k",
    )
    .bind::<Timestamptz, _>(op.now)
    .bind::<Array<Text>, _>(news.iter().map(|(w, ..)| w.total.tenant_id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(news.iter().map(|(w, ..)| w.total.segment.partner_id.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(news.iter().map(|_| op.id()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(news.iter().map(|(_, _, t)| severity(*t)).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(news.iter().map(|(_, _, t)| t.as_str()).collect::<Vec<_>>())
    .bind::<Array<Jsonb>, _>(parameters)
    .execute(conn)
    .await?;
    Ok(())
}
