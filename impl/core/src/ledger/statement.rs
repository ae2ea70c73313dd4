//! A partner's statement: what it billed, what the platform charges it for the same, and what is left.
//!
//! It is added up from the ledger alone. Which documents count is a matter of the date they carry; what money came in is a
//! matter of when it did, in the partner's days.
use crate::app::Control;
use crate::checks::Checks;
use crate::db::Conn;
use crate::db::schema::partners;
use crate::db::statement::statement;
use crate::error::{Error, Result};
use crate::op::OpContext;
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use rust_decimal::{Decimal, RoundingStrategy};
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::period::{local_midnight, parse_timezone};
use scaicontrol_types as api;
use std::collections::BTreeMap;

/// Days that a statement covers at most, beside the first.
const DAYS_MAX: i64 = 366;

/// The statement of the days from `from` to `to`, both included.
///
/// Errors: 400 when the days are not in order, or too many; 404 for an unknown partner, or another one than the caller's.
pub async fn get(
    op: &OpContext,
    app: &Control,
    partner_id: &str,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<api::PartnerStatementResponse> {
    check(from, to)?;
    app.db
        .read(op, async |conn| {
            let timezone: Option<String> =
                partners::table.find(partner_id).select(partners::timezone).first(conn).await.optional()?;
            let timezone = timezone.ok_or(Error::NotFound("partner"))?;
            let zone = parse_timezone(&timezone).map_err(Error::internal)?;
            let begin = local_midnight(from, zone).map_err(Error::internal)?;
            let end = local_midnight(to + TimeDelta::days(1), zone).map_err(Error::internal)?;
            let lines = billed(conn, partner_id, from, to).await?;
            let owed = owed(conn, partner_id, begin, end).await?;
            Ok(api::PartnerStatementResponse {
                partner_id: partner_id.to_owned(),
                from,
                to,
                timezone,
                generated_at: op.now,
                totals: totals(&lines, &owed)?,
                lines: lines.into_iter().map(line).collect::<Result<_>>()?,
            })
        })
        .await
}

fn check(from: NaiveDate, to: NaiveDate) -> Result<()> {
    let is_plausible = |date: NaiveDate| (1900..=9999).contains(&date.year());
    let mut checks = Checks::default();
    checks.require(is_plausible(from), "from", "must be a date from 1900 to 9999");
    checks.require(is_plausible(to), "to", "must be a date from 1900 to 9999");
    checks.require(from <= to, "to", "is before from");
    let days = to.signed_duration_since(from).num_days();
    checks.require(days <= DAYS_MAX, "to", &format!("is more than {DAYS_MAX} days after from"));
    checks.finish()
}

/// What one service brought in one currency.
#[derive(Debug, Queryable)]
struct Billed {
    service_slug: Option<String>,
    service_name: Option<String>,
    currency: String,
    retail_cents: i64,
    platform_cost_cents: i64,
}

async fn billed(conn: &mut Conn, partner_id: &str, from: NaiveDate, to: NaiveDate) -> Result<Vec<Billed>> {
    type Columns = (Nullable<Text>, Nullable<Text>, Text, BigInt, BigInt);
    // Revenue is a credit, cost a debit; the service is the second part of the account's code.
    Ok(statement::<Columns>(
        "SELECT b.service, v.name, b.currency, b.retail, b.cost FROM (
           SELECT NULLIF(split_part(e.account, ':', 2), '') AS service, e.currency,
             COALESCE(sum(-e.amount_cents) FILTER (WHERE split_part(e.account, ':', 1) = 'revenue'), 0)::bigint AS retail,
             COALESCE(sum(e.amount_cents) FILTER (WHERE split_part(e.account, ':', 1) = 'partner_cost'), 0)::bigint AS cost
           FROM invoices i JOIN journals j ON j.tenant_id = i.tenant_id AND j.invoice_id = i.invoice_id AND j.kind IN ('invoice', 'credit_note')
           JOIN ledger_entries e ON e.tenant_id = j.tenant_id AND e.journal_id = j.journal_id
           WHERE i.partner_id = $1 AND i.number IS NOT NULL AND i.issue_date BETWEEN $2 AND $3
             AND split_part(e.account, ':', 1) IN ('revenue', 'partner_cost')
           GROUP BY 1, 2
         ) b LEFT JOIN services v ON v.slug = b.service ORDER BY b.service NULLS LAST, b.currency",
    )
    .bind::<Text, _>(partner_id)
    .bind::<Date, _>(from)
    .bind::<Date, _>(to)
    .load(conn)
    .await?)
}

