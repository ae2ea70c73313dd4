//! Pictures in and out: what is taken, what is kept of it, and that nothing else can be reached.
use bytes::Bytes;
use image::{DynamicImage, ImageFormat, Rgba, RgbaImage};
use scaicontrol_server::gateways::objects::Stored;
use scaicontrol_tests::raw::Call;
use scaicontrol_tests::{Answer, TestApp, given};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::Cursor;

const BOUNDARY: &str = "a-line-that-is-in-no-picture";
const UPLOADS: &str = "/api/v1/uploads";

/// The two operations that take a form with a file, which the generated client cannot send, by their names.
struct Uploads<'a> {
    app: &'a TestApp,
    token: String,
}

impl Uploads<'_> {
    fn admin_upload_icon(&self) -> Call {
        self.app.call("POST", "/api/v1/admin/uploads/icon").token(&self.token)
    }
    fn admin_upload_template_image(&self) -> Call {
        self.app.call("POST", "/api/v1/admin/uploads/template-image").token(&self.token)
    }
}

fn part(name: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"../../x.svg\"\r\nContent-Type: image/svg+xml\r\n\r\n"
    );
    [head.as_bytes(), bytes, b"\r\n"].concat()
}

fn form(call: Call, parts: &[Vec<u8>]) -> Call {
    let body = [parts.concat(), format!("--{BOUNDARY}--\r\n").into_bytes()].concat();
    call.header("content-type", &format!("multipart/form-data; boundary={BOUNDARY}")).bytes(body)
}

fn with(call: Call, file: &[u8]) -> Call {
    form(call, &[part("file", file)])
}

fn picture(format: ImageFormat, shade: u8) -> Vec<u8> {
    let picture = RgbaImage::from_fn(48, 32, |x, y| {
        let [x, y] = [x, y].map(|n| u8::try_from(n).unwrap_or_default());
        Rgba([x.wrapping_mul(5), y.wrapping_mul(7), shade, 255])
    });
    let mut file = Cursor::new(Vec::new());
    let picture = DynamicImage::from(picture);
    match format {
        ImageFormat::Jpeg => picture.to_rgb8().write_to(&mut file, format),
        _ => picture.write_to(&mut file, format),
    }
    .expect("a picture");
    file.into_inner()
}

fn png() -> Vec<u8> {
    picture(ImageFormat::Png, 90)
}

async fn stored(app: &TestApp, file: &[u8]) -> (String, Bytes) {
    let uploads = Uploads { app, token: app.operator("super_admin") };
    let key = with(uploads.admin_upload_icon(), file).send().await.data(200)["key"].clone();
    let key = key.as_str().expect("a key").to_owned();
    let answer = app.call("GET", &format!("{UPLOADS}/{key}")).send().await;
    assert_eq!(answer.status, 200);
    (key, answer.body)
}

