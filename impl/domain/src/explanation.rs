//! Owns the record of how a line was computed: everything that is needed to compute its amount again.
//!
//! It is stored with the line when it is made. An auditor, a support desk and the nightly verification recompute
//! from it alone: no price list, no usage table and no setting of today takes part.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::invoice::{LineKind, line_amount};
use crate::money::{Cents, MoneyError};
use crate::pack::{self, PackPrice};
use crate::proration::Ratio;
use crate::tax::Decision;
use crate::tiers::{PriceError, PricedKind, PricedLine, Tier, price, total};
use crate::usage::Aggregation;

/// How a line was computed, and how it is taxed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Where the net amount comes from.
    pub computation: Computation,
    /// The VAT decision, once there is one.
    pub tax: Option<Decision>,
}

/// Where the net amount of a line comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Computation {
    /// The base price of a period, or of the rest of one.
    Base {
        /// Price of one piece for a whole period, in cents.
        price_cents: Cents,
        /// Pieces.
        quantity: i64,
        /// The share of the period that is billed.
        share: Ratio,
    },
    /// One line of the usage of a segment.
    Usage {
        /// What was priced.
        segment: Segment,
        /// Which line of it this is.
        kind: PricedKind,
        /// The tier of the line, in the order of their starts; none for the minimum.
        tier_index: Option<usize>,
    },
    /// Usage that was known after its segment had been billed.
    Correction {
        /// What is known now.
        segment: Segment,
        /// What was billed for it before, corrections included, in cents.
        billed_cents: Cents,
        /// What is left of that to take back, where it is less: the rest was taken back by credit notes, in cents.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left_cents: Option<Cents>,
    },
    /// The credit of a plan change or cancellation.
    ProrationCredit {
        /// What was billed for the period, net of credit notes, in cents.
        billed_cents: Cents,
        /// The share that is given back.
        share: Ratio,
        /// What is left of the billed amount to take back, where it is less than the share: credit notes that came later
        /// took back the rest, in cents.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left_cents: Option<Cents>,
    },
    /// The charge of a plan change.
    ProrationCharge {
        /// Price of the new plan for a whole period, times the quantity, in cents.
        price_cents: Cents,
        /// The share that is charged.
        share: Ratio,
    },
    /// The price of a pack for a period, or the rest of one.
    Pack {
        /// How it is priced.
        price: PackPrice,
        /// List prices of its items, in cents.
        list_prices_cents: Vec<Cents>,
        /// The share of the period that is billed.
        share: Ratio,
    },
    /// A charge or a manual line.
    Priced {
        /// Units.
        quantity: Decimal,
        /// Price of `unit_divisor` units, in minor units.
        unit_price_cents: Decimal,
        /// How many units the price is for.
        unit_divisor: Decimal,
    },
}

/// The usage of one metric in one segment, with the prices that were in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Slug of the metric.
    pub metric_slug: String,
    /// How its events were summed up.
    pub aggregation: Aggregation,
    /// Start of the segment.
    pub start: DateTime<Utc>,
    /// End of the segment.
    pub end: DateTime<Utc>,
    /// Its share of the usage month.
    pub share: Ratio,
    /// What was used.
    pub quantity: Decimal,
    /// The events behind the quantity; none when nothing was reported.
    pub events: Option<EventRange>,
    /// The price list.
    pub tiers: Vec<Tier>,
}

/// Which events a quantity is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRange {
    /// When the first of them happened.
    pub first_occurred_at: DateTime<Utc>,
    /// When the last of them happened.
    pub last_occurred_at: DateTime<Utc>,
    /// How many there are.
    pub count: i64,
}

/// Why an amount cannot be computed again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecomputeError {
    /// The stored tiers or quantity are not valid.
    #[error(transparent)]
    Price(#[from] PriceError),
    /// The amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The segment does not make such a line.
    #[error("the segment makes no {0} line for this tier")]
    NoSuchLine(PricedKind),
}

