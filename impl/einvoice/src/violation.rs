//! Owns the words for a broken rule, and from where it broke to the field of ours that mends it.

use std::fmt;

use en16931::validation::Finding;
use en16931::{Group, Path};
use serde::{Deserialize, Serialize};

/// How much a broken rule matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document is not valid.
    Fatal,
    /// The document is valid; the rule advises against it.
    Warning,
    /// For information.
    Information,
}

impl Severity {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Warning => "warning",
            Self::Information => "information",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<en16931::Severity> for Severity {
    fn from(severity: en16931::Severity) -> Self {
        match severity {
            en16931::Severity::Fatal => Self::Fatal,
            en16931::Severity::Warning => Self::Warning,
            en16931::Severity::Info => Self::Information,
        }
    }
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Official id, such as `BR-CO-16`, `PEPPOL-EN16931-R003` or `DE-R-002`.
    pub rule: String,
    /// How much it matters.
    pub severity: Severity,
    /// Where: a group and term of EN 16931 (`BG-25[2]/BT-151`, counted from 0), or a path in the XML.
    pub place: String,
    /// What the rule says.
    pub text: String,
    /// The field of ours that mends it, where it is known: `partner.…`, `billing_profile.…`, `line_items.<n>.…`, or a
    /// field of the invoice.
    pub mend: Option<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.rule, self.severity, self.place, self.text)
    }
}

impl Violation {
    pub(crate) fn of(finding: &Finding) -> Self {
        let mut text = finding.message.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(detail) = &finding.detail {
            text.push_str(&format!(" (expected {}, found {})", detail.expected, detail.actual));
        }
        Self {
            rule: finding.rule.clone(),
            severity: finding.severity.into(),
            place: finding.path.to_string(),
            text,
            mend: mend(&finding.rule, finding.path),
        }
    }

    pub(crate) fn new(rule: &str, severity: Severity, path: Path, text: impl Into<String>) -> Self {
        Self {
            rule: rule.to_owned(),
            severity,
            place: path.to_string(),
            text: text.into(),
            mend: mend(rule, path),
        }
    }
}

/// Rules whose place does not tell what is missing.
const BY_RULE: &[(&str, &str)] = &[
    ("BR-CO-26", "partner.seller_registration_number"),
    ("BR-DE-1", "partner.seller_iban"),
    ("BR-DE-2", "partner.seller_contact_name"),
    ("BR-DE-16", "partner.seller_tax_number"),
    ("DE-R-001", "partner.seller_iban"),
    ("DE-R-002", "partner.seller_contact_name"),
    ("DE-R-016", "partner.seller_tax_number"),
    ("PEPPOL-EN16931-R003", "billing_profile.buyer_reference"),
    ("PEPPOL-EN16931-R010", "billing_profile.peppol_id"),
    ("PEPPOL-EN16931-R020", "partner.seller_peppol_id"),
    ("BR-CO-25", "due_date"),
    ("NL-R-007", "partner.seller_iban"),
    ("NL-R-008", "partner.seller_iban"),
];

/// The field of ours behind a place, by term.
fn mend(rule: &str, path: Path) -> Option<String> {
    if let Some((_, field)) = BY_RULE.iter().find(|(id, _)| *id == rule) {
        return Some((*field).to_owned());
    }
    // Every rule on a category wants a number of the seller, but those of AE that name the buyer's.
    if let Some((_, number)) = rule.strip_prefix("BR-").and_then(|rest| rest.rsplit_once('-'))
        && matches!(number, "02" | "03" | "04")
        && ["BR-S-", "BR-Z-", "BR-E-", "BR-G-"].iter().any(|family| rule.starts_with(family))
    {
        return Some("partner.seller_vat_number".to_owned());
    }
    let term = path.term?.0;
    if path.group == Group::Line {
        let index = path.index?;
        return line_field(term).map(|field| format!("line_items.{index}.{field}"));
    }
    field(term).map(str::to_owned)
}

fn line_field(term: u16) -> Option<&'static str> {
    Some(match term {
        129 => "quantity",
        130 => "unit_label",
        131 => "amount_cents",
        134 => "period_start",
        135 => "period_end",
        146 | 148 => "unit_price_cents",
        149 | 150 => "unit_divisor",
        151 => "tax_category",
        152 => "tax_rate",
        153 | 154 => "description",
        _ => return None,
    })
}

fn field(term: u16) -> Option<&'static str> {
    Some(match term {
        5 => "currency",
        6 | 111 => "exchange_rate",
        7 => "tax_point_date",
        9 => "due_date",
        10 => "billing_profile.buyer_reference",
        20 => "payment_terms",
        22 => "notes",
        73 => "period_start",
        74 => "period_end",
        27 => "partner.legal_name",
        30 => "partner.seller_registration_number",
        31 => "partner.seller_vat_number",
        32 => "partner.seller_tax_number",
        34 => "partner.seller_peppol_id",
        35 => "partner.seller_address_line1",
        36 => "partner.seller_address_line2",
        37 => "partner.seller_city",
        38 => "partner.seller_postal_code",
        39 => "partner.seller_state",
        40 => "partner.seller_country_code",
        41 => "partner.seller_contact_name",
        42 => "partner.seller_phone",
        43 => "partner.seller_email",
        44 => "billing_profile.company_name",
        48 => "billing_profile.vat_number",
        49 => "billing_profile.peppol_id",
        50 => "billing_profile.address_line1",
        51 => "billing_profile.address_line2",
        52 => "billing_profile.city",
        53 => "billing_profile.postal_code",
        54 => "billing_profile.state",
        55 => "billing_profile.country_code",
        57 => "billing_profile.phone",
        58 => "billing_profile.contact_email",
        81 | 84 => "partner.seller_iban",
        86 => "partner.seller_bic",
        120 | 121 => "billing_profile.tax_exempt_reason",
        _ => return None,
    })
}
