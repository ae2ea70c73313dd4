//! What must hold after each day, read from the database itself.
//!
//! That the books agree the server proves each night, and a clock whose night fails cannot be moved: journals sum to zero,
//! numbers have no gap, segments tile time, nothing is billed twice, totals, payments and the ledger say the same. Here is
//! what nobody else looks at: periods have no gap, what lives goes on, nothing waits that is due, what was used is counted and
//! billed, states follow the table, what was shown comes, every document passes its rules and every line can be computed
//! again.
use crate::Outcome;
use crate::api::Api;
use crate::billed::{Foreseen, Watched};
use crate::life::Life;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures::future::try_join_all;
use futures::try_join;
use rust_decimal::Decimal;
use scaicontrol_domain::explanation::{Computation, Explanation, recompute};
use scaicontrol_domain::subscription::{State, check};
use scaicontrol_einvoice::{Limits, validate};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row, Statement};
use uuid::Uuid;

/// Each finds rows that must not be there; what it selects is printed.
const NEVER: [(&str, &str); 3] = [
    (
        "periods do not overlap, and have no gap but a suspension",
        "SELECT subscription_id::text, ends_at::text, next::text FROM (SELECT p.*, lead(starts_at) OVER w AS next
           FROM subscription_periods p WINDOW w AS (PARTITION BY tenant_id, subscription_id ORDER BY starts_at)) p
         WHERE next IS NOT NULL AND (ends_at IS NULL OR next < ends_at OR next > ends_at AND NOT EXISTS (
           SELECT 1 FROM subscriptions s JOIN outbox_events e ON e.object_id IN (s.subscription_id::text, s.pack_subscription_id::text)
           WHERE s.tenant_id = p.tenant_id AND s.subscription_id = p.subscription_id
             AND (e.data ->> 'status' = 'suspended' OR e.event_type = 'subscription.suspended')))",
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
];

/// Sums of the metric `calls`, by tenant and service.
const COUNTED: &str = "SELECT t.tenant_id, s.slug, sum(t.value)::text FROM usage_segment_totals t JOIN metrics m USING (metric_id)
    JOIN services s ON s.service_id = m.service_id WHERE m.slug = 'calls' GROUP BY 1, 2";

