//! What is taken back by credit notes because it cannot stand as a credit line on an invoice.
//!
//! A credit note takes back no more than is left of its invoice. The invoice of a plan change may hold less than the line
//! that is taken back: it gave back something of an earlier invoice itself. What does not fit passes on to that one: its
//! line counts as not taken back to that extent, the line of the plan change as taken back, and a credit note of the
//! earlier invoice gives the money back. So each document stays within its amount, and each line is taken back once.
use super::credit_notes::{self, How, Original, refusal};
use super::store::LineRow;
use crate::db::Conn;
use crate::db::schema::credit_note_lines;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::payments::settle;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::cost::reversed_cost;
use scaicontrol_domain::credit_note::{CreditNote, CreditNoteError, of_lines};
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::tax::compute::tax_on;
use scaicontrol_types::InvoiceDetailResponse;
use uuid::Uuid;

/// Plan changes that one amount is passed on through at most.
const CHAIN_MAX: usize = 1_000;

/// An invoice that an amount was passed on from.
struct Passed {
    original: Original,
    /// Its line that is taken back.
    charge: usize,
    /// Its credit line.
    credit: usize,
}

/// Takes an amount of a line of an issued invoice back, net. What `line`, the credit line, says and was computed from goes
/// with the credit notes. What was paid becomes credit. Answers the last of the notes.
///
/// Errors: 400 when it is more than is left of the line and of all that it was charged instead of.
pub(super) async fn take_back(
    conn: &mut Conn,
    op: &OpContext,
    (mut invoice_id, mut line_item_id, mut open): (Uuid, Uuid, Cents),
    line: &LineRow,
) -> Result<InvoiceDetailResponse> {
    let mut passed: Vec<Passed> = vec![];
    let how = How { refund: false, reason: &line.description, because: line.explanation.as_ref() };
    let mut last = None;
    for _ in 0..CHAIN_MAX {
        let mut invoice = settle::lock(conn, invoice_id, "credited").await?;
        let original = Original::load(conn, &invoice.row).await?;
        let charge = original.lines.iter().position(|l| l.line_item_id == line_item_id);
        let charge = charge.ok_or_else(|| Error::internal("a line that is not on its invoice"))?;
        if let Some(note) = fitting(&original, charge, open)? {
            let made = credit_notes::carry_out(conn, op, &mut invoice, (&original, &note), how).await?;
            for from in &mut passed {
                pass_on(conn, from, &made, note.net).await?;
            }
            open = open.sub(note.net).map_err(Error::internal)?;
            last = Some(made);
        }
        if open == Cents::ZERO {
            return last.ok_or_else(|| Error::internal("a credit line that takes nothing back"));
        }
        // Loaded anew, with what the note took back.
        let original = Original::load(conn, &invoice.row).await?;
        let (credit, earlier_invoice, earlier_line) = earlier(&original).ok_or_else(|| {
            Error::field("line_items", format!("{open} more is taken back than was charged"))
        })?;
        passed.push(Passed { original, charge, credit });
        (invoice_id, line_item_id) = (earlier_invoice, earlier_line);
    }
    Err(Error::internal("too long a chain of plan changes"))
}

/// The credit note of as much of the amount as the invoice holds; none when it holds nothing.
fn fitting(original: &Original, charge: usize, open: Cents) -> Result<Option<CreditNote>> {
    let lefts = original.invoiced.iter().map(|l| l.net.sub(l.net_credited)).collect::<Result<Vec<_>, _>>();
    let lefts = lefts.map_err(Error::internal)?;
    let whole = Cents::sum(lefts.iter().copied()).map_err(Error::internal)?;
    let part = open.min(whole).min(lefts.get(charge).copied().unwrap_or_default());
    if part <= Cents::ZERO {
        return Ok(None);
    }
    match of_lines(&original.invoiced, &[(charge, Some(part))]) {
        Ok(note) => Ok(Some(note)),
        // Its lines are taxed at several rates, and with tax it does not fit.
        Err(CreditNoteError::Invoice(_)) if part < open || earlier(original).is_some() => Ok(None),
        Err(e) => Err(refusal(e)),
    }
}

/// The credit line of an invoice, and what it takes back.
fn earlier(original: &Original) -> Option<(usize, Uuid, Uuid)> {
    original.lines.iter().enumerate().find_map(|(index, line)| {
        let explanation = line.explanation.as_ref().filter(|_| line.amount_cents < 0)?;
        let id = |name: &str| explanation.get(name)?.as_str()?.parse::<Uuid>().ok();
        Some((index, id("credited_invoice_id")?, id("credited_line_item_id")?))
    })
}

/// Writes down that `amount` of an invoice was passed on to the credit note `made`.
async fn pass_on(
    conn: &mut Conn,
    from: &mut Passed,
    made: &InvoiceDetailResponse,
    amount: Cents,
) -> Result<()> {
    use credit_note_lines as t;
    let of = made.line_items.as_slice().first().ok_or_else(|| Error::internal("a credit note without a line"))?;
    let rate = from.original.invoiced.get(from.charge).map(|l| l.rate).unwrap_or_default();
    let back = amount.neg().map_err(Error::internal)?;
    for (index, net) in [(from.charge, amount), (from.credit, back)] {
        let parts = (from.original.lines.get(index), from.original.invoiced.get_mut(index));
        let (Some(row), Some(line)) = parts else { continue };
        let credited = line.net_credited.add(net).map_err(Error::internal)?;
        let cost =
            reversed_cost(line.cost, line.net, credited, line.cost_credited).map_err(Error::internal)?;
        let tax = tax_on(net, rate).map_err(Error::internal)?;
        diesel::insert_into(t::table)
            .values((
                t::tenant_id.eq(&row.tenant_id),
                t::line_item_id.eq(of.id),
                t::partner_id.eq(&row.partner_id),
                t::credit_note_id.eq(made.id),
                t::invoice_id.eq(row.invoice_id),
                t::credited_line_item_id.eq(row.line_item_id),
                t::net_cents.eq(net.0),
                t::tax_cents.eq(tax.0),
                t::cost_cents.eq(cost.0),
            ))
            .execute(conn)
            .await?;
        line.net_credited = credited;
        line.cost_credited = line.cost_credited.add(cost).map_err(Error::internal)?;
    }
    Ok(())
}
