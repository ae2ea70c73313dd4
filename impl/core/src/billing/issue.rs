//! The last steps of every document, invoice or credit note: its journal, and its number.
//!
//! Whoever comes here has stored the document as a draft, with its lines, and knows all of it but the number. What must
//! hold of the whole document is checked here, before the number is taken: the row of the number's series stays locked
//! from there to the commit, so what follows must be short and must not fail.
use super::store::{self, InvoiceRow, LineRow};
use super::{drafts, view};
use crate::audit;
use crate::db::Conn;
use crate::db::statement::statement;
use crate::documents::original::Circumstances;
use crate::documents::{self, original, pdf};
use crate::error::{Error, Result};
use crate::ledger;
use crate::op::OpContext;
use chrono::{Datelike, NaiveDate};
use diesel::sql_types::{BigInt, Integer, Text, Uuid as SqlUuid};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures::try_join;
use scaicontrol_domain::invoice::{DocumentNumber, DocumentType};
use scaicontrol_domain::ledger::{Document, finalize_journal};
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_einvoice::Format;
use scaicontrol_types::{InvoiceDetailResponse, PaymentResponse, VatDetails};

/// A document that is complete but for its number.
#[derive(Debug)]
pub struct Unissued<'a> {
    /// Its row as it will be: sums, dates, snapshots and state.
    pub row: InvoiceRow,
    /// Its lines, as they are stored.
    pub lines: &'a [LineRow],
    /// What it posts.
    pub document: &'a Document,
    /// The seller's prefix of numbers.
    pub prefix: &'a str,
    /// What was paid of it with credit.
    pub paid: Vec<PaymentResponse>,
    /// The draft that it was, for the audit log.
    pub before: Option<InvoiceDetailResponse>,
    /// Why it is issued, where somebody said so.
    pub reason: Option<&'a str>,
}

/// Posts the document's journal, takes its number and writes its row, which is final from here on, with the audit row.
/// Answers it as it is then.
pub async fn issue(
    conn: &mut Conn,
    op: &OpContext,
    unissued: Unissued<'_>,
) -> Result<(InvoiceRow, InvoiceDetailResponse)> {
    let Unissued { mut row, lines, document, prefix, paid, before, reason } = unissued;
    check(&row, lines)?;
    let document_type: DocumentType = row.document_type.parse().map_err(Error::internal)?;
    let issue_date = row.issue_date.ok_or_else(|| Error::internal("a document without an issue date"))?;
    let currency = Currency::parse(&row.currency).map_err(Error::internal)?;
    let entries = finalize_journal(currency, document).map_err(Error::internal)?;
    let posting = ledger::Posting {
        tenant_id: &row.tenant_id,
        partner_id: &row.partner_id,
        operation_key: format!("invoice.finalize:{}", row.invoice_id),
        kind: document_type.as_str(),
        invoice_id: Some(row.invoice_id),
    };
    // None of these needs another, so they go together.
    let shared: &Conn = conn;
    let ((), about, format, ()) = try_join!(
        ledger::post(shared, op, posting, &entries),
        documents::circumstances(shared, &row, lines),
        original::format_of(shared, &row),
        pdf::queue(shared, op, &row)
    )?;
    let about = Circumstances { credit_applied_cents: document.credit_applied.0, ..about };
    let checked = einvoice(&row, lines, &about, format, placeholder(prefix, document_type, issue_date))?;
    let fell_back = checked.fell_back.clone();
    row.number = Some(take_number(conn, &row, document_type, prefix, issue_date).await?);
    let original = original::numbered(op, &row, checked)?;
    let audited = view::unexplained(&row, lines, paid.clone())?;
    let after = view::with_payments(&row, lines, paid)?;
    let entry = audit::Entry { reason, ..drafts::audited(&row) };
    // In one flight: all that are issued after this one wait for it.
    let shared: &Conn = conn;
    try_join!(
        store::save(shared, &row),
        original::keep(shared, &original),
        audit::record(shared, op, entry, before.as_ref(), Some(&audited))
    )?;
    if let Some(why) = fell_back {
        original::tell_fallback(conn, op, &row, &why).await?;
    }
    Ok((row, after))
}

/// The document as an electronic invoice, checked by every rule with a number of the same form in the place of its own.
fn einvoice(
    row: &InvoiceRow,
    lines: &[LineRow],
    about: &Circumstances,
    format: Format,
    placeholder: Option<String>,
) -> Result<original::Checked> {
    let numbered = InvoiceRow { number: placeholder, ..row.clone() };
    original::check(original::document(&numbered, lines, about)?, format)
}

