//! What a group of batches writes, worked out in memory: which keys are taken in which order, and what the new events
//! add up to.
//!
//! Rows are written in one order by every server (that of their primary key), so that two servers that write the same rows
//! wait for each other and never for one another.
use super::ingest::{Batch, Slot};
use super::rules::hour_start;
use super::store::{MetricRow, SegmentRow};
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use scaicontrol_types::MetricAggregation;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// Requests that are stored in one transaction.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub batches: Vec<&'a Batch>,
    /// For each batch and each of its tenants, the tenant's place among all tenants of the group in their order.
    ranks: Vec<Vec<u32>>,
}

/// An event of the group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub batch: u32,
    pub slot: u32,
    rank: u32,
}

/// The events of a group that may be new, in the order in which their keys are taken.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub places: Vec<Place>,
    /// For each batch, how many of its events repeat another of the group.
    pub duplicates: Vec<usize>,
}

/// A segment of a tenant, and the end that the batches believe it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Believed<'a> {
    pub tenant_id: &'a str,
    pub segment_id: Uuid,
    pub ends_at: DateTime<Utc>,
}

impl<'a> Group<'a> {
    pub fn new(batches: Vec<&'a Batch>) -> Self {
        let mut ids: Vec<&str> =
            batches.iter().flat_map(|b| &b.tenants).map(|t| t.tenant_id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        let rank = |id: &str| ids.binary_search(&id).map_or(u32::MAX, |place| place as u32);
        let ranks = batches.iter().map(|b| b.tenants.iter().map(|t| rank(&t.tenant_id)).collect()).collect();
        Group { batches, ranks }
    }

    pub fn slot(&self, place: Place) -> (&'a Batch, &'a Slot) {
        let batch = self.batches[place.batch as usize];
        (batch, &batch.events[place.slot as usize])
    }

    pub fn tenant_id(&self, place: Place) -> &'a str {
        let (batch, slot) = self.slot(place);
        &batch.tenants[slot.tenant as usize].tenant_id
    }

