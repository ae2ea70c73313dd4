//! The platform's settings: read, saved as a whole and by version, and in force at once.
use futures::future::join_all;
use scaicontrol_tests::{TestApp, body, given};
use scaicontrol_types as types;
use serde_json::{Value, json};

pub const SETTINGS: &str = "/api/v1/admin/platform/settings";

/// Saves the settings with a change.
pub async fn set(app: &TestApp, change: impl FnOnce(&mut Value)) -> Value {
    let operator = app.operator("super_admin");
    let mut now = app.call("GET", SETTINGS).token(&operator).send().await.data(200);
    change(&mut now["settings"]);
    let asked = json!({"version": now["version"], "settings": now["settings"]});
    app.call("PUT", SETTINGS).token(&operator).json(&asked).send().await.data(200)
}

#[tokio::test]
async fn they_are_read_changed_and_kept() {
    let app = TestApp::start().await;
    let client = app.client(&app.operator("platform_admin"));
    let first = client.admin_platform_settings_get().send().await.expect("settings").into_inner().data;
    assert_eq!((first.version, first.updated_by), (1, None));
    assert_eq!((first.settings.payment_terms_days, first.settings.max_charge_cents), (14, 1_000_000));
    assert_eq!(first.settings.dunning.retry_days, [1, 3, 5, 7]);
    let mut settings = json!(first.settings);
    settings["payment_terms_days"] = json!(30);
    settings["exchange_rates"] = json!([{"currency": "USD", "date": "2026-03-09", "rate": "1.0843"}]);
    let asked: types::PlatformSettingsUpdateRequest = body(json!({"version": 1, "settings": settings}));
    let saved =
        client.admin_platform_settings_update().body(asked).send().await.expect("saved").into_inner().data;
    assert_eq!(saved.version, 2);
    assert_eq!(saved.updated_by.as_deref(), Some("usr_platform_admin_tnt_operator"));
    assert_eq!(saved.updated_at, app.now());
    assert_eq!(json!(saved.settings), settings);
    let read = client.admin_platform_settings_get().send().await.expect("settings").into_inner().data;
    assert_eq!(json!(read), json!(saved));
    set(&app, |s| s["payment_terms_days"] = json!(7)).await;

    let db = app.db().await;
    let sql = "SELECT version, data->>'payment_terms_days', updated_by FROM platform_settings_versions ORDER BY version";
    let kept = db.query(sql, &[]).await.expect("versions");
    let kept: Vec<(i32, Option<String>, Option<String>)> =
        kept.iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect();
    let by = |who: &str| Some(format!("usr_{who}_tnt_operator"));
    assert_eq!(
        kept,
        [
            (1, None, None),
            (2, Some("30".into()), by("platform_admin")),
            (3, Some("7".into()), by("super_admin"))
        ]
    );
    for sql in ["UPDATE platform_settings_versions SET version = 9", "DELETE FROM platform_settings_versions"]
    {
        assert!(db.execute(sql, &[]).await.is_err(), "{sql}");
    }
    let sql = "SELECT before->>'version', before#>>'{settings,payment_terms_days}', after#>>'{settings,payment_terms_days}' FROM audit_log WHERE object_type = 'platform_settings' ORDER BY id";
    let audited = db.query(sql, &[]).await.expect("audit rows");
    let audited: Vec<[String; 3]> = audited.iter().map(|r| [r.get(0), r.get(1), r.get(2)]).collect();
    assert_eq!(audited, [["1", "14", "30"], ["2", "30", "7"]].map(|row| row.map(str::to_owned)));
}

#[tokio::test]
async fn of_two_that_read_the_same_version_one_saves() {
    let app = TestApp::start().await;
    let operator = app.operator("super_admin");
    let now = app.call("GET", SETTINGS).token(&operator).send().await.data(200);
    let save = async |days: i32| {
        let mut asked = json!({"version": 1, "settings": now["settings"]});
        asked["settings"]["payment_terms_days"] = json!(days);
        app.call("PUT", SETTINGS).token(&operator).json(&asked).send().await
    };
    let answers = join_all((1..=8).map(&save)).await;
    let saved: Vec<_> = answers.iter().filter(|a| a.status == 200).collect();
    assert_eq!(saved.len(), 1);
    answers.iter().filter(|a| a.status != 200).for_each(|a| {
        a.refused(409).says("version 2");
    });
    let after = app.call("GET", SETTINGS).token(&operator).send().await.data(200);
    assert_eq!((&after["version"], &after), (&json!(2), &saved[0].data(200)));
    save(9).await.refused(409);
}

/// The field that is named, and what makes it wrong.
type Case<'a> = (&'a str, &'a dyn Fn(&mut Value));

