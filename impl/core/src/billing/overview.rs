//! Where a tenant stands, and where the business does: what is due and how old it is, credit, and recurring revenue.
//!
//! Nothing is kept for it: amounts are summed from documents, credit and the history of recurring revenue when somebody
//! asks. What is due goes by `due_cents` of numbered documents, whatever their status.
use super::{store, upcoming, view};
use crate::app::Control;
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::db::statement::statement;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::subscriptions::view::parse;
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, Utc};
use diesel::sql_types::{BigInt, Bool, Date, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use scaicontrol_domain::invoice::Age;
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::period::{local_date, parse_timezone};
use scaicontrol_types::{
    AgeingBucketResponse, BillingBalanceResponse, BillingDashboardCurrencyResponse, BillingDashboardResponse,
    BillingOverviewResponse, InvoiceResponse, MrrMovementResponse,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many of the newest documents a tenant is shown.
const RECENT: i32 = 10;

/// What is due of one currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Debts {
    by_age: BTreeMap<Age, (Cents, i64)>,
    returned: Cents,
}

impl Debts {
    fn sum(&self, ages: impl Fn(Age) -> bool) -> Result<Cents> {
        let sums = self.by_age.iter().filter(|(age, _)| ages(**age)).map(|(_, (sum, _))| *sum);
        Cents::sum(sums).map_err(Error::internal)
    }
}

/// Where the caller's tenant stands.
pub async fn overview(op: &OpContext, app: &Control) -> Result<BillingOverviewResponse> {
    let next = upcoming::upcoming(op, app).await?;
    let newest = PageRequest::new(1, RECENT, None, &op.operation)?;
    let filter = store::Filter { tenant_id: Some(op.tenant_id().into()), ..store::Filter::default() };
    let (debts, credit, revenue, recent) = app
        .db
        .read(op, async |conn| {
            let debts = debts(conn, op.now, Some(op.tenant_id()), None).await?;
            let credit = credit(conn, op.tenant_id()).await?;
            let revenue = revenue(conn, Some(op.tenant_id()), None).await?;
            let (mut recent, _) = store::list_issued(conn, &filter, &newest).await?;
            recent.truncate(usize::try_from(RECENT).unwrap_or_default());
            Ok((debts, credit, revenue, recent))
        })
        .await?;
    let known =
        debts.keys().chain(credit.keys()).chain(revenue.keys()).chain(next.iter().map(|n| &n.currency));
    let known: BTreeSet<&String> = known.collect();
    let none = Debts::default();
    let balances = known.into_iter().map(|currency| {
        let next = next.iter().find(|n| n.currency == *currency);
        let debts = debts.get(currency).unwrap_or(&none);
        let late = debts.sum(|age| age != Age::NotDue)?.add(debts.returned).map_err(Error::internal)?;
        Ok(BillingBalanceResponse {
            currency: currency.clone(),
            due_cents: debts.sum(|_| true)?.0,
            overdue_cents: late.0,
            customer_credit_cents: credit.get(currency).copied().unwrap_or_default(),
            mrr_cents: revenue.get(currency).copied().unwrap_or_default(),
            next_invoice_date: next.map(|n| n.invoice_date),
            next_invoice_estimate_cents: next.and_then(|n| n.total_cents),
        })
    });
    Ok(BillingOverviewResponse {
        balances: balances.collect::<Result<_>>()?,
        // Methods come with the payment providers: until then everybody pays by invoice.
        default_payment_method: None,
        recent_invoices: recent
            .iter()
            .map(|row| Ok(InvoiceResponse { pdf_url: view::pdf_url(op, row), ..view::invoice(row)? }))
            .collect::<Result<_>>()?,
    })
}

/// Recurring revenue, its movement over a span of days, and what is outstanding, by currency.
///
/// Errors: 400 when `from` is after `to`.
pub async fn dashboard(
    op: &OpContext,
    app: &Control,
    partner_id: Option<&str>,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
) -> Result<BillingDashboardResponse> {
    let to = to.unwrap_or_else(|| op.now.date_naive());
    let from = from.or_else(|| to.with_day(1)).unwrap_or(to);
    if to < from {
        return Err(Error::field("from", "is after `to`"));
    }
    let currencies = app
        .db
        .read(op, async |conn| {
            let debts = debts(conn, op.now, None, partner_id).await?;
            let credit = ledger_credit(conn, partner_id).await?;
            let revenue = revenue(conn, None, partner_id).await?;
            let movements = movements(conn, partner_id, from, to).await?;
            let known: BTreeSet<&String> =
                debts.keys().chain(credit.keys()).chain(revenue.keys()).chain(movements.keys()).collect();
            let none = Debts::default();
            let answer = known.into_iter().map(|currency| {
                let debts = debts.get(currency).unwrap_or(&none);
                let mrr = revenue.get(currency).copied().unwrap_or_default();
                Ok(BillingDashboardCurrencyResponse {
                    currency: currency.clone(),
                    mrr_cents: mrr,
                    arr_cents: Cents(mrr).times(12).map_err(Error::internal)?.0,
                    mrr_movement: movements.get(currency).cloned().unwrap_or_else(no_movement),
                    outstanding_cents: debts.sum(|_| true)?.0,
                    overdue_cents: debts.sum(|age| age != Age::NotDue)?.0,
                    ageing: ageing(debts)?,
                    customer_credit_cents: credit.get(currency).copied().unwrap_or_default(),
                })
            });
            answer.collect::<Result<Vec<_>>>()
        })
        .await?;
    Ok(BillingDashboardResponse { computed_at: op.now, from, to, currencies })
}

fn ageing(debts: &Debts) -> Result<Vec<AgeingBucketResponse>> {
    let bucket = |age: &Age| {
        let (amount, count) = debts.by_age.get(age).copied().unwrap_or_default();
        Ok(AgeingBucketResponse {
            bucket: parse(age.as_str())?,
            amount_cents: amount.0,
            invoice_count: count,
        })
    };
    Age::ALL.iter().map(bucket).collect()
}

/// What is due on numbered documents, by currency and age. The age is that of the seller's local date; what came back
/// after it was paid and is not late by its date is told apart.
async fn debts(
    conn: &mut Conn,
    now: DateTime<Utc>,
    tenant_id: Option<&str>,
    partner_id: Option<&str>,
) -> Result<BTreeMap<String, Debts>> {
    type Row = (String, Option<String>, NaiveDate, bool, i64, i64);
    let rows: Vec<Row> = statement::<(Text, Nullable<Text>, Date, Bool, BigInt, BigInt)>(
        "SELECT currency, seller_snapshot->>'timezone', due_date, payment_reversed_at IS NOT NULL, sum(due_cents)::bigint, count(*)
         FROM invoices WHERE due_cents > 0 AND number IS NOT NULL AND tenant_id = COALESCE($1, tenant_id)
           AND partner_id = COALESCE($2, partner_id) GROUP BY 1, 2, 3, 4",
    )
    .bind::<Nullable<Text>, _>(tenant_id)
    .bind::<Nullable<Text>, _>(partner_id)
    .load(conn)
    .await?;
    let mut all: BTreeMap<String, Debts> = BTreeMap::new();
    for (currency, timezone, due_date, returned, amount, count) in rows {
        let timezone = timezone.ok_or_else(|| Error::internal("a seller without a timezone"))?;
        let timezone = parse_timezone(&timezone).map_err(Error::internal)?;
        let age = Age::on(local_date(now, timezone).map_err(Error::internal)?, due_date);
        let debts = all.entry(currency).or_default();
        let sum = debts.by_age.entry(age).or_default();
        *sum = (sum.0.add(Cents(amount)).map_err(Error::internal)?, sum.1.saturating_add(count));
        if returned && age == Age::NotDue {
            debts.returned = debts.returned.add(Cents(amount)).map_err(Error::internal)?;
        }
    }
    Ok(all)
}

/// Unused credit by currency, from its sub-ledger: a tenant does not see the ledger.
async fn credit(conn: &mut Conn, tenant_id: &str) -> Result<BTreeMap<String, i64>> {
    let rows: Vec<(String, i64)> = statement::<(Text, BigInt)>(
        "SELECT currency, sum(amount_cents)::bigint FROM customer_credit_entries WHERE tenant_id = $1 GROUP BY 1",
    )
    .bind::<Text, _>(tenant_id)
    .load(conn)
    .await?;
    Ok(rows.into_iter().collect())
}

/// Unused credit by currency, as the books have it.
async fn ledger_credit(conn: &mut Conn, partner_id: Option<&str>) -> Result<BTreeMap<String, i64>> {
    let rows: Vec<(String, i64)> = statement::<(Text, BigInt)>(
        "SELECT currency, -sum(amount_cents)::bigint FROM ledger_entries
         WHERE account = 'customer_credit' AND partner_id = COALESCE($1, partner_id) GROUP BY 1",
    )
    .bind::<Nullable<Text>, _>(partner_id)
    .load(conn)
    .await?;
    Ok(rows.into_iter().collect())
}

/// Monthly recurring revenue by currency, of the subscriptions that count now (`mrr::counted`).
async fn revenue(
    conn: &mut Conn,
    tenant_id: Option<&str>,
    partner_id: Option<&str>,
) -> Result<BTreeMap<String, i64>> {
    let rows: Vec<(String, i64)> = statement::<(Text, BigInt)>(
        "SELECT currency, sum(mrr_amount_cents)::bigint FROM subscriptions
         WHERE status IN ('active', 'past_due', 'cancelling') AND billing_period <> 'one_time'
           AND tenant_id = COALESCE($1, tenant_id) AND partner_id = COALESCE($2, partner_id) GROUP BY 1",
    )
    .bind::<Nullable<Text>, _>(tenant_id)
    .bind::<Nullable<Text>, _>(partner_id)
    .load(conn)
    .await?;
    Ok(rows.into_iter().collect())
}

fn no_movement() -> MrrMovementResponse {
    MrrMovementResponse {
        opening_cents: 0,
        new_cents: 0,
        expansion_cents: 0,
        contraction_cents: 0,
        churn_cents: 0,
        closing_cents: 0,
    }
}

/// How recurring revenue moved from the first day to the end of the last one, days of UTC.
async fn movements(
    conn: &mut Conn,
    partner_id: Option<&str>,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<BTreeMap<String, MrrMovementResponse>> {
    let start = from.and_time(NaiveTime::MIN).and_utc();
    let end = to
        .checked_add_days(Days::new(1))
        .map_or(DateTime::<Utc>::MAX_UTC, |d| d.and_time(NaiveTime::MIN).and_utc());
    let rows: Vec<(String, String, bool, i64)> = statement::<(Text, Text, Bool, BigInt)>(
        "SELECT currency, kind, occurred_at < $1, sum(delta_cents)::bigint FROM mrr_changes
         WHERE occurred_at < $2 AND partner_id = COALESCE($3, partner_id) GROUP BY 1, 2, 3",
    )
    .bind::<Timestamptz, _>(start)
    .bind::<Timestamptz, _>(end)
    .bind::<Nullable<Text>, _>(partner_id)
    .load(conn)
    .await?;
    let mut all: BTreeMap<String, MrrMovementResponse> = BTreeMap::new();
    for (currency, kind, is_before, delta) in rows {
        let movement = all.entry(currency).or_insert_with(no_movement);
        let sum = match kind.as_str() {
            _ if is_before => &mut movement.opening_cents,
            "new" => &mut movement.new_cents,
            "expansion" => &mut movement.expansion_cents,
            "contraction" => &mut movement.contraction_cents,
            "churn" => &mut movement.churn_cents,
            other => return Err(Error::internal(format!("{other} is no movement of revenue"))),
        };
        *sum = Cents(*sum).add(Cents(delta)).map_err(Error::internal)?.0;
        movement.closing_cents = Cents(movement.closing_cents).add(Cents(delta)).map_err(Error::internal)?.0;
    }
    Ok(all)
}
