//! Which line takes back which line of an earlier invoice, and how much of it. Lines of credit notes do, and credit lines of
//! invoices. The database refuses more than a line holds.
use super::store::LineRow;
use crate::db::Conn;
use crate::db::schema::credit_note_lines;
use crate::error::Result;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::money::Cents;
use uuid::Uuid;

/// Rows of one statement: it holds at most 65,535 parameters, and a row has nine.
const CHUNK: usize = 1_000;

/// What is taken back of an issued line. Negative where a line that was taken back counts so much less as such.
#[derive(Clone, Copy, Debug)]
pub(super) struct TakenBack {
    /// The invoice that the line is on.
    pub invoice_id: Uuid,
    /// The line.
    pub line_item_id: Uuid,
    /// Net amount.
    pub net: Cents,
    /// Its tax.
    pub tax: Cents,
    /// Its part of the platform cost.
    pub cost: Cents,
}

/// A row of `credit_note_lines`.
#[derive(Insertable)]
#[diesel(table_name = credit_note_lines)]
struct Row<'a> {
    tenant_id: &'a str,
    line_item_id: Uuid,
    partner_id: &'a str,
    credit_note_id: Uuid,
    invoice_id: Uuid,
    credited_line_item_id: Uuid,
    net_cents: i64,
    tax_cents: i64,
    cost_cents: i64,
}

/// Notes what stored lines take back.
pub(super) async fn record(conn: &mut Conn, taken: &[(&LineRow, TakenBack)]) -> Result<()> {
    for chunk in taken.chunks(CHUNK) {
        let rows: Vec<Row<'_>> = chunk.iter().map(|(by, of)| row(by, of)).collect();
        diesel::insert_into(credit_note_lines::table).values(rows).execute(conn).await?;
    }
    Ok(())
}

fn row<'a>(by: &'a LineRow, of: &TakenBack) -> Row<'a> {
    Row {
        tenant_id: &by.tenant_id,
        line_item_id: by.line_item_id,
        partner_id: &by.partner_id,
        credit_note_id: by.invoice_id,
        invoice_id: of.invoice_id,
        credited_line_item_id: of.line_item_id,
        net_cents: of.net.0,
        tax_cents: of.tax.0,
        cost_cents: of.cost.0,
    }
}
