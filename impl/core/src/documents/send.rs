//! Sending a document by mail: the PDF, with its e-invoice inside or beside it.
//!
//! The mail is rendered and queued in the transaction that marks the document as sent. Its files go into the object store
//! before that; when the PDF cannot be rendered now, the mail is held, and let go by whoever renders it later.
use super::original::{self, OriginalRow};
use super::{Issued, facts, hybrid, pdf, store};
use crate::app::Control;
use crate::audit;
use crate::billing::store::{self as invoice_store, InvoiceRow};
use crate::billing::{drafts, view};
use crate::db::Conn;
use crate::db::schema::{billing_profiles, partners, run_drafts, users};
use crate::error::{Error, Result};
use crate::gateways::mail::address as is_address;
use crate::mails::{self, File as MailFile, Files, MailKind, NewMail};
use crate::op::{OpContext, Scope};
use crate::templates;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_einvoice::Format;
use scaicontrol_templates::mail::{Envelope, InvoiceMail};
use scaicontrol_templates::{Context, Kind, Language, Rendered};
use scaicontrol_types::InvoiceMailResponse;
use uuid::Uuid;

/// Queues a mail with an issued document: to any address, or to the billing contact of its tenant.
///
/// Errors: 400 without an address; 404; 409 for a draft or a void document.
pub async fn send(
    op: &OpContext,
    app: &Control,
    invoice_id: Uuid,
    to: Option<&str>,
) -> Result<InvoiceMailResponse> {
    queue(op, app, invoice_id, to, Whom::Anybody).await
}

/// Queues a mail with a document of the caller's tenant: to one of its users, or its billing contact.
///
/// Errors: as [`send`], 400 for an address of somebody else, 429 after ten mails of one document in a day.
pub async fn send_own(
    op: &OpContext,
    app: &Control,
    invoice_id: Uuid,
    to: Option<&str>,
) -> Result<InvoiceMailResponse> {
    queue(op, app, invoice_id, to, Whom::OwnPeople).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    Anybody,
    OwnPeople,
}

async fn queue(
    op: &OpContext,
    app: &Control,
    invoice_id: Uuid,
    to: Option<&str>,
    whom: Whom,
) -> Result<InvoiceMailResponse> {
    let (issued, to) = app
        .db
        .read(op, async |conn| {
            let issued = Issued::load(conn, invoice_id).await?;
            if issued.row.status == "void" {
                return Err(Error::conflict("the document is void"));
            }
            let to = address(conn, &issued.row, to, whom).await?;
            Ok((issued, to))
        })
        .await?;
    let files = match attach(op, app, &issued).await {
        Ok(files) => Files::Ready(files),
        Err(Error::Unavailable(_)) => Files::Held,
        Err(e) => return Err(e),
    };
    // What the caller may do was asked under its own role; rows of mails and documents are the system's to write.
    let system = &op.with_scope(Scope::Platform);
    app.db
        .once(system, "invoice_send", async |conn| {
            let mut row = invoice_store::lock(conn, invoice_id).await?;
            if row.status == "void" {
                return Err(Error::conflict("the document is void"));
            }
            if whom == Whom::OwnPeople {
                mails::limit(conn, &row.tenant_id, invoice_id, op.now).await?;
            }
            let language = write(conn, system, app, &issued, &to, files.clone()).await?;
            mark_sent(conn, system, &mut row).await?;
            Ok(InvoiceMailResponse {
                invoice_id,
                number: row.number.clone().unwrap_or_default(),
                status: crate::subscriptions::view::parse(&row.status)?,
                to: to.clone(),
                language: crate::subscriptions::view::parse(language.as_str())?,
                queued_at: op.now,
            })
        })
        .await
}

/// The document has been sent, and says so unless it is further than that.
async fn mark_sent(conn: &mut Conn, op: &OpContext, row: &mut InvoiceRow) -> Result<()> {
    let before = view::invoice(row)?;
    if row.status == "finalized" {
        (row.status, row.sent_at, row.updated_at) = ("sent".into(), Some(op.now), op.now);
        invoice_store::save(conn, row).await?;
    }
    audit::record(conn, op, drafts::audited(row), Some(&before), Some(&view::invoice(row)?)).await
}

