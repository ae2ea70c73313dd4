//! Owns `einvoice validate FILE [--json]`: what is printed, and the exit code.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::read::{Limits, Report, Unreadable, validate};

/// No fatal rule is broken.
const VALID: u8 = 0;
/// At least one is.
const VIOLATIONS: u8 = 1;
/// The file is no invoice that can be judged.
const UNREADABLE: u8 = 2;

/// Validates a file: answers what to print, and the exit code (0 valid, 1 broken rules, 2 not readable).
///
/// As text: one line for each broken rule (id, severity, place, what it says) and a last one with the verdict. As JSON:
/// the [`Report`], or `{"error": …}`.
pub fn run_cli(path: &Path, json: bool) -> (String, u8) {
    let limits = Limits::default();
    match read(path, &limits).and_then(|bytes| validate(&bytes, &limits)) {
        Ok(report) => {
            let text = if json { to_json(&report) } else { lines(&report) };
            (text, if report.valid { VALID } else { VIOLATIONS })
        }
        Err(error) if json => (to_json(&serde_json::json!({"error": error.to_string()})), UNREADABLE),
        Err(error) => (format!("{}: not readable: {error}\n", path.display()), UNREADABLE),
    }
}

/// The file, and never more of it than the limit allows, whatever it is.
fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, Unreadable> {
    let failed = |error: std::io::Error| Unreadable::File(error.to_string());
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let more = u64::try_from(limits.max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    file.take(more).read_to_end(&mut bytes).map_err(failed)?;
    limits.check_size(bytes.len())?;
    Ok(bytes)
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).map(|text| text + "\n").unwrap_or_default()
}

fn lines(report: &Report) -> String {
    let mut text: String = report.violations.iter().map(|violation| format!("{violation}\n")).collect();
    if 0 < report.omitted {
        text.push_str(&format!("and {} more\n", report.omitted));
    }
    let verdict = if report.valid { "valid" } else { "not valid" };
    text.push_str(&format!("{verdict}: {}\n", report.rules));
    text
}
