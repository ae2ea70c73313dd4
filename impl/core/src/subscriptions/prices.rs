//! Tells subscribers of a plan or a pack that it has new prices, at least thirty days before they pay them.
//!
//! A new version of a plan leaves an announcement in its transaction ([`announced`]), and so does one of a pack. A worker
//! goes through the subscriptions page by page, in the order of their keys; each page, with how far it came, is one transaction, so that a
//! crash repeats nothing and leaves out nobody. Each subscriber is told what it pays now and will pay, and from when on:
//! from its first period, or usage month, that begins thirty days after the change. Those who would never get there (they
//! end before, or began under the new version) are not told. Of these, those who are about to leave the plan by their own
//! wish may change their mind: it is written down that they were not told, and when they stay they are ([`catch_up`]), and
//! have their thirty days from then on. Who is about to come to the plan pays what it costs when it comes, and is told that.
use super::lifecycle::is_term_over;
use super::notices::{period_price, unit};
use super::store::{self, SubscriptionRow};
use super::{billed, periods, transitions};
use crate::app::Control;
use crate::audit;
use crate::catalog::{self, PlanPrice};
use crate::db::schema::{price_announcements, subscriptions};
use crate::db::{Conn, take_role};
use crate::error::{Error, Result};
use crate::mails::MailKind;
use crate::mails::letters::{self, About, Correspondents};
use crate::notifications::Severity;
use crate::op::{OpContext, Scope};
use crate::packs::{self, notices};
use crate::workers::{Done, NextDue};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use scaicontrol_domain::money::Currency;
use scaicontrol_domain::period::{Periods, local_date};
use scaicontrol_domain::subscription::State;
use scaicontrol_templates::Context;
use scaicontrol_templates::mail::{Envelope, NewBase, PriceChange, PriceChangeMail};
use serde::Serialize;
use serde_json::json;
use std::time::Instant;
use uuid::Uuid;

/// Subscriptions of one transaction.
const PAGE: i64 = 200;

/// A row of `price_announcements`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable, AsChangeset, Serialize)]
#[diesel(table_name = price_announcements, primary_key(source_type, source_id, version), treat_none_as_null = true, check_for_backend(Pg), treat_none_as_default_value = false)]
struct Announcement {
    source_type: String,
    source_id: Uuid,
    version: i32,
    created_at: DateTime<Utc>,
    after_tenant_id: Option<String>,
    after_subscription_id: Option<Uuid>,
    told: i64,
    finished_at: Option<DateTime<Utc>>,
}

/// What has a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A plan.
    Plan,
    /// A pack.
    Pack,
}

impl Source {
    /// As the database has it.
    fn as_str(self) -> &'static str {
        match self {
            Source::Plan => "plan",
            Source::Pack => "pack",
        }
    }
}

/// A plan or a pack has a new version, of which its subscribers are to be told.
pub async fn announced(
    conn: &mut Conn,
    op: &OpContext,
    source: Source,
    source_id: Uuid,
    version: i32,
) -> Result<()> {
    let row = Announcement {
        source_type: source.as_str().into(),
        source_id,
        version,
        created_at: op.now,
        after_tenant_id: None,
        after_subscription_id: None,
        told: 0,
        finished_at: None,
    };
    diesel::insert_into(price_announcements::table).values(&row).execute(conn).await?;
    Ok(())
}

/// Goes through all announcements that are not finished; answers how many pages it did. One that fails does not hold up
/// the others: the time is looked at after a page that was done, so what fails at the front ends no tick.
///
/// Errors: internal when some failed; the next tick goes on with them.
pub async fn tick(op: &OpContext, app: &Control) -> Result<Done> {
    let (began, mut pages, mut failed) = (Instant::now(), 0_u64, 0_u64);
    for key in app.db.read(op, async |conn| unfinished(conn).await).await? {
        loop {
            let done = app.db.tx(op, "price_announcement", async |conn| page(conn, op, app, &key).await);
            match done.await {
                Ok(true) => pages += 1,
                Ok(false) => break,
                Err(e) => {
                    failed += 1;
                    let (what, id) = (&key.0, key.1.to_string());
                    slog::warn!(app.log, "the announcement of a price is stuck"; "of" => what, "id" => id, "error" => %e);
                    break;
                }
            }
            if app.rounds.is_over(began) {
                return Ok(Done::of([("pages", pages)]).and_more());
            }
        }
    }
    match failed {
        0 => Ok(Done::of([("pages", pages)])),
        failed => Err(Error::internal(format!("{failed} announcements of prices are stuck"))),
    }
}

