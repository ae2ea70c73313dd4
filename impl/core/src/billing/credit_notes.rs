//! Credit notes: a document that takes an issued invoice back, or a part of it.
//!
//! It carries the parties and the VAT of its invoice, never those of today. Which part of each line is taken back is
//! decided by the domain; here it becomes a document with lines that refer to those they take back, the journal that
//! undoes the invoice's, and a number of its own series. Everything runs under the invoice's lock.
use super::issue::{self, Unissued};
use super::store::{self, InvoiceRow, LineRow};
use super::taken_back::{self, TakenBack};
use super::{drafts, finalize, parts, view};
use crate::app::Control;
use crate::audit;
use crate::checks;
use crate::db::Conn;
use crate::db::schema::{invoices, partners};
use crate::db::statement::statement;
use crate::error::{Error, Field, Result};
use crate::op::OpContext;
use crate::payments::{refund::audit_entry, settle};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rust_decimal::Decimal;
use scaicontrol_domain::credit_note::{
    self as rules, CreditNote, CreditNoteError, CreditedLine, InvoicedLine,
};
use scaicontrol_domain::explanation::{Computation, Explanation};
use scaicontrol_domain::ledger::{Document, Tax};
use scaicontrol_domain::money::{Cents, mul_ratio_round};
use scaicontrol_domain::period::{local_date, parse_timezone};
use scaicontrol_domain::tax::{Category, Scheme};
use scaicontrol_types::{
    CreditNoteCreateRequest, CreditNoteLineInput, CreditNoteSettle, InvoiceDetailResponse, VatBreakdownItem,
    VatDetails, VatTreatment,
};
use uuid::Uuid;

/// Takes an invoice back, or lines of it, or parts of them.
///
/// Errors: 404; 409 for what is no issued invoice or is credited in full, and for a refund of what brought no money; 400
/// naming the line.
pub async fn create(
    op: &OpContext,
    app: &Control,
    invoice_id: Uuid,
    body: &CreditNoteCreateRequest,
) -> Result<InvoiceDetailResponse> {
    checks::reason(&body.reason)?;
    let refund = body.settle == Some(CreditNoteSettle::Refund);
    app.db
        .once(op, "admin_invoice_credit_note_create", async |conn| {
            let mut invoice = settle::lock(conn, invoice_id, "credited").await?;
            let original = Original::load(conn, &invoice.row).await?;
            if rules::gross_left(&original.invoiced).map_err(Error::internal)? <= Cents::ZERO {
                return Err(Error::conflict("the invoice is credited in full"));
            }
            if refund && invoice.now.held().map_err(Error::internal)? == Cents::ZERO {
                return Err(Error::conflict("no money is held for the invoice that could be refunded"));
            }
            let note = original.take_back(body.lines.as_deref())?;
            let how = How { refund, reason: &body.reason, because: None, passed: &[] };
            carry_out(conn, op, &mut invoice, (&original, &note), how).await
        })
        .await
}

/// How a part of an invoice is taken back.
#[derive(Clone, Copy, Debug)]
pub(super) struct How<'a> {
    /// Whether money that was paid goes back, instead of becoming credit.
    pub refund: bool,
    /// Why, as it is printed.
    pub reason: &'a str,
    /// What made the amount, where it was computed.
    pub because: Option<&'a serde_json::Value>,
    /// What of later invoices counts as taken back by the note, or less so.
    pub passed: &'a [TakenBack],
}

/// Writes the credit note, settles it with the invoice, and issues it.
pub(super) async fn carry_out(
    conn: &mut Conn,
    op: &OpContext,
    invoice: &mut settle::Settling,
    (original, note): (&Original, &CreditNote),
    how: How<'_>,
) -> Result<InvoiceDetailResponse> {
    let mut written = write_passing(conn, op, (original, note), how.reason, how.passed).await?;
    if let (Some(because), Some(line)) = (how.because, written.lines.first_mut()) {
        let explanation = line.explanation.get_or_insert_default();
        explanation["because"] = because.clone();
        diesel::update(&*line).set(&*line).execute(conn).await?;
    }
    let split = invoice.now.credit(note.gross, how.refund).map_err(Error::internal)?;
    let id = written.row.invoice_id;
    invoice.settle_credit_note(conn, op, id, split, how.reason).await?;
    invoice.save(conn, op, op.now).await?;
    let after = view::invoice(&invoice.row)?;
    let entry = audit_entry(&invoice.row, how.reason);
    audit::record(conn, op, entry, Some(&invoice.before), Some(&after)).await?;
    let (row, lines) = issue(conn, op, written).await?;
    view::detail(&row, &lines)
}

