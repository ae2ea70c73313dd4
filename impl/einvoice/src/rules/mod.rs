//! Owns which rules a document must keep: the library's, and those that it lacks.

mod national;
mod numbers;

use en16931::profiles::{EN16931, PEPPOL_BIS_3, XRECHNUNG};
use en16931::{Invoice, Profile as RuleSet};
use en16931_formats::report::{Entry, Kind};
use rust_decimal::Decimal;

use crate::format::Profile;
use crate::violation::{Severity, Violation};

/// The rule set of a profile.
pub(crate) fn of(profile: Profile) -> &'static RuleSet {
    match profile {
        Profile::Ubl | Profile::Cii | Profile::Facturx => &EN16931,
        Profile::PeppolBis3 => &PEPPOL_BIS_3,
        Profile::XrechnungUbl | Profile::XrechnungCii => &XRECHNUNG,
    }
}

/// Every broken rule, fatal ones first.
pub(crate) fn check(invoice: &Invoice, rules: &'static RuleSet) -> Vec<Violation> {
    let mut found: Vec<Violation> = rules.validate(invoice).findings().iter().map(Violation::of).collect();
    if std::ptr::eq(rules, &PEPPOL_BIS_3) {
        national::check(invoice, &mut found);
    }
    found.sort_by_key(|violation| violation.severity);
    found
}

/// XRechnung and its variants.
pub(crate) fn is_xrechnung(rules: &RuleSet) -> bool {
    rules.slug.starts_with(XRECHNUNG.slug)
}

/// Peppol, or XRechnung, which holds most of Peppol's rules.
pub(crate) fn is_peppol_like(rules: &'static RuleSet) -> bool {
    is_xrechnung(rules) || std::ptr::eq(rules, &PEPPOL_BIS_3)
}

/// The one element that may be empty, as the schema of CII wants it.
const EMPTY_DELIVERY: &str = "ApplicableHeaderTradeDelivery";

/// PEPPOL-EN16931-R008 over the elements of a document that was read; the model cannot tell an empty one.
pub(crate) fn check_empty(empty: &[String], rules: &'static RuleSet, found: &mut Vec<Violation>) {
    const RULE: &str = "PEPPOL-EN16931-R008";
    if !is_peppol_like(rules) {
        return;
    }
    found.retain(|violation| violation.rule != RULE);
    found.extend(empty.iter().filter(|name| !name.ends_with(EMPTY_DELIVERY)).map(|name| Violation {
        rule: RULE.to_owned(),
        severity: Severity::Fatal,
        place: name.clone(),
        text: "Document MUST not contain empty elements.".to_owned(),
        mend: None,
    }));
}

/// Ends of paths to amounts that have at most two decimals, and the rules that say so.
const DECIMALS: &[(&str, &str)] = &[
    ("Total/LineExtensionAmount", "BR-DEC-09"),
    ("HeaderMonetarySummation/LineTotalAmount", "BR-DEC-09"),
    ("/AllowanceTotalAmount", "BR-DEC-10"),
    ("/ChargeTotalAmount", "BR-DEC-11"),
    ("/TaxExclusiveAmount", "BR-DEC-12"),
    ("/TaxBasisTotalAmount", "BR-DEC-12"),
    ("TaxTotal/TaxAmount", "BR-DEC-13"),
    ("/TaxTotalAmount", "BR-DEC-13"),
    ("/TaxInclusiveAmount", "BR-DEC-14"),
    ("/GrandTotalAmount", "BR-DEC-14"),
    ("/PrepaidAmount", "BR-DEC-16"),
    ("/TotalPrepaidAmount", "BR-DEC-16"),
    ("/PayableRoundingAmount", "BR-DEC-17"),
    ("/RoundingAmount", "BR-DEC-17"),
    ("/PayableAmount", "BR-DEC-18"),
    ("/DuePayableAmount", "BR-DEC-18"),
    ("TaxSubtotal/TaxableAmount", "BR-DEC-19"),
    ("ApplicableTradeTax/BasisAmount", "BR-DEC-19"),
    ("TaxSubtotal/TaxAmount", "BR-DEC-20"),
    ("ApplicableTradeTax/CalculatedAmount", "BR-DEC-20"),
    ("Line/LineExtensionAmount", "BR-DEC-23"),
    ("LineMonetarySummation/LineTotalAmount", "BR-DEC-23"),
];

/// The rule that an amount with too many decimals breaks: the model holds none, so the reader reports it.
fn decimals_rule(entry: &Entry) -> Option<&'static str> {
    let value: Decimal = entry.value.as_deref()?.trim().parse().ok()?;
    let known = DECIMALS.iter().find(|(end, _)| entry.path.ends_with(end));
    known.filter(|_| entry.kind == Kind::Malformed && 2 < value.scale()).map(|(_, rule)| *rule)
}

/// What the reader or writer of a syntax has to say about an element.
pub(crate) fn of_entry(entry: &Entry) -> Violation {
    let severity = match entry.kind {
        // An element outside the subset of EN 16931 is a warning in the official rules.
        Kind::Unmapped if entry.rule.is_some() => Severity::Warning,
        _ => entry.level().into(),
    };
    let mut text = entry.message.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(value) = &entry.value {
        let shown: String = value.chars().take(100).collect();
        text.push_str(&format!(" ({shown:?})"));
    }
    let rule = decimals_rule(entry).or(entry.rule.as_deref());
    Violation {
        rule: rule.map_or_else(|| format!("XML-{}", entry.kind.as_str().to_uppercase()), str::to_owned),
        severity,
        place: match &entry.term {
            Some(term) => format!("{} {term}", entry.path),
            None => entry.path.clone(),
        },
        text,
        mend: None,
    }
}
