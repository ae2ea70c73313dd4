//! What usage adds up to: of a segment, which is billed, and of a usage month, which quotas count.
//!
//! A month is the sum of its segments (there are several after a plan change), except that a `unique_count` counts a key
//! once in the month, in however many of its segments it was seen: a seat does not become two seats because the plan was
//! changed. Each segment is billed for its own set. A `last` metric without an event in a segment keeps the value of the
//! segment before.
use super::rules::{Part, month_value, segment_value};
use super::store::MetricRow;
use crate::db::Conn;
use crate::db::statement::statement;
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Jsonb, Nullable, Numeric, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use rust_decimal::Decimal;
use scaicontrol_types::MetricAggregation;
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

/// The quantity of one metric in one segment.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentUsage {
    /// The segment.
    pub segment_id: Uuid,
    /// The metric.
    pub metric_id: Uuid,
    /// Slug of the metric.
    pub metric_slug: String,
    /// Name of the metric.
    pub metric_name: String,
    /// What one of it is called.
    pub unit: String,
    /// How the events became the quantity.
    pub aggregation: MetricAggregation,
    /// The quantity, 0 or more.
    pub value: Decimal,
    /// Events that were counted; 0 when the value of a `last` metric was carried over.
    pub events: i64,
    /// Receipt of the first of them.
    pub first_event_at: Option<DateTime<Utc>>,
    /// Receipt of the newest of them.
    pub newest_event_at: Option<DateTime<Utc>>,
}

#[derive(Queryable)]
struct PartRow {
    segment_id: Uuid,
    metric_id: Uuid,
    slug: String,
    name: String,
    unit: String,
    aggregation: String,
    value: Decimal,
    repeats: i64,
    stripe: i16,
    last_at: Option<DateTime<Utc>>,
    last_received_at: Option<DateTime<Utc>>,
    events: i64,
    first_event_at: DateTime<Utc>,
    newest_event_at: DateTime<Utc>,
}

type PartColumns = (
    SqlUuid,
    SqlUuid,
    Text,
    Text,
    Text,
    Text,
    Numeric,
    BigInt,
    SmallInt,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    BigInt,
    Timestamptz,
    Timestamptz,
);

impl PartRow {
    fn part(&self) -> Part {
        let newest =
            self.last_at.zip(self.last_received_at).map(|(at, received)| (at, received, self.stripe));
        Part { value: self.value, repeats: self.repeats, newest }
    }
}

async fn parts(conn: &mut Conn, tenant_id: &str, segment_ids: &[Uuid]) -> Result<Vec<PartRow>> {
    Ok(statement::<PartColumns>(
        "SELECT t.segment_id, t.metric_id, m.slug, m.name, m.unit, m.aggregation, t.value, t.repeats, t.stripe, t.last_at,
           t.last_received_at, t.events, t.first_event_at, t.newest_event_at
         FROM usage_segment_totals t JOIN metrics m USING (metric_id)
         WHERE t.tenant_id = $1 AND t.segment_id = ANY($2) ORDER BY t.segment_id, m.slug, t.stripe",
    )
    .bind::<Text, _>(tenant_id)
    .bind::<Array<SqlUuid>, _>(segment_ids)
    .load(conn)
    .await?)
}

/// The value of a `last` metric that a segment starts with.
#[derive(Queryable)]
pub(super) struct CarriedRow {
    pub segment_id: Uuid,
    pub metric_id: Uuid,
    slug: String,
    name: String,
    unit: String,
    pub value: Decimal,
}

/// What the segments take over from the segments of the subscription before them.
pub(super) async fn carried(
    conn: &mut Conn,
    tenant_id: &str,
    segment_ids: &[Uuid],
) -> Result<Vec<CarriedRow>> {
    Ok(statement::<(SqlUuid, SqlUuid, Text, Text, Text, Numeric)>(
        "SELECT s.segment_id, m.metric_id, m.slug, m.name, m.unit, e.value
         FROM segments s JOIN metrics m ON m.service_id = s.service_id AND m.aggregation = 'last'
         JOIN LATERAL (
           SELECT t.value FROM segments e
           JOIN usage_segment_totals t ON t.tenant_id = e.tenant_id AND t.segment_id = e.segment_id AND t.metric_id = m.metric_id
           WHERE e.tenant_id = s.tenant_id AND e.subscription_id = s.subscription_id AND e.starts_at < s.starts_at
           ORDER BY e.starts_at DESC, t.last_at DESC, t.last_received_at DESC, t.stripe DESC LIMIT 1
         ) e ON true
         WHERE s.tenant_id = $1 AND s.segment_id = ANY($2)",
    )
    .bind::<Text, _>(tenant_id)
    .bind::<Array<SqlUuid>, _>(segment_ids)
    .load(conn)
    .await?)
}

