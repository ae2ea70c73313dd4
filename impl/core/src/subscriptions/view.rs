//! Subscriptions as callers and subscribers to events see them.
use super::store::SubscriptionRow;
use crate::billing::store::InvoiceRow;
use crate::catalog::{self, PlanPrice};
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::op::OpContext;
use chrono::{DateTime, Utc};
use scaicontrol_domain::ids::plan_key;
use scaicontrol_domain::subscription::State;
use scaicontrol_types::{
    ChangeKind, EventSubscriptionActivated, EventSubscriptionCancelled, EventSubscriptionChanged,
    EventSubscriptionPaymentFailed, EventSubscriptionResumed, EventSubscriptionSuspended,
    EventSubscriptionTrialEnding, OwnerKind, SubscriptionResponse, TerminalState,
};
use std::collections::btree_map::{BTreeMap, Entry};

/// One subscription.
pub fn response(sub: &SubscriptionRow, service_slug: &str, plan_slug: &str) -> Result<SubscriptionResponse> {
    let s = sub.clone();
    Ok(SubscriptionResponse {
        id: s.subscription_id,
        tenant_id: s.tenant_id,
        partner_id: s.partner_id,
        service_id: s.service_id,
        service_slug: service_slug.into(),
        plan_id: s.plan_id,
        plan_key: plan_key(service_slug, plan_slug),
        quantity: s.quantity,
        status: parse(&s.status)?,
        billing_period: parse(&s.billing_period)?,
        currency: s.currency,
        mrr_amount_cents: s.mrr_amount_cents,
        current_period_start: s.current_period_start,
        current_period_end: s.current_period_end,
        trial_ends_at: s.trial_ends_at,
        activated_at: s.activated_at,
        pending_cancellation_at: s.pending_cancellation_at,
        pending_plan_id: s.pending_plan_id,
        pending_quantity: s.pending_quantity,
        anchor_date: s.anchor_date,
        // Before the start it is only what it would be.
        timezone: s.anchor_date.map(|_| s.timezone),
        ends_at: s.ends_at,
        past_due_since: s.past_due_since,
        suspended_at: s.suspended_at,
        suspension_reason: s.suspension_reason.as_deref().map(parse).transpose()?,
        cancelled_at: s.cancelled_at,
        cancellation_reason: s.cancellation_reason,
        pack_subscription_id: s.pack_subscription_id,
        metadata: metadata(&s.metadata),
        created_at: s.created_at,
        updated_at: s.updated_at,
    })
}

/// Several, with their plans' names looked up once for each plan.
pub async fn responses(conn: &mut Conn, rows: Vec<SubscriptionRow>) -> Result<Vec<SubscriptionResponse>> {
    let mut names = BTreeMap::new();
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        let (service, plan) = match names.entry(row.plan_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(catalog::slugs(conn, row.plan_id).await?),
        };
        out.push(response(&row, service, plan)?);
    }
    Ok(out)
}

/// Data of `subscription.activated`.
pub fn activated_event(sub: &SubscriptionRow, price: &PlanPrice) -> Result<EventSubscriptionActivated> {
    let s = sub.clone();
    Ok(EventSubscriptionActivated {
        subscription_id: s.subscription_id,
        owner_kind: OwnerKind::Tenant,
        tenant_id: s.tenant_id,
        partner_id: s.partner_id,
        service_id: s.service_id,
        service_slug: price.service_slug.clone(),
        plan_id: s.plan_id,
        plan_key: price.plan_key(),
        quantity: s.quantity,
        status: parse(&s.status)?,
        billing_period: parse(&s.billing_period)?,
        currency: s.currency,
        mrr_amount_cents: s.mrr_amount_cents,
        current_period_start: set(s.current_period_start)?,
        current_period_end: s.current_period_end,
        trial_ends_at: s.trial_ends_at,
        activated_at: s.activated_at,
        anchor_date: set(s.anchor_date)?,
        timezone: s.timezone,
        ends_at: s.ends_at,
        metadata: metadata(&s.metadata),
        created_at: s.created_at,
    })
}

/// Data of `subscription.changed`. `plan_before` is the slug of the plan that it had.
pub fn changed_event(
    before: &SubscriptionRow,
    sub: &SubscriptionRow,
    (price, plan_before): (&PlanPrice, &str),
    kind: ChangeKind,
    at: DateTime<Utc>,
) -> Result<EventSubscriptionChanged> {
    let s = sub.clone();
    Ok(EventSubscriptionChanged {
        subscription_id: s.subscription_id,
        owner_kind: OwnerKind::Tenant,
        tenant_id: s.tenant_id,
        partner_id: s.partner_id,
        change_kind: kind,
        changed_at: at,
        service_id: s.service_id,
        service_slug: price.service_slug.clone(),
        plan_id: s.plan_id,
        plan_key: price.plan_key(),
        quantity: s.quantity,
        status: parse(&s.status)?,
        billing_period: parse(&s.billing_period)?,
        currency: s.currency,
        mrr_amount_cents: s.mrr_amount_cents,
        current_period_start: set(s.current_period_start)?,
        current_period_end: s.current_period_end,
        previous_plan_id: before.plan_id,
        previous_plan_key: plan_key(&price.service_slug, plan_before),
        previous_quantity: before.quantity,
        previous_status: parse(&before.status)?,
        previous_mrr_amount_cents: before.mrr_amount_cents,
        trial_ends_at: s.trial_ends_at,
        pending_cancellation_at: s.pending_cancellation_at,
    })
}

