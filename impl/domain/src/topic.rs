//! Owns the topics of outbound events, and how a subscriber's globs match them.

use crate::text::text_enum;

text_enum! {
    /// What an event is about. The text is the event type, without version.
    Topic, "event topic" {
        /// A tenant has a billing profile for the first time.
        TenantBillingLinked = "tenant.billing_linked",
        /// A tenant's billing profile changed.
        TenantBillingUpdated = "tenant.billing_updated",
        /// A partner has a seller configuration for the first time.
        PartnerBillingLinked = "partner.billing_linked",
        /// A partner's seller configuration changed.
        PartnerBillingUpdated = "partner.billing_updated",
        /// A subscription is in use, with or without trial.
        SubscriptionActivated = "subscription.activated",
        /// Plan, quantity, period, schedule or state of a subscription changed.
        SubscriptionChanged = "subscription.changed",
        /// A subscription is over.
        SubscriptionCancelled = "subscription.cancelled",
        /// A subscription is switched off.
        SubscriptionSuspended = "subscription.suspended",
        /// A subscription is switched on again.
        SubscriptionResumed = "subscription.resumed",
        /// A trial ends soon.
        SubscriptionTrialEnding = "subscription.trial_ending",
        /// A payment for a subscription failed.
        SubscriptionPaymentFailed = "subscription.payment_failed",
        /// A pack is in use.
        PackSubscriptionActivated = "pack_subscription.activated",
        /// A pack subscription changed.
        PackSubscriptionChanged = "pack_subscription.changed",
        /// A pack subscription is over.
        PackSubscriptionCancelled = "pack_subscription.cancelled",
    }
}

text_enum! {
    /// What changed, in the data of `subscription.changed`.
    ChangeKind, "kind of change" {
        /// Another plan.
        PlanChange = "plan_change",
        /// Another quantity.
        QuantityChange = "quantity_change",
        /// A new period.
        Renewal = "renewal",
        /// Cancellation at the end of the period.
        ScheduledCancellation = "scheduled_cancellation",
        /// That cancellation was undone.
        ScheduledCancellationUndone = "scheduled_cancellation_undone",
        /// Another state, for which there is no topic of its own.
        StatusChange = "status_change",
    }
}

/// Whether a glob matches a text: `*` stands for any characters, dots included, or none; all others for themselves.
pub fn glob_matches(glob: &str, text: &str) -> bool {
    let mut pieces = glob.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    // The first place is the best one for each piece in the middle: it leaves most to the others.
    for piece in pieces {
        let Some((_, after)) = rest.split_once(piece) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

/// Whether a glob may be subscribed to: 1 to 64 of `a–z`, `_`, `.` and `*`, and it matches a topic.
pub fn is_valid_glob(glob: &str) -> bool {
    (1..=64).contains(&glob.len())
        && glob.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.' | b'*'))
        && Topic::ALL.iter().any(|topic| glob_matches(glob, topic.as_str()))
}

impl Topic {
    /// Whether one of the globs matches.
    pub fn matches_any<S: AsRef<str>>(self, globs: &[S]) -> bool {
        globs.iter().any(|glob| glob_matches(glob.as_ref(), self.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn globs() {
        let table = [
            ("*", "subscription.activated", true),
            ("**", "a", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("subscription.*", "subscription.activated", true),
            ("subscription.*", "pack_subscription.activated", false),
            ("*subscription.*", "pack_subscription.activated", true),
            ("*.activated", "pack_subscription.activated", true),
            ("*.cancelled", "subscription.activated", false),
            ("subscription.activated", "subscription.activated", true),
            ("subscription.activated", "subscription.activated.v1", false),
            ("sub*tion*ed", "subscription.activated", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*ab*ab*", "abab", true),
            ("*ab*ab*", "aba", false),
        ];
        for (glob, text, want) in table {
            assert_eq!(glob_matches(glob, text), want, "{glob} on {text}");
        }
        assert_eq!(Topic::ALL.len(), 14);
        assert!(Topic::SubscriptionResumed.matches_any(&["tenant.*", "*.resumed"]));
        assert!(!Topic::SubscriptionResumed.matches_any::<&str>(&[]));
        for good in ["*", "tenant.*", "subscription.changed"] {
            assert!(is_valid_glob(good), "{good}");
        }
        for bad in ["", "invoice.*", "Subscription.*", "subscription.?", &"*".repeat(65)] {
            assert!(!is_valid_glob(bad), "{bad}");
        }
    }

    /// The definition, by backtracking.
    fn slow(glob: &[u8], text: &[u8]) -> bool {
        match (glob.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => slow(&glob[1..], text) || (!text.is_empty() && slow(glob, &text[1..])),
            (Some(a), Some(b)) if a == b => slow(&glob[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(glob in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(glob_matches(&glob, &text), slow(glob.as_bytes(), text.as_bytes()));
        }
    }
}
