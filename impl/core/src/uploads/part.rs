//! What of a picture a request wants: all, a part, only its head, or nothing because it is there already.
//!
//! A `Range` that is not understood is no error: it is left out of account (RFC 9110), and the whole is answered.
use std::ops::Range;

/// The headers that say what is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Whether the body is not wanted.
    pub head: bool,
    /// `If-None-Match`.
    pub none_match: Option<&'a str>,
    /// `Range`.
    pub range: Option<&'a str>,
    /// `If-Range`.
    pub if_range: Option<&'a str>,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The caller has it already.
    Nothing,
    /// How large it is.
    Head,
    /// All of it.
    Whole,
    /// A part.
    Part(Part),
}

/// A part of something whose size is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// From a byte to a byte, that one included.
    Between(u64, u64),
    /// So many bytes at the end.
    Last(u64),
}

impl Part {
    /// The bytes of it, when there are any of `size`.
    pub fn of(self, size: u64) -> Option<Range<u64>> {
        match self {
            Part::Between(first, last) if first < size => Some(first..last.min(size - 1) + 1),
            Part::Last(count) if count > 0 && size > 0 => Some(size.saturating_sub(count)..size),
            _ => None,
        }
    }
}

impl Asked<'_> {
    /// What is wanted of something with that strong tag.
    pub fn wanted(&self, etag: &str) -> Wanted {
        let is_same = |tag: &str| tag == "*" || tag.trim_start_matches("W/") == etag;
        if self.none_match.is_some_and(|tags| tags.split(',').any(|tag| is_same(tag.trim()))) {
            return Wanted::Nothing;
        }
        if self.head {
            return Wanted::Head;
        }
        let range = self.range.filter(|_| self.if_range.is_none_or(|tag| tag.trim() == etag));
        range.and_then(parse).map_or(Wanted::Whole, Wanted::Part)
    }
}

fn parse(range: &str) -> Option<Part> {
    let (unit, part) = range.split_once('=')?;
    let (first, last) = part.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    match (first.trim(), last.trim()) {
        ("", last) => Some(Part::Last(number(last)?)),
        (first, "") => Some(Part::Between(number(first)?, u64::MAX - 1)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Part::Between(first, last))
        }
    }
}

/// A number of any length; what is larger than any file is the largest.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX - 1).min(u64::MAX - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, of_ten) in [
            ("bytes=0-0", Some(0..1)),
            ("bytes=2-5", Some(2..6)),
            ("bytes=5-99999999999999999999999", Some(5..10)),
            ("bytes=9-", Some(9..10)),
            ("Bytes = 3 - 4", Some(3..5)),
            ("bytes=-3", Some(7..10)),
            ("bytes=-99", Some(0..10)),
            ("bytes=10-", None),
            ("bytes=10-20", None),
            ("bytes=-0", None),
            ("bytes=99999999999999999999999-", None),
        ] {
            let part = parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(part.of(10), of_ten, "{text}");
        }
        for left_out in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=0x1-2",
        ] {
            assert_eq!(parse(left_out), None, "{left_out}");
        }
    }

    #[test]
    fn conditions() {
        let asked = Asked { range: Some("bytes=0-1"), ..Asked::default() };
        assert_eq!(asked.wanted("\"a\""), Wanted::Part(Part::Between(0, 1)));
        assert_eq!(Asked { if_range: Some("\"b\""), ..asked }.wanted("\"a\""), Wanted::Whole);
        assert_eq!(Asked { if_range: Some("W/\"a\""), ..asked }.wanted("\"a\""), Wanted::Whole, "a weak tag");
        assert_eq!(Asked { if_range: Some("\"a\""), ..asked }.wanted("\"a\""), asked.wanted("\"a\""));
        assert_eq!(Asked { head: true, ..asked }.wanted("\"a\""), Wanted::Head);
        for (tags, wanted) in [
            ("\"a\"", Wanted::Nothing),
            ("\"b\", W/\"a\"", Wanted::Nothing),
            ("*", Wanted::Nothing),
            ("\"b\"", Wanted::Whole),
            ("a", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(
                Asked { none_match: Some(tags), ..Asked::default() }.wanted("\"a\""),
                wanted,
                "{tags}"
            );
        }
    }
}
