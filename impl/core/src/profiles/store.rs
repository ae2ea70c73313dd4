//! The rows of billing profiles, and the statements that read and write them.
use crate::db::Conn;
use crate::db::schema::billing_profiles;
use crate::error::Result;
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;

/// Whom a tenant's invoices are made out to.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset, Serialize)]
#[diesel(table_name = billing_profiles, primary_key(tenant_id), treat_none_as_null = true, check_for_backend(Pg), treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct ProfileRow {
    pub tenant_id: String,
    pub partner_id: String,
    pub company_name: String,
    pub address_line1: String,
    pub address_line2: Option<String>,
    pub postal_code: String,
    pub city: String,
    pub state: Option<String>,
    pub country_code: String,
    pub vat_number: Option<String>,
    pub tax_exempt: bool,
    pub tax_exempt_reason: Option<String>,
    pub contact_email: Option<String>,
    pub phone: Option<String>,
    pub is_business: bool,
    pub peppol_id: Option<String>,
    pub peppol_scheme: Option<String>,
    pub leitweg_id: Option<String>,
    pub preferred_einvoice_format: Option<String>,
    pub preferred_language: Option<String>,
    pub invoice_template_name: Option<String>,
    pub email_template_name: Option<String>,
    pub buyer_reference: Option<String>,
    pub vat_number_status: String,
    pub vat_number_checked_at: Option<DateTime<Utc>>,
    pub vat_check_attempts: i32,
    pub vat_check_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The profile of a tenant.
pub async fn find(conn: &mut Conn, tenant_id: &str) -> Result<Option<ProfileRow>> {
    Ok(billing_profiles::table
        .find(tenant_id)
        .select(ProfileRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Adds a profile. Its tenant is locked.
pub async fn insert(conn: &mut Conn, row: &ProfileRow) -> Result<()> {
    diesel::insert_into(billing_profiles::table).values(row).execute(conn).await?;
    Ok(())
}

/// Writes all columns of a profile. Its tenant is locked.
pub async fn update(conn: &mut Conn, row: &ProfileRow) -> Result<()> {
    diesel::update(billing_profiles::table.find(&row.tenant_id)).set(row).execute(conn).await?;
    Ok(())
}
