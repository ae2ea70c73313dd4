use super::*;
use proptest::prelude::*;

fn invoice(total: i64) -> Settlement {
    Settlement {
        balance: Balance { total: Cents(total), paid: Cents::ZERO, credited: Cents::ZERO },
        written_off: Cents::ZERO,
        captured: Cents::ZERO,
        refunded: Cents::ZERO,
        credit_left: Cents::ZERO,
    }
}

#[test]
fn what_is_more_than_due_is_credit() {
    let mut i = invoice(12100);
    assert_eq!(i.pay(Cents(100)), Ok(PaymentSplit { pays: Cents(100), excess: Cents(0) }));
    assert_eq!(i.pay(Cents(12500)), Ok(PaymentSplit { pays: Cents(12000), excess: Cents(500) }));
    assert_eq!((i.due(), i.credit_left), (Ok(Cents(0)), Cents(500)));
    assert_eq!(i.pay(Cents(0)), Err(SettlementError::NotPositive));
}

#[test]
fn a_credit_note_lowers_what_is_due_first() {
    let mut i = invoice(10000);
    i.pay(Cents(6000)).expect("paid");
    let split = i.credit(Cents(7000), false).expect("credited");
    let wanted =
        CreditSettlement { reduces_due: Cents(4000), to_credit: Cents(3000), ..CreditSettlement::default() };
    assert_eq!(split, wanted);
    assert_eq!((i.balance.paid, i.due()), (Cents(3000), Ok(Cents(0))));
    assert_eq!(i.credit(Cents(3001), false), Err(SettlementError::Uncredited(Cents(3000))));
    let split = i.credit(Cents(3000), true).expect("credited");
    assert_eq!(split, CreditSettlement { refunds: Cents(3000), ..CreditSettlement::default() });
    assert_eq!(i.refundable(), Ok(Cents(3000)), "the credit of the first note");
}

#[test]
fn nobody_is_given_what_was_given_up() {
    let mut i = invoice(10000);
    i.pay(Cents(6000)).expect("paid");
    assert_eq!(i.write_off(Cents(4001)), Err(SettlementError::Due(Cents(4000))));
    i.write_off(Cents(4000)).expect("given up");
    assert_eq!(i.refundable(), Ok(Cents(6000)));
    let split = i.credit(Cents(10000), false).expect("credited");
    let wanted = CreditSettlement {
        reverses_write_off: Cents(4000),
        to_credit: Cents(6000),
        ..CreditSettlement::default()
    };
    assert_eq!(split, wanted);
}

#[test]
fn a_refund_takes_credit_first_and_leaves_what_is_due() {
    let mut i = invoice(10000);
    i.pay(Cents(6000)).expect("paid");
    assert_eq!(i.refund(Cents(6001)), Err(SettlementError::Refundable(Cents(6000))));
    let split = i.refund(Cents(1000)).expect("refunded");
    assert_eq!(split, RefundSplit { from_credit: Cents(0), by_credit_note: Cents(1000) });
    assert_eq!(i.due(), Ok(Cents(4000)));
    i.pay(Cents(4500)).expect("paid");
    let split = i.refund(Cents(600)).expect("refunded");
    assert_eq!(split, RefundSplit { from_credit: Cents(500), by_credit_note: Cents(100) });
    assert_eq!(i.refundable(), Ok(Cents(6000 + 4500 - 1000 - 600)));
}

#[test]
fn credit_that_was_used_elsewhere_cannot_be_sent_back() {
    let mut i = invoice(10000);
    i.pay(Cents(10000)).expect("paid");
    i.credit(Cents(4000), false).expect("credited");
    i.credit_left = Cents(1000);
    assert_eq!(i.refundable(), Ok(Cents(7000)));
}

#[test]
fn credit_is_used_oldest_first_and_never_beyond_the_total() {
    assert_eq!(credit_used(Cents(100), Cents(40)), Cents(40));
    assert_eq!(credit_used(Cents(100), Cents(400)), Cents(100));
    assert_eq!(credit_used(Cents(-100), Cents(400)), Cents(0));
    let parts = [Cents(10), Cents(0), Cents(20), Cents(5)];
    assert_eq!(take_oldest(&parts, Cents(25)), Ok(vec![(0, Cents(10)), (2, Cents(15))]));
    assert_eq!(take_oldest(&parts, Cents(35)).map(|t| t.len()), Ok(3));
    assert_eq!(take_oldest(&parts, Cents(36)), Err(SettlementError::Refundable(Cents(35))));
    assert_eq!(take_oldest(&parts, Cents(0)), Ok(vec![]));
}

#[derive(Debug, Clone)]
enum Step {
    Pay(i64),
    WriteOff(i64),
    Credit(i64, bool),
    Refund(i64),
    /// Some of its credit pays another invoice.
    UseElsewhere(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_i64..3_000).prop_map(Step::Pay),
        (0_i64..2_000).prop_map(Step::WriteOff),
        (0_i64..2_000, any::<bool>()).prop_map(|(a, r)| Step::Credit(a, r)),
        (0_i64..2_000).prop_map(Step::Refund),
        (0_i64..1_000).prop_map(Step::UseElsewhere),
    ]
}

proptest! {
    #[test]
    fn no_cent_is_lost_or_made(total in 0_i64..5_000, applied in 0_i64..1_000, steps in prop::collection::vec(step(), 0..30)) {
        let applied = applied.min(total);
        let mut i = invoice(total);
        i.balance.paid = Cents(applied);
        let mut elsewhere = 0;
        for step in steps {
            let before = i;
            let refused = match step {
                Step::Pay(amount) => i.pay(Cents(amount)).is_err(),
                Step::WriteOff(amount) => i.write_off(Cents(amount)).is_err(),
                Step::Credit(amount, refund) => match i.credit(Cents(amount), refund) {
                    Err(_) => true,
                    Ok(s) => {
                        prop_assert_eq!(s.reduces_due.0 + s.reverses_write_off.0 + s.refunds.0 + s.to_credit.0, amount);
                        prop_assert!(refund || s.refunds == Cents::ZERO);
                        false
                    }
                },
                Step::Refund(amount) => match i.refund(Cents(amount)) {
                    Err(_) => true,
                    Ok(s) => {
                        prop_assert_eq!(s.from_credit.0 + s.by_credit_note.0, amount);
                        prop_assert_eq!(i.due(), before.due());
                        false
                    }
                },
                Step::UseElsewhere(amount) => {
                    let used = amount.min(i.credit_left.0);
                    i.credit_left.0 -= used;
                    elsewhere += used;
                    false
                }
            };
            prop_assert!(!refused || i == before, "what is refused changes nothing");
            let (b, due) = (i.balance, i.balance.due().expect("a sum").0);
            prop_assert!(due >= 0 && b.credited.0 >= 0 && b.credited <= b.total);
            prop_assert!(i.written_off.0 >= 0 && i.written_off <= b.paid && i.credit_left.0 >= 0);
            prop_assert!(i.refunded <= i.captured);
            // What came in is on the invoice, credit, or was used elsewhere.
            prop_assert_eq!(i.captured.0 + applied - i.refunded.0, b.paid.0 - i.written_off.0 + i.credit_left.0 + elsewhere);
        }
    }
}
