//! What the tests stand on: a whole server for each test, in the test's own process.
//!
//! [`TestApp::start`] clones a migrated database, starts the server on a free port with a clock that stands still, and an
//! issuer of tokens that it asks for keys over HTTP, as it would ask the real one. Success is tried through the generated
//! client ([`TestApp::client`]); refusals, and everything that no client would send, through [`TestApp::call`], which
//! holds every answer against the specification.
//!
//! ```ignore
//! #[tokio::test]
//! async fn a_tenant_reads_its_own_invoices() {
//!     let app = TestApp::start().await;
//!     let acme = given::tenant(&app, "tnt_acme", "prt_north").await;
//!     let page = app.client(&acme.admin).invoice_list().send().await.expect("a page").into_inner();
//!     assert!(page.data.is_empty());
//!     app.call("GET", "/api/v1/billing/invoices?page=0").token(&acme.admin).send().await.refused(400).names("page");
//! }
//! ```
#![allow(clippy::missing_panics_doc, reason = "a test that cannot go on panics")]
mod app;
pub mod contract;
pub mod database;
pub mod fake;
pub mod given;
pub mod issuer;
pub mod raw;
pub mod smtp;
pub mod spec;
pub mod wait;

pub use app::{OPERATOR, START, TestApp};
pub use raw::{Answer, Refusal};

/// A request body from JSON; the compiler knows which.
pub fn body<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> T {
    serde_json::from_value(json).expect("a body that the specification allows")
}

/// Where `cargo xtask test` has built the renderer of PDFs.
pub fn renderer() -> String {
    std::env::var("SCAICONTROL_RENDER__PROGRAM").expect("the tests are run by `cargo xtask test`")
}
