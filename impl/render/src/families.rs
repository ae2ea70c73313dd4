//! Owns which fonts a style sheet ends up with: every list of families gets ours at its end.
//!
//! Only fonts of our own are there, so `Arial, sans-serif` alone would print nothing: generic families are looked up
//! on the system, which is not asked.

use std::borrow::Cow;

use crate::fonts::FAMILIES;

/// What a page starts from. `:where` keeps it below every rule of the page.
pub(crate) const BASE_CSS: &str =
    ":where(html, pre, code, kbd, samp, tt) { font-family: \"Noto Sans\", \"DejaVu Sans\"; }";

/// Values that are no list of families.
const KEYWORDS: &[&str] = &["inherit", "initial", "unset", "revert", "revert-layer", ""];

/// A page with our families in the styles of its elements and tags. Its text stays, whatever it says of fonts.
pub(crate) fn html(page: &str) -> String {
    // The same length as the page: only ASCII changes.
    let lower = page.to_ascii_lowercase();
    let mut out = String::with_capacity(page.len() + 256);
    let mut at = 0;
    while let Some(start) = page[at..].find('<').map(|start| at + start) {
        out.push_str(&page[at..start]);
        let end = if lower[start..].starts_with("<style") {
            lower[start..].find("</style").map_or(page.len(), |end| start + end)
        } else {
            page[start..].find('>').map_or(page.len(), |end| start + end)
        };
        let tag = &page[start..end];
        if lower[start..end].contains("font") {
            // Quotes of family names, as editors write them in an attribute.
            out.push_str(&css(&tag.replace("&quot;", "'")));
        } else {
            out.push_str(tag);
        }
        at = end;
    }
    out.push_str(&page[at..]);
    out
}

/// CSS, or a tag with a `style`, with our families at the end of each `font-family` and `font`.
pub(crate) fn css(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut done = 0;
    let mut at = 0;
    while let Some(found) = find(&text[at..]) {
        let name = at + found;
        at = name + "font".len();
        let Some(value) = value_after(text, name) else { continue };
        let end = value + value_length(&text[value..]);
        let list = &text[value..end];
        let families = list.split('!').next().unwrap_or(list).trim_end();
        at = end;
        if KEYWORDS.contains(&families.trim().to_ascii_lowercase().as_str()) {
            continue;
        }
        out.push_str(&text[done..value + families.len()]);
        // In an attribute our quotes would end it; family names of two words need none.
        out.push_str(", ");
        out.push_str(&FAMILIES.replace('"', ""));
        done = value + families.len();
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

fn find(text: &str) -> Option<usize> {
    text.as_bytes().windows(4).position(|window| window.eq_ignore_ascii_case(b"font"))
}

/// Where the value of a declaration starts whose name is at `name`; `None` when it is another word.
fn value_after(text: &str, name: usize) -> Option<usize> {
    let before = text[..name].chars().next_back();
    if before.is_some_and(|char| !(char.is_whitespace() || "{;\"'/".contains(char))) {
        return None;
    }
    let rest = &text[name + 4..];
    let family = rest.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("-family"));
    let after = if family { &rest[7..] } else { rest };
    let colon = after.trim_start().strip_prefix(':')?;
    Some(text.len() - colon.len())
}

/// How long the value of a declaration is: to its `;`, `}`, or the end of the attribute that it stands in.
fn value_length(text: &str) -> usize {
    let mut string: Option<char> = None;
    let mut last = ':';
    for (at, char) in text.char_indices() {
        match string {
            Some(quote) if char == quote => string = None,
            Some(_) => {}
            // A name in quotes starts after a comma, or after the size in `font`; any other quote ends an attribute.
            None if "\"'".contains(char) => {
                let rest = &text[at + 1..];
                let closes =
                    rest.find(char).is_some_and(|end| !rest[..end].contains([';', '}', '<', '>', '=']));
                if !closes || !(last == ',' || last == ':' || text[..at].ends_with(' ')) {
                    return at;
                }
                string = Some(char);
            }
            None if ";}<>".contains(char) => return at,
            None => {}
        }
        if !char.is_whitespace() {
            last = char;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_ends_with_our_fonts() {
        const OURS: &str = ", Noto Sans, DejaVu Sans";
        for (text, wanted) in [
            ("p { font-family: Arial }", format!("p {{ font-family: Arial{OURS} }}")),
            (
                "p{FONT-FAMILY:\"Helvetica Neue\",serif;x:y}",
                format!("p{{FONT-FAMILY:\"Helvetica Neue\",serif{OURS};x:y}}"),
            ),
            (
                "p { font: bold 10pt/1.2 'Open Sans' !important }",
                format!("p {{ font: bold 10pt/1.2 'Open Sans'{OURS} !important }}"),
            ),
            (
                "<p style='font-family:\"A B\", c' class='x'>",
                format!("<p style='font-family:\"A B\", c{OURS}' class='x'>"),
            ),
        ] {
            assert_eq!(css(text), wanted);
        }
    }

    #[test]
    fn the_text_of_a_page_stays() {
        const OURS: &str = ", Noto Sans, DejaVu Sans";
        for (page, wanted) in [
            (
                "<p style=\"font-family: Arial\">font: x; Font-Family: y</p>",
                format!("<p style=\"font-family: Arial{OURS}\">font: x; Font-Family: y</p>"),
            ),
            (
                "<i style=\"font: 1pt &quot;A B&quot;, c; x: y\">é</i>",
                format!("<i style=\"font: 1pt 'A B', c{OURS}; x: y\">é</i>"),
            ),
            (
                "font: x <STYLE>p > i { font: 1pt x }</STYLE> font: y <",
                format!("font: x <STYLE>p > i {{ font: 1pt x{OURS} }}</STYLE> font: y <"),
            ),
        ] {
            assert_eq!(html(page), wanted);
        }
    }

    #[test]
    fn other_words_stay() {
        for text in [
            "p { font-family: inherit; font-size: 3pt; font-weight: bold; --font: x }",
            "font",
            "font-family",
            "font:",
            "@font-face { src: x }",
            "the font is",
            "",
        ] {
            assert_eq!(css(text), text);
        }
    }
}
