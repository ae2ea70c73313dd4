//! The handlers: one file for each group of the specification, about ten lines for each operation.
//!
//! A handler turns the request into a call of an action and its answer into the envelope. It holds no SQL and no rule.
//! Who may call was decided before it runs; [`Enter::enter`] gives it the context that says what the caller sees.
mod admin;
mod admin_billing;
mod admin_packs;
mod admin_partners;
mod admin_platform;
mod admin_subscriptions;
mod admin_tenants;
mod auth;
mod billing;
mod catalog;
mod metering;
mod notifications;
mod organization;
mod service_billing;
mod service_packs;
mod subscriptions;
mod untagged;
mod uploads;

use crate::app::Control;
use crate::op::{Actor, Idempotency, OpContext, Scope};
use scaicontrol_api::{App, Auth, CallerLevel, Cx, Level, Operation, Permission, Principal};
use uuid::Uuid;

/// The type that every group's trait is implemented for.
#[derive(Debug)]
pub enum Handlers {}

/// The way from a request into the actions.
pub trait Enter {
    /// The context of the operation, and the server's state.
    fn enter<P: Permission>(&self, auth: &Auth<P>) -> (OpContext, &Control);
    /// The server's state, for operations that anybody may call.
    fn control(&self) -> &Control;
}

impl Enter for Cx {
    fn enter<P: Permission>(&self, auth: &Auth<P>) -> (OpContext, &Control) {
        let control = self.control();
        let actor = actor(&auth.principal);
        let scope = scope(auth.operation, &auth.principal);
        let mut op =
            OpContext::new(actor, scope, &control.clock, &control.ids, &self.request_id, auth.operation.id);
        op.idempotency =
            auth.idempotency.as_ref().map(|i| Idempotency { key: i.key.clone(), fingerprint: i.fingerprint });
        (op, control)
    }

    fn control(&self) -> &Control {
        control(self.context())
    }
}

/// The server's state inside the generated API's context.
pub fn control(app: &App) -> &Control {
    app.state.downcast_ref::<Control>().expect("the server put its state there when it started")
}

fn actor(principal: &Principal) -> Actor {
    Actor {
        id: principal.subject.clone(),
        level: principal.level.as_str(),
        tenant_id: principal.tenant_id.clone(),
        partner_id: principal.partner_id.clone(),
        service_id: principal.service_id,
    }
}

/// What a caller sees in an operation of this level. An operation on "my own tenant" sees that tenant alone, whoever
/// calls; one for partners shows the platform everything and a partner its own.
fn scope(operation: &Operation, principal: &Principal) -> Scope {
    let tenant = || Scope::Tenant(principal.tenant_id.clone().unwrap_or_default());
    // A service account that has registered nothing yet sees no service's rows, and the catalogue.
    let service = || Scope::Service(principal.service_id.unwrap_or(Uuid::nil()));
    match (operation.level, principal.level) {
        (_, CallerLevel::Public) => Scope::Public,
        (Level::Service, _) | (Level::TenantOrService, CallerLevel::Service) => service(),
        (Level::Platform, _) | (Level::Partner, CallerLevel::Platform) => Scope::Platform,
        (Level::Partner, _) => Scope::Partner(principal.partner_id.clone().unwrap_or_default()),
        (Level::Tenant | Level::TenantOrService | Level::Public, _) => tenant(),
    }
}

/// What every file of handlers uses.
mod prelude {
    pub(super) use super::{Enter, Handlers};
    pub(super) use crate::db::page::PageRequest;
    pub(super) use scaicontrol_api::{
        ApiError, App, Auth, Cx, Download, Json, PathParams, QueryParams, R200, R201, R202,
    };
    pub(super) use scaicontrol_types::*;
}
