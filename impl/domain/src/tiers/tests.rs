use super::*;
use proptest::prelude::*;

fn d(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

fn tier(model: PricingModel, start: &str, end: &str, price: &str, divisor: &str) -> Tier {
    Tier {
        tier_start: d(start),
        tier_end: (end != "inf").then(|| d(end)),
        unit_price_cents: d(price),
        unit_divisor: d(divisor),
        unit_label: Some("calls".into()),
        pricing_model: model,
        flat_fee_cents: 0,
        minimum_cents: 0,
    }
}

fn ladder(model: PricingModel) -> Vec<Tier> {
    vec![
        tier(model, "0", "1000", "0", "1000"),
        tier(model, "1000", "10000", "50", "1000"),
        tier(model, "10000", "inf", "20", "1000"),
    ]
}

fn amounts(tiers: &[Tier], quantity: &str) -> Vec<(PricedKind, Option<usize>, String, i64)> {
    price(tiers, d(quantity), Ratio::ONE)
        .expect("priced")
        .into_iter()
        .map(|line| (line.kind, line.tier_index, line.quantity.normalize().to_string(), line.amount_cents))
        .collect()
}

fn fields(tiers: &[Tier]) -> Vec<(usize, String)> {
    validate(tiers).into_iter().map(|error| (error.index, error.field)).collect()
}

use PricedKind::{FlatFee, Minimum, Usage};

#[test]
fn graduated_makes_a_line_per_tier_used() {
    let tiers = ladder(PricingModel::Graduated);
    assert_eq!(amounts(&tiers, "0"), []);
    assert_eq!(amounts(&tiers, "1000"), [(Usage, Some(0), "1000".into(), 0)]);
    assert_eq!(
        amounts(&tiers, "1000.5"),
        [(Usage, Some(0), "1000".into(), 0), (Usage, Some(1), "0.5".into(), 0)]
    );
    assert_eq!(
        amounts(&tiers, "12345"),
        [
            (Usage, Some(0), "1000".into(), 0),
            (Usage, Some(1), "9000".into(), 450),
            (Usage, Some(2), "2345".into(), 47)
        ]
    );
}

#[test]
fn volume_prices_all_by_the_last_tier() {
    let tiers = ladder(PricingModel::Volume);
    assert_eq!(amounts(&tiers, "10000"), [(Usage, Some(1), "10000".into(), 500)]);
    assert_eq!(amounts(&tiers, "10001"), [(Usage, Some(2), "10001".into(), 200)]);
    assert_eq!(amounts(&tiers, "0"), []);
}

#[test]
fn package_counts_started_packages() {
    let tiers = ladder(PricingModel::Package);
    assert_eq!(amounts(&tiers, "1001"), [(Usage, Some(1), "2".into(), 100)]);
    assert_eq!(amounts(&tiers, "2000"), [(Usage, Some(1), "2".into(), 100)]);
    assert_eq!(amounts(&tiers, "10000.0000000001"), [(Usage, Some(2), "11".into(), 220)]);
    let thirds = [tier(PricingModel::Package, "0", "inf", "7", "0.3")];
    assert_eq!(amounts(&thirds, "0.9"), [(Usage, Some(0), "3".into(), 21)]);
    assert_eq!(amounts(&thirds, "1"), [(Usage, Some(0), "4".into(), 28)]);
    let line = price(&thirds, d("1"), Ratio::ONE).expect("priced").remove(0);
    assert_eq!(line.unit_divisor, Decimal::ONE, "a package is priced as one");
}

#[test]
fn flat_fees() {
    let with_fees = |model| {
        let mut tiers = ladder(model);
        for (tier, fee) in tiers.iter_mut().zip([100, 200, 300]) {
            tier.flat_fee_cents = fee;
        }
        tiers
    };
    let fees = |model, quantity: &str| -> Vec<i64> {
        amounts(&with_fees(model), quantity)
            .into_iter()
            .filter(|line| line.0 == FlatFee)
            .map(|line| line.3)
            .collect()
    };
    assert_eq!(fees(PricingModel::Graduated, "5000"), [100, 200]);
    assert_eq!(fees(PricingModel::Package, "5000"), [100, 200]);
    assert_eq!(fees(PricingModel::Volume, "5000"), [200]);
    assert_eq!(fees(PricingModel::Graduated, "1000"), [100], "a tier starts above its start");
    assert_eq!(fees(PricingModel::Volume, "0"), [0_i64; 0]);
}

#[test]
fn the_minimum_is_prorated_and_its_shortfall_is_a_line() {
    let mut tiers = ladder(PricingModel::Graduated);
    for tier in &mut tiers {
        tier.minimum_cents = 1000;
    }
    assert_eq!(amounts(&tiers, "0"), [(Minimum, None, "1".into(), 1000)]);
    assert_eq!(amounts(&tiers, "10000").last(), Some(&(Minimum, None, "1".into(), 550)));
    assert_eq!(amounts(&tiers, "100000").iter().filter(|line| line.0 == Minimum).count(), 0);
    let half = price(&tiers, d("10000"), Ratio::new(1, 2).expect("ratio")).expect("priced");
    assert_eq!(half.last().map(|line| line.amount_cents), Some(50));
    tiers[0].flat_fee_cents = 600;
    assert_eq!(amounts(&tiers, "10000").iter().filter(|line| line.0 == Minimum).count(), 0);
}

#[test]
fn corrections_go_both_ways() {
    let tiers = ladder(PricingModel::Graduated);
    assert_eq!(correction(&tiers, d("3000"), Ratio::ONE, Cents(50)), Ok(Cents(50)));
    assert_eq!(correction(&tiers, d("1500"), Ratio::ONE, Cents(50)), Ok(Cents(-25)));
}

/// Bounds of tiers, and the rows and fields that are wrong.
type Case = (&'static [(&'static str, &'static str)], &'static [(usize, &'static str)]);

#[test]
fn tiers_must_tile() {
    use PricingModel::Graduated as G;
    assert_eq!(validate(&[]), []);
    assert_eq!(validate(&ladder(G)), []);
    let mut reversed = ladder(G);
    reversed.reverse();
    assert_eq!(validate(&reversed), []);
    assert_eq!(price(&reversed, d("12345"), Ratio::ONE), price(&ladder(G), d("12345"), Ratio::ONE));
    let table: [Case; 8] = [
        (&[("1", "inf")], &[(0, "tier_start")]),
        (&[("0", "10")], &[(0, "tier_end")]),
        (&[("0", "10"), ("11", "inf")], &[(1, "tier_start")]),
        (&[("0", "10"), ("9", "inf")], &[(1, "tier_start")]),
        (&[("0", "inf"), ("9", "inf")], &[(1, "tier_start")]),
        (&[("0", "0"), ("0", "inf")], &[(0, "tier_end")]),
        (&[("9", "inf"), ("0", "10")], &[(0, "tier_start")]),
        (&[("-1", "inf")], &[(0, "tier_start")]),
    ];
    for (bounds, want) in table {
        let tiers: Vec<Tier> = bounds.iter().map(|(start, end)| tier(G, start, end, "1", "1")).collect();
        let want: Vec<(usize, String)> = want.iter().map(|(i, f)| (*i, (*f).to_owned())).collect();
        assert_eq!(fields(&tiers), want, "{bounds:?}");
    }
}

#[test]
fn tiers_share_their_model() {
    let mut tiers = ladder(PricingModel::Graduated);
    tiers[1].pricing_model = PricingModel::Volume;
    tiers[1].unit_divisor = d("10");
    tiers[2].minimum_cents = 5;
    let got = fields(&tiers);
    assert_eq!(got, [(1, "pricing_model".into()), (1, "unit_divisor".into()), (2, "minimum_cents".into())]);
}

#[test]
fn values_are_bounded() {
    let good = tier(PricingModel::Graduated, "0", "inf", "1", "1");
    let bad = |change: fn(&mut Tier)| {
        let mut tier = good.clone();
        change(&mut tier);
        fields(&[tier])
    };
    assert_eq!(bad(|t| t.unit_price_cents = Decimal::NEGATIVE_ONE), [(0, "unit_price_cents".into())]);
    assert_eq!(bad(|t| t.unit_price_cents = Decimal::new(1, 13)), [(0, "unit_price_cents".into())]);
    assert_eq!(bad(|t| t.unit_divisor = Decimal::ZERO), [(0, "unit_divisor".into())]);
    assert_eq!(bad(|t| t.flat_fee_cents = -1), [(0, "flat_fee_cents".into())]);
    assert_eq!(bad(|t| t.minimum_cents = -1), [(0, "minimum_cents".into())]);
    assert!(matches!(price(&[], Decimal::ONE, Ratio::ONE).as_deref(), Ok([])));
    assert_eq!(price(&[good], Decimal::NEGATIVE_ONE, Ratio::ONE), Err(PriceError::NegativeQuantity));
}

fn any_ladder() -> impl Strategy<Value = Vec<Tier>> {
    let model =
        prop_oneof![Just(PricingModel::Graduated), Just(PricingModel::Volume), Just(PricingModel::Package)];
    let rows = prop::collection::vec((1_i64..100_000, 0_i64..10_000_000, 0_i64..5_000), 1..6);
    (model, rows, 1_i64..5_000, 0_i64..100_000).prop_map(|(model, rows, divisor, minimum)| {
        let mut start = Decimal::ZERO;
        let count = rows.len();
        rows.into_iter()
            .enumerate()
            .map(|(index, (width, price, fee))| {
                let end = start + Decimal::new(width, 2);
                let tier = Tier {
                    tier_start: start,
                    tier_end: (index + 1 < count).then_some(end),
                    unit_price_cents: Decimal::new(price, 4),
                    unit_divisor: Decimal::new(divisor, 1),
                    unit_label: None,
                    pricing_model: model,
                    flat_fee_cents: fee,
                    minimum_cents: minimum,
                };
                start = end;
                tier
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn valid_ladders_are_valid_and_price_to_their_minimum(tiers in any_ladder(), quantity in 0_i64..1_000_000_000,
                                                          part in 0_i64..100) {
        prop_assert_eq!(validate(&tiers), vec![]);
        let share = Ratio::new(part, 100).expect("ratio");
        let lines = price(&tiers, Decimal::new(quantity, 3), share).expect("priced");
        prop_assert!(share.of(Cents(tiers[0].minimum_cents)).expect("fits") <= total(&lines).expect("fits"));
        for line in &lines {
            let again = mul_div_round(line.quantity, line.unit_price_cents, line.unit_divisor);
            prop_assert_eq!(again, Ok(line.amount_cents));
        }
    }

    #[test]
    fn graduated_lines_cover_the_quantity(tiers in any_ladder(), quantity in 0_i64..1_000_000_000) {
        prop_assume!(tiers[0].pricing_model == PricingModel::Graduated);
        let quantity = Decimal::new(quantity, 3);
        let lines = price(&tiers, quantity, Ratio::ONE).expect("priced");
        let covered: Decimal = lines.iter().filter(|line| line.kind == PricedKind::Usage).map(|line| line.quantity).sum();
        prop_assert_eq!(covered, quantity);
    }

    #[test]
    fn more_graduated_usage_never_costs_less(tiers in any_ladder(), quantity in 0_i64..1_000_000, more in 0_i64..1_000_000) {
        prop_assume!(tiers[0].pricing_model == PricingModel::Graduated);
        let cost = |q: i64| total(&price(&tiers, Decimal::new(q, 3), Ratio::ONE).expect("priced")).expect("fits");
        prop_assert!(cost(quantity) <= cost(quantity + more));
    }

    #[test]
    fn a_broken_ladder_is_refused(tiers in any_ladder(), which in any::<prop::sample::Index>(), shift in 1_i64..1_000) {
        let mut tiers = tiers;
        let at = which.index(tiers.len());
        tiers[at].tier_start += Decimal::new(shift, 2);
        prop_assert_ne!(validate(&tiers), vec![]);
    }
}
