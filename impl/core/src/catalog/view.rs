//! The catalogue as callers see it.
use super::PlanPrice;
use super::store::{MetricRow, PlanRow, ServiceKeyRow, ServiceRow, TierRow};
use crate::checks::{stored, stored_json, stored_optional};
use crate::error::Result;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use scaicontrol_domain::tiers::Tier;
use scaicontrol_types as api;

/// A service on show.
pub fn service(row: ServiceRow) -> Result<api::CatalogServiceResponse> {
    Ok(api::CatalogServiceResponse {
        id: row.service_id,
        status: stored(&row.status)?,
        slug: row.slug,
        name: row.name,
        description: row.description,
        category: row.category,
        icon_url: row.icon_url,
        version: row.version,
        sort_order: row.sort_order,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// A service on show with what belongs to it.
pub fn service_detail(
    row: ServiceRow,
    plans: Vec<api::PlanResponse>,
    metrics: &[MetricRow],
) -> Result<api::CatalogServiceDetailResponse> {
    Ok(api::CatalogServiceDetailResponse {
        id: row.service_id,
        status: stored(&row.status)?,
        slug: row.slug,
        name: row.name,
        description: row.description,
        category: row.category,
        icon_url: row.icon_url,
        version: row.version,
        sort_order: row.sort_order,
        plans,
        metrics: metrics.iter().map(metric).collect::<Result<_>>()?,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// Something that a service measures.
pub fn metric(row: &MetricRow) -> Result<api::MetricResponse> {
    Ok(api::MetricResponse {
        slug: row.slug.clone(),
        name: row.name.clone(),
        unit: row.unit.clone(),
        aggregation: stored(&row.aggregation)?,
    })
}

/// A service with all that the registry knows of it. `keys` come newest first.
pub fn admin_service(
    row: ServiceRow,
    metrics: &[MetricRow],
    keys: &[ServiceKeyRow],
    now: DateTime<Utc>,
) -> Result<api::AdminServiceResponse> {
    let (newest, older) = keys.split_first().map_or((None, keys), |(first, rest)| (Some(first), rest));
    Ok(api::AdminServiceResponse {
        id: row.service_id,
        status: stored(&row.status)?,
        health_status: stored_optional(row.health_status.as_deref())?,
        capabilities: stored_json(&row.capabilities)?,
        endpoints: stored_json(&row.endpoints)?,
        metrics: metrics.iter().map(metric).collect::<Result<_>>()?,
        provisioning: row.provisioning.as_ref().map(stored_json).transpose()?,
        key_prefix: newest.map(|key| format!("sck_{}", key.key_id)),
        key_created_at: newest.map(|key| key.created_at),
        previous_key_valid_until: older.iter().filter_map(|key| key.expires_at).filter(|at| *at > now).max(),
        metadata: stored_json(&row.metadata)?,
        slug: row.slug,
        name: row.name,
        description: row.description,
        category: row.category,
        icon_url: row.icon_url,
        version: row.version,
        app_id: row.app_id,
        client_id: row.client_id,
        base_url: row.base_url,
        pending_base_url: row.pending_base_url,
        health_check_url: row.health_check_url,
        pending_health_check_url: row.pending_health_check_url,
        heartbeat_interval_seconds: row.heartbeat_interval_seconds,
        last_heartbeat_at: row.last_heartbeat_at,
        missed_heartbeats: row.missed_heartbeats,
        registered_at: row.registered_at,
        registration_version: row.registration_version,
        approved_at: row.approved_at,
        suspended_at: row.suspended_at,
        suspension_reason: row.suspension_reason,
        is_active: row.is_active,
        is_public: row.is_public,
        sort_order: row.sort_order,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// A plan with its prices. `cost_multiplier` is none for callers that it is no business of.
pub fn plan(price: PlanPrice, cost_multiplier: Option<Decimal>) -> Result<api::PlanResponse> {
    let plan_key = price.plan_key();
    let mut pricing_tiers = Vec::new();
    for (metric_slug, tiers) in &price.tiers {
        for tier in tiers {
            pricing_tiers.push(pricing_tier(metric_slug, tier)?);
        }
    }
    let row: PlanRow = price.plan;
    Ok(api::PlanResponse {
        id: row.plan_id,
        service_id: row.service_id,
        plan_key,
        billing_period: stored(&row.billing_period)?,
        base_price_cents: price.base_price_cents,
        features: stored_json(&row.features)?,
        quotas: stored_json(&row.quotas)?,
        metadata: stored_json(&row.metadata)?,
        cost_multiplier: cost_multiplier.map(decimal),
        pricing_tiers,
        slug: row.slug,
        name: row.name,
        description: row.description,
        tier: row.tier,
        currency: row.currency,
        is_active: row.is_active,
        is_public: row.is_public,
        trial_days: row.trial_days,
        sort_order: row.sort_order,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

fn pricing_tier(metric_slug: &str, tier: &Tier) -> Result<api::PricingTierResponse> {
    Ok(api::PricingTierResponse {
        metric_slug: metric_slug.to_owned(),
        tier_start: decimal(tier.tier_start),
        tier_end: tier.tier_end.map(decimal),
        unit_price_cents: decimal(tier.unit_price_cents),
        unit_label: tier.unit_label.clone().unwrap_or_default(),
        unit_divisor: decimal(tier.unit_divisor),
        pricing_model: stored(tier.pricing_model.as_str())?,
        flat_fee_cents: tier.flat_fee_cents,
        minimum_cents: tier.minimum_cents,
    })
}

/// A stored tier as the rules take it.
pub fn tier(row: &TierRow) -> Result<Tier> {
    Ok(Tier {
        tier_start: row.tier_start.normalize(),
        tier_end: row.tier_end.map(|end| end.normalize()),
        unit_price_cents: row.unit_price_cents.normalize(),
        unit_divisor: row.unit_divisor.normalize(),
        unit_label: Some(row.unit_label.clone()),
        pricing_model: stored(&row.pricing_model)?,
        flat_fee_cents: row.flat_fee_cents,
        minimum_cents: row.minimum_cents,
    })
}

/// Without the zeros that the column adds.
fn decimal(value: Decimal) -> api::Decimal {
    value.normalize().into()
}