/// An invoice, and what was taken back of it before.
#[derive(Debug)]
pub struct Original {
    pub(super) row: InvoiceRow,
    pub(super) lines: Vec<LineRow>,
    details: VatDetails,
    /// The lines as the rules know them, in their order.
    pub invoiced: Vec<InvoicedLine>,
    /// Tax that earlier credit notes took back, in cents, and in minor units of the taxing state's currency. Credit lines
    /// of other invoices are not in it: those state their own.
    noted: (Cents, i64),
}

impl Original {
    /// Loads the lines of an issued invoice that is locked.
    pub async fn load(conn: &mut Conn, row: &InvoiceRow) -> Result<Self> {
        let lines = store::lines(conn, &row.tenant_id, row.invoice_id).await?;
        let credited: Vec<(Uuid, i64, i64, i64)> = statement::<(SqlUuid, BigInt, BigInt, BigInt)>(
            "SELECT credited_line_item_id, sum(net_cents)::bigint, sum(tax_cents)::bigint, sum(cost_cents)::bigint
             FROM sc_taken_back WHERE tenant_id = $1 AND invoice_id = $2 GROUP BY 1",
        )
        .bind::<Text, _>(&row.tenant_id)
        .bind::<SqlUuid, _>(row.invoice_id)
        .load(conn)
        .await?;
        let invoiced = lines.iter().map(|line| {
            let before = credited.iter().find(|(id, ..)| *id == line.line_item_id);
            let (net, tax, cost) = before.map_or((0, 0, 0), |(_, net, tax, cost)| (*net, *tax, *cost));
            Ok(InvoicedLine {
                category: category(line)?,
                rate: line.tax_rate.unwrap_or_default(),
                net: Cents(line.amount_cents),
                cost: Cents(line.platform_cost_cents),
                net_credited: Cents(net),
                tax_credited: Cents(tax),
                cost_credited: Cents(cost),
            })
        });
        let invoiced = invoiced.collect::<Result<_>>()?;
        let details = row.vat_details.clone().ok_or_else(|| Error::internal("an invoice without VAT"))?;
        let details: VatDetails = serde_json::from_value(details).map_err(Error::internal)?;
        let noted = match details.tax_currency {
            None => (Cents::ZERO, 0),
            Some(_) => noted(conn, row).await?,
        };
        Ok(Original { row: row.clone(), lines, details, invoiced, noted })
    }

    /// What the caller wants to take back.
    fn take_back(&self, asked: Option<&[CreditNoteLineInput]>) -> Result<CreditNote> {
        let Some(asked) = asked else { return rules::whole(&self.invoiced).map_err(refusal) };
        let mut wanted: Vec<(usize, Option<Cents>)> = Vec::with_capacity(asked.len());
        let mut wrong = vec![];
        for (position, line) in asked.iter().enumerate() {
            let mut fail = |message: &str| {
                wrong
                    .push(Field { field: format!("lines.{position}.line_item_id"), message: message.into() });
            };
            match self.lines.iter().position(|l| l.line_item_id == line.line_item_id) {
                None => fail("is not a line of the invoice"),
                Some(index) if wanted.iter().any(|(named, _)| *named == index) => fail("is named twice"),
                Some(index) => wanted.push((index, line.amount_cents.map(Cents))),
            }
        }
        if !wrong.is_empty() {
            return Err(Error::fields(wrong));
        }
        rules::of_lines(&self.invoiced, &wanted).map_err(refusal)
    }
}

/// What earlier credit notes took back of the tax, in both currencies.
async fn noted(conn: &mut Conn, row: &InvoiceRow) -> Result<(Cents, i64)> {
    use invoices as t;
    let notes: Vec<(i64, Option<serde_json::Value>)> = t::table
        .filter(t::tenant_id.eq(&row.tenant_id).and(t::referenced_invoice_id.eq(row.invoice_id)))
        .select((t::tax_cents, t::vat_details))
        .load(conn)
        .await?;
    let foreign = notes.iter().filter_map(|(_, d)| d.as_ref()?["tax_currency_tax_cents"].as_i64());
    let back = |sum: Result<Cents, _>| sum.and_then(Cents::neg).map_err(Error::internal);
    let own = back(Cents::sum(notes.iter().map(|(tax, _)| Cents(*tax))))?;
    Ok((own, back(Cents::sum(foreign.map(Cents)))?.0))
}

pub(super) fn refusal(error: CreditNoteError) -> Error {
    match error {
        CreditNoteError::Line { asked, left: Cents::ZERO } => {
            Error::field(format!("lines.{asked}.line_item_id"), "is credited in full, or comes to nothing")
        }
        CreditNoteError::Line { asked, .. } => {
            Error::field(format!("lines.{asked}.amount_cents"), error.to_string())
        }
        CreditNoteError::Invoice(_) | CreditNoteError::Nothing => Error::field("lines", error.to_string()),
        CreditNoteError::Money(_) => Error::internal(error),
    }
}

