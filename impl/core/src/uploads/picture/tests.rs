//! Real files, made here, whole and broken, and what must never be taken.
use super::*;
use image::codecs::gif::Repeat;
use image::{Delay, Frame, Rgba, RgbaImage};

fn sample(width: u32, height: u32) -> RgbaImage {
    RgbaImage::from_fn(width, height, |x, y| {
        let [x, y] = [x, y].map(|n| u8::try_from(n % 256).unwrap_or_default());
        Rgba([x.wrapping_mul(7), y.wrapping_mul(5), 90, if x > 40 { 255 } else { 128 }])
    })
}

fn file(format: Format) -> Vec<u8> {
    encode(format, &sample(60, 40).into()).expect("encodes")
}

/// Each format as other programs write it.
fn files() -> Vec<(Format, Vec<u8>)> {
    Format::ALL.into_iter().map(|format| (format, file(format))).collect()
}

fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(name);
    crc.update(data);
    let length = u32::try_from(data.len()).expect("short");
    [&length.to_be_bytes(), &name[..], data, &crc.sum().to_be_bytes()].concat()
}

/// A PNG with these chunks after its header.
fn png_with(chunks: &[u8]) -> Vec<u8> {
    let png = file(Format::Png);
    [&png[..33], chunks, &png[33..]].concat()
}

/// A PNG of nothing that says it has those dimensions.
fn png_of(width: u32, height: u32, idat: &[u8]) -> Vec<u8> {
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &head), &chunk(b"IDAT", idat), &chunk(b"IEND", b"")].concat()
}

fn zeros(count: usize) -> Vec<u8> {
    use std::io::Write;
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let block = vec![0_u8; 1 << 20];
    for _ in 0..count >> 20 {
        packer.write_all(&block).expect("packs");
    }
    packer.finish().expect("packs")
}

fn pixels(file: &[u8]) -> RgbaImage {
    decode(Format::of(file).expect("a format"), file).expect("decodes").to_rgba8()
}

#[test]
fn a_picture_is_written_anew() {
    for (format, bytes) in files() {
        let made = normalise(&bytes).unwrap_or_else(|e| panic!("{format:?} {e}"));
        assert_eq!(made.format, format);
        assert_eq!(end::of(format, &made.bytes), Some(made.bytes.len()), "{format:?} ends where it ends");
        let (before, after) = (pixels(&bytes), pixels(&made.bytes));
        assert_eq!(before.dimensions(), after.dimensions());
        if format != Format::Jpeg {
            assert!(before == after, "{format:?} is written without loss");
        }
        assert_eq!(normalise(&bytes), Ok(made), "{format:?}: the same file is the same picture");
    }
}

#[test]
fn metadata_does_not_stay() {
    const SECRET: &[u8] = b"SECRET-51.5N-0.1W";
    let png = png_with(&[chunk(b"tEXt", &[b"Comment\0", SECRET].concat()), chunk(b"eXIf", SECRET)].concat());
    let jpeg = file(Format::Jpeg);
    let length = u16::try_from(SECRET.len() + 2).expect("short").to_be_bytes();
    let comment = [&[0xff, 0xfe][..], &length, SECRET].concat();
    let exif_body = [&b"Exif\0\0"[..], &exif_turned(), SECRET].concat();
    let exif_length = u16::try_from(exif_body.len() + 2).expect("short").to_be_bytes();
    let exif = [&[0xff, 0xe1][..], &exif_length, &exif_body].concat();
    let jpeg = [&jpeg[..2], &exif, &comment, &jpeg[2..]].concat();
    let gif = file(Format::Gif);
    let length = u8::try_from(SECRET.len()).expect("short");
    let gif = [&gif[..gif.len() - 1], &[0x21, 0xfe, length], SECRET, &[0, 0x3b]].concat();
    for file in [png, jpeg, gif] {
        assert!(file.windows(SECRET.len()).any(|w| w == SECRET));
        let made = normalise(&file).unwrap_or_else(|e| panic!("{:?} {e}", Format::of(&file)));
        assert!(!made.bytes.windows(SECRET.len()).any(|w| w == SECRET), "{:?}", made.format);
        assert!(!made.bytes.windows(4).any(|w| w == b"Exif" || w == b"eXIf"));
        if made.format == Format::Jpeg {
            assert_eq!(pixels(&made.bytes).dimensions(), (40, 60), "it stands as it was taken");
        }
    }
}

/// A TIFF header with one entry: the picture is turned by a quarter.
fn exif_turned() -> Vec<u8> {
    [&b"MM\0\x2a\0\0\0\x08"[..], &[0, 1], &[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0], &[0, 0, 0, 0]].concat()
}

