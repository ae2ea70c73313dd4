//! The pure rules of the billing control plane: money, prices, periods, states, tax, invoices and the ledger.
//!
//! Everything here is a function of its arguments. There is no clock, no I/O, no async and no float, so that a
//! rule can be tested alone, and an amount that was computed once can be computed again for an auditor. The
//! server loads rows, calls this crate and stores what it answers; it holds no rule of its own.
//!
//! | Module | Owns |
//! |---|---|
//! | [`money`] | amounts, currencies, rounding, allocation by largest remainder |
//! | [`proration`] | the share of a period, by seconds; plan changes |
//! | [`period`] | billing periods and usage months in a timezone |
//! | [`subscription`] | states, the transition table, plan changes |
//! | [`dunning`], [`trial`] | what happens with unpaid invoices and before the end of a trial, and when |
//! | [`mrr`], [`pack`], [`cost`] | recurring revenue, packs, what a partner pays to the platform |
//! | [`tiers`], [`explanation`] | prices of usage, and how a line was computed |
//! | [`usage`], [`quota`] | what an event may be, how events are summed, limits |
//! | [`tax`] | territories, rates, the VAT decision, tax of a document |
//! | [`invoice`] | states, numbers, line amounts, the balance of a document |
//! | [`credit_note`], [`settlement`] | what is taken back of an invoice; how money, credit and write-offs settle it |
//! | [`ledger`] | accounts and balanced journals |
//! | [`topic`], [`ids`] | event topics, identifiers, slugs, IBAN and the like |

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

mod text;
mod wide;

pub mod cost;
pub mod credit_note;
pub mod dunning;
pub mod explanation;
pub mod ids;
pub mod invoice;
pub mod ledger;
pub mod money;
pub mod mrr;
pub mod pack;
pub mod period;
pub mod proration;
pub mod quota;
pub mod settlement;
pub mod subscription;
pub mod tax;
pub mod tiers;
pub mod topic;
pub mod trial;
pub mod usage;

pub use text::UnknownText;

use serde::{Deserialize, Serialize};

/// What is wrong with one field of one row of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("[{index}].{field}: {message}")]
pub struct FieldError {
    /// Position of the row in the list that was checked, from 0.
    pub index: usize,
    /// Name of the field.
    pub field: String,
    /// What must be different, for a person.
    pub message: String,
}

impl FieldError {
    pub(crate) fn at(index: usize, field: &str, message: impl Into<String>) -> Self {
        Self { index, field: field.to_owned(), message: message.into() }
    }
}
