//! Partners and how they appear as sellers.
//!
//! Whoever creates or changes one leaves a configuration that is consistent as a whole. Subscribers are told when name
//! and country are there for the first time, and of each change after that; the counter of a partner's events tells
//! whether it ever was.
use super::store::{self, Named, PartnerRow};
use super::{changed_fields, view};
use crate::app::Control;
use crate::audit;
use crate::checks::{self, Checks, optional};
use crate::config::Config;
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::error::{Error, Field, Result};
use crate::events::{self, Event};
use crate::op::{OpContext, Scope};
use crate::templates;
use scaicontrol_domain::ids;
use scaicontrol_types as api;

/// First part of the numbers of a partner that chose none.
const NUMBER_PREFIX: &str = "SCAI";

/// Columns that are not fields of the seller configuration.
const BOOKKEEPING: &[&str] =
    &["partner_id", "name", "is_active", "event_sequence", "source_updated_at", "created_at", "updated_at"];

/// A page of partners, with a text in name, legal name or id.
pub async fn list(
    op: &OpContext,
    app: &Control,
    page: &PageRequest,
    q: Option<&str>,
) -> Result<(Vec<api::PartnerResponse>, api::Pagination)> {
    let pattern = q.map(checks::pattern);
    let (rows, count) =
        app.db.read(op, async |conn| store::partners(conn, pattern.as_deref(), page).await).await?;
    let (rows, pagination) = page.finish(rows, count, |row| Named::key(&row.name, &row.partner_id));
    Ok((rows.into_iter().map(view::partner).collect(), pagination))
}

/// One partner.
///
/// Errors: 404 for an unknown partner, or another one than the caller's.
pub async fn get(op: &OpContext, app: &Control, partner_id: &str) -> Result<api::PartnerResponse> {
    let found = app.db.read(op, async |conn| store::partner(conn, partner_id).await).await?;
    found.map(view::partner).ok_or(Error::NotFound("partner"))
}

/// Takes up a partner before the identity provider tells of it.
///
/// Errors: 400 for a field that is not as it must be; 409 when it is known.
pub async fn create(
    op: &OpContext,
    app: &Control,
    body: &api::PartnerCreateRequest,
) -> Result<api::PartnerResponse> {
    let (partner_id, given) = configuration(body.clone());
    app.db
        .once(op, "admin_partner_create", async |conn| {
            let mut row = changed(&app.config, &unconfigured(op, &partner_id), &given)?;
            home_tenant_check(conn, &row).await?;
            templates_known(conn, None, &row).await?;
            let event = view::linked(&row, op.now);
            row.event_sequence = i64::from(event.is_some());
            store::partner_insert(conn, &row).await?;
            if let Some(event) = event {
                events::emit(conn, op, topic("partner.billing_linked", &row), &event).await?;
            }
            audit::record(conn, op, audited(&row), None::<&()>, Some(&row)).await?;
            Ok(view::partner(row))
        })
        .await
}

/// Changes what is given of a partner.
///
/// Errors: 400 for a field that is not as it must be, and for an empty body; 403 when a partner changes its home tenant;
/// 404 for an unknown partner, or another one than the caller's.
pub async fn update(
    op: &OpContext,
    app: &Control,
    partner_id: &str,
    body: &api::PartnerUpdateRequest,
) -> Result<api::PartnerResponse> {
    let given = serde_json::to_value(body).map_err(Error::internal)?;
    if given.as_object().is_none_or(serde_json::Map::is_empty) {
        return Err(Error::bad("give at least one field to change"));
    }
    app.db
        .tx(op, "admin_partner_update", async |conn| {
            let before = store::partner_lock(conn, partner_id).await?.ok_or(Error::NotFound("partner"))?;
            let mut after = changed(&app.config, &before, body)?;
            if after.home_tenant_id != before.home_tenant_id {
                if op.scope != Scope::Platform {
                    return Err(home_tenant_refused());
                }
                home_tenant_check(conn, &after).await?;
            }
            if after == before {
                return Ok(view::partner(after));
            }
            templates_known(conn, Some(&before), &after).await?;
            after.updated_at = op.now;
            tell(conn, op, &before, &mut after).await?;
            store::partner_update(conn, &after).await?;
            audit::record(conn, op, audited(&after), Some(&before), Some(&after)).await?;
            Ok(view::partner(after))
        })
        .await
}

