//! Partners and tenants as callers and subscribers to events see them.
use super::store::{BalanceRow, PartnerRow, TenantRow};
use crate::checks::{stored_json, stored_optional};
use crate::error::Result;
use crate::profiles;
use crate::profiles::ProfileRow;
use chrono::{DateTime, Utc};
use scaicontrol_types as api;

/// A partner with its seller configuration.
pub fn partner(row: PartnerRow) -> api::PartnerResponse {
    api::PartnerResponse {
        partner_id: row.partner_id,
        name: row.name,
        is_active: row.is_active,
        legal_name: row.legal_name,
        seller_address_line1: row.seller_address_line1,
        seller_address_line2: row.seller_address_line2,
        seller_postal_code: row.seller_postal_code,
        seller_city: row.seller_city,
        seller_state: row.seller_state,
        seller_country_code: row.seller_country_code,
        seller_vat_number: row.seller_vat_number,
        seller_registration_number: row.seller_registration_number,
        seller_email: row.seller_email,
        seller_phone: row.seller_phone,
        seller_iban: row.seller_iban,
        seller_bic: row.seller_bic,
        invoice_number_prefix: row.invoice_number_prefix,
        invoice_template_name: row.invoice_template_name,
        email_template_name: row.email_template_name,
        timezone: row.timezone,
        oss_registered: row.oss_registered,
        seller_contact_name: row.seller_contact_name,
        seller_tax_number: row.seller_tax_number,
        seller_peppol_id: row.seller_peppol_id,
        seller_peppol_scheme: row.seller_peppol_scheme,
        small_business_note: row.small_business_note,
        support_email: row.support_email,
        logo_url: row.logo_url,
        home_tenant_id: row.home_tenant_id,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

/// A tenant.
pub fn tenant(row: TenantRow) -> Result<api::TenantResponse> {
    Ok(api::TenantResponse {
        tenant_id: row.tenant_id,
        partner_id: row.partner_id,
        name: row.name,
        is_active: row.is_active,
        preferred_language: stored_optional(row.preferred_language.as_deref())?,
        timezone: row.timezone,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// A tenant with its billing state.
pub fn tenant_detail(
    row: TenantRow,
    profile: Option<ProfileRow>,
    subscriptions: Vec<api::SubscriptionResponse>,
    balances: Vec<BalanceRow>,
) -> Result<api::TenantDetailResponse> {
    Ok(api::TenantDetailResponse {
        preferred_language: stored_optional(row.preferred_language.as_deref())?,
        metadata: stored_json(&row.metadata)?,
        tenant_id: row.tenant_id,
        partner_id: row.partner_id,
        name: row.name,
        is_active: row.is_active,
        timezone: row.timezone,
        created_at: row.created_at,
        updated_at: row.updated_at,
        tax_exempt_reason: profile.as_ref().and_then(|p| p.tax_exempt_reason.clone()),
        billing_profile: profile.map(profiles::view::profile).transpose()?,
        subscriptions,
        balances: balances.into_iter().map(balance).collect(),
    })
}

fn balance(row: BalanceRow) -> api::TenantBalance {
    api::TenantBalance {
        currency: row.currency,
        due_cents: row.due_cents,
        customer_credit_cents: row.customer_credit_cents,
    }
}

/// That a partner can be the seller on invoices from now on. Nothing while its name or its country is missing.
pub fn linked(row: &PartnerRow, now: DateTime<Utc>) -> Option<api::EventPartnerBillingLinked> {
    Some(api::EventPartnerBillingLinked {
        partner_id: row.partner_id.clone(),
        scaicontrol_customer_id: row.partner_id.clone(),
        linked_at: now,
        legal_name: row.legal_name.clone()?,
        country_code: row.seller_country_code.clone()?,
        vat_number: row.seller_vat_number.clone(),
    })
}

/// That a partner's seller configuration changed. Nothing while its name or its country is missing.
pub fn updated(
    row: &PartnerRow,
    now: DateTime<Utc>,
    changed_fields: Vec<String>,
) -> Option<api::EventPartnerBillingUpdated> {
    Some(api::EventPartnerBillingUpdated {
        partner_id: row.partner_id.clone(),
        scaicontrol_customer_id: row.partner_id.clone(),
        updated_at: now,
        changed_fields,
        legal_name: row.legal_name.clone()?,
        country_code: row.seller_country_code.clone()?,
        vat_number: row.seller_vat_number.clone(),
        contact_email: row.seller_email.clone(),
    })
}
