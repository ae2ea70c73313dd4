//! What happens with invoices that are not paid in time.
//!
//! An issued invoice on which something is due is *past due* from the end of its due date on (the seller's midnight, fixed
//! when it was issued), and so is one whose payment was reversed. Then a *case* is opened, and in the same transaction all
//! active subscriptions with a line on the invoice become past due. From there on days are counted, and on the days of the
//! settings reminders are sent, the subscriptions are suspended, and, where the platform wants it, cancelled. Nothing due
//! any more (paid, credited, void, written off) closes the case and brings back what it held down ([`settled`]).
//!
//! Each step is taken once, under the lock of its invoice: the case says which were. Whoever looks late takes every step
//! that was missed, but of several reminders only the newest: five mails at once help nobody. Steps that are taken stay
//! taken when the settings change; the open ones follow the new schedule.
mod mail;
pub mod store;

use crate::app::Control;
use crate::audit;
use crate::billing::store::{self as invoices, InvoiceRow};
use crate::billing::{drafts, view};
use crate::db::Conn;
use crate::documents;
use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::notifications::{self, Notice, Severity};
use crate::op::OpContext;
use crate::settings::{self, Settings};
use crate::subscriptions::store::SubscriptionRow;
use crate::subscriptions::{self, lifecycle, transitions};
use crate::workers::Done;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use scaicontrol_domain::dunning::{Due, Schedule, Taken, due};
use scaicontrol_domain::invoice::{self as rules, State as InvoiceState};
use scaicontrol_domain::period::parse_timezone;
use scaicontrol_domain::subscription::{State, SuspensionReason};
use serde_json::{Value, json};
use std::time::Instant;
use store::{Case, Found};

/// Invoices that are looked for at a time.
const PAGE: i64 = 200;
/// Name of the worker.
const NAME: &str = "dunning";

/// Does everything that is due: opens cases, and takes the steps of open ones. Answers how many invoices it changed.
///
/// Each invoice is a transaction of its own: one that fails does not hold up the others.
///
/// Errors: internal when some failed; the next tick tries them again.
pub async fn tick(op: &OpContext, app: &Control) -> Result<Done> {
    let version = app.db.read(op, async |conn| store::settings_version(conn).await).await?;
    let (began, mut round, mut changed) = (Instant::now(), app.rounds.take(NAME), 0_u64);
    let lists = [Found::Overdue, Found::Reversed, Found::Rescheduled(version), Found::Due];
    while let Some(found) = lists.get(round.list).copied() {
        let after = round.after;
        let page = app.db.read(op, async |conn| store::find(conn, found, op.now, after, PAGE).await).await?;
        if page.is_empty() {
            round.turn();
        }
        for one in &page {
            let done = app
                .db
                .tx(op, "dunning", async |conn| look(conn, op, app, one.invoice_id, version).await)
                .await;
            match done {
                Ok(did) => changed += u64::from(did),
                Err(e) => {
                    round.failed += 1;
                    let id = one.invoice_id.to_string();
                    slog::warn!(app.log, "an unpaid invoice is stuck"; "invoice" => id, "error" => %e);
                }
            }
            round.after = Some((one.at, one.invoice_id));
            if app.rounds.is_over(began) {
                app.rounds.leave(NAME, round);
                return Ok(Done::of([("invoices", changed)]).and_more());
            }
        }
    }
    round.end(Done::of([("invoices", changed)]), "unpaid invoices are stuck")
}

/// Looks at one invoice under its lock and does what is due of it; answers whether anything was.
async fn look(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    invoice_id: uuid::Uuid,
    version: i32,
) -> Result<bool> {
    let mut row = invoices::lock(conn, invoice_id).await?;
    let settings = settings::load(conn).await?;
    let (mut case, is_new) = match store::open_case(conn, &row).await? {
        Some(case) => (case, false),
        None => match past_due_since(&row, op.now) {
            Some(since) => (open(conn, op, &mut row, since).await?, true),
            None => return Ok(false),
        },
    };
    if row.due_cents <= 0 {
        return store::close(conn, &row, op.now).await;
    }
    let timezone = parse_timezone(&case.timezone).map_err(Error::internal)?;
    let todo = due(&schedule(&settings), taken(&case), case.past_due_at, timezone, op.now)
        .map_err(Error::internal)?;
    let mut subs = subscriptions_on(conn, op, &settings, &row).await?;
    fall_behind(conn, op, &row, &case, &mut subs, is_new).await?;
    if todo.suspend {
        suspend(conn, op, &row, &mut subs).await?;
        case.suspended_at = Some(op.now);
    }
    if todo.cancel {
        cancel(conn, op, &settings, &row, &mut subs).await?;
        case.cancelled_at = Some(op.now);
    }
    let reminded = remind(conn, op, app, &settings, (&row, &mut case), (&todo, is_new, timezone)).await?;
    let did = is_new || todo.suspend || todo.cancel || reminded;
    let before = if is_new { None } else { store::open_case(conn, &row).await? };
    (case.next_step_at, case.settings_version) = (todo.next_at, version);
    store::save(conn, &case).await?;
    if did {
        audit::record(conn, op, audited(&row), before.as_ref(), Some(&case)).await?;
    }
    Ok(did || before.is_some_and(|before| before != case))
}

