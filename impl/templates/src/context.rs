//! Owns what the template of an invoice or credit note can name: the facts of a document, written in one language.
//!
//! Amounts of a credit note are printed positive, as the e-invoice beside it has them: its title says what they
//! mean. Everything formatted has its raw value beside it, for conditions and for the filters.

mod views;

use rust_decimal::Decimal;
use scaicontrol_domain::invoice::DocumentType;
use scaicontrol_domain::money::{Cents, MoneyError};
use scaicontrol_domain::tax::Category;
use scaicontrol_domain::tax::wording::wording;

use crate::document::{Document, Line, Party, PaymentMeans, TaxGroup};
use crate::epc;
use crate::locale::{Language, Locale};
pub use views::{
    DocumentView, InvoiceContext, LineView, Markup, PartyView, PaymentView, TaxView, TotalsView, VatView,
};

impl InvoiceContext {
    /// Writes a document in a language.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] for an amount that has no opposite.
    pub fn new(document: &Document, language: Language) -> Result<Self, MoneyError> {
        let writer = Writer { document, locale: Locale::new(language) };
        let taxes: Vec<TaxView> =
            document.taxes.iter().map(|tax| writer.tax(tax)).collect::<Result<_, _>>()?;
        Ok(Self {
            language: language.as_str(),
            invoice: writer.head(),
            seller: party(&document.seller, writer.locale),
            buyer: party(&document.buyer, writer.locale),
            lines: document
                .lines
                .iter()
                .enumerate()
                .map(|(index, line)| writer.line(index, line))
                .collect::<Result<_, _>>()?,
            vat: writer.vat(&taxes)?,
            taxes,
            totals: writer.totals()?,
            payment: writer.payment()?,
            labels: writer.locale.labels(),
        })
    }
}

/// What a document needs to be written: itself, and a language.
struct Writer<'a> {
    document: &'a Document,
    locale: Locale,
}

