//! A small PDF/A-3b.

use krilla::configure::{Configuration, Validator};
use krilla::metadata::{DateTime, Metadata};
use krilla::page::PageSettings;

/// An empty page as PDF/A-3b.
pub fn pdf_a3() -> Vec<u8> {
    let settings = krilla::SerializeSettings {
        configuration: Configuration::new_with_validator(Validator::A3_B),
        ..krilla::SerializeSettings::default()
    };
    let mut document = krilla::Document::new_with(settings);
    let created = DateTime::new(2026).month(3).day(1);
    document
        .set_metadata(Metadata::new().title("Invoice".into()).language("en".into()).creation_date(created));
    document.start_page_with(PageSettings::from_wh(595.0, 842.0).expect("a page")).finish();
    document.finish().expect("a PDF/A-3b")
}
