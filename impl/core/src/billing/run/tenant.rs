//! What a run does for one tenant, up to drafts: carries its subscriptions on, and puts what is due on invoices, date by
//! date, each date in one transaction.
//!
//! Items of one partner and currency that fall due on one local date share an invoice. What has an invoice of its own (an
//! activation, an immediate plan change) is with what fell due at the same instant of the same subscription alone. What
//! floats goes along with the first invoice of a boundary, and is billed by itself on its own date when there is none.
//!
//! What is more than an invoice holds goes on further ones, cut between two subscriptions, or between two charges of a
//! service. What a single subscription has more than that is no size but a fault: the account is parked, and so it is when
//! an amount does not fit.
use super::drafted::Draft;
use super::parked::{self, Parked};
use crate::audit;
use crate::billing::store::{self, LineRow};
use crate::billing::{corrections, drafts, lines, view};
use crate::db::Conn;
use crate::db::schema::{billed_items, run_drafts, subscriptions};
use crate::db::statement::{kept, statement};
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::settings::Settings;
use crate::subscriptions::lifecycle;
use crate::subscriptions::store::{self as subscription_store, BilledItemRow};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use scaicontrol_domain::period::parse_timezone;
use scaicontrol_types::BillingParkReason;
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

/// Lines that one invoice holds at most: what access points carry, what a server has room for several times, and what is
/// made and issued well within the deadline of a request.
const LINES_MAX: usize = 2_000;
/// Subscriptions that one transaction carries forward.
const CARRIED_AT_ONCE: i64 = 1_000;
/// How far a subscription may be behind before its account is parked: further back than any server was ever down.
pub(crate) const BEHIND_MAX: TimeDelta = TimeDelta::days(3_653);
/// Keeps the lock of a tenant apart from other locks that are made of a text.
const LOCK: i64 = 0x6269_6c6c;

/// What has an invoice of its own: its instant, and the item. None: what falls due at the boundary of a period.
type Own = Option<(DateTime<Utc>, Uuid)>;

/// The billing of one tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Billing<'a> {
    pub(crate) op: &'a OpContext,
    pub(crate) settings: &'a Settings,
    pub(crate) tenant_id: &'a str,
    /// What is due at or before this instant is billed.
    pub(crate) until: DateTime<Utc>,
    /// Whether all of it is going to be rolled back: then nobody is kept waiting by a lock.
    pub(crate) is_tried: bool,
    /// Whether what is parked is tried again, however short a time ago it was parked.
    pub(crate) with_parked: bool,
}

/// What billing one date made.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) drafts: Vec<Draft>,
    pub(crate) parked: Vec<Parked>,
    /// Items billed, those that came to nothing included.
    pub(crate) items: i64,
    /// The date; none when nothing was due.
    pub(crate) date: Option<NaiveDate>,
    /// Whether something is due on a later date, or still on this one.
    pub(crate) goes_on: bool,
}

