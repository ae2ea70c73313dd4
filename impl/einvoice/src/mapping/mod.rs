//! Owns the way from a [`Document`] to the model of EN 16931: which term gets which field, and what a profile wants
//! said differently.

mod line;
mod party;

use chrono::{Datelike, NaiveDate};
use en16931::invoice::{
    Code, CreditTransfer, DirectDebit, DocumentTotals, PaymentCard, PaymentInstructions, PaymentMeans,
    Period, PrecedingInvoice, VatBreakdown,
};
use en16931::{
    Date, DocumentKind, DocumentReference, Group, Invoice, InvoiceAmount, InvoiceNote, Path, Percentage,
};
use rust_decimal::Decimal;
use scaicontrol_domain::money::Currency;
use scaicontrol_domain::tax::Category;

use crate::document::{Document, Kind, Payment, Preceding, VatGroup};
use crate::format::Profile;
use crate::violation::{Severity, Violation};

/// The business process that Peppol BIS and XRechnung name (BT-23).
const BILLING: &str = "urn:fdc:peppol.eu:2017:poacc:billing:01:1.0";

/// A document on its way into a profile.
pub(crate) struct Mapping<'a> {
    document: &'a Document,
    profile: Profile,
    /// Credit notes are negative in our terms and positive in the model.
    sign: i64,
    /// Whether nothing on the document is subject to VAT: then it names no VAT number.
    outside_scope: bool,
}

/// The model of a document.
///
/// # Errors
/// A violation when an amount or a date has no form in the model.
pub(crate) fn invoice(document: &Document, profile: Profile) -> Result<Invoice, Violation> {
    let is_credit_note = document.document_type == Kind::CreditNote;
    let mapping = Mapping {
        document,
        profile,
        sign: if is_credit_note { -1 } else { 1 },
        outside_scope: document
            .vat
            .breakdown
            .iter()
            .any(|group| group.tax_category == Category::OutsideScope),
    };
    let lines = document.lines.iter().enumerate();
    let in_process = profile == Profile::PeppolBis3 || profile.is_xrechnung();
    let mut invoice = Invoice::default();
    invoice.kind = if is_credit_note { DocumentKind::CreditNote } else { DocumentKind::Invoice };
    invoice.specification_id = Some(crate::rules::of(profile).specification_id.to_owned());
    invoice.business_process = in_process.then(|| BILLING.to_owned());
    invoice.number = Some(document.number.clone());
    invoice.issue_date = Some(date(document.issue_date, 2)?);
    invoice.type_code = Some(Code::new(if is_credit_note { "381" } else { "380" }));
    invoice.currency = Some(Code::new(document.currency.code()));
    invoice.vat_accounting_currency = mapping.tax_currency().map(|currency| Code::new(currency.code()));
    invoice.vat_point_date = mapping.tax_point()?;
    invoice.due_date = document.due_date.filter(|_| !is_credit_note).map(|due| date(due, 9)).transpose()?;
    invoice.buyer_reference = party::reference(&document.buyer);
    invoice.payment_terms = mapping.payment_terms();
    invoice.notes = mapping.notes().map(InvoiceNote::new).into_iter().collect();
    invoice.preceding_invoices = mapping.preceding()?;
    invoice.seller = mapping.seller();
    invoice.buyer = mapping.buyer();
    invoice.invoicing_period = mapping.period()?;
    invoice.payment = Some(mapping.payment());
    invoice.vat_breakdown = mapping.breakdown()?;
    invoice.lines = lines.map(|(index, line)| mapping.line(index, line)).collect::<Result<_, _>>()?;
    invoice.totals = mapping.totals()?;
    Ok(invoice)
}

