//! Billing profiles: whom a tenant's invoices are made out to.
//!
//! A tenant writes its own; only an administrator decides whether it is exempt from VAT. A save replaces the whole
//! profile under the lock of the tenant's row, which also counts the tenant's events. A save that changes nothing writes
//! nothing and tells nobody. Issued documents carry a copy, so nothing here ever reaches them.
mod input;
pub mod store;
pub mod view;

pub use store::ProfileRow;

use crate::app::Control;
use crate::audit;
use crate::db::Conn;
use crate::directory;
use crate::directory::store::TenantRow;
use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::op::OpContext;
use crate::templates;
use input::{Created, Input};
use scaicontrol_types as api;

/// The caller's own profile, if it has one.
pub async fn get(op: &OpContext, app: &Control) -> Result<Option<api::BillingProfileResponse>> {
    let found = app.db.read(op, async |conn| store::find(conn, op.tenant_id()).await).await?;
    found.map(view::profile).transpose()
}

/// Saves the caller's own profile.
///
/// Errors: 400 for a field that is not as it must be; 403 naming `tax_exempt` when it would change.
pub async fn upsert(
    op: &OpContext,
    app: &Control,
    body: api::BillingProfileCreateUpdate,
) -> Result<api::BillingProfileResponse> {
    save(op, app, op.tenant_id(), &body.into(), "billing_profile_upsert").await
}

/// Saves the profile of a tenant that the caller administers.
///
/// Errors: 400 for a field that is not as it must be, or without the reasons that a change of `tax_exempt` needs; 404
/// for an unknown tenant, or another partner's.
pub async fn admin_upsert(
    op: &OpContext,
    app: &Control,
    tenant_id: &str,
    body: api::AdminBillingProfileUpsertRequest,
) -> Result<api::BillingProfileResponse> {
    save(op, app, tenant_id, &body.into(), "admin_tenant_billing_profile_upsert").await
}

async fn save(
    op: &OpContext,
    app: &Control,
    tenant_id: &str,
    input: &Input,
    name: &'static str,
) -> Result<api::BillingProfileResponse> {
    app.db
        .tx(op, name, async |conn| {
            let tenant =
                directory::store::tenant_lock(conn, tenant_id).await?.ok_or(Error::NotFound("tenant"))?;
            let before = store::find(conn, tenant_id).await?;
            let created = Created { tenant_id, partner_id: &tenant.partner_id, now: op.now };
            let mut after = input.row(before.as_ref(), created)?;
            if before.as_ref() == Some(&after) {
                return view::profile(after);
            }
            templates_known(conn, &tenant, before.as_ref(), &after).await?;
            after.updated_at = op.now;
            match &before {
                None => store::insert(conn, &after).await?,
                Some(_) => store::update(conn, &after).await?,
            }
            tell(conn, op, &tenant, before.as_ref(), &after).await?;
            let entry = audit::Entry {
                object_type: "billing_profile",
                object_id: tenant_id.to_owned(),
                tenant_id: Some(tenant_id),
                partner_id: Some(&tenant.partner_id),
                reason: input.reason(),
            };
            audit::record(conn, op, entry, before.as_ref(), Some(&after)).await?;
            view::profile(after)
        })
        .await
}

/// A template that is chosen anew must be there.
async fn templates_known(
    conn: &mut Conn,
    tenant: &TenantRow,
    before: Option<&ProfileRow>,
    after: &ProfileRow,
) -> Result<()> {
    let owner = (Some(tenant.tenant_id.as_str()), tenant.partner_id.as_str());
    let chosen = |was: Option<&Option<String>>, is: &Option<String>| is.clone().filter(|_| was != Some(is));
    let document = chosen(before.map(|b| &b.invoice_template_name), &after.invoice_template_name);
    let mail = chosen(before.map(|b| &b.email_template_name), &after.email_template_name);
    templates::require(conn, owner, document.as_deref(), mail.as_deref()).await
}

async fn tell(
    conn: &mut Conn,
    op: &OpContext,
    tenant: &TenantRow,
    before: Option<&ProfileRow>,
    after: &ProfileRow,
) -> Result<()> {
    let event = |topic, sequence| Event {
        topic,
        tenant_id: Some(&tenant.tenant_id),
        partner_id: Some(&tenant.partner_id),
        object_id: tenant.tenant_id.clone(),
        sequence,
        step: "",
    };
    let Some(before) = before else {
        let sequence = directory::store::tenant_event(conn, &tenant.tenant_id).await?;
        return events::emit(
            conn,
            op,
            event("tenant.billing_linked", sequence),
            &view::linked(after, op.now),
        )
        .await;
    };
    let changed = directory::changed_fields(before, after, BOOKKEEPING)?;
    if changed.is_empty() {
        return Ok(());
    }
    let sequence = directory::store::tenant_event(conn, &tenant.tenant_id).await?;
    events::emit(conn, op, event("tenant.billing_updated", sequence), &view::updated(after, op.now, changed))
        .await
}

/// Columns that are not fields of the profile.
const BOOKKEEPING: &[&str] = &[
    "tenant_id",
    "partner_id",
    "vat_number_status",
    "vat_number_checked_at",
    "vat_check_attempts",
    "vat_check_at",
    "created_at",
    "updated_at",
];
