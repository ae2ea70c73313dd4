//! The statements behind a tenant's view of itself.
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::db::schema::tenants;
use crate::db::statement::statement;
use crate::directory::TenantRow;
use crate::error::Result;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// What a tenant may know of its partner.
#[derive(Clone, Debug, Queryable)]
#[expect(missing_docs, reason = "columns of sc_own_partner")]
pub struct OwnPartner {
    pub partner_id: String,
    pub name: String,
    pub legal_name: Option<String>,
    pub support_email: Option<String>,
    pub support_phone: Option<String>,
    pub logo_url: Option<String>,
}

/// A user, and the roles that are in effect.
#[derive(Clone, Debug, Queryable)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct UserRow {
    pub user_id: String,
    pub tenant_id: String,
    pub partner_id: String,
    pub email: Option<String>,
    pub display_name: Option<String>,
    pub is_active: bool,
    /// Each once, in alphabetical order.
    pub roles: Vec<String>,
    pub last_seen_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Where a row stands in a list by age, then id: the key of its cursor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Since(DateTime<Utc>, String);

impl Since {
    /// As text that [`FromStr`] reads.
    pub fn key(at: DateTime<Utc>, id: &str) -> String {
        serde_json::json!([at, id]).to_string()
    }
}

impl FromStr for Since {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// The partner of the tenant that the transaction is for.
pub async fn own_partner(conn: &mut Conn) -> Result<Option<OwnPartner>> {
    type Columns = (Text, Text, Nullable<Text>, Nullable<Text>, Nullable<Text>, Nullable<Text>);
    let query = statement::<Columns>(
        "SELECT partner_id, name, legal_name, support_email, seller_phone, logo_url FROM sc_own_partner()",
    );
    Ok(query.get_result(conn).await.optional()?)
}

/// Writes what a tenant may change of itself; the row is locked.
pub async fn update(conn: &mut Conn, row: &TenantRow) -> Result<()> {
    use tenants as t;
    diesel::update(t::table.find(&row.tenant_id))
        .set((
            t::name.eq(&row.name),
            t::preferred_language.eq(&row.preferred_language),
            t::timezone.eq(&row.timezone),
            t::metadata.eq(&row.metadata),
            t::updated_at.eq(row.updated_at),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// A page of the users of a tenant, by the time they became known and then id, and how many there are. What a token
/// claimed counts unless the user was changed after it was seen.
pub async fn users(conn: &mut Conn, tenant_id: &str, page: &PageRequest) -> Result<(Vec<UserRow>, i64)> {
    type Columns = (
        Text,
        Text,
        Text,
        Nullable<Text>,
        Nullable<Text>,
        Bool,
        Array<Text>,
        Nullable<Timestamptz>,
        Timestamptz,
        Timestamptz,
    );
    let after: Option<Since> = page.after()?;
    let (at, id) = after.map(|Since(at, id)| (at, id)).unzip();
    let rows = statement::<Columns>(
        "SELECT u.user_id, u.tenant_id, u.partner_id, u.email, u.display_name, u.is_active,
           ARRAY(SELECT r.role FROM user_roles r WHERE r.user_id = u.user_id
                 UNION SELECT g.role FROM group_members m JOIN groups g USING (group_id) WHERE m.user_id = u.user_id AND g.role IS NOT NULL
                 UNION SELECT unnest(u.token_roles) WHERE u.claims_valid_from IS NULL OR u.claims_valid_from <= u.last_seen_at
                 ORDER BY 1),
           u.last_seen_at, u.created_at, u.updated_at
         FROM users u
         WHERE u.tenant_id = $1 AND u.erased_at IS NULL
           AND (u.created_at, u.user_id) > (COALESCE($2, '-infinity'), COALESCE($3, ''))
         ORDER BY u.created_at, u.user_id LIMIT $4 OFFSET $5",
    )
    .bind::<Text, _>(tenant_id)
    .bind::<Nullable<Timestamptz>, _>(at)
    .bind::<Nullable<Text>, _>(id)
    .bind::<BigInt, _>(page.limit())
    .bind::<BigInt, _>(page.offset())
    .load(conn)
    .await?;
    let count = statement::<BigInt>(
        "SELECT count(*) FROM (SELECT 1 FROM users WHERE tenant_id = $1 AND erased_at IS NULL LIMIT 10001) AS counted",
    )
    .bind::<Text, _>(tenant_id)
    .get_result(conn)
    .await?;
    Ok((rows, count))
}
