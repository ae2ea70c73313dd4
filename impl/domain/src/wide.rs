//! Owns exact multiplication and division of decimals: `a × b ÷ c`, rounded once.
//!
//! `rust_decimal` keeps 28 digits and rounds whatever is longer, so `quantity * price / divisor` written with
//! its operators may be rounded two or three times before the rule's own rounding, and a value just under a
//! half can end on the wrong side of it. Here the product and the divisor are whole numbers of up to 384 bits:
//! three decimals of 96 bits and their powers of ten always fit, so nothing is lost before the one rounding.

use rust_decimal::Decimal;

/// An unsigned number of 384 bits, least significant limb first.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Wide([u64; 6]);

impl Wide {
    /// `value` is at most 96 bits (the coefficient of a decimal).
    fn from_u128(value: u128) -> Self {
        let (low, high) = split(value);
        Self([low, high, 0, 0, 0, 0])
    }

    /// The product, or `None` when it needs more than 384 bits.
    fn mul_u64(self, factor: u64) -> Option<Self> {
        let mut out = [0_u64; 6];
        let mut carry = 0_u64;
        for (limb, target) in self.0.iter().zip(out.iter_mut()) {
            // (2^64 − 1)² + (2^64 − 1) < 2^128: neither operation can overflow.
            let wide = u128::from(*limb).wrapping_mul(u128::from(factor)).wrapping_add(u128::from(carry));
            (*target, carry) = split(wide);
        }
        (carry == 0).then_some(Self(out))
    }

    fn mul_u128(self, factor: u128) -> Option<Self> {
        let (low, high) = split(factor);
        let low = self.mul_u64(low)?;
        if high == 0 {
            return Some(low);
        }
        let high = self.mul_u64(high)?;
        if high.0[5] != 0 {
            return None;
        }
        let shifted = Self([0, high.0[0], high.0[1], high.0[2], high.0[3], high.0[4]]);
        low.add(shifted)
    }

    fn mul_pow10(self, exponent: u32) -> Option<Self> {
        (0..exponent).try_fold(self, |value, _| value.mul_u64(10))
    }

    fn add(self, other: Self) -> Option<Self> {
        let mut out = [0_u64; 6];
        let mut carry = false;
        for ((a, b), target) in self.0.iter().zip(other.0).zip(out.iter_mut()) {
            let (sum, first) = a.overflowing_add(b);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *target = sum;
            carry = first || second;
        }
        (!carry).then_some(Self(out))
    }

    /// The difference; the caller knows that `other` is not larger.
    fn sub(self, other: Self) -> Self {
        let mut out = [0_u64; 6];
        let mut borrow = false;
        for ((a, b), target) in self.0.iter().zip(other.0).zip(out.iter_mut()) {
            let (rest, first) = a.overflowing_sub(b);
            let (rest, second) = rest.overflowing_sub(u64::from(borrow));
            *target = rest;
            borrow = first || second;
        }
        Self(out)
    }

    fn halve(self) -> Self {
        let mut out = [0_u64; 6];
        let mut carry = 0_u64;
        for (limb, target) in self.0.iter().zip(out.iter_mut()).rev() {
            *target = (limb >> 1) | carry;
            carry = limb << 63;
        }
        Self(out)
    }

    fn less_than(&self, other: &Self) -> bool {
        self.0.iter().rev().lt(other.0.iter().rev())
    }
}

/// The low and the high half of `value`.
fn split(value: u128) -> (u64, u64) {
    let bytes = value.to_le_bytes();
    let mut low = [0_u8; 8];
    let mut high = [0_u8; 8];
    low.copy_from_slice(&bytes[..8]);
    high.copy_from_slice(&bytes[8..]);
    (u64::from_le_bytes(low), u64::from_le_bytes(high))
}

