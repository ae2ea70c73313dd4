//! Owns the template engine: which language features a template has, and within which limits it runs.
//!
//! There is no loader, no include, no file and no network: a template sees its context and nothing else. Work and
//! memory are bounded by fuel, output by a limit, nesting by a limit on recursion.

use std::io;
use std::sync::LazyLock;

use chrono::NaiveDate;
use minijinja::value::{Serde, ValueKind};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value, escape_formatter,
};
use rust_decimal::{Decimal, RoundingStrategy};
use scaicontrol_domain::money::{Cents, Currency};
use serde::{Serialize, Serializer};

use crate::comment_tags;
use crate::context::InvoiceContext;
use crate::describe::{Described, Shape};
use crate::kind::Kind;
use crate::limits;
use crate::locale::{Language, Locale};
use crate::mail::{InvoiceMail, PaymentFailedMail, PriceChangeMail, TrialEndingMail};
use crate::problem::{Part, Problem};
use crate::{nesting, plain_text, sanitize};

/// A template as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template<'a> {
    /// What it makes.
    pub kind: Kind,
    /// Subject of a mail; `None` for a document.
    pub subject: Option<&'a str>,
    /// The content.
    pub html: &'a str,
    /// The style sheet.
    pub css: Option<&'a str>,
}

/// What a template is rendered with.
#[derive(Debug, Clone, PartialEq)]
pub enum Context {
    /// An invoice or credit note for print.
    Document(Box<InvoiceContext>),
    /// The mail of an invoice or credit note.
    InvoiceMail(Box<InvoiceMail>),
    /// The mail about the end of a trial.
    TrialEnding(Box<TrialEndingMail>),
    /// The mail about a failed payment.
    PaymentFailed(Box<PaymentFailedMail>),
    /// The mail about a new price.
    PriceChange(Box<PriceChangeMail>),
}

impl Serialize for Context {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Document(context) => context.serialize(serializer),
            Self::InvoiceMail(context) => context.serialize(serializer),
            Self::TrialEnding(context) => context.serialize(serializer),
            Self::PaymentFailed(context) => context.serialize(serializer),
            Self::PriceChange(context) => context.serialize(serializer),
        }
    }
}

impl Context {
    /// Whether it is what templates of that kind are rendered with.
    fn fits(&self, kind: Kind) -> bool {
        match self {
            Self::Document(context) => context.invoice.document_type == kind.as_str(),
            Self::InvoiceMail(context) => {
                kind.is_mail() && kind.as_str().strip_prefix("email_") == Some(context.invoice.document_type)
            }
            Self::TrialEnding(_) => kind == Kind::EmailTrialEnding,
            Self::PaymentFailed(_) => kind == Kind::EmailPaymentFailed,
            Self::PriceChange(_) => kind == Kind::EmailRenewalPriceChange,
        }
    }

    fn language(&self) -> &'static str {
        match self {
            Self::Document(context) => context.language,
            Self::InvoiceMail(context) => context.language,
            Self::TrialEnding(context) => context.language,
            Self::PaymentFailed(context) => context.language,
            Self::PriceChange(context) => context.language,
        }
    }

    fn portal_url(&self) -> Option<&str> {
        match self {
            Self::Document(_) => None,
            Self::InvoiceMail(context) => context.mail.portal_url.as_deref(),
            Self::TrialEnding(context) => context.mail.portal_url.as_deref(),
            Self::PaymentFailed(context) => context.mail.portal_url.as_deref(),
            Self::PriceChange(context) => context.mail.portal_url.as_deref(),
        }
    }
}

/// What templates of a kind can name.
pub(crate) const fn shape(kind: Kind) -> Shape {
    match kind {
        Kind::Invoice | Kind::CreditNote => InvoiceContext::SHAPE,
        Kind::EmailInvoice | Kind::EmailCreditNote => InvoiceMail::SHAPE,
        Kind::EmailTrialEnding => TrialEndingMail::SHAPE,
        Kind::EmailPaymentFailed => PaymentFailedMail::SHAPE,
        Kind::EmailRenewalPriceChange => PriceChangeMail::SHAPE,
    }
}

/// What comes out of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rendered {
    /// A document, for the renderer.
    Document {
        /// The page.
        html: String,
        /// Its style sheet.
        css: String,
    },
    /// A mail.
    Mail {
        /// Subject, one line.
        subject: String,
        /// A whole HTML page, sanitised.
        html: String,
        /// The same as plain text.
        text: String,
    },
}

/// Why a template could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The context is of another kind of template.
    #[error("a template of kind {0} cannot be rendered with this data")]
    Context(Kind),
    /// The template fails at a place.
    #[error("{0}")]
    Template(Problem),
}

/// Renders a template.
///
/// # Errors
/// [`RenderError::Context`] when the data belongs to another kind, [`RenderError::Template`] with the place when
/// the template does not compile, fails, runs out of fuel, or writes more than [`limits::MAX_OUTPUT_BYTES`].
pub fn render(template: &Template<'_>, context: &Context) -> Result<Rendered, RenderError> {
    if !context.fits(template.kind) {
        return Err(RenderError::Context(template.kind));
    }
    let values = Value::from(Serde(context));
    let html = expand(Part::Html, template.html, &values)?;
    let css = template.css.unwrap_or_default();
    if !template.kind.is_mail() {
        return Ok(Rendered::Document { html, css: css.to_owned() });
    }
    let subject = expand(Part::Subject, template.subject.unwrap_or_default(), &values)?;
    let subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
    let body = sanitize::mail_body(&html, context.portal_url());
    let text = plain_text::from_html(&body);
    let html = sanitize::mail_page(&body, css, &subject, context.language());
    Ok(Rendered::Mail { subject: subject.chars().take(limits::MAX_SUBJECT_CHARS).collect(), html, text })
}