/// Events of subscriptions that say a state, since an instant.
const CHANGES: &str = "SELECT id, object_id, event_type, data ->> 'previous_status',
      COALESCE(data ->> 'status', CASE event_type WHEN 'subscription.suspended' THEN 'suspended' END), data ->> 'terminal_state'
    FROM outbox_events WHERE occurred_at >= $1 AND event_type LIKE 'subscription.%'
      AND (data ?| '{status,terminal_state}' OR event_type = 'subscription.suspended') ORDER BY object_id, sequence";

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
            db.client.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await.map_err(words)?;
        }
        db.client.batch_execute("SELECT pg_reload_conf()").await.map_err(words)?;
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
    async fn db(&self) -> Outcome<Arc<Connected>> {
        let mut db = self.db.lock().await;
        if db.client.is_closed() {
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
        let (broken, counted, changes, documents) = try_join!(
            try_join_all(never),
            db.query(COUNTED, &[]),
            db.query(CHANGES, &of_changes),
            db.query(DOCUMENTS, &of_documents),
        )?;
        for ((name, _), rows) in NEVER.iter().zip(broken) {
            if let Some(row) = rows.first() {
                let text = |n: usize| row.get::<_, Option<String>>(n).unwrap_or_default();
                return Err(format!("{name}: {} {} {}", text(0), text(1), text(2)));
            }
        }
        counted_is_accepted(life, &counted)?;
        self.states_follow_the_table(&changes)?;
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
            // A line that gives back says how much; a credit note of it has the amount with its own sign.
            if again.0.abs() != amount.abs() {
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

    /// What was shown as the next invoice is what came.
    async fn as_foreseen(&self, life: &mut Life, now: DateTime<Utc>) -> Outcome {
        let mut over = Vec::new();
        for (n, watched) in &life.watched {
            let (tenant, shown) = (&life.world.tenants[*n].id, &watched.shown);
            if let Some(came) = self.came(tenant, watched).await? {
                shown.check(tenant, &came)?;
                life.foreseen.confirmed += 1;
                over.push(*n);
                continue;
            }
            if -3 <= shown.days_from(now)? {
                continue;
            }
            // What was shown without a total is what finalizing refuses: it waits for somebody to mend the draft.
            if shown.subtotal_cents != 0 && shown.total_cents.is_some() {
                return Err(format!(
                    "upcoming is not what was billed: {tenant} was shown {shown:?}, and nothing came"
                ));
            }
            over.push(*n);
        }
        for n in over {
            life.watched.remove(&n);
        }
        Ok(())
    }

    /// The first invoice after it was shown, with the credit notes of that instant: where more is given back than billed,
    /// that is how.
    async fn came(&self, tenant: &str, watched: &Watched) -> Outcome<Option<Foreseen>> {
        let sql = "WITH new AS (
                 SELECT *, first_value(finalized_at) OVER (ORDER BY finalized_at) AS first,
                        row_number() OVER (PARTITION BY document_type ORDER BY finalized_at, number) AS place
                 FROM invoices WHERE tenant_id = $1 AND number IS NOT NULL AND currency = $2 AND invoice_id <> ALL ($3))
             SELECT min(issue_date)::text, sum(subtotal_cents)::bigint, sum(total_cents)::bigint,
                    (SELECT array_agg(l.amount_cents ORDER BY l.amount_cents) FROM invoice_lines l
                     WHERE l.tenant_id = $1 AND l.invoice_id = ANY (array_agg(new.invoice_id)))
             FROM new WHERE finalized_at = first AND (document_type = 'credit_note' OR place = 1) HAVING 0 < count(*)";
        let currency = &watched.shown.currency;
        let rows = self.db().await?.query(sql, &[&tenant, currency, &watched.known]).await?;
        Ok(rows.first().map(|row| Foreseen {
            currency: currency.clone(),
            date: row.get(0),
            subtotal_cents: row.get(1),
            total_cents: row.get(2),
            lines: row.get::<_, Option<Vec<i64>>>(3).unwrap_or_default(),
        }))
    }

    /// When nothing is left to come: what was used in a segment that was billed is what its lines add up to.
    pub async fn at_the_end(&self, life: &Life) -> Outcome {
        let rows = self.db().await?.query(
                // What was voided for good counts as billed: it was given up. What was voided and billed again does not.
                "SELECT l.explanation, l.amount_cents FROM invoice_lines l JOIN invoices i USING (tenant_id, invoice_id)
                   JOIN billed_items b USING (tenant_id, billed_item_id)
                 WHERE i.document_type = 'invoice' AND i.number IS NOT NULL AND l.kind IN ('usage', 'minimum', 'correction')
                   AND l.explanation ? 'segment_id' AND NOT (i.status = 'void' AND EXISTS (SELECT 1 FROM billed_items n
                     WHERE n.tenant_id = b.tenant_id AND n.source_type = b.source_type AND n.source_id = b.source_id AND n.kind = b.kind
                       AND n.revision > b.revision AND n.created_at = i.voided_at))
                 ORDER BY i.finalized_at",
                &[],
            )
            .await?;
        let mut segments: BTreeMap<(String, String), (i64, Value)> = BTreeMap::new();
        for row in rows {
            let explanation: Value = row.get(0);
            let text = |name: &str| explanation[name].as_str().unwrap_or_default().to_owned();
            let read: Explanation = serde_json::from_value(explanation.clone()).map_err(|e| e.to_string())?;
            let (Computation::Usage { segment, .. } | Computation::Correction { segment, .. }) =
                read.computation
            else {
                continue;
            };
            let metric = segment.metric_slug.clone();
            let entry = segments.entry((text("segment_id"), metric)).or_insert((0, Value::Null));
            entry.0 += row.get::<_, i64>(1);
            entry.1 = serde_json::to_value(segment).map_err(|e| e.to_string())?;
        }
        for ((id, metric), (billed, segment)) in &segments {
            let mut segment: scaicontrol_domain::explanation::Segment =
                serde_json::from_value(segment.clone()).map_err(|e| e.to_string())?;
            // Late usage that costs nothing more (a minimum holds it) has no line that would say the new sum.
            if metric == "calls"
                && let Some(counted) = self.counted(id, metric).await?
            {
                segment.quantity = counted;
            }
            let price: i64 = segment.price().map_err(|e| e.to_string())?.iter().map(|l| l.amount_cents).sum();
            if price != *billed {
                let used = segment.quantity;
                return Err(format!(
                    "usage billed is usage accepted: {metric} of segment {id}, {used}, costs {price}, billed {billed}"
                ));
            }
        }
        if life.events > 500 && segments.is_empty() {
            return Err("usage was accepted, and none was billed".into());
        }
        Ok(())
    }

    async fn counted(&self, segment_id: &str, metric: &str) -> Outcome<Option<Decimal>> {
        let sql = "SELECT sum(t.value)::text FROM usage_segment_totals t JOIN metrics m USING (metric_id)
             WHERE t.segment_id = $1::text::uuid AND m.slug = $2";
        let rows = self.db().await?.query(sql, &[&segment_id, &metric]).await?;
        rows.first().and_then(|row| row.get::<_, Option<&str>>(0)).map(decimal).transpose()
    }
}

/// Usage: the sums in the totals are those of the events that were accepted.
fn counted_is_accepted(life: &Life, rows: &[Row]) -> Outcome {
    let mut counted: BTreeMap<(String, String), Decimal> = BTreeMap::new();
    for row in rows {
        counted.insert((row.get(0), row.get(1)), decimal(row.get(2))?);
    }
    for (key, used) in &life.used {
        let is = counted.get(key).copied().unwrap_or_default();
        if is.normalize() != used.normalize() {
            return Err(format!("usage counted is usage accepted: {key:?} accepted {used}, counted {is}"));
        }
    }
    Ok(())
}

fn decimal(text: &str) -> Outcome<Decimal> {
    text.parse().map_err(|e| format!("{text}: {e}"))
}

/// A connection, and what was asked on it, prepared: the same is asked thousands of times.
#[derive(Debug)]
struct Connected {
    client: Client,
    prepared: Mutex<HashMap<String, Statement>>,
}

impl Connected {
    async fn new(url: &str) -> Outcome<Connected> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(words)?;
        tokio::spawn(connection);
        Ok(Connected { client, prepared: Mutex::default() })
    }

    async fn query(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Outcome<Vec<Row>> {
        let known = self.prepared.lock().await.get(sql).cloned();
        let statement = match known {
            Some(statement) => statement,
            None => {
                let new = self.client.prepare(sql).await.map_err(words)?;
                self.prepared.lock().await.insert(sql.to_owned(), new.clone());
                new
            }
        };
        self.client.query(&statement, values).await.map_err(words)
    }
}

fn words(e: tokio_postgres::Error) -> String {
    match e.as_db_error() {
        Some(db) => format!("database: {}", db.message()),
        None => format!("database: {e}"),
    }
}
