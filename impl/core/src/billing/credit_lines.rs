//! Credit lines: what an invoice takes back of an earlier one.
//!
//! A plan change gives back the unused share of what was billed for the period, and a cancellation may; a correction gives
//! back usage that turned out to cost less, which may have been billed in several lines. That is a line of its own invoice,
//! taxed by the very decision of the line that it takes back, with a reference to its invoice, and it counts as taken back
//! of that line like the part of a credit note, so that no line is ever taken back twice.
//!
//! Where the invoice would come to less than 0, or what is taken back cannot stand beside the other lines (some of them are
//! outside the scope of VAT and others not) or needs the VAT number that the buyer no longer has, it is taken back by credit
//! notes of the earlier invoices instead, which carry the parties of those.
//!
//! What is taken back must be issued first: only then is its VAT decided and its number known. A draft with a credit line
//! for a line that is still on a draft, or not billed yet, waits. When that line was waived there is nothing to take back,
//! and the credit line must be dropped from the draft.
use super::credit_notes::Original;
use super::store::{self, InvoiceRow, LineRow};
use super::take_back::take_back;
use super::taken_back::{self, TakenBack};
use super::tax::{Parties, Taxed};
use crate::db::Conn;
use crate::db::schema::billed_items;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::subscriptions::billed;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::credit_note::{CreditNoteError, InvoicedLine, cost_of_credit_line};
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::tax::Category;
use scaicontrol_types::InvoiceDetailResponse;
use std::cmp::Reverse;
use uuid::Uuid;

/// A credit line, and what it takes back.
#[derive(Debug)]
pub(super) struct Reversal {
    /// Its place on the draft.
    place: usize,
    /// The VAT decision of what it takes back.
    tax: serde_json::Value,
    /// The lines that it takes back, the largest first: usage may have been billed in several, by tier and by correction.
    /// Their invoices are locked by [`load`]; the tax is known when the lines are stored.
    parts: Vec<TakenBack>,
    /// Whether those lines were taxed differently, so that no one line can take all of them back.
    is_mixed: bool,
}

/// A line that may be taken back, and how much of it is left.
struct Candidate {
    invoice_id: Uuid,
    line_item_id: Uuid,
    /// Its VAT decision.
    tax: serde_json::Value,
    /// As the rules know it.
    invoiced: InvoicedLine,
    left: Cents,
}

