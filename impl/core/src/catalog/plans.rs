//! Plans and their prices as operators enter them.
//!
//! A new price makes a new version with the whole set of tiers; what is unchanged makes none. The service is locked first
//! and the plan after it, so that a quota or a tier always names a metric that is there.
use super::store::{self, MetricRow, PlanRow, ServiceRow, TierRow, VersionRow};
use super::{PlanPrice, shown};
use crate::app::Control;
use crate::audit;
use crate::checks::{Checks, optional, stored};
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::settings;
use crate::subscriptions::prices::{self, Source};
use rust_decimal::Decimal;
use scaicontrol_domain::money::Currency;
use scaicontrol_domain::tiers::{self, PricingModel, QUANTITY_MAX_SCALE, Tier};
use scaicontrol_types as api;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Makes a plan with its first version; it has no usage prices yet.
///
/// Errors: 400 for a field that does not hold and for an unknown service; 409 when the slug is taken, or the service is
/// deregistered.
pub async fn create(
    op: &OpContext,
    app: &Control,
    body: &api::PlanCreateRequest,
) -> Result<api::PlanResponse> {
    app.db
        .once(op, "admin_plan_create", async |conn| {
            let service = store::service_lock(conn, body.service_id).await?;
            let service = service.ok_or_else(|| Error::field("service_id", "is not a service"))?;
            let metrics = store::metrics(conn, service.service_id).await?;
            let row = new_row(op, body, &metrics)?;
            if service.status == api::ServiceStatus::Deregistered.as_str() {
                return Err(Error::conflict("the service is deregistered"));
            }
            store::plan_insert(conn, &row).await?;
            let version = VersionRow {
                plan_id: row.plan_id,
                version: 1,
                valid_from: op.now,
                base_price_cents: body.base_price_cents,
                created_at: op.now,
            };
            store::version_insert(conn, &version, &[]).await?;
            let price = PlanPrice::new(row, &service, version, &[])?;
            audit::record(conn, op, audited(&price), None::<&()>, Some(&price)).await?;
            answer(conn, price).await
        })
        .await
}

fn new_row(op: &OpContext, body: &api::PlanCreateRequest, metrics: &[MetricRow]) -> Result<PlanRow> {
    let mut checks = Checks::default();
    if let Err(error) = Currency::parse(&body.currency) {
        checks.refuse("currency", error.to_string());
    }
    let row = PlanRow {
        plan_id: op.id(),
        service_id: body.service_id,
        slug: body.slug.clone(),
        name: checks.text("name", &body.name),
        description: optional(body.description.as_deref()),
        tier: optional(body.tier.as_deref()),
        billing_period: body.billing_period.to_string(),
        currency: body.currency.clone(),
        features: body.features.as_ref().map_or_else(|| json!({"items": [], "unit": null}), features),
        quotas: quotas(&mut checks, body.quotas.as_ref().unwrap_or(&BTreeMap::new()), metrics),
        is_active: body.is_active.unwrap_or(true),
        is_public: body.is_public.unwrap_or(true),
        trial_days: body.trial_days.unwrap_or(0),
        sort_order: body.sort_order.unwrap_or(0),
        metadata: json!({}),
        created_at: op.now,
        updated_at: op.now,
    };
    checks.finish()?;
    Ok(row)
}

/// Changes what is given of a plan.
///
/// Errors: 400 for a field that does not hold; 404 for an unknown plan.
pub async fn update(
    op: &OpContext,
    app: &Control,
    plan_id: Uuid,
    body: &api::PlanUpdateRequest,
) -> Result<api::PlanResponse> {
    app.db
        .tx(op, "admin_plan_update", async |conn| {
            let (before, service) = lock(conn, plan_id).await?;
            let metrics = store::metrics(conn, service.service_id).await?;
            let mut after = before.clone();
            after.plan = changed(&before.plan, body, &metrics)?;
            if let Some(cents) = body.base_price_cents.filter(|cents| *cents != before.base_price_cents) {
                let tiers = store::tiers_of(conn, plan_id, before.version).await?;
                let version = version_add(conn, op, &before, cents, tiers).await?;
                after = PlanPrice::new(after.plan, &service, version.0, &version.1)?;
            }
            if after != before {
                after.plan.updated_at = op.now;
                store::plan_update(conn, &after.plan).await?;
                audit::record(conn, op, audited(&after), Some(&before), Some(&after)).await?;
            }
            answer(conn, after).await
        })
        .await
}

