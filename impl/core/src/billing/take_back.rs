//! What is taken back by credit notes because it cannot stand as a credit line on an invoice.
//!
//! A credit note takes back no more than is left of its invoice. The invoice of a plan change may hold less than the line
//! that is taken back: it gave back something of an earlier invoice itself. What does not fit passes on to that one: its
//! line counts as not taken back to that extent, the line of the plan change as taken back, and a credit note of the
//! earlier invoice gives the money back. So each document stays within its amount, and each line is taken back once.
use super::credit_notes::{self, How, Original, refusal};
use super::store::LineRow;
use super::taken_back::TakenBack;
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::payments::settle;
use scaicontrol_domain::cost::reversed_cost;
use scaicontrol_domain::credit_note::{CreditNote, CreditNoteError, of_lines};
use scaicontrol_domain::money::{Cents, MoneyError};
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
/// with the credit notes. What was paid becomes credit. Answers the notes.
///
/// Errors: 400 when it is more than is left of the line and of all that it was charged instead of.
pub(super) async fn take_back(
    conn: &mut Conn,
    op: &OpContext,
    (mut invoice_id, mut line_item_id, mut open): (Uuid, Uuid, Cents),
    line: &LineRow,
) -> Result<Vec<InvoiceDetailResponse>> {
    let mut passed: Vec<Passed> = vec![];
    let mut notes = vec![];
    for _ in 0..CHAIN_MAX {
        let mut invoice = settle::lock(conn, invoice_id, "credited").await?;
        let mut original = Original::load(conn, &invoice.row).await?;
        let charge = original.lines.iter().position(|l| l.line_item_id == line_item_id);
        let charge = charge.ok_or_else(|| Error::internal("a line that is not on its invoice"))?;
        if !passed.is_empty() {
            revive(&mut original, charge, open)?;
        }
        if let Some(mut note) = fitting(&original, charge, open)? {
            let rows = pass_on(&mut passed, note.net)?;
            if let (Some(revived), Some(part)) = (rows.last(), note.lines.first_mut()) {
                // What was given back by the later invoice is what this one gives back.
                part.cost = revived.cost.neg().map_err(Error::internal)?;
            }
            within(&mut note, invoice.now.balance.total.sub(invoice.now.balance.credited))?;
            let how = How {
                refund: false,
                reason: &line.description,
                because: line.explanation.as_ref(),
                passed: &rows,
            };
            notes.push(credit_notes::carry_out(conn, op, &mut invoice, (&original, &note), how).await?);
            open = open.sub(note.net).map_err(Error::internal)?;
        }
        if open == Cents::ZERO {
            return Ok(notes);
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

/// To the extent that it is passed on to it, the line is not taken back any more.
fn revive(original: &mut Original, charge: usize, open: Cents) -> Result<()> {
    let Some(line) = original.invoiced.get_mut(charge) else { return Ok(()) };
    line.net_credited = line.net_credited.sub(open).map_err(Error::internal)?;
    line.tax_credited = tax_on(line.net_credited, line.rate).map_err(Error::internal)?;
    Ok(())
}

/// Takes a cent of rounding off the tax of a note that would take back more than is left of its invoice.
fn within(note: &mut CreditNote, left: Result<Cents, MoneyError>) -> Result<()> {
    let over = left.and_then(|left| note.gross.sub(left)).map_err(Error::internal)?;
    if over <= Cents::ZERO {
        return Ok(());
    }
    let less = |cents: &mut Cents| -> Result<()> {
        *cents = cents.sub(over).map_err(Error::internal)?;
        Ok(())
    };
    if let (Some(line), Some(group)) = (note.lines.first_mut(), note.groups.first_mut()) {
        less(&mut line.tax)?;
        less(&mut group.tax)?;
        less(&mut note.tax)?;
        less(&mut note.gross)?;
    }
    Ok(())
}

/// What it means for the invoices that an amount was passed on from: the charge of each is taken back, and its credit line
/// gives so much less back.
fn pass_on(passed: &mut [Passed], amount: Cents) -> Result<Vec<TakenBack>> {
    let back = amount.neg().map_err(Error::internal)?;
    let mut rows = vec![];
    for from in passed {
        let rate = from.original.invoiced.get(from.charge).map(|l| l.rate).unwrap_or_default();
        for (index, net) in [(from.charge, amount), (from.credit, back)] {
            let parts = (from.original.lines.get(index), from.original.invoiced.get_mut(index));
            let (Some(row), Some(line)) = parts else { continue };
            let credited = line.net_credited.add(net).map_err(Error::internal)?;
            let cost =
                reversed_cost(line.cost, line.net, credited, line.cost_credited).map_err(Error::internal)?;
            let tax = tax_on(net, rate).map_err(Error::internal)?;
            rows.push(TakenBack {
                invoice_id: row.invoice_id,
                line_item_id: row.line_item_id,
                net,
                tax,
                cost,
            });
            line.net_credited = credited;
            line.cost_credited = line.cost_credited.add(cost).map_err(Error::internal)?;
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::{CreditNote, within};
    use rust_decimal::Decimal;
    use scaicontrol_domain::credit_note::{InvoicedLine, of_lines};
    use scaicontrol_domain::money::Cents;
    use scaicontrol_domain::tax::Category;

    /// A credit note of 1.03 net of a line at 21 %: 0.2163 of tax.
    fn note() -> CreditNote {
        let line = InvoicedLine {
            category: Category::Standard,
            rate: Decimal::from(21),
            net: Cents(1_000),
            cost: Cents(0),
            net_credited: Cents(0),
            tax_credited: Cents(0),
            cost_credited: Cents(0),
        };
        of_lines(&[line], &[(0, Some(Cents(103)))]).expect("a part of it")
    }

    #[test]
    fn a_cent_of_rounding_comes_off_the_tax_wherever_it_stands() {
        let mut note = note();
        assert_eq!((note.net, note.tax, note.gross), (Cents(103), Cents(22), Cents(125)));
        within(&mut note, Ok(Cents(124))).expect("it is put right");
        assert_eq!((note.net, note.tax, note.gross), (Cents(103), Cents(21), Cents(124)));
        assert_eq!((note.lines[0].net, note.lines[0].tax), (Cents(103), Cents(21)));
        assert_eq!((note.groups[0].base, note.groups[0].tax), (Cents(103), Cents(21)));
    }

    #[test]
    fn what_fits_is_left_as_it_is() {
        for left in [125, 126, 10_000] {
            let mut fits = note();
            within(&mut fits, Ok(Cents(left))).expect("it fits");
            assert_eq!(fits, note());
        }
    }
}
