//! Charges as their service sees them.
use super::store::{self, ChargeRow};
use crate::db::{Conn, take_role};
use crate::error::{Error, Result};
use crate::op::{OpContext, Scope};
use crate::subscriptions::view::parse;
use scaicontrol_types::ChargeResponse;
use std::collections::BTreeMap;

/// One charge.
pub async fn charge(conn: &mut Conn, op: &OpContext, row: ChargeRow) -> Result<ChargeResponse> {
    charges(conn, op, vec![row]).await?.pop().ok_or_else(|| Error::internal("a charge that is lost"))
}

/// Several of one service, each with the number of its invoice when that is issued.
pub async fn charges(conn: &mut Conn, op: &OpContext, rows: Vec<ChargeRow>) -> Result<Vec<ChargeResponse>> {
    let Some(first) = rows.as_slice().first() else { return Ok(vec![]) };
    let slug = store::service_slug(conn, first.service_id).await?;
    take_role(conn, &Scope::Platform).await?;
    let numbers: BTreeMap<_, _> = store::numbers(conn, &rows).await?.into_iter().collect();
    take_role(conn, &op.scope).await?;
    let shown = rows.into_iter().map(|r| {
        let number = r.invoice_id.and_then(|id| numbers.get(&id).cloned());
        Ok(ChargeResponse {
            id: r.charge_id,
            tenant_id: r.tenant_id,
            service_slug: slug.clone(),
            description: r.description,
            quantity: r.quantity.normalize().into(),
            unit_price_cents: r.unit_price_cents.normalize().into(),
            amount_cents: r.amount_cents,
            currency: r.currency,
            tax_rate: r.tax_rate.map(|rate| rate.normalize().into()),
            occurred_at: r.occurred_at,
            external_reference: r.external_reference,
            status: parse(&r.status)?,
            invoice_id: r.invoice_id.filter(|_| number.is_some()),
            invoice_number: number,
            withdrawn_at: r.withdrawn_at,
            created_at: r.created_at,
            updated_at: r.updated_at,
        })
    });
    shown.collect()
}
