//! Usage that arrives after its segment was billed.
//!
//! Whoever counts usage sees on the segment, under its lock, that it is billed, and leaves a mark (`late_usage`). The next
//! run makes a `correction` item of it, which floats; while that is due, whatever else is late joins it. Its lines are
//! what all usage of the segment costs now, less what was billed of it, metric by metric, by the segment's own tiers;
//! they may be negative, but take back no more than credit notes have left. A segment whose usage was waived is waived for
//! good; of a correction, or of some of the lines, just the amounts are.
use super::lines::{blank, computed, explanation, last_day, priced_segment, uncomputable};
use super::store::LineRow;
use crate::catalog;
use crate::db::schema::{billed_items, late_usage, segments};
use crate::db::statement::statement;
use crate::db::{Conn, take_role};
use crate::error::{Error, Result};
use crate::metering::totals;
use crate::op::{OpContext, Scope};
use crate::settings::Settings;
use crate::subscriptions::store::{BilledItemRow, SegmentRow, insert_item};
use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rust_decimal::Decimal;
use scaicontrol_domain::explanation::Computation;
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::period::{local_date, local_midnight, parse_timezone};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Marks that one transaction takes up; the next run takes the rest.
const MARKS_AT_ONCE: i64 = 1_000;

/// A segment with late usage.
#[derive(Debug, Queryable)]
struct Marked {
    segment_id: Uuid,
    marked_at: DateTime<Utc>,
    partner_id: String,
    subscription_id: Uuid,
    starts_at: DateTime<Utc>,
    currency: String,
    /// Of the partner.
    timezone: String,
}

type MarkedColumns = (SqlUuid, Timestamptz, Text, SqlUuid, Timestamptz, Text, Text);

/// Makes an item of each segment of the tenant with late usage, unless one is due already.
pub(super) async fn of_late_usage(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    tenant_id: &str,
) -> Result<()> {
    // The segments first, in order: whoever counts usage holds them before it leaves a mark.
    let marked: Vec<Marked> = statement::<MarkedColumns>(
        "SELECT l.segment_id, l.marked_at, g.partner_id, g.subscription_id, g.starts_at, s.currency, p.timezone
         FROM late_usage l JOIN segments g USING (tenant_id, segment_id)
         JOIN subscriptions s USING (tenant_id, subscription_id) JOIN partners p ON p.partner_id = g.partner_id
         WHERE l.tenant_id = $1 ORDER BY l.segment_id LIMIT $2 FOR NO KEY UPDATE OF g",
    )
    .bind::<Text, _>(tenant_id)
    .bind::<BigInt, _>(MARKS_AT_ONCE)
    .load(conn)
    .await?;
    if marked.is_empty() {
        return Ok(());
    }
    for segment in &marked {
        add_item(conn, op, settings, tenant_id, segment).await?;
    }
    let ids: Vec<Uuid> = marked.iter().map(|m| m.segment_id).collect();
    use late_usage as t;
    diesel::delete(t::table.filter(t::tenant_id.eq(tenant_id).and(t::segment_id.eq_any(ids))))
        .execute(conn)
        .await?;
    Ok(())
}

async fn add_item(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    tenant_id: &str,
    segment: &Marked,
) -> Result<()> {
    use billed_items as t;
    let items: Vec<(String, String, i32, bool)> = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::source_type.eq("segment")))
        .filter(t::source_id.eq(segment.segment_id))
        .select((t::kind, t::status, t::revision, t::waived))
        .load(conn)
        .await?;
    // What is due bills all usage when its time comes.
    if items.iter().any(|(kind, status, _, waived)| status == "due" || (kind == "usage" && *waived)) {
        return Ok(());
    }
    let last =
        items.iter().filter(|(kind, ..)| kind == "correction").map(|(_, _, revision, _)| *revision).max();
    let timezone = parse_timezone(&segment.timezone).map_err(Error::internal)?;
    let (run_date, midnight) = next_month(segment.marked_at, timezone)?;
    let item = BilledItemRow {
        tenant_id: tenant_id.into(),
        billed_item_id: op.id(),
        partner_id: segment.partner_id.clone(),
        source_type: "segment".into(),
        source_id: segment.segment_id,
        period_start: segment.starts_at,
        kind: "correction".into(),
        revision: last.unwrap_or(0).checked_add(1).ok_or_else(|| Error::internal("too many corrections"))?,
        subscription_id: Some(segment.subscription_id),
        currency: segment.currency.clone(),
        due_at: midnight + settings.usage_grace(),
        run_date,
        own_invoice: false,
        status: "due".into(),
        invoice_id: None,
        waived: false,
        created_at: op.now,
        floats: true,
    };
    insert_item(conn, &item).await
}

