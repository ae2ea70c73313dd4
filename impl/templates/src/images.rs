//! Owns finding the images that a rendered page names, for those who fetch them and for the renderer.

use std::ops::Range;

/// An `img` element of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTag<'a> {
    /// Where it stands.
    pub range: Range<usize>,
    /// What it names in `src`, decoded.
    pub src: String,
    /// All attributes, by name in lower case, with their values as they are written.
    pub attributes: Vec<(String, &'a str)>,
}

impl ImageTag<'_> {
    /// The value of an attribute, as it is written.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(theirs, _)| theirs == name).map(|(_, value)| *value)
    }
}

/// What the images of a page are named, each once, in the order of the page: the job must bring those that exist.
pub fn names(html: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for tag in tags(html) {
        if !tag.src.is_empty() && names.len() < crate::job::MAX_IMAGES && !names.contains(&tag.src) {
            names.push(tag.src);
        }
    }
    names
}

/// The `img` elements of a page, in its order.
pub fn tags(html: &str) -> Vec<ImageTag<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = html[at..].find('<').map(|start| at + start) {
        at = start + 1;
        let rest = &html[at..];
        if rest.starts_with("!--") {
            at += rest.find("-->").unwrap_or(rest.len());
        } else if rest.get(..3).is_some_and(|name| name.eq_ignore_ascii_case("img"))
            && rest[3..].starts_with(|char: char| char.is_whitespace() || "/>".contains(char))
        {
            let (attributes, length) = attributes(&rest[3..]);
            let src = attributes.iter().find(|(name, _)| name == "src").map_or("", |(_, value)| value);
            at += 3 + length;
            found.push(ImageTag { range: start..at, src: decode(src), attributes });
        }
    }
    found
}

/// The attributes of a tag whose name has been read, and how long the rest of the tag is.
fn attributes(text: &str) -> (Vec<(String, &str)>, usize) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|char: char| char.is_whitespace() || char == '/');
        if rest.is_empty() {
            return (found, text.len());
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (found, text.len() - after.len());
        }
        let end = rest.find(|char: char| char.is_whitespace() || "=/>".contains(char)).unwrap_or(rest.len());
        // A name is at least one character, whatever it is.
        let end = end.max(rest.chars().next().map_or(1, char::len_utf8));
        let name = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start();
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            (value, rest) = self::value(after.trim_start());
        }
        found.push((name, value));
    }
}

fn value(text: &str) -> (&str, &str) {
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => text[1..].split_once(quote).unwrap_or((&text[1..], "")),
        _ => text.split_at(text.find(|char: char| char.is_whitespace() || char == '>').unwrap_or(text.len())),
    }
}

/// The entities that the template engine writes.
fn decode(value: &str) -> String {
    value
        .trim()
        .replace("&#x2f;", "/")
        .replace("&#x27;", "'")
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_once() {
        let html = "<img class='x' src=\"logo.png\"><IMG SRC='/api/v1/uploads/a&amp;b.png'/><img alt=\"a > b\" src=c.gif >\
                    <!-- <img src=no.png> --><img src=\"logo.png\"><img><imgx src=no.png><img src=&#x2f;d.png>";
        assert_eq!(names(html), ["logo.png", "/api/v1/uploads/a&b.png", "c.gif", "/d.png"]);
    }

    #[test]
    fn a_tag_is_known_by_its_place() {
        let html = "<p><img class=\"x\" hidden src='a.png' alt='é'/>b";
        let tags = tags(html);
        assert_eq!(&html[tags[0].range.clone()], "<img class=\"x\" hidden src='a.png' alt='é'/>");
        assert_eq!(tags[0].attribute("class"), Some("x"));
        assert_eq!(tags[0].attribute("hidden"), Some(""));
        assert_eq!(tags[0].attribute("alt"), Some("é"));
        assert_eq!(tags[0].attribute("style"), None);
    }

    #[test]
    fn odd_ends_do_no_harm() {
        for html in [
            "<img",
            "<img ",
            "<img src",
            "<img src=",
            "<img src='",
            "<img =",
            "<img é=é",
            "<!--",
            "<",
            "<img/",
        ] {
            tags(html);
        }
    }
}
