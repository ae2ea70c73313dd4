//! Everything that this server asks of others over HTTP. Nothing else in the crate makes such a call.
//!
//! Each gateway bounds what it waits for and what it reads, follows no redirects, and says in our own words what went
//! wrong; what a foreign server wrote reaches a caller only where its module says so.
pub mod http;
pub mod mail;
pub mod objects;
pub mod renderer;
pub mod scaikey;
pub mod vies;