impl Billing<'_> {
    /// Makes due what is not yet: late usage, and what happens to subscriptions by themselves. Answers whether there are
    /// more subscriptions than one transaction carries, and which are too far behind.
    pub(crate) async fn carry(&self, conn: &mut Conn) -> Result<(bool, Vec<Parked>)> {
        self.lock(conn).await?;
        corrections::of_late_usage(conn, self.op, self.settings, self.tenant_id).await?;
        use subscriptions as t;
        let due: Vec<(Uuid, DateTime<Utc>, String, String)> = t::table
            .filter(t::tenant_id.eq(self.tenant_id).and(t::next_event_at.le(self.until)))
            .select((t::subscription_id, t::next_event_at.assume_not_null(), t::partner_id, t::currency))
            .order((t::next_event_at, t::subscription_id))
            .limit(CARRIED_AT_ONCE)
            .load(conn)
            .await?;
        let is_full = i64::try_from(due.len()).is_ok_and(|n| CARRIED_AT_ONCE <= n);
        let (mut parked, mut carried): (Vec<Parked>, _) = (vec![], 0);
        for (subscription_id, at, partner_id, currency) in due {
            if BEHIND_MAX < self.until - at {
                if !parked.iter().any(|p| p.partner_id == partner_id && p.currency == currency) {
                    let message = format!("a subscription is due since {}", at.format("%Y-%m-%d"));
                    let reason = BillingParkReason::TooManyPeriods;
                    parked.push(self.parked(&partner_id, &currency, reason, message));
                }
                continue;
            }
            let mut sub = subscription_store::lock(conn, self.tenant_id, subscription_id).await?;
            lifecycle::advance(conn, self.op, self.settings, &mut sub, self.until).await?;
            carried += 1;
        }
        for before in parked::of(conn, self.tenant_id).await?.iter().filter(|before| before.is_behind()) {
            if !parked.iter().any(|now| before.is_of(&now.partner_id, &now.currency)) {
                parked::forget(conn, self.tenant_id, before).await?;
            }
        }
        parked::note(conn, self.op, &parked, self.is_tried).await?;
        Ok((is_full && 0 < carried, parked))
    }

    /// Puts what is due on the first date after `after` on drafts. Of an account with more than an invoice holds that is
    /// one invoice; then the date answered is `after`, and the rest comes with the next call.
    pub(crate) async fn bill_date(&self, conn: &mut Conn, after: Option<NaiveDate>) -> Result<Made> {
        self.lock(conn).await?;
        let Some(date) = self.next_date(conn, after).await? else { return Ok(Made::default()) };
        let mut made = Made { date: Some(date), ..Made::default() };
        let known = parked::of(conn, self.tenant_id).await?;
        for (partner_id, currency) in self.accounts(conn, date).await? {
            let account = Account { partner_id, currency, date };
            let before = known.iter().find(|p| p.is_of(&account.partner_id, &account.currency));
            if before.is_some_and(|p| p.is_behind() || (!self.with_parked && p.rests(self.op.now))) {
                continue;
            }
            let mut is_parked = false;
            let (groups, mut is_cut) = self.groups(conn, &account).await?;
            for items in groups.into_values() {
                match self.bill_group(conn, &account, &items).await? {
                    Billed::Parked(reason, message) => {
                        let parked = self.parked(&account.partner_id, &account.currency, reason, message);
                        parked::note(conn, self.op, std::slice::from_ref(&parked), self.is_tried).await?;
                        made.parked.push(parked);
                        is_parked = true;
                    }
                    Billed::Items(count, draft) => {
                        made.drafts.extend(draft.map(|draft| *draft));
                        made.items += i64::try_from(count).unwrap_or(i64::MAX);
                        is_cut |= count < items.len();
                    }
                }
            }
            if is_parked {
                continue;
            }
            if is_cut {
                return Ok(Made { date: after, goes_on: true, ..made });
            }
            if let Some(before) = before {
                parked::forget(conn, self.tenant_id, before).await?;
            }
        }
        made.goes_on = self.next_date(conn, Some(date)).await?.is_some();
        Ok(made)
    }

    /// A tenant is billed by one at a time: whoever comes second waits here, and finds nothing left.
    async fn lock(&self, conn: &mut Conn) -> Result<()> {
        if self.is_tried {
            return Ok(());
        }
        let lock = statement::<()>("SELECT pg_advisory_xact_lock(hashtextextended($1, $2))");
        lock.bind::<Text, _>(self.tenant_id).bind::<BigInt, _>(LOCK).execute(conn).await?;
        Ok(())
    }

    async fn next_date(&self, conn: &mut Conn, after: Option<NaiveDate>) -> Result<Option<NaiveDate>> {
        use billed_items as t;
        let mut due = t::table
            .filter(t::tenant_id.eq(self.tenant_id).and(t::status.eq("due")).and(t::due_at.le(self.until)))
            .into_boxed();
        if let Some(after) = after {
            due = due.filter(t::run_date.gt(after));
        }
        Ok(due.select(diesel::dsl::min(t::run_date)).first(conn).await?)
    }

    /// The accounts of which something is due on a date.
    async fn accounts(&self, conn: &mut Conn, date: NaiveDate) -> Result<Vec<(String, String)>> {
        use billed_items as t;
        let due = t::table
            .filter(t::tenant_id.eq(self.tenant_id).and(t::status.eq("due")))
            .filter(t::due_at.le(self.until).and(t::run_date.eq(date)))
            .select((t::partner_id, t::currency))
            .distinct()
            .order((t::partner_id, t::currency));
        Ok(due.load(conn).await?)
    }

    /// The items of an account by the invoice they belong on, locked, and with the invoice of a boundary what floats; and
    /// whether there are more than that.
    async fn groups(&self, conn: &mut Conn, account: &Account) -> Result<(Groups, bool)> {
        use billed_items as t;
        let own = || {
            t::table
                .filter(t::tenant_id.eq(self.tenant_id).and(t::status.eq("due")))
                .filter(t::partner_id.eq(&account.partner_id).and(t::currency.eq(&account.currency)))
        };
        let limit = i64::try_from(LINES_MAX + 1).unwrap_or(i64::MAX);
        let mut items: Vec<BilledItemRow> = own()
            .filter(t::due_at.le(self.until).and(t::run_date.eq(account.date)))
            .select(BilledItemRow::as_select())
            .order((t::subscription_id, t::period_start, t::kind, t::billed_item_id))
            .limit(limit)
            .for_update()
            .load(conn)
            .await?;
        let is_cut = LINES_MAX < items.len();
        if is_cut {
            items.truncate(without_the_last(&items));
        }
        let mut groups = Groups::new();
        for item in items {
            // Each by itself: what takes back another item needs that one's invoice to be there before.
            let alone = item.own_invoice.then_some((item.period_start, item.billed_item_id));
            groups.entry(alone).or_default().push(item);
        }
        if let Some(boundary) = groups.get_mut(&None).filter(|_| !is_cut) {
            let floating: Vec<BilledItemRow> = own()
                .filter(t::floats)
                .select(BilledItemRow::as_select())
                .order((t::due_at, t::billed_item_id))
                .limit(limit)
                .for_update()
                .load(conn)
                .await?;
            // One that is due itself is there already.
            let known: HashSet<Uuid> = boundary.iter().map(|item| item.billed_item_id).collect();
            boundary.extend(floating.into_iter().filter(|item| !known.contains(&item.billed_item_id)));
        }
        Ok((groups, is_cut))
    }

    /// Puts the items of a group on one draft, as many as it holds. When they all cost nothing there is no draft, and they
    /// are spent.
    async fn bill_group(
        &self,
        conn: &mut Conn,
        account: &Account,
        items: &[BilledItemRow],
    ) -> Result<Billed> {
        let (op, tenant_id, Account { partner_id, currency, date }) = (self.op, self.tenant_id, account);
        // Those that then find no room are closed too early, which bills nothing twice: they are still due.
        let segments: Vec<Uuid> =
            items.iter().filter(|i| i.source_type == "segment").map(|i| i.source_id).collect();
        let again = corrections::close(conn, op, tenant_id, &segments, self.is_tried).await?;
        let days = Days::load(conn, tenant_id, partner_id, items).await?;
        let mut row = drafts::new_draft(op, tenant_id, partner_id, currency);
        row.run_date = Some(*date);
        let (mut all, mut taken): (Vec<LineRow>, usize) = (vec![], 0);
        for some in items.chunk_by(is_together) {
            let mut lines = match self.lines(conn, some, &again, &days).await {
                Ok(lines) => lines,
                Err(Error::BadRequest { .. }) => return Ok(too_much(*date)),
                Err(e) => return Err(e),
            };
            if LINES_MAX < some.len().max(lines.len()) {
                let message = format!("more than {LINES_MAX} lines of one subscription for {date}");
                return Ok(Billed::Parked(BillingParkReason::TooManyLines, message));
            }
            if LINES_MAX < all.len() + lines.len() {
                break;
            }
            all.append(&mut lines);
            taken += some.len();
        }
        let ids: Vec<Uuid> = items.iter().take(taken).map(|i| i.billed_item_id).collect();
        if all.iter().all(|l| l.amount_cents == 0) {
            spend(conn, tenant_id, &ids, None).await?;
            return Ok(Billed::Items(taken, None));
        }
        all.sort_by(|a, b| place(a).cmp(&place(b)));
        all.iter_mut().for_each(|l| l.invoice_id = row.invoice_id);
        drafts::number_lines(&mut all);
        row.period_start = all.iter().filter_map(|l| l.period_start).min();
        row.period_end = all.iter().filter_map(|l| l.period_end).max().max(row.period_start);
        if drafts::check_and_total(&mut row, &all).is_err() {
            return Ok(too_much(*date));
        }
        store::insert(conn, &row).await?;
        store::insert_lines(conn, &all).await?;
        spend(conn, tenant_id, &ids, Some(row.invoice_id)).await?;
        if !self.is_tried {
            to_be_issued(conn, op, tenant_id, partner_id, row.invoice_id).await?;
            let made = view::unexplained(&row, &all, vec![])?;
            audit::record(conn, op, drafts::audited(&row), None::<&()>, Some(&made)).await?;
        }
        Ok(Billed::Items(taken, Some(Box::new(Draft { row, lines: all, run_date: *date }))))
    }

    /// The lines of some items, up to one more than an invoice holds. Of `again` something was billed before.
    async fn lines(
        &self,
        conn: &mut Conn,
        items: &[BilledItemRow],
        again: &HashSet<Uuid>,
        days: &Days,
    ) -> Result<Vec<LineRow>> {
        let mut lines: Vec<LineRow> = vec![];
        for item in items.iter().take(LINES_MAX) {
            let timezone = days.of(item);
            // What is billed again is billed net of the corrections that stand.
            let is_again = item.source_type == "segment" && again.contains(&item.source_id);
            lines.append(&mut if is_again {
                corrections::lines(conn, self.op, item, timezone).await?
            } else {
                lines::of_item(conn, self.op, item, timezone).await?
            });
            if LINES_MAX < lines.len() {
                break;
            }
        }
        Ok(lines)
    }

    fn parked(&self, partner_id: &str, currency: &str, reason: BillingParkReason, message: String) -> Parked {
        Parked {
            tenant_id: self.tenant_id.into(),
            partner_id: partner_id.into(),
            currency: currency.into(),
            reason,
            message,
        }
    }
}

