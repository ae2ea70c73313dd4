//! Usage is counted exactly once, in the right segment, and told once.
use crate::support::{each, flat, run, service, used, verified};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use scaicontrol_tests::given::{self, Service, Tenant};
use scaicontrol_tests::{Answer, TestApp, body};
use scaicontrol_types as types;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const EVENTS: &str = "/api/v1/metering/events";

struct Given {
    app: TestApp,
    tenant: Tenant,
    service: Service,
}

async fn start() -> Given {
    start_with(json!({"quotas": {"calls": "100", "users": "3"}})).await
}

async fn start_with(plan: Value) -> Given {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let service = service(&app, "vault").await;
    let plan = given::plan_with(&app, &service, "pro", plan).await;
    given::tiers(&app, &plan, &json!([flat("calls", "10"), flat("level", "1")])).await;
    given::subscription(&app, &tenant, &plan, 1).await;
    Given { app, tenant, service }
}

impl Given {
    fn event(&self, key: &str, metric: &str, quantity: &str) -> Value {
        json!({"idempotency_key": key, "tenant_id": self.tenant.id, "metric_slug": metric, "quantity": quantity})
    }
    fn event_at(&self, key: &str, metric: &str, quantity: &str, at: DateTime<Utc>) -> Value {
        let mut event = self.event(key, metric, quantity);
        event["occurred_at"] = json!(at);
        event
    }
    async fn post(&self, events: Value) -> Answer {
        self.app.call("POST", EVENTS).token(&self.service.token).json(&json!({"events": events})).send().await
    }
    /// Sends events that are all counted.
    async fn sent(&self, events: Value) {
        let count = events.as_array().map_or(0, Vec::len);
        assert_eq!(
            self.post(events).await.data(202),
            json!({"accepted": count, "duplicates": 0, "rejected": []})
        );
    }
    /// What the tenant sees of a metric in its running month.
    async fn metric(&self, slug: &str) -> Value {
        let data = self
            .app
            .call("GET", "/api/v1/usage/by-service/vault")
            .token(&self.tenant.admin)
            .send()
            .await
            .data(200);
        let metrics = data["metrics"].as_array().expect("metrics").clone();
        metrics.into_iter().find(|m| m["metric_slug"] == slug).expect("the metric")
    }
    async fn used(&self, slug: &str) -> String {
        self.metric(slug).await["used"].as_str().unwrap_or_default().to_owned()
    }
    /// What was counted in each segment, by its start.
    async fn segments(&self, metric: &str) -> Vec<(DateTime<Utc>, String)> {
        let sql = "SELECT s.starts_at, trim_scale(sum(t.value))::text FROM segments s JOIN usage_segment_totals t USING (tenant_id, segment_id)
            JOIN metrics m USING (metric_id) WHERE m.slug = $1 GROUP BY 1 ORDER BY 1";
        let rows = self.app.db().await.query(sql, &[&metric]).await.expect("totals");
        rows.iter().map(|r| (r.get(0), r.get(1))).collect()
    }
    async fn notices(&self) -> Vec<String> {
        let rows = self
            .app
            .db()
            .await
            .query("SELECT message FROM notifications ORDER BY notification_id", &[])
            .await;
        rows.expect("notifications").iter().map(|r| r.get(0)).collect()
    }
    /// Fails unless the totals are what the events come to when they are counted again, one by one.
    async fn recounts(&self) {
        let sql = "WITH again AS (
              SELECT e.tenant_id, e.segment_id, e.metric_id, count(*) AS events, CASE m.aggregation
                WHEN 'sum' THEN sum(quantity) WHEN 'max' THEN max(quantity) WHEN 'unique_count' THEN count(DISTINCT unique_key)
                ELSE (array_agg(quantity ORDER BY occurred_at DESC, received_at DESC))[1] END AS value
              FROM usage_events e JOIN metrics m USING (metric_id) GROUP BY 1, 2, 3, m.aggregation),
            segment AS (SELECT tenant_id, segment_id, metric_id, sum(t.events) AS events, CASE m.aggregation
                WHEN 'max' THEN max(value) WHEN 'last' THEN (array_agg(value ORDER BY last_at DESC, last_received_at DESC))[1] ELSE sum(value) END AS value
              FROM usage_segment_totals t JOIN metrics m USING (metric_id) GROUP BY 1, 2, 3, m.aggregation),
            hours AS (SELECT tenant_id, segment_id, metric_id, sum(t.events) AS events, CASE m.aggregation
                WHEN 'max' THEN max(value) WHEN 'last' THEN (array_agg(value ORDER BY last_at DESC, last_received_at DESC))[1] ELSE sum(value) END AS value
              FROM usage_totals t JOIN metrics m USING (metric_id) GROUP BY 1, 2, 3, m.aggregation)
            SELECT a.*, s.events, s.value, h.events, h.value FROM again a FULL JOIN segment s USING (tenant_id, segment_id, metric_id)
              FULL JOIN hours h USING (tenant_id, segment_id, metric_id)
            WHERE (a.events, a.value) IS DISTINCT FROM (s.events, s.value) OR (a.events, a.value) IS DISTINCT FROM (h.events, h.value)";
        let off = self.app.db().await.query(sql, &[]).await.expect("a recount");
        let off: Vec<(String, uuid::Uuid)> = off.iter().map(|r| (r.get(0), r.get(2))).collect();
        assert!(off.is_empty(), "{off:?}");
        let keys = "SELECT (SELECT count(*) FROM usage_events), (SELECT count(*) FROM usage_keys)";
        let row = self.app.db().await.query_one(keys, &[]).await.expect("counts");
        assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1), "events and keys");
    }
}

