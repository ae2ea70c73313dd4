//! Owns which rules a document must keep: the library's, and those that it lacks.

mod national;
mod numbers;

use en16931::profiles::{EN16931, PEPPOL_BIS_3, XRECHNUNG};
use en16931::{Invoice, Profile as RuleSet};
use en16931_formats::report::{Entry, Kind};

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
    let mut found: Vec<Violation> =
        rules.validate(invoice).findings().iter().map(Violation::of).collect();
    if std::ptr::eq(rules, &PEPPOL_BIS_3) {
        national::check(invoice, &mut found);
    }
    found.sort_by_key(|violation| violation.severity);
    found
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
    Violation {
        rule: entry.rule.clone().unwrap_or_else(|| format!("XML-{}", entry.kind.as_str().to_uppercase())),
        severity,
        place: match &entry.term {
            Some(term) => format!("{} {term}", entry.path),
            None => entry.path.clone(),
        },
        text,
        mend: None,
    }
}