/// A credit note that is stored as a draft and needs its number.
#[derive(Debug)]
pub struct Written {
    /// Its row, complete but for the number.
    pub row: InvoiceRow,
    lines: Vec<LineRow>,
    document: Document,
    prefix: String,
    reason: String,
}

/// Stores a credit note, all but its number: [`issue`] comes last, when everything else is written.
pub async fn write(
    conn: &mut Conn,
    op: &OpContext,
    original: &Original,
    note: &CreditNote,
    reason: &str,
) -> Result<Written> {
    write_passing(conn, op, (original, note), reason, &[]).await
}

async fn write_passing(
    conn: &mut Conn,
    op: &OpContext,
    (original, note): (&Original, &CreditNote),
    reason: &str,
    passed: &[TakenBack],
) -> Result<Written> {
    let seller = partners::table
        .find(&original.row.partner_id)
        .select((partners::timezone, partners::invoice_number_prefix));
    let (timezone, prefix): (String, String) = seller.first(conn).await?;
    let timezone = parse_timezone(&timezone).map_err(Error::internal)?;
    let issue_date = local_date(op.now, timezone).map_err(Error::internal)?;
    let of = &original.row;
    let mut row = drafts::new_draft(op, &of.tenant_id, &of.partner_id, &of.currency);
    row.document_type = "credit_note".into();
    row.referenced_invoice_id = Some(of.invoice_id);
    row.notes = Some(reason.into());
    (row.period_start, row.period_end) = (of.period_start, of.period_end);
    (row.subtotal_cents, row.tax_cents, row.total_cents) = (-note.net.0, -note.tax.0, -note.gross.0);
    // It is settled by being issued: what it takes back stands on the invoice.
    row.credited_cents = row.total_cents;
    let mut lines = lines(op, original, note, row.invoice_id)?;
    drafts::number_lines(&mut lines);
    store::insert(conn, &row).await?;
    store::insert_lines(conn, &lines).await?;
    let parts = parts_of(conn, original, note, &lines).await?;
    // It makes room for what the note takes back, so it comes first.
    if let Some(first) = lines.as_slice().first() {
        let passed: Vec<_> = passed.iter().map(|part| (first, *part)).collect();
        taken_back::record(conn, &passed).await?;
    }
    link(conn, original, note, &lines).await?;
    parts::insert(conn, &parts).await?;
    row.status = "finalized".into();
    (row.issue_date, row.due_date) = (Some(issue_date), Some(issue_date));
    row.buyer_snapshot.clone_from(&of.buyer_snapshot);
    row.seller_snapshot.clone_from(&of.seller_snapshot);
    let details = details(original, note)?;
    row.vat_details = Some(serde_json::to_value(details).map_err(Error::internal)?);
    row.finalized_at = Some(op.now);
    let document = Document {
        lines: parts::by_service(&lines, &parts),
        taxes: taxes(original, note)?,
        credit_applied: Cents::ZERO,
        platform_costs: finalize::costs(&lines)?,
    };
    Ok(Written { row, lines, document, prefix, reason: reason.into() })
}

/// Gives a credit note its number and posts it. Nothing else happens to it afterwards.
pub async fn issue(conn: &mut Conn, op: &OpContext, written: Written) -> Result<(InvoiceRow, Vec<LineRow>)> {
    let Written { row, lines, document, prefix, reason } = written;
    let unissued = Unissued {
        row,
        lines: &lines,
        document: &document,
        prefix: &prefix,
        paid: vec![],
        before: None,
        reason: Some(&reason),
    };
    let (row, _) = issue::issue(conn, op, unissued).await?;
    Ok((row, lines))
}

/// The lines, each with the sign turned. One that is taken back whole looks like the original; a part of one is one piece
/// at its amount.
fn lines(op: &OpContext, original: &Original, note: &CreditNote, invoice_id: Uuid) -> Result<Vec<LineRow>> {
    let line = |part: &CreditedLine| {
        let of = original.lines.get(part.index).ok_or_else(|| Error::internal("a line that is not there"))?;
        let mut line = LineRow {
            line_item_id: op.id(),
            invoice_id,
            quantity: -of.quantity,
            amount_cents: -part.net.0,
            tax_cents: -part.tax.0,
            platform_cost_cents: -part.cost.0,
            // The item was billed by the invoice, once.
            billed_item_id: None,
            ..of.clone()
        };
        if part.net.0 != of.amount_cents {
            line.quantity = if part.net < Cents::ZERO { Decimal::ONE } else { Decimal::NEGATIVE_ONE };
            line.unit_price_cents = Decimal::from(part.net.0).abs();
            (line.unit_label, line.unit_divisor) = (None, Decimal::ONE);
        }
        line.explanation = Some(explanation(&line, of)?);
        Ok(line)
    };
    note.lines.iter().map(line).collect()
}

