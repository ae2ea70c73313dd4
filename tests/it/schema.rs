//! The migrations: forth and back, what they leave, and that the program knows it as it is.
use scaicontrol_server::migrations;
use scaicontrol_tests::database::{Database, migrations_on_disk};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokio_postgres::Client;

/// The table of diesel's own.
const DIESELS: &str = "__diesel_schema_migrations";

#[tokio::test]
async fn up_down_and_up_again_leave_the_same() {
    let database = Database::empty().await;
    let client = database.connect().await;
    let url = database.owner_url();
    let ran = migrations::up(&url).await.expect("up");
    let disk: Vec<String> = migrations_on_disk().into_iter().map(|(name, _)| name).collect();
    assert_eq!(ran.len(), disk.len(), "{ran:?}");
    let first = snapshot(&client).await;
    assert!(first.len() > 500, "{} facts", first.len());
    assert!(migrations::up(&url).await.expect("again").is_empty(), "nothing is left to run");

    let back = migrations::down(&url, disk.len()).await.expect("down");
    assert_eq!(back.len(), disk.len(), "{back:?}");
    let left = snapshot(&client).await;
    let left: Vec<_> = left
        .iter()
        .filter(|f| !f.contains("__diesel_schema_migrations") && !f.contains("sc_migrations"))
        .collect();
    assert!(left.is_empty(), "left behind: {left:#?}");

    migrations::up(&url).await.expect("up again");
    let second = snapshot(&client).await;
    let difference: Vec<_> = first.symmetric_difference(&second).collect();
    assert!(difference.is_empty(), "{difference:#?}");
}

#[test]
fn the_program_holds_the_migrations_that_are_here() {
    let disk: Vec<String> = migrations_on_disk()
        .into_iter()
        .map(|(n, _)| n.split('_').next().unwrap_or_default().replace('-', ""))
        .collect();
    assert_eq!(migrations::versions(), disk);
}

/// Everything that migrations make, a line for each thing.
async fn snapshot(client: &Client) -> BTreeSet<String> {
    let sql = "
        SELECT format('table %s %s rls=%s forced=%s options=%s', c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.reloptions)
          FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
        UNION ALL SELECT format('right on %s: %s', c.relname, acl) FROM pg_class c, unnest(c.relacl) AS acl
          WHERE c.relnamespace = 'public'::regnamespace
        UNION ALL SELECT format('column %s.%s %s null=%s default=%s', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
            (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum))
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
          WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL SELECT format('constraint %s.%s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT format('index %s', indexdef) FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT format('trigger %s', pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT format('policy %s.%s %s %s %s', tablename, policyname, roles, qual, with_check) FROM pg_policies WHERE schemaname = 'public'
        UNION ALL SELECT format('function %s owner=%s acl=%s %s', p.oid::regprocedure, p.proowner::regrole, p.proacl, pg_get_functiondef(p.oid))
          FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
        UNION ALL SELECT format('type %s', typname) FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')";
    client.query(sql, &[]).await.expect("the catalogue").iter().map(|row| row.get(0)).collect()
}

/// A table: its key, and its columns with their types.
type Table = (Vec<String>, BTreeMap<String, String>);

/// The tables of `schema.rs`.
fn tables_of_the_program() -> BTreeMap<String, Table> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../impl/core/src/db/schema.rs");
    let text = std::fs::read_to_string(file).expect("schema.rs");
    let table = regex::Regex::new(r"(?s)table! \{\s*(?:#\[[^\]]*\]\s*)*(\w+) \(([^)]*)\) \{(.*?)\n    \}")
        .expect("a pattern");
    let column = regex::Regex::new(r"(?m)^\s*(?:r#)?(\w+) -> ([\w<>]+),").expect("a pattern");
    let found = table.captures_iter(&text).map(|c| {
        let key = c[2].split(',').map(|k| k.trim().to_owned()).collect();
        let columns = column
            .captures_iter(&c[3])
            .map(|c| (c[1].trim_end_matches('_').to_owned(), c[2].to_owned()))
            .collect();
        (c[1].to_owned(), (key, columns))
    });
    found.collect()
}

async fn tables_of_the_database(client: &Client) -> BTreeMap<String, Table> {
    let columns = "
        SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL), a.attnotnull
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> $1
          AND a.attnum > 0 AND NOT a.attisdropped";
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for row in client.query(columns, &[&DIESELS]).await.expect("the columns") {
        let (table, column, kind, not_null): (String, String, String, bool) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let kind = match kind.as_str() {
            "text" => "Text",
            "uuid" => "Uuid",
            "bigint" => "BigInt",
            "integer" => "Integer",
            "smallint" => "SmallInt",
            "boolean" => "Bool",
            "numeric" => "Numeric",
            "date" => "Date",
            "jsonb" => "Jsonb",
            "bytea" => "Bytea",
            "timestamp with time zone" => "Timestamptz",
            "text[]" => "Array<Text>",
            other => panic!("{table}.{column}: {other} is not expected"),
        };
        let kind = if not_null { kind.to_owned() } else { format!("Nullable<{kind}>") };
        tables.entry(table).or_default().1.insert(column.trim_end_matches('_').to_owned(), kind);
    }
    let keys = "
        SELECT i.indrelid::regclass::text, a.attname::text FROM pg_index i
        CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indisprimary ORDER BY 1, k.place";
    for row in client.query(keys, &[]).await.expect("the keys") {
        if let Some(table) = tables.get_mut(row.get::<_, &str>(0)) {
            table.0.push(row.get(1));
        }
    }
    tables
}