#[tokio::test]
async fn sixteen_batches_at_once_count_each_event_once() {
    let g = start().await;
    let batch = |turn: usize| {
        let mut events: Vec<Value> = (0..500).map(|i| g.event(&format!("k{i}"), "calls", "1")).collect();
        events.rotate_left(turn * 31);
        Value::Array(events)
    };
    let answers = join_all((0..16).map(|turn| g.post(batch(turn)))).await;
    let mut accepted = 0;
    for answer in answers {
        let data = answer.data(202);
        let (new, old) = (data["accepted"].as_i64().unwrap_or(-1), data["duplicates"].as_i64().unwrap_or(-1));
        assert_eq!((new + old, &data["rejected"]), (500, &json!([])));
        accepted += new;
    }
    assert_eq!((accepted, g.used("calls").await), (500, "500".into()));
    g.recounts().await;
}

#[tokio::test]
async fn the_first_of_a_key_wins_and_none_after_it_counts() {
    let g = start().await;
    let answer = g
        .post(json!([g.event("a", "calls", "1"), g.event("a", "calls", "5"), g.event("b", "calls", "2")]))
        .await;
    assert_eq!(answer.data(202), json!({"accepted": 2, "duplicates": 1, "rejected": []}));
    let later = g.event_at("a", "storage", "7", g.app.now());
    g.app.advance(TimeDelta::minutes(1)).await;
    assert_eq!(
        g.post(json!([later])).await.data(202),
        json!({"accepted": 0, "duplicates": 1, "rejected": []})
    );
    assert_eq!((g.used("calls").await, g.used("storage").await), ("3".into(), "0".into()));
    // A key is one of its tenant and service: another tenant's is its own.
    let other = given::tenant(&g.app, "tnt_other", "prt_north").await;
    let plan = given::plan(&g.app, &g.service, "other", 0).await;
    given::subscription(&g.app, &other, &plan, 1).await;
    let mut event = g.event("a", "calls", "1");
    event["tenant_id"] = json!(other.id);
    g.sent(json!([event])).await;
    // After 36 days it is a duplicate still.
    g.app.advance(TimeDelta::days(36)).await;
    assert_eq!(g.post(json!([g.event("a", "calls", "1")])).await.data(202)["duplicates"], 1);
    g.recounts().await;
}