/// What has a new version, and which one.
type Key = (String, Uuid, i32);

async fn unfinished(conn: &mut Conn) -> Result<Vec<Key>> {
    use price_announcements as t;
    let rows = t::table.filter(t::finished_at.is_null()).order((t::created_at, t::version));
    Ok(rows.select((t::source_type, t::source_id, t::version)).load(conn).await?)
}

/// When an announcement was made that is not finished.
pub const NEXT_DUE: NextDue =
    "SELECT min(created_at) FROM price_announcements WHERE finished_at IS NULL AND created_at > $1";

/// Does the next page of an announcement; answers whether there was one, which nobody else is at.
async fn page(conn: &mut Conn, op: &OpContext, app: &Control, key: &Key) -> Result<bool> {
    use price_announcements as t;
    let open = t::table
        .find((&key.0, key.1, key.2))
        .filter(t::finished_at.is_null())
        .select(Announcement::as_select())
        .for_update()
        .skip_locked();
    let Some(mut row) = open.first(conn).await.optional()? else { return Ok(false) };
    let last = if row.source_type == Source::Pack.as_str() {
        page_of_pack(conn, op, app, &mut row).await?
    } else {
        page_of_plan(conn, op, app, &mut row).await?
    };
    match last {
        Some((tenant_id, id)) => {
            (row.after_tenant_id, row.after_subscription_id) = (Some(tenant_id), Some(id));
        }
        None => {
            row.finished_at = Some(op.now);
            let entry = audit::Entry {
                object_type: "price_announcement",
                object_id: row.source_id.to_string(),
                tenant_id: None,
                partner_id: None,
                reason: None,
            };
            audit::record(conn, op, entry, None::<&()>, Some(&row)).await?;
        }
    }
    diesel::update(t::table.find((&key.0, key.1, key.2))).set(&row).execute(conn).await?;
    Ok(true)
}

/// The subscriber that a page came to; none when there was nobody left.
type Last = Option<(String, Uuid)>;

async fn page_of_plan(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    row: &mut Announcement,
) -> Result<Last> {
    let subs = after(conn, row).await?;
    let last = subs.last().map(|last| (last.tenant_id.clone(), last.subscription_id));
    let price = catalog::plan_version(conn, row.source_id, row.version).await?;
    for sub in subs {
        let sub = if is_leaving(&sub)? { noted(conn, sub, &price).await? } else { sub };
        let has = sub.plan_id == row.source_id;
        if !(has && sub.prices_told_at.is_some_and(|told| price.valid_from <= told)) {
            row.told += i64::from(tell(conn, op, app, &sub, &price).await?);
        }
    }
    Ok(last)
}

async fn page_of_pack(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    row: &mut Announcement,
) -> Result<Last> {
    let after = row.after_tenant_id.clone().zip(row.after_subscription_id);
    let version = packs::store::version(conn, row.source_id, row.version).await?;
    let subs = notices::subscribers(conn, row.source_id, after, PAGE).await?;
    for (_, child) in &subs {
        let new = notices::New::Pack(row.version);
        row.told += i64::from(notices::new_price(conn, op, app, child, new, version.valid_from).await?);
    }
    Ok(subs.last().map(|(pack, _)| (pack.tenant_id.clone(), pack.pack_subscription_id)))
}

/// Where a subscription stands in the order in which they are told.
#[derive(QueryableByName)]
struct Place {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    subscription_id: Uuid,
}

