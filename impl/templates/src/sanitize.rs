//! Owns what a mail may hold: no scripts, no foreign images, links of known kinds.

use std::borrow::Cow;
use std::collections::HashSet;

use ammonia::Builder;

/// Style properties that mail programs know and that cannot load anything.
const STYLE_PROPERTIES: &[&str] = &[
    "background",
    "background-color",
    "border",
    "border-bottom",
    "border-collapse",
    "border-color",
    "border-left",
    "border-radius",
    "border-right",
    "border-spacing",
    "border-style",
    "border-top",
    "border-width",
    "color",
    "display",
    "font",
    "font-family",
    "font-size",
    "font-style",
    "font-weight",
    "height",
    "letter-spacing",
    "line-height",
    "margin",
    "margin-bottom",
    "margin-left",
    "margin-right",
    "margin-top",
    "max-width",
    "min-width",
    "padding",
    "padding-bottom",
    "padding-left",
    "padding-right",
    "padding-top",
    "text-align",
    "text-decoration",
    "text-transform",
    "vertical-align",
    "white-space",
    "width",
    "word-break",
    "overflow-wrap",
];

/// The body of a mail, sanitised. Images may be parts of the mail (`cid:`) or come from the host of the portal.
pub(crate) fn mail_body(html: &str, portal_url: Option<&str>) -> String {
    let origin = portal_url.and_then(origin).map(str::to_owned);
    let mut builder = Builder::default();
    builder
        .add_tags(["main", "section"])
        .add_clean_content_tags(["title"])
        .add_generic_attributes(["class", "style", "dir"])
        .add_tag_attributes("table", ["width", "cellpadding", "cellspacing", "border", "bgcolor", "role"])
        .add_tag_attributes("td", ["width", "height", "valign", "bgcolor"])
        .add_tag_attributes("th", ["width", "valign", "bgcolor"])
        .filter_style_properties(STYLE_PROPERTIES.iter().copied().collect::<HashSet<_>>())
        .url_schemes(["http", "https", "mailto", "tel", "cid"].into())
        .attribute_filter(move |element, attribute, value| {
            let allowed = match (element, attribute) {
                ("img", "src") => {
                    value.starts_with("cid:")
                        || origin.as_deref().is_some_and(|origin| {
                            value.strip_prefix(origin).is_some_and(|path| path.starts_with('/'))
                        })
                }
                (_, "style") => !value.to_ascii_lowercase().contains("url("),
                _ => true,
            };
            allowed.then_some(Cow::Borrowed(value))
        });
    builder.clean(html).to_string()
}

/// Scheme and host of an absolute address.
fn origin(url: &str) -> Option<&str> {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let scheme = url.len() - host.len();
    let length = host.find(['/', '?', '#']).unwrap_or(host.len());
    (length > 0).then(|| &url[..scheme + length])
}

/// A whole page around a sanitised body. The style sheet was checked when it was stored.
pub(crate) fn mail_page(body: &str, css: &str, subject: &str, language: &str) -> String {
    let title = ammonia::clean_text(subject);
    // A style element ends at the first `</`; a checked style sheet has none.
    let css = css.replace("</", "<\\/");
    format!(
        "<!DOCTYPE html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{css}</style>\n\
         </head>\n<body>\n{body}\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_or_loads_is_taken_out() {
        let portal = Some("https://portal.example/billing");
        for (html, clean) in [
            ("<p onclick=\"x()\">a</p><script>x()</script>", "<p>a</p>"),
            ("<a href=\"javascript:x()\">a</a>", "<a rel=\"noopener noreferrer\">a</a>"),
            ("<img src=\"https://evil.example/x.png\" alt=\"a\">", "<img alt=\"a\">"),
            ("<img src=\"https://portal.example.evil.example/x.png\">", "<img>"),
            ("<img src=\"https://portal.example/x.png\">", "<img src=\"https://portal.example/x.png\">"),
            ("<img src=\"cid:logo\">", "<img src=\"cid:logo\">"),
            ("<html><head><title>t</title><style>p{}</style></head><body><p>a</p></body></html>", "<p>a</p>"),
            ("<p style=\"color: red; position: fixed\">a</p>", "<p style=\"color:red\">a</p>"),
            ("<p style=\"background: url(https://evil.example)\">a</p>", "<p>a</p>"),
        ] {
            assert_eq!(mail_body(html, portal), clean, "{html}");
        }
    }

    #[test]
    fn a_page_cannot_be_broken_out_of() {
        let page = mail_page("<p>a</p>", "p{}</style><script>", "</title><script>x", "en");
        assert!(!page.contains("<script>x"), "{page}");
        assert_eq!(page.matches("</style>").count(), 1, "{page}");
    }
}
