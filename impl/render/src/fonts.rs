//! Owns the fonts of documents: Noto Sans, and DejaVu Sans for what it lacks. Both may be embedded freely (SIL Open
//! Font License, Bitstream Vera License); they come from packages and are built into the program.

use std::sync::LazyLock;

use ttf_parser::Face;

/// The families, in the order in which they are looked through.
pub(crate) const FAMILIES: &str = "\"Noto Sans\", \"DejaVu Sans\"";

/// Every face that a document may use.
pub(crate) static ALL: LazyLock<[&'static [u8]; 6]> = LazyLock::new(|| {
    [
        notosans::REGULAR_TTF,
        notosans::BOLD_TTF,
        notosans::ITALIC_TTF,
        notosans::BOLD_ITALIC_TTF,
        dejavu::sans::regular(),
        dejavu::sans::bold(),
    ]
});

static FACES: LazyLock<Vec<Face<'static>>> =
    LazyLock::new(|| ALL.iter().filter_map(|font| Face::parse(font, 0).ok()).collect());

/// How many of the faces are Noto Sans.
const NOTO_FACES: usize = 4;

/// Whether a character has a glyph in every face of one of the families.
pub(crate) fn can_draw(char: char) -> bool {
    let (noto, dejavu) = FACES.split_at(NOTO_FACES.min(FACES.len()));
    [noto, dejavu].into_iter().any(|faces| faces.iter().all(|face| face.glyph_index(char).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabets_of_europe_are_covered() {
        assert_eq!(FACES.len(), ALL.len());
        let text = "ÀÉÎÕÜßÿ ĄĆĘŁŃŚŹŻ ČĎĚŇŘŠŤŽ ĞİŞ ŐŰ ĀĒĢĪĶĻŅŪ ȘȚ ŵŷ ΑΒΓΔΩ άέήίόύώ АБВГЯ ЂЈЉЊЋЏ ҐЄІЇ €£¥₺₴ – — … • · º № ’“”«» \u{a0}\u{202f}";
        for char in text.chars() {
            assert!(can_draw(char), "{char:?}");
        }
        assert!(!can_draw('中'));
    }
}
