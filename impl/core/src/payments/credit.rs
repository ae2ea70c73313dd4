//! Customer credit: what a tenant has with a partner in one currency, from overpayments and credit notes.
//!
//! It is a sub-ledger of the account `customer_credit`: lots that were given at once and are used up oldest first.
//! Nothing holds a balance; a lot is the sum of its entries. Whoever gives or takes holds the account's row.
use crate::billing::store::InvoiceRow;
use crate::db::Conn;
use crate::db::schema::{customer_credit_accounts, customer_credit_entries};
use crate::db::statement::statement;
use crate::error::{Error, Result};
use crate::op::OpContext;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::settlement::take_oldest;
use uuid::Uuid;

/// What is left of credit that was given at once.
#[derive(Clone, Debug, Queryable)]
pub struct Lot {
    /// Its id; ids sort by time.
    pub lot_id: Uuid,
    /// The invoice that it comes from.
    pub origin_invoice_id: Uuid,
    /// How much, in cents; above 0.
    pub left_cents: i64,
}

/// Where credit comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// A payment of more than was due.
    Overpayment(Uuid),
    /// A credit note on something that was paid.
    CreditNote(Uuid),
}

/// The credit that the tenant has, the oldest first, locked until the transaction ends.
pub async fn lock(conn: &mut Conn, tenant_id: &str, partner_id: &str, currency: &str) -> Result<Vec<Lot>> {
    use customer_credit_accounts as a;
    let account: Option<String> = a::table
        .find((tenant_id, partner_id, currency))
        .select(a::tenant_id)
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?;
    // Most tenants never had any.
    if account.is_none() { Ok(vec![]) } else { lots(conn, tenant_id, partner_id, currency).await }
}

/// The credit that the tenant has, the oldest first, as it is at this moment.
pub async fn lots(conn: &mut Conn, tenant_id: &str, partner_id: &str, currency: &str) -> Result<Vec<Lot>> {
    Ok(statement::<(SqlUuid, SqlUuid, BigInt)>(
        "SELECT lot_id, origin_invoice_id, sum(amount_cents)::bigint FROM customer_credit_entries
         WHERE tenant_id = $1 AND partner_id = $2 AND currency = $3 GROUP BY 1, 2 HAVING sum(amount_cents) > 0 ORDER BY 1",
    )
    .bind::<Text, _>(tenant_id)
    .bind::<Text, _>(partner_id)
    .bind::<Text, _>(currency)
    .load(conn)
    .await?)
}

/// The sum of lots, in cents.
pub fn sum<'a>(lots: impl IntoIterator<Item = &'a Lot>) -> Result<Cents> {
    Cents::sum(lots.into_iter().map(|lot| Cents(lot.left_cents))).map_err(Error::internal)
}

/// Gives the tenant of the invoice credit that comes from it; nothing for 0.
pub async fn give(
    conn: &mut Conn,
    op: &OpContext,
    invoice: &InvoiceRow,
    source: Source,
    amount: Cents,
) -> Result<()> {
    if amount <= Cents::ZERO {
        return Ok(());
    }
    use customer_credit_accounts as a;
    use customer_credit_entries as e;
    diesel::insert_into(a::table)
        .values((
            a::tenant_id.eq(&invoice.tenant_id),
            a::partner_id.eq(&invoice.partner_id),
            a::currency.eq(&invoice.currency),
            a::created_at.eq(op.now),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    let id = op.id();
    let (kind, payment_id, credit_note_id) = match source {
        Source::Overpayment(payment_id) => ("overpayment", Some(payment_id), None),
        Source::CreditNote(credit_note_id) => ("credit_note", None, Some(credit_note_id)),
    };
    diesel::insert_into(e::table)
        .values((
            e::tenant_id.eq(&invoice.tenant_id),
            e::entry_id.eq(id),
            e::partner_id.eq(&invoice.partner_id),
            e::currency.eq(&invoice.currency),
            e::lot_id.eq(id),
            e::kind.eq(kind),
            e::origin_invoice_id.eq(invoice.invoice_id),
            e::payment_id.eq(payment_id),
            e::credit_note_id.eq(credit_note_id),
            e::amount_cents.eq(amount.0),
            e::created_at.eq(op.now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// What credit is taken for.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// `applied` or `refund`.
    pub kind: &'static str,
    /// The invoice that it pays, or that it is refunded for.
    pub invoice: &'a InvoiceRow,
    /// The payment that stands for it.
    pub payment_id: Uuid,
}

/// Takes `amount` of the locked lots, the oldest first, and lowers what is left of them.
///
/// Errors: a fault when the lots do not hold as much.
pub async fn take(
    conn: &mut Conn,
    op: &OpContext,
    lots: &mut [Lot],
    amount: Cents,
    used: Use<'_>,
) -> Result<()> {
    use customer_credit_entries as e;
    let parts: Vec<Cents> = lots.iter().map(|lot| Cents(lot.left_cents)).collect();
    for (index, part) in take_oldest(&parts, amount).map_err(Error::internal)? {
        let lot = &mut lots[index];
        lot.left_cents -= part.0;
        diesel::insert_into(e::table)
            .values((
                e::tenant_id.eq(&used.invoice.tenant_id),
                e::entry_id.eq(op.id()),
                e::partner_id.eq(&used.invoice.partner_id),
                e::currency.eq(&used.invoice.currency),
                e::lot_id.eq(lot.lot_id),
                e::kind.eq(used.kind),
                e::origin_invoice_id.eq(lot.origin_invoice_id),
                e::used_invoice_id.eq(used.invoice.invoice_id),
                e::payment_id.eq(used.payment_id),
                e::amount_cents.eq(-part.0),
                e::created_at.eq(op.now),
            ))
            .execute(conn)
            .await?;
    }
    Ok(())
}