/// `a × b ÷ divisor`, exact, then rounded half away from zero to a whole number.
///
/// `None` when the divisor is zero or the result does not fit an `i64`.
pub(crate) fn mul_div_round(a: Decimal, b: Decimal, divisor: Decimal) -> Option<i64> {
    if divisor.is_zero() {
        return None;
    }
    let (a, b, divisor) = (a.normalize(), b.normalize(), divisor.normalize());
    let negative = (a.is_sign_negative() ^ b.is_sign_negative()) ^ divisor.is_sign_negative();
    let up = divisor.scale();
    let down = a.scale().checked_add(b.scale())?;
    let common = up.min(down);
    let mut rest = Wide::from_u128(a.mantissa().unsigned_abs())
        .mul_u128(b.mantissa().unsigned_abs())?
        .mul_pow10(up.checked_sub(common)?)?;
    let base = Wide::from_u128(divisor.mantissa().unsigned_abs()).mul_pow10(down.checked_sub(common)?)?;

    // Long division by bits, from the largest multiple 2^62 downwards: a quotient of 2^63 or more is refused.
    let mut step = base.mul_u64(1 << 63)?;
    if !rest.less_than(&step) {
        return None;
    }
    let mut quotient = 0_i64;
    for _ in 0..63 {
        step = step.halve();
        quotient = quotient.checked_mul(2)?;
        if !rest.less_than(&step) {
            rest = rest.sub(step);
            quotient = quotient.checked_add(1)?;
        }
    }
    if !rest.add(rest)?.less_than(&base) {
        quotient = quotient.checked_add(1)?;
    }
    if negative { quotient.checked_neg() } else { Some(quotient) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    #[test]
    fn rounds_once_and_away_from_zero() {
        let cases = [
            ("1", "1", "2", Some(1)),
            ("-1", "1", "2", Some(-1)),
            ("1", "1", "3", Some(0)),
            ("2", "1", "3", Some(1)),
            ("5", "0.1", "1", Some(1)),
            ("4.9", "0.1", "1", Some(0)),
            ("1234567", "0.25", "1000", Some(309)),
            // 28 nines: a quotient of 0.4999… with more digits than a decimal holds.
            ("0.9999999999999999999999999999", "0.9999999999999999999999999999", "2", Some(0)),
            ("79228162514264337593543950335", "0.0000000000000000000000000001", "1", Some(8)),
            (
                "79228162514264337593543950335",
                "79228162514264337593543950335",
                "79228162514264337593543950335",
                None,
            ),
        ];
        for (a, b, c, want) in cases {
            let got = mul_div_round(d(a), d(b), d(c));
            assert_eq!(got, want, "{a} × {b} ÷ {c}");
        }
        assert_eq!(mul_div_round(d("1"), d("1"), d("0")), None);
        assert_eq!(mul_div_round(Decimal::MAX, Decimal::MAX, d("0.0000000000000000000000000001")), None);
        assert_eq!(mul_div_round(d("9223372036854775807"), d("1"), d("1")), Some(i64::MAX));
        assert_eq!(mul_div_round(d("9223372036854775808"), d("1"), d("1")), None);
    }

    proptest! {
        #[test]
        fn agrees_with_whole_numbers(a in -1_000_000_000_000_i64..1_000_000_000_000, b in -1_000_000_i64..1_000_000,
                                     c in 1_i64..1_000_000_000, scales in (0_u32..6, 0_u32..6, 0_u32..6)) {
            let got = mul_div_round(Decimal::new(a, scales.0), Decimal::new(b, scales.1), Decimal::new(c, scales.2));
            let num = i128::from(a) * i128::from(b) * 10_i128.pow(scales.2);
            let den = i128::from(c) * 10_i128.pow(scales.0 + scales.1);
            let magnitude = (num.abs() * 2 + den) / (den * 2);
            let want = i64::try_from(if num < 0 { -magnitude } else { magnitude }).ok();
            prop_assert_eq!(got, want);
        }

        #[test]
        fn never_panics(a in any::<(u32, u32, u32, bool)>(), b in any::<(u32, u32, u32, bool)>(),
                        c in any::<(u32, u32, u32, bool)>(), scales in (0_u32..29, 0_u32..29, 0_u32..29)) {
            let make = |p: (u32, u32, u32, bool), s| Decimal::from_parts(p.0, p.1, p.2, p.3, s);
            let _ = mul_div_round(make(a, scales.0), make(b, scales.1), make(c, scales.2));
        }
    }
}
