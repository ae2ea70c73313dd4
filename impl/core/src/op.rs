//! The context of one operation: who acts, what they may see, and when it is.
//!
//! An [`OpContext`] is the first argument of every action and of every store function. `now` is fixed when the
//! operation begins, so that all rows of one operation carry one time.
use crate::clock::Clock;
use chrono::{DateTime, Utc};
use scaicontrol_types::ResponseMeta;
use std::sync::{Arc, Mutex};
use uuid::{ContextV7, Timestamp, Uuid};

/// Whose rows a transaction sees: the database role it takes, and the variable that the role's policies compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The rows of one tenant.
    Tenant(String),
    /// The rows of one partner and its tenants.
    Partner(String),
    /// The rows of one service.
    Service(Uuid),
    /// What is on public show.
    Public,
    /// Everything.
    Platform,
}

/// Who acts.
#[derive(Clone, Debug)]
pub struct Actor {
    /// A user id, a client id, `system:<worker>` or `cli:<command>`.
    pub id: String,
    /// `public`, `tenant`, `partner`, `platform`, `service` or `system`.
    pub level: &'static str,
    /// The caller's own tenant.
    pub tenant_id: Option<String>,
    /// The caller's own partner.
    pub partner_id: Option<String>,
    /// The service that a service account acts for.
    pub service_id: Option<Uuid>,
}

/// An `Idempotency-Key` and what it was sent with.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// The caller's key.
    pub key: String,
    /// SHA-256 of method, path and body.
    pub fingerprint: [u8; 32],
}

/// See the module.
#[derive(Clone, Debug)]
pub struct OpContext {
    /// Who acts.
    pub actor: Actor,
    /// What they see.
    pub scope: Scope,
    /// When it is, for every rule of this operation.
    pub now: DateTime<Utc>,
    /// Id of the request, or of the run.
    pub request_id: String,
    /// operationId, `worker:<name>` or `cli:<command>`.
    pub operation: &'static str,
    /// Set when the caller sent an `Idempotency-Key`.
    pub idempotency: Option<Idempotency>,
    ids: Ids,
}

impl OpContext {
    /// The context of a request.
    pub fn new(
        actor: Actor,
        scope: Scope,
        clock: &Clock,
        ids: &Ids,
        request_id: &str,
        operation: &'static str,
    ) -> Self {
        let (now, request_id) = (clock.now(), request_id.to_string());
        OpContext { actor, scope, now, request_id, operation, idempotency: None, ids: ids.clone() }
    }

    /// The context of what the system does by itself: a worker, or the command line. It sees everything.
    pub fn system(clock: &Clock, ids: &Ids, operation: &'static str) -> Self {
        let actor = Actor {
            id: format!("system:{operation}"),
            level: "system",
            tenant_id: None,
            partner_id: None,
            service_id: None,
        };
        let now = clock.now();
        let request_id = format!("req_{}", ids.next(now).simple());
        OpContext {
            actor,
            scope: Scope::Platform,
            now,
            request_id,
            operation,
            idempotency: None,
            ids: ids.clone(),
        }
    }

    /// The same operation with another sight, for work that needs less or more than the caller sees.
    pub fn with_scope(&self, scope: Scope) -> Self {
        OpContext { scope, ..self.clone() }
    }

    /// A new id (UUIDv7 of `now`): later ids sort after earlier ones.
    pub fn id(&self) -> Uuid {
        self.ids.next(self.now)
    }

    /// The caller's own tenant; every operation of the tenant level has one.
    pub fn tenant_id(&self) -> &str {
        self.actor.tenant_id.as_deref().unwrap_or_default()
    }
}

/// Makes ids that sort by the time of the injected clock, and within one instant by their order.
#[derive(Clone, Debug)]
pub struct Ids(Arc<Mutex<ContextV7>>);

impl Default for Ids {
    fn default() -> Self {
        Ids(Arc::new(Mutex::new(ContextV7::new())))
    }
}

impl Ids {
    /// A new id for the instant `now`.
    pub fn next(&self, now: DateTime<Utc>) -> Uuid {
        let context = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        Uuid::new_v7(Timestamp::from_unix(&*context, seconds, now.timestamp_subsec_nanos()))
    }
}

impl OpContext {
    /// The `meta` of an answer.
    pub fn meta(&self) -> ResponseMeta {
        ResponseMeta { request_id: self.request_id.clone() }
    }
}
