//! Owns the check of VAT numbers: form and checksum, offline. Whether a number is registered is asked elsewhere.
//!
//! The crate that knows the 28 national rules stays behind [`VatNumber::parse`].

use std::fmt;

use crate::tax::territory::EuCountry;
use crate::text::{serde_as_text, text_enum};

text_enum! {
    /// What the register of VAT numbers (VIES) last said about one.
    VatStatus, "status of a VAT number" {
        /// Never asked.
        Unchecked = "unchecked",
        /// Registered.
        Valid = "valid",
        /// Not registered.
        Invalid = "invalid",
        /// The register did not answer; that says nothing about the number.
        Unavailable = "unavailable",
    }
}

/// Why a text is not a VAT number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VatNumberError {
    /// It does not start with the prefix of a member state, or `XI`.
    #[error("the number must start with the two letters of an EU member state")]
    UnknownCountry,
    /// Form or length are not those of its country.
    #[error("the number does not have the form of its country: {0}")]
    Form(String),
    /// The check digit does not fit.
    #[error("the check digit of the number is wrong")]
    Checksum,
}

/// A VAT number of a member state or of Northern Ireland, with a valid checksum, in its canonical form: prefix
/// (`EL` for Greece), no separators, upper case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VatNumber {
    canonical: String,
    country: Option<EuCountry>,
}

impl VatNumber {
    /// Parses a number as people write it: spaces, dots, hyphens and lower case are accepted, `GR` means `EL`.
    ///
    /// # Errors
    /// [`VatNumberError`].
    pub fn parse(text: &str) -> Result<Self, VatNumberError> {
        // No number has other characters, and the parser cuts its text at bytes.
        if !text.is_ascii() {
            let has_prefix = text.trim().chars().take(2).all(|c| c.is_ascii_alphabetic());
            let form = VatNumberError::Form("it holds other characters than letters and digits".into());
            return Err(if has_prefix { form } else { VatNumberError::UnknownCountry });
        }
        let number = eu_vat::Vat::parse(text.trim()).map_err(|error| match error {
            eu_vat::Error::UnknownCountry(_) | eu_vat::Error::Empty => VatNumberError::UnknownCountry,
            eu_vat::Error::BadChecksum => VatNumberError::Checksum,
            other => VatNumberError::Form(other.to_string()),
        })?;
        let country = match number.country().code() {
            "EL" => Some(EuCountry::Gr),
            code => code.parse().ok(),
        };
        Ok(Self { canonical: number.to_string(), country })
    }

    /// The canonical form, for instance `NL004495445B01`.
    pub fn as_str(&self) -> &str {
        &self.canonical
    }

    /// The member state; `None` for Northern Ireland.
    pub fn country(&self) -> Option<EuCountry> {
        self.country
    }
}

impl fmt::Display for VatNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical)
    }
}

impl std::str::FromStr for VatNumber {
    type Err = VatNumberError;

    fn from_str(text: &str) -> Result<Self, VatNumberError> {
        Self::parse(text)
    }
}

serde_as_text!(VatNumber);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers() {
        let cases = [
            ("NL004495445B01", "NL004495445B01", Some(EuCountry::Nl)),
            ("nl 0044.95.445.b01", "NL004495445B01", Some(EuCountry::Nl)),
            ("DE 136 695 976", "DE136695976", Some(EuCountry::De)),
            ("EL094259216", "EL094259216", Some(EuCountry::Gr)),
            ("GR094259216", "EL094259216", Some(EuCountry::Gr)),
            ("XI110305878", "XI110305878", None),
            ("ATU13585627", "ATU13585627", Some(EuCountry::At)),
        ];
        for (text, canonical, country) in cases {
            let number = VatNumber::parse(text).expect(text);
            assert_eq!((number.as_str(), number.country()), (canonical, country), "{text}");
        }
        assert_eq!(VatNumber::parse("DE136695970"), Err(VatNumberError::Checksum));
        assert!(matches!(VatNumber::parse("DE1366959"), Err(VatNumberError::Form(_))));
        for unknown in ["", "GB110305878", "CHE123456789", "US1234", "éé123", "é1"] {
            assert_eq!(VatNumber::parse(unknown), Err(VatNumberError::UnknownCountry), "{unknown}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_canonical_is_stable(text in "([A-Z]{2})?\\PC{0,14}") {
            if let Ok(number) = VatNumber::parse(&text) {
                prop_assert_eq!(VatNumber::parse(number.as_str()), Ok(number));
            }
        }
    }
}
