//! The ledger: one journal for each thing that happens to money, never changed, balanced by the database itself.
//!
//! Which accounts an operation touches is a rule of the domain; here the journal is stored, once for each operation,
//! and [`verify`] proves that documents, numbers and journals agree.
pub mod statement;
pub mod verify;

use crate::db::Conn;
use crate::db::schema::{journals, ledger_entries};
use crate::db::statement::kept_rows;
use crate::error::{Error, Result};
use crate::op::OpContext;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::ledger::{Book, Entry};
use uuid::Uuid;

/// What a journal is for.
#[derive(Debug)]
pub struct Posting<'a> {
    /// Whose money it is about.
    pub tenant_id: &'a str,
    /// In whose books it is.
    pub partner_id: &'a str,
    /// The operation and the thing it was done to; the same operation cannot post twice.
    pub operation_key: String,
    /// Kind of the journal.
    pub kind: &'static str,
    /// The document it belongs to.
    pub invoice_id: Option<Uuid>,
}

/// Posts a journal. Without entries (a document of zero) there is none.
///
/// Errors: a fault when an entry is not for the seller's own books, which only payments can make.
pub async fn post(mut conn: &Conn, op: &OpContext, posting: Posting<'_>, entries: &[Entry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let journal_id = op.id();
    use journals as j;
    diesel::insert_into(j::table)
        .values((
            j::tenant_id.eq(posting.tenant_id),
            j::journal_id.eq(journal_id),
            j::partner_id.eq(posting.partner_id),
            j::operation_key.eq(&posting.operation_key),
            j::kind.eq(posting.kind),
            j::invoice_id.eq(posting.invoice_id),
            j::occurred_at.eq(op.now),
        ))
        .execute(&mut conn)
        .await?;
    use ledger_entries as e;
    let mut rows = Vec::with_capacity(entries.len());
    for (entry_no, entry) in (0_i16..).zip(entries) {
        if entry.book != Book::Seller {
            return Err(Error::internal(format!("{} posts to another book", posting.operation_key)));
        }
        rows.push((
            e::tenant_id.eq(posting.tenant_id),
            e::journal_id.eq(journal_id),
            e::entry_no.eq(entry_no),
            e::partner_id.eq(posting.partner_id),
            e::account.eq(entry.account.to_string()),
            e::currency.eq(entry.currency.code()),
            e::amount_cents.eq(entry.amount.0),
            e::occurred_at.eq(op.now),
        ));
    }
    kept_rows(entries.len(), diesel::insert_into(e::table).values(rows)).execute(&mut conn).await?;
    Ok(())
}
