//! The renderer as the server uses it: a program with pipes.

mod cases;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use scaicontrol_templates::Language;
use scaicontrol_templates::job::{Base64, Exit, Job, Limits};

fn run(input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_scaicontrol-render"))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is there");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    // One that ends early does not read on.
    let give = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("it ends");
    give.join().expect("no panic");
    output
}

fn render(job: &Job) -> Output {
    run(&serde_json::to_vec(job).expect("a job is JSON"))
}

fn pdf(job: &Job) -> Vec<u8> {
    let output = render(job);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(output.stdout.starts_with(b"%PDF-1.7"), "{told}");
    assert!(output.stdout.trim_ascii_end().ends_with(b"%%EOF"));
    output.stdout
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn refused(output: &Output, exit: Exit) -> String {
    assert_eq!(output.status.code(), Some(i32::from(exit.code())));
    assert_eq!(output.stdout, b"");
    let told = String::from_utf8(output.stderr.clone()).expect("text");
    told.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn every_case_is_made_and_says_that_it_is_pdf_a() {
    for (name, document) in cases::all() {
        let pdf = pdf(&cases::job(&document, Language::Fr));
        for mark in
            ["<pdfaid:part>3</pdfaid:part>", "<pdfaid:conformance>B</pdfaid:conformance>", "/OutputIntents"]
        {
            assert!(contains(&pdf, mark), "{name}: {mark}");
        }
    }
}

#[test]
fn the_same_job_gives_the_same_bytes() {
    let job = cases::job(&cases::mixed(), Language::Nl);
    let first = pdf(&job);
    assert_eq!(first, pdf(&job));
    assert_eq!(first, scaicontrol_render::render(&job).expect("a PDF"));
    let later = Job { created: "2026-03-02T09:00:00".into(), ..job };
    assert_ne!(first, pdf(&later));
}

#[test]
fn no_character_keeps_a_document_from_being_made() {
    let every_script =
        "日本語 한국어 العربية עברית हिन्दी ไทย ქართული Հայերեն 🎉 𝔘 \u{301}x e\u{301} ﷽ \u{e000} \u{10ffff}";
    for html in [
        format!("<p>{every_script}</p>"),
        format!("<b><i>{every_script}</i></b>"),
        format!("<p style='font-family: Papyrus, cursive'>{every_script}</p>"),
        "<p>&#x4e2d;&#128512;&#xfeff;</p><ul style='list-style: \"\\4e2d\"'><li>x</li></ul>".to_owned(),
        "<style>p::after { content: \"\\4e2d 東\" } @page { @top-left { content: \"東 \\1f389\" } }</style><p>x</p>".to_owned(),
    ] {
        pdf(&cases::page(html, String::new()));
    }
    let css = "p::before { content: '\\6771 京' }";
    pdf(&cases::page("<p>x</p>".into(), css.into()));
}

#[test]
fn all_text_has_a_font() {
    for html in [
        "<p>plain</p>",
        "<p style=\"font-family: Arial, sans-serif\">x</p>",
        "<pre>x</pre>",
        "<p style='font: 10pt Georgia'>x</p>",
        "<style>p { font-family: 'Comic Sans MS' }</style><p>x</p>",
    ] {
        let pdf = pdf(&cases::page(html.into(), String::new()));
        assert!(contains(&pdf, "NotoSans"), "{html}");
    }
}

#[test]
fn images_of_every_kind_are_drawn_and_broken_ones_do_no_harm() {
    let page = |name: &str, bytes: &[u8]| Job {
        images: [(name.to_owned(), Base64(bytes.to_vec()))].into(),
        ..cases::page(format!("<img src=\"{name}\">"), String::new())
    };
    for (name, bytes) in [
        ("a.gif", include_bytes!("cases/pixels.gif").as_slice()),
        ("/api/v1/uploads/b.webp", include_bytes!("cases/pixels.webp")),
        ("c.jpeg", include_bytes!("cases/pixels.jpeg")),
        // In colours of print, which PDF/A takes with a profile only.
        ("d.jpeg", include_bytes!("cases/cmyk.jpeg")),
    ] {
        assert!(contains(&pdf(&page(name, bytes)), "/Subtype /Image"), "{name}");
    }
    for bytes in [
        b"".as_slice(),
        b"RIFF\x00\x00\x00\x00WEBPVP8 ",
        b"\x89PNG\r\n\x1a\n\x00",
        b"GIF89a",
        b"\xff\xd8\xff",
    ] {
        pdf(&page("logo.png", bytes));
    }
    pdf(&cases::page(
        "<img src=\"gone.png\"><img src=\"https://example.com/x.png\"><img src='file:///etc/hostname'>"
            .into(),
        String::new(),
    ));
}

#[test]
fn a_job_that_cannot_be_read_is_told_so() {
    assert!(refused(&run(b""), Exit::BadJob).contains("the job cannot be read"));
    assert!(refused(&run(b"{\"html\": 1}"), Exit::BadJob).contains("the job cannot be read"));
    assert!(refused(&run(&vec![b' '; 49 << 20]), Exit::BadJob).contains("too large"));
}

#[test]
fn hostile_pages_end_within_their_limits() {
    let limits = Limits { cpu_seconds: 5, memory_bytes: 1 << 30 };
    for html in [
        "<div>".repeat(200_000),
        "<table><tr><td>".repeat(20_000),
        "<div style='height: 99999999px'>x</div>".to_owned(),
        "<div style='column-count: 2000000000'>x</div>".to_owned(),
        format!("<svg viewBox='0 0 1 1'>{}</svg>", "<g>".repeat(100_000)),
        "<svg xmlns='http://www.w3.org/2000/svg'><defs><g id='a'><use href='#a'/></g></defs><use href='#a'/></svg>".to_owned(),
    ] {
        let output = render(&Job { limits, ..cases::page(html.clone(), String::new()) });
        let start: String = html.chars().take(40).collect();
        // A PDF, a refusal, or an end by its own limits: never a part of a PDF that says that it is whole.
        assert!(output.status.success() == contains(&output.stdout, "%%EOF"), "{start}");
    }
}

#[test]
fn a_thousand_lines_fit_their_limits() {
    let job = cases::job(&cases::lines(1_000), Language::It);
    assert!(pdf(&job).len() < 2_000_000);
}