/// The usage of segments of a tenant, by segment and slug of the metric: what was counted, and what `last` metrics carry
/// over. A metric without usage is not in it.
///
/// Needs the sight of the tenant, of the service or of the platform. For billing, lock the segments first
/// (`FOR UPDATE`): the writer holds a share lock on a segment from before it counts until its commit, so that under the
/// lock nothing that was acknowledged is missing, and nothing is counted until the end of the transaction.
pub async fn segment_usage(
    conn: &mut Conn,
    tenant_id: &str,
    segment_ids: &[Uuid],
) -> Result<Vec<SegmentUsage>> {
    let rows = parts(conn, tenant_id, segment_ids).await?;
    let mut usage: BTreeMap<(Uuid, String), SegmentUsage> = BTreeMap::new();
    for rows in rows.chunk_by(|a, b| (a.segment_id, a.metric_id) == (b.segment_id, b.metric_id)) {
        let Some(first) = rows.first() else { continue };
        let aggregation = first.aggregation.parse().map_err(Error::internal)?;
        let parts: Vec<Part> = rows.iter().map(PartRow::part).collect();
        let usage_of = SegmentUsage {
            segment_id: first.segment_id,
            metric_id: first.metric_id,
            metric_slug: first.slug.clone(),
            metric_name: first.name.clone(),
            unit: first.unit.clone(),
            aggregation,
            value: segment_value(aggregation, &parts)?.unwrap_or_default().normalize(),
            events: rows.iter().map(|r| r.events).sum(),
            first_event_at: rows.iter().map(|r| r.first_event_at).min(),
            newest_event_at: rows.iter().map(|r| r.newest_event_at).max(),
        };
        usage.insert((first.segment_id, first.slug.clone()), usage_of);
    }
    for row in carried(conn, tenant_id, segment_ids).await? {
        usage.entry((row.segment_id, row.slug.clone())).or_insert_with(|| SegmentUsage {
            segment_id: row.segment_id,
            metric_id: row.metric_id,
            metric_slug: row.slug,
            metric_name: row.name,
            unit: row.unit,
            aggregation: MetricAggregation::Last,
            value: row.value.normalize(),
            events: 0,
            first_event_at: None,
            newest_event_at: None,
        });
    }
    Ok(usage.into_values().collect())
}

/// A subscription and the usage month that it is in, or that was its last one.
#[derive(Clone, Debug, Queryable)]
pub struct CurrentMonth {
    /// The subscription.
    pub subscription_id: Uuid,
    /// What it is to.
    pub service_id: Uuid,
    /// Slug of the service.
    pub service_slug: String,
    /// Name of the service.
    pub service_name: String,
    /// Whether it goes on.
    pub is_live: bool,
    /// Its currency.
    pub currency: String,
    /// Slug of its plan.
    pub plan_slug: String,
    /// The limits of its plan.
    pub quotas: serde_json::Value,
    /// Start of the usage month.
    pub month_starts_at: DateTime<Utc>,
    /// End of the usage month.
    pub month_ends_at: DateTime<Utc>,
    /// End of its newest segment.
    pub segment_ends_at: DateTime<Utc>,
}

impl CurrentMonth {
    /// Whether the subscription must be carried to `now` before this is its current month.
    pub fn is_behind(&self, now: DateTime<Utc>) -> bool {
        self.is_live && self.segment_ends_at <= now
    }
}

type MonthColumns =
    (SqlUuid, SqlUuid, Text, Text, Bool, Text, Text, Jsonb, Timestamptz, Timestamptz, Timestamptz);

