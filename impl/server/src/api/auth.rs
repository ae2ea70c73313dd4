//! `auth`: how a browser signs in, and who the caller is.
use super::{Enter, Handlers};
use crate::identity::sign_in;
use scaicontrol_api::auth::{AuthApi, perm};
use scaicontrol_api::{ApiError, App, Auth, Cx, Json, R200};
use scaicontrol_types::{AuthConfigResponse, MeResponse, TokenRequest, TokenResponse};

impl AuthApi for Handlers {
    type Context = App;

    async fn auth_config_get(rqctx: Cx) -> Result<R200<AuthConfigResponse>, ApiError> {
        Ok(R200(sign_in::config(&rqctx.control().config)))
    }

    async fn auth_me_get(rqctx: Cx, auth: Auth<perm::AuthMeGet>) -> Result<R200<MeResponse>, ApiError> {
        Ok(R200(sign_in::me(&rqctx.control().identity, &auth.principal).await?))
    }

    async fn auth_token_proxy(rqctx: Cx, body: Json<TokenRequest>) -> Result<R200<TokenResponse>, ApiError> {
        let control = rqctx.control();
        let (address, limit) = (rqctx.request.remote_addr().ip(), control.config.limits.sign_ins_per_minute);
        if let Err(seconds) = control.sign_ins.admit(address, limit, limit) {
            return Err(ApiError::rate_limited(seconds));
        }
        Ok(R200(sign_in::exchange(&control.scaikey, body.0).await?))
    }
}
