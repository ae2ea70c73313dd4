//! SQL of packs: what is on offer, and the subscriptions to it.
use crate::catalog::store::Place;
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::db::schema::{
    pack_items, pack_periods, pack_subscriptions, pack_versions, service_packs, services,
    subscription_periods, subscriptions,
};
use crate::db::statement::{kept, statement};
use crate::db::{COUNTED, count_up_to};
use crate::error::{Error, Result, on_conflict};
use crate::op::OpContext;
use crate::subscriptions::store::{self as subscription_store, PeriodRow, SubscriptionRow};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rust_decimal::Decimal;
use serde::Serialize;
use uuid::Uuid;

/// A pack, without its prices and items.
#[derive(
    Clone, Debug, PartialEq, Queryable, Selectable, QueryableByName, Insertable, AsChangeset, Serialize,
)]
#[diesel(table_name = service_packs, primary_key(pack_id), treat_none_as_null = true, check_for_backend(Pg), treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the migration and in the specification")]
pub struct PackRow {
    pub pack_id: Uuid,
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
    pub icon_url: Option<String>,
    pub billing_period: String,
    pub currency: String,
    pub trial_days: i32,
    pub features: serde_json::Value,
    pub is_active: bool,
    pub is_public: bool,
    pub sort_order: i32,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a pack costs from one instant on. Rows are added, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, Serialize)]
#[diesel(table_name = pack_versions, check_for_backend(Pg), treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct VersionRow {
    pub pack_id: Uuid,
    pub version: i32,
    pub valid_from: DateTime<Utc>,
    pub discount_type: String,
    pub base_price_cents: i64,
    pub discount_percentage: Decimal,
    pub created_at: DateTime<Utc>,
}

/// A plan in one version of a pack.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, Serialize)]
#[diesel(table_name = pack_items, check_for_backend(Pg), treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct ItemRow {
    pub pack_id: Uuid,
    pub version: i32,
    pub position: i32,
    pub service_id: Uuid,
    pub plan_id: Uuid,
    pub override_price_cents: Option<i64>,
    pub sort_order: i32,
}

