//! The lines that a due item becomes, each with what it was computed from.
//!
//! The explanation of a line is enough to compute its amount again, by somebody who has nothing but the line.
use super::store::LineRow;
use crate::catalog::{self, PlanPrice};
use crate::charges::store::ChargeRow;
use crate::db::schema::{segments, service_charges, services};
use crate::db::{Conn, take_role};
use crate::error::{Error, Result};
use crate::metering::totals::{self, SegmentUsage};
use crate::op::{OpContext, Scope};
use crate::subscriptions::store::{BilledItemRow, SegmentRow};
use crate::subscriptions::{billed, periods};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rust_decimal::Decimal;
use scaicontrol_domain::explanation::{Computation, EventRange, Explanation, RecomputeError, Segment};
use scaicontrol_domain::money::{Cents, MoneyError};
use scaicontrol_domain::period::local_date;
use scaicontrol_domain::proration::Ratio;
use scaicontrol_domain::tiers::{PriceError, PricedKind, PricedLine, Tier};
use scaicontrol_domain::usage::Aggregation;
use serde_json::json;
use uuid::Uuid;

/// The lines of an item, in the order in which they stand on the invoice; none when it costs nothing.
///
/// Errors: 400 when an amount does not fit.
pub async fn of_item(
    conn: &mut Conn,
    op: &OpContext,
    item: &BilledItemRow,
    timezone: Tz,
) -> Result<Vec<LineRow>> {
    match (item.source_type.as_str(), item.kind.as_str()) {
        ("subscription", "base") => base(conn, op, item, timezone).await,
        ("subscription", "proration") => super::proration::lines(conn, op, item, timezone).await,
        ("pack_subscription", "pack") => super::pack_line::lines(conn, op, item, timezone).await,
        ("segment", "usage") => usage(conn, op, item, timezone).await,
        ("segment", "correction") => super::corrections::lines(conn, op, item, timezone).await,
        ("charge", "charge") => charge(conn, op, item, timezone).await,
        (source, kind) => Err(Error::internal(format!("nothing bills {kind} of a {source}"))),
    }
}

/// The base price of a period, in advance: price × quantity, or the share of it that the period has of a whole one.
async fn base(conn: &mut Conn, op: &OpContext, item: &BilledItemRow, timezone: Tz) -> Result<Vec<LineRow>> {
    let period = billed::period_from(conn, &item.tenant_id, item.source_id, item.period_start).await?;
    let period = period.ok_or_else(|| Error::internal("an item of a period that is not there"))?;
    let price = catalog::plan_version(conn, period.plan_id, period.plan_version).await?;
    let share = periods::share(&period)?;
    let computation = Computation::Base {
        price_cents: Cents(price.base_price_cents),
        quantity: period.quantity.into(),
        share,
    };
    let amount = computed(&computation)?;
    if amount == Cents::ZERO {
        return Ok(vec![]);
    }
    let mut line = blank(op, item, &price);
    line.kind = "base".into();
    line.description = format!("{} – {}", price.service_name, price.plan.name);
    (line.quantity, line.unit_price_cents) = if share == Ratio::ONE {
        (Decimal::from(period.quantity), Decimal::from(price.base_price_cents))
    } else {
        (Decimal::ONE, Decimal::from(amount.0))
    };
    line.amount_cents = amount.0;
    line.period_start = Some(local_date(period.starts_at, timezone).map_err(Error::internal)?);
    line.period_end = period.billed_until.map(|end| last_day(end, timezone)).transpose()?;
    let more = json!({"period_start": period.starts_at, "period_end": period.billed_until});
    line.explanation = Some(explanation(computation, &price, more)?);
    Ok(vec![line])
}

