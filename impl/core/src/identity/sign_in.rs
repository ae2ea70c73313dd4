//! The `auth` group: what a browser needs to sign in, the exchange of its code, and who the caller turned out to be.
use super::authenticator::Identity;
use crate::config::Config;
use crate::error::{Error, Field, Result};
use crate::gateways::scaikey::ScaiKey;
use scaicontrol_api::Principal;
use scaicontrol_types::{AuthConfigResponse, GrantType, MeResponse, Role, TokenRequest, TokenResponse};

/// What a browser needs to know.
pub fn config(config: &Config) -> AuthConfigResponse {
    AuthConfigResponse {
        issuer: config.auth.issuer.clone(),
        client_id: config.auth.client_id.clone().unwrap_or_default(),
        scopes: config.auth.scopes.clone(),
        logout_url: config.auth.logout_url.clone(),
    }
}

/// The caller, as it was let in.
pub async fn me(identity: &Identity, caller: &Principal) -> Result<MeResponse> {
    let (tenant_name, partner_name) = identity.names(caller).await?;
    let mut permissions: Vec<String> = caller.permissions.union(&caller.read_permissions).cloned().collect();
    permissions.sort_unstable();
    let mut roles: Vec<Role> =
        Role::ALL.iter().copied().filter(|r| caller.roles.iter().any(|c| c == r.as_str())).collect();
    roles.sort_unstable_by_key(|r| r.as_str());
    Ok(MeResponse {
        user_id: caller.subject.clone(),
        tenant_id: caller.tenant_id.clone(),
        partner_id: caller.partner_id.clone(),
        email: caller.email.clone(),
        display_name: caller.display_name.clone(),
        tenant_name,
        partner_name,
        roles,
        permissions,
    })
}

/// Tokens for a code or a refresh token.
pub async fn exchange(scaikey: &ScaiKey, request: TokenRequest) -> Result<TokenResponse> {
    let form = form(&request)?;
    let tokens = scaikey.exchange(&form).await?;
    Ok(TokenResponse {
        access_token: Some(tokens.access_token),
        token_type: tokens.token_type,
        expires_in: tokens.expires_in,
        refresh_token: tokens.refresh_token,
        id_token: tokens.id_token,
        scope: tokens.scope,
    })
}

/// The fields of the grant: each that belongs to it must be there, and no other.
fn form(request: &TokenRequest) -> Result<Vec<(&'static str, &str)>> {
    let code_flow = request.grant_type == GrantType::AuthorizationCode;
    let mut form = vec![("grant_type", request.grant_type.as_str())];
    let mut wrong = Vec::new();
    for (name, value, of_code_flow) in [
        ("code", &request.code, true),
        ("redirect_uri", &request.redirect_uri, true),
        ("code_verifier", &request.code_verifier, true),
        ("refresh_token", &request.refresh_token, false),
    ] {
        match value {
            Some(value) if of_code_flow == code_flow => form.push((name, value)),
            None if of_code_flow != code_flow => {}
            Some(_) => {
                wrong.push(Field { field: name.into(), message: "does not belong to this grant_type".into() })
            }
            None => {
                wrong.push(Field { field: name.into(), message: "is required for this grant_type".into() })
            }
        }
    }
    if wrong.is_empty() { Ok(form) } else { Err(Error::fields(wrong)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_takes_its_own_fields() {
        let mut request = TokenRequest {
            grant_type: GrantType::AuthorizationCode,
            code: Some("c".into()),
            redirect_uri: Some("https://app.test/cb".into()),
            code_verifier: Some("v".into()),
            refresh_token: None,
        };
        let names = |r: &TokenRequest| form(r).map(|f| f.iter().map(|(n, _)| *n).collect::<Vec<_>>());
        assert_eq!(names(&request).expect("whole"), ["grant_type", "code", "redirect_uri", "code_verifier"]);
        request.refresh_token = Some("r".into());
        request.code = None;
        let Err(Error::BadRequest { details, .. }) = names(&request) else { panic!("refused") };
        let fields: Vec<_> = details.iter().map(|d| d.field.as_str()).collect();
        assert_eq!(fields, ["code", "refresh_token"]);
        request.grant_type = GrantType::RefreshToken;
        (request.redirect_uri, request.code_verifier) = (None, None);
        assert_eq!(names(&request).expect("whole"), ["grant_type", "refresh_token"]);
    }
}
