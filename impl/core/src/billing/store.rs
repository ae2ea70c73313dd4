//! SQL of invoices, their lines and the items that they bill.
use crate::db::page::PageRequest;
use crate::db::schema::{billed_items, invoice_lines, invoices, services, tenants};
use crate::db::statement::{kept, kept_rows, statement};
use crate::db::{COUNTED, Conn, count_up_to};
use crate::error::{Error, Result};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Date, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rust_decimal::Decimal;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// A row of `invoices`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable, AsChangeset, Identifiable, Serialize)]
#[diesel(table_name = invoices, primary_key(tenant_id, invoice_id), treat_none_as_null = true, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the specification")]
pub struct InvoiceRow {
    pub tenant_id: String,
    pub invoice_id: Uuid,
    pub partner_id: String,
    pub document_type: String,
    pub number: Option<String>,
    pub status: String,
    pub currency: String,
    pub issue_date: Option<NaiveDate>,
    pub due_date: Option<NaiveDate>,
    pub tax_point_date: Option<NaiveDate>,
    pub period_start: Option<NaiveDate>,
    pub period_end: Option<NaiveDate>,
    pub subtotal_cents: i64,
    pub tax_cents: i64,
    pub total_cents: i64,
    pub paid_cents: i64,
    pub credited_cents: i64,
    pub due_cents: i64,
    pub buyer_snapshot: Option<serde_json::Value>,
    pub seller_snapshot: Option<serde_json::Value>,
    pub vat_details: Option<serde_json::Value>,
    pub notes: Option<String>,
    pub referenced_invoice_id: Option<Uuid>,
    pub run_date: Option<NaiveDate>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub finalized_at: Option<DateTime<Utc>>,
    pub sent_at: Option<DateTime<Utc>>,
    pub paid_at: Option<DateTime<Utc>>,
    pub voided_at: Option<DateTime<Utc>>,
    pub payment_reversed_at: Option<DateTime<Utc>>,
    pub overdue_at: Option<DateTime<Utc>>,
}

/// A row of `invoice_lines`.
#[derive(
    Clone, Debug, PartialEq, Queryable, Selectable, Insertable, AsChangeset, Identifiable, Serialize,
)]
#[diesel(table_name = invoice_lines, primary_key(tenant_id, line_item_id), treat_none_as_null = true, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the specification")]
pub struct LineRow {
    pub tenant_id: String,
    pub line_item_id: Uuid,
    pub invoice_id: Uuid,
    pub partner_id: String,
    pub order_index: i32,
    pub kind: String,
    pub description: String,
    pub quantity: Decimal,
    pub unit_label: Option<String>,
    pub unit_price_cents: Decimal,
    pub unit_divisor: Decimal,
    pub amount_cents: i64,
    pub requested_tax_rate: Option<Decimal>,
    pub requested_tax_category: Option<String>,
    pub tax_rate: Option<Decimal>,
    pub tax_category: Option<String>,
    pub tax_cents: i64,
    pub tax_date: Option<NaiveDate>,
    pub period_start: Option<NaiveDate>,
    pub period_end: Option<NaiveDate>,
    pub subscription_id: Option<Uuid>,
    pub service_id: Option<Uuid>,
    pub service_slug: Option<String>,
    pub plan_key: Option<String>,
    pub metric_slug: Option<String>,
    pub billed_item_id: Option<Uuid>,
    pub explanation: Option<serde_json::Value>,
    pub platform_cost_cents: i64,
}

/// What a list of invoices is narrowed to.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "each is the query parameter of its name")]
pub struct Filter {
    pub status: Option<String>,
    pub document_type: Option<String>,
    pub tenant_id: Option<String>,
    pub partner_id: Option<String>,
    pub q: Option<String>,
    pub from: Option<NaiveDate>,
    pub to: Option<NaiveDate>,
}

/// One document of those that the caller sees.
pub async fn get(conn: &mut Conn, invoice_id: Uuid) -> Result<InvoiceRow> {
    use invoices as t;
    let row = t::table
        .filter(t::invoice_id.eq(invoice_id))
        .select(InvoiceRow::as_select())
        .first(conn)
        .await
        .optional()?;
    row.ok_or(Error::NotFound("invoice"))
}

