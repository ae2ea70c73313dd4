//! Owns which places belong to the VAT territory of the EU, and under which state.
//!
//! A country code is not enough: some regions of member states are outside, and are told by their postal code;
//! some have codes of their own. For services Northern Ireland (`XI`) is treated as Great Britain: outside.

use crate::ids;
use crate::text::text_enum;

text_enum! {
    /// A member state of the EU, by its code of ISO 3166-1. Greece is `GR` here, `EL` in VAT numbers.
    EuCountry, "EU member state" {
        /// Austria.
        At = "AT",
        /// Belgium.
        Be = "BE",
        /// Bulgaria.
        Bg = "BG",
        /// Cyprus.
        Cy = "CY",
        /// Czechia.
        Cz = "CZ",
        /// Germany.
        De = "DE",
        /// Denmark.
        Dk = "DK",
        /// Estonia.
        Ee = "EE",
        /// Spain.
        Es = "ES",
        /// Finland.
        Fi = "FI",
        /// France, and Monaco.
        Fr = "FR",
        /// Greece.
        Gr = "GR",
        /// Croatia.
        Hr = "HR",
        /// Hungary.
        Hu = "HU",
        /// Ireland.
        Ie = "IE",
        /// Italy.
        It = "IT",
        /// Lithuania.
        Lt = "LT",
        /// Luxembourg.
        Lu = "LU",
        /// Latvia.
        Lv = "LV",
        /// Malta.
        Mt = "MT",
        /// The Netherlands.
        Nl = "NL",
        /// Poland.
        Pl = "PL",
        /// Portugal.
        Pt = "PT",
        /// Romania.
        Ro = "RO",
        /// Sweden.
        Se = "SE",
        /// Slovenia.
        Si = "SI",
        /// Slovakia.
        Sk = "SK",
    }
}

/// Where a party is, for VAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Territory {
    /// Inside, under this state.
    Eu(EuCountry),
    /// Outside.
    Outside,
}

impl Territory {
    /// The taxing state, when inside.
    pub const fn eu(self) -> Option<EuCountry> {
        match self {
            Self::Eu(country) => Some(country),
            Self::Outside => None,
        }
    }
}

/// Regions of member states that are outside, by the first digits of their five-digit postal code.
const OUTSIDE_BY_POSTAL_CODE: &[(EuCountry, &[&str])] = &[
    // Las Palmas and Santa Cruz de Tenerife (Canary Islands), Ceuta, Melilla.
    (EuCountry::Es, &["35", "38", "51", "52"]),
    // Heligoland, Büsingen.
    (EuCountry::De, &["27498", "78266"]),
    // Campione d'Italia, Livigno.
    (EuCountry::It, &["22061", "23041"]),
    // Åland.
    (EuCountry::Fi, &["22"]),
    // Mount Athos.
    (EuCountry::Gr, &["63086"]),
    // Overseas departments and territories, when they are written with the code of France.
    (EuCountry::Fr, &["971", "972", "973", "974", "975", "976", "977", "978", "986", "987", "988"]),
];

/// The VAT territory of an address; `None` for a country code that does not exist.
///
/// `EL` is read as Greece. Everything in the postal code but its digits is ignored (`E-35001`, `630 86`).
pub fn territory(country_code: &str, postal_code: &str) -> Option<Territory> {
    let code = ids::normalize_country(country_code)?;
    // Monaco belongs to the territory of France; its postal codes (98000) are not French overseas ones.
    if code == "MC" {
        return Some(Territory::Eu(EuCountry::Fr));
    }
    // Not only GB and XI but also GP, MQ, GF, RE, YT and AX: their codes are not those of a member state.
    let Ok(country) = code.parse::<EuCountry>() else {
        return Some(Territory::Outside);
    };
    let digits: String = postal_code.chars().filter(char::is_ascii_digit).collect();
    let outside = digits.len() == 5
        && OUTSIDE_BY_POSTAL_CODE
            .iter()
            .filter(|(of, _)| *of == country)
            .any(|(_, prefixes)| prefixes.iter().any(|prefix| digits.starts_with(prefix)));
    Some(if outside { Territory::Outside } else { Territory::Eu(country) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let cases = [
            ("NL", "1012 AB", Some("NL")),
            ("GR", "105 57", Some("GR")),
            ("EL", "10557", Some("GR")),
            ("GR", "630 86", None),
            ("GR", "63087", Some("GR")),
            ("ES", "28001", Some("ES")),
            ("ES", "35001", None),
            ("ES", "E-38001", None),
            ("ES", "51001", None),
            ("ES", "52001", None),
            ("ES", "35", Some("ES")),
            ("DE", "27498", None),
            ("DE", "D-78266", None),
            ("DE", "27499", Some("DE")),
            ("DE", "35037", Some("DE")),
            ("IT", "22061", None),
            ("IT", "23041", None),
            ("IT", "22060", Some("IT")),
            ("FI", "22100", None),
            ("FI", "FI-22100", None),
            ("FI", "00100", Some("FI")),
            ("FR", "75001", Some("FR")),
            ("FR", "97400", None),
            ("FR", "98000", Some("FR")),
            ("MC", "98000", Some("FR")),
            ("GP", "97100", None),
            ("MQ", "", None),
            ("GF", "", None),
            ("RE", "97400", None),
            ("YT", "", None),
            ("AX", "22100", None),
            ("XI", "BT1 5GS", None),
            ("GB", "SW1A 1AA", None),
            ("US", "10001", None),
            ("CH", "8001", None),
            ("NO", "0150", None),
        ];
        for (country, postal_code, want) in cases {
            let got = territory(country, postal_code).expect("a country").eu().map(EuCountry::as_str);
            assert_eq!(got, want, "{country} {postal_code}");
        }
        for unknown in ["", "ZZ", "nl", "NLD", "EU"] {
            assert_eq!(territory(unknown, "1000"), None, "{unknown}");
        }
    }
}
