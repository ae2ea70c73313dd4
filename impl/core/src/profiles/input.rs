//! What a billing profile must be like, whoever saves it.
use super::store::ProfileRow;
use crate::checks::{Checks, emptied, optional};
use crate::error::{Error, Field, Result};
use scaicontrol_domain::ids;
use scaicontrol_domain::tax::VatStatus;
use scaicontrol_types as api;

/// A tenant's own request and an administrator's, in one form.
#[derive(Clone, Debug)]
pub struct Input {
    profile: api::BillingProfileCreateUpdate,
    admin: Option<Admin>,
}

/// What only an administrator may say.
#[derive(Clone, Debug)]
struct Admin {
    reason: Option<String>,
    tax_exempt_reason: Option<String>,
}

impl From<api::BillingProfileCreateUpdate> for Input {
    fn from(profile: api::BillingProfileCreateUpdate) -> Self {
        Input { profile, admin: None }
    }
}

impl From<api::AdminBillingProfileUpsertRequest> for Input {
    fn from(body: api::AdminBillingProfileUpsertRequest) -> Self {
        let admin = Admin {
            reason: optional(body.reason.as_deref()),
            tax_exempt_reason: optional(body.tax_exempt_reason.as_deref()),
        };
        let profile = api::BillingProfileCreateUpdate {
            company_name: body.company_name,
            address_line1: body.address_line1,
            address_line2: body.address_line2,
            postal_code: body.postal_code,
            city: body.city,
            state: body.state,
            country_code: body.country_code,
            vat_number: body.vat_number,
            tax_exempt: body.tax_exempt,
            contact_email: body.contact_email,
            phone: body.phone,
            is_business: body.is_business,
            peppol_id: body.peppol_id,
            peppol_scheme: body.peppol_scheme,
            leitweg_id: body.leitweg_id,
            preferred_einvoice_format: body.preferred_einvoice_format,
            preferred_language: body.preferred_language,
            invoice_template_name: body.invoice_template_name,
            email_template_name: body.email_template_name,
            buyer_reference: body.buyer_reference,
        };
        Input { profile, admin: Some(admin) }
    }
}

impl Input {
    /// Why an administrator does this, for the audit log.
    pub fn reason(&self) -> Option<&str> {
        self.admin.as_ref().and_then(|admin| admin.reason.as_deref())
    }

    /// The profile that the request makes of `before`, or of none. `created` carries what only a new row needs.
    ///
    /// Errors: 400 naming every field that is not as it must be; 403 when a tenant changes its exemption.
    pub fn row(&self, before: Option<&ProfileRow>, created: Created<'_>) -> Result<ProfileRow> {
        let mut checks = Checks::default();
        let body = &self.profile;
        let vat_number = emptied(&body.vat_number).map(|text| checks.vat_number("vat_number", &text));
        let same_number = before.filter(|old| old.vat_number == vat_number);
        let (tax_exempt, tax_exempt_reason) = self.exemption(&mut checks, before)?;
        let row = ProfileRow {
            tenant_id: created.tenant_id.to_owned(),
            partner_id: created.partner_id.to_owned(),
            company_name: checks.text("company_name", &body.company_name),
            address_line1: checks.text("address_line1", &body.address_line1),
            address_line2: emptied(&body.address_line2),
            postal_code: checks.text("postal_code", &body.postal_code),
            city: checks.text("city", &body.city),
            state: emptied(&body.state),
            country_code: checks.country("country_code", &body.country_code),
            vat_number,
            tax_exempt,
            tax_exempt_reason,
            contact_email: emptied(&body.contact_email),
            phone: emptied(&body.phone),
            is_business: body.is_business.unwrap_or(true),
            peppol_id: emptied(&body.peppol_id),
            peppol_scheme: emptied(&body.peppol_scheme),
            leitweg_id: emptied(&body.leitweg_id),
            preferred_einvoice_format: body
                .preferred_einvoice_format
                .flatten()
                .map(|format| format.to_string()),
            preferred_language: body.preferred_language.flatten().map(|language| language.to_string()),
            invoice_template_name: emptied(&body.invoice_template_name),
            email_template_name: emptied(&body.email_template_name),
            buyer_reference: emptied(&body.buyer_reference),
            // What the register said of another number says nothing about this one.
            vat_number_status: same_number
                .map_or(VatStatus::Unchecked.as_str().to_owned(), |old| old.vat_number_status.clone()),
            vat_number_checked_at: same_number.and_then(|old| old.vat_number_checked_at),
            vat_check_attempts: same_number.map_or(0, |old| old.vat_check_attempts),
            vat_check_at: same_number.and_then(|old| old.vat_check_at),
            created_at: before.map_or(created.now, |old| old.created_at),
            updated_at: before.map_or(created.now, |old| old.updated_at),
        };
        together(&mut checks, &row);
        checks.finish()?;
        Ok(row)
    }

