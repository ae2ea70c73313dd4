//! What a tenant sees of its usage: the running month of a service with its cost, charts, and the period that runs now.
use super::quota::months;
use super::rules;
use super::store;
use super::totals::{self, Bucket, CurrentMonth, MonthSegment, SegmentUsage};
use crate::app::Control;
use crate::catalog::{self, PlanPrice};
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::op::OpContext;
use chrono::{DateTime, Months, TimeDelta, Utc};
use rust_decimal::Decimal;
use scaicontrol_domain::proration::Ratio;
use scaicontrol_domain::tiers;
use scaicontrol_types::{
    MetricUsageResponse, ServiceUsageResponse, UsageHistoryResponse, UsagePeriodType, UsagePoint,
    UsageSeries, UsageSummaryMetric, UsageSummaryResponse, UsageSummaryService,
};
use std::collections::HashMap;
use uuid::Uuid;

/// Usage of a service in the current usage month of the caller's tenant, with what it costs so far.
///
/// Errors: 404 when the tenant never had a subscription to the service.
pub async fn usage_by_service_get(
    op: &OpContext,
    app: &Control,
    service_slug: &str,
) -> Result<ServiceUsageResponse> {
    let month = months(op, app, Some(service_slug)).await?.pop().ok_or(Error::NotFound("subscription"))?;
    app.db.read(op, async |conn| service_usage(conn, op, month.clone()).await).await
}

async fn service_usage(conn: &mut Conn, op: &OpContext, month: CurrentMonth) -> Result<ServiceUsageResponse> {
    let tenant_id = op.tenant_id();
    let segments = totals::month_segments(conn, tenant_id, std::slice::from_ref(&month)).await?;
    let ids: Vec<Uuid> = segments.iter().map(|s| s.segment_id).collect();
    let usage = totals::segment_usage(conn, tenant_id, &ids).await?;
    let used = totals::month_usage(conn, tenant_id, &segments).await?;
    let mut costs: HashMap<String, i64> = HashMap::new();
    for segment in segments.iter().filter(|s| !s.is_trial) {
        let price = catalog::plan_version(conn, segment.plan_id, segment.plan_version).await?;
        for (metric_slug, cents) in segment_cost(&price, segment, &month, &usage, op.now)? {
            let cost = costs.entry(metric_slug).or_default();
            *cost = cost.checked_add(cents).ok_or_else(too_large)?;
        }
    }
    let mut metrics = Vec::new();
    for metric in store::service_metrics(conn, month.service_id).await? {
        let used = used.get(&(month.subscription_id, metric.metric_id)).copied().unwrap_or_default();
        let quota = rules::quota(rules::limit(&month.quotas, &metric.slug), used)?;
        metrics.push(MetricUsageResponse {
            cost_cents: costs.get(&metric.slug).copied().unwrap_or_default(),
            metric_slug: metric.slug,
            name: metric.name,
            unit: metric.unit,
            aggregation: metric.aggregation,
            used: used.into(),
            limit: quota.limit.map(Into::into),
            remaining: quota.remaining.map(Into::into),
            percent: quota.percent.map(Into::into),
            exceeded: quota.exceeded,
        });
    }
    let cost_cents =
        metrics.iter().try_fold(0_i64, |sum, m| sum.checked_add(m.cost_cents)).ok_or_else(too_large)?;
    Ok(ServiceUsageResponse {
        plan_key: format!("{}.{}", month.service_slug, month.plan_slug),
        service_slug: month.service_slug,
        service_name: month.service_name,
        subscription_id: month.subscription_id,
        currency: month.currency,
        period_start: month.month_starts_at,
        period_end: month.month_ends_at,
        cost_cents,
        metrics,
    })
}

