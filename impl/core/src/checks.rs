//! What several nouns check about the fields of a request.
//!
//! The extractor has checked lengths, patterns and limits; this is what takes more than a pattern: check digits, lists of
//! codes, fields that go together. [`Checks`] gathers all that is wrong, so that a caller learns it in one answer.
use crate::config::Config;
use crate::error::{Error, Field, Result};
use scaicontrol_domain::ids;
use scaicontrol_domain::tax::{VatNumber, VatNumberError};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

/// The schemes of electronic addresses (Electronic Address Scheme code list of EN 16931), sorted.
const EAS: &[&str] = &[
    "0002", "0007", "0009", "0037", "0060", "0088", "0096", "0097", "0106", "0130", "0135", "0142", "0147",
    "0151", "0154", "0158", "0170", "0177", "0183", "0184", "0188", "0190", "0191", "0192", "0193", "0194",
    "0195", "0196", "0198", "0199", "0200", "0201", "0202", "0203", "0204", "0205", "0208", "0209", "0210",
    "0211", "0212", "0213", "0215", "0216", "0217", "0218", "0219", "0220", "0221", "0225", "0230", "0235",
    "0240", "0244", "9910", "9913", "9914", "9915", "9918", "9919", "9920", "9922", "9923", "9924", "9925",
    "9926", "9927", "9928", "9929", "9930", "9931", "9932", "9933", "9934", "9935", "9936", "9937", "9938",
    "9939", "9940", "9941", "9942", "9943", "9944", "9945", "9946", "9947", "9948", "9949", "9950", "9951",
    "9952", "9953", "9957", "9959",
];

/// Longest metadata, as JSON.
const METADATA_BYTES_MAX: usize = 16 * 1024;

/// Free data of a caller, as it stands in a request.
pub type Metadata = BTreeMap<String, serde_json::Value>;

/// Whether nothing of a text can be read: blanks, control characters, and what no XML document may hold.
fn is_blank(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{feff}' | '\u{200b}'..='\u{200f}')
    })
}

/// A reason that somebody gives, which others will read.
///
/// Errors: 400 when there is none in it.
pub fn reason(text: &str) -> Result<()> {
    let mut checks = Checks::default();
    checks.text("reason", text);
    checks.finish()
}

/// Everything that is wrong with a request.
#[derive(Debug, Default)]
pub struct Checks {
    wrong: Vec<Field>,
}

impl Checks {
    /// Notes that a field is wrong.
    pub fn refuse(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.wrong.push(Field { field: field.into(), message: message.into() });
    }

    /// Notes that a field is wrong, unless `fine`.
    pub fn require(&mut self, fine: bool, field: &str, message: &str) {
        if !fine {
            self.refuse(field, message);
        }
    }

    /// Fails with everything that was noted: 400.
    pub fn finish(self) -> Result<()> {
        if self.wrong.is_empty() { Ok(()) } else { Err(Error::fields(self.wrong)) }
    }

    /// A text that must be there, without blanks around it.
    pub fn text(&mut self, field: &str, value: &str) -> String {
        self.require(!is_blank(value), field, "must not be empty");
        value.trim().to_owned()
    }

    /// A country, in the form in which we keep it.
    pub fn country(&mut self, field: &str, code: &str) -> String {
        match ids::normalize_country(code) {
            Some(known) => known.to_owned(),
            None => {
                self.refuse(field, "is not a country of ISO 3166-1");
                code.to_owned()
            }
        }
    }

    /// A VAT number in its plain form. The check digits of an EU number must fit; of any other the form is all we know.
    pub fn vat_number(&mut self, field: &str, text: &str) -> String {
        match VatNumber::parse(text) {
            Ok(number) => number.to_string(),
            Err(VatNumberError::UnknownCountry) => self.foreign_vat_number(field, text),
            Err(error) => {
                self.refuse(field, error.to_string());
                text.to_owned()
            }
        }
    }

    fn foreign_vat_number(&mut self, field: &str, text: &str) -> String {
        let plain: String = text.chars().filter(|c| !c.is_whitespace() && !".-/".contains(*c)).collect();
        let plain = plain.to_ascii_uppercase();
        let has_country = plain.get(..2).is_some_and(|prefix| ids::normalize_country(prefix).is_some());
        self.require(has_country, field, "must start with the two letters of a country");
        let has_form = (4..=20).contains(&plain.len()) && plain.bytes().all(|b| b.is_ascii_alphanumeric());
        self.require(has_form, field, "must be 4 to 20 letters and digits");
        plain
    }

    /// An IBAN without blanks.
    pub fn iban(&mut self, field: &str, text: &str) -> String {
        match ids::normalize_iban(text) {
            Some(iban) => iban,
            None => {
                self.refuse(field, "is not an IBAN: country, length or check digits are wrong");
                text.to_owned()
            }
        }
    }

    /// An IANA timezone.
    pub fn timezone(&mut self, field: &str, name: &str) {
        self.require(chrono_tz::Tz::from_str(name).is_ok(), field, "is not a time zone of the IANA list");
    }

    /// A Peppol id and its scheme: both or none.
    pub fn peppol(&mut self, id: (&str, Option<&str>), scheme: (&str, Option<&str>)) {
        self.require(id.1.is_none() || scheme.1.is_some(), scheme.0, "is needed with a Peppol id");
        self.require(scheme.1.is_none() || id.1.is_some(), id.0, "is needed with a Peppol scheme");
        let known = scheme.1.is_none_or(|code| EAS.binary_search(&code).is_ok());
        self.require(known, scheme.0, "is not a code of the EAS list");
    }

