//! Owns hybrids: a PDF/A-3 that holds its own invoice as CII (ZUGFeRD, Factur-X).

use chrono::{DateTime, Utc};
use en16931::profiles::En16931;
use en16931::validation::profile::Validated;
use en16931_formats::zugferd::{self, EmbedOptions, Relationship};

use crate::read::{self, Limits, Unreadable};

/// Why there is no hybrid.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The XML is not one that [`build`](crate::build) made for [`Profile::Facturx`](crate::Profile::Facturx).
    #[error("the invoice is not a CII of EN 16931 that we wrote: {0}")]
    Invoice(String),
    /// The PDF is not a PDF/A-3, or holds an invoice already.
    #[error("the PDF cannot hold an invoice: {0}")]
    Pdf(String),
}

/// Puts a CII into a PDF/A-3: `factur-x.xml`, related as `Alternative`, with the metadata of the profile `EN 16931`.
///
/// `cii` are the bytes of [`build`](crate::build) with [`Profile::Facturx`](crate::Profile::Facturx), now or from the
/// archive; they are what the hybrid holds, to the byte. `modified` is the date that the attachment shows: the same
/// arguments make the same bytes.
///
/// # Errors
/// [`EmbedError`].
pub fn embed(pdf_a3: &[u8], cii: &[u8], modified: DateTime<Utc>) -> Result<Vec<u8>, EmbedError> {
    let unreadable = |error: Unreadable| EmbedError::Invoice(error.to_string());
    let read = read::model(cii, &Limits::default()).map_err(unreadable)?;
    let proof = Validated::<En16931>::new(read.invoice)
        .map_err(|_| EmbedError::Invoice("it breaks rules of EN 16931".into()))?;
    let options = EmbedOptions {
        relationship: Relationship::Alternative,
        metadata: None,
        modified: Some(modified.into()),
    };
    let hybrid =
        zugferd::embed(pdf_a3, &proof, &options).map_err(|error| EmbedError::Pdf(error.to_string()))?;
    // The library writes the XML anew; the archived one is the original, so it has to be the same.
    let held = extract(&hybrid, &Limits::default()).map_err(unreadable)?;
    if held == cii {
        Ok(hybrid)
    } else {
        Err(EmbedError::Invoice("it would not be the same in the PDF".into()))
    }
}

/// The XML that a hybrid holds, as it is.
///
/// # Errors
/// [`Unreadable`] for what is not a PDF, holds no invoice or inflates beyond the limits.
pub fn extract(pdf: &[u8], limits: &Limits) -> Result<Vec<u8>, Unreadable> {
    limits.check_size(pdf.len())?;
    let bounds = zugferd::Limits::new()
        .with_max_stream_bytes(limits.max_bytes)
        .with_max_total_bytes(limits.max_bytes.saturating_mul(2));
    let found = zugferd::extract(pdf, &bounds).map_err(|error| Unreadable::Pdf(error.to_string()))?;
    Ok(found.xml)
}
