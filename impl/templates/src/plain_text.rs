//! Owns the plain text of a mail, derived from its sanitised HTML.

/// Elements that stand on lines of their own.
const BLOCKS: &[&str] = &[
    "p",
    "div",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "ul",
    "ol",
    "table",
    "section",
    "main",
    "header",
    "footer",
    "article",
    "blockquote",
    "pre",
    "center",
    "address",
    "dl",
];

/// The text of well-formed HTML: blocks as paragraphs, list items with a dash, cells with a space between, links
/// with their address behind.
pub(crate) fn from_html(html: &str) -> String {
    let mut writer = Writer::default();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        writer.text(&rest[..start]);
        let Some(length) = rest[start..].find('>') else { break };
        writer.tag(&rest[start + 1..start + length]);
        rest = &rest[start + length + 1..];
    }
    if !rest.contains('<') {
        writer.text(rest);
    }
    writer.finish()
}

#[derive(Default)]
struct Writer {
    out: String,
    /// Line breaks that come before the next text: 2 for a paragraph.
    breaks: usize,
    /// Whether a blank comes before the next text.
    blank: bool,
    /// Address of the link that is open, and where its text starts.
    link: Option<(String, usize)>,
}

impl Writer {
    fn text(&mut self, html: &str) {
        let text = unescape(html);
        if text.starts_with(is_blank) {
            self.blank = true;
        }
        for word in text.split(is_blank).filter(|word| !word.is_empty()) {
            self.gap();
            self.out.push_str(word);
            self.blank = true;
        }
        self.blank = text.ends_with(is_blank) || (self.blank && text.trim_matches(is_blank).is_empty());
    }

    fn gap(&mut self) {
        if !self.out.is_empty() {
            if self.breaks > 0 {
                self.out.extend(std::iter::repeat_n('\n', self.breaks));
            } else if self.blank && !self.out.ends_with(['\n', ' ']) {
                self.out.push(' ');
            }
        }
        self.breaks = 0;
        self.blank = false;
    }

    fn tag(&mut self, tag: &str) {
        let closing = tag.starts_with('/');
        let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap_or_default();
        match name {
            "br" => self.breaks = (self.breaks + 1).min(2),
            "li" if !closing => {
                self.breaks = self.breaks.max(1);
                self.gap();
                self.out.push_str("- ");
            }
            "tr" => self.breaks = self.breaks.max(1),
            "td" | "th" => self.blank = true,
            "hr" => self.breaks = 2,
            "a" if !closing => {
                self.link = attribute(tag, "href").map(|href| (href, self.out.len()));
            }
            "a" => {
                if let Some((href, start)) = self.link.take() {
                    let address = href.strip_prefix("mailto:").unwrap_or(&href);
                    let shown = self.out.get(start..).unwrap_or_default().trim();
                    if shown != address {
                        let form = if shown.is_empty() { format!(" {href}") } else { format!(" ({href})") };
                        self.out.push_str(&form);
                    }
                }
            }
            name if BLOCKS.contains(&name) => self.breaks = 2,
            _ => {}
        }
    }

    fn finish(self) -> String {
        let mut text = self.out.trim().to_owned();
        text.push('\n');
        text
    }
}

/// Blanks that HTML runs together; those that break no line are kept.
fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\n' | '\t' | '\r')
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let length = tag[start..].find('"')?;
    Some(unescape(&tag[start..start + length]))
}

/// The entities that the sanitiser writes.
fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&nbsp;", "\u{a0}")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_reads_well_as_text() {
        let html = "<div>\n<h1>Invoice&nbsp;1</h1>\n<p>Dear <b>J. &amp; Co</b>,<br>please pay.</p>\n\
                    <ul><li>one</li><li>two</li></ul><table><tbody><tr><td>Total</td><td>12.00</td></tr>\
                    <tr><td>Due</td><td>3.00</td></tr></tbody></table>\
                    <p><a href=\"https://x.example/?a=1&amp;b=2\" rel=\"noopener\">Open</a></p>\
                    <p><a href=\"mailto:a@x.example\">a@x.example</a></p></div>";
        assert_eq!(
            from_html(html),
            "Invoice\u{a0}1\n\nDear J. & Co,\nplease pay.\n\n- one\n- two\n\nTotal 12.00\nDue 3.00\n\n\
             Open (https://x.example/?a=1&b=2)\n\na@x.example\n"
        );
    }

    #[test]
    fn odd_ends_do_no_harm() {
        for html in ["", "<", "a<", "<b", "<a href=\"", "</a>", "&amp;lt;", "<li>"] {
            from_html(html);
        }
        assert_eq!(from_html("&amp;lt;"), "&lt;\n");
    }
}
