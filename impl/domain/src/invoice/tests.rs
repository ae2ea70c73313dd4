use super::*;
use proptest::prelude::*;

fn d(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

#[test]
fn all_36_pairs() {
    let allowed = [
        ("draft", vec!["finalized", "void"]),
        ("finalized", vec!["sent", "paid", "past_due", "void"]),
        ("sent", vec!["past_due", "paid", "void"]),
        ("past_due", vec!["paid", "void"]),
        ("paid", vec![]),
        ("void", vec![]),
    ];
    for (from, targets) in allowed {
        let from: State = from.parse().expect("a state");
        for to in State::ALL {
            assert_eq!(check(from, *to).is_ok(), targets.contains(&to.as_str()), "{from} → {to}");
        }
        assert_eq!(from.is_final(), targets.is_empty());
    }
    let error = check(State::Paid, State::Draft).expect_err("final");
    assert_eq!(error.to_string(), "an invoice cannot go from paid to draft");
}

#[test]
fn numbers() {
    let invoice = DocumentNumber::new("SCAI", DocumentType::Invoice, 2026, 42).expect("a number");
    assert_eq!(invoice.to_string(), "SCAI-2026-000042");
    let note = DocumentNumber::new("SCAI", DocumentType::CreditNote, 2026, 1_000_000).expect("a number");
    assert_eq!(note.to_string(), "SCAI-CN-2026-1000000");
    assert_eq!(
        "CN-CN-2026-000001".parse::<DocumentNumber>().map(|n| n.document_type()),
        Ok(DocumentType::CreditNote)
    );
    assert_eq!(
        "CN-2026-000001".parse::<DocumentNumber>().map(|n| n.document_type()),
        Ok(DocumentType::Invoice)
    );
    let refused = [
        "",
        "SCAI",
        "SCAI-2026",
        "SCAI-2026-42",
        "SCAI-2026-0000042",
        "SCAI-2026-000000",
        "scai-2026-000042",
        "SCAI-26-000042",
        "SCAI-2026-+00042",
        "SCAI-CN-CN-2026-000042",
        "-2026-000042",
        "SCAI-XX-2026-000042",
        "ABCDEFGHIJK-2026-000042",
        "SCAI-2026-000042 ",
        "SCAI-02026-000042",
    ];
    for text in refused {
        assert!(text.parse::<DocumentNumber>().is_err(), "{text}");
    }
    assert_eq!(DocumentNumber::new("SCAI", DocumentType::Invoice, 2026, 0), None);
    assert_eq!(DocumentNumber::new("SCAI", DocumentType::Invoice, 10_000, 1), None);
}

#[test]
fn prefixes() {
    for good in ["A", "0", "SCAI", "ABCDEFGHIJ", "2026"] {
        assert!(is_valid_prefix(good), "{good}");
    }
    for bad in ["", "scai", "ABCDEFGHIJK", "A-B", "É", "A B"] {
        assert!(!is_valid_prefix(bad), "{bad}");
    }
}

#[test]
fn line_amounts() {
    let cases = [
        ("3", "1000", "1", 3000),
        ("-0.5", "1001", "1", -501),
        ("1234567", "0.25", "1000", 309),
        ("1", "0.5", "1", 1),
        ("-1", "0.5", "1", -1),
        ("0", "12", "1", 0),
    ];
    for (quantity, price, divisor, want) in cases {
        assert_eq!(
            line_amount(d(quantity), d(price), d(divisor)),
            Ok(Cents(want)),
            "{quantity} × {price} ÷ {divisor}"
        );
    }
    assert_eq!(line_amount(d("1"), d("1"), d("0")), Err(MoneyError::Divisor));
    assert_eq!(line_amount(d("1"), d("1"), d("-1")), Err(MoneyError::Divisor));
    assert_eq!(line_amount(Decimal::MAX, d("1"), d("1")), Err(MoneyError::Overflow));
}

#[test]
fn lines_sort_by_their_leading_date() {
    let lines = [
        "no date",
        "15-03-2026 workshop",
        "31-02-2026 not in the calendar",
        "01-12-2025",
        "15-03-2026 second of the day",
        "2026-03-01 other format",
        "01-01-20261 five digits",
        " 02-03-2026 after a space",
        "1-3-2026 short",
        "29-02-2024 leap day",
        "ééééé-03-2026",
    ];
    assert_eq!(sort_by_date(&lines), [9, 3, 7, 1, 4, 0, 2, 5, 6, 8, 10]);
    assert_eq!(sort_by_date::<&str>(&[]), [0_usize; 0]);
}

#[test]
fn due_dates() {
    let day = |text: &str| text.parse::<NaiveDate>().expect("a date");
    assert_eq!(due_date(day("2026-02-20"), false, 14), Some(day("2026-03-06")));
    assert_eq!(due_date(day("2026-02-20"), true, 14), Some(day("2026-02-20")));
    assert_eq!(due_date(NaiveDate::MAX, false, 1), None);
}

#[test]
fn balances() {
    let balance = Balance { total: Cents(1210), paid: Cents(1000), credited: Cents(0) };
    assert_eq!(balance.due(), Ok(Cents(210)));
    assert_eq!(
        balance.credit(Cents(200)),
        Ok(CreditSplit { reduces_due: Cents(200), already_paid: Cents(0) })
    );
    assert_eq!(
        balance.credit(Cents(1210)),
        Ok(CreditSplit { reduces_due: Cents(210), already_paid: Cents(1000) })
    );
    assert_eq!(balance.credit(Cents(1211)), Err(BalanceError::Uncredited(Cents(1210))));
    assert_eq!(balance.credit(Cents(0)), Err(BalanceError::NotPositive));
    assert_eq!(balance.pay(Cents(300)), Ok(PaymentSplit { pays: Cents(210), excess: Cents(90) }));
    assert_eq!(balance.check_voidable(), Err(BalanceError::NotVoidable));
    assert_eq!(Balance { paid: Cents(0), ..balance }.check_voidable(), Ok(()));
    assert_eq!(check_refund(Cents(500), Cents(200), Cents(300)), Ok(()));
    assert_eq!(check_refund(Cents(500), Cents(200), Cents(301)), Err(BalanceError::Unpaid(Cents(300))));
}

proptest! {
    #[test]
    fn numbers_round_trip(prefix in "[A-Z0-9]{1,10}", credit in any::<bool>(), year in 1000_i32..10_000, sequence in 1_u64..100_000_000) {
        let kind = if credit { DocumentType::CreditNote } else { DocumentType::Invoice };
        let number = DocumentNumber::new(&prefix, kind, year, sequence).expect("a number");
        prop_assert_eq!(number.to_string().parse::<DocumentNumber>(), Ok(number));
    }

    #[test]
    fn parsing_never_panics(text in "\\PC{0,24}") {
        let _ = text.parse::<DocumentNumber>();
        let _ = leading_date(&text);
    }

    #[test]
    fn an_order_is_a_permutation(lines in prop::collection::vec("([0-3][0-9]-[01][0-9]-202[0-9])?[a-z]{0,3}", 0..20)) {
        let order = sort_by_date(&lines);
        let mut seen = order.clone();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..lines.len()).collect::<Vec<_>>());
        let keys: Vec<_> = order.iter().map(|i| (leading_date(&lines[*i]).is_none(), leading_date(&lines[*i]))).collect();
        prop_assert!(keys.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn credit_and_payment_keep_the_sum(total in 1_i64..1_000_000, paid in 0_i64..1_000_000, amount in 1_i64..2_000_000) {
        let balance = Balance { total: Cents(total), paid: Cents(paid.min(total)), credited: Cents(0) };
        let due = balance.due().expect("fits");
        let split = balance.pay(Cents(amount)).expect("positive");
        prop_assert_eq!(split.pays.0 + split.excess.0, amount);
        prop_assert!(split.pays <= due);
        match balance.credit(Cents(amount)) {
            Ok(split) => prop_assert!(split.reduces_due <= due && split.already_paid.0 <= balance.paid.0),
            Err(error) => { prop_assert_eq!(error, BalanceError::Uncredited(Cents(total))); prop_assert!(total < amount); }
        }
    }
}

#[test]
fn a_debt_ages_from_the_day_after_its_due_date() {
    let due = NaiveDate::from_ymd_opt(2026, 1, 31).expect("a date");
    let on = |days| Age::on(due + chrono::Duration::days(days), due);
    let ages = [
        (-400, Age::NotDue),
        (0, Age::NotDue),
        (1, Age::Days1To30),
        (30, Age::Days1To30),
        (31, Age::Days31To60),
        (60, Age::Days31To60),
        (61, Age::Days61To90),
        (90, Age::Days61To90),
        (91, Age::Over90),
        (100_000, Age::Over90),
    ];
    for (days, age) in ages {
        assert_eq!(on(days), age, "{days}");
    }
}
