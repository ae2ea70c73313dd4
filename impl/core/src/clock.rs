//! The one source of business time.
//!
//! Every rule about periods, invoices and usage asks this clock, so that a test, or an operator of a dev server, can
//! move years in seconds. Token times, signature windows and network timeouts use the machine's own clock instead.
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Real time, or a time that stands still until it is moved.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    Real,
    /// Microseconds since 1970 that only [`Clock::advance`] and [`Clock::set`] change.
    Simulated(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `start`.
    pub fn simulated(start: DateTime<Utc>) -> Self {
        Clock::Simulated(Arc::new(AtomicI64::new(start.timestamp_micros())))
    }

    /// Now, in whole microseconds: what Postgres can store.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock for business time"
    )]
    pub fn now(&self) -> DateTime<Utc> {
        let micros = match self {
            Clock::Real => Utc::now().timestamp_micros(),
            Clock::Simulated(micros) => micros.load(Ordering::SeqCst),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// Whether the clock can be moved.
    pub fn is_simulated(&self) -> bool {
        matches!(self, Clock::Simulated(_))
    }

    /// Moves a simulated clock forward to `time`; answers false when it is real, or when `time` lies behind it.
    pub fn set(&self, time: DateTime<Utc>) -> bool {
        let Clock::Simulated(micros) = self else { return false };
        let to = time.timestamp_micros();
        micros.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| (now <= to).then_some(to)).is_ok()
    }

    /// Moves a simulated clock forward by `step`; answers false when it is real or `step` is negative.
    pub fn advance(&self, step: TimeDelta) -> bool {
        self.now().checked_add_signed(step).is_some_and(|time| self.set(time))
    }
}
