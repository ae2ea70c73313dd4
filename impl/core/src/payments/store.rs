//! SQL of payments and of what they do to an invoice.
use crate::db::page::PageRequest;
use crate::db::schema::{invoices, payment_allocations, payments};
use crate::db::statement::statement;
use crate::db::{COUNTED, Conn, count_up_to};
use crate::error::Result;
use crate::op::OpContext;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use std::collections::HashMap;
use uuid::Uuid;

/// The account of money that came in outside of every provider.
pub const MANUAL: &str = "manual";

/// A row of `payments`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable, Serialize)]
#[diesel(table_name = payments, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct PaymentRow {
    pub tenant_id: String,
    pub payment_id: Uuid,
    pub partner_id: String,
    pub invoice_id: Uuid,
    pub kind: String,
    pub status: String,
    pub provider: String,
    pub provider_account: Option<String>,
    pub method_type: String,
    pub payment_method_id: Option<Uuid>,
    pub currency: String,
    pub amount_cents: i64,
    pub refunds_payment_id: Option<Uuid>,
    pub reference: Option<String>,
    pub reason: Option<String>,
    pub failure_code: Option<String>,
    pub failure_message: Option<String>,
    pub entered_by: Option<String>,
    pub paid_at: Option<DateTime<Utc>>,
    pub reversed_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A row of `payment_allocations`: something that moved the paid amount of an invoice.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = payment_allocations, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct AllocationRow {
    pub tenant_id: String,
    pub allocation_id: Uuid,
    pub partner_id: String,
    pub invoice_id: Uuid,
    pub kind: String,
    pub payment_id: Option<Uuid>,
    pub credit_note_id: Option<Uuid>,
    pub currency: String,
    pub amount_cents: i64,
    pub created_at: DateTime<Utc>,
}

/// What a list of payments is narrowed to.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "each is the query parameter of its name")]
pub struct Filter {
    pub status: Option<String>,
    pub kind: Option<String>,
    pub provider: Option<String>,
    pub tenant_id: Option<String>,
    pub partner_id: Option<String>,
    pub invoice_id: Option<Uuid>,
    pub from: Option<NaiveDate>,
    pub to: Option<NaiveDate>,
}

/// Adds a payment, refund, applied credit or write-off.
pub async fn insert(conn: &mut Conn, row: &PaymentRow) -> Result<()> {
    diesel::insert_into(payments::table).values(row).execute(conn).await?;
    Ok(())
}

/// Notes what moved the paid amount of an invoice, unless it moved nothing.
pub async fn allocate(conn: &mut Conn, row: &AllocationRow) -> Result<()> {
    if row.amount_cents != 0 {
        diesel::insert_into(payment_allocations::table).values(row).execute(conn).await?;
    }
    Ok(())
}

/// The payments of a document, the oldest first.
pub async fn of_invoice(conn: &mut Conn, tenant_id: &str, invoice_id: Uuid) -> Result<Vec<PaymentRow>> {
    use payments as t;
    let rows = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::invoice_id.eq(invoice_id)))
        .select(PaymentRow::as_select())
        .order(t::payment_id);
    Ok(rows.load(conn).await?)
}

/// What was sent back of each of these payments, or is on its way back, in cents.
pub async fn refunded(conn: &mut Conn, rows: &[PaymentRow]) -> Result<HashMap<Uuid, i64>> {
    let ids: Vec<Uuid> = rows.iter().filter(|r| r.kind == "payment").map(|r| r.payment_id).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut tenants: Vec<&str> = rows.iter().map(|r| r.tenant_id.as_str()).collect();
    tenants.dedup();
    let sums: Vec<(Uuid, i64)> = statement::<(SqlUuid, BigInt)>(
        "SELECT refunds_payment_id, sum(amount_cents)::bigint FROM payments
         WHERE tenant_id = ANY($1) AND refunds_payment_id = ANY($2)
           AND status IN ('created', 'pending', 'unknown', 'succeeded') GROUP BY 1",
    )
    .bind::<Array<Text>, _>(tenants)
    .bind::<Array<SqlUuid>, _>(ids)
    .load(conn)
    .await?;
    Ok(sums.into_iter().collect())
}

