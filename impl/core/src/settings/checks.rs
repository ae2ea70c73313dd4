//! What must hold of settings that somebody saves, beyond the limits of each field: how they fit together.
//!
//! Everything that is wrong is said at once, each by the field's path.
use super::{Dunning, MailSender, RegistryThresholds, Settings};
use crate::checks::Checks;
use crate::db::Conn;
use crate::db::statement::statement;
use crate::error::{Error, Field, Result};
use chrono::{Datelike, NaiveDate};
use diesel::sql_types::{Array, Text};
use diesel_async::RunQueryDsl;
use rust_decimal::Decimal;
use scaicontrol_domain::money::Currency;
use scaicontrol_domain::tax::territory::EuCountry;
use scaicontrol_types::PlatformSettingsInput;
use std::collections::{BTreeMap, BTreeSet};

/// The settings that were sent.
///
/// Errors: 400 naming each field that breaks a rule.
pub fn settings(input: &PlatformSettingsInput) -> Result<Settings> {
    let mut checks = Checks::default();
    // A decimal is a string in JSON: what is none must not reach the settings as a number that looks like one.
    for (key, value) in &input.cost_multipliers {
        let decimal = value.as_str().and_then(|text| text.parse::<scaicontrol_types::Decimal>().ok());
        checks.require(decimal.is_some(), &multiplier(key), "must be a decimal number as a string");
    }
    checks.finish()?;
    // The fields have the same names and forms.
    let settings = serde_json::to_value(input).map_err(Error::internal)?;
    let settings: Settings = serde_json::from_value(settings).map_err(Error::internal)?;
    let mut checks = Checks::default();
    dunning(&mut checks, &settings.dunning);
    let descending = settings.trial_notice_days.is_sorted_by(|a, b| a > b);
    checks.require(descending, "settings.trial_notice_days", "must be descending, each day once");
    multipliers(&mut checks, &settings.cost_multipliers);
    exchange_rates(&mut checks, &settings);
    auto_approve(&mut checks, &settings);
    thresholds(&mut checks, &settings.registry_thresholds);
    vat_rates(&mut checks, &settings);
    let is_plain = !settings.mail_sender.from_name.chars().any(char::is_control)
        && !settings.mail_sender.from_name.trim().is_empty();
    checks.require(is_plain, "settings.mail_sender.from_name", "must be a name without control characters");
    let address = &settings.mail_sender.from_address;
    checks.require(
        settings.mail_sender == MailSender::default() || address.parse::<lettre::Address>().is_ok(),
        "settings.mail_sender.from_address",
        "must be an e-mail address",
    );
    checks.finish()?;
    Ok(settings)
}

fn dunning(checks: &mut Checks, dunning: &Dunning) {
    const RETRIES: &str = "settings.dunning.retry_days";
    checks.require(
        dunning.retry_days.is_sorted_by(|a, b| a < b),
        RETRIES,
        "must be ascending, each day once",
    );
    let before = dunning.retry_days.iter().all(|day| *day < dunning.suspend_after_days);
    checks.require(before, RETRIES, "must all be before suspend_after_days");
    let ascending = dunning.reminder_days.is_sorted_by(|a, b| a < b);
    checks.require(ascending, "settings.dunning.reminder_days", "must be ascending, each day once");
    let after = dunning.cancel_after_days.is_none_or(|day| dunning.suspend_after_days < day);
    checks.require(after, "settings.dunning.cancel_after_days", "must be after suspend_after_days");
}

fn multiplier(key: &str) -> String {
    format!("settings.cost_multipliers.{key}")
}

fn multipliers(checks: &mut Checks, multipliers: &BTreeMap<String, Decimal>) {
    let has_general = multipliers.contains_key("*");
    checks.require(
        has_general,
        &multiplier("*"),
        "is required: it holds for every plan without a key of its own",
    );
    for (key, value) in multipliers {
        let fits = (Decimal::ZERO..=Decimal::TEN).contains(value) && value.normalize().scale() <= 6;
        checks.require(fits, &multiplier(key), "must be from 0 to 10, with at most 6 decimals");
        checks.require(
            key == "*" || is_plan_key(key),
            &multiplier(key),
            "is not a plan key (`<service>.<plan>`)",
        );
    }
}

fn is_plan_key(key: &str) -> bool {
    let is_slug = |slug: &str| {
        slug.len() <= 64
            && slug.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
    };
    key.split_once('.').is_some_and(|(service, plan)| is_slug(service) && is_slug(plan))
}

