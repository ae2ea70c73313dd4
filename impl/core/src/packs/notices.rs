//! What a tenant with a pack is told before it happens: that its trial ends, and that it will cost something else.
//!
//! The pack is told of as one thing, whatever is in it, and its price is that of the pack: a plan that becomes dearer
//! changes it when the pack is priced by its plans, and does not when it has a price of its own.
use super::lifecycle::parse;
use super::price::{self, Priced};
use super::store::{self, Pack, PackSubscriptionRow};
use crate::app::Control;
use crate::catalog;
use crate::db::Conn;
use crate::db::schema::pack_subscriptions;
use crate::error::{Error, Result};
use crate::mails::MailKind;
use crate::mails::letters::{self, About, Correspondents};
use crate::notifications::{self, Notice, Severity};
use crate::op::OpContext;
use crate::settings::Settings;
use crate::subscriptions::notices::interval_unit;
use crate::subscriptions::store::SubscriptionRow;
use crate::subscriptions::{lifecycle, periods, prices};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use scaicontrol_domain::money::Currency;
use scaicontrol_domain::period::local_date;
use scaicontrol_domain::subscription::State;
use scaicontrol_templates::Context;
use scaicontrol_templates::mail::{
    Envelope, NewBase, PriceChange, PriceChangeMail, TrialEnding, TrialEndingMail,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// The trial of a child's pack ends at `ends_at`. All children come by here, and the first of them speaks for the pack.
pub async fn trial_ending(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    settings: &Settings,
    (child, ends_at): (&SubscriptionRow, DateTime<Utc>),
) -> Result<()> {
    let Some((pack, first)) = pack_of(conn, child).await? else { return Ok(()) };
    if first.subscription_id != child.subscription_id {
        return Ok(());
    }
    let priced = price::foreseen(conn, &pack, ends_at).await?;
    let name = store::name(conn, &pack.row).await?;
    let parameters = json!({"pack": name, "ends_at": ends_at});
    let ends_then = lifecycle::ends_with_trial(settings);
    let message = if ends_then { "pack_trial_ending_for_good" } else { "pack_trial_ending" };
    tell(conn, op, &pack.row, (Severity::Info, message), parameters).await?;
    let Some(between) = Correspondents::load(conn, &child.tenant_id, &child.partner_id).await? else {
        return Ok(());
    };
    let timezone = periods::timezone(child)?;
    let day = |at| local_date(at, timezone).map_err(Error::internal);
    let left = day(ends_at)?.signed_duration_since(day(op.now)?).num_days();
    let told = TrialEnding {
        seller: between.seller.clone(),
        buyer: between.buyer.clone(),
        service: name,
        plan: contents(&priced),
        trial_end: day(ends_at)?,
        days_left: u32::try_from(left).unwrap_or(0),
        ends_then,
        price: priced.price()?,
        currency: Currency::parse(&pack.row.currency).map_err(Error::internal)?,
        interval: interval_unit(&pack.row.billing_period)?.into(),
    };
    let context = TrialEndingMail::new(&told, &envelope(app), between.language);
    let context = Context::TrialEnding(Box::new(context));
    letters::write(conn, op, about(&pack.row, MailKind::TrialEnding), &between, &context).await?;
    Ok(())
}

/// What made a new price.
#[derive(Clone, Copy, Debug)]
pub enum New {
    /// A version of the pack.
    Pack(i32),
    /// A version of a plan that is in it.
    Plan(Uuid, i32),
}

/// Tells who has a pack what it will cost, and from which day on, when something that is in force since `valid_from`
/// changes that; answers whether it does.
pub async fn new_price(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    child: &SubscriptionRow,
    new: New,
    valid_from: DateTime<Utc>,
) -> Result<bool> {
    let Some((pack, first)) = pack_of(conn, child).await? else { return Ok(false) };
    if matches!(parse(&pack.row)?, State::Pending | State::Cancelling) {
        return Ok(false);
    }
    let notice = catalog::price_notice_over(valid_from);
    let Some(starts_at) = prices::first(&first, notice, false)? else { return Ok(false) };
    if first.ends_at.is_some_and(|end| end <= starts_at) {
        return Ok(false);
    }
    let then = price::foreseen(conn, &pack, starts_at).await?;
    let is_newest = match new {
        New::Pack(version) => then.version.version == version,
        New::Plan(plan_id, version) => {
            then.items.iter().any(|item| item.row.plan_id == plan_id && item.plan_version == version)
        }
    };
    // What was known the moment before.
    let before = price::foreseen(conn, &pack, notice - TimeDelta::microseconds(1)).await?;
    let (old, new) = (before.price()?, then.price()?);
    if !is_newest || old == new {
        return Ok(false);
    }
    let from = local_date(starts_at, periods::timezone(&first)?).map_err(Error::internal)?;
    let name = store::name(conn, &pack.row).await?;
    let more = json!({
        "pack": name, "currency": pack.row.currency, "old_cents": old.0, "new_cents": new.0, "from_date": from,
    });
    tell(conn, op, &pack.row, (Severity::Warning, "pack_price_change"), more).await?;
    let Some(between) = Correspondents::load(conn, &pack.row.tenant_id, &pack.row.partner_id).await? else {
        return Ok(true);
    };
    let facts = PriceChange {
        seller: between.seller.clone(),
        buyer: between.buyer.clone(),
        service: name,
        plan: contents(&then),
        currency: Currency::parse(&pack.row.currency).map_err(Error::internal)?,
        interval: interval_unit(&pack.row.billing_period)?.into(),
        base: Some(NewBase { old, new, from }),
        usage_from: None,
    };
    let context = PriceChangeMail::new(&facts, &envelope(app), between.language);
    let context = Context::PriceChange(Box::new(context));
    letters::write(conn, op, about(&pack.row, MailKind::RenewalPriceChange), &between, &context).await?;
    Ok(true)
}

/// The next `limit` subscriptions to a pack that are not over, after a place in their order: of each its first child.
pub async fn subscribers(
    conn: &mut Conn,
    pack_id: Uuid,
    after: Option<(String, Uuid)>,
    limit: i64,
) -> Result<Vec<(PackSubscriptionRow, SubscriptionRow)>> {
    use pack_subscriptions as t;
    let mut query = t::table
        .filter(t::pack_id.eq(pack_id).and(t::status.ne_all(["cancelled", "expired"])))
        .order((t::tenant_id, t::pack_subscription_id))
        .limit(limit)
        .select(PackSubscriptionRow::as_select())
        .into_boxed();
    if let Some((tenant_id, id)) = after {
        let after = diesel::dsl::sql::<Bool>(
            "(pack_subscriptions.tenant_id, pack_subscriptions.pack_subscription_id) > (",
        )
        .bind::<Text, _>(tenant_id)
        .sql(", ")
        .bind::<SqlUuid, _>(id)
        .sql(")");
        query = query.filter(after);
    }
    let rows = query.load(conn).await?;
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        let mut pack = store::lock(conn, &row.tenant_id, row.pack_subscription_id).await?;
        out.push((pack.row, pack.children.swap_remove(0)));
    }
    Ok(out)
}