/// What the platform took in for the partner, and what it owes it, in one currency.
#[derive(Debug, Queryable)]
struct Owed {
    currency: String,
    collected_cents: i64,
    payable_cents: i64,
}

/// Collected within the days, and owed at their end: everything collected until then less everything charged until then.
async fn owed(
    conn: &mut Conn,
    partner_id: &str,
    begin: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Result<Vec<Owed>> {
    Ok(statement::<(Text, BigInt, BigInt)>(
        "SELECT currency, sum(collected)::bigint, sum(payable)::bigint FROM (
           SELECT currency, amount_cents AS payable, CASE WHEN occurred_at >= $1 THEN amount_cents ELSE 0 END AS collected
           FROM ledger_entries WHERE partner_id = $2 AND account = 'partner_payable' AND occurred_at < $3
           UNION ALL
           SELECT currency, -amount_cents, 0 FROM ledger_entries
           WHERE partner_id = $4 AND (account = 'partner_cost' OR account LIKE 'partner\\_cost:%') AND occurred_at < $5
         ) e GROUP BY currency ORDER BY currency",
    )
    .bind::<Timestamptz, _>(begin)
    .bind::<Text, _>(partner_id)
    .bind::<Timestamptz, _>(end)
    .bind::<Text, _>(partner_id)
    .bind::<Timestamptz, _>(end)
    .load(conn)
    .await?)
}

fn line(billed: Billed) -> Result<api::PartnerStatementLine> {
    let (retail, cost) = (Cents(billed.retail_cents), Cents(billed.platform_cost_cents));
    let margin = retail.sub(cost).map_err(Error::internal)?;
    Ok(api::PartnerStatementLine {
        service_slug: billed.service_slug,
        service_name: billed.service_name,
        currency: billed.currency,
        retail_cents: retail.0,
        platform_cost_cents: cost.0,
        margin_cents: margin.0,
        margin_percent: percent(margin, retail).map(Into::into),
    })
}

/// A part as a percentage of the whole, to two decimals; none of nothing.
fn percent(part: Cents, whole: Cents) -> Option<Decimal> {
    let percent =
        Decimal::from(part.0).checked_mul(Decimal::ONE_HUNDRED)?.checked_div(Decimal::from(whole.0))?;
    Some(percent.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero).normalize())
}

fn totals(lines: &[Billed], owed: &[Owed]) -> Result<Vec<api::PartnerStatementTotal>> {
    let mut sums: BTreeMap<&str, (Cents, Cents, i64, i64)> = BTreeMap::new();
    for line in lines {
        let (retail, cost, ..) = sums.entry(&line.currency).or_default();
        *retail = retail.add(Cents(line.retail_cents)).map_err(Error::internal)?;
        *cost = cost.add(Cents(line.platform_cost_cents)).map_err(Error::internal)?;
    }
    for owed in owed {
        let (_, _, collected, payable) = sums.entry(&owed.currency).or_default();
        (*collected, *payable) = (owed.collected_cents, owed.payable_cents);
    }
    let totals = sums.into_iter().map(|(currency, (retail, cost, collected_cents, payable_cents))| {
        Ok(api::PartnerStatementTotal {
            currency: currency.to_owned(),
            retail_cents: retail.0,
            platform_cost_cents: cost.0,
            margin_cents: retail.sub(cost).map_err(Error::internal)?.0,
            collected_cents,
            payable_cents,
        })
    });
    totals.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        let of = |part, whole| percent(Cents(part), Cents(whole)).map(|d| d.to_string());
        assert_eq!(of(1, 3).as_deref(), Some("33.33"));
        assert_eq!(of(2, 3).as_deref(), Some("66.67"));
        assert_eq!(of(1, 800).as_deref(), Some("0.13"), "0.125, away from zero");
        assert_eq!(of(-1, 800).as_deref(), Some("-0.13"));
        assert_eq!(of(0, 5).as_deref(), Some("0"));
        assert_eq!(of(5, 0), None);
    }

    #[test]
    fn the_days_are_in_order_and_not_too_many() {
        let day = |text: &str| text.parse::<NaiveDate>().expect("a date");
        assert!(check(day("2026-01-01"), day("2026-01-01")).is_ok());
        assert!(check(day("2026-01-01"), day("2027-01-02")).is_ok());
        assert!(check(day("2026-01-01"), day("2027-01-03")).is_err());
        assert!(check(day("2026-01-02"), day("2026-01-01")).is_err());
        assert!(check(NaiveDate::MIN, NaiveDate::MAX).is_err());
    }
}
