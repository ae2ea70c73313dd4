//! Owns the shape of what the template of an invoice or credit note can name. The documentation of each field is what
//! users read about it.

use crate::describe::{Described, Shape, context_type};
use crate::locale::Labels;

/// HTML of our own making, which is not escaped again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Markup(pub(crate) String);

impl serde::Serialize for Markup {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        minijinja::Value::from_safe_string(self.0.clone()).serialize(serializer)
    }
}

impl Described for Markup {
    const SHAPE: Shape = Shape::Text;
}

context_type! {
    /// Everything that a template of an invoice or credit note can name.
    InvoiceContext {
        /// Language of the document, a code of two letters
        language: &'static str,
        /// The document itself
        invoice: DocumentView,
        /// Who sells
        seller: PartyView,
        /// Who buys
        buyer: PartyView,
        /// The lines
        lines: Vec<LineView>,
        /// VAT by rate
        taxes: Vec<TaxView>,
        /// How VAT was decided
        vat: VatView,
        /// The sums
        totals: TotalsView,
        /// How to pay
        payment: PaymentView,
        /// The fixed texts, in the language of the document
        labels: &'static Labels,
    }
}

context_type! {
    /// The head of a document.
    DocumentView {
        /// What it is: `invoice` or `credit_note`
        document_type: &'static str,
        /// What it is, in the language of the document
        title: &'static str,
        /// Number of the document; none on a draft
        number: Option<String>,
        /// Whether it is a draft, without number
        is_draft: bool,
        /// Whether it was made void
        is_void: bool,
        /// That it was made void, and when; none otherwise
        void_notice: Option<String>,
        /// Day of issue, in words
        issue_date: Option<String>,
        /// Day of issue, as YYYY-MM-DD
        issue_date_iso: Option<String>,
        /// Day by which it is to be paid, in words
        due_date: Option<String>,
        /// Day by which it is to be paid, as YYYY-MM-DD
        due_date_iso: Option<String>,
        /// Day on which VAT became due, where it is another than the day of issue
        tax_point_date: Option<String>,
        /// Period that the document covers
        period: Option<String>,
        /// ISO code of its currency
        currency: &'static str,
        /// On a credit note the number of the invoice that it takes back
        referenced_number: Option<String>,
        /// Day of issue of that invoice
        referenced_date: Option<String>,
        /// The buyer's own reference
        buyer_reference: Option<String>,
        /// Text for the reader; on a credit note its reason
        notes: Option<String>,
    }
}

context_type! {
    /// A seller or buyer.
    PartyView {
        /// Name
        name: String,
        /// The whole address, line by line, with the country in the language of the document
        address: Vec<String>,
        /// Street and number
        address_line1: String,
        /// Second line of the address
        address_line2: Option<String>,
        /// Postal code
        postal_code: String,
        /// City
        city: String,
        /// State or province
        state: Option<String>,
        /// ISO code of the country
        country_code: String,
        /// The country in the language of the document
        country: String,
        /// VAT number
        vat_number: Option<String>,
        /// National tax number
        tax_number: Option<String>,
        /// Number in the trade register
        registration_number: Option<String>,
        /// Person to ask
        contact_name: Option<String>,
        /// Mail address
        email: Option<String>,
        /// Telephone number
        phone: Option<String>,
        /// Name of the image with the logo, for `src` of an `img`
        logo: Option<String>,
    }
}

context_type! {
    /// A line.
    LineView {
        /// Place on the document, from 1
        position: i64,
        /// What is billed
        description: String,
        /// How many units, formatted
        quantity: String,
        /// How many units, as a plain decimal number
        quantity_raw: String,
        /// Name of the unit
        unit: Option<String>,
        /// Price of a unit, with currency
        unit_price: String,
        /// Price of a unit in cents, as a plain decimal number
        unit_price_raw: String,
        /// How many units the price is for, formatted; none when it is one
        price_per: Option<String>,
        /// Net amount, with currency
        amount: String,
        /// Net amount in cents
        amount_cents: i64,
        /// VAT rate; a dash where there is none
        tax_rate: String,
        /// VAT category of EN 16931, such as S or AE
        tax_category: Option<&'static str>,
        /// Period that it covers
        period: Option<String>,
    }
}

context_type! {
    /// VAT of one category and rate.
    TaxView {
        /// VAT rate; a dash where there is none
        rate: String,
        /// VAT category of EN 16931, such as S or AE
        category: &'static str,
        /// Sum of its lines, with currency
        taxable: String,
        /// Sum of its lines in cents
        taxable_cents: i64,
        /// VAT on that sum, with currency
        tax: String,
        /// VAT on that sum in cents
        tax_cents: i64,
        /// Why no VAT is charged, with the wording of the document's language
        note: Option<String>,
    }
}

context_type! {
    /// How VAT was decided.
    VatView {
        /// Short text of the decision
        label: String,
        /// Why no VAT is charged: each reason once
        notes: Vec<String>,
        /// Before the tax in the currency of the taxing country; none when that is the currency of the document
        tax_currency_label: Option<String>,
        /// The whole tax in the currency of the taxing country
        tax_currency_amount: Option<String>,
        /// The exchange rate of that amount, with its source and day
        tax_currency_rate: Option<String>,
    }
}

context_type! {
    /// The sums of a document.
    TotalsView {
        /// Sum of the lines, with currency
        subtotal: String,
        /// Sum of the lines in cents
        subtotal_cents: i64,
        /// Sum of VAT, with currency
        tax: String,
        /// Sum of VAT in cents
        tax_cents: i64,
        /// Sum with VAT, with currency
        total: String,
        /// Sum with VAT in cents
        total_cents: i64,
        /// What was paid before, with currency
        prepaid: String,
        /// What was paid before, in cents
        prepaid_cents: i64,
        /// Customer credit that was applied, with currency
        credit_applied: String,
        /// Customer credit that was applied, in cents
        credit_applied_cents: i64,
        /// What credit notes have taken back, with currency
        credited: String,
        /// What credit notes have taken back, in cents
        credited_cents: i64,
        /// What is left to pay, with currency
        due: String,
        /// What is left to pay, in cents
        due_cents: i64,
    }
}

context_type! {
    /// How to pay.
    PaymentView {
        /// `transfer`, `card`, `direct_debit`, or `none` when nothing is to be paid
        method: &'static str,
        /// What the reader is to do, as a sentence
        instruction: String,
        /// Account to pay to, in groups of four; none unless money is to be transferred
        iban: Option<String>,
        /// BIC of that account
        bic: Option<String>,
        /// Holder of that account
        account_holder: Option<String>,
        /// What to write on a transfer
        reference: Option<String>,
        /// QR code for a SEPA transfer, as SVG; none for other currencies and when nothing is to be transferred
        qr_svg: Option<Markup>,
    }
}