/// The next subscriptions that are not over, of the plan and of those that are to have it: each a range of an index.
const NEXT: &str = "
    SELECT tenant_id, subscription_id FROM (
      (SELECT tenant_id, subscription_id FROM subscriptions
       WHERE plan_id = $1 AND status NOT IN ('cancelled', 'expired') AND (tenant_id, subscription_id) > ($2, $3)
       ORDER BY tenant_id, subscription_id LIMIT $4)
      UNION ALL
      (SELECT tenant_id, subscription_id FROM subscriptions
       WHERE pending_plan_id = $1 AND plan_id <> $1 AND status NOT IN ('cancelled', 'expired')
         AND (tenant_id, subscription_id) > ($2, $3)
       ORDER BY tenant_id, subscription_id LIMIT $4)) AS next
    ORDER BY tenant_id, subscription_id LIMIT $4";

async fn after(conn: &mut Conn, row: &Announcement) -> Result<Vec<SubscriptionRow>> {
    use subscriptions as t;
    let places: Vec<Place> = diesel::sql_query(NEXT)
        .bind::<SqlUuid, _>(row.source_id)
        .bind::<Text, _>(row.after_tenant_id.as_deref().unwrap_or_default())
        .bind::<SqlUuid, _>(row.after_subscription_id.unwrap_or_default())
        .bind::<BigInt, _>(PAGE)
        .load(conn)
        .await?;
    let (tenants, ids): (Vec<String>, Vec<Uuid>) =
        places.into_iter().map(|place| (place.tenant_id, place.subscription_id)).unzip();
    let rows = t::table
        .filter(t::tenant_id.eq_any(tenants).and(t::subscription_id.eq_any(ids)))
        .order((t::tenant_id, t::subscription_id));
    Ok(rows.select(SubscriptionRow::as_select()).load(conn).await?)
}

/// Whether a subscription is about to leave its plan: to end, or to have another one.
fn is_leaving(sub: &SubscriptionRow) -> Result<bool> {
    let other = sub.pending_plan_id.is_some_and(|plan_id| plan_id != sub.plan_id);
    Ok(other || transitions::state(sub)? == State::Cancelling)
}

/// Writes down of a subscription that is about to leave the plan that it was not told of its new prices; answers how it is
/// then. Whoever lets it stay at the same time waits for this, or was waited for: then it is as any other.
async fn noted(conn: &mut Conn, sub: SubscriptionRow, new: &PlanPrice) -> Result<SubscriptionRow> {
    use subscriptions as t;
    // A pack that was cancelled cannot be kept.
    if sub.is_child() || sub.plan_id != new.plan.plan_id {
        return Ok(sub);
    }
    let mut sub = store::lock(conn, &sub.tenant_id, sub.subscription_id).await?;
    if sub.plan_id == new.plan.plan_id && is_leaving(&sub)? {
        let row = t::table.find((&sub.tenant_id, sub.subscription_id));
        diesel::update(row).set(t::prices_untold.eq(true)).execute(conn).await?;
        sub.prices_untold = true;
    }
    Ok(sub)
}

/// A subscription that was about to leave its plan stays: it is told of the prices that came meanwhile, if any did. The
/// caller has its lock, and writes the row back.
pub(super) async fn catch_up(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    sub: &mut SubscriptionRow,
) -> Result<()> {
    if !sub.prices_untold || is_leaving(sub)? {
        return Ok(());
    }
    let before = sub.prices_told_at;
    (sub.prices_untold, sub.prices_told_at) = (false, Some(op.now));
    // A tenant sees no partner, in whose name it is written to.
    take_role(conn, &Scope::Platform).await?;
    let new = catalog::plan_in_force(conn, sub.plan_id, op.now).await?;
    let told = tell(conn, op, app, sub, &new).await?;
    take_role(conn, &op.scope).await?;
    if !told {
        sub.prices_told_at = before;
    }
    Ok(())
}

