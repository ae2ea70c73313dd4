//! What can be bought: services, their plans, what those cost from when on, and the metrics that are measured.
//!
//! A price is a version that is added and never changed: what began under one is billed by it, whatever an operator does
//! meanwhile. Everything that bills asks here for the version that counts, with [`plan_in_force`], [`renewal_version`] or
//! [`plan_version`]; nothing else reads the price tables. Quotas and texts of a plan are not versioned: they hold at once.
pub mod plans;
pub mod services;
pub mod shown;
pub mod store;
pub mod view;

pub use store::{MetricRow, PlanRow, ServiceRow};

use crate::app::Control;
use crate::checks;
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::error::{Error, Result};
use crate::op::{OpContext, Scope};
use crate::settings::{self, Settings};
use chrono::{DateTime, TimeDelta, Utc};
use scaicontrol_domain::ids;
use scaicontrol_domain::tiers::Tier;
use scaicontrol_types as api;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use store::{Place, TierRow, VersionRow};
use uuid::Uuid;

/// How long before a renewal its subscriber must have been told of a new price.
pub const PRICE_NOTICE_DAYS: i64 = 30;

/// The instant from which on running subscriptions may be asked for prices that were made at `known`.
pub fn price_notice_over(known: DateTime<Utc>) -> DateTime<Utc> {
    known + TimeDelta::days(PRICE_NOTICE_DAYS)
}

/// A plan at one of its versions: everything that a period or a segment is priced by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanPrice {
    /// The plan.
    pub plan: PlanRow,
    /// Slug of its service.
    pub service_slug: String,
    /// Name of its service.
    pub service_name: String,
    /// Whether a subscription must be set up at the service before it starts.
    pub needs_provisioning: bool,
    /// The version.
    pub version: i32,
    /// From when on the version is in force.
    pub valid_from: DateTime<Utc>,
    /// Price of one billing period for a quantity of 1.
    pub base_price_cents: i64,
    /// Prices of usage by slug of the metric, each list in the order of `tier_start`. What is not here costs nothing.
    pub tiers: BTreeMap<String, Vec<Tier>>,
}

impl PlanPrice {
    /// `<service>.<plan>`
    pub fn plan_key(&self) -> String {
        ids::plan_key(&self.service_slug, &self.plan.slug)
    }

    fn new(plan: PlanRow, service: &ServiceRow, version: VersionRow, tiers: &[TierRow]) -> Result<Self> {
        let mut by_metric: BTreeMap<String, Vec<Tier>> = BTreeMap::new();
        for row in tiers {
            by_metric.entry(row.metric_slug.clone()).or_default().push(view::tier(row)?);
        }
        Ok(PlanPrice {
            plan,
            service_slug: service.slug.clone(),
            service_name: service.name.clone(),
            needs_provisioning: services::provision_path(service).is_some(),
            version: version.version,
            valid_from: version.valid_from,
            base_price_cents: version.base_price_cents,
            tiers: by_metric,
        })
    }
}

/// The plan at the version in force at `at`: what a subscription that begins then is priced by.
///
/// Errors: 404 for an unknown plan.
pub async fn plan_in_force(conn: &mut Conn, plan_id: Uuid, at: DateTime<Utc>) -> Result<PlanPrice> {
    let (plan, service) = plan_row(conn, plan_id).await?;
    let version = store::versions_in_force(conn, &[plan_id], at).await?.pop();
    let version = version.ok_or_else(|| Error::internal(format!("plan {plan_id} has no version")))?;
    let tiers = store::tiers_of(conn, plan_id, version.version).await?;
    PlanPrice::new(plan, &service, version, &tiers)
}

/// The plan at a known version: what has begun under it is priced by it again.
///
/// Errors: 404 for an unknown plan or version.
pub async fn plan_version(conn: &mut Conn, plan_id: Uuid, version: i32) -> Result<PlanPrice> {
    let (plan, service) = plan_row(conn, plan_id).await?;
    let row = store::version(conn, plan_id, version).await?.ok_or(Error::NotFound("version of the plan"))?;
    let tiers = store::tiers_of(conn, plan_id, version).await?;
    PlanPrice::new(plan, &service, row, &tiers)
}

