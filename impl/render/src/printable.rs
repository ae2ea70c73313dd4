//! Owns what becomes of characters that our fonts cannot draw: they are replaced, so that a name in a foreign script
//! never keeps a document from being made. PDF/A forbids drawing them as blanks.

use std::collections::HashMap;

use crate::fonts;

/// Printed in place of a character without glyph.
const REPLACEMENT: char = '\u{fffd}';

/// A page whose every character can be drawn: written out, as a numeric entity, or as an escape in a `style` element.
pub(crate) fn html(page: &str) -> String {
    // The same length as the page: only ASCII changes.
    let lower = page.to_ascii_lowercase();
    let mut out = String::with_capacity(page.len());
    let mut at = 0;
    while let Some(start) = lower[at..].find("<style").map(|start| at + start) {
        let end = lower[start..].find("</style").map_or(page.len(), |end| start + end);
        out.push_str(&text(&page[at..start]));
        out.push_str(&css(&page[start..end]));
        at = end;
    }
    out.push_str(&text(&page[at..]));
    out
}

fn text(text: &str) -> String {
    let mut filter = Filter::default();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("&#") {
        filter.push(&rest[..at], &mut out);
        rest = &rest[at..];
        let (length, char) = numeric_entity(rest);
        match char.map(|char| (char, filter.drawn(char))) {
            Some((char, drawn)) if drawn != Some(char) => out.extend(drawn),
            _ => out.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    filter.push(rest, &mut out);
    out
}

/// A style sheet whose every character, written out or as an escape, can be drawn.
pub(crate) fn css(text: &str) -> String {
    let mut filter = Filter::default();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        filter.push(&rest[..at], &mut out);
        rest = &rest[at..];
        let digits = rest[1..].bytes().take(6).take_while(u8::is_ascii_hexdigit).count();
        let char = u32::from_str_radix(&rest[1..=digits], 16).ok().and_then(char::from_u32);
        match char.map(|char| (char, filter.drawn(char))) {
            Some((char, drawn)) if drawn != Some(char) => out.extend(drawn),
            _ => out.push_str(&rest[..=digits]),
        }
        rest = &rest[digits + 1..];
    }
    filter.push(rest, &mut out);
    out
}

/// The characters that the PDF writer names as having no glyph.
pub(crate) fn without_glyph(message: &str) -> Vec<char> {
    let mut found = Vec::new();
    for (at, mark) in message.match_indices("ContainsNotDefGlyph(") {
        let text = message[at + mark.len()..].split('"').nth(1).unwrap_or_default();
        // Debug output: what it cannot print it escapes, and those characters were taken out before.
        found.extend(text.chars().filter(|char| !char.is_ascii()));
    }
    found
}

/// The text with these characters replaced.
pub(crate) fn replace(text: &str, missing: &[char]) -> String {
    text.chars().map(|char| if missing.contains(&char) { REPLACEMENT } else { char }).collect()
}

/// The length of the numeric entity that a text starts with, and its character.
fn numeric_entity(text: &str) -> (usize, Option<char>) {
    let body = &text[2..];
    let (radix, digits) = match body.strip_prefix(['x', 'X']) {
        Some(digits) => (16, digits),
        None => (10, body),
    };
    let count = digits.chars().take(8).take_while(|char| char.is_digit(radix)).count();
    let char = u32::from_str_radix(&digits[..count], radix).ok().and_then(char::from_u32);
    let length = text.len() - digits.len() + count;
    let closed = usize::from(text[length..].starts_with(';'));
    (length + closed, char)
}

/// Decides on characters, and remembers.
#[derive(Default)]
struct Filter {
    known: HashMap<char, Option<char>>,
}

impl Filter {
    fn push(&mut self, text: &str, out: &mut String) {
        for char in text.chars() {
            out.extend(self.drawn(char));
        }
    }

    /// What is drawn for a character; `None` for one that is only a hint to the layout.
    fn drawn(&mut self, char: char) -> Option<char> {
        if matches!(char, ' '..='~' | '\n' | '\t' | '\r') {
            return Some(char);
        }
        *self.known.entry(char).or_insert_with(|| {
            if is_hint(char) {
                None
            } else if fonts::can_draw(char) {
                Some(char)
            } else if fonts::can_draw(REPLACEMENT) {
                Some(REPLACEMENT)
            } else {
                Some('?')
            }
        })
    }
}

/// Characters without a picture: controls, joiners, marks of direction and variation. Changes of direction could
/// also make a text read other than it is.
fn is_hint(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' |
            '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' |
            '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_drawn_is_replaced() {
        assert_eq!(html("Łódź Αθήνα Київ €"), "Łódź Αθήνα Київ €");
        assert_eq!(html("東京 &#x6771;&#20140; 🎉"), "\u{fffd}\u{fffd} \u{fffd}\u{fffd} \u{fffd}");
        assert_eq!(html("a\u{202e}b\u{0}c\u{ad}d&#x202E;e"), "abcde");
        assert_eq!(html("&#65;&#xe9; &#; &#x &amp; &#"), "&#65;&#xe9; &#; &#x &amp; &#");
        assert_eq!(
            css("p::before { content: \"\\6771 \\2014 東\" }"),
            "p::before { content: \"\u{fffd} \\2014 \u{fffd}\" }"
        );
        assert_eq!(css("\\"), "\\");
        assert_eq!(
            html("\\6771 <STYLE>p { content: '\\6771' }</STYLE>\\6771"),
            "\\6771 <STYLE>p { content: '\u{fffd}' }</STYLE>\\6771"
        );
    }

    #[test]
    fn the_writers_complaint_is_read() {
        let message = "Validation([ContainsNotDefGlyph(Font {..}, None, \"中\"), ContainsNotDefGlyph(Font {..}, None, \"a☃\")])";
        assert_eq!(without_glyph(message), ['中', '☃']);
        assert!(without_glyph("ContainsNotDefGlyph(").is_empty());
        assert_eq!(replace("a☃b", &['☃']), "a\u{fffd}b");
    }
}
