//! The outbox of mails, against mail servers and a ScaiSend that do what such servers do.
use bytes::Bytes;
use chrono::{DateTime, Utc};
use scaicontrol_server::clock::Clock;
use scaicontrol_server::db::Conn;
use scaicontrol_server::error::Error;
use scaicontrol_server::mails::worker::{self, Done};
use scaicontrol_server::mails::{self, File, Files, MailKind, NewMail, store};
use scaicontrol_server::op::OpContext;
use scaicontrol_tests::fake::{Fake, Reply};
use scaicontrol_tests::smtp::{Smtp, Step};
use scaicontrol_tests::{TestApp, given};
use serde_json::json;
use std::time::Duration;
use tokio_postgres::Row;
use uuid::Uuid;

const TENANT: &str = "tnt_acme";
const PARTNER: &str = "prt_north";
const LATER: Step = Step::Message("451 4.3.0 come back later");

async fn start(settings: &[(&str, &str)]) -> TestApp {
    let own = [
        // The test says when mails are sent.
        ("workers.enabled", "false"),
        ("mail.from", "ScaiControl <billing@platform.example>"),
        ("mail.timeout", "2s"),
    ];
    let all: Vec<_> = own.iter().chain(settings).copied().collect();
    let app = TestApp::with(&all).await;
    given::tenant(&app, TENANT, PARTNER).await;
    app
}

async fn with_smtp(smtp: &Smtp) -> TestApp {
    start(&[
        ("mail.transport", "smtp"),
        ("mail.smtp.host", "127.0.0.1"),
        ("mail.smtp.port", &smtp.port()),
        ("mail.smtp.tls", "none"),
    ])
    .await
}

async fn with_scaisend(fake: &Fake) -> TestApp {
    start(&[
        ("mail.transport", "scaisend"),
        ("mail.scaisend.base_url", fake.url()),
        ("mail.scaisend.key", "key-of-ours"),
    ])
    .await
}

fn op(app: &TestApp) -> OpContext {
    OpContext::system(&app.control().clock, &app.control().ids, "mailer")
}

fn mail(files: Files) -> NewMail<'static> {
    NewMail {
        tenant_id: TENANT,
        partner_id: PARTNER,
        kind: MailKind::Invoice,
        invoice_id: None,
        template_name: "standard",
        language: "nl",
        from_name: Some("Noord Software B.V."),
        reply_to: Some("help@north.example"),
        to: "ap@acme.example",
        subject: "Factuur SCAI-2026-000042 – € 121,00",
        text: "Geachte heer/mevrouw,\n\nbijgaand de factuur.\n.\nEinde",
        html: Some("<p>Bijgaand de factuur.</p>"),
        files,
    }
}

async fn queue(app: &TestApp, mail: NewMail<'static>) -> Uuid {
    let op = op(app);
    let queued = app.control().db.tx(&op, "test", async |conn| mails::enqueue(conn, &op, mail.clone()).await);
    queued.await.expect("queued")
}

async fn tick(app: &TestApp) -> Done {
    worker::tick(&op(app), app.control()).await.expect("a tick")
}

async fn row(app: &TestApp, id: Uuid) -> Row {
    app.db().await.query_one("SELECT * FROM mails WHERE mail_id = $1", &[&id]).await.expect("a mail")
}

async fn state(app: &TestApp, id: Uuid) -> (String, Option<String>, i32) {
    let row = row(app, id).await;
    (row.get("status"), row.get("reason"), row.get("attempts"))
}

/// Seconds of the machine's clock until the next attempt.
async fn pause(app: &TestApp, id: Uuid) -> i64 {
    let sql = "SELECT extract(epoch FROM next_attempt_at - now())::bigint FROM mails WHERE mail_id = $1";
    app.db().await.query_one(sql, &[&id]).await.expect("a pause").get(0)
}

/// Makes a mail due now.
async fn hurry(app: &TestApp, id: Uuid) {
    let sql = "UPDATE mails SET next_attempt_at = now() - interval '1 second' WHERE mail_id = $1";
    app.db().await.execute(sql, &[&id]).await.expect("hurried");
}

fn near(seconds: i64, wanted: i64) -> bool {
    (wanted - 20..=wanted).contains(&seconds)
}

