//! When nothing is left to come: what there is to bill was billed, all of it and no more.
//!
//! Segments and periods are priced here from what is stored of them and from the price list, and held against the lines that
//! bill them. So what was forgotten is found as well as what was billed wrongly: no line means 0.
use crate::Outcome;
use crate::database::Connected;
use crate::usage::{Accepted, decimal};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::proration::Ratio;
use scaicontrol_domain::tiers::{Tier, price, total};
use std::collections::{BTreeMap, HashMap, HashSet};
use tokio_postgres::Row;
use uuid::Uuid;

/// Segments whose usage is billed, in the order of their time: all but those of a trial, those that are not over or of which
/// something is still due, and those whose usage was waived. Those of a trial are here for what they carry on.
const SEGMENTS: &str = "SELECT g.segment_id, g.subscription_id, g.plan_id, g.plan_version, g.starts_at, g.ends_at, g.month_starts_at, g.month_ends_at,
      NOT g.is_trial AND NOT EXISTS (SELECT 1 FROM billed_items b WHERE b.tenant_id = g.tenant_id AND b.source_type = 'segment'
        AND b.source_id = g.segment_id AND (b.status = 'due' OR b.waived))
    FROM segments g ORDER BY g.subscription_id, g.starts_at";

/// What was billed of each segment and metric: by invoices, and less what credit notes took back because usage turned out to
/// cost less. What was voided for good counts: it was given up. What was voided and billed again does not.
const USAGE_BILLED: &str = "SELECT b.source_id, l.metric_slug, sum(l.amount_cents)::bigint
    FROM invoice_lines l JOIN invoices i USING (tenant_id, invoice_id) JOIN billed_items b USING (tenant_id, billed_item_id)
    WHERE i.document_type = 'invoice' AND b.source_type = 'segment' AND NOT (i.status = 'void' AND EXISTS (SELECT 1 FROM billed_items n
      WHERE n.tenant_id = b.tenant_id AND n.source_type = b.source_type AND n.source_id = b.source_id AND n.kind = b.kind
        AND n.revision > b.revision AND n.due_at = b.due_at AND n.created_at = i.voided_at))
    GROUP BY 1, 2
    UNION ALL SELECT (l.explanation -> 'because' ->> 'segment_id')::uuid, l.explanation -> 'because' -> 'computation' -> 'segment' ->> 'metric_slug',
      sum(l.amount_cents)::bigint
    FROM invoice_lines l JOIN invoices i USING (tenant_id, invoice_id)
    WHERE i.document_type = 'credit_note' AND l.explanation -> 'because' ? 'segment_id' GROUP BY 1, 2";

/// Segments and metrics of which a credit note took something back for another reason: what turns out to cost less is given
/// back no further than is left.
const CREDITED: &str = "SELECT DISTINCT b.source_id, l.metric_slug
    FROM credit_note_lines c JOIN invoice_lines n USING (tenant_id, line_item_id) JOIN invoices i ON i.tenant_id = n.tenant_id AND i.invoice_id = n.invoice_id
      JOIN invoice_lines l ON l.tenant_id = c.tenant_id AND l.line_item_id = c.credited_line_item_id
      JOIN billed_items b ON b.tenant_id = l.tenant_id AND b.billed_item_id = l.billed_item_id
    WHERE i.document_type = 'credit_note' AND b.source_type = 'segment' AND l.metric_slug IS NOT NULL
      AND NOT COALESCE(n.explanation ? 'because', false)";

const TIERS: &str = "SELECT plan_id, version, metric_slug, tier_start::text, tier_end::text, unit_price_cents::text, unit_divisor::text, pricing_model,
      flat_fee_cents, minimum_cents
    FROM pricing_tiers ORDER BY plan_id, version, metric_slug, position";

/// Periods that no pack bills, each with the newest item that bills it and what that came to. Of a plan change that is the
/// charge of what began; what it gives back is another matter.
const PERIODS: &str = "SELECT p.period_id, p.starts_at, p.billed_until, p.whole_starts_at, p.whole_ends_at, v.base_price_cents, p.quantity,
      b.status, b.waived, (SELECT COALESCE(sum(l.amount_cents), 0)::bigint FROM invoice_lines l WHERE l.tenant_id = b.tenant_id
        AND l.invoice_id = b.invoice_id AND l.billed_item_id = b.billed_item_id
        AND l.explanation -> 'computation' ->> 'rule' IN ('base', 'proration_charge'))
    FROM subscription_periods p JOIN subscriptions s USING (tenant_id, subscription_id)
      JOIN plan_versions v ON v.plan_id = p.plan_id AND v.version = p.plan_version
      CROSS JOIN LATERAL (SELECT * FROM billed_items b WHERE b.tenant_id = p.tenant_id AND b.source_type = 'subscription'
        AND b.source_id = p.subscription_id AND b.period_start = p.starts_at AND b.kind IN ('base', 'proration')
        ORDER BY b.revision DESC LIMIT 1) b
    WHERE s.pack_subscription_id IS NULL";

