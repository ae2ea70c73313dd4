//! The rows of PDFs: what waits to be rendered, and what was.
//!
//! A row is claimed by moving its next attempt a lease ahead, by the clock of the machines: whoever claimed it and died
//! is followed by another server when the lease is over. Rendering twice does no harm, the same bytes come out.
use crate::billing::store::InvoiceRow;
use crate::db::Conn;
use crate::db::schema::invoice_pdfs;
use crate::db::statement::{kept, statement};
use crate::error::Result;
use crate::op::OpContext;
use crate::workers::NextDue;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// How long a claimed PDF is left alone: longer than the renderer may take.
pub const LEASE: TimeDelta = TimeDelta::seconds(180);
/// Waits between tries, seconds; after the last a PDF is `failed` until it is asked for again.
const BACKOFF: [i64; 6] = [60, 300, 1_800, 7_200, 43_200, 86_400];
/// Characters of a failure that are kept.
const FAILURE_MAX: usize = 500;

/// A row of `invoice_pdfs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = invoice_pdfs, primary_key(tenant_id, invoice_id, version), treat_none_as_null = true, check_for_backend(Pg), treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct PdfRow {
    pub tenant_id: String,
    pub invoice_id: Uuid,
    pub version: i32,
    pub partner_id: String,
    pub status: String,
    pub language: Option<String>,
    pub template_id: Option<Uuid>,
    pub template_version: Option<i32>,
    pub builtin_sha256: Option<Vec<u8>>,
    pub object_key: Option<String>,
    pub sha256: Option<Vec<u8>>,
    pub size: Option<i64>,
    pub attempts: i32,
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub failure: Option<String>,
    pub created_at: DateTime<Utc>,
    pub rendered_at: Option<DateTime<Utc>>,
}

/// The first PDF of a document, which is to be rendered.
pub async fn queue(
    conn: &Conn,
    op: &OpContext,
    invoice: &InvoiceRow,
    machine_now: DateTime<Utc>,
) -> Result<()> {
    let row = PdfRow {
        tenant_id: invoice.tenant_id.clone(),
        invoice_id: invoice.invoice_id,
        version: 1,
        partner_id: invoice.partner_id.clone(),
        status: "queued".into(),
        language: None,
        template_id: None,
        template_version: None,
        builtin_sha256: None,
        object_key: None,
        sha256: None,
        size: None,
        attempts: 0,
        next_attempt_at: Some(machine_now),
        failure: None,
        created_at: op.now,
        rendered_at: None,
    };
    insert(conn, &row).await
}

/// Adds a row.
pub async fn insert(mut conn: &Conn, row: &PdfRow) -> Result<()> {
    diesel::insert_into(invoice_pdfs::table).values(row).execute(&mut conn).await?;
    Ok(())
}

/// The newest version of a document's PDF, rendered or not.
pub async fn newest(conn: &mut Conn, tenant_id: &str, invoice_id: Uuid) -> Result<Option<PdfRow>> {
    use invoice_pdfs as t;
    Ok(t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::invoice_id.eq(invoice_id)))
        .order(t::version.desc())
        .select(PdfRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The newest version of a document's PDF that can be downloaded.
pub async fn newest_rendered(conn: &mut Conn, tenant_id: &str, invoice_id: Uuid) -> Result<Option<PdfRow>> {
    use invoice_pdfs as t;
    Ok(t::table
        .filter(t::tenant_id.eq(tenant_id).and(t::invoice_id.eq(invoice_id)).and(t::status.eq("rendered")))
        .order(t::version.desc())
        .select(PdfRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// How many wait, those that could not be rendered so far included, up to 10,001.
pub async fn waiting(conn: &mut Conn) -> Result<i64> {
    let query = statement::<BigInt>(
        "SELECT count(*) FROM (SELECT 1 FROM invoice_pdfs WHERE status = 'queued' LIMIT 10001) AS queued",
    );
    Ok(query.get_result(conn).await?)
}

/// Claims some that wait, the longest-waiting first.
pub async fn claim(conn: &mut Conn, machine_now: DateTime<Utc>, limit: i64) -> Result<Vec<PdfRow>> {
    use invoice_pdfs as t;
    let rows: Vec<PdfRow> = t::table
        .filter(t::status.eq("queued").and(t::next_attempt_at.le(machine_now)))
        .order(t::next_attempt_at)
        .limit(limit)
        .select(PdfRow::as_select())
        .for_update()
        .skip_locked()
        .load(conn)
        .await?;
    for row in &rows {
        let pdf = t::table.find((&row.tenant_id, row.invoice_id, row.version));
        let leased = (t::attempts.eq(row.attempts + 1), t::next_attempt_at.eq(machine_now + LEASE));
        kept(diesel::update(pdf).set(leased)).execute(conn).await?;
    }
    Ok(rows)
}

/// Keeps the first PDF of a document from being finished until the transaction ends; answers whether it is already.
pub async fn hold_first(conn: &mut Conn, tenant_id: &str, invoice_id: Uuid) -> Result<bool> {
    use invoice_pdfs as t;
    let status: Option<String> = t::table
        .find((tenant_id, invoice_id, 1))
        .select(t::status)
        .for_share()
        .first(conn)
        .await
        .optional()?;
    Ok(status.as_deref() == Some("rendered"))
}

/// When a PDF is due, by the machine's clock.
pub const NEXT_DUE: NextDue =
    "SELECT min(next_attempt_at) FROM invoice_pdfs WHERE status = 'queued' AND next_attempt_at > $1";

/// Stores what was rendered; a version that another server rendered meanwhile stays as it is.
pub async fn finish(conn: &mut Conn, row: &PdfRow) -> Result<()> {
    use invoice_pdfs as t;
    let unfinished =
        t::table.find((&row.tenant_id, row.invoice_id, row.version)).filter(t::status.ne("rendered"));
    kept(diesel::update(unfinished).set(row)).execute(conn).await?;
    Ok(())
}

/// Notes that a try failed, and when the next one is; after the last there is none.
pub async fn failed(conn: &mut Conn, row: &PdfRow, machine_now: DateTime<Utc>, failure: &str) -> Result<()> {
    use invoice_pdfs as t;
    let tries = usize::try_from(row.attempts).unwrap_or_default();
    let next = BACKOFF.get(tries).map(|seconds| machine_now + TimeDelta::seconds(*seconds));
    let failure: String = failure.chars().take(FAILURE_MAX).collect();
    let queued = t::table.find((&row.tenant_id, row.invoice_id, row.version)).filter(t::status.eq("queued"));
    let noted = (
        t::status.eq(if next.is_some() { "queued" } else { "failed" }),
        t::next_attempt_at.eq(next),
        t::failure.eq(failure),
    );
    kept(diesel::update(queued).set(noted)).execute(conn).await?;
    Ok(())
}