#[tokio::test]
async fn what_cannot_be_counted_is_rejected_by_its_index_and_the_rest_is_counted() {
    let g = start().await;
    given::tenant(&g.app, "tnt_other", "prt_north").await;
    g.app.advance(TimeDelta::days(40)).await;
    let now = g.app.now();
    let of = |tenant: &str| {
        let mut event = g.event(&format!("t{tenant}"), "calls", "1");
        event["tenant_id"] = json!(tenant);
        event
    };
    let old = TimeDelta::days(35);
    let ahead = TimeDelta::hours(1);
    let second = TimeDelta::seconds(1);
    let events = json!([
        g.event("0", "calls", "1"),
        of("tnt_nobody"),
        g.event("2", "nothing", "1"),
        of("tnt_other"),
        g.event_at("4", "calls", "1", now - old - second),
        g.event_at("5", "calls", "1", now - old),
        g.event_at("6", "calls", "1", now + ahead + second),
        g.event_at("7", "calls", "1", now + ahead),
        g.event("8", "storage", "-1"),
        g.event("9", "calls", "-0.5"),
        g.event("10", "users", "1"),
        g.event("11", "level", "-1"),
        g.event("12", "calls", "1000000000000000"),
        g.event("13", "calls", "0"),
    ]);
    let answer = g.post(events).await.data(202);
    let rejected: BTreeMap<i64, String> = answer["rejected"]
        .as_array()
        .expect("rejections")
        .iter()
        .map(|r| (r["index"].as_i64().unwrap_or(-1), r["code"].as_str().unwrap_or_default().to_owned()))
        .collect();
    let wanted = [
        (1, "unknown_tenant"),
        (2, "unknown_metric"),
        (3, "no_subscription"),
        (4, "too_old"),
        (6, "in_future"),
        (8, "bad_quantity"),
        (10, "missing_unique_key"),
        (11, "bad_quantity"),
        (12, "bad_quantity"),
    ];
    assert_eq!(rejected, wanted.map(|(i, code)| (i, code.to_owned())).into());
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(5), &json!(0)));
    // Its key is not used up.
    g.sent(json!([g.event("8", "storage", "1"), g.event("12", "calls", "1")])).await;
    assert_eq!(g.post(json!([g.event("0", "calls", "1")])).await.data(202)["duplicates"], 1);
    g.recounts().await;
}

#[tokio::test]
async fn a_service_without_subscriber_and_times_before_one() {
    let g = start().await;
    let before = g.app.now() - TimeDelta::seconds(1);
    let answer = g
        .post(json!([g.event_at("a", "calls", "1", before), g.event_at("b", "calls", "1", g.app.now())]))
        .await;
    let data = answer.data(202);
    assert_eq!(
        (each(&data["rejected"], "code"), &data["accepted"]),
        (vec![&json!("no_subscription")], &json!(1))
    );
    let other = service(&g.app, "archive").await;
    let asked = json!({"events": [g.event("a", "calls", "1")]});
    let answer = g.app.call("POST", EVENTS).token(&other.token).json(&asked).send().await.data(202);
    assert_eq!(each(&answer["rejected"], "code"), [&json!("no_subscription")]);
    assert_eq!(g.used("calls").await, "1");
}

