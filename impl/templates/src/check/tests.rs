use super::*;
use crate::samples;

fn problems(kind: Kind, html: &str) -> Vec<String> {
    let subject = kind.is_mail().then_some("x");
    check(&Template { kind, subject, html, css: None }).iter().map(ToString::to_string).collect()
}

fn invoice(html: &str) -> Vec<String> {
    problems(Kind::Invoice, html)
}

#[test]
fn faults_are_told_with_line_and_column() {
    for (html, wanted) in [
        ("<p>\n  {{ invoice.nmber }}", "line 2, column 6: unknown variable: there is no \"nmber\" here"),
        ("é {{ foo }}", "line 1, column 6: unknown variable \"foo\""),
        (
            "{% for line in lines %}\n{{ line.amout }}\n{% endfor %}",
            "line 2, column 4: unknown variable: there is no \"amout\" here",
        ),
        ("{{ totals.due.cents }}", "line 1, column 4: unknown variable: a text has no \"cents\""),
        ("{{ lines.amount }}", "line 1, column 4: a list has no \"amount\": go through it with a loop"),
        ("{{ invoice[\"nmber\"] }}", "line 1, column 4: unknown variable: there is no \"nmber\" here"),
        ("{{ lines[0].amout }}", "line 1, column 4: unknown variable: there is no \"amout\" here"),
        ("{{ (lines|first).amout }}", "line 1, column 5: unknown variable: there is no \"amout\" here"),
        ("{% set x = seller %}{{ x.nam }}", "line 1, column 24: unknown variable: there is no \"nam\" here"),
        ("{{ seller }}", "line 1, column 4: an object cannot be printed"),
        ("{% for x in totals.due %}{% endfor %}", "line 1, column 13: a text is no list to go through"),
        ("{{ totals.due|mony }}", "line 1, column 4: unknown filter \"mony\""),
        ("{{ totals.due|safe }}", "line 1, column 4: unknown filter \"safe\""),
        ("{% if totals.due is evn %}{% endif %}", "line 1, column 7: unknown test \"evn\""),
        ("{{ seller.name.upper() }}", "line 1, column 4: a text has no method \"upper\""),
        ("{% autoescape false %}{% endautoescape %}", "line 1, column 15: escaping cannot be switched off"),
        ("\n<!--JS:if foo-->x<!--JS:endif-->", "line 2, column 11: unknown variable \"foo\""),
        ("a\nb <!--JS:if x", "line 2, column 3: a tag written as a comment has no end: -->"),
        ("{{ subscription.plan }}", "line 1, column 4: unknown variable \"subscription\""),
        (
            "<img src=\"http://evil.example\">",
            "line 1, column 6: addresses outside this installation are not loaded",
        ),
    ] {
        assert_eq!(invoice(html), [format!("html_content, {wanted}")], "{html}");
    }
}

#[test]
fn what_does_not_compile_is_refused_at_its_place() {
    for (html, line) in [
        ("{% if x %}", 1),
        ("a\n{{ 1 + }}", 2),
        ("a\n\n{% endfor %}", 3),
        ("{% include \"x\" %}", 1),
        ("{% extends \"x\" %}", 1),
        ("{% import \"x\" as y %}", 1),
        ("\n{{ \"x", 2),
    ] {
        let found = check(&Template { kind: Kind::Invoice, subject: None, html, css: None });
        assert_eq!(found.len(), 1, "{html} {found:?}");
        assert_eq!(found[0].line, line, "{html} {found:?}");
    }
}

#[test]
fn what_is_right_passes() {
    for html in [
        "{% for line in lines if line.amount_cents > 0 %}{{ loop.index }} {{ line.amount }}{% else %}-{% endfor %}",
        "{% set ns = namespace(n=0) %}{% for line in lines %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
        "{% macro row(a, b=1) %}{{ a.whatever }}{{ b }}{% endmacro %}{{ row(seller) }}",
        "{% if invoice.is_draft %}{% set x = 1 %}{% endif %}{{ x }}",
        "{% with p = seller %}{{ p.name }}{% endwith %}",
        "{{ lines|map(attribute=\"amount\")|join(\", \") }}",
        "{{ totals.due_cents|money }} {{ invoice.due_date_iso|date(\"short\") }} {{ 2|number(2) }} {{ 21|percent }}",
        "{{ lines|length }} {{ (lines|last).amount }} {{ lines[0].amount }} {{ lines[:2]|length }}",
        "{% for n in range(3) %}{{ loop.cycle(\"a\", \"b\") }}{% endfor %}",
        "{{ invoice.number or labels.draft }} {{ \"a\" if invoice.is_void else \"b\" }}",
        "{% set block %}x{% endset %}{{ block }}{% filter upper %}x{% endfilter %}",
        "{% raw %}{{ foo }}{% endraw %}{# {{ foo }} #}",
    ] {
        assert_eq!(invoice(html), [] as [&str; 0], "{html}");
    }
}