#[tokio::test]
async fn a_mail_goes_out_as_it_was_queued() {
    let smtp = Smtp::start([]).await;
    let app = with_smtp(&smtp).await;
    let pdf = Bytes::from_static(b"%PDF-1.7 not a real one");
    let stored = app.control().objects.put("documents", "pdf", pdf).await.expect("stored");
    let file = File {
        key: stored.key,
        file_name: "SCAI-2026-000042.pdf".into(),
        content_type: "application/pdf".into(),
    };
    let id = queue(&app, mail(Files::Ready(vec![file]))).await;
    assert_eq!(tick(&app).await, Done { sent: 1, ..Done::default() });
    assert_eq!(tick(&app).await, Done::default(), "it is sent once");
    let received = smtp.received();
    let [one] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!((one.from.as_str(), one.to.as_str()), ("billing@platform.example", "ap@acme.example"));
    for part in [
        "From: \"Noord Software B.V.\" <billing@platform.example>\r\n",
        "Reply-To: help@north.example\r\n",
        "To: ap@acme.example\r\n",
        &format!("Message-ID: <{id}@platform.example>\r\n"),
        "filename=\"SCAI-2026-000042.pdf\"",
        // The PDF, in base64.
        "JVBERi0xLjcgbm90IGEgcmVhbCBvbmU=",
    ] {
        assert!(one.message.contains(part), "{part:?} is not in\n{}", one.message);
    }
    let row = row(&app, id).await;
    assert_eq!(row.get::<_, &str>("status"), "sent");
    assert_eq!(row.get::<_, Option<DateTime<Utc>>>("sent_at"), Some(app.now()));
    let sql = "SELECT actor FROM audit_log WHERE object_type = 'mail' AND object_id = $1";
    let audit = app.db().await.query_one(sql, &[&id.to_string()]).await.expect("one row");
    assert_eq!(audit.get::<_, &str>(0), "system:mailer");
}