/// What is stored with a line: how its amount is made, how it is taxed, and which line it takes back.
fn explanation(line: &LineRow, of: &LineRow) -> Result<serde_json::Value> {
    let computation = Computation::Priced {
        quantity: line.quantity,
        unit_price_cents: line.unit_price_cents,
        unit_divisor: line.unit_divisor,
    };
    let mut json = serde_json::to_value(Explanation { computation, tax: None }).map_err(Error::internal)?;
    if let Some(tax) = of.explanation.as_ref().and_then(|explanation| explanation.get("tax")) {
        json["tax"] = tax.clone();
    }
    json["invoice_id"] = of.invoice_id.to_string().into();
    json["line_item_id"] = of.line_item_id.to_string().into();
    json["unit_divisor"] = line.unit_divisor.normalize().to_string().into();
    Ok(json)
}

/// What the lines take back of the parts of packs' lines. Comes before [`link`]: what this note takes back is not taken yet.
async fn parts_of(
    conn: &mut Conn,
    original: &Original,
    note: &CreditNote,
    lines: &[LineRow],
) -> Result<Vec<parts::PartRow>> {
    let mut parts = vec![];
    for (part, line) in note.lines.iter().zip(lines) {
        if let Some(of) = original.lines.get(part.index) {
            parts.append(&mut parts::taken_back(conn, line, of).await?);
        }
    }
    Ok(parts)
}

/// Notes which line takes back which.
async fn link(conn: &mut Conn, original: &Original, note: &CreditNote, lines: &[LineRow]) -> Result<()> {
    let mut taken = Vec::with_capacity(lines.len());
    for (part, line) in note.lines.iter().zip(lines) {
        let of = original.lines.get(part.index).ok_or_else(|| Error::internal("a line that is not there"))?;
        let CreditedLine { net, tax, cost, .. } = *part;
        let of = TakenBack { invoice_id: of.invoice_id, line_item_id: of.line_item_id, net, tax, cost };
        taken.push((line, of));
    }
    taken_back::record(conn, &taken).await
}

fn category(line: &LineRow) -> Result<Category> {
    let category = line.tax_category.as_deref().ok_or_else(|| Error::internal("a line without VAT"))?;
    category.parse().map_err(Error::internal)
}

/// The VAT of the invoice, with the amounts of the note.
fn details(original: &Original, note: &CreditNote) -> Result<VatDetails> {
    let mut breakdown = Vec::with_capacity(note.groups.len());
    for group in &note.groups {
        let of = original.details.breakdown.iter().find(|item| {
            let rate = item.tax_rate.map(Decimal::from).unwrap_or_default();
            item.tax_category.to_string() == group.category.as_str() && rate == group.rate
        });
        let of = of.ok_or_else(|| Error::internal("a group that the invoice does not have"))?;
        breakdown.push(VatBreakdownItem {
            taxable_cents: -group.base.0,
            tax_cents: -group.tax.0,
            ..of.clone()
        });
    }
    let mut details = VatDetails { breakdown, ..original.details.clone() };
    if let Some(whole) = original.details.tax_currency_tax_cents {
        // In proportion to all the tax that is credited so far, so that the parts add up to what the invoice stated.
        let so_far = original.noted.0.add(note.tax).map_err(Error::internal)?;
        let so_far = mul_ratio_round(whole, so_far.0, original.row.tax_cents).map_err(Error::internal)?;
        details.tax_currency_tax_cents = Some(original.noted.1 - so_far);
    }
    Ok(details)
}

/// The tax of the note by the accounts that the invoice's tax is on.
fn taxes(original: &Original, note: &CreditNote) -> Result<Vec<Tax>> {
    let details = &original.details;
    let scheme = if details.treatment == VatTreatment::Oss { Scheme::Oss } else { Scheme::Domestic };
    let taxed = note.groups.iter().filter(|group| group.tax != Cents::ZERO);
    let taxes = taxed.map(|group| {
        let country = details.taxing_country.clone();
        Ok(Tax {
            country: country.ok_or_else(|| Error::internal("tax that no country is owed"))?,
            rate: group.rate,
            scheme,
            amount: group.tax.neg().map_err(Error::internal)?,
        })
    });
    taxes.collect()
}
