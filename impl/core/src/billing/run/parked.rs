//! Accounts that are left out because their billing would run away: written down, told once, and tried again each day.
use super::issue::home_of;
use crate::db::Conn;
use crate::db::schema::billing_parked;
use crate::error::Result;
use crate::notifications::{self, Notice, Severity};
use crate::op::OpContext;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_types::{BillingParkReason, BillingRunParked};
use serde_json::json;

/// How long until the worker looks again. A run that is asked for by hand looks at once.
const PAUSE: TimeDelta = TimeDelta::days(1);

/// An account: what a tenant owes a partner in one currency.
pub(crate) type Parked = BillingRunParked;

/// A row of `billing_parked`.
#[derive(Clone, Debug, Queryable)]
pub(super) struct ParkedRow {
    partner_id: String,
    currency: String,
    reason: String,
    /// When it is tried again.
    try_at: DateTime<Utc>,
}

impl ParkedRow {
    pub(super) fn is_of(&self, partner_id: &str, currency: &str) -> bool {
        (self.partner_id.as_str(), self.currency.as_str()) == (partner_id, currency)
    }

    /// Whether a subscription of it is too far behind: then nothing of it is billed, until that is carried on.
    pub(super) fn is_behind(&self) -> bool {
        self.reason == BillingParkReason::TooManyPeriods.to_string()
    }

    /// Whether it is left alone at `now`.
    pub(super) fn rests(&self, now: DateTime<Utc>) -> bool {
        now < self.try_at
    }
}

/// The parked accounts of a tenant.
pub(super) async fn of(conn: &mut Conn, tenant_id: &str) -> Result<Vec<ParkedRow>> {
    use billing_parked as t;
    let parked = t::table.filter(t::tenant_id.eq(tenant_id)).select((
        t::partner_id,
        t::currency,
        t::reason,
        t::try_at,
    ));
    Ok(parked.load(conn).await?)
}

/// Writes down that accounts are parked, and tells the tenant of those that were not before.
pub(super) async fn note(conn: &mut Conn, op: &OpContext, parked: &[Parked], is_tried: bool) -> Result<()> {
    use billing_parked as t;
    for account in parked.iter().filter(|_| !is_tried) {
        let key = (&account.tenant_id, &account.partner_id, &account.currency);
        let try_at = op.now + PAUSE;
        let reason = account.reason.to_string();
        let known = diesel::update(t::table.find(key))
            .set((t::try_at.eq(try_at), t::reason.eq(&reason), t::message.eq(&account.message)))
            .execute(conn)
            .await?;
        if 0 < known {
            continue;
        }
        diesel::insert_into(t::table)
            .values((
                t::tenant_id.eq(&account.tenant_id),
                t::partner_id.eq(&account.partner_id),
                t::currency.eq(&account.currency),
                t::reason.eq(&reason),
                t::message.eq(&account.message),
                t::try_at.eq(try_at),
                t::created_at.eq(op.now),
            ))
            .execute(conn)
            .await?;
        tell(conn, op, account).await?;
    }
    Ok(())
}

/// Tells the tenant that it is not billed, and the people of its partner why.
async fn tell(conn: &mut Conn, op: &OpContext, account: &Parked) -> Result<()> {
    let notice = |tenant_id, message, parameters| Notice {
        tenant_id,
        partner_id: &account.partner_id,
        user_id: None,
        category: "billing",
        severity: Severity::Critical,
        message,
        parameters,
        link: None,
    };
    let parameters = json!({"currency": account.currency, "reason": account.reason});
    notifications::tell(conn, op, notice(&account.tenant_id, "billing_parked", parameters)).await?;
    let Some(home) = home_of(conn, &account.partner_id).await? else { return Ok(()) };
    let parameters = json!({
        "tenant_id": account.tenant_id, "currency": account.currency, "reason": account.reason, "message": account.message,
    });
    notifications::tell(conn, op, notice(&home, "customer_parked", parameters)).await
}

/// The account is as it should be again.
pub(super) async fn forget(conn: &mut Conn, tenant_id: &str, account: &ParkedRow) -> Result<()> {
    use billing_parked as t;
    let key = (tenant_id, &account.partner_id, &account.currency);
    diesel::delete(t::table.find(key)).execute(conn).await?;
    Ok(())
}
