//! SQL of unpaid invoices and their cases.
use crate::billing::store::InvoiceRow;
use crate::db::Conn;
use crate::db::schema::{dunning_cases, invoice_lines, platform_settings};
use crate::db::statement::{kept, statement};
use crate::error::Result;
use crate::subscriptions::store::SubscriptionRow;
use crate::workers::NextDue;
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

/// A row of `dunning_cases`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset, Serialize)]
#[diesel(table_name = dunning_cases, primary_key(tenant_id, invoice_id, past_due_at), treat_none_as_null = true, check_for_backend(Pg), treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct Case {
    pub tenant_id: String,
    pub invoice_id: Uuid,
    pub past_due_at: DateTime<Utc>,
    pub partner_id: String,
    pub timezone: String,
    pub reminded_day: Option<i32>,
    pub suspended_at: Option<DateTime<Utc>>,
    pub cancelled_at: Option<DateTime<Utc>>,
    pub next_step_at: Option<DateTime<Utc>>,
    pub settings_version: i32,
    pub created_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// What invoices are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Those whose due date is over.
    Overdue,
    /// Those with a payment that was reversed, and no case.
    Reversed,
    /// Those whose case knows the settings of an earlier version.
    Rescheduled(i32),
    /// Those with a step that is due.
    Due,
}

/// An invoice to look at.
#[derive(Clone, Copy, Debug, Queryable)]
pub struct FoundInvoice {
    /// When it was due to be looked at; lists go by it.
    pub at: DateTime<Utc>,
    /// The invoice.
    pub invoice_id: Uuid,
}

/// Invoices to look at until `now`, the longest waiting first, after a place in their list.
pub async fn find(
    conn: &mut Conn,
    found: Found,
    now: DateTime<Utc>,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<FoundInvoice>> {
    type Columns = (Timestamptz, SqlUuid);
    let (at, id) = after.unwrap_or((DateTime::UNIX_EPOCH, Uuid::nil()));
    if let Found::Rescheduled(version) = found {
        let query = statement::<Columns>(
            "SELECT past_due_at, invoice_id FROM dunning_cases WHERE ended_at IS NULL AND settings_version < $1
               AND (past_due_at, invoice_id) > ($2, $3) ORDER BY 1, 2 LIMIT $4",
        );
        let query = query.bind::<Integer, _>(version).bind::<Timestamptz, _>(at).bind::<SqlUuid, _>(id);
        return Ok(query.bind::<BigInt, _>(limit).load(conn).await?);
    }
    let sql = match found {
        Found::Overdue => {
            "SELECT overdue_at, invoice_id FROM invoices
             WHERE status IN ('finalized', 'sent') AND due_cents > 0 AND overdue_at <= $1 AND (overdue_at, invoice_id) > ($2, $3)
             ORDER BY overdue_at, invoice_id LIMIT $4"
        }
        Found::Reversed => {
            "SELECT payment_reversed_at, invoice_id FROM invoices i
             WHERE payment_reversed_at IS NOT NULL AND due_cents > 0 AND payment_reversed_at <= $1
               AND (payment_reversed_at, invoice_id) > ($2, $3) AND status IN ('finalized', 'sent', 'paid') AND NOT EXISTS (
                 SELECT 1 FROM dunning_cases c WHERE c.tenant_id = i.tenant_id AND c.invoice_id = i.invoice_id AND c.ended_at IS NULL)
             ORDER BY payment_reversed_at, invoice_id LIMIT $4"
        }
        Found::Due | Found::Rescheduled(_) => {
            "SELECT next_step_at, invoice_id FROM dunning_cases
             WHERE next_step_at <= $1 AND (next_step_at, invoice_id) > ($2, $3) ORDER BY next_step_at, invoice_id LIMIT $4"
        }
    };
    let query = statement::<Columns>(sql).bind::<Timestamptz, _>(now).bind::<Timestamptz, _>(at);
    Ok(query.bind::<SqlUuid, _>(id).bind::<BigInt, _>(limit).load(conn).await?)
}

/// When an invoice becomes past due, or a step of one is due; and for cases that know older settings, when the newer ones
/// were saved.
pub const NEXT_DUE: NextDue = "SELECT LEAST(
       (SELECT min(overdue_at) FROM invoices WHERE status IN ('finalized', 'sent') AND due_cents > 0 AND overdue_at > $1),
       (SELECT min(payment_reversed_at) FROM invoices i WHERE payment_reversed_at IS NOT NULL AND due_cents > 0
          AND payment_reversed_at > $1 AND status IN ('finalized', 'sent', 'paid') AND NOT EXISTS (
            SELECT 1 FROM dunning_cases c WHERE c.tenant_id = i.tenant_id AND c.invoice_id = i.invoice_id AND c.ended_at IS NULL)),
       (SELECT min(next_step_at) FROM dunning_cases WHERE next_step_at > $1),
       (SELECT min(s.updated_at) FROM platform_settings s WHERE s.updated_at > $1
          AND EXISTS (SELECT 1 FROM dunning_cases c WHERE c.ended_at IS NULL AND c.settings_version < s.version)))";

