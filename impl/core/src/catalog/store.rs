//! The rows of the catalogue, and the statements that read and write them.
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::db::schema::{metrics, plan_versions, plans, pricing_tiers, service_keys, services};
use crate::error::{Error, Result, on_conflict};
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rust_decimal::Decimal;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A service: its entry in the catalogue and what the registry knows of it.
#[derive(
    Clone, Debug, PartialEq, Queryable, Selectable, QueryableByName, Insertable, AsChangeset, Serialize,
)]
#[diesel(table_name = services, primary_key(service_id), treat_none_as_null = true, check_for_backend(Pg), treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct ServiceRow {
    pub service_id: Uuid,
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
    pub category: Option<String>,
    pub icon_url: Option<String>,
    pub version: Option<String>,
    pub app_id: Option<String>,
    pub client_id: Option<String>,
    pub base_url: Option<String>,
    pub health_check_url: Option<String>,
    pub capabilities: serde_json::Value,
    pub endpoints: serde_json::Value,
    pub provisioning: Option<serde_json::Value>,
    pub status: String,
    pub health_status: Option<String>,
    pub heartbeat_interval_seconds: Option<i32>,
    pub last_heartbeat_at: Option<DateTime<Utc>>,
    pub missed_heartbeats: i32,
    pub pending_base_url: Option<String>,
    pub pending_health_check_url: Option<String>,
    pub registration_version: i32,
    pub registered_at: Option<DateTime<Utc>>,
    pub approved_at: Option<DateTime<Utc>>,
    pub suspended_at: Option<DateTime<Utc>>,
    pub suspension_reason: Option<String>,
    pub is_active: bool,
    pub is_public: bool,
    pub sort_order: i32,
    pub metadata: serde_json::Value,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl ServiceRow {
    /// Whether the service runs, so that it can be sold.
    pub fn is_up(&self) -> bool {
        matches!(self.status.as_str(), "active" | "degraded")
    }

    /// Whether the catalogue shows it.
    pub fn is_on_show(&self) -> bool {
        self.is_active && self.is_public && self.is_up()
    }
}

/// Something that a service measures.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset, Serialize)]
#[diesel(table_name = metrics, primary_key(metric_id), check_for_backend(Pg), treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct MetricRow {
    pub metric_id: Uuid,
    pub service_id: Uuid,
    pub slug: String,
    pub name: String,
    pub unit: String,
    pub aggregation: String,
    pub created_at: DateTime<Utc>,
}

/// A plan, without its prices.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Insertable, AsChangeset, Serialize)]
#[diesel(table_name = plans, primary_key(plan_id), treat_none_as_null = true, check_for_backend(Pg), treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct PlanRow {
    pub plan_id: Uuid,
    pub service_id: Uuid,
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
    pub tier: Option<String>,
    pub billing_period: String,
    pub currency: String,
    pub features: serde_json::Value,
    pub quotas: serde_json::Value,
    pub is_active: bool,
    pub is_public: bool,
    pub trial_days: i32,
    pub sort_order: i32,
    pub metadata: serde_json::Value,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a plan costs from one instant on. Rows are added, never changed; `valid_from` never falls from one version to
/// the next.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, Serialize)]
#[diesel(table_name = plan_versions, check_for_backend(Pg), treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct VersionRow {
    pub plan_id: Uuid,
    pub version: i32,
    pub valid_from: DateTime<Utc>,
    pub base_price_cents: i64,
    pub created_at: DateTime<Utc>,
}

/// One tier of a version.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, QueryableByName, Insertable, Serialize)]
#[diesel(table_name = pricing_tiers, check_for_backend(Pg), treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct TierRow {
    pub plan_id: Uuid,
    pub version: i32,
    pub metric_slug: String,
    pub position: i32,
    pub pricing_model: String,
    pub tier_start: Decimal,
    pub tier_end: Option<Decimal>,
    pub unit_price_cents: Decimal,
    pub unit_label: String,
    pub unit_divisor: Decimal,
    pub flat_fee_cents: i64,
    pub minimum_cents: i64,
}

/// A key of a service, without its secret.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = service_keys, check_for_backend(Pg))]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct ServiceKeyRow {
    pub key_id: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Where a row stands in a list by `sort_order`, then id: the key of its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Lower comes first.
    pub sort_order: i32,
    /// Decides between equals.
    pub id: Uuid,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sort_order, self.id)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (sort_order, id) = text.split_once(':').ok_or(())?;
        Ok(Place { sort_order: sort_order.parse().map_err(|_| ())?, id: id.parse().map_err(|_| ())? })
    }
}

