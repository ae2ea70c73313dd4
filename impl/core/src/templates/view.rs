//! Templates as callers see them.
use super::store::{TemplateRow, VersionRow};
use crate::error::Result;
use crate::subscriptions::view::{metadata, parse};
use scaicontrol_types::{TemplateResponse, TemplateSummaryResponse};

/// A template without its content.
pub fn summary(row: &TemplateRow) -> Result<TemplateSummaryResponse> {
    let r = row.clone();
    Ok(TemplateSummaryResponse {
        id: r.template_id,
        name: r.name,
        document_type: parse(&r.document_type)?,
        language: r.language.as_deref().map(parse).transpose()?,
        scope: parse(&r.scope)?,
        tenant_id: r.tenant_id,
        partner_id: r.partner_id,
        subject: r.subject,
        version: r.version,
        updated_at: r.updated_at,
    })
}

/// A template with the content of a version.
pub fn template(row: &TemplateRow, content: &VersionRow) -> Result<TemplateResponse> {
    let s = summary(row)?;
    Ok(TemplateResponse {
        id: s.id,
        name: s.name,
        document_type: s.document_type,
        language: s.language,
        scope: s.scope,
        tenant_id: s.tenant_id,
        partner_id: s.partner_id,
        subject: content.subject.clone(),
        html_content: content.html_content.clone(),
        css_content: content.css_content.clone(),
        editor_data: content.editor_data.as_ref().map(metadata),
        version: content.version,
        created_at: row.created_at,
        updated_at: content.created_at,
    })
}
