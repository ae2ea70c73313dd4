//! Owns how a fault of a template is told: the part, line and column, and what is wrong.

use std::fmt;

use crate::comment_tags::Unclosed;
use crate::limits;

/// The part of a template that a problem is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The subject of a mail.
    Subject,
    /// The content.
    Html,
    /// The style sheet.
    Css,
}

impl Part {
    /// The name of its field in requests.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Html => "html_content",
            Self::Css => "css_content",
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject.txt",
            Self::Html => "template.html",
            Self::Css => "style.css",
        }
    }

    pub(crate) const fn max_bytes(self) -> usize {
        match self {
            Self::Subject => limits::MAX_SUBJECT_BYTES,
            Self::Html => limits::MAX_HTML_BYTES,
            Self::Css => limits::MAX_CSS_BYTES,
        }
    }
}

/// Something that is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: in which part.
    pub part: Part,
    /// In which line, from 1.
    pub line: u32,
    /// At which character of the line, from 1.
    pub column: u32,
    /// What, in English.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}, column {}: {}", self.part.field(), self.line, self.column, self.message)
    }
}

impl Problem {
    pub(crate) const fn at(part: Part, line: u32, column: u32, message: String) -> Self {
        Self { part, line, column, message }
    }

    /// A problem at a byte of the source.
    pub(crate) fn at_offset(part: Part, source: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before[start..].chars().count() + 1;
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Self::at(part, number(line), number(column), message.into())
    }

    pub(crate) fn too_large(part: Part) -> Self {
        Self::at(part, 1, 1, format!("longer than {} bytes", part.max_bytes()))
    }

    pub(crate) fn unclosed_comment(part: Part, source: &str, Unclosed(offset): Unclosed) -> Self {
        Self::at_offset(part, source, offset, "a tag written as a comment has no end: -->")
    }

    /// What the engine says about a source.
    pub(crate) fn of_error(part: Part, source: &str, error: &minijinja::Error) -> Self {
        let mut message = error.kind().to_string();
        if let Some(detail) = error.detail() {
            message = format!("{message}: {detail}");
        }
        if let Some(range) = error.range() {
            return Self::at_offset(part, source, range.start, message);
        }
        let line = error.line().and_then(|line| u32::try_from(line).ok()).unwrap_or(1);
        Self::at(part, line, 1, message)
    }
}
