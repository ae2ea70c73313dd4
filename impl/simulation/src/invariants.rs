//! What must hold after each day, read from the database itself.
//!
//! That the books agree the server proves each night, and a move of the clock answers the first difference until it is
//! mended: journals sum to zero, numbers have no gap, segments tile time, nothing is billed twice, totals, payments and the
//! ledger say the same. Here is what nobody else looks at: periods have no gap, what lives goes on, nothing waits that is due,
//! what was used is counted, states follow the table, what was shown comes, every document passes its rules and every line can
//! be computed again. That all of it was billed is looked at once, at the end: [`crate::complete`].
use crate::Outcome;
use crate::api::Api;
use crate::billed::{Foreseen, Shown};
use crate::database::Connected;
use crate::life::Life;
use crate::usage::TOTALS;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures::future::try_join_all;
use futures::try_join;
use scaicontrol_domain::explanation::{Explanation, recompute};
use scaicontrol_domain::subscription::{State, check};
use scaicontrol_einvoice::{Limits, validate};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// Each finds rows that must not be there; what it selects is printed.
const NEVER: [(&str, &str); 7] = [
    (
        // Several things that happen at one instant are microseconds apart.
        "periods do not overlap, and have no gap but one that began and ended with a suspension",
        "WITH suspended AS (
           SELECT e.object_id, e.occurred_at AS since, (SELECT min(r.occurred_at) FROM outbox_events r
             WHERE r.object_id = e.object_id AND r.sequence > e.sequence
               AND COALESCE(r.data ->> 'terminal_state', r.data ->> 'status') <> 'suspended') AS until
           FROM outbox_events e WHERE e.event_type = 'subscription.suspended'
             OR (e.event_type = 'pack_subscription.changed' AND e.data ->> 'status' = 'suspended' AND e.data ->> 'previous_status' <> 'suspended'))
         SELECT p.subscription_id::text, p.ends_at::text, p.next::text FROM (SELECT q.*, lead(starts_at) OVER w AS next
           FROM subscription_periods q WINDOW w AS (PARTITION BY tenant_id, subscription_id ORDER BY starts_at)) p
           JOIN subscriptions s USING (tenant_id, subscription_id)
         WHERE p.next IS NOT NULL AND (p.ends_at IS NULL OR p.next < p.ends_at OR p.next > p.ends_at AND NOT EXISTS (
           SELECT 1 FROM suspended d WHERE d.object_id IN (s.subscription_id::text, s.pack_subscription_id::text)
             AND d.since <= p.ends_at AND p.next BETWEEN d.until AND d.until + interval '1 ms'))",
    ),
    (
        // One whose fixed term ended while it was past due waits for its money, without a new period.
        "a live subscription has a segment and a period that run now",
        "SELECT s.subscription_id::text, s.status, s.usage_until::text FROM subscriptions s
         WHERE s.status IN ('active', 'past_due', 'cancelling') AND NOT (s.usage_until > $1::text::timestamptz
           AND (s.current_period_end IS NULL OR s.current_period_end > $1::text::timestamptz OR s.ends_at <= $1::text::timestamptz))",
    ),
    (
        "nothing is due that should have been billed long ago",
        "SELECT billed_item_id::text, kind, due_at::text FROM billed_items WHERE status = 'due'
           AND GREATEST(due_at, created_at) < $1::text::timestamptz - interval '2 days'",
    ),
    (
        "every document with a number has its electronic original",
        "SELECT i.invoice_id::text, i.number, i.document_type FROM invoices i LEFT JOIN invoice_originals o USING (tenant_id, invoice_id)
         WHERE i.number IS NOT NULL AND o.invoice_id IS NULL",
    ),
    (
        "a segment has one item that bills its usage, and one of a trial none",
        "SELECT g.segment_id::text, g.starts_at::text, count(b.billed_item_id)::text
         FROM segments g LEFT JOIN billed_items b ON b.tenant_id = g.tenant_id AND b.source_type = 'segment' AND b.source_id = g.segment_id
           AND b.period_start = g.starts_at AND b.kind = 'usage' AND b.revision = 0
         GROUP BY g.tenant_id, g.segment_id HAVING count(b.billed_item_id) <> CASE WHEN g.is_trial THEN 0 ELSE 1 END",
    ),
    (
        // A pack bills its own; that there is one item for each of its periods the proof of the night says.
        "a period has one item that bills its price, and none of a pack's child",
        "SELECT p.subscription_id::text, p.starts_at::text, count(b.billed_item_id)::text
         FROM subscription_periods p JOIN subscriptions s USING (tenant_id, subscription_id)
           LEFT JOIN billed_items b ON b.tenant_id = p.tenant_id AND b.source_type = 'subscription' AND b.source_id = p.subscription_id
             AND b.period_start = p.starts_at AND b.kind IN ('base', 'proration') AND b.revision = 0
         GROUP BY p.tenant_id, p.period_id, s.pack_subscription_id
         HAVING count(b.billed_item_id) <> CASE WHEN s.pack_subscription_id IS NULL THEN 1 ELSE 0 END",
    ),
    (
        "the hours of a segment add up to it",
        "SELECT segment_id::text, m.slug, h.events::text
         FROM (SELECT tenant_id, segment_id, metric_id, sum(value) AS added, max(value) AS largest, sum(events) AS events
             FROM usage_totals GROUP BY 1, 2, 3) h
           FULL JOIN (SELECT tenant_id, segment_id, metric_id, sum(value) AS added, max(value) AS largest, sum(events) AS events
             FROM usage_segment_totals GROUP BY 1, 2, 3) t USING (tenant_id, segment_id, metric_id)
           JOIN metrics m USING (metric_id)
         WHERE h.events IS DISTINCT FROM t.events OR CASE m.aggregation WHEN 'last' THEN false
           WHEN 'max' THEN h.largest IS DISTINCT FROM t.largest ELSE h.added IS DISTINCT FROM t.added END",
    ),
];