/// The version of the settings in force; 0 when nobody ever saved any.
pub async fn settings_version(conn: &mut Conn) -> Result<i32> {
    let version: Option<i32> =
        platform_settings::table.select(platform_settings::version).first(conn).await.optional()?;
    Ok(version.unwrap_or(0))
}

/// The open case of an invoice, if there is one. The invoice is locked by the caller.
pub async fn open_case(conn: &mut Conn, invoice: &InvoiceRow) -> Result<Option<Case>> {
    use dunning_cases as t;
    let case = t::table
        .filter(t::tenant_id.eq(&invoice.tenant_id).and(t::invoice_id.eq(invoice.invoice_id)))
        .filter(t::ended_at.is_null())
        .select(Case::as_select());
    Ok(case.first(conn).await.optional()?)
}

/// The open cases of the invoices with a line of a subscription that stands alone, the oldest first.
pub async fn open_cases(conn: &mut Conn, sub: &SubscriptionRow) -> Result<Vec<Case>> {
    use dunning_cases as t;
    let on = invoice_lines::table
        .filter(invoice_lines::tenant_id.eq(&sub.tenant_id))
        .filter(invoice_lines::subscription_id.eq(sub.subscription_id))
        .select(invoice_lines::invoice_id);
    let cases = t::table
        .filter(t::tenant_id.eq(&sub.tenant_id).and(t::ended_at.is_null()).and(t::invoice_id.eq_any(on)))
        .order((t::past_due_at, t::invoice_id));
    Ok(cases.select(Case::as_select()).load(conn).await?)
}

/// Adds a case.
pub async fn insert(conn: &mut Conn, case: &Case) -> Result<()> {
    diesel::insert_into(dunning_cases::table).values(case).execute(conn).await?;
    Ok(())
}

/// Writes all columns of a case back.
pub async fn save(conn: &mut Conn, case: &Case) -> Result<()> {
    let key = (&case.tenant_id, case.invoice_id, case.past_due_at);
    kept(diesel::update(dunning_cases::table.find(key)).set(case)).execute(conn).await?;
    Ok(())
}

/// Closes the case of an invoice; answers whether there was an open one.
pub async fn close(conn: &mut Conn, invoice: &InvoiceRow, now: DateTime<Utc>) -> Result<bool> {
    use dunning_cases as t;
    let open = t::table
        .filter(t::tenant_id.eq(&invoice.tenant_id).and(t::invoice_id.eq(invoice.invoice_id)))
        .filter(t::ended_at.is_null());
    let ended = (t::ended_at.eq(now), t::next_step_at.eq(None::<DateTime<Utc>>));
    let closed = kept(diesel::update(open).set(ended)).execute(conn).await?;
    Ok(0 < closed)
}

/// The subscriptions with a line on an invoice, their own or their pack's, in the order in which they are locked.
pub async fn subscriptions_on(conn: &mut Conn, invoice: &InvoiceRow) -> Result<Vec<Uuid>> {
    let query = statement::<(SqlUuid,)>(
        "SELECT DISTINCT s.subscription_id FROM invoice_lines l JOIN subscriptions s
           ON s.tenant_id = l.tenant_id AND l.subscription_id IN (s.subscription_id, s.pack_subscription_id)
         WHERE l.tenant_id = $1 AND l.invoice_id = $2 ORDER BY 1",
    );
    let query = query.bind::<Text, _>(&invoice.tenant_id).bind::<SqlUuid, _>(invoice.invoice_id);
    let rows: Vec<(Uuid,)> = query.load(conn).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