/// A number of the form that the document's own will have.
fn placeholder(prefix: &str, document_type: DocumentType, issue_date: NaiveDate) -> Option<String> {
    DocumentNumber::new(prefix, document_type, issue_date.year(), 999_999).map(|number| number.to_string())
}

/// What must hold of a whole document before it has a number: its sums are those of its lines and of its VAT.
fn check(row: &InvoiceRow, lines: &[LineRow]) -> Result<()> {
    let details = row.vat_details.clone().ok_or_else(|| Error::internal("a document without VAT"))?;
    let details: VatDetails = serde_json::from_value(details).map_err(Error::internal)?;
    let sum =
        |amounts: &mut dyn Iterator<Item = i64>| Cents::sum(amounts.map(Cents)).map_err(Error::internal);
    let by_line =
        (sum(&mut lines.iter().map(|l| l.amount_cents))?, sum(&mut lines.iter().map(|l| l.tax_cents))?);
    let by_rate = (
        sum(&mut details.breakdown.iter().map(|b| b.taxable_cents))?,
        sum(&mut details.breakdown.iter().map(|b| b.tax_cents))?,
    );
    let document = (Cents(row.subtotal_cents), Cents(row.tax_cents));
    if by_line != document || by_rate != document {
        return Err(Error::internal(format!("document {} does not add up", row.invoice_id)));
    }
    Ok(())
}

/// Takes the next number of the seller's series in the year of the issue date, and keeps the series locked. One flight,
/// because every other document of the seller waits from here to the commit.
///
/// They wait at a lock that is named after the series: it lets them through one by one, in the order in which they came.
/// At the row itself the end of one would wake all of them, and any of them might be next.
async fn take_number(
    conn: &mut Conn,
    row: &InvoiceRow,
    document_type: DocumentType,
    prefix: &str,
    issue_date: NaiveDate,
) -> Result<String> {
    // All of a number but its digits, from one that has none that matter.
    let first = DocumentNumber::new(prefix, document_type, issue_date.year(), 1);
    let first = first.ok_or_else(|| Error::internal("a number that cannot be written"))?.to_string();
    let (head, _) = first.rsplit_once('-').ok_or_else(|| Error::internal("a number without a sequence"))?;
    let shared: &Conn = conn;
    let (mut first_of_all, mut before, mut after) = (shared, shared, shared);
    // What would be asked of the journal at the commit is asked now, while nobody waits.
    let balanced = first_of_all.batch_execute("SET CONSTRAINTS ledger_entries_balanced IMMEDIATE");
    let series = format!("{} {} {}", row.partner_id, document_type.as_str(), issue_date.year());
    let wait = statement::<()>("SELECT pg_advisory_xact_lock(hashtextextended($1, 7))");
    let wait = wait.bind::<Text, _>(series);
    let take = statement::<(Text, BigInt)>(
        "WITH taken AS (
           INSERT INTO invoice_counters AS c (partner_id, series, year, last_value) VALUES ($1, $2, $3, 1)
           ON CONFLICT (partner_id, series, year) DO UPDATE SET last_value = c.last_value + 1
           RETURNING partner_id, series, year, last_value)
         INSERT INTO invoice_numbers (partner_id, series, year, value, number, tenant_id, invoice_id)
         SELECT partner_id, series, year, last_value,
           $4::text || '-' || lpad(last_value::text, greatest(6, length(last_value::text)), '0'), $5::text, $6::uuid
         FROM taken RETURNING number, value",
    )
    .bind::<Text, _>(&row.partner_id)
    .bind::<Text, _>(document_type.as_str())
    .bind::<Integer, _>(issue_date.year())
    .bind::<Text, _>(head)
    .bind::<Text, _>(&row.tenant_id)
    .bind::<SqlUuid, _>(row.invoice_id);
    let ((), _, (number, value)): ((), usize, (String, i64)) =
        try_join!(balanced, wait.execute(&mut before), take.get_result(&mut after))?;
    let sequence = u64::try_from(value).map_err(Error::internal)?;
    let read: DocumentNumber = number.parse().map_err(Error::internal)?;
    if DocumentNumber::new(prefix, document_type, issue_date.year(), sequence) != Some(read) {
        return Err(Error::internal(format!("{number} is not the number {sequence} of its series")));
    }
    Ok(number)
}
