//! Owns the facts of a document, before any language: what the snapshot of an invoice or credit note says.
//!
//! Amounts are those of the API: minor units, negative on a credit note. Rules live elsewhere; nothing is computed
//! here beyond what printing needs.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use scaicontrol_domain::invoice::DocumentType;
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_domain::tax::Category;
use serde::{Deserialize, Serialize};

/// An invoice or credit note, ready to be printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// What it is.
    pub document_type: DocumentType,
    /// Number; `None` on a draft.
    pub number: Option<String>,
    /// Currency of all amounts but those of [`TaxCurrency`].
    pub currency: Currency,
    /// Day of issue; `None` on a draft.
    pub issue_date: Option<NaiveDate>,
    /// Day by which it is to be paid.
    pub due_date: Option<NaiveDate>,
    /// Day on which VAT became due, where it is another than the day of issue.
    pub tax_point_date: Option<NaiveDate>,
    /// First and last day of the period that it covers.
    pub period: Option<(NaiveDate, NaiveDate)>,
    /// The invoice that a credit note takes back: its number and day of issue.
    pub referenced: Option<(String, NaiveDate)>,
    /// That it was made void, and by which credit note.
    pub voided: Option<Voided>,
    /// Text for the reader; on a credit note its reason.
    pub notes: Option<String>,
    /// Who sells.
    pub seller: Party,
    /// Who buys.
    pub buyer: Party,
    /// The lines, in their order.
    pub lines: Vec<Line>,
    /// Tax by category and rate.
    pub taxes: Vec<TaxGroup>,
    /// Short text of the VAT decision.
    pub vat_label: String,
    /// The whole tax in the currency of the taxing country, where it is another one.
    pub tax_currency: Option<TaxCurrency>,
    /// Sum of the lines.
    pub subtotal: Cents,
    /// Sum of the tax.
    pub tax: Cents,
    /// Sum with tax.
    pub total: Cents,
    /// Payments that were made before the document is printed.
    pub prepaid: Cents,
    /// Customer credit that was applied.
    pub credit_applied: Cents,
    /// What credit notes have taken back.
    pub credited: Cents,
    /// What is left to pay.
    pub due: Cents,
    /// How it is to be paid.
    pub payment: PaymentMeans,
}

/// That a document was made void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voided {
    /// The day.
    pub date: NaiveDate,
    /// Number of the credit note that takes it back; a draft has none.
    pub credit_note_number: Option<String>,
}

/// How a document is to be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMeans {
    /// The buyer transfers the money.
    Transfer,
    /// A stored card is charged.
    Card,
    /// A direct debit is made.
    DirectDebit,
}

/// A seller or buyer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Party {
    /// Name.
    pub name: String,
    /// Street and number.
    pub address_line1: String,
    /// Second line of the address.
    pub address_line2: Option<String>,
    /// Postal code.
    pub postal_code: String,
    /// City.
    pub city: String,
    /// State or province.
    pub state: Option<String>,
    /// ISO code of the country.
    pub country_code: String,
    /// VAT number.
    pub vat_number: Option<String>,
    /// National tax number (seller).
    pub tax_number: Option<String>,
    /// Number in the trade register (seller).
    pub registration_number: Option<String>,
    /// Person to ask.
    pub contact_name: Option<String>,
    /// Mail address.
    pub email: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// The buyer's own reference, or its routing id.
    pub reference: Option<String>,
    /// Account to pay to (seller).
    pub iban: Option<String>,
    /// BIC of that account (seller).
    pub bic: Option<String>,
    /// Name of the image with the logo, as the images of the job are named (seller).
    pub logo: Option<String>,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What is billed.
    pub description: String,
    /// How many units.
    pub quantity: Decimal,
    /// Name of the unit.
    pub unit_label: Option<String>,
    /// Price in minor units, of `unit_divisor` units.
    pub unit_price: Decimal,
    /// How many units the price is for; 1 unless the price is for a pack of them.
    pub unit_divisor: Decimal,
    /// Net amount.
    pub amount: Cents,
    /// Rate in percent; `None` where there is none.
    pub tax_rate: Option<Decimal>,
    /// Category; `None` on a draft that leaves it to the decision.
    pub tax_category: Option<Category>,
    /// First and last day that it covers.
    pub period: Option<(NaiveDate, NaiveDate)>,
}

/// Tax of one category and rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxGroup {
    /// Category.
    pub category: Category,
    /// Rate in percent; `None` in category `O`.
    pub rate: Option<Decimal>,
    /// Sum of its lines.
    pub taxable: Cents,
    /// Tax on that sum.
    pub tax: Cents,
    /// Why no VAT is charged, as the decision says it.
    pub note: Option<String>,
}

/// The whole tax in the currency of the taxing country.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxCurrency {
    /// That currency.
    pub currency: Currency,
    /// The tax in it.
    pub tax: Cents,
    /// Units of it for one unit of the document's currency.
    pub rate: Decimal,
    /// Day of the rate.
    pub rate_date: NaiveDate,
}
