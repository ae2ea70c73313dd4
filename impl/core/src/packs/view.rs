//! Packs as callers and subscribers to events see them.
use super::price::Priced;
use super::store::{Pack, PackRow, PackSubscriptionRow};
use crate::catalog;
use crate::checks::{stored, stored_json};
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::subscriptions::store::SubscriptionRow;
use crate::subscriptions::view as subscriptions;
use chrono::{DateTime, Utc};
use scaicontrol_domain::ids;
use scaicontrol_types::{
    ChangeKind, EventPackChild, EventPackSubscriptionActivated, EventPackSubscriptionCancelled,
    EventPackSubscriptionChanged, OwnerKind, PackSubscriptionResponse, ServicePackItemResponse,
    ServicePackResponse, SubscriptionResponse, TerminalState,
};

/// A pack with its items and price.
pub fn pack(row: PackRow, priced: &Priced) -> Result<ServicePackResponse> {
    let items = priced.items.iter().map(|item| ServicePackItemResponse {
        service_id: item.row.service_id,
        service_slug: item.service_slug.clone(),
        plan_id: item.row.plan_id,
        plan_key: item.plan_key.clone(),
        plan_name: item.plan_name.clone(),
        plan_price_cents: item.plan_price_cents,
        override_price_cents: item.row.override_price_cents,
        sort_order: item.row.sort_order,
    });
    Ok(ServicePackResponse {
        id: row.pack_id,
        billing_period: stored(&row.billing_period)?,
        base_price_cents: priced.version.base_price_cents,
        discount_type: stored(&priced.version.discount_type)?,
        discount_percentage: priced.version.discount_percentage.normalize().into(),
        price_cents: priced.price()?.0,
        features: stored_json(&row.features)?,
        items: items.collect(),
        slug: row.slug,
        name: row.name,
        description: row.description,
        icon_url: row.icon_url,
        currency: row.currency,
        trial_days: row.trial_days,
        is_active: row.is_active,
        is_public: row.is_public,
        sort_order: row.sort_order,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// A pack subscription with its children.
pub async fn subscription(conn: &mut Conn, pack: Pack) -> Result<PackSubscriptionResponse> {
    let children = subscriptions::responses(conn, pack.children).await?;
    with_children(pack.row, children)
}

/// Several, with the children of all of them.
pub async fn subscription_list(
    conn: &mut Conn,
    rows: Vec<PackSubscriptionRow>,
    children: Vec<SubscriptionRow>,
) -> Result<Vec<PackSubscriptionResponse>> {
    let mut children = subscriptions::responses(conn, children).await?;
    let of_row = |row: PackSubscriptionRow| {
        let id = Some(row.pack_subscription_id);
        let own = children.extract_if(.., |child| child.pack_subscription_id == id).collect();
        with_children(row, own)
    };
    rows.into_iter().map(of_row).collect()
}

fn with_children(
    row: PackSubscriptionRow,
    children: Vec<SubscriptionResponse>,
) -> Result<PackSubscriptionResponse> {
    Ok(PackSubscriptionResponse {
        id: row.pack_subscription_id,
        tenant_id: row.tenant_id,
        partner_id: row.partner_id,
        pack_id: row.pack_id,
        pack_slug: row.pack_slug,
        status: stored(&row.status)?,
        billing_period: stored(&row.billing_period)?,
        currency: row.currency,
        price_cents: row.price_cents,
        current_period_start: row.current_period_start,
        current_period_end: row.current_period_end,
        trial_ends_at: row.trial_ends_at,
        activated_at: row.activated_at,
        pending_cancellation_at: row.pending_cancellation_at,
        cancelled_at: row.cancelled_at,
        cancellation_reason: row.cancellation_reason,
        subscriptions: children,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// Data of `pack_subscription.activated`.
pub async fn activated_event(conn: &mut Conn, pack: &Pack) -> Result<EventPackSubscriptionActivated> {
    let row = pack.row.clone();
    Ok(EventPackSubscriptionActivated {
        pack_subscription_id: row.pack_subscription_id,
        owner_kind: OwnerKind::Tenant,
        tenant_id: row.tenant_id,
        partner_id: row.partner_id,
        pack_id: row.pack_id,
        pack_slug: row.pack_slug,
        status: stored(&row.status)?,
        billing_period: stored(&row.billing_period)?,
        currency: row.currency,
        mrr_amount_cents: row.mrr_amount_cents,
        current_period_start: set(row.current_period_start)?,
        current_period_end: row.current_period_end,
        trial_ends_at: row.trial_ends_at,
        activated_at: row.activated_at,
        subscriptions: children(conn, pack).await?,
    })
}

/// Data of `pack_subscription.changed`.
pub async fn changed_event(
    conn: &mut Conn,
    before: &PackSubscriptionRow,
    pack: &Pack,
    kind: ChangeKind,
    at: DateTime<Utc>,
) -> Result<EventPackSubscriptionChanged> {
    let row = pack.row.clone();
    Ok(EventPackSubscriptionChanged {
        pack_subscription_id: row.pack_subscription_id,
        owner_kind: OwnerKind::Tenant,
        tenant_id: row.tenant_id,
        partner_id: row.partner_id,
        change_kind: kind,
        changed_at: at,
        pack_id: row.pack_id,
        pack_slug: row.pack_slug,
        status: stored(&row.status)?,
        billing_period: stored(&row.billing_period)?,
        currency: row.currency,
        mrr_amount_cents: row.mrr_amount_cents,
        current_period_start: set(row.current_period_start)?,
        current_period_end: row.current_period_end,
        previous_status: stored(&before.status)?,
        suspension_reason: row.suspension_reason.as_deref().map(stored).transpose()?,
        pending_cancellation_at: row.pending_cancellation_at,
        subscriptions: children(conn, pack).await?,
    })
}

/// Data of `pack_subscription.cancelled`.
pub async fn cancelled_event(
    conn: &mut Conn,
    pack: &Pack,
    at: DateTime<Utc>,
    immediately: bool,
) -> Result<EventPackSubscriptionCancelled> {
    let row = pack.row.clone();
    let expired = row.status == "expired";
    Ok(EventPackSubscriptionCancelled {
        pack_subscription_id: row.pack_subscription_id,
        owner_kind: OwnerKind::Tenant,
        tenant_id: row.tenant_id,
        partner_id: row.partner_id,
        pack_id: row.pack_id,
        pack_slug: row.pack_slug,
        billing_period: stored(&row.billing_period)?,
        currency: row.currency,
        activated_at: row.activated_at,
        cancelled_at: at,
        effective_immediately: immediately,
        terminal_state: if expired { TerminalState::Expired } else { TerminalState::Cancelled },
        cancellation_reason: row.cancellation_reason,
        subscriptions: children(conn, pack).await?,
    })
}

async fn children(conn: &mut Conn, pack: &Pack) -> Result<Vec<EventPackChild>> {
    let mut out = Vec::with_capacity(pack.children.len());
    for child in &pack.children {
        let (service_slug, plan_slug) = catalog::slugs(conn, child.plan_id).await?;
        out.push(EventPackChild {
            subscription_id: child.subscription_id,
            service_id: child.service_id,
            plan_id: child.plan_id,
            plan_key: ids::plan_key(&service_slug, &plan_slug),
            service_slug,
            status: stored(&child.status)?,
            mrr_amount_cents: child.mrr_amount_cents,
        });
    }
    Ok(out)
}

fn set<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::internal("a started pack has a period"))
}
