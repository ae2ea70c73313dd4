//! The numbers of billing profiles and the register, against a register that does what that register does.
use chrono::{DateTime, TimeDelta, Utc};
use scaicontrol_server::op::OpContext;
use scaicontrol_server::vat_register::worker::{self, Learned};
use scaicontrol_tests::fake::{Asked, Fake, Reply};
use scaicontrol_tests::{TestApp, given};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NL: &str = "NL004495445B01";
const DE: &str = "DE136695976";
const EL: &str = "EL094259216";

/// A register whose answer can be changed: it knows some numbers, and answers otherwise when it is told to.
struct Register {
    fake: Fake,
    says: Arc<Mutex<Says>>,
}

#[derive(Clone)]
enum Says {
    /// These are registered.
    Knows(Vec<&'static str>),
    /// The register of a country is away, the others know everything.
    Away(&'static str, &'static str),
    /// This, whatever is asked.
    This(Reply),
}

impl Register {
    async fn start(says: Says) -> Register {
        let says = Arc::new(Mutex::new(says));
        let kept = Arc::clone(&says);
        let fake = Fake::start(move |asked| answer(asked, &kept.lock().expect("lock"))).await;
        Register { fake, says }
    }
    fn say(&self, says: Says) {
        *self.says.lock().expect("lock") = says;
    }
    fn asked(&self) -> Vec<String> {
        let number = |asked: &Asked| {
            let question = asked.json();
            format!(
                "{}{}",
                question["countryCode"].as_str().unwrap(),
                question["vatNumber"].as_str().unwrap()
            )
        };
        self.fake.asked().iter().map(number).collect()
    }
}

fn answer(asked: &Asked, says: &Says) -> Reply {
    if asked.line != "POST /check-vat-number" {
        return Reply::new(404, "");
    }
    let question = asked.json();
    let (country, number) = (&question["countryCode"], &question["vatNumber"]);
    let valid = |valid: bool| {
        let answer = json!({"countryCode": country, "vatNumber": number, "requestDate": "2026-03-10T09:00:00.000Z", "valid": valid,
            "requestIdentifier": "", "name": "---", "address": "---", "traderName": "---"});
        Reply::new(200, answer.to_string())
    };
    match says {
        Says::Knows(known) => {
            let whole = format!("{}{}", country.as_str().unwrap(), number.as_str().unwrap());
            valid(known.contains(&whole.as_str()))
        }
        Says::Away(away, code) if country == away => error(200, code),
        Says::Away(..) => valid(true),
        Says::This(reply) => reply.clone(),
    }
}

/// As VIES says it: often with 200.
fn error(status: u16, code: &str) -> Reply {
    Reply::new(status, json!({"actionSucceed": false, "errorWrappers": [{"error": code}]}).to_string())
}

async fn start(register: &Register) -> TestApp {
    TestApp::with(&[
        // The test says when it is asked.
        ("workers.enabled", "false"),
        ("vies.enabled", "true"),
        ("vies.base_url", register.fake.url()),
        ("vies.timeout", "1s"),
    ])
    .await
}

/// A tenant whose profile has that number.
async fn tenant(app: &TestApp, id: &str, number: &str) -> given::Tenant {
    let tenant = given::tenant(app, id, "prt_north").await;
    save(app, &tenant, number).await;
    tenant
}

async fn save(app: &TestApp, tenant: &given::Tenant, number: &str) -> Value {
    let country = number[..2].to_uppercase();
    let profile = json!({"company_name": "Acme", "address_line1": "Street 1", "postal_code": "1015 AA", "city": "Town",
        "country_code": country, "vat_number": number});
    let call = app.call("PUT", "/api/v1/billing/billing-profile").token(&tenant.admin).json(&profile);
    call.send().await.data(200)
}

async fn status(app: &TestApp, id: &str) -> (String, Option<DateTime<Utc>>) {
    let sql = "SELECT vat_number_status, vat_number_checked_at FROM billing_profiles WHERE tenant_id = $1";
    let row = app.db().await.query_one(sql, &[&id]).await.expect("a profile");
    (row.get(0), row.get(1))
}

async fn tick(app: &TestApp) -> Learned {
    let op = OpContext::system(&app.control().clock, &app.control().ids, "vat_register");
    worker::tick(&op, app.control()).await.expect("a tick")
}

/// Makes every question due now.
async fn hurry(app: &TestApp) {
    let sql = "UPDATE billing_profiles SET vat_check_at = now() - interval '1 second' WHERE vat_check_at IS NOT NULL";
    app.db().await.execute(sql, &[]).await.expect("hurried");
}

fn learned(valid: usize, invalid: usize, unavailable: usize) -> Learned {
    Learned { valid, invalid, unavailable }
}

#[tokio::test]
async fn a_number_is_asked_about_after_it_was_saved() {
    let register = Register::start(Says::Knows(vec![NL, EL])).await;
    let app = start(&register).await;
    let acme = tenant(&app, "tnt_acme", NL).await;
    tenant(&app, "tnt_greek", "GR094259216").await;
    tenant(&app, "tnt_gone", DE).await;
    tenant(&app, "tnt_swiss", "CHE123456789MWST").await;
    given::tenant(&app, "tnt_none", "prt_north").await;
    assert_eq!(status(&app, "tnt_acme").await, ("unchecked".into(), None));
    assert_eq!(tick(&app).await, learned(2, 1, 0));
    let mut asked = register.asked();
    asked.sort();
    assert_eq!(asked, [DE, EL, NL], "nobody knows the others");
    assert_eq!(status(&app, "tnt_acme").await, ("valid".into(), Some(app.now())));
    assert_eq!(status(&app, "tnt_greek").await.0, "valid");
    assert_eq!(status(&app, "tnt_gone").await, ("invalid".into(), Some(app.now())));
    assert_eq!(status(&app, "tnt_swiss").await, ("unchecked".into(), None));
    assert_eq!(tick(&app).await, learned(0, 0, 0), "an answer is not asked for again");
    let profile =
        app.call("GET", "/api/v1/billing/billing-profile").token(&acme.admin).send().await.data(200);
    assert_eq!(profile["vat_number_status"], "valid");
    let sql = "SELECT actor, before->>'vat_number_status', after->>'vat_number_status' FROM audit_log WHERE operation = 'vat_register' AND tenant_id = 'tnt_acme'";
    let row = app.db().await.query_one(sql, &[]).await.expect("one audit row");
    let told = (row.get::<_, String>(0), row.get::<_, String>(1), row.get::<_, String>(2));
    assert_eq!(told, ("system:vat_register".into(), "unchecked".into(), "valid".into()));
    // The same number stays valid, another one is unknown again, and a wrong one never gets that far.
    assert_eq!(save(&app, &acme, "nl 0044.95.445.b01").await["vat_number_status"], "valid");
    assert_eq!(save(&app, &acme, DE).await["vat_number_status"], "unchecked");
    assert_eq!(tick(&app).await, learned(0, 1, 0));
    let wrong = json!({"company_name": "A", "address_line1": "S", "postal_code": "1", "city": "T", "country_code": "DE", "vat_number": "DE136695970"});
    let put = app.call("PUT", "/api/v1/billing/billing-profile").token(&acme.admin).json(&wrong);
    put.send().await.refused(400).names("vat_number");
}

#[tokio::test]
async fn an_outage_says_nothing_about_a_number() {
    let another = json!({"countryCode": "NL", "vatNumber": "999999999B99", "valid": false}).to_string();
    let cases = [
        ("down", Reply::new(503, "<html>maintenance</html>")),
        (
            "broken",
            Reply::new(
                500,
                json!({"valid": false, "countryCode": "NL", "vatNumber": "004495445B01"}).to_string(),
            ),
        ),
        ("slow", Reply::new(200, "{}").after(Duration::from_secs(10))),
        ("a page", Reply::new(200, "<html>not json</html>")),
        ("half an answer", Reply::new(200, r#"{"countryCode": "NL", "vatNumber": "004495445B01"}"#)),
        ("cut off", Reply::new(200, r#"{"countryCode": "NL", "valid": fal"#)),
        ("about another number", Reply::new(200, another)),
        ("a list", Reply::new(200, "[false]")),
        (
            "not a truth",
            Reply::new(200, r#"{"countryCode": "NL", "vatNumber": "004495445B01", "valid": "false"}"#),
        ),
        ("moved", Reply::new(302, "").header("location", "http://127.0.0.1:1/")),
        ("endless", Reply::new(200, " ".repeat(100_000))),
        ("busy", error(200, "GLOBAL_MAX_CONCURRENT_REQ")),
        ("its fault", error(400, "INVALID_INPUT")),
        ("away", error(200, "MS_UNAVAILABLE")),
        ("a new word", error(200, "SOMETHING_NEW")),
    ];
    let register = Register::start(Says::Knows(vec![])).await;
    let app = start(&register).await;
    let acme = tenant(&app, "tnt_acme", NL).await;
    for (what, reply) in cases {
        register.say(Says::This(reply));
        save(&app, &acme, DE).await;
        save(&app, &acme, NL).await;
        assert_eq!(tick(&app).await, learned(0, 0, 1), "{what}");
        assert_eq!(status(&app, "tnt_acme").await, ("unavailable".into(), None), "{what}");
    }
    hurry(&app).await;
    register.say(Says::Knows(vec![NL]));
    assert_eq!(tick(&app).await, learned(1, 0, 0));
    assert_eq!(status(&app, "tnt_acme").await.0, "valid");
}

#[tokio::test]
async fn the_pauses_grow_and_a_new_number_does_not_wait() {
    let register = Register::start(Says::This(error(200, "SERVICE_UNAVAILABLE"))).await;
    let app = start(&register).await;
    let acme = tenant(&app, "tnt_acme", NL).await;
    for seconds in [60, 300, 1800, 7200, 43_200, 86_400, 86_400] {
        assert_eq!(tick(&app).await, learned(0, 0, 1));
        assert_eq!(tick(&app).await, learned(0, 0, 0), "not before its time");
        let sql = "SELECT extract(epoch FROM vat_check_at - now())::bigint FROM billing_profiles WHERE tenant_id = 'tnt_acme'";
        let pause: i64 = app.db().await.query_one(sql, &[]).await.expect("a pause").get(0);
        assert!((seconds - 20..=seconds).contains(&pause), "{pause} s, not {seconds}");
        hurry(&app).await;
    }
    tick(&app).await;
    save(&app, &acme, DE).await;
    register.say(Says::Knows(vec![DE]));
    assert_eq!(tick(&app).await, learned(1, 0, 0), "another number begins anew");
}

#[tokio::test]
async fn a_country_that_is_away_does_not_hold_up_the_others() {
    let register = Register::start(Says::Away("DE", "MS_UNAVAILABLE")).await;
    let app = start(&register).await;
    for n in 0..3 {
        tenant(&app, &format!("tnt_de{n}"), DE).await;
        tenant(&app, &format!("tnt_nl{n}"), NL).await;
    }
    assert_eq!(tick(&app).await, learned(3, 0, 3));
    let german = register.asked().iter().filter(|n| n.starts_with("DE")).count();
    assert_eq!(german, 1, "it is left alone after the first time");
    assert_eq!(status(&app, "tnt_nl2").await.0, "valid");
    assert_eq!(status(&app, "tnt_de2").await.0, "unavailable");
    hurry(&app).await;
    register.say(Says::This(Reply::new(503, "")));
    for n in 3..6 {
        tenant(&app, &format!("tnt_nl{n}"), NL).await;
    }
    let before = register.asked().len();
    assert_eq!(tick(&app).await, learned(0, 0, 6));
    assert_eq!(register.asked().len() - before, 1, "and so is a register that is away as a whole");
}

#[tokio::test]
async fn an_answer_grows_old_and_is_kept_until_there_is_another() {
    let register = Register::start(Says::Knows(vec![NL])).await;
    let app = start(&register).await;
    given::patience(&app).await;
    let acme = tenant(&app, "tnt_acme", NL).await;
    assert_eq!(tick(&app).await, learned(1, 0, 0));
    let first = app.now();
    // What was issued on that answer must stay as it is.
    let admin = app.operator("billing_admin");
    let id = given::draft(&app, &admin, &acme, "100").await;
    let issued = crate::support::finalize(&app, &admin, id).await;
    // Whoever moves the clock has the workers do what becomes due.
    app.advance(TimeDelta::days(29)).await;
    assert_eq!(register.asked().len(), 1, "young enough");
    register.say(Says::This(Reply::new(503, "")));
    app.advance(TimeDelta::days(2)).await;
    assert_eq!(register.asked().len(), 2, "too old");
    assert_eq!(
        status(&app, "tnt_acme").await,
        ("valid".into(), Some(first)),
        "what it said last still counts"
    );
    hurry(&app).await;
    register.say(Says::Knows(vec![]));
    assert_eq!(tick(&app).await, learned(0, 1, 0));
    assert_eq!(status(&app, "tnt_acme").await, ("invalid".into(), Some(app.now())));
    assert_eq!(crate::support::get(&app, &admin, id).await, issued);
    let sql = "SELECT message, severity, parameters->>'vat_number', parameters->>'before' FROM notifications WHERE tenant_id = 'tnt_acme'";
    let row = app.db().await.query_one(sql, &[]).await.expect("one notification");
    let told: [String; 4] = [0, 1, 2, 3].map(|n| row.get(n));
    assert_eq!(told, ["vat_number_invalid", "warning", NL, "valid"]);
    app.advance(TimeDelta::days(31)).await;
    assert_eq!(register.asked().len(), 4, "it may have been registered meanwhile");
    assert_eq!(status(&app, "tnt_acme").await, ("invalid".into(), Some(app.now())));
    let count = app.db().await.query("SELECT 1 FROM notifications", &[]).await.expect("rows").len();
    assert_eq!(count, 1, "told once");
}

#[tokio::test]
async fn an_answer_about_a_number_that_was_replaced_is_dropped() {
    let slow =
        Reply::new(200, json!({"countryCode": "NL", "vatNumber": "004495445B01", "valid": true}).to_string());
    let register = Register::start(Says::This(slow.after(Duration::from_millis(600)))).await;
    let app = start(&register).await;
    let acme = tenant(&app, "tnt_acme", NL).await;
    let replaced = async {
        scaicontrol_tests::wait::until("it was asked", async || !register.asked().is_empty()).await;
        save(&app, &acme, DE).await
    };
    let (asked, _) = tokio::join!(tick(&app), replaced);
    assert_eq!(asked, learned(1, 0, 0));
    assert_eq!(status(&app, "tnt_acme").await, ("unchecked".into(), None));
    let one = async || tick(&app).await;
    let (a, b) = tokio::join!(one(), one());
    assert_eq!(register.asked().iter().filter(|n| *n == DE).count(), 1, "two at once ask once: {a:?} {b:?}");
}