/// A number of rows.
#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// The predicate of what is on show, with its search: `$1` a pattern, `$2` a category.
macro_rules! services_on_show {
    ($select:literal, $rest:literal) => {
        concat!(
            $select,
            " FROM services WHERE is_active AND is_public AND status IN ('active', 'degraded')",
            " AND ($1 IS NULL OR slug ILIKE $1 OR name ILIKE $1 OR description ILIKE $1)",
            " AND ($2 IS NULL OR category = $2) ",
            $rest
        )
    };
}

/// A page of the services on show, and how many there are.
pub async fn services_on_show(
    conn: &mut Conn,
    pattern: Option<&str>,
    category: Option<&str>,
    page: &PageRequest,
) -> Result<(Vec<ServiceRow>, i64)> {
    let after: Option<Place> = page.after()?;
    let rows = diesel::sql_query(services_on_show!(
        "SELECT *",
        "AND ($3 IS NULL OR (sort_order, service_id) > ($3, $4)) ORDER BY sort_order, service_id LIMIT $5 OFFSET $6"
    ))
    .bind::<Nullable<Text>, _>(pattern)
    .bind::<Nullable<Text>, _>(category)
    .bind::<Nullable<Integer>, _>(after.map(|p| p.sort_order))
    .bind::<Nullable<SqlUuid>, _>(after.map(|p| p.id))
    .bind::<BigInt, _>(page.limit())
    .bind::<BigInt, _>(page.offset())
    .load(conn)
    .await?;
    let count: Count =
        diesel::sql_query(services_on_show!("SELECT count(*) AS n FROM (SELECT 1", "LIMIT 10001) AS found"))
            .bind::<Nullable<Text>, _>(pattern)
            .bind::<Nullable<Text>, _>(category)
            .get_result(conn)
            .await?;
    Ok((rows, count.n))
}

