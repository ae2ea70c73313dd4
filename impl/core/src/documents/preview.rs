//! Previews of templates: what one would make of a document, or of made-up data. Nothing is stored or sent.
use super::{File, Issued, facts, pdf};
use crate::app::Control;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::templates::store;
use scaicontrol_templates::document::Document;
use scaicontrol_templates::mail::{Envelope, InvoiceMail};
use scaicontrol_templates::{Context, Kind, Language, Rendered, Template, samples};
use scaicontrol_types::PartySnapshot;
use uuid::Uuid;

/// Renders a template: a document's to a PDF, a mail's to its HTML.
///
/// Errors: 404; 400 when the document is none that the template is for, or the template fails at a place; 503 without a
/// renderer.
pub async fn preview(
    op: &OpContext,
    app: &Control,
    template_id: Uuid,
    invoice_id: Option<Uuid>,
) -> Result<File> {
    let (row, version, issued) = app
        .db
        .read(op, async |conn| {
            let row = store::get(conn, template_id).await?;
            let version = store::version(conn, template_id, row.version).await?;
            let issued = match invoice_id {
                Some(id) => Some(Issued::load(conn, id).await.map_err(draft)?),
                None => None,
            };
            Ok((row, version, issued))
        })
        .await?;
    let kind: Kind = row.document_type.parse().map_err(Error::internal)?;
    if let Some(issued) = &issued {
        check(kind, issued)?;
    }
    let language = match (&row.language, &issued) {
        (Some(language), _) => language.parse().map_err(Error::internal)?,
        (None, Some(issued)) => pdf::language(issued)?,
        (None, None) => Language::En,
    };
    let facts = match &issued {
        Some(issued) => facts::document(&issued.row, &issued.lines, &issued.about)?,
        None if kind == Kind::CreditNote => samples::credit_note(),
        None => samples::invoice(),
    };
    let template = Template {
        kind,
        subject: version.subject.as_deref(),
        html: &version.html_content,
        css: version.css_content.as_deref(),
    };
    if kind.is_mail() {
        return mail(&template, issued.as_ref().map(|_| &facts), language);
    }
    let seller = issued.as_ref().and_then(|i| i.row.seller_snapshot.clone());
    let seller: Option<PartySnapshot> =
        seller.map(serde_json::from_value).transpose().map_err(Error::internal)?;
    let logo = seller.and_then(|s| s.logo_url);
    let bytes = pdf::page(app, &template, &facts, language, op.now, logo.as_deref()).await?;
    Ok(File { bytes, media_type: "application/pdf", name: "preview.pdf".into() })
}

/// A draft is refused as a wrong document, not as a wrong state.
fn draft(error: Error) -> Error {
    match error {
        Error::Conflict(_) => Error::field("invoice_id", "is a draft"),
        other => other,
    }
}

fn check(kind: Kind, issued: &Issued) -> Result<()> {
    let wanted = match kind {
        Kind::Invoice | Kind::EmailInvoice => "invoice",
        Kind::CreditNote | Kind::EmailCreditNote => "credit_note",
        Kind::EmailTrialEnding | Kind::EmailPaymentFailed | Kind::EmailRenewalPriceChange => {
            return Err(Error::field("invoice_id", "is not what this template is rendered with"));
        }
    };
    if issued.row.document_type == wanted {
        Ok(())
    } else {
        Err(Error::field("invoice_id", format!("is not of the kind {wanted}")))
    }
}

fn mail(template: &Template<'_>, facts: Option<&Document>, language: Language) -> Result<File> {
    let context = match facts {
        Some(facts) => Context::InvoiceMail(Box::new(
            InvoiceMail::new(facts, &Envelope::default(), language).map_err(Error::internal)?,
        )),
        None => samples::context(template.kind, language),
    };
    let rendered = scaicontrol_templates::render(template, &context);
    match rendered.map_err(|e| Error::field("html_content", e.to_string()))? {
        Rendered::Mail { html, .. } => Ok(File {
            bytes: html.into_bytes(),
            media_type: "text/html; charset=utf-8",
            name: "preview.html".into(),
        }),
        Rendered::Document { .. } => Err(Error::internal("a mail's template made a document")),
    }
}
