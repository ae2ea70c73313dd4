//! The rows of partners and tenants, and the statements that read and write them.
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::db::schema::{partners, subscriptions, tenants};
use crate::db::statement::kept;
use crate::error::{Error, Result, on_conflict};
use crate::subscriptions::store::SubscriptionRow;
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// A partner: who sells, and how it appears on documents.
#[derive(
    Clone, Debug, PartialEq, Eq, Queryable, Selectable, QueryableByName, Insertable, AsChangeset, Serialize,
)]
#[diesel(table_name = partners, primary_key(partner_id), treat_none_as_null = true, check_for_backend(Pg), treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct PartnerRow {
    pub partner_id: String,
    pub name: String,
    pub is_active: bool,
    pub legal_name: Option<String>,
    pub seller_address_line1: Option<String>,
    pub seller_address_line2: Option<String>,
    pub seller_postal_code: Option<String>,
    pub seller_city: Option<String>,
    pub seller_state: Option<String>,
    pub seller_country_code: Option<String>,
    pub seller_vat_number: Option<String>,
    pub seller_tax_number: Option<String>,
    pub seller_registration_number: Option<String>,
    pub seller_contact_name: Option<String>,
    pub seller_email: Option<String>,
    pub seller_phone: Option<String>,
    pub seller_iban: Option<String>,
    pub seller_bic: Option<String>,
    pub seller_peppol_id: Option<String>,
    pub seller_peppol_scheme: Option<String>,
    pub small_business_note: Option<String>,
    pub support_email: Option<String>,
    pub logo_url: Option<String>,
    pub invoice_number_prefix: String,
    pub invoice_template_name: Option<String>,
    pub email_template_name: Option<String>,
    pub timezone: String,
    pub oss_registered: bool,
    pub home_tenant_id: Option<String>,
    pub event_sequence: i64,
    pub source_updated_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A tenant: who buys.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, QueryableByName, Serialize)]
#[diesel(table_name = tenants, check_for_backend(Pg))]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct TenantRow {
    pub tenant_id: String,
    pub partner_id: String,
    pub name: String,
    pub is_active: bool,
    pub preferred_language: Option<String>,
    pub timezone: Option<String>,
    pub metadata: serde_json::Value,
    pub event_sequence: i64,
    pub source_updated_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a tenant owes and has in credit, in one currency.
#[derive(Clone, Debug, QueryableByName)]
pub struct BalanceRow {
    /// ISO 4217.
    #[diesel(sql_type = Text)]
    pub currency: String,
    /// Unpaid part of all issued invoices.
    #[diesel(sql_type = BigInt)]
    pub due_cents: i64,
    /// Credit that the next invoices are paid from.
    #[diesel(sql_type = BigInt)]
    pub customer_credit_cents: i64,
}

/// Where a row stands in a list by name, then id: the key of its cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named(pub String, pub String);

impl Named {
    /// As text that [`FromStr`] reads.
    pub fn key(name: &str, id: &str) -> String {
        serde_json::json!([name, id]).to_string()
    }
}

impl FromStr for Named {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// A number of rows.
#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// A partner by its id.
pub async fn partner(conn: &mut Conn, partner_id: &str) -> Result<Option<PartnerRow>> {
    Ok(partners::table.find(partner_id).select(PartnerRow::as_select()).first(conn).await.optional()?)
}

/// Locks a partner until the transaction ends: whoever changes it, or tells of a change, holds this lock.
pub async fn partner_lock(conn: &mut Conn, partner_id: &str) -> Result<Option<PartnerRow>> {
    let row = partners::table.find(partner_id).select(PartnerRow::as_select()).for_no_key_update();
    Ok(row.first(conn).await.optional()?)
}

/// Adds a partner.
///
/// Errors: 409 when it is known.
pub async fn partner_insert(conn: &mut Conn, row: &PartnerRow) -> Result<()> {
    let done = diesel::insert_into(partners::table).values(row).execute(conn).await;
    on_conflict(done, "partners_pkey", || Error::conflict("the partner is known already"))?;
    Ok(())
}

/// Writes all columns of a locked partner.
pub async fn partner_update(conn: &mut Conn, row: &PartnerRow) -> Result<()> {
    diesel::update(partners::table.find(&row.partner_id)).set(row).execute(conn).await?;
    Ok(())
}

macro_rules! partners_found {
    ($select:literal, $rest:literal) => {
        concat!(
            $select,
            " FROM partners WHERE ($1 IS NULL OR name ILIKE $1 OR legal_name ILIKE $1 OR partner_id ILIKE $1) ",
            $rest
        )
    };
}

/// A page of partners by name, then id, and how many there are.
pub async fn partners(
    conn: &mut Conn,
    pattern: Option<&str>,
    page: &PageRequest,
) -> Result<(Vec<PartnerRow>, i64)> {
    let (name, id) = after(page)?;
    let rows = diesel::sql_query(partners_found!(
        "SELECT *",
        "AND ($2 IS NULL OR (name, partner_id) > ($2, $3)) ORDER BY name, partner_id LIMIT $4 OFFSET $5"
    ))
    .bind::<Nullable<Text>, _>(pattern)
    .bind::<Nullable<Text>, _>(name)
    .bind::<Nullable<Text>, _>(id)
    .bind::<BigInt, _>(page.limit())
    .bind::<BigInt, _>(page.offset())
    .load(conn)
    .await?;
    let count: Count =
        diesel::sql_query(partners_found!("SELECT count(*) AS n FROM (SELECT 1", "LIMIT 10001) AS found"))
            .bind::<Nullable<Text>, _>(pattern)
            .get_result(conn)
            .await?;
    Ok((rows, count.n))
}

/// A tenant by its id.
pub async fn tenant(conn: &mut Conn, tenant_id: &str) -> Result<Option<TenantRow>> {
    Ok(tenants::table.find(tenant_id).select(TenantRow::as_select()).first(conn).await.optional()?)
}

/// Locks a tenant until the transaction ends: whoever changes its profile, or tells of a change, holds this lock.
pub async fn tenant_lock(conn: &mut Conn, tenant_id: &str) -> Result<Option<TenantRow>> {
    let row = tenants::table.find(tenant_id).select(TenantRow::as_select()).for_no_key_update();
    Ok(row.first(conn).await.optional()?)
}

/// Counts one more event of a locked tenant, and answers its number.
pub async fn tenant_event(conn: &mut Conn, tenant_id: &str) -> Result<i64> {
    let next = tenants::event_sequence.eq(tenants::event_sequence + 1);
    let counted = diesel::update(tenants::table.find(tenant_id)).set(next).returning(tenants::event_sequence);
    Ok(kept(counted).get_result(conn).await?)
}

macro_rules! tenants_found {
    ($select:literal, $rest:literal) => {
        concat!(
            $select,
            " FROM tenants t WHERE ($1 IS NULL OR t.name ILIKE $1 OR t.tenant_id ILIKE $1 OR EXISTS (SELECT 1 FROM billing_profiles p",
            " WHERE $3 AND p.tenant_id = t.tenant_id AND p.company_name ILIKE $1)) AND ($2 IS NULL OR t.partner_id = $2) ",
            $rest
        )
    };
}

/// Which tenants are looked for.
#[derive(Clone, Copy, Debug)]
pub struct TenantFilter<'a> {
    /// Found in the name or the id.
    pub pattern: Option<&'a str>,
    /// Whether the company name of the billing profile is looked at too.
    pub with_company: bool,
    /// Of this partner only.
    pub partner_id: Option<&'a str>,
}

