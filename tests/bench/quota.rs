//! The quota check: asked again and again for some tenants, and once for each of many.
use crate::fill;
use crate::load::{self, Run, Shot, Shots, Template, microseconds};
use crate::report::{Bound, Report, Sample};
use crate::stand::{Bench, POOL_SIZE, Server, progress};
use chrono::{DateTime, Utc};
use diesel::sql_types::{Bool, Jsonb, Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use scaicontrol_server::clock::Clock;
use scaicontrol_server::db::statement::statement;
use scaicontrol_server::db::{Conn, Db};
use scaicontrol_server::error::Result;
use scaicontrol_server::op::{Actor, Ids, OpContext, Scope};
use scaicontrol_tests::database::Database;
use std::time::{Duration, Instant};
use uuid::Uuid;

const CALLERS: usize = 32;
/// Tenants, more than are asked for within the second that an answer is kept.
const TENANTS: usize = 40_000;
/// Tenants that are asked for all the time.
const BUSY: usize = 100;

/// The tenants that a caller asks for: each caller begins elsewhere and goes round.
fn tenants(caller: usize, among: usize) -> impl Iterator<Item = usize> + Send {
    (caller * among / CALLERS..).map(move |n| n % among)
}

async fn ask(server: &Server, key: &str, among: usize, length: Duration) -> Run {
    let template = Template::get(server.addr).header("x-scaicontrol-key", key);
    let path = |tenant| format!("/api/v1/internal/quotas/tnt_{tenant}/{}/{}", fill::SERVICE, fill::CALLS);
    let shots = (0..CALLERS)
        .map(|caller| Box::new(tenants(caller, among).map(move |tenant| Shot::get(&path(tenant)))) as Shots)
        .collect();
    load::run(&template, shots, Some(length)).await
}

/// The SELECT of the check, in the transaction that it runs in, from a pool like the server's.
async fn select(db: &Db, among: usize, length: Duration) -> Run {
    let start = Instant::now();
    let tasks: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let db = db.clone();
            tokio::spawn(async move {
                let (ids, mut latencies) = (Ids::default(), Vec::with_capacity(1 << 14));
                let (service, [metric, _]) = (fill::service_id(), fill::metric_ids());
                for tenant in tenants(caller, among).map(fill::tenant) {
                    let sent = Instant::now();
                    if length <= start.elapsed() {
                        break;
                    }
                    let op = context(&ids);
                    let read =
                        db.read(&op, async |conn| standing(conn, &tenant, service, metric, op.now).await);
                    assert_eq!(read.await.expect("a row"), 1, "each tenant has one segment");
                    latencies.push(microseconds(sent.elapsed()));
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a caller"));
    }
    Run::of(start.elapsed(), latencies)
}

/// Reads where one tenant stands; answers how many segments it has.
async fn standing(
    conn: &mut Conn,
    tenant: &str,
    service: Uuid,
    metric: Uuid,
    now: DateTime<Utc>,
) -> Result<usize> {
    type Columns = (
        SqlUuid,
        Bool,
        Timestamptz,
        Timestamptz,
        Timestamptz,
        Timestamptz,
        Jsonb,
        SqlUuid,
        Nullable<Numeric>,
    );
    type Row = (
        Uuid,
        bool,
        DateTime<Utc>,
        DateTime<Utc>,
        DateTime<Utc>,
        DateTime<Utc>,
        serde_json::Value,
        Uuid,
        Option<rust_decimal::Decimal>,
    );
    let rows: Vec<Row> = statement::<Columns>(
        "SELECT s.subscription_id, s.status NOT IN ('cancelled', 'expired'), COALESCE(s.cancelled_at, c.ends_at), c.month_starts_at,
           c.month_ends_at, c.ends_at, p.quotas, m.segment_id, t.value
         FROM (
           SELECT tenant_id, subscription_id, status, cancelled_at, plan_id FROM subscriptions
           WHERE tenant_id = $1 AND service_id = $2 AND anchored_at IS NOT NULL
           ORDER BY status IN ('cancelled', 'expired'), subscription_id DESC LIMIT 1
         ) s JOIN plans p USING (plan_id)
         JOIN LATERAL (
           SELECT g.month_starts_at, g.month_ends_at, g.ends_at FROM segments g
           WHERE g.tenant_id = s.tenant_id AND g.subscription_id = s.subscription_id AND g.starts_at <= $3
           ORDER BY g.starts_at DESC LIMIT 1
         ) c ON true
         JOIN segments m ON m.tenant_id = s.tenant_id AND m.subscription_id = s.subscription_id
           AND m.starts_at >= c.month_starts_at AND m.starts_at < c.month_ends_at AND m.month_starts_at = c.month_starts_at
         LEFT JOIN usage_segment_totals t ON t.tenant_id = m.tenant_id AND t.segment_id = m.segment_id AND t.metric_id = $4
         ORDER BY m.starts_at",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(service)
    .bind::<Timestamptz, _>(now)
    .bind::<SqlUuid, _>(metric)
    .load(conn)
    .await?;
    Ok(rows.len())
}

fn context(ids: &Ids) -> OpContext {
    let service_id = Some(fill::service_id());
    let actor =
        Actor { id: "client-flow".into(), level: "service", tenant_id: None, partner_id: None, service_id };
    OpContext::new(actor, Scope::Service(fill::service_id()), &Clock::Real, ids, "req_bench", "quota_check")
}

/// See the module.
pub async fn run(bench: &Bench) -> Report {
    let database = Database::create().await;
    let admin = database.connect().await;
    fill::subscribed(&admin, TENANTS).await;
    fill::used(&admin).await;
    fill::settle(&admin).await;
    let key = fill::service_key(&admin).await;
    let server = bench.start(&database).await;
    let wait = Duration::from_secs(5);
    let db = Db::new(&database.app_url(), POOL_SIZE, wait, Duration::from_secs(30)).expect("a pool");
    let length = bench.scale.length;
    let warm = Duration::from_millis(500);
    select(&db, TENANTS, warm).await;
    ask(&server, &key, TENANTS, warm).await;
    let mut report =
        Report::new("quota", format!("{CALLERS} callers, {TENANTS} tenants, a pool of {POOL_SIZE}"));
    for (among, which) in [(BUSY, "of 100 busy tenants"), (TENANTS, "of a tenant not asked for lately")] {
        let [mut baseline, mut baseline_p99, mut ours, mut p50, mut p99]: [Sample; 5] = Default::default();
        for round in 1..=bench.scale.rounds {
            let done = select(&db, among, length).await;
            baseline.push(done.per_second());
            baseline_p99.push(done.within_ms(99));
            let done = ask(&server, &key, among, length).await;
            ours.push(done.per_second());
            p50.push(done.within_ms(50));
            p99.push(done.within_ms(99));
            progress(format_args!(
                "quota {which}, round {round}: SELECT {:.0}, ours {:.0} requests/s, p99 {:.1} ms",
                baseline.last(),
                ours.last(),
                p99.last()
            ));
        }
        report.shown(format!("SELECT {which}, per second"), &baseline);
        report.shown(format!("SELECT {which}, p99, ms"), &baseline_p99);
        report.shown(format!("quota {which}, requests/s"), &ours);
        report.bound(format!("quota / SELECT {which}"), &ours.over(&baseline), Bound::AtLeast(0.5));
        report.shown(format!("quota {which}, p50, ms"), &p50);
        report.bound(format!("quota {which}, p99, ms"), &p99, Bound::AtMost(10.0));
    }
    server.stop().await;
    report
}