/// The document, locked until the transaction ends.
///
/// Not against rows that refer to it: an invoice that uses up credit of this one must not wait for whoever changes this
/// one, who may be waiting for that credit.
pub async fn lock(conn: &mut Conn, invoice_id: Uuid) -> Result<InvoiceRow> {
    use invoices as t;
    let row = t::table
        .filter(t::invoice_id.eq(invoice_id))
        .select(InvoiceRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?;
    row.ok_or(Error::NotFound("invoice"))
}

/// The document, locked, and only when it is a draft.
///
/// Errors: 404, and 409 for a document that is issued or void.
pub async fn lock_draft(conn: &mut Conn, invoice_id: Uuid) -> Result<InvoiceRow> {
    let row = lock(conn, invoice_id).await?;
    if row.status != "draft" {
        return Err(Error::conflict(format!("the invoice is {}, not a draft", row.status)));
    }
    Ok(row)
}

/// Adds a document.
pub async fn insert(conn: &mut Conn, row: &InvoiceRow) -> Result<()> {
    diesel::insert_into(invoices::table).values(row).execute(conn).await?;
    Ok(())
}

/// Writes every column of the document back.
pub async fn save(mut conn: &Conn, row: &InvoiceRow) -> Result<()> {
    kept(diesel::update(row).set(row)).execute(&mut conn).await?;
    Ok(())
}

/// Deletes a draft and its lines.
pub async fn delete(conn: &mut Conn, row: &InvoiceRow) -> Result<()> {
    diesel::delete(row).execute(conn).await?;
    Ok(())
}

/// The lines of a document, in order.
pub async fn lines(mut conn: &Conn, tenant_id: &str, invoice_id: Uuid) -> Result<Vec<LineRow>> {
    use invoice_lines as t;
    let lines = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::invoice_id.eq(invoice_id)))
        .select(LineRow::as_select())
        .order(t::order_index);
    Ok(lines.load(&mut conn).await?)
}

/// Adds lines.
pub async fn insert_lines(conn: &mut Conn, lines: &[LineRow]) -> Result<()> {
    // A statement holds at most 65,535 parameters.
    for chunk in lines.chunks(1_000) {
        let rows = diesel::insert_into(invoice_lines::table).values(chunk);
        kept_rows(chunk.len(), rows).execute(conn).await?;
    }
    Ok(())
}

/// Makes `new` the lines of a draft: what is not among them goes, what differs from `old` is written.
pub async fn replace_lines(conn: &mut Conn, old: &[LineRow], new: &[LineRow]) -> Result<()> {
    use invoice_lines as t;
    let before: HashMap<Uuid, &LineRow> = old.iter().map(|line| (line.line_item_id, line)).collect();
    let after: HashSet<Uuid> = new.iter().map(|line| line.line_item_id).collect();
    let gone: Vec<Uuid> = before.keys().filter(|id| !after.contains(id)).copied().collect();
    if let Some(first) = old.first().filter(|_| !gone.is_empty()) {
        let gone = t::table.filter(t::tenant_id.eq(&first.tenant_id).and(t::line_item_id.eq_any(gone)));
        diesel::delete(gone).execute(conn).await?;
    }
    let (kept, added): (Vec<&LineRow>, Vec<&LineRow>) =
        new.iter().partition(|line| before.contains_key(&line.line_item_id));
    let changed: Vec<&LineRow> =
        kept.into_iter().filter(|line| before.get(&line.line_item_id) != Some(line)).collect();
    if let Some(first) = changed.as_slice().first() {
        update_lines(conn, &first.tenant_id, &changed).await?;
    }
    insert_lines(conn, &added.into_iter().cloned().collect::<Vec<_>>()).await
}

