//! The statements behind charges, and behind what a service may see of a tenant.
use crate::db::page::PageRequest;
use crate::db::schema::{service_charges, services, subscriptions};
use crate::db::statement::statement;
use crate::db::{COUNTED, Conn, count_up_to};
use crate::error::Result;
use crate::metering::rules::REACH;
use crate::subscriptions::store::SubscriptionRow;
use chrono::{DateTime, NaiveDate, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Date, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rust_decimal::Decimal;
use serde::Serialize;
use uuid::Uuid;

/// A row of `service_charges`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable, Serialize)]
#[diesel(table_name = service_charges, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct ChargeRow {
    pub tenant_id: String,
    pub charge_id: Uuid,
    pub partner_id: String,
    pub service_id: Uuid,
    pub description: String,
    pub quantity: Decimal,
    pub unit_price_cents: Decimal,
    pub amount_cents: i64,
    pub currency: String,
    pub tax_rate: Option<Decimal>,
    pub occurred_at: DateTime<Utc>,
    pub external_reference: String,
    pub status: String,
    pub invoice_id: Option<Uuid>,
    pub withdrawn_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a list of charges is narrowed to.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "each is the query parameter of its name")]
pub struct Filter {
    pub tenant_id: Option<String>,
    pub status: Option<String>,
}

/// The tenant's subscription to the service: the live one, else the one that ended last, when that is not too long ago.
/// None: the tenant is out of the service's reach.
pub async fn reach(
    conn: &mut Conn,
    service_id: Uuid,
    tenant_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<SubscriptionRow>> {
    use subscriptions as t;
    let found = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::service_id.eq(service_id)))
        .filter(sql::<Bool>(IN_REACH).bind::<Timestamptz, _>(now - REACH).sql("))"))
        .select(SubscriptionRow::as_select())
        .order((t::status.eq_any(["cancelled", "expired"]), t::subscription_id.desc()));
    Ok(found.first(conn).await.optional()?)
}

