//! The electronic invoice that a document is issued as.
//!
//! It is made from what is frozen with the document, and checked by every rule before the number is spent: a number of
//! the same form stands in for it. What is written then differs in the number alone, and is kept byte for byte.
use super::frozen;
use crate::billing::store::{InvoiceRow, LineRow};
use crate::db::Conn;
use crate::db::schema::{billing_profiles, invoice_originals, invoices};
use crate::error::{Error, Field, Result};
use crate::notifications::{self, Notice};
use crate::op::OpContext;
use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::money::Currency;
use scaicontrol_einvoice::{
    Built, Document, Format, Line, Party, Payment, Preceding, Profile, Severity, Vat, Violation, build,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A row of `invoice_originals`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = invoice_originals, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described where the table is made")]
pub struct OriginalRow {
    pub tenant_id: String,
    pub invoice_id: Uuid,
    pub partner_id: String,
    pub format: String,
    pub profile: String,
    pub media_type: String,
    pub sha256: Vec<u8>,
    pub content: Vec<u8>,
    pub created_at: DateTime<Utc>,
}

/// What a document refers to and was settled with: not on its own row.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Earlier invoices that it corrects, by line item where a line corrects one; `None` for the whole document.
    pub preceding: Vec<(Option<Uuid>, Preceding)>,
    /// Customer credit that was applied when it was issued, minor units.
    pub credit_applied_cents: i64,
    /// Why a credit note was made.
    pub reason: Option<String>,
}

/// A document in the terms of the e-invoice crate. `row` is frozen; its number may be one that stands in.
pub fn document(row: &InvoiceRow, lines: &[LineRow], about: &Circumstances) -> Result<Document> {
    let seller: Party = frozen(row.seller_snapshot.as_ref())?;
    let of_document = about.preceding.iter().filter(|(line, _)| line.is_none());
    Ok(Document {
        document_type: row.document_type.parse().map_err(Error::internal)?,
        number: row.number.clone().ok_or_else(|| Error::internal("a document without a number"))?,
        issue_date: row.issue_date.ok_or_else(|| Error::internal("a document without an issue date"))?,
        due_date: row.due_date,
        tax_point_date: row.tax_point_date,
        period_start: row.period_start,
        period_end: row.period_end,
        currency: Currency::parse(&row.currency).map_err(Error::internal)?,
        payment: Payment::to(&seller),
        seller,
        buyer: frozen(row.buyer_snapshot.as_ref())?,
        lines: lines.iter().map(|l| line(l, about)).collect::<Result<_>>()?,
        vat: frozen::<Vat>(row.vat_details.as_ref())?,
        subtotal_cents: row.subtotal_cents,
        tax_cents: row.tax_cents,
        total_cents: row.total_cents,
        prepaid_cents: about.credit_applied_cents,
        payment_terms: None,
        notes: row.notes.clone(),
        reason: about.reason.clone(),
        preceding: of_document.map(|(_, p)| p.clone()).collect(),
    })
}

fn line(row: &LineRow, about: &Circumstances) -> Result<Line> {
    let category = row.tax_category.as_deref().ok_or_else(|| Error::internal("a line without a category"))?;
    let corrected = about.preceding.iter().find(|(line, _)| *line == Some(row.line_item_id));
    Ok(Line {
        description: row.description.clone(),
        quantity: row.quantity,
        unit_label: row.unit_label.clone(),
        unit_price_cents: row.unit_price_cents,
        unit_divisor: row.unit_divisor,
        amount_cents: row.amount_cents,
        tax_category: category.parse().map_err(Error::internal)?,
        tax_rate: row.tax_rate,
        period_start: row.period_start,
        period_end: row.period_end,
        preceding: corrected.map(|(_, p)| p.clone()),
    })
}

/// The format that a document is issued in: a credit note in that of its invoice; an invoice in the one that its buyer
/// prefers, and for a consumer without preference in the hybrid.
pub async fn format_of(mut conn: &Conn, row: &InvoiceRow) -> Result<Format> {
    use billing_profiles as b;
    if let Some(referenced) = row.referenced_invoice_id {
        let format: Option<String> = invoice_originals::table
            .find((&row.tenant_id, referenced))
            .select(invoice_originals::format)
            .first(&mut conn)
            .await
            .optional()?;
        if let Some(format) = format {
            return format.parse().map_err(Error::internal);
        }
    }
    let preference: Option<(Option<String>, bool)> = b::table
        .find(&row.tenant_id)
        .select((b::preferred_einvoice_format, b::is_business))
        .first(&mut conn)
        .await
        .optional()?;
    match preference {
        Some((Some(format), _)) => format.parse().map_err(Error::internal),
        Some((None, false)) => Ok(Format::Facturx),
        Some((None, true)) | None => Ok(Format::Ubl),
    }
}

