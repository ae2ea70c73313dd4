//! Whom a run bills: the tenants of whom something is due, found by index and walked a page at a time.
//!
//! A tenant that cannot be billed does not hold up the others: it is not tried twice in one run, and comes last in the next
//! one, however long it takes to fail.
use super::issue::PAUSE_MAX;
use super::{Billed, Run};
use crate::db::Conn;
use crate::db::statement::{Statement, statement};
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use futures::StreamExt;
use futures::future::BoxFuture;
use std::collections::HashSet;
use uuid::Uuid;

/// Rows that are looked up together.
const PAGE: i64 = 1_000;
/// Tenants that are billed at a time.
const AT_ONCE: usize = 4;
/// A tenant with more due than this is billed alone: its invoice is in memory as a whole, and several of them would be much.
const ALONE: usize = 50;

/// Where something due is written down, in the order in which it is looked for. Each is one range of an index.
const SOURCES: [&str; 4] = [
    // Refused or cut off before, by the instant of the next try.
    "SELECT tenant_id, try_at, invoice_id FROM run_drafts
     WHERE try_at <= $1 AND (try_at, invoice_id) > ($2, $3) ORDER BY try_at, invoice_id LIMIT $4",
    "SELECT tenant_id, marked_at, segment_id FROM late_usage
     WHERE marked_at <= $1 AND (marked_at, segment_id) > ($2, $3) ORDER BY marked_at, segment_id LIMIT $4",
    "SELECT tenant_id, next_event_at, subscription_id FROM subscriptions
     WHERE next_event_at <= $1 AND (next_event_at, subscription_id) > ($2, $3)
     ORDER BY next_event_at, subscription_id LIMIT $4",
    "SELECT tenant_id, due_at, billed_item_id FROM billed_items
     WHERE status = 'due' AND due_at <= $1 AND (due_at, billed_item_id) > ($2, $3)
     ORDER BY due_at, billed_item_id LIMIT $4",
];

type Due = (String, DateTime<Utc>, Uuid);

/// Where a page ends.
type Place = (DateTime<Utc>, Uuid);