/// Events of subscriptions and packs that say a state, since an instant.
const CHANGES: &str = "SELECT id, object_id, event_type, data ->> 'previous_status',
      COALESCE(data ->> 'status', CASE event_type WHEN 'subscription.suspended' THEN 'suspended' END), data ->> 'terminal_state'
    FROM outbox_events WHERE occurred_at >= $1 AND (event_type LIKE 'subscription.%' OR event_type LIKE 'pack_subscription.%')
      AND (data ?| '{status,terminal_state}' OR event_type = 'subscription.suspended') ORDER BY object_id, sequence";

/// The states of what has events of its own.
const STATES: &str =
    "SELECT subscription_id::text, status FROM subscriptions WHERE pack_subscription_id IS NULL
    UNION ALL SELECT pack_subscription_id::text, status FROM pack_subscriptions";

/// Documents that got their number since an instant and were not seen.
const DOCUMENTS: &str = "SELECT i.invoice_id, i.tenant_id, i.number, o.content, i.issue_date
    FROM invoices i JOIN invoice_originals o USING (tenant_id, invoice_id)
    WHERE i.number IS NOT NULL AND i.finalized_at >= $1 AND i.invoice_id <> ALL ($2) ORDER BY i.finalized_at, i.number";

/// An invoice on which something is due.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its id.
    pub id: String,
    /// When it was issued.
    pub issue_date: NaiveDate,
    /// What is due.
    pub due_cents: i64,
}

/// See the module.
#[derive(Debug)]
pub struct Checks {
    url: String,
    db: Mutex<Arc<Connected>>,
    seen: Vec<Uuid>,
    states: HashMap<String, State>,
    events_seen: HashSet<Uuid>,
    last_day: Option<DateTime<Utc>>,
}

impl Checks {
    /// Connects to the server's database, past its row-level security.
    pub async fn connect(api: &Api) -> Outcome<Checks> {
        let url = api.database_url();
        let db = Connected::new(&url).await?;
        // Processes are killed, the machine is not: nothing need be waited for on the disk.
        for setting in ["fsync = off", "full_page_writes = off"] {
            db.execute(&format!("ALTER SYSTEM SET {setting}")).await?;
        }
        db.execute("SELECT pg_reload_conf()").await?;
        Ok(Checks {
            url,
            db: Mutex::new(Arc::new(db)),
            seen: Vec::new(),
            states: HashMap::new(),
            events_seen: HashSet::new(),
            last_day: None,
        })
    }

