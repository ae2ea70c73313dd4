//! The billing run: everything that is due is billed, once, and issued and sent.
//!
//! What is due is rows (`billed_items`), made in the transaction in which it fell due and unique by what they bill. The
//! run carries each subscription to the given instant, takes the items that are due under a lock and puts them on a
//! draft in the same transaction ([`tenant`]); the draft is issued and mailed in transactions of its own ([`issue`]). So
//! running it ten times, twice at once, or killing it anywhere neither repeats nor skips anything. A run that is only tried
//! is the same code up to the drafts, taxed as issuing would, and rolled back.
pub(crate) mod drafted;
mod issue;
mod parked;
mod sweep;
pub(crate) mod tenant;

use super::store;
use crate::app::Control;
use crate::db::{Conn, idempotency};
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::settings::{self, Settings};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use drafted::Draft;
use scaicontrol_types::{BillingRunInvoice, BillingRunParked, BillingRunRequest, BillingRunResponse};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tenant::Billing;

pub(super) use sweep::sweep;

/// Invoices that one call makes at most.
const INVOICES_MAX: usize = 1_000;
const INVOICES_MAX_I64: i64 = 1_000;
/// How long one call begins with another date of a tenant: well within the deadline of a request, and of a server that stops.
const WORK_MAX: Duration = Duration::from_secs(15);
/// How far a dry run looks ahead: five years, which is few enough steps for one request.
pub(super) const AHEAD_MAX: TimeDelta = TimeDelta::days(1_827);

/// Bills what is due by `until`.
///
/// Errors: 404 for a tenant that the caller does not see; 400 for a future `until` without `dry_run`, or one that is too far.
pub async fn run(op: &OpContext, app: &Control, body: &BillingRunRequest) -> Result<BillingRunResponse> {
    let until = body.until.unwrap_or(op.now);
    if op.now < until && !body.dry_run {
        return Err(Error::field("until", "is in the future: only a dry run can look ahead"));
    }
    if AHEAD_MAX < until - op.now {
        return Err(Error::field("until", format!("is more than {} days ahead", AHEAD_MAX.num_days())));
    }
    let mut inner = op.clone();
    inner.idempotency = None;
    let only = body.tenant_id.as_deref();
    if body.dry_run {
        return tried(&inner, app, only, until).await;
    }
    let Some(request) = &op.idempotency else { return done(&inner, app, only, until).await };
    // The outer transaction holds the key's lock while each tenant is billed in transactions of its own. When it is
    // lost after some of them, a repeat bills the rest: a run is safe to repeat.
    app.db
        .tx(op, "admin_billing_run", async |conn| {
            if let Some(stored) = idempotency::find(conn, op, request).await? {
                return Ok(stored);
            }
            let answer = done(&inner, app, only, until).await?;
            idempotency::store(conn, op, request, &answer).await?;
            Ok(answer)
        })
        .await
}

/// Bills for good.
async fn done(
    op: &OpContext,
    app: &Control,
    only: Option<&str>,
    until: DateTime<Utc>,
) -> Result<BillingRunResponse> {
    let settings = app
        .db
        .read(op, async |conn| {
            if let Some(tenant_id) = only {
                store::partner_of(conn, tenant_id).await?;
            }
            settings::load(conn).await
        })
        .await?;
    let run = Run { op, app, settings, until, is_by_hand: true, began: Instant::now() };
    let mut failed = vec![];
    let all = match only {
        Some(tenant_id) => run.tenant(tenant_id, INVOICES_MAX).await?,
        None => {
            let swept = sweep(&run, INVOICES_MAX).await?;
            for (tenant_id, error) in swept.failed {
                // What everybody needs does not answer: the rest comes with another call.
                if let Error::Unavailable(_) = error {
                    return Err(error);
                }
                failed.push(tenant_id);
            }
            failed.truncate(INVOICES_MAX);
            swept.all
        }
    };
    Ok(BillingRunResponse { failed_tenants: failed, ..answer(false, until, all) })
}

