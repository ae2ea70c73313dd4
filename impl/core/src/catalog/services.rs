//! Services as operators enter them: the entry in the catalogue, what is measured, and which paths are called.
use super::store::{self, MetricRow, ServiceRow};
use super::view;
use crate::app::Control;
use crate::audit;
use crate::checks::{Checks, optional};
use crate::config::Config;
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::seed;
use scaicontrol_types as api;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What the audit log keeps of a service.
#[derive(Serialize)]
struct Audited<'a> {
    #[serde(flatten)]
    service: &'a ServiceRow,
    metrics: &'a [MetricRow],
}

/// The path that sets a subscription up; without one it is complete at once.
pub fn provision_path(service: &ServiceRow) -> Option<&str> {
    service.provisioning.as_ref()?.get("provision_path")?.as_str()
}

/// Puts a service into the catalogue by hand; it needs no further approval.
///
/// Errors: 400 for a field that does not hold; 409 when the slug or the client is taken.
pub async fn create(
    op: &OpContext,
    app: &Control,
    body: &api::ServiceCreateRequest,
) -> Result<api::AdminServiceResponse> {
    let created = app
        .db
        .once(op, "admin_service_create", async |conn| {
            let (mut row, metrics) = new_rows(op, &app.config, body)?;
            if row.client_id.is_none() && app.dev.is_some() {
                // On a dev server every service has its account, so that `dev token --service` can act for it.
                row.client_id = Some(seed::client_id(&row.slug));
            }
            dependencies_check(conn, &row).await?;
            store::service_insert(conn, &row).await?;
            store::metrics_insert(conn, &metrics).await?;
            let after = Audited { service: &row, metrics: &metrics };
            audit::record(conn, op, audited(&row), None::<&()>, Some(&after)).await?;
            answer(conn, op, row).await
        })
        .await?;
    app.shown.forget();
    Ok(created)
}

fn new_rows(
    op: &OpContext,
    config: &Config,
    body: &api::ServiceCreateRequest,
) -> Result<(ServiceRow, Vec<MetricRow>)> {
    let mut checks = Checks::default();
    let service_id = op.id();
    let row = ServiceRow {
        service_id,
        slug: body.slug.clone(),
        name: checks.text("name", &body.name),
        description: optional(body.description.as_deref()),
        category: optional(body.category.as_deref()),
        icon_url: body.icon_url.as_deref().map(|url| icon_url(&mut checks, config, url)),
        version: optional(body.version.as_deref()),
        app_id: None,
        client_id: body.client_id.clone().or_else(|| config.registry.allow.get(&body.slug).cloned()),
        base_url: body.base_url.as_deref().map(|url| checks.base_url(config, "base_url", url)),
        health_check_url: None,
        capabilities: serde_json::json!([]),
        endpoints: serde_json::json!({}),
        provisioning: body.provisioning.as_ref().and_then(provisioning),
        status: api::ServiceStatus::Active.to_string(),
        health_status: None,
        heartbeat_interval_seconds: None,
        last_heartbeat_at: None,
        missed_heartbeats: 0,
        pending_base_url: None,
        pending_health_check_url: None,
        registration_version: 0,
        registered_at: None,
        approved_at: Some(op.now),
        suspended_at: None,
        suspension_reason: None,
        is_active: body.is_active.unwrap_or(true),
        is_public: body.is_public.unwrap_or(true),
        sort_order: body.sort_order.unwrap_or(0),
        metadata: checks.metadata("metadata", body.metadata.as_ref().unwrap_or(&BTreeMap::new())),
        created_at: op.now,
        updated_at: op.now,
    };
    let metrics = body.metrics.as_deref().unwrap_or_default();
    metrics_check(&mut checks, metrics);
    paths_check(&mut checks, &row);
    checks.finish()?;
    let metrics = metrics.iter().map(|input| metric_row(op, service_id, input)).collect();
    Ok((row, metrics))
}

