//! The audit log: who did what to which thing, before and after, in the transaction of the deed.
use crate::db::Conn;
use crate::db::statement::statement;
use crate::error::{Error, Result};
use crate::op::OpContext;
use diesel::sql_types::{Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;

/// One deed.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Noun of the thing: `plan`, `subscription`, `invoice`, …
    pub object_type: &'static str,
    /// Its id.
    pub object_id: String,
    /// Whose it is; none for what belongs to the platform.
    pub tenant_id: Option<&'a str>,
    /// The partner it belongs to.
    pub partner_id: Option<&'a str>,
    /// Why, where the caller said so.
    pub reason: Option<&'a str>,
}

/// Names that hold a secret wherever they stand (`x-secret` in the specification): their values are never written.
const SECRET: &[&str] = &[
    "secret",
    "service_key",
    "callback_token",
    "credentials",
    "client_secret",
    "refresh_token",
    "access_token",
];

/// Writes the deed of `op`, with what the thing looked like before and after.
pub async fn record(
    mut conn: &Conn,
    op: &OpContext,
    entry: Entry<'_>,
    before: Option<&impl Serialize>,
    after: Option<&impl Serialize>,
) -> Result<()> {
    let before = before.map(masked).transpose()?;
    let after = after.map(masked).transpose()?;
    statement::<()>("SELECT sc_audit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)")
        .bind::<SqlUuid, _>(op.id())
        .bind::<Timestamptz, _>(op.now)
        .bind::<Text, _>(&op.actor.id)
        .bind::<Text, _>(op.actor.level)
        .bind::<Nullable<Text>, _>(entry.tenant_id)
        .bind::<Nullable<Text>, _>(entry.partner_id)
        .bind::<Nullable<SqlUuid>, _>(op.actor.service_id)
        .bind::<Text, _>(op.operation)
        .bind::<Text, _>(entry.object_type)
        .bind::<Text, _>(entry.object_id)
        .bind::<Nullable<Jsonb>, _>(before)
        .bind::<Nullable<Jsonb>, _>(after)
        .bind::<Nullable<Text>, _>(entry.reason)
        .bind::<Text, _>(&op.request_id)
        .execute(&mut conn)
        .await?;
    Ok(())
}

fn masked(thing: &impl Serialize) -> Result<Value> {
    let mut value = serde_json::to_value(thing).map_err(Error::internal)?;
    mask(&mut value);
    Ok(value)
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if SECRET.contains(&name.as_str()) && !value.is_null() {
                    *value = "***".into();
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::masked;
    use serde_json::json;

    #[test]
    fn secrets_are_masked_at_any_depth() {
        let row = json!({"name": "x", "secret": "s", "list": [{"service_key": "k", "callback_token": null}]});
        assert_eq!(
            masked(&row).expect("a value"),
            json!({"name": "x", "secret": "***", "list": [{"service_key": "***", "callback_token": null}]})
        );
    }
}
