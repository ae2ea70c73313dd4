//! Owns how large a template and its output may be, and how long it may run.

/// Most bytes of the content.
pub const MAX_HTML_BYTES: usize = 1_000_000;
/// Most bytes of the style sheet.
pub const MAX_CSS_BYTES: usize = 500_000;
/// Most bytes of the source of a subject.
pub const MAX_SUBJECT_BYTES: usize = 1_200;
/// Most characters of a rendered subject; longer ones are cut.
pub const MAX_SUBJECT_CHARS: usize = 300;
/// Most bytes that a template may write. A document of 1,000 lines writes about half a megabyte.
pub const MAX_OUTPUT_BYTES: usize = 8 << 20;
/// Work that one rendering may do: about one unit an instruction and one for each 64 bytes that are made. It bounds
/// time to well below a second and memory to 64 MB; 1,000 lines need about a tenth of it.
pub const FUEL: u64 = 1_000_000;
/// How deep blocks and macros may nest while running.
pub const MAX_RECURSION: usize = 100;
/// Most problems that a check reports.
pub const MAX_PROBLEMS: usize = 50;