/// Writes back what may change of a draft's lines: one statement, however many there are.
async fn update_lines(conn: &mut Conn, tenant_id: &str, lines: &[&LineRow]) -> Result<()> {
    // In a query of its own the value is any to the planner: for the very one it would plan at every call.
    let update = statement::<()>(
        "UPDATE invoice_lines AS l SET (order_index, kind, description, quantity, unit_label, unit_price_cents, unit_divisor,
           amount_cents, requested_tax_rate, requested_tax_category, tax_rate, tax_category, tax_cents, tax_date, period_start,
           period_end, subscription_id, service_id, service_slug, plan_key, metric_slug, billed_item_id, explanation,
           platform_cost_cents)
         = (n.order_index, n.kind, n.description, n.quantity, n.unit_label, n.unit_price_cents, n.unit_divisor, n.amount_cents,
           n.requested_tax_rate, n.requested_tax_category, n.tax_rate, n.tax_category, n.tax_cents, n.tax_date, n.period_start,
           n.period_end, n.subscription_id, n.service_id, n.service_slug, n.plan_key, n.metric_slug, n.billed_item_id,
           n.explanation, n.platform_cost_cents)
         FROM jsonb_populate_recordset(NULL::invoice_lines, (SELECT $1::text::jsonb)) AS n
         WHERE l.tenant_id = $2 AND l.line_item_id = n.line_item_id",
    );
    // As text: a tree of values of thousands of lines is many times as large.
    let rows = serde_json::to_string(lines).map_err(Error::internal)?;
    let written = update.bind::<Text, _>(rows).bind::<Text, _>(tenant_id).execute(conn).await?;
    if written == lines.len() { Ok(()) } else { Err(Error::internal("a line that changed is not there")) }
}

/// Frees what the given items billed, so that the next run bills it again; or, waived, keeps it spent for good. `lines` are
/// those that they lose.
pub async fn release_items(
    conn: &mut Conn,
    tenant_id: &str,
    item_ids: &[Uuid],
    lines: &[&LineRow],
    waive: bool,
) -> Result<()> {
    use billed_items as t;
    if waive {
        settle_usage(conn, tenant_id, lines).await?;
    }
    let items = t::table.filter(t::tenant_id.eq(tenant_id).and(t::billed_item_id.eq_any(item_ids)));
    let status = if waive { "spent" } else { "due" };
    let freed = (t::status.eq(status), t::waived.eq(waive), t::invoice_id.eq(None::<Uuid>));
    kept(diesel::update(items).set(freed)).execute(conn).await?;
    Ok(())
}

/// Writes down what of the usage of items is settled without a line of an invoice: the amounts of the lines, beside those of
/// before.
pub async fn settle_usage(conn: &mut Conn, tenant_id: &str, lines: &[&LineRow]) -> Result<()> {
    let (mut items, mut metrics, mut cents) = (vec![], vec![], vec![]);
    for line in lines {
        if let (Some(item_id), Some(metric_slug)) = (line.billed_item_id, &line.metric_slug) {
            items.push(item_id);
            metrics.push(metric_slug.as_str());
            cents.push(line.amount_cents);
        }
    }
    if items.is_empty() {
        return Ok(());
    }
    statement::<()>(
        "WITH given AS (SELECT $1::text AS tenant_id, u.* FROM unnest($2::uuid[], $3::text[], $4::bigint[]) AS u(item_id, metric_slug, cents)),
           known AS (SELECT b.tenant_id, b.billed_item_id AS item_id, e.key AS metric_slug, e.value::bigint AS cents
             FROM (SELECT DISTINCT tenant_id, item_id FROM given) AS g
             JOIN billed_items b ON b.tenant_id = g.tenant_id AND b.billed_item_id = g.item_id
             CROSS JOIN LATERAL jsonb_each_text(b.settled_usage) AS e WHERE b.settled_usage IS NOT NULL),
           sums AS (SELECT tenant_id, item_id, metric_slug, sum(cents) AS cents
             FROM (SELECT * FROM given UNION ALL SELECT * FROM known) AS each GROUP BY 1, 2, 3),
           settled AS (SELECT tenant_id, item_id, jsonb_object_agg(metric_slug, cents) AS usage FROM sums GROUP BY 1, 2)
         UPDATE billed_items b SET settled_usage = s.usage FROM settled s
         WHERE b.tenant_id = s.tenant_id AND b.billed_item_id = s.item_id",
    )
    .bind::<Text, _>(tenant_id)
    .bind::<Array<SqlUuid>, _>(items)
    .bind::<Array<Text>, _>(metrics)
    .bind::<Array<BigInt>, _>(cents)
    .execute(conn)
    .await?;
    Ok(())
}

/// Items that are on a document, those that made no line of their own included.
pub async fn items_of(conn: &mut Conn, tenant_id: &str, invoice_id: Uuid) -> Result<Vec<Uuid>> {
    use billed_items as t;
    let items = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::invoice_id.eq(invoice_id)))
        .select(t::billed_item_id);
    Ok(items.load(conn).await?)
}