/// The usage of a closed segment, in arrears, metric by metric.
pub(super) async fn usage(
    conn: &mut Conn,
    op: &OpContext,
    item: &BilledItemRow,
    timezone: Tz,
) -> Result<Vec<LineRow>> {
    use segments as t;
    let segment: SegmentRow =
        t::table.find((&item.tenant_id, item.source_id)).select(SegmentRow::as_select()).first(conn).await?;
    let price = catalog::plan_version(conn, segment.plan_id, segment.plan_version).await?;
    // Usage does not say whose partner it is; the segment does, and it was found with the caller's own sight.
    take_role(conn, &Scope::Platform).await?;
    let counted = totals::segment_usage(conn, &item.tenant_id, &[segment.segment_id]).await?;
    take_role(conn, &op.scope).await?;
    let mut lines = vec![];
    for (metric_slug, tiers) in &price.tiers {
        let usage = counted.iter().find(|u| u.metric_slug == *metric_slug);
        let priced = priced_segment(&segment, metric_slug, tiers, usage)?;
        for (part, computation) in priced.explained_lines().map_err(|e| uncomputable(e.into()))? {
            let mut line = blank(op, item, &price);
            line.kind = if part.kind == PricedKind::Minimum { "minimum" } else { "usage" }.into();
            line.description = describe(&price, metric_slug, usage, tiers, &part);
            (line.quantity, line.unit_price_cents, line.unit_divisor) =
                (part.quantity, part.unit_price_cents, part.unit_divisor);
            (line.unit_label, line.amount_cents) = (part.unit_label.clone(), part.amount_cents);
            line.metric_slug = Some(metric_slug.clone());
            line.tax_date = Some(last_day(segment.ends_at, timezone)?);
            line.period_start = Some(local_date(segment.starts_at, timezone).map_err(Error::internal)?);
            line.period_end = line.tax_date;
            let more =
                json!({"segment_id": segment.segment_id, "unit_divisor": part.unit_divisor.normalize()});
            line.explanation = Some(explanation(computation, &price, more)?);
            lines.push(line);
        }
    }
    Ok(lines)
}

/// A service's one-off charge, as the service priced it.
async fn charge(conn: &mut Conn, op: &OpContext, item: &BilledItemRow, timezone: Tz) -> Result<Vec<LineRow>> {
    let charge: ChargeRow = service_charges::table
        .find((&item.tenant_id, item.source_id))
        .select(ChargeRow::as_select())
        .first(conn)
        .await?;
    let slug = services::table.find(charge.service_id).select(services::slug).first(conn).await?;
    let computation = Computation::Priced {
        quantity: charge.quantity.normalize(),
        unit_price_cents: charge.unit_price_cents.normalize(),
        unit_divisor: Decimal::ONE,
    };
    let mut json = serde_json::to_value(Explanation { computation, tax: None }).map_err(Error::internal)?;
    json["charge_id"] = json!(charge.charge_id);
    json["external_reference"] = json!(charge.external_reference);
    json["occurred_at"] = json!(charge.occurred_at);
    let line = LineRow {
        kind: "charge".into(),
        description: charge.description,
        quantity: charge.quantity,
        unit_price_cents: charge.unit_price_cents,
        amount_cents: charge.amount_cents,
        requested_tax_rate: charge.tax_rate,
        tax_rate: charge.tax_rate,
        tax_date: Some(local_date(charge.occurred_at, timezone).map_err(Error::internal)?),
        service_id: Some(charge.service_id),
        service_slug: Some(slug),
        explanation: Some(json),
        ..empty(op, item)
    };
    Ok(if line.amount_cents == 0 { vec![] } else { vec![line] })
}

/// The usage of one metric in a segment, with its prices: what the domain computes lines from.
pub fn priced_segment(
    segment: &SegmentRow,
    metric_slug: &str,
    tiers: &[Tier],
    usage: Option<&SegmentUsage>,
) -> Result<Segment> {
    let whole = segment.month_ends_at - segment.month_starts_at;
    let share = Ratio::new((segment.ends_at - segment.starts_at).num_seconds(), whole.num_seconds());
    Ok(Segment {
        metric_slug: metric_slug.into(),
        aggregation: usage
            .map_or(Ok(Aggregation::Sum), |u| u.aggregation.to_string().parse())
            .map_err(Error::internal)?,
        start: segment.starts_at,
        end: segment.ends_at,
        share: share.map_err(Error::internal)?,
        quantity: usage.map_or(Decimal::ZERO, |u| u.value),
        events: usage.and_then(|u| {
            let (first_occurred_at, last_occurred_at) = (u.first_event_at?, u.newest_event_at?);
            Some(EventRange { first_occurred_at, last_occurred_at, count: u.events })
        }),
        tiers: tiers.to_vec(),
    })
}

