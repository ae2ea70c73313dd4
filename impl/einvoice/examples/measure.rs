//! How long a document takes from our terms to checked XML, and how long the largest file that is read takes.

use std::time::Instant;

use scaicontrol_einvoice::{Document, Limits, Profile, build, cases, validate};

fn main() {
    for lines in [1, 10, 100, 1_000] {
        let document = with_lines(lines);
        for profile in Profile::ALL {
            let rounds = 20_000 / lines.max(10);
            let begin = Instant::now();
            let bytes: usize =
                (0..rounds).filter_map(|_| build(&document, profile).ok()).map(|b| b.bytes.len()).sum();
            let each = begin.elapsed() / u32::try_from(rounds).unwrap_or(u32::MAX);
            eprintln!("{lines:>5} lines, {profile:<14} {each:>10.1?} {:>8} bytes", bytes / rounds);
        }
    }
    if let Some(file) = std::env::args().nth(1) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let begin = Instant::now();
        let answer = validate(&bytes, &Limits::default()).map(|report| report.valid);
        eprintln!("{file}: {answer:?} in {:?}", begin.elapsed());
    }
}

/// A domestic invoice of so many lines.
fn with_lines(count: usize) -> Document {
    let given = (1..=count).map(|n| cases::line(&format!("Service of item {n}, March 2026"), 3, 1_995));
    let usual = cases::all().into_iter().find(|case| case.name == "domestic_business");
    let Some(usual) = usual.map(|case| case.document) else { std::process::exit(1) };
    cases::Given::new(usual.seller, usual.buyer, given.collect()).invoice()
}
