//! Quotas: where a tenant stands. The platform blocks nothing; it says how much is left.
//!
//! The check is asked before each unit of work, so answers are kept for up to a second. They never hide what this server
//! has acknowledged: every commit of usage moves a counter of the quotas it counts in, and an answer is only used again
//! while the counter stands where it stood before the answer was read.
use super::lookup::Service;
use super::rules::{self, Part, month_value};
use super::store::{self, Asked, MetricRow, StandingRow};
use super::totals::{self, CurrentMonth};
use crate::app::Control;
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::op::{OpContext, Scope};
use crate::subscriptions;
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use scaicontrol_domain::quota::Quota;
use scaicontrol_types::{MetricAggregation, QuotaStatusResponse};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How old an answer may be.
const KEPT: Duration = Duration::from_secs(1);
/// Answers in memory; when there are more, all are forgotten.
const KEPT_MAX: usize = 100_000;
/// Counters of changes; quotas that share one make each other's answers forgotten, no more.
const COUNTERS: usize = 4_096;

/// Answers that may be given again.
#[derive(Debug)]
pub(super) struct Answers {
    counters: Vec<AtomicU64>,
    kept: Mutex<HashMap<Uuid, HashMap<String, Kept>>>,
}

#[derive(Debug)]
struct Kept {
    counter: u64,
    read: Instant,
    now: DateTime<Utc>,
    answer: QuotaStatusResponse,
}

impl Default for Answers {
    fn default() -> Self {
        Answers { counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(), kept: Mutex::default() }
    }
}

impl Answers {
    fn counter(&self, tenant_id: &str, metric_id: Uuid) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        (tenant_id, metric_id).hash(&mut hasher);
        let place = hasher.finish() % COUNTERS as u64;
        &self.counters[place as usize]
    }

    /// Usage was committed: what was read before is not to be shown again.
    pub fn changed(&self, tenant_id: &str, metric_id: Uuid) {
        self.counter(tenant_id, metric_id).fetch_add(1, Ordering::SeqCst);
    }

    fn get(&self, tenant_id: &str, metric_id: Uuid, now: DateTime<Utc>) -> Option<QuotaStatusResponse> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get(&metric_id)?.get(tenant_id)?;
        // A simulated clock may have moved on while the machine's stood still.
        let is_fresh = kept.read.elapsed() < KEPT && (now - kept.now).abs() < TimeDelta::seconds(1);
        let is_unchanged = kept.counter == self.counter(tenant_id, metric_id).load(Ordering::SeqCst);
        (is_fresh && is_unchanged && now < kept.answer.period_end).then(|| kept.answer.clone())
    }

    fn put(&self, metric_id: Uuid, kept: Kept) {
        let mut memory = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = memory.entry(metric_id).or_default();
        if KEPT_MAX <= memory.len() {
            memory.clear();
        }
        memory.insert(kept.answer.tenant_id.clone(), kept);
    }
}

/// Where a tenant stands with a metric of the calling service.
///
/// Errors: 404 for another service, a metric it does not have, and a tenant out of its reach.
pub async fn quota_check(
    op: &OpContext,
    app: &Control,
    tenant_id: &str,
    service_slug: &str,
    metric_slug: &str,
) -> Result<QuotaStatusResponse> {
    let Scope::Service(service_id) = op.scope else { return Err(Error::NotFound("service")) };
    let metering = &app.metering;
    let mut service = metering.lookup().service(op, app, service_id, None).await?;
    if service.slug != service_slug {
        return Err(Error::NotFound("service"));
    }
    if service.metric(metric_slug).is_none() {
        service = metering.lookup().service(op, app, service_id, Some(Instant::now())).await?;
    }
    let metric =
        service.metric(metric_slug).map(|place| &service.metrics[place]).ok_or(Error::NotFound("metric"))?;
    if let Some(answer) = metering.answers().get(tenant_id, metric.metric_id, op.now) {
        return Ok(answer);
    }
    // In this order: what is committed after the counter was read makes the answer void, seen by the query or not.
    let counter = metering.answers().counter(tenant_id, metric.metric_id).load(Ordering::SeqCst);
    let read = Instant::now();
    let mut found = standing(op, app, tenant_id, &service, metric).await?;
    if let Some(Standing { subscription_id, is_behind: true, .. }) = found {
        carry(op, app, tenant_id, subscription_id).await?;
        found = standing(op, app, tenant_id, &service, metric).await?;
    }
    let found = found.ok_or(Error::NotFound("subscription"))?;
    let answer = status(
        tenant_id,
        &service.slug,
        &metric.slug,
        found.quota,
        (found.month_starts_at, found.month_ends_at),
    );
    metering.answers().put(metric.metric_id, Kept { counter, read, now: op.now, answer: answer.clone() });
    Ok(answer)
}

