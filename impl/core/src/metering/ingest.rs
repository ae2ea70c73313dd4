//! From a request to a batch that the writer can store: everything that can be refused or rejected is found out here,
//! alone, so that in the writer's group no request can fail another.
use super::lookup::{Service, Tenant};
use super::rules;
use super::writer::Outcome;
use crate::app::Control;
use crate::error::{Error, Field, Result};
use crate::op::{OpContext, Scope};
use chrono::{DateTime, Utc};
use scaicontrol_domain::usage::RejectCode;
use scaicontrol_types::{
    UsageEvent, UsageEventsRequest, UsageEventsResult, UsageRejection, UsageRejectionCode as Code,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Largest metadata of an event as JSON, in bytes.
const METADATA_BYTES_MAX: usize = 16 * 1024;
/// How long a batch waits for a segment that is being changed or billed.
const HELD_MAX: Duration = Duration::from_secs(5);
/// Between two tries on such a segment.
const HELD_PAUSE: Duration = Duration::from_millis(10);
/// Wrong fields that are listed in one answer.
const FAULTS_MAX: usize = 100;

/// A request that can be stored.
#[derive(Debug)]
pub(super) struct Batch {
    pub body: Arc<UsageEventsRequest>,
    pub service: Arc<Service>,
    /// The tenants that [`Slot::tenant`] points to.
    pub tenants: Vec<Arc<Tenant>>,
    /// The events that can be counted, in the order of the request.
    pub events: Vec<Slot>,
    /// How many cannot.
    pub rejected: usize,
    pub received_at: DateTime<Utc>,
    pub audit_id: Uuid,
    pub actor: String,
    pub operation: &'static str,
    pub request_id: String,
}

/// An event of a [`Batch`], resolved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Place in the request.
    pub index: u32,
    pub tenant: u32,
    /// Place in the tenant's segments.
    pub segment: u32,
    /// Place in the service's metrics.
    pub metric: u32,
    /// Hash of the idempotency key.
    pub key: Uuid,
    /// Hash of the unique key; nil where none is needed.
    pub unique: Uuid,
    pub occurred_at: DateTime<Utc>,
}

impl Batch {
    pub fn event(&self, slot: &Slot) -> &UsageEvent {
        &self.body.events[slot.index as usize]
    }
}

/// Stores a batch of usage events, and answers when they are committed.
pub async fn usage_events_post(
    op: &OpContext,
    app: &Control,
    body: UsageEventsRequest,
) -> Result<UsageEventsResult> {
    let Scope::Service(service_id) = op.scope else {
        return Err(Error::Forbidden { message: "only a service reports usage".into(), details: vec![] });
    };
    check(&body)?;
    let body = Arc::new(body);
    let started = Instant::now();
    let mut since = None;
    loop {
        let (batch, rejected) = resolve(op, app, service_id, &body, since).await?;
        match app.metering.writer().store(batch).await? {
            Outcome::Stored { accepted, duplicates } => {
                return Ok(UsageEventsResult { accepted, duplicates, rejected });
            }
            _ if HELD_MAX < started.elapsed() => {
                return Err(Error::Unavailable(
                    "a subscription is being changed: send the batch again".into(),
                ));
            }
            Outcome::Stale => {}
            Outcome::Held => tokio::time::sleep(HELD_PAUSE).await,
        }
        since = Some(Instant::now());
    }
}

/// What would make a statement fail, and with it a whole group: 400, naming the events.
fn check(body: &UsageEventsRequest) -> Result<()> {
    let mut faults = Vec::new();
    for (index, event) in body.events.iter().enumerate() {
        let mut fault = |field: &str, message: &str| {
            faults.push(Field { field: format!("events.{index}.{field}"), message: message.into() });
        };
        if event.idempotency_key.contains('\0') {
            fault("idempotency_key", "must not contain U+0000");
        }
        if event.unique_key.as_ref().is_some_and(|key| key.contains('\0')) {
            fault("unique_key", "must not contain U+0000");
        }
        if let Some(metadata) = &event.metadata {
            let json = serde_json::to_string(metadata).map_err(Error::internal)?;
            if METADATA_BYTES_MAX < json.len() {
                fault("metadata", "is over 16 KiB as JSON");
            }
            // jsonb cannot hold it, and JSON writes it in no other way.
            if json.contains("\\u0000") && metadata.iter().any(|(k, v)| k.contains('\0') || holds_nul(v)) {
                fault("metadata", "must not contain U+0000");
            }
        }
        if FAULTS_MAX <= faults.len() {
            break;
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::fields(faults)) }
}

fn holds_nul(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(holds_nul),
        serde_json::Value::Object(map) => map.iter().any(|(k, v)| k.contains('\0') || holds_nul(v)),
        _ => false,
    }
}