impl Writer<'_> {
    fn is_credit_note(&self) -> bool {
        self.document.document_type == DocumentType::CreditNote
    }

    /// An amount as it is printed: positive on a credit note.
    fn printed(&self, amount: Cents) -> Result<Cents, MoneyError> {
        if self.is_credit_note() { amount.neg() } else { Ok(amount) }
    }

    fn money(&self, amount: Cents) -> String {
        self.locale.money(amount, self.document.currency)
    }

    fn head(&self) -> DocumentView {
        let (document, locale) = (self.document, self.locale);
        let labels = locale.labels();
        DocumentView {
            document_type: document.document_type.as_str(),
            title: if self.is_credit_note() { labels.credit_note } else { labels.invoice },
            number: document.number.clone(),
            is_draft: document.number.is_none(),
            is_void: document.voided.is_some(),
            void_notice: document.voided.as_ref().map(|voided| {
                let notice = labels.void_notice.replace("{date}", &locale.long_date(voided.date));
                voided.credit_note_number.as_ref().map_or(notice.clone(), |number| {
                    format!("{notice} {}", labels.void_by.replace("{number}", number))
                })
            }),
            issue_date: document.issue_date.map(|date| locale.long_date(date)),
            issue_date_iso: document.issue_date.map(|date| date.to_string()),
            due_date: document.due_date.map(|date| locale.long_date(date)),
            due_date_iso: document.due_date.map(|date| date.to_string()),
            tax_point_date: document.tax_point_date.map(|date| locale.long_date(date)),
            period: document.period.map(|(first, last)| locale.period(first, last)),
            currency: document.currency.code(),
            referenced_number: document.referenced.as_ref().map(|(number, _)| number.clone()),
            referenced_date: document.referenced.as_ref().map(|(_, date)| locale.long_date(*date)),
            buyer_reference: document.buyer.reference.clone(),
            notes: document.notes.clone(),
        }
    }

    fn line(&self, index: usize, line: &Line) -> Result<LineView, MoneyError> {
        let (locale, currency) = (self.locale, self.document.currency);
        let quantity = if self.is_credit_note() { -line.quantity } else { line.quantity };
        let amount = self.printed(line.amount)?;
        Ok(LineView {
            position: i64::try_from(index).map_err(|_| MoneyError::Overflow)? + 1,
            description: line.description.clone(),
            quantity: locale.number(quantity, 0),
            quantity_raw: quantity.normalize().to_string(),
            unit: line.unit_label.as_ref().map(|unit| locale.unit(unit, quantity)),
            unit_price: locale.price(line.unit_price, currency),
            unit_price_raw: line.unit_price.normalize().to_string(),
            price_per: (line.unit_divisor != Decimal::ONE).then(|| locale.number(line.unit_divisor, 0)),
            amount: self.money(amount),
            amount_cents: amount.0,
            tax_rate: self.rate(line.tax_rate),
            tax_category: line.tax_category.map(Category::as_str),
            period: line.period.map(|(first, last)| locale.period(first, last)),
        })
    }

    fn rate(&self, rate: Option<Decimal>) -> String {
        rate.map_or_else(|| "–".to_owned(), |rate| self.locale.percent(rate))
    }

    fn tax(&self, group: &TaxGroup) -> Result<TaxView, MoneyError> {
        let taxable = self.printed(group.taxable)?;
        let tax = self.printed(group.tax)?;
        Ok(TaxView {
            rate: self.rate(group.rate),
            category: group.category.as_str(),
            taxable: self.money(taxable),
            taxable_cents: taxable.0,
            tax: self.money(tax),
            tax_cents: tax.0,
            note: note(group, self.locale.language()),
        })
    }

    fn vat(&self, taxes: &[TaxView]) -> Result<VatView, MoneyError> {
        let mut notes: Vec<String> = Vec::new();
        for text in taxes.iter().filter_map(|tax| tax.note.as_ref()) {
            if !notes.contains(text) {
                notes.push(text.clone());
            }
        }
        let labels = self.locale.labels();
        let other = self.document.tax_currency.as_ref();
        let amount =
            other.map(|other| Ok(self.locale.money(self.printed(other.tax)?, other.currency))).transpose()?;
        Ok(VatView {
            label: self.document.vat_label.clone(),
            notes,
            tax_currency_label: other
                .map(|other| labels.tax_in_currency.replace("{currency}", other.currency.code())),
            tax_currency_amount: amount,
            tax_currency_rate: other.map(|other| {
                let source = labels.exchange_rate.replace("{date}", &self.locale.short_date(other.rate_date));
                let rate = self.locale.number(other.rate, 0);
                let (from, to) = (self.document.currency.code(), other.currency.code());
                format!("{source}: 1\u{a0}{from} = {rate}\u{a0}{to}")
            }),
        })
    }

    fn totals(&self) -> Result<TotalsView, MoneyError> {
        let document = self.document;
        let [subtotal, tax, total] =
            [self.printed(document.subtotal)?, self.printed(document.tax)?, self.printed(document.total)?];
        Ok(TotalsView {
            subtotal: self.money(subtotal),
            subtotal_cents: subtotal.0,
            tax: self.money(tax),
            tax_cents: tax.0,
            total: self.money(total),
            total_cents: total.0,
            prepaid: self.money(document.prepaid),
            prepaid_cents: document.prepaid.0,
            credit_applied: self.money(document.credit_applied),
            credit_applied_cents: document.credit_applied.0,
            credited: self.money(document.credited),
            credited_cents: document.credited.0,
            due: self.money(document.due),
            due_cents: document.due.0,
        })
    }

    fn payment(&self) -> Result<PaymentView, MoneyError> {
        let (document, labels) = (self.document, self.locale.labels());
        let nothing = PaymentView {
            method: "none",
            instruction: labels.nothing_due.to_owned(),
            iban: None,
            bic: None,
            account_holder: None,
            reference: None,
            qr_svg: None,
        };
        if self.is_credit_note() {
            return Ok(PaymentView { instruction: labels.credit_note_settled.to_owned(), ..nothing });
        }
        if document.due <= Cents::ZERO || document.voided.is_some() {
            return Ok(nothing);
        }
        let text = match (document.payment, document.due_date) {
            (PaymentMeans::Card, Some(_)) => labels.pay_by_card,
            (PaymentMeans::DirectDebit, Some(_)) => labels.pay_by_debit,
            (_, Some(_)) => labels.pay_by_transfer,
            (_, None) => labels.pay_on_receipt,
        };
        let date = document.due_date.map(|date| self.locale.long_date(date)).unwrap_or_default();
        let number = document.number.clone().unwrap_or_else(|| labels.draft.to_owned());
        let instruction = text
            .replace("{amount}", &self.money(document.due))
            .replace("{date}", &date)
            .replace("{number}", &number);
        match document.payment {
            PaymentMeans::Card => Ok(PaymentView { method: "card", instruction, ..nothing }),
            PaymentMeans::DirectDebit => Ok(PaymentView { method: "direct_debit", instruction, ..nothing }),
            PaymentMeans::Transfer => Ok(PaymentView {
                method: "transfer",
                instruction,
                iban: document.seller.iban.as_deref().map(grouped_iban),
                bic: document.seller.bic.clone(),
                account_holder: document.seller.iban.as_ref().map(|_| document.seller.name.clone()),
                reference: document.number.clone(),
                qr_svg: epc::Transfer::of(document).and_then(|transfer| transfer.svg()).map(Markup),
            }),
        }
    }
}

