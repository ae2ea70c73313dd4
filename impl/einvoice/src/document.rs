//! Owns what an e-invoice is made of, in the words of our API.
//!
//! [`Party`] and [`Vat`] have the field names of `PartySnapshot` and `VatDetails`, so that the snapshots that are frozen
//! with an invoice deserialize into them as they are; what they do not need is ignored. Amounts are minor units of the
//! document's currency (cents, or whole yen). Those of a credit note are negative, as everywhere in the API; the XML
//! says the same with type code 381 and the opposite signs.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use scaicontrol_domain::money::Currency;
use scaicontrol_domain::tax::Category;
use serde::{Deserialize, Serialize};

pub use scaicontrol_domain::invoice::DocumentType as Kind;

/// A numbered invoice or credit note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// `invoice` (380) or `credit_note` (381).
    pub document_type: Kind,
    /// The number (BT-1), repeated as the remittance text (BT-83). Before it is spent: one of the same form.
    pub number: String,
    /// Issue date (BT-2).
    pub issue_date: NaiveDate,
    /// Due date (BT-9). Not written on a credit note, of which nothing is due from the buyer.
    pub due_date: Option<NaiveDate>,
    /// Tax point (BT-7). Not written when it is the issue date.
    pub tax_point_date: Option<NaiveDate>,
    /// First day of the document's period (BT-73). What is written is widened to hold the periods of all lines.
    pub period_start: Option<NaiveDate>,
    /// Last day of that period (BT-74).
    pub period_end: Option<NaiveDate>,
    /// Currency of every amount (BT-5).
    pub currency: Currency,
    /// Who sells (BG-4).
    pub seller: Party,
    /// Who buys (BG-7).
    pub buyer: Party,
    /// The lines (BG-25), in the order of the document.
    pub lines: Vec<Line>,
    /// The tax of the document (BG-23, BT-6, BT-111).
    pub vat: Vat,
    /// Sum of the lines (BT-106, BT-109).
    pub subtotal_cents: i64,
    /// Sum of the tax (BT-110).
    pub tax_cents: i64,
    /// Sum with tax (BT-112).
    pub total_cents: i64,
    /// What was settled before the document was issued (BT-113): customer credit that was applied. 0 or more on an
    /// invoice, 0 on a credit note. BT-115 is the total less this.
    pub prepaid_cents: i64,
    /// How it is paid (BG-16). On a credit note: as on the invoice that it corrects.
    pub payment: Payment,
    /// Terms of payment (BT-20). A credit note without any says which invoice it is set off against.
    pub payment_terms: Option<String>,
    /// Text printed on the document (BT-22).
    pub notes: Option<String>,
    /// Why a credit note was made (BT-22, before the notes).
    pub reason: Option<String>,
    /// Invoices that the document corrects (BG-3): on a credit note its invoice.
    pub preceding: Vec<Preceding>,
}