#[test]
fn what_is_no_picture_is_refused() {
    for (what, file) in [
        ("svg", &b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>"[..]),
        ("xml", b"<?xml version=\"1.0\"?><svg/>"),
        ("html", b"<!DOCTYPE html><script>alert(1)</script>"),
        ("zip", b"PK\x03\x04rest"),
        ("pdf", b"%PDF-1.7"),
        ("bmp", b"BM\0\0\0\0"),
        ("a blank before a png", b" \x89PNG\r\n\x1a\n"),
        ("html that begins like a gif", b"GIF89 <script>"),
    ] {
        assert_eq!(normalise(file), Err(NO_PICTURE), "{what}");
    }
    assert_eq!(normalise(b""), Err("is empty"));
    for head in
        [&b"\x89PNG\r\n\x1a\n"[..], b"\xff\xd8\xff", b"GIF89a", b"RIFF\x04\0\0\0WEBP", b"GIF89a=1;<script>"]
    {
        assert_eq!(normalise(head), Err(DAMAGED), "{head:?}");
    }
}

#[test]
fn nothing_may_follow_the_end() {
    for (format, bytes) in files() {
        for after in [&b"PK\x03\x04"[..], b"<script>alert(1)</script>", b"\0", b"\n", &bytes] {
            let file = [&bytes[..], after].concat();
            assert_eq!(normalise(&file), Err("goes on after the end of the picture"), "{format:?}");
        }
    }
    // Hidden in a piece that the format allows it is taken, and not kept.
    let page = b"<html><script>alert(1)</script></html>";
    let made = normalise(&png_with(&chunk(b"zIpp", page))).expect("a picture");
    assert!(!made.bytes.windows(8).any(|w| w == b"<script>"));
}

#[test]
fn a_file_that_is_cut_off_or_damaged_is_refused() {
    for (format, bytes) in files() {
        for length in (1..bytes.len()).step_by(7).chain(bytes.len() - 12..bytes.len()) {
            let cut = normalise(&bytes[..length]);
            assert!(cut.is_err(), "{format:?} of {length} of {} bytes", bytes.len());
        }
    }
    // Any byte may be any other: an error or a picture, never a panic, and never more than the limits allow.
    for (format, bytes) in files() {
        for at in (0..bytes.len()).step_by(1 + bytes.len() / 300) {
            let mut file = bytes.clone();
            file[at] ^= 0x55;
            if let Ok(made) = normalise(&file) {
                assert_eq!(Format::of(&made.bytes), Some(made.format), "{format:?} at {at}");
            }
        }
    }
}

#[test]
fn a_bomb_costs_nothing() {
    let begin = std::time::Instant::now();
    // It says that it is 3.6 GB of pixels, and unpacks to thousand times its size before it is even short of them.
    let bomb = png_of(30_000, 30_000, &zeros(16 << 20));
    assert!(bomb.len() < 20_000, "{} bytes", bomb.len());
    assert_eq!(normalise(&bomb), Err(TOO_MANY_PIXELS));
    assert_eq!(normalise(&png_of(u32::MAX, 1, b"")), Err(TOO_MANY_PIXELS));
    assert_eq!(normalise(&png_of(4096, 4096, &zeros(4 << 20))), Err(TOO_MANY_PIXELS), "too many in all");
    assert_eq!(normalise(&png_of(4097, 1, b"")), Err(TOO_MANY_PIXELS), "too wide");
    // Text and profiles that unpack to much more are not kept.
    let text = chunk(b"zTXt", &[&b"Comment\0\0"[..], &zeros(8 << 20)].concat());
    let made = normalise(&png_with(&text)).expect("a picture");
    assert!(made.bytes.len() < 100_000);
    let profile = chunk(b"iCCP", &[&b"icc\0\0"[..], &zeros(8 << 20)].concat());
    let _ = normalise(&png_with(&profile));
    let mut gif = file(Format::Gif);
    gif[6..10].copy_from_slice(&[0xff; 4]);
    assert_eq!(normalise(&gif), Err(TOO_MANY_PIXELS));
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

#[test]
fn animations_are_refused() {
    let mut gif = Vec::new();
    {
        let mut encoder = GifEncoder::new(&mut gif);
        encoder.set_repeat(Repeat::Infinite).expect("repeats");
        for shade in [10, 200] {
            let picture = RgbaImage::from_pixel(20, 20, Rgba([shade, 0, 0, 255]));
            let delay = Delay::from_numer_denom_ms(100, 1);
            encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay)).expect("a frame");
        }
    }
    assert_eq!(normalise(&gif), Err(MOVES));
    let apng = png_with(&chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]));
    assert!(normalise(&apng).is_err());
    // A WebP that says it moves, around the data of one that does not.
    let still = file(Format::Webp);
    let frame = &still[12..];
    let anmf_head = [&[0_u8; 6][..], &[59, 0, 0, 39, 0, 0], &[100, 0, 0, 0]].concat();
    let size = u32::try_from(anmf_head.len() + frame.len()).expect("short").to_le_bytes();
    let anmf = [&b"ANMF"[..], &size, &anmf_head, frame].concat();
    let vp8x = [&b"VP8X\x0a\0\0\0"[..], &[0x02, 0, 0, 0, 59, 0, 0, 39, 0, 0]].concat();
    let body = [&vp8x[..], b"ANIM\x06\0\0\0\0\0\0\0\0\0", &anmf, &anmf].concat();
    let size = u32::try_from(body.len() + 4).expect("short").to_le_bytes();
    let moving = [&b"RIFF"[..], &size, b"WEBP", &body].concat();
    assert_eq!(normalise(&moving), Err(MOVES));
}

#[test]
fn every_kind_of_pixel_is_taken() {
    let gray = image::ImageBuffer::from_pixel(9, 9, image::Luma([40_000_u16]));
    let deep = image::ImageBuffer::from_pixel(9, 9, Rgba([40_000_u16, 1, 2, 3]));
    for picture in [DynamicImage::ImageLuma16(gray), DynamicImage::ImageRgba16(deep)] {
        let mut file = Vec::new();
        picture.write_with_encoder(PngEncoder::new(&mut file)).expect("a png");
        let made = normalise(&file).expect("a picture");
        assert_eq!(pixels(&made.bytes), picture.to_rgba8(), "in 8 bits");
    }
}