/// The published note, with the sentence that the law of the document's language wants beside it.
fn note(group: &TaxGroup, language: Language) -> Option<String> {
    let statutory = wording(group.category, language);
    match (group.note.as_deref(), statutory) {
        (Some(note), Some(sentence)) if !note.to_lowercase().contains(&sentence.to_lowercase()) => {
            Some(format!("{note} · {sentence}"))
        }
        (Some(note), _) => Some(note.to_owned()),
        (None, sentence) => sentence.map(str::to_owned),
    }
}

pub(crate) fn party(party: &Party, locale: Locale) -> PartyView {
    PartyView {
        name: party.name.clone(),
        address: address(party, locale),
        address_line1: party.address_line1.clone(),
        address_line2: party.address_line2.clone(),
        postal_code: party.postal_code.clone(),
        city: party.city.clone(),
        state: party.state.clone(),
        country_code: party.country_code.clone(),
        country: locale.country(&party.country_code),
        vat_number: party.vat_number.clone(),
        tax_number: party.tax_number.clone(),
        registration_number: party.registration_number.clone(),
        contact_name: party.contact_name.clone(),
        email: party.email.clone(),
        phone: party.phone.clone(),
        logo: party.logo.clone(),
    }
}

/// Countries whose addresses have the postal code behind the city.
const CODE_BEHIND_CITY: &[&str] =
    &["GB", "IE", "US", "CA", "AU", "NZ", "SG", "IN", "JP", "XI", "JE", "GG", "IM"];

fn address(party: &Party, locale: Locale) -> Vec<String> {
    let city = if CODE_BEHIND_CITY.contains(&party.country_code.as_str()) {
        let state = party.state.as_deref().map(|state| format!(", {state}")).unwrap_or_default();
        format!("{}{state} {}", party.city, party.postal_code)
    } else {
        format!("{} {}", party.postal_code, party.city)
    };
    [Some(party.address_line1.clone()), party.address_line2.clone(), Some(city)]
        .into_iter()
        .flatten()
        .chain([locale.country(&party.country_code)])
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

fn grouped_iban(iban: &str) -> String {
    let plain: Vec<char> = iban.chars().filter(|char| !char.is_whitespace()).collect();
    plain.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("\u{a0}")
}

#[cfg(test)]
mod tests;
