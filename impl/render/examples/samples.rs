//! Makes the PDFs that a person should look at after a change of the default templates: every language and case.
//!
//! `cargo run --release -p scaicontrol-render --example samples -- FOLDER` writes `CASE.LANGUAGE.{html,css,pdf}`;
//! with `--bench` it prints how fast documents of 10 and 1,000 lines are made instead.

#[path = "../tests/cases/mod.rs"]
mod cases;

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use scaicontrol_templates::Language;

fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1).ok_or("a folder or --bench is needed")?;
    if argument == "--bench" { bench() } else { write_all(Path::new(&argument)) }
}

fn write_all(folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    for (name, document) in cases::all() {
        for language in Language::ALL {
            let job = cases::job(&document, *language);
            let stem = folder.join(format!("{name}.{language}"));
            std::fs::write(stem.with_added_extension("html"), &job.html)?;
            std::fs::write(stem.with_added_extension("css"), &job.css)?;
            std::fs::write(stem.with_added_extension("pdf"), scaicontrol_render::render(&job)?)?;
        }
    }
    Ok(())
}

fn bench() -> Result<(), Box<dyn Error>> {
    for (lines, times) in [(10, 40), (1_000, 3)] {
        let document = cases::lines(lines);
        let start = Instant::now();
        let mut bytes = 0;
        for _ in 0..times {
            bytes = scaicontrol_render::render(&cases::job(&document, Language::De))?.len();
        }
        let each = start.elapsed() / times;
        eprintln!(
            "{lines} lines: {each:?} a document on one core, {:.1}/s, {bytes} bytes",
            1.0 / each.as_secs_f64()
        );
    }
    Ok(())
}
