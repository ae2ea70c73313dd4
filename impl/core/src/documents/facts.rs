//! From a document's rows to what a template is told of it.
//!
//! Only what was frozen with the document is told: what was paid or credited later does not change a PDF, so that the same
//! document and template make the same bytes at any time.
use super::frozen;
use super::original::Circumstances;
use crate::billing::store::{InvoiceRow, LineRow};
use crate::error::{Error, Result};
use chrono::NaiveDate;
use rust_decimal::Decimal;
use scaicontrol_domain::invoice::DocumentType;
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_templates::document::{Document, Line, Party, PaymentMeans, TaxCurrency, TaxGroup};
use scaicontrol_types::{PartySnapshot, VatDetails};

/// What a template is told of an issued document.
pub fn document(row: &InvoiceRow, lines: &[LineRow], about: &Circumstances) -> Result<Document> {
    let seller: PartySnapshot = frozen(row.seller_snapshot.as_ref())?;
    let buyer: PartySnapshot = frozen(row.buyer_snapshot.as_ref())?;
    let vat: VatDetails = frozen(row.vat_details.as_ref())?;
    let document_type: DocumentType = row.document_type.parse().map_err(Error::internal)?;
    let credit = about.credit_applied_cents;
    let due = row.total_cents.checked_sub(credit).ok_or_else(|| Error::internal("an amount out of range"))?;
    let whole = about.preceding.iter().find(|(line, _)| line.is_none());
    let notes: Vec<&str> = about.reason.as_deref().into_iter().chain(row.notes.as_deref()).collect();
    Ok(Document {
        document_type,
        number: row.number.clone(),
        currency: Currency::parse(&row.currency).map_err(Error::internal)?,
        issue_date: row.issue_date,
        due_date: row.due_date.filter(|_| document_type == DocumentType::Invoice),
        tax_point_date: row.tax_point_date,
        period: period(row.period_start, row.period_end),
        referenced: whole.map(|(_, p)| (p.number.clone(), p.issue_date)),
        voided: None,
        notes: (!notes.is_empty()).then(|| notes.join("\n")),
        seller: party(&seller),
        buyer: party(&buyer),
        lines: lines.iter().map(line).collect::<Result<_>>()?,
        taxes: vat.breakdown.iter().map(tax).collect::<Result<_>>()?,
        vat_label: vat.label.clone(),
        tax_currency: tax_currency(&vat)?,
        subtotal: Cents(row.subtotal_cents),
        tax: Cents(row.tax_cents),
        total: Cents(row.total_cents),
        prepaid: Cents(0),
        credit_applied: Cents(credit),
        credited: Cents(0),
        due: Cents(due),
        payment: PaymentMeans::Transfer,
    })
}

fn period(start: Option<NaiveDate>, end: Option<NaiveDate>) -> Option<(NaiveDate, NaiveDate)> {
    start.zip(end)
}

/// A seller or buyer as a template is told of it.
pub fn party(p: &PartySnapshot) -> Party {
    let p = p.clone();
    Party {
        name: p.name,
        address_line1: p.address_line1,
        address_line2: p.address_line2,
        postal_code: p.postal_code,
        city: p.city,
        state: p.state,
        country_code: p.country_code,
        vat_number: p.vat_number,
        tax_number: p.tax_number,
        registration_number: p.registration_number,
        contact_name: p.contact_name,
        email: p.email,
        phone: p.phone,
        reference: p.leitweg_id.or(p.buyer_reference),
        iban: p.iban,
        bic: p.bic,
        logo: p.logo_url.map(|_| super::LOGO.to_owned()),
    }
}

fn line(row: &LineRow) -> Result<Line> {
    Ok(Line {
        description: row.description.clone(),
        quantity: row.quantity.normalize(),
        unit_label: row.unit_label.clone(),
        unit_price: row.unit_price_cents.normalize(),
        unit_divisor: row.unit_divisor.normalize(),
        amount: Cents(row.amount_cents),
        tax_rate: row.tax_rate.map(|r| r.normalize()),
        tax_category: row.tax_category.as_deref().map(str::parse).transpose().map_err(Error::internal)?,
        period: period(row.period_start, row.period_end),
    })
}

fn tax(item: &scaicontrol_types::VatBreakdownItem) -> Result<TaxGroup> {
    Ok(TaxGroup {
        category: item.tax_category.as_str().parse().map_err(Error::internal)?,
        rate: item.tax_rate.as_ref().map(|r| r.0),
        taxable: Cents(item.taxable_cents),
        tax: Cents(item.tax_cents),
        note: item.note.clone(),
    })
}

fn tax_currency(vat: &VatDetails) -> Result<Option<TaxCurrency>> {
    let (Some(currency), Some(tax)) = (&vat.tax_currency, vat.tax_currency_tax_cents) else {
        return Ok(None);
    };
    Ok(Some(TaxCurrency {
        currency: Currency::parse(currency).map_err(Error::internal)?,
        tax: Cents(tax),
        rate: vat.exchange_rate.as_ref().map_or(Decimal::ONE, |r| r.0),
        rate_date: vat
            .exchange_rate_date
            .ok_or_else(|| Error::internal("an exchange rate without a date"))?,
    }))
}
