//! What a service may know of a tenant that it reaches: whether it can be billed, what it subscribed to, and the lines of
//! its own that are on issued documents.
//!
//! Profiles, invoices and partners are not a service's to see. Whether it reaches the tenant is asked with its own sight;
//! what is then read with more is of that tenant alone, and picked here.
use super::{service_of, store};
use crate::app::Control;
use crate::billing::store::{InvoiceRow, LineRow};
use crate::billing::view as documents;
use crate::catalog::{self, view as plans};
use crate::db::page::PageRequest;
use crate::db::schema::{invoice_lines, invoices};
use crate::db::statement::statement;
use crate::db::{COUNTED, Conn, count_up_to, take_role};
use crate::error::{Error, Result};
use crate::metering;
use crate::op::{OpContext, Scope};
use crate::subscriptions::store::{self as subscriptions, SubscriptionRow};
use crate::subscriptions::{segments, view};
use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use scaicontrol_types as api;
use std::collections::BTreeMap;
use std::str::FromStr;
use uuid::Uuid;

/// Whether and how the calling service can bill a tenant.
///
/// Errors: 404 for a tenant out of its reach.
pub async fn billing_status(
    op: &OpContext,
    app: &Control,
    tenant_id: &str,
) -> Result<api::TenantBillingStatusResponse> {
    let sub = current(op, app, tenant_id).await?;
    let wide = op.with_scope(Scope::Platform);
    let facts = app.db.read(&wide, async |conn| facts(conn, tenant_id, &sub.partner_id).await).await?;
    let block = if !facts.is_active {
        Some(api::BillingBlock::TenantInactive)
    } else if facts.country_code.is_none() {
        Some(api::BillingBlock::NoBillingProfile)
    } else if !is_live(&sub) {
        Some(api::BillingBlock::SubscriptionNotLive)
    } else {
        None
    };
    Ok(api::TenantBillingStatusResponse {
        tenant_id: tenant_id.to_owned(),
        is_billable: block.is_none(),
        block,
        currency: sub.currency,
        country_code: facts.country_code,
        language: facts.language.as_deref().map(view::parse).transpose()?,
        is_past_due: facts.past_due_since.is_some(),
        past_due_since: facts.past_due_since,
    })
}

fn is_live(sub: &SubscriptionRow) -> bool {
    !matches!(sub.status.as_str(), "cancelled" | "expired")
}

/// The tenant's subscription as it is now: when something was due to happen to it by itself, that happens first.
async fn current(op: &OpContext, app: &Control, tenant_id: &str) -> Result<SubscriptionRow> {
    let service_id = service_of(op)?;
    let read = async |conn: &mut Conn| {
        store::reach(conn, service_id, tenant_id, op.now).await?.ok_or(Error::NotFound("tenant"))
    };
    let sub = app.db.read(op, read).await?;
    if sub.next_event_at.is_none_or(|at| op.now < at) {
        return Ok(sub);
    }
    // A service may look at a subscription and not move it on; its own rules do, whoever asks.
    let wide = &op.with_scope(Scope::Platform);
    let id = sub.subscription_id;
    app.db
        .tx(wide, "segments_ensure", async |conn| segments::ensure(conn, wide, tenant_id, id, op.now).await)
        .await?;
    app.db.read(op, read).await
}

/// What billing a tenant depends on, beside its subscription.
#[derive(Debug, Queryable)]
struct Facts {
    is_active: bool,
    country_code: Option<String>,
    language: Option<String>,
    past_due_since: Option<DateTime<Utc>>,
}

async fn facts(conn: &mut Conn, tenant_id: &str, partner_id: &str) -> Result<Facts> {
    type Columns = (Bool, Nullable<Text>, Nullable<Text>, Nullable<Timestamptz>);
    // As dunning counts: from where the case of the invoice began, and else from the end of its due date, as it was fixed when
    // it was issued, or from when a payment of it went back, whichever was first. One that had been paid was in time.
    Ok(statement::<Columns>(
        "SELECT t.is_active AND p.is_active, b.country_code, b.preferred_language,
           (SELECT min(LEAST(c.past_due_at, CASE WHEN i.status <> 'paid' THEN i.overdue_at END, i.payment_reversed_at))
            FROM invoices i LEFT JOIN dunning_cases c
              ON c.tenant_id = i.tenant_id AND c.invoice_id = i.invoice_id AND c.ended_at IS NULL
            WHERE i.tenant_id = t.tenant_id AND i.number IS NOT NULL AND i.due_cents > 0
              AND (i.status = 'past_due' OR i.payment_reversed_at IS NOT NULL))
         FROM tenants t JOIN partners p ON p.partner_id = $1 LEFT JOIN billing_profiles b ON b.tenant_id = t.tenant_id
         WHERE t.tenant_id = $2",
    )
    .bind::<Text, _>(partner_id)
    .bind::<Text, _>(tenant_id)
    .get_result(conn)
    .await?)
}

