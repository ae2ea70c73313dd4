//! Rows that are there before anything is measured, made by SQL because there are many: what the API would have made of
//! years of requests, as far as what is measured looks at it.
use crate::stand::progress;
use scaicontrol_server::identity::service_key;
use scaicontrol_tests::database::Database;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

pub const PARTNER: &str = "prt_bench";
pub const SERVICE: &str = "flow";
/// Added up.
pub const CALLS: &str = "calls";
/// The largest counts.
pub const STORAGE: &str = "storage";
const SERVICE_ID: Uuid = Uuid::from_u128(0xa1);
const METRIC_IDS: [Uuid; 2] = [Uuid::from_u128(0xb1), Uuid::from_u128(0xb2)];
const CHUNK: i64 = 500_000;

/// The id of the measured service.
pub fn service_id() -> Uuid {
    SERVICE_ID
}
/// The id of [`CALLS`] and of [`STORAGE`].
pub fn metric_ids() -> [Uuid; 2] {
    METRIC_IDS
}
/// The id of a tenant.
pub fn tenant(number: usize) -> String {
    format!("tnt_{number}")
}
/// The id of the segment that a tenant's usage counts in.
pub fn segment(number: usize) -> Uuid {
    Uuid::from_u128((1 << 64) + number as u128)
}

/// A service with two metrics, a plan, and tenants of which each is subscribed to it and in the middle of a usage month.
pub async fn subscribed(db: &Client, tenants: usize) {
    let sql = format!(
        "SET TimeZone = 'UTC';
         INSERT INTO partners (partner_id, name, created_at, updated_at) VALUES ('{PARTNER}', 'Partner', now(), now());
         INSERT INTO tenants (tenant_id, partner_id, name, created_at, updated_at)
           SELECT 'tnt_' || i, '{PARTNER}', 'Tenant ' || i, now(), now() FROM generate_series(0, {last}) i;
         INSERT INTO services (service_id, slug, name, status, client_id, created_at, updated_at)
           VALUES ('{SERVICE_ID}', '{SERVICE}', 'Flow', 'active', 'client-flow', now(), now());
         INSERT INTO metrics (metric_id, service_id, slug, name, unit, aggregation, created_at) VALUES
           ('{calls}', '{SERVICE_ID}', '{CALLS}', 'Calls', 'call', 'sum', now()),
           ('{storage}', '{SERVICE_ID}', '{STORAGE}', 'Storage', 'GB', 'max', now());
         INSERT INTO plans (plan_id, service_id, slug, name, billing_period, currency, quotas, created_at, updated_at)
           VALUES ('00000000-0000-0000-0000-0000000000c1', '{SERVICE_ID}', 'pro', 'Pro', 'monthly', 'EUR',
             '{{\"{CALLS}\": 1000000000000}}', now(), now());
         INSERT INTO plan_versions (plan_id, version, valid_from, base_price_cents, created_at)
           VALUES ('00000000-0000-0000-0000-0000000000c1', 1, now() - interval '1 year', 4900, now());
         INSERT INTO subscriptions (tenant_id, subscription_id, partner_id, service_id, plan_id, quantity, status, billing_period,
             currency, mrr_amount_cents, anchor_date, anchored_at, activated_at, timezone, created_at, updated_at)
           SELECT 'tnt_' || i, ('00000000-0000-0000-0002-' || lpad(to_hex(i), 12, '0'))::uuid, '{PARTNER}', '{SERVICE_ID}',
             '00000000-0000-0000-0000-0000000000c1', 1, 'active', 'monthly', 'EUR', 4900, current_date - 29,
             date_trunc('day', now()) - interval '29 days', date_trunc('day', now()) - interval '29 days', 'UTC', now(), now()
           FROM generate_series(0, {last}) i;
         INSERT INTO segments (tenant_id, segment_id, partner_id, subscription_id, service_id, plan_id, plan_version,
             month_starts_at, month_ends_at, starts_at, ends_at, is_trial, created_at)
           SELECT 'tnt_' || i, ('00000000-0000-0001-0000-' || lpad(to_hex(i), 12, '0'))::uuid, '{PARTNER}',
             ('00000000-0000-0000-0002-' || lpad(to_hex(i), 12, '0'))::uuid, '{SERVICE_ID}',
             '00000000-0000-0000-0000-0000000000c1', 1, m.start, m.stop, m.start, m.stop, false, now()
           FROM generate_series(0, {last}) i, (SELECT date_trunc('day', now()) - interval '29 days' AS start,
             date_trunc('day', now()) + interval '2 days' AS stop) m;
         SELECT sc_partition_ensure('usage_events', current_date - n, 7) FROM generate_series(-7, 35) n;",
        last = tenants - 1,
        calls = METRIC_IDS[0],
        storage = METRIC_IDS[1],
    );
    db.batch_execute(&sql).await.expect("tenants that are subscribed");
}

