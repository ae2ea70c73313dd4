//! Owns what a template makes: a document for print, or a mail.

use std::fmt;
use std::str::FromStr;

/// What a template makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A printed invoice.
    Invoice,
    /// A printed credit note.
    CreditNote,
    /// The mail that carries an invoice.
    EmailInvoice,
    /// The mail that carries a credit note.
    EmailCreditNote,
    /// The mail that says that a trial is about to end.
    EmailTrialEnding,
    /// The mail that says that a payment failed, or that an invoice is overdue.
    EmailPaymentFailed,
    /// The mail that says that a subscription renews at another price. It comes with the program alone.
    EmailRenewalPriceChange,
}

impl Kind {
    /// Every kind that a template can be stored of, in the order of the specification.
    pub const ALL: &'static [Self] = &[
        Self::Invoice,
        Self::CreditNote,
        Self::EmailInvoice,
        Self::EmailCreditNote,
        Self::EmailTrialEnding,
        Self::EmailPaymentFailed,
    ];

    /// The kinds that only come with the program.
    pub const BUILT_IN: &'static [Self] = &[Self::EmailRenewalPriceChange];

    /// The name in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invoice => "invoice",
            Self::CreditNote => "credit_note",
            Self::EmailInvoice => "email_invoice",
            Self::EmailCreditNote => "email_credit_note",
            Self::EmailTrialEnding => "email_trial_ending",
            Self::EmailPaymentFailed => "email_payment_failed",
            Self::EmailRenewalPriceChange => "email_renewal_price_change",
        }
    }

    /// Whether it is a mail, with a subject and a text beside the HTML.
    pub const fn is_mail(self) -> bool {
        !matches!(self, Self::Invoice | Self::CreditNote)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

/// A text that names no kind of template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of template")]
pub struct UnknownKind;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            assert_eq!(kind.is_mail(), kind.as_str().starts_with("email_"));
        }
        assert_eq!("letter".parse::<Kind>(), Err(UnknownKind));
        for kind in Kind::BUILT_IN {
            assert_eq!(kind.as_str().parse::<Kind>(), Err(UnknownKind), "nobody can store one");
        }
    }
}
