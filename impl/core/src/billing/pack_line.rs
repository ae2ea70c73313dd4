//! The one line that bills a pack for a period, whatever is in it.
//!
//! What each service gets of it stands in the explanation, so that whoever has the line can divide it again: the parts are
//! by list price, the largest remainder first. See [`super::parts`] for what they are used for.
use super::lines::{computed, last_day};
use super::store::LineRow;
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::packs::price::{self, Priced};
use crate::packs::store::{self, Pack};
use crate::subscriptions::periods;
use crate::subscriptions::store::BilledItemRow;
use chrono_tz::Tz;
use rust_decimal::Decimal;
use scaicontrol_domain::explanation::{Computation, Explanation};
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::period::local_date;
use serde_json::{Value, json};
use uuid::Uuid;

/// The line of a pack's period; none when it costs nothing.
pub(super) async fn lines(
    conn: &mut Conn,
    op: &OpContext,
    item: &BilledItemRow,
    timezone: Tz,
) -> Result<Vec<LineRow>> {
    let missing = || Error::internal("an item of a pack's period that is not there");
    let pack = store::subscription(conn, &item.tenant_id, item.source_id).await?;
    let period = store::period_from(conn, &pack.row, item.period_start).await?.ok_or_else(missing)?;
    let version = store::version(conn, period.pack_id, period.pack_version).await?;
    let priced = price::of_period(conn, &pack, version, period.starts_at).await?;
    // The children's periods are the pack's; each of them says what share it is of a whole one.
    let of_child = store::child_periods(conn, &pack, period.starts_at).await?.pop().ok_or_else(missing)?;
    let computation = Computation::Pack {
        price: priced.rule()?,
        list_prices_cents: priced.list_prices(),
        share: periods::share(&of_child)?,
    };
    let amount = computed(&computation)?;
    if amount == Cents::ZERO {
        return Ok(vec![]);
    }
    let mut line = blank(op, item);
    line.description = store::name(conn, &pack.row).await?;
    (line.unit_price_cents, line.amount_cents) = (Decimal::from(amount.0), amount.0);
    line.period_start = Some(local_date(period.starts_at, timezone).map_err(Error::internal)?);
    line.period_end = of_child.billed_until.map(|end| last_day(end, timezone)).transpose()?;
    let mut json = serde_json::to_value(Explanation { computation, tax: None }).map_err(Error::internal)?;
    json["pack_slug"] = pack.row.pack_slug.clone().into();
    json["pack_version"] = period.pack_version.into();
    json["period_start"] = json!(period.starts_at);
    json["period_end"] = json!(of_child.billed_until);
    json["items"] = items(&pack, &priced, amount)?;
    line.explanation = Some(json);
    Ok(vec![line])
}

/// What each item gets of the amount.
fn items(pack: &Pack, priced: &Priced, amount: Cents) -> Result<Value> {
    let parts = priced.split(amount)?;
    let item = |(item, part): (&price::Item, Cents)| {
        let child = pack.children.iter().find(|child| child.service_id == item.row.service_id);
        json!({
            "service_slug": item.service_slug, "plan_key": item.plan_key, "plan_version": item.plan_version,
            "subscription_id": child.map(|child| child.subscription_id),
            "list_price_cents": item.list_price(), "amount_cents": part,
        })
    };
    Ok(priced.items.iter().zip(parts).map(item).collect())
}

fn blank(op: &OpContext, item: &BilledItemRow) -> LineRow {
    LineRow {
        tenant_id: item.tenant_id.clone(),
        line_item_id: op.id(),
        invoice_id: Uuid::nil(),
        partner_id: item.partner_id.clone(),
        order_index: 0,
        kind: "pack".into(),
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
        // The pack subscription: the line is for none of its children alone.
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
