//! Owns the names of countries, in the languages of documents.

use super::Language;

/// ISO code, then the name in English, Dutch, German, French, Spanish and Italian; sorted by code.
#[rustfmt::skip]
const NAMES: &[(&str, [&str; 6])] = &[
    ("AD", ["Andorra", "Andorra", "Andorra", "Andorre", "Andorra", "Andorra"]),
    ("AE", ["United Arab Emirates", "Verenigde Arabische Emiraten", "Vereinigte Arabische Emirate", "Émirats arabes unis", "Emiratos Árabes Unidos", "Emirati Arabi Uniti"]),
    ("AL", ["Albania", "Albanië", "Albanien", "Albanie", "Albania", "Albania"]),
    ("AM", ["Armenia", "Armenië", "Armenien", "Arménie", "Armenia", "Armenia"]),
    ("AR", ["Argentina", "Argentinië", "Argentinien", "Argentine", "Argentina", "Argentina"]),
    ("AT", ["Austria", "Oostenrijk", "Österreich", "Autriche", "Austria", "Austria"]),
    ("AU", ["Australia", "Australië", "Australien", "Australie", "Australia", "Australia"]),
    ("AZ", ["Azerbaijan", "Azerbeidzjan", "Aserbaidschan", "Azerbaïdjan", "Azerbaiyán", "Azerbaigian"]),
    ("BA", ["Bosnia & Herzegovina", "Bosnië en Herzegovina", "Bosnien und Herzegowina", "Bosnie-Herzégovine", "Bosnia y Herzegovina", "Bosnia ed Erzegovina"]),
    ("BD", ["Bangladesh", "Bangladesh", "Bangladesch", "Bangladesh", "Bangladés", "Bangladesh"]),
    ("BE", ["Belgium", "België", "Belgien", "Belgique", "Bélgica", "Belgio"]),
    ("BG", ["Bulgaria", "Bulgarije", "Bulgarien", "Bulgarie", "Bulgaria", "Bulgaria"]),
    ("BR", ["Brazil", "Brazilië", "Brasilien", "Brésil", "Brasil", "Brasile"]),
    ("CA", ["Canada", "Canada", "Kanada", "Canada", "Canadá", "Canada"]),
    ("CH", ["Switzerland", "Zwitserland", "Schweiz", "Suisse", "Suiza", "Svizzera"]),
    ("CL", ["Chile", "Chili", "Chile", "Chili", "Chile", "Cile"]),
    ("CN", ["China", "China", "China", "Chine", "China", "Cina"]),
    ("CO", ["Colombia", "Colombia", "Kolumbien", "Colombie", "Colombia", "Colombia"]),
    ("CY", ["Cyprus", "Cyprus", "Zypern", "Chypre", "Chipre", "Cipro"]),
    ("CZ", ["Czechia", "Tsjechië", "Tschechien", "Tchéquie", "Chequia", "Cechia"]),
    ("DE", ["Germany", "Duitsland", "Deutschland", "Allemagne", "Alemania", "Germania"]),
    ("DK", ["Denmark", "Denemarken", "Dänemark", "Danemark", "Dinamarca", "Danimarca"]),
    ("EE", ["Estonia", "Estland", "Estland", "Estonie", "Estonia", "Estonia"]),
    ("EG", ["Egypt", "Egypte", "Ägypten", "Égypte", "Egipto", "Egitto"]),
    ("ES", ["Spain", "Spanje", "Spanien", "Espagne", "España", "Spagna"]),
    ("FI", ["Finland", "Finland", "Finnland", "Finlande", "Finlandia", "Finlandia"]),
    ("FR", ["France", "Frankrijk", "Frankreich", "France", "Francia", "Francia"]),
    ("GB", ["United Kingdom", "Verenigd Koninkrijk", "Vereinigtes Königreich", "Royaume-Uni", "Reino Unido", "Regno Unito"]),
    ("GE", ["Georgia", "Georgië", "Georgien", "Géorgie", "Georgia", "Georgia"]),
    ("GF", ["French Guiana", "Frans-Guyana", "Französisch-Guayana", "Guyane française", "Guayana Francesa", "Guyana Francese"]),
    ("GG", ["Guernsey", "Guernsey", "Guernsey", "Guernesey", "Guernesey", "Guernsey"]),
    ("GH", ["Ghana", "Ghana", "Ghana", "Ghana", "Ghana", "Ghana"]),
    ("GI", ["Gibraltar", "Gibraltar", "Gibraltar", "Gibraltar", "Gibraltar", "Gibilterra"]),
    ("GP", ["Guadeloupe", "Guadeloupe", "Guadeloupe", "Guadeloupe", "Guadalupe", "Guadalupa"]),
    ("GR", ["Greece", "Griekenland", "Griechenland", "Grèce", "Grecia", "Grecia"]),
    ("HK", ["Hong Kong", "Hongkong", "Hongkong", "Hong Kong", "Hong Kong", "Hong Kong"]),
    ("HR", ["Croatia", "Kroatië", "Kroatien", "Croatie", "Croacia", "Croazia"]),
    ("HU", ["Hungary", "Hongarije", "Ungarn", "Hongrie", "Hungría", "Ungheria"]),
    ("ID", ["Indonesia", "Indonesië", "Indonesien", "Indonésie", "Indonesia", "Indonesia"]),
    ("IE", ["Ireland", "Ierland", "Irland", "Irlande", "Irlanda", "Irlanda"]),
    ("IL", ["Israel", "Israël", "Israel", "Israël", "Israel", "Israele"]),
    ("IM", ["Isle of Man", "Isle of Man", "Isle of Man", "Île de Man", "Isla de Man", "Isola di Man"]),
    ("IN", ["India", "India", "Indien", "Inde", "India", "India"]),
    ("IS", ["Iceland", "IJsland", "Island", "Islande", "Islandia", "Islanda"]),
    ("IT", ["Italy", "Italië", "Italien", "Italie", "Italia", "Italia"]),
    ("JE", ["Jersey", "Jersey", "Jersey", "Jersey", "Jersey", "Jersey"]),
    ("JO", ["Jordan", "Jordanië", "Jordanien", "Jordanie", "Jordania", "Giordania"]),
    ("JP", ["Japan", "Japan", "Japan", "Japon", "Japón", "Giappone"]),
    ("KE", ["Kenya", "Kenia", "Kenia", "Kenya", "Kenia", "Kenya"]),
    ("KR", ["South Korea", "Zuid-Korea", "Südkorea", "Corée du Sud", "Corea del Sur", "Corea del Sud"]),
    ("KW", ["Kuwait", "Koeweit", "Kuwait", "Koweït", "Kuwait", "Kuwait"]),
    ("KZ", ["Kazakhstan", "Kazachstan", "Kasachstan", "Kazakhstan", "Kazajistán", "Kazakistan"]),
    ("LI", ["Liechtenstein", "Liechtenstein", "Liechtenstein", "Liechtenstein", "Liechtenstein", "Liechtenstein"]),
    ("LK", ["Sri Lanka", "Sri Lanka", "Sri Lanka", "Sri Lanka", "Sri Lanka", "Sri Lanka"]),
    ("LT", ["Lithuania", "Litouwen", "Litauen", "Lituanie", "Lituania", "Lituania"]),
    ("LU", ["Luxembourg", "Luxemburg", "Luxemburg", "Luxembourg", "Luxemburgo", "Lussemburgo"]),
    ("LV", ["Latvia", "Letland", "Lettland", "Lettonie", "Letonia", "Lettonia"]),
    ("MA", ["Morocco", "Marokko", "Marokko", "Maroc", "Marruecos", "Marocco"]),
    ("MC", ["Monaco", "Monaco", "Monaco", "Monaco", "Mónaco", "Monaco"]),
    ("MD", ["Moldova", "Moldavië", "Republik Moldau", "Moldavie", "Moldavia", "Moldavia"]),
    ("ME", ["Montenegro", "Montenegro", "Montenegro", "Monténégro", "Montenegro", "Montenegro"]),
    ("MK", ["North Macedonia", "Noord-Macedonië", "Nordmazedonien", "Macédoine du Nord", "Macedonia del Norte", "Macedonia del Nord"]),
    ("MQ", ["Martinique", "Martinique", "Martinique", "Martinique", "Martinica", "Martinica"]),
    ("MT", ["Malta", "Malta", "Malta", "Malte", "Malta", "Malta"]),
    ("MU", ["Mauritius", "Mauritius", "Mauritius", "Maurice", "Mauricio", "Mauritius"]),
    ("MX", ["Mexico", "Mexico", "Mexiko", "Mexique", "México", "Messico"]),
    ("MY", ["Malaysia", "Maleisië", "Malaysia", "Malaisie", "Malasia", "Malaysia"]),
    ("NG", ["Nigeria", "Nigeria", "Nigeria", "Nigeria", "Nigeria", "Nigeria"]),
    ("NL", ["Netherlands", "Nederland", "Niederlande", "Pays-Bas", "Países Bajos", "Paesi Bassi"]),
    ("NO", ["Norway", "Noorwegen", "Norwegen", "Norvège", "Noruega", "Norvegia"]),
    ("NZ", ["New Zealand", "Nieuw-Zeeland", "Neuseeland", "Nouvelle-Zélande", "Nueva Zelanda", "Nuova Zelanda"]),
    ("PE", ["Peru", "Peru", "Peru", "Pérou", "Perú", "Perù"]),
    ("PH", ["Philippines", "Filipijnen", "Philippinen", "Philippines", "Filipinas", "Filippine"]),
    ("PK", ["Pakistan", "Pakistan", "Pakistan", "Pakistan", "Pakistán", "Pakistan"]),
    ("PL", ["Poland", "Polen", "Polen", "Pologne", "Polonia", "Polonia"]),
    ("PT", ["Portugal", "Portugal", "Portugal", "Portugal", "Portugal", "Portogallo"]),
    ("QA", ["Qatar", "Qatar", "Katar", "Qatar", "Catar", "Qatar"]),
    ("RE", ["Réunion", "Réunion", "Réunion", "La Réunion", "Reunión", "Riunione"]),
    ("RO", ["Romania", "Roemenië", "Rumänien", "Roumanie", "Rumanía", "Romania"]),
    ("RS", ["Serbia", "Servië", "Serbien", "Serbie", "Serbia", "Serbia"]),
    ("SA", ["Saudi Arabia", "Saoedi-Arabië", "Saudi-Arabien", "Arabie saoudite", "Arabia Saudí", "Arabia Saudita"]),
    ("SE", ["Sweden", "Zweden", "Schweden", "Suède", "Suecia", "Svezia"]),
    ("SG", ["Singapore", "Singapore", "Singapur", "Singapour", "Singapur", "Singapore"]),
    ("SI", ["Slovenia", "Slovenië", "Slowenien", "Slovénie", "Eslovenia", "Slovenia"]),
    ("SK", ["Slovakia", "Slowakije", "Slowakei", "Slovaquie", "Eslovaquia", "Slovacchia"]),
    ("SM", ["San Marino", "San Marino", "San Marino", "Saint-Marin", "San Marino", "San Marino"]),
    ("TH", ["Thailand", "Thailand", "Thailand", "Thaïlande", "Tailandia", "Thailandia"]),
    ("TN", ["Tunisia", "Tunesië", "Tunesien", "Tunisie", "Túnez", "Tunisia"]),
    ("TR", ["Türkiye", "Turkije", "Türkei", "Turquie", "Turquía", "Turchia"]),
    ("TW", ["Taiwan", "Taiwan", "Taiwan", "Taïwan", "Taiwán", "Taiwan"]),
    ("UA", ["Ukraine", "Oekraïne", "Ukraine", "Ukraine", "Ucrania", "Ucraina"]),
    ("US", ["United States", "Verenigde Staten", "Vereinigte Staaten", "États-Unis", "Estados Unidos", "Stati Uniti"]),
    ("UY", ["Uruguay", "Uruguay", "Uruguay", "Uruguay", "Uruguay", "Uruguay"]),
    ("VA", ["Vatican City", "Vaticaanstad", "Vatikanstadt", "État de la Cité du Vatican", "Ciudad del Vaticano", "Città del Vaticano"]),
    ("VN", ["Vietnam", "Vietnam", "Vietnam", "Viêt Nam", "Vietnam", "Vietnam"]),
    ("XI", ["Northern Ireland", "Noord-Ierland", "Nordirland", "Irlande du Nord", "Irlanda del Norte", "Irlanda del Nord"]),
    ("XK", ["Kosovo", "Kosovo", "Kosovo", "Kosovo", "Kosovo", "Kosovo"]),
    ("YT", ["Mayotte", "Mayotte", "Mayotte", "Mayotte", "Mayotte", "Mayotte"]),
    ("ZA", ["South Africa", "Zuid-Afrika", "Südafrika", "Afrique du Sud", "Sudáfrica", "Sudafrica"]),
];