#[tokio::test]
async fn a_whole_batch_is_refused() {
    let g = start().await;
    let good = || g.event("a", "calls", "1");
    let with = |field: &str, value: Value| {
        let mut event = good();
        event[field] = value;
        event
    };
    for (field, events) in [
        ("events", json!([])),
        ("events.1.quantity", json!([good(), with("quantity", json!(true))])),
        ("events.1.quantity", json!([good(), with("quantity", json!("1e3"))])),
        ("events.1.colour", json!([good(), with("colour", json!("red"))])),
        ("events.1.idempotency_key", json!([good(), with("idempotency_key", json!(""))])),
        ("events.1.idempotency_key", json!([good(), with("idempotency_key", json!("a\0b"))])),
        ("events.1.tenant_id", json!([good(), with("tenant_id", json!("a b"))])),
        ("events.1.occurred_at", json!([good(), with("occurred_at", json!("yesterday"))])),
        ("events.1.unique_key", json!([good(), with("unique_key", json!("\0"))])),
        ("events.1.metadata.a", json!([good(), with("metadata", json!({"a": "\0"}))])),
        ("events.1.metadata", json!([good(), with("metadata", json!({"a": "x".repeat(16 * 1024)}))])),
        ("events", (0..10_001).map(|i| g.event(&i.to_string(), "calls", "1")).collect::<Vec<_>>().into()),
    ] {
        g.post(events).await.refused(400).names(field);
    }
    let foreign = json!([good(), with("service_slug", json!("archive"))]);
    g.post(foreign).await.refused(403).names("events.1.service_slug");
    let asked = json!({"events": [good()]});
    g.app.call("POST", EVENTS).token(&g.tenant.admin).json(&asked).send().await.refused(403);
    g.app.call("POST", EVENTS).token(&g.app.operator("super_admin")).json(&asked).send().await.refused(403);
    g.app.call("POST", EVENTS).json(&asked).send().await.refused(401);
    assert_eq!(g.used("calls").await, "0", "nothing of all this was counted");
    g.sent(json!([with("service_slug", json!("vault"))])).await;
}

#[tokio::test]
async fn every_kind_of_metric_adds_up() {
    let g = start().await;
    let (now, hour) = (g.app.now(), TimeDelta::hours(1));
    g.app.advance(hour * 10).await;
    let user = |key: &str, who: &str| {
        let mut event = g.event(key, "users", "1");
        event["unique_key"] = json!(who);
        event
    };
    g.sent(json!([
        g.event("1", "calls", "5"),
        g.event("2", "calls", "-7.25"),
        g.event("3", "storage", "3"),
        g.event("4", "storage", "2"),
        user("5", "anna"),
        user("6", "anna"),
        user("7", "ben"),
        g.event_at("8", "level", "10", now + hour * 2),
        g.event_at("9", "level", "20", now + hour * 3),
        g.event_at("10", "level", "30", now + hour),
    ]))
    .await;
    assert_eq!(
        (g.used("calls").await, g.used("storage").await),
        ("0".into(), "3".into()),
        "a sum has a floor of 0"
    );
    assert_eq!(
        (g.used("users").await, g.used("level").await),
        ("2".into(), "20".into()),
        "the newest by its time, not by its receipt"
    );
    // Of one instant the one received later counts, in one batch and in two.
    g.sent(json!([
        g.event_at("11", "level", "40", now + hour * 4),
        g.event_at("12", "level", "50", now + hour * 4)
    ]))
    .await;
    assert_eq!(g.used("level").await, "50");
    g.app.advance(TimeDelta::seconds(1)).await;
    g.sent(json!([g.event_at("13", "level", "45", now + hour * 4)])).await;
    assert_eq!(g.used("level").await, "45");
    g.sent(json!([g.event("14", "calls", "3")])).await;
    assert_eq!(g.used("calls").await, "0.75", "what was taken back stays taken back");
    g.recounts().await;
}

#[tokio::test]
async fn the_last_value_is_carried_into_the_next_month() {
    let g = start().await;
    g.sent(json!([g.event("1", "level", "12"), g.event("2", "calls", "3")])).await;
    let admin = g.app.operator("billing_admin");
    run(&g.app, &admin, &g.tenant.id).await;
    g.app.advance_to("2026-06-12T00:00:00Z".parse().expect("a time")).await;
    assert_eq!((g.used("level").await, g.used("calls").await), ("12".into(), "0".into()));
    let runs = run(&g.app, &admin, &g.tenant.id).await;
    let mut usage = Vec::new();
    for invoice in runs["invoices"].as_array().expect("invoices") {
        let lines = invoice["lines"].as_array().expect("lines").iter().filter(|l| l["kind"] == "usage");
        usage.extend(lines.map(|l| {
            (
                l["metric_slug"].as_str().unwrap_or_default().to_owned(),
                l["amount_cents"].as_i64().unwrap_or(-1),
            )
        }));
    }
    let line = |metric: &str, cents: i64| (metric.to_owned(), cents);
    assert_eq!(usage, [line("calls", 30), line("level", 12), line("level", 12), line("level", 12)]);
    verified(&g.app).await;
}

