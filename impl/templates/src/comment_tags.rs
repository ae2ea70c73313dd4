//! Owns control tags that are written as HTML comments, as visual editors keep them: `<!--JS:if x-->` is
//! `{% if x %}`.
//!
//! The decoded source has the same length, lines and columns as what the user wrote, so that every later message
//! points at the right place.

use std::borrow::Cow;

const OPEN: &str = "<!--";
const CLOSE: &str = "-->";
const MARK: &str = "JS:";

/// A comment tag that is never closed, by its byte offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unclosed(pub usize);

/// The source with its comment tags as tags of the template language.
///
/// Inside a tag the entities `&lt;`, `&gt;`, `&amp;` and `&quot;` stand for their characters, since editors write
/// them. Other comments stay.
pub(crate) fn decode(source: &str) -> Result<Cow<'_, str>, Unclosed> {
    let mut out = String::new();
    let mut done = 0;
    let mut from = 0;
    while let Some(found) = source[from..].find(OPEN) {
        let start = from + found;
        let inside = start + OPEN.len();
        let text = source[inside..].trim_start();
        let Some(text) = text.strip_prefix(MARK) else {
            from = inside;
            continue;
        };
        let Some(length) = text.find(CLOSE) else { return Err(Unclosed(start)) };
        let body = source.len() - text.len();
        let end = body + length;
        out.push_str(&source[done..start]);
        // `{%` and ` %}` are as long as what they replace once blanks fill the room; lines stay where they are.
        out.push_str("{%");
        out.extend(source[start + 2..body].chars().map(|char| if char == '\n' { '\n' } else { ' ' }));
        push_decoded(&mut out, &text[..length]);
        out.push_str(" %}");
        done = end + CLOSE.len();
        from = done;
    }
    if done == 0 {
        return Ok(Cow::Borrowed(source));
    }
    out.push_str(&source[done..]);
    Ok(Cow::Owned(out))
}

fn push_decoded(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&quot;", '"')]
            .into_iter()
            .find(|(entity, _)| rest.starts_with(entity));
        match known {
            Some((entity, char)) => {
                out.push(char);
                out.extend(std::iter::repeat_n(' ', entity.len() - 1));
                rest = &rest[entity.len()..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_keep_their_place() {
        let source = "<p>\n<!--JS:if totals.due_cents &gt; 0-->é<!-- JS:endif --> <!-- plain --></p>";
        let decoded = decode(source).unwrap();
        assert_eq!(decoded, "<p>\n{%     if totals.due_cents >    0 %}é{%      endif  %} <!-- plain --></p>");
        assert_eq!(decoded.len(), source.len());
        let many_lines = "<!--\nJS:if\n x-->";
        assert_eq!(decode(many_lines).unwrap(), "{%  \n   if\n x %}");
    }

    #[test]
    fn nothing_to_do_copies_nothing() {
        assert!(matches!(decode("<!-- a --> {% if x %}"), Ok(Cow::Borrowed(_))));
        assert!(matches!(decode("<!--"), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn an_open_end_is_refused_at_its_start() {
        assert_eq!(decode("ab<!--JS:if x"), Err(Unclosed(2)));
    }
}