/// The credit lines of a draft.
///
/// Errors: 409 when what one takes back is not issued yet; 400 naming the line when there is nothing to take back, or less.
pub(super) async fn load(conn: &mut Conn, lines: &[LineRow]) -> Result<Vec<Reversal>> {
    let mut reversals = vec![];
    for (place, line) in lines.iter().enumerate() {
        let mut sources = vec![];
        for (item_id, invoice_id) in credited(conn, place, line).await? {
            sources.push((item_id, store::lock(conn, invoice_id).await?));
        }
        if !sources.is_empty() {
            reversals.push(reversal(conn, (place, line), sources, &reversals).await?);
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
        match seen(conn, place, line, &reversals).await {
            Ok(found) => reversals.extend(found),
            Err(Error::Conflict(_)) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(referring(lines, &reversals))
}

/// What a credit line takes back, without holding it.
async fn seen(
    conn: &mut Conn,
    place: usize,
    line: &LineRow,
    others: &[Reversal],
) -> Result<Option<Reversal>> {
    let mut sources = vec![];
    for (item_id, invoice_id) in credited(conn, place, line).await? {
        sources.push((item_id, store::get(conn, invoice_id).await?));
    }
    if sources.is_empty() {
        return Ok(None);
    }
    reversal(conn, (place, line), sources, others).await.map(Some)
}

/// The item whose line a credit line takes back.
fn credited_item(line: &LineRow) -> Option<Uuid> {
    if line.billed_item_id.is_none() || 0 <= line.amount_cents {
        return None;
    }
    line.explanation.as_ref()?.get("credited_item_id")?.as_str()?.parse().ok()
}

/// The items that a line takes back, each with the document that it is on; nothing for a line that takes nothing back. Of
/// usage those are all that billed it.
async fn credited(conn: &mut Conn, place: usize, line: &LineRow) -> Result<Vec<(Uuid, Uuid)>> {
    use billed_items as t;
    let Some(item_id) = credited_item(line) else { return Ok(vec![]) };
    let item = billed::newest_revision(conn, &line.tenant_id, item_id).await?;
    match (item.invoice_id, item.status.as_str()) {
        (Some(_), _) if item.source_type == "segment" => Ok(t::table
            .filter(t::tenant_id.eq(&line.tenant_id).and(t::source_type.eq("segment")))
            .filter(t::source_id.eq(item.source_id).and(t::status.eq("invoiced")))
            .filter(t::invoice_id.is_not_null().and(t::invoice_id.ne(line.invoice_id)))
            .order((t::invoice_id, t::billed_item_id))
            .select((t::billed_item_id, t::invoice_id.assume_not_null()))
            .load(conn)
            .await?),
        (Some(invoice_id), _) => Ok(vec![(item.billed_item_id, invoice_id)]),
        (None, "due") => Err(Error::conflict(format!(
            "line {} takes back what is not billed yet: run billing and issue that first",
            place + 1
        ))),
        (None, _) => Err(refuse(place, "takes back what was never billed: drop the line and waive it")),
    }
}

fn refuse(place: usize, why: &str) -> Error {
    Error::field(format!("line_items.{place}.id"), why)
}

/// What a credit line takes back of what its items were billed as. `others` are the credit lines before it, which may be of
/// the same lines.
async fn reversal(
    conn: &mut Conn,
    (place, line): (usize, &LineRow),
    sources: Vec<(Uuid, InvoiceRow)>,
    others: &[Reversal],
) -> Result<Reversal> {
    let (mut candidates, mut waits_for, mut is_issued) = (vec![], None, false);
    for (item_id, invoice) in sources.iter().filter(|(_, invoice)| invoice.status != "void") {
        if invoice.number.is_none() {
            waits_for = Some(invoice.invoice_id);
            continue;
        }
        is_issued = true;
        let original = Original::load(conn, invoice).await?;
        candidates.append(&mut of_item(original, *item_id, line, others)?);
    }
    let whole = Cents(line.amount_cents).neg().map_err(Error::internal)?;
    let (reversal, open) = taken(place, whole, candidates)?;
    match waits_for {
        _ if open == Cents::ZERO => Ok(reversal),
        Some(invoice_id) => Err(Error::conflict(format!(
            "line {} takes back a line of the draft {invoice_id}, which must be issued first",
            place + 1
        ))),
        None if !is_issued => {
            Err(refuse(place, "takes back what was never billed: drop the line and waive it"))
        }
        None => {
            let left = whole.sub(open).map_err(Error::internal)?;
            Err(refuse(place, &CreditNoteError::Line { asked: 0, left }.to_string()))
        }
    }
}

/// The lines of an issued invoice that billed an item, of the metric of the credit line, of which something is left. Only
/// the lines bound it: what else is on the invoice may take something back itself.
fn of_item(
    mut original: Original,
    item_id: Uuid,
    credit: &LineRow,
    others: &[Reversal],
) -> Result<Vec<Candidate>> {
    let mut candidates = vec![];
    for (billed, invoiced) in original.lines.iter().zip(&mut original.invoiced) {
        if billed.billed_item_id != Some(item_id) || billed.metric_slug != credit.metric_slug {
            continue;
        }
        let before = others.iter().flat_map(|other| &other.parts);
        for part in before.filter(|part| part.line_item_id == billed.line_item_id) {
            invoiced.net_credited = invoiced.net_credited.add(part.net).map_err(Error::internal)?;
            invoiced.cost_credited = invoiced.cost_credited.add(part.cost).map_err(Error::internal)?;
        }
        let left = invoiced.net_left().map_err(Error::internal)?;
        if Cents::ZERO < left {
            candidates.push(Candidate {
                invoice_id: billed.invoice_id,
                line_item_id: billed.line_item_id,
                tax: billed.explanation.as_ref().map(|e| e["tax"].clone()).unwrap_or_default(),
                invoiced: *invoiced,
                left,
            });
        }
    }
    Ok(candidates)
}

/// Takes an amount back of the candidates, the largest first. Answers what they do not hold, too.
fn taken(place: usize, whole: Cents, mut candidates: Vec<Candidate>) -> Result<(Reversal, Cents)> {
    candidates.sort_by_key(|candidate| Reverse(candidate.left));
    let mut reversal = Reversal { place, tax: serde_json::Value::Null, parts: vec![], is_mixed: false };
    let (mut open, mut taxed) = (whole, None);
    for Candidate { invoice_id, line_item_id, tax, invoiced, left } in candidates {
        if open == Cents::ZERO {
            break;
        }
        let net = open.min(left);
        let cost = cost_of_credit_line(&invoiced, net).map_err(|e| refuse(place, &e.to_string()))?;
        if reversal.parts.is_empty() {
            reversal.tax = tax;
        }
        let rate = (invoiced.category, invoiced.rate);
        reversal.is_mixed |= *taxed.get_or_insert(rate) != rate;
        open = open.sub(net).map_err(Error::internal)?;
        reversal.parts.push(TakenBack { invoice_id, line_item_id, net, tax: Cents::ZERO, cost });
    }
    Ok((reversal, open))
}

/// The lines of the draft, the credit lines with the VAT decision and the reference of what they take back.
pub(super) fn referring(lines: &[LineRow], reversals: &[Reversal]) -> Vec<LineRow> {
    let mut lines = lines.to_vec();
    for reversal in reversals {
        if let Some(explanation) = lines.get_mut(reversal.place).and_then(|l| l.explanation.as_mut()) {
            explanation["tax"] = reversal.tax.clone();
            if let Some(part) = reversal.parts.as_slice().first() {
                explanation["credited_invoice_id"] = part.invoice_id.to_string().into();
                explanation["credited_line_item_id"] = part.line_item_id.to_string().into();
            }
        }
    }
    lines
}

/// Whether the credit lines can stand on the document: what they take back was taxed alike, the buyer still has the VAT number
/// that the rule of it names, and the document does not come to less than 0. Otherwise credit notes take it back.
pub(super) fn can_stand(reversals: &[Reversal], taxed: &Taxed, parties: &Parties) -> bool {
    let is_fine = |reversal: &Reversal| {
        let category = taxed.decisions.get(reversal.place).map(|decision| decision.category);
        let names_buyer = matches!(category, Some(Category::ReverseCharge | Category::IntraCommunity));
        !reversal.is_mixed && (!names_buyer || parties.buyer.vat_number.is_some())
    };
    Cents::ZERO <= taxed.totals.total && reversals.iter().all(is_fine)
}

/// The platform's part of the credit lines is the one of what they take back, whatever the multipliers are now.
pub(super) fn settle_cost(lines: &mut [LineRow], reversals: &[Reversal], is_operator: bool) {
    for reversal in reversals {
        if let Some(line) = lines.get_mut(reversal.place) {
            let cost: i64 = reversal.parts.iter().map(|part| part.cost.0).sum();
            line.platform_cost_cents = if is_operator { 0 } else { -cost };
        }
    }
}

/// Writes down that the lines are taken back by the invoice. Its lines are stored.
pub(super) async fn link(
    conn: &mut Conn,
    lines: &[LineRow],
    reversals: &[Reversal],
    is_operator: bool,
) -> Result<()> {
    let mut taken = vec![];
    for reversal in reversals {
        let Some(line) = lines.get(reversal.place) else { continue };
        let (mut net_left, mut tax_left) = (-line.amount_cents, -line.tax_cents);
        for part in &reversal.parts {
            let tax = share(tax_left, part.net.0, net_left)?;
            (net_left, tax_left) = (net_left - part.net.0, tax_left - tax);
            let cost = if is_operator { Cents::ZERO } else { part.cost };
            taken.push((line, TakenBack { tax: Cents(tax), cost, ..*part }));
        }
    }
    taken_back::record(conn, &taken).await
}

/// The part of the tax that goes with a part of an amount; all of it with the last.
fn share(tax: i64, net: i64, of: i64) -> Result<i64> {
    let share = i128::from(tax) * i128::from(net) / i128::from(of.max(1));
    i64::try_from(share).map_err(Error::internal)
}

/// Issues credit notes for what the credit lines take back, and answers the other lines and the notes.
pub(super) async fn as_credit_notes(
    conn: &mut Conn,
    op: &OpContext,
    lines: &[LineRow],
    reversals: &[Reversal],
) -> Result<(Vec<LineRow>, Vec<InvoiceDetailResponse>)> {
    let (mut notes, mut settled) = (vec![], vec![]);
    for reversal in reversals {
        let Some(line) = lines.get(reversal.place) else { continue };
        settled.push(line);
        for part in &reversal.parts {
            let what = (part.invoice_id, part.line_item_id, part.net);
            notes.append(&mut take_back(conn, op, what, line).await?);
        }
    }
    if let Some(line) = settled.as_slice().first() {
        store::settle_usage(conn, &line.tenant_id, &settled).await?;
    }
    let is_credit = |place: &usize| reversals.iter().any(|reversal| reversal.place == *place);
    let rest = lines.iter().enumerate().filter(|(place, _)| !is_credit(place));
    let mut rest: Vec<LineRow> = rest.map(|(_, line)| line.clone()).collect();
    super::drafts::number_lines(&mut rest);
    Ok((rest, notes))
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