/// The tenant's subscription to the calling service, its plan and where its quotas stand.
///
/// Errors: 404 for a tenant out of its reach.
pub async fn subscription(
    op: &OpContext,
    app: &Control,
    tenant_id: &str,
) -> Result<api::TenantServiceSubscriptionResponse> {
    let sub = current(op, app, tenant_id).await?;
    let quotas = metering::service_quota_list(op, app, tenant_id).await?;
    app.db
        .read(op, async |conn| {
            let running = subscriptions::last_segment(conn, tenant_id, sub.subscription_id).await?;
            // At the price it runs at; one that has not begun yet, at the price of today.
            let price = match running.filter(|segment| segment.plan_id == sub.plan_id) {
                Some(segment) => catalog::plan_version(conn, sub.plan_id, segment.plan_version).await?,
                None => catalog::plan_in_force(conn, sub.plan_id, op.now).await?,
            };
            Ok(api::TenantServiceSubscriptionResponse {
                subscription: view::response(&sub, &price.service_slug, &price.plan.slug)?,
                plan: plans::plan(price, None)?,
                quotas,
            })
        })
        .await
}

/// Key of a page: when a document was issued, and its id.
#[derive(Clone, Copy, Debug)]
struct Issued(DateTime<Utc>, Uuid);

impl Issued {
    fn key(row: &InvoiceRow) -> String {
        format!("{}_{}", row.finalized_at.unwrap_or_default().timestamp_micros(), row.invoice_id)
    }
}

impl FromStr for Issued {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, id) = text.split_once('_').ok_or(())?;
        let at = DateTime::from_timestamp_micros(at.parse().map_err(|_| ())?).ok_or(())?;
        Ok(Issued(at, id.parse().map_err(|_| ())?))
    }
}

type Boxed = invoices::BoxedQuery<'static, diesel::pg::Pg>;

/// A page of a tenant's issued documents that hold lines of the calling service, the newest first, with those lines.
///
/// Errors: 404 for a tenant out of its reach.
pub async fn invoices(
    op: &OpContext,
    app: &Control,
    tenant_id: &str,
    page: &PageRequest,
) -> Result<(Vec<api::ServiceInvoiceResponse>, api::Pagination)> {
    let service_id = service_of(op)?;
    app.db
        .read(op, async |conn| {
            store::reach(conn, service_id, tenant_id, op.now).await?.ok_or(Error::NotFound("tenant"))?;
            take_role(conn, &Scope::Platform).await?;
            let (rows, count) = with_lines_of(conn, service_id, tenant_id, page).await?;
            let (rows, pagination) = page.finish(rows, count, Issued::key);
            let mut lines = lines_of(conn, service_id, tenant_id, &rows).await?;
            let shown = rows.into_iter().map(|row| {
                let own = lines.remove(&row.invoice_id).unwrap_or_default();
                document(row, &own)
            });
            Ok((shown.collect::<Result<_>>()?, pagination))
        })
        .await
}

async fn with_lines_of(
    conn: &mut Conn,
    service_id: Uuid,
    tenant_id: &str,
    page: &PageRequest,
) -> Result<(Vec<InvoiceRow>, i64)> {
    use invoices as t;
    let tenant_id = tenant_id.to_owned();
    let query = || -> Boxed {
        let holds = sql::<Bool>(
            "EXISTS (SELECT 1 FROM invoice_lines l WHERE l.tenant_id = invoices.tenant_id AND l.invoice_id = invoices.invoice_id AND l.service_id = ",
        );
        t::table
            .filter(t::tenant_id.eq(tenant_id.clone()).and(t::number.is_not_null()))
            .filter(holds.bind::<SqlUuid, _>(service_id).sql(")"))
            .into_boxed()
    };
    let mut rows =
        query().select(InvoiceRow::as_select()).order((t::finalized_at.desc(), t::invoice_id.desc()));
    if let Some(Issued(at, id)) = page.after()? {
        let before = sql::<Bool>("(finalized_at, invoice_id) < (").bind::<Timestamptz, _>(at).sql(", ");
        rows = rows.filter(before.bind::<SqlUuid, _>(id).sql(")"));
    }
    let rows = rows.limit(page.limit()).offset(page.offset()).load(conn).await?;
    let count = count_up_to(conn, query().select(t::invoice_id).limit(COUNTED)).await?;
    Ok((rows, count))
}

async fn lines_of(
    conn: &mut Conn,
    service_id: Uuid,
    tenant_id: &str,
    rows: &[InvoiceRow],
) -> Result<BTreeMap<Uuid, Vec<LineRow>>> {
    use invoice_lines as t;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.invoice_id).collect();
    let lines: Vec<LineRow> = t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::invoice_id.eq_any(ids)).and(t::service_id.eq(service_id)))
        .select(LineRow::as_select())
        .order(t::order_index)
        .load(conn)
        .await?;
    let mut by_invoice: BTreeMap<Uuid, Vec<LineRow>> = BTreeMap::new();
    for line in lines {
        by_invoice.entry(line.invoice_id).or_default().push(line);
    }
    Ok(by_invoice)
}

fn document(row: InvoiceRow, lines: &[LineRow]) -> Result<api::ServiceInvoiceResponse> {
    let lacks = |what: &str| Error::internal(format!("an issued document without {what}"));
    let document_type = view::parse(&row.document_type)?;
    Ok(api::ServiceInvoiceResponse {
        id: row.invoice_id,
        tenant_id: row.tenant_id,
        document_type,
        number: row.number.ok_or_else(|| lacks("a number"))?,
        status: view::parse(&row.status)?,
        currency: row.currency,
        issue_date: row.issue_date.ok_or_else(|| lacks("an issue date"))?,
        due_date: row.due_date.filter(|_| document_type == api::DocumentType::Invoice),
        finalized_at: row.finalized_at.ok_or_else(|| lacks("its time"))?,
        paid_at: row.paid_at,
        voided_at: row.voided_at,
        line_items: lines.iter().map(documents::line).collect::<Result<_>>()?,
    })
}
