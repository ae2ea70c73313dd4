use super::*;
use proptest::prelude::*;

fn d(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

fn vat(rate: &str, amount: i64) -> Tax {
    Tax { country: "NL".into(), rate: d(rate), scheme: Scheme::Domestic, amount: Cents(amount) }
}

fn shown(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|entry| {
            let book = if entry.book == Book::Operator { "operator/" } else { "" };
            format!("{book}{} {}", entry.account, entry.amount)
        })
        .collect()
}

#[test]
fn codes_are_stable() {
    let table = [
        (Account::Receivable, "receivable"),
        (Account::Revenue { service: None }, "revenue"),
        (Account::Revenue { service: Some("scaiflow".into()) }, "revenue:scaiflow"),
        (
            Account::Vat { country: "NL".into(), rate: d("21.00"), scheme: Scheme::Domestic },
            "vat:NL:21:domestic",
        ),
        (Account::Vat { country: "FI".into(), rate: d("25.5"), scheme: Scheme::Oss }, "vat:FI:25.5:oss"),
        (Account::Clearing { provider_account: "stripe:eu".into() }, "clearing:stripe:eu"),
        (Account::CustomerCredit, "customer_credit"),
        (Account::WriteOff, "write_off"),
        (Account::PartnerCost { service: None }, "partner_cost"),
        (Account::PartnerCost { service: Some("scaiflow".into()) }, "partner_cost:scaiflow"),
        (Account::PlatformRevenue, "platform_revenue"),
        (Account::PartnerPayable, "partner_payable"),
    ];
    for (account, code) in table {
        assert_eq!(account.to_string(), code);
        assert_eq!(code.parse::<Account>().map(|parsed| parsed.to_string()).as_deref(), Ok(code));
    }
    for bad in [
        "",
        "cash",
        "revenue:",
        "partner_cost:",
        "vat:NL:21.00:domestic",
        "vat:NL:21",
        "vat:NL:x:oss",
        "clearing",
        "receivable:x",
    ] {
        assert!(bad.parse::<Account>().is_err(), "{bad}");
    }
}

#[test]
fn unbalanced_journals_are_refused() {
    let usd = Currency::parse("USD").expect("USD");
    let journal = Journal::new()
        .debit(Account::Receivable, Currency::EUR, Cents(100))
        .and_then(|journal| journal.credit(Account::WriteOff, usd, Cents(100)))
        .expect("posted");
    assert_eq!(
        journal.finish(),
        Err(LedgerError::Unbalanced { currency: Currency::EUR, off_by: Cents(100) })
    );
    let across_books = Journal::new()
        .debit(Account::Receivable, Currency::EUR, Cents(1))
        .and_then(|journal| journal.post(Book::Operator, Account::PartnerPayable, Currency::EUR, Cents(-1)))
        .expect("posted");
    assert!(across_books.finish().is_err(), "each book balances by itself");
    assert_eq!(Journal::new().finish(), Ok(vec![]));
    let overflow = Journal::new()
        .debit(Account::Receivable, usd, Cents(i64::MAX))
        .and_then(|journal| journal.debit(Account::Receivable, usd, Cents(1)));
    assert_eq!(overflow.map(|_| ()), Err(LedgerError::Money(MoneyError::Overflow)));
}

#[test]
fn an_invoice_and_its_credit_note_cancel_out() {
    let invoice = Document {
        lines: vec![
            (Some("a".into()), Cents(1000)),
            (Some("b".into()), Cents(500)),
            (None, Cents(100)),
            (Some("a".into()), Cents(1)),
        ],
        taxes: vec![vat("21.00", 210), vat("9", 45), vat("0", 0)],
        credit_applied: Cents::ZERO,
        platform_costs: vec![
            (Some("a".into()), Cents(500)),
            (Some("b".into()), Cents(200)),
            (Some("a".into()), Cents(100)),
        ],
    };
    let posted = finalize_journal(Currency::EUR, &invoice).expect("balanced");
    assert_eq!(
        shown(&posted),
        [
            "receivable 1856",
            "revenue -100",
            "revenue:a -1001",
            "revenue:b -500",
            "vat:NL:9:domestic -45",
            "vat:NL:21:domestic -210",
            "partner_cost:a 600",
            "partner_cost:b 200",
            "platform_revenue -800"
        ]
    );
    let note = Document {
        lines: invoice.lines.iter().map(|(service, amount)| (service.clone(), Cents(-amount.0))).collect(),
        taxes: invoice.taxes.iter().map(|tax| Tax { amount: Cents(-tax.amount.0), ..tax.clone() }).collect(),
        credit_applied: Cents::ZERO,
        platform_costs: invoice.platform_costs.iter().map(|(s, cost)| (s.clone(), Cents(-cost.0))).collect(),
    };
    let reversed = finalize_journal(Currency::EUR, &note).expect("balanced");
    let negated: Vec<Entry> =
        posted.into_iter().map(|entry| Entry { amount: Cents(-entry.amount.0), ..entry }).collect();
    assert_eq!(reversed, negated);
}