/// A checked document, before its number.
#[derive(Debug)]
pub struct Checked {
    document: Document,
    format: Format,
    profile: Profile,
    /// Why it is not issued in the form that the buyer prefers.
    pub fell_back: Option<String>,
}

/// Checks a frozen document by the rules of the format it is to be issued in. When only what the preferred format asks
/// beyond EN 16931 is not met, it is issued as UBL, unless the buyer can only be reached by its routing id.
///
/// Errors: 400 with the rules that are broken, each naming the field that mends it.
pub fn check(document: Document, format: Format) -> Result<Checked> {
    let profile = format.profile(&document);
    let refused = match build(&document, profile) {
        Ok(_) => return Ok(Checked { document, format, profile, fell_back: None }),
        Err(violations) => violations,
    };
    let must = document.buyer.leitweg_id.is_some()
        || matches!(profile, Profile::Ubl | Profile::Cii | Profile::Facturx);
    if must || build(&document, Profile::Ubl).is_err() {
        return Err(refusal(&refused));
    }
    let fatal = refused.iter().find(|v| v.severity == Severity::Fatal);
    let fell_back = fatal.map(|v| format!("{}: {}", v.rule, v.text));
    Ok(Checked { document, format: Format::Ubl, profile: Profile::Ubl, fell_back })
}

/// What stands in the way, as an answer: the rule's id, what it says, and the field that mends it.
pub fn refusal(violations: &[Violation]) -> Error {
    let fatal = violations.iter().filter(|v| v.severity == Severity::Fatal);
    let details: Vec<Field> = fatal
        .map(|v| Field {
            field: v.mend.clone().unwrap_or_else(|| v.place.clone()),
            message: format!("{}: {}", v.rule, v.text),
        })
        .collect();
    let rules: Vec<&str> =
        violations.iter().filter(|v| v.severity == Severity::Fatal).map(|v| v.rule.as_str()).collect();
    Error::BadRequest { message: format!("the e-invoice breaks {}", rules.join(", ")), details }
}

/// Writes the document with its number.
pub fn numbered(op: &OpContext, row: &InvoiceRow, mut checked: Checked) -> Result<OriginalRow> {
    checked.document.number =
        row.number.clone().ok_or_else(|| Error::internal("a document without a number"))?;
    let built = build(&checked.document, checked.profile);
    let built = built.map_err(|broken| Error::internal(format!("the number breaks a rule: {broken:?}")))?;
    Ok(OriginalRow {
        tenant_id: row.tenant_id.clone(),
        invoice_id: row.invoice_id,
        partner_id: row.partner_id.clone(),
        format: checked.format.as_str().into(),
        profile: checked.profile.as_str().into(),
        media_type: built.media_type.into(),
        sha256: Sha256::digest(&built.bytes).to_vec(),
        content: built.bytes,
        created_at: op.now,
    })
}

/// Keeps it.
pub async fn keep(mut conn: &Conn, row: &OriginalRow) -> Result<()> {
    diesel::insert_into(invoice_originals::table).values(row).execute(&mut conn).await?;
    Ok(())
}

/// Tells the buyer that a document did not come in the format it prefers.
pub async fn tell_fallback(conn: &mut Conn, op: &OpContext, row: &InvoiceRow, why: &str) -> Result<()> {
    let notice = Notice {
        tenant_id: &row.tenant_id,
        partner_id: &row.partner_id,
        user_id: None,
        category: "billing",
        severity: notifications::Severity::Warning,
        message: "einvoice_fallback",
        parameters: serde_json::json!({"number": row.number, "format": Format::Ubl.as_str(), "reason": why}),
        link: Some(format!("/api/v1/billing/invoices/{}", row.invoice_id)),
    };
    notifications::tell(conn, op, notice).await
}

/// The original of a document.
pub async fn get(conn: &mut Conn, row: &InvoiceRow) -> Result<OriginalRow> {
    let found = invoice_originals::table
        .find((&row.tenant_id, row.invoice_id))
        .select(OriginalRow::as_select())
        .first(conn)
        .await
        .optional()?;
    found.ok_or_else(|| Error::conflict("the document was not issued as an electronic invoice"))
}

/// A copy in another format than the original's.
///
/// Errors: 400 with what the document lacks for it.
pub fn copy(document: &Document, format: Format) -> Result<Built> {
    build(document, format.profile(document)).map_err(|broken| refusal(&broken))
}

/// Number and issue date of an issued document.
pub async fn reference(mut conn: &Conn, tenant_id: &str, invoice_id: Uuid) -> Result<Option<Preceding>> {
    use invoices as t;
    let found: Option<(Option<String>, Option<NaiveDate>)> = t::table
        .find((tenant_id, invoice_id))
        .select((t::number, t::issue_date))
        .first(&mut conn)
        .await
        .optional()?;
    Ok(found.and_then(|(number, date)| Some(Preceding { number: number?, issue_date: date? })))
}
