//! Equality of JSON values as JSON Schema defines it: by value, with the members of objects in any
//! order.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use serde_json::Value;

use super::budget::{Budget, Stopped};
use super::number::Num;

/// Whether two values are equal.
pub(super) fn equal(one: &Value, other: &Value, budget: &mut Budget<'_>) -> Result<bool, Stopped> {
    budget.spend(1)?;
    match (one, other) {
        (Value::Null, Value::Null) => Ok(true),
        (Value::Bool(one), Value::Bool(other)) => Ok(one == other),
        (Value::Number(one), Value::Number(other)) => Ok(Num::of(one) == Num::of(other)),
        (Value::String(one), Value::String(other)) => {
            budget.spend_bytes(one.len().min(other.len()))?;
            Ok(one == other)
        }
        (Value::Array(one), Value::Array(other)) => {
            if one.len() != other.len() {
                return Ok(false);
            }
            for (one, other) in one.iter().zip(other) {
                if !equal(one, other, budget)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Object(one), Value::Object(other)) => {
            if one.len() != other.len() {
                return Ok(false);
            }
            for (name, member) in one {
                budget.spend_bytes(name.len())?;
                match other.get(name) {
                    Some(other) if equal(member, other, budget)? => {}
                    Some(_) | None => return Ok(false),
                }
            }
            Ok(true)
        }
        (
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_),
            _,
        ) => Ok(false),
    }
}

/// The first two equal items, found by hashes that a caller cannot predict: the work grows with the
/// number of items, not with its square.
pub(super) fn first_repeated(
    items: &[Value],
    budget: &mut Budget<'_>,
) -> Result<Option<(usize, usize)>, Stopped> {
    let random = RandomState::new();
    let mut seen: HashMap<u64, Vec<usize>> = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        let hash = hash_of(item, &random, budget)?;
        let alike = seen.entry(hash).or_default();
        for earlier in alike.iter() {
            if equal(&items[*earlier], item, budget)? {
                return Ok(Some((*earlier, at)));
            }
        }
        alike.push(at);
    }
    Ok(None)
}

/// Equal values have equal hashes.
fn hash_of(value: &Value, random: &RandomState, budget: &mut Budget<'_>) -> Result<u64, Stopped> {
    budget.spend(1)?;
    let mut hasher = random.build_hasher();
    match value {
        Value::Null => 0_u8.hash(&mut hasher),
        Value::Bool(value) => (1_u8, value).hash(&mut hasher),
        Value::Number(number) => match Num::of(number) {
            Num::Whole(whole) => (2_u8, whole).hash(&mut hasher),
            Num::Float(float) => (3_u8, float.to_bits()).hash(&mut hasher),
        },
        Value::String(text) => {
            budget.spend_bytes(text.len())?;
            (4_u8, text).hash(&mut hasher);
        }
        Value::Array(items) => {
            5_u8.hash(&mut hasher);
            for item in items {
                hash_of(item, random, budget)?.hash(&mut hasher);
            }
        }
        Value::Object(members) => {
            let mut sum = 0_u64;
            for (name, member) in members {
                budget.spend_bytes(name.len())?;
                let member = hash_of(member, random, budget)?;
                sum = sum.wrapping_add(random.hash_one((name, member)));
            }
            (6_u8, sum).hash(&mut hasher);
        }
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn repeated(items: &Value) -> Option<(usize, usize)> {
        let mut more = || true;
        first_repeated(items.as_array().unwrap(), &mut Budget::new(0, &mut more)).unwrap()
    }

    #[test]
    fn repeated_items_are_found_by_value() {
        assert_eq!(repeated(&json!([1, 2, 1.0])), Some((0, 2)));
        assert_eq!(
            repeated(&json!([{"a": 1, "b": [0]}, 3, {"b": [-0.0], "a": 1.0}])),
            Some((0, 2))
        );
        assert_eq!(
            repeated(&json!([1, true, "1", [1], {"1": 1}, null, 0, false, "", [], {}])),
            None
        );
    }

    #[test]
    fn many_items_take_no_more_than_their_size() {
        let items: Vec<Value> = (0..100_000).map(Value::from).collect();
        let mut grants = 0;
        let mut more = || {
            grants += 1;
            grants < 100
        };
        let found = first_repeated(&items, &mut Budget::new(0, &mut more));
        assert_eq!(found, Ok(None));
    }
}