#[tokio::test]
async fn an_instant_belongs_to_one_month() {
    let g = start().await;
    let boundary: DateTime<Utc> = "2026-04-09T22:00:00Z".parse().expect("a time");
    g.app.advance_to(boundary + TimeDelta::minutes(30)).await;
    let moment = TimeDelta::microseconds(1);
    g.sent(json!([
        g.event_at("1", "calls", "1", boundary - moment),
        g.event_at("2", "calls", "2", boundary),
        g.event_at("3", "calls", "4", boundary + moment),
    ]))
    .await;
    let first: DateTime<Utc> = scaicontrol_tests::START.parse().expect("a time");
    assert_eq!(g.segments("calls").await, [(first, "1".into()), (boundary, "6".into())]);
    assert_eq!(g.used("calls").await, "6");
    // Ahead of the clock, into a month that has not begun: it counts where now does.
    let next: DateTime<Utc> = "2026-05-09T22:00:00Z".parse().expect("a time");
    g.app.advance_to(next - TimeDelta::minutes(10)).await;
    g.sent(json!([g.event_at("4", "calls", "8", next + TimeDelta::minutes(10))])).await;
    assert_eq!(g.used("calls").await, "14");
    g.recounts().await;
}

#[tokio::test]
async fn a_late_event_counts_in_the_month_it_belongs_to() {
    let g = start().await;
    g.app.advance_to("2026-04-12T00:00:00Z".parse().expect("a time")).await;
    g.sent(json!([g.event("1", "calls", "2")])).await;
    let late = "2026-03-20T12:00:00Z".parse().expect("a time");
    g.sent(json!([g.event_at("2", "calls", "5", late)])).await;
    let totals: Vec<String> = g.segments("calls").await.into_iter().map(|(_, value)| value).collect();
    assert_eq!(totals, ["5", "2"]);
    assert_eq!(g.used("calls").await, "2");
    let done = run(&g.app, &g.app.operator("billing_admin"), &g.tenant.id).await;
    let month = done["invoices"][1]["lines"]
        .as_array()
        .expect("lines")
        .iter()
        .find(|l| l["metric_slug"] == "calls")
        .expect("a line");
    assert_eq!(month["amount_cents"], 50);
    verified(&g.app).await;
}

#[tokio::test]
async fn a_quota_is_told_of_once_for_each_threshold() {
    let g = start().await;
    g.sent(json!([g.event("1", "calls", "79")])).await;
    assert!(g.notices().await.is_empty());
    g.sent(json!([g.event("2", "calls", "1")])).await;
    assert_eq!(g.notices().await.len(), 1, "80 %");
    g.sent(json!([g.event("3", "calls", "19")])).await;
    assert_eq!(g.notices().await.len(), 1);
    // Sixteen at once pass the limit.
    let sending = (0..16).map(|i| g.post(json!([g.event(&format!("n{i}"), "calls", "1")])));
    join_all(sending).await.iter().for_each(|a| assert_eq!(a.data(202)["accepted"], 1));
    assert_eq!(g.notices().await.len(), 2, "100 %");
    g.sent(json!([g.event("4", "calls", "-100")])).await;
    g.sent(json!([g.event("5", "calls", "100")])).await;
    assert_eq!(g.notices().await.len(), 2, "once a month");
    let quotas = g.app.call("GET", "/api/v1/usage/quotas").token(&g.tenant.member).send().await.data(200);
    let calls =
        quotas.as_array().expect("quotas").iter().find(|q| q["metric_slug"] == "calls").expect("calls");
    assert_eq!(
        (&calls["used"], &calls["remaining"], &calls["percent"], &calls["exceeded"]),
        (&json!("115"), &json!("0"), &json!("115"), &json!(true))
    );
    let storage =
        quotas.as_array().expect("quotas").iter().find(|q| q["metric_slug"] == "storage").expect("storage");
    assert_eq!(
        (&storage["limit"], &storage["percent"], &storage["exceeded"]),
        (&Value::Null, &Value::Null, &json!(false))
    );
    // Both at once in the next month.
    g.app.advance(TimeDelta::days(32)).await;
    g.sent(json!([g.event("6", "calls", "100")])).await;
    assert_eq!(g.notices().await.len(), 4);
    g.recounts().await;
}