fn changed(before: &PlanRow, body: &api::PlanUpdateRequest, metrics: &[MetricRow]) -> Result<PlanRow> {
    let mut checks = Checks::default();
    let mut row = before.clone();
    if let Some(name) = &body.name {
        row.name = checks.text("name", name);
    }
    if let Some(description) = &body.description {
        row.description = optional(description.as_deref());
    }
    if let Some(input) = &body.features {
        row.features = features(input);
    }
    if let Some(input) = &body.quotas {
        row.quotas = quotas(&mut checks, input, metrics);
    }
    if let Some(metadata) = &body.metadata {
        row.metadata = checks.metadata("metadata", metadata);
    }
    row.is_active = body.is_active.unwrap_or(row.is_active);
    row.is_public = body.is_public.unwrap_or(row.is_public);
    row.trial_days = body.trial_days.unwrap_or(row.trial_days);
    row.sort_order = body.sort_order.unwrap_or(row.sort_order);
    checks.finish()?;
    Ok(row)
}

/// Replaces the usage prices of a plan, all or none.
///
/// Errors: 400 naming tier and field; 404 for an unknown plan.
pub async fn pricing_tiers_replace(
    op: &OpContext,
    app: &Control,
    plan_id: Uuid,
    inputs: &[api::PricingTierInput],
) -> Result<api::PlanResponse> {
    app.db
        .tx(op, "admin_plan_pricing_tiers_replace", async |conn| {
            let (before, service) = lock(conn, plan_id).await?;
            let metrics = store::metrics(conn, service.service_id).await?;
            let wanted = checked_tiers(inputs, &metrics)?;
            if wanted == before.tiers {
                return answer(conn, before).await;
            }
            let rows = wanted.iter().flat_map(|(metric, tiers)| tier_rows(plan_id, metric, tiers)).collect();
            let (version, rows) = version_add(conn, op, &before, before.base_price_cents, rows).await?;
            let plan = PlanRow { updated_at: op.now, ..before.plan.clone() };
            store::plan_update(conn, &plan).await?;
            let after = PlanPrice::new(plan, &service, version, &rows)?;
            audit::record(conn, op, audited(&after), Some(&before), Some(&after)).await?;
            answer(conn, after).await
        })
        .await
}

/// The plan at its newest version, locked.
async fn lock(conn: &mut Conn, plan_id: Uuid) -> Result<(PlanPrice, ServiceRow)> {
    let (plan, _) = store::plan(conn, plan_id).await?.ok_or(Error::NotFound("plan"))?;
    let service = store::service_lock(conn, plan.service_id).await?.ok_or(Error::NotFound("plan"))?;
    let plan = store::plan_lock(conn, plan_id).await?.ok_or(Error::NotFound("plan"))?;
    let version = store::version_newest(conn, plan_id).await?;
    let version = version.ok_or_else(|| Error::internal(format!("plan {plan_id} has no version")))?;
    let tiers = store::tiers_of(conn, plan_id, version.version).await?;
    Ok((PlanPrice::new(plan, &service, version, &tiers)?, service))
}

/// Adds the version after `before`, in force from now on, and has the plan's subscribers told; never before the one it follows, though another server with
/// a clock that is ahead may have made that.
async fn version_add(
    conn: &mut Conn,
    op: &OpContext,
    before: &PlanPrice,
    base_price_cents: i64,
    tiers: Vec<TierRow>,
) -> Result<(VersionRow, Vec<TierRow>)> {
    let row = VersionRow {
        plan_id: before.plan.plan_id,
        version: before.version + 1,
        valid_from: op.now.max(before.valid_from),
        base_price_cents,
        created_at: op.now,
    };
    let tiers: Vec<TierRow> =
        tiers.into_iter().map(|tier| TierRow { version: row.version, ..tier }).collect();
    store::version_insert(conn, &row, &tiers).await?;
    prices::announced(conn, op, Source::Plan, row.plan_id, row.version).await?;
    Ok((row, tiers))
}