#[tokio::test]
async fn a_mail_that_is_put_off_is_the_same_mail_again() {
    let smtp = Smtp::start([LATER, Step::Close]).await;
    let app = with_smtp(&smtp).await;
    let id = queue(&app, mail(Files::Ready(vec![]))).await;
    assert_eq!(tick(&app).await, Done { put_off: 1, ..Done::default() });
    let (status, reason, attempts) = state(&app, id).await;
    assert_eq!((status.as_str(), attempts), ("queued", 1));
    assert!(reason.expect("a reason").contains("come back later"));
    assert!(near(pause(&app, id).await, 60), "a minute");
    assert_eq!(tick(&app).await, Done::default(), "not before its time");
    hurry(&app, id).await;
    // The answer is lost, and nobody knows whether it was taken.
    assert_eq!(tick(&app).await, Done { put_off: 1, ..Done::default() });
    hurry(&app, id).await;
    assert_eq!(tick(&app).await, Done { sent: 1, ..Done::default() });
    let received = smtp.received();
    assert_eq!(received.len(), 3);
    assert!(received.iter().all(|r| *r == received[0]), "the same bytes: {received:#?}");
    let (status, reason, attempts) = state(&app, id).await;
    assert_eq!((status.as_str(), reason, attempts), ("sent", None, 3));
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_tried_again() {
    let refused =
        [Step::Receiver("550 5.1.1 no such user here"), Step::Message("554 5.7.1 we do not like it")];
    let smtp = Smtp::start(refused).await;
    let app = with_smtp(&smtp).await;
    for said in ["no such user here", "we do not like it"] {
        let id = queue(&app, mail(Files::Ready(vec![]))).await;
        assert_eq!(tick(&app).await, Done { failed: 1, ..Done::default() });
        let (status, reason, _) = state(&app, id).await;
        assert!(
            status == "failed" && reason.as_ref().is_some_and(|r| r.contains(said)),
            "{status} {reason:?}"
        );
        hurry(&app, id).await;
        assert_eq!(tick(&app).await, Done::default());
    }
    // A file that is not there will never be.
    let file = File {
        key: "documents/none.pdf".into(),
        file_name: "a.pdf".into(),
        content_type: "application/pdf".into(),
    };
    let id = queue(&app, mail(Files::Ready(vec![file]))).await;
    assert_eq!(tick(&app).await.failed, 1);
    assert!(state(&app, id).await.1.expect("a reason").contains("a.pdf"));
}

#[tokio::test]
async fn the_pauses_grow_until_it_is_given_up() {
    let smtp = Smtp::start([LATER; 7]).await;
    let app = with_smtp(&smtp).await;
    let id = queue(&app, mail(Files::Ready(vec![]))).await;
    for seconds in [60, 300, 1800, 7200, 43_200, 86_400] {
        assert_eq!(tick(&app).await, Done { put_off: 1, ..Done::default() });
        let is = pause(&app, id).await;
        assert!(near(is, seconds), "{is} s, not {seconds}");
        hurry(&app, id).await;
    }
    assert_eq!(tick(&app).await, Done { failed: 1, ..Done::default() });
    let (status, reason, attempts) = state(&app, id).await;
    assert_eq!((status.as_str(), attempts), ("failed", 7));
    assert!(reason.expect("a reason").contains("given up after 7 attempts"));
}

#[tokio::test]
async fn a_server_that_is_away_or_closed_is_waited_for() {
    let silent = Smtp::start([Step::Silence]).await;
    let app = with_smtp(&silent).await;
    let id = queue(&app, mail(Files::Ready(vec![]))).await;
    assert_eq!(tick(&app).await, Done { put_off: 1, ..Done::default() }, "silent");
    assert!(state(&app, id).await.1.is_some());

    let closed = Smtp::closed().await;
    let port = closed.port();
    let app = start(&[
        ("mail.transport", "smtp"),
        ("mail.smtp.host", "127.0.0.1"),
        ("mail.smtp.port", &port),
        ("mail.smtp.tls", "none"),
        ("mail.smtp.user", "us"),
        ("mail.smtp.password", "wrong"),
    ])
    .await;
    let id = queue(&app, mail(Files::Ready(vec![]))).await;
    assert_eq!(tick(&app).await, Done { put_off: 1, ..Done::default() }, "a login says nothing of the mail");
    assert!(state(&app, id).await.1.expect("a reason").contains("not you"));

    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("one");
    let app = start(&[
        ("mail.transport", "smtp"),
        ("mail.smtp.host", "127.0.0.1"),
        ("mail.smtp.port", &gone.port().to_string()),
        ("mail.smtp.tls", "starttls"),
    ])
    .await;
    queue(&app, mail(Files::Ready(vec![]))).await;
    assert_eq!(tick(&app).await, Done { put_off: 1, ..Done::default() }, "nobody listens");
}

#[tokio::test]
async fn tls_is_never_left_out() {
    // It offers no STARTTLS: a mail with a customer's invoice must not go in the clear.
    let smtp = Smtp::start([]).await;
    let app = start(&[
        ("mail.transport", "smtp"),
        ("mail.smtp.host", "127.0.0.1"),
        ("mail.smtp.port", &smtp.port()),
    ])
    .await;
    queue(&app, mail(Files::Ready(vec![]))).await;
    assert_eq!(tick(&app).await, Done { put_off: 1, ..Done::default() });
    assert!(smtp.received().is_empty());
}

#[tokio::test]
async fn workers_at_once_send_each_mail_once() {
    let smtp = Smtp::start([]).await;
    let app = with_smtp(&smtp).await;
    for _ in 0..40 {
        queue(&app, mail(Files::Ready(vec![]))).await;
    }
    let (a, b, c) = tokio::join!(tick(&app), tick(&app), tick(&app));
    assert_eq!(a.sent + b.sent + c.sent, 40);
    let mut messages: Vec<String> = smtp.received().into_iter().map(|r| r.message).collect();
    messages.sort();
    messages.dedup();
    assert_eq!((messages.len(), smtp.received().len()), (40, 40));
}

#[tokio::test]
async fn a_server_that_dies_leaves_a_lease_that_ends() {
    let smtp = Smtp::start([]).await;
    let app = with_smtp(&smtp).await;
    let id = queue(&app, mail(Files::Ready(vec![]))).await;
    let now = Clock::Real.now();
    let until = now + chrono::TimeDelta::minutes(5);
    let lease = store::Lease { now, until, sender: "billing@platform.example", domain: "platform.example" };
    let op = op(&app);
    let taken = app.control().db.tx(&op, "test", async |conn| store::lease(conn, lease, 8).await);
    let taken = taken.await.expect("taken up");
    assert_eq!(taken.len(), 1);
    assert_eq!(tick(&app).await, Done::default(), "somebody has it");
    hurry(&app, id).await;
    assert_eq!(tick(&app).await, Done { sent: 1, ..Done::default() });
    // The one who was thought dead comes back too late to say anything.
    let late = app.control().db.tx(&op, "test", async |conn| {
        store::became(conn, &taken[0], op.now, &store::Became::Failed("late".into())).await
    });
    assert!(!late.await.expect("a statement"));
    assert_eq!(state(&app, id).await, ("sent".into(), None, 2));
    assert!(smtp.received()[0].message.contains(&taken[0].message_id));
}

#[tokio::test]
async fn the_server_sends_by_itself_and_stops_when_it_has() {
    let smtp = Smtp::start([Step::Slow(Duration::from_millis(700))]).await;
    let mut app = start(&[
        ("workers.enabled", "true"),
        ("mail.transport", "smtp"),
        ("mail.smtp.host", "127.0.0.1"),
        ("mail.smtp.port", &smtp.port()),
        ("mail.smtp.tls", "none"),
    ])
    .await;
    let id = queue(&app, mail(Files::Ready(vec![]))).await;
    scaicontrol_tests::wait::until("it is on its way", async || !smtp.received().is_empty()).await;
    app.stop(Duration::from_secs(5)).await;
    assert_eq!(state(&app, id).await, ("sent".into(), None, 1), "what is in hand is finished");
}

#[tokio::test]
async fn a_mail_waits_for_its_files() {
    let smtp = Smtp::start([]).await;
    let app = with_smtp(&smtp).await;
    let (id, other) = (queue(&app, mail(Files::Held)).await, queue(&app, mail(Files::Held)).await);
    assert_eq!(tick(&app).await, Done::default());
    let stored =
        app.control().objects.put("documents", "pdf", Bytes::from_static(b"%PDF")).await.expect("put");
    let file = File { key: stored.key, file_name: "a.pdf".into(), content_type: "application/pdf".into() };
    let op = op(&app);
    let release = async |conn: &mut Conn| {
        mails::release(conn, TENANT, id, vec![file.clone()]).await?;
        mails::abandon(conn, &op, TENANT, other, "the PDF cannot be made").await
    };
    app.control().db.tx(&op, "test", release).await.expect("released");
    assert_eq!(tick(&app).await, Done { sent: 1, ..Done::default() });
    assert!(smtp.received()[0].message.contains("filename=\"a.pdf\""));
    let failed = state(&app, other).await;
    assert_eq!(failed, ("failed".into(), Some("the PDF cannot be made".into()), 0));
}

#[tokio::test]
async fn what_people_wrote_adds_no_header() {
    let smtp = Smtp::start([]).await;
    let app = with_smtp(&smtp).await;
    let evil = NewMail {
        from_name: Some("Eve\r\nBcc: all@example.com"),
        subject: "Hello\r\nBcc: all@example.com\r\n\r\n<html>",
        reply_to: Some("x@example.com\r\nBcc: all@example.com"),
        ..mail(Files::Ready(vec![]))
    };
    queue(&app, evil).await;
    assert_eq!(tick(&app).await.sent, 1);
    let received = smtp.received();
    let head = received[0].message.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
    assert!(!head.lines().any(|line| line.starts_with("bcc")), "{head}");
    assert_eq!(received[0].to, "ap@acme.example");
    let op = op(&app);
    let wrong = NewMail { to: "a@b.example\r\nRCPT TO:<c@d.example>", ..mail(Files::Held) };
    let refused =
        app.control().db.tx(&op, "test", async |conn| mails::enqueue(conn, &op, wrong.clone()).await);
    assert!(matches!(refused.await, Err(Error::BadRequest { details, .. }) if details[0].field == "to"));
}

#[tokio::test]
async fn ten_mails_of_a_document_in_a_day() {
    let app = start(&[]).await;
    let tenant = given::tenant(&app, TENANT, PARTNER).await;
    let invoice = given::draft(&app, &app.operator("billing_admin"), &tenant, "100").await;
    let limit = async || {
        let op = op(&app);
        app.control().db.tx(&op, "test", async |conn| mails::limit(conn, TENANT, invoice, op.now).await).await
    };
    for _ in 0..mails::PER_DAY_MAX {
        limit().await.expect("not yet");
        queue(&app, NewMail { invoice_id: Some(invoice), ..mail(Files::Held) }).await;
    }
    let refused = limit().await;
    assert!(matches!(refused, Err(Error::TooMany { retry_after_seconds: 86_400 })), "{refused:?}");
    app.advance(chrono::TimeDelta::hours(24)).await;
    limit().await.expect("a day later");
    assert_eq!(tick(&app).await, Done::default(), "without a transport mails wait");
}

#[tokio::test]
async fn scaisend_takes_a_mail() {
    let fake = Fake::start(|_| Reply::new(202, "{}")).await;
    let app = with_scaisend(&fake).await;
    let id = queue(&app, mail(Files::Ready(vec![]))).await;
    assert_eq!(tick(&app).await.sent, 1);
    let asked = fake.asked();
    let [one] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(one.line, "POST /api/v1/messages");
    let header =
        |name: &str| one.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    assert_eq!(header("authorization"), "Bearer key-of-ours");
    assert_eq!(header("idempotency-key"), format!("{id}@platform.example"));
    let sent = one.json();
    assert_eq!(sent["message_id"], format!("{id}@platform.example"));
    assert_eq!(sent["from"], json!({"name": "Noord Software B.V.", "email": "billing@platform.example"}));
    assert_eq!((&sent["to"], &sent["attachments"]), (&json!([{"email": "ap@acme.example"}]), &json!([])));
    assert_eq!(sent["subject"], "Factuur SCAI-2026-000042 – € 121,00");
}

#[tokio::test]
async fn scaisend_that_is_busy_broken_or_slow_is_waited_for() {
    let cases = [
        (Reply::new(429, "{}").header("retry-after", "900"), 900, "429"),
        (Reply::new(500, r#"{"error": {"message": "disk full"}}"#), 60, "disk full"),
        (Reply::new(503, "gone").header("retry-after", "1"), 60, "503"),
        (Reply::new(401, r#"{"message": "no such key"}"#), 60, "no such key"),
        (Reply::new(302, "").header("location", "http://127.0.0.1:1/"), 60, "302"),
        (Reply::new(200, "").after(Duration::from_secs(10)), 60, "timed out"),
    ];
    for (reply, seconds, said) in cases {
        let fake = Fake::start(move |_| reply.clone()).await;
        let app = with_scaisend(&fake).await;
        let id = queue(&app, mail(Files::Ready(vec![]))).await;
        assert_eq!(tick(&app).await, Done { put_off: 1, ..Done::default() }, "{said}");
        let (status, reason, _) = state(&app, id).await;
        assert!(
            status == "queued" && reason.as_ref().is_some_and(|r| r.contains(said)),
            "{said}: {reason:?}"
        );
        let is = pause(&app, id).await;
        assert!(near(is, seconds), "{said}: {is} s, not {seconds}");
    }
    let fake = Fake::start(|_| Reply::new(400, r#"{"error": {"message": "no such\r\nreceiver"}}"#)).await;
    let app = with_scaisend(&fake).await;
    let id = queue(&app, mail(Files::Ready(vec![]))).await;
    assert_eq!(tick(&app).await, Done { failed: 1, ..Done::default() });
    assert!(state(&app, id).await.1.expect("a reason").contains("no such receiver"), "in one line");
}

/// `cargo xtask peers` starts a mail server of others' making and says where.
#[tokio::test]
async fn a_real_mail_server_takes_a_mail() {
    let Ok(port) = std::env::var("SCAICONTROL_TEST_SMTP") else {
        eprintln!("SKIPPED: SCAICONTROL_TEST_SMTP is not set; `cargo xtask peers` runs this test");
        return;
    };
    let app = start(&[
        ("mail.transport", "smtp"),
        ("mail.smtp.host", "127.0.0.1"),
        ("mail.smtp.port", &port),
        ("mail.smtp.tls", "none"),
    ])
    .await;
    let pdf = Bytes::from(vec![0xe2; 300_000]);
    let stored = app.control().objects.put("documents", "pdf", pdf).await.expect("stored");
    let file = File {
        key: stored.key,
        file_name: "Rechnung für März.pdf".into(),
        content_type: "application/pdf".into(),
    };
    queue(&app, mail(Files::Ready(vec![file]))).await;
    assert_eq!(tick(&app).await, Done { sent: 1, ..Done::default() });
}

#[tokio::test]
async fn the_operator_says_who_sends() {
    let smtp = Smtp::start([]).await;
    let app = with_smtp(&smtp).await;
    let sender = json!({"from_name": "Acme Cloud", "from_address": "invoices@cloud.example", "reply_to": "help@cloud.example"});
    crate::admin_platform::set(&app, |s| s["mail_sender"] = sender).await;
    let plain = NewMail { from_name: None, reply_to: None, ..mail(Files::Ready(vec![])) };
    queue(&app, plain).await;
    queue(&app, mail(Files::Ready(vec![]))).await;
    assert_eq!(tick(&app).await, Done { sent: 2, ..Done::default() });
    let mut received = smtp.received();
    received.sort_by_key(|mail| !mail.message.contains("Acme Cloud"));
    for part in ["From: \"Acme Cloud\" <invoices@cloud.example>", "Reply-To: help@cloud.example"] {
        assert!(received[0].message.contains(part), "{part:?} is not in\n{}", received[0].message);
    }
    // A seller's own name and address for answers stay.
    for part in ["From: \"Noord Software B.V.\" <invoices@cloud.example>", "Reply-To: help@north.example"] {
        assert!(received[1].message.contains(part), "{part:?} is not in\n{}", received[1].message);
    }
}
