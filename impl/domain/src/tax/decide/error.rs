//! Owns the refusals of the VAT decision. Each names the fields whose change would lift it.

use chrono::NaiveDate;
use rust_decimal::Decimal;

use crate::tax::Category;
use crate::tax::territory::EuCountry;

/// Why a document cannot be taxed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaxError {
    /// The country code of a party does not exist.
    #[error("{field}: unknown country {code:?}")]
    UnknownCountry {
        /// The field that holds it.
        field: &'static str,
        /// The code.
        code: String,
    },
    /// An EU seller needs a VAT number, or another tax number.
    #[error("the seller needs a VAT number (seller_vat_number) or a tax number (seller_tax_number)")]
    SellerNumberMissing,
    /// A seller without VAT number must say why it charges none.
    #[error("a seller without VAT number needs a small_business_note")]
    SmallBusinessNoteMissing,
    /// A category that only a seller with a VAT number may use.
    #[error("line {line}: category {category} needs a VAT number of the seller (seller_vat_number)")]
    SellerVatNumberMissing {
        /// Position of the line, from 0.
        line: usize,
        /// The category.
        category: Category,
    },
    /// Reverse charge was asked for, and its conditions are not met.
    #[error("line {line}: reverse charge is not possible because of {}", fields.join(", "))]
    ReverseChargeRefused {
        /// Position of the line, from 0.
        line: usize,
        /// The fields that stand in the way.
        fields: Vec<&'static str>,
    },
    /// A category that a supply of services never has, or `S` without a taxing state.
    #[error("line {line}: category {category} is not possible here")]
    CategoryRefused {
        /// Position of the line, from 0.
        line: usize,
        /// The category.
        category: Category,
    },
    /// `S` needs a rate above 0, all other categories the rate 0.
    #[error("line {line}: category {category} does not fit a rate of {rate} %")]
    RateDoesNotFit {
        /// Position of the line, from 0.
        line: usize,
        /// The category.
        category: Category,
        /// The rate in percent.
        rate: Decimal,
    },
    /// The taxing state has no such rate.
    #[error("line {line}: {rate} % is not a rate of {country} on {day}")]
    IllegalRate {
        /// Position of the line, from 0.
        line: usize,
        /// The taxing state.
        country: EuCountry,
        /// The rate in percent.
        rate: Decimal,
        /// The tax point.
        day: NaiveDate,
    },
    /// Lines outside the scope of VAT cannot stand beside others.
    #[error("line {line}: a document with category O holds no other categories")]
    OutsideScopeMixed {
        /// Position of the first line that differs from the first one.
        line: usize,
    },
    /// No rate is known for the day.
    #[error("no VAT rate of {country} is known for {day}")]
    NoRate {
        /// The taxing state.
        country: EuCountry,
        /// The tax point.
        day: NaiveDate,
    },
}

impl TaxError {
    /// The fields to name to the caller: of the seller's settings, the billing profile, or a line.
    pub fn fields(&self) -> Vec<String> {
        let of_line = |line: &usize, field: &str| vec![format!("line_items[{line}].{field}")];
        let named = |fields: &[&str]| fields.iter().map(|field| (*field).to_owned()).collect();
        match self {
            Self::UnknownCountry { field, .. } => named(&[field]),
            Self::SellerNumberMissing => named(&["seller_vat_number", "seller_tax_number"]),
            Self::SmallBusinessNoteMissing => named(&["small_business_note"]),
            Self::SellerVatNumberMissing { .. } => named(&["seller_vat_number"]),
            Self::ReverseChargeRefused { fields, .. } => named(fields),
            Self::CategoryRefused { line, .. } | Self::OutsideScopeMixed { line } => {
                of_line(line, "tax_category")
            }
            Self::RateDoesNotFit { line, .. } | Self::IllegalRate { line, .. } => of_line(line, "tax_rate"),
            Self::NoRate { .. } => named(&["tax_point_date"]),
        }
    }
}
