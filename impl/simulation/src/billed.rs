//! What a tenant was shown as its next invoice, held against the invoice that comes.
//!
//! While a tenant is watched nothing is done for it; what it is shown at the beginning must then come, to the cent, and when
//! it is shown nothing nothing may come.
use crate::Outcome;
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use uuid::Uuid;

/// A tenant that is left alone until the invoice comes that it was shown, or none did.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its documents when it was shown: what comes is not one of them. (The instant does not tell: what is due already
    /// is billed at the very instant at which it was shown.)
    pub known: Vec<Uuid>,
    /// What was shown.
    pub shown: Shown,
}

/// What a tenant is shown.
#[derive(Clone, Debug)]
pub enum Shown {
    /// Its next invoice.
    Next(Foreseen),
    /// That nothing comes.
    Nothing {
        /// As far as that was looked ahead, or watched.
        until: DateTime<Utc>,
    },
}

impl Shown {
    /// Whether what was shown should be over.
    pub fn is_past(&self, now: DateTime<Utc>) -> Outcome<bool> {
        match self {
            Shown::Next(next) => Ok(next.days_from(now)? < 0),
            Shown::Nothing { until } => Ok(*until < now),
        }
    }
}

/// The next invoice of a tenant, as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// Its currency.
    pub currency: String,
    /// Its date.
    pub date: String,
    /// Before VAT; less than 0 when more is given back than billed.
    pub subtotal_cents: i64,
    /// With VAT, when that could be decided.
    pub total_cents: Option<i64>,
    /// Amounts of its lines, sorted.
    pub lines: Vec<i64>,
}

impl Foreseen {
    /// From the answer of the operation.
    pub fn from_upcoming(value: &Value) -> Foreseen {
        let mut lines: Vec<i64> = value["line_items"]
            .as_array()
            .map(|lines| lines.iter().filter_map(|l| l["amount_cents"].as_i64()).collect())
            .unwrap_or_default();
        lines.sort_unstable();
        Foreseen {
            currency: value["currency"].as_str().unwrap_or_default().to_owned(),
            date: value["invoice_date"].as_str().unwrap_or_default().to_owned(),
            subtotal_cents: value["subtotal_cents"].as_i64().unwrap_or_default(),
            total_cents: value["total_cents"].as_i64(),
            lines,
        }
    }

    /// How far away its date is.
    pub fn days_from(&self, now: DateTime<Utc>) -> Outcome<i64> {
        let date: NaiveDate = self.date.parse().map_err(|e| format!("{}: {e}", self.date))?;
        Ok((date - now.date_naive()).num_days())
    }

    /// Whether the invoice that came is the one that was shown.
    pub fn check(&self, tenant: &str, came: &Foreseen) -> Outcome {
        let same = self.date == came.date
            && self.subtotal_cents == came.subtotal_cents
            // What is given back without anything billed is a note for each line that it takes back.
            && (self.subtotal_cents < 0 || self.lines == came.lines)
            && self.total_cents.is_none_or(|total| Some(total) == came.total_cents);
        if same {
            return Ok(());
        }
        Err(format!("upcoming is not what was billed: {tenant} was shown {self:?}, and {came:?} came"))
    }
}

/// How many came as they were shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// See above.
    pub confirmed: u64,
}
