//! The rows of templates and their versions.
//!
//! The platform's templates belong to nobody, so row-level security shows them to no partner; two functions do, for
//! reading alone.
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::db::schema::{template_versions, templates};
use crate::directory::store::Named;
use crate::error::{Error, Result, on_conflict};
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

/// A template, without what it says.
#[derive(
    Clone, Debug, PartialEq, Eq, Queryable, Selectable, QueryableByName, Insertable, AsChangeset, Serialize,
)]
#[diesel(table_name = templates, primary_key(template_id), treat_none_as_null = true, check_for_backend(Pg), treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct TemplateRow {
    pub template_id: Uuid,
    pub scope: String,
    pub tenant_id: Option<String>,
    pub partner_id: Option<String>,
    pub name: String,
    pub document_type: String,
    pub language: Option<String>,
    pub subject: Option<String>,
    pub version: i32,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub deleted_at: Option<DateTime<Utc>>,
}

/// What one version of a template says.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, QueryableByName, Insertable, Serialize)]
#[diesel(table_name = template_versions, check_for_backend(Pg), treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct VersionRow {
    pub template_id: Uuid,
    pub version: i32,
    pub tenant_id: Option<String>,
    pub partner_id: Option<String>,
    pub subject: Option<String>,
    pub html_content: String,
    pub css_content: Option<String>,
    pub editor_data: Option<serde_json::Value>,
    pub created_at: DateTime<Utc>,
}

/// Which templates a list shows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Filter {
    /// Only of this kind.
    pub document_type: Option<String>,
    /// Only of this scope.
    pub scope: Option<String>,
    /// Only in this language.
    pub language: Option<String>,
    /// Only of this tenant.
    pub tenant_id: Option<String>,
    /// Only of this partner and its tenants.
    pub partner_id: Option<String>,
}

/// All templates that the caller may see.
const SEEN: &str = "(SELECT * FROM templates WHERE scope <> 'platform' AND deleted_at IS NULL
    UNION ALL SELECT * FROM sc_platform_templates()) AS t";
const FILTERED: &str =
    "($1 IS NULL OR document_type = $1) AND ($2 IS NULL OR scope = $2) AND ($3 IS NULL OR language = $3)
    AND ($4 IS NULL OR tenant_id = $4) AND ($5 IS NULL OR partner_id = $5)";

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// A page of templates by name, and how many there are.
pub async fn list(conn: &mut Conn, filter: &Filter, page: &PageRequest) -> Result<(Vec<TemplateRow>, i64)> {
    macro_rules! filtered {
        ($sql:expr) => {
            diesel::sql_query($sql)
                .bind::<Nullable<Text>, _>(&filter.document_type)
                .bind::<Nullable<Text>, _>(&filter.scope)
                .bind::<Nullable<Text>, _>(&filter.language)
                .bind::<Nullable<Text>, _>(&filter.tenant_id)
                .bind::<Nullable<Text>, _>(&filter.partner_id)
        };
    }
    let after: Option<Named> = page.after()?;
    let (name, id) = after.map_or((None, None), |Named(name, id)| (Some(name), Some(id)));
    let id = id.map(|id| Uuid::parse_str(&id)).transpose();
    let id = id.map_err(|_| Error::field("cursor", "is not a cursor of this API"))?;
    let rows = filtered!(format!(
        "SELECT * FROM {SEEN} WHERE {FILTERED} AND ($6 IS NULL OR (name, template_id) > ($6, $7))
         ORDER BY name, template_id LIMIT $8 OFFSET $9"
    ))
    .bind::<Nullable<Text>, _>(name)
    .bind::<Nullable<SqlUuid>, _>(id)
    .bind::<BigInt, _>(page.limit())
    .bind::<BigInt, _>(page.offset())
    .load(conn)
    .await?;
    let count: Count = filtered!(format!(
        "SELECT count(*) FROM (SELECT 1 FROM {SEEN} WHERE {FILTERED} LIMIT 10001) AS counted"
    ))
    .get_result(conn)
    .await?;
    Ok((rows, count.count))
}

/// One template that the caller may see.
pub async fn get(conn: &mut Conn, template_id: Uuid) -> Result<TemplateRow> {
    let found: Option<TemplateRow> =
        diesel::sql_query(format!("SELECT * FROM {SEEN} WHERE template_id = $1"))
            .bind::<SqlUuid, _>(template_id)
            .get_result(conn)
            .await
            .optional()?;
    found.ok_or(Error::NotFound("template"))
}

/// One version of a template that the caller may see, also of one that was taken away.
pub async fn version(conn: &mut Conn, template_id: Uuid, version: i32) -> Result<VersionRow> {
    let found: Option<VersionRow> = diesel::sql_query(
        "SELECT * FROM (SELECT * FROM template_versions WHERE template_id = $1
           UNION SELECT * FROM sc_platform_template_versions($1)) AS v WHERE version = $2",
    )
    .bind::<SqlUuid, _>(template_id)
    .bind::<diesel::sql_types::Integer, _>(version)
    .get_result(conn)
    .await
    .optional()?;
    found.ok_or(Error::NotFound("template"))
}