#[tokio::test]
async fn a_service_asks_where_a_tenant_stands() {
    let g = start().await;
    let check = async |path: &str, token: &str| {
        g.app.call("GET", &format!("/api/v1/internal/quotas/{path}")).token(token).send().await
    };
    let own = check("tnt_acme/vault/calls", &g.service.token).await.data(200);
    assert_eq!(
        (&own["used"], &own["remaining"], &own["exceeded"]),
        (&json!("0"), &json!("100"), &json!(false))
    );
    assert_eq!(own["period_end"], "2026-04-09T22:00:00Z");
    for i in 0..5 {
        g.sent(json!([g.event(&format!("k{i}"), "calls", "20")])).await;
        let now = check("tnt_acme/vault/calls", &g.service.token).await.data(200);
        assert_eq!(now["used"], json!(((i + 1) * 20).to_string()), "what was acknowledged is counted");
        assert_eq!(now["exceeded"], false, "exactly the limit is not exceeded");
    }
    let client = g.app.client(&g.service.token);
    let call = client.quota_check().tenant_id("tnt_acme").service_slug("vault").metric_slug("storage");
    assert!(call.send().await.expect("unlimited").into_inner().data.limit.is_none());
    let other = service(&g.app, "archive").await;
    given::tenant(&g.app, "tnt_other", "prt_north").await;
    check("tnt_acme/vault/nothing", &g.service.token).await.refused(404);
    check("tnt_nobody/vault/calls", &g.service.token).await.refused(404);
    check("tnt_other/vault/calls", &g.service.token).await.refused(404);
    check("tnt_acme/archive/calls", &g.service.token).await.refused(404);
    check("tnt_acme/vault/calls", &other.token).await.refused(404);
    check("tnt_acme/archive/calls", &other.token).await.refused(404);
    check("tnt_acme/vault/calls", &g.tenant.admin).await.refused(403);
}

#[tokio::test]
async fn usage_in_a_trial_costs_nothing_and_counts_for_the_quota() {
    let g = start_with(json!({"trial_days": 14, "quotas": {"calls": "100"}})).await;
    g.sent(json!([g.event("1", "calls", "90")])).await;
    let metric = g.metric("calls").await;
    assert_eq!(
        (&metric["used"], &metric["cost_cents"], &metric["percent"]),
        (&json!("90"), &json!(0), &json!("90"))
    );
    assert_eq!(g.notices().await.len(), 1);
    g.app.advance(TimeDelta::days(14)).await;
    g.sent(json!([g.event("2", "calls", "3")])).await;
    assert_eq!(g.metric("calls").await["cost_cents"], 30);
    g.recounts().await;
}

#[tokio::test]
async fn totals_are_what_the_events_come_to() {
    let g = start().await;
    g.app.advance(TimeDelta::days(33)).await;
    // Twelve clients send the events of a month in any order, some of them twice, a few of them at one instant.
    let client = |client: u64| {
        let events: Vec<Value> = (0..200_u64)
            .map(|i| {
                let n = (client * 7919 + i * 104_729) % 1_500;
                // Some are of one instant, but no two of the metric that keeps its newest value: the clock stands still, and
                // which of two that also came at one instant is the newer is nobody's to say.
                let at = g.app.now() - TimeDelta::hours(i64::try_from(n % 780).unwrap_or(0));
                let at = if n % 4 == 2 {
                    at - TimeDelta::seconds(i64::try_from(n / 780).unwrap_or(0))
                } else {
                    at
                };
                let metric = ["calls", "rows", "storage", "users"][usize::try_from(n % 4).unwrap_or(0)];
                let mut event = g.event_at(&format!("e{n}"), metric, &format!("{}.{}", n % 17, n % 10), at);
                event["unique_key"] = json!(format!("u{}", n % 23));
                event
            })
            .collect();
        Value::Array(events)
    };
    for answer in join_all((0..12).map(|n| g.post(client(n)))).await {
        assert_eq!(answer.data(202)["rejected"], json!([]));
    }
    g.recounts().await;
    let sum = "SELECT trim_scale(sum(quantity))::text FROM usage_events JOIN metrics USING (metric_id) JOIN segments USING (tenant_id, segment_id) WHERE slug = 'calls' AND ends_at > $1";
    let row = g.app.db().await.query_one(sum, &[&g.app.now()]).await.expect("a sum");
    assert_eq!(g.used("calls").await, row.get::<_, String>(0));
}

