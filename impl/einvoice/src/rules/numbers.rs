//! Owns check digits that national rules ask for.

/// Whether a text has digits alone, and at least one.
pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn digits(text: &str) -> Option<Vec<u32>> {
    (text.len() <= 20).then(|| text.chars().map(|c| c.to_digit(10)).collect())?
}

/// Sum of the digits, each times its weight.
fn weighted(digits: &[u32], weights: impl Iterator<Item = u32>) -> u32 {
    digits
        .iter()
        .zip(weights)
        .map(|(digit, weight)| digit.saturating_mul(weight))
        .fold(0, u32::saturating_add)
}

/// Norwegian organization numbers: weights 2 to 7 from the right, the last digit checks.
pub(super) fn mod11(text: &str) -> bool {
    let Some((check, body)) =
        digits(text).as_deref().and_then(<[u32]>::split_last).map(|(c, b)| (*c, b.to_vec()))
    else {
        return false;
    };
    let reversed: Vec<u32> = body.iter().rev().copied().collect();
    let sum = weighted(&reversed, (2..=7).cycle());
    match sum.checked_rem(11) {
        Some(0) => check == 0,
        Some(rest) => 11_u32.checked_sub(rest) == Some(check),
        None => false,
    }
}

/// Luhn, as for Swedish organization numbers.
pub(super) fn luhn(text: &str) -> bool {
    let Some(digits) = digits(text).filter(|digits| !digits.is_empty()) else { return false };
    let doubled = digits.iter().rev().enumerate().map(|(place, digit)| {
        let twice = digit.saturating_mul(if place.checked_rem(2) == Some(1) { 2 } else { 1 });
        if 9 < twice { twice.saturating_sub(9) } else { twice }
    });
    doubled.fold(0, u32::saturating_add).checked_rem(10) == Some(0)
}

/// Greek tax numbers: nine digits, weights 256 to 2.
pub(super) fn greek_tin(text: &str) -> bool {
    let Some(digits) = digits(text).filter(|digits| digits.len() == 9) else { return false };
    let Some((check, body)) = digits.split_last() else { return false };
    let sum = weighted(body, [256, 128, 64, 32, 16, 8, 4, 2].into_iter());
    sum.checked_rem(11).and_then(|rest| rest.checked_rem(10)) == Some(*check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits() {
        assert!(mod11("974760673") && !mod11("974760674") && !mod11("") && !mod11("x"));
        assert!(luhn("5560125790") && !luhn("5560125791") && !luhn(""));
        assert!(greek_tin("094259216") && !greek_tin("094259217") && !greek_tin("94259216"));
        assert!(is_digits("01") && !is_digits("") && !is_digits("1a"));
    }
}