    /// The connection. The database goes with the server when that is killed, and then there is a new one.
    pub async fn db(&self) -> Outcome<Arc<Connected>> {
        let mut db = self.db.lock().await;
        if db.is_closed() {
            *db = Arc::new(Connected::new(&self.url).await?);
        }
        Ok(Arc::clone(&db))
    }

    /// How many documents have a number.
    pub fn documents(&self) -> u64 {
        self.seen.len() as u64
    }

    /// The tenant's invoices on which something is due, in the order of their numbers.
    pub async fn open(&self, tenant: &str) -> Outcome<Vec<Open>> {
        self.invoices(tenant, "due_cents > 0 AND status <> 'void'").await
    }

    /// The tenant's newest issued invoices.
    pub async fn issued(&self, tenant: &str) -> Outcome<Vec<Open>> {
        self.invoices(tenant, "status <> 'void'").await
    }

    async fn invoices(&self, tenant: &str, which: &str) -> Outcome<Vec<Open>> {
        let sql = format!(
            "SELECT invoice_id, issue_date, due_cents FROM invoices WHERE tenant_id = $1 AND number IS NOT NULL
               AND document_type = 'invoice' AND {which} ORDER BY finalized_at DESC, number DESC LIMIT 20"
        );
        let rows = self.db().await?.query(&sql, &[&tenant]).await?;
        let open = |row: Row| {
            let id: Uuid = row.get(0);
            Open { id: id.to_string(), issue_date: row.get(1), due_cents: row.get(2) }
        };
        Ok(rows.into_iter().map(open).collect())
    }

    /// Everything, after a day that ended at `now`.
    pub async fn after_day(&mut self, life: &mut Life, now: DateTime<Utc>) -> Outcome {
        let instant = now.to_rfc3339();
        let db = self.db().await?;
        let never = NEVER.iter().map(|(_, sql)| {
            let now: &(dyn ToSql + Sync) = &instant;
            let values = if sql.contains("$1") { vec![now] } else { vec![] };
            let db = &db;
            async move { db.query(sql, &values).await }
        });
        // What is new has happened since the day before; a little is looked at twice, and known.
        let since = self.last_day.unwrap_or(DateTime::UNIX_EPOCH) - TimeDelta::days(1);
        let (since, seen): (&(dyn ToSql + Sync), &(dyn ToSql + Sync)) = (&since, &self.seen);
        let (of_changes, of_documents) = ([since], [since, seen]);
        let (broken, counted, changes, states, documents) = try_join!(
            try_join_all(never),
            db.query(TOTALS, &[]),
            db.query(CHANGES, &of_changes),
            db.query(STATES, &[]),
            db.query(DOCUMENTS, &of_documents),
        )?;
        for ((name, _), rows) in NEVER.iter().zip(broken) {
            if let Some(row) = rows.first() {
                let text = |n: usize| row.get::<_, Option<String>>(n).unwrap_or_default();
                return Err(format!("{name}: {} {} {}", text(0), text(1), text(2)));
            }
        }
        life.accepted.is_what_counts(&counted)?;
        self.states_follow_the_table(&changes)?;
        self.states_are_as_told(&states)?;
        self.seen.extend(documents.iter().map(|row| row.get::<_, Uuid>(0)));
        for document in documents {
            self.document(&document).await?;
        }
        self.as_foreseen(life, now).await?;
        self.last_day = Some(now);
        Ok(())
    }

    /// States: each event of a subscription starts where the one before ended, along the table.
    fn states_follow_the_table(&mut self, changes: &[Row]) -> Outcome {
        for row in changes {
            if !self.events_seen.insert(row.get(0)) {
                continue;
            }
            let (object, kind): (String, String) = (row.get(1), row.get(2));
            let text = |n: usize| row.get::<_, Option<String>>(n);
            let was = self.states.get(&object).copied().unwrap_or(State::Pending);
            let to = text(5).or_else(|| text(4)).unwrap_or_default();
            let to: State = to.parse().map_err(|_| format!("{kind} of {object} has no state"))?;
            if let Some(said) = text(3).filter(|said| said != was.as_str()) {
                return Err(format!("an event follows the one before: {object} was {was}, and left {said}"));
            }
            if was != to && check(was, to).is_err() {
                return Err(format!("states follow the table: {object} went from {was} to {to}"));
            }
            self.states.insert(object, to);
        }
        Ok(())
    }

