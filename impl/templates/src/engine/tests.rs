use super::*;
use crate::samples;

fn html(source: &str) -> Result<String, RenderError> {
    let context = samples::context(Kind::Invoice, Language::De);
    let template = Template { kind: Kind::Invoice, subject: None, html: source, css: None };
    match render(&template, &context)? {
        Rendered::Document { html, .. } => Ok(html),
        Rendered::Mail { .. } => panic!("a document is no mail"),
    }
}

fn refused(source: &str) -> String {
    html(source).expect_err(source).to_string()
}

#[test]
fn filters_write_in_the_language_of_the_document() {
    for (source, wanted) in [
        ("{{ totals.due_cents|money }}", "580,80\u{a0}€"),
        ("{{ 5|money(\"USD\") }}", "0,05\u{a0}$"),
        ("{{ invoice.due_date_iso|date }}", "15.\u{a0}März 2026"),
        ("{{ invoice.due_date_iso|date(\"short\") }}", "15.03.2026"),
        ("{{ lines[1].quantity_raw|number }}", "1.250.000"),
        ("{{ 1.005|number(2) }} {{ \"2\"|number(2) }} {{ 1e3|number }}", "1,01 2,00 1.000"),
        ("{{ 5.5|percent }}", "5,5\u{a0}%"),
        ("[{{ invoice.referenced_number }}{{ none|money }}{{ none|date }}]", "[]"),
        (
            "<style>{{ \"A & \\\"B\\\\ </style>é\"|css_string }}",
            "<style>A \\26  \\22 B\\5c  \\3c \\2f style\\3e é",
        ),
        ("<!--JS:for line in lines-->{{ line.position }}<!--JS:endfor-->", "12"),
    ] {
        assert_eq!(html(source).unwrap(), wanted, "{source}");
    }
}

#[test]
fn filters_refuse_what_makes_no_sense() {
    for (source, wanted) in [
        (
            "\n {{ \"x\"|money }}",
            "html_content, line 2, column 9: invalid operation: money wants a whole number of cents",
        ),
        ("{{ 1|money(\"XYZ\") }}", "unknown currency"),
        ("{{ 1|date }}", "date wants a day"),
        ("{{ \"2026-03-01\"|date(\"odd\") }}", "date knows the styles"),
        ("{{ \"x\"|number }}", "number wants a number"),
        ("{{ 1|number(99) }}", "at most 12 decimals"),
        ("{{ [1]|percent }}", "percent wants a number"),
    ] {
        let told = refused(source);
        assert!(told.contains(wanted), "{source}: {told}");
    }
}

#[test]
fn everything_is_escaped() {
    let mut document = samples::invoice();
    document.buyer.name = "<script>alert(1)</script> & \"Söhne\"".into();
    document.lines[0].description = "{{ 7 * 7 }} <b>bold</b>".into();
    let context = Context::Document(Box::new(InvoiceContext::new(&document, Language::En).unwrap()));
    let source = "<p title=\"{{ buyer.name }}\">{{ lines[0].description }}</p>{{ payment.qr_svg }}";
    let template = Template { kind: Kind::Invoice, subject: None, html: source, css: None };
    let Rendered::Document { html, .. } = render(&template, &context).unwrap() else { panic!("a document") };
    assert!(html.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt; &amp; &quot;Söhne&quot;"), "{html}");
    assert!(html.contains("{{ 7 * 7 }} &lt;b&gt;bold"), "{html}");
    // Our own drawing is not.
    assert!(html.contains("<svg xmlns="), "{html}");
}

#[test]
fn work_memory_and_output_are_bounded() {
    for source in [
        "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(100) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% set x = \"x\" * 90000000 %}",
        "{% for a in range(9999) %}{{ \"x\" * 9999 }}{% endfor %}",
        "{% set ns = namespace(s=\"xx\") %}{% for a in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for a in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
        "{{ range(100000000000)|list }}",
        "{{ 10 ** 1000000 }}",
    ] {
        refused(source);
    }
}

#[test]
fn there_is_nothing_to_load() {
    for source in
        ["{% include \"/etc/passwd\" %}", "{% extends \"x\" %}", "{% from \"x\" import y %}", "{{ debug() }}"]
    {
        refused(source);
    }
}

#[test]
fn what_is_not_there_fails_at_its_place() {
    let told = refused("<p>\n{% macro m(x) %}\n  {{ x.odd }}{% endmacro %}{{ m(seller) }}");
    assert!(told.starts_with("html_content, line 3, column 6: undefined value"), "{told}");
}

#[test]
fn data_of_another_kind_is_refused() {
    let template = Template { kind: Kind::CreditNote, subject: None, html: "x", css: None };
    for kind in [Kind::Invoice, Kind::EmailCreditNote, Kind::EmailTrialEnding] {
        let context = samples::context(kind, Language::En);
        assert_eq!(render(&template, &context), Err(RenderError::Context(Kind::CreditNote)));
    }
    for kind in Kind::ALL {
        let template = Template { kind: *kind, subject: Some("x"), html: "x", css: None };
        for other in Kind::ALL {
            let fits = render(&template, &samples::context(*other, Language::En)).is_ok();
            assert_eq!(fits, kind == other, "{kind} {other}");
        }
    }
}

#[test]
fn mails_have_a_subject_of_one_line_and_a_text() {
    let template = Template {
        kind: Kind::EmailPaymentFailed,
        subject: Some(" {{ invoice.number }}\n{{ buyer.name }} "),
        html: "<p onclick=\"x()\">Pay <a href=\"{{ mail.portal_url }}\">here</a></p><script>x</script>",
        css: Some("p { color: red }"),
    };
    let mut document = samples::invoice();
    document.buyer.name = "A\r\nBcc: evil@example.com".into();
    let mail =
        PaymentFailedMail::new(&document, &samples::payment_failed(), &samples::envelope(), Language::En);
    let Rendered::Mail { subject, html, text } =
        render(&template, &Context::PaymentFailed(Box::new(mail.unwrap()))).unwrap()
    else {
        panic!("a mail")
    };
    assert_eq!(subject, "SCAI-2026-000042 A Bcc: evil@example.com");
    assert_eq!(text, "Pay here (https://portal.noordzee.example/billing)\n");
    assert!(html.contains("<p>Pay <a href=\"https://portal.noordzee.example/billing\""), "{html}");
    assert!(html.contains("<style>p { color: red }</style>") && !html.contains("script"), "{html}");
}

#[test]
fn a_thousand_lines_are_written_with_fuel_to_spare() {
    let mut document = samples::invoice();
    let mut line = document.lines[0].clone();
    line.description = "x".repeat(1_000);
    document.lines = vec![line; 1_000];
    let context = Context::Document(Box::new(InvoiceContext::new(&document, Language::Fr).unwrap()));
    let template = crate::defaults::find(Kind::Invoice, Language::Fr).unwrap().template();
    let Rendered::Document { html, .. } = render(&template, &context).unwrap() else { panic!("a document") };
    assert!(html.len() < limits::MAX_OUTPUT_BYTES / 4, "{}", html.len());
    let env: &Environment<'_> = &ENVIRONMENT;
    let compiled = env.template_from_named_str("template.html", template.html).unwrap();
    let captured = compiled.render_captured(Value::from(Serde(&context))).unwrap();
    let (used, left) = captured.state().fuel_levels().unwrap();
    assert!(used < left / 4, "{used} used, {left} left");
}
