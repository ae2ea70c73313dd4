//! Files that are made to hurt: each is refused, or judged, within a second and bounded memory.

use std::io::Write;
use std::time::{Duration, Instant};

use chrono::DateTime;
use scaicontrol_einvoice::{Limits, Profile, Unreadable, build, embed, validate};

use crate::pdf::pdf_a3;
use crate::support::case;

/// Far above what a debug build takes on a busy machine, far below what a quadratic step would take.
const PATIENCE: Duration = Duration::from_secs(20);

fn judge(what: &str, bytes: &[u8]) -> Result<bool, Unreadable> {
    let begin = Instant::now();
    let result = validate(bytes, &Limits::default()).map(|report| report.valid);
    assert!(begin.elapsed() < PATIENCE, "{what} took {:?}", begin.elapsed());
    result
}

fn refused(what: &str, bytes: &[u8]) -> Unreadable {
    match judge(what, bytes) {
        Err(error) => error,
        Ok(valid) => panic!("{what} was judged: {valid}"),
    }
}

fn invoice() -> String {
    String::from_utf8(build(&case("domestic_business"), Profile::Ubl).expect("it builds").bytes)
        .expect("UTF-8")
}

const ROOT: &str = r#"<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2""#;

#[test]
fn entities_and_document_types() {
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;&lol;\">]><Invoice>&lol2;</Invoice>";
    let external = "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><Invoice>&e;</Invoice>";
    let parameter = "<!DOCTYPE x [<!ENTITY % p SYSTEM \"http://example.com/x.dtd\"> %p;]><Invoice/>";
    let public = "<!DOCTYPE Invoice PUBLIC \"a\" \"http://example.com/a.dtd\"><Invoice/>";
    for text in [bomb, external, parameter, public] {
        assert_eq!(refused(text, text.as_bytes()), Unreadable::DocumentType);
    }
    let unknown = invoice().replace("Klant B.V.", "&unknown;");
    assert!(matches!(refused("unknown entity", unknown.as_bytes()), Unreadable::Xml(_)));
    let utf16: Vec<u8> =
        [0xfeff_u16].into_iter().chain(bomb.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    assert_eq!(refused("a bomb in UTF-16", &utf16), Unreadable::DocumentType);
}

#[test]
fn depth_and_size() {
    let deep = format!("{ROOT}>{}", "<a>".repeat(3_000_000));
    assert!(matches!(refused("nesting", deep.as_bytes()), Unreadable::TooMuch { what: "nesting", .. }));
    let hidden = format!("{ROOT}><!-- <a> -->{}{}</Invoice>", "<a b='>'>".repeat(60), "</a>".repeat(60));
    assert!(matches!(refused("hidden nesting", hidden.as_bytes()), Unreadable::TooMuch { .. }));
    let large = vec![b' '; (20 << 20) + 1];
    assert!(matches!(refused("size", &large), Unreadable::TooLarge { .. }));
    let wide = format!("{ROOT}>{}</Invoice>", "<a/>".repeat(400_000));
    assert!(matches!(refused("width", wide.as_bytes()), Unreadable::TooMuch { .. }));
}

#[test]
fn what_would_be_quadratic() {
    let attributes: String = (0..100_000).map(|n| format!(" a{n}=\"\"")).collect();
    let text = format!("{ROOT}{attributes}/>");
    assert!(matches!(refused("attributes", text.as_bytes()), Unreadable::TooMuch { what: "attributes", .. }));
    let spaces: String = (0..80).map(|n| format!(" xmlns:n{n}{}=\"u\"", " ".repeat(10_000))).collect();
    let text = format!("{ROOT}{spaces}/>");
    assert!(matches!(refused("spaces", text.as_bytes()), Unreadable::TooMuch { .. }));
    let nested: String = (0..30)
        .map(|d| format!("<a {}>", (0..60).map(|n| format!("xmlns:n{d}x{n}='u' ")).collect::<String>()))
        .collect();
    let text = format!("{ROOT}>{nested}");
    assert!(matches!(refused("namespaces", text.as_bytes()), Unreadable::TooMuch { what: "namespaces", .. }));
    let repeated = format!(
        "<cbc:ID xmlns:cbc=\"urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2\">1</cbc:ID>{}",
        "<x>1</x>".repeat(50_000)
    );
    let text = format!("{ROOT}>{repeated}</Invoice>");
    assert!(matches!(refused("repeats", text.as_bytes()), Unreadable::TooMuch { .. }));
}

/// The most that the limits let through has to be judged in time too: thousands of lines that each repeat what may
/// stand once, or that each say what may stand once in the document.
#[test]
fn the_largest_that_passes_is_judged_in_time() {
    let text = invoice();
    let (head, rest) = text.split_once("<cac:InvoiceLine>").expect("a line");
    let (line, _) = rest.split_once("</cac:InvoiceLine>").expect("its end");
    let noted = format!("<cac:InvoiceLine>{}{line}</cac:InvoiceLine>", "<cbc:Note>n</cbc:Note>".repeat(3));
    let large = format!("{head}{}</Invoice>", noted.repeat(2_000));
    assert_eq!(judge("lines", large.as_bytes()), Ok(false));
    let cii = String::from_utf8(build(&case("domestic_business"), Profile::Cii).expect("it builds").bytes);
    let cii = cii.expect("UTF-8");
    let date = "<ram:TaxPointDate><udt:DateString format='102'>20260301</udt:DateString></ram:TaxPointDate>";
    let (head, rest) = cii.split_once("<ram:IncludedSupplyChainTradeLineItem>").expect("a line");
    let (line, tail) = rest.split_once("</ram:IncludedSupplyChainTradeLineItem>").expect("its end");
    let dated =
        line.replace("<ram:TypeCode>VAT</ram:TypeCode>", &format!("<ram:TypeCode>VAT</ram:TypeCode>{date}"));
    let dated =
        format!("<ram:IncludedSupplyChainTradeLineItem>{dated}</ram:IncludedSupplyChainTradeLineItem>");
    let large = format!("{head}{}{tail}", dated.repeat(2_000));
    assert_eq!(judge("dates", large.as_bytes()), Ok(false));
    let lines = format!("{ROOT}>{}</Invoice>", "<InvoiceLine/>".repeat(10_002));
    assert!(matches!(refused("lines", lines.as_bytes()), Unreadable::TooMuch { what: "lines", .. }));
}

#[test]
fn encodings() {
    for declared in ["ISO-8859-1", "windows-1252", "UTF-7", "EBCDIC-CP-US"] {
        let text = invoice().replace("encoding=\"UTF-8\"", &format!("encoding=\"{declared}\""));
        assert!(matches!(refused(declared, text.as_bytes()), Unreadable::Encoding(_)), "{declared}");
    }
    let mut bytes = invoice().into_bytes();
    let at = bytes.windows(5).position(|window| window == b"Klant").expect("a name");
    bytes[at] = 0xff;
    assert!(matches!(refused("bad UTF-8", &bytes), Unreadable::Encoding(_)));
    let unmarked: Vec<u8> = invoice().encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(matches!(refused("unmarked UTF-16", &unmarked), Unreadable::Encoding(_) | Unreadable::Xml(_)));
    refused("half a character", b"\xff\xfe<");
    refused("a mark alone", b"\xef\xbb\xbf");
}

#[test]
fn what_is_no_invoice() {
    for text in [
        "",
        " ",
        "text",
        "{}",
        "<",
        "<a",
        "<a>",
        "</a>",
        "<a></b>",
        "<!-- ",
        "<![CDATA[",
        "<?xml",
        "<?xml?>",
        "%PDF-1.7",
        "%PDF",
    ] {
        refused(text, text.as_bytes());
    }
    assert!(matches!(refused("html", b"<html/>"), Unreadable::NotAnInvoice(_)));
    assert!(matches!(refused("no namespace", b"<Invoice/>"), Unreadable::NotAnInvoice(_)));
    refused("random", &(0..=255).cycle().take(100_000).collect::<Vec<u8>>());
}

/// Cut anywhere, it is refused, and nothing panics.
#[test]
fn truncated() {
    for profile in [Profile::Ubl, Profile::Facturx] {
        let bytes = build(&case("domestic_business"), profile).expect("it builds").bytes;
        let whole = bytes.trim_ascii_end().len();
        for end in (0..whole).step_by(7) {
            refused("cut", &bytes[..end]);
        }
    }
}

/// A PDF of these objects, numbered from 1, the first of which is the catalogue.
fn pdf(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        places.push(out.len());
        out.extend(format!("{} 0 obj\n", index + 1).into_bytes());
        out.extend(object);
        out.extend(b"\nendobj\n");
    }
    let (start, size) = (out.len(), objects.len() + 1);
    out.extend(format!("xref\n0 {size}\n0000000000 65535 f \n").into_bytes());
    places.iter().for_each(|place| out.extend(format!("{place:010} 00000 n \n").into_bytes()));
    out.extend(format!("trailer\n<</Size {size}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n").into_bytes());
    out
}