#[tokio::test]
async fn what_breaks_a_rule_is_named_and_changes_nothing() {
    let app = TestApp::start().await;
    let operator = app.operator("super_admin");
    let now = app.call("GET", SETTINGS).token(&operator).send().await.data(200);
    let put = async |change: &dyn Fn(&mut Value)| {
        let mut asked = json!({"version": 1, "settings": now["settings"]});
        change(&mut asked["settings"]);
        app.call("PUT", SETTINGS).token(&operator).json(&asked).send().await
    };
    let cases: &[Case<'_>] = &[
        ("payment_terms_days", &|s| s["payment_terms_days"] = json!(366)),
        ("payment_terms_days", &|s| s["payment_terms_days"] = json!(-1)),
        ("usage_grace_seconds", &|s| s["usage_grace_seconds"] = json!(86_401)),
        ("max_charge_cents", &|s| s["max_charge_cents"] = json!(-1)),
        ("trial_notice_days", &|s| s["trial_notice_days"] = json!([1, 3])),
        ("trial_end_without_method", &|s| s["trial_end_without_method"] = json!("wait")),
        ("dunning.retry_days", &|s| s["dunning"]["retry_days"] = json!([3, 1])),
        ("dunning.cancel_after_days", &|s| s["dunning"]["cancel_after_days"] = json!(14)),
        ("cost_multipliers.*", &|s| s["cost_multipliers"] = json!({})),
        ("cost_multipliers.vault.pro", &|s| s["cost_multipliers"] = json!({"*": "1", "vault.pro": "0.5"})),
        ("exchange_rates.0.currency", &|s| {
            s["exchange_rates"] = json!([{"currency": "EUR", "date": "2026-03-02", "rate": "1"}]);
        }),
        ("registry_thresholds.unreachable_after_misses", &|s| {
            s["registry_thresholds"]["unreachable_after_misses"] = json!(2);
        }),
        ("vat_rate_overrides.0.country_code", &|s| {
            s["vat_rate_overrides"] =
                json!([{"country_code": "CH", "rate": "8.1", "valid_from": "2026-01-01"}]);
        }),
        ("mail_sender.from_address", &|s| s["mail_sender"]["from_address"] = json!("nobody")),
        ("rate_limits.tenant_per_minute", &|s| s["rate_limits"]["tenant_per_minute"] = json!(-1)),
        ("colour", &|s| s["colour"] = json!("red")),
    ];
    for (field, change) in cases {
        let answer = put(*change).await;
        let refusal = answer.refused(400);
        let named = refusal.fields().iter().any(|named| named.ends_with(field));
        assert!(named, "{field}: {:?} {}", refusal.fields(), refusal.message());
    }
    let without = json!({"version": 1, "settings": {}});
    app.call("PUT", SETTINGS).token(&operator).json(&without).send().await.refused(400);
    assert_eq!(app.call("GET", SETTINGS).token(&operator).send().await.data(200), now);
    for token in [app.operator("billing_admin"), app.token("partner_admin", "tnt_home", "prt_north")] {
        app.call("GET", SETTINGS).token(&token).send().await.refused(403);
    }
}

#[tokio::test]
async fn what_is_saved_is_in_force_at_once() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let service = given::service(&app, "vault").await;
    let plan = given::plan(&app, &service, "pro", 4900).await;
    let partner = app.token("partner_admin", "tnt_home", "prt_north");
    let multiplier = async || {
        let path = format!("/api/v1/catalog/plans/{}", plan.id);
        app.call("GET", &path).token(&partner).send().await.data(200)["cost_multiplier"].clone()
    };
    assert_eq!(multiplier().await, "1");
    set(&app, |s| s["cost_multipliers"] = json!({"*": "0.9", "vault.pro": "0.75"})).await;
    assert_eq!(multiplier().await, "0.75");
    // Terms and rates of a document are those at its finalize.
    set(&app, |s| {
        s["payment_terms_days"] = json!(45);
        s["vat_rate_overrides"] = json!([{"country_code": "NL", "rate": "22", "valid_from": "2026-03-01", "valid_until": "2026-03-31"}]);
    })
    .await;
    let admin = app.operator("billing_admin");
    let draft = given::draft(&app, &admin, &tenant, "10000").await;
    let path = format!("/api/v1/admin/invoices/{draft}/finalize");
    let invoice = app.call("POST", &path).token(&admin).send().await.data(200);
    assert_eq!((&invoice["tax_cents"], &invoice["due_date"]), (&json!(2200), &json!("2026-04-24")));
}

#[tokio::test]
async fn who_calls_too_often_is_refused_for_a_while() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    set(&app, |s| s["rate_limits"]["tenant_per_minute"] = json!(2)).await;
    let call = async || app.call("GET", "/api/v1/subscriptions").token(&tenant.admin).send().await;
    // Twice as many as in a minute may come at once.
    let statuses = [call().await.status, call().await.status, call().await.status, call().await.status];
    assert_eq!(statuses, [200; 4]);
    let refused = call().await;
    assert_eq!(refused.status, 429);
    let seconds: u32 = refused.header("retry-after").and_then(|s| s.parse().ok()).expect("seconds");
    assert_eq!(refused.expect(429)["error"]["code"], "rate_limited");
    assert!((1..=30).contains(&seconds), "{seconds}");
    // Others are counted for themselves, and those without a limit not at all.
    assert_eq!(app.call("GET", "/api/v1/subscriptions").token(&tenant.member).send().await.status, 200);
    set(&app, |s| s["rate_limits"]["tenant_per_minute"] = json!(0)).await;
    assert_eq!(call().await.status, 200);
}