/// Changes what is given of a service.
///
/// Errors: 400 for a field that does not hold; 404 for an unknown slug; 409 when a metric in use would go or be counted
/// in another way, and for a deregistered service.
pub async fn update(
    op: &OpContext,
    app: &Control,
    slug: &str,
    body: &api::ServiceUpdateRequest,
) -> Result<api::AdminServiceResponse> {
    let updated = app
        .db
        .tx(op, "admin_service_update", async |conn| {
            let found = store::service_by_slug(conn, slug).await?.ok_or(Error::NotFound("service"))?;
            let before =
                store::service_lock(conn, found.service_id).await?.ok_or(Error::NotFound("service"))?;
            if before.status == api::ServiceStatus::Deregistered.as_str() {
                return Err(Error::conflict("the service is deregistered"));
            }
            let mut after = changed(&app.config, &before, body)?;
            if body.provisioning.is_some() {
                dependencies_check(conn, &after).await?;
            }
            let metrics_before = store::metrics(conn, before.service_id).await?;
            if let Some(inputs) = &body.metrics {
                metrics_replace(conn, op, &metrics_before, before.service_id, inputs).await?;
            }
            let metrics_after = store::metrics(conn, before.service_id).await?;
            if after != before || metrics_after != metrics_before {
                after.updated_at = op.now;
                store::service_update(conn, &after).await?;
                let was = Audited { service: &before, metrics: &metrics_before };
                let is = Audited { service: &after, metrics: &metrics_after };
                audit::record(conn, op, audited(&after), Some(&was), Some(&is)).await?;
            }
            answer(conn, op, after).await
        })
        .await?;
    app.shown.forget();
    Ok(updated)
}

/// The service with the given fields in place of what it has.
fn changed(config: &Config, before: &ServiceRow, body: &api::ServiceUpdateRequest) -> Result<ServiceRow> {
    let mut checks = Checks::default();
    let mut row = before.clone();
    if let Some(name) = &body.name {
        row.name = checks.text("name", name);
    }
    if let Some(description) = &body.description {
        row.description = optional(description.as_deref());
    }
    if let Some(category) = &body.category {
        row.category = optional(category.as_deref());
    }
    if let Some(url) = &body.icon_url {
        row.icon_url = url.as_deref().map(|url| icon_url(&mut checks, config, url));
    }
    if let Some(version) = &body.version {
        row.version = optional(version.as_deref());
    }
    if let Some(client_id) = &body.client_id {
        row.client_id.clone_from(client_id);
    }
    if let Some(url) = &body.base_url {
        row.base_url = url.as_deref().map(|url| checks.base_url(config, "base_url", url));
        // What an operator enters is in use at once; what the service announced before is out of date.
        row.pending_base_url = None;
    }
    if let Some(input) = &body.provisioning {
        row.provisioning = input.as_ref().and_then(provisioning);
    }
    if let Some(metadata) = &body.metadata {
        row.metadata = checks.metadata("metadata", metadata);
    }
    row.is_active = body.is_active.unwrap_or(row.is_active);
    row.is_public = body.is_public.unwrap_or(row.is_public);
    row.sort_order = body.sort_order.unwrap_or(row.sort_order);
    metrics_check(&mut checks, body.metrics.as_deref().unwrap_or_default());
    paths_check(&mut checks, &row);
    checks.finish()?;
    Ok(row)
}

fn icon_url(checks: &mut Checks, config: &Config, url: &str) -> String {
    checks.url(config, "icon_url", url);
    url.to_owned()
}

/// What is stored of the paths, with all names; nothing when there is nothing to call or to wait for.
fn provisioning(input: &api::ServiceProvisioningInput) -> Option<serde_json::Value> {
    let stored = api::ServiceProvisioningResponse {
        provision_path: input.provision_path.clone(),
        deprovision_path: input.deprovision_path.clone(),
        suspend_path: input.suspend_path.clone(),
        resume_path: input.resume_path.clone(),
        change_plan_path: input.change_plan_path.clone(),
        depends_on: input.depends_on.clone().unwrap_or_default(),
    };
    let value = serde_json::to_value(&stored).ok()?;
    (has_path(&value) || !stored.depends_on.is_empty()).then_some(value)
}

fn has_path(provisioning: &serde_json::Value) -> bool {
    provisioning.as_object().is_some_and(|fields| fields.values().any(serde_json::Value::is_string))
}

fn paths_check(checks: &mut Checks, row: &ServiceRow) {
    let calls = row.provisioning.as_ref().is_some_and(has_path);
    checks.require(!calls || row.base_url.is_some(), "base_url", "is needed for the provisioning paths");
}

fn depends_on(row: &ServiceRow) -> Vec<String> {
    let list =
        row.provisioning.as_ref().and_then(|p| serde_json::from_value(p.get("depends_on")?.clone()).ok());
    list.unwrap_or_default()
}