    pub fn metric(&self, place: Place) -> &'a MetricRow {
        let (batch, slot) = self.slot(place);
        &batch.service.metrics[slot.metric as usize]
    }

    pub fn segment(&self, place: Place) -> &'a SegmentRow {
        let (batch, slot) = self.slot(place);
        &batch.tenants[slot.tenant as usize].segments[slot.segment as usize]
    }

    /// The segments that the group counts in, in their order.
    pub fn segments(&self) -> Vec<Believed<'a>> {
        let mut seen: Vec<Believed<'a>> = Vec::new();
        for batch in &self.batches {
            let mut used: Vec<(u32, u32)> = batch.events.iter().map(|s| (s.tenant, s.segment)).collect();
            used.sort_unstable();
            used.dedup();
            seen.extend(used.into_iter().map(|(tenant, segment)| {
                let tenant = &batch.tenants[tenant as usize];
                let segment = &tenant.segments[segment as usize];
                Believed {
                    tenant_id: &tenant.tenant_id,
                    segment_id: segment.segment_id,
                    ends_at: segment.ends_at,
                }
            }));
        }
        seen.sort_unstable_by(|a, b| (a.tenant_id, a.segment_id).cmp(&(b.tenant_id, b.segment_id)));
        seen.dedup_by(|a, b| (a.tenant_id, a.segment_id) == (b.tenant_id, b.segment_id));
        seen
    }

    /// The events of the batches that take part, each key once: the first one in the order of receipt.
    pub fn candidates(&self, takes_part: &[bool]) -> Candidates {
        let mut duplicates = vec![0; self.batches.len()];
        let mut keyed = Vec::with_capacity(self.batches.iter().map(|b| b.events.len()).sum());
        for (number, batch) in (0_u32..).zip(&self.batches) {
            if !takes_part[number as usize] {
                continue;
            }
            let (ranks, service) = (&self.ranks[number as usize], batch.service.service_id);
            keyed.extend(
                (0_u32..)
                    .zip(&batch.events)
                    .map(|(slot, s)| (s.key, ranks[s.tenant as usize], service, number, slot)),
            );
        }
        keyed.sort_unstable();
        let mut places: Vec<Place> = Vec::with_capacity(keyed.len());
        let mut before = None;
        for (key, rank, service, batch, slot) in keyed {
            if before.replace((key, rank, service)) == Some((key, rank, service)) {
                duplicates[batch as usize] += 1;
            } else {
                places.push(Place { batch, slot, rank });
            }
        }
        Candidates { places, duplicates }
    }

    /// The different keys of `unique_count` events, in their order, each with its first event in the order of receipt.
    pub fn uniques(&self, new: &[Place]) -> Vec<Place> {
        let mut keyed: Vec<_> = new
            .iter()
            .filter(|place| self.metric(**place).aggregation == MetricAggregation::UniqueCount)
            .map(|place| {
                let (_, slot) = self.slot(*place);
                let key =
                    (place.rank, self.segment(*place).segment_id, self.metric(*place).metric_id, slot.unique);
                (key, place.batch, place.slot, *place)
            })
            .collect();
        keyed.sort_unstable_by_key(|(key, batch, slot, _)| (*key, *batch, *slot));
        keyed.dedup_by_key(|(key, ..)| *key);
        keyed.into_iter().map(|(.., place)| place).collect()
    }

    /// What the new events add up to, by hour, in the order of the rows. `counted` are the keys that were new in their
    /// segment, each with whether another segment of the month had it.
    pub fn totals(&self, new: &[Place], counted: &[(Place, bool)]) -> Result<Vec<Total<'a>>> {
        let mut totals: HashMap<Key, Total<'a>> = HashMap::new();
        for place in new {
            let (batch, slot) = self.slot(*place);
            let total = totals.entry(self.key(*place)).or_insert_with(|| self.empty(*place));
            total.add(batch, slot)?;
        }
        for (place, is_repeat) in counted {
            if let Some(total) = totals.get_mut(&self.key(*place)) {
                total.value += Decimal::ONE;
                total.repeats += i64::from(*is_repeat);
            }
        }
        let sorted: BTreeMap<Key, Total<'a>> = totals.into_iter().collect();
        Ok(sorted.into_values().collect())
    }

    fn key(&self, place: Place) -> Key {
        let (_, slot) = self.slot(place);
        (
            place.rank,
            self.segment(place).segment_id,
            self.metric(place).metric_id,
            hour_start(slot.occurred_at),
        )
    }

    fn empty(&self, place: Place) -> Total<'a> {
        let (batch, slot) = self.slot(place);
        let segment = self.segment(place);
        Total {
            tenant_id: &segment.tenant_id,
            segment,
            metric: self.metric(place),
            batch,
            hour: hour_start(slot.occurred_at),
            value: Decimal::ZERO,
            repeats: 0,
            events: 0,
            newest: None,
            first_event_at: batch.received_at,
            newest_event_at: batch.received_at,
        }
    }
}

/// Tenant, segment, metric, hour.
type Key = (u32, Uuid, Uuid, DateTime<Utc>);

/// What is added to a row of totals: of an hour, or of the whole segment.
#[derive(Clone, Debug)]
pub(super) struct Total<'a> {
    pub tenant_id: &'a str,
    pub segment: &'a SegmentRow,
    pub metric: &'a MetricRow,
    /// A batch that it came with, for the service.
    pub batch: &'a Batch,
    pub hour: DateTime<Utc>,
    pub value: Decimal,
    pub repeats: i64,
    pub events: i64,
    /// `last` only: when the newest event occurred and was received, and its place in the group.
    pub newest: Option<(DateTime<Utc>, DateTime<Utc>, Uuid, u32)>,
    pub first_event_at: DateTime<Utc>,
    pub newest_event_at: DateTime<Utc>,
}

