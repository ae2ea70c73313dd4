//! What proven callers were refused (403), kept in the audit log.
//!
//! A caller that is refused the same thing again and again is one row a minute: its rows must not be a way to fill the
//! disk. The log has a line of each.
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For how long one row stands for all refusals of the same thing to the same caller.
const ONCE_IN: Duration = Duration::from_secs(60);
/// Callers and things that are told apart; more of them in a minute are in the log only.
const KEPT_MAX: usize = 10_000;

/// A proven caller that was refused an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns of the audit log")]
pub struct Refused {
    pub actor: String,
    pub level: &'static str,
    pub tenant_id: Option<String>,
    pub partner_id: Option<String>,
    pub service_id: Option<uuid::Uuid>,
    pub operation: &'static str,
    pub reason: String,
    pub request_id: String,
}

/// Whose, when a token and the mirror disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The user is known in another tenant.
    User,
    /// The tenant is known at another partner.
    Tenant,
}

impl Subject {
    /// As the database has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Subject::User => "user",
            Subject::Tenant => "tenant",
        }
    }
}

/// When each caller was last refused each thing.
#[derive(Debug, Default)]
pub struct Recent(Mutex<HashMap<(String, &'static str), Instant>>);

impl Recent {
    /// Whether this is the first refusal of `what` to `who` in a while.
    pub fn is_first(&self, who: &str, what: &'static str) -> bool {
        let now = Instant::now();
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if KEPT_MAX <= recent.len() {
            recent.retain(|_, since| now.duration_since(*since) < ONCE_IN);
        }
        let key = (who.to_owned(), what);
        let is_first = recent.get(&key).is_none_or(|since| ONCE_IN <= now.duration_since(*since));
        if !is_first || KEPT_MAX <= recent.len() {
            return false;
        }
        recent.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_refusal_is_written_once() {
        let recent = Recent::default();
        assert!(recent.is_first("usr_1", "plan_create"));
        assert!(!recent.is_first("usr_1", "plan_create"));
        assert!(recent.is_first("usr_1", "plan_update"));
        assert!(recent.is_first("usr_2", "plan_create"));
    }

    #[test]
    fn many_callers_do_not_take_all_memory() {
        let recent = Recent::default();
        let written = (0..KEPT_MAX + 100).filter(|n| recent.is_first(&n.to_string(), "plan_create")).count();
        assert_eq!(written, KEPT_MAX);
    }
}