#[tokio::test]
async fn usage_over_time() {
    let g = start().await;
    g.app.advance_to("2026-03-12T10:30:00Z".parse().expect("a time")).await;
    let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
    g.sent(json!([
        g.event_at("1", "calls", "1", at("2026-03-10T09:59:59Z")),
        g.event_at("2", "calls", "2", at("2026-03-10T10:00:00Z")),
        g.event_at("3", "calls", "4", at("2026-03-12T10:00:00Z")),
        g.event_at("4", "storage", "8", at("2026-03-12T10:00:00Z")),
    ]))
    .await;
    let client = g.app.client(&g.tenant.member);
    let series = async |period: types::UsagePeriodType| {
        let call = client.usage_history_get().service_slug("vault").metric_slug("calls").period_type(period);
        let data = call.from(at("2026-03-10T00:00:00Z")).send().await.expect("a history").into_inner().data;
        data.series.iter().flat_map(|s| s.points.iter().map(|p| p.value.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(series(types::UsagePeriodType::Hourly).await, ["1", "2", "4"]);
    assert_eq!(series(types::UsagePeriodType::Daily).await, ["3", "4"]);
    assert_eq!(series(types::UsagePeriodType::Monthly).await, ["7"]);
    let summary = client
        .usage_summary_get()
        .period_type(types::UsagePeriodType::Hourly)
        .send()
        .await
        .expect("a summary");
    let metrics = &summary.into_inner().data.services[0].metrics;
    assert_eq!(
        metrics.iter().map(|m| (m.metric_slug.as_str(), m.value.to_string())).collect::<Vec<_>>(),
        [("calls", "4".into()), ("storage", "8".into())]
    );
    let get = async |query: &str| {
        g.app.call("GET", &format!("/api/v1/usage/history?{query}")).token(&g.tenant.member).send().await
    };
    get("from=2026-03-12T00:00:00Z&to=2026-03-12T00:00:00Z").await.refused(400).names("from");
    get("from=2026-01-01T00:00:00Z&to=2026-03-12T00:00:00Z&period_type=hourly").await.refused(400);
    get("from=2024-01-01T00:00:00Z&to=2026-03-12T00:00:00Z&period_type=daily").await.refused(400);
    get("period_type=weekly").await.refused(400).names("period_type");
    assert_eq!(get("service_slug=nothing").await.data(200)["series"], json!([]));
    g.app
        .call("GET", "/api/v1/usage/summary?period_type=yearly")
        .token(&g.tenant.member)
        .send()
        .await
        .refused(400)
        .names("period_type");
    for path in ["usage/history", "usage/summary", "usage/quotas", "usage/by-service/vault"] {
        g.app.call("GET", &format!("/api/v1/{path}")).token(&g.service.token).send().await.refused(403);
    }
    g.app.call("GET", "/api/v1/usage/by-service/nothing").token(&g.tenant.member).send().await.refused(404);
    let posted: types::UsageEventsRequest = body(json!({"events": [g.event("9", "calls", "1")]}));
    let done = g
        .app
        .client(&g.service.token)
        .usage_events_post()
        .body(posted)
        .send()
        .await
        .expect("stored")
        .into_inner()
        .data;
    assert_eq!((done.accepted, done.duplicates, done.rejected.len()), (1, 0, 0));
    used(&g.app, &g.service, &g.tenant, &[("rows", "1")]).await;
}