/// What a tenant owes a partner in one currency, on a date.
#[derive(Debug)]
struct Account {
    partner_id: String,
    currency: String,
    date: NaiveDate,
}

/// Items by the invoice that they belong on.
type Groups = BTreeMap<Own, Vec<BilledItemRow>>;

enum Billed {
    /// So many items, on a draft unless they cost nothing.
    Items(usize, Option<Box<Draft>>),
    Parked(BillingParkReason, String),
}

fn too_much(date: NaiveDate) -> Billed {
    let message = format!("the lines for {date} make an amount that is too large");
    Billed::Parked(BillingParkReason::AmountOverflow, message)
}

/// Whether two items stand on one invoice: those of one subscription do.
fn is_together(a: &BilledItemRow, b: &BilledItemRow) -> bool {
    a.subscription_id.is_some() && a.subscription_id == b.subscription_id
}

/// Where the days of what is billed begin: for a subscription, or pack, where it began itself, whatever the partner's
/// timezone is now; for a charge where the partner is.
struct Days {
    of_partner: Tz,
    of: HashMap<Uuid, Tz>,
}

impl Days {
    async fn load(
        conn: &mut Conn,
        tenant_id: &str,
        partner_id: &str,
        items: &[BilledItemRow],
    ) -> Result<Days> {
        let mut ids: Vec<Uuid> = items.iter().filter_map(|item| item.subscription_id).collect();
        ids.dedup();
        let rows: Vec<(Option<Uuid>, String)> = statement::<(Nullable<SqlUuid>, Text)>(
            "SELECT NULL::uuid, timezone FROM partners WHERE partner_id = $1
             UNION ALL SELECT subscription_id, timezone FROM subscriptions WHERE tenant_id = $2 AND subscription_id = ANY($3)
             UNION ALL SELECT pack_subscription_id, timezone FROM pack_subscriptions
             WHERE tenant_id = $2 AND pack_subscription_id = ANY($3)",
        )
        .bind::<Text, _>(partner_id)
        .bind::<Text, _>(tenant_id)
        .bind::<Array<SqlUuid>, _>(ids)
        .load(conn)
        .await?;
        let mut days = Days { of_partner: Tz::UTC, of: HashMap::with_capacity(rows.len()) };
        for (id, timezone) in rows {
            let timezone = parse_timezone(&timezone).map_err(Error::internal)?;
            match id {
                Some(id) => drop(days.of.insert(id, timezone)),
                None => days.of_partner = timezone,
            }
        }
        Ok(days)
    }

