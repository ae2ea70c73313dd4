//! What an event refers to: metrics of the service, tenants, and the segments that usage is counted in.
//!
//! Answers are kept in memory for a few seconds. That is safe because only a *yes* is taken from memory, and the writer
//! checks it again where it counts: a metric, a tenant or a segment that is not found is looked up anew before an event
//! is rejected for it, and a segment that a plan change has cut short meanwhile is found out under its row lock.
use super::store::{self, MetricRow, SegmentRow};
use crate::app::Control;
use crate::error::Result;
use crate::op::{OpContext, Scope};
use crate::subscriptions;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long an answer is used again.
const KEPT: Duration = Duration::from_secs(5);
/// Tenants kept in memory; when there are more, all are forgotten.
const TENANTS_MAX: usize = 100_000;
/// How many subscriptions are carried into their new month at once.
const ENSURED_AT_ONCE: usize = 4;

/// A service and its metrics.
#[derive(Debug)]
pub struct Service {
    /// Its id.
    pub service_id: Uuid,
    /// Its slug.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Its metrics, by slug.
    pub metrics: Vec<MetricRow>,
    by_slug: HashMap<String, usize>,
    loaded: Instant,
}

impl Service {
    /// A service with these metrics, as read now.
    pub(super) fn new(service_id: Uuid, slug: String, name: String, metrics: Vec<MetricRow>) -> Self {
        let by_slug = metrics.iter().enumerate().map(|(i, m)| (m.slug.clone(), i)).collect();
        Service { service_id, slug, name, metrics, by_slug, loaded: Instant::now() }
    }

    /// Where the metric stands in [`Service::metrics`].
    pub fn metric(&self, slug: &str) -> Option<usize> {
        self.by_slug.get(slug).copied()
    }
}

/// What a service may know of a tenant: the segments that events can be counted in.
#[derive(Debug)]
pub struct Tenant {
    /// Its id.
    pub tenant_id: String,
    /// Whether there is such a tenant at all.
    pub exists: bool,
    /// Its live subscription to the service, if it has begun.
    pub live: Option<Uuid>,
    /// By start, those that an event of the last 35 days can be in.
    pub segments: Vec<SegmentRow>,
    loaded: Instant,
}

impl Tenant {
    /// A tenant of which only the segments matter.
    #[cfg(test)]
    pub(super) fn with_segments(tenant_id: &str, segments: Vec<SegmentRow>) -> Self {
        Tenant { tenant_id: tenant_id.into(), exists: true, live: None, segments, loaded: Instant::now() }
    }

    /// Where the segment that covers the instant stands in [`Tenant::segments`].
    pub fn segment_at(&self, at: DateTime<Utc>) -> Option<usize> {
        self.segments.iter().rposition(|s| s.starts_at <= at && at < s.ends_at)
    }

    /// Whether the subscription is live at `at`, but its segments do not reach so far yet.
    fn is_behind(&self, at: DateTime<Utc>) -> bool {
        self.live.is_some_and(|live| {
            let reach = self.segments.iter().filter(|s| s.subscription_id == live).map(|s| s.ends_at).max();
            reach.is_none_or(|reach| reach <= at)
        })
    }
}