#[test]
fn credit_of_the_customer_lowers_what_is_owed() {
    let document =
        Document { lines: vec![(None, Cents(1000))], credit_applied: Cents(300), ..Document::default() };
    let posted = finalize_journal(Currency::EUR, &document).expect("balanced");
    assert_eq!(shown(&posted), ["receivable 700", "revenue -1000", "customer_credit 300"]);
}

#[test]
fn payments() {
    let own = Payment {
        collector: Collector::Seller { provider_account: "stripe".into() },
        receivable: Cents(1000),
        customer_credit: Cents(50),
    };
    let posted = payment_journal(Currency::EUR, &own).expect("balanced");
    assert_eq!(shown(&posted), ["receivable -1000", "clearing:stripe 1050", "customer_credit -50"]);
    let platform = Payment {
        collector: Collector::Operator { provider_account: "stripe".into() },
        receivable: Cents(-400),
        customer_credit: Cents(0),
    };
    let posted = payment_journal(Currency::EUR, &platform).expect("balanced");
    assert_eq!(
        shown(&posted),
        [
            "receivable 400",
            "partner_payable -400",
            "operator/clearing:stripe -400",
            "operator/partner_payable 400"
        ]
    );
    assert_eq!(
        write_off_journal(Currency::EUR, Cents(5)).map(|entries| shown(&entries)),
        Ok(vec!["receivable -5".to_owned(), "write_off 5".to_owned()])
    );
    assert_eq!(
        customer_credit_journal(Currency::EUR, Cents(5)).map(|entries| shown(&entries)),
        Ok(vec!["receivable 5".to_owned(), "customer_credit -5".to_owned()])
    );
}

proptest! {
    #[test]
    fn journals_sum_to_zero(amounts in prop::collection::vec(-1_000_000_i64..1_000_000, 0..10),
                            taxes in prop::collection::vec(-10_000_i64..10_000, 0..4),
                            credit in 0_i64..1_000, cost in -1_000_i64..1_000) {
        let document = Document {
            lines: amounts.iter().enumerate().map(|(i, a)| (Some(format!("s{}", i % 3)), Cents(*a))).collect(),
            taxes: taxes.iter().map(|amount| vat("21", *amount)).collect(),
            credit_applied: Cents(credit),
            platform_costs: vec![(None, Cents(cost)), (Some("s1".into()), Cents(cost / 2))],
        };
        let entries = finalize_journal(Currency::EUR, &document).expect("balanced");
        prop_assert_eq!(entries.iter().map(|entry| entry.amount.0).sum::<i64>(), 0);
        prop_assert!(entries.iter().all(|entry| entry.amount != Cents::ZERO));
    }

    #[test]
    fn codes_round_trip(slug in "[a-z][a-z0-9_-]{0,20}", country in "[A-Z]{2}", rate in 0_i64..10_000, oss in any::<bool>()) {
        let scheme = if oss { Scheme::Oss } else { Scheme::Domestic };
        for account in [
            Account::Revenue { service: Some(slug.clone()) },
            Account::PartnerCost { service: Some(slug.clone()) },
            Account::Clearing { provider_account: slug.clone() },
            Account::Vat { country: country.clone(), rate: Decimal::new(rate, 2).normalize(), scheme },
        ] {
            prop_assert_eq!(account.to_string().parse::<Account>(), Ok(account));
        }
    }
}
