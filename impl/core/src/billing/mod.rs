//! Invoices: what is due, put on a draft, checked, numbered and frozen.
//!
//! [`run`] finds what is due, writes drafts and issues them; [`drafts`] is what finance does to a draft by hand; [`finalize`] makes a
//! draft a document. From its number on a document never changes: what happens later is other documents and journals.
pub mod corrections;
pub mod credit_lines;
pub mod credit_notes;
pub mod drafts;
pub mod finalize;
pub mod issue;
pub mod lines;
pub mod overview;
mod pack_line;
pub mod parts;
mod proration;
pub mod run;
pub mod store;
mod take_back;
mod taken_back;
pub mod tax;
pub mod upcoming;
pub mod view;
pub mod void;
pub mod worker;

use crate::app::Control;
use crate::db::page::PageRequest;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::payments;
use scaicontrol_types::{InvoiceDetailResponse, InvoiceResponse, Pagination};
use store::Filter;
use uuid::Uuid;

/// One document that the caller sees, with its lines and payments.
pub async fn get(op: &OpContext, app: &Control, invoice_id: Uuid) -> Result<InvoiceDetailResponse> {
    app.db
        .read(op, async |conn| {
            let row = store::get(conn, invoice_id).await?;
            let lines = store::lines(conn, &row.tenant_id, row.invoice_id).await?;
            let payments = payments::view::of_invoice(conn, &row.tenant_id, row.invoice_id).await?;
            let mut data = view::with_payments(&row, &lines, payments)?;
            data.pdf_url = view::pdf_url(op, &row);
            Ok(data)
        })
        .await
}

/// The documents of all tenants that the caller sees, newest first.
///
/// Errors: 400 when `from` is after `to`.
pub async fn list(
    op: &OpContext,
    app: &Control,
    filter: &Filter,
    page: &PageRequest,
) -> Result<(Vec<InvoiceResponse>, Pagination)> {
    if let (Some(from), Some(to)) = (filter.from, filter.to)
        && to < from
    {
        return Err(Error::field("from", "is after `to`"));
    }
    let (rows, counted) = app.db.read(op, async |conn| store::list(conn, filter, page).await).await?;
    let (rows, pagination) = page.finish(rows, counted, |r| r.invoice_id.to_string());
    Ok((rows.iter().map(view::invoice).collect::<Result<_>>()?, pagination))
}

/// The numbered documents of the caller's tenant, the newest issue date first.
pub async fn list_issued(
    op: &OpContext,
    app: &Control,
    filter: &Filter,
    page: &PageRequest,
) -> Result<(Vec<InvoiceResponse>, Pagination)> {
    let (rows, counted) = app.db.read(op, async |conn| store::list_issued(conn, filter, page).await).await?;
    let (rows, pagination) = page.finish(rows, counted, store::IssuedKey::of);
    let seen = |row| Ok(InvoiceResponse { pdf_url: view::pdf_url(op, row), ..view::invoice(row)? });
    Ok((rows.iter().map(seen).collect::<Result<_>>()?, pagination))
}