/// The 1st of the month after an instant, on the wall, and when it begins.
fn next_month(at: DateTime<Utc>, timezone: Tz) -> Result<(NaiveDate, DateTime<Utc>)> {
    let today = local_date(at, timezone).map_err(Error::internal)?;
    let first = today.with_day(1).and_then(|first| first.checked_add_months(Months::new(1)));
    let first = first.ok_or_else(|| Error::internal("beyond the calendar"))?;
    Ok((first, local_midnight(first, timezone).map_err(Error::internal)?))
}

/// Marks segments as billed, so that usage from now on is late; answers those that were billed before. Locks them until
/// the transaction ends: what was acknowledged is there to be read, and what comes sees the mark. One that is only tried
/// keeps nobody waiting, and marks nothing.
pub(super) async fn close(
    conn: &mut Conn,
    op: &OpContext,
    tenant_id: &str,
    segment_ids: &[Uuid],
    is_tried: bool,
) -> Result<HashSet<Uuid>> {
    if segment_ids.is_empty() {
        return Ok(HashSet::new());
    }
    let before: Vec<(Uuid, bool)> = if is_tried {
        use segments as t;
        t::table
            .filter(t::tenant_id.eq(tenant_id).and(t::segment_id.eq_any(segment_ids)))
            .select((t::segment_id, t::billed_at.is_not_null()))
            .load(conn)
            .await?
    } else {
        statement::<(SqlUuid, Bool)>(
            "WITH held AS (SELECT tenant_id, segment_id, billed_at FROM segments
               WHERE tenant_id = $1 AND segment_id = ANY($2) ORDER BY segment_id FOR NO KEY UPDATE)
             UPDATE segments g SET billed_at = COALESCE(g.billed_at, $3) FROM held h
             WHERE g.tenant_id = h.tenant_id AND g.segment_id = h.segment_id
             RETURNING g.segment_id, h.billed_at IS NOT NULL",
        )
        .bind::<Text, _>(tenant_id)
        .bind::<Array<SqlUuid>, _>(segment_ids)
        .bind::<Timestamptz, _>(op.now)
        .load(conn)
        .await?
    };
    Ok(before.into_iter().filter(|(_, billed)| *billed).map(|(id, _)| id).collect())
}

/// What was billed of a metric of a segment, on documents that stand, or settled without one: waived, or given back by
/// credit notes.
#[derive(Debug, Default)]
struct BilledBefore {
    cents: i64,
    /// The item that billed most of it.
    item_id: Option<Uuid>,
    /// What of its lines was not taken back.
    left: i64,
}

type BilledColumns = (Text, BigInt, Nullable<SqlUuid>, BigInt);

/// By metric. An invoice that was voided and billed again does not count; one that was voided for good does. Needs the
/// platform's sight.
async fn billed_before(
    conn: &mut Conn,
    tenant_id: &str,
    segment_id: Uuid,
) -> Result<HashMap<String, BilledBefore>> {
    let rows: Vec<(String, i64, Option<Uuid>, i64)> = statement::<BilledColumns>(
        "SELECT metric_slug, sum(cents)::bigint,
           (array_agg(billed_item_id ORDER BY cents DESC, order_index) FILTER (WHERE billed_item_id IS NOT NULL))[1], sum(open)::bigint
         FROM (
           SELECT l.metric_slug, l.amount_cents AS cents, l.billed_item_id, l.order_index,
             CASE WHEN i.status = 'void' THEN 0
               WHEN l.amount_cents > 0 THEN GREATEST(l.amount_cents - COALESCE((SELECT sum(c.net_cents) FROM sc_taken_back c
                 WHERE c.tenant_id = l.tenant_id AND c.credited_line_item_id = l.line_item_id), 0), 0)
               WHEN i.number IS NULL THEN l.amount_cents ELSE 0 END AS open
           FROM billed_items b JOIN invoices i USING (tenant_id, invoice_id)
           JOIN invoice_lines l ON l.tenant_id = b.tenant_id AND l.invoice_id = b.invoice_id AND l.billed_item_id = b.billed_item_id
           WHERE b.tenant_id = $1 AND b.source_type = 'segment' AND b.source_id = $2 AND b.status = 'invoiced' AND l.metric_slug IS NOT NULL
             AND NOT (i.status = 'void' AND EXISTS (SELECT 1 FROM billed_items n
               WHERE n.tenant_id = b.tenant_id AND n.source_type = b.source_type AND n.source_id = b.source_id AND n.kind = b.kind
                 AND n.revision > b.revision AND n.due_at = b.due_at AND n.created_at = i.voided_at))
           UNION ALL
           SELECT s.key, s.value::bigint, NULL, 0, 0 FROM billed_items b CROSS JOIN LATERAL jsonb_each_text(b.settled_usage) AS s
           WHERE b.tenant_id = $1 AND b.source_type = 'segment' AND b.source_id = $2 AND b.settled_usage IS NOT NULL) AS billed
         GROUP BY metric_slug",
    )
    .bind::<Text, _>(tenant_id)
    .bind::<SqlUuid, _>(segment_id)
    .load(conn)
    .await?;
    let of = |(slug, cents, item_id, left)| (slug, BilledBefore { cents, item_id, left });
    Ok(rows.into_iter().map(of).collect())
}

