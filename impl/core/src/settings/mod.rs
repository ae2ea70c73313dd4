//! The settings of the whole platform that people change while it runs: terms, schedules, multipliers and rates.
//!
//! They are one versioned row. What the row does not name has the default below, so a platform on which nobody ever
//! saved anything behaves like one that saved the defaults, and a release that adds a setting needs no migration.
//! Whoever needs them reads the row ([`load`]), so what is saved is in force at once on every server.
mod checks;
mod saved;

pub use saved::{get, update};

use crate::db::Conn;
use crate::db::schema::platform_settings;
use crate::error::{Error, Result};
use chrono::{NaiveDate, TimeDelta};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rust_decimal::Decimal;
use scaicontrol_api::CallerLevel;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All settings, by their names in the specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Which version of them it is; 0: the defaults, of which none is stored.
    #[serde(skip)]
    pub version: i32,
    /// What happens with overdue invoices, and when.
    pub dunning: Dunning,
    /// Days from issue date to due date of an invoice that is not collected automatically.
    pub payment_terms_days: u32,
    /// Days before the end of a trial on which the tenant is told, descending.
    pub trial_notice_days: Vec<u32>,
    /// What happens at the end of a trial without a payment method.
    pub trial_end_without_method: TrialEndWithoutMethod,
    /// Seconds that billing waits after a boundary for the last usage events.
    pub usage_grace_seconds: u32,
    /// Most that a service may charge in one charge, and for one tenant in one day, in minor units.
    pub max_charge_cents: i64,
    /// What a partner owes the platform as a part of what it bills, by plan key; `*` for all others.
    pub cost_multipliers: BTreeMap<String, Decimal>,
    /// Reference rates entered by hand.
    pub exchange_rates: Vec<ExchangeRate>,
    /// Services that are approved at once when they register.
    pub registry_auto_approve: Vec<AutoApprove>,
    /// When a silent service counts as degraded and as unreachable.
    pub registry_thresholds: RegistryThresholds,
    /// Standard VAT rates that replace the built-in ones.
    pub vat_rate_overrides: Vec<VatRateOverride>,
    /// The sender of mails.
    pub mail_sender: MailSender,
    /// How many requests a caller may make.
    pub rate_limits: RateLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            version: 0,
            dunning: Dunning::default(),
            payment_terms_days: 14,
            trial_notice_days: vec![7, 3, 1],
            trial_end_without_method: TrialEndWithoutMethod::Invoice,
            usage_grace_seconds: 3600,
            max_charge_cents: 1_000_000,
            cost_multipliers: BTreeMap::from([("*".to_owned(), Decimal::ONE)]),
            exchange_rates: Vec::new(),
            registry_auto_approve: Vec::new(),
            registry_thresholds: RegistryThresholds::default(),
            vat_rate_overrides: Vec::new(),
            mail_sender: MailSender::default(),
            rate_limits: RateLimits::default(),
        }
    }
}

impl Settings {
    /// How long billing waits after a boundary for the last usage events.
    pub fn usage_grace(&self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.usage_grace_seconds))
    }

    /// The multiplier in effect for a plan: its own, else the one of `*`, else 1.
    pub fn cost_multiplier(&self, plan_key: &str) -> Decimal {
        self.cost_multipliers
            .get(plan_key)
            .or_else(|| self.cost_multipliers.get("*"))
            .copied()
            .unwrap_or(Decimal::ONE)
    }
}

/// Days count from the one on which the invoice became past due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dunning {
    /// Days on which the charge is tried again, ascending.
    pub retry_days: Vec<u32>,
    /// Days on which a reminder is mailed, ascending.
    pub reminder_days: Vec<u32>,
    /// Day on which the subscriptions on the invoice are suspended.
    pub suspend_after_days: u32,
    /// Day on which they are cancelled; none: never.
    pub cancel_after_days: Option<u32>,
}

impl Default for Dunning {
    fn default() -> Self {
        Dunning {
            retry_days: vec![1, 3, 5, 7],
            reminder_days: vec![0, 3, 7, 10],
            suspend_after_days: 14,
            cancel_after_days: None,
        }
    }
}

/// What happens at the end of a trial when the tenant has no payment method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialEndWithoutMethod {
    /// The subscription becomes active and is billed by invoice.
    Invoice,
    /// It is cancelled and nothing is billed.
    Cancel,
}

/// A reference rate of the European Central Bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeRate {
    /// The currency, not EUR.
    pub currency: String,
    /// Day of publication.
    pub date: NaiveDate,
    /// Units of `currency` for one euro.
    pub rate: Decimal,
}