/// Since when an issued invoice is past due, if it is at `now`.
fn past_due_since(row: &InvoiceRow, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if row.document_type != "invoice" || row.due_cents <= 0 {
        return None;
    }
    let reversed = row.payment_reversed_at;
    let since = match row.status.as_str() {
        "finalized" | "sent" => row.overdue_at.into_iter().chain(reversed).min(),
        "paid" => reversed,
        _ => None,
    };
    since.filter(|since| *since <= now)
}

/// Opens the case of an invoice. One that had been paid keeps that status; what is due counts.
async fn open(conn: &mut Conn, op: &OpContext, row: &mut InvoiceRow, since: DateTime<Utc>) -> Result<Case> {
    let before = view::invoice(row)?;
    let from: InvoiceState = row.status.parse().map_err(Error::internal)?;
    if from != InvoiceState::Paid {
        rules::check(from, InvoiceState::PastDue).map_err(Error::internal)?;
        row.status = InvoiceState::PastDue.as_str().into();
    }
    row.updated_at = op.now;
    invoices::save(conn, row).await?;
    let seller = row.seller_snapshot.as_ref().and_then(|s| s["timezone"].as_str());
    let case = Case {
        tenant_id: row.tenant_id.clone(),
        invoice_id: row.invoice_id,
        past_due_at: since,
        partner_id: row.partner_id.clone(),
        timezone: seller.unwrap_or("UTC").into(),
        reminded_day: None,
        suspended_at: None,
        cancelled_at: None,
        next_step_at: None,
        settings_version: 0,
        created_at: op.now,
        ended_at: None,
    };
    store::insert(conn, &case).await?;
    let after = view::invoice(row)?;
    audit::record(conn, op, drafts::audited(row), Some(&before), Some(&after)).await?;
    let more = json!({"past_due_at": since});
    tell(conn, op, row, (Severity::Warning, "invoice_past_due"), more).await?;
    Ok(case)
}

fn schedule(settings: &Settings) -> Schedule<'_> {
    let d = &settings.dunning;
    Schedule {
        reminder_days: &d.reminder_days,
        suspend_after_days: d.suspend_after_days,
        cancel_after_days: d.cancel_after_days,
    }
}

fn taken(case: &Case) -> Taken {
    Taken {
        reminded_day: case.reminded_day.and_then(|day| u32::try_from(day).ok()),
        suspended: case.suspended_at.is_some(),
        cancelled: case.cancelled_at.is_some(),
    }
}

/// The subscriptions with a line on an invoice that are not over, locked and carried to now. A line of a pack is one of
/// its children, which move together: when one of them has moved, nothing is left to do for the others.
async fn subscriptions_on(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    row: &InvoiceRow,
) -> Result<Vec<SubscriptionRow>> {
    let mut subs = Vec::new();
    for id in store::subscriptions_on(conn, row).await? {
        let sub = lifecycle::lock(conn, op, settings, &row.tenant_id, id).await?;
        if !transitions::state(&sub)?.is_final() {
            subs.push(sub);
        }
    }
    Ok(subs)
}

/// Active ones become past due, whenever that is seen; all are told once that the invoice was not paid, but for the children
/// of a pack, which have no events.
async fn fall_behind(
    conn: &mut Conn,
    op: &OpContext,
    row: &InvoiceRow,
    case: &Case,
    subs: &mut [SubscriptionRow],
    is_new: bool,
) -> Result<()> {
    for sub in subs {
        if transitions::state(sub)? == State::Active {
            transitions::past_due(conn, op, sub, case.past_due_at).await?;
        }
        if is_new && sub.pack_subscription_id.is_none() {
            sub.event_sequence += 1;
            subscriptions::store::save(conn, op, sub).await?;
            let data = subscriptions::view::overdue_event(conn, sub, row, case.past_due_at).await?;
            let event = Event {
                topic: "subscription.payment_failed",
                tenant_id: Some(&sub.tenant_id),
                partner_id: Some(&sub.partner_id),
                object_id: sub.subscription_id.to_string(),
                sequence: sub.event_sequence,
                step: "",
            };
            events::emit(conn, op, event, &data).await?;
        }
    }
    Ok(())
}