/// Where a tenant stands with every metric of the calling service; nothing while its subscription has not begun, and out of
/// the service's reach.
pub async fn service_quota_list(
    op: &OpContext,
    app: &Control,
    tenant_id: &str,
) -> Result<Vec<QuotaStatusResponse>> {
    let Scope::Service(service_id) = op.scope else { return Err(Error::NotFound("service")) };
    let service = app.metering.lookup().service(op, app, service_id, Some(Instant::now())).await?;
    let read = async |conn: &mut Conn| {
        let asked = |metric: &MetricRow| Asked {
            tenant_id: tenant_id.to_owned(),
            metric_id: metric.metric_id,
            now: op.now,
        };
        let asked: Vec<Asked> = service.metrics.iter().map(asked).collect();
        let standings = store::standings(conn, service.service_id, &asked).await?;
        let mut all = Vec::with_capacity(service.metrics.len());
        for (metric, rows) in service.metrics.iter().zip(standings) {
            let last = match wants_carried(metric, &rows) {
                None => None,
                Some(segment_id) => carried(conn, tenant_id, segment_id, metric).await?,
            };
            let found = evaluate(op, metric, &rows, last)?;
            all.extend(found.map(|standing| (metric.slug.clone(), standing)));
        }
        Ok(all)
    };
    let mut found = app.db.read(op, read).await?;
    if let Some(behind) = found.iter().find(|(_, s)| s.is_behind).map(|(_, s)| s.subscription_id) {
        carry(op, app, tenant_id, behind).await?;
        found = app.db.read(op, read).await?;
    }
    let shown = found.into_iter().map(|(slug, s)| {
        status(tenant_id, &service.slug, &slug, s.quota, (s.month_starts_at, s.month_ends_at))
    });
    Ok(shown.collect())
}

/// Begins the new usage month of a live subscription, in a transaction of its own.
pub(super) async fn carry(
    op: &OpContext,
    app: &Control,
    tenant_id: &str,
    subscription_id: Uuid,
) -> Result<()> {
    // Whoever looks may be the first sign of a new month; what then happens to the subscription is the platform's doing.
    let platform = &op.with_scope(Scope::Platform);
    app.db
        .tx(platform, "segments_ensure", async |conn| {
            subscriptions::segments::ensure(conn, platform, tenant_id, subscription_id, op.now).await
        })
        .await
}

struct Standing {
    subscription_id: Uuid,
    is_behind: bool,
    month_starts_at: DateTime<Utc>,
    month_ends_at: DateTime<Utc>,
    quota: Quota,
}

/// Where a tenant stands with one metric.
async fn standing(
    op: &OpContext,
    app: &Control,
    tenant_id: &str,
    service: &Service,
    metric: &MetricRow,
) -> Result<Option<Standing>> {
    let asked = Asked { tenant_id: tenant_id.to_owned(), metric_id: metric.metric_id, now: op.now };
    let rows = app.metering.standing(service.service_id, asked).await?;
    let carried = match wants_carried(metric, &rows) {
        None => None,
        Some(segment_id) => {
            app.db.read(op, async |conn| carried(conn, tenant_id, segment_id, metric).await).await?
        }
    };
    evaluate(op, metric, &rows, carried)
}

/// The segment for which the last value of an earlier one is still needed.
fn wants_carried(metric: &MetricRow, rows: &[StandingRow]) -> Option<Uuid> {
    let is_empty = rows.iter().all(|row| row.value.is_none());
    rows.first().filter(|_| is_empty && metric.aggregation == MetricAggregation::Last).map(|r| r.segment_id)
}

async fn carried(
    conn: &mut Conn,
    tenant_id: &str,
    segment_id: Uuid,
    metric: &MetricRow,
) -> Result<Option<Decimal>> {
    let carried = totals::carried(conn, tenant_id, &[segment_id]).await?;
    Ok(carried.into_iter().find(|c| c.metric_id == metric.metric_id).map(|c| c.value))
}

