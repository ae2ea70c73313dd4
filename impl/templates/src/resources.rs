//! Owns which parts of HTML and CSS a template may not have: scripts, and anything that loads from elsewhere.
//!
//! The renderer has no network and mails are sanitised, so this check protects nobody by itself; it tells the author
//! at once, with the place, what would not work.

use crate::limits;
use crate::problem::{Part, Problem};

/// Elements that run code, load pages, or change what the page is.
const FORBIDDEN_TAGS: &[&str] = &[
    "script", "iframe", "frame", "frameset", "object", "embed", "applet", "form", "input", "button",
    "textarea", "select", "base", "link", "audio", "video", "source", "track", "portal",
];

/// Attributes whose address is loaded with the page.
const LOADING_ATTRIBUTES: &[&str] =
    &["src", "srcset", "background", "poster", "data", "action", "formaction", "xlink:href", "manifest"];

/// Looks through HTML with tags of the template language in it.
pub(crate) fn html(part: Part, source: &str, problems: &mut Vec<Problem>) {
    let mut scan = Scan { source, at: 0 };
    while let Some(tag) = scan.next_tag() {
        // Each place is found by counting lines: more problems than are reported would only cost time.
        if problems.len() >= limits::MAX_PROBLEMS {
            return;
        }
        let lower = tag.name.to_ascii_lowercase();
        if FORBIDDEN_TAGS.contains(&lower.as_str()) {
            problems.push(Problem::at_offset(part, source, tag.offset, format!("<{lower}> is not allowed")));
        }
        for attribute in &tag.attributes {
            if let Some(message) = attribute_problem(&lower, attribute) {
                problems.push(Problem::at_offset(part, source, attribute.offset, message));
            }
        }
        if lower == "style" {
            let start = scan.at;
            let end = find_ignoring_case(&source[start..], "</style").map_or(source.len(), |end| start + end);
            style(part, source, start..end, problems);
            scan.at = end;
        }
    }
}

/// Looks through a style sheet.
pub(crate) fn css(part: Part, source: &str, problems: &mut Vec<Problem>) {
    style(part, source, 0..source.len(), problems);
    if let Some(at) = source.find("</") {
        problems.push(Problem::at_offset(part, source, at, "a style sheet holds no tags"));
    }
}

fn style(part: Part, source: &str, range: std::ops::Range<usize>, problems: &mut Vec<Problem>) {
    let (start, text) = (range.start, &source[range]);
    for (at, message) in style_problems(text).into_iter().take(limits::MAX_PROBLEMS) {
        problems.push(Problem::at_offset(part, source, start + at, message));
    }
}

fn style_problems(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = find_ignoring_case(&text[from..], "@import") {
        found.push((from + at, "@import is not allowed"));
        from += at + 7;
    }
    from = 0;
    while let Some(at) = find_ignoring_case(&text[from..], "url(") {
        let value = text[from + at + 4..]
            .trim_start_matches(|char: char| char.is_whitespace() || "\"'".contains(char));
        if is_outside(value) {
            found.push((from + at, "addresses outside this installation are not loaded"));
        }
        from += at + 4;
    }
    found
}

fn attribute_problem(tag: &str, attribute: &Attribute<'_>) -> Option<String> {
    let name = attribute.name.to_ascii_lowercase();
    let value = attribute.value.trim_start();
    if name.len() > 2 && name.starts_with("on") && name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Some(format!("{name} is not allowed: scripts do not run"));
    }
    let scheme: String =
        value.chars().filter(|char| !char.is_whitespace() && !char.is_control()).take(12).collect();
    let scheme = scheme.to_ascii_lowercase();
    if scheme.starts_with("javascript:") || scheme.starts_with("vbscript:") {
        return Some("scripts do not run".to_owned());
    }
    let loads = LOADING_ATTRIBUTES.contains(&name.as_str()) || (name == "href" && tag != "a");
    if loads && is_outside(value) {
        return Some("addresses outside this installation are not loaded".to_owned());
    }
    if name == "style" {
        return style_problems(value).first().map(|(_, message)| (*message).to_owned());
    }
    None
}

/// Whether an address leads away: it has a scheme or a host. Images of a mail's own parts (`cid:`) do not.
fn is_outside(value: &str) -> bool {
    let value = value.trim_start();
    if value.starts_with("//") || value.starts_with("\\\\") {
        return true;
    }
    let scheme_end = value.find(|char: char| !(char.is_ascii_alphanumeric() || "+.-".contains(char)));
    let Some(end) = scheme_end.filter(|end| *end > 0 && value[*end..].starts_with(':')) else { return false };
    !value[..end].eq_ignore_ascii_case("cid")
}

fn find_ignoring_case(text: &str, wanted: &str) -> Option<usize> {
    let (text, wanted) = (text.as_bytes(), wanted.as_bytes());
    text.windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted))
}

struct Tag<'a> {
    name: &'a str,
    offset: usize,
    attributes: Vec<Attribute<'a>>,
}

struct Attribute<'a> {
    name: &'a str,
    value: &'a str,
    offset: usize,
}