/// A page of tenants by name, then id, and how many there are.
pub async fn tenants(
    conn: &mut Conn,
    filter: TenantFilter<'_>,
    page: &PageRequest,
) -> Result<(Vec<TenantRow>, i64)> {
    use diesel::sql_types::Bool;
    let (name, id) = after(page)?;
    let rows = diesel::sql_query(tenants_found!(
        "SELECT t.*",
        "AND ($4 IS NULL OR (t.name, t.tenant_id) > ($4, $5)) ORDER BY t.name, t.tenant_id LIMIT $6 OFFSET $7"
    ))
    .bind::<Nullable<Text>, _>(filter.pattern)
    .bind::<Nullable<Text>, _>(filter.partner_id)
    .bind::<Bool, _>(filter.with_company)
    .bind::<Nullable<Text>, _>(name)
    .bind::<Nullable<Text>, _>(id)
    .bind::<BigInt, _>(page.limit())
    .bind::<BigInt, _>(page.offset())
    .load(conn)
    .await?;
    let count: Count =
        diesel::sql_query(tenants_found!("SELECT count(*) AS n FROM (SELECT 1", "LIMIT 10001) AS found"))
            .bind::<Nullable<Text>, _>(filter.pattern)
            .bind::<Nullable<Text>, _>(filter.partner_id)
            .bind::<Bool, _>(filter.with_company)
            .get_result(conn)
            .await?;
    Ok((rows, count.n))
}

/// The newest subscriptions of a tenant that the caller sees, in any state, newest first.
pub async fn subscriptions_newest(conn: &mut Conn, tenant_id: &str) -> Result<Vec<SubscriptionRow>> {
    let rows = subscriptions::table.filter(subscriptions::tenant_id.eq(tenant_id));
    let rows =
        rows.order(subscriptions::subscription_id.desc()).limit(200).select(SubscriptionRow::as_select());
    Ok(rows.load(conn).await?)
}

fn after(page: &PageRequest) -> Result<(Option<String>, Option<String>)> {
    let after: Option<Named> = page.after()?;
    Ok(after.map(|Named(name, id)| (name, id)).unzip())
}

/// What a tenant owes and has in credit, as far as the caller sees it, by currency.
pub async fn balances(conn: &mut Conn, tenant_id: &str) -> Result<Vec<BalanceRow>> {
    let rows = diesel::sql_query(
        "SELECT currency, greatest(sum(due), 0)::bigint AS due_cents, greatest(sum(credit), 0)::bigint AS customer_credit_cents \
         FROM (SELECT currency, CASE document_type WHEN 'invoice' THEN due_cents ELSE 0 END AS due, 0::bigint AS credit \
                 FROM invoices WHERE tenant_id = $1 AND number IS NOT NULL \
               UNION ALL SELECT currency, 0, -amount_cents FROM ledger_entries \
                 WHERE tenant_id = $1 AND account = 'customer_credit') AS moves \
         GROUP BY currency ORDER BY currency LIMIT 200",
    )
    .bind::<Text, _>(tenant_id)
    .load(conn)
    .await?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::Named;

    #[test]
    fn a_name_is_read_as_it_was_written() {
        let key = Named::key("a\"b", "tnt_1");
        assert_eq!(key.parse::<Named>().ok(), Some(Named("a\"b".into(), "tnt_1".into())));
        assert!("a".parse::<Named>().is_err());
    }
}
