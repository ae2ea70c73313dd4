//! Where a picture ends, by the structure of its own format.
//!
//! Decoders stop reading when they have their pixels, so a file can go on as something else: an archive, a page, a script.
//! Each walk here goes from piece to piece by the lengths that the file gives and by nothing else, and answers nothing when
//! the file is over before the picture is.
use super::picture::Format;

/// The number of bytes up to the end of the picture; none when it does not end within the file.
pub fn of(format: Format, file: &[u8]) -> Option<usize> {
    match format {
        Format::Png => png(file),
        Format::Jpeg => jpeg(file),
        Format::Webp => webp(file),
        Format::Gif => gif(file),
    }
}

fn be32(file: &[u8], at: usize) -> Option<usize> {
    let bytes: [u8; 4] = file.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

/// Chunks of length, name, data and checksum, the last one being `IEND`.
fn png(file: &[u8]) -> Option<usize> {
    let mut at = 8;
    loop {
        let length = be32(file, at)?;
        let name = file.get(at + 4..at + 8)?;
        let next = at.checked_add(length)?.checked_add(12)?;
        if next > file.len() {
            return None;
        }
        if name == b"IEND" {
            return (length == 0).then_some(next);
        }
        at = next;
    }
}

/// Segments with a length, and after each `SOS` data without one, in which every `FF` that stands for itself is followed
/// by `00`.
fn jpeg(file: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        if *file.get(at)? != 0xff {
            return None;
        }
        // Any number of `FF` may stand before a marker.
        while *file.get(at)? == 0xff {
            at += 1;
        }
        let marker = *file.get(at)?;
        at += 1;
        match marker {
            0xd9 => return Some(at),
            0x01 | 0xd0..=0xd7 => continue,
            0x00 | 0xd8 => return None,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([*file.get(at)?, *file.get(at + 1)?]));
        if length < 2 {
            return None;
        }
        at += length;
        if marker == 0xda {
            at = after_scan(file, at)?;
        }
    }
}

/// The next marker that is no part of the data.
fn after_scan(file: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += file.get(at..)?.iter().position(|b| *b == 0xff)?;
        match *file.get(at + 1)? {
            0x00 | 0xd0..=0xd7 => at += 2,
            0xff => at += 1,
            _ => return Some(at),
        }
    }
}

/// One RIFF chunk that says how long it is, of whole chunks.
fn webp(file: &[u8]) -> Option<usize> {
    let length = |at: usize| {
        let bytes: [u8; 4] = file.get(at..at.checked_add(4)?)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let end = length(4)?.checked_add(8)?;
    if end > file.len() || end % 2 == 1 {
        return None;
    }
    let mut at = 12;
    while at < end {
        let size = length(at + 4)?;
        // Chunks begin at even places.
        at = at.checked_add(8)?.checked_add(size)?.checked_add(size % 2)?;
    }
    (at == end && end > 12).then_some(end)
}

/// A header with perhaps a table of colours, then blocks, the last one being `3B`.
fn gif(file: &[u8]) -> Option<usize> {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut at = 13 + table(*file.get(10)?);
    loop {
        match *file.get(at)? {
            0x3b => return Some(at + 1),
            // An extension: its label, then sub-blocks.
            0x21 => at = after_blocks(file, at + 2)?,
            // A picture: its place and size, perhaps a table of colours, the size of a code, then sub-blocks.
            0x2c => at = after_blocks(file, at + 11 + table(*file.get(at + 9)?))?,
            _ => return None,
        }
    }
}

/// After sub-blocks, each with its length before it, up to an empty one.
fn after_blocks(file: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*file.get(at)?) {
            0 => return Some(at + 1),
            length => at += 1 + length,
        }
    }
}
