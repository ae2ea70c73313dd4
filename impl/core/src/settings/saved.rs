//! The settings as people read and save them: each save is a version, and no version is ever lost.
use super::{Settings, checks};
use crate::app::Control;
use crate::audit;
use crate::db::Conn;
use crate::db::schema::{platform_settings, platform_settings_versions};
use crate::error::{Error, Result};
use crate::op::OpContext;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_types::{PlatformSettingsResponse, PlatformSettingsUpdateRequest};
use serde::de::DeserializeOwned;
use serde_json::json;

/// The row, and with the same columns each of its versions.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = platform_settings)]
struct SavedRow {
    version: i32,
    data: serde_json::Value,
    updated_at: DateTime<Utc>,
    updated_by: Option<String>,
}

/// The settings in force, with their version.
pub async fn get(op: &OpContext, app: &Control) -> Result<PlatformSettingsResponse> {
    let row: SavedRow = app
        .db
        .read(op, async |conn| Ok(platform_settings::table.select(SavedRow::as_select()).first(conn).await?))
        .await?;
    response(&row)
}

/// Replaces the settings by those given, as the next version.
///
/// Errors: 409 when the version that they were made from is not the current one; 400 naming each field that breaks a rule.
pub async fn update(
    op: &OpContext,
    app: &Control,
    body: &PlatformSettingsUpdateRequest,
) -> Result<PlatformSettingsResponse> {
    let settings = checks::settings(&body.settings)?;
    app.db
        .tx(op, "admin_platform_settings_update", async |conn| {
            let before: SavedRow =
                platform_settings::table.select(SavedRow::as_select()).for_update().first(conn).await?;
            if i64::from(before.version) != body.version {
                return Err(Error::conflict(format!(
                    "the settings are at version {} by now, not {}: read them again",
                    before.version, body.version
                )));
            }
            checks::plans_exist(conn, &settings).await?;
            let after = SavedRow {
                version: before.version.checked_add(1).ok_or_else(|| Error::internal("too many versions"))?,
                data: serde_json::to_value(&settings).map_err(Error::internal)?,
                updated_at: op.now,
                updated_by: Some(op.actor.id.clone()),
            };
            save(conn, &after).await?;
            let entry = audit::Entry {
                object_type: "platform_settings",
                object_id: after.version.to_string(),
                tenant_id: None,
                partner_id: None,
                reason: None,
            };
            let (old, new) = (audited(&before)?, audited(&after)?);
            audit::record(conn, op, entry, Some(&old), Some(&new)).await?;
            response(&after)
        })
        .await
}

async fn save(conn: &mut Conn, row: &SavedRow) -> Result<()> {
    use platform_settings as t;
    diesel::update(t::table)
        .set((
            t::version.eq(row.version),
            t::data.eq(&row.data),
            t::updated_at.eq(row.updated_at),
            t::updated_by.eq(&row.updated_by),
        ))
        .execute(conn)
        .await?;
    use platform_settings_versions as v;
    diesel::insert_into(v::table)
        .values((
            v::version.eq(row.version),
            v::data.eq(&row.data),
            v::updated_at.eq(row.updated_at),
            v::updated_by.eq(&row.updated_by),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

fn audited(row: &SavedRow) -> Result<serde_json::Value> {
    let settings: Settings = stored(&row.data)?;
    Ok(json!({"version": row.version, "settings": settings}))
}

fn response(row: &SavedRow) -> Result<PlatformSettingsResponse> {
    let settings: Settings = stored(&row.data)?;
    Ok(PlatformSettingsResponse {
        version: row.version.into(),
        // The fields have the same names and forms.
        settings: stored(&serde_json::to_value(settings).map_err(Error::internal)?)?,
        updated_at: row.updated_at,
        updated_by: row.updated_by.clone(),
    })
}

fn stored<T: DeserializeOwned>(data: &serde_json::Value) -> Result<T> {
    serde_json::from_value(data.clone()).map_err(|e| Error::internal(format!("platform settings: {e}")))
}
