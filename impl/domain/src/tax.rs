//! Owns VAT: who taxes a document, at which rate, and how the tax is spread over its lines.
//!
//! [`decide()`] answers from seller, buyer and tax point alone; its order is the published one and is not changed by
//! any setting. [`compute()`] sums the tax per category and rate on the document, as EN 16931 wants it, and gives
//! each line its part. Rates, territories and wordings are data, in modules of their own.

pub mod compute;
pub mod decide;
pub mod rates;
pub mod territory;
pub mod vat_number;
pub mod wording;

pub use compute::{TaxGroup, TaxLine, Totals, compute};
pub use decide::{Buyer, Decision, DocumentDecision, LineRequest, Request, Rule, Seller, TaxError, decide};
pub use rates::{RateKind, RateOverride, Rates};
pub use territory::{EuCountry, Territory, territory};
pub use vat_number::{VatNumber, VatNumberError, VatStatus};

use crate::text::text_enum;

text_enum! {
    /// The VAT category of a line (UNCL 5305, as EN 16931 uses it).
    Category, "tax category" {
        /// Taxed at a rate above zero.
        Standard = "S",
        /// Reverse charge: the buyer owes the tax.
        ReverseCharge = "AE",
        /// Export outside the EU.
        Export = "G",
        /// Exempt.
        Exempt = "E",
        /// Taxed at the rate zero.
        ZeroRated = "Z",
        /// Outside the scope of VAT.
        OutsideScope = "O",
        /// Supply of goods within the EU; known, and refused: we sell services.
        IntraCommunity = "K",
    }
}

text_enum! {
    /// Under which return tax is declared.
    Scheme, "tax scheme" {
        /// The return of the seller's own state.
        Domestic = "domestic",
        /// The One Stop Shop: tax of the buyer's state.
        Oss = "oss",
        /// No tax of ours is declared.
        None = "none",
    }
}
