//! SQL of subscriptions, their periods and segments.
use crate::db::Conn;
use crate::db::schema::{
    billed_items, billing_profiles, mrr_changes, partners, segments, subscription_periods, subscriptions,
    tenants,
};
use crate::db::statement::{kept, statement};
use crate::error::{Error, Result, on_conflict};
use crate::op::{OpContext, Scope};
use crate::packs;
use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::mrr;
use serde::Serialize;
use uuid::Uuid;

/// A row of `subscriptions`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable, AsChangeset, Identifiable, Serialize)]
#[diesel(table_name = subscriptions, primary_key(tenant_id, subscription_id), treat_none_as_null = true, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the migration and in the specification")]
pub struct SubscriptionRow {
    pub tenant_id: String,
    pub subscription_id: Uuid,
    pub partner_id: String,
    pub service_id: Uuid,
    pub plan_id: Uuid,
    pub quantity: i32,
    pub status: String,
    pub billing_period: String,
    pub currency: String,
    pub mrr_amount_cents: i64,
    pub current_period_start: Option<DateTime<Utc>>,
    pub current_period_end: Option<DateTime<Utc>>,
    pub trial_ends_at: Option<DateTime<Utc>>,
    pub activated_at: Option<DateTime<Utc>>,
    pub anchor_date: Option<NaiveDate>,
    pub anchored_at: Option<DateTime<Utc>>,
    pub timezone: String,
    pub pending_cancellation_at: Option<DateTime<Utc>>,
    pub pending_plan_id: Option<Uuid>,
    pub pending_quantity: Option<i32>,
    pub ends_at: Option<DateTime<Utc>>,
    pub past_due_since: Option<DateTime<Utc>>,
    pub suspended_at: Option<DateTime<Utc>>,
    pub suspension_reason: Option<String>,
    pub cancelled_at: Option<DateTime<Utc>>,
    pub cancellation_reason: Option<String>,
    pub pack_subscription_id: Option<Uuid>,
    pub metadata: serde_json::Value,
    pub event_sequence: i64,
    pub usage_until: Option<DateTime<Utc>>,
    pub next_event_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub prices_untold: bool,
    pub prices_told_at: Option<DateTime<Utc>>,
}

impl SubscriptionRow {
    /// Whether it belongs to a pack, which has the price, the events and the say over its state.
    pub fn is_child(&self) -> bool {
        self.pack_subscription_id.is_some()
    }

    /// Gives it a plan. What it was told of the prices of another one does not matter any more.
    pub fn take_plan(&mut self, plan_id: Uuid) {
        if self.plan_id != plan_id {
            (self.prices_untold, self.prices_told_at) = (false, None);
        }
        self.plan_id = plan_id;
    }
}

/// A row of `subscription_periods`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = subscription_periods, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct PeriodRow {
    pub tenant_id: String,
    pub period_id: Uuid,
    pub partner_id: String,
    pub subscription_id: Uuid,
    pub ordinal: i32,
    pub starts_at: DateTime<Utc>,
    pub ends_at: Option<DateTime<Utc>>,
    pub plan_id: Uuid,
    pub plan_version: i32,
    pub quantity: i32,
    pub created_at: DateTime<Utc>,
    pub billed_until: Option<DateTime<Utc>>,
    pub whole_starts_at: DateTime<Utc>,
    pub whole_ends_at: Option<DateTime<Utc>>,
}

/// A row of `segments`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = segments, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct SegmentRow {
    pub tenant_id: String,
    pub segment_id: Uuid,
    pub partner_id: String,
    pub subscription_id: Uuid,
    pub service_id: Uuid,
    pub plan_id: Uuid,
    pub plan_version: i32,
    pub month_starts_at: DateTime<Utc>,
    pub month_ends_at: DateTime<Utc>,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
    pub is_trial: bool,
    pub created_at: DateTime<Utc>,
}

