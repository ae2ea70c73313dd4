//! What ScaiControl does, between the generated types and the database: one module for each noun.
//!
//! Handlers, pages and the command line stand in the crate `scaicontrol-server`, so that an edit of one of them does not
//! compile this crate again.
pub mod admission;
pub mod app;
pub mod audit;
pub mod billing;
pub mod catalog;
pub mod charges;
pub mod checks;
pub mod clock;
pub mod config;
pub mod db;
pub mod dev;
pub mod directory;
pub mod documents;
pub mod dunning;
pub mod error;
pub mod events;
pub mod gateways;
pub mod health;
pub mod identity;
pub mod ledger;
pub mod mails;
pub mod metering;
pub mod migrations;
pub mod notifications;
pub mod observability;
pub mod op;
pub mod organization;
pub mod packs;
pub mod payments;
pub mod profiles;
pub mod seed;
pub mod settings;
pub mod subscriptions;
pub mod templates;
pub mod uploads;
pub mod vat_register;
pub mod workers;
