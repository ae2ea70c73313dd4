//! Owns the templates that every installation starts with.

use std::sync::LazyLock;

use crate::engine::Template;
use crate::kind::Kind;
use crate::locale::Language;

/// The name that the default templates are found by.
pub const DEFAULT_NAME: &str = "standard";

/// A template that comes with the product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultTemplate {
    /// What it makes.
    pub kind: Kind,
    /// Its language; `None` when it is for all of them.
    pub language: Option<Language>,
    /// Subject of a mail.
    pub subject: Option<String>,
    /// The content.
    pub html: String,
    /// The style sheet.
    pub css: Option<&'static str>,
}

impl DefaultTemplate {
    /// The template as the engine takes it.
    pub fn template(&self) -> Template<'_> {
        Template { kind: self.kind, subject: self.subject.as_deref(), html: &self.html, css: self.css }
    }
}

/// Every default template: one a kind for documents, one a kind and language for mails.
pub fn all() -> &'static [DefaultTemplate] {
    &DEFAULTS
}

/// The default template of a kind in a language.
pub fn find(kind: Kind, language: Language) -> Option<&'static DefaultTemplate> {
    DEFAULTS
        .iter()
        .find(|template| template.kind == kind && template.language.is_none_or(|theirs| theirs == language))
}

const DOCUMENT_HTML: &str = include_str!("../assets/document.html");
const DOCUMENT_CSS: &str = include_str!("../assets/document.css");
const MAIL_LAYOUT: &str = include_str!("../assets/mail/layout.html");
const MAIL_CSS: &str = include_str!("../assets/mail/mail.css");

/// Marks in the assets.
const BODY_MARK: &str = "<!--BODY-->";
const SUBJECT_START: &str = "<!--SUBJECT ";
const SUBJECT_END: &str = "-->\n";

macro_rules! mails {
    ( $( $kind:ident $name:literal; )+ ) => {
        &[ $( (Kind::$kind, [
            include_str!(concat!("../assets/mail/", $name, ".en.html")),
            include_str!(concat!("../assets/mail/", $name, ".nl.html")),
            include_str!(concat!("../assets/mail/", $name, ".de.html")),
            include_str!(concat!("../assets/mail/", $name, ".fr.html")),
            include_str!(concat!("../assets/mail/", $name, ".es.html")),
            include_str!(concat!("../assets/mail/", $name, ".it.html")),
        ]), )+ ]
    };
}

const MAILS: &[(Kind, [&str; 6])] = mails! {
    EmailInvoice "invoice";
    EmailCreditNote "credit_note";
    EmailTrialEnding "trial_ending";
    EmailPaymentFailed "payment_failed";
    EmailRenewalPriceChange "renewal_price_change";
};

const LANGUAGES: [Language; 6] =
    [Language::En, Language::Nl, Language::De, Language::Fr, Language::Es, Language::It];

static DEFAULTS: LazyLock<Vec<DefaultTemplate>> = LazyLock::new(|| {
    let documents = [Kind::Invoice, Kind::CreditNote].map(|kind| DefaultTemplate {
        kind,
        language: None,
        subject: None,
        html: DOCUMENT_HTML.to_owned(),
        css: Some(DOCUMENT_CSS),
    });
    let mails = MAILS.iter().flat_map(|(kind, sources)| {
        LANGUAGES.into_iter().zip(sources).map(|(language, source)| mail(*kind, language, source))
    });
    documents.into_iter().chain(mails).collect()
});

/// A mail's asset is a first line with the subject, and the text that goes into the common layout.
fn mail(kind: Kind, language: Language, source: &str) -> DefaultTemplate {
    let (subject, body) = source
        .strip_prefix(SUBJECT_START)
        .and_then(|rest| rest.split_once(SUBJECT_END))
        .unwrap_or(("", source));
    DefaultTemplate {
        kind,
        language: Some(language),
        subject: Some(subject.trim().to_owned()),
        html: MAIL_LAYOUT.replace(BODY_MARK, body.trim_end()),
        css: Some(MAIL_CSS),
    }
}

#[cfg(test)]
mod tests;
