use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

/// The allowed pairs, written down once more and by hand.
const ALLOWED: &[(&str, &[&str])] = &[
    ("pending", &["trialing", "active", "cancelled"]),
    ("trialing", &["active", "cancelled"]),
    ("active", &["past_due", "cancelling", "cancelled", "expired"]),
    ("past_due", &["active", "suspended", "cancelled"]),
    ("suspended", &["active", "cancelled"]),
    ("cancelling", &["cancelled", "active"]),
    ("cancelled", &[]),
    ("expired", &[]),
];

#[test]
fn all_64_pairs() {
    let mut pairs = 0;
    let mut allowed_pairs = 0;
    for from in State::ALL {
        let (_, allowed) = ALLOWED.iter().find(|(name, _)| *name == from.as_str()).expect("a row per state");
        for to in State::ALL {
            pairs += 1;
            let expected = allowed.contains(&to.as_str());
            allowed_pairs += usize::from(expected);
            match check(*from, *to) {
                Ok(row) => {
                    assert!(expected, "{from} → {to} must be refused");
                    assert_eq!((row.from, row.to), (*from, *to));
                }
                Err(error) => {
                    assert!(!expected, "{from} → {to} must be allowed");
                    assert_eq!(error, TransitionError { from: *from, to: *to });
                    assert_eq!(error.to_string(), format!("a subscription cannot go from {from} to {to}"));
                }
            }
        }
    }
    assert_eq!((pairs, allowed_pairs), (64, TRANSITIONS.len()));
}

#[test]
fn events_agree_with_the_table() {
    for from in State::ALL {
        for event in Event::ALL {
            let rows: Vec<_> =
                TRANSITIONS.iter().filter(|row| row.from == *from && row.events.contains(event)).collect();
            assert!(rows.len() < 2, "{event} must lead from {from} to one state");
            match next(*from, *event) {
                Ok(to) => assert!(check(*from, to).is_ok()),
                Err(error) => {
                    assert!(rows.is_empty());
                    assert_eq!((error.from, error.to), (*from, event.usual_target()));
                }
            }
        }
    }
    let used: HashSet<Event> = TRANSITIONS.iter().flat_map(|row| row.events).copied().collect();
    assert_eq!(used.len(), Event::ALL.len(), "no event without a row");
}

#[test]
fn what_a_customer_may_cancel() {
    assert_eq!(next(State::Trialing, Event::Cancel), Ok(State::Cancelled));
    assert_eq!(next(State::Active, Event::Cancel), Ok(State::Cancelling));
    for state in [State::PastDue, State::Suspended, State::Cancelling, State::Cancelled, State::Pending] {
        assert!(next(state, Event::Cancel).is_err(), "{state}");
    }
    for state in State::ALL {
        assert_eq!(next(*state, Event::CancelNow).is_ok(), state.is_live(), "{state}");
    }
    assert!(
        next(State::Cancelling, Event::PaymentFailed).is_err(),
        "cancelling stays so when a payment fails"
    );
}

#[test]
fn final_states_have_no_way_out() {
    for state in State::ALL {
        assert_eq!(TRANSITIONS.iter().all(|row| row.from != *state), state.is_final(), "{state}");
        assert!(!(state.renews() && state.is_final()));
    }
}

#[test]
fn plan_changes() {
    let good = PlanChange {
        state: State::Active,
        is_pack_child: false,
        interval: Interval::Monthly,
        same_service: true,
        same_currency: true,
        new_interval: Interval::Yearly,
        new_plan_available: true,
    };
    assert_eq!(check_plan_change(&good), Ok(()));
    for state in State::ALL {
        let refusal = check_plan_change(&PlanChange { state: *state, ..good }).err();
        let allowed = matches!(state, State::Active | State::Trialing);
        assert_eq!(refusal, (!allowed).then_some(PlanChangeRefusal::State(*state)));
    }
    let refused = [
        (PlanChange { is_pack_child: true, ..good }, PlanChangeRefusal::PackChild, true),
        (PlanChange { same_service: false, ..good }, PlanChangeRefusal::OtherService, false),
        (PlanChange { same_currency: false, ..good }, PlanChangeRefusal::OtherCurrency, false),
        (PlanChange { interval: Interval::OneTime, ..good }, PlanChangeRefusal::OneTime, false),
        (PlanChange { new_interval: Interval::OneTime, ..good }, PlanChangeRefusal::OneTime, false),
        (PlanChange { new_plan_available: false, ..good }, PlanChangeRefusal::Unavailable, false),
    ];
    for (change, refusal, conflict) in refused {
        assert_eq!(check_plan_change(&change), Err(refusal));
        assert_eq!(refusal.is_conflict(), conflict);
    }
}

#[test]
fn timing() {
    let auto = |state, before, after| is_immediate(state, Timing::Auto, Cents(before), Cents(after));
    assert!(auto(State::Active, 100, 101) && auto(State::Active, 100, 100));
    assert!(!auto(State::Active, 100, 99));
    for timing in Timing::ALL {
        assert!(is_immediate(State::Trialing, *timing, Cents(100), Cents(99)), "{timing}");
    }
    assert!(is_immediate(State::Active, Timing::Immediate, Cents(2), Cents(1)));
    assert!(!is_immediate(State::Active, Timing::PeriodEnd, Cents(1), Cents(2)));
}

proptest! {
    #[test]
    fn any_walk_stays_in_the_table(events in prop::collection::vec(prop::sample::select(Event::ALL.to_vec()), 0..40)) {
        let mut state = State::Pending;
        for event in events {
            let before = state;
            if let Ok(to) = next(state, event) {
                state = to;
                prop_assert!(check(before, state).is_ok());
            }
            prop_assert!(!before.is_final() || state == before);
        }
    }
}
