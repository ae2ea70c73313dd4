//! SQL of what a subscription is billed for its base price: periods, what is given back of them, and their items.
use super::store::{BilledItemRow, PeriodRow, SubscriptionRow};
use crate::db::Conn;
use crate::db::schema::{billed_items, period_credits, subscription_periods};
use crate::db::statement::statement;
use crate::error::Result;
use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A row of `period_credits`: what is given back when a period is cut.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = period_credits, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct CreditRow {
    pub tenant_id: String,
    pub subscription_id: Uuid,
    pub at: DateTime<Utc>,
    pub partner_id: String,
    pub period_id: Uuid,
    pub billed_item_id: Uuid,
    pub billed_cents: i64,
    pub seconds: i64,
    pub of_seconds: i64,
    pub created_at: DateTime<Utc>,
}

/// The newest billing period of a subscription.
pub async fn last_period(
    conn: &mut Conn,
    tenant_id: &str,
    subscription_id: Uuid,
) -> Result<Option<PeriodRow>> {
    use subscription_periods as t;
    let last = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::subscription_id.eq(subscription_id)))
        .select(PeriodRow::as_select())
        .order(t::starts_at.desc());
    Ok(last.first(conn).await.optional()?)
}

/// The billing period that starts at an instant.
pub async fn period_from(
    conn: &mut Conn,
    tenant_id: &str,
    subscription_id: Uuid,
    starts_at: DateTime<Utc>,
) -> Result<Option<PeriodRow>> {
    use subscription_periods as t;
    let row = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::subscription_id.eq(subscription_id)))
        .filter(t::starts_at.eq(starts_at))
        .select(PeriodRow::as_select());
    Ok(row.first(conn).await.optional()?)
}

/// A billing period by its id.
pub async fn period(conn: &mut Conn, tenant_id: &str, period_id: Uuid) -> Result<PeriodRow> {
    let row = subscription_periods::table.find((tenant_id, period_id)).select(PeriodRow::as_select());
    Ok(row.first(conn).await?)
}

/// Ends a billing period earlier.
pub async fn end_period(conn: &mut Conn, row: &PeriodRow, at: DateTime<Utc>) -> Result<()> {
    use subscription_periods as t;
    diesel::update(t::table.find((&row.tenant_id, row.period_id)))
        .set(t::ends_at.eq(Some(at)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Writes down what is given back at a cut.
pub async fn insert_credit(conn: &mut Conn, row: &CreditRow) -> Result<()> {
    diesel::insert_into(period_credits::table).values(row).execute(conn).await?;
    Ok(())
}

/// What is given back at the cut of that instant.
pub async fn credit_at(
    conn: &mut Conn,
    tenant_id: &str,
    subscription_id: Uuid,
    at: DateTime<Utc>,
) -> Result<Option<CreditRow>> {
    let row = period_credits::table.find((tenant_id, subscription_id, at)).select(CreditRow::as_select());
    Ok(row.first(conn).await.optional()?)
}

/// Makes the usage of the subscription that waits for the end of its month due at `at`.
pub async fn bring_usage_forward(
    conn: &mut Conn,
    sub: &SubscriptionRow,
    at: DateTime<Utc>,
    run_date: NaiveDate,
) -> Result<()> {
    use billed_items as t;
    let waiting = t::table
        .filter(t::tenant_id.eq(&sub.tenant_id).and(t::subscription_id.eq(sub.subscription_id)))
        .filter(t::kind.eq("usage").and(t::status.eq("due")).and(t::due_at.gt(at)));
    diesel::update(waiting).set((t::due_at.eq(at), t::run_date.eq(run_date))).execute(conn).await?;
    Ok(())
}

/// The newest revision of what billed a period: its base price, or the charge of a plan change.
pub async fn item_of_period(conn: &mut Conn, period: &PeriodRow) -> Result<Option<BilledItemRow>> {
    use billed_items as t;
    let item = t::table
        .filter(t::tenant_id.eq(&period.tenant_id).and(t::source_type.eq("subscription")))
        .filter(t::source_id.eq(period.subscription_id).and(t::period_start.eq(period.starts_at)))
        .filter(t::kind.eq_any(["base", "proration"]))
        .select(BilledItemRow::as_select())
        .order(t::revision.desc());
    Ok(item.first(conn).await.optional()?)
}

/// The newest revision of an item: what billed the same again after its document became void.
pub async fn newest_revision(conn: &mut Conn, tenant_id: &str, item_id: Uuid) -> Result<BilledItemRow> {
    use billed_items as t;
    let item: BilledItemRow =
        t::table.find((tenant_id, item_id)).select(BilledItemRow::as_select()).first(conn).await?;
    let newest = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::source_type.eq(&item.source_type)))
        .filter(t::source_id.eq(item.source_id).and(t::period_start.eq(item.period_start)))
        .filter(t::kind.eq(&item.kind))
        .select(BilledItemRow::as_select())
        .order(t::revision.desc());
    Ok(newest.first(conn).await?)
}

/// What stands on its document for an item, less what was taken back of that, in cents. Needs the platform's sight.
pub async fn billed_net(conn: &mut Conn, item: &BilledItemRow) -> Result<i64> {
    let sum: (i64,) = statement::<(BigInt,)>(
        "SELECT COALESCE(sum(l.amount_cents - COALESCE((SELECT sum(c.net_cents) FROM sc_taken_back c
           WHERE c.tenant_id = l.tenant_id AND c.credited_line_item_id = l.line_item_id), 0)), 0)::bigint
         FROM invoice_lines l WHERE l.tenant_id = $1 AND l.invoice_id = $2 AND l.billed_item_id = $3 AND l.amount_cents > 0",
    )
    .bind::<Text, _>(&item.tenant_id)
    .bind::<Nullable<SqlUuid>, _>(item.invoice_id)
    .bind::<SqlUuid, _>(item.billed_item_id)
    .get_result(conn)
    .await?;
    Ok(sum.0)
}