    /// Whether the tenant is exempt from VAT, and why.
    fn exemption(&self, checks: &mut Checks, before: Option<&ProfileRow>) -> Result<(bool, Option<String>)> {
        let was = before.is_some_and(|old| old.tax_exempt);
        let is = self.profile.tax_exempt.unwrap_or(was);
        let kept = before.and_then(|old| old.tax_exempt_reason.clone());
        let Some(admin) = &self.admin else {
            if is != was {
                let details = vec![Field {
                    field: "tax_exempt".into(),
                    message: "only the seller may change it".into(),
                }];
                return Err(Error::Forbidden {
                    message: "tax_exempt cannot be changed by the tenant".into(),
                    details,
                });
            }
            return Ok((was, kept));
        };
        checks.require(is == was || admin.reason.is_some(), "reason", "is needed to change tax_exempt");
        if !is {
            checks.require(
                admin.tax_exempt_reason.is_none(),
                "tax_exempt_reason",
                "is only for a tenant that is exempt",
            );
            return Ok((false, None));
        }
        let text = admin.tax_exempt_reason.clone().or(kept);
        checks.require(text.is_some(), "tax_exempt_reason", "is needed for a tenant that is exempt");
        Ok((true, text))
    }
}

/// What a profile takes from elsewhere than the request.
#[derive(Clone, Copy, Debug)]
pub struct Created<'a> {
    /// Whose it is.
    pub tenant_id: &'a str,
    /// The tenant's partner now.
    pub partner_id: &'a str,
    /// When it is.
    pub now: chrono::DateTime<chrono::Utc>,
}

