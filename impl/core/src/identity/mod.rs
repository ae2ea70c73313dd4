//! Who calls, and what they may do.
//!
//! A request brings a token of ScaiKey or the key of a service. [`jwt`] and [`jwks`] prove the token, [`service_key`]
//! the key; [`store`] adds what the database knows (local roles, groups, whether everybody concerned is still active);
//! [`roles`] turns all of it into a level and a set of permissions, and decides; [`refusals`] keeps what was refused. [`authenticator`] runs these steps for
//! the generated API, which asks it before every operation.
//!
//! Two rules keep this honest. The *level* (tenant, partner, platform, service) never comes from a permission, so a
//! permission that slips into a token reaches nothing that its holder's role does not. And a token *creates* what it
//! names when that is unknown, but never *moves* a tenant or a user: moves come from ScaiKey's own events.
pub mod authenticator;
pub mod dev_issuer;
pub mod fresh;
pub mod jwks;
pub mod jwt;
mod proven;
pub mod refusals;
pub mod roles;
pub mod service_key;
pub mod sign_in;
pub mod store;
