//! From a stranger's file to a picture of ours: what it is, whether it is whole and harmless, and its pixels written anew.
//!
//! The file is looked at before it is decoded: its kind by its first bytes, its end by its own structure ([`super::end`]),
//! its dimensions by its header. So a file that says it is huge costs nothing, and one that is two things at once is
//! refused for what follows its end. Decoders run within limits of memory, and what they give is encoded again without
//! anything but pixels.
use super::end;
use image::codecs::gif::{GifDecoder, GifEncoder};
use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::codecs::png::{CompressionType, FilterType, PngDecoder, PngEncoder};
use image::codecs::webp::{WebPDecoder, WebPEncoder};
use image::{AnimationDecoder, DynamicImage, ExtendedColorType, ImageDecoder, ImageError, Limits};
use std::io::Cursor;

/// Largest width and height.
pub const SIDE_MAX: u32 = 4096;
/// Most pixels.
pub const PIXELS_MAX: u64 = 10_000_000;
/// Largest picture that is stored.
pub const STORED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most memory of a decoder: ten million pixels of four channels in 16 bits, and as much again to work in.
const DECODER_BYTES_MAX: u64 = 160 * 1024 * 1024;
const JPEG_QUALITY: u8 = 90;
/// From 1 (slow, best colours) to 30.
const GIF_SPEED: i32 = 10;

/// Why a file is refused, in words that follow the name of the field.
type Refused = &'static str;

const NO_PICTURE: Refused = "is not a PNG, JPEG, WebP or GIF picture";
const DAMAGED: Refused = "cannot be read as a picture: it is damaged or cut off";
const MOVES: Refused = "is an animation; only still pictures are taken";
const TOO_MANY_PIXELS: Refused =
    "has too many pixels: at most 4096 in width and height, and 10,000,000 in all";

/// What a picture is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Format {
    Png,
    Jpeg,
    Webp,
    Gif,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 4] = [Format::Png, Format::Jpeg, Format::Webp, Format::Gif];

    /// By the first bytes of a file.
    pub fn of(bytes: &[u8]) -> Option<Format> {
        match bytes {
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some(Format::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Format::Jpeg),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Format::Webp),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
            _ => None,
        }
    }

    /// The ending of a file's name.
    pub const fn extension(self) -> &'static str {
        match self {
            Format::Png => "png",
            Format::Jpeg => "jpg",
            Format::Webp => "webp",
            Format::Gif => "gif",
        }
    }

    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Format::Png => "image/png",
            Format::Jpeg => "image/jpeg",
            Format::Webp => "image/webp",
            Format::Gif => "image/gif",
        }
    }
}

/// A picture as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// What it is written in.
    pub format: Format,
    /// The file, of our making.
    pub bytes: Vec<u8>,
}

/// The picture that a file is, written anew.
///
/// Errors: why the file is refused.
pub fn normalise(file: &[u8]) -> Result<Picture, Refused> {
    if file.is_empty() {
        return Err("is empty");
    }
    let format = Format::of(file).ok_or(NO_PICTURE)?;
    match end::of(format, file) {
        None => return Err(DAMAGED),
        Some(end) if end < file.len() => return Err("goes on after the end of the picture"),
        Some(_) => {}
    }
    let picture = decode(format, file)?;
    let bytes = encode(format, &picture).map_err(|_| DAMAGED)?;
    if bytes.len() > STORED_BYTES_MAX {
        return Err("is larger than 8 MiB when it is written anew");
    }
    Ok(Picture { format, bytes })
}

fn decode(format: Format, file: &[u8]) -> Result<DynamicImage, Refused> {
    let file = Cursor::new(file);
    match format {
        Format::Png => {
            let decoder = PngDecoder::with_limits(file, limits()).map_err(refused)?;
            sized(&decoder)?;
            if decoder.is_apng().map_err(refused)? {
                return Err(MOVES);
            }
            upright(decoder)
        }
        Format::Jpeg => {
            let decoder = JpegDecoder::new(file).map_err(refused)?;
            sized(&decoder)?;
            upright(decoder)
        }
        Format::Webp => {
            let decoder = WebPDecoder::new(file).map_err(refused)?;
            sized(&decoder)?;
            if decoder.has_animation() {
                return Err(MOVES);
            }
            upright(decoder)
        }
        Format::Gif => {
            let mut decoder = GifDecoder::new(file).map_err(refused)?;
            sized(&decoder)?;
            decoder.set_limits(limits()).map_err(refused)?;
            let mut frames = decoder.into_frames();
            let frame = frames.next().ok_or(DAMAGED)?.map_err(refused)?;
            if frames.next().is_some() {
                return Err(MOVES);
            }
            Ok(frame.into_buffer().into())
        }
    }
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODER_BYTES_MAX);
    limits
}

fn sized(decoder: &impl ImageDecoder) -> Result<(), Refused> {
    let (width, height) = decoder.dimensions();
    let fits = width <= SIDE_MAX && height <= SIDE_MAX && u64::from(width) * u64::from(height) <= PIXELS_MAX;
    if fits { Ok(()) } else { Err(TOO_MANY_PIXELS) }
}

/// The pixels, turned the way that the metadata says, which do not stay.
fn upright(mut decoder: impl ImageDecoder) -> Result<DynamicImage, Refused> {
    decoder.set_limits(limits()).map_err(refused)?;
    // Metadata that cannot be read says nothing.
    let orientation = decoder.orientation().ok();
    let mut picture = DynamicImage::from_decoder(decoder).map_err(refused)?;
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    Ok(picture)
}

fn refused(error: ImageError) -> Refused {
    match error {
        ImageError::Limits(_) => TOO_MANY_PIXELS,
        _ => DAMAGED,
    }
}

fn encode(format: Format, picture: &DynamicImage) -> Result<Vec<u8>, ImageError> {
    let mut out = Vec::new();
    match format {
        Format::Png => {
            let encoder =
                PngEncoder::new_with_quality(&mut out, CompressionType::Default, FilterType::Adaptive);
            eight_bits(picture).write_with_encoder(encoder)?;
        }
        Format::Jpeg => {
            let encoder = JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY);
            if picture.color().has_color() {
                DynamicImage::from(picture.to_rgb8()).write_with_encoder(encoder)?;
            } else {
                DynamicImage::from(picture.to_luma8()).write_with_encoder(encoder)?;
            }
        }
        Format::Webp => eight_bits(picture).write_with_encoder(WebPEncoder::new_lossless(&mut out))?,
        Format::Gif => {
            let (pixels, mut encoder) = (picture.to_rgba8(), GifEncoder::new_with_speed(&mut out, GIF_SPEED));
            encoder.encode(&pixels, pixels.width(), pixels.height(), ExtendedColorType::Rgba8)?;
        }
    }
    Ok(out)
}

/// With the channels that it has, in 8 bits each.
fn eight_bits(picture: &DynamicImage) -> DynamicImage {
    let color = picture.color();
    match (color.has_color(), color.has_alpha()) {
        (true, true) => picture.to_rgba8().into(),
        (true, false) => picture.to_rgb8().into(),
        (false, true) => picture.to_luma_alpha8().into(),
        (false, false) => picture.to_luma8().into(),
    }
}

#[cfg(test)]
mod tests;
