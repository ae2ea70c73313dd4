//! Mails that the platform writes by itself: to the billing contact of a tenant, in the tenant's language, in the name of
//! its partner.
//!
//! They are made of the template that the tenant or its partner chose. When that one fails, the one that comes with the
//! program takes its place: what such a mail tells must not wait for a template. The limit of mails of one document in a
//! day is for people, and does not hold for them.
use super::{Files, MailKind, NewMail, enqueue};
use crate::billing::tax::{BuyerRow, Parties, SellerRow};
use crate::db::Conn;
use crate::db::schema::{billing_profiles, partners, tenants};
use crate::documents::facts;
use crate::error::{Error, Result};
use crate::gateways::mail::address;
use crate::op::OpContext;
use crate::templates::{self, Source};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_templates::document::Party;
use scaicontrol_templates::{Context, Kind, Language, Rendered, render};
use uuid::Uuid;

/// Whom the platform writes to, and in whose name.
#[derive(Clone, Debug)]
pub struct Correspondents {
    /// Who sells.
    pub seller: Party,
    /// Who buys.
    pub buyer: Party,
    /// Address of the billing contact; none: nobody can be written to.
    pub to: Option<String>,
    /// The tenant's language.
    pub language: Language,
}

impl Correspondents {
    /// Loads a tenant's; none when it has no billing profile.
    pub async fn load(conn: &mut Conn, tenant_id: &str, partner_id: &str) -> Result<Option<Self>> {
        let buyer: Option<BuyerRow> = billing_profiles::table
            .find(tenant_id)
            .select(BuyerRow::as_select())
            .first(conn)
            .await
            .optional()?;
        let Some(buyer) = buyer else { return Ok(None) };
        let (seller, name): (SellerRow, String) = partners::table
            .find(partner_id)
            .select((SellerRow::as_select(), partners::name))
            .first(conn)
            .await?;
        let language = match &buyer.preferred_language {
            Some(language) => Some(language.clone()),
            None => tenants::table.find(tenant_id).select(tenants::preferred_language).first(conn).await?,
        };
        let to = buyer.contact_email.clone().filter(|to| address(to).is_some());
        let parties = Parties { seller, buyer };
        let mut seller = facts::party(&parties.seller_snapshot());
        if seller.name.is_empty() {
            seller.name = name;
        }
        Ok(Some(Correspondents {
            seller,
            buyer: facts::party(&parties.buyer_snapshot()?),
            to,
            language: language.and_then(|l| l.parse().ok()).unwrap_or(Language::En),
        }))
    }
}

/// What a mail is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Whom it is for.
    pub tenant_id: &'a str,
    /// Whose customer that is.
    pub partner_id: &'a str,
    /// What it is about.
    pub kind: MailKind,
    /// The document that it is about.
    pub invoice_id: Option<Uuid>,
}

/// Queues a mail in the transaction of what it tells, when there is somebody to write to; answers whether there was.
pub async fn write(
    conn: &mut Conn,
    op: &OpContext,
    about: About<'_>,
    between: &Correspondents,
    context: &Context,
) -> Result<bool> {
    let Some(to) = &between.to else { return Ok(false) };
    let (kind, language) = (template_of(about.kind), between.language);
    let owner = (about.tenant_id, about.partner_id);
    let chosen = if Kind::ALL.contains(&kind) {
        templates::chosen(conn, owner, kind, language).await?
    } else {
        Source::builtin(kind, language)?
    };
    let (source, rendered) = match render(&chosen.as_template(kind), context) {
        Err(_) if chosen.stored.is_some() => {
            let source = Source::builtin(kind, language)?;
            let rendered = render(&source.as_template(kind), context);
            (source, rendered)
        }
        rendered => (chosen, rendered),
    };
    let Rendered::Mail { subject, html, text } = rendered.map_err(Error::internal)? else {
        return Err(Error::internal("a mail's template made a document"));
    };
    let mail = NewMail {
        tenant_id: about.tenant_id,
        partner_id: about.partner_id,
        kind: about.kind,
        invoice_id: about.invoice_id,
        template_name: &source.name,
        language: language.as_str(),
        from_name: Some(&between.seller.name),
        reply_to: between.seller.email.as_deref(),
        to,
        subject: &subject,
        text: &text,
        html: Some(&html),
        files: Files::Ready(vec![]),
    };
    enqueue(conn, op, mail).await?;
    Ok(true)
}

/// The kind of template that a kind of mail is made of.
fn template_of(kind: MailKind) -> Kind {
    match kind {
        MailKind::Invoice => Kind::EmailInvoice,
        MailKind::CreditNote => Kind::EmailCreditNote,
        MailKind::TrialEnding => Kind::EmailTrialEnding,
        MailKind::PaymentFailed => Kind::EmailPaymentFailed,
        MailKind::RenewalPriceChange => Kind::EmailRenewalPriceChange,
    }
}