/// A key of the service, as it sends it.
pub async fn service_key(db: &Client) -> String {
    let key = service_key::generate();
    let sql =
        "INSERT INTO service_keys (key_id, service_id, secret_sha256, created_at) VALUES ($1, $2, $3, now())";
    db.execute(sql, &[&key.key_id, &SERVICE_ID, &key.sha256.as_slice()]).await.expect("a key");
    key.text.expose_secret().to_owned()
}

/// What the tenants have used in their month, without the events behind it.
pub async fn used(db: &Client) {
    let sql = format!(
        "INSERT INTO usage_segment_totals (tenant_id, segment_id, metric_id, stripe, service_id, value, events, first_event_at, newest_event_at)
           SELECT tenant_id, segment_id, metric, 0, service_id, 1234.5, 100, now() - interval '1 day', now()
           FROM segments, unnest('{{{},{}}}'::uuid[]) metric;
         ANALYZE",
        METRIC_IDS[0], METRIC_IDS[1]
    );
    db.batch_execute(&sql).await.expect("usage");
}

/// Events of the last four weeks, with their keys and totals, of the first `tenants` tenants.
pub async fn events(database: &Database, tenants: usize, count: i64) {
    let [calls, storage] = METRIC_IDS;
    let at =
        format!("date_trunc('second', now()) - interval '1 second' * (2419200 - g * 2419000.0 / {count})");
    let insert = |table: &str, columns: &str, values: &str, from: i64, to: i64| {
        format!(
            "INSERT INTO {table} ({columns}) SELECT {values} FROM (SELECT g, g % {tenants} AS t, {at} AS at FROM generate_series({from}, {to}) g) x"
        )
    };
    let (events, keys) = (database.connect().await, database.connect().await);
    let mut from = 0;
    while from < count {
        let to = (from + CHUNK).min(count);
        let rows = insert(
            "usage_events",
            "tenant_id, service_id, metric_id, segment_id, idempotency_key, quantity, occurred_at, received_at",
            &format!(
                "'tnt_' || t, '{SERVICE_ID}', (CASE WHEN g / {tenants} % 2 = 0 THEN '{calls}' ELSE '{storage}' END)::uuid,
                 ('00000000-0000-0001-0000-' || lpad(to_hex(t), 12, '0'))::uuid, 'stored-event-with-a-key-' || g, 1.5, at, at"
            ),
            from,
            to - 1,
        );
        let taken = insert(
            "usage_keys",
            "tenant_id, service_id, key_hash, received_at",
            &format!("'tnt_' || t, '{SERVICE_ID}', md5('stored-event-with-a-key-' || g)::uuid, at"),
            from,
            to - 1,
        );
        let (one, two) = tokio::join!(events.batch_execute(&rows), keys.batch_execute(&taken));
        one.expect("events");
        two.expect("keys");
        from = to;
        progress(format_args!("{from} of {count} events are stored"));
    }
    let value =
        format!("CASE WHEN metric_id = '{calls}' THEN sum(quantity) ELSE max(quantity) END, count(*)");
    let totals = format!(
        "INSERT INTO usage_totals (tenant_id, segment_id, metric_id, hour, stripe, service_id, value, events)
           SELECT tenant_id, segment_id, metric_id, date_trunc('hour', occurred_at), 0, service_id, {value}
           FROM usage_events GROUP BY 1, 2, 3, 4, 6;
         INSERT INTO usage_segment_totals (tenant_id, segment_id, metric_id, stripe, service_id, value, events, first_event_at, newest_event_at)
           SELECT tenant_id, segment_id, metric_id, 0, service_id, {value}, min(received_at), max(received_at)
           FROM usage_events GROUP BY 1, 2, 3, 5;"
    );
    events.batch_execute(&totals).await.expect("totals");
    settle(&events).await;
}

/// What a database would have done by itself in time: statistics, the visibility map, dirty pages written.
pub async fn settle(db: &Client) {
    db.batch_execute("VACUUM ANALYZE").await.expect("a vacuum");
    db.batch_execute("CHECKPOINT").await.expect("a checkpoint");
}

