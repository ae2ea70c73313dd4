use super::*;
use crate::tax::{TaxLine, compute};
use proptest::prelude::*;

fn line(net: i64, rate: i64) -> InvoicedLine {
    let category = if rate == 0 { Category::Export } else { Category::Standard };
    InvoicedLine {
        category,
        rate: Decimal::from(rate),
        net: Cents(net),
        cost: Cents(net / 2),
        net_credited: Cents::ZERO,
        tax_credited: Cents::ZERO,
        cost_credited: Cents::ZERO,
    }
}

/// Writes a note down on the invoice, as the server does.
fn book(invoice: &mut [InvoicedLine], note: &CreditNote) {
    for part in &note.lines {
        let line = &mut invoice[part.index];
        line.net_credited.0 += part.net.0;
        line.tax_credited.0 += part.tax.0;
        line.cost_credited.0 += part.cost.0;
    }
}

fn total(invoice: &[InvoicedLine]) -> (i64, i64) {
    let lines: Vec<_> =
        invoice.iter().map(|l| TaxLine { amount: l.net, category: l.category, rate: l.rate }).collect();
    let totals = compute(&lines).expect("sums");
    (totals.subtotal.0, totals.tax.0)
}

/// Sums of a note agree with its lines and groups, and nothing of it is beyond the invoice.
fn check(invoice: &[InvoicedLine], note: &CreditNote) {
    let sum = |of: fn(&CreditedLine) -> i64| note.lines.iter().map(of).sum::<i64>();
    assert_eq!((sum(|l| l.net.0), sum(|l| l.tax.0)), (note.net.0, note.tax.0));
    let sum = |of: fn(&TaxGroup) -> i64| note.groups.iter().map(of).sum::<i64>();
    assert_eq!((sum(|g| g.base.0), sum(|g| g.tax.0)), (note.net.0, note.tax.0));
    assert!(note.gross.0 > 0);
    for part in &note.lines {
        let line = &invoice[part.index];
        let after = line.net_credited.0 + part.net.0;
        assert!(after.signum() * line.net.0.signum() >= 0 && after.abs() <= line.net.0.abs(), "{part:?}");
        let cost = line.cost_credited.0 + part.cost.0;
        assert!(cost.signum() * line.cost.0.signum() >= 0 && cost.abs() <= line.cost.0.abs(), "{part:?}");
    }
}

#[test]
fn the_last_cent_of_tax_always_fits() {
    // 21 % of 1 and of 2 cents is nothing, of 3 cents one.
    let mut invoice = [line(3, 21)];
    let mut taxes = vec![];
    for _ in 0..3 {
        let note = of_lines(&invoice, &[(0, Some(Cents(1)))]).expect("a note");
        taxes.push(note.tax.0);
        book(&mut invoice, &note);
    }
    assert_eq!(taxes, [0, 0, 1]);
    assert_eq!(whole(&invoice), Err(CreditNoteError::Nothing));
    assert_eq!(gross_left(&invoice), Ok(Cents(0)));
}

#[test]
fn a_gross_amount_that_no_net_amount_makes_is_still_met() {
    let mut invoice = [line(1000, 21)];
    for gross in [3, 1, 1, 2, 3] {
        let note = of_amount(&invoice, Cents(gross)).expect("a note");
        assert_eq!(note.gross, Cents(gross));
        check(&invoice, &note);
        book(&mut invoice, &note);
    }
    let rest = whole(&invoice).expect("the rest");
    assert_eq!(rest.gross, Cents(1210 - 10));
    assert_eq!(rest.net.0 + invoice[0].net_credited.0, 1000);
}

#[test]
fn a_cent_of_tax_that_is_left_alone_is_taken_back_too() {
    // 3 cents net with 1 cent of tax: 2 back, then 1, and the last cent is tax.
    let mut invoice = [line(3, 21)];
    for gross in [2, 1, 1] {
        let note = of_amount(&invoice, Cents(gross)).expect("a note");
        check(&invoice, &note);
        assert_eq!(note.gross, Cents(gross));
        book(&mut invoice, &note);
    }
    assert_eq!((invoice[0].net_credited, invoice[0].tax_credited), (Cents(3), Cents(1)));
}

#[test]
fn credit_lines_are_taken_back_with_what_they_lowered() {
    let mut invoice = [line(10000, 21), line(-4000, 21)];
    assert_eq!(
        of_lines(&invoice, &[(0, None)]),
        Err(CreditNoteError::Invoice(Cents(7260))),
        "more than the invoice came to"
    );
    let asked = [(0, Some(Cents(8000))), (1, Some(Cents(3000)))];
    let note = of_lines(&invoice, &asked).expect("a note");
    assert_eq!((note.net, note.tax), (Cents(8000 - 3000), Cents(1050)));
    assert_eq!(note.lines.iter().map(|l| l.tax.0).collect::<Vec<_>>(), [1680, -630]);
    assert_eq!(of_lines(&invoice, &[(1, None)]), Err(CreditNoteError::Nothing));
    let note = of_amount(&invoice, Cents(3630)).expect("half");
    assert_eq!(note.lines.iter().map(|l| l.net.0).collect::<Vec<_>>(), [5000, -2000]);
    book(&mut invoice, &note);
    let note = whole(&invoice).expect("the other half");
    assert_eq!((note.gross, note.tax), (Cents(3630), Cents(630)));
}