/// Bills and rolls that back, each tenant in a transaction of its own: whoever works with one of them meanwhile does not
/// wait for all.
async fn tried(
    op: &OpContext,
    app: &Control,
    only: Option<&str>,
    until: DateTime<Utc>,
) -> Result<BillingRunResponse> {
    let begin = async |conn: &mut Conn| {
        let tenants = match only {
            Some(tenant_id) => {
                store::partner_of(conn, tenant_id).await?;
                vec![tenant_id.to_owned()]
            }
            None => sweep::tenants(conn, until, INVOICES_MAX).await?,
        };
        Ok((settings::load(conn).await?, tenants))
    };
    let (settings, tenants) = app.db.read(op, begin).await?;
    let mut all = Billed::default();
    for tenant_id in &tenants {
        let left = INVOICES_MAX.saturating_sub(all.invoices.len());
        if left == 0 {
            all.has_more = true;
            break;
        }
        let one = async |conn: &mut Conn| {
            let (drafts, mut made) = drafts(conn, op, &settings, tenant_id, until, left).await?;
            for draft in &drafts {
                made.invoices.push(draft.tried(conn, op, &settings).await?);
            }
            Ok(made)
        };
        all.add(app.db.dry_run(op, one).await?);
    }
    Ok(answer(true, until, all))
}

/// The drafts of one tenant by `until`, made in the open transaction, which is going to be rolled back.
pub(super) async fn drafts(
    conn: &mut Conn,
    op: &OpContext,
    settings: &Settings,
    tenant_id: &str,
    until: DateTime<Utc>,
    max: usize,
) -> Result<(Vec<Draft>, Billed)> {
    let billing = Billing { op, settings, tenant_id, until, is_tried: true, with_parked: true };
    let (mut drafts, mut made) = (vec![], Billed::default());
    loop {
        let (goes_on, mut parked) = billing.carry(conn).await?;
        made.parked.append(&mut parked);
        if !goes_on {
            break;
        }
    }
    let mut date = None;
    loop {
        let mut step = billing.bill_date(conn, date).await?;
        date = step.date;
        drafts.append(&mut step.drafts);
        made.parked.append(&mut step.parked);
        made.items += step.items;
        if !step.goes_on {
            break;
        }
        if max <= drafts.len() {
            made.has_more = true;
            break;
        }
    }
    Ok((drafts, made))
}

fn answer(dry_run: bool, until: DateTime<Utc>, mut all: Billed) -> BillingRunResponse {
    // An account may be met on several dates.
    let mut seen = HashSet::new();
    all.parked.retain(|p| seen.insert((p.tenant_id.clone(), p.partner_id.clone(), p.currency.clone())));
    BillingRunResponse {
        dry_run,
        until,
        invoices: all.invoices,
        items_billed: all.items,
        has_more: all.has_more,
        parked: all.parked,
        failed_tenants: vec![],
    }
}

/// What was billed.
#[derive(Debug, Default)]
pub(super) struct Billed {
    /// In the order in which they were made; only when somebody asks.
    pub(super) invoices: Vec<BillingRunInvoice>,
    pub(super) parked: Vec<BillingRunParked>,
    pub(super) items: i64,
    /// How many were issued, mailed and refused; only when nobody asks.
    pub(super) issued: usize,
    pub(super) sent: usize,
    pub(super) refused: usize,
    /// Whether more is due.
    pub(super) has_more: bool,
}

impl Billed {
    fn add(&mut self, mut other: Billed) {
        self.invoices.append(&mut other.invoices);
        self.parked.append(&mut other.parked);
        self.items += other.items;
        self.issued += other.issued;
        self.sent += other.sent;
        self.refused += other.refused;
        self.has_more |= other.has_more;
    }
}

/// A run that writes: each step in a transaction of its own.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) op: &'a OpContext,
    pub(super) app: &'a Control,
    pub(super) settings: Settings,
    pub(super) until: DateTime<Utc>,
    /// Asked for by somebody: then what was refused or parked before is tried again, however short a time ago.
    pub(super) is_by_hand: bool,
    pub(super) began: Instant,
}

