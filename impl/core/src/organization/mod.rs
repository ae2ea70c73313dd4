//! A tenant as its own users see it: its name and settings, the people in it, and whom it buys from.
//!
//! Nothing here reaches an invoice; the billing profile does (`profiles/`). Of its partner a tenant sees the public
//! identity alone, through a function of the database that answers for the caller's own tenant only.
pub mod store;
mod view;

use crate::app::Control;
use crate::audit;
use crate::checks::Checks;
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::directory;
use crate::directory::TenantRow;
use crate::error::{Error, Result};
use crate::op::OpContext;
use scaicontrol_types as api;

/// The caller's tenant.
pub async fn get(op: &OpContext, app: &Control) -> Result<api::OrganizationResponse> {
    app.db
        .read(op, async |conn| {
            let tenant = directory::store::tenant(conn, op.tenant_id()).await?;
            whole(conn, tenant.ok_or(Error::NotFound("organization"))?).await
        })
        .await
}

/// Changes what is given of the caller's tenant. What changes nothing writes nothing.
///
/// Errors: 400 naming every field that is not as it must be.
pub async fn update(
    op: &OpContext,
    app: &Control,
    body: &api::OrganizationUpdateRequest,
) -> Result<api::OrganizationResponse> {
    app.db
        .tx(op, "organization_update", async |conn| {
            let before = directory::store::tenant_lock(conn, op.tenant_id()).await?;
            let before = before.ok_or(Error::NotFound("organization"))?;
            let mut after = changed(&before, body)?;
            if after == before {
                return whole(conn, after).await;
            }
            after.updated_at = op.now;
            store::update(conn, &after).await?;
            let entry = audit::Entry {
                object_type: "tenant",
                object_id: after.tenant_id.clone(),
                tenant_id: Some(&before.tenant_id),
                partner_id: Some(&before.partner_id),
                reason: None,
            };
            audit::record(conn, op, entry, Some(&before), Some(&after)).await?;
            whole(conn, after).await
        })
        .await
}

/// The tenant with the given fields in place of what it has.
fn changed(before: &TenantRow, body: &api::OrganizationUpdateRequest) -> Result<TenantRow> {
    let mut checks = Checks::default();
    let mut row = before.clone();
    if let Some(name) = &body.name {
        row.name = checks.text("name", name);
    }
    if let Some(language) = body.preferred_language {
        row.preferred_language = language.map(|l| l.to_string());
    }
    if let Some(timezone) = &body.timezone {
        if let Some(name) = timezone {
            checks.timezone("timezone", name);
        }
        row.timezone.clone_from(timezone);
    }
    if let Some(metadata) = &body.metadata {
        row.metadata = checks.metadata("metadata", metadata);
    }
    checks.finish()?;
    Ok(row)
}

async fn whole(conn: &mut Conn, tenant: TenantRow) -> Result<api::OrganizationResponse> {
    let partner = own_partner(conn).await?;
    view::organization(tenant, partner)
}

async fn own_partner(conn: &mut Conn) -> Result<store::OwnPartner> {
    store::own_partner(conn).await?.ok_or(Error::NotFound("partner"))
}

/// Whom the caller's tenant buys from.
pub async fn partner(op: &OpContext, app: &Control) -> Result<api::OrganizationPartnerResponse> {
    let found = app.db.read(op, async |conn| own_partner(conn).await).await?;
    Ok(view::partner(found))
}

/// A page of the users of the caller's tenant, the first that came first.
pub async fn users(
    op: &OpContext,
    app: &Control,
    page: &PageRequest,
) -> Result<(Vec<api::UserResponse>, api::Pagination)> {
    let (rows, count) = app.db.read(op, async |conn| store::users(conn, op.tenant_id(), page).await).await?;
    let (rows, pagination) = page.finish(rows, count, |row| store::Since::key(row.created_at, &row.user_id));
    Ok((rows.into_iter().map(view::user).collect::<Result<_>>()?, pagination))
}
