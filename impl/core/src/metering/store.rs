//! What metering reads of the catalogue, of subscriptions, and of where their quotas stand.
use super::rules::AGE_MAX;
use crate::db::Conn;
use crate::db::schema::{metrics, services, tenants};
use crate::db::statement::statement;
use crate::error::{Error, Result};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Jsonb, Nullable, Numeric, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use rust_decimal::Decimal;
use scaicontrol_types::MetricAggregation;
use uuid::Uuid;

/// The longest usage month, with a day for clock changes.
const MONTH_MAX: TimeDelta = TimeDelta::days(32);

/// A metric.
#[derive(Clone, Debug)]
pub struct MetricRow {
    /// Its id.
    pub metric_id: Uuid,
    /// Its slug.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// What one of it is called.
    pub unit: String,
    /// How events become the quantity.
    pub aggregation: MetricAggregation,
}

/// The columns of a metric.
type MetricColumns = (Uuid, String, String, String, String);

fn metric(row: MetricColumns) -> Result<MetricRow> {
    let (metric_id, slug, name, unit, aggregation) = row;
    Ok(MetricRow { metric_id, slug, name, unit, aggregation: aggregation.parse().map_err(Error::internal)? })
}

/// Slug, name and metrics of a service.
pub async fn service(conn: &mut Conn, service_id: Uuid) -> Result<(String, String, Vec<MetricRow>)> {
    let (slug, name): (String, String) = services::table
        .filter(services::service_id.eq(service_id))
        .select((services::slug, services::name))
        .first(conn)
        .await
        .optional()?
        .ok_or(Error::NotFound("service"))?;
    Ok((slug, name, service_metrics(conn, service_id).await?))
}

/// The metrics of a service, by slug.
pub async fn service_metrics(conn: &mut Conn, service_id: Uuid) -> Result<Vec<MetricRow>> {
    let rows: Vec<MetricColumns> = metrics::table
        .filter(metrics::service_id.eq(service_id))
        .order(metrics::slug)
        .select((metrics::metric_id, metrics::slug, metrics::name, metrics::unit, metrics::aggregation))
        .load(conn)
        .await?;
    rows.into_iter().map(metric).collect()
}

/// Those of the ids that are tenants.
pub async fn known_tenants(conn: &mut Conn, ids: &[String]) -> Result<Vec<String>> {
    Ok(tenants::table.filter(tenants::tenant_id.eq_any(ids)).select(tenants::tenant_id).load(conn).await?)
}

/// A segment that events can be counted in.
#[derive(Clone, Debug, PartialEq, Queryable)]
pub struct SegmentRow {
    /// Whose it is.
    pub tenant_id: String,
    /// Its id.
    pub segment_id: Uuid,
    /// The tenant's partner.
    pub partner_id: String,
    /// What it is a segment of.
    pub subscription_id: Uuid,
    /// Start of the whole usage month.
    pub month_starts_at: DateTime<Utc>,
    /// End of the whole usage month.
    pub month_ends_at: DateTime<Utc>,
    /// Start, itself included.
    pub starts_at: DateTime<Utc>,
    /// End, itself not included.
    pub ends_at: DateTime<Utc>,
    /// The limits of the subscription's plan, by slug of the metric.
    pub quotas: serde_json::Value,
}

type SegmentColumns =
    (Text, SqlUuid, Text, SqlUuid, Timestamptz, Timestamptz, Timestamptz, Timestamptz, Jsonb);

/// The begun live subscriptions of tenants to a service, and their segments that may hold an event of the last 35 days.
pub async fn tenant_segments(
    conn: &mut Conn,
    service_id: Uuid,
    tenant_ids: &[&str],
    now: DateTime<Utc>,
) -> Result<(Vec<(String, Uuid)>, Vec<SegmentRow>)> {
    let live = statement::<(Text, SqlUuid)>(
        "SELECT tenant_id, subscription_id FROM subscriptions
         WHERE service_id = $1 AND tenant_id = ANY($2) AND status NOT IN ('pending', 'cancelled', 'expired')",
    )
    .bind::<SqlUuid, _>(service_id)
    .bind::<Array<Text>, _>(tenant_ids);
    // The bound on `starts_at` is for the index: a segment is no longer than a usage month. OFFSET 0 keeps the planner at
    // one index look for each tenant; left alone it may read the table from end to end for a single one.
    let segments = statement::<SegmentColumns>(
        "SELECT g.* FROM unnest($1::text[]) AS k (tenant_id) CROSS JOIN LATERAL (
           SELECT g.tenant_id, g.segment_id, g.partner_id, g.subscription_id, g.month_starts_at, g.month_ends_at, g.starts_at,
             g.ends_at, (SELECT p.quotas FROM subscriptions s JOIN plans p USING (plan_id)
               WHERE s.tenant_id = g.tenant_id AND s.subscription_id = g.subscription_id)
           FROM segments g
           WHERE g.tenant_id = k.tenant_id AND g.service_id = $2 AND g.starts_at > $3 AND g.ends_at > $4
           ORDER BY g.starts_at OFFSET 0
         ) g",
    )
    .bind::<Array<Text>, _>(tenant_ids)
    .bind::<SqlUuid, _>(service_id)
    .bind::<Timestamptz, _>(now - AGE_MAX - MONTH_MAX)
    .bind::<Timestamptz, _>(now - AGE_MAX);
    let (mut first, mut second): (&Conn, &Conn) = (conn, conn);
    Ok(futures::try_join!(live.load(&mut first), segments.load(&mut second))?)
}