/// The partner of a tenant that the caller sees.
pub async fn partner_of(conn: &mut Conn, tenant_id: &str) -> Result<String> {
    let found = tenants::table.find(tenant_id).select(tenants::partner_id).first(conn).await.optional()?;
    found.ok_or(Error::NotFound("tenant"))
}

/// Ids of services by their slugs; a slug that does not exist is not among them.
pub async fn service_ids(conn: &mut Conn, slugs: &[&str]) -> Result<Vec<(String, Uuid)>> {
    let found =
        services::table.filter(services::slug.eq_any(slugs)).select((services::slug, services::service_id));
    Ok(found.load(conn).await?)
}

type Boxed = invoices::BoxedQuery<'static, diesel::pg::Pg>;

fn filtered(filter: &Filter) -> Boxed {
    use invoices as t;
    let mut query = t::table.into_boxed();
    if let Some(status) = &filter.status {
        query = query.filter(t::status.eq(status.clone()));
    }
    if let Some(document_type) = &filter.document_type {
        query = query.filter(t::document_type.eq(document_type.clone()));
    }
    if let Some(tenant_id) = &filter.tenant_id {
        query = query.filter(t::tenant_id.eq(tenant_id.clone()));
    }
    if let Some(partner_id) = &filter.partner_id {
        query = query.filter(t::partner_id.eq(partner_id.clone()));
    }
    if let Some(from) = filter.from {
        query = query.filter(t::issue_date.ge(from));
    }
    if let Some(to) = filter.to {
        query = query.filter(t::issue_date.le(to));
    }
    if let Some(q) = &filter.q {
        let pattern = format!("%{}%", q.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
        let number = t::number.ilike(pattern.clone()).assume_not_null();
        let company =
            diesel::dsl::sql::<Bool>("COALESCE(buyer_snapshot->>'name', '') ILIKE ").bind::<Text, _>(pattern);
        query = query.filter(number.or(company));
    }
    query
}

/// A page of the documents that the caller sees, newest first.
pub async fn list(conn: &mut Conn, filter: &Filter, page: &PageRequest) -> Result<(Vec<InvoiceRow>, i64)> {
    use invoices as t;
    let mut rows = filtered(filter).select(InvoiceRow::as_select()).order(t::invoice_id.desc());
    if let Some(id) = page.after::<Uuid>()? {
        rows = rows.filter(t::invoice_id.lt(id));
    }
    let rows = rows.limit(page.limit()).offset(page.offset()).load(conn).await?;
    let counted = count_up_to(conn, filtered(filter).select(t::invoice_id).limit(COUNTED)).await?;
    Ok((rows, counted))
}

/// Key of a page of a tenant's documents: `<issue date>_<id>`.
#[derive(Clone, Copy, Debug)]
pub struct IssuedKey(NaiveDate, Uuid);

impl IssuedKey {
    /// The key of a row as text.
    pub fn of(row: &InvoiceRow) -> String {
        format!("{}_{}", row.issue_date.unwrap_or_default(), row.invoice_id)
    }
}

impl std::str::FromStr for IssuedKey {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (date, id) = text.split_once('_').ok_or(())?;
        Ok(IssuedKey(date.parse().map_err(|_| ())?, id.parse().map_err(|_| ())?))
    }
}

/// A page of a tenant's numbered documents, the newest issue date first.
pub async fn list_issued(
    conn: &mut Conn,
    filter: &Filter,
    page: &PageRequest,
) -> Result<(Vec<InvoiceRow>, i64)> {
    use invoices as t;
    let issued = || filtered(filter).filter(t::number.is_not_null());
    let mut rows =
        issued().select(InvoiceRow::as_select()).order((t::issue_date.desc(), t::invoice_id.desc()));
    if let Some(IssuedKey(date, id)) = page.after()? {
        // Row comparison keeps it one range of the index.
        let before = diesel::dsl::sql::<Bool>("(issue_date, invoice_id) < (").bind::<Date, _>(date).sql(", ");
        rows = rows.filter(before.bind::<SqlUuid, _>(id).sql(")"));
    }
    let rows = rows.limit(page.limit()).offset(page.offset()).load(conn).await?;
    let counted = count_up_to(conn, issued().select(t::invoice_id).limit(COUNTED)).await?;
    Ok((rows, counted))
}
