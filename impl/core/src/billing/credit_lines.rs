//! Credit lines: what an invoice takes back of an earlier one.
//!
//! A plan change gives back the unused share of what was billed for the period, and a cancellation may. That is a line of
//! the change's own invoice, taxed by the very decision of the line that it takes back, with a reference to its invoice,
//! and it counts as taken back of that line like the part of a credit note, so that no line is ever taken back twice.
//!
//! Where the invoice would come to less than 0, or what is taken back cannot stand beside the other lines (some of them are
//! outside the scope of VAT and others not), it is taken back by credit notes of the earlier invoices instead.
//!
//! What is taken back must be issued first: only then is its VAT decided and its number known. A draft with a credit line
//! for a line that is still on a draft, or not billed yet, waits. When that line was waived there is nothing to take back,
//! and the credit line must be dropped from the draft.
use super::credit_notes::Original;
use super::store::{self, InvoiceRow, LineRow};
use super::take_back::take_back;
use crate::db::Conn;
use crate::db::schema::{billed_items, credit_note_lines};
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::subscriptions::billed;
use crate::subscriptions::store::BilledItemRow;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::credit_note::{CreditedLine, of_credit_line};
use scaicontrol_domain::money::Cents;
use scaicontrol_types::InvoiceDetailResponse;
use uuid::Uuid;

/// A credit line, and the line that it takes back.
#[derive(Debug)]
pub(super) struct Reversal {
    /// Its place on the draft.
    place: usize,
    /// The invoice of the line that it takes back; locked by [`load`].
    invoice_id: Uuid,
    /// That line.
    line_item_id: Uuid,
    /// Its VAT decision.
    tax: serde_json::Value,
    /// What is taken back of it.
    part: CreditedLine,
}

/// The credit lines of a draft.
///
/// Errors: 409 when what one takes back is not issued yet; 400 naming the line when there is nothing to take back, or less.
pub(super) async fn load(conn: &mut Conn, lines: &[LineRow]) -> Result<Vec<Reversal>> {
    let mut reversals = vec![];
    for (place, line) in lines.iter().enumerate() {
        if let Some((item, invoice_id)) = credited(conn, place, line).await? {
            let invoice = store::lock(conn, invoice_id).await?;
            reversals.push(reversal(conn, place, line, (&item, &invoice)).await?);
        }
    }
    Ok(reversals)
}

