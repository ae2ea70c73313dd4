//! What was used, as the services reported it and were told that it counts: held against what is counted.
//!
//! Each event is added up a second time, here, by the rules themselves and without a database: by segment and metric, so that
//! what is in the wrong segment is found as well as what is missing, and what nobody has reported.
use crate::Outcome;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use scaicontrol_domain::usage::{Aggregation, Event, Total};
use std::collections::BTreeMap;
use tokio_postgres::Row;
use uuid::Uuid;

/// Events of a tenant that were stored since an instant, with the segment that they count in, when that covers them and is
/// one of the same service. Values: tenant, slug of the service, keys, the instant.
pub const STORED: &str = "SELECT e.idempotency_key, m.slug, e.quantity::text, e.occurred_at, e.unique_key, g.segment_id
    FROM usage_events e JOIN metrics m USING (metric_id) JOIN services v ON v.service_id = e.service_id
      LEFT JOIN segments g ON g.tenant_id = e.tenant_id AND g.segment_id = e.segment_id AND g.service_id = e.service_id
        AND g.starts_at <= e.occurred_at AND e.occurred_at < g.ends_at
    WHERE e.tenant_id = $1 AND v.slug = $2 AND e.idempotency_key = ANY ($3) AND e.received_at >= $4";

/// What is counted, by segment and metric, and of how many events.
pub const TOTALS: &str = "SELECT t.segment_id, m.slug, CASE m.aggregation WHEN 'max' THEN max(t.value)
      WHEN 'last' THEN (array_agg(t.value ORDER BY t.last_at DESC, t.last_received_at DESC, t.stripe DESC))[1]
      ELSE sum(t.value) END::text, sum(t.events)::bigint
    FROM usage_segment_totals t JOIN metrics m USING (metric_id) GROUP BY t.segment_id, m.slug, m.aggregation";

/// An event that was reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Its key.
    pub key: String,
    /// Slug of the metric.
    pub metric: String,
    /// How much.
    pub quantity: Decimal,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// What is counted by a metric that counts keys.
    pub unique_key: Option<String>,
}

/// What counts, by segment and metric.
#[derive(Debug, Default)]
pub struct Accepted {
    totals: BTreeMap<(Uuid, String), (Total, i64)>,
    receipts: i64,
}

impl Accepted {
    /// Adds events that were accepted just now, in the order in which they were reported. `rows` are those of [`STORED`].
    pub fn add(&mut self, reported: &[Reported], aggregations: &[(&str, &str)], rows: &[Row]) -> Outcome {
        let mut stored = BTreeMap::new();
        for row in rows {
            let event = Reported {
                key: row.get(0),
                metric: row.get(1),
                quantity: decimal(row.get(2))?,
                occurred_at: row.get(3),
                unique_key: row.get(4),
            };
            stored.insert(event.key.clone(), (event, row.get::<_, Option<Uuid>>(5)));
        }
        for event in reported {
            let (is, segment) = stored
                .get(&event.key)
                .ok_or_else(|| format!("what is accepted is stored: {event:?} is not there"))?;
            if is != event {
                return Err(format!("what is accepted is stored: {event:?} is there as {is:?}"));
            }
            let segment = segment
                .ok_or_else(|| format!("usage counts in the segment in which it happened: {event:?}"))?;
            let (_, aggregation) = aggregations
                .iter()
                .find(|(metric, _)| *metric == event.metric)
                .ok_or_else(|| format!("{event:?} is of no metric"))?;
            self.count(event, segment, aggregation)?;
        }
        Ok(())
    }

    fn count(&mut self, event: &Reported, segment: Uuid, aggregation: &str) -> Outcome {
        let aggregation: Aggregation = aggregation.parse().map_err(|e| format!("{e}"))?;
        self.receipts += 1;
        let counted = Event {
            quantity: event.quantity,
            occurred_at: event.occurred_at,
            receipt: self.receipts,
            unique_key: event.unique_key.as_deref(),
        };
        let key = (segment, event.metric.clone());
        let (total, events) = self.totals.entry(key).or_insert_with(|| (Total::new(aggregation), 0));
        *events += 1;
        total.add(&counted).map_err(|e| e.to_string())
    }

    /// What is counted is what was accepted, no less and no more. `rows` are those of [`TOTALS`].
    pub fn is_what_counts(&self, rows: &[Row]) -> Outcome {
        let mut counted = BTreeMap::new();
        for row in rows {
            let key = (row.get::<_, Uuid>(0), row.get::<_, String>(1));
            counted.insert(key, (decimal(row.get(2))?, row.get::<_, i64>(3)));
        }
        for (key, (total, events)) in &self.totals {
            let used = total.quantity(None).normalize();
            let is = counted.remove(key);
            if is != Some((used, *events)) {
                return Err(format!(
                    "usage counted is usage accepted: {} of segment {}: accepted {used} by {events} events, counted {is:?}",
                    key.1, key.0
                ));
            }
        }
        match counted.first_key_value() {
            Some(((segment, metric), is)) => Err(format!(
                "usage counted is usage accepted: {metric} of segment {segment}: accepted nothing, counted {is:?}"
            )),
            None => Ok(()),
        }
    }

    /// What was used of a metric in a segment; nothing when no event of it was.
    pub fn used(&self, segment: Uuid, metric: &str) -> Option<Decimal> {
        self.totals.get(&(segment, metric.to_owned())).map(|(total, _)| total.quantity(None))
    }
}

/// A number of the database.
pub fn decimal(text: &str) -> Outcome<Decimal> {
    text.parse::<Decimal>().map(|d| d.normalize()).map_err(|e| format!("{text}: {e}"))
}
