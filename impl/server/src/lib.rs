//! The ScaiControl server: the handlers of the generated API, the pages, the listener and the command line.
//!
//! What the handlers call is in the crate `scaicontrol-core`; its modules are named here as if they stood here.
pub mod api;
pub mod cli;
pub mod dev;
pub mod pages;
pub mod server;

pub use scaicontrol_core::{
    app, audit, billing, catalog, charges, checks, clock, config, db, directory, documents, dunning, error,
    events, gateways, health, identity, ledger, mails, metering, migrations, notifications, observability,
    op, organization, packs, payments, profiles, seed, settings, subscriptions, templates, uploads,
    vat_register, workers,
};
