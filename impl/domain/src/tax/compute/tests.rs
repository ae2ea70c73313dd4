use super::*;
use proptest::prelude::*;

fn d(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

fn line(amount: i64, category: Category, rate: &str) -> TaxLine {
    TaxLine { amount: Cents(amount), category, rate: d(rate) }
}

use Category::{Exempt, Standard};

#[test]
fn groups_by_category_and_rate() {
    let totals = compute(&[
        line(1000, Standard, "21"),
        line(500, Standard, "9"),
        line(234, Standard, "21.00"),
        line(100, Exempt, "0"),
    ])
    .expect("fits");
    let groups: Vec<_> = totals
        .groups
        .iter()
        .map(|group| (group.category, group.rate.to_string(), group.base.0, group.tax.0))
        .collect();
    assert_eq!(
        groups,
        [(Standard, "9".into(), 500, 45), (Standard, "21".into(), 1234, 259), (Exempt, "0".into(), 100, 0)]
    );
    assert_eq!((totals.subtotal, totals.tax, totals.total), (Cents(1834), Cents(304), Cents(2138)));
    assert_eq!(totals.line_tax, [Cents(210), Cents(45), Cents(49), Cents(0)]);
    assert_eq!(compute(&[]).map(|totals| totals.total), Ok(Cents(0)));
}

#[test]
fn lines_get_the_cents_that_rounding_leaves() {
    // Each line alone would be taxed 2.1 → 2; the group is taxed 6.3 → 6, and 12.6 → 13 for six of them.
    let three = compute(&[line(10, Standard, "21"); 3]).expect("fits");
    assert_eq!(three.line_tax, [Cents(2); 3]);
    let six = compute(&[line(10, Standard, "21"); 6]).expect("fits");
    assert_eq!(six.line_tax, [3, 2, 2, 2, 2, 2].map(Cents));
    let mixed = compute(&[line(100, Standard, "25.5"), line(-40, Standard, "25.5")]).expect("fits");
    assert_eq!((mixed.tax, mixed.line_tax), (Cents(15), vec![Cents(25), Cents(-10)]));
    let zero = compute(&[line(-50, Standard, "21"), line(50, Standard, "21")]).expect("fits");
    assert_eq!((zero.tax, zero.line_tax[0].0 + zero.line_tax[1].0), (Cents(0), 0));
}

#[test]
fn the_last_credit_note_takes_the_last_cent() {
    let rate = d("21");
    // 21 % of 10 is 2.1: ten notes of 10 credit exactly the 21 of 100.
    let mut credited = Cents(0);
    let mut steps = Vec::new();
    for note in 0..10 {
        let tax = credit_note_tax(rate, Cents(note * 10), credited, Cents(10)).expect("fits");
        credited = credited.add(tax).expect("fits");
        steps.push(tax.0);
    }
    assert_eq!(credited, Cents(21));
    assert!(steps.iter().all(|tax| (2..=3).contains(tax)), "{steps:?}");
}

#[test]
fn conversion() {
    let (eur, huf, jpy) =
        (Currency::EUR, Currency::parse("HUF").expect("HUF"), Currency::parse("JPY").expect("JPY"));
    let usd = Currency::parse("USD").expect("USD");
    assert_eq!(convert(Cents(2100), (eur, d("1")), (huf, d("400.5"))), Ok(Cents(841_050)));
    assert_eq!(convert(Cents(2100), (usd, d("1.05")), (eur, d("1"))), Ok(Cents(2000)));
    assert_eq!(convert(Cents(1000), (jpy, d("160")), (eur, d("1"))), Ok(Cents(625)));
    assert_eq!(convert(Cents(-1), (usd, d("2")), (eur, d("1"))), Ok(Cents(-1)));
    assert_eq!(convert(Cents(1), (usd, d("0")), (eur, d("1"))), Err(MoneyError::Divisor));
}

fn any_lines() -> impl Strategy<Value = Vec<TaxLine>> {
    let rates = prop::sample::select(vec!["21", "9", "25.5", "5.5", "2.1"]);
    prop::collection::vec(
        (-100_000_i64..1_000_000, rates, any::<bool>()).prop_map(|(amount, rate, exempt)| {
            if exempt { line(amount, Exempt, "0") } else { line(amount, Standard, rate) }
        }),
        0..20,
    )
}

proptest! {
    #[test]
    fn both_sums_agree(lines in any_lines()) {
        let totals = compute(&lines).expect("fits");
        prop_assert_eq!(Cents::sum(totals.line_tax.iter().copied()), Ok(totals.tax));
        prop_assert_eq!(totals.total.0, totals.subtotal.0 + totals.tax.0);
        for group in &totals.groups {
            let members = lines.iter().zip(&totals.line_tax)
                .filter(|(line, _)| line.category == group.category && line.rate == group.rate);
            let (base, tax) = members.fold((0, 0), |(base, tax), (line, part)| (base + line.amount.0, tax + part.0));
            prop_assert_eq!((base, tax), (group.base.0, group.tax.0));
        }
        for (line, part) in lines.iter().zip(&totals.line_tax) {
            let exact = Decimal::from(line.amount.0) * line.rate / d("100");
            prop_assert!((Decimal::from(part.0) - exact).abs() <= Decimal::ONE);
        }
    }

    #[test]
    fn a_full_credit_note_mirrors_its_invoice(lines in any_lines()) {
        let negated: Vec<TaxLine> = lines.iter().map(|line| TaxLine { amount: Cents(-line.amount.0), ..*line }).collect();
        let (invoice, note) = (compute(&lines).expect("fits"), compute(&negated).expect("fits"));
        prop_assert_eq!(invoice.total.0, -note.total.0);
        let mirrored: Vec<Cents> = note.line_tax.iter().map(|part| Cents(-part.0)).collect();
        prop_assert_eq!(invoice.line_tax, mirrored);
    }

    #[test]
    fn partial_credits_end_at_the_invoice(parts in prop::collection::vec(1_i64..10_000, 1..12), rate in 1_i64..3_000) {
        let rate = Decimal::new(rate, 2);
        let (mut net, mut tax) = (Cents(0), Cents(0));
        for part in parts {
            let now = credit_note_tax(rate, net, tax, Cents(part)).expect("fits");
            prop_assert!(0 <= now.0);
            net = net.add(Cents(part)).expect("fits");
            tax = tax.add(now).expect("fits");
        }
        prop_assert_eq!(tax_on(net, rate), Ok(tax));
    }
}
