//! Owns the names of formats, and which concrete profile a document gets in each.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::document::Document;

/// A format, as the API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// UBL 2.1: Peppol BIS Billing 3 when both parties have a Peppol id, else EN 16931.
    Ubl,
    /// XRechnung 3.0, in UBL.
    Xrechnung,
    /// UN/CEFACT CII, EN 16931.
    Cii,
    /// ZUGFeRD: the same as `facturx`.
    Zugferd,
    /// Factur-X: CII of the profile EN 16931 in a PDF/A-3.
    Facturx,
}

/// A text that names no format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of ubl, xrechnung, cii, zugferd, facturx")]
pub struct UnknownFormat;

impl Format {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Ubl, Self::Xrechnung, Self::Cii, Self::Zugferd, Self::Facturx];

    /// Its name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ubl => "ubl",
            Self::Xrechnung => "xrechnung",
            Self::Cii => "cii",
            Self::Zugferd => "zugferd",
            Self::Facturx => "facturx",
        }
    }

    /// Whether the file is a PDF that holds the XML.
    pub const fn is_hybrid(self) -> bool {
        matches!(self, Self::Zugferd | Self::Facturx)
    }

    /// The profile of a document in this format.
    ///
    /// `ubl` becomes Peppol BIS only for a business buyer: consumers are reached by mail.
    pub fn profile(self, document: &Document) -> Profile {
        let in_peppol = |id: &Option<String>, scheme: &Option<String>| {
            [id, scheme].iter().all(|text| text.as_deref().is_some_and(|text| !text.trim().is_empty()))
        };
        let (seller, buyer) = (&document.seller, &document.buyer);
        match self {
            Self::Ubl
                if buyer.is_business != Some(false)
                    && in_peppol(&seller.peppol_id, &seller.peppol_scheme)
                    && in_peppol(&buyer.peppol_id, &buyer.peppol_scheme) =>
            {
                Profile::PeppolBis3
            }
            Self::Ubl => Profile::Ubl,
            Self::Xrechnung => Profile::XrechnungUbl,
            Self::Cii => Profile::Cii,
            Self::Zugferd | Self::Facturx => Profile::Facturx,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or(UnknownFormat)
    }
}

/// A syntax with the set of rules that a document keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// EN 16931 in UBL 2.1.
    Ubl,
    /// Peppol BIS Billing 3.0 (UBL 2.1).
    PeppolBis3,
    /// EN 16931 in CII.
    Cii,
    /// XRechnung 3.0 in UBL 2.1.
    XrechnungUbl,
    /// XRechnung 3.0 in CII.
    XrechnungCii,
    /// The CII of a ZUGFeRD or Factur-X hybrid, profile EN 16931.
    Facturx,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 6] =
        [Self::Ubl, Self::PeppolBis3, Self::Cii, Self::XrechnungUbl, Self::XrechnungCii, Self::Facturx];

    /// A name of it, for file names and columns.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ubl => "ubl",
            Self::PeppolBis3 => "peppol_bis3",
            Self::Cii => "cii",
            Self::XrechnungUbl => "xrechnung_ubl",
            Self::XrechnungCii => "xrechnung_cii",
            Self::Facturx => "facturx",
        }
    }

    pub(crate) const fn is_cii(self) -> bool {
        matches!(self, Self::Cii | Self::XrechnungCii | Self::Facturx)
    }

    pub(crate) const fn is_xrechnung(self) -> bool {
        matches!(self, Self::XrechnungUbl | Self::XrechnungCii)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