/// Tells one subscriber, if the new price ever reaches it.
async fn tell(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    sub: &SubscriptionRow,
    new: &PlanPrice,
) -> Result<bool> {
    // The base price of a child is a part of its pack's, if at all; what it uses costs what the plan says.
    let is_child = sub.pack_subscription_id.is_some();
    let of_plan = notices::New::Plan(new.plan.plan_id, new.version);
    let pack_told = is_child && notices::new_price(conn, op, app, sub, of_plan, new.valid_from).await?;
    let Some(change) = change(conn, sub, new, is_child).await? else { return Ok(pack_told) };
    if let Some(base) = change.base {
        let more = json!({
            "currency": sub.currency, "old_cents": base.old.0, "new_cents": base.new.0, "from_date": base.from,
        });
        transitions::tell(conn, op, sub, new, (Severity::Warning, "renewal_price_change"), more).await?;
    }
    if let Some(from) = change.usage_from {
        let more = json!({"from_date": from});
        transitions::tell(conn, op, sub, new, (Severity::Warning, "usage_price_change"), more).await?;
    }
    let Some(between) = Correspondents::load(conn, &sub.tenant_id, &sub.partner_id).await? else {
        return Ok(true);
    };
    let facts = PriceChange {
        seller: between.seller.clone(),
        buyer: between.buyer.clone(),
        service: new.service_name.clone(),
        plan: new.plan.name.clone(),
        currency: Currency::parse(&sub.currency).map_err(Error::internal)?,
        interval: unit(new)?.into(),
        base: change.base,
        usage_from: change.usage_from,
    };
    let envelope =
        Envelope { recipient_name: None, portal_url: app.config.public_url.clone(), message: None };
    let context = PriceChangeMail::new(&facts, &envelope, between.language);
    let about = About {
        tenant_id: &sub.tenant_id,
        partner_id: &sub.partner_id,
        kind: MailKind::RenewalPriceChange,
        invoice_id: None,
    };
    letters::write(conn, op, about, &between, &Context::PriceChange(Box::new(context))).await?;
    Ok(true)
}

/// What changes for a subscription, and from which days on.
#[derive(Default)]
struct Change {
    base: Option<NewBase>,
    usage_from: Option<NaiveDate>,
}

async fn change(
    conn: &mut Conn,
    sub: &SubscriptionRow,
    new: &PlanPrice,
    is_child: bool,
) -> Result<Option<Change>> {
    let state = transitions::state(sub)?;
    if state == State::Pending || state.is_final() {
        return Ok(None);
    }
    if sub.plan_id != new.plan.plan_id {
        return arrival(conn, sub, new).await;
    }
    let mut change = Change::default();
    let period = billed::last_period(conn, &sub.tenant_id, sub.subscription_id).await?;
    let segment = store::last_segment(conn, &sub.tenant_id, sub.subscription_id).await?;
    let segment = segment.map(|s| (s.plan_id, s.plan_version));
    // In a trial nothing was billed yet: it is the segment that says which prices the subscriber has seen.
    let pays = period.map(|p| (p.plan_id, p.plan_version)).filter(|_| state != State::Trialing).or(segment);
    if let Some(seen) = seen(conn, new, pays).await?.filter(|_| !is_child)
        && let Some(old) = seen.iter().find(|old| old.base_price_cents != new.base_price_cents)
        && let Some(from) = from(conn, sub, new, &seen, false).await?
    {
        change.base = Some(NewBase { old: period_price(old, sub)?, new: period_price(new, sub)?, from });
    }
    if let Some(seen) = seen(conn, new, segment).await?
        && seen.iter().any(|old| old.tiers != new.tiers)
    {
        change.usage_from = from(conn, sub, new, &seen, true).await?;
    }
    Ok((change.base.is_some() || change.usage_from.is_some()).then_some(change))
}