/// The version that a running subscription takes for what begins at `at`: the newest that was known 30 days before, so
/// that it could be told; never one older than the `running` version, which it has paid for already. One that was told late,
/// at `told`, knew of nothing newer before.
///
/// Errors: 404 for an unknown plan or version.
pub async fn renewal_version(
    conn: &mut Conn,
    plan_id: Uuid,
    running: i32,
    told: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
) -> Result<PlanPrice> {
    let notice = at - TimeDelta::days(PRICE_NOTICE_DAYS);
    if told.is_some_and(|told| notice < told) {
        return plan_version(conn, plan_id, running).await;
    }
    let known = store::versions_in_force(conn, &[plan_id], notice).await?.pop();
    let known = known.ok_or(Error::NotFound("plan"))?;
    plan_version(conn, plan_id, known.version.max(running)).await
}

/// The plan that a tenant names by its id or by its key, when the tenant may subscribe to it now.
///
/// Errors: 400 unless exactly one of the two is given, and for a plan that is no longer sold; 404 when it is unknown or
/// not public, or the catalogue does not show its service.
pub async fn find_plan_for_subscribing(
    conn: &mut Conn,
    plan_id: Option<Uuid>,
    plan_key: Option<&str>,
) -> Result<PlanRow> {
    let (plan, service) = find_plan(conn, plan_id, plan_key).await?;
    if !plan.is_public || !service.is_on_show() {
        return Err(Error::NotFound("plan"));
    }
    sold(plan, plan_id.is_some())
}

/// The same for an administrator: the plan need not be public, nor its service.
///
/// Errors: 400 as above; 404 for an unknown plan; 409 when its service is not running or takes no subscriptions.
pub async fn find_plan_for_admin(
    conn: &mut Conn,
    plan_id: Option<Uuid>,
    plan_key: Option<&str>,
) -> Result<PlanRow> {
    let (plan, service) = find_plan(conn, plan_id, plan_key).await?;
    if !service.is_up() || !service.is_active {
        return Err(Error::conflict("the service takes no subscriptions now"));
    }
    sold(plan, plan_id.is_some())
}

/// The plan that a running subscription is to be changed to, by its id or its key. Whether it may be is up to the rules.
/// Unless `any` plan will do, it must be public, or the one that is there already.
///
/// Errors: 400 unless exactly one of the two is given; 404 when it is unknown or not public.
pub async fn find_plan_for_change(
    conn: &mut Conn,
    plan_id: Option<Uuid>,
    plan_key: Option<&str>,
    present: Uuid,
    any: bool,
) -> Result<PlanRow> {
    let (plan, _) = find_plan(conn, plan_id, plan_key).await?;
    if any || plan.is_public || plan.plan_id == present { Ok(plan) } else { Err(Error::NotFound("plan")) }
}

fn sold(plan: PlanRow, by_id: bool) -> Result<PlanRow> {
    let field = if by_id { "plan_id" } else { "plan_key" };
    if plan.is_active { Ok(plan) } else { Err(Error::field(field, "the plan is no longer sold")) }
}

async fn find_plan(
    conn: &mut Conn,
    plan_id: Option<Uuid>,
    plan_key: Option<&str>,
) -> Result<(PlanRow, ServiceRow)> {
    let found = match (plan_id, plan_key) {
        (Some(id), None) => store::plan(conn, id).await?,
        (None, Some(key)) => match key.split_once('.') {
            Some((service, plan)) => store::plan_by_key(conn, service, plan).await?,
            None => None,
        },
        (Some(_), Some(_)) => return Err(Error::field("plan_key", "give either plan_id or plan_key")),
        (None, None) => return Err(Error::field("plan_id", "give plan_id or plan_key")),
    };
    found.ok_or(Error::NotFound("plan"))
}

/// The slugs of a plan's service and of the plan.
///
/// Errors: 404 for an unknown plan.
pub async fn slugs(conn: &mut Conn, plan_id: Uuid) -> Result<(String, String)> {
    let (plan, service) = plan_row(conn, plan_id).await?;
    Ok((service.slug, plan.slug))
}

/// What a service measures, by slug.
pub async fn metrics_of(conn: &mut Conn, service_id: Uuid) -> Result<Vec<MetricRow>> {
    store::metrics(conn, service_id).await
}

async fn plan_row(conn: &mut Conn, plan_id: Uuid) -> Result<(PlanRow, ServiceRow)> {
    store::plan(conn, plan_id).await?.ok_or(Error::NotFound("plan"))
}