/// A service that needs no approval when this client registers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoApprove {
    /// Slug of the service.
    pub slug: String,
    /// Client id of its service account.
    pub client_id: String,
}

/// When a silent service counts as degraded and as unreachable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistryThresholds {
    /// Seconds between two looks at all services.
    pub monitor_interval_seconds: u32,
    /// How many of its own intervals a service may be silent before a look counts as a miss.
    pub grace_intervals: u32,
    /// Misses in a row until it is degraded.
    pub degraded_after_misses: u32,
    /// Misses in a row until it is unreachable.
    pub unreachable_after_misses: u32,
}

impl Default for RegistryThresholds {
    fn default() -> Self {
        RegistryThresholds {
            monitor_interval_seconds: 60,
            grace_intervals: 3,
            degraded_after_misses: 3,
            unreachable_after_misses: 10,
        }
    }
}

/// A standard VAT rate that replaces the built-in one for a span of tax points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VatRateOverride {
    /// An EU member state.
    pub country_code: String,
    /// Percent.
    pub rate: Decimal,
    /// First tax point it holds for.
    pub valid_from: NaiveDate,
    /// Last tax point it holds for; none: without end.
    #[serde(default)]
    pub valid_until: Option<NaiveDate>,
}

/// The sender of mails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailSender {
    /// Name to show.
    pub from_name: String,
    /// Address.
    pub from_address: String,
    /// Address for answers; none: `from_address`.
    #[serde(default)]
    pub reply_to: Option<String>,
}

impl Default for MailSender {
    fn default() -> Self {
        MailSender {
            from_name: "ScaiControl".into(),
            from_address: "no-reply@localhost".into(),
            reply_to: None,
        }
    }
}

/// Requests per minute and server, by who calls; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RateLimits {
    /// Of one client address without a principal.
    pub public_per_minute: u32,
    /// Of one user at tenant level.
    pub tenant_per_minute: u32,
    /// Of one user at partner level.
    pub partner_per_minute: u32,
    /// Of one user at platform level.
    pub platform_per_minute: u32,
    /// Of one service account or service key.
    pub service_per_minute: u32,
}

impl RateLimits {
    /// Of a caller of that level.
    pub fn of(self, level: CallerLevel) -> u32 {
        match level {
            CallerLevel::Public => self.public_per_minute,
            CallerLevel::Tenant => self.tenant_per_minute,
            CallerLevel::Partner => self.partner_per_minute,
            CallerLevel::Platform => self.platform_per_minute,
            CallerLevel::Service => self.service_per_minute,
        }
    }
}

/// The settings in force. Every role may read them.
pub async fn load(mut conn: &Conn) -> Result<Settings> {
    let columns = (platform_settings::version, platform_settings::data);
    let row: Option<(i32, serde_json::Value)> =
        platform_settings::table.select(columns).first(&mut conn).await.optional()?;
    let Some((version, data)) = row else { return Ok(Settings::default()) };
    let settings: Settings =
        serde_json::from_value(data).map_err(|e| Error::internal(format!("platform settings: {e}")))?;
    Ok(Settings { version, ..settings })
}

#[cfg(test)]
mod tests {
    use super::{Settings, TrialEndWithoutMethod};
    use rust_decimal::Decimal;
    use serde_json::json;

    #[test]
    fn what_is_not_named_has_its_default() {
        let settings: Settings = serde_json::from_value(json!({
            "payment_terms_days": 30,
            "dunning": {"suspend_after_days": 21},
            "trial_end_without_method": "cancel",
            "cost_multipliers": {"*": "0.9", "chat.pro": "0.8"},
        }))
        .expect("settings");
        assert_eq!(settings.payment_terms_days, 30);
        assert_eq!(settings.dunning.retry_days, [1, 3, 5, 7]);
        assert_eq!(settings.dunning.suspend_after_days, 21);
        assert_eq!(settings.trial_end_without_method, TrialEndWithoutMethod::Cancel);
        assert_eq!(settings.cost_multiplier("chat.pro"), Decimal::new(8, 1));
        assert_eq!(settings.cost_multiplier("chat.free"), Decimal::new(9, 1));
        assert_eq!(serde_json::from_value::<Settings>(json!({})).ok(), Some(Settings::default()));
    }

    #[test]
    fn they_are_written_as_they_are_read() {
        let settings = Settings::default();
        let json = serde_json::to_value(&settings).expect("json");
        assert_eq!(json["cost_multipliers"]["*"], "1");
        assert_eq!(serde_json::from_value::<Settings>(json).ok(), Some(settings));
    }
}