/// The amount of a line.
pub(super) fn computed(computation: &Computation) -> Result<Cents> {
    computation.amount().map_err(uncomputable)
}

/// An amount that does not fit comes of what was reported or priced, and is for somebody to look at; all else is a fault of
/// the server.
pub(super) fn uncomputable(error: RecomputeError) -> Error {
    match error {
        RecomputeError::Money(MoneyError::Overflow)
        | RecomputeError::Price(PriceError::Money(MoneyError::Overflow)) => {
            Error::field("line_items", "make an amount that is too large")
        }
        other => Error::internal(other),
    }
}

/// What is stored with a line: the computation that makes its amount, and where its prices come from.
pub(super) fn explanation(
    computation: Computation,
    price: &PlanPrice,
    more: serde_json::Value,
) -> Result<serde_json::Value> {
    let mut json = serde_json::to_value(Explanation { computation, tax: None }).map_err(Error::internal)?;
    (json["plan_key"], json["plan_version"]) = (price.plan_key().into(), price.version.into());
    for (key, value) in more.as_object().into_iter().flatten() {
        json[key] = value.clone();
    }
    Ok(json)
}

fn describe(
    price: &PlanPrice,
    metric_slug: &str,
    usage: Option<&SegmentUsage>,
    tiers: &[Tier],
    part: &PricedLine,
) -> String {
    let metric = usage.map_or(metric_slug, |u| u.metric_name.as_str());
    let name = format!("{} – {metric}", price.service_name);
    let tier = part.tier_index.and_then(|i| tiers.get(i)).filter(|_| 1 < tiers.len());
    let range = tier.map(|t| match t.tier_end {
        Some(end) => format!(", {} to {}", t.tier_start.normalize(), end.normalize()),
        None => format!(", above {}", t.tier_start.normalize()),
    });
    match part.kind {
        PricedKind::Usage => format!("{name}{}", range.unwrap_or_default()),
        PricedKind::FlatFee => format!("{name}{}, flat fee", range.unwrap_or_default()),
        PricedKind::Minimum => format!("{name}, minimum"),
    }
}

pub(super) fn blank(op: &OpContext, item: &BilledItemRow, price: &PlanPrice) -> LineRow {
    LineRow {
        service_id: Some(price.plan.service_id),
        service_slug: Some(price.service_slug.clone()),
        plan_key: Some(price.plan_key()),
        ..empty(op, item)
    }
}

/// A line of an item, without what it is for.
fn empty(op: &OpContext, item: &BilledItemRow) -> LineRow {
    LineRow {
        tenant_id: item.tenant_id.clone(),
        line_item_id: op.id(),
        invoice_id: Uuid::nil(),
        partner_id: item.partner_id.clone(),
        order_index: 0,
        kind: String::new(),
        description: String::new(),
        quantity: Decimal::ONE,
        unit_label: None,
        unit_price_cents: Decimal::ZERO,
        unit_divisor: Decimal::ONE,
        amount_cents: 0,
        requested_tax_rate: None,
        requested_tax_category: None,
        tax_rate: None,
        tax_category: None,
        tax_cents: 0,
        tax_date: None,
        period_start: None,
        period_end: None,
        subscription_id: item.subscription_id,
        service_id: None,
        service_slug: None,
        plan_key: None,
        metric_slug: None,
        billed_item_id: Some(item.billed_item_id),
        explanation: None,
        platform_cost_cents: 0,
    }
}

/// The last local day before an exclusive end.
pub fn last_day(end: DateTime<Utc>, timezone: Tz) -> Result<NaiveDate> {
    local_date(end - TimeDelta::microseconds(1), timezone).map_err(Error::internal)
}
