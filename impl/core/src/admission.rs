//! How often somebody may call, counted in this server's memory.
//!
//! So many calls a minute on average, and a number of them at once ("generic cell rate algorithm"): of each caller it is
//! known until when its calls are paid for, and nothing else. Servers count for themselves.
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
/// Above this many callers, those who have nothing to wait for are swept out; those who still do not fit are let in.
const CALLERS_MAX: usize = 20_000;

/// See the module. `K` is who calls.
#[derive(Debug)]
pub struct Admission<K> {
    /// Until when the calls of each are paid for.
    paid_until: Mutex<HashMap<K, Instant>>,
}

impl<K> Default for Admission<K> {
    fn default() -> Self {
        Admission { paid_until: Mutex::default() }
    }
}

impl<K: Eq + Hash> Admission<K> {
    /// Counts a call of somebody who may make `per_minute` on average and `at_once` in a row; an error says in how many
    /// seconds the next one is welcome. Refused calls do not count. 0 a minute is no limit.
    pub fn admit(&self, who: K, per_minute: u32, at_once: u32) -> Result<(), u32> {
        self.admit_at(Instant::now(), who, per_minute, at_once)
    }

    fn admit_at(&self, now: Instant, who: K, per_minute: u32, at_once: u32) -> Result<(), u32> {
        let Some(each) = MINUTE.checked_div(per_minute) else { return Ok(()) };
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        if CALLERS_MAX <= paid_until.len() && !paid_until.contains_key(&who) {
            paid_until.retain(|_, until| now < *until);
            if CALLERS_MAX <= paid_until.len() {
                return Ok(());
            }
        }
        let until = paid_until.entry(who).or_insert(now);
        let begins = (*until).max(now);
        let ahead = begins.duration_since(now);
        let allowed = each.saturating_mul(at_once.saturating_sub(1));
        if allowed < ahead {
            let wait = ahead.saturating_sub(allowed);
            let seconds = wait.as_secs() + u64::from(0 < wait.subsec_nanos());
            return Err(u32::try_from(seconds).unwrap_or(u32::MAX));
        }
        *until = begins + each;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_cannot_use_up_the_others() {
        let admission = Admission::default();
        assert!(admission.admit("one", 2, 2).is_ok() && admission.admit("one", 2, 2).is_ok());
        assert!((1..=30).contains(&admission.admit("one", 2, 2).expect_err("too many")));
        assert!(admission.admit("two", 2, 2).is_ok());
        assert!(admission.admit("one", 0, 0).is_ok(), "no limit");
    }

    #[test]
    fn it_is_so_many_a_minute_however_they_come() {
        let (admission, start) = (Admission::default(), Instant::now());
        let mut admitted = 0;
        // Twice a second for ten minutes, of which sixty a minute are welcome, and as many once at the beginning.
        for tick in 0..1_200 {
            let now = start + Duration::from_millis(500) * tick;
            match admission.admit_at(now, "one", 60, 60) {
                Ok(()) => admitted += 1,
                Err(seconds) => assert_eq!(seconds, 1),
            }
        }
        assert!((655..=660).contains(&admitted), "{admitted}");
        // Who kept still has all at once again, and no more than that.
        let later = start + Duration::from_secs(86_400);
        let at_once = (0..100).filter(|_| admission.admit_at(later, "one", 60, 60).is_ok()).count();
        assert_eq!(at_once, 60);
    }

    #[test]
    fn many_callers_do_not_take_all_memory() {
        let (admission, now) = (Admission::default(), Instant::now());
        for n in 0..CALLERS_MAX + 5 {
            assert!(admission.admit_at(now, n, 5, 5).is_ok());
        }
        assert_eq!(admission.paid_until.lock().expect("lock").len(), CALLERS_MAX);
        assert!(admission.admit_at(now + MINUTE, CALLERS_MAX + 9, 5, 5).is_ok());
        assert_eq!(admission.paid_until.lock().expect("lock").len(), 1, "swept");
    }
}
