//! Tells tenants that a trial ends: on the days before it that the settings name, each once.
//!
//! A row is made when a trial begins, and goes when the trial is over. It says when it is to be looked at next; what is
//! due then is computed from the trial as it is at that moment, under the subscription's lock. A trial that is cancelled
//! or converted has no notices any more, and one whose end moved has those of its new end. A change of the settings holds
//! for the notices that are still open. Whoever looks late gives the newest notice only.
use super::store::{self, SubscriptionRow};
use super::{lifecycle, periods, segments, transitions, view};
use crate::app::Control;
use crate::audit;
use crate::catalog::{self, PlanPrice};
use crate::db::Conn;
use crate::db::schema::trial_notices;
use crate::dunning::store::settings_version;
use crate::error::{Error, Result};
use crate::events;
use crate::mails::MailKind;
use crate::mails::letters::{self, About, Correspondents};
use crate::notifications::Severity;
use crate::op::OpContext;
use crate::packs;
use crate::settings::{self, Settings};
use crate::workers::{Done, NextDue};
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_domain::period::{Interval, local_date};
use scaicontrol_domain::subscription::State;
use scaicontrol_domain::trial::{self, Trial};
use scaicontrol_templates::Context;
use scaicontrol_templates::mail::{Envelope, TrialEnding, TrialEndingMail};
use serde::Serialize;
use serde_json::json;
use std::time::Instant;
use uuid::Uuid;

/// Trials that are looked for at a time.
const PAGE: i64 = 200;
/// Name of the worker.
const NAME: &str = "trial_monitor";

/// A row of `trial_notices`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset, Serialize)]
#[diesel(table_name = trial_notices, primary_key(tenant_id, subscription_id), treat_none_as_null = true, check_for_backend(Pg), treat_none_as_default_value = false)]
struct NoticeRow {
    tenant_id: String,
    subscription_id: Uuid,
    partner_id: String,
    trial_ends_at: DateTime<Utc>,
    told_days: Option<i32>,
    next_at: DateTime<Utc>,
    settings_version: i32,
    created_at: DateTime<Utc>,
}

/// A trial has begun: its notices are planned.
pub async fn plan(conn: &mut Conn, op: &OpContext, settings: &Settings, sub: &SubscriptionRow) -> Result<()> {
    let trial = trial(sub)?;
    let due =
        trial::due(&settings.trial_notice_days, None, trial, trial.starts_at).map_err(Error::internal)?;
    let row = NoticeRow {
        tenant_id: sub.tenant_id.clone(),
        subscription_id: sub.subscription_id,
        partner_id: sub.partner_id.clone(),
        trial_ends_at: trial.ends_at,
        told_days: None,
        next_at: if due.notice.is_some() { trial.starts_at } else { due.next_at.unwrap_or(trial.ends_at) },
        // Of those that the plan was made from: whatever is saved meanwhile is newer, and the plan follows it.
        settings_version: settings.version,
        created_at: op.now,
    };
    diesel::insert_into(trial_notices::table).values(&row).execute(conn).await?;
    Ok(())
}

fn trial(sub: &SubscriptionRow) -> Result<Trial> {
    let (Some(starts_at), Some(ends_at)) = (sub.current_period_start, sub.trial_ends_at) else {
        return Err(Error::internal(format!("subscription {} has no trial", sub.subscription_id)));
    };
    Ok(Trial { starts_at, ends_at, timezone: periods::timezone(sub)? })
}

/// Gives the notices that are due; answers how many trials it looked at.
///
/// Errors: internal when some failed; the next tick tries them again.
pub async fn tick(op: &OpContext, app: &Control) -> Result<Done> {
    let version = app.db.read(op, async |conn| settings_version(conn).await).await?;
    let (began, mut round, mut told) = (Instant::now(), app.rounds.take(NAME), 0_u64);
    let lists = [Which::Rescheduled(version), Which::Due(op.now)];
    while let Some(which) = lists.get(round.list).copied() {
        let after = round.after;
        let page = app.db.read(op, async |conn| find(conn, which, after).await).await?;
        if page.is_empty() {
            round.turn();
        }
        for (at, tenant_id, id) in &page {
            let done = app
                .db
                .tx(op, "trial_notice", async |conn| look(conn, op, app, (tenant_id, *id), version).await)
                .await;
            match done {
                Ok(()) => told += 1,
                Err(e) => {
                    round.failed += 1;
                    let id = id.to_string();
                    slog::warn!(app.log, "a trial's notice is stuck"; "subscription" => id, "error" => %e);
                }
            }
            round.after = Some((*at, *id));
            if app.rounds.is_over(began) {
                app.rounds.leave(NAME, round);
                return Ok(Done::of([("trials", told)]).and_more());
            }
        }
    }
    round.end(Done::of([("trials", told)]), "notices of trials are stuck")
}

/// When a notice is due, or a trial is over; and for trials that know older settings, when the newer ones were saved.
pub const NEXT_DUE: NextDue = "SELECT LEAST(
       (SELECT min(next_at) FROM trial_notices WHERE next_at > $1),
       (SELECT min(s.updated_at) FROM platform_settings s WHERE s.updated_at > $1
          AND EXISTS (SELECT 1 FROM trial_notices t WHERE t.settings_version < s.version)))";

/// Which trials are looked for.
#[derive(Clone, Copy)]
enum Which {
    /// Those that know the settings of an earlier version.
    Rescheduled(i32),
    /// Those that are due.
    Due(DateTime<Utc>),
}

/// When a trial is looked at next, its tenant, and its subscription.
type Found = (DateTime<Utc>, String, Uuid);

