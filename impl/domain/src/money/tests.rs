use super::*;
use proptest::prelude::*;

fn d(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

#[test]
fn rounds_half_away_from_zero() {
    let cases = [("0.5", 1), ("-0.5", -1), ("1.5", 2), ("2.5", 3), ("-2.5", -3), ("2.4999", 2), ("-0.4", 0)];
    for (value, want) in cases {
        assert_eq!(round_half_away(d(value)), Ok(want), "{value}");
    }
    assert_eq!(round_half_away(Decimal::MAX), Err(MoneyError::Overflow));
}

#[test]
fn amounts_never_wrap() {
    assert_eq!(Cents(i64::MAX).add(Cents(1)), Err(MoneyError::Overflow));
    assert_eq!(Cents(i64::MIN).sub(Cents(1)), Err(MoneyError::Overflow));
    assert_eq!(Cents(i64::MIN).neg(), Err(MoneyError::Overflow));
    assert_eq!(Cents(i64::MAX).times(2), Err(MoneyError::Overflow));
    assert_eq!(Cents(i64::MAX).scale(d("1.01")), Err(MoneyError::Overflow));
    assert_eq!(Cents(105).scale(d("0.1")), Ok(Cents(11)));
    assert_eq!(Cents(-105).scale(d("0.1")), Ok(Cents(-11)));
}

#[test]
fn currencies() {
    assert_eq!(Currency::parse("EUR").map(Currency::minor_digits), Ok(2));
    assert_eq!(Currency::parse("JPY").map(Currency::minor_digits), Ok(0));
    for code in ["BHD", "KWD", "TND", "JOD", "XAU", "XXX", "XTS"] {
        assert_eq!(Currency::parse(code), Err(MoneyError::UnsupportedCurrency(code.into())), "{code}");
    }
    for code in ["", "eur", "EURO", "QQQ", "E R"] {
        assert!(matches!(Currency::parse(code), Err(MoneyError::UnknownCurrency(_))), "{code}");
    }
    assert_eq!(Currency::EUR.to_major(Cents(1234)), d("12.34"));
    let json = serde_json::to_string(&Currency::EUR).expect("json");
    assert_eq!(json, "\"EUR\"");
    assert_eq!(serde_json::from_str::<Currency>(&json).ok(), Some(Currency::EUR));
    assert!(serde_json::from_str::<Currency>("\"KWD\"").is_err());
}

#[test]
fn allocation_table() {
    let cases: [(i64, &[i64], &[i64]); 8] = [
        (100, &[1, 1, 1], &[34, 33, 33]),
        (-100, &[1, 1, 1], &[-34, -33, -33]),
        (1, &[1, 1], &[1, 0]),
        (0, &[0, 0], &[0, 0]),
        (7, &[0, 0], &[4, 3]),
        (10, &[3, -1], &[15, -5]),
        (10, &[-3, 1], &[15, -5]),
        (5, &[0, 7, 0], &[0, 5, 0]),
    ];
    for (total, weights, want) in cases {
        assert_eq!(allocate(total, weights).as_deref(), Ok(want), "{total} by {weights:?}");
    }
    assert_eq!(allocate(1, &[]), Err(MoneyError::NoWeight));
    assert_eq!(allocate(1, &[5, -5]), Err(MoneyError::NoWeight));
    assert_eq!(allocate(0, &[5, -5]), Ok(vec![0, 0]));
    assert_eq!(allocate_shares(9, &[10, 10], 10), Err(MoneyError::NoWeight));
}

proptest! {
    #[test]
    fn parts_sum_to_the_whole(total in any::<i64>(), weights in prop::collection::vec(0_i64..i64::MAX, 1..12)) {
        let parts = allocate(total, &weights).expect("weights are not negative");
        prop_assert_eq!(parts.iter().map(|part| i128::from(*part)).sum::<i128>(), i128::from(total));
        for part in parts {
            prop_assert!(part == 0 || (part < 0) == (total < 0));
        }
    }

    #[test]
    fn a_part_is_within_one_of_its_exact_share(total in -1_000_000_i64..1_000_000,
                                               weights in prop::collection::vec(1_i64..100_000, 1..12)) {
        let sum: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
        for (part, weight) in allocate(total, &weights).expect("weights").iter().zip(&weights) {
            let off = i128::from(*part) * sum - i128::from(total) * i128::from(*weight);
            prop_assert!(off.abs() < sum);
        }
    }

    #[test]
    fn the_negative_is_the_mirror(total in -1_000_000_i64..1_000_000,
                                  weights in prop::collection::vec(-1_000_i64..1_000, 1..12)) {
        let parts = allocate(total, &weights);
        let mirrored = allocate(-total, &weights);
        prop_assert_eq!(parts.map(|parts| parts.into_iter().map(|part| -part).collect::<Vec<_>>()), mirrored);
    }

    #[test]
    fn rounding_is_symmetric(value in any::<i64>(), scale in 0_u32..10) {
        let value = Decimal::new(value, scale);
        prop_assert_eq!(round_half_away(-value).ok().and_then(i64::checked_neg), round_half_away(value).ok());
    }
}