#[test]
fn subjects_belong_to_mails() {
    let template = |kind, subject| Template { kind, subject, html: "x", css: None };
    assert_eq!(check(&template(Kind::EmailInvoice, Some("{{ invoice.number }}"))), []);
    let told =
        |kind, subject| check(&template(kind, subject)).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(told(Kind::EmailInvoice, None), ["subject, line 1, column 1: a mail needs a subject"]);
    assert_eq!(told(Kind::Invoice, Some("x")), ["subject, line 1, column 1: a document has no subject"]);
    assert_eq!(
        told(Kind::EmailTrialEnding, Some("{{ invoice.number }}")),
        ["subject, line 1, column 4: unknown variable \"invoice\""]
    );
}

#[test]
fn sizes_are_limited_and_so_is_the_list() {
    let large = "x".repeat(limits::MAX_HTML_BYTES + 1);
    assert_eq!(invoice(&large), ["html_content, line 1, column 1: longer than 1000000 bytes"]);
    let many = "{{ foo }}\n".repeat(1000);
    assert_eq!(invoice(&many).len(), limits::MAX_PROBLEMS);
    let css = "p { background: url(//evil.example) }</style>";
    let found = check(&Template { kind: Kind::Invoice, subject: None, html: "x", css: Some(css) });
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "css_content, line 1, column 17: addresses outside this installation are not loaded",
            "css_content, line 1, column 38: a style sheet holds no tags"
        ]
    );
}

#[test]
fn hostile_sources_end_soon() {
    for html in [
        "{% if 1 %}".repeat(10_000),
        "(".repeat(20_000),
        format!("{{{{ {} }}}}", "(".repeat(20_000)),
        format!("{{{{ {}1 }}}}", "not ".repeat(20_000)),
        format!("{{{{ {}1 }}}}", "1 + ".repeat(20_000)),
        format!("{{{{ {} }}}}", "[".repeat(20_000)),
        format!("{{{{ seller{} }}}}", ".name".repeat(20_000)),
        format!("{{{{ {}1 }}}}", "1 ~ ".repeat(20_000)),
        format!("{{{{ 1{} }}}}", "|upper".repeat(20_000)),
        format!("{{{{ 1{} }}}}", " is odd".repeat(20_000)),
        format!("{{{{ 1{} }}}}", "[0]".repeat(20_000)),
        format!("{{{{ {}1 }}}}", "-".repeat(20_000)),
        format!("{{{{ {}1 }}}}", "1 if 1 else ".repeat(10_000)),
        format!("{{{{ {}1 }}}}", "1 and ".repeat(10_000)),
        format!("{{{{ 1{} }}}}", " < 1".repeat(20_000)),
        format!("{{% if 1 %}}{}{{% endif %}}", "{% elif 1 %}".repeat(10_000)),
        format!("{}{}", "{% if 1 %}".repeat(140), "{% endif %}".repeat(140)),
        "<".repeat(100_000),
        "<a ".repeat(20_000),
        "<script>".repeat(20_000),
        "<p onclick=x style='background:url(//x)'>".repeat(20_000),
        "@import url(//x) </".repeat(20_000),
        "<style>@import".repeat(10_000),
        "{{".repeat(60_000),
        "\u{0}".repeat(1000),
    ] {
        let css = Some(&html[..html.len().min(100_000)]);
        let template = Template { kind: Kind::Invoice, subject: None, html: &html, css };
        check(&template);
        let _ = crate::render(&template, &samples::context(Kind::Invoice, crate::Language::En));
    }
}

#[test]
fn every_listed_variable_may_be_used() {
    for kind in Kind::ALL {
        for variable in crate::variables(*kind) {
            if matches!(variable.type_name, "list" | "object") {
                continue;
            }
            let html = match variable.name.split_once("[].") {
                None => format!("{{{{ {} }}}}", variable.name),
                Some((list, field)) => format!("{{% for x in {list} %}}{{{{ x.{field} }}}}{{% endfor %}}"),
            };
            assert_eq!(problems(*kind, &html), [] as [&str; 0], "{html}");
            let template =
                Template { kind: *kind, subject: kind.is_mail().then_some("x"), html: &html, css: None };
            let context = samples::context(*kind, crate::Language::De);
            crate::render(&template, &context).unwrap_or_else(|error| panic!("{html}: {error}"));
        }
    }
}
