//! Whatever happens to a subscription and whenever: its periods and segments tile its time, each is billed once, and the
//! base price that was billed, less what was given back, is that of every second at its price.
//!
//! The sequences are drawn from a fixed seed, so that a failure is the same the next time. Anchors are the days that not
//! every month has, timezones those that change their clocks at midnight, by half an hour, or not at all.
use crate::plan_changes::{Given, start};
use crate::support::cents;
use chrono::{DateTime, Datelike, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use scaicontrol_domain::period::{local_date, local_midnight, parse_timezone};
use scaicontrol_tests::given::{self, Plan};
use serde_json::{Value, json};
use uuid::Uuid;

/// Sequences that are tried.
const SEQUENCES: usize = 8;
/// A cent in the unit of the recomputation.
const CENT: i128 = 1_000_000;
const ZONES: [&str; 6] = [
    "Europe/Amsterdam",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Asia/Kolkata",
    "America/Santiago",
];
const PLANS: [(i64, &str); 6] = [
    (1000, "monthly"),
    (2999, "monthly"),
    (0, "monthly"),
    (7777, "quarterly"),
    (30_001, "yearly"),
    (12_000, "yearly"),
];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Plan, quantity, timing.
    Change(usize, i32, &'static str),
    Cancel,
    Undo,
    Bill,
    /// Days and seconds.
    Wait(i64, i64),
}

fn steps() -> impl Strategy<Value = (usize, u32, usize, Vec<Step>, bool)> {
    let timing = prop::sample::select(vec!["auto", "immediate", "immediate", "period_end"]);
    let step = prop_oneof![
        6 => (0..PLANS.len(), 1..4_i32, timing).prop_map(|(p, q, t)| Step::Change(p, q, t)),
        1 => Just(Step::Cancel),
        2 => Just(Step::Undo),
        1 => Just(Step::Bill),
        6 => (0..45_i64, 0..86_400_i64).prop_map(|(d, s)| Step::Wait(d, s)),
    ];
    (0..ZONES.len(), 29..32_u32, 0..PLANS.len(), prop::collection::vec(step, 6..16), any::<bool>())
}

/// What the subscription should be, by what was asked of it: from when on which plan and quantity.
#[derive(Default)]
struct Expected {
    since: Vec<(DateTime<Utc>, Uuid, i64)>,
    pending: Option<(DateTime<Utc>, Uuid, i64)>,
}

impl Expected {
    fn pass(&mut self, now: DateTime<Utc>) {
        if let Some(pending) = self.pending.filter(|(at, ..)| *at <= now) {
            self.since.push(pending);
            self.pending = None;
        }
    }
    fn at(&self, at: DateTime<Utc>) -> (Uuid, i64) {
        let found = self.since.iter().rfind(|(from, ..)| *from <= at).expect("a plan");
        (found.1, found.2)
    }
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().and_then(|t| t.parse().ok()).unwrap_or_else(|| panic!("{value} is no time"))
}

async fn live(g: &Given, id: Uuid, steps: &[Step], expected: &mut Expected, plans: &[Plan]) {
    for step in steps {
        expected.pass(g.app.now());
        match step {
            Step::Wait(days, seconds) => {
                g.app.advance(TimeDelta::days(*days) + TimeDelta::seconds(*seconds)).await;
            }
            Step::Bill => drop(g.billed().await),
            Step::Cancel => {
                if g.ask(id, "cancel", &json!({})).send().await.status == 200 {
                    expected.pending = None;
                }
            }
            Step::Undo => {
                if g.ask(id, "reactivate", &Value::Null).send().await.status == 200 {
                    expected.pending = None;
                }
            }
            Step::Change(plan, quantity, timing) => {
                let mut asked = json!({"plan_id": plans[*plan].id, "quantity": quantity, "timing": timing});
                asked["dry_run"] = json!(true);
                let tried = g.ask(id, "change-plan", &asked).send().await;
                asked["dry_run"] = json!(false);
                let done = g.ask(id, "change-plan", &asked).send().await;
                assert_eq!(tried.status, done.status);
                if done.status != 200 {
                    continue;
                }
                let done = done.data(200);
                assert_eq!(tried.data(200)["proration"], done["proration"], "{step:?}");
                let at = time(&done["proration"]["effective_at"]);
                let change = (at, plans[*plan].id, i64::from(*quantity));
                let is_later = !done["subscription"]["pending_plan_id"].is_null();
                expected.pending = is_later.then_some(change);
                if !is_later {
                    expected.since.push(change);
                }
            }
        }
    }
    expected.pass(g.app.now());
}

struct Row {
    id: Uuid,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    billed_until: DateTime<Utc>,
    whole: (DateTime<Utc>, DateTime<Utc>),
    plan_id: Uuid,
    quantity: i64,
    price: i64,
}

async fn rows(g: &Given, id: Uuid) -> Vec<Row> {
    let sql = "SELECT p.period_id, p.starts_at, p.ends_at, p.billed_until, p.whole_starts_at, p.whole_ends_at, p.plan_id, p.quantity, v.base_price_cents
        FROM subscription_periods p JOIN plan_versions v ON v.plan_id = p.plan_id AND v.version = p.plan_version
        WHERE p.subscription_id = $1 ORDER BY p.starts_at";
    let rows = g.app.db().await.query(sql, &[&id]).await.expect("periods");
    let row = |r: &tokio_postgres::Row| Row {
        id: r.get(0),
        starts_at: r.get(1),
        ends_at: r.get(2),
        billed_until: r.get(3),
        whole: (r.get(4), r.get(5)),
        plan_id: r.get(6),
        quantity: i64::from(r.get::<_, i32>(7)),
        price: r.get(8),
    };
    rows.iter().map(row).collect()
}

/// Fails unless the time of the subscription is tiled, and billed once.
async fn tiles(g: &Given, id: Uuid, rows: &[Row], zone: &str) {
    let db = g.app.db().await;
    let sub = db
        .query_one("SELECT activated_at, cancelled_at FROM subscriptions WHERE subscription_id = $1", &[&id])
        .await
        .expect("it");
    let (from, until): (DateTime<Utc>, DateTime<Utc>) = (sub.get(0), sub.get(1));
    let sql = "SELECT starts_at, ends_at FROM segments WHERE subscription_id = $1 ORDER BY 1";
    let segments = db.query(sql, &[&id]).await.expect("segments");
    let segments: Vec<(DateTime<Utc>, DateTime<Utc>)> =
        segments.iter().map(|r| (r.get(0), r.get(1))).collect();
    let periods: Vec<(DateTime<Utc>, DateTime<Utc>)> =
        rows.iter().map(|r| (r.starts_at, r.ends_at)).collect();
    for (what, tiles) in [("periods", &periods), ("segments", &segments)] {
        assert_eq!(tiles.first().map(|t| t.0), Some(from), "{what}");
        assert_eq!(tiles.last().map(|t| t.1), Some(until), "{what}");
        assert!(tiles.windows(2).all(|pair| pair[0].1 == pair[1].0), "{what}: {tiles:?}");
    }
    let zone = parse_timezone(zone).expect("a zone");
    for row in rows {
        let date = local_date(row.whole.1, zone).expect("a date");
        assert_eq!(local_midnight(date, zone), Ok(row.whole.1), "a boundary is a local midnight");
    }
    // Each stretch has one item, each segment one, and none of them waits.
    let sql = "SELECT count(*) FILTER (WHERE kind IN ('base', 'proration')), count(*) FILTER (WHERE kind = 'usage'),
          count(*) FILTER (WHERE status = 'due'), count(DISTINCT (source_type, source_id, period_start, kind))
        FROM billed_items WHERE subscription_id = $1";
    let items = db.query_one(sql, &[&id]).await.expect("items");
    let counts: Vec<i64> = (0..4).map(|i| items.get(i)).collect();
    let credited = "SELECT count(*) FROM period_credits c WHERE subscription_id = $1
        AND NOT EXISTS (SELECT 1 FROM subscription_periods p WHERE p.subscription_id = c.subscription_id AND p.starts_at = c.at)";
    let at_end: i64 = db.query_one(credited, &[&id]).await.expect("credits").get(0);
    let count = |n: usize| i64::try_from(n).expect("few");
    let (stretches, usage) = (count(rows.len()) + at_end, count(segments.len()));
    assert_eq!(counts, [stretches, usage, 0, stretches + usage]);
}

/// The base price of every second, in millionths of a cent: of each stretch the part that was used, or that was not given
/// back.
async fn every_second(g: &Given, id: Uuid, rows: &[Row]) -> i128 {
    let sql = "SELECT period_id FROM period_credits WHERE subscription_id = $1";
    let credited = g.app.db().await.query(sql, &[&id]).await.expect("credits");
    let credited: Vec<Uuid> = credited.iter().map(|r| r.get(0)).collect();
    let seconds = |from: DateTime<Utc>, to: DateTime<Utc>| i128::from(to.timestamp() - from.timestamp());
    rows.iter()
        .map(|row| {
            let until = if credited.contains(&row.id) { row.ends_at } else { row.billed_until };
            let whole = i128::from(row.price * row.quantity) * CENT;
            whole * seconds(row.starts_at, until) / seconds(row.whole.0, row.whole.1)
        })
        .sum()
}

#[tokio::test]
async fn whatever_happens_every_second_is_billed_once() {
    let mut g = start().await;
    given::patience(&g.app).await;
    let mut plans = vec![];
    for (number, (price, interval)) in PLANS.iter().enumerate() {
        let fields = json!({"base_price_cents": price, "billing_period": interval});
        plans.push(g.plan(&format!("p{number}"), fields).await);
    }
    let mut runner = TestRunner::deterministic();
    for number in 0..SEQUENCES {
        let (zone, day, first, steps, credit) = steps().new_tree(&mut runner).expect("a sequence").current();
        let partner = format!("prt_{number}");
        g.tenant = given::tenant(&g.app, &format!("tnt_{number}"), &partner).await;
        let path = format!("/api/v1/admin/partners/{partner}");
        let moved = json!({"timezone": ZONES[zone]});
        g.app.call("PATCH", &path).token(&g.admin).json(&moved).send().await.expect(200);
        while g.app.now().day() != day {
            g.app.advance(TimeDelta::days(1)).await;
        }
        g.app.advance(TimeDelta::seconds(1234 * i64::try_from(number).expect("few"))).await;
        let id = g.subscribed(&plans[first]).await;
        let mut expected = Expected::default();
        expected.since.push((g.app.now(), plans[first].id, 1));
        live(&g, id, &steps, &mut expected, &plans).await;
        let ended = json!({"reason": "the end", "immediately": true, "credit_unused": credit});
        let answer = g.order(id, "cancel", &ended).send().await;
        assert!(matches!(answer.status, 200 | 400), "{}", answer.status);
        // All usage months are over, and what is due is on documents.
        g.app.advance(TimeDelta::days(32)).await;
        let documents = g.billed().await;
        let story = format!("sequence {number} in {} from day {day}: {steps:?}", ZONES[zone]);
        let rows = rows(&g, id).await;
        tiles(&g, id, &rows, ZONES[zone]).await;
        for row in &rows {
            assert_eq!((row.plan_id, row.quantity), expected.at(row.starts_at), "{story}");
        }
        let lines = documents.iter().flat_map(|d| d["line_items"].as_array().expect("lines"));
        let amounts: Vec<i64> = lines.map(|line| cents(&line["amount_cents"])).collect();
        let billed = i128::from(amounts.iter().sum::<i64>()) * CENT;
        let off = (billed - every_second(&g, id, &rows).await).abs();
        // Each line is rounded once, by at most half a cent; a share of what was rounded is off by no more than that again.
        let rounding = CENT * (i128::try_from(rows.len()).expect("few") * 2 + 1);
        assert!(off <= rounding, "{off} of {rounding}: {amounts:?}; {story}");
    }
}