/// A row of `billed_items`: something that is billed once.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = billed_items, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct BilledItemRow {
    pub tenant_id: String,
    pub billed_item_id: Uuid,
    pub partner_id: String,
    pub source_type: String,
    pub source_id: Uuid,
    pub period_start: DateTime<Utc>,
    pub kind: String,
    pub revision: i32,
    pub subscription_id: Option<Uuid>,
    pub currency: String,
    pub due_at: DateTime<Utc>,
    pub run_date: NaiveDate,
    pub own_invoice: bool,
    pub status: String,
    pub invoice_id: Option<Uuid>,
    pub waived: bool,
    pub created_at: DateTime<Utc>,
    pub floats: bool,
}

/// What a new subscription takes from its tenant and partner.
#[derive(Clone, Debug, QueryableByName)]
pub struct Owner {
    /// The tenant's partner.
    #[diesel(sql_type = Text)]
    pub partner_id: String,
    /// The partner's IANA timezone.
    #[diesel(sql_type = Text)]
    pub timezone: String,
}

/// The partner of the tenant that `op` sees.
pub async fn owner(conn: &mut Conn) -> Result<Owner> {
    let owner = kept(diesel::sql_query("SELECT partner_id, timezone FROM sc_own_partner()"));
    let owner = owner.get_result(conn).await.optional()?;
    owner.ok_or(Error::NotFound("tenant"))
}

/// The same of a tenant that the caller, an administrator, sees.
///
/// Errors: 404.
pub async fn owner_of(conn: &mut Conn, tenant_id: &str) -> Result<Owner> {
    let partner_id: Option<String> =
        tenants::table.find(tenant_id).select(tenants::partner_id).first(conn).await.optional()?;
    let partner_id = partner_id.ok_or(Error::NotFound("tenant"))?;
    let timezone = partners::table.find(&partner_id).select(partners::timezone).first(conn).await?;
    Ok(Owner { partner_id, timezone })
}

/// The timezone of a subscription's partner as it is now.
pub async fn partner_timezone(conn: &mut Conn, op: &OpContext, sub: &SubscriptionRow) -> Result<String> {
    if matches!(op.scope, Scope::Tenant(_)) {
        return Ok(owner(conn).await?.timezone);
    }
    Ok(partners::table.find(&sub.partner_id).select(partners::timezone).first(conn).await?)
}

/// Whether the tenant has a billing profile.
pub async fn has_profile(conn: &mut Conn, tenant_id: &str) -> Result<bool> {
    let found = billing_profiles::table.filter(billing_profiles::tenant_id.eq(tenant_id));
    Ok(diesel::select(diesel::dsl::exists(found)).get_result(conn).await?)
}

/// Whether the tenant ever had a trial of the service.
pub async fn had_trial(conn: &mut Conn, tenant_id: &str, service_id: Uuid) -> Result<bool> {
    use subscriptions as t;
    let found = t::table.filter(
        t::tenant_id.eq(tenant_id).and(t::service_id.eq(service_id)).and(t::trial_ends_at.is_not_null()),
    );
    Ok(diesel::select(diesel::dsl::exists(found)).get_result(conn).await?)
}

/// Adds a subscription.
///
/// Errors: 409 when the tenant has a live one for the service.
pub async fn insert(conn: &mut Conn, row: &SubscriptionRow) -> Result<()> {
    let done = diesel::insert_into(subscriptions::table).values(row).execute(conn).await;
    on_conflict(done, "subscriptions_live", || {
        Error::conflict("the tenant already has a live subscription to this service")
    })?;
    Ok(())
}

/// Writes every column of the row back, with the time of the operation, and what that means for recurring revenue.
pub async fn save(conn: &mut Conn, op: &OpContext, row: &mut SubscriptionRow) -> Result<()> {
    row.updated_at = op.now;
    kept(diesel::update(&*row).set(&*row)).execute(conn).await?;
    note_revenue(conn, op, row, op.now).await
}

