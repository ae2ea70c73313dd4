//! Electronic invoices after EN 16931: written from our documents, checked in process, and read from anybody.
//!
//! A [`Document`] is a numbered invoice or credit note in our own terms. [`build`] turns it into XML of a [`Profile`]
//! after every rule of that profile has held; otherwise it answers what is broken and which of our fields mends it, so
//! that an invoice is refused before its number is spent. [`embed`] makes the hybrid PDF of a CII. [`validate`] reads
//! UBL, CII or a hybrid of any maker in bounded time and memory.
//!
//! Everything is a function of its arguments: no clock, no network, and no file but the one that [`run_cli`] is given.
//! The crates that know the model and the two syntaxes stay behind these types; rules that they lack are here, each
//! under its official id, and CI lets the official rules judge what is written.
//!
//! | Module | Owns |
//! |---|---|
//! | [`document`] | what the server fills in |
//! | [`format`] | names of formats, and which profile a document gets |
//! | [`unit`] | from labels of units to codes of UN/ECE Recommendation 20 |
//! | [`violation`] | a broken rule, and what mends it |

#![forbid(unsafe_code)]
#![deny(missing_docs, clippy::float_arithmetic)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod cli;
mod hybrid;
mod mapping;
mod read;
mod rules;
mod write;

#[cfg(feature = "cases")]
#[expect(clippy::arithmetic_side_effects, reason = "amounts of the cases are small")]
pub mod cases;
pub mod document;
pub mod format;
pub mod unit;
pub mod violation;

pub use cli::run_cli;
pub use document::{Document, Kind, Line, Party, Payment, Preceding, Vat, VatGroup};
pub use format::{Format, Profile};
pub use hybrid::{EmbedError, embed, extract};
pub use read::{Claim, Limits, Report, Syntax, Unreadable, validate};
pub use violation::{Severity, Violation};
pub use write::{Built, build};
