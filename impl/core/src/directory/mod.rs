//! Who there is: partners that sell and tenants that buy, as the API shows and configures them.
//!
//! Partners and tenants come from the identity provider; what is configured here (how a partner appears as a seller) is
//! ours and survives every synchronisation. Who sees whom is decided by the database: another partner's rows are not
//! there.
pub mod partners;
pub mod store;
pub mod view;

pub use store::{PartnerRow, TenantRow};

use crate::app::Control;
use crate::checks;
use crate::db::page::PageRequest;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::{profiles, subscriptions};
use scaicontrol_types as api;
use serde::Serialize;
use serde_json::Value;
use store::{Named, TenantFilter};

/// A page of the tenants that the caller sees, with a text in name, id or company name.
pub async fn tenant_list(
    op: &OpContext,
    app: &Control,
    page: &PageRequest,
    q: Option<&str>,
) -> Result<(Vec<api::TenantResponse>, api::Pagination)> {
    let pattern = q.map(checks::pattern);
    let filter = TenantFilter { pattern: pattern.as_deref(), with_company: true, partner_id: None };
    let (rows, count) = app.db.read(op, async |conn| store::tenants(conn, filter, page).await).await?;
    tenant_page(page, rows, count)
}

/// A page of the tenants that belong to a partner now, with a text in name or id.
///
/// Errors: 404 for an unknown partner, or another one than the caller's.
pub async fn partner_tenant_list(
    op: &OpContext,
    app: &Control,
    partner_id: &str,
    page: &PageRequest,
    q: Option<&str>,
) -> Result<(Vec<api::TenantResponse>, api::Pagination)> {
    let pattern = q.map(checks::pattern);
    let filter =
        TenantFilter { pattern: pattern.as_deref(), with_company: false, partner_id: Some(partner_id) };
    let found = app.db.read(op, async |conn| {
        store::partner(conn, partner_id).await?.ok_or(Error::NotFound("partner"))?;
        store::tenants(conn, filter, page).await
    });
    let (rows, count) = found.await?;
    tenant_page(page, rows, count)
}

fn tenant_page(
    page: &PageRequest,
    rows: Vec<TenantRow>,
    count: i64,
) -> Result<(Vec<api::TenantResponse>, api::Pagination)> {
    let (rows, pagination) = page.finish(rows, count, |row| Named::key(&row.name, &row.tenant_id));
    Ok((rows.into_iter().map(view::tenant).collect::<Result<_>>()?, pagination))
}

/// One tenant with its profile, subscriptions and balances, as far as they are the caller's to see.
///
/// Errors: 404 for an unknown tenant, or another partner's.
pub async fn tenant_get(op: &OpContext, app: &Control, tenant_id: &str) -> Result<api::TenantDetailResponse> {
    app.db
        .read(op, async |conn| {
            let row = store::tenant(conn, tenant_id).await?.ok_or(Error::NotFound("tenant"))?;
            let profile = profiles::store::find(conn, tenant_id).await?;
            let newest = store::subscriptions_newest(conn, tenant_id).await?;
            let newest = subscriptions::view::responses(conn, newest).await?;
            let balances = store::balances(conn, tenant_id).await?;
            view::tenant_detail(row, profile, newest, balances)
        })
        .await
}

/// Names of the fields in which two rows differ, `except` those that are no fields to a caller.
pub fn changed_fields<T: Serialize>(before: &T, after: &T, except: &[&str]) -> Result<Vec<String>> {
    let fields = |row: &T| match serde_json::to_value(row) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(Error::internal(format!("a row is not an object: {other}"))),
        Err(error) => Err(Error::internal(error)),
    };
    let (before, after) = (fields(before)?, fields(after)?);
    let changed =
        after.into_iter().filter(|(name, value)| before.get(name) != Some(value)).map(|(name, _)| name);
    Ok(changed.filter(|name| !except.contains(&name.as_str())).collect())
}

#[cfg(test)]
mod tests {
    use super::changed_fields;
    use serde_json::json;

    #[test]
    fn only_real_changes_of_real_fields_are_named() {
        let before = json!({"name": "a", "city": null, "updated_at": 1, "state": "x"});
        let after = json!({"name": "b", "city": null, "updated_at": 2, "state": null});
        assert_eq!(
            changed_fields(&before, &after, &["updated_at"]).ok(),
            Some(vec!["name".into(), "state".into()])
        );
    }
}