/// How much of the paid amount of an invoice is a debt that was given up, in cents.
pub async fn written_off(conn: &mut Conn, tenant_id: &str, invoice_id: Uuid) -> Result<i64> {
    let sum: (i64,) = statement::<(BigInt,)>(
        "SELECT COALESCE(sum(amount_cents), 0)::bigint FROM payment_allocations
         WHERE tenant_id = $1 AND invoice_id = $2 AND kind IN ('write_off', 'write_off_reversed')",
    )
    .bind::<Text, _>(tenant_id)
    .bind::<SqlUuid, _>(invoice_id)
    .get_result(conn)
    .await?;
    Ok(sum.0)
}

type Boxed = payments::BoxedQuery<'static, diesel::pg::Pg>;

fn filtered(filter: &Filter) -> Boxed {
    use payments as t;
    let mut query = t::table.into_boxed();
    if let Some(status) = &filter.status {
        query = query.filter(t::status.eq(status.clone()));
    }
    if let Some(kind) = &filter.kind {
        query = query.filter(t::kind.eq(kind.clone()));
    }
    if let Some(provider) = &filter.provider {
        query = query.filter(t::provider.eq(provider.clone()));
    }
    if let Some(tenant_id) = &filter.tenant_id {
        query = query.filter(t::tenant_id.eq(tenant_id.clone()));
    }
    if let Some(partner_id) = &filter.partner_id {
        query = query.filter(t::partner_id.eq(partner_id.clone()));
    }
    if let Some(invoice_id) = filter.invoice_id {
        query = query.filter(t::invoice_id.eq(invoice_id));
    }
    if let Some(from) = filter.from {
        query = query.filter(t::created_at.ge(from.and_time(NaiveTime::MIN).and_utc()));
    }
    // The last day of the calendar has no next one, and then nothing is later.
    if let Some(after) = filter.to.and_then(|to| to.checked_add_days(Days::new(1))) {
        query = query.filter(t::created_at.lt(after.and_time(NaiveTime::MIN).and_utc()));
    }
    query
}

/// A page of the payments that the caller sees, the newest first, and how many there are.
pub async fn list(conn: &mut Conn, filter: &Filter, page: &PageRequest) -> Result<(Vec<PaymentRow>, i64)> {
    use payments as t;
    let mut rows = filtered(filter).select(PaymentRow::as_select()).order(t::payment_id.desc());
    if let Some(id) = page.after::<Uuid>()? {
        rows = rows.filter(t::payment_id.lt(id));
    }
    let rows = rows.limit(page.limit()).offset(page.offset()).load(conn).await?;
    let counted = count_up_to(conn, filtered(filter).select(t::payment_id).limit(COUNTED)).await?;
    Ok((rows, counted))
}

/// The numbers of the documents that payments are for.
pub async fn numbers(conn: &mut Conn, rows: &[PaymentRow]) -> Result<HashMap<Uuid, Option<String>>> {
    use invoices as t;
    let tenants: Vec<&str> = rows.iter().map(|r| r.tenant_id.as_str()).collect();
    let ids: Vec<Uuid> = rows.iter().map(|r| r.invoice_id).collect();
    let found: Vec<(Uuid, Option<String>)> = t::table
        .filter(t::tenant_id.eq_any(tenants).and(t::invoice_id.eq_any(ids)))
        .select((t::invoice_id, t::number))
        .load(conn)
        .await?;
    Ok(found.into_iter().collect())
}

impl AllocationRow {
    /// A movement of the invoice that `payment` is for.
    pub fn of_payment(op: &OpContext, payment: &PaymentRow, kind: &str, amount_cents: i64) -> Self {
        AllocationRow {
            tenant_id: payment.tenant_id.clone(),
            allocation_id: op.id(),
            partner_id: payment.partner_id.clone(),
            invoice_id: payment.invoice_id,
            kind: kind.into(),
            payment_id: Some(payment.payment_id),
            credit_note_id: None,
            currency: payment.currency.clone(),
            amount_cents,
            created_at: op.now,
        }
    }
}