/// The memory.
#[derive(Debug, Default)]
pub struct Lookup {
    services: Mutex<HashMap<Uuid, Arc<Service>>>,
    tenants: Mutex<HashMap<Uuid, HashMap<String, Arc<Tenant>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lookup {
    /// The calling service, from memory when it was read not earlier than `since`.
    pub async fn service(
        &self,
        op: &OpContext,
        app: &Control,
        service_id: Uuid,
        since: Option<Instant>,
    ) -> Result<Arc<Service>> {
        let known = lock(&self.services).get(&service_id).cloned();
        if let Some(known) =
            known.filter(|s| since.map_or(s.loaded.elapsed() < KEPT, |since| since <= s.loaded))
        {
            return Ok(known);
        }
        let loaded = Instant::now();
        let (slug, name, metrics) =
            app.db.read(op, async |conn| store::service(conn, service_id).await).await?;
        let service = Arc::new(Service { loaded, ..Service::new(service_id, slug, name, metrics) });
        lock(&self.services).insert(service_id, service.clone());
        Ok(service)
    }

    /// Tenants by id, in the order asked for: from memory when it was read not earlier than `since`.
    pub async fn tenants(
        &self,
        op: &OpContext,
        app: &Control,
        service_id: Uuid,
        ids: &[&str],
        since: Option<Instant>,
    ) -> Result<Vec<Arc<Tenant>>> {
        let mut found: Vec<Option<Arc<Tenant>>> = {
            let memory = lock(&self.tenants);
            let memory = memory.get(&service_id);
            let fresh = |t: &&Arc<Tenant>| since.map_or(t.loaded.elapsed() < KEPT, |since| since <= t.loaded);
            ids.iter().map(|id| memory.and_then(|m| m.get(*id)).filter(fresh).cloned()).collect()
        };
        let missing: Vec<&str> =
            ids.iter().zip(&found).filter(|(_, t)| t.is_none()).map(|(id, _)| *id).collect();
        if !missing.is_empty() {
            let mut loaded = self.load(op, app, service_id, &missing).await?.into_iter();
            for slot in found.iter_mut().filter(|slot| slot.is_none()) {
                *slot = loaded.next();
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// The same, read anew, for tenants that have no segment in memory that covers the instant beside their id. A live
    /// subscription whose new usage month has not been begun yet is carried into it first.
    pub async fn tenants_at(
        &self,
        op: &OpContext,
        app: &Control,
        service_id: Uuid,
        missed: &[(&str, DateTime<Utc>)],
    ) -> Result<Vec<Arc<Tenant>>> {
        let ids: Vec<&str> = missed.iter().map(|(id, _)| *id).collect();
        let tenants = self.load(op, app, service_id, &ids).await?;
        let behind: Vec<(&str, Uuid, DateTime<Utc>)> = tenants
            .iter()
            .zip(missed)
            .filter(|(tenant, (_, at))| tenant.is_behind(*at))
            .filter_map(|(tenant, (id, at))| Some((*id, tenant.live?, *at)))
            .collect();
        if behind.is_empty() {
            return Ok(tenants);
        }
        self.carry(op, app, &behind).await?;
        self.load(op, app, service_id, &ids).await
    }

    /// Reads tenants and keeps them.
    async fn load(
        &self,
        op: &OpContext,
        app: &Control,
        service_id: Uuid,
        ids: &[&str],
    ) -> Result<Vec<Arc<Tenant>>> {
        let loaded = Instant::now();
        let (live, segments) =
            app.db.read(op, async |conn| store::tenant_segments(conn, service_id, ids, op.now).await).await?;
        let empty = |id: &str| Tenant {
            tenant_id: id.to_owned(),
            exists: false,
            live: None,
            segments: vec![],
            loaded,
        };
        let mut tenants: HashMap<&str, Tenant> = ids.iter().map(|id| (*id, empty(id))).collect();
        for (id, subscription_id) in &live {
            if let Some(tenant) = tenants.get_mut(id.as_str()) {
                (tenant.exists, tenant.live) = (true, Some(*subscription_id));
            }
        }
        for segment in segments {
            if let Some(tenant) = tenants.get_mut(segment.tenant_id.as_str()) {
                tenant.exists = true;
                tenant.segments.push(segment);
            }
        }
        let unknown: Vec<String> =
            tenants.values().filter(|t| !t.exists).map(|t| t.tenant_id.clone()).collect();
        if !unknown.is_empty() {
            // A service sees no tenants; whether an id is one at all is the only thing that is asked here.
            let platform = op.with_scope(Scope::Platform);
            let known =
                app.db.read(&platform, async |conn| store::known_tenants(conn, &unknown).await).await?;
            for id in &known {
                if let Some(tenant) = tenants.get_mut(id.as_str()) {
                    tenant.exists = true;
                }
            }
        }
        let tenants: Vec<Arc<Tenant>> =
            ids.iter().filter_map(|id| tenants.remove(id)).map(Arc::new).collect();
        let mut memory = lock(&self.tenants);
        let memory = memory.entry(service_id).or_default();
        if TENANTS_MAX < memory.len() + tenants.len() {
            memory.clear();
        }
        for tenant in &tenants {
            memory.insert(tenant.tenant_id.clone(), tenant.clone());
        }
        Ok(tenants)
    }

    /// Carries subscriptions to now, each in a transaction of its own.
    async fn carry(
        &self,
        op: &OpContext,
        app: &Control,
        behind: &[(&str, Uuid, DateTime<Utc>)],
    ) -> Result<()> {
        // A service may look at segments and not make them; the rules of the subscription do, whoever asks.
        let platform = &op.with_scope(Scope::Platform);
        for some in behind.chunks(ENSURED_AT_ONCE) {
            let carried: Vec<_> =
                some.iter().map(|(tenant, live, at)| carry_one(platform, app, tenant, *live, *at)).collect();
            futures::future::try_join_all(carried).await?;
        }
        Ok(())
    }
}

async fn carry_one(
    platform: &OpContext,
    app: &Control,
    tenant_id: &str,
    subscription_id: Uuid,
    until: DateTime<Utc>,
) -> Result<()> {
    app.db
        .tx(platform, "segments_ensure", async |conn| {
            subscriptions::segments::ensure(conn, platform, tenant_id, subscription_id, until).await
        })
        .await
}