impl Mapping<'_> {
    /// An amount of the document.
    fn amount(&self, cents: i64, path: Path) -> Result<InvoiceAmount, Violation> {
        let signed = cents.checked_mul(self.sign).ok_or_else(|| too_large(path))?;
        amount(signed, self.document.currency, path)
    }

    fn total(&self, cents: i64, term: u16) -> Result<InvoiceAmount, Violation> {
        self.amount(cents, Path::group_term(Group::Totals, en16931::BtId(term)))
    }

    fn totals(&self) -> Result<DocumentTotals, Violation> {
        let document = self.document;
        let due = document.total_cents.checked_sub(document.prepaid_cents);
        let due = due.ok_or_else(|| too_large(Path::group(Group::Totals)))?;
        let accounting = match (self.tax_currency(), document.vat.tax_currency_tax_cents) {
            (Some(currency), Some(cents)) => {
                let path = Path::group_term(Group::Totals, en16931::BtId(111));
                let signed = cents.checked_mul(self.sign).ok_or_else(|| too_large(path))?;
                Some(amount(signed, currency, path)?)
            }
            _ => None,
        };
        Ok(DocumentTotals {
            line_total: self.total(document.subtotal_cents, 106)?,
            taxable_total: self.total(document.subtotal_cents, 109)?,
            vat_total: Some(self.total(document.tax_cents, 110)?),
            vat_total_accounting: accounting,
            gross_total: self.total(document.total_cents, 112)?,
            paid: match document.prepaid_cents {
                0 => None,
                cents => Some(self.total(cents, 113)?),
            },
            due: self.total(due, 115)?,
            ..DocumentTotals::default()
        })
    }

    /// BT-6 must be another currency than BT-5.
    fn tax_currency(&self) -> Option<Currency> {
        self.document.vat.tax_currency.filter(|currency| *currency != self.document.currency)
    }

    fn tax_point(&self) -> Result<Option<Date>, Violation> {
        let document = self.document;
        let point = document.tax_point_date.filter(|point| *point != document.issue_date);
        point.map(|point| date(point, 7)).transpose()
    }

    fn breakdown(&self) -> Result<Vec<VatBreakdown>, Violation> {
        let groups = self.document.vat.breakdown.iter().enumerate();
        groups
            .map(|(index, group)| {
                let at = |term| Path::at_term(Group::VatBreakdown, index, en16931::BtId(term));
                Ok(VatBreakdown {
                    taxable_amount: self.amount(group.taxable_cents, at(116))?,
                    tax_amount: self.amount(group.tax_cents, at(117))?,
                    category: Code::new(group.tax_category.as_str()),
                    rate: self.breakdown_rate(group),
                    exemption_reason: reason(group),
                    exemption_reason_code: text(group.exemption_code.as_deref()).map(Code::new),
                })
            })
            .collect()
    }

    /// The rate of a group. Outside the scope there is none; XRechnung (BR-DE-14), and Peppol between Germans
    /// (DE-R-014), want it nevertheless.
    fn breakdown_rate(&self, group: &VatGroup) -> Option<Percentage> {
        if group.tax_category != Category::OutsideScope {
            return Some(Percentage::new(group.tax_rate.unwrap_or_default().normalize()));
        }
        let document = self.document;
        let german = [&document.seller, &document.buyer].iter().all(|party| party.country_code == "DE");
        let wanted = self.profile.is_xrechnung() || (self.profile == Profile::PeppolBis3 && german);
        wanted.then_some(Percentage::ZERO)
    }

    /// The document's period, widened to hold those of all lines: usage of last month and the base price of the next
    /// stand on one invoice, and no line may lie outside (PEPPOL-EN16931-R110, R111).
    fn period(&self) -> Result<Option<Period>, Violation> {
        let document = self.document;
        let lines = || document.lines.iter();
        let start = lines().filter_map(|line| line.period_start).chain(document.period_start).min();
        let end = lines().filter_map(|line| line.period_end).chain(document.period_end).max();
        period(start, end, (73, 74))
    }

    /// One text: Peppol allows one note only (PEPPOL-EN16931-R002).
    fn notes(&self) -> Option<String> {
        let document = self.document;
        let vat = &document.vat;
        let rate = match (self.tax_currency(), vat.exchange_rate, vat.exchange_rate_date) {
            (Some(to), Some(rate), Some(day)) => {
                Some(format!("1 {} = {} {to} ({day})", document.currency, rate.normalize()))
            }
            _ => None,
        };
        let parts = [text(document.reason.as_deref()), text(document.notes.as_deref()), rate];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("\n"))
    }

    fn payment_terms(&self) -> Option<String> {
        let document = self.document;
        text(document.payment_terms.as_deref()).or_else(|| {
            let first = document.preceding.first().filter(|_| document.document_type == Kind::CreditNote)?;
            Some(format!("Credit to invoice {} of {}", first.number, first.issue_date))
        })
    }

    /// BG-3: the document's references and those of its lines, each once. CII has one place; what does not fit there
    /// stands in the notes of the lines.
    fn preceding(&self) -> Result<Vec<PrecedingInvoice>, Violation> {
        let document = self.document;
        let of_lines = document.lines.iter().filter_map(|line| line.preceding.as_ref());
        let mut seen: Vec<&Preceding> = Vec::new();
        for preceding in document.preceding.iter().chain(of_lines) {
            if !seen.contains(&preceding) {
                seen.push(preceding);
            }
        }
        if self.profile.is_cii() {
            seen.truncate(1);
        }
        seen.into_iter()
            .map(|preceding| {
                Ok(PrecedingInvoice {
                    reference: DocumentReference::new(preceding.number.as_str()),
                    issue_date: Some(date(preceding.issue_date, 26)?),
                })
            })
            .collect()
    }

    fn payment(&self) -> PaymentInstructions {
        let document = self.document;
        let (code, means) = match &document.payment {
            Payment::Transfer { iban, bic } => {
                // SEPA is for euro; but between Danes Peppol knows no other code for an IBAN (DK-R-005).
                let danish = [&document.seller, &document.buyer].iter().all(|p| p.country_code == "DK");
                let code = if document.currency == Currency::EUR || danish { "58" } else { "30" };
                let account = CreditTransfer {
                    account_identifier: compact(iban),
                    account_name: text(Some(&document.seller.name)),
                    provider_identifier: bic.as_deref().and_then(compact),
                };
                (code, Some(PaymentMeans::CreditTransfer(vec![account])))
            }
            Payment::Card { last_digits, holder } => {
                let card = last_digits.as_deref().and_then(compact).map(|digits| {
                    PaymentMeans::Card(PaymentCard {
                        primary_account_number: Some(digits),
                        holder_name: text(holder.as_deref()),
                    })
                });
                ("48", card)
            }
            Payment::DirectDebit { mandate, creditor_id, debited_iban } => {
                let debit = DirectDebit {
                    mandate_reference: text(Some(mandate)),
                    creditor_identifier: compact(creditor_id),
                    debited_account: debited_iban.as_deref().and_then(compact),
                };
                ("59", Some(PaymentMeans::DirectDebit(debit)))
            }
            Payment::Undefined => ("1", None),
        };
        PaymentInstructions {
            means_code: Some(Code::new(code)),
            means_text: None,
            remittance_information: Some(document.number.clone()),
            means,
        }
    }
}