#[tokio::test]
async fn the_program_knows_the_tables_as_they_are() {
    let database = Database::create().await;
    let real = tables_of_the_database(&database.connect().await).await;
    let known = tables_of_the_program();
    assert!(known.len() > 20, "{} tables were read", known.len());
    let mut wrong = Vec::new();
    for (name, (key, columns)) in &known {
        let Some((real_key, real_columns)) = real.get(name) else {
            wrong.push(format!("{name}: is not in the database"));
            continue;
        };
        // A table without a key has one for diesel alone.
        if !real_key.is_empty() && key != real_key {
            wrong.push(format!("{name}: key {key:?}, in the database {real_key:?}"));
        }
        for column in columns.keys().chain(real_columns.keys()).collect::<BTreeSet<_>>() {
            if columns.get(column) != real_columns.get(column) {
                wrong.push(format!(
                    "{name}.{column}: {:?}, in the database {:?}",
                    columns.get(column),
                    real_columns.get(column)
                ));
            }
        }
    }
    wrong
        .extend(real.keys().filter(|n| !known.contains_key(*n)).map(|n| format!("{n}: is not in schema.rs")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn money_is_whole_cents() {
    let client = Database::create().await;
    let client = client.connect().await;
    let sql = "SELECT format('%s.%s %s', table_name, column_name, data_type) FROM information_schema.columns
               WHERE table_schema = 'public' AND column_name LIKE '%cents' AND data_type <> 'bigint'
                 -- A price of one unit may be a fraction of a cent.
                 AND NOT (column_name LIKE '%unit_price_cents' AND data_type = 'numeric' AND numeric_scale IS NOT NULL)";
    let wrong: Vec<String> =
        client.query(sql, &[]).await.expect("columns").iter().map(|r| r.get(0)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let sql = "SELECT format('%s.%s', table_name, column_name) FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> $1
               AND (data_type IN ('real', 'double precision', 'money') OR (data_type = 'numeric' AND numeric_scale IS NULL)
                 OR data_type = 'timestamp without time zone')";
    let wrong: Vec<String> =
        client.query(sql, &[&DIESELS]).await.expect("columns").iter().map(|r| r.get(0)).collect();
    assert!(wrong.is_empty(), "no floats, no numbers without a scale, no times without a zone: {wrong:?}");
}

/// Columns that hold one of a few words, by their names.
const ENUMS: [&str; 20] = [
    "status",
    "kind",
    "level",
    "severity",
    "aggregation",
    "pricing_model",
    "billing_period",
    "document_type",
    "source_type",
    "series",
    "suspension_reason",
    "vat_number_status",
    "health_status",
    "role",
    "tax_category",
    "requested_tax_category",
    "preferred_language",
    "preferred_einvoice_format",
    "currency",
    "country_code",
];

#[tokio::test]
async fn every_enum_has_a_check() {
    let database = Database::create().await;
    let client = database.connect().await;
    let sql = "
        SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = 'text'::regtype AND a.attname = ANY ($1)
          -- Why an operator suspended a service, in their own words.
          AND (c.relname, a.attname) <> ('services', 'suspension_reason')
          AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' AND a.attnum = ANY (k.conkey))";
    let names: Vec<&str> = ENUMS.to_vec();
    let rows = client.query(sql, &[&names]).await.expect("columns");
    let wrong: Vec<String> =
        rows.iter().map(|r| format!("{}.{}", r.get::<_, &str>(0), r.get::<_, &str>(1))).collect();
    assert!(wrong.is_empty(), "columns without a CHECK: {wrong:?}");
}

#[tokio::test]
async fn a_partition_is_made_once_and_closed() {
    let database = Database::create().await;
    let client = database.connect().await;
    let make = "SELECT sc_partition_ensure('idempotency_keys', '2026-03-10', 1)";
    assert!(client.query_one(make, &[]).await.expect("made").get::<_, bool>(0));
    assert!(!client.query_one(make, &[]).await.expect("there").get::<_, bool>(0));
    let other = client.query_one("SELECT sc_partition_ensure('invoices', '2026-03-10', 1)", &[]).await;
    assert!(other.is_err(), "only what is partitioned");
    let drop = "SELECT sc_partition_drop('idempotency_keys', $1::text::date, 1)";
    assert_eq!(client.query_one(drop, &[&"2026-03-10"]).await.expect("none").get::<_, i32>(0), 0);
    assert_eq!(client.query_one(drop, &[&"2026-03-11"]).await.expect("one").get::<_, i32>(0), 1);
}