/// Refuses a service that waits for an unknown one, or in the end for itself. The services that it names are locked, so
/// that two changes at once cannot close a circle that neither of them sees.
async fn dependencies_check(conn: &mut Conn, row: &ServiceRow) -> Result<()> {
    let needs = depends_on(row);
    if needs.is_empty() {
        return Ok(());
    }
    store::services_lock(conn, &needs).await?;
    let graph = store::service_dependencies(conn).await?;
    let mut checks = Checks::default();
    for (index, slug) in needs.iter().enumerate() {
        let field = format!("provisioning.depends_on.{index}");
        if *slug == row.slug || reaches(&graph, slug, &row.slug) {
            checks.refuse(field, "closes a circle");
        } else if !graph.contains_key(slug) {
            checks.refuse(field, "is not a service");
        }
    }
    checks.finish()
}

/// Whether `from` waits for `to`, directly or through others.
fn reaches(graph: &BTreeMap<String, Vec<String>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(slug) = open.pop() {
        if slug == to {
            return true;
        }
        if seen.insert(slug) {
            open.extend(graph.get(slug).into_iter().flatten().map(String::as_str));
        }
    }
    false
}

fn metrics_check(checks: &mut Checks, inputs: &[api::ServiceMetricInput]) {
    let mut seen = BTreeSet::new();
    for (index, input) in inputs.iter().enumerate() {
        checks.require(seen.insert(&input.slug), &format!("metrics.{index}.slug"), "comes twice");
        checks.text(&format!("metrics.{index}.name"), &input.name);
        checks.text(&format!("metrics.{index}.unit"), &input.unit);
    }
}

fn metric_row(op: &OpContext, service_id: Uuid, input: &api::ServiceMetricInput) -> MetricRow {
    MetricRow {
        metric_id: op.id(),
        service_id,
        slug: input.slug.clone(),
        name: input.name.trim().to_owned(),
        unit: input.unit.trim().to_owned(),
        aggregation: input.aggregation.to_string(),
        created_at: op.now,
    }
}

/// Makes the metrics of a service those of the list, matched by slug. The service is locked.
async fn metrics_replace(
    conn: &mut Conn,
    op: &OpContext,
    before: &[MetricRow],
    service_id: Uuid,
    inputs: &[api::ServiceMetricInput],
) -> Result<()> {
    let mut gone = Vec::new();
    for old in before.iter().filter(|old| inputs.iter().all(|input| input.slug != old.slug)) {
        unused(conn, old, "removed").await?;
        gone.push(old.metric_id);
    }
    store::metrics_delete(conn, &gone).await?;
    let mut new = Vec::new();
    for input in inputs {
        let wanted = metric_row(op, service_id, input);
        let Some(old) = before.iter().find(|old| old.slug == input.slug) else {
            new.push(wanted);
            continue;
        };
        if old.aggregation != wanted.aggregation {
            unused(conn, old, "counted in another way").await?;
        }
        let wanted = MetricRow { metric_id: old.metric_id, created_at: old.created_at, ..wanted };
        if wanted != *old {
            store::metric_update(conn, &wanted).await?;
        }
    }
    store::metrics_insert(conn, &new).await
}

async fn unused(conn: &mut Conn, metric: &MetricRow, what: &str) -> Result<()> {
    if store::metric_is_used(conn, metric).await? {
        let slug = &metric.slug;
        return Err(Error::conflict(format!(
            "the metric {slug} has usage, a quota or a price and cannot be {what}"
        )));
    }
    Ok(())
}

fn audited(row: &ServiceRow) -> audit::Entry<'static> {
    audit::Entry {
        object_type: "service",
        object_id: row.service_id.to_string(),
        tenant_id: None,
        partner_id: None,
        reason: None,
    }
}

async fn answer(conn: &mut Conn, op: &OpContext, row: ServiceRow) -> Result<api::AdminServiceResponse> {
    let metrics = store::metrics(conn, row.service_id).await?;
    let keys = store::service_keys(conn, row.service_id).await?;
    view::admin_service(row, &metrics, &keys, op.now)
}

#[cfg(test)]
mod tests {
    use super::reaches;
    use std::collections::BTreeMap;

    #[test]
    fn circles_are_found_at_any_length() {
        let graph: BTreeMap<String, Vec<String>> =
            [("a", vec!["b"]), ("b", vec!["c", "b"]), ("c", vec![]), ("d", vec!["a"])]
                .into_iter()
                .map(|(slug, list)| (slug.to_owned(), list.into_iter().map(str::to_owned).collect()))
                .collect();
        assert!(reaches(&graph, "d", "c"));
        assert!(reaches(&graph, "a", "a"));
        assert!(!reaches(&graph, "c", "a"));
        assert!(!reaches(&graph, "unknown", "a"));
    }
}