#[test]
fn what_is_refused() {
    let invoice = [line(100, 21), line(0, 21)];
    let left = |asked, left| Err(CreditNoteError::Line { asked, left: Cents(left) });
    assert_eq!(of_lines(&invoice, &[(0, Some(Cents(101)))]), left(0, 100));
    assert_eq!(of_lines(&invoice, &[(0, Some(Cents(0)))]), left(0, 100));
    assert_eq!(of_lines(&invoice, &[(0, None), (1, None)]), left(1, 0));
    assert_eq!(of_lines(&invoice, &[(2, None)]), left(0, 0));
    assert_eq!(of_amount(&invoice, Cents(122)), Err(CreditNoteError::Invoice(Cents(121))));
    assert_eq!(of_amount(&invoice, Cents(0)), Err(CreditNoteError::Nothing));
}

/// What is asked of the invoice in one step.
#[derive(Debug, Clone)]
enum Step {
    Lines(Vec<(usize, Option<i64>)>),
    /// Per mille of what is left.
    Amount(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let lines = prop::collection::vec((0_usize..6, prop::option::of(1_i64..2_000)), 1..4);
    prop_oneof![lines.prop_map(Step::Lines), (1_i64..1_000).prop_map(Step::Amount)]
}

proptest! {
    #[test]
    fn in_the_end_exactly_the_invoice_is_taken_back(
        lines in prop::collection::vec((1_i64..5_000, prop::sample::select(vec![0_i64, 3, 9, 21, 27])), 1..6),
        steps in prop::collection::vec(step(), 0..12),
    ) {
        let mut invoice: Vec<_> = lines.iter().map(|(net, rate)| line(*net, *rate)).collect();
        let (net, tax) = total(&invoice);
        let mut given_back = 0;
        for step in steps {
            let left = gross_left(&invoice).expect("a sum").0;
            prop_assert_eq!(left + given_back, net + tax);
            let note = match step {
                Step::Lines(asked) => {
                    let mut seen = std::collections::BTreeSet::new();
                    let asked: Vec<_> = asked
                        .into_iter()
                        .filter(|(index, _)| *index < invoice.len() && seen.insert(*index))
                        .map(|(index, amount)| (index, amount.map(Cents)))
                        .collect();
                    of_lines(&invoice, &asked)
                }
                Step::Amount(per_mille) => {
                    let amount = (left * per_mille / 1000).max(1);
                    let note = of_amount(&invoice, Cents(amount));
                    if left > 0 {
                        prop_assert_eq!(note.as_ref().map(|n| n.gross), Ok(Cents(amount)));
                    }
                    note
                }
            };
            if let Ok(note) = note {
                check(&invoice, &note);
                given_back += note.gross.0;
                book(&mut invoice, &note);
            }
        }
        match whole(&invoice) {
            Ok(rest) => {
                check(&invoice, &rest);
                given_back += rest.gross.0;
                book(&mut invoice, &rest);
            }
            Err(error) => prop_assert_eq!(error, CreditNoteError::Nothing),
        }
        prop_assert_eq!(given_back, net + tax);
        prop_assert_eq!(gross_left(&invoice), Ok(Cents(0)));
        for line in &invoice {
            prop_assert_eq!((line.net_credited, line.cost_credited), (line.net, line.cost));
        }
        prop_assert_eq!(invoice.iter().map(|l| l.tax_credited.0).sum::<i64>(), tax);
    }

    #[test]
    fn credit_lines_never_break_the_sums(
        lines in prop::collection::vec((-3_000_i64..5_000, prop::sample::select(vec![0_i64, 9, 21])), 1..6),
        steps in prop::collection::vec(step(), 0..12),
    ) {
        let mut invoice: Vec<_> = lines.iter().map(|(net, rate)| line(*net, *rate)).collect();
        let mut left = gross_left(&invoice).expect("a sum").0;
        for step in steps {
            let note = match step {
                Step::Lines(asked) => {
                    let mut seen = std::collections::BTreeSet::new();
                    let asked: Vec<_> = asked
                        .into_iter()
                        .filter(|(index, _)| *index < invoice.len() && seen.insert(*index))
                        .map(|(index, amount)| (index, amount.map(Cents)))
                        .collect();
                    of_lines(&invoice, &asked)
                }
                Step::Amount(per_mille) => of_amount(&invoice, Cents((left * per_mille / 1000).max(1))),
            };
            if let Ok(note) = note {
                check(&invoice, &note);
                left -= note.gross.0;
                prop_assert!(left >= 0);
                book(&mut invoice, &note);
                prop_assert_eq!(gross_left(&invoice), Ok(Cents(left)));
            }
        }
        if left > 0 {
            let rest = whole(&invoice).expect("the rest");
            check(&invoice, &rest);
            prop_assert_eq!(rest.gross, Cents(left));
        }
    }
}

#[test]
fn a_credit_line_is_bounded_by_its_line_alone() {
    // An invoice of a plan change: it gave 900 back itself, and holds 100 of the 1000 that it charged.
    let mut invoice = [line(-900, 21), line(1000, 21)];
    assert_eq!(cost_of_credit_line(&invoice[1], Cents(600)), Ok(Cents(300)));
    assert!(of_lines(&invoice, &[(1, Some(Cents(600)))]).is_err(), "a credit note is bounded by the invoice");
    invoice[1].net_credited = Cents(600);
    invoice[1].cost_credited = Cents(300);
    assert_eq!(cost_of_credit_line(&invoice[1], Cents(400)), Ok(Cents(200)));
    for (index, net) in [(1, 401), (1, 0), (1, -1), (0, 1)] {
        assert!(cost_of_credit_line(&invoice[index], Cents(net)).is_err(), "{net} of {index}");
    }
}