impl Run<'_> {
    /// Whether the run begins with nothing more.
    fn is_over(&self) -> bool {
        WORK_MAX < self.began.elapsed()
    }

    /// Bills one tenant. Dates come one after the other, so that its invoices are numbered in their order.
    async fn tenant(&self, tenant_id: &str, max: usize) -> Result<Billed> {
        let billing = Billing {
            op: self.op,
            settings: &self.settings,
            tenant_id,
            until: self.until,
            is_tried: false,
            with_parked: self.is_by_hand,
        };
        let mut all = Billed::default();
        self.issue_waiting(tenant_id, &mut all).await?;
        let (mut date, mut is_carried) = (None, false);
        loop {
            if max <= all.invoices.len() || self.is_over() {
                all.has_more = true;
                return Ok(all);
            }
            let work = async |conn: &mut Conn| {
                let mut parked = vec![];
                if !is_carried {
                    let (goes_on, some) = billing.carry(conn).await?;
                    parked = some;
                    if goes_on {
                        return Ok((false, parked, tenant::Made { goes_on, ..tenant::Made::default() }));
                    }
                }
                Ok((true, parked, billing.bill_date(conn, date).await?))
            };
            let (carried, mut parked, made) = self.app.db.tx(self.op, "bill_tenant", work).await?;
            (is_carried, date) = (carried, made.date.or(date));
            all.parked.append(&mut parked);
            all.parked.extend(made.parked);
            all.items += made.items;
            // Not their lines, which may be thousands: issuing reads them anew.
            let made_now: Vec<(issue::Waiting, NaiveDate)> =
                made.drafts.into_iter().map(|draft| (issue::Waiting::of(&draft), draft.run_date)).collect();
            for (waiting, run_date) in &made_now {
                self.issue(waiting, Some(*run_date), &mut all).await?;
            }
            if !made.goes_on {
                return Ok(all);
            }
        }
    }

    /// Issues what earlier runs have left.
    async fn issue_waiting(&self, tenant_id: &str, all: &mut Billed) -> Result<()> {
        let due_by = (!self.is_by_hand).then_some(self.op.now);
        let waiting =
            self.app.db.read(self.op, async |conn| issue::waiting(conn, tenant_id, due_by).await).await?;
        for left in &waiting {
            if self.is_over() {
                all.has_more = true;
                break;
            }
            self.issue(left, None, all).await?;
        }
        Ok(())
    }

    async fn issue(
        &self,
        waiting: &issue::Waiting,
        run_date: Option<NaiveDate>,
        all: &mut Billed,
    ) -> Result<()> {
        // Of the worker nobody asks what it made.
        if !self.is_by_hand {
            match issue::issue(self.op, self.app, waiting).await? {
                issue::Became::Issued { documents, .. } => {
                    all.issued += documents.len();
                    all.sent += documents.iter().filter(|issued| issued.is_sent).count();
                }
                issue::Became::Refused(_) => all.refused += 1,
                issue::Became::Gone => {}
            }
            return Ok(());
        }
        let run_date = match run_date {
            Some(run_date) => run_date,
            // Asked before: credit notes may take its place.
            None => match self.draft(waiting).await {
                Ok(draft) => draft.run_date,
                Err(Error::NotFound(_)) => return Ok(()),
                Err(e) => return Err(e),
            },
        };
        match issue::issue(self.op, self.app, waiting).await? {
            // Another run says what it made.
            issue::Became::Gone | issue::Became::Issued { is_new: false, .. } => {}
            issue::Became::Issued { documents, .. } => {
                let shown =
                    |issued: issue::Issued| drafted::issued(issued.document, run_date, issued.is_sent);
                all.invoices.extend(documents.into_iter().map(shown));
            }
            issue::Became::Refused(problem) => {
                all.invoices.push(self.draft(waiting).await?.shown(Some(&problem))?);
            }
        }
        Ok(())
    }

    async fn draft(&self, waiting: &issue::Waiting) -> Result<Draft> {
        self.app.db.read(self.op, async |conn| Draft::load(conn, waiting.invoice_id).await).await
    }
}
