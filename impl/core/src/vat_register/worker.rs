//! The questions that are due, one after the other.
//!
//! VIES allows few questions at a time, so they are asked one by one, and a country (or the whole of it) that is away is
//! left alone for the rest of a tick. A question is put off by its lease before it is asked; the answer is written under
//! the lock of the tenant, and only when the profile still has that number.
use crate::app::Control;
use crate::audit;
use crate::clock::Clock;
use crate::db::Conn;
use crate::db::statement::statement;
use crate::directory;
use crate::error::{Error, Result};
use crate::gateways::vies::{Answer, Away, Register};
use crate::notifications::{self, Notice, Severity};
use crate::op::{OpContext, Scope};
use crate::profiles::{self, ProfileRow};
use crate::workers::NextDue;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::{BigInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use scaicontrol_domain::tax::{VatNumber, VatStatus};
use serde_json::json;
use std::collections::BTreeSet;

/// Pauses after the first, second … time without an answer; the last one stays.
const PAUSES: [TimeDelta; 6] = [
    TimeDelta::minutes(1),
    TimeDelta::minutes(5),
    TimeDelta::minutes(30),
    TimeDelta::hours(2),
    TimeDelta::hours(12),
    TimeDelta::hours(24),
];
/// Questions of one tick; the rest waits for the next.
const QUESTIONS_MAX: i64 = 50;
/// How long a question may be in hand before somebody else may ask it.
const LEASE: TimeDelta = TimeDelta::minutes(30);

/// The countries that the register knows.
macro_rules! countries {
    () => {
        "'AT', 'BE', 'BG', 'CY', 'CZ', 'DE', 'DK', 'EE', 'EL', 'ES', 'FI', 'FR', 'HR', 'HU', 'IE', 'IT', 'LT', 'LU', 'LV', 'MT', 'NL', 'PL', 'PT', 'RO', 'SE', 'SI', 'SK', 'XI'"
    };
}

/// Since when a number waits for its first answer, by the machine's clock. Answers that are old do not wait: they hold.
pub const NEXT_DUE: NextDue = concat!(
    "SELECT min(COALESCE(vat_check_at, updated_at)) FROM billing_profiles
     WHERE vat_number IS NOT NULL AND vat_number_status IN ('unchecked', 'unavailable') AND COALESCE(vat_check_at, updated_at) > $1
       AND left(vat_number, 2) IN (",
    countries!(),
    ")"
);

/// What a tick learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// Numbers that are registered.
    pub valid: usize,
    /// Numbers that are not.
    pub invalid: usize,
    /// Numbers of which nothing was learned.
    pub unavailable: usize,
}

/// Asks what is due. Without a register nothing is asked. Safe to repeat, and at several servers at once.
pub async fn tick(op: &OpContext, app: &Control) -> Result<Learned> {
    let mut learned = Learned::default();
    let Some(register) = &app.vies else { return Ok(learned) };
    let op = &op.with_scope(Scope::Platform);
    let age = TimeDelta::from_std(app.config.vies.recheck_after).map_err(Error::internal)?;
    let old = op.now.checked_sub_signed(age).unwrap_or(DateTime::UNIX_EPOCH);
    let due =
        app.db.tx(op, "vat_numbers_lease", async |conn| lease(conn, Clock::Real.now(), old).await).await?;
    let (mut away, mut all_away) = (BTreeSet::new(), false);
    for (tenant_id, text) in due {
        let country = text.get(..2).unwrap_or_default().to_owned();
        let answer = if all_away || away.contains(&country) {
            Answer::Unavailable(Away::Country, "not asked: it was away a moment ago".into())
        } else {
            ask(register.as_ref(), &text).await
        };
        if let Answer::Unavailable(who, why) = &answer {
            slog::info!(app.log, "the VAT register gives no answer"; "country" => &country, "reason" => why);
            away.insert(country);
            all_away |= *who == Away::Everybody;
        }
        match &answer {
            Answer::Valid => learned.valid += 1,
            Answer::Invalid => learned.invalid += 1,
            Answer::Unavailable(..) => learned.unavailable += 1,
        }
        app.db
            .tx(op, "vat_number_answer", async |conn| write(conn, op, app, &tenant_id, &text, &answer).await)
            .await?;
    }
    Ok(learned)
}

async fn ask(register: &dyn Register, text: &str) -> Answer {
    match VatNumber::parse(text) {
        Ok(number) => register.ask(&number).await,
        // It was checked when it was saved, by the rules of that time.
        Err(e) => Answer::Unavailable(Away::Country, e.to_string()),
    }
}

/// Numbers that are due, put off by their lease: those without an answer, and those whose answer is from before `old`. Only
/// countries that the register knows.
async fn lease(conn: &mut Conn, now: DateTime<Utc>, old: DateTime<Utc>) -> Result<Vec<(String, String)>> {
    let query = statement::<(Text, Text)>(concat!(
        "UPDATE billing_profiles p SET vat_check_at = $1
         FROM (SELECT tenant_id FROM billing_profiles
               WHERE vat_number IS NOT NULL AND (vat_check_at IS NULL OR vat_check_at <= $2)
                 AND (vat_number_status IN ('unchecked', 'unavailable') OR vat_number_checked_at < $3)
                 AND left(vat_number, 2) IN (",
        countries!(),
        ") ORDER BY vat_check_at NULLS FIRST LIMIT $4 FOR UPDATE SKIP LOCKED) AS due
         WHERE p.tenant_id = due.tenant_id RETURNING p.tenant_id, p.vat_number"
    ))
    .bind::<Timestamptz, _>(now + LEASE)
    .bind::<Timestamptz, _>(now)
    .bind::<Timestamptz, _>(old)
    .bind::<BigInt, _>(QUESTIONS_MAX);
    Ok(query.load(conn).await?)
}

/// Keeps an answer, when the profile still has the number that was asked about.
async fn write(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    tenant_id: &str,
    number: &str,
    answer: &Answer,
) -> Result<()> {
    if directory::store::tenant_lock(conn, tenant_id).await?.is_none() {
        return Ok(());
    }
    let Some(before) = profiles::store::find(conn, tenant_id).await? else { return Ok(()) };
    if before.vat_number.as_deref() != Some(number) {
        return Ok(());
    }
    let after = answered(&before, answer, op.now);
    profiles::store::update(conn, &after).await?;
    if after.vat_number_status == before.vat_number_status {
        return Ok(());
    }
    if answer == &Answer::Invalid {
        slog::warn!(app.log, "a VAT number is not registered"; "tenant_id" => tenant_id, "before" => &before.vat_number_status);
        notify(conn, op, &before).await?;
    }
    let entry = audit::Entry {
        object_type: "billing_profile",
        object_id: tenant_id.to_owned(),
        tenant_id: Some(tenant_id),
        partner_id: Some(&before.partner_id),
        reason: None,
    };
    audit::record(conn, op, entry, Some(&before), Some(&after)).await
}

/// The profile after an answer. What the register once said stays until it says something else.
fn answered(before: &ProfileRow, answer: &Answer, now: DateTime<Utc>) -> ProfileRow {
    let said = |status: VatStatus| ProfileRow {
        vat_number_status: status.as_str().to_owned(),
        vat_number_checked_at: Some(now),
        vat_check_attempts: 0,
        vat_check_at: None,
        ..before.clone()
    };
    match answer {
        Answer::Valid => said(VatStatus::Valid),
        Answer::Invalid => said(VatStatus::Invalid),
        Answer::Unavailable(..) => {
            let attempts = before.vat_check_attempts.saturating_add(1);
            let nth = usize::try_from(attempts - 1).unwrap_or_default().min(PAUSES.len() - 1);
            let pause = PAUSES.get(nth).copied().unwrap_or(LEASE);
            let status = match before.vat_number_status.as_str() {
                "unchecked" => VatStatus::Unavailable.as_str().to_owned(),
                kept => kept.to_owned(),
            };
            ProfileRow {
                vat_number_status: status,
                vat_check_attempts: attempts,
                vat_check_at: Some(Clock::Real.now() + pause),
                ..before.clone()
            }
        }
    }
}

/// Tells the tenant's finance people; the next document will be made out with VAT.
async fn notify(conn: &mut Conn, op: &OpContext, profile: &ProfileRow) -> Result<()> {
    let notice = Notice {
        tenant_id: &profile.tenant_id,
        partner_id: &profile.partner_id,
        user_id: None,
        category: "billing",
        severity: Severity::Warning,
        message: "vat_number_invalid",
        parameters: json!({"vat_number": profile.vat_number, "before": profile.vat_number_status}),
        link: None,
    };
    notifications::tell(conn, op, notice).await
}