impl Segment {
    /// The lines of the segment.
    ///
    /// # Errors
    /// As [`price`].
    pub fn price(&self) -> Result<Vec<PricedLine>, PriceError> {
        price(&self.tiers, self.quantity, self.share)
    }

    /// The lines of the segment, each with the computation that explains it.
    ///
    /// # Errors
    /// As [`price`].
    pub fn explained_lines(&self) -> Result<Vec<(PricedLine, Computation)>, PriceError> {
        let lines = self.price()?;
        let explain = |line: &PricedLine| Computation::Usage {
            segment: self.clone(),
            kind: line.kind,
            tier_index: line.tier_index,
        };
        Ok(lines.into_iter().map(|line| (line.clone(), explain(&line))).collect())
    }
}

impl Computation {
    /// The net amount in cents, computed again.
    ///
    /// # Errors
    /// [`RecomputeError`].
    pub fn amount(&self) -> Result<Cents, RecomputeError> {
        Ok(match self {
            Self::Base { price_cents, quantity, share } => share.of(price_cents.times(*quantity)?)?,
            Self::Usage { segment, kind, tier_index } => {
                let lines = segment.price()?;
                let line = lines.iter().find(|line| line.kind == *kind && line.tier_index == *tier_index);
                Cents(line.ok_or(RecomputeError::NoSuchLine(*kind))?.amount_cents)
            }
            Self::Correction { segment, billed_cents, left_cents } => {
                at_most(total(&segment.price()?)?.sub(*billed_cents)?, *left_cents)?
            }
            Self::ProrationCredit { billed_cents, share, left_cents } => {
                at_most(share.of(*billed_cents)?.neg()?, *left_cents)?
            }
            Self::ProrationCharge { price_cents, share } => share.of(*price_cents)?,
            Self::Pack { price, list_prices_cents, share } => {
                share.of(pack::price(*price, list_prices_cents)?)?
            }
            Self::Priced { quantity, unit_price_cents, unit_divisor } => {
                line_amount(*quantity, *unit_price_cents, *unit_divisor)?
            }
        })
    }

    /// The same computation of a credit, which takes back no more than `left`; unchanged when it does not.
    ///
    /// # Errors
    /// [`RecomputeError`].
    pub fn bounded(self, left: Cents) -> Result<Self, RecomputeError> {
        if left.max(Cents::ZERO).neg()? <= self.amount()? {
            return Ok(self);
        }
        let left_cents = Some(left.max(Cents::ZERO));
        Ok(match self {
            Self::Correction { segment, billed_cents, .. } => {
                Self::Correction { segment, billed_cents, left_cents }
            }
            Self::ProrationCredit { billed_cents, share, .. } => {
                Self::ProrationCredit { billed_cents, share, left_cents }
            }
            other => other,
        })
    }

    /// The kind of the line; `Priced` is a charge of a service or a manual line, and does not know which.
    pub fn line_kind(&self) -> Option<LineKind> {
        match self {
            Self::Base { .. } => Some(LineKind::Base),
            Self::Usage { kind: PricedKind::Minimum, .. } => Some(LineKind::Minimum),
            Self::Usage { .. } => Some(LineKind::Usage),
            Self::Correction { .. } => Some(LineKind::Correction),
            Self::ProrationCredit { .. } | Self::ProrationCharge { .. } => Some(LineKind::Proration),
            Self::Pack { .. } => Some(LineKind::Pack),
            Self::Priced { .. } => None,
        }
    }
}

/// A credit, which is no more than what is left to take back.
fn at_most(amount: Cents, left: Option<Cents>) -> Result<Cents, MoneyError> {
    Ok(match left {
        Some(left) => amount.max(left.neg()?),
        None => amount,
    })
}