/// A segment of a tenant's month and one server's total in it: what a quota is made of.
#[derive(Clone, Debug, Queryable)]
#[expect(missing_docs, reason = "the columns are described where the tables are made")]
pub struct StandingRow {
    pub subscription_id: Uuid,
    pub is_live: bool,
    /// Cancellation, else the end of the newest segment.
    pub ended_at: DateTime<Utc>,
    pub month_starts_at: DateTime<Utc>,
    pub month_ends_at: DateTime<Utc>,
    pub newest_ends_at: DateTime<Utc>,
    pub quotas: serde_json::Value,
    pub segment_id: Uuid,
    /// Null, like all after it, where nothing was counted.
    pub value: Option<Decimal>,
    pub repeats: Option<i64>,
    pub last_at: Option<DateTime<Utc>>,
    pub last_received_at: Option<DateTime<Utc>>,
    pub stripe: Option<i16>,
}

type StandingColumns = (
    SqlUuid,
    Bool,
    Timestamptz,
    Timestamptz,
    Timestamptz,
    Timestamptz,
    Jsonb,
    SqlUuid,
    Nullable<Numeric>,
    Nullable<BigInt>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Nullable<SmallInt>,
);

/// Of which tenant and metric it is asked where they stand, and at which instant.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Asked {
    pub tenant_id: String,
    pub metric_id: Uuid,
    pub now: DateTime<Utc>,
}

/// Where tenants stand with metrics of a service, in indexed reads: of each its subscription (the live one, else the
/// newest), the month that its `now` is in, the limits, and what each server counted in each segment of the month. No rows
/// without a subscription that has begun. Answers a list for each that was asked for.
pub async fn standings(mut conn: &Conn, service_id: Uuid, asked: &[Asked]) -> Result<Vec<Vec<StandingRow>>> {
    // An array that stands in a query of its own is as long as any other to the planner: a plan for the very array would seem
    // cheaper to it, and it would plan at every call.
    let query = statement::<(BigInt, StandingColumns)>(
        "SELECT k.place, s.subscription_id, s.status NOT IN ('cancelled', 'expired'), COALESCE(s.cancelled_at, c.ends_at), c.month_starts_at,
           c.month_ends_at, c.ends_at, p.quotas, m.segment_id, t.value, t.repeats, t.last_at, t.last_received_at, t.stripe
         FROM unnest((SELECT $1::text[]), (SELECT $2::uuid[]), (SELECT $3::timestamptz[]))
           WITH ORDINALITY AS k (tenant_id, metric_id, now, place)
         JOIN LATERAL (
           SELECT tenant_id, subscription_id, status, cancelled_at, plan_id FROM subscriptions
           WHERE tenant_id = k.tenant_id AND service_id = $4 AND anchored_at IS NOT NULL
           ORDER BY status IN ('cancelled', 'expired'), subscription_id DESC LIMIT 1
         ) s ON true JOIN plans p USING (plan_id)
         JOIN LATERAL (
           SELECT g.month_starts_at, g.month_ends_at, g.ends_at FROM segments g
           WHERE g.tenant_id = s.tenant_id AND g.subscription_id = s.subscription_id AND g.starts_at <= k.now
           ORDER BY g.starts_at DESC LIMIT 1
         ) c ON true
         JOIN segments m ON m.tenant_id = s.tenant_id AND m.subscription_id = s.subscription_id
           AND m.starts_at >= c.month_starts_at AND m.starts_at < c.month_ends_at AND m.month_starts_at = c.month_starts_at
         LEFT JOIN usage_segment_totals t ON t.tenant_id = m.tenant_id AND t.segment_id = m.segment_id AND t.metric_id = k.metric_id
         ORDER BY k.place, m.starts_at",
    );
    let rows: Vec<(i64, StandingRow)> = query
        .bind::<Array<Text>, _>(asked.iter().map(|a| a.tenant_id.as_str()).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(asked.iter().map(|a| a.metric_id).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(asked.iter().map(|a| a.now).collect::<Vec<_>>())
        .bind::<SqlUuid, _>(service_id)
        .load(&mut conn)
        .await?;
    let mut all = vec![vec![]; asked.len()];
    for (place, row) in rows {
        // Places are counted from 1.
        let of = usize::try_from(place - 1).ok().and_then(|place| all.get_mut(place));
        of.ok_or_else(|| Error::internal("a row that was not asked for"))?.push(row);
    }
    Ok(all)
}