/// Trials after a place in their list.
async fn find(conn: &mut Conn, which: Which, after: Option<(DateTime<Utc>, Uuid)>) -> Result<Vec<Found>> {
    use trial_notices as t;
    let (at, id) = after.unwrap_or((DateTime::UNIX_EPOCH, Uuid::nil()));
    let mut query = t::table
        .filter(t::next_at.gt(at).or(t::next_at.eq(at).and(t::subscription_id.gt(id))))
        .order((t::next_at, t::subscription_id))
        .limit(PAGE)
        .select((t::next_at, t::tenant_id, t::subscription_id))
        .into_boxed();
    query = match which {
        Which::Rescheduled(version) => query.filter(t::settings_version.lt(version)),
        Which::Due(now) => query.filter(t::next_at.le(now)),
    };
    Ok(query.load(conn).await?)
}

/// Looks at one trial under its lock, and gives the notice that is due, if any.
async fn look(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    (tenant_id, subscription_id): (&str, Uuid),
    version: i32,
) -> Result<()> {
    use trial_notices as t;
    let settings = settings::load(conn).await?;
    let mut sub = lifecycle::lock(conn, op, &settings, tenant_id, subscription_id).await?;
    let key = (tenant_id, subscription_id);
    let row = t::table.find(key).select(NoticeRow::as_select()).first(conn).await.optional()?;
    let Some(mut row) = row else { return Ok(()) };
    if transitions::state(&sub)? != State::Trialing {
        diesel::delete(t::table.find(key)).execute(conn).await?;
        return Ok(());
    }
    let trial = trial(&sub)?;
    if row.trial_ends_at != trial.ends_at {
        (row.trial_ends_at, row.told_days) = (trial.ends_at, None);
    }
    let told = row.told_days.and_then(|days| u32::try_from(days).ok());
    let due = trial::due(&settings.trial_notice_days, told, trial, op.now).map_err(Error::internal)?;
    if let Some(days) = due.notice {
        if sub.pack_subscription_id.is_none() {
            announce(conn, op, app, &settings, &mut sub, (trial, days)).await?;
        } else {
            packs::notices::trial_ending(conn, op, app, &settings, (&sub, trial.ends_at)).await?;
        }
        row.told_days = Some(i32::try_from(days).map_err(Error::internal)?);
    }
    (row.next_at, row.settings_version) = (due.next_at.unwrap_or(trial.ends_at), version);
    diesel::update(t::table.find(key)).set(&row).execute(conn).await?;
    if due.notice.is_some() {
        audit::record(
            conn,
            op,
            super::audited(&sub, Some("the end of the trial was announced")),
            None::<&()>,
            Some(&row),
        )
        .await?;
    }
    Ok(())
}

/// Event, notification and mail of one notice.
async fn announce(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    settings: &Settings,
    sub: &mut SubscriptionRow,
    (trial, days): (Trial, u32),
) -> Result<()> {
    let price = segments::base_price_at(conn, sub, trial.ends_at).await?;
    sub.event_sequence += 1;
    store::save(conn, op, sub).await?;
    let data = view::trial_ending_event(sub, &price, trial.ends_at, days)?;
    events::emit(conn, op, transitions::event(sub, "subscription.trial_ending"), &data).await?;
    let more = json!({"ends_at": trial.ends_at, "days": days});
    let ends_then = lifecycle::ends_with_trial(settings);
    let message = if ends_then { "trial_ending_for_good" } else { "trial_ending" };
    transitions::tell(conn, op, sub, &price, (Severity::Info, message), more).await?;
    mail(conn, op, app, sub, &price, (trial, ends_then)).await
}

async fn mail(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    sub: &SubscriptionRow,
    price: &PlanPrice,
    (trial, ends_then): (Trial, bool),
) -> Result<()> {
    let Some(between) = Correspondents::load(conn, &sub.tenant_id, &sub.partner_id).await? else {
        return Ok(());
    };
    let day = |at| local_date(at, trial.timezone).map_err(Error::internal);
    let trial_end = day(trial.ends_at)?;
    let left = trial_end.signed_duration_since(day(op.now)?).num_days();
    let told = TrialEnding {
        seller: between.seller.clone(),
        buyer: between.buyer.clone(),
        service: price.service_name.clone(),
        plan: price.plan.name.clone(),
        trial_end,
        days_left: u32::try_from(left).unwrap_or(0),
        ends_then,
        price: period_price(price, sub)?,
        currency: Currency::parse(&sub.currency).map_err(Error::internal)?,
        interval: unit(price)?.into(),
    };
    let envelope =
        Envelope { recipient_name: None, portal_url: app.config.public_url.clone(), message: None };
    let context = TrialEndingMail::new(&told, &envelope, between.language);
    let about = About {
        tenant_id: &sub.tenant_id,
        partner_id: &sub.partner_id,
        kind: MailKind::TrialEnding,
        invoice_id: None,
    };
    letters::write(conn, op, about, &between, &Context::TrialEnding(Box::new(context))).await?;
    Ok(())
}

/// What a billing period costs at a price.
pub(super) fn period_price(price: &PlanPrice, sub: &SubscriptionRow) -> Result<Cents> {
    let cents = price.base_price_cents.checked_mul(i64::from(sub.quantity));
    cents.map(Cents).ok_or_else(|| Error::internal("an amount out of range"))
}

/// The unit of a plan's billing period, as templates know it.
pub(super) fn unit(price: &catalog::PlanPrice) -> Result<&'static str> {
    interval_unit(&price.plan.billing_period)
}

/// The same for the name of a billing period.
pub(crate) fn interval_unit(billing_period: &str) -> Result<&'static str> {
    let interval: Interval = billing_period.parse().map_err(Error::internal)?;
    Ok(match interval {
        Interval::Monthly => "month",
        Interval::Quarterly => "quarter",
        Interval::Yearly => "year",
        Interval::OneTime => "",
    })
}
