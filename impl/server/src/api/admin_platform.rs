//! Handlers of the group `admin-platform`.
use super::prelude::*;
use crate::settings;
use scaicontrol_api::admin_platform::*;

impl AdminPlatformApi for Handlers {
    type Context = App;

    async fn admin_platform_settings_get(
        rqctx: Cx,
        auth: Auth<perm::AdminPlatformSettingsGet>,
    ) -> Result<R200<PlatformSettingsEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = settings::get(&op, app).await?;
        Ok(R200(PlatformSettingsEnvelope { data, meta: op.meta() }))
    }

    async fn admin_platform_settings_update(
        rqctx: Cx,
        auth: Auth<perm::AdminPlatformSettingsUpdate>,
        body: Json<PlatformSettingsUpdateRequest>,
    ) -> Result<R200<PlatformSettingsEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = settings::update(&op, app, &body.0).await?;
        // How often each may call is kept in memory.
        app.identity.forget();
        Ok(R200(PlatformSettingsEnvelope { data, meta: op.meta() }))
    }
}