fn features(input: &api::PlanFeaturesInput) -> Value {
    json!({"items": input.items, "unit": input.unit.clone().flatten()})
}

/// The limits as they are stored: a decimal string for each metric.
fn quotas(checks: &mut Checks, input: &BTreeMap<String, Value>, metrics: &[MetricRow]) -> Value {
    let mut out = serde_json::Map::new();
    for (slug, value) in input {
        let field = format!("quotas.{slug}");
        checks.require(metrics.iter().any(|m| m.slug == *slug), &field, "is not a metric of the service");
        let limit = match value {
            Value::String(text) => text.parse::<api::Decimal>().ok().map(Decimal::from),
            Value::Number(number) => number.as_u64().map(Decimal::from),
            _ => None,
        };
        match limit.map(|limit| limit.normalize()) {
            Some(limit) if Decimal::ZERO <= limit && limit.scale() <= QUANTITY_MAX_SCALE => {
                out.insert(slug.clone(), limit.to_string().into());
            }
            _ => checks.refuse(
                field,
                "must be a decimal string of at least 0 with at most 10 decimals, or a whole number",
            ),
        }
    }
    Value::Object(out)
}

/// The tiers by metric in the order of `tier_start`, when they obey the rules.
///
/// Errors: 400 with `<index in the list>.<field>` for each fault.
fn checked_tiers(
    inputs: &[api::PricingTierInput],
    metrics: &[MetricRow],
) -> Result<BTreeMap<String, Vec<Tier>>> {
    let mut checks = Checks::default();
    let mut by_metric: BTreeMap<String, (Vec<usize>, Vec<Tier>)> = BTreeMap::new();
    for (index, input) in inputs.iter().enumerate() {
        let Some(metric) = metrics.iter().find(|metric| metric.slug == input.metric_slug) else {
            checks.refuse(format!("{index}.metric_slug"), "is not a metric of the plan's service");
            continue;
        };
        let (indexes, tiers) = by_metric.entry(metric.slug.clone()).or_default();
        indexes.push(index);
        tiers.push(tier(input, metric)?);
    }
    for (indexes, tiers) in by_metric.values() {
        for fault in tiers::validate(tiers) {
            let index = indexes.get(fault.index).copied().unwrap_or_default();
            checks.refuse(format!("{index}.{}", fault.field), fault.message);
        }
    }
    checks.finish()?;
    Ok(by_metric
        .into_iter()
        .map(|(metric, (_, mut tiers))| {
            tiers.sort_by_key(|tier| tier.tier_start);
            (metric, tiers)
        })
        .collect())
}

fn tier(input: &api::PricingTierInput, metric: &MetricRow) -> Result<Tier> {
    let number = |value: api::Decimal| Decimal::from(value).normalize();
    Ok(Tier {
        tier_start: number(input.tier_start),
        tier_end: input.tier_end.flatten().map(number),
        unit_price_cents: number(input.unit_price_cents),
        unit_divisor: input.unit_divisor.map_or(Decimal::ONE, number),
        unit_label: Some(input.unit_label.clone().unwrap_or_else(|| metric.unit.clone())),
        pricing_model: input
            .pricing_model
            .map_or(Ok(PricingModel::Graduated), |model| stored(model.as_str()))?,
        flat_fee_cents: input.flat_fee_cents.unwrap_or(0),
        minimum_cents: input.minimum_cents.unwrap_or(0),
    })
}