fn expand(part: Part, source: &str, values: &Value) -> Result<String, RenderError> {
    if source.len() > part.max_bytes() {
        return Err(RenderError::Template(Problem::too_large(part)));
    }
    let decoded = comment_tags::decode(source)
        .map_err(|open| RenderError::Template(Problem::unclosed_comment(part, source, open)))?;
    if let Some(problem) = nesting::problem(part, &decoded) {
        return Err(RenderError::Template(problem));
    }
    let failed = |error: &Error| RenderError::Template(Problem::of_error(part, &decoded, error));
    let mut output = Limited { bytes: Vec::new() };
    let env: &Environment<'_> = &ENVIRONMENT;
    let template = env.template_from_named_str(part.name(), &decoded).map_err(|error| failed(&error))?;
    template.render_captured_to(values.clone(), &mut output).map_err(|error| failed(&error))?;
    String::from_utf8(output.bytes)
        .map_err(|_| RenderError::Template(Problem::at(part, 1, 1, "the output is not text".to_owned())))
}

/// Output up to a limit.
struct Limited {
    bytes: Vec<u8>,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > limits::MAX_OUTPUT_BYTES {
            return Err(io::Error::other("the output is too large"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The one environment: it holds no templates and no data.
pub(crate) static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = Environment::new();
    // What a template prints is escaped, always.
    env.remove_filter("safe");
    env.remove_global("debug");
    env.set_auto_escape_callback(
        |name| if name == Part::Html.name() { AutoEscape::Html } else { AutoEscape::None },
    );
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_formatter(|out, state, value| {
        // What is absent prints as nothing.
        if value.is_none() { Ok(()) } else { escape_formatter(out, state, value) }
    });
    env.set_fuel(Some(limits::FUEL));
    env.set_recursion_limit(limits::MAX_RECURSION);
    env.set_debug(true);
    env.add_filter("money", money);
    env.add_filter("date", date);
    env.add_filter("number", number);
    env.add_filter("percent", percent);
    env.add_filter("css_string", css_string);
    env
});

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

fn locale(state: &State<'_, '_>) -> Result<Locale, Error> {
    let language = state.lookup("language").unwrap_or_default();
    let language: Option<Language> = language.as_str().and_then(|code| code.parse().ok());
    language.map(Locale::new).ok_or_else(|| invalid("the language is not known here"))
}

/// `cents|money` in the currency of the document, `cents|money("USD")`.
fn money(state: &State<'_, '_>, value: &Value, currency: Option<String>) -> Result<String, Error> {
    if value.is_none() {
        return Ok(String::new());
    }
    let cents = i64::try_from(value.clone())
        .map_err(|_| invalid("money wants a whole number of cents, such as totals.due_cents"))?;
    let code = match currency {
        Some(code) => code,
        None => state
            .lookup("invoice")
            .and_then(|invoice| invoice.get_attr("currency").ok())
            .and_then(|code| code.as_str().map(str::to_owned))
            .ok_or_else(|| invalid("money wants a currency here: money(\"EUR\")"))?,
    };
    let currency = Currency::parse(&code).map_err(|error| invalid(error.to_string()))?;
    Ok(locale(state)?.money(Cents(cents), currency))
}

/// `invoice.due_date_iso|date`, `|date("short")`.
fn date(state: &State<'_, '_>, value: &Value, style: Option<String>) -> Result<String, Error> {
    if value.is_none() {
        return Ok(String::new());
    }
    let date: NaiveDate = value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| invalid("date wants a day as YYYY-MM-DD, such as invoice.due_date_iso"))?;
    match style.as_deref() {
        None | Some("long") => Ok(locale(state)?.long_date(date)),
        Some("short") => Ok(locale(state)?.short_date(date)),
        Some(_) => Err(invalid("date knows the styles \"long\" and \"short\"")),
    }
}

fn decimal(value: &Value, filter: &str) -> Result<Decimal, Error> {
    let text = match (value.kind(), value.as_str()) {
        (_, Some(text)) => text.to_owned(),
        (ValueKind::Number, None) => value.to_string(),
        _ => return Err(invalid(format!("{filter} wants a number"))),
    };
    text.parse().map_err(|_| invalid(format!("{filter} wants a number")))
}

/// `line.quantity_raw|number`, `|number(2)` for two decimals.
fn number(state: &State<'_, '_>, value: &Value, decimals: Option<u32>) -> Result<String, Error> {
    if value.is_none() {
        return Ok(String::new());
    }
    let value = decimal(value, "number")?;
    let Some(decimals) = decimals else { return Ok(locale(state)?.number(value, 0)) };
    if decimals > 12 {
        return Err(invalid("number writes at most 12 decimals"));
    }
    let rounded = value.round_dp_with_strategy(decimals, RoundingStrategy::MidpointAwayFromZero);
    Ok(locale(state)?.number(rounded, decimals))
}

/// `21|percent`.
fn percent(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    if value.is_none() {
        return Ok(String::new());
    }
    Ok(locale(state)?.percent(decimal(value, "percent")?))
}

/// `"{{ seller.name|css_string }}"` in a style sheet: entities of HTML mean nothing there, so signs that could
/// mean something are written as CSS escapes them.
fn css_string(value: &Value) -> Value {
    let mut out = String::new();
    if !value.is_none() {
        for char in value.to_string().chars().filter(|char| !char.is_control()) {
            if !char.is_ascii() || char.is_ascii_alphanumeric() || " .,-_()+:".contains(char) {
                out.push(char);
            } else {
                out.push_str(&format!("\\{:x} ", u32::from(char)));
            }
        }
    }
    Value::from_safe_string(out)
}

#[cfg(test)]
mod tests;
