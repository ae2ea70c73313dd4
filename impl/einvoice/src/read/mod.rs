//! Owns the reading of e-invoices that anybody made.
//!
//! Nothing is parsed before a scan has shown that it is bounded: size, nesting, numbers of elements, attributes and
//! namespaces, repetition, and no document type. The parser and the rules are then linear in what is left.

mod presence;
mod scan;

use en16931::Invoice;
use en16931::profiles::{self, Declaration, EN16931};
use en16931_formats as formats;
use serde::{Deserialize, Serialize};

use crate::violation::{Severity, Violation};
use crate::{hybrid, rules};

/// What is read at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the file, and of the XML in a hybrid.
    pub max_bytes: usize,
    /// How deep elements nest.
    pub max_depth: usize,
    /// Elements.
    pub max_elements: usize,
    /// Violations that a report lists; what is beyond is counted.
    pub max_violations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 20 << 20, max_depth: 40, max_elements: 200_000, max_violations: 1_000 }
    }
}

impl Limits {
    pub(crate) fn check_size(&self, bytes: usize) -> Result<(), Unreadable> {
        if self.max_bytes < bytes { Err(Unreadable::TooLarge { max: self.max_bytes }) } else { Ok(()) }
    }
}

/// Why a file is not an invoice that can be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It could not be opened.
    #[error("cannot be opened: {0}")]
    File(String),
    /// More than the limit of bytes.
    #[error("larger than {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// More of something than any invoice has.
    #[error("more {what} than the limit of {max}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// It has a document type, which could define entities.
    #[error("a document type (DOCTYPE) is not accepted")]
    DocumentType,
    /// Neither UTF-8 nor UTF-16 with a byte order mark.
    #[error("{0}")]
    Encoding(String),
    /// Not well-formed XML.
    #[error("not well-formed XML: {0}")]
    Xml(String),
    /// XML, and no invoice.
    #[error("{0}")]
    NotAnInvoice(String),
    /// A PDF without an invoice that can be read.
    #[error("no invoice can be read from the PDF: {0}")]
    Pdf(String),
}

/// In which syntax a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Syntax {
    /// UBL 2.1.
    Ubl,
    /// UN/CEFACT CII.
    Cii,
}

/// Which rules a document says that it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// EN 16931 alone.
    En16931,
    /// Peppol BIS Billing 3.
    PeppolBis3,
    /// XRechnung 3.0, or one of its variants.
    Xrechnung,
    /// A profile of Factur-X other than EN 16931.
    Facturx,
    /// Something else, or nothing: it is judged by EN 16931.
    Unknown,
}

/// What was found in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its syntax.
    pub syntax: Syntax,
    /// Type code (BT-3).
    pub type_code: Option<String>,
    /// Number (BT-1).
    pub number: Option<String>,
    /// What it says to be.
    pub claim: Claim,
    /// The identifier that says so (BT-24).
    pub specification: Option<String>,
    /// Name of the rules that it was judged by.
    pub rules: String,
    /// Whether no fatal rule is broken.
    pub valid: bool,
    /// Broken rules, fatal ones first.
    pub violations: Vec<Violation>,
    /// How many more there are than are listed.
    pub omitted: usize,
}

/// Reads a UBL or CII document, or a hybrid PDF, and checks the rules that it claims.
///
/// # Errors
/// [`Unreadable`] for what cannot be judged at all.
pub fn validate(bytes: &[u8], limits: &Limits) -> Result<Report, Unreadable> {
    limits.check_size(bytes.len())?;
    let held;
    let xml = if bytes.starts_with(b"%PDF") {
        held = hybrid::extract(bytes, limits)?;
        held.as_slice()
    } else {
        bytes
    };
    let (read, empty) = scanned(xml, limits)?;
    let declared = profiles::classify(read.invoice.specification_id.as_deref());
    let judged_by = declared.profile().unwrap_or(&EN16931);
    let mut violations: Vec<Violation> = read.entries.iter().map(rules::of_entry).collect();
    violations.extend(rules::check(&read.invoice, judged_by));
    rules::check_empty(&empty, judged_by, &mut violations);
    presence::check(xml, judged_by, limits.max_violations, &mut violations);
    // What they mend is nothing of ours.
    violations.iter_mut().for_each(|violation| violation.mend = None);
    violations.sort_by_key(|violation| violation.severity);
    let valid = violations.first().is_none_or(|violation| violation.severity != Severity::Fatal);
    let omitted = violations.len().saturating_sub(limits.max_violations);
    violations.truncate(limits.max_violations);
    let Invoice { specification_id, number, type_code, .. } = read.invoice;
    Ok(Report {
        syntax: if read.syntax == formats::Syntax::Ubl { Syntax::Ubl } else { Syntax::Cii },
        type_code: type_code.map(String::from),
        number,
        claim: claim(&declared),
        specification: specification_id,
        rules: judged_by.id.to_owned(),
        valid,
        violations,
        omitted,
    })
}

fn claim(declared: &Declaration) -> Claim {
    match declared.profile().map(|profile| profile.slug) {
        None => Claim::Unknown,
        Some("en16931") => Claim::En16931,
        Some("peppol") => Claim::PeppolBis3,
        Some(slug) if slug.starts_with("xrechnung") => Claim::Xrechnung,
        Some(_) => Claim::Facturx,
    }
}

/// The model of an XML document, after the scan.
pub(crate) fn model(xml: &[u8], limits: &Limits) -> Result<formats::Read, Unreadable> {
    scanned(xml, limits).map(|(read, _)| read)
}

/// The model, and the names of empty elements.
fn scanned(xml: &[u8], limits: &Limits) -> Result<(formats::Read, Vec<String>), Unreadable> {
    limits.check_size(xml.len())?;
    let empty = scan::scan(xml, limits)?;
    let read = formats::read(xml).map_err(|error| match error {
        formats::Error::Encoding { .. } => Unreadable::Encoding(error.to_string()),
        formats::Error::NotAnInvoice { .. } => Unreadable::NotAnInvoice(error.to_string()),
        formats::Error::TooDeep { limit, .. } => Unreadable::TooMuch { what: "nesting", max: limit },
        formats::Error::Xml { message, line, column } => {
            Unreadable::Xml(format!("{message} at line {line}, column {column}"))
        }
        other => Unreadable::Xml(other.to_string()),
    })?;
    Ok((read, empty))
}