/// Locks a template that the caller may change.
///
/// Errors: 404; 403 for one that the caller only sees.
pub async fn lock(conn: &mut Conn, template_id: Uuid) -> Result<TemplateRow> {
    use templates as t;
    let found = t::table
        .filter(t::template_id.eq(template_id).and(t::deleted_at.is_null()))
        .select(TemplateRow::as_select())
        .for_update()
        .first(conn)
        .await
        .optional()?;
    match found {
        Some(row) => Ok(row),
        None => {
            get(conn, template_id).await?;
            Err(Error::Forbidden {
                message: "a template of the platform is changed by the platform alone".into(),
                details: vec![],
            })
        }
    }
}

fn taken() -> Error {
    Error::conflict("there is already a template of this kind, name and language")
}

/// Stores a new template.
///
/// Errors: 409 when its owner has one of this kind, name and language.
pub async fn insert(conn: &mut Conn, row: &TemplateRow, version: &VersionRow) -> Result<()> {
    let stored = diesel::insert_into(templates::table).values(row).execute(conn).await;
    on_conflict(stored, "templates_owner", taken)?;
    diesel::insert_into(template_versions::table).values(version).execute(conn).await?;
    Ok(())
}

/// Stores a template as it is now, with a version when it says something new.
///
/// Errors: 409 when its owner has another of this kind, name and language.
pub async fn save(conn: &mut Conn, row: &TemplateRow, version: Option<&VersionRow>) -> Result<()> {
    let stored = diesel::update(templates::table.find(row.template_id)).set(row).execute(conn).await;
    on_conflict(stored, "templates_owner", taken)?;
    if let Some(version) = version {
        diesel::insert_into(template_versions::table).values(version).execute(conn).await?;
    }
    Ok(())
}

#[derive(QueryableByName)]
struct Named1 {
    #[diesel(sql_type = Bool)]
    is_named: bool,
}

/// Whether a billing profile or partner names the template, and no other of its kind would be found under that name.
pub async fn is_last_named(conn: &mut Conn, row: &TemplateRow) -> Result<bool> {
    let column =
        if row.document_type.starts_with("email_") { "email_template_name" } else { "invoice_template_name" };
    // Who names it: tenants in its reach, by their profile or their partner; and none of the others in their reach.
    let found: Named1 = diesel::sql_query(format!(
        "SELECT EXISTS (
           SELECT 1 FROM billing_profiles b JOIN tenants n USING (tenant_id) JOIN partners p ON p.partner_id = n.partner_id
           WHERE coalesce(b.{column}, p.{column}) = $1
             AND ($2 IS NULL OR n.tenant_id = $2) AND ($3 IS NULL OR n.partner_id = $3)
             AND NOT EXISTS (
               SELECT 1 FROM {SEEN} WHERE t.name = $1 AND t.document_type = $4 AND t.template_id <> $5
                 AND (t.scope = 'platform' OR t.tenant_id = n.tenant_id OR (t.scope = 'partner' AND t.partner_id = n.partner_id)))
         ) AS is_named"
    ))
    .bind::<Text, _>(&row.name)
    .bind::<Nullable<Text>, _>(&row.tenant_id)
    .bind::<Nullable<Text>, _>(&row.partner_id)
    .bind::<Text, _>(&row.document_type)
    .bind::<SqlUuid, _>(row.template_id)
    .get_result(conn)
    .await?;
    Ok(found.is_named)
}

/// The template that a document or mail of a tenant is made with: the tenant's own before its partner's before the
/// platform's, and among these the one in the language before the one for all.
pub async fn resolve(
    conn: &mut Conn,
    (tenant_id, partner_id): (&str, &str),
    document_type: &str,
    name: &str,
    language: &str,
) -> Result<Option<TemplateRow>> {
    Ok(diesel::sql_query(format!(
        "SELECT * FROM {SEEN} WHERE document_type = $1 AND name = $2 AND (language = $3 OR language IS NULL)
           AND (scope = 'platform' OR tenant_id = $4 OR (scope = 'partner' AND partner_id = $5))
         ORDER BY array_position(ARRAY['tenant', 'partner', 'platform'], scope), language NULLS LAST LIMIT 1"
    ))
    .bind::<Text, _>(document_type)
    .bind::<Text, _>(name)
    .bind::<Text, _>(language)
    .bind::<Text, _>(tenant_id)
    .bind::<Text, _>(partner_id)
    .get_result(conn)
    .await
    .optional()?)
}

/// Every template that is in use, with what its newest version says.
pub async fn all(conn: &mut Conn) -> Result<Vec<(TemplateRow, VersionRow)>> {
    use template_versions as v;
    use templates as t;
    let rows: Vec<TemplateRow> = t::table
        .filter(t::deleted_at.is_null())
        .order(t::template_id)
        .select(TemplateRow::as_select())
        .load(conn)
        .await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let version =
            v::table.find((row.template_id, row.version)).select(VersionRow::as_select()).first(conn).await?;
        all.push((row, version));
    }
    Ok(all)
}