/// Sends what the billing run has issued to the tenant's billing contact, once, and strikes it off the run's list; answers
/// whether it was sent. The mail waits for the PDF, which whoever renders it lets go.
///
/// `drafted` is the id that the run knows it by.
pub async fn by_run(op: &OpContext, app: &Control, invoice_id: Uuid, drafted: Uuid) -> Result<bool> {
    let (sent, is_rendered, tenant_id) = app
        .db
        .tx(op, "run_send", async |conn| {
            let mut row = invoice_store::lock(conn, invoice_id).await?;
            let tenant_id = row.tenant_id.clone();
            let strike = [drafted, invoice_id];
            let is_due =
                row.status != "void" && !mails::store::is_mailed(conn, &tenant_id, invoice_id).await?;
            let contact = if is_due { contact(conn, &row).await? } else { None };
            // Whoever renders the PDF waits for this transaction, and then sees the mail; unless it was faster.
            let is_rendered = store::hold_first(conn, &tenant_id, invoice_id).await?;
            if let Some(to) = &contact {
                let issued = Issued::load(conn, invoice_id).await?;
                write(conn, op, app, &issued, to, Files::Held).await?;
                mark_sent(conn, op, &mut row).await?;
            }
            if !is_rendered {
                strike_off(conn, &tenant_id, &strike).await?;
            }
            Ok((contact.is_some(), is_rendered, tenant_id))
        })
        .await?;
    if is_rendered {
        let issued = app.db.read(op, async |conn| Issued::load(conn, invoice_id).await).await?;
        let pdf = pdf::download(op, app, invoice_id).await?;
        release(op, app, &issued, &pdf.bytes).await?;
        app.db
            .tx(op, "run_sent", async |conn| strike_off(conn, &tenant_id, &[drafted, invoice_id]).await)
            .await?;
    }
    Ok(sent)
}

/// Nothing is left to do of these for the run.
async fn strike_off(conn: &mut Conn, tenant_id: &str, ids: &[Uuid]) -> Result<()> {
    use run_drafts as t;
    let done = t::table.filter(t::tenant_id.eq(tenant_id).and(t::invoice_id.eq_any(ids)));
    diesel::delete(done).execute(conn).await?;
    Ok(())
}

/// The tenant's billing contact.
async fn contact(conn: &mut Conn, row: &InvoiceRow) -> Result<Option<String>> {
    let contact: Option<Option<String>> = billing_profiles::table
        .find(&row.tenant_id)
        .select(billing_profiles::contact_email)
        .first(conn)
        .await
        .optional()?;
    // An address that no mail can go to is as good as none: the document is in the tenant's list.
    Ok(contact.flatten().filter(|to| is_address(to).is_some()))
}

/// Whom it goes to: the address that was given, if it may be, or the tenant's billing contact.
async fn address(conn: &mut Conn, row: &InvoiceRow, to: Option<&str>, whom: Whom) -> Result<String> {
    let contact: Option<Option<String>> = billing_profiles::table
        .find(&row.tenant_id)
        .select(billing_profiles::contact_email)
        .first(conn)
        .await
        .optional()?;
    let contact = contact.flatten();
    let Some(to) = to else {
        return contact
            .ok_or_else(|| Error::field("to", "is required: the billing profile has no contact_email"));
    };
    if whom == Whom::OwnPeople && contact.as_deref() != Some(to) {
        let known: i64 = users::table
            .filter(users::tenant_id.eq(&row.tenant_id).and(users::email.eq(to)).and(users::is_active))
            .count()
            .get_result(conn)
            .await?;
        if known == 0 {
            return Err(Error::field("to", "is neither the billing contact nor a user of this organization"));
        }
    }
    Ok(to.to_owned())
}

