//! Templates of documents and mails: who may change which, their versions, and which one is used.
//!
//! What a template may say is the template crate's to judge; it is asked before anything is stored, so that no document
//! ever fails on a template that does not compile. Behind all of them stand the templates that come with the program.
pub mod store;
pub mod view;

use crate::app::Control;
use crate::audit;
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::db::schema::{billing_profiles, partners, tenants};
use crate::error::{Error, Field, Result};
use crate::op::{OpContext, Scope};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_templates::{Kind, Language, Template, defaults};
use scaicontrol_types as api;
use std::collections::BTreeMap;
use store::{Filter, TemplateRow, VersionRow};
use uuid::Uuid;

/// The variables that templates may use: of one kind, or of all.
pub fn variables(kind: Option<Kind>) -> Vec<api::TemplateVariableResponse> {
    let kinds = Kind::ALL.iter().copied().filter(|k| kind.is_none_or(|kind| kind == *k));
    let named: BTreeMap<String, _> =
        kinds.flat_map(scaicontrol_templates::variables).map(|v| (v.name.clone(), v)).collect();
    let variable = |v: scaicontrol_templates::Variable| api::TemplateVariableResponse {
        name: v.name,
        description: v.description,
        example: v.example,
        is_list: v.is_list,
    };
    named.into_values().map(variable).collect()
}

/// A page of templates, by name.
pub async fn list(
    op: &OpContext,
    app: &Control,
    filter: &Filter,
    page: &PageRequest,
) -> Result<(Vec<api::TemplateSummaryResponse>, api::Pagination)> {
    let (rows, count) = app.db.read(op, async |conn| store::list(conn, filter, page).await).await?;
    let key =
        |row: &TemplateRow| crate::directory::store::Named::key(&row.name, &row.template_id.to_string());
    let (rows, pagination) = page.finish(rows, count, key);
    Ok((rows.iter().map(view::summary).collect::<Result<_>>()?, pagination))
}

/// One template with its content.
pub async fn get(op: &OpContext, app: &Control, template_id: Uuid) -> Result<api::TemplateResponse> {
    app.db
        .read(op, async |conn| {
            let row = store::get(conn, template_id).await?;
            view::template(&row, &store::version(conn, template_id, row.version).await?)
        })
        .await
}

/// Stores a template as version 1.
///
/// Errors: 400 naming the line of content that is wrong, and an owner that does not fit the scope; 403 for the scope
/// `platform` of a partner; 404 for an unknown owner; 409 when the owner has one of this kind, name and language.
pub async fn create(
    op: &OpContext,
    app: &Control,
    body: &api::TemplateCreateRequest,
) -> Result<api::TemplateResponse> {
    let kind: Kind = body.document_type.as_str().parse().map_err(Error::internal)?;
    check(
        kind,
        body.subject.clone().flatten().as_deref(),
        &body.html_content,
        body.css_content.clone().flatten().as_deref(),
    )?;
    app.db
        .once(op, "admin_template_create", async |conn| {
            let (tenant_id, partner_id) = owner(conn, op, body).await?;
            let row = TemplateRow {
                template_id: op.id(),
                scope: body.scope.to_string(),
                tenant_id,
                partner_id,
                name: body.name.clone(),
                document_type: kind.as_str().into(),
                language: body.language.flatten().map(|l| l.to_string()),
                subject: body.subject.clone().flatten(),
                version: 1,
                created_at: op.now,
                updated_at: op.now,
                deleted_at: None,
            };
            let content = content(
                op,
                &row,
                &body.html_content,
                body.css_content.clone().flatten(),
                body.editor_data.clone().flatten().as_ref(),
            );
            store::insert(conn, &row, &content).await?;
            let after = view::template(&row, &content)?;
            audit::record(conn, op, audited(&row), None::<&()>, Some(&after)).await?;
            Ok(after)
        })
        .await
}

