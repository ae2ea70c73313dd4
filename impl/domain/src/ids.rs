//! Owns the form of identifiers that come from outside: opaque ids, slugs, country codes, bank details.
//!
//! Form only: whether the thing exists is for the server to find out.

use iban::IbanLike;

/// Whether a text may be the id of a tenant, partner, user or group: 1 to 64 of letters, digits and `_ . : -`.
pub fn is_opaque_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-'))
}

/// Whether a text may be the slug of a service, plan, pack or metric: 1 to 64 of `a–z`, `0–9`, `-` and `_`, starting
/// with a letter or digit.
pub fn is_slug(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= 64
        && bytes.first().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || matches!(byte, b'-' | b'_'))
}

/// The key of a plan across services: `<service>.<plan>`.
pub fn plan_key(service_slug: &str, plan_slug: &str) -> String {
    format!("{service_slug}.{plan_slug}")
}

/// The two slugs of a plan key; `None` for any other text.
pub fn split_plan_key(key: &str) -> Option<(&str, &str)> {
    let (service, plan) = key.split_once('.')?;
    (is_slug(service) && is_slug(plan)).then_some((service, plan))
}

/// A country code in the form in which we keep it: `GR` for `EL`, others unchanged; `None` when it does not exist.
/// Known are ISO 3166-1, `XI` (Northern Ireland) and `XK` (Kosovo), in upper case.
pub fn normalize_country(code: &str) -> Option<&str> {
    match code {
        "EL" => Some("GR"),
        "XI" | "XK" => Some(code),
        _ if code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            rust_iso3166::from_alpha2(code).map(|_| code)
        }
        _ => None,
    }
}

/// An IBAN in its electronic form (no spaces, upper case); `None` when country, length or checksum are wrong.
pub fn normalize_iban(text: &str) -> Option<String> {
    let compact: String =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
    compact.parse::<iban::Iban>().ok().map(|iban| iban.electronic_str().to_owned())
}

/// Whether a text has the form of a BIC: 4 letters, a country, 2 or 5 letters or digits.
pub fn is_bic(text: &str) -> bool {
    let letters = |part: Option<&str>| part.is_some_and(|p| p.bytes().all(|b| b.is_ascii_uppercase()));
    let rest = text.get(6..).unwrap_or_default();
    matches!(text.len(), 8 | 11)
        && letters(text.get(..4))
        && text.get(4..6).and_then(normalize_country).is_some()
        && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// Whether a text is a Leitweg-ID of a German authority: 2 to 12 digits, an optional part of up to 30 letters and
/// digits, and two check digits (ISO 7064 mod 97-10), joined by hyphens.
pub fn is_leitweg_id(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let (coarse, fine, check) = match parts.as_slice() {
        [coarse, check] => (*coarse, "", *check),
        [coarse, fine, check] if !fine.is_empty() => (*coarse, *fine, *check),
        _ => return false,
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    (2..=12).contains(&coarse.len())
        && digits(coarse)
        && fine.len() <= 30
        && fine.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && check.len() == 2
        && digits(check)
        && mod97([coarse, fine, check]) == Some(1)
}

/// The remainder by 97 of a text in which letters count from 10 (A) to 35 (Z).
fn mod97(parts: [&str; 3]) -> Option<u32> {
    parts.iter().flat_map(|part| part.chars()).try_fold(0_u32, |rest, character| {
        let value = character.to_digit(36)?;
        let factor: u32 = if value < 10 { 10 } else { 100 };
        rest.checked_mul(factor)?.checked_add(value)?.checked_rem(97)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms() {
        assert!(is_opaque_id("tnt_01HX.a:b-c") && !is_opaque_id("") && !is_opaque_id("a b"));
        assert!(!is_opaque_id("a'b") && !is_opaque_id(&"x".repeat(65)) && is_opaque_id(&"x".repeat(64)));
        assert!(is_slug("scai-flow") && is_slug("api_calls") && is_slug("a") && is_slug(&"x".repeat(64)));
        for bad in ["", "-a", "_a", "A", "a.b", "ä", &"x".repeat(65)] {
            assert!(!is_slug(bad), "{bad}");
        }
        assert_eq!(split_plan_key("scaiflow.pro"), Some(("scaiflow", "pro")));
        assert_eq!(split_plan_key("scaiflow.pro.x"), None);
        assert_eq!(plan_key("scaiflow", "pro"), "scaiflow.pro");
        assert_eq!(normalize_country("EL"), Some("GR"));
        assert_eq!(normalize_country("NL"), Some("NL"));
        assert_eq!(normalize_country("XI"), Some("XI"));
        for bad in ["", "nl", "ZZ", "NLD", "UK"] {
            assert_eq!(normalize_country(bad), None, "{bad}");
        }
    }

    #[test]
    fn bank_details() {
        assert_eq!(normalize_iban("nl91 ABNA 0417 1643 00").as_deref(), Some("NL91ABNA0417164300"));
        assert_eq!(normalize_iban("NL92ABNA0417164300"), None);
        assert!(is_bic("ABNANL2A") && is_bic("DEUTDEFF500"));
        for bad in ["ABNANL2", "ABNAZZ2A", "abnanl2a", "ABNANL2A5", "ÄBNANL2A", ""] {
            assert!(!is_bic(bad), "{bad}");
        }
    }

    #[test]
    fn leitweg_ids() {
        for good in ["04011000-1234512345-06", "991-01484-64", "992-90009-96"] {
            assert!(is_leitweg_id(good), "{good}");
        }
        for bad in
            ["04011000-1234512345-07", "", "9-1-1", "991--64", "991-01484-6A", "991-01484", "a91-01484-64"]
        {
            assert!(!is_leitweg_id(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,20}") {
            let _ = (is_opaque_id(&text), is_slug(&text), is_bic(&text), is_leitweg_id(&text));
            let _ = (normalize_country(&text), normalize_iban(&text), split_plan_key(&text));
        }
    }
}