    /// What was told last of each is how it is.
    fn states_are_as_told(&self, states: &[Row]) -> Outcome {
        for row in states {
            let (id, is): (&str, &str) = (row.get(0), row.get(1));
            let told = self.states.get(id).copied().unwrap_or(State::Pending);
            if told.as_str() != is {
                return Err(format!("a state is the one that was told last: {id} is {is}, told was {told}"));
            }
        }
        Ok(())
    }

    /// A document passes the rules that it claims, and each of its lines can be computed from its explanation alone.
    async fn document(&self, row: &Row) -> Outcome {
        let (invoice_id, tenant_id, number): (Uuid, String, String) = (row.get(0), row.get(1), row.get(2));
        let report = validate(row.get(3), &Limits::default());
        let report = report.map_err(|e| format!("{number} cannot be read: {e}"))?;
        if !report.valid {
            return Err(format!(
                "every e-invoice passes its rules: {number}: {:?}",
                report.violations.first()
            ));
        }
        for line in self.lines(&tenant_id, invoice_id).await? {
            let (kind, amount): (String, i64) = (line.get(0), line.get(1));
            let Some(explanation) = line.get::<_, Option<Value>>(2) else {
                if kind == "manual" {
                    continue;
                }
                return Err(format!(
                    "every computed line is explained: {number} has a {kind} line that is not"
                ));
            };
            let Ok(explanation) = serde_json::from_value::<Explanation>(explanation.clone()) else {
                if kind == "manual" {
                    continue;
                }
                return Err(format!("an explanation can be read: {number}, {kind}: {explanation}"));
            };
            let again = recompute(&explanation).map_err(|e| format!("{number}, {kind}: {e}"))?;
            if again.0 != amount {
                return Err(format!(
                    "a line can be computed again: {number}, {kind} of {amount} computes to {again}"
                ));
            }
        }
        Ok(())
    }

    async fn lines(&self, tenant_id: &str, invoice_id: Uuid) -> Outcome<Vec<Row>> {
        let sql = "SELECT l.kind, l.amount_cents, l.explanation FROM invoice_lines l JOIN invoices i USING (tenant_id, invoice_id)
             WHERE l.tenant_id = $1 AND l.invoice_id = $2 AND i.document_type = 'invoice' ORDER BY l.order_index";
        self.db().await?.query(sql, &[&tenant_id, &invoice_id]).await
    }

    /// The tenant's documents that have a number.
    pub async fn documents_of(&self, tenant: &str) -> Outcome<Vec<Uuid>> {
        let sql = "SELECT invoice_id FROM invoices WHERE tenant_id = $1 AND number IS NOT NULL";
        let rows = self.db().await?.query(sql, &[&tenant]).await?;
        Ok(rows.into_iter().map(|row| row.get(0)).collect())
    }