fn exchange_rates(checks: &mut Checks, settings: &Settings) {
    let mut seen = BTreeSet::new();
    for (index, rate) in settings.exchange_rates.iter().enumerate() {
        let field = |name: &str| format!("settings.exchange_rates.{index}.{name}");
        match Currency::parse(&rate.currency) {
            Ok(currency) if currency.code() == "EUR" => {
                checks.refuse(field("currency"), "must not be EUR: rates are per euro");
            }
            Ok(_) => {}
            Err(e) => checks.refuse(field("currency"), e.to_string()),
        }
        checks.require(Decimal::ZERO < rate.rate, &field("rate"), "must be above 0");
        checks.require(is_plausible(rate.date), &field("date"), "must be a date from 1999 to 9999");
        let is_new = seen.insert((&rate.currency, rate.date));
        checks.require(is_new, &field("date"), "is there twice for this currency");
    }
}

fn is_plausible(date: NaiveDate) -> bool {
    (1999..=9999).contains(&date.year())
}

fn auto_approve(checks: &mut Checks, settings: &Settings) {
    let mut seen = BTreeSet::new();
    for (index, entry) in settings.registry_auto_approve.iter().enumerate() {
        let field = format!("settings.registry_auto_approve.{index}.slug");
        checks.require(seen.insert(&entry.slug), &field, "is there twice");
    }
}

fn thresholds(checks: &mut Checks, thresholds: &RegistryThresholds) {
    let above = thresholds.degraded_after_misses < thresholds.unreachable_after_misses;
    let field = "settings.registry_thresholds.unreachable_after_misses";
    checks.require(above, field, "must be above degraded_after_misses");
}

fn vat_rates(checks: &mut Checks, settings: &Settings) {
    let all = &settings.vat_rate_overrides;
    for (index, rate) in all.iter().enumerate() {
        let field = |name: &str| format!("settings.vat_rate_overrides.{index}.{name}");
        let is_member = rate.country_code.parse::<EuCountry>().is_ok();
        checks.require(is_member, &field("country_code"), "is not an EU member state");
        let fits =
            Decimal::ZERO < rate.rate && rate.rate <= Decimal::from(50) && rate.rate.normalize().scale() <= 2;
        checks.require(fits, &field("rate"), "must be above 0 and at most 50, with at most 2 decimals");
        checks.require(
            is_plausible(rate.valid_from),
            &field("valid_from"),
            "must be a date from 1999 to 9999",
        );
        if let Some(until) = rate.valid_until {
            checks.require(rate.valid_from <= until, &field("valid_until"), "is before valid_from");
            checks.require(is_plausible(until), &field("valid_until"), "must be a date from 1999 to 9999");
        }
        let overlaps = all[..index].iter().any(|other| {
            other.country_code == rate.country_code
                && other.valid_until.is_none_or(|until| rate.valid_from <= until)
                && rate.valid_until.is_none_or(|until| other.valid_from <= until)
        });
        checks.require(!overlaps, &field("valid_from"), "overlaps another span of this country");
    }
}