async fn suspend(
    conn: &mut Conn,
    op: &OpContext,
    row: &InvoiceRow,
    subs: &mut [SubscriptionRow],
) -> Result<()> {
    let mut any = false;
    for sub in subs {
        if transitions::state(sub)? == State::PastDue {
            transitions::suspend(conn, op, sub, SuspensionReason::Dunning).await?;
            any = true;
        }
    }
    if any {
        tell(conn, op, row, (Severity::Critical, "invoice_unpaid_suspended"), json!({})).await?;
    }
    Ok(())
}

/// A subscription stays that was to end, under its lock: what became overdue meanwhile makes it past due, since the first
/// of it was, and suspends it where that step was taken already. A later one finds it as any other.
pub async fn catch_up(conn: &mut Conn, op: &OpContext, sub: &mut SubscriptionRow) -> Result<()> {
    if subscriptions::store::overdue(conn, sub).await?.is_none() {
        return Ok(());
    }
    let cases = store::open_cases(conn, sub).await?;
    // A payment that was reversed just now has no case yet.
    let since = cases.first().map_or(op.now, |case| case.past_due_at);
    transitions::past_due(conn, op, sub, since).await?;
    let Some(case) = cases.iter().find(|case| case.suspended_at.is_some()) else { return Ok(()) };
    let row = invoices::get(conn, case.invoice_id).await?;
    suspend(conn, op, &row, std::slice::from_mut(sub)).await
}

async fn cancel(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    row: &InvoiceRow,
    subs: &mut [SubscriptionRow],
) -> Result<()> {
    let reason = format!("invoice {} was not paid", row.number.as_deref().unwrap_or_default());
    for sub in subs {
        if matches!(transitions::state(sub)?, State::PastDue | State::Suspended) {
            transitions::cancel_now(conn, op, settings, sub, &reason, false).await?;
        }
    }
    Ok(())
}

/// Sends the reminder that is due; answers whether there was one. The first of them goes with the news that the invoice
/// is past due, of which the tenant was told.
async fn remind(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    settings: &Settings,
    (row, case): (&InvoiceRow, &mut Case),
    (todo, is_new, timezone): (&Due, bool, Tz),
) -> Result<bool> {
    let Some(day) = todo.reminder else { return Ok(false) };
    case.reminded_day = Some(i32::try_from(day).map_err(Error::internal)?);
    if !is_new {
        let more = json!({"past_due_at": case.past_due_at});
        tell(conn, op, row, (Severity::Warning, "invoice_reminder"), more).await?;
    }
    let lines = invoices::lines(conn, &row.tenant_id, row.invoice_id).await?;
    let about = documents::circumstances(conn, row, &lines).await?;
    let issued = documents::Issued { row: row.clone(), lines, about };
    let ahead = if case.suspended_at.is_none() { Some(settings.dunning.suspend_after_days) } else { None };
    mail::reminder(conn, op, app, &issued, (case.past_due_at, timezone), ahead).await?;
    Ok(true)
}

async fn tell(
    conn: &mut Conn,
    op: &OpContext,
    row: &InvoiceRow,
    (severity, message): (Severity, &'static str),
    more: Value,
) -> Result<()> {
    let mut parameters = json!({
        "number": row.number, "due_cents": row.due_cents, "currency": row.currency, "due_date": row.due_date,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        parameters[name] = value.clone();
    }
    let notice = Notice {
        tenant_id: &row.tenant_id,
        partner_id: &row.partner_id,
        user_id: None,
        category: "billing",
        severity,
        message,
        parameters,
        link: Some(format!("/api/v1/billing/invoices/{}", row.invoice_id)),
    };
    notifications::tell(conn, op, notice).await
}

fn audited(row: &InvoiceRow) -> audit::Entry<'_> {
    audit::Entry { object_type: "dunning_case", ..drafts::audited(row) }
}

/// Nothing is due on the invoice any more: its case is over, and the subscriptions that it held down come back, those with
/// no other overdue invoice. Runs under the invoice's lock.
pub async fn settled(conn: &mut Conn, op: &OpContext, row: &InvoiceRow) -> Result<()> {
    store::close(conn, row, op.now).await?;
    transitions::recover(conn, op, &row.tenant_id, row.invoice_id).await
}