/// A PDF whose attachment is this stream.
fn with_attachment(dictionary: &str, data: &[u8]) -> Vec<u8> {
    let catalogue =
        b"<</Type/Catalog/Pages 2 0 R/AF[3 0 R]/Names<</EmbeddedFiles<</Names[(factur-x.xml)3 0 R]>>>>>>";
    let mut stream = format!("<<{dictionary}/Type/EmbeddedFile/Length {}>>stream\n", data.len()).into_bytes();
    stream.extend(data);
    stream.extend(b"\nendstream");
    pdf(&[
        catalogue.to_vec(),
        b"<</Type/Pages/Kids[]/Count 0>>".to_vec(),
        b"<</Type/Filespec/F(factur-x.xml)/UF(factur-x.xml)/AFRelationship/Alternative/EF<</F 4 0 R>>>>"
            .to_vec(),
        stream,
    ])
}

#[test]
fn hostile_pdfs() {
    // The frame is right: a bad invoice in it is a bad invoice, not a bad PDF.
    let inner = refused("no invoice", &with_attachment("", b"<html/>"));
    assert!(matches!(inner, Unreadable::NotAnInvoice(_)), "{inner}");
    let bomb = "<!DOCTYPE x [<!ENTITY e 'e'>]><x>&e;</x>";
    assert_eq!(refused("a bomb inside", &with_attachment("", bomb.as_bytes())), Unreadable::DocumentType);
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let block = vec![b' '; 1 << 20];
    (0..64).for_each(|_| encoder.write_all(&block).expect("it is written"));
    let inflating = encoder.finish().expect("it is written");
    let inflating = with_attachment("/Filter/FlateDecode", &inflating);
    assert!(matches!(refused("inflating", &inflating), Unreadable::Pdf(_)));
    let deep = |open: &str, close: &str| {
        let object = format!("{}1{}", open.repeat(100_000), close.repeat(100_000)).into_bytes();
        pdf(&[b"<</Type/Catalog/X 2 0 R>>".to_vec(), object])
    };
    refused("deep arrays", &deep("[", "]"));
    refused("deep dictionaries", &deep("<</A ", ">>"));
    let circle = b"<</Type/Catalog/Names<</EmbeddedFiles 2 0 R>>>>".to_vec();
    refused("a circle", &pdf(&[circle, b"<</Kids[2 0 R 2 0 R]>>".to_vec()]));
    let cii = build(&case("domestic_business"), Profile::Facturx).expect("it builds").bytes;
    let modified = DateTime::from_timestamp(1_772_323_200, 0).expect("a time");
    let hybrid = embed(&pdf_a3(), &cii, modified).expect("a hybrid");
    for end in (0..hybrid.len() - 20).step_by(211) {
        let _ = judge("a cut hybrid", &hybrid[..end]);
    }
}