/// The current months of a tenant, one for each service it has or had a subscription to, by slug of the service. The
/// live subscription comes first, else the newest one.
pub async fn current_months(
    conn: &mut Conn,
    tenant_id: &str,
    service_slug: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Vec<CurrentMonth>> {
    Ok(statement::<MonthColumns>(
        "SELECT DISTINCT ON (v.slug) s.subscription_id, s.service_id, v.slug, v.name, s.status NOT IN ('cancelled', 'expired'),
           s.currency, p.slug, p.quotas, c.month_starts_at, c.month_ends_at, c.ends_at
         FROM subscriptions s JOIN services v USING (service_id) JOIN plans p USING (plan_id)
         JOIN LATERAL (
           SELECT g.month_starts_at, g.month_ends_at, g.ends_at FROM segments g
           WHERE g.tenant_id = s.tenant_id AND g.subscription_id = s.subscription_id AND g.starts_at <= $1
           ORDER BY g.starts_at DESC LIMIT 1
         ) c ON true
         WHERE s.tenant_id = $2 AND v.slug = COALESCE($3, v.slug)
         ORDER BY v.slug, s.status IN ('cancelled', 'expired'), s.subscription_id DESC",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Text, _>(tenant_id)
    .bind::<Nullable<Text>, _>(service_slug)
    .load(conn)
    .await?)
}

/// A segment of a usage month.
#[derive(Clone, Debug, Queryable)]
pub struct MonthSegment {
    /// The subscription.
    pub subscription_id: Uuid,
    /// The segment.
    pub segment_id: Uuid,
    /// What it is priced by.
    pub plan_id: Uuid,
    /// The version of the plan.
    pub plan_version: i32,
    /// Start, itself included.
    pub starts_at: DateTime<Utc>,
    /// End, itself not included.
    pub ends_at: DateTime<Utc>,
    /// Whether it costs nothing.
    pub is_trial: bool,
}

type SegmentColumns = (SqlUuid, SqlUuid, SqlUuid, diesel::sql_types::Integer, Timestamptz, Timestamptz, Bool);

/// The segments of usage months, oldest first.
pub async fn month_segments(
    conn: &mut Conn,
    tenant_id: &str,
    months: &[CurrentMonth],
) -> Result<Vec<MonthSegment>> {
    Ok(statement::<SegmentColumns>(
        "SELECT g.subscription_id, g.segment_id, g.plan_id, g.plan_version, g.starts_at, g.ends_at, g.is_trial
         FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS k (subscription_id, month_starts_at, month_ends_at)
         JOIN segments g ON g.tenant_id = $4 AND g.subscription_id = k.subscription_id
           AND g.starts_at >= k.month_starts_at AND g.starts_at < k.month_ends_at AND g.month_starts_at = k.month_starts_at
         ORDER BY g.starts_at",
    )
    .bind::<Array<SqlUuid>, _>(months.iter().map(|m| m.subscription_id).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(months.iter().map(|m| m.month_starts_at).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(months.iter().map(|m| m.month_ends_at).collect::<Vec<_>>())
    .bind::<Text, _>(tenant_id)
    .load(conn)
    .await?)
}

/// How a metric is summed up, and its parts by segment.
type PartsOfMetric = (MetricAggregation, BTreeMap<Uuid, Vec<Part>>);

/// What was used in months that consist of these segments, by subscription and metric. What is not in it is 0.
pub async fn month_usage(
    conn: &mut Conn,
    tenant_id: &str,
    segments: &[MonthSegment],
) -> Result<HashMap<(Uuid, Uuid), Decimal>> {
    let ids: Vec<Uuid> = segments.iter().map(|s| s.segment_id).collect();
    let subscription_of: HashMap<Uuid, Uuid> =
        segments.iter().map(|s| (s.segment_id, s.subscription_id)).collect();
    let mut parts_of: HashMap<(Uuid, Uuid), PartsOfMetric> = HashMap::new();
    for row in parts(conn, tenant_id, &ids).await? {
        let Some(subscription) = subscription_of.get(&row.segment_id) else { continue };
        let aggregation = row.aggregation.parse().map_err(Error::internal)?;
        let (_, parts) =
            parts_of.entry((*subscription, row.metric_id)).or_insert_with(|| (aggregation, BTreeMap::new()));
        parts.entry(row.segment_id).or_default().push(row.part());
    }
    let mut used = HashMap::new();
    for (key, (aggregation, parts)) in parts_of {
        let value = month_value(aggregation, parts.values().map(Vec::as_slice))?;
        used.insert(key, value.unwrap_or_default().normalize());
    }
    // Segments come by start: the first of a month is the one that takes over from the month before.
    let mut begun = HashSet::new();
    let firsts: Vec<Uuid> =
        segments.iter().filter(|s| begun.insert(s.subscription_id)).map(|s| s.segment_id).collect();
    for row in carried(conn, tenant_id, &firsts).await? {
        if let Some(subscription) = subscription_of.get(&row.segment_id) {
            used.entry((*subscription, row.metric_id)).or_insert_with(|| row.value.normalize());
        }
    }
    Ok(used)
}

/// A bucket of a metric, on the UTC clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// Slug of the service.
    pub service_slug: String,
    /// Name of the service.
    pub service_name: String,
    /// The metric.
    pub metric: Metric,
    /// Start of the bucket.
    pub starts_at: DateTime<Utc>,
    /// The quantity in it.
    pub value: Decimal,
}

/// What charts show of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its slug.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// What one of it is called.
    pub unit: String,
    /// How events become the quantity.
    pub aggregation: MetricAggregation,
}

impl From<&MetricRow> for Metric {
    fn from(row: &MetricRow) -> Self {
        let (slug, name, unit) = (row.slug.clone(), row.name.clone(), row.unit.clone());
        Metric { slug, name, unit, aggregation: row.aggregation }
    }
}

type BucketColumns = (Text, Text, Text, Text, Text, Text, Timestamptz, Numeric, Numeric, Numeric);
type BucketRow = (String, String, String, String, String, String, DateTime<Utc>, Decimal, Decimal, Decimal);

/// The buckets with usage of a tenant from `from` to before `to`, by service, metric and time. `unit` is that of
/// `date_trunc`; both ends are full buckets.
pub async fn buckets(
    conn: &mut Conn,
    tenant_id: &str,
    filter: (Option<&str>, Option<&str>),
    unit: &str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<Bucket>> {
    let rows: Vec<BucketRow> = statement::<BucketColumns>(
        "SELECT v.slug, v.name, m.slug, m.name, m.unit, m.aggregation, b.starts_at, b.total, b.largest, b.newest
         FROM (
           SELECT t.metric_id, date_trunc($1, t.hour, 'UTC') AS starts_at, sum(t.value) AS total, max(t.value) AS largest,
             (array_agg(t.value ORDER BY t.last_at DESC, t.last_received_at DESC, t.stripe DESC))[1] AS newest
           FROM usage_totals t
           WHERE t.tenant_id = $2 AND t.hour >= $3 AND t.hour < $4
             AND t.service_id IN (SELECT service_id FROM services WHERE slug = COALESCE($5, slug))
             AND t.metric_id IN (SELECT metric_id FROM metrics WHERE slug = COALESCE($6, slug))
           GROUP BY t.metric_id, 2
         ) b JOIN metrics m USING (metric_id) JOIN services v USING (service_id)
         ORDER BY v.slug, m.slug, b.starts_at",
    )
    .bind::<Text, _>(unit)
    .bind::<Text, _>(tenant_id)
    .bind::<Timestamptz, _>(from)
    .bind::<Timestamptz, _>(to)
    .bind::<Nullable<Text>, _>(filter.0)
    .bind::<Nullable<Text>, _>(filter.1)
    .load(conn)
    .await?;
    rows.into_iter()
        .map(
            |(
                service_slug,
                service_name,
                slug,
                name,
                unit,
                aggregation,
                starts_at,
                total,
                largest,
                newest,
            )| {
                let aggregation = aggregation.parse().map_err(Error::internal)?;
                let value = match aggregation {
                    MetricAggregation::Sum | MetricAggregation::UniqueCount => total,
                    MetricAggregation::Max => largest,
                    MetricAggregation::Last => newest,
                };
                let metric = Metric { slug, name, unit, aggregation };
                Ok(Bucket { service_slug, service_name, metric, starts_at, value: value.normalize() })
            },
        )
        .collect()
}