/// Rules about fields that go together.
fn together(checks: &mut Checks, row: &ProfileRow) {
    checks.peppol(("peppol_id", row.peppol_id.as_deref()), ("peppol_scheme", row.peppol_scheme.as_deref()));
    let leitweg = row.leitweg_id.as_deref().is_none_or(ids::is_leitweg_id);
    checks.require(leitweg, "leitweg_id", "is not a Leitweg-ID: form or check digits are wrong");
    if row.preferred_einvoice_format.as_deref() == Some(api::EinvoiceFormat::Xrechnung.as_str()) {
        checks.require(row.contact_email.is_some(), "contact_email", "is needed for xrechnung");
        let routed = row.leitweg_id.is_some() || row.buyer_reference.is_some();
        checks.require(routed, "buyer_reference", "or leitweg_id is needed for xrechnung");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use serde_json::{Value, json};

    const CREATED: Created<'_> =
        Created { tenant_id: "tnt_a", partner_id: "prt_a", now: DateTime::UNIX_EPOCH };

    fn body(more: Value) -> Value {
        let mut all = json!({
            "company_name": "Acme", "address_line1": "Street 1", "postal_code": "1015 AA", "city": "Amsterdam", "country_code": "NL",
        });
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        all
    }

    fn tenant(more: Value) -> Input {
        serde_json::from_value::<api::BillingProfileCreateUpdate>(body(more)).expect("a profile").into()
    }

    fn admin(more: Value) -> Input {
        serde_json::from_value::<api::AdminBillingProfileUpsertRequest>(body(more)).expect("a profile").into()
    }

    fn refused(result: Result<ProfileRow>) -> Vec<String> {
        match result {
            Err(Error::BadRequest { details, .. } | Error::Forbidden { details, .. }) => {
                details.into_iter().map(|d| d.field).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_left_out_is_emptied_except_what_the_seller_decides() {
        let first = tenant(json!({"phone": "1", "is_business": false})).row(None, CREATED).expect("first");
        assert!(!first.is_business && !first.tax_exempt);
        let exempt = ProfileRow { tax_exempt: true, tax_exempt_reason: Some("Art. 151".into()), ..first };
        let second = tenant(json!({"state": " "})).row(Some(&exempt), CREATED).expect("second");
        assert_eq!((second.phone, second.state, second.is_business), (None, None, true));
        assert_eq!((second.tax_exempt, second.tax_exempt_reason.as_deref()), (true, Some("Art. 151")));
    }

    #[test]
    fn a_tenant_cannot_change_its_exemption() {
        assert_eq!(refused(tenant(json!({"tax_exempt": true})).row(None, CREATED)), ["tax_exempt"]);
        assert!(tenant(json!({"tax_exempt": false})).row(None, CREATED).is_ok());
    }

    #[test]
    fn an_administrator_says_why() {
        assert_eq!(
            refused(admin(json!({"tax_exempt": true})).row(None, CREATED)),
            ["reason", "tax_exempt_reason"]
        );
        assert_eq!(
            refused(admin(json!({"tax_exempt_reason": "x"})).row(None, CREATED)),
            ["tax_exempt_reason"]
        );
        let request = admin(json!({"tax_exempt": true, "reason": "seen", "tax_exempt_reason": "Art. 151"}));
        let exempt = request.row(None, CREATED).expect("exempt");
        assert_eq!(exempt.tax_exempt_reason.as_deref(), Some("Art. 151"));
        let kept = admin(json!({})).row(Some(&exempt), CREATED).expect("kept");
        assert_eq!(kept.tax_exempt_reason, exempt.tax_exempt_reason);
        let ended = admin(json!({"tax_exempt": false, "reason": "expired"}))
            .row(Some(&exempt), CREATED)
            .expect("ended");
        assert_eq!((ended.tax_exempt, ended.tax_exempt_reason), (false, None));
    }

    #[test]
    fn another_number_is_unchecked_again() {
        let row = tenant(json!({"vat_number": "nl 0044.95.445.b01"})).row(None, CREATED).expect("row");
        assert_eq!(row.vat_number.as_deref(), Some("NL004495445B01"));
        let valid =
            ProfileRow { vat_number_status: "valid".into(), vat_number_checked_at: Some(CREATED.now), ..row };
        let same = tenant(json!({"vat_number": "NL004495445B01"})).row(Some(&valid), CREATED).expect("same");
        assert_eq!(same.vat_number_status, "valid");
        let other = tenant(json!({"vat_number": "DE136695976"})).row(Some(&valid), CREATED).expect("other");
        assert_eq!((other.vat_number_status.as_str(), other.vat_number_checked_at), ("unchecked", None));
    }

    #[test]
    fn fields_that_do_not_hold_are_named_together() {
        let wrong = json!({
            "company_name": " ", "country_code": "ZZ", "vat_number": "DE136695970", "peppol_id": "1", "leitweg_id": "04011000-1234512345-07",
            "preferred_einvoice_format": "xrechnung",
        });
        let fields = refused(tenant(wrong).row(None, CREATED));
        for field in ["company_name", "country_code", "vat_number", "peppol_scheme", "contact_email"] {
            assert!(fields.iter().any(|f| f == field), "{field} in {fields:?}");
        }
        let german = json!({"leitweg_id": "04011000-1234512345-06", "contact_email": "a@b.example", "preferred_einvoice_format": "xrechnung"});
        assert!(tenant(german).row(None, CREATED).is_ok());
    }
}