/// Buyer or seller, with the field names of `PartySnapshot`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Id of the tenant or partner. The seller's is written (BT-29) when it has neither a register number nor a VAT
    /// number that may be written.
    pub party_id: String,
    /// Name (BT-27, BT-44).
    pub name: String,
    /// First line of the address (BT-35, BT-50).
    pub address_line1: String,
    /// Second line of the address (BT-36, BT-51).
    pub address_line2: Option<String>,
    /// Postal code (BT-38, BT-53).
    pub postal_code: String,
    /// City (BT-37, BT-52).
    pub city: String,
    /// Province or region (BT-39, BT-54).
    pub state: Option<String>,
    /// Country, ISO 3166-1 (BT-40, BT-55).
    pub country_code: String,
    /// VAT number with its prefix (BT-31, BT-48). Not written on a document outside the scope of VAT, nor for a
    /// consumer, nor for a buyer outside the EU whose number has no prefix.
    pub vat_number: Option<String>,
    /// Seller: national tax number (BT-32).
    pub tax_number: Option<String>,
    /// Seller: number in the trade register (BT-30), with the scheme of its country where the form fits.
    pub registration_number: Option<String>,
    /// Buyer: whether it is a business. `None` counts as one.
    pub is_business: Option<bool>,
    /// Seller: whom to ask (BT-41).
    pub contact_name: Option<String>,
    /// Mail address (BT-43, BT-58); the electronic address (scheme `EM`) of a party without Peppol id.
    pub email: Option<String>,
    /// Telephone (BT-42, BT-57).
    pub phone: Option<String>,
    /// Electronic address in Peppol, without its scheme (BT-34, BT-49).
    pub peppol_id: Option<String>,
    /// Its scheme, from the EAS list.
    pub peppol_scheme: Option<String>,
    /// Buyer: routing id of a German public buyer (BT-10).
    pub leitweg_id: Option<String>,
    /// Buyer: its own reference (BT-10, where there is no Leitweg-ID).
    pub buyer_reference: Option<String>,
    /// Seller: account to pay to, see [`Payment::to`].
    pub iban: Option<String>,
    /// Seller: BIC of that account.
    pub bic: Option<String>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What is billed (BT-153).
    pub description: String,
    /// How many (BT-129). Negative on a credit line, and on the lines of a credit note.
    pub quantity: Decimal,
    /// Label of the unit, from which the code follows (BT-130); none is `C62`, "one".
    pub unit_label: Option<String>,
    /// Price in minor units of `unit_divisor` units (BT-146); 0 or more.
    pub unit_price_cents: Decimal,
    /// For how many units the price is (BT-149); above 0, usually 1.
    pub unit_divisor: Decimal,
    /// Net amount (BT-131), `quantity × unit_price_cents ÷ unit_divisor` rounded half away from zero.
    pub amount_cents: i64,
    /// VAT category (BT-151).
    pub tax_category: Category,
    /// Rate in percent (BT-152); `None` in category `O`.
    pub tax_rate: Option<Decimal>,
    /// First day that the line covers (BT-134).
    pub period_start: Option<NaiveDate>,
    /// Last day that the line covers (BT-135).
    pub period_end: Option<NaiveDate>,
    /// The invoice whose line this one takes back.
    pub preceding: Option<Preceding>,
}

/// An earlier invoice (BG-3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preceding {
    /// Its number (BT-25).
    pub number: String,
    /// Its issue date (BT-26).
    pub issue_date: NaiveDate,
}

/// The tax of a document, with the field names of `VatDetails`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vat {
    /// One entry for each category and rate (BG-23).
    pub breakdown: Vec<VatGroup>,
    /// Currency in which the tax is declared (BT-6), when it is another than the document's and there is tax.
    pub tax_currency: Option<Currency>,
    /// The whole tax in minor units of `tax_currency` (BT-111).
    pub tax_currency_tax_cents: Option<i64>,
    /// Units of `tax_currency` for one unit of the document's currency. Written as a note.
    pub exchange_rate: Option<Decimal>,
    /// Day on which that rate was published.
    pub exchange_rate_date: Option<NaiveDate>,
}

/// The lines of one category and rate, with the field names of `VatBreakdownItem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VatGroup {
    /// Category (BT-118).
    pub tax_category: Category,
    /// Rate in percent (BT-119); `None` in category `O`.
    pub tax_rate: Option<Decimal>,
    /// Sum of the lines (BT-116).
    pub taxable_cents: i64,
    /// Tax on that sum (BT-117).
    pub tax_cents: i64,
    /// Why no VAT is charged, as printed: the reason (BT-120) of an exemption or export. Reverse charge and what is
    /// outside the scope have a wording of their own.
    pub note: Option<String>,
    /// VATEX code of that reason (BT-121).
    pub exemption_code: Option<String>,
}

/// How a document is paid (BG-16).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Payment {
    /// Credit transfer: SEPA (58) in euro, else 30.
    Transfer {
        /// Account (BT-84).
        iban: String,
        /// BIC (BT-86).
        bic: Option<String>,
    },
    /// Card (48). XRechnung, and a German seller in Peppol, want the digits.
    Card {
        /// Last four to six digits (BT-87).
        last_digits: Option<String>,
        /// Name on the card (BT-88).
        holder: Option<String>,
    },
    /// SEPA direct debit (59). Without mandate or creditor id use [`Payment::Transfer`].
    DirectDebit {
        /// Reference of the mandate (BT-89).
        mandate: String,
        /// Creditor id (BT-90).
        creditor_id: String,
        /// The account that is debited (BT-91).
        debited_iban: Option<String>,
    },
    /// Not agreed (1), for a seller without account.
    Undefined,
}

impl Payment {
    /// A transfer to the account of the seller; [`Payment::Undefined`] when it has none.
    pub fn to(seller: &Party) -> Self {
        match seller.iban.as_deref().map(str::trim).filter(|iban| !iban.is_empty()) {
            Some(iban) => Self::Transfer { iban: iban.to_owned(), bic: seller.bic.clone() },
            None => Self::Undefined,
        }
    }
}