/// Renders the mail and queues it; answers its language.
async fn write(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    issued: &Issued,
    to: &str,
    files: Files,
) -> Result<Language> {
    let row = &issued.row;
    let language = pdf::language(issued)?;
    let (kind, mail_kind) = match row.document_type.as_str() {
        "credit_note" => (Kind::EmailCreditNote, MailKind::CreditNote),
        _ => (Kind::EmailInvoice, MailKind::Invoice),
    };
    let owner = (row.tenant_id.as_str(), row.partner_id.as_str());
    let source = templates::chosen(conn, owner, kind, language).await?;
    let facts = facts::document(row, &issued.lines, &issued.about)?;
    let portal_url = app.config.public_url.clone();
    let envelope = Envelope { recipient_name: None, portal_url, message: None };
    let context = InvoiceMail::new(&facts, &envelope, language).map_err(Error::internal)?;
    let rendered =
        scaicontrol_templates::render(&source.as_template(kind), &Context::InvoiceMail(Box::new(context)));
    let Rendered::Mail { subject, html, text } = rendered.map_err(Error::internal)? else {
        return Err(Error::internal("a mail's template made a document"));
    };
    let seller: Option<String> =
        partners::table.find(&row.partner_id).select(partners::seller_email).first(conn).await?;
    mails::enqueue(
        conn,
        op,
        NewMail {
            tenant_id: &row.tenant_id,
            partner_id: &row.partner_id,
            kind: mail_kind,
            invoice_id: Some(row.invoice_id),
            template_name: &source.name,
            language: language.as_str(),
            from_name: Some(&facts.seller.name),
            reply_to: seller.as_deref(),
            to,
            subject: &subject,
            text: &text,
            html: Some(&html),
            files,
        },
    )
    .await?;
    Ok(language)
}

/// The files of a document's mail, in the object store: its PDF, with the e-invoice inside or beside it.
///
/// Errors: 503 when the PDF cannot be rendered or stored now.
async fn attach(op: &OpContext, app: &Control, issued: &Issued) -> Result<Vec<MailFile>> {
    let row = &issued.row;
    let kept = app.db.read(op, async |conn| original::get(conn, row).await).await?;
    let plain = pdf::download(op, app, row.invoice_id).await?;
    files(app, issued, &kept, &plain.bytes).await
}

async fn files(app: &Control, issued: &Issued, kept: &OriginalRow, pdf: &[u8]) -> Result<Vec<MailFile>> {
    let format: Format = kept.format.parse().map_err(Error::internal)?;
    let number = issued.number();
    let file = |key: String, extension: &str, content_type: &str| MailFile {
        key,
        file_name: format!("{number}.{extension}"),
        content_type: content_type.into(),
    };
    if format.is_hybrid() {
        let hybrid = hybrid(issued, pdf, &kept.content)?;
        let stored = app.objects.put("pdf", "pdf", hybrid.into()).await?;
        return Ok(vec![file(stored.key, "pdf", "application/pdf")]);
    }
    let stored = app.objects.put("pdf", "pdf", pdf.to_vec().into()).await?;
    let xml = app.objects.put("einvoice", "xml", kept.content.clone().into()).await?;
    Ok(vec![file(stored.key, "pdf", "application/pdf"), file(xml.key, "xml", "application/xml")])
}

/// Lets the mails go that waited for a document's PDF.
pub async fn release(op: &OpContext, app: &Control, issued: &Issued, pdf: &[u8]) -> Result<()> {
    let row = &issued.row;
    let held =
        app.db.read(op, async |conn| mails::store::held(conn, &row.tenant_id, row.invoice_id).await).await?;
    if held.is_empty() {
        return Ok(());
    }
    let kept = app.db.read(op, async |conn| original::get(conn, row).await).await?;
    let files = files(app, issued, &kept, pdf).await?;
    app.db
        .tx(op, "mails_release", async |conn| {
            for mail_id in &held {
                mails::release(conn, &row.tenant_id, *mail_id, files.clone()).await?;
            }
            Ok(())
        })
        .await
}
