//! Billing profiles as callers and subscribers to events see them.
use super::store::ProfileRow;
use crate::checks::{stored, stored_optional};
use crate::error::Result;
use chrono::{DateTime, Utc};
use scaicontrol_types as api;

/// A tenant's billing profile.
pub fn profile(row: ProfileRow) -> Result<api::BillingProfileResponse> {
    Ok(api::BillingProfileResponse {
        tenant_id: row.tenant_id,
        company_name: row.company_name,
        address_line1: row.address_line1,
        address_line2: row.address_line2,
        postal_code: row.postal_code,
        city: row.city,
        state: row.state,
        country_code: row.country_code,
        vat_number: row.vat_number,
        vat_number_status: stored(&row.vat_number_status)?,
        tax_exempt: row.tax_exempt,
        contact_email: row.contact_email,
        phone: row.phone,
        is_business: row.is_business,
        peppol_id: row.peppol_id,
        peppol_scheme: row.peppol_scheme,
        leitweg_id: row.leitweg_id,
        preferred_einvoice_format: stored_optional(row.preferred_einvoice_format.as_deref())?,
        preferred_language: stored_optional(row.preferred_language.as_deref())?,
        invoice_template_name: row.invoice_template_name,
        email_template_name: row.email_template_name,
        buyer_reference: row.buyer_reference,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// That a tenant can be billed from now on.
pub fn linked(row: &ProfileRow, now: DateTime<Utc>) -> api::EventTenantBillingLinked {
    api::EventTenantBillingLinked {
        tenant_id: row.tenant_id.clone(),
        partner_id: row.partner_id.clone(),
        scaicontrol_customer_id: row.tenant_id.clone(),
        linked_at: now,
        company_name: row.company_name.clone(),
        country_code: row.country_code.clone(),
        vat_number: row.vat_number.clone(),
    }
}

/// That a tenant's profile changed.
pub fn updated(
    row: &ProfileRow,
    now: DateTime<Utc>,
    changed_fields: Vec<String>,
) -> api::EventTenantBillingUpdated {
    api::EventTenantBillingUpdated {
        tenant_id: row.tenant_id.clone(),
        partner_id: row.partner_id.clone(),
        scaicontrol_customer_id: row.tenant_id.clone(),
        updated_at: now,
        changed_fields,
        company_name: row.company_name.clone(),
        country_code: row.country_code.clone(),
        vat_number: row.vat_number.clone(),
        contact_email: row.contact_email.clone(),
    }
}