/// Why a group is not taxed (BT-120): one wording for what the law settles, the stated text for an exemption.
fn reason(group: &VatGroup) -> Option<String> {
    let (stated, standard) = match group.tax_category {
        // Rules of these two refuse a reason.
        Category::Standard | Category::ZeroRated => return None,
        Category::ReverseCharge => (None, "Reverse charge"),
        Category::OutsideScope => (None, "Not subject to VAT"),
        Category::Export => (group.note.as_deref(), "Export outside the EU"),
        Category::Exempt => (group.note.as_deref(), "Exempt from VAT"),
        Category::IntraCommunity => (group.note.as_deref(), "Intra-community supply"),
    };
    text(stated).or_else(|| Some(standard.to_owned()))
}

/// Minor units as an amount of the model, which always has two decimals.
fn amount(minor: i64, currency: Currency, path: Path) -> Result<InvoiceAmount, Violation> {
    let missing = 2_u32.saturating_sub(currency.minor_digits());
    let scale = 10_i64.checked_pow(missing);
    let hundredths = scale.and_then(|scale| minor.checked_mul(scale)).ok_or_else(|| too_large(path))?;
    Ok(InvoiceAmount::from_minor_units(hundredths))
}

/// A decimal of minor units in major units.
fn to_major(minor: Decimal, currency: Currency) -> Option<Decimal> {
    minor.checked_mul(Decimal::new(1, currency.minor_digits())).map(|major| major.normalize())
}

fn too_large(path: Path) -> Violation {
    Violation::new("AMOUNT", Severity::Fatal, path, "the amount is too large")
}

fn date(day: NaiveDate, term: u16) -> Result<Date, Violation> {
    let parts = (u8::try_from(day.month()), u8::try_from(day.day()));
    let made = match parts {
        (Ok(month), Ok(day_of_month)) => Date::new(day.year(), month, day_of_month).ok(),
        _ => None,
    };
    made.ok_or_else(|| {
        let path = Path::term(en16931::BtId(term));
        Violation::new("DATE", Severity::Fatal, path, "the year must have four digits")
    })
}

fn period(
    start: Option<NaiveDate>,
    end: Option<NaiveDate>,
    (start_term, end_term): (u16, u16),
) -> Result<Option<Period>, Violation> {
    if start.is_none() && end.is_none() {
        return Ok(None);
    }
    let start = start.map(|day| date(day, start_term)).transpose()?;
    let end = end.map(|day| date(day, end_term)).transpose()?;
    Ok(Some(Period { start, end }))
}

/// A text without what XML cannot hold, trimmed; `None` when nothing is left. Line breaks stay.
fn text(text: Option<&str>) -> Option<String> {
    let allowed = |c: char| c == '\n' || !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'));
    let clean: String = text?.chars().map(|c| if allowed(c) { c } else { ' ' }).collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

/// A text on one line.
fn one_line(raw: Option<&str>) -> Option<String> {
    text(raw).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A code that people write in groups: without space.
fn compact(raw: &str) -> Option<String> {
    text(Some(raw)).map(|text| text.split_whitespace().collect())
}
