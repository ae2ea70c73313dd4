//! Documents of every case that must hold in every profile: for tests, benchmarks and the outside judges.
//!
//! Their tax is decided and computed by the rules that the server uses, so that a case shows what would be issued.

mod credit;
mod given;
mod invoices;
mod parties;

use crate::document::Document;
use crate::format::Profile;

pub use given::{Given, GivenLine, line};

/// A case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name, fit for a file.
    pub name: &'static str,
    /// The document.
    pub document: Document,
}

impl Case {
    /// The profiles in which the case can be written. Peppol cannot carry a consumer who is not in it.
    pub fn profiles(&self) -> impl Iterator<Item = Profile> {
        let consumer = self.document.buyer.is_business == Some(false);
        Profile::ALL.into_iter().filter(move |profile| !(consumer && *profile == Profile::PeppolBis3))
    }
}

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases = invoices::all();
    cases.extend(credit::all());
    cases
}
