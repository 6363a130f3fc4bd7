//! Numbers as JSON Schema compares them: by their value, however they are written.
//!
//! A float with a whole value is that whole number. Nothing is rounded here, but a number whose
//! JSON text has more digits than a double was rounded when it was read.

use std::cmp::Ordering;

use serde_json::Number;

/// Above this, floats are compared as floats; every whole number that JSON text can represent
/// exactly is far below.
const WHOLE_MAX: f64 = 1e37;

/// A number by its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Num {
    Whole(i128),
    /// With a fraction, or above [`WHOLE_MAX`].
    Float(f64),
}

impl Num {
    pub(super) fn of(number: &Number) -> Num {
        if let Some(whole) = number.as_i64() {
            return Num::Whole(whole.into());
        }
        if let Some(whole) = number.as_u64() {
            return Num::Whole(whole.into());
        }
        let float = number.as_f64().unwrap_or(f64::NAN);
        match float.fract() == 0.0 && float.abs() < WHOLE_MAX {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and fits")]
            true => Num::Whole(float as i128),
            false => Num::Float(float),
        }
    }

    pub(super) fn compare(self, other: Num) -> Ordering {
        match (self, other) {
            (Num::Whole(one), Num::Whole(other)) => one.cmp(&other),
            (Num::Float(one), Num::Float(other)) => one.total_cmp(&other),
            (Num::Whole(one), Num::Float(other)) => whole_to_float(one, other),
            (Num::Float(one), Num::Whole(other)) => whole_to_float(other, one).reverse(),
        }
    }
}

/// A whole number is never equal to a float with a fraction.
fn whole_to_float(whole: i128, float: f64) -> Ordering {
    if float >= WHOLE_MAX {
        return Ordering::Less;
    }
    if float <= -WHOLE_MAX {
        return Ordering::Greater;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it was just bounded")]
    match whole <= float.floor() as i128 {
        true => Ordering::Less,
        false => Ordering::Greater,
    }
}

/// Whether `number` is a multiple of `of`, which is above zero.
pub(super) fn is_multiple(number: &Number, of: &Number) -> bool {
    if let (Num::Whole(number), Num::Whole(of)) = (Num::of(number), Num::of(of)) {
        return number.checked_rem(of) == Some(0);
    }
    exact_multiple(number, of).unwrap_or_else(|| {
        let (number, of) = (number.as_f64(), of.as_f64());
        let (number, of) = (number.unwrap_or(f64::NAN), of.unwrap_or(f64::NAN));
        number % of == 0.0
    })
}

/// Compares decimal digits, so that 0.0075 is a multiple of 0.0001; `None` if there are too many.
fn exact_multiple(number: &Number, of: &Number) -> Option<bool> {
    let ((number, places), (of, of_places)) = (decimal(number)?, decimal(of)?);
    let shared = places.min(of_places);
    let scaled = |digits: i128, places: i32| {
        let factor = 10_i128.checked_pow(u32::try_from(places - shared).ok()?)?;
        digits.checked_mul(factor)
    };
    let remainder = scaled(number, places)?.checked_rem(scaled(of, of_places)?)?;
    Some(remainder == 0)
}

/// A number as whole digits and a power of ten.
fn decimal(number: &Number) -> Option<(i128, i32)> {
    let text = number.to_string();
    let (digits, power) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let power: i32 = power.parse().ok()?;
    let digits = format!("{whole}{fraction}").parse().ok()?;
    Some((digits, power - i32::try_from(fraction.len()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn numbers_are_ordered_by_value() {
        let ordered = [
            "-1e300",
            "-9223372036854775808",
            "-0.5",
            "0",
            "0.5",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551615",
            "18446744073709551616",
            "1e37",
            "1e300",
        ];
        for (at, one) in ordered.iter().enumerate() {
            for (other_at, other) in ordered.iter().enumerate() {
                let compared = Num::of(&number(one)).compare(Num::of(&number(other)));
                assert_eq!(compared, at.cmp(&other_at), "{one} to {other}");
            }
        }
        assert_eq!(Num::of(&number("1.0")), Num::of(&number("1")));
        assert_eq!(Num::of(&number("-0.0")), Num::of(&number("0")));
    }

    #[test]
    fn multiples_are_exact() {
        let is = |one: &str, of: &str| is_multiple(&number(one), &number(of));
        assert!(is("0.0075", "0.0001") && !is("0.00751", "0.0001"));
        assert!(is("4", "2") && is("4.0", "2") && is("4.5", "1.5") && !is("5", "2"));
        assert!(is("1e308", "0.5") && is("0", "0.3") && !is("1e-300", "1"));
        assert!(is("12391239123", "1e-8") && is("0.3", "0.1"));
    }
}
