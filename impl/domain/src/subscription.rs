//! Owns the states of a subscription: which transition is allowed, and what triggers it.
//!
//! There is one table, [`TRANSITIONS`]. Whoever changes a state asks it, under the row lock of the subscription;
//! events, workflows and notifications hang on its answer. A transition that is not in the table is refused.

use serde::{Deserialize, Serialize};

use crate::money::Cents;
use crate::period::Interval;
use crate::text::text_enum;

text_enum! {
    /// Where a subscription is in its life.
    State, "subscription state" {
        /// Created; its provisioning runs.
        Pending = "pending",
        /// In use, not billed yet.
        Trialing = "trialing",
        /// In use and paid.
        Active = "active",
        /// In use, a payment is overdue.
        PastDue = "past_due",
        /// In use until the end of the period, then cancelled.
        Cancelling = "cancelling",
        /// Switched off until debts are paid or an administrator resumes it.
        Suspended = "suspended",
        /// Over.
        Cancelled = "cancelled",
        /// Over, because its fixed term was.
        Expired = "expired",
    }
}

text_enum! {
    /// What happens to a subscription.
    Event, "subscription event" {
        /// Provisioning is done and the plan has a trial.
        TrialStarted = "trial_started",
        /// Provisioning is done, without a trial.
        Activated = "activated",
        /// Provisioning failed for good.
        ProvisioningFailed = "provisioning_failed",
        /// The trial is over, or was converted early.
        TrialEnded = "trial_ended",
        /// The customer cancels: a trial at once, an active subscription at the end of its period.
        Cancel = "cancel",
        /// An administrator (or the end of the tenant) cancels at once.
        CancelNow = "cancel_now",
        /// The end of the period of a scheduled cancellation.
        CancellationDue = "cancellation_due",
        /// The scheduled cancellation is undone.
        CancellationUndone = "cancellation_undone",
        /// The fixed term is over.
        TermEnded = "term_ended",
        /// An invoice with a line of this subscription is overdue.
        PaymentFailed = "payment_failed",
        /// None of its invoices is overdue any more.
        Recovered = "recovered",
        /// The dunning timer ran out, or an administrator suspends.
        Suspend = "suspend",
        /// Paid after suspension by dunning, or resumed by an administrator.
        Resume = "resume",
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Transition {
    /// State before.
    pub from: State,
    /// State after.
    pub to: State,
    /// What may cause it.
    pub events: &'static [Event],
}

const fn row(from: State, to: State, events: &'static [Event]) -> Transition {
    Transition { from, to, events }
}

/// Every allowed transition; all other pairs of states are refused.
pub const TRANSITIONS: &[Transition] = &[
    row(State::Pending, State::Trialing, &[Event::TrialStarted]),
    row(State::Pending, State::Active, &[Event::Activated]),
    row(State::Pending, State::Cancelled, &[Event::ProvisioningFailed, Event::CancelNow]),
    row(State::Trialing, State::Active, &[Event::TrialEnded]),
    row(State::Trialing, State::Cancelled, &[Event::Cancel, Event::CancelNow]),
    row(State::Active, State::PastDue, &[Event::PaymentFailed]),
    row(State::Active, State::Cancelling, &[Event::Cancel]),
    row(State::Active, State::Cancelled, &[Event::CancelNow]),
    row(State::Active, State::Expired, &[Event::TermEnded]),
    row(State::PastDue, State::Active, &[Event::Recovered]),
    row(State::PastDue, State::Suspended, &[Event::Suspend]),
    row(State::PastDue, State::Cancelled, &[Event::CancelNow]),
    row(State::Suspended, State::Active, &[Event::Resume]),
    row(State::Suspended, State::Cancelled, &[Event::CancelNow]),
    row(State::Cancelling, State::Cancelled, &[Event::CancellationDue, Event::CancelNow]),
    row(State::Cancelling, State::Active, &[Event::CancellationUndone]),
];

/// A transition that the table does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a subscription cannot go from {from} to {to}")]
pub struct TransitionError {
    /// State before.
    pub from: State,
    /// State that was asked for.
    pub to: State,
}

/// Whether a subscription may go from one state to the other.
///
/// # Errors
/// [`TransitionError`] for a pair that is not in [`TRANSITIONS`]; a state never follows itself.
pub fn check(from: State, to: State) -> Result<&'static Transition, TransitionError> {
    TRANSITIONS.iter().find(|row| row.from == from && row.to == to).ok_or(TransitionError { from, to })
}

/// The state after an event.
///
/// # Errors
/// [`TransitionError`], naming the state to which the event leads elsewhere.
pub fn next(from: State, event: Event) -> Result<State, TransitionError> {
    TRANSITIONS
        .iter()
        .find(|row| row.from == from && row.events.contains(&event))
        .map(|row| row.to)
        .ok_or(TransitionError { from, to: event.usual_target() })
}

impl State {
    /// Whether nothing can follow.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Expired)
    }

    /// Whether the tenant has it: one live subscription per tenant and service is allowed.
    pub const fn is_live(self) -> bool {
        !self.is_final()
    }

    /// Whether a new period is billed when the current one ends. A past due subscription renews; a suspended one
    /// does not, and a cancelling one ends there.
    pub const fn renews(self) -> bool {
        matches!(self, Self::Active | Self::PastDue)
    }

    /// Whether usage is billed at its price; while trialing it counts for quotas, at price 0.
    pub const fn bills_usage(self) -> bool {
        matches!(self, Self::Active | Self::PastDue | Self::Cancelling | Self::Suspended)
    }
}