/// What the subscription counts with in recurring revenue, if it counts.
pub fn counted(row: &SubscriptionRow) -> Result<Option<Cents>> {
    let state = row.status.parse().map_err(Error::internal)?;
    let interval = row.billing_period.parse().map_err(Error::internal)?;
    Ok(mrr::counted(state, interval, Cents(row.mrr_amount_cents)))
}

/// Writes down that the subscription counts differently from `at` on, if it does. Runs under its lock.
pub async fn note_revenue(
    conn: &mut Conn,
    op: &OpContext,
    row: &SubscriptionRow,
    at: DateTime<Utc>,
) -> Result<()> {
    use mrr_changes as t;
    let last: Option<(i32, Option<i64>)> = t::table
        .filter(t::tenant_id.eq(&row.tenant_id).and(t::subscription_id.eq(row.subscription_id)))
        .select((t::ordinal, t::counted_cents))
        .order(t::ordinal.desc())
        .first(conn)
        .await
        .optional()?;
    let (ordinal, before) = last.unwrap_or((0, None));
    let after = counted(row)?;
    let moved = mrr::movement(before.map(Cents), after).map_err(Error::internal)?;
    let Some((kind, delta)) = moved else { return Ok(()) };
    diesel::insert_into(t::table)
        .values((
            t::tenant_id.eq(&row.tenant_id),
            t::subscription_id.eq(row.subscription_id),
            t::ordinal.eq(ordinal.checked_add(1).ok_or_else(|| Error::internal("too many changes"))?),
            t::partner_id.eq(&row.partner_id),
            t::kind.eq(kind.as_str()),
            t::currency.eq(&row.currency),
            t::delta_cents.eq(delta.0),
            t::counted_cents.eq(after.map(|c| c.0)),
            t::occurred_at.eq(at),
            t::created_at.eq(op.now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// One subscription of the tenants that `op` sees.
pub async fn get(conn: &mut Conn, subscription_id: Uuid) -> Result<SubscriptionRow> {
    use subscriptions as t;
    let row = t::table
        .filter(t::subscription_id.eq(subscription_id))
        .select(SubscriptionRow::as_select())
        .first(conn)
        .await
        .optional()?;
    row.ok_or(Error::NotFound("subscription"))
}

/// The subscription, locked until the transaction ends: whoever changes its state or its segments holds this lock.
///
/// The child of a pack is locked with its pack and all other children, the pack first, whoever wants one of them.
pub async fn lock(conn: &mut Conn, tenant_id: &str, subscription_id: Uuid) -> Result<SubscriptionRow> {
    use subscriptions as t;
    let alone = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::subscription_id.eq(subscription_id)))
        .filter(t::pack_subscription_id.is_null())
        .select(SubscriptionRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?;
    match alone {
        Some(row) => Ok(row),
        None => packs::store::lock_child(conn, tenant_id, subscription_id).await,
    }
}

/// Subscriptions whose next event lies at or before `until`, earliest first, after the given position.
pub async fn due(
    conn: &mut Conn,
    tenant_id: Option<&str>,
    until: DateTime<Utc>,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<(String, Uuid, DateTime<Utc>)>> {
    use subscriptions as t;
    let mut query = t::table
        .filter(t::next_event_at.le(until))
        .select((t::tenant_id, t::subscription_id, t::next_event_at.assume_not_null()))
        .order((t::next_event_at, t::subscription_id))
        .limit(limit)
        .into_boxed();
    if let Some(tenant_id) = tenant_id {
        query = query.filter(t::tenant_id.eq(tenant_id.to_string()));
    }
    if let Some((at, id)) = after {
        query =
            query.filter(t::next_event_at.gt(at).or(t::next_event_at.eq(at).and(t::subscription_id.gt(id))));
    }
    Ok(query.load(conn).await?)
}

/// Subscriptions that an unpaid invoice holds down (past due, or suspended by dunning) with a line on the invoice. A line of
/// a pack, or of one of its children, is one of all its children.
pub async fn held_down(conn: &mut Conn, tenant_id: &str, invoice_id: Uuid) -> Result<Vec<Uuid>> {
    let rows: Vec<(Uuid,)> = statement::<(SqlUuid,)>(
        "SELECT s.subscription_id FROM subscriptions s
         WHERE s.tenant_id = $1 AND (s.status = 'past_due' OR (s.status = 'suspended' AND s.suspension_reason = 'dunning'))
           AND EXISTS (SELECT 1 FROM invoice_lines l
             WHERE l.tenant_id = s.tenant_id AND l.invoice_id = $2 AND l.subscription_id IN (
               SELECT s.subscription_id UNION ALL SELECT s.pack_subscription_id UNION ALL SELECT c.subscription_id FROM subscriptions c
               WHERE c.tenant_id = s.tenant_id AND c.pack_subscription_id = s.pack_subscription_id)) ORDER BY 1",
    )
    .bind::<Text, _>(tenant_id)
    .bind::<SqlUuid, _>(invoice_id)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Number of the oldest overdue invoice with a line of the subscription, or of the pack that it is a child of.
pub async fn overdue(conn: &mut Conn, sub: &SubscriptionRow) -> Result<Option<String>> {
    let found: Option<(String,)> = statement::<(Text,)>(
        "SELECT i.number FROM invoices i
         WHERE i.tenant_id = $1 AND i.number IS NOT NULL AND i.due_cents > 0
           AND (i.status = 'past_due' OR i.payment_reversed_at IS NOT NULL) AND EXISTS (SELECT 1 FROM invoice_lines l
             WHERE l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id AND l.subscription_id IN (
               SELECT $2 UNION ALL SELECT $3 UNION ALL SELECT c.subscription_id FROM subscriptions c
               WHERE c.tenant_id = $1 AND c.pack_subscription_id = $3))
         ORDER BY i.issue_date, i.invoice_id LIMIT 1",
    )
    .bind::<Text, _>(&sub.tenant_id)
    .bind::<SqlUuid, _>(sub.subscription_id)
    .bind::<Nullable<SqlUuid>, _>(sub.pack_subscription_id)
    .get_result(conn)
    .await
    .optional()?;
    Ok(found.map(|(number,)| number))
}

/// Adds a billing period.
pub async fn insert_period(conn: &mut Conn, row: &PeriodRow) -> Result<()> {
    diesel::insert_into(subscription_periods::table).values(row).execute(conn).await?;
    Ok(())
}

/// Number of the newest billing period of a subscription.
pub async fn last_ordinal(conn: &mut Conn, tenant_id: &str, subscription_id: Uuid) -> Result<Option<i32>> {
    use subscription_periods as t;
    let last = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::subscription_id.eq(subscription_id)))
        .select(diesel::dsl::max(t::ordinal));
    Ok(last.first(conn).await?)
}

/// The newest segment of a subscription.
pub async fn last_segment(
    conn: &mut Conn,
    tenant_id: &str,
    subscription_id: Uuid,
) -> Result<Option<SegmentRow>> {
    use segments as t;
    let last = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::subscription_id.eq(subscription_id)))
        .select(SegmentRow::as_select())
        .order(t::starts_at.desc());
    Ok(last.first(conn).await.optional()?)
}

/// Ends a segment earlier; waits for whoever is counting in it.
pub async fn end_segment(conn: &mut Conn, row: &SegmentRow, at: DateTime<Utc>) -> Result<()> {
    use segments as t;
    let segment = t::table.find((&row.tenant_id, row.segment_id));
    kept(diesel::update(segment).set(t::ends_at.eq(at))).execute(conn).await?;
    Ok(())
}

/// Adds a segment.
pub async fn insert_segment(conn: &mut Conn, row: &SegmentRow) -> Result<()> {
    diesel::insert_into(segments::table).values(row).execute(conn).await?;
    Ok(())
}

/// Adds something to bill.
pub async fn insert_item(conn: &mut Conn, row: &BilledItemRow) -> Result<()> {
    diesel::insert_into(billed_items::table).values(row).execute(conn).await?;
    Ok(())
}