/// Computes the net amount of a line again, in cents.
///
/// # Errors
/// [`RecomputeError`].
pub fn recompute(explanation: &Explanation) -> Result<Cents, RecomputeError> {
    explanation.computation.amount()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiers::PricingModel;

    fn d(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    fn segment(quantity: &str) -> Segment {
        let tier = |start: &str, end: Option<&str>, price: &str| Tier {
            tier_start: d(start),
            tier_end: end.map(d),
            unit_price_cents: d(price),
            unit_divisor: d("1000"),
            unit_label: None,
            pricing_model: PricingModel::Graduated,
            flat_fee_cents: 25,
            minimum_cents: 1000,
        };
        Segment {
            metric_slug: "api_calls".into(),
            aggregation: Aggregation::Sum,
            start: "2026-01-01T00:00:00Z".parse().expect("an instant"),
            end: "2026-01-16T12:00:00Z".parse().expect("an instant"),
            share: Ratio::new(1, 2).expect("a share"),
            quantity: d(quantity),
            events: None,
            tiers: vec![tier("0", Some("1000"), "0.5"), tier("1000", None, "12.25")],
        }
    }

    fn stored(computation: &Computation) -> Computation {
        let explanation = Explanation { computation: computation.clone(), tax: None };
        let json = serde_json::to_string(&explanation).expect("json");
        let read: Explanation = serde_json::from_str(&json).expect("json");
        assert_eq!(recompute(&read).ok(), computation.amount().ok());
        read.computation
    }

    #[test]
    fn every_line_of_a_segment_explains_itself() {
        for quantity in ["0", "1", "1000", "1001.5", "99999"] {
            let lines = segment(quantity).explained_lines().expect("priced");
            for (line, computation) in &lines {
                assert_eq!(&stored(computation), computation);
                assert_eq!(computation.amount(), Ok(Cents(line.amount_cents)), "{quantity}");
                let minimum = line.kind == PricedKind::Minimum;
                assert_eq!(computation.line_kind() == Some(LineKind::Minimum), minimum);
            }
            let late = Computation::Correction {
                segment: segment(quantity),
                billed_cents: Cents(2000),
                left_cents: None,
            };
            let sum: i64 = lines.iter().map(|(line, _)| line.amount_cents).sum();
            assert_eq!(stored(&late).amount(), Ok(Cents(sum - 2000)));
            let bounded = late.clone().bounded(Cents(500)).expect("a bound");
            assert_eq!(stored(&bounded).amount(), Ok(Cents((sum - 2000).max(-500))));
            assert_eq!(bounded == late, -500 <= sum - 2000, "a bound that does not bind is not there");
        }
        let wrong =
            Computation::Usage { segment: segment("1"), kind: PricedKind::Usage, tier_index: Some(7) };
        assert_eq!(wrong.amount(), Err(RecomputeError::NoSuchLine(PricedKind::Usage)));
    }

    #[test]
    fn other_lines_explain_themselves() {
        let third = Ratio::new(1, 3).expect("a share");
        let table = [
            (Computation::Base { price_cents: Cents(1000), quantity: 3, share: Ratio::ONE }, 3000),
            (Computation::Base { price_cents: Cents(1000), quantity: 2, share: third }, 667),
            (
                Computation::ProrationCredit { billed_cents: Cents(1000), share: third, left_cents: None },
                -333,
            ),
            (Computation::ProrationCharge { price_cents: Cents(2000), share: third }, 667),
            (
                Computation::Pack {
                    price: PackPrice::Percentage { discount_percentage: d("10") },
                    list_prices_cents: vec![Cents(1000), Cents(500)],
                    share: Ratio::ONE,
                },
                1350,
            ),
            (
                Computation::Pack {
                    price: PackPrice::FixedPrice { base_price_cents: Cents(999) },
                    list_prices_cents: vec![],
                    share: third,
                },
                333,
            ),
            (Computation::Priced { quantity: d("2.5"), unit_price_cents: d("0.3"), unit_divisor: d("1") }, 1),
        ];
        for (computation, amount) in table {
            assert_eq!(stored(&computation).amount(), Ok(Cents(amount)), "{computation:?}");
        }
    }
}