/// What each priced metric of a segment costs, as if the segment ended now when it is open.
fn segment_cost(
    price: &PlanPrice,
    segment: &MonthSegment,
    month: &CurrentMonth,
    usage: &[SegmentUsage],
    now: DateTime<Utc>,
) -> Result<Vec<(String, i64)>> {
    let part = (segment.starts_at, segment.ends_at.min(now).max(segment.starts_at));
    let share = Ratio::part(part, (month.month_starts_at, month.month_ends_at)).map_err(Error::internal)?;
    price
        .tiers
        .iter()
        .map(|(metric_slug, tiers)| {
            let of_metric =
                |u: &&SegmentUsage| u.segment_id == segment.segment_id && u.metric_slug == *metric_slug;
            let quantity = usage.iter().find(of_metric).map_or(Decimal::ZERO, |u| u.value);
            let lines = tiers::price(tiers, quantity, share).map_err(Error::internal)?;
            Ok((metric_slug.clone(), tiers::total(&lines).map_err(Error::internal)?.0))
        })
        .collect()
}

fn too_large() -> Error {
    Error::internal("the cost of usage is too large")
}

/// What a history is about.
#[derive(Clone, Debug, Default)]
pub struct HistoryFilter<'a> {
    /// Only this service.
    pub service_slug: Option<&'a str>,
    /// Only metrics with this slug.
    pub metric_slug: Option<&'a str>,
    /// Length of a bucket; a day when absent.
    pub period_type: Option<UsagePeriodType>,
    /// Start.
    pub from: Option<DateTime<Utc>>,
    /// End; now when absent.
    pub to: Option<DateTime<Utc>>,
}

/// The usage of the caller's tenant over time.
///
/// Errors: 400 when `from` is not before `to`, or the span is too long for the length of a bucket.
pub async fn usage_history_get(
    op: &OpContext,
    app: &Control,
    filter: HistoryFilter<'_>,
) -> Result<UsageHistoryResponse> {
    let period = filter.period_type.unwrap_or(UsagePeriodType::Daily);
    let (from, to) = span(period, filter.from, filter.to, op.now)?;
    let tenant_id = op.tenant_id();
    let slugs = (filter.service_slug, filter.metric_slug);
    let buckets = app
        .db
        .read(op, async |conn| totals::buckets(conn, tenant_id, slugs, date_unit(period), from, to).await)
        .await?;
    let series = buckets
        .chunk_by(|a, b| a.service_slug == b.service_slug && a.metric.slug == b.metric.slug)
        .filter_map(|points| {
            let first = points.first()?;
            Some(UsageSeries {
                service_slug: first.service_slug.clone(),
                metric_slug: first.metric.slug.clone(),
                name: first.metric.name.clone(),
                unit: first.metric.unit.clone(),
                aggregation: first.metric.aggregation,
                points: points.iter().map(|b| point(period, b)).collect(),
            })
        })
        .collect();
    Ok(UsageHistoryResponse { tenant_id: tenant_id.to_owned(), period_type: period, from, to, series })
}

fn point(period: UsagePeriodType, bucket: &Bucket) -> UsagePoint {
    let period_end = rules::bucket_end(period, bucket.starts_at);
    UsagePoint { period_start: bucket.starts_at, period_end, value: bucket.value.into() }
}

fn date_unit(period: UsagePeriodType) -> &'static str {
    match period {
        UsagePeriodType::Hourly => "hour",
        UsagePeriodType::Daily => "day",
        UsagePeriodType::Monthly => "month",
    }
}