    /// Until when a tenant that is shown nothing gets no bill: the end of all that runs or is due, or for ever. Nothing is
    /// known of one that has a draft which was refused: it may be issued on any day.
    pub async fn horizon(&self, tenant: &str) -> Outcome<Option<DateTime<Utc>>> {
        let sql = "SELECT EXISTS (SELECT 1 FROM run_drafts WHERE tenant_id = $1), (SELECT max(at) FROM (
               SELECT GREATEST(current_period_end, usage_until) + interval '1 hour' AS at FROM subscriptions
               WHERE tenant_id = $1 AND next_event_at IS NOT NULL
               UNION ALL SELECT due_at FROM billed_items WHERE tenant_id = $1 AND status = 'due') h)";
        let rows = self.db().await?.query(sql, &[&tenant]).await?;
        let horizon = |row: &Row| row.get::<_, Option<DateTime<Utc>>>(1).unwrap_or(DateTime::<Utc>::MAX_UTC);
        Ok(rows.first().filter(|row| !row.get::<_, bool>(0)).map(horizon))
    }

    /// What was shown as the next invoice is what came; and where nothing was shown nothing.
    async fn as_foreseen(&self, life: &mut Life, now: DateTime<Utc>) -> Outcome {
        let mut over = Vec::new();
        for (n, watched) in &life.watched {
            let tenant = &life.world.tenants[*n].id;
            let is_over = match &watched.shown {
                Shown::Next(shown) => self.has_come(tenant, shown, &watched.known, now).await?,
                Shown::Nothing { until } => {
                    self.nothing_came(tenant, &watched.known, *until).await?;
                    (*until < now).then_some(false)
                }
            };
            if let Some(has_come) = is_over {
                life.foreseen.confirmed += u64::from(has_come);
                over.push(*n);
            }
        }
        for n in over {
            life.watched.remove(&n);
        }
        Ok(())
    }

    /// Whether it came as it was shown; nothing while it may still come.
    async fn has_come(
        &self,
        tenant: &str,
        shown: &Foreseen,
        known: &[Uuid],
        now: DateTime<Utc>,
    ) -> Outcome<Option<bool>> {
        if let Some(came) = self.came(tenant, shown, known).await? {
            shown.check(tenant, &came)?;
            return Ok(Some(true));
        }
        if -3 <= shown.days_from(now)? {
            return Ok(None);
        }
        // What was shown without a total is what finalizing refuses: it waits for somebody to mend the draft.
        if shown.subtotal_cents != 0 && shown.total_cents.is_some() {
            return Err(format!(
                "upcoming is not what was billed: {tenant} was shown {shown:?}, and nothing came"
            ));
        }
        Ok(Some(false))
    }

    async fn nothing_came(&self, tenant: &str, known: &[Uuid], until: DateTime<Utc>) -> Outcome {
        let sql = "SELECT number, finalized_at::text FROM invoices
             WHERE tenant_id = $1 AND number IS NOT NULL AND invoice_id <> ALL ($2) AND finalized_at <= $3 ORDER BY finalized_at LIMIT 1";
        let rows = self.db().await?.query(sql, &[&tenant, &known, &until]).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        let (number, at): (&str, &str) = (row.get(0), row.get(1));
        Err(format!(
            "upcoming is not what was billed: {tenant} was shown nothing until {until}, and {number} came on {at}"
        ))
    }

    /// The first invoice after it was shown; and where something is given back by it, the credit notes of that instant: that is
    /// how, when it is more than was billed. Otherwise they are of another invoice.
    async fn came(&self, tenant: &str, shown: &Foreseen, known: &[Uuid]) -> Outcome<Option<Foreseen>> {
        let gives_back = shown.lines.iter().any(|cents| *cents < 0);
        let sql = "WITH new AS (
                 SELECT *, first_value(finalized_at) OVER (ORDER BY finalized_at) AS first,
                        row_number() OVER (PARTITION BY document_type ORDER BY finalized_at, number) AS place
                 FROM invoices WHERE tenant_id = $1 AND number IS NOT NULL AND currency = $2 AND invoice_id <> ALL ($3))
             SELECT min(issue_date)::text, sum(subtotal_cents)::bigint, sum(total_cents)::bigint,
                    (SELECT array_agg(l.amount_cents ORDER BY l.amount_cents) FROM invoice_lines l
                     WHERE l.tenant_id = $1 AND l.invoice_id = ANY (array_agg(new.invoice_id)))
             FROM new WHERE finalized_at = first AND (CASE document_type WHEN 'credit_note' THEN $4 ELSE place = 1 END) HAVING 0 < count(*)";
        let rows = self.db().await?.query(sql, &[&tenant, &shown.currency, &known, &gives_back]).await?;
        Ok(rows.first().map(|row| Foreseen {
            currency: shown.currency.clone(),
            date: row.get(0),
            subtotal_cents: row.get(1),
            total_cents: row.get(2),
            lines: row.get::<_, Option<Vec<i64>>>(3).unwrap_or_default(),
        }))
    }
}
