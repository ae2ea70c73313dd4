//! The integration tests, one module for each subject.
mod admin_billing;
mod auth_matrix;
mod billing;
mod billing_run;
mod contract;
mod coverage;
mod harness;
mod idempotency;
mod jwt;
mod metering;
mod operations;
mod routes;
mod schema;
mod support;
mod tenancy;