/// A template that is chosen anew must be there.
async fn templates_known(conn: &mut Conn, before: Option<&PartnerRow>, after: &PartnerRow) -> Result<()> {
    let chosen = |was: Option<&Option<String>>, is: &Option<String>| is.clone().filter(|_| was != Some(is));
    let document = chosen(before.map(|b| &b.invoice_template_name), &after.invoice_template_name);
    let mail = chosen(before.map(|b| &b.email_template_name), &after.email_template_name);
    templates::require(conn, (None, &after.partner_id), document.as_deref(), mail.as_deref()).await
}

/// A partner of which only the id is known.
fn unconfigured(op: &OpContext, partner_id: &str) -> PartnerRow {
    PartnerRow {
        partner_id: partner_id.to_owned(),
        name: partner_id.to_owned(),
        is_active: true,
        legal_name: None,
        seller_address_line1: None,
        seller_address_line2: None,
        seller_postal_code: None,
        seller_city: None,
        seller_state: None,
        seller_country_code: None,
        seller_vat_number: None,
        seller_tax_number: None,
        seller_registration_number: None,
        seller_contact_name: None,
        seller_email: None,
        seller_phone: None,
        seller_iban: None,
        seller_bic: None,
        seller_peppol_id: None,
        seller_peppol_scheme: None,
        small_business_note: None,
        support_email: None,
        logo_url: None,
        invoice_number_prefix: NUMBER_PREFIX.to_owned(),
        invoice_template_name: None,
        email_template_name: None,
        timezone: chrono_tz::UTC.name().to_owned(),
        oss_registered: false,
        home_tenant_id: None,
        event_sequence: 0,
        source_updated_at: None,
        created_at: op.now,
        updated_at: op.now,
    }
}

/// What a new partner is configured with, as a change of one that has nothing.
fn configuration(body: api::PartnerCreateRequest) -> (String, api::PartnerUpdateRequest) {
    let given = api::PartnerUpdateRequest {
        name: Some(body.name),
        legal_name: body.legal_name.map(Some),
        seller_address_line1: body.seller_address_line1.map(Some),
        seller_address_line2: body.seller_address_line2.map(Some),
        seller_postal_code: body.seller_postal_code.map(Some),
        seller_city: body.seller_city.map(Some),
        seller_state: body.seller_state.map(Some),
        seller_country_code: body.seller_country_code.map(Some),
        seller_vat_number: body.seller_vat_number.map(Some),
        seller_registration_number: body.seller_registration_number.map(Some),
        seller_email: body.seller_email.map(Some),
        seller_phone: body.seller_phone.map(Some),
        seller_iban: body.seller_iban.map(Some),
        seller_bic: body.seller_bic.map(Some),
        invoice_number_prefix: body.invoice_number_prefix,
        invoice_template_name: body.invoice_template_name.map(Some),
        email_template_name: body.email_template_name.map(Some),
        timezone: body.timezone,
        oss_registered: body.oss_registered,
        seller_contact_name: body.seller_contact_name.map(Some),
        seller_tax_number: body.seller_tax_number.map(Some),
        seller_peppol_id: body.seller_peppol_id.map(Some),
        seller_peppol_scheme: body.seller_peppol_scheme.map(Some),
        small_business_note: body.small_business_note.map(Some),
        support_email: body.support_email.map(Some),
        logo_url: body.logo_url.map(Some),
        home_tenant_id: body.home_tenant_id.map(Some),
    };
    (body.partner_id, given)
}