    fn of(&self, item: &BilledItemRow) -> Tz {
        item.subscription_id.and_then(|id| self.of.get(&id)).copied().unwrap_or(self.of_partner)
    }
}

/// How many items there are without those of the last subscription, of which there may be more than are here; all of them,
/// when they are of a single one.
fn without_the_last(items: &[BilledItemRow]) -> usize {
    let last = items.last().map(|item| item.subscription_id);
    let before = items.iter().rposition(|item| Some(item.subscription_id) != last);
    before.map_or(items.len(), |place| place + 1)
}

/// Where a line stands: by service and subscription, the base price first, then its usage.
fn place(line: &LineRow) -> (Option<&str>, Option<Uuid>, bool, Option<NaiveDate>) {
    (line.service_slug.as_deref(), line.subscription_id, line.kind != "base", line.period_start)
}

/// Marks items as billed: on a document, or for nothing.
async fn spend(conn: &mut Conn, tenant_id: &str, ids: &[Uuid], invoice_id: Option<Uuid>) -> Result<()> {
    use billed_items as t;
    let status = if invoice_id.is_some() { "invoiced" } else { "spent" };
    let items = t::table.filter(t::tenant_id.eq(tenant_id).and(t::billed_item_id.eq_any(ids)));
    let spent = (t::status.eq(status), t::invoice_id.eq(invoice_id));
    kept(diesel::update(items).set(spent)).execute(conn).await?;
    Ok(())
}

/// Leaves word, in the transaction of a document, that it is still to be issued or sent.
pub(super) async fn to_be_issued(
    conn: &mut Conn,
    op: &OpContext,
    tenant_id: &str,
    partner_id: &str,
    invoice_id: Uuid,
) -> Result<()> {
    use run_drafts as t;
    diesel::insert_into(t::table)
        .values((
            t::tenant_id.eq(tenant_id),
            t::invoice_id.eq(invoice_id),
            t::partner_id.eq(partner_id),
            t::try_at.eq(op.now),
            t::created_at.eq(op.now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