/// The next page of each source, in one flight.
async fn pages(conn: &mut Conn, sources: &[(&'static str, Place)], run: &Run<'_>) -> Result<Vec<Vec<Due>>> {
    let shared: &Conn = conn;
    // Who asks for a run wants what was refused tried again, however short a time ago.
    let refused = if run.is_by_hand { run.op.now + PAUSE_MAX } else { run.until };
    let until = |source: &str| if source == SOURCES[0] { refused } else { run.until };
    let each = sources.iter().map(|(source, after)| page(shared, source, until(source), *after));
    futures::future::try_join_all(each).await
}

async fn page(mut conn: &Conn, source: &'static str, until: DateTime<Utc>, after: Place) -> Result<Vec<Due>> {
    let query: Statement<(Text, Timestamptz, SqlUuid)> = statement(source);
    let query = query
        .bind::<Timestamptz, _>(until)
        .bind::<Timestamptz, _>(after.0)
        .bind::<SqlUuid, _>(after.1)
        .bind::<BigInt, _>(PAGE);
    Ok(query.load(&mut conn).await?)
}

/// Where the page after a full one begins; after one that is not full nothing comes.
fn next(page: &[Due]) -> Option<Place> {
    let (_, at, id) = page.last()?;
    (i64::try_from(page.len()) == Ok(PAGE)).then_some((*at, *id))
}

/// What a sweep did, and whom it could not bill.
#[derive(Debug, Default)]
pub(in crate::billing) struct Swept {
    pub(in crate::billing) all: Billed,
    pub(in crate::billing) failed: Vec<(String, Error)>,
}

/// Bills everybody of whom something is due, up to about so many invoices.
pub(in crate::billing) async fn sweep(run: &Run<'_>, max: usize) -> Result<Swept> {
    // One after the other under a simulated clock, so that a simulation repeats itself to the number.
    let at_once = if run.app.clock.is_simulated() { 1 } else { AT_ONCE };
    let (mut swept, mut seen) = (Swept::default(), HashSet::new());
    let failed_before = run.app.unbillable.lock().map(|ids| ids.clone()).unwrap_or_default();
    let mut last: Vec<(String, usize)> = vec![];
    let mut left = SOURCES.map(|source| (source, (DateTime::UNIX_EPOCH, Uuid::nil()))).to_vec();
    loop {
        let pages = run.app.db.read(run.op, async |conn| pages(conn, &left, run).await).await?;
        let mut tenants: Vec<(String, usize)> = vec![];
        for (tenant_id, ..) in pages.iter().flatten() {
            if seen.insert(tenant_id.clone()) {
                tenants.push((tenant_id.clone(), 1));
            } else if let Some((_, count)) = tenants.iter_mut().find(|(id, _)| id == tenant_id) {
                *count += 1;
            }
        }
        left = left
            .into_iter()
            .zip(pages)
            .filter_map(|((source, _), page)| Some((source, next(&page)?)))
            .collect();
        let (mut put_off, now): (Vec<_>, Vec<_>) =
            tenants.into_iter().partition(|(tenant_id, _)| failed_before.contains(tenant_id));
        last.append(&mut put_off);
        let tenants = if left.is_empty() { [now, std::mem::take(&mut last)].concat() } else { now };
        for some in together(&tenants, at_once) {
            let left = max.saturating_sub(swept.all.invoices.len());
            if left == 0 || run.is_over() {
                swept.all.has_more = true;
                return Ok(swept);
            }
            bill(run, &some, left, &mut swept).await;
        }
        if left.is_empty() {
            return Ok(swept);
        }
    }
}

/// The tenants in groups that are billed at a time: up to so many, or one with much due.
fn together(tenants: &[(String, usize)], at_once: usize) -> Vec<Vec<&str>> {
    let mut groups: Vec<Vec<&str>> = vec![];
    let mut is_open = false;
    for (tenant_id, due) in tenants {
        let is_large = ALONE < *due;
        match groups.last_mut() {
            Some(group) if is_open && !is_large && group.len() < at_once => group.push(tenant_id),
            _ => groups.push(vec![tenant_id]),
        }
        is_open = !is_large;
    }
    groups
}

/// Bills some tenants at a time.
async fn bill(run: &Run<'_>, tenants: &[&str], max: usize, swept: &mut Swept) {
    let mut work: Vec<BoxFuture<'_, Result<Billed>>> = Vec::with_capacity(tenants.len());
    for tenant_id in tenants {
        work.push(Box::pin(run.tenant(tenant_id, max)));
    }
    let done: Vec<Result<Billed>> =
        futures::stream::iter(work).buffered(tenants.len().max(1)).collect().await;
    for (tenant_id, done) in tenants.iter().zip(done) {
        if let Ok(mut unbillable) = run.app.unbillable.lock() {
            match done {
                Ok(_) => unbillable.remove(*tenant_id),
                Err(_) => unbillable.insert((*tenant_id).to_owned()),
            };
        }
        match done {
            Ok(billed) => swept.all.add(billed),
            Err(e) => {
                slog::error!(run.app.log, "a tenant cannot be billed"; "tenant_id" => *tenant_id, "error" => %e);
                swept.failed.push(((*tenant_id).to_owned(), e));
            }
        }
    }
}

/// The tenants of whom something falls due by `until`, in the same order, up to so many.
pub(super) async fn tenants(conn: &mut Conn, until: DateTime<Utc>, max: usize) -> Result<Vec<String>> {
    let (mut tenants, mut seen) = (vec![], HashSet::new());
    // Drafts that wait are no news.
    for source in SOURCES.into_iter().skip(1) {
        let mut after = Some((DateTime::UNIX_EPOCH, Uuid::nil()));
        while let Some(place) = after {
            let due = page(conn, source, until, place).await?;
            after = next(&due);
            let new = due.into_iter().map(|(tenant_id, ..)| tenant_id);
            tenants.extend(new.filter(|tenant_id| seen.insert(tenant_id.clone())));
            if max < tenants.len() {
                return Ok(tenants);
            }
        }
    }
    Ok(tenants)
}

#[cfg(test)]
mod tests {
    use super::{ALONE, together};

    #[test]
    fn a_tenant_with_much_due_is_billed_alone() {
        let tenants: Vec<(String, usize)> =
            [("a", 1), ("b", 2), ("c", ALONE + 1), ("d", ALONE), ("e", 1), ("f", 1), ("g", 1)]
                .map(|(id, due)| (id.to_owned(), due))
                .into();
        let groups = together(&tenants, 3);
        assert_eq!(groups, [vec!["a", "b"], vec!["c"], vec!["d", "e", "f"], vec!["g"]]);
        assert!(together(&[], 3).is_empty());
    }
}