/// A row of `pack_subscriptions`.
#[derive(
    Clone, Debug, PartialEq, Queryable, Selectable, Insertable, AsChangeset, Identifiable, Serialize,
)]
#[diesel(table_name = pack_subscriptions, primary_key(tenant_id, pack_subscription_id), treat_none_as_null = true, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the migration and in the specification")]
pub struct PackSubscriptionRow {
    pub tenant_id: String,
    pub pack_subscription_id: Uuid,
    pub partner_id: String,
    pub pack_id: Uuid,
    pub pack_slug: String,
    pub items_version: i32,
    pub status: String,
    pub billing_period: String,
    pub currency: String,
    pub price_cents: i64,
    pub mrr_amount_cents: i64,
    pub current_period_start: Option<DateTime<Utc>>,
    pub current_period_end: Option<DateTime<Utc>>,
    pub trial_ends_at: Option<DateTime<Utc>>,
    pub activated_at: Option<DateTime<Utc>>,
    pub anchor_date: Option<NaiveDate>,
    pub anchored_at: Option<DateTime<Utc>>,
    pub timezone: String,
    pub pending_cancellation_at: Option<DateTime<Utc>>,
    pub past_due_since: Option<DateTime<Utc>>,
    pub suspended_at: Option<DateTime<Utc>>,
    pub suspension_reason: Option<String>,
    pub cancelled_at: Option<DateTime<Utc>>,
    pub cancellation_reason: Option<String>,
    pub metadata: serde_json::Value,
    pub event_sequence: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A row of `pack_periods`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = pack_periods, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct PackPeriodRow {
    pub tenant_id: String,
    pub period_id: Uuid,
    pub partner_id: String,
    pub pack_subscription_id: Uuid,
    pub ordinal: i32,
    pub starts_at: DateTime<Utc>,
    pub ends_at: Option<DateTime<Utc>>,
    pub pack_id: Uuid,
    pub pack_version: i32,
    pub created_at: DateTime<Utc>,
}

/// A pack subscription with its children, all of them locked: whoever changes one of them holds all.
#[derive(Clone, Debug, Serialize)]
pub struct Pack {
    /// The pack subscription.
    pub row: PackSubscriptionRow,
    /// One for each item, by id: the order of the items.
    pub children: Vec<SubscriptionRow>,
}

/// The most packs that are shown to a tenant.
const ON_SHOW_MAX: i64 = 1_000;

/// The packs on offer, by `sort_order`, then slug.
pub async fn on_show(conn: &mut Conn) -> Result<Vec<PackRow>> {
    use service_packs as t;
    let rows = t::table.filter(t::is_active.and(t::is_public)).order((t::sort_order, t::slug));
    Ok(rows.limit(ON_SHOW_MAX).select(PackRow::as_select()).load(conn).await?)
}

/// A pack on offer, by its slug.
///
/// Errors: 404 when there is none, or it is not on offer.
pub async fn on_show_by_slug(conn: &mut Conn, slug: &str) -> Result<PackRow> {
    use service_packs as t;
    let row = t::table.filter(t::slug.eq(slug)).filter(t::is_active.and(t::is_public));
    row.select(PackRow::as_select()).first(conn).await.optional()?.ok_or(Error::NotFound("pack"))
}

/// A pack by its id, on offer or not.
///
/// Errors: 404.
pub async fn pack(conn: &mut Conn, pack_id: Uuid) -> Result<PackRow> {
    let row = service_packs::table.find(pack_id).select(PackRow::as_select());
    row.first(conn).await.optional()?.ok_or(Error::NotFound("pack"))
}

/// The pack, locked until the transaction ends, also against new subscriptions to it: those refer to it.
///
/// Errors: 404.
pub async fn lock_pack(conn: &mut Conn, pack_id: Uuid) -> Result<PackRow> {
    let row = service_packs::table.find(pack_id).select(PackRow::as_select()).for_update();
    row.first(conn).await.optional()?.ok_or(Error::NotFound("pack"))
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// The predicate of the operators' list: `$1` a pattern, `$2` whether it is active.
macro_rules! all_packs {
    ($select:literal, $rest:literal) => {
        concat!(
            $select,
            " FROM service_packs WHERE ($1 IS NULL OR slug ILIKE $1 OR name ILIKE $1 OR description ILIKE $1)",
            " AND ($2 IS NULL OR is_active = $2) ",
            $rest
        )
    };
}

/// A page of all packs by `sort_order`, then id, and how many there are.
pub async fn all(
    conn: &mut Conn,
    pattern: Option<&str>,
    is_active: Option<bool>,
    page: &PageRequest,
) -> Result<(Vec<PackRow>, i64)> {
    let after: Option<Place> = page.after()?;
    let rows = diesel::sql_query(all_packs!(
        "SELECT *",
        "AND ($3 IS NULL OR (sort_order, pack_id) > ($3, $4)) ORDER BY sort_order, pack_id LIMIT $5 OFFSET $6"
    ))
    .bind::<Nullable<Text>, _>(pattern)
    .bind::<Nullable<Bool>, _>(is_active)
    .bind::<Nullable<Integer>, _>(after.map(|p| p.sort_order))
    .bind::<Nullable<SqlUuid>, _>(after.map(|p| p.id))
    .bind::<BigInt, _>(page.limit())
    .bind::<BigInt, _>(page.offset())
    .load(conn)
    .await?;
    let count: Count =
        diesel::sql_query(all_packs!("SELECT count(*) AS n FROM (SELECT 1", "LIMIT 10001) AS found"))
            .bind::<Nullable<Text>, _>(pattern)
            .bind::<Nullable<Bool>, _>(is_active)
            .get_result(conn)
            .await?;
    Ok((rows, count.n))
}

/// Adds a pack.
///
/// Errors: 409 when the slug is taken.
pub async fn insert_pack(conn: &mut Conn, row: &PackRow) -> Result<()> {
    let done = diesel::insert_into(service_packs::table).values(row).execute(conn).await;
    on_conflict(done, "service_packs_slug_key", || {
        Error::conflict("there is a pack with this slug already")
    })?;
    Ok(())
}

/// Writes all columns of a locked pack.
pub async fn update_pack(conn: &mut Conn, row: &PackRow) -> Result<()> {
    diesel::update(service_packs::table.find(row.pack_id)).set(row).execute(conn).await?;
    Ok(())
}

/// Adds a version with its items.
pub async fn insert_version(conn: &mut Conn, row: &VersionRow, items: &[ItemRow]) -> Result<()> {
    diesel::insert_into(pack_versions::table).values(row).execute(conn).await?;
    diesel::insert_into(pack_items::table).values(items).execute(conn).await?;
    Ok(())
}

/// The versions of packs in force at an instant, one for each. Before its first version a pack has its first price: the
/// clocks of two servers may differ by a little.
pub async fn versions_in_force(
    conn: &mut Conn,
    pack_ids: &[Uuid],
    at: DateTime<Utc>,
) -> Result<Vec<VersionRow>> {
    use pack_versions as v;
    let begun =
        v::table.filter(v::pack_id.eq_any(pack_ids)).filter(v::valid_from.le(at).or(v::version.eq(1)));
    let newest = begun.distinct_on(v::pack_id).order((v::pack_id, v::version.desc()));
    Ok(newest.select(VersionRow::as_select()).load(conn).await?)
}

/// One version of a pack.
pub async fn version(conn: &mut Conn, pack_id: Uuid, version: i32) -> Result<VersionRow> {
    let row = pack_versions::table.find((pack_id, version)).select(VersionRow::as_select());
    row.first(conn).await.optional()?.ok_or(Error::NotFound("version of the pack"))
}

/// The newest version of a pack, in force or not yet.
pub async fn newest_version(conn: &mut Conn, pack_id: Uuid) -> Result<VersionRow> {
    use pack_versions as v;
    let newest = v::table.filter(v::pack_id.eq(pack_id)).order(v::version.desc());
    let newest = newest.select(VersionRow::as_select()).first(conn).await.optional()?;
    newest.ok_or_else(|| Error::internal(format!("pack {pack_id} has no version")))
}

/// The items of one version, in order.
pub async fn items(conn: &mut Conn, pack_id: Uuid, version: i32) -> Result<Vec<ItemRow>> {
    use pack_items as t;
    let rows = t::table.filter(t::pack_id.eq(pack_id).and(t::version.eq(version))).order(t::position);
    Ok(rows.select(ItemRow::as_select()).load(conn).await?)
}

/// The items of several packs, each in one version, by pack and position.
pub async fn items_of(conn: &mut Conn, versions: &[VersionRow]) -> Result<Vec<ItemRow>> {
    use pack_items as t;
    let (packs, numbers): (Vec<Uuid>, Vec<i32>) = versions.iter().map(|v| (v.pack_id, v.version)).unzip();
    let rows = t::table.filter(t::pack_id.eq_any(packs).and(t::version.eq_any(numbers)));
    let rows = rows.select(ItemRow::as_select()).order((t::pack_id, t::version, t::position));
    let mut rows: Vec<ItemRow> = rows.load(conn).await?;
    rows.retain(|item| versions.iter().any(|v| v.pack_id == item.pack_id && v.version == item.version));
    Ok(rows)
}

/// Whether anybody has the pack.
pub async fn has_subscribers(conn: &mut Conn, pack_id: Uuid) -> Result<bool> {
    use pack_subscriptions as t;
    let live = t::table.filter(t::pack_id.eq(pack_id)).filter(t::status.ne_all(["cancelled", "expired"]));
    Ok(diesel::select(diesel::dsl::exists(live)).get_result(conn).await?)
}

/// Slugs of those services that the tenant has a live subscription to.
pub async fn taken(conn: &mut Conn, tenant_id: &str, service_ids: &[Uuid]) -> Result<Vec<String>> {
    use subscriptions as t;
    let taken = t::table
        .inner_join(services::table)
        .filter(t::tenant_id.eq(tenant_id).and(t::service_id.eq_any(service_ids)))
        .filter(t::status.ne_all(["cancelled", "expired"]))
        .select(services::slug)
        .order(services::slug);
    Ok(taken.load(conn).await?)
}

/// Adds a pack subscription.
pub async fn insert(conn: &mut Conn, row: &PackSubscriptionRow) -> Result<()> {
    diesel::insert_into(pack_subscriptions::table).values(row).execute(conn).await?;
    Ok(())
}

/// The pack subscription with its children, locked until the transaction ends: the pack first, then the children by id.
/// Everybody who locks a child comes by here, so that two never wait for each other.
///
/// Errors: 404.
pub async fn lock(conn: &mut Conn, tenant_id: &str, pack_subscription_id: Uuid) -> Result<Pack> {
    use pack_subscriptions as t;
    let row = t::table
        .find((tenant_id, pack_subscription_id))
        .select(PackSubscriptionRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?;
    let row = row.ok_or(Error::NotFound("pack subscription"))?;
    let children: Vec<SubscriptionRow> = subscriptions::table
        .filter(subscriptions::tenant_id.eq(tenant_id))
        .filter(subscriptions::pack_subscription_id.eq(pack_subscription_id))
        .order(subscriptions::subscription_id)
        .select(SubscriptionRow::as_select())
        .for_no_key_update()
        .load(conn)
        .await?;
    if children.is_empty() {
        return Err(Error::internal(format!("pack subscription {pack_subscription_id} has no children")));
    }
    Ok(Pack { row, children })
}

/// A child, locked with its pack and all other children.
///
/// Errors: 404.
pub async fn lock_child(conn: &mut Conn, tenant_id: &str, subscription_id: Uuid) -> Result<SubscriptionRow> {
    use subscriptions as t;
    let pack: Option<Option<Uuid>> = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::subscription_id.eq(subscription_id)))
        .select(t::pack_subscription_id)
        .first(conn)
        .await
        .optional()?;
    let pack = pack.flatten().ok_or(Error::NotFound("subscription"))?;
    let children = lock(conn, tenant_id, pack).await?.children;
    let child = children.into_iter().find(|child| child.subscription_id == subscription_id);
    child.ok_or(Error::NotFound("subscription"))
}

/// The periods of the children that begin at an instant, by the id of the child.
pub async fn child_periods(conn: &mut Conn, pack: &Pack, starts_at: DateTime<Utc>) -> Result<Vec<PeriodRow>> {
    use subscription_periods as t;
    let ids: Vec<Uuid> = pack.children.iter().map(|child| child.subscription_id).collect();
    let rows = t::table
        .filter(t::tenant_id.eq(&pack.row.tenant_id).and(t::subscription_id.eq_any(ids)))
        .filter(t::starts_at.eq(starts_at))
        .order(t::subscription_id);
    Ok(rows.select(PeriodRow::as_select()).load(conn).await?)
}

/// The pack subscription with its children, not locked.
///
/// Errors: 404.
pub async fn subscription(conn: &mut Conn, tenant_id: &str, pack_subscription_id: Uuid) -> Result<Pack> {
    let row = pack_subscriptions::table.find((tenant_id, pack_subscription_id));
    let row = row.select(PackSubscriptionRow::as_select()).first(conn).await.optional()?;
    let row = row.ok_or(Error::NotFound("pack subscription"))?;
    let children = children(conn, tenant_id, &[pack_subscription_id]).await?;
    Ok(Pack { row, children })
}

/// The period of a pack subscription that begins at an instant.
pub async fn period_from(
    conn: &mut Conn,
    pack: &PackSubscriptionRow,
    starts_at: DateTime<Utc>,
) -> Result<Option<PackPeriodRow>> {
    use pack_periods as t;
    let row = t::table
        .filter(t::tenant_id.eq(&pack.tenant_id))
        .filter(t::pack_subscription_id.eq(pack.pack_subscription_id).and(t::starts_at.eq(starts_at)));
    Ok(row.select(PackPeriodRow::as_select()).first(conn).await.optional()?)
}

/// Writes every column of the pack and its children back, with the time of the operation.
pub async fn save(conn: &mut Conn, op: &OpContext, pack: &mut Pack) -> Result<()> {
    pack.row.updated_at = op.now;
    kept(diesel::update(&pack.row).set(&pack.row)).execute(conn).await?;
    for child in &mut pack.children {
        subscription_store::save(conn, op, child).await?;
    }
    Ok(())
}

/// A page of a tenant's pack subscriptions, newest first, and how many there are.
pub async fn list(
    conn: &mut Conn,
    tenant_id: &str,
    status: Option<&str>,
    page: &PageRequest,
) -> Result<(Vec<PackSubscriptionRow>, i64)> {
    use pack_subscriptions as t;
    let filtered = || {
        let mut query = t::table.filter(t::tenant_id.eq(tenant_id.to_string())).into_boxed();
        if let Some(status) = status {
            query = query.filter(t::status.eq(status.to_string()));
        }
        query
    };
    let mut rows = filtered().select(PackSubscriptionRow::as_select()).order(t::pack_subscription_id.desc());
    if let Some(id) = page.after::<Uuid>()? {
        rows = rows.filter(t::pack_subscription_id.lt(id));
    }
    let rows = rows.limit(page.limit()).offset(page.offset()).load(conn).await?;
    let counted = count_up_to(conn, filtered().select(t::pack_subscription_id).limit(COUNTED)).await?;
    Ok((rows, counted))
}

/// The children of pack subscriptions of a tenant, by id.
pub async fn children(conn: &mut Conn, tenant_id: &str, packs: &[Uuid]) -> Result<Vec<SubscriptionRow>> {
    use subscriptions as t;
    let rows = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::pack_subscription_id.eq_any(packs)))
        .order(t::subscription_id);
    Ok(rows.select(SubscriptionRow::as_select()).load(conn).await?)
}