/// The span of a history, in whole buckets.
fn span(
    period: UsagePeriodType,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(DateTime<Utc>, DateTime<Utc>)> {
    let out_of_range = || Error::field("to", "is out of range");
    let to = to.unwrap_or(now);
    let back = |months: u32, days: i64| {
        to.checked_sub_months(Months::new(months)).and_then(|t| t.checked_sub_signed(TimeDelta::days(days)))
    };
    let (by_default, earliest, most) = match period {
        UsagePeriodType::Hourly => (back(0, 1), back(0, 31), "31 days"),
        UsagePeriodType::Daily => (back(0, 30), back(0, 400), "400 days"),
        UsagePeriodType::Monthly => (back(12, 0), back(60, 0), "60 months"),
    };
    let from = from.or(by_default).ok_or_else(out_of_range)?;
    if to <= from {
        return Err(Error::field("from", "must be before to"));
    }
    if from < earliest.ok_or_else(out_of_range)? {
        return Err(Error::field("from", format!("lies more than {most} before to: a series spans no more")));
    }
    // Postgres and charts end there; beyond it nothing was ever used.
    let years = |at: DateTime<Utc>| (1970..=9998).contains(&chrono::Datelike::year(&at));
    if !years(from) || !years(to) {
        return Err(out_of_range());
    }
    let start = rules::bucket_start(period, from);
    let last = rules::bucket_start(period, to);
    let end = if last == to { to } else { rules::bucket_end(period, last) };
    Ok((start, end))
}

/// The usage of the caller's tenant in the period that runs now.
pub async fn usage_summary_get(
    op: &OpContext,
    app: &Control,
    period: Option<UsagePeriodType>,
) -> Result<UsageSummaryResponse> {
    let period = period.unwrap_or(UsagePeriodType::Monthly);
    app.db.read(op, async |conn| summary(conn, op.tenant_id(), period, op.now).await).await
}

/// The usage of a tenant in the hour, day or month (UTC) that holds `now`. Whoever sees the tenant's usage may ask.
pub async fn summary(
    conn: &mut Conn,
    tenant_id: &str,
    period: UsagePeriodType,
    now: DateTime<Utc>,
) -> Result<UsageSummaryResponse> {
    let period_start = rules::bucket_start(period, now);
    let period_end = rules::bucket_end(period, period_start);
    let buckets =
        totals::buckets(conn, tenant_id, (None, None), date_unit(period), period_start, period_end).await?;
    let services = buckets
        .chunk_by(|a, b| a.service_slug == b.service_slug)
        .filter_map(|metrics| {
            let first = metrics.first()?;
            let metric = |b: &Bucket| UsageSummaryMetric {
                metric_slug: b.metric.slug.clone(),
                name: b.metric.name.clone(),
                unit: b.metric.unit.clone(),
                aggregation: b.metric.aggregation,
                value: b.value.into(),
            };
            Some(UsageSummaryService {
                service_slug: first.service_slug.clone(),
                service_name: first.service_name.clone(),
                metrics: metrics.iter().map(metric).collect(),
            })
        })
        .collect();
    Ok(UsageSummaryResponse {
        tenant_id: tenant_id.to_owned(),
        period_type: period,
        period_start,
        period_end,
        services,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_widened_to_whole_buckets() {
        let t = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        let now = t("2026-03-14T12:30:00Z");
        let whole = |period, from: Option<&str>, to: Option<&str>| span(period, from.map(t), to.map(t), now);
        assert_eq!(
            whole(UsagePeriodType::Hourly, None, None).unwrap(),
            (t("2026-03-13T12:00:00Z"), t("2026-03-14T13:00:00Z"))
        );
        assert_eq!(
            whole(UsagePeriodType::Daily, None, None).unwrap(),
            (t("2026-02-12T00:00:00Z"), t("2026-03-15T00:00:00Z"))
        );
        assert_eq!(
            whole(UsagePeriodType::Monthly, None, None).unwrap(),
            (t("2025-03-01T00:00:00Z"), t("2026-04-01T00:00:00Z"))
        );
        let to = Some("2026-03-14T00:00:00Z");
        let days = whole(UsagePeriodType::Daily, Some("2026-03-13T00:00:00Z"), to);
        assert_eq!(days.unwrap(), (t("2026-03-13T00:00:00Z"), t("2026-03-14T00:00:00Z")));
        assert!(whole(UsagePeriodType::Daily, to, to).is_err());
        assert!(whole(UsagePeriodType::Hourly, Some("2026-02-11T00:00:00Z"), to).is_ok());
        assert!(whole(UsagePeriodType::Hourly, Some("2026-02-10T23:59:59Z"), to).is_err());
        assert!(whole(UsagePeriodType::Monthly, Some("2021-03-13T00:00:00Z"), to).is_err());
    }
}