/// The rows of a metric's tiers. The version is filled in when it is made.
fn tier_rows(plan_id: Uuid, metric: &str, tiers: &[Tier]) -> Vec<TierRow> {
    let positions = 0_i32..;
    let row = |(position, tier): (i32, &Tier)| TierRow {
        plan_id,
        version: 0,
        metric_slug: metric.to_owned(),
        position,
        pricing_model: tier.pricing_model.to_string(),
        tier_start: tier.tier_start,
        tier_end: tier.tier_end,
        unit_price_cents: tier.unit_price_cents,
        unit_label: tier.unit_label.clone().unwrap_or_default(),
        unit_divisor: tier.unit_divisor,
        flat_fee_cents: tier.flat_fee_cents,
        minimum_cents: tier.minimum_cents,
    };
    positions.zip(tiers).map(row).collect()
}

fn audited(price: &PlanPrice) -> audit::Entry<'static> {
    audit::Entry {
        object_type: "plan",
        object_id: price.plan.plan_id.to_string(),
        tenant_id: None,
        partner_id: None,
        reason: None,
    }
}

async fn answer(conn: &mut Conn, price: PlanPrice) -> Result<api::PlanResponse> {
    let settings = settings::load(conn).await?;
    shown(price, Some(&settings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn metric(slug: &str) -> MetricRow {
        MetricRow {
            metric_id: Uuid::nil(),
            service_id: Uuid::nil(),
            slug: slug.into(),
            name: slug.into(),
            unit: "call".into(),
            aggregation: "sum".into(),
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    fn input(value: Value) -> api::PricingTierInput {
        serde_json::from_value(value).expect("a tier")
    }

    fn faults(error: Error) -> Vec<String> {
        match error {
            Error::BadRequest { details, .. } => details.into_iter().map(|d| d.field).collect(),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn tiers_in_any_order_with_their_defaults() {
        let inputs = [
            input(json!({"metric_slug": "calls", "tier_start": "100", "unit_price_cents": "0.50"})),
            input(
                json!({"metric_slug": "calls", "tier_start": "0", "tier_end": "100.0", "unit_price_cents": "1"}),
            ),
        ];
        let tiers = checked_tiers(&inputs, &[metric("calls")]).expect("tiers");
        let tiers = &tiers["calls"];
        assert_eq!(tiers[0].tier_end, Some(Decimal::from(100)));
        assert_eq!(tiers[1].unit_label.as_deref(), Some("call"));
        assert_eq!(tiers[1].pricing_model, PricingModel::Graduated);
        let rows = tier_rows(Uuid::nil(), "calls", tiers);
        assert_eq!(rows.iter().map(|row| row.position).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn faults_are_named_by_their_place_in_the_whole_list() {
        let inputs = [
            input(json!({"metric_slug": "other", "tier_start": "0", "unit_price_cents": "1"})),
            input(json!({"metric_slug": "calls", "tier_start": "0", "unit_price_cents": "1"})),
            input(json!({"metric_slug": "bytes", "tier_start": "5", "unit_price_cents": "1"})),
        ];
        let error = checked_tiers(&inputs, &[metric("calls"), metric("bytes")]).expect_err("faults");
        assert_eq!(faults(error), ["0.metric_slug", "2.tier_start"]);
    }

    #[test]
    fn quotas_are_stored_as_strings() {
        let mut checks = Checks::default();
        let given = BTreeMap::from([("a".to_owned(), json!("100.50")), ("b".to_owned(), json!(7))]);
        let stored = quotas(&mut checks, &given, &[metric("a"), metric("b")]);
        assert_eq!(stored, json!({"a": "100.5", "b": "7"}));
        assert!(checks.finish().is_ok());
        for wrong in [json!("-1"), json!(1.5), json!(null), json!("1e3"), json!("0.00000000001")] {
            let mut checks = Checks::default();
            quotas(&mut checks, &BTreeMap::from([("a".to_owned(), wrong)]), &[metric("a")]);
            assert_eq!(faults(checks.finish().expect_err("refused")), ["quotas.a"]);
        }
        let mut checks = Checks::default();
        quotas(&mut checks, &given, &[metric("a")]);
        assert_eq!(faults(checks.finish().expect_err("refused")), ["quotas.b"]);
    }
}
