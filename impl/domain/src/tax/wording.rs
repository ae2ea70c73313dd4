//! Owns the statutory sentences that are printed on a document, in the language of its template.
//!
//! They stand beside the note of the decision, which is the same in all languages.

use crate::tax::Category;
use crate::text::text_enum;

text_enum! {
    /// The languages in which we print documents and write mails.
    Language, "language" {
        /// English.
        En = "en",
        /// Dutch.
        Nl = "nl",
        /// German.
        De = "de",
        /// French.
        Fr = "fr",
        /// Spanish.
        Es = "es",
        /// Italian.
        It = "it",
    }
}

/// The sentence that the law wants for lines of this category; `None` where it wants none (`S`, `Z`) or where it is
/// the stated reason (`E`).
pub const fn wording(category: Category, language: Language) -> Option<&'static str> {
    Some(match (category, language) {
        (Category::ReverseCharge, Language::En) => "Reverse charge",
        (Category::ReverseCharge, Language::Nl) => "Btw verlegd",
        (Category::ReverseCharge, Language::De) => "Steuerschuldnerschaft des Leistungsempfängers",
        (Category::ReverseCharge, Language::Fr) => "Autoliquidation",
        (Category::ReverseCharge, Language::Es) => "Inversión del sujeto pasivo",
        (Category::ReverseCharge, Language::It) => "Inversione contabile",
        (Category::Export, Language::En) => "Supply outside the EU, VAT not applicable",
        (Category::Export, Language::Nl) => "Dienst buiten de EU, btw niet van toepassing",
        (Category::Export, Language::De) => "Leistung außerhalb der EU, nicht steuerbar",
        (Category::Export, Language::Fr) => "Prestation hors UE, TVA non applicable",
        (Category::Export, Language::Es) => "Operación fuera de la UE, no sujeta a IVA",
        (Category::Export, Language::It) => "Operazione fuori dall'UE, non soggetta a IVA",
        (Category::OutsideScope, Language::En) => "Not subject to VAT",
        (Category::OutsideScope, Language::Nl) => "Niet aan btw onderworpen",
        (Category::OutsideScope, Language::De) => "Nicht umsatzsteuerbar",
        (Category::OutsideScope, Language::Fr) => "Non soumis à la TVA",
        (Category::OutsideScope, Language::Es) => "No sujeto a IVA",
        (Category::OutsideScope, Language::It) => "Non soggetto a IVA",
        (Category::Standard | Category::ZeroRated | Category::Exempt | Category::IntraCommunity, _) => {
            return None;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_speaks_every_language() {
        for category in Category::ALL {
            let wanted =
                matches!(category, Category::ReverseCharge | Category::Export | Category::OutsideScope);
            for language in Language::ALL {
                assert_eq!(wording(*category, *language).is_some(), wanted, "{category} in {language}");
            }
        }
        assert_eq!(wording(Category::ReverseCharge, Language::Nl), Some("Btw verlegd"));
    }
}