/// The same for one that is to have the plan from the end of its period on, at what it costs then.
async fn arrival(conn: &mut Conn, sub: &SubscriptionRow, new: &PlanPrice) -> Result<Option<Change>> {
    let comes = sub.pending_plan_id == Some(new.plan.plan_id);
    let at = sub.current_period_end.filter(|at| comes && !is_term_over(sub, *at));
    let Some(at) = at else { return Ok(None) };
    if catalog::plan_in_force(conn, new.plan.plan_id, at).await?.version != new.version {
        return Ok(None);
    }
    let old = catalog::plan_version(conn, new.plan.plan_id, new.version - 1).await?;
    let from = local_date(at, periods::timezone(sub)?).map_err(Error::internal)?;
    let then = SubscriptionRow { quantity: sub.pending_quantity.unwrap_or(sub.quantity), ..sub.clone() };
    let mut change = Change::default();
    if old.base_price_cents != new.base_price_cents {
        change.base = Some(NewBase { old: period_price(&old, &then)?, new: period_price(new, &then)?, from });
    }
    change.usage_from = (old.tiers != new.tiers).then_some(from);
    Ok((change.base.is_some() || change.usage_from.is_some()).then_some(change))
}

/// The prices that a subscriber knows of: those that it runs on, when they are older ones of the same plan, and those that
/// were announced last before the new ones.
async fn seen(
    conn: &mut Conn,
    new: &PlanPrice,
    running: Option<(Uuid, i32)>,
) -> Result<Option<Vec<PlanPrice>>> {
    let running = running.filter(|(plan_id, version)| *plan_id == new.plan.plan_id && *version < new.version);
    let Some((plan_id, version)) = running else { return Ok(None) };
    let mut seen = vec![catalog::plan_version(conn, plan_id, version).await?];
    if version + 1 < new.version {
        seen.push(catalog::plan_version(conn, plan_id, new.version - 1).await?);
    }
    Ok(Some(seen))
}

/// The first day on which the new prices hold for a subscription; none when it ends, or has another plan, before that, or
/// when even newer prices come first.
async fn from(
    conn: &mut Conn,
    sub: &SubscriptionRow,
    new: &PlanPrice,
    seen: &[PlanPrice],
    usage: bool,
) -> Result<Option<NaiveDate>> {
    let known = sub.prices_told_at.map_or(new.valid_from, |told| told.max(new.valid_from));
    let Some(starts) = first(sub, catalog::price_notice_over(known), usage)? else {
        return Ok(None);
    };
    let running = seen.first().map_or(1, |running| running.version);
    let plan_id = new.plan.plan_id;
    let then = catalog::renewal_version(conn, plan_id, running, sub.prices_told_at, starts).await?;
    if then.version != new.version {
        return Ok(None);
    }
    let leaves = is_leaving(sub)?;
    let over = [sub.ends_at, sub.current_period_end.filter(|_| leaves)];
    if over.into_iter().flatten().any(|over| over <= starts) {
        return Ok(None);
    }
    local_date(starts, periods::timezone(sub)?).map(Some).map_err(Error::internal)
}

/// When the first billing period, or usage month, begins that does so at or after `notice`.
pub(crate) fn first(
    sub: &SubscriptionRow,
    notice: DateTime<Utc>,
    usage: bool,
) -> Result<Option<DateTime<Utc>>> {
    let billing = match sub.trial_ends_at.filter(|_| sub.activated_at.is_none()) {
        // What is paid for begins with the end of the trial.
        Some(ends) => {
            let (interval, timezone) = (periods::interval(sub)?, periods::timezone(sub)?);
            Periods::starting_at(ends, interval, timezone).map_err(Error::internal)?
        }
        None => periods::periods(sub)?,
    };
    let all = if usage { billing.usage_months().map_err(Error::internal)? } else { billing };
    Ok(match all.period_at(notice).map_err(Error::internal)? {
        // Nothing began yet: all of it is ahead.
        None => Some(all.period(0).map_err(Error::internal)?.start),
        Some(period) if period.start == notice => Some(notice),
        Some(period) => period.end,
    })
}