/// A page of the services on show, with a text in slug, name or description, and of a category.
pub async fn service_list(
    op: &OpContext,
    app: &Control,
    page: &PageRequest,
    q: Option<&str>,
    category: Option<&str>,
) -> Result<(Vec<api::CatalogServiceResponse>, api::Pagination)> {
    // All see the same, so it is read with the sight of those who see least, and kept for all of them.
    let public = &op.with_scope(Scope::Public);
    let pattern = q.map(checks::pattern);
    let load = async || {
        let read =
            async |conn: &mut Conn| store::services_on_show(conn, pattern.as_deref(), category, page).await;
        let (rows, count) = app.db.read(public, read).await?;
        let place = |row: &ServiceRow| Place { sort_order: row.sort_order, id: row.service_id }.to_string();
        let (rows, pagination) = page.finish(rows, count, place);
        Ok((rows.into_iter().map(view::service).collect::<Result<_>>()?, pagination))
    };
    if q.is_some() { load().await } else { app.shown.page(page, category, load).await }
}

/// One service on show, with its plans and metrics.
pub async fn service_get(
    op: &OpContext,
    app: &Control,
    slug: &str,
) -> Result<api::CatalogServiceDetailResponse> {
    app.db
        .read(op, async |conn| {
            let service = service_on_show(conn, slug).await?;
            let rows = store::plans_on_show(conn, service.service_id).await?;
            let plans = priced(conn, op, &service, rows).await?;
            let metrics = store::metrics(conn, service.service_id).await?;
            view::service_detail(service, plans, &metrics)
        })
        .await
}

/// The plans on show of one service.
pub async fn plan_list(op: &OpContext, app: &Control, slug: &str) -> Result<Vec<api::PlanResponse>> {
    app.db
        .read(op, async |conn| {
            let service = service_on_show(conn, slug).await?;
            let rows = store::plans_on_show(conn, service.service_id).await?;
            priced(conn, op, &service, rows).await
        })
        .await
}

/// One plan on show.
pub async fn plan_get(op: &OpContext, app: &Control, plan_id: Uuid) -> Result<api::PlanResponse> {
    app.db
        .read(op, async |conn| {
            let (plan, service) = plan_row(conn, plan_id).await?;
            if !plan.is_active || !plan.is_public || !service.is_on_show() {
                return Err(Error::NotFound("plan"));
            }
            priced(conn, op, &service, vec![plan]).await?.pop().ok_or(Error::NotFound("plan"))
        })
        .await
}

async fn service_on_show(conn: &mut Conn, slug: &str) -> Result<ServiceRow> {
    let found = store::service_by_slug(conn, slug).await?;
    found.filter(ServiceRow::is_on_show).ok_or(Error::NotFound("service"))
}

/// Plans of one service with their prices as they hold for a subscription made now.
async fn priced(
    conn: &mut Conn,
    op: &OpContext,
    service: &ServiceRow,
    rows: Vec<PlanRow>,
) -> Result<Vec<api::PlanResponse>> {
    let settings = if sees_cost(op) { Some(settings::load(conn).await?) } else { None };
    let ids: Vec<Uuid> = rows.iter().map(|row| row.plan_id).collect();
    let versions = store::versions_in_force(conn, &ids, op.now).await?;
    let mut tiers: HashMap<Uuid, Vec<TierRow>> = HashMap::new();
    for tier in store::tiers(conn, &versions).await? {
        tiers.entry(tier.plan_id).or_default().push(tier);
    }
    let mut versions: HashMap<Uuid, VersionRow> = versions.into_iter().map(|v| (v.plan_id, v)).collect();
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        let id = row.plan_id;
        let version =
            versions.remove(&id).ok_or_else(|| Error::internal(format!("plan {id} has no version")))?;
        let price = PlanPrice::new(row, service, version, &tiers.remove(&id).unwrap_or_default())?;
        out.push(shown(price, settings.as_ref())?);
    }
    Ok(out)
}

fn shown(price: PlanPrice, settings: Option<&Settings>) -> Result<api::PlanResponse> {
    let cost = settings.map(|s| s.cost_multiplier(&price.plan_key()));
    view::plan(price, cost)
}

/// What a partner pays is for partners and the platform.
fn sees_cost(op: &OpContext) -> bool {
    matches!(op.actor.level, "partner" | "platform")
}