/// The subscription, its month, the limit, and what the servers counted in the segments of the month.
fn evaluate(
    op: &OpContext,
    metric: &MetricRow,
    rows: &[StandingRow],
    carried: Option<Decimal>,
) -> Result<Option<Standing>> {
    let Some(first) = rows.first() else { return Ok(None) };
    if !first.is_live && first.ended_at < op.now - rules::REACH {
        return Ok(None);
    }
    let mut parts: BTreeMap<Uuid, Vec<Part>> = BTreeMap::new();
    for row in rows {
        let (Some(value), Some(repeats), Some(stripe)) = (row.value, row.repeats, row.stripe) else {
            continue;
        };
        let newest = row.last_at.zip(row.last_received_at).map(|(at, received)| (at, received, stripe));
        parts.entry(row.segment_id).or_default().push(Part { value, repeats, newest });
    }
    let used = month_value(metric.aggregation, parts.values().map(Vec::as_slice))?.or(carried);
    let quota =
        rules::quota(rules::limit(&first.quotas, &metric.slug), used.unwrap_or_default().normalize())?;
    Ok(Some(Standing {
        subscription_id: first.subscription_id,
        is_behind: first.is_live && first.newest_ends_at <= op.now,
        month_starts_at: first.month_starts_at,
        month_ends_at: first.month_ends_at,
        quota,
    }))
}

fn status(
    tenant_id: &str,
    service_slug: &str,
    metric_slug: &str,
    quota: Quota,
    month: (DateTime<Utc>, DateTime<Utc>),
) -> QuotaStatusResponse {
    QuotaStatusResponse {
        tenant_id: tenant_id.to_owned(),
        service_slug: service_slug.to_owned(),
        metric_slug: metric_slug.to_owned(),
        limit: quota.limit.map(Into::into),
        used: quota.used.into(),
        remaining: quota.remaining.map(Into::into),
        percent: quota.percent.map(Into::into),
        exceeded: quota.exceeded,
        period_start: month.0,
        period_end: month.1,
    }
}

/// Where the caller's tenant stands with every metric of every service it has a live subscription to.
pub async fn usage_quota_list(op: &OpContext, app: &Control) -> Result<Vec<QuotaStatusResponse>> {
    let tenant_id = op.tenant_id();
    let months = months(op, app, None).await?;
    app.db
        .read(op, async |conn| {
            let live: Vec<CurrentMonth> = months.iter().filter(|m| m.is_live).cloned().collect();
            let segments = totals::month_segments(conn, tenant_id, &live).await?;
            let used = totals::month_usage(conn, tenant_id, &segments).await?;
            let mut quotas = Vec::new();
            for month in &live {
                for metric in store::service_metrics(conn, month.service_id).await? {
                    let used =
                        used.get(&(month.subscription_id, metric.metric_id)).copied().unwrap_or_default();
                    let quota = rules::quota(rules::limit(&month.quotas, &metric.slug), used)?;
                    let period = (month.month_starts_at, month.month_ends_at);
                    quotas.push(status(tenant_id, &month.service_slug, &metric.slug, quota, period));
                }
            }
            Ok(quotas)
        })
        .await
}

/// The current months of the caller's tenant, begun where nobody has begun them yet.
pub(super) async fn months(
    op: &OpContext,
    app: &Control,
    service_slug: Option<&str>,
) -> Result<Vec<CurrentMonth>> {
    let read =
        async |conn: &mut Conn| totals::current_months(conn, op.tenant_id(), service_slug, op.now).await;
    let months = app.db.read(op, read).await?;
    let behind: Vec<Uuid> =
        months.iter().filter(|m| m.is_behind(op.now)).map(|m| m.subscription_id).collect();
    if behind.is_empty() {
        return Ok(months);
    }
    for subscription_id in behind {
        carry(op, app, op.tenant_id(), subscription_id).await?;
    }
    app.db.read(op, read).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_decimal::Decimal;

    #[test]
    fn an_answer_is_void_once_usage_is_committed() {
        let (answers, metric_id, now) = (Answers::default(), Uuid::from_u128(1), DateTime::UNIX_EPOCH);
        let answer = status(
            "t",
            "s",
            "m",
            rules::quota(None, Decimal::ONE).unwrap(),
            (now, now + TimeDelta::days(30)),
        );
        let keep = |counter| {
            answers.put(metric_id, Kept { counter, read: Instant::now(), now, answer: answer.clone() })
        };
        keep(0);
        assert!(answers.get("t", metric_id, now).is_some());
        assert!(answers.get("t", metric_id, now + TimeDelta::seconds(1)).is_none(), "the clock moved");
        assert!(answers.get("u", metric_id, now).is_none(), "another tenant");
        answers.changed("t", metric_id);
        assert!(answers.get("t", metric_id, now).is_none());
        // A reader that was overtaken by the commit stores what it read before it.
        keep(0);
        assert!(answers.get("t", metric_id, now).is_none());
        keep(1);
        assert!(answers.get("t", metric_id, now).is_some());
    }
}