/// Documents that the run could not issue or send. Nothing that happens in a life is refused for good.
const REFUSED: &str = "SELECT invoice_id::text, tenant_id, problem FROM run_drafts WHERE 0 < attempts ORDER BY created_at, invoice_id";

/// Everything of it.
pub async fn check(db: &Connected, accepted: &Accepted) -> Outcome {
    if let Some(row) = db.query(REFUSED, &[]).await?.first() {
        let (draft, tenant, problem): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        return Err(format!("every draft of a run is issued: {draft} of {tenant} is not: {problem}"));
    }
    usage(db, accepted).await?;
    periods(db).await
}

/// The price lists of a plan, by its id and version.
type Tiers = HashMap<(Uuid, i32), BTreeMap<String, Vec<Tier>>>;

async fn tiers(db: &Connected) -> Outcome<Tiers> {
    let mut all = Tiers::new();
    for row in db.query(TIERS, &[]).await? {
        let tier = Tier {
            tier_start: decimal(row.get(3))?,
            tier_end: row.get::<_, Option<&str>>(4).map(decimal).transpose()?,
            unit_price_cents: decimal(row.get(5))?,
            unit_divisor: decimal(row.get(6))?,
            unit_label: None,
            pricing_model: row.get::<_, &str>(7).parse().map_err(|e| format!("{e}"))?,
            flat_fee_cents: row.get(8),
            minimum_cents: row.get(9),
        };
        let plan = all.entry((row.get(0), row.get(1))).or_default();
        plan.entry(row.get(2)).or_default().push(tier);
    }
    Ok(all)
}

/// What was used in a segment costs what was billed for it.
async fn usage(db: &Connected, accepted: &Accepted) -> Outcome {
    let tiers = tiers(db).await?;
    let mut billed: BTreeMap<(Uuid, String), i64> = BTreeMap::new();
    for row in db.query(USAGE_BILLED, &[]).await? {
        *billed.entry((row.get(0), row.get(1))).or_default() += row.get::<_, i64>(2);
    }
    let credited = db.query(CREDITED, &[]).await?;
    let credited: HashSet<(Uuid, String)> = credited.iter().map(|row| (row.get(0), row.get(1))).collect();
    // The newest value of a metric that is carried on, of the subscription whose segments are walked.
    let mut carried: (Option<Uuid>, Option<Decimal>) = (None, None);
    for row in db.query(SEGMENTS, &[]).await? {
        let (id, subscription): (Uuid, Uuid) = (row.get(0), row.get(1));
        if carried.0 != Some(subscription) {
            carried = (Some(subscription), None);
        }
        carried.1 = accepted.used(id, CARRIED).or(carried.1);
        let lists = tiers.get(&(row.get(2), row.get(3)));
        for (metric, list) in lists.into_iter().flatten() {
            let was = billed.remove(&(id, metric.clone())).unwrap_or_default();
            let used = if metric == CARRIED { carried.1 } else { accepted.used(id, metric) };
            let used = used.unwrap_or_default();
            let costs = total(&price(list, used, share(&row)?).map_err(|e| e.to_string())?);
            let costs = costs.map_err(|e| e.to_string())?.0;
            let is_left = costs < was && credited.contains(&(id, metric.clone()));
            if row.get::<_, bool>(8) && costs != was && !is_left {
                return Err(format!(
                    "usage billed is usage accepted: {metric} of segment {id}, {used}, costs {costs}, billed {was}"
                ));
            }
        }
    }
    match billed.iter().find(|(_, cents)| **cents != 0) {
        Some(((id, metric), cents)) => Err(format!("{metric} of segment {id} has no price, billed {cents}")),
        None => Ok(()),
    }
}

/// The metric whose newest value is carried into the segments after it.
const CARRIED: &str = "level";

/// The share that a segment has of its usage month.
fn share(row: &Row) -> Outcome<Ratio> {
    let at = |n: usize| row.get::<_, DateTime<Utc>>(n);
    Ratio::new((at(5) - at(4)).num_seconds(), (at(7) - at(6)).num_seconds()).map_err(|e| e.to_string())
}

/// A period costs its share of the price of a whole one, and that was billed for it.
async fn periods(db: &Connected) -> Outcome {
    for row in db.query(PERIODS, &[]).await? {
        let (id, status, waived): (Uuid, &str, bool) = (row.get(0), row.get(7), row.get(8));
        if status == "due" || waived {
            continue;
        }
        let at = |n: usize| row.get::<_, Option<DateTime<Utc>>>(n);
        let share = match (at(1), at(2), at(3), at(4)) {
            (Some(from), Some(until), Some(start), Some(end)) if (from, until) != (start, end) => {
                Ratio::part((from, until), (start, end)).map_err(|e| e.to_string())?
            }
            _ => Ratio::ONE,
        };
        let whole = Cents(row.get(5)).times(i64::from(row.get::<_, i32>(6)));
        let costs = whole.and_then(|whole| share.of(whole)).map_err(|e| e.to_string())?.0;
        let was: i64 = row.get(9);
        if costs != was {
            return Err(format!(
                "a period is billed at its price: {id} costs {costs}, billed {was} ({status})"
            ));
        }
    }
    Ok(())
}
