//! Owns templates: the language they are written in, what they may name, how a value is written in each language,
//! and the templates that every installation starts with.
//!
//! A template is HTML with Jinja tags. [`check()`] says what is wrong with one before it is stored, with line and
//! column; [`render()`] makes a page of it, or a mail. What it can name is built from the facts of a document
//! ([`document::Document`]) in a language, and listed by [`variables()`]. Making a PDF of a page is the work of
//! another program, which takes a [`job::Job`].
//!
//! Nothing here reads a file, a clock or a network.

mod check;
mod comment_tags;
pub mod context;
pub mod defaults;
mod describe;
pub mod document;
mod engine;
pub mod epc;
pub mod images;
pub mod job;
mod kind;
pub mod limits;
mod locale;
pub mod mail;
mod nesting;
mod plain_text;
mod problem;
mod resources;
pub mod samples;
mod sanitize;

pub use check::check;
pub use describe::{Field, Shape, Variable, variables};
pub use engine::{Context, RenderError, Rendered, Template, render};
pub use kind::{Kind, UnknownKind};
pub use locale::{Labels, Language, Locale};
pub use problem::{Part, Problem};