impl Event {
    /// The state to which the event usually leads.
    pub const fn usual_target(self) -> State {
        match self {
            Self::TrialStarted => State::Trialing,
            Self::Activated
            | Self::TrialEnded
            | Self::CancellationUndone
            | Self::Recovered
            | Self::Resume => State::Active,
            Self::ProvisioningFailed | Self::CancelNow | Self::CancellationDue => State::Cancelled,
            Self::Cancel => State::Cancelling,
            Self::TermEnded => State::Expired,
            Self::PaymentFailed => State::PastDue,
            Self::Suspend => State::Suspended,
        }
    }
}

text_enum! {
    /// Why a subscription is suspended.
    SuspensionReason, "suspension reason" {
        /// By the dunning timer; it lifts itself when paid.
        Dunning = "dunning",
        /// By an administrator.
        Admin = "admin",
    }
}

text_enum! {
    /// When a plan change takes effect.
    Timing, "timing of a plan change" {
        /// At once when the recurring revenue rises or stays, at the end of the period when it falls.
        Auto = "auto",
        /// At once.
        Immediate = "immediate",
        /// At the end of the period.
        PeriodEnd = "period_end",
    }
}

/// Whether a plan change takes effect at once; otherwise it does at the end of the period.
///
/// A trial is swapped at once whatever is asked: no money moves in it.
pub fn is_immediate(state: State, timing: Timing, mrr_before: Cents, mrr_after: Cents) -> bool {
    match (state, timing) {
        (State::Trialing, _) | (_, Timing::Immediate) => true,
        (_, Timing::PeriodEnd) => false,
        (_, Timing::Auto) => mrr_before <= mrr_after,
    }
}

/// What a plan change is about.
#[derive(Debug, Clone, Copy)]
pub struct PlanChange {
    /// State of the subscription.
    pub state: State,
    /// Whether the subscription belongs to a pack.
    pub is_pack_child: bool,
    /// Interval of the current plan.
    pub interval: Interval,
    /// Whether the new plan belongs to the same service.
    pub same_service: bool,
    /// Whether the new plan has the same currency.
    pub same_currency: bool,
    /// Interval of the new plan.
    pub new_interval: Interval,
    /// Whether the new plan is the current one, or may be subscribed to.
    pub new_plan_available: bool,
}

/// Why a plan change is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum PlanChangeRefusal {
    /// The state does not allow it: a conflict.
    #[error("the plan of a subscription that is {0} cannot be changed")]
    State(State),
    /// It belongs to a pack: a conflict.
    #[error("the plan of a subscription that belongs to a pack cannot be changed")]
    PackChild,
    /// The new plan belongs to another service.
    #[error("the new plan belongs to another service")]
    OtherService,
    /// The new plan has another currency.
    #[error("the new plan has another currency")]
    OtherCurrency,
    /// One of the two plans is billed once.
    #[error("a plan that is billed once cannot be changed")]
    OneTime,
    /// The new plan takes no subscriptions.
    #[error("the new plan is not available")]
    Unavailable,
}

impl PlanChangeRefusal {
    /// Whether the state of the subscription is the reason (a conflict), and not what was asked.
    pub const fn is_conflict(self) -> bool {
        matches!(self, Self::State(_) | Self::PackChild)
    }
}

/// Whether a plan may be changed: only while trialing or active, within one service and one currency.
///
/// # Errors
/// [`PlanChangeRefusal`], conflicts first.
pub fn check_plan_change(change: &PlanChange) -> Result<(), PlanChangeRefusal> {
    if !matches!(change.state, State::Trialing | State::Active) {
        return Err(PlanChangeRefusal::State(change.state));
    }
    if change.is_pack_child {
        return Err(PlanChangeRefusal::PackChild);
    }
    if !change.same_service {
        return Err(PlanChangeRefusal::OtherService);
    }
    if !change.same_currency {
        return Err(PlanChangeRefusal::OtherCurrency);
    }
    if change.interval == Interval::OneTime || change.new_interval == Interval::OneTime {
        return Err(PlanChangeRefusal::OneTime);
    }
    if !change.new_plan_available {
        return Err(PlanChangeRefusal::Unavailable);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