impl<'a> Total<'a> {
    fn add(&mut self, batch: &Batch, slot: &Slot) -> Result<()> {
        let quantity = batch.event(slot).quantity.0;
        match self.metric.aggregation {
            MetricAggregation::Sum => self.value = plus(self.value, quantity)?,
            MetricAggregation::Max if self.events == 0 => self.value = quantity,
            MetricAggregation::Max => self.value = self.value.max(quantity),
            MetricAggregation::Last => {
                // Batches are ordered by their audit ids, which are made in the order of receipt.
                let at = Some((slot.occurred_at, batch.received_at, batch.audit_id, slot.index));
                if self.newest <= at {
                    (self.newest, self.value) = (at, quantity);
                }
            }
            // Only keys that are new in the segment count, and the database knows which are.
            MetricAggregation::UniqueCount => {}
        }
        self.events += 1;
        self.first_event_at = self.first_event_at.min(batch.received_at);
        self.newest_event_at = self.newest_event_at.max(batch.received_at);
        Ok(())
    }

    /// The hours of each segment and metric put together. `hours` are sorted.
    pub fn of_segments(hours: &[Total<'a>]) -> Result<Vec<Total<'a>>> {
        let mut segments: Vec<Total<'a>> = Vec::new();
        for hour in hours {
            let same = |t: &&mut Total<'a>| {
                (t.tenant_id, t.segment.segment_id, t.metric.metric_id)
                    == (hour.tenant_id, hour.segment.segment_id, hour.metric.metric_id)
            };
            match segments.last_mut().filter(same) {
                Some(segment) => segment.merge(hour)?,
                None => segments.push(hour.clone()),
            }
        }
        Ok(segments)
    }

    fn merge(&mut self, other: &Total<'a>) -> Result<()> {
        match self.metric.aggregation {
            MetricAggregation::Sum | MetricAggregation::UniqueCount => {
                self.value = plus(self.value, other.value)?
            }
            MetricAggregation::Max => self.value = self.value.max(other.value),
            MetricAggregation::Last if self.newest <= other.newest => {
                (self.newest, self.value) = (other.newest, other.value);
            }
            MetricAggregation::Last => {}
        }
        self.repeats += other.repeats;
        self.events += other.events;
        self.first_event_at = self.first_event_at.min(other.first_event_at);
        self.newest_event_at = self.newest_event_at.max(other.newest_event_at);
        Ok(())
    }
}

fn plus(a: Decimal, b: Decimal) -> Result<Decimal> {
    a.checked_add(b).ok_or_else(|| Error::internal("a total of usage is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metering::lookup::{Service, Tenant};
    use crate::metering::rules::text_hash;
    use scaicontrol_types::{UsageEvent, UsageEventsRequest};
    use std::sync::Arc;

    const METRICS: [(&str, MetricAggregation); 3] = [
        ("calls", MetricAggregation::Sum),
        ("disk", MetricAggregation::Last),
        ("seats", MetricAggregation::UniqueCount),
    ];

    fn t(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    /// A batch of (key, metric, quantity, time, unique key) of one tenant.
    fn batch(number: u128, tenant_id: &str, events: &[(&str, usize, &str, &str, &str)]) -> Batch {
        let metrics = METRICS.map(|(slug, aggregation)| MetricRow {
            metric_id: text_hash(slug),
            slug: slug.into(),
            name: slug.into(),
            unit: String::new(),
            aggregation,
        });
        let (from, to) = (t("2026-03-01T00:00:00Z"), t("2026-04-01T00:00:00Z"));
        let segment = SegmentRow {
            tenant_id: tenant_id.into(),
            segment_id: text_hash(tenant_id),
            partner_id: "prt".into(),
            subscription_id: Uuid::nil(),
            month_starts_at: from,
            month_ends_at: to,
            starts_at: from,
            ends_at: to,
            quotas: serde_json::json!({}),
        };
        let event = |(key, metric, quantity, at, _): &(&str, usize, &str, &str, &str)| UsageEvent {
            idempotency_key: (*key).into(),
            tenant_id: tenant_id.into(),
            metric_slug: METRICS[*metric].0.into(),
            quantity: quantity.parse().expect("a decimal"),
            occurred_at: Some(t(at)),
            unique_key: None,
            service_slug: None,
            metadata: None,
        };
        let slot = |(index, event): (usize, &(&str, usize, &str, &str, &str))| Slot {
            index: index as u32,
            tenant: 0,
            segment: 0,
            metric: event.1 as u32,
            key: text_hash(event.0),
            unique: text_hash(event.4),
            occurred_at: t(event.3),
        };
        Batch {
            body: Arc::new(UsageEventsRequest { events: events.iter().map(event).collect() }),
            service: Arc::new(Service::new(Uuid::nil(), "flow".into(), "Flow".into(), metrics.to_vec())),
            tenants: vec![Arc::new(Tenant::with_segments(tenant_id, vec![segment]))],
            events: events.iter().enumerate().map(slot).collect(),
            rejected: 0,
            received_at: t("2026-03-14T12:00:00Z"),
            audit_id: Uuid::from_u128(number),
            actor: "svc".into(),
            operation: "usage_events_post",
            request_id: "req_1".into(),
        }
    }

    #[test]
    fn a_key_counts_once_in_a_group_and_the_first_wins() {
        let at = "2026-03-14T10:00:00Z";
        let first = batch(1, "tnt_b", &[("k", 0, "1", at, ""), ("k", 0, "2", at, ""), ("l", 0, "4", at, "")]);
        let second = batch(2, "tnt_b", &[("l", 0, "8", at, ""), ("m", 0, "16", at, "")]);
        let other = batch(3, "tnt_a", &[("k", 0, "32", at, "")]);
        let group = Group::new(vec![&first, &second, &other]);
        let candidates = group.candidates(&[true, true, true]);
        assert_eq!(candidates.duplicates, [1, 1, 0]);
        let order: Vec<_> =
            candidates.places.iter().map(|p| (group.slot(*p).1.key, group.tenant_id(*p))).collect();
        assert!(order.is_sorted(), "rows are written in the order of their primary key");
        assert_eq!(order.len(), 4);
        let totals = group.totals(&candidates.places, &[]).expect("it fits");
        let sums: Vec<_> = totals.iter().map(|t| (t.tenant_id, t.value, t.events)).collect();
        assert_eq!(sums, [("tnt_a", Decimal::from(32), 1), ("tnt_b", Decimal::from(21), 3)]);
        let without = group.candidates(&[false, true, true]);
        assert_eq!(
            (without.duplicates, without.places.len()),
            (vec![0, 0, 0], 3),
            "what stands back takes no key"
        );
    }

    #[test]
    fn the_newest_reading_wins_and_of_equal_ones_the_last_received() {
        let (early, late) = ("2026-03-14T09:59:00Z", "2026-03-14T10:00:00Z");
        let first = batch(1, "tnt", &[("a", 1, "5", late, ""), ("b", 1, "6", early, "")]);
        let second = batch(2, "tnt", &[("c", 1, "7", late, "")]);
        let group = Group::new(vec![&first, &second]);
        let hours = group.totals(&group.candidates(&[true, true]).places, &[]).expect("it fits");
        assert_eq!(hours.iter().map(|t| t.value).collect::<Vec<_>>(), [Decimal::from(6), Decimal::from(7)]);
        let segments = Total::of_segments(&hours).expect("it fits");
        assert_eq!(segments.iter().map(|t| (t.value, t.events)).collect::<Vec<_>>(), [(Decimal::from(7), 3)]);
    }

    #[test]
    fn only_keys_that_are_new_in_the_segment_count() {
        let at = "2026-03-14T10:00:00Z";
        let batch =
            batch(1, "tnt", &[("a", 2, "1", at, "u1"), ("b", 2, "1", at, "u1"), ("c", 2, "1", at, "u2")]);
        let group = Group::new(vec![&batch]);
        let new = group.candidates(&[true]).places;
        let uniques = group.uniques(&new);
        assert_eq!(uniques.len(), 2);
        let totals = group.totals(&new, &[(uniques[0], true)]).expect("it fits");
        let counts: Vec<_> = totals.iter().map(|t| (t.value, t.repeats, t.events)).collect();
        assert_eq!(counts, [(Decimal::ONE, 1, 3)], "one was in the set, the other counts and repeats");
    }
}