/// Documents, of which the tenant [`BIG`] has 19 in 20.
pub async fn invoices(db: &Client, count: i64) {
    db.batch_execute(&format!(
        "SET TimeZone = 'UTC';
         INSERT INTO partners (partner_id, name, created_at, updated_at) VALUES ('{PARTNER}', 'Partner', now(), now());
         INSERT INTO tenants (tenant_id, partner_id, name, created_at, updated_at)
           SELECT 'tnt_' || i, '{PARTNER}', 'Tenant ' || i, now(), now() FROM generate_series(0, 499) i
           UNION ALL SELECT '{BIG}', '{PARTNER}', 'Big', now(), now();"
    ))
    .await
    .expect("tenants");
    let party = |id: &str, is_buyer: bool| {
        json!({
            "party_id": id, "name": "Noord Software B.V.", "address_line1": "Keizersgracht 12", "address_line2": null,
            "postal_code": "1015 CN", "city": "Amsterdam", "state": null, "country_code": "NL",
            "vat_number": "NL123456782B90", "vat_number_status": is_buyer.then_some("valid"), "tax_number": null,
            "registration_number": (!is_buyer).then_some("34123456"), "small_business_note": null,
            "is_business": is_buyer.then_some(true), "tax_exempt": is_buyer.then_some(false), "contact_name": null,
            "email": "billing@example.com", "phone": null,
        })
    };
    let vat = json!({
        "treatment": "domestic", "label": "VAT 21.00%", "note": null, "taxing_country": "NL", "seller_country": "NL",
        "buyer_country": "NL", "breakdown": [{"tax_category": "S", "tax_rate": "21", "taxable_cents": 10000,
            "tax_cents": 2100, "note": null, "exemption_code": null}],
    });
    // One in fifty is a draft, which has neither number nor parties; one in fifty was made void.
    let sql = format!(
        "INSERT INTO invoices (tenant_id, invoice_id, partner_id, document_type, number, status, currency, issue_date, due_date,
             tax_point_date, period_start, period_end, subtotal_cents, tax_cents, total_cents, paid_cents, credited_cents,
             due_cents, buyer_snapshot, seller_snapshot, vat_details, run_date, created_at, updated_at, finalized_at, sent_at,
             paid_at, voided_at, overdue_at)
         SELECT CASE WHEN g % 20 = 0 THEN 'tnt_' || g / 20 % 500 ELSE '{BIG}' END, id, '{PARTNER}', 'invoice',
             CASE WHEN NOT draft THEN 'B-' || lpad(g::text, 8, '0') END, status, 'EUR', CASE WHEN NOT draft THEN day END,
             CASE WHEN NOT draft THEN day + 14 END, CASE WHEN NOT draft THEN day END, day - 30, day - 1, 10000, 2100, 12100,
             CASE WHEN status = 'paid' THEN 12100 ELSE 0 END, CASE WHEN status = 'void' THEN 12100 ELSE 0 END,
             CASE WHEN status IN ('paid', 'void') THEN 0 ELSE 12100 END, CASE WHEN NOT draft THEN $3::jsonb END,
             CASE WHEN NOT draft THEN $4::jsonb END, CASE WHEN NOT draft THEN $5::jsonb END, day, day, day,
             CASE WHEN NOT draft THEN day::timestamptz END, CASE WHEN NOT draft THEN day::timestamptz END,
             CASE WHEN status = 'paid' THEN day + interval '10 days' END, CASE WHEN status = 'void' THEN day::timestamptz END,
             CASE WHEN NOT draft THEN (day + 15)::timestamptz END
         FROM (
           SELECT g, g % 50 = 3 AS draft, date '2021-01-01' + (g * 2000 / {count})::int AS day,
             (lpad(to_hex(g / 65536), 8, '0') || '-' || lpad(to_hex(g % 65536), 4, '0') || '-7000-8000-000000000000')::uuid AS id,
             CASE WHEN g % 50 = 3 THEN 'draft' WHEN g % 50 = 7 THEN 'void' WHEN g % 10 = 1 THEN 'past_due' WHEN g % 10 = 2 THEN 'sent'
               WHEN g % 10 = 4 THEN 'finalized' ELSE 'paid' END AS status
           FROM generate_series($1::bigint, $2::bigint) g
         ) x"
    );
    let mut from = 0;
    while from < count {
        let to = (from + CHUNK / 2).min(count);
        let (buyer, seller) = (party(BIG, true), party(PARTNER, false));
        db.execute(&sql, &[&from, &(to - 1), &buyer, &seller, &vat]).await.expect("invoices");
        from = to;
        if CHUNK < count {
            progress(format_args!("{from} of {count} invoices are there"));
        }
    }
    settle(db).await;
}

/// The tenant with most of the invoices.
pub const BIG: &str = "tnt_big";

/// Services on show, each with a plan.
pub async fn catalogue(db: &Client, services: usize) {
    let sql = format!(
        "INSERT INTO services (service_id, slug, name, description, category, icon_url, version, status, sort_order, created_at, updated_at)
           SELECT ('00000000-0000-0000-0003-' || lpad(to_hex(i), 12, '0'))::uuid, 'service-' || i, 'Service ' || i,
             'What this service does for those who subscribe to it, in two or three lines of text as a page would show them.',
             'platform', 'https://static.example.com/icons/service-' || i || '.svg', '1.4.2', 'active', i, now(), now()
           FROM generate_series(1, {services}) i;
         INSERT INTO plans (plan_id, service_id, slug, name, billing_period, currency, created_at, updated_at)
           SELECT ('00000000-0000-0000-0004-' || lpad(to_hex(i), 12, '0'))::uuid,
             ('00000000-0000-0000-0003-' || lpad(to_hex(i), 12, '0'))::uuid, 'pro', 'Pro', 'monthly', 'EUR', now(), now()
           FROM generate_series(1, {services}) i;
         INSERT INTO plan_versions (plan_id, version, valid_from, base_price_cents, created_at)
           SELECT plan_id, 1, now() - interval '1 year', 4900, now() FROM plans;
         ANALYZE"
    );
    db.batch_execute(&sql).await.expect("a catalogue");
}
