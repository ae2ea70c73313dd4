//! Sample data of a development server: two partners, three tenants, four services with their plans.
//!
//! Written once, into an empty database; what somebody changes later stays. The key of the sample service is the
//! exception: only its hash is stored, so a new one is made at each start.
use crate::db::{Conn, Db};
use crate::error::{Error, Result};
use crate::identity::service_key::{self, NewKey};
use crate::op::OpContext;
use chrono::{DateTime, SecondsFormat, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Binary, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use uuid::Uuid;

const ROWS: &str = include_str!("seed.sql");

/// The partner that runs the platform.
pub const OPERATOR: &str = "prt_operator";
/// The other partner.
pub const OTHER_PARTNER: &str = "prt_reseller";
/// Where the operator's own people are.
pub const HOME_TENANT: &str = "tnt_operator";
/// A tenant of the operator.
pub const TENANT: &str = "tnt_acme";
/// The tenant of the other partner.
pub const OTHER_TENANT: &str = "tnt_globex";
/// Tenants, each with its partner.
pub const TENANTS: [(&str, &str); 3] =
    [(HOME_TENANT, OPERATOR), (TENANT, OPERATOR), (OTHER_TENANT, OTHER_PARTNER)];
/// The services, in the order of their ids.
pub const SERVICES: [&str; 4] = ["scaikey", "scaivault", "scaisend", "scaiflow"];
/// The service whose key is in `dev.json`.
pub const SERVICE: &str = "scaivault";
const SERVICE_ID: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002);

/// The service account of a service.
pub fn client_id(service: &str) -> String {
    format!("svc-{service}")
}

/// Writes the sample data when there is no partner yet; `false` when there was.
pub async fn write(db: &Db, op: &OpContext) -> Result<bool> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    db.tx(op, "seed", async |conn: &mut Conn| {
        let partners: Count =
            diesel::sql_query("SELECT count(*) AS count FROM partners").get_result(conn).await?;
        if partners.count > 0 {
            return Ok(false);
        }
        conn.batch_execute(&rows_at(op.now)).await?;
        Ok(true)
    })
    .await
}

/// The rows with the time in them. It is put together by us and holds nothing that came from outside.
fn rows_at(now: DateTime<Utc>) -> String {
    ROWS.replace(":now", &format!("'{}'", now.to_rfc3339_opts(SecondsFormat::Micros, true)))
}

/// Gives the sample service a new key; older ones of an earlier start are gone.
pub async fn new_service_key(db: &Db, op: &OpContext) -> Result<NewKey> {
    let key = service_key::generate();
    db.tx(op, "seed_service_key", async |conn: &mut Conn| {
        diesel::sql_query("DELETE FROM service_keys WHERE service_id = $1")
            .bind::<SqlUuid, _>(SERVICE_ID)
            .execute(conn)
            .await?;
        let added = diesel::sql_query("INSERT INTO service_keys (key_id, service_id, secret_sha256, created_at) SELECT $1, service_id, $2, $3 FROM services WHERE service_id = $4")
            .bind::<Text, _>(&key.key_id)
            .bind::<Binary, _>(&key.sha256[..])
            .bind::<Timestamptz, _>(op.now)
            .bind::<SqlUuid, _>(SERVICE_ID)
            .execute(conn)
            .await?;
        if added == 1 { Ok(()) } else { Err(Error::NotFound("sample service")) }
    })
    .await?;
    Ok(key)
}
