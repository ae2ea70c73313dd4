//! One-off charges that services put on the invoices of their tenants.
//!
//! A charge is billed by its row among what is due (`billed_items`), which goes along with the tenant's next invoice. The
//! database keeps the charge's state what that row says, so whatever happens to the row (a run takes it, a draft drops it,
//! an invoice is voided and billed anew) happens to the charge in the same transaction.
//!
//! A service sees its own charges, and of its tenants what [`tenants`] shows.
pub mod store;
pub mod tenants;
mod view;

use crate::app::Control;
use crate::audit;
use crate::billing::drafts::AMOUNT_MAX_CENTS;
use crate::billing::tax::{self, Parties};
use crate::checks::Checks;
use crate::db::page::PageRequest;
use crate::db::{Conn, take_role};
use crate::error::{Error, Result};
use crate::op::{OpContext, Scope};
use crate::settings::{self, Settings};
use chrono::{DateTime, Datelike, Months, NaiveDate, SubsecRound, TimeDelta, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use scaicontrol_domain::invoice::line_amount;
use scaicontrol_domain::money::Currency;
use scaicontrol_domain::period::{local_date, local_midnight, parse_timezone};
use scaicontrol_types as api;
use store::{ChargeRow, Owner};
use uuid::Uuid;

/// How far a service's clock may be ahead of ours.
const AHEAD_MAX: TimeDelta = TimeDelta::hours(1);
/// How long ago what is charged may have been delivered.
const AGE_MAX: TimeDelta = TimeDelta::days(366);

/// The service that calls.
fn service_of(op: &OpContext) -> Result<Uuid> {
    match op.scope {
        Scope::Service(service_id) => Ok(service_id),
        _ => Err(Error::NotFound("service")),
    }
}

/// Puts a charge on the tenant's next invoice. The same charge under the same reference is the stored one.
///
/// Errors: 400 naming the field that breaks a rule; 404 for a tenant out of the service's reach; 409 when the reference
/// stands for another charge, or the tenant is deactivated.
pub async fn create(
    op: &OpContext,
    app: &Control,
    body: &api::ChargeCreateRequest,
) -> Result<api::ChargeResponse> {
    let service_id = service_of(op)?;
    let amount_cents = check(op, body)?;
    app.db
        .once(op, "service_charge_create", async |conn| {
            let sub = store::reach(conn, service_id, &body.tenant_id, op.now).await?;
            let sub = sub.ok_or(Error::NotFound("tenant"))?;
            let row = new_row(op, service_id, sub.partner_id, body, amount_cents);
            if !store::take_reference(conn, &row).await? {
                let stored = store::by_reference(conn, service_id, &body.external_reference).await?;
                if !is_same(&stored, &row) {
                    return Err(Error::conflict("the external_reference stands for another charge"));
                }
                return view::charge(conn, op, stored).await;
            }
            let owner = owner(conn, op, &row).await?;
            if !owner.is_active {
                return Err(Error::conflict("the tenant is deactivated"));
            }
            let settings = settings::load(conn).await?;
            let timezone = parse_timezone(&owner.timezone).map_err(Error::internal)?;
            check_limits(conn, op, &settings, &row, timezone).await?;
            check_rate(conn, op, &settings, &row, timezone).await?;
            store::insert(conn, &row).await?;
            let (due_at, run_date) = due(op.now, timezone, &settings)?;
            store::make_due(conn, &row, op.id(), due_at, run_date).await?;
            audit::record(conn, op, audited(&row), None::<&()>, Some(&row)).await?;
            view::charge(conn, op, row).await
        })
        .await
}

/// Checks what can be said of a charge by itself; answers its amount.
fn check(op: &OpContext, body: &api::ChargeCreateRequest) -> Result<i64> {
    let (quantity, price): (Decimal, Decimal) = (body.quantity.into(), body.unit_price_cents.into());
    let mut checks = Checks::default();
    checks.text("description", &body.description);
    checks.text("external_reference", &body.external_reference);
    checks.require(Decimal::ZERO < quantity, "quantity", "must be above 0");
    checks.require(Decimal::ZERO <= price, "unit_price_cents", "must be at least 0");
    if let Err(e) = Currency::parse(&body.currency) {
        checks.refuse("currency", e.to_string());
    }
    let rate = body.tax_rate.map(Decimal::from);
    let is_rate =
        |r: Decimal| (Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(&r) && r.normalize().scale() <= 3;
    let message = "must be a percentage from 0 to 100 with at most 3 decimals";
    checks.require(rate.is_none_or(is_rate), "tax_rate", message);
    let ahead = "is more than an hour ahead";
    checks.require(body.occurred_at <= op.now + AHEAD_MAX, "occurred_at", ahead);
    let back = format!("is more than {} days ago", AGE_MAX.num_days());
    checks.require(op.now - AGE_MAX <= body.occurred_at, "occurred_at", &back);
    checks.finish()?;
    let amount =
        line_amount(quantity, price, Decimal::ONE).ok().filter(|amount| amount.0 <= AMOUNT_MAX_CENTS);
    amount.map(|a| a.0).ok_or_else(|| Error::field("quantity", "makes an amount that is too large"))
}

fn new_row(
    op: &OpContext,
    service_id: Uuid,
    partner_id: String,
    body: &api::ChargeCreateRequest,
    amount_cents: i64,
) -> ChargeRow {
    ChargeRow {
        tenant_id: body.tenant_id.clone(),
        charge_id: op.id(),
        partner_id,
        service_id,
        description: body.description.trim().to_owned(),
        quantity: body.quantity.into(),
        unit_price_cents: body.unit_price_cents.into(),
        amount_cents,
        currency: body.currency.clone(),
        tax_rate: body.tax_rate.map(Into::into),
        // As exact as it is stored.
        occurred_at: body.occurred_at.trunc_subsecs(6),
        external_reference: body.external_reference.clone(),
        status: "pending".into(),
        invoice_id: None,
        withdrawn_at: None,
        created_at: op.now,
        updated_at: op.now,
    }
}

/// Whether a service asked for the same once more.
fn is_same(stored: &ChargeRow, asked: &ChargeRow) -> bool {
    let what = |row: &ChargeRow| {
        let numbers = (row.quantity, row.unit_price_cents, row.tax_rate, row.occurred_at);
        (row.tenant_id.clone(), row.description.clone(), row.currency.clone(), numbers)
    };
    what(stored) == what(asked)
}

/// Whom the charge is for and who bills it. A service sees neither; what is read is of the tenant it reaches.
async fn owner(conn: &mut Conn, op: &OpContext, row: &ChargeRow) -> Result<Owner> {
    take_role(conn, &Scope::Platform).await?;
    let owner = store::owner(conn, &row.tenant_id, &row.partner_id).await?;
    take_role(conn, &op.scope).await?;
    Ok(owner)
}

/// Refuses what is beyond the limit for a charge, and for all charges of a service to a tenant in one day of its partner.
/// Charges of one service to one tenant wait for each other, so that two of them cannot both be the last that fits.
async fn check_limits(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    row: &ChargeRow,
    timezone: Tz,
) -> Result<()> {
    let max = settings.max_charge_cents;
    let refuse = |of: &str| {
        let currency = &row.currency;
        Err(Error::field("unit_price_cents", format!("makes {of} more than {max} minor units of {currency}")))
    };
    if max == 0 {
        return Err(Error::field("unit_price_cents", "services may not charge through the platform"));
    }
    if max < row.amount_cents {
        return refuse("the charge");
    }
    let today = local_date(op.now, timezone).map_err(Error::internal)?;
    let since = local_midnight(today, timezone).map_err(Error::internal)?;
    store::lock_day(conn, row).await?;
    let charged = store::charged_since(conn, row, since).await?;
    match charged.checked_add(row.amount_cents) {
        Some(sum) if sum <= max => Ok(()),
        _ => refuse("the tenant's charges of today"),
    }
}

/// Refuses a rate that the country which taxes the sale does not have. While the tenant cannot be invoiced, nobody knows
/// which country that is; then it is asked when the invoice is finalized.
async fn check_rate(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    row: &ChargeRow,
    timezone: Tz,
) -> Result<()> {
    let Some(rate) = row.tax_rate else { return Ok(()) };
    take_role(conn, &Scope::Platform).await?;
    let parties = match Parties::load(conn, &row.tenant_id, &row.partner_id).await {
        Err(Error::BadRequest { .. }) => None,
        other => Some(other?),
    };
    take_role(conn, &op.scope).await?;
    let Some(parties) = parties else { return Ok(()) };
    let day = local_date(row.occurred_at, timezone).map_err(Error::internal)?;
    tax::check_rate(&parties, settings, day, rate)
}

/// When a charge is billed if nothing else is before: on the 1st of the next month, after the grace of usage.
fn due(now: DateTime<Utc>, timezone: Tz, settings: &Settings) -> Result<(DateTime<Utc>, NaiveDate)> {
    let today = local_date(now, timezone).map_err(Error::internal)?;
    let first = today.with_day(1).and_then(|day| day.checked_add_months(Months::new(1)));
    let first = first.ok_or_else(|| Error::internal("a month beyond the calendar"))?;
    let midnight = local_midnight(first, timezone).map_err(Error::internal)?;
    Ok((midnight + settings.usage_grace(), first))
}

/// One charge of the calling service.
///
/// Errors: 404.
pub async fn get(op: &OpContext, app: &Control, charge_id: Uuid) -> Result<api::ChargeResponse> {
    let service_id = service_of(op)?;
    app.db
        .read(op, async |conn| {
            let row = store::get(conn, service_id, charge_id, op.now).await?;
            view::charge(conn, op, row.ok_or(Error::NotFound("charge"))?).await
        })
        .await
}

/// A page of the charges of the calling service, the newest first.
pub async fn list(
    op: &OpContext,
    app: &Control,
    page: &PageRequest,
    filter: &store::Filter,
) -> Result<(Vec<api::ChargeResponse>, api::Pagination)> {
    let service_id = service_of(op)?;
    app.db
        .read(op, async |conn| {
            let (rows, count) = store::list(conn, service_id, filter, page, op.now).await?;
            let (rows, pagination) = page.finish(rows, count, |row| row.charge_id.to_string());
            Ok((view::charges(conn, op, rows).await?, pagination))
        })
        .await
}

/// Takes back a charge that nobody has billed. Doing it again changes nothing.
///
/// Errors: 404; 409 once it is on an invoice.
pub async fn withdraw(op: &OpContext, app: &Control, charge_id: Uuid) -> Result<()> {
    let service_id = service_of(op)?;
    app.db
        .tx(op, "service_charge_withdraw", async |conn| {
            let find = async |conn: &mut Conn| {
                store::get(conn, service_id, charge_id, op.now).await?.ok_or(Error::NotFound("charge"))
            };
            let before = find(conn).await?;
            if before.status == "withdrawn" {
                return Ok(());
            }
            // Its row among what is due is taken first, as a billing run does: whoever comes second waits there.
            if !store::withdraw_due(conn, &before).await? {
                return match find(conn).await?.status.as_str() {
                    "withdrawn" => Ok(()),
                    _ => Err(Error::conflict("the charge is on an invoice: a credit note gives it back, or dropping its line while that is a draft")),
                };
            }
            let mut after = before.clone();
            (after.status, after.withdrawn_at) = ("withdrawn".into(), Some(op.now));
            after.updated_at = op.now;
            store::set_withdrawn(conn, &after).await?;
            audit::record(conn, op, audited(&before), Some(&before), Some(&after)).await
        })
        .await
}

fn audited(row: &ChargeRow) -> audit::Entry<'_> {
    audit::Entry {
        object_type: "service_charge",
        object_id: row.charge_id.to_string(),
        tenant_id: Some(&row.tenant_id),
        partner_id: Some(&row.partner_id),
        reason: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_else_takes_along_is_due_on_the_first() {
        let settings = Settings::default();
        let at = |now: &str| {
            due(now.parse().expect("a time"), chrono_tz::Europe::Amsterdam, &settings)
                .map(|(at, day)| (at.to_rfc3339(), day.to_string()))
                .expect("a day")
        };
        let march = ("2026-03-01T00:00:00+00:00".to_owned(), "2026-03-01".to_owned());
        assert_eq!(at("2026-01-31T23:30:00Z"), march, "it is February there already");
        assert_eq!(at("2026-02-28T22:59:59Z"), march);
        assert_eq!(at("2026-12-15T09:00:00Z").1, "2027-01-01");
        assert_eq!(at("2026-03-29T09:00:00Z").0, "2026-03-31T23:00:00+00:00", "in summer time");
    }
}