    /// Free data: at most 16 KiB as JSON. Its number of keys is limited by the specification.
    pub fn metadata(&mut self, field: &str, data: &Metadata) -> serde_json::Value {
        let value = serde_json::Value::Object(data.clone().into_iter().collect());
        self.require(value.to_string().len() <= METADATA_BYTES_MAX, field, "is over 16 KiB as JSON");
        value
    }

    /// The address of something outside: https, except in development.
    pub fn url(&mut self, config: &Config, field: &str, text: &str) -> Option<reqwest::Url> {
        let Ok(url) = reqwest::Url::parse(text) else {
            self.refuse(field, "is not a URL");
            return None;
        };
        let secure = url.scheme() == "https" || (url.scheme() == "http" && config.outbound.allow_private);
        self.require(secure, field, "must be an https address");
        self.require(
            url.username().is_empty() && url.password().is_none(),
            field,
            "must not hold a user or password",
        );
        Some(url)
    }

    /// The address that paths of a service are appended to. A host that is written as a private address is refused here;
    /// a name is checked when it is called.
    pub fn base_url(&mut self, config: &Config, field: &str, text: &str) -> String {
        if let Some(url) = self.url(config, field, text) {
            self.require(
                url.query().is_none() && url.fragment().is_none(),
                field,
                "must not have a query or fragment",
            );
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
            let private =
                host.parse().is_ok_and(is_private) || host == "localhost" || host.ends_with(".localhost");
            self.require(!private || config.outbound.allow_private, field, "must be a public address");
        }
        text.trim_end_matches('/').to_owned()
    }
}

/// Whether an address is not one of the public internet.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (18..20).contains(&b))
        }
        IpAddr::V6(ip) => match ip.to_ipv4() {
            Some(inner) => is_private(IpAddr::V4(inner)),
            None => {
                ip.is_loopback()
                    || ip.is_unspecified()
                    || ip.is_multicast()
                    || ip.is_unique_local()
                    || ip.is_unicast_link_local()
            }
        },
    }
}

/// An optional text: what is empty is not there.
pub fn optional(value: Option<&str>) -> Option<String> {
    value.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The same for a field that may also be null.
pub fn emptied(value: &Option<Option<String>>) -> Option<String> {
    optional(value.as_ref().and_then(Option::as_deref))
}

/// A text to look for as a pattern of ILIKE that finds it anywhere.
pub fn pattern(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('%');
    out
}

/// A value that the database keeps as text.
///
/// Errors: internal, when it is not one that the release knows.
pub fn stored<T: FromStr>(text: &str) -> Result<T>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|e: T::Err| Error::internal(format!("stored value {text:?}: {e}")))
}

/// A value that the database keeps as text, if there is one.
pub fn stored_optional<T: FromStr>(text: Option<&str>) -> Result<Option<T>>
where
    T::Err: std::fmt::Display,
{
    text.map(stored).transpose()
}

/// A value that the database keeps as JSON.
pub fn stored_json<T: serde::de::DeserializeOwned>(value: &serde_json::Value) -> Result<T> {
    serde_json::from_value(value.clone()).map_err(|e| Error::internal(format!("stored JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(check: impl FnOnce(&mut Checks)) -> Vec<String> {
        let mut checks = Checks::default();
        check(&mut checks);
        checks.wrong.into_iter().map(|f| f.field).collect()
    }

    #[test]
    fn vat_numbers() {
        for (text, plain) in [
            ("nl 0044.95.445.b01", "NL004495445B01"),
            ("GR094259216", "EL094259216"),
            ("che-123.456.789 MWST", "CHE123456789MWST"),
            ("GB 110 3058 78", "GB110305878"),
        ] {
            let mut checks = Checks::default();
            assert_eq!(checks.vat_number("vat_number", text), plain);
            assert!(checks.finish().is_ok(), "{text}");
        }
        for text in ["DE136695970", "123456789B01", "QQ12345", "US", "US1234567890123456789012", "CHé12345"]
        {
            assert!(
                !wrong(|c| {
                    c.vat_number("vat_number", text);
                })
                .is_empty(),
                "{text}"
            );
        }
    }

    #[test]
    fn peppol_ids_and_schemes_go_together() {
        let peppol = |id, scheme| wrong(|c| c.peppol(("id", id), ("scheme", scheme)));
        assert!(peppol(None, None).is_empty());
        assert!(peppol(Some("123"), Some("0106")).is_empty());
        assert_eq!(peppol(Some("123"), None), ["scheme"]);
        assert_eq!(peppol(None, Some("0106")), ["id"]);
        assert_eq!(peppol(Some("123"), Some("0001")), ["scheme"]);
        assert!(EAS.is_sorted());
    }

    #[test]
    fn private_addresses() {
        for ip in [
            "10.0.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(ip.parse().expect(ip)), "{ip}");
        }
        for ip in ["8.8.8.8", "2001:4860:4860::8888"] {
            assert!(!is_private(ip.parse().expect(ip)), "{ip}");
        }
    }

    #[test]
    fn patterns_find_the_text_itself() {
        assert_eq!(pattern(r"50%_\"), r"%50\%\_\\%");
    }

    #[test]
    fn empty_texts_are_not_there() {
        assert_eq!(optional(Some("  ")), None);
        assert_eq!(optional(Some(" x ")), Some("x".into()));
        assert_eq!(emptied(&Some(None)), None);
    }
}