/// Whether another item of the segment is going to bill all of its usage, or its usage was waived. Of several corrections
/// that are due the oldest does.
async fn is_settled_elsewhere(conn: &mut Conn, item: &BilledItemRow) -> Result<bool> {
    use billed_items as t;
    let is_usage = t::kind.eq("usage").and(t::status.eq("due").or(t::waived));
    let is_older = t::kind.eq("correction").and(t::status.eq("due")).and(t::revision.lt(item.revision));
    let others = t::table
        .filter(t::tenant_id.eq(&item.tenant_id).and(t::source_type.eq("segment")))
        .filter(t::source_id.eq(item.source_id).and(t::billed_item_id.ne(item.billed_item_id)))
        .filter(is_usage.or(is_older));
    Ok(diesel::select(diesel::dsl::exists(others)).get_result(conn).await?)
}

/// The lines of a correction, or of usage that is billed again: what all of it costs now, less what was billed.
///
/// Errors: as [`super::lines::of_item`].
pub(super) async fn lines(
    conn: &mut Conn,
    op: &OpContext,
    item: &BilledItemRow,
    timezone: Tz,
) -> Result<Vec<LineRow>> {
    if item.kind == "correction" && is_settled_elsewhere(conn, item).await? {
        return Ok(vec![]);
    }
    // Usage, and what was taken back, do not say whose partner they are: the segment does.
    take_role(conn, &Scope::Platform).await?;
    let before = billed_before(conn, &item.tenant_id, item.source_id).await?;
    let counted = totals::segment_usage(conn, &item.tenant_id, &[item.source_id]).await?;
    take_role(conn, &op.scope).await?;
    if item.kind == "usage" && before.is_empty() {
        // Nothing of it stands: it is billed as if for the first time.
        return super::lines::usage(conn, op, item, timezone).await;
    }
    let segment: SegmentRow = segments::table
        .find((&item.tenant_id, item.source_id))
        .select(SegmentRow::as_select())
        .first(conn)
        .await?;
    let price = catalog::plan_version(conn, segment.plan_id, segment.plan_version).await?;
    let mut lines = vec![];
    for (metric_slug, tiers) in &price.tiers {
        let usage = counted.iter().find(|u| u.metric_slug == *metric_slug);
        let none = BilledBefore::default();
        let billed = before.get(metric_slug).unwrap_or(&none);
        let computation = Computation::Correction {
            segment: priced_segment(&segment, metric_slug, tiers, usage)?,
            billed_cents: Cents(billed.cents),
            left_cents: None,
        };
        let computation = computation.bounded(Cents(billed.left)).map_err(uncomputable)?;
        let amount = computed(&computation)?;
        if amount == Cents::ZERO {
            continue;
        }
        let name = usage.map_or(metric_slug.as_str(), |u| u.metric_name.as_str());
        let mut line = blank(op, item, &price);
        line.kind = "correction".into();
        line.description = format!("{} – {name}, correction", price.service_name);
        let is_credit = amount < Cents::ZERO;
        line.quantity = if is_credit { Decimal::NEGATIVE_ONE } else { Decimal::ONE };
        line.unit_price_cents = Decimal::from(amount.0).abs();
        line.amount_cents = amount.0;
        line.metric_slug = Some(metric_slug.clone());
        line.tax_date = Some(last_day(segment.ends_at, timezone)?);
        line.period_start = Some(local_date(segment.starts_at, timezone).map_err(Error::internal)?);
        line.period_end = line.tax_date;
        let mut more = json!({"segment_id": segment.segment_id});
        if is_credit {
            // What it takes back, which is taxed and referred to as that was.
            more["credited_item_id"] = json!(billed.item_id);
        }
        line.explanation = Some(explanation(computation, &price, more)?);
        lines.push(line);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_wait_for_the_first_of_the_next_month_on_the_wall() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        let due = |time: &str, timezone: Tz| {
            let (date, midnight) = next_month(at(time), timezone).expect("a date");
            (date.to_string(), midnight)
        };
        let amsterdam: Tz = chrono_tz::Europe::Amsterdam;
        assert_eq!(due("2026-02-28T12:00:00Z", amsterdam), ("2026-03-01".into(), at("2026-02-28T23:00:00Z")));
        // On the wall it is March already.
        assert_eq!(due("2026-02-28T23:30:00Z", amsterdam), ("2026-04-01".into(), at("2026-03-31T22:00:00Z")));
        let kiritimati = chrono_tz::Pacific::Kiritimati;
        assert_eq!(
            due("2026-12-31T09:59:59Z", kiritimati),
            ("2027-01-01".into(), at("2026-12-31T10:00:00Z"))
        );
        assert_eq!(
            due("2026-12-31T10:00:00Z", kiritimati),
            ("2027-02-01".into(), at("2027-01-31T10:00:00Z"))
        );
    }
}
