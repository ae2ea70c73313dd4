//! Owns the way from a page to a PDF: HTML and CSS in, PDF/A-3b out, with fonts of our own and nothing from outside.
//!
//! The crate is large (a style engine, a layout engine, a PDF writer), so the server does not link it: it starts the
//! program `scaicontrol-render` for each document, which also bounds time and memory and keeps what the libraries
//! print out of the way. The same job gives the same bytes on every machine: fonts are embedded in the program,
//! system fonts are not looked at, and the time of creation comes with the job.

mod families;
mod fonts;
mod pictures;
mod printable;

use fulgur::asset::AssetBundle;
use fulgur::{Engine, PageSize};
use krilla::SerializeSettings;
use krilla::configure::{Configuration, Validator};
use pictures::Pictures;
use scaicontrol_templates::job::{Job, MAX_IMAGE_BYTES, MAX_IMAGES, MAX_PDF_BYTES};

/// How often a document is tried: each time without the characters that no font could draw.
const MAX_ATTEMPTS: usize = 3;

/// Why a page cannot be made into a PDF.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// An image is too large, or there are too many.
    #[error("image {0:?} is too large or one too many")]
    Image(String),
    /// The PDF is larger than the protocol allows.
    #[error("the PDF is too large")]
    TooLarge,
    /// What the engine says.
    #[error("{0}")]
    Engine(String),
}

/// Makes the PDF of a job.
///
/// Characters that no font of ours can draw are printed as a replacement sign.
///
/// # Errors
/// [`RenderError`]; the job is at fault, and the same job fails again.
pub fn render(job: &Job) -> Result<Vec<u8>, RenderError> {
    check_images(job)?;
    let page = Pictures::read(&job.images).place(&printable::html(&job.html));
    let mut html = families::html(&page);
    let mut css = families::css(&pictures::selectors(&printable::css(&job.css))).into_owned();
    let mut attempt = 1;
    loop {
        match engine(job, css.clone())?.render(&html) {
            Ok(pdf) if pdf.len() > MAX_PDF_BYTES => return Err(RenderError::TooLarge),
            Ok(pdf) => return Ok(pdf),
            Err(error) => {
                let message = error.to_string();
                // Fonts are chosen by cluster: a mark may have a glyph, and none in the face of its letter.
                let missing = printable::without_glyph(&message);
                if missing.is_empty() || attempt == MAX_ATTEMPTS {
                    return Err(RenderError::Engine(one_line(&message)));
                }
                html = printable::replace(&html, &missing);
                css = printable::replace(&css, &missing);
                attempt += 1;
            }
        }
    }
}

fn engine(job: &Job, css: String) -> Result<Engine, RenderError> {
    let mut assets = AssetBundle::new();
    for font in fonts::ALL.iter() {
        assets.add_font_bytes(font.to_vec()).map_err(|error| RenderError::Engine(error.to_string()))?;
    }
    assets.add_css(families::BASE_CSS);
    assets.add_css(css);
    let settings = SerializeSettings {
        configuration: Configuration::new_with_validator(Validator::A3_B),
        ..SerializeSettings::default()
    };
    Ok(Engine::builder()
        .page_size(PageSize::A4)
        .assets(assets)
        .system_fonts(false)
        .title(job.title.clone())
        .author(job.author.clone())
        .lang(job.language.clone())
        .creator("ScaiControl")
        .producer("ScaiControl")
        .creation_date(job.created.clone())
        .serialize_settings(settings)
        .build())
}

fn check_images(job: &Job) -> Result<(), RenderError> {
    for (index, (name, bytes)) in job.images.iter().enumerate() {
        if index >= MAX_IMAGES || bytes.0.len() > MAX_IMAGE_BYTES {
            return Err(RenderError::Image(name.clone()));
        }
    }
    Ok(())
}

/// A message as one line of at most 500 characters.
pub fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(500).collect()
}