/// The name of a country in a language.
pub(super) fn name(language: Language, code: &str) -> String {
    let Ok(index) = NAMES.binary_search_by_key(&code, |(code, _)| *code) else {
        return rust_iso3166::from_alpha2(code)
            .map_or_else(|| code.to_owned(), |country| country.name.to_owned());
    };
    let column = match language {
        Language::En => 0,
        Language::Nl => 1,
        Language::De => 2,
        Language::Fr => 3,
        Language::Es => 4,
        Language::It => 5,
    };
    NAMES
        .get(index)
        .and_then(|(_, names)| names.get(column))
        .map_or_else(|| code.to_owned(), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_real() {
        assert!(NAMES.is_sorted_by(|left, right| left.0 < right.0));
        for (code, names) in NAMES {
            assert!(["XI", "XK"].contains(code) || rust_iso3166::from_alpha2(code).is_some(), "{code}");
            assert!(names.iter().all(|name| !name.is_empty()), "{code}");
        }
        for country in scaicontrol_domain::tax::EuCountry::ALL {
            let code = country.as_str();
            assert!(NAMES.iter().any(|(known, _)| *known == code), "{code}");
        }
    }

    #[test]
    fn unknown_ones_have_their_english_name() {
        assert_eq!(name(Language::De, "GR"), "Griechenland");
        assert_eq!(name(Language::De, "BT"), "Bhutan");
        assert_eq!(name(Language::De, "ZZ"), "ZZ");
    }
}