/// The pack of a child, locked, and the first of its children.
async fn pack_of(conn: &mut Conn, child: &SubscriptionRow) -> Result<Option<(Pack, SubscriptionRow)>> {
    let Some(id) = child.pack_subscription_id else { return Ok(None) };
    let pack = store::lock(conn, &child.tenant_id, id).await?;
    let first = pack.children.as_slice().first().cloned();
    Ok(first.map(|first| (pack, first)))
}

/// What is in a pack, in words.
fn contents(priced: &Priced) -> String {
    let names: Vec<&str> = priced.items.iter().map(|item| item.service_name.as_str()).collect();
    names.join(", ")
}

fn envelope(app: &Control) -> Envelope {
    Envelope { recipient_name: None, portal_url: app.config.public_url.clone(), message: None }
}

fn about(row: &PackSubscriptionRow, kind: MailKind) -> About<'_> {
    About { tenant_id: &row.tenant_id, partner_id: &row.partner_id, kind, invoice_id: None }
}

/// A notification to the tenant of a pack subscription.
pub(super) async fn tell(
    conn: &mut Conn,
    op: &OpContext,
    row: &PackSubscriptionRow,
    (severity, message): (Severity, &'static str),
    parameters: Value,
) -> Result<()> {
    let notice = Notice {
        tenant_id: &row.tenant_id,
        partner_id: &row.partner_id,
        user_id: None,
        category: "subscription",
        severity,
        message,
        parameters,
        link: Some("/api/v1/service-pack-subscriptions".into()),
    };
    notifications::tell(conn, op, notice).await
}
