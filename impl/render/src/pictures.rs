//! Owns how the images of a job get onto the page: as inline SVG around the pixels.
//!
//! The engine draws an `img` smoothed, which PDF/A forbids, so that a logo would keep the document from being made;
//! it draws the same pixels inside an SVG as they are.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Cursor;

use image::{ImageFormat, ImageReader, Limits};
use scaicontrol_templates::images;
use scaicontrol_templates::job::Base64;

/// Most pixels on a side of an image.
const MAX_SIDE: u32 = 8_192;
/// Attributes that an image keeps.
const KEPT: &[&str] = &["class", "id", "style"];

/// Images that can be drawn, by name.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    known: BTreeMap<String, Picture>,
}

#[derive(Debug)]
struct Picture {
    width: u32,
    height: u32,
    /// The pixels as an address.
    data: String,
}

impl Pictures {
    /// Reads the images of a job; those that cannot be read are left out.
    pub(crate) fn read(images: &BTreeMap<String, Base64>) -> Self {
        let read = |(name, bytes): (&String, &Base64)| Some((name.clone(), picture(&bytes.0)?));
        Self { known: images.iter().filter_map(read).collect() }
    }

    /// The page with each `img` as a drawing; one that cannot be drawn is its `alt` text.
    pub(crate) fn place(&self, html: &str) -> String {
        let mut out = String::with_capacity(html.len());
        let mut done = 0;
        for tag in images::tags(html) {
            out.push_str(&html[done..tag.range.start]);
            done = tag.range.end;
            match self.known.get(&tag.src) {
                Some(picture) => picture.write(&tag, &mut out),
                None => out.push_str(tag.attribute("alt").unwrap_or_default()),
            }
        }
        out.push_str(&html[done..]);
        out
    }
}

impl Picture {
    fn write(&self, tag: &images::ImageTag<'_>, out: &mut String) {
        let Self { width, height, data } = self;
        out.push_str("<svg xmlns=\"http://www.w3.org/2000/svg\"");
        for name in KEPT {
            if let Some(value) = tag.attribute(name) {
                // Values come from quotes of either kind.
                let _ = write!(out, " {name}=\"{}\"", value.replace('"', "&quot;"));
            }
        }
        let (shown_width, shown_height) = self.shown_size(tag);
        let _ = write!(
            out,
            " width=\"{shown_width}\" height=\"{shown_height}\" viewBox=\"0 0 {width} {height}\" \
             preserveAspectRatio=\"none\"><image width=\"{width}\" height=\"{height}\" href=\"{data}\"/></svg>"
        );
    }

    /// The size in CSS pixels that the tag asks for; one side alone keeps the proportion.
    fn shown_size(&self, tag: &images::ImageTag<'_>) -> (u32, u32) {
        let side = |name| tag.attribute(name).and_then(|value| value.trim().parse::<u32>().ok());
        let scaled = |given: u32, from: u32, to: u32| {
            u32::try_from(u64::from(given) * u64::from(to) / u64::from(from.max(1))).unwrap_or(u32::MAX)
        };
        match (side("width"), side("height")) {
            (Some(width), Some(height)) => (width, height),
            (Some(width), None) => (width, scaled(width, self.width, self.height)),
            (None, Some(height)) => (scaled(height, self.height, self.width), height),
            (None, None) => (self.width, self.height),
        }
    }
}

/// An image as it can be drawn: PNG, GIF and JPEG of colour or grey as they are, all others as PNG.
fn picture(bytes: &[u8]) -> Option<Picture> {
    let format = image::guess_format(bytes).ok()?;
    let (width, height) = reader(bytes, format).into_dimensions().ok()?;
    if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
        return None;
    }
    let data = match format {
        ImageFormat::Png => address("png", bytes),
        ImageFormat::Gif => address("gif", bytes),
        ImageFormat::Jpeg if !is_cmyk(bytes) => address("jpeg", bytes),
        ImageFormat::Jpeg | ImageFormat::WebP => {
            let mut png = Cursor::new(Vec::new());
            reader(bytes, format).decode().ok()?.into_rgba8().write_to(&mut png, ImageFormat::Png).ok()?;
            address("png", png.get_ref())
        }
        _ => return None,
    };
    Some(Picture { width, height, data })
}

fn reader(bytes: &[u8], format: ImageFormat) -> ImageReader<Cursor<&[u8]>> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    reader.limits(limits);
    reader
}

fn address(kind: &str, bytes: &[u8]) -> String {
    use base64::Engine;
    format!("data:image/{kind};base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// Whether a JPEG has four components: colours of print need a profile that PDF/A wants and we have not.
fn is_cmyk(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xff, marker, high, low, after @ ..] = rest {
        let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if is_frame {
            return after.get(5) == Some(&4);
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        rest = after.get(length.saturating_sub(2)..).unwrap_or_default();
    }
    false
}

/// A style sheet whose rules for `img` also hold for what it becomes.
pub(crate) fn selectors(css: &str) -> String {
    let mut out = String::with_capacity(css.len());
    let mut done = 0;
    for (at, word) in css.match_indices("img") {
        let before = css[..at].chars().next_back();
        let after = css[at + word.len()..].chars().next();
        let starts = before.is_none_or(|char| char.is_whitespace() || ",>+~(}/{".contains(char));
        let ends = after.is_some_and(|char| char.is_whitespace() || ",>+~).#:[{".contains(char));
        if starts && ends {
            out.push_str(&css[done..at]);
            out.push_str(":is(img, svg)");
            done = at + word.len();
        }
    }
    out.push_str(&css[done..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = include_bytes!("../tests/cases/logo.png");

    #[test]
    fn an_image_becomes_a_drawing() {
        let pictures = Pictures::read(&[("a.png".to_owned(), Base64(PNG.to_vec()))].into());
        let html = pictures.place(
            "<p><img class='x' alt=\"A\" src=\"a.png\" height=30>b<img src=gone.png alt='C &amp; D'></p>",
        );
        let start = "<p><svg xmlns=\"http://www.w3.org/2000/svg\" class=\"x\" width=\"120\" height=\"30\" viewBox=\"0 0 240 60\" \
                     preserveAspectRatio=\"none\"><image width=\"240\" height=\"60\" href=\"data:image/png;base64,iVBOR";
        assert!(html.starts_with(start), "{html}");
        assert!(html.ends_with("\"/></svg>bC &amp; D</p>"), "{html}");
    }

    #[test]
    fn what_is_no_image_is_left_out() {
        for bytes in [
            b"".as_slice(),
            b"GIF89a",
            b"\x89PNG\r\n\x1a\n",
            b"RIFF\x00\x00\x00\x00WEBP",
            b"<svg/>",
            &PNG[..20],
        ] {
            assert!(picture(bytes).is_none());
        }
    }

    #[test]
    fn colours_of_print_are_known() {
        let frame = |components: u8| {
            [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc0, 0, 11, 8, 0, 1, 0, 1, components]
        };
        assert!(is_cmyk(&frame(4)));
        assert!(!is_cmyk(&frame(3)));
        assert!(!is_cmyk(b"\xff\xd8\xff"));
    }

    #[test]
    fn rules_for_images_hold() {
        assert_eq!(
            selectors("img{a:b} p > img.x, img:first-child { c: d } .img { e: f } imgx {}"),
            ":is(img, svg){a:b} p > :is(img, svg).x, :is(img, svg):first-child { c: d } .img { e: f } imgx {}"
        );
    }
}
