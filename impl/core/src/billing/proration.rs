//! The two lines of a plan change, and the one of a cancellation with credit.
//!
//! What is given back is a line of its own, with a negative quantity. It is taxed like the line that it takes back and
//! refers to that line's invoice, which is known when it is issued: see [`super::credit_lines`].
use super::lines::{blank, computed, explanation, last_day, uncomputable};
use super::store::LineRow;
use crate::catalog;
use crate::db::{Conn, take_role};
use crate::error::{Error, Result};
use crate::op::{OpContext, Scope};
use crate::subscriptions::billed::{self, CreditRow};
use crate::subscriptions::periods;
use crate::subscriptions::store::{BilledItemRow, PeriodRow};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use scaicontrol_domain::explanation::Computation;
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::period::local_date;
use scaicontrol_domain::proration::Ratio;
use serde_json::json;

/// The lines of a cut: the credit of what is unused, then the charge of what begins.
pub(super) async fn lines(
    conn: &mut Conn,
    op: &OpContext,
    item: &BilledItemRow,
    timezone: Tz,
) -> Result<Vec<LineRow>> {
    let (tenant_id, at) = (&item.tenant_id, item.period_start);
    let mut lines = vec![];
    if let Some(credit) = billed::credit_at(conn, tenant_id, item.source_id, at).await? {
        lines.extend(credit_line(conn, op, item, &credit, timezone).await?);
    }
    if let Some(begun) = billed::period_from(conn, tenant_id, item.source_id, at).await? {
        lines.extend(charge_line(conn, op, item, &begun, timezone).await?);
    }
    Ok(lines)
}

async fn credit_line(
    conn: &mut Conn,
    op: &OpContext,
    item: &BilledItemRow,
    credit: &CreditRow,
    timezone: Tz,
) -> Result<Option<LineRow>> {
    let cut = billed::period(conn, &item.tenant_id, credit.period_id).await?;
    let price = catalog::plan_version(conn, cut.plan_id, cut.plan_version).await?;
    let computation = Computation::ProrationCredit {
        billed_cents: Cents(credit.billed_cents),
        share: Ratio::new(credit.seconds, credit.of_seconds).map_err(Error::internal)?,
        left_cents: None,
    };
    let computation = match left(conn, op, credit).await? {
        Some(left) => computation.bounded(left).map_err(uncomputable)?,
        None => computation,
    };
    let amount = computed(&computation)?;
    if amount == Cents::ZERO {
        return Ok(None);
    }
    let mut line = blank(op, item, &price);
    line.kind = "proration".into();
    line.description = format!("{} – {}, unused time", price.service_name, price.plan.name);
    (line.quantity, line.unit_price_cents) = (Decimal::NEGATIVE_ONE, Decimal::from(amount.0).abs());
    line.amount_cents = amount.0;
    line.period_start = Some(local_date(credit.at, timezone).map_err(Error::internal)?);
    line.period_end = cut.billed_until.map(|end| last_day(end, timezone)).transpose()?;
    let more = json!({
        "period_start": credit.at, "period_end": cut.billed_until, "credited_item_id": credit.billed_item_id,
    });
    line.explanation = Some(explanation(computation, &price, more)?);
    Ok(Some(line))
}

/// What credit notes have left since the cut of what is given back; none while it is not billed yet.
async fn left(conn: &mut Conn, op: &OpContext, credit: &CreditRow) -> Result<Option<Cents>> {
    let item = billed::newest_revision(conn, &credit.tenant_id, credit.billed_item_id).await?;
    Ok(match item.status.as_str() {
        "due" => None,
        "invoiced" => {
            take_role(conn, &Scope::Platform).await?;
            let net = billed::billed_net(conn, &item).await?;
            take_role(conn, &op.scope).await?;
            Some(Cents(net))
        }
        // Waived.
        _ => Some(Cents::ZERO),
    })
}

async fn charge_line(
    conn: &mut Conn,
    op: &OpContext,
    item: &BilledItemRow,
    begun: &PeriodRow,
    timezone: Tz,
) -> Result<Option<LineRow>> {
    let price = catalog::plan_version(conn, begun.plan_id, begun.plan_version).await?;
    let computation = Computation::ProrationCharge {
        price_cents: periods::whole_price(begun, &price)?,
        share: periods::share(begun)?,
    };
    let amount = computed(&computation)?;
    if amount == Cents::ZERO {
        return Ok(None);
    }
    let mut line = blank(op, item, &price);
    line.kind = "proration".into();
    line.description = format!("{} – {}", price.service_name, price.plan.name);
    line.unit_price_cents = Decimal::from(amount.0);
    line.amount_cents = amount.0;
    line.period_start = Some(local_date(begun.starts_at, timezone).map_err(Error::internal)?);
    line.period_end = begun.billed_until.map(|end| last_day(end, timezone)).transpose()?;
    let more = json!({
        "period_start": begun.starts_at, "period_end": begun.billed_until, "quantity": begun.quantity,
    });
    line.explanation = Some(explanation(computation, &price, more)?);
    Ok(Some(line))
}