/// Each key of a multiplier is of a plan that exists.
///
/// Errors: 400 naming each that is not.
pub async fn plans_exist(conn: &mut Conn, settings: &Settings) -> Result<()> {
    let keys: Vec<&str> =
        settings.cost_multipliers.keys().map(String::as_str).filter(|key| *key != "*").collect();
    if keys.is_empty() {
        return Ok(());
    }
    let (services, plans): (Vec<&str>, Vec<&str>) = keys.iter().filter_map(|key| key.split_once('.')).unzip();
    let known: BTreeSet<String> = statement::<Text>(
        "SELECT k.service || '.' || k.plan FROM unnest($1::text[], $2::text[]) AS k (service, plan)
         WHERE EXISTS (SELECT 1 FROM services s JOIN plans p USING (service_id) WHERE s.slug = k.service AND p.slug = k.plan)",
    )
    .bind::<Array<Text>, _>(services)
    .bind::<Array<Text>, _>(plans)
    .load::<String>(conn)
    .await?
    .into_iter()
    .collect();
    let unknown = keys.iter().filter(|key| !known.contains(**key));
    let wrong: Vec<Field> = unknown
        .map(|key| Field { field: multiplier(key), message: "is not a plan that exists".into() })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(Error::fields(wrong)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::VatRateOverride;
    use serde_json::{Value, json};

    fn input(change: impl FnOnce(&mut Value)) -> PlatformSettingsInput {
        let mut value = serde_json::to_value(Settings::default()).expect("json");
        change(&mut value);
        serde_json::from_value(value).expect("an input")
    }

    #[track_caller]
    fn refused(field: &str, change: impl FnOnce(&mut Value)) {
        match settings(&input(change)) {
            Err(Error::BadRequest { details, .. }) => {
                assert!(details.iter().any(|d| d.field == field), "{field}: {details:?}");
            }
            other => panic!("{field}: {other:?}"),
        }
    }

    #[test]
    fn the_defaults_can_be_saved() {
        assert_eq!(settings(&input(|_| ())).expect("settings"), Settings::default());
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        refused("settings.dunning.retry_days", |s| s["dunning"]["retry_days"] = json!([1, 1]));
        refused("settings.dunning.retry_days", |s| s["dunning"]["suspend_after_days"] = json!(7));
        refused("settings.dunning.reminder_days", |s| s["dunning"]["reminder_days"] = json!([3, 0]));
        refused("settings.dunning.cancel_after_days", |s| s["dunning"]["cancel_after_days"] = json!(14));
        refused("settings.trial_notice_days", |s| s["trial_notice_days"] = json!([1, 3]));
        refused("settings.cost_multipliers.*", |s| s["cost_multipliers"] = json!({"chat.pro": "1"}));
        for wrong in [json!("10.5"), json!("-1"), json!("0.1234567"), json!(1), json!("one"), json!(null)] {
            refused("settings.cost_multipliers.*", |s| s["cost_multipliers"] = json!({"*": wrong}));
        }
        for wrong in ["chat", "chat.", ".pro", "Chat.pro", "chat.pro.x"] {
            let field = format!("settings.cost_multipliers.{wrong}");
            refused(&field, |s| s["cost_multipliers"] = json!({"*": "1", wrong: "1"}));
        }
        let rate =
            |currency: &str, rate: &str| json!({"currency": currency, "date": "2026-03-02", "rate": rate});
        let currency = "settings.exchange_rates.0.currency";
        refused(currency, |s| s["exchange_rates"] = json!([rate("EUR", "1")]));
        refused(currency, |s| s["exchange_rates"] = json!([rate("QQQ", "1")]));
        refused("settings.exchange_rates.0.rate", |s| s["exchange_rates"] = json!([rate("USD", "0")]));
        let twice = json!([rate("USD", "1.1"), rate("USD", "1.2")]);
        refused("settings.exchange_rates.1.date", |s| s["exchange_rates"] = twice);
        let pairs = json!([{"slug": "chat", "client_id": "a"}, {"slug": "chat", "client_id": "b"}]);
        refused("settings.registry_auto_approve.1.slug", |s| s["registry_auto_approve"] = pairs);
        let field = "settings.registry_thresholds.unreachable_after_misses";
        refused(field, |s| s["registry_thresholds"]["unreachable_after_misses"] = json!(3));
        refused("settings.mail_sender.from_name", |s| s["mail_sender"]["from_name"] = json!("a\r\nBcc: x"));
    }

    #[test]
    fn vat_rates_of_a_country_do_not_overlap() {
        let span = |country: &str, from: &str, until: Option<&str>| VatRateOverride {
            country_code: country.into(),
            rate: Decimal::from(21),
            valid_from: from.parse().expect("a date"),
            valid_until: until.map(|d| d.parse().expect("a date")),
        };
        let with = |spans: &[VatRateOverride]| json!(spans);
        let fine = [
            span("NL", "2026-01-01", Some("2026-06-30")),
            span("NL", "2026-07-01", None),
            span("DE", "2026-03-01", None),
        ];
        assert!(settings(&input(|s| s["vat_rate_overrides"] = with(&fine))).is_ok());
        let overlapping = [
            [span("NL", "2026-01-01", Some("2026-07-01")), span("NL", "2026-07-01", None)],
            [span("NL", "2026-07-01", None), span("NL", "2026-01-01", Some("2026-07-01"))],
            [span("NL", "2026-01-01", None), span("NL", "2026-02-01", Some("2026-02-02"))],
        ];
        for spans in overlapping {
            let field = "settings.vat_rate_overrides.1.valid_from";
            refused(field, |s| s["vat_rate_overrides"] = with(&spans));
        }
        let backwards = with(&[span("NL", "2026-07-01", Some("2026-06-30"))]);
        refused("settings.vat_rate_overrides.0.valid_until", |s| s["vat_rate_overrides"] = backwards);
        let outside = with(&[span("CH", "2026-07-01", None)]);
        refused("settings.vat_rate_overrides.0.country_code", |s| s["vat_rate_overrides"] = outside);
        for wrong in ["0", "50.01", "21.123"] {
            let mut rate = json!(span("NL", "2026-07-01", None));
            rate["rate"] = json!(wrong);
            refused("settings.vat_rate_overrides.0.rate", |s| s["vat_rate_overrides"] = json!([rate]));
        }
    }
}
