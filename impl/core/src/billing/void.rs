//! Void documents: a draft that is thrown away and remembered, and an issued invoice that a full credit note undoes.
use super::credit_notes::{self, Original};
use super::store::{self, InvoiceRow};
use super::view;
use crate::app::Control;
use crate::audit;
use crate::checks;
use crate::db::Conn;
use crate::db::schema::billed_items;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::payments::{refund::audit_entry, settle};
use crate::subscriptions::store::{self as subscriptions, BilledItemRow};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::credit_note;
use scaicontrol_domain::invoice::{State, check};
use scaicontrol_domain::money::Cents;
use scaicontrol_types::{InvoiceVoidRequest, InvoiceVoidResponse};
use uuid::Uuid;

/// Makes a document void.
///
/// Errors: 404; 409 for what is void or paid, for a credit note, and when anything of it is paid or credited; 400 for an
/// option of the other kind of document.
pub async fn void(
    op: &OpContext,
    app: &Control,
    invoice_id: Uuid,
    body: &InvoiceVoidRequest,
) -> Result<InvoiceVoidResponse> {
    let (rebill, waive) = (body.rebill.unwrap_or(false), body.waive.unwrap_or(false));
    app.db
        .once(op, "admin_invoice_void", async |conn| {
            let row = store::lock(conn, invoice_id).await?;
            if row.document_type == "credit_note" {
                return Err(Error::conflict("a credit note cannot be made void"));
            }
            let state: State = row.status.parse().map_err(Error::internal)?;
            check(state, State::Void).map_err(|e| Error::conflict(e.to_string()))?;
            checks::reason(&body.reason)?;
            match state {
                State::Draft if rebill => {
                    Err(Error::field("rebill", "is for issued invoices: what a draft billed is free anyway"))
                }
                State::Draft => void_draft(conn, op, row, waive, &body.reason).await,
                _ if waive => {
                    Err(Error::field("waive", "is for drafts: what was issued stays billed anyway"))
                }
                _ => void_issued(conn, op, row, rebill, &body.reason).await,
            }
        })
        .await
}

/// Discards a draft. Its lines stay to be looked at, and bill nothing any more.
async fn void_draft(
    conn: &mut Conn,
    op: &OpContext,
    mut row: InvoiceRow,
    waive: bool,
    reason: &str,
) -> Result<InvoiceVoidResponse> {
    let before = view::invoice(&row)?;
    let lines = store::lines(conn, &row.tenant_id, row.invoice_id).await?;
    let items = store::items_of(conn, &row.tenant_id, row.invoice_id).await?;
    store::release_items(conn, &row.tenant_id, &items, &lines.iter().collect::<Vec<_>>(), waive).await?;
    let mut free = lines.clone();
    free.iter_mut().for_each(|line| line.billed_item_id = None);
    store::replace_lines(conn, &lines, &free).await?;
    (row.status, row.voided_at, row.updated_at) = (State::Void.as_str().into(), Some(op.now), op.now);
    store::save(conn, &row).await?;
    let after = view::invoice(&row)?;
    audit::record(conn, op, audit_entry(&row, reason), Some(&before), Some(&after)).await?;
    Ok(InvoiceVoidResponse { invoice: after, credit_note: None })
}

/// Undoes an issued invoice by a credit note of all of it.
async fn void_issued(
    conn: &mut Conn,
    op: &OpContext,
    row: InvoiceRow,
    rebill: bool,
    reason: &str,
) -> Result<InvoiceVoidResponse> {
    let mut invoice = settle::load(conn, row).await?;
    invoice.now.balance.check_voidable().map_err(|_| {
        Error::conflict("something of the invoice is paid or credited: credit the rest instead")
    })?;
    let original = Original::load(conn, &invoice.row).await?;
    if original.invoiced.iter().any(|line| line.net_credited != Cents::ZERO) {
        return Err(Error::conflict("a later invoice takes something of it back: credit the rest instead"));
    }
    let note = credit_note::whole(&original.invoiced).map_err(Error::internal)?;
    let written = credit_notes::write(conn, op, &original, &note, reason).await?;
    let split = invoice.now.credit(note.gross, false).map_err(Error::internal)?;
    if split.reduces_due != note.gross {
        return Err(Error::internal("a void invoice that something was paid of"));
    }
    (invoice.row.status, invoice.row.voided_at) = (State::Void.as_str().into(), Some(op.now));
    invoice.save(conn, op, op.now).await?;
    if rebill {
        free_items(conn, op, &invoice.row).await?;
    }
    let after = view::invoice(&invoice.row)?;
    audit::record(conn, op, audit_entry(&invoice.row, reason), Some(&invoice.before), Some(&after)).await?;
    let (note, _) = credit_notes::issue(conn, op, written).await?;
    Ok(InvoiceVoidResponse { invoice: after, credit_note: Some(view::invoice(&note)?) })
}

/// Makes what the invoice billed due again. The items stay with the void invoice, whose lines are final; their next
/// revisions are what the next run bills. An invoice becomes void once, so each has one.
async fn free_items(conn: &mut Conn, op: &OpContext, invoice: &InvoiceRow) -> Result<()> {
    use billed_items as t;
    let items: Vec<BilledItemRow> = t::table
        .filter(t::tenant_id.eq(&invoice.tenant_id).and(t::invoice_id.eq(invoice.invoice_id)))
        .select(BilledItemRow::as_select())
        .order(t::billed_item_id)
        .load(conn)
        .await?;
    for item in items {
        let last: Option<i32> = t::table
            .filter(t::tenant_id.eq(&item.tenant_id).and(t::source_type.eq(&item.source_type)))
            .filter(t::source_id.eq(item.source_id).and(t::period_start.eq(item.period_start)))
            .filter(t::kind.eq(&item.kind))
            .select(diesel::dsl::max(t::revision))
            .first(conn)
            .await?;
        // A segment may have several corrections.
        let revision = last.unwrap_or(item.revision).checked_add(1);
        let revision = revision.ok_or_else(|| Error::internal("too many revisions"))?;
        let again = BilledItemRow {
            billed_item_id: op.id(),
            revision,
            status: "due".into(),
            invoice_id: None,
            created_at: op.now,
            ..item
        };
        subscriptions::insert_item(conn, &again).await?;
    }
    Ok(())
}