#[tokio::test]
async fn a_picture_is_kept_and_shown_to_everybody() {
    let app = TestApp::start().await;
    given::partner(&app, "prt_north").await;
    let operator = Uploads { app: &app, token: app.operator("super_admin") };
    let partner = Uploads { app: &app, token: app.token("partner_admin", "tnt_home", "prt_north") };
    for (format, media, ending) in [
        (ImageFormat::Png, "image/png", "png"),
        (ImageFormat::Jpeg, "image/jpeg", "jpg"),
        (ImageFormat::WebP, "image/webp", "webp"),
        (ImageFormat::Gif, "image/gif", "gif"),
    ] {
        for (kind, call) in [
            ("icon", operator.admin_upload_icon()),
            ("template-image", partner.admin_upload_template_image()),
        ] {
            let file = picture(format, 90);
            let data = with(call.clone(), &file).send().await.data(200);
            let key = data["key"].as_str().expect("a key");
            assert!(key.starts_with(&format!("{kind}-")) && key.ends_with(&format!(".{ending}")), "{key}");
            assert_eq!(data["content_type"], media);
            assert_eq!(data["url"], format!("{}{UPLOADS}/{key}", app.base_url()));
            assert_eq!(
                with(call, &file).send().await.data(200),
                data,
                "the same picture is the same address"
            );
            let shown = app.call("GET", &format!("{UPLOADS}/{key}")).send().await;
            assert_eq!((shown.status, shown.header("content-type")), (200, Some(media)));
            assert_eq!(data["size"], json!(shown.body.len()));
            let digest = hex::encode(Sha256::digest(&shown.body));
            assert!(key.contains(&digest), "the name holds the digest of what is served");
            assert_eq!(shown.header("etag"), Some(format!("\"{digest}\"").as_str()));
            assert_eq!(shown.header("cache-control"), Some("public, max-age=31536000, immutable"));
            assert_eq!(shown.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(shown.header("accept-ranges"), Some("bytes"));
            let client = app.client("");
            let streamed = client.upload_get().path(key).send().await.expect("by the client");
            assert_eq!(streamed.status().as_u16(), 200);
        }
    }
    let sql = "SELECT count(*), min(actor), max(partner_id) FROM audit_log WHERE object_type = 'upload' AND operation = 'admin_upload_template_image'";
    let audit = app.db().await.query_one(sql, &[]).await.expect("audit");
    assert_eq!(
        (audit.get::<_, i64>(0), audit.get::<_, &str>(1), audit.get::<_, Option<&str>>(2)),
        (8, "usr_partner_admin_tnt_home", Some("prt_north"))
    );
}

#[tokio::test]
async fn the_address_is_that_of_the_configuration() {
    let app = TestApp::with(&[("public_url", "https://control.example/")]).await;
    let uploads = Uploads { app: &app, token: app.operator("super_admin") };
    let data = with(uploads.admin_upload_icon(), &png()).send().await.data(200);
    let url = data["url"].as_str().expect("a url");
    assert!(url.starts_with("https://control.example/api/v1/uploads/icon-"), "{url}");
}

#[tokio::test]
async fn a_form_that_is_not_right_is_refused() {
    let app = TestApp::start().await;
    let uploads = Uploads { app: &app, token: app.operator("super_admin") };
    let post = || uploads.admin_upload_icon();
    let file = png();
    form(post(), &[]).send().await.refused(400).names("file");
    form(post(), &[part("picture", &file)]).send().await.refused(400).names("picture");
    form(post(), &[part("file", &file), part("file", &file)]).send().await.refused(400).names("file");
    form(post(), &[part("file", &file), part("kind", b"icon")]).send().await.refused(400).names("kind");
    with(post(), b"").send().await.refused(400).names("file").says("empty");
    for wrong in ["application/json", "image/png", "multipart/form-data", "multipart/mixed; boundary=x"] {
        post().header("content-type", wrong).bytes(file.clone()).send().await.refused(415);
    }
    let typed = |body: Vec<u8>| {
        post().header("content-type", &format!("multipart/form-data; boundary={BOUNDARY}")).bytes(body)
    };
    typed(vec![]).send().await.refused(400);
    typed(b"nonsense".to_vec()).send().await.refused(400);
    typed(part("file", &file)).send().await.refused(400);
    for (what, file, says) in [
        ("svg", b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>".to_vec(), "not a PNG"),
        ("html", b"<script>alert(1)</script>".to_vec(), "not a PNG"),
        ("png and zip", [&file[..], b"PK\x05\x06", &[0; 18]].concat(), "after the end"),
        ("png and html", [&file[..], b"<html><script>"].concat(), "after the end"),
        ("half a png", file[..file.len() / 2].to_vec(), "cut off"),
        ("huge", bomb(), "too many pixels"),
    ] {
        let refused = with(post(), &file).send().await.refused(400);
        assert!(refused.names("file").message().contains(says), "{what}: {}", refused.message());
    }
    let left = std::fs::read_dir(app.files().join("uploads")).map_or(0, |d| d.flatten().count());
    assert_eq!(left, 0, "nothing of it is kept");
}

/// A PNG that says it has 30,000 × 30,000 pixels.
fn bomb() -> Vec<u8> {
    let mut file = png();
    file[16..24].copy_from_slice(&[30_000_u32.to_be_bytes(), 30_000_u32.to_be_bytes()].concat());
    let mut crc = flate2::Crc::new();
    crc.update(&file[12..29]);
    file[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    file
}

#[tokio::test]
async fn two_mebibytes_and_not_one_byte_more() {
    let app = TestApp::start().await;
    let uploads = Uploads { app: &app, token: app.operator("super_admin") };
    const MAX: usize = 2 * 1024 * 1024;
    // A real picture, filled up with a piece that decoders leave out.
    let png = png();
    let filled = |size: usize| {
        let data = vec![0x20_u8; size - png.len() - 12];
        let mut crc = flate2::Crc::new();
        crc.update(b"fiLl");
        crc.update(&data);
        let length = u32::try_from(data.len()).expect("short").to_be_bytes();
        [&png[..33], &length, b"fiLl", &data, &crc.sum().to_be_bytes(), &png[33..]].concat()
    };
    let data = with(uploads.admin_upload_icon(), &filled(MAX)).send().await.data(200);
    assert!(data["size"].as_u64().is_some_and(|size| size < 10_000), "the filling is gone: {data}");
    with(uploads.admin_upload_icon(), &filled(MAX + 1)).send().await.refused(413);
    with(uploads.admin_upload_icon(), &filled(MAX * 2)).send().await.refused(413);
}

#[tokio::test]
async fn who_may_upload() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let partner = app.token("partner_admin", "tnt_home", "prt_north");
    for (token, icon, image) in [
        (app.operator("super_admin"), 200, 200),
        (app.operator("billing_admin"), 403, 200),
        (app.operator("support"), 403, 403),
        (partner, 403, 200),
        (tenant.admin, 403, 403),
    ] {
        let uploads = Uploads { app: &app, token };
        assert_eq!(with(uploads.admin_upload_icon(), &png()).send().await.status, icon);
        assert_eq!(with(uploads.admin_upload_template_image(), &png()).send().await.status, image);
    }
    with(app.call("POST", "/api/v1/admin/uploads/icon"), &png()).send().await.refused(401);
}

#[tokio::test]
async fn what_is_known_is_not_sent_again() {
    let app = TestApp::start().await;
    let (key, bytes) = stored(&app, &png()).await;
    let path = format!("{UPLOADS}/{key}");
    let etag = format!("\"{}\"", hex::encode(Sha256::digest(&bytes)));
    let get = |headers: &[(&str, &str)]| {
        headers.iter().fold(app.call("GET", &path), |call, (name, value)| call.header(name, value)).send()
    };
    for tags in [etag.as_str(), &format!("W/{etag}"), &format!("\"x\", {etag}"), "*"] {
        let same = get(&[("if-none-match", tags)]).await;
        assert_eq!((same.status, same.body.len()), (304, 0), "{tags}");
        assert_eq!(same.header("etag"), Some(etag.as_str()));
        assert_eq!(same.header("cache-control"), Some("public, max-age=31536000, immutable"));
    }
    assert_eq!(get(&[("if-none-match", "\"x\""), ("if-none-match", &etag)]).await.status, 304, "two lines");
    assert_eq!(get(&[("if-none-match", "\"x\"")]).await.status, 200);
    assert_eq!(get(&[("if-none-match", &etag), ("range", "bytes=0-1")]).await.status, 304);

    let size = bytes.len();
    for (range, part) in [
        ("bytes=0-0", 0..1),
        ("bytes=10-19", 10..20),
        ("bytes=5-", 5..size),
        ("bytes=-7", size - 7..size),
        ("bytes=3-99999999", 3..size),
    ] {
        let answer = get(&[("range", range)]).await;
        assert_eq!((answer.status, &answer.body[..]), (206, &bytes[part.clone()]), "{range}");
        let said = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        assert_eq!(answer.header("content-range"), Some(said.as_str()), "{range}");
        assert_eq!(answer.header("content-type"), Some("image/png"));
        assert_eq!(answer.header("content-length"), Some(part.len().to_string().as_str()));
        assert_eq!(answer.header("etag"), Some(etag.as_str()));
    }
    for range in [format!("bytes={size}-"), "bytes=99999999999999999999-".into(), "bytes=-0".into()] {
        let answer = get(&[("range", &range)]).await;
        answer.refused(416);
        assert_eq!(answer.header("content-range"), Some(format!("bytes */{size}").as_str()), "{range}");
    }
    for range in ["bytes=0-1,4-5", "lines=0-1", "bytes=b-a", "bytes=9-1", "bytes"] {
        assert_eq!(get(&[("range", range)]).await.status, 200, "{range} is left out of account");
    }
    assert_eq!(get(&[("range", "bytes=0-1"), ("if-range", &etag)]).await.status, 206);
    assert_eq!(get(&[("range", "bytes=0-1"), ("if-range", "\"x\"")]).await.status, 200);

    let head = app.call("HEAD", &path).send().await;
    assert_eq!((head.status, head.header("content-length")), (200, Some(size.to_string().as_str())));
    assert_eq!(head.header("content-type"), Some("image/png"));
    assert_eq!(head.header("etag"), Some(etag.as_str()));
    // Compressed it would be another body under the same tag.
    let packed = get(&[("accept-encoding", "gzip")]).await;
    assert_eq!((packed.header("content-encoding"), &packed.body), (None, &bytes));
}

#[tokio::test]
async fn nothing_else_can_be_reached() {
    let app = TestApp::start().await;
    let (key, _) = stored(&app, &png()).await;
    // What lies beside the pictures, inside the store and outside of it.
    let secret = Bytes::from_static(b"\x89PNG\r\n\x1a\nsecret");
    let beside = app.control().objects.put("documents", "png", secret.clone()).await.expect("put");
    app.control().objects.put_as("uploads/secret.png", secret.clone()).await.expect("put");
    app.control()
        .objects
        .put_as(&format!("uploads/document-{}.png", beside.sha256), secret)
        .await
        .expect("put");
    std::fs::write(app.files().join("outside.png"), "secret").expect("written");
    let targets = elsewhere(&key, &beside);
    let nothing = app.call("GET", &format!("{UPLOADS}/x")).send().await.refused(404).message().to_owned();
    for target in targets {
        let answer = app.call("GET", &format!("{UPLOADS}/{target}")).send().await;
        assert_eq!(answer.refused(404).message(), nothing, "{target}");
        assert!(
            answer.header("etag").is_none() && answer.header("cache-control") == Some("no-store"),
            "{target}"
        );
    }
    // Written otherwise it is the same address, as everywhere.
    let encoded = key.replace('-', "%2d");
    assert_eq!(app.call("GET", &format!("{UPLOADS}/{encoded}")).send().await.status, 200);
    app.call("POST", &format!("{UPLOADS}/{key}")).send().await.refused(405);
    app.call("DELETE", &format!("{UPLOADS}/..%2fx")).send().await.refused(405);
}

/// What is no address of a picture, however it is written.
fn elsewhere(key: &str, beside: &Stored) -> Vec<String> {
    let digest = &key[5..69];
    let mut targets: Vec<String> = [
        "x",
        "secret.png",
        "outside.png",
        "..",
        ".",
        "...",
        "%2e%2e",
        "%2E%2E%2Foutside.png",
        "..%2foutside.png",
        "../outside.png",
        "../../../../../../etc/passwd",
        "..%5coutside.png",
        "..\\outside.png",
        "%2e%2e%5coutside.png",
        "%00",
        "%0a",
        "%2f",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "//etc/passwd",
        "%c0%ae%c0%ae/outside.png",
        "%c0%ae%c0%ae%c0%afoutside.png",
        "%e0%80%ae",
        "%ff",
        "%",
        "%zz",
        "%25",
        "%252e%252e",
        "file:///etc/passwd",
        "C:%5cWindows",
        "~root",
        "icon-",
        "icon-.png",
        "uploads/x.png",
        "documents",
        "health/probe",
    ]
    .iter()
    .map(|t| (*t).to_owned())
    .collect();
    targets.extend([
        format!("../{}", beside.key),
        format!("..%2f{}", beside.key.replace('/', "%2f")),
        beside.key.clone(),
        format!("document-{}.png", beside.sha256),
        format!("icon-{}.png", beside.sha256),
        format!("template-image-{digest}.png"),
        format!("icon-{digest}.jpg"),
        format!("icon-{digest}.png.png"),
        format!("icon-{digest}.png%00"),
        format!("icon-{digest}.png/"),
        format!("icon-{digest}.png/x"),
        format!("x/../{key}"),
        format!("./{key}"),
        format!("%2e/{key}"),
        key.to_uppercase(),
        format!("icon-{digest}.PNG"),
        format!("icon-{}.png", "0".repeat(64)),
        format!("icon-{}.png", "a".repeat(5000)),
        "a".repeat(8000),
    ]);
    targets
}

#[tokio::test]
async fn without_a_store_it_is_said() {
    let app = TestApp::start().await;
    let (key, _) = stored(&app, &png()).await;
    let health = app.call("GET", "/health").send().await.data_of_health();
    assert_eq!(health, ("ok".to_owned(), "ok".to_owned()));
    std::fs::remove_dir_all(app.files()).expect("gone");
    std::fs::write(app.files(), "in its place").expect("written");
    let uploads = Uploads { app: &app, token: app.operator("super_admin") };
    with(uploads.admin_upload_icon(), &png()).send().await.refused(503);
    scaicontrol_tests::wait::until("the health page says so", async || {
        let health = app.call("GET", "/health").send().await.data_of_health();
        health == ("degraded".to_owned(), "failing".to_owned())
    })
    .await;
    let gone = app.call("GET", &format!("{UPLOADS}/{key}")).send().await;
    assert!(gone.status == 404 || gone.status == 503, "{}", gone.status);
    std::fs::remove_file(app.files()).expect("gone");
}

trait OfHealth {
    fn data_of_health(&self) -> (String, String);
}
impl OfHealth for Answer {
    fn data_of_health(&self) -> (String, String) {
        let health = self.expect(200);
        let text = |v: &serde_json::Value| v.as_str().expect("a text").to_owned();
        (text(&health["status"]), text(&health["checks"]["object_store"]))
    }
}
