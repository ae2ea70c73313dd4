//! Writes every case in every profile into a folder, for the outside judges: `<profile>__<case>.xml`, and a hybrid beside
//! each CII of Factur-X. Its pages are those of a PDF in the second folder, one after the other, or an empty one where no
//! folder is given.

use std::error::Error;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use scaicontrol_einvoice::{Profile, build, cases, embed};

#[path = "../tests/it/pdf.rs"]
mod pdf;

fn main() -> Result<(), Box<dyn Error>> {
    let mut folders = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = folders.next().ok_or("usage: write_cases FOLDER [FOLDER OF PDFS]")?;
    let pages = folders.next().map_or_else(|| Ok(vec![pdf::pdf_a3()]), |folder| rendered(&folder))?;
    let mut pages = pages.iter().cycle();
    let modified = DateTime::from_timestamp(1_772_323_200, 0).unwrap_or_default();
    let mut failed = false;
    for case in cases::all() {
        for profile in case.profiles() {
            let file = folder.join(format!("{profile}__{}.xml", case.name));
            match build(&case.document, profile) {
                Ok(built) => {
                    if profile == Profile::Facturx {
                        let pdf = pages.next().ok_or("there are no PDFs")?;
                        std::fs::write(file.with_extension("pdf"), embed(pdf, &built.bytes, modified)?)?;
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

/// The PDFs of a folder, by their names.
fn rendered(folder: &Path) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let files = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let mut files: Vec<PathBuf> =
        files.into_iter().filter(|file| file.extension().is_some_and(|e| e == "pdf")).collect();
    files.sort();
    files.iter().map(|file| Ok(std::fs::read(file)?)).collect()
}