/// Data of `subscription.cancelled`.
pub fn cancelled_event(
    sub: &SubscriptionRow,
    price: &PlanPrice,
    (to, immediately): (State, bool),
    at: DateTime<Utc>,
) -> Result<EventSubscriptionCancelled> {
    let s = sub.clone();
    Ok(EventSubscriptionCancelled {
        subscription_id: s.subscription_id,
        owner_kind: OwnerKind::Tenant,
        tenant_id: s.tenant_id,
        partner_id: s.partner_id,
        service_id: s.service_id,
        service_slug: price.service_slug.clone(),
        plan_id: s.plan_id,
        plan_key: price.plan_key(),
        quantity: s.quantity,
        billing_period: parse(&s.billing_period)?,
        currency: s.currency,
        activated_at: s.activated_at,
        cancelled_at: at,
        effective_immediately: immediately,
        terminal_state: if to == State::Expired { TerminalState::Expired } else { TerminalState::Cancelled },
        cancellation_reason: s.cancellation_reason,
    })
}

/// Data of `subscription.suspended`.
pub fn suspended_event(sub: &SubscriptionRow, price: &PlanPrice) -> Result<EventSubscriptionSuspended> {
    let s = sub.clone();
    Ok(EventSubscriptionSuspended {
        subscription_id: s.subscription_id,
        owner_kind: OwnerKind::Tenant,
        tenant_id: s.tenant_id,
        partner_id: s.partner_id,
        service_id: s.service_id,
        service_slug: price.service_slug.clone(),
        plan_id: s.plan_id,
        plan_key: price.plan_key(),
        suspended_at: set(s.suspended_at)?,
        suspension_reason: parse(&set(s.suspension_reason)?)?,
        past_due_since: s.past_due_since,
    })
}

/// Data of `subscription.trial_ending`, for the notice of so many days before.
pub fn trial_ending_event(
    sub: &SubscriptionRow,
    price: &PlanPrice,
    trial_ends_at: DateTime<Utc>,
    days: u32,
) -> Result<EventSubscriptionTrialEnding> {
    let s = sub.clone();
    Ok(EventSubscriptionTrialEnding {
        subscription_id: s.subscription_id,
        owner_kind: OwnerKind::Tenant,
        tenant_id: s.tenant_id,
        partner_id: s.partner_id,
        service_id: s.service_id,
        service_slug: price.service_slug.clone(),
        plan_id: s.plan_id,
        plan_key: price.plan_key(),
        quantity: s.quantity,
        billing_period: parse(&s.billing_period)?,
        currency: s.currency,
        mrr_amount_cents: s.mrr_amount_cents,
        trial_ends_at,
        days_left: i32::try_from(days).map_err(Error::internal)?,
        // No tenant can save a payment method, so none has one.
        has_payment_method: false,
    })
}

/// Data of `subscription.payment_failed` for an invoice that was not paid by `at`, and that nobody tried to collect.
pub async fn overdue_event(
    conn: &mut Conn,
    sub: &SubscriptionRow,
    invoice: &InvoiceRow,
    at: DateTime<Utc>,
) -> Result<EventSubscriptionPaymentFailed> {
    let (service_slug, plan) = catalog::slugs(conn, sub.plan_id).await?;
    let s = sub.clone();
    Ok(EventSubscriptionPaymentFailed {
        subscription_id: s.subscription_id,
        owner_kind: OwnerKind::Tenant,
        tenant_id: s.tenant_id,
        partner_id: s.partner_id,
        service_id: s.service_id,
        plan_id: s.plan_id,
        plan_key: format!("{service_slug}.{plan}"),
        service_slug,
        status: parse(&s.status)?,
        invoice_id: invoice.invoice_id,
        invoice_number: invoice.number.clone().unwrap_or_default(),
        currency: invoice.currency.clone(),
        due_cents: invoice.due_cents,
        due_date: set(invoice.due_date)?,
        failed_at: at,
        failure_code: None,
        attempt_count: 0,
        next_attempt_at: None,
        past_due_since: s.past_due_since,
    })
}

/// Data of `subscription.resumed`.
pub fn resumed_event(
    op: &OpContext,
    before: &SubscriptionRow,
    sub: &SubscriptionRow,
    price: &PlanPrice,
) -> Result<EventSubscriptionResumed> {
    let s = sub.clone();
    Ok(EventSubscriptionResumed {
        subscription_id: s.subscription_id,
        owner_kind: OwnerKind::Tenant,
        tenant_id: s.tenant_id,
        partner_id: s.partner_id,
        service_id: s.service_id,
        service_slug: price.service_slug.clone(),
        plan_id: s.plan_id,
        plan_key: price.plan_key(),
        quantity: s.quantity,
        status: parse(&s.status)?,
        billing_period: parse(&s.billing_period)?,
        currency: s.currency,
        mrr_amount_cents: s.mrr_amount_cents,
        current_period_start: set(s.current_period_start)?,
        current_period_end: s.current_period_end,
        resumed_at: op.now,
        suspended_at: set(before.suspended_at)?,
        suspension_reason: parse(&set(before.suspension_reason.clone())?)?,
    })
}

/// An enum of the specification from the text in the database, which a CHECK keeps to the same values.
pub fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(text.into())).map_err(Error::internal)
}

/// Free metadata from its column.
pub fn metadata<T: FromIterator<(String, serde_json::Value)>>(value: &serde_json::Value) -> T {
    value.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn set<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::internal("a subscription without what its state needs"))
}