/// The partner with the given fields in place of what it has.
///
/// Errors: 400 naming every field that is not as it must be.
fn changed(config: &Config, before: &PartnerRow, body: &api::PartnerUpdateRequest) -> Result<PartnerRow> {
    let mut checks = Checks::default();
    let mut row = before.clone();
    let set = |column: &mut Option<String>, given: &Option<Option<String>>| {
        if let Some(value) = given {
            *column = optional(value.as_deref());
        }
    };
    set(&mut row.legal_name, &body.legal_name);
    set(&mut row.seller_address_line1, &body.seller_address_line1);
    set(&mut row.seller_address_line2, &body.seller_address_line2);
    set(&mut row.seller_postal_code, &body.seller_postal_code);
    set(&mut row.seller_city, &body.seller_city);
    set(&mut row.seller_state, &body.seller_state);
    set(&mut row.seller_country_code, &body.seller_country_code);
    set(&mut row.seller_vat_number, &body.seller_vat_number);
    set(&mut row.seller_registration_number, &body.seller_registration_number);
    set(&mut row.seller_email, &body.seller_email);
    set(&mut row.seller_phone, &body.seller_phone);
    set(&mut row.seller_iban, &body.seller_iban);
    set(&mut row.seller_bic, &body.seller_bic);
    set(&mut row.invoice_template_name, &body.invoice_template_name);
    set(&mut row.email_template_name, &body.email_template_name);
    set(&mut row.seller_contact_name, &body.seller_contact_name);
    set(&mut row.seller_tax_number, &body.seller_tax_number);
    set(&mut row.seller_peppol_id, &body.seller_peppol_id);
    set(&mut row.seller_peppol_scheme, &body.seller_peppol_scheme);
    set(&mut row.small_business_note, &body.small_business_note);
    set(&mut row.support_email, &body.support_email);
    set(&mut row.logo_url, &body.logo_url);
    set(&mut row.home_tenant_id, &body.home_tenant_id);
    if let Some(name) = &body.name {
        row.name = checks.text("name", name);
    }
    row.invoice_number_prefix = body.invoice_number_prefix.clone().unwrap_or(row.invoice_number_prefix);
    row.timezone = body.timezone.clone().unwrap_or(row.timezone);
    row.oss_registered = body.oss_registered.unwrap_or(row.oss_registered);
    check(&mut checks, config, &mut row);
    checks.finish()?;
    Ok(row)
}

/// Brings the fields to their plain form and notes what is wrong with them, alone and together.
fn check(checks: &mut Checks, config: &Config, row: &mut PartnerRow) {
    row.seller_country_code =
        row.seller_country_code.take().map(|code| checks.country("seller_country_code", &code));
    row.seller_vat_number =
        row.seller_vat_number.take().map(|text| checks.vat_number("seller_vat_number", &text));
    row.seller_iban = row.seller_iban.take().map(|text| checks.iban("seller_iban", &text));
    let bic = row.seller_bic.as_deref().is_none_or(ids::is_bic);
    checks.require(bic, "seller_bic", "is not a BIC: its form or its country is wrong");
    checks.peppol(
        ("seller_peppol_id", row.seller_peppol_id.as_deref()),
        ("seller_peppol_scheme", row.seller_peppol_scheme.as_deref()),
    );
    checks.timezone("timezone", &row.timezone);
    if let Some(url) = row.logo_url.as_deref() {
        checks.url(config, "logo_url", url);
    }
}

/// Refuses a home tenant that is not one of the partner's.
async fn home_tenant_check(conn: &mut Conn, row: &PartnerRow) -> Result<()> {
    let Some(tenant_id) = &row.home_tenant_id else { return Ok(()) };
    match store::tenant(conn, tenant_id).await? {
        Some(tenant) if tenant.partner_id == row.partner_id => Ok(()),
        _ => Err(Error::field("home_tenant_id", "is not a tenant of this partner")),
    }
}

fn home_tenant_refused() -> Error {
    let details =
        vec![Field { field: "home_tenant_id".into(), message: "only the platform may change it".into() }];
    Error::Forbidden { message: "home_tenant_id cannot be changed by the partner".into(), details }
}

/// Writes the event of a change, and counts it. While name or country is missing there is nothing to tell.
async fn tell(conn: &mut Conn, op: &OpContext, before: &PartnerRow, after: &mut PartnerRow) -> Result<()> {
    let changed = changed_fields(before, after, BOOKKEEPING)?;
    if changed.is_empty() {
        return Ok(());
    }
    let next = before.event_sequence + 1;
    if before.event_sequence == 0 {
        if let Some(data) = view::linked(after, op.now) {
            after.event_sequence = next;
            events::emit(conn, op, topic("partner.billing_linked", after), &data).await?;
        }
    } else if let Some(data) = view::updated(after, op.now, changed) {
        after.event_sequence = next;
        events::emit(conn, op, topic("partner.billing_updated", after), &data).await?;
    }
    Ok(())
}

fn topic<'a>(topic: &'static str, row: &'a PartnerRow) -> Event<'a> {
    Event {
        topic,
        tenant_id: None,
        partner_id: Some(&row.partner_id),
        object_id: row.partner_id.clone(),
        sequence: row.event_sequence,
        step: "",
    }
}

fn audited(row: &PartnerRow) -> audit::Entry<'_> {
    audit::Entry {
        object_type: "partner",
        object_id: row.partner_id.clone(),
        tenant_id: None,
        partner_id: Some(&row.partner_id),
        reason: None,
    }
}
