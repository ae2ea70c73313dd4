//! Events for subscribers: written to the outbox in the transaction of what they tell, delivered afterwards.
use crate::db::Conn;
use crate::db::schema::outbox_events;
use crate::error::{Error, Result};
use crate::op::OpContext;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;

/// What an event is about.
#[derive(Debug)]
pub struct Event<'a> {
    /// The topic, e.g. `subscription.activated`.
    pub topic: &'static str,
    /// Whose thing it is.
    pub tenant_id: Option<&'a str>,
    /// The partner it belongs to.
    pub partner_id: Option<&'a str>,
    /// Id of the thing.
    pub object_id: String,
    /// The thing's own counter, taken under its row lock: subscribers put events in order by it.
    pub sequence: i64,
    /// Tells two events of one topic and thing apart that one operation makes; usually empty.
    pub step: &'a str,
}

/// Writes an event. `data` must be of the topic's schema in the specification.
pub async fn emit(conn: &mut Conn, op: &OpContext, event: Event<'_>, data: &impl Serialize) -> Result<()> {
    use outbox_events as t;
    let id = op.id();
    let kind = event.topic.split('.').next().unwrap_or_default();
    diesel::insert_into(t::table)
        .values((
            t::id.eq(id),
            t::event_type.eq(event.topic),
            t::tenant_id.eq(event.tenant_id),
            t::partner_id.eq(event.partner_id),
            t::object_id.eq(&event.object_id),
            t::sequence.eq(event.sequence),
            t::occurred_at.eq(op.now),
            t::idempotency_key
                .eq(format!("{kind}:{}:{}:{}{}", event.object_id, event.topic, event.sequence, event.step)),
            t::data.eq(serde_json::to_value(data).map_err(Error::internal)?),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