/// Replaces what a template says, as its next version.
///
/// Errors: 400 as when creating; 403 for a partner on a platform template; 404; 409 for another `version` than the newest
/// and for a name that is taken.
pub async fn update(
    op: &OpContext,
    app: &Control,
    template_id: Uuid,
    body: &api::TemplateUpdateRequest,
) -> Result<api::TemplateResponse> {
    app.db
        .tx(op, "admin_template_update", async |conn| {
            let before = store::lock(conn, template_id).await?;
            if body.version.is_some_and(|v| v != before.version) {
                return Err(Error::conflict(format!("version {} was stored meanwhile", before.version)));
            }
            let kind: Kind = before.document_type.parse().map_err(Error::internal)?;
            check(
                kind,
                body.subject.clone().flatten().as_deref(),
                &body.html_content,
                body.css_content.clone().flatten().as_deref(),
            )?;
            let was = view::template(&before, &store::version(conn, template_id, before.version).await?)?;
            let row = TemplateRow {
                name: body.name.clone(),
                subject: body.subject.clone().flatten(),
                version: before.version + 1,
                updated_at: op.now,
                ..before
            };
            let content = content(
                op,
                &row,
                &body.html_content,
                body.css_content.clone().flatten(),
                body.editor_data.clone().flatten().as_ref(),
            );
            store::save(conn, &row, Some(&content)).await?;
            let after = view::template(&row, &content)?;
            audit::record(conn, op, audited(&row), Some(&was), Some(&after)).await?;
            Ok(after)
        })
        .await
}

/// Takes a template out of use; its versions stay for the documents that were made with them.
///
/// Errors: 403 for a partner on a platform template; 404; 409 when a billing profile or partner would be left without a
/// template under the name it chose.
pub async fn delete(op: &OpContext, app: &Control, template_id: Uuid) -> Result<()> {
    app.db
        .tx(op, "admin_template_delete", async |conn| {
            let before = store::lock(conn, template_id).await?;
            if store::is_last_named(conn, &before).await? {
                return Err(Error::conflict(
                    "a billing profile or partner uses it under this name, and there is no other",
                ));
            }
            let row = TemplateRow { deleted_at: Some(op.now), updated_at: op.now, ..before.clone() };
            store::save(conn, &row, None).await?;
            audit::record(conn, op, audited(&row), Some(&before), None::<&()>).await
        })
        .await
}

/// Refuses what a template may not say, naming each place.
fn check(kind: Kind, subject: Option<&str>, html: &str, css: Option<&str>) -> Result<()> {
    let mut wrong = Vec::new();
    match subject {
        None if kind.is_mail() => {
            wrong.push(Field { field: "subject".into(), message: "is required for a mail".into() });
        }
        Some(_) if !kind.is_mail() => {
            wrong.push(Field { field: "subject".into(), message: "belongs to mails".into() });
        }
        _ => {}
    }
    let template = Template { kind, subject, html, css };
    wrong.extend(scaicontrol_templates::check(&template).into_iter().map(|problem| Field {
        field: problem.part.field().into(),
        message: format!("line {}, column {}: {}", problem.line, problem.column, problem.message),
    }));
    if wrong.is_empty() { Ok(()) } else { Err(Error::fields(wrong)) }
}

/// Whose the new template is: tenant and partner.
async fn owner(
    conn: &mut Conn,
    op: &OpContext,
    body: &api::TemplateCreateRequest,
) -> Result<(Option<String>, Option<String>)> {
    let (tenant_id, partner_id) = (body.tenant_id.clone().flatten(), body.partner_id.clone().flatten());
    let refused = |field: &str| Err(Error::field(field, "does not belong to this scope"));
    match body.scope {
        api::TemplateScope::Platform => {
            if op.scope != Scope::Platform {
                return Err(Error::Forbidden {
                    message: "templates of the platform are made by the platform alone".into(),
                    details: vec![Field { field: "scope".into(), message: "is not yours".into() }],
                });
            }
            if tenant_id.is_some() {
                return refused("tenant_id");
            }
            if partner_id.is_some() { refused("partner_id") } else { Ok((None, None)) }
        }
        api::TemplateScope::Partner => {
            if tenant_id.is_some() {
                return refused("tenant_id");
            }
            let own = match &op.scope {
                Scope::Partner(own) => Some(own.clone()),
                _ => None,
            };
            let Some(partner_id) = partner_id.or(own) else {
                return Err(Error::field("partner_id", "is required for this scope"));
            };
            let found = crate::directory::store::partner(conn, &partner_id).await?;
            found.ok_or(Error::NotFound("partner"))?;
            Ok((None, Some(partner_id)))
        }
        api::TemplateScope::Tenant => {
            if partner_id.is_some() {
                return refused("partner_id");
            }
            let Some(tenant_id) = tenant_id else {
                return Err(Error::field("tenant_id", "is required for this scope"));
            };
            let found = tenants::table.find(&tenant_id).select(tenants::partner_id).first(conn).await;
            let partner_id: String = found.optional()?.ok_or(Error::NotFound("tenant"))?;
            Ok((Some(tenant_id), Some(partner_id)))
        }
    }
}

