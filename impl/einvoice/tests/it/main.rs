//! What is promised of e-invoices, over every case.

mod building;
mod hostile;
mod hybrids;
mod pdf;
mod properties;
mod reading;
mod refusals;
mod support;
