//! Writes every case in every profile into a folder, for the outside judges: `<profile>__<case>.xml`, and a small
//! hybrid beside each CII of Factur-X.

use std::error::Error;
use std::path::PathBuf;

use chrono::DateTime;
use scaicontrol_einvoice::{Profile, build, cases, embed};

#[path = "../tests/it/pdf.rs"]
mod pdf;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: write_cases FOLDER")?;
    let (pdf, modified) = (pdf::pdf_a3(), DateTime::from_timestamp(1_772_323_200, 0).unwrap_or_default());
    let mut failed = false;
    for case in cases::all() {
        for profile in case.profiles() {
            let file = folder.join(format!("{profile}__{}.xml", case.name));
            match build(&case.document, profile) {
                Ok(built) => {
                    if profile == Profile::Facturx {
                        std::fs::write(file.with_extension("pdf"), embed(&pdf, &built.bytes, modified)?)?;
                    }
                    std::fs::write(&file, built.bytes)?;
                }
                Err(violations) => {
                    failed = true;
                    violations.iter().for_each(|violation| eprintln!("{profile} {}: {violation}", case.name));
                }
            }
        }
    }
    if failed { Err("not every case can be written".into()) } else { Ok(()) }
}