/// Finds metric, tenant and segment of every event.
async fn resolve(
    op: &OpContext,
    app: &Control,
    service_id: Uuid,
    body: &Arc<UsageEventsRequest>,
    since: Option<Instant>,
) -> Result<(Batch, Vec<UsageRejection>)> {
    let lookup = app.metering.lookup();
    let mut service = lookup.service(op, app, service_id, since).await?;
    if body.events.iter().any(|e| service.metric(&e.metric_slug).is_none()) {
        // It may have been registered a moment ago.
        service = lookup.service(op, app, service_id, Some(Instant::now())).await?;
    }
    check_service(body, &service)?;
    let (ids, of_event) = distinct_tenants(body);
    let mut tenants = lookup.tenants(op, app, service_id, &ids, since).await?;
    let missed = missed(op, body, &tenants, &of_event);
    if !missed.is_empty() {
        let asked: Vec<(&str, DateTime<Utc>)> =
            missed.iter().map(|(t, at)| (ids[*t as usize], *at)).collect();
        let again = lookup.tenants_at(op, app, service_id, &asked).await?;
        for ((place, _), tenant) in missed.iter().zip(again) {
            tenants[*place as usize] = tenant;
        }
    }
    let (mut events, mut rejected) = (Vec::with_capacity(body.events.len()), Vec::new());
    for ((index, event), tenant) in (0_u32..).zip(&body.events).zip(of_event) {
        match slot(op, &service, &tenants, index, event, tenant) {
            Ok(slot) => events.push(slot),
            Err(code) => rejected.push(rejection(index, code, event, &service)),
        }
    }
    let batch = Batch {
        body: body.clone(),
        service,
        tenants,
        events,
        rejected: rejected.len(),
        received_at: op.now,
        audit_id: op.id(),
        actor: op.actor.id.clone(),
        operation: op.operation,
        request_id: op.request_id.clone(),
    };
    Ok((batch, rejected))
}

fn check_service(body: &UsageEventsRequest, service: &Service) -> Result<()> {
    let foreign = |event: &UsageEvent| event.service_slug.as_ref().is_some_and(|slug| *slug != service.slug);
    let Some(index) = body.events.iter().position(foreign) else { return Ok(()) };
    let detail =
        Field { field: format!("events.{index}.service_slug"), message: format!("must be {}", service.slug) };
    Err(Error::Forbidden { message: "a service reports its own usage only".into(), details: vec![detail] })
}

/// The tenants of the batch, and for each event which of them it names.
fn distinct_tenants(body: &UsageEventsRequest) -> (Vec<&str>, Vec<u32>) {
    let (mut ids, mut places) = (Vec::new(), HashMap::new());
    let of_event = body
        .events
        .iter()
        .map(|event| {
            *places.entry(event.tenant_id.as_str()).or_insert_with(|| {
                ids.push(event.tenant_id.as_str());
                (ids.len() - 1) as u32
            })
        })
        .collect();
    (ids, of_event)
}

/// Tenants without a segment for one of their events, each with the newest instant that one is needed for.
fn missed(
    op: &OpContext,
    body: &UsageEventsRequest,
    tenants: &[Arc<Tenant>],
    of_event: &[u32],
) -> Vec<(u32, DateTime<Utc>)> {
    let mut missed: HashMap<u32, DateTime<Utc>> = HashMap::new();
    for (event, place) in body.events.iter().zip(of_event) {
        // An event ahead of the clock does not begin a new usage month; it counts where now does.
        let at = event.occurred_at.map_or(op.now, |at| at.min(op.now));
        if at < op.now - rules::AGE_MAX || tenants[*place as usize].segment_at(at).is_some() {
            continue;
        }
        missed.entry(*place).and_modify(|newest| *newest = at.max(*newest)).or_insert(at);
    }
    missed.into_iter().collect()
}

fn slot(
    op: &OpContext,
    service: &Service,
    tenants: &[Arc<Tenant>],
    index: u32,
    event: &UsageEvent,
    place: u32,
) -> Result<Slot, Code> {
    let tenant = &tenants[place as usize];
    if !tenant.exists {
        return Err(Code::UnknownTenant);
    }
    let metric = service.metric(&event.metric_slug).ok_or(Code::UnknownMetric)?;
    let aggregation = service.metrics[metric].aggregation;
    // Whole microseconds: what the tables keep, so that the hour and the segment are those of the stored instant.
    let occurred_at = event
        .occurred_at
        .map_or(op.now, |at| DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at));
    let unique_key = event.unique_key.as_deref();
    if let Some(code) = rules::refusal(aggregation, event.quantity.0, unique_key, occurred_at, op.now) {
        return Err(code);
    }
    // An event ahead of the clock, in a usage month that has not begun, counts where now does.
    let ahead = || tenant.segment_at(op.now).filter(|_| op.now < occurred_at);
    let segment = tenant.segment_at(occurred_at).or_else(ahead).ok_or(Code::NoSubscription)?;
    let unique = match &event.unique_key {
        Some(key) if aggregation == scaicontrol_types::MetricAggregation::UniqueCount => {
            rules::text_hash(key)
        }
        _ => Uuid::nil(),
    };
    Ok(Slot {
        index,
        tenant: place,
        segment: segment as u32,
        metric: metric as u32,
        key: rules::text_hash(&event.idempotency_key),
        unique,
        occurred_at,
    })
}

fn rejection(index: u32, code: Code, event: &UsageEvent, service: &Service) -> UsageRejection {
    let (tenant, metric, service) = (&event.tenant_id, &event.metric_slug, &service.slug);
    let message = match code {
        Code::UnknownTenant => format!("there is no tenant {tenant}"),
        Code::UnknownMetric => format!("{service} has no metric {metric}"),
        Code::NoSubscription => format!("{tenant} has no subscription to {service} at that time"),
        Code::TooOld => RejectCode::TooOld.message().into(),
        Code::InFuture => RejectCode::InFuture.message().into(),
        Code::BadQuantity => RejectCode::BadQuantity.message().into(),
        Code::MissingUniqueKey => RejectCode::MissingUniqueKey.message().into(),
    };
    UsageRejection { index: i32::try_from(index).unwrap_or(i32::MAX), code, message }
}