/// The version that a template is at.
fn content<V: serde::Serialize>(
    op: &OpContext,
    row: &TemplateRow,
    html: &str,
    css: Option<String>,
    editor_data: Option<&V>,
) -> VersionRow {
    VersionRow {
        template_id: row.template_id,
        version: row.version,
        tenant_id: row.tenant_id.clone(),
        partner_id: row.partner_id.clone(),
        subject: row.subject.clone(),
        html_content: html.to_owned(),
        css_content: css,
        editor_data: editor_data.and_then(|data| serde_json::to_value(data).ok()),
        created_at: op.now,
    }
}

fn audited(row: &TemplateRow) -> audit::Entry<'_> {
    audit::Entry {
        object_type: "template",
        object_id: row.template_id.to_string(),
        tenant_id: row.tenant_id.as_deref(),
        partner_id: row.partner_id.as_deref(),
        reason: None,
    }
}

diesel::define_sql_function! {
    /// Whether there is a template of that name; see the migrations.
    fn sc_template_known(
        tenant_id: diesel::sql_types::Nullable<diesel::sql_types::Text>,
        partner_id: diesel::sql_types::Text,
        name: diesel::sql_types::Text,
        mail: diesel::sql_types::Bool
    ) -> diesel::sql_types::Bool;
}

/// Refuses names that lead to no template: of documents, and of mails. `owner` is a tenant (or none) and its partner.
pub async fn require(
    conn: &mut Conn,
    (tenant_id, partner_id): (Option<&str>, &str),
    document: Option<&str>,
    mail: Option<&str>,
) -> Result<()> {
    let mut wrong = Vec::new();
    for (field, name, is_mail) in
        [("invoice_template_name", document, false), ("email_template_name", mail, true)]
    {
        let Some(name) = name.filter(|name| *name != defaults::DEFAULT_NAME) else { continue };
        let known: bool =
            diesel::select(sc_template_known(tenant_id, partner_id, name, is_mail)).get_result(conn).await?;
        if !known {
            let message = "there is no template with this name".into();
            wrong.push(Field { field: field.into(), message });
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::fields(wrong)) }
}

/// What a template says.
#[derive(Clone, Debug)]
pub struct Source {
    /// What it is found by.
    pub name: String,
    /// Subject of a mail.
    pub subject: Option<String>,
    /// The content.
    pub html: String,
    /// The style sheet.
    pub css: Option<String>,
    /// Template and version; none for one that comes with the program.
    pub stored: Option<(Uuid, i32)>,
}

impl Source {
    /// As the engine takes it.
    pub fn as_template(&self, kind: Kind) -> Template<'_> {
        Template { kind, subject: self.subject.as_deref(), html: &self.html, css: self.css.as_deref() }
    }

    /// The one that comes with the program.
    pub fn builtin(kind: Kind, language: Language) -> Result<Source> {
        let found = defaults::find(kind, language).ok_or_else(|| Error::internal("no built-in template"))?;
        Ok(Source {
            name: defaults::DEFAULT_NAME.into(),
            subject: found.subject.clone(),
            html: found.html.clone(),
            css: found.css.map(str::to_owned),
            stored: None,
        })
    }

    /// A version of a stored one.
    pub async fn stored(conn: &mut Conn, name: String, template_id: Uuid, version: i32) -> Result<Source> {
        let v = store::version(conn, template_id, version).await?;
        let stored = Some((template_id, version));
        Ok(Source { name, subject: v.subject, html: v.html_content, css: v.css_content, stored })
    }
}

/// The template that a document or mail of a tenant is made with: of the name that its billing profile chose, else its
/// partner, else the one that comes with the program.
pub async fn chosen(
    conn: &mut Conn,
    (tenant_id, partner_id): (&str, &str),
    kind: Kind,
    language: Language,
) -> Result<Source> {
    use billing_profiles as b;
    use partners as p;
    let own: Option<(Option<String>, Option<String>)> = b::table
        .find(tenant_id)
        .select((b::invoice_template_name, b::email_template_name))
        .first(conn)
        .await
        .optional()?;
    let sellers: (Option<String>, Option<String>) = p::table
        .find(partner_id)
        .select((p::invoice_template_name, p::email_template_name))
        .first(conn)
        .await?;
    let of_kind =
        |(document, mail): (Option<String>, Option<String>)| if kind.is_mail() { mail } else { document };
    let name = own.and_then(of_kind).or(of_kind(sellers)).unwrap_or_else(|| defaults::DEFAULT_NAME.into());
    let owner = (tenant_id, partner_id);
    match store::resolve(conn, owner, kind.as_str(), &name, language.as_str()).await? {
        Some(found) => Source::stored(conn, name, found.template_id, found.version).await,
        None => Source::builtin(kind, language),
    }
}