/// Goes from tag to tag, past comments and the tags of the template language.
struct Scan<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    /// Steps over a tag of the template language or a comment that starts here.
    fn skip_region(&mut self) -> bool {
        for (open, close) in [("{{", "}}"), ("{%", "%}"), ("{#", "#}"), ("<!--", "-->")] {
            if self.rest().starts_with(open) {
                let length = self.rest().find(close).map_or(self.rest().len(), |end| end + close.len());
                self.at += length;
                return true;
            }
        }
        false
    }

    fn step(&mut self) {
        self.at += self.rest().chars().next().map_or(1, char::len_utf8);
    }

    fn next_tag(&mut self) -> Option<Tag<'a>> {
        while !self.rest().is_empty() {
            if self.skip_region() {
                continue;
            }
            let offset = self.at;
            let rest = self.rest();
            if rest.starts_with('<') && rest[1..].starts_with(|char: char| char.is_ascii_alphabetic()) {
                self.at += 1;
                let name = self.word();
                return Some(Tag { name, offset, attributes: self.attributes() });
            }
            self.step();
        }
        None
    }

    fn word(&mut self) -> &'a str {
        let start = self.at;
        while self.rest().starts_with(|char: char| !char.is_whitespace() && !"/>=\"'{".contains(char)) {
            self.step();
        }
        &self.source[start..self.at]
    }

    fn attributes(&mut self) -> Vec<Attribute<'a>> {
        let mut found = Vec::new();
        loop {
            self.skip_blanks();
            if self.rest().is_empty() {
                return found;
            }
            if self.rest().starts_with('>') {
                self.step();
                return found;
            }
            if self.skip_region() {
                continue;
            }
            let offset = self.at;
            let name = self.word();
            if name.is_empty() {
                self.step();
                continue;
            }
            self.skip_blanks();
            let value = if self.rest().starts_with('=') {
                self.step();
                self.skip_blanks();
                self.value()
            } else {
                ""
            };
            found.push(Attribute { name, value, offset });
        }
    }

    fn skip_blanks(&mut self) {
        while self.rest().starts_with(char::is_whitespace) {
            self.step();
        }
    }

    fn value(&mut self) -> &'a str {
        let quote = self.rest().chars().next().filter(|char| "\"'".contains(*char));
        if quote.is_some() {
            self.step();
        }
        let start = self.at;
        while let Some(char) = self.rest().chars().next() {
            if self.skip_region() {
                continue;
            }
            let ends = match quote {
                Some(quote) => char == quote,
                None => char.is_whitespace() || char == '>',
            };
            if ends {
                break;
            }
            self.step();
        }
        let value = &self.source[start..self.at];
        if quote.is_some() && !self.rest().is_empty() {
            self.step();
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<(u32, u32, String)> {
        let mut problems = Vec::new();
        html(Part::Html, source, &mut problems);
        problems.into_iter().map(|problem| (problem.line, problem.column, problem.message)).collect()
    }

    #[test]
    fn scripts_and_outside_addresses_are_found_at_their_place() {
        let outside = "addresses outside this installation are not loaded";
        for (source, line, column, message) in [
            ("<p>\n <SCRIPT>x</SCRIPT>", 2, 2, "<script> is not allowed"),
            ("<img src='https://evil.example/x.png'>", 1, 6, outside),
            ("<img\n  src=//evil.example/x>", 2, 3, outside),
            ("<img src=\" data:image/png;base64,AA\">", 1, 6, outside),
            ("<p onclick='x()'>", 1, 4, "onclick is not allowed: scripts do not run"),
            ("<a href=' java\tscript:x'>", 1, 4, "scripts do not run"),
            ("<link rel=stylesheet href=x.css>", 1, 1, "<link> is not allowed"),
            ("<p style=\"background: URL( 'http://evil.example/x')\">", 1, 4, outside),
            ("<style>\np { background: url(https://evil.example) }</style>", 2, 17, outside),
            ("<style>@IMPORT 'x.css';</style>", 1, 8, "@import is not allowed"),
            ("<svg><image xlink:href=\"file:///etc/passwd\"/></svg>", 1, 13, outside),
        ] {
            assert_eq!(found(source), [(line, column, message.to_owned())], "{source}");
        }
    }

    #[test]
    fn what_is_of_this_house_is_not() {
        for source in [
            "<img src=\"logo.png\" alt=\"a > b\">",
            "<img src=\"{{ seller.logo }}\" class='{% if a > b %}x{% endif %}'>",
            "<img src=\"/api/v1/uploads/x.png\"><img src='cid:logo'>",
            "<a href=\"https://example.com\">x</a><a href='mailto:x@example.com'>y</a>",
            "<!-- <script> --> {# <script> #} a < b",
            "<svg viewBox='0 0 1 1'><path d='M0 0'/></svg>",
        ] {
            assert_eq!(found(source), [], "{source}");
        }
    }

    #[test]
    fn odd_ends_do_no_harm() {
        for source in
            ["<", "<p", "<p a", "<p a=", "<p a='", "<p a='{{", "<style>", "{%", "<!--", "<p é", "<p =>"]
        {
            found(source);
        }
    }
}