/// The newest period of a pack subscription.
pub async fn last_period(conn: &mut Conn, pack: &PackSubscriptionRow) -> Result<Option<PackPeriodRow>> {
    use pack_periods as t;
    let last = t::table
        .filter(t::tenant_id.eq(&pack.tenant_id))
        .filter(t::pack_subscription_id.eq(pack.pack_subscription_id))
        .order(t::starts_at.desc());
    Ok(last.select(PackPeriodRow::as_select()).first(conn).await.optional()?)
}

/// Adds a period.
pub async fn insert_period(conn: &mut Conn, row: &PackPeriodRow) -> Result<()> {
    diesel::insert_into(pack_periods::table).values(row).execute(conn).await?;
    Ok(())
}

/// The number of the earliest overdue invoice with a line of the pack or of one of its children.
pub async fn overdue_invoice(conn: &mut Conn, pack: &Pack) -> Result<Option<String>> {
    let owners: Vec<Uuid> = pack
        .children
        .iter()
        .map(|child| child.subscription_id)
        .chain([pack.row.pack_subscription_id])
        .collect();
    let number: Option<(String,)> = statement::<(Text,)>(
        "SELECT i.number FROM invoices i WHERE i.tenant_id = $1 AND i.number IS NOT NULL AND i.due_cents > 0
           AND (i.status = 'past_due' OR i.payment_reversed_at IS NOT NULL) AND EXISTS (SELECT 1 FROM invoice_lines l
             WHERE l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id AND l.subscription_id = ANY($2))
         ORDER BY i.issue_date, i.invoice_id LIMIT 1",
    )
    .bind::<Text, _>(&pack.row.tenant_id)
    .bind::<Array<SqlUuid>, _>(owners)
    .get_result(conn)
    .await
    .optional()?;
    Ok(number.map(|(number,)| number))
}

/// The name of a pack; its slug where the caller does not see it, as a tenant one that is no longer on offer.
pub async fn name(conn: &mut Conn, pack: &PackSubscriptionRow) -> Result<String> {
    let name = service_packs::table.find(pack.pack_id).select(service_packs::name);
    Ok(name.first(conn).await.optional()?.unwrap_or_else(|| pack.pack_slug.clone()))
}
