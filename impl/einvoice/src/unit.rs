//! Owns the way from the label of a unit, which people write freely, to its code in UN/ECE Recommendation 20.

/// "One": the code for everything that is counted and has no unit of its own.
pub const ONE: &str = "C62";

/// Labels in lower case without plural, and their codes. Codes of data are those with decimal multiples.
const LABELS: &[(&str, &str)] = &[
    ("second", "SEC"),
    ("sec", "SEC"),
    ("s", "SEC"),
    ("millisecond", "C26"),
    ("ms", "C26"),
    ("minute", "MIN"),
    ("min", "MIN"),
    ("minuut", "MIN"),
    ("hour", "HUR"),
    ("hr", "HUR"),
    ("h", "HUR"),
    ("uur", "HUR"),
    ("stunde", "HUR"),
    ("heure", "HUR"),
    ("hora", "HUR"),
    ("ora", "HUR"),
    ("day", "DAY"),
    ("dag", "DAY"),
    ("tag", "DAY"),
    ("jour", "DAY"),
    ("week", "WEE"),
    ("woche", "WEE"),
    ("month", "MON"),
    ("maand", "MON"),
    ("monat", "MON"),
    ("mois", "MON"),
    ("year", "ANN"),
    ("jaar", "ANN"),
    ("jahr", "ANN"),
    ("byte", "AD"),
    ("kilobyte", "2P"),
    ("kb", "2P"),
    ("megabyte", "4L"),
    ("mb", "4L"),
    ("gigabyte", "E34"),
    ("gb", "E34"),
    ("terabyte", "E35"),
    ("tb", "E35"),
    ("kibibyte", "E64"),
    ("kib", "E64"),
    ("mebibyte", "E63"),
    ("mib", "E63"),
    ("gibibyte", "E62"),
    ("gib", "E62"),
    ("tebibyte", "E61"),
    ("tib", "E61"),
    ("kilowatt hour", "KWH"),
    ("kwh", "KWH"),
    ("percent", "P1"),
    ("%", "P1"),
    ("page", "ZP"),
    ("pagina", "ZP"),
    ("seite", "ZP"),
    ("lump sum", "LS"),
    ("person", "IE"),
    ("kilometre", "KMT"),
    ("km", "KMT"),
    ("kilogram", "KGM"),
    ("kg", "KGM"),
    ("metre", "MTR"),
    ("litre", "LTR"),
    ("piece", "H87"),
    ("stuk", "H87"),
    ("stück", "H87"),
];

/// The code of a unit; [`ONE`] for a label that is missing or unknown, such as `seat`.
///
/// Case, surrounding space and an English plural do not matter. A label that is a code itself, in capitals, stays so.
pub fn code(label: Option<&str>) -> &str {
    let Some(label) = label.map(str::trim).filter(|label| !label.is_empty()) else {
        return ONE;
    };
    if let Some((_, known)) = LABELS.iter().find(|(_, code)| *code == label) {
        return known;
    }
    let lower = label.to_lowercase().replace(['-', '_'], " ");
    let singular = lower.strip_suffix('s').filter(|stem| !stem.is_empty()).unwrap_or(&lower);
    LABELS.iter().find(|(text, _)| *text == lower || *text == singular).map_or(ONE, |(_, code)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let cases = [
            (None, "C62"),
            (Some(" "), "C62"),
            (Some("seat"), "C62"),
            (Some("tokens"), "C62"),
            (Some("Hours"), "HUR"),
            (Some("hour"), "HUR"),
            (Some("GB"), "E34"),
            (Some("gib"), "E62"),
            (Some("days"), "DAY"),
            (Some("MON"), "MON"),
            (Some("kilowatt-hours"), "KWH"),
            (Some("s"), "SEC"),
        ];
        for (label, want) in cases {
            assert_eq!(code(label), want, "{label:?}");
        }
    }

    /// A code that the list does not have would break BR-CL-23 on every document that uses it.
    #[test]
    fn every_code_is_official() {
        for (label, code) in LABELS {
            assert!(en16931::codes::generated::UNIT_CODES.contains(code), "{label}: {code}");
        }
        assert!(en16931::codes::generated::UNIT_CODES.contains(&ONE));
    }
}