/// The lines of a draft as they would be issued: the credit lines with the VAT decision of what they take back. What is not
/// issued yet will be taxed as things are then, like the line itself.
///
/// Errors: 400 as [`load`].
pub(super) async fn foreseen(conn: &mut Conn, lines: &[LineRow]) -> Result<Vec<LineRow>> {
    let mut reversals = vec![];
    for (place, line) in lines.iter().enumerate() {
        match seen(conn, place, line).await {
            Ok(found) => reversals.extend(found),
            Err(Error::Conflict(_)) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(referring(lines, &reversals))
}

/// What a credit line takes back, without holding it.
async fn seen(conn: &mut Conn, place: usize, line: &LineRow) -> Result<Option<Reversal>> {
    let Some((item, invoice_id)) = credited(conn, place, line).await? else { return Ok(None) };
    let invoice = store::get(conn, invoice_id).await?;
    reversal(conn, place, line, (&item, &invoice)).await.map(Some)
}

/// The item whose line a credit line takes back.
fn credited_item(line: &LineRow) -> Option<Uuid> {
    if line.billed_item_id.is_none() || 0 <= line.amount_cents {
        return None;
    }
    line.explanation.as_ref()?.get("credited_item_id")?.as_str()?.parse().ok()
}

/// The item that a line takes back, and the document that it is on; nothing for a line that takes nothing back.
async fn credited(conn: &mut Conn, place: usize, line: &LineRow) -> Result<Option<(BilledItemRow, Uuid)>> {
    let Some(item_id) = credited_item(line) else { return Ok(None) };
    let item = billed::newest_revision(conn, &line.tenant_id, item_id).await?;
    match (item.invoice_id, item.status.as_str()) {
        (Some(invoice_id), _) => Ok(Some((item, invoice_id))),
        (None, "due") => Err(Error::conflict(format!(
            "line {} takes back what is not billed yet: run billing and issue that first",
            place + 1
        ))),
        (None, _) => Err(refuse(place, "takes back what was never billed: drop the line")),
    }
}

fn refuse(place: usize, why: &str) -> Error {
    Error::field(format!("line_items.{place}.id"), why)
}

async fn reversal(
    conn: &mut Conn,
    place: usize,
    line: &LineRow,
    (item, invoice): (&BilledItemRow, &InvoiceRow),
) -> Result<Reversal> {
    let invoice_id = invoice.invoice_id;
    if invoice.number.is_none() {
        return Err(Error::conflict(format!(
            "line {} takes back a line of the draft {invoice_id}, which must be issued first",
            place + 1
        )));
    }
    let original = Original::load(conn, invoice).await?;
    let of = |l: &LineRow| l.billed_item_id == Some(item.billed_item_id) && 0 < l.amount_cents;
    let found = original.lines.iter().enumerate().find(|(_, l)| of(l));
    let (index, credited) =
        found.ok_or_else(|| refuse(place, "takes back what was never billed: drop the line"))?;
    let amount = Cents(line.amount_cents).neg().map_err(Error::internal)?;
    // Only the line bounds it: what else is on the invoice may take something back itself.
    let part =
        of_credit_line(&original.invoiced, index, amount).map_err(|e| refuse(place, &e.to_string()))?;
    Ok(Reversal {
        place,
        invoice_id,
        line_item_id: credited.line_item_id,
        tax: credited.explanation.as_ref().map(|e| e["tax"].clone()).unwrap_or_default(),
        part,
    })
}

/// The lines of the draft, the credit lines with the VAT decision and the reference of what they take back.
pub(super) fn referring(lines: &[LineRow], reversals: &[Reversal]) -> Vec<LineRow> {
    let mut lines = lines.to_vec();
    for reversal in reversals {
        if let Some(explanation) = lines.get_mut(reversal.place).and_then(|l| l.explanation.as_mut()) {
            explanation["tax"] = reversal.tax.clone();
            explanation["credited_invoice_id"] = reversal.invoice_id.to_string().into();
            explanation["credited_line_item_id"] = reversal.line_item_id.to_string().into();
        }
    }
    lines
}

/// The platform's part of the credit lines is the one of what they take back, whatever the multipliers are now.
pub(super) fn settle_cost(lines: &mut [LineRow], reversals: &[Reversal], is_operator: bool) {
    for reversal in reversals {
        if let Some(line) = lines.get_mut(reversal.place) {
            line.platform_cost_cents = if is_operator { 0 } else { -reversal.part.cost.0 };
        }
    }
}

/// Writes down that the lines are taken back by the invoice. Its lines are stored.
pub(super) async fn link(conn: &mut Conn, lines: &[LineRow], reversals: &[Reversal]) -> Result<()> {
    use credit_note_lines as t;
    for reversal in reversals {
        let Some(line) = lines.get(reversal.place) else { continue };
        diesel::insert_into(t::table)
            .values((
                t::tenant_id.eq(&line.tenant_id),
                t::line_item_id.eq(line.line_item_id),
                t::partner_id.eq(&line.partner_id),
                t::credit_note_id.eq(line.invoice_id),
                t::invoice_id.eq(reversal.invoice_id),
                t::credited_line_item_id.eq(reversal.line_item_id),
                t::net_cents.eq(-line.amount_cents),
                t::tax_cents.eq(-line.tax_cents),
                t::cost_cents.eq(-line.platform_cost_cents),
            ))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Issues credit notes for what the credit lines take back, and answers the other lines and the last credit note.
pub(super) async fn as_credit_notes(
    conn: &mut Conn,
    op: &OpContext,
    lines: &[LineRow],
    reversals: &[Reversal],
) -> Result<(Vec<LineRow>, Option<InvoiceDetailResponse>)> {
    let mut last = None;
    for reversal in reversals {
        let Some(line) = lines.get(reversal.place) else { continue };
        let what = (reversal.invoice_id, reversal.line_item_id, reversal.part.net);
        last = Some(take_back(conn, op, what, line).await?);
    }
    let is_credit = |place: &usize| reversals.iter().any(|reversal| reversal.place == *place);
    let rest = lines.iter().enumerate().filter(|(place, _)| !is_credit(place));
    let mut rest: Vec<LineRow> = rest.map(|(_, line)| line.clone()).collect();
    super::drafts::number_lines(&mut rest);
    Ok((rest, last))
}

/// Removes a draft of which nothing is left: what it billed is on the credit note.
pub(super) async fn replace_draft(conn: &mut Conn, draft: &InvoiceRow, credit_note_id: Uuid) -> Result<()> {
    use billed_items as t;
    diesel::update(
        t::table.filter(t::tenant_id.eq(&draft.tenant_id).and(t::invoice_id.eq(draft.invoice_id))),
    )
    .set(t::invoice_id.eq(Some(credit_note_id)))
    .execute(conn)
    .await?;
    store::delete(conn, draft).await
}