/// A service by its slug.
pub async fn service_by_slug(conn: &mut Conn, slug: &str) -> Result<Option<ServiceRow>> {
    Ok(services::table
        .filter(services::slug.eq(slug))
        .select(ServiceRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// A service by its id.
pub async fn service(conn: &mut Conn, service_id: Uuid) -> Result<Option<ServiceRow>> {
    Ok(services::table.find(service_id).select(ServiceRow::as_select()).first(conn).await.optional()?)
}

/// Locks a service until the transaction ends: whoever changes what its plans refer to (metrics, quotas, tiers) holds
/// this lock first, so that a metric cannot go while a quota for it comes.
pub async fn service_lock(conn: &mut Conn, service_id: Uuid) -> Result<Option<ServiceRow>> {
    let row = services::table.find(service_id).select(ServiceRow::as_select()).for_no_key_update();
    Ok(row.first(conn).await.optional()?)
}

/// Locks services by their slugs, always in the same order.
pub async fn services_lock(conn: &mut Conn, slugs: &[String]) -> Result<()> {
    let rows =
        services::table.filter(services::slug.eq_any(slugs)).order(services::slug).select(services::slug);
    let _: Vec<String> = rows.for_no_key_update().load(conn).await?;
    Ok(())
}

/// Adds a service.
///
/// Errors: 409 when the slug is taken, or the client is another service's.
pub async fn service_insert(conn: &mut Conn, row: &ServiceRow) -> Result<()> {
    client_free(conn, row).await?;
    let done = diesel::insert_into(services::table).values(row).execute(conn).await;
    on_conflict(done, "services_slug_key", || Error::conflict("there is a service with this slug already"))?;
    Ok(())
}

/// Writes all columns of a locked service.
///
/// Errors: 409 when the client is another service's.
pub async fn service_update(conn: &mut Conn, row: &ServiceRow) -> Result<()> {
    client_free(conn, row).await?;
    let done = diesel::update(services::table.find(row.service_id)).set(row).execute(conn).await;
    on_conflict(done, "services_client_id_key", client_taken)?;
    Ok(())
}

/// Refuses a client that another service is bound to.
async fn client_free(conn: &mut Conn, row: &ServiceRow) -> Result<()> {
    let Some(client_id) = &row.client_id else { return Ok(()) };
    let bound = services::table
        .filter(services::client_id.eq(client_id))
        .filter(services::service_id.ne(row.service_id));
    let bound: bool = diesel::select(diesel::dsl::exists(bound)).get_result(conn).await?;
    if bound { Err(client_taken()) } else { Ok(()) }
}

fn client_taken() -> Error {
    Error::conflict("the client belongs to another service")
}

/// What each service must wait for in a pack: slug, and the slugs in `depends_on`.
pub async fn service_dependencies(conn: &mut Conn) -> Result<BTreeMap<String, Vec<String>>> {
    let rows: Vec<(String, Option<serde_json::Value>)> =
        services::table.select((services::slug, services::provisioning)).load(conn).await?;
    Ok(rows
        .into_iter()
        .map(|(slug, provisioning)| {
            let list = provisioning.and_then(|p| serde_json::from_value(p.get("depends_on")?.clone()).ok());
            (slug, list.unwrap_or_default())
        })
        .collect())
}

/// The keys of a service, newest first.
pub async fn service_keys(conn: &mut Conn, service_id: Uuid) -> Result<Vec<ServiceKeyRow>> {
    let keys = service_keys::table.filter(service_keys::service_id.eq(service_id));
    Ok(keys.order(service_keys::created_at.desc()).select(ServiceKeyRow::as_select()).load(conn).await?)
}

/// The metrics of a service, by slug.
pub async fn metrics(conn: &mut Conn, service_id: Uuid) -> Result<Vec<MetricRow>> {
    let rows = metrics::table.filter(metrics::service_id.eq(service_id)).order(metrics::slug);
    Ok(rows.select(MetricRow::as_select()).load(conn).await?)
}

/// Adds metrics.
pub async fn metrics_insert(conn: &mut Conn, rows: &[MetricRow]) -> Result<()> {
    diesel::insert_into(metrics::table).values(rows).execute(conn).await?;
    Ok(())
}

/// Writes the columns of a metric.
pub async fn metric_update(conn: &mut Conn, row: &MetricRow) -> Result<()> {
    diesel::update(metrics::table.find(row.metric_id)).set(row).execute(conn).await?;
    Ok(())
}

/// Takes metrics away.
pub async fn metrics_delete(conn: &mut Conn, ids: &[Uuid]) -> Result<()> {
    diesel::delete(metrics::table.filter(metrics::metric_id.eq_any(ids))).execute(conn).await?;
    Ok(())
}

/// Whether a metric has a quota, a price in any version, or usage. Usage is looked for tenant by tenant, along the
/// index of the totals, since a metric without any would otherwise cost a walk through all of them.
pub async fn metric_is_used(conn: &mut Conn, metric: &MetricRow) -> Result<bool> {
    #[derive(QueryableByName)]
    struct Used {
        #[diesel(sql_type = Bool)]
        used: bool,
    }
    let used: Used = diesel::sql_query(
        "SELECT EXISTS (SELECT 1 FROM plans p WHERE p.service_id = $1 AND p.quotas ? $2) \
         OR EXISTS (SELECT 1 FROM plans p JOIN pricing_tiers t USING (plan_id) WHERE p.service_id = $1 AND t.metric_slug = $2) \
         OR EXISTS (SELECT 1 FROM (SELECT DISTINCT s.tenant_id FROM subscriptions s WHERE s.service_id = $1) AS t, \
             LATERAL (SELECT 1 FROM usage_totals u \
               WHERE u.tenant_id = t.tenant_id AND u.service_id = $1 AND u.metric_id = $3 LIMIT 1) AS one) AS used",
    )
    .bind::<SqlUuid, _>(metric.service_id)
    .bind::<Text, _>(&metric.slug)
    .bind::<SqlUuid, _>(metric.metric_id)
    .get_result(conn)
    .await?;
    Ok(used.used)
}

/// The plans of a service that the catalogue shows, by `sort_order`, then id.
pub async fn plans_on_show(conn: &mut Conn, service_id: Uuid) -> Result<Vec<PlanRow>> {
    let shown = plans::table
        .filter(plans::service_id.eq(service_id))
        .filter(plans::is_active)
        .filter(plans::is_public);
    let shown = shown.order((plans::sort_order, plans::plan_id)).limit(1000);
    Ok(shown.select(PlanRow::as_select()).load(conn).await?)
}

/// A plan with its service, by its id.
pub async fn plan(conn: &mut Conn, plan_id: Uuid) -> Result<Option<(PlanRow, ServiceRow)>> {
    let both = plans::table.inner_join(services::table.on(services::service_id.eq(plans::service_id)));
    let both =
        both.filter(plans::plan_id.eq(plan_id)).select((PlanRow::as_select(), ServiceRow::as_select()));
    Ok(both.first(conn).await.optional()?)
}

/// A plan with its service, by the slugs that its key is made of.
pub async fn plan_by_key(
    conn: &mut Conn,
    service: &str,
    plan: &str,
) -> Result<Option<(PlanRow, ServiceRow)>> {
    let both = plans::table.inner_join(services::table.on(services::service_id.eq(plans::service_id)));
    let both = both.filter(services::slug.eq(service)).filter(plans::slug.eq(plan));
    Ok(both.select((PlanRow::as_select(), ServiceRow::as_select())).first(conn).await.optional()?)
}

/// Locks a plan until the transaction ends. Lock its service first.
pub async fn plan_lock(conn: &mut Conn, plan_id: Uuid) -> Result<Option<PlanRow>> {
    let row = plans::table.find(plan_id).select(PlanRow::as_select()).for_no_key_update();
    Ok(row.first(conn).await.optional()?)
}

/// Adds a plan.
///
/// Errors: 409 when the service has a plan with this slug.
pub async fn plan_insert(conn: &mut Conn, row: &PlanRow) -> Result<()> {
    let done = diesel::insert_into(plans::table).values(row).execute(conn).await;
    on_conflict(done, "plans_service_id_slug_key", || {
        Error::conflict("the service has a plan with this slug already")
    })?;
    Ok(())
}

/// Writes all columns of a locked plan.
pub async fn plan_update(conn: &mut Conn, row: &PlanRow) -> Result<()> {
    diesel::update(plans::table.find(row.plan_id)).set(row).execute(conn).await?;
    Ok(())
}

/// The versions of plans in force at an instant, one for each plan. Before its first version a plan has its first
/// prices: the clocks of two servers may differ by a little.
pub async fn versions_in_force(
    conn: &mut Conn,
    plan_ids: &[Uuid],
    at: DateTime<Utc>,
) -> Result<Vec<VersionRow>> {
    use plan_versions as v;
    let begun =
        v::table.filter(v::plan_id.eq_any(plan_ids)).filter(v::valid_from.le(at).or(v::version.eq(1)));
    let newest = begun.distinct_on(v::plan_id).order((v::plan_id, v::version.desc()));
    Ok(newest.select(VersionRow::as_select()).load(conn).await?)
}

/// One version of a plan.
pub async fn version(conn: &mut Conn, plan_id: Uuid, version: i32) -> Result<Option<VersionRow>> {
    let row = plan_versions::table.find((plan_id, version)).select(VersionRow::as_select());
    Ok(row.first(conn).await.optional()?)
}

/// The newest version of a plan, in force or not yet.
pub async fn version_newest(conn: &mut Conn, plan_id: Uuid) -> Result<Option<VersionRow>> {
    let newest =
        plan_versions::table.filter(plan_versions::plan_id.eq(plan_id)).order(plan_versions::version.desc());
    Ok(newest.select(VersionRow::as_select()).first(conn).await.optional()?)
}

/// Adds a version with its tiers.
pub async fn version_insert(conn: &mut Conn, row: &VersionRow, tiers: &[TierRow]) -> Result<()> {
    diesel::insert_into(plan_versions::table).values(row).execute(conn).await?;
    if !tiers.is_empty() {
        diesel::insert_into(pricing_tiers::table).values(tiers).execute(conn).await?;
    }
    Ok(())
}

/// The tiers of versions, by plan, metric and position.
pub async fn tiers(conn: &mut Conn, versions: &[VersionRow]) -> Result<Vec<TierRow>> {
    let (plans, numbers): (Vec<Uuid>, Vec<i32>) = versions.iter().map(|v| (v.plan_id, v.version)).unzip();
    let rows = diesel::sql_query(
        "SELECT t.* FROM unnest($1, $2) AS v (plan_id, version) JOIN pricing_tiers t USING (plan_id, version) \
         ORDER BY t.plan_id, t.metric_slug, t.position",
    )
    .bind::<Array<SqlUuid>, _>(plans)
    .bind::<Array<Integer>, _>(numbers)
    .load(conn)
    .await?;
    Ok(rows)
}

/// The tiers of one version, by metric and position.
pub async fn tiers_of(conn: &mut Conn, plan_id: Uuid, version: i32) -> Result<Vec<TierRow>> {
    use pricing_tiers as t;
    let rows = t::table
        .filter(t::plan_id.eq(plan_id))
        .filter(t::version.eq(version))
        .order((t::metric_slug, t::position));
    Ok(rows.select(TierRow::as_select()).load(conn).await?)
}

#[cfg(test)]
mod tests {
    use super::Place;
    use uuid::Uuid;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place = Place { sort_order: 20, id: Uuid::from_u128(7) };
        assert_eq!(place.to_string().parse(), Ok(place));
        assert!("20".parse::<Place>().is_err());
        assert!("x:y".parse::<Place>().is_err());
    }
}
