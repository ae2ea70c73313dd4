//! Owns the way from a page to a PDF: HTML and CSS in, PDF/A-3b out, with fonts of our own and nothing from outside.
//!
//! The crate is large (a style engine, a layout engine, a PDF writer), so the server does not link it: it starts the
//! program `scaicontrol-render` for each document, which also bounds time and memory and keeps what the libraries
//! print out of the way. The same job gives the same bytes on every machine: fonts are embedded in the program,
//! system fonts are not looked at, and the time of creation comes with the job.

mod families;
mod fonts;
mod printable;

use fulgur::asset::AssetBundle;
use fulgur::{Engine, PageSize};
use image::{ImageFormat, ImageReader, Limits};
use krilla::SerializeSettings;
use krilla::configure::{Configuration, Validator};
use scaicontrol_templates::job::{Job, MAX_IMAGE_BYTES, MAX_IMAGES, MAX_PDF_BYTES};

/// Most pixels on a side of an image.
const MAX_IMAGE_SIDE: u32 = 8_192;
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
    let mut html = families::complete(&printable::html(&job.html)).into_owned();
    let mut css = families::complete(&printable::css(&job.css)).into_owned();
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
    for (index, (name, bytes)) in job.images.iter().enumerate() {
        if index >= MAX_IMAGES || bytes.0.len() > MAX_IMAGE_BYTES {
            return Err(RenderError::Image(name.clone()));
        }
        assets.add_image(name.clone(), drawable(&bytes.0).unwrap_or_else(|| bytes.0.clone()));
    }
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

/// A WebP image as PNG, which the PDF writer knows; `None` for all others, and for one that cannot be read.
fn drawable(bytes: &[u8]) -> Option<Vec<u8>> {
    if !(bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP")) {
        return None;
    }
    let mut reader = ImageReader::with_format(std::io::Cursor::new(bytes), ImageFormat::WebP);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_IMAGE_SIDE);
    limits.max_image_height = Some(MAX_IMAGE_SIDE);
    reader.limits(limits);
    let mut png = std::io::Cursor::new(Vec::new());
    reader.decode().ok()?.write_to(&mut png, ImageFormat::Png).ok()?;
    Some(png.into_inner())
}

/// A message as one line of at most 500 characters.
pub fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(500).collect()
}
