//! Owns the writing of XML: map, check every rule, and only then write.

use en16931::profiles::{En16931, PeppolBis3, XRechnung};
use en16931::validation::profile::{ProfileMarker, Validated};
use en16931_formats::Syntax;

use crate::document::Document;
use crate::format::Profile;
use crate::violation::{Severity, Violation};
use crate::{mapping, rules};

/// The largest document that is written: that of the API.
pub(crate) const LINES_MAX: usize = 10_000;

/// A written e-invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The XML, UTF-8.
    pub bytes: Vec<u8>,
    /// What it keeps the rules of.
    pub profile: Profile,
    /// Its media type.
    pub media_type: &'static str,
    /// A name for the file: the number with `.xml`.
    pub file_name: String,
    /// Rules that only advise, and are broken.
    pub warnings: Vec<Violation>,
}

/// Writes a document as XML of a profile.
///
/// # Errors
/// Everything that is broken, fatal rules first, when any rule is that makes the document invalid.
pub fn build(document: &Document, profile: Profile) -> Result<Built, Vec<Violation>> {
    if LINES_MAX < document.lines.len() {
        let path = en16931::Path::group(en16931::Group::Line);
        return Err(vec![Violation::new("LINES", Severity::Fatal, path, "more than 10,000 lines")]);
    }
    let invoice = mapping::invoice(document, profile).map_err(|violation| vec![violation])?;
    let warnings = rules::check(&invoice, rules::of(profile));
    if warnings.iter().any(|violation| violation.severity == Severity::Fatal) {
        return Err(warnings);
    }
    let syntax = if profile.is_cii() { Syntax::Cii } else { Syntax::Ubl };
    // The rules ran above, with ours; this proof is the library's condition for writing.
    let xml = match profile {
        Profile::Ubl | Profile::Cii | Profile::Facturx => xml::<En16931>(invoice, syntax),
        Profile::PeppolBis3 => xml::<PeppolBis3>(invoice, syntax),
        Profile::XrechnungUbl | Profile::XrechnungCii => xml::<XRechnung>(invoice, syntax),
    }?;
    Ok(Built {
        bytes: xml.into_bytes(),
        profile,
        media_type: "application/xml",
        file_name: format!("{}.xml", safe_name(&document.number)),
        warnings,
    })
}

fn xml<P: ProfileMarker>(invoice: en16931::Invoice, syntax: Syntax) -> Result<String, Vec<Violation>> {
    let proof = Validated::<P>::new(invoice)
        .map_err(|rejected| rejected.report().findings().iter().map(Violation::of).collect::<Vec<_>>())?;
    let written = en16931_formats::write(&proof, syntax);
    // What a syntax cannot say is a defect of the mapping; a document that lacks something is never handed out.
    let lost: Vec<Violation> =
        written.entries.iter().filter(|entry| entry.is_loss()).map(rules::of_entry).collect();
    if lost.is_empty() { Ok(written.xml) } else { Err(lost) }
}

/// A number as a file name: what is neither letter, digit, `-`, `_` nor `.` becomes `_`.
fn safe_name(number: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    number.chars().take(60).map(safe).collect()
}
