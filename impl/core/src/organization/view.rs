//! A tenant, its users and its partner as the tenant's own users see them.
use super::store::{OwnPartner, UserRow};
use crate::checks::{stored, stored_json, stored_optional};
use crate::directory::TenantRow;
use crate::error::Result;
use scaicontrol_types as api;

/// A tenant with its partner.
pub fn organization(row: TenantRow, own: OwnPartner) -> Result<api::OrganizationResponse> {
    Ok(api::OrganizationResponse {
        tenant_id: row.tenant_id,
        name: row.name,
        is_active: row.is_active,
        preferred_language: stored_optional(row.preferred_language.as_deref())?,
        timezone: row.timezone,
        metadata: stored_json(&row.metadata)?,
        partner: partner(own),
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// A partner's public identity.
pub fn partner(row: OwnPartner) -> api::OrganizationPartnerResponse {
    api::OrganizationPartnerResponse {
        partner_id: row.partner_id,
        name: row.name,
        legal_name: row.legal_name,
        support_email: row.support_email,
        support_phone: row.support_phone,
        logo_url: row.logo_url,
    }
}

/// A user.
pub fn user(row: UserRow) -> Result<api::UserResponse> {
    Ok(api::UserResponse {
        user_id: row.user_id,
        tenant_id: row.tenant_id,
        partner_id: row.partner_id,
        email: row.email,
        display_name: row.display_name,
        is_active: row.is_active,
        roles: row.roles.iter().map(|role| stored(role)).collect::<Result<_>>()?,
        last_seen_at: row.last_seen_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}