/// A subscription that is live, or began once and ended after the instant that follows.
const IN_REACH: &str = "(status NOT IN ('cancelled', 'expired')
    OR (anchored_at IS NOT NULL AND COALESCE(cancelled_at, ends_at, usage_until) > ";

type Boxed = service_charges::BoxedQuery<'static, diesel::pg::Pg>;

/// The charges of a service to the tenants that it reaches.
fn reached(service_id: Uuid, now: DateTime<Utc>) -> Boxed {
    use service_charges as t;
    let reached = sql::<Bool>(
        "EXISTS (SELECT 1 FROM subscriptions s WHERE s.tenant_id = service_charges.tenant_id AND s.service_id = service_charges.service_id
           AND (s.status NOT IN ('cancelled', 'expired')
             OR (s.anchored_at IS NOT NULL AND COALESCE(s.cancelled_at, s.ends_at, s.usage_until) > ",
    );
    t::table
        .filter(t::service_id.eq(service_id))
        .filter(reached.bind::<Timestamptz, _>(now - REACH).sql(")))"))
        .into_boxed()
}

/// One charge of a service, when it reaches the tenant.
pub async fn get(
    conn: &mut Conn,
    service_id: Uuid,
    charge_id: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<ChargeRow>> {
    let found = reached(service_id, now).filter(service_charges::charge_id.eq(charge_id));
    Ok(found.select(ChargeRow::as_select()).first(conn).await.optional()?)
}

/// A page of the charges of a service, the newest first, and how many there are.
pub async fn list(
    conn: &mut Conn,
    service_id: Uuid,
    filter: &Filter,
    page: &PageRequest,
    now: DateTime<Utc>,
) -> Result<(Vec<ChargeRow>, i64)> {
    use service_charges as t;
    let filtered = || {
        let mut query = reached(service_id, now);
        if let Some(tenant_id) = &filter.tenant_id {
            query = query.filter(t::tenant_id.eq(tenant_id.clone()));
        }
        if let Some(status) = &filter.status {
            query = query.filter(t::status.eq(status.clone()));
        }
        query
    };
    let mut rows = filtered().select(ChargeRow::as_select()).order(t::charge_id.desc());
    if let Some(after) = page.after::<Uuid>()? {
        rows = rows.filter(t::charge_id.lt(after));
    }
    let rows = rows.limit(page.limit()).offset(page.offset()).load(conn).await?;
    let count = count_up_to(conn, filtered().select(t::charge_id).limit(COUNTED)).await?;
    Ok((rows, count))
}

/// Slug of a service.
pub async fn service_slug(conn: &mut Conn, service_id: Uuid) -> Result<String> {
    Ok(services::table.find(service_id).select(services::slug).first(conn).await?)
}

/// Takes the service's reference for a new charge; false when it stands for one already, whose transaction is waited for.
pub async fn take_reference(conn: &mut Conn, row: &ChargeRow) -> Result<bool> {
    let taken = statement::<()>(
        "INSERT INTO service_charge_references (service_id, external_reference, tenant_id, charge_id)
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind::<SqlUuid, _>(row.service_id)
    .bind::<Text, _>(&row.external_reference)
    .bind::<Text, _>(&row.tenant_id)
    .bind::<SqlUuid, _>(row.charge_id)
    .execute(conn)
    .await?;
    Ok(taken == 1)
}

/// The charge that a reference stands for.
pub async fn by_reference(conn: &mut Conn, service_id: Uuid, reference: &str) -> Result<ChargeRow> {
    use crate::db::schema::service_charge_references as r;
    let (tenant_id, charge_id): (String, Uuid) =
        r::table.find((service_id, reference)).select((r::tenant_id, r::charge_id)).first(conn).await?;
    let found = service_charges::table.find((tenant_id, charge_id));
    Ok(found.select(ChargeRow::as_select()).first(conn).await?)
}

/// Adds a charge.
pub async fn insert(conn: &mut Conn, row: &ChargeRow) -> Result<()> {
    diesel::insert_into(service_charges::table).values(row).execute(conn).await?;
    Ok(())
}

/// Makes a charge due, at the latest on the given date.
pub async fn make_due(
    conn: &mut Conn,
    row: &ChargeRow,
    billed_item_id: Uuid,
    due_at: DateTime<Utc>,
    run_date: NaiveDate,
) -> Result<()> {
    statement::<()>("SELECT sc_charge_due($1, $2, $3, $4, $5)")
        .bind::<Text, _>(&row.tenant_id)
        .bind::<SqlUuid, _>(row.charge_id)
        .bind::<SqlUuid, _>(billed_item_id)
        .bind::<Timestamptz, _>(due_at)
        .bind::<Date, _>(run_date)
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes away what is due for a charge; false when there is nothing, because it is billed or withdrawn.
pub async fn withdraw_due(conn: &mut Conn, row: &ChargeRow) -> Result<bool> {
    Ok(statement::<Bool>("SELECT sc_charge_withdraw($1, $2)")
        .bind::<Text, _>(&row.tenant_id)
        .bind::<SqlUuid, _>(row.charge_id)
        .get_result(conn)
        .await?)
}

/// Writes that a charge is withdrawn.
pub async fn set_withdrawn(conn: &mut Conn, row: &ChargeRow) -> Result<()> {
    use service_charges as t;
    diesel::update(t::table.find((&row.tenant_id, row.charge_id)))
        .set((
            t::status.eq(&row.status),
            t::withdrawn_at.eq(row.withdrawn_at),
            t::updated_at.eq(row.updated_at),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Waits until no other charge of the service to the tenant is being made, and keeps others waiting until the commit.
pub async fn lock_day(conn: &mut Conn, row: &ChargeRow) -> Result<()> {
    statement::<()>("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind::<Text, _>(format!("charge:{}:{}", row.service_id, row.tenant_id))
        .execute(conn)
        .await?;
    Ok(())
}

/// What the service has charged the tenant since then, in the currency of the charge; what it withdrew does not count.
pub async fn charged_since(conn: &mut Conn, row: &ChargeRow, since: DateTime<Utc>) -> Result<i64> {
    Ok(statement::<BigInt>(
        "SELECT COALESCE(sum(amount_cents), 0)::bigint FROM service_charges
         WHERE tenant_id = $1 AND service_id = $2 AND created_at >= $3 AND currency = $4 AND status <> 'withdrawn'",
    )
    .bind::<Text, _>(&row.tenant_id)
    .bind::<SqlUuid, _>(row.service_id)
    .bind::<Timestamptz, _>(since)
    .bind::<Text, _>(&row.currency)
    .get_result(conn)
    .await?)
}

/// Whom a charge is for and who bills it.
#[derive(Clone, Debug, Queryable)]
pub struct Owner {
    /// Whether both the tenant and its partner are active.
    pub is_active: bool,
    /// The partner's IANA timezone.
    pub timezone: String,
}

/// The tenant with the partner that sells to it.
pub async fn owner(conn: &mut Conn, tenant_id: &str, partner_id: &str) -> Result<Owner> {
    let found = statement::<(Bool, Text)>(
        "SELECT t.is_active AND p.is_active, p.timezone FROM tenants t, partners p WHERE t.tenant_id = $1 AND p.partner_id = $2",
    )
    .bind::<Text, _>(tenant_id)
    .bind::<Text, _>(partner_id);
    Ok(found.get_result(conn).await?)
}

/// Numbers of those of a service's invoices that are issued, by id. They are asked of everything: what is shown of an
/// invoice to a service is its number alone.
pub async fn numbers(conn: &mut Conn, rows: &[ChargeRow]) -> Result<Vec<(Uuid, String)>> {
    use diesel::sql_types::Array;
    let on: Vec<(&str, Uuid)> =
        rows.iter().filter_map(|row| Some((row.tenant_id.as_str(), row.invoice_id?))).collect();
    if on.is_empty() {
        return Ok(vec![]);
    }
    let (tenants, invoices): (Vec<&str>, Vec<Uuid>) = on.into_iter().unzip();
    Ok(statement::<(SqlUuid, Text)>(
        "SELECT DISTINCT i.invoice_id, i.number FROM unnest($1::text[], $2::uuid[]) AS k (tenant_id, invoice_id)
         JOIN invoices i USING (tenant_id, invoice_id) WHERE i.number IS NOT NULL",
    )
    .bind::<Array<Text>, _>(tenants)
    .bind::<Array<SqlUuid>, _>(invoices)
    .load(conn)
    .await?)
}
