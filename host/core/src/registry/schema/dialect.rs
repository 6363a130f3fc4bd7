//! The versions of JSON Schema, as far as they differ.

use serde_json::Value;

/// A version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dialect {
    Draft4,
    Draft6,
    Draft7,
    Draft2019,
    Draft2020,
}

/// Each by the address that `$schema` gives, without its scheme.
const ADDRESSES: [(&str, Dialect); 5] = [
    ("json-schema.org/draft-04/schema", Dialect::Draft4),
    ("json-schema.org/draft-06/schema", Dialect::Draft6),
    ("json-schema.org/draft-07/schema", Dialect::Draft7),
    ("json-schema.org/draft/2019-09/schema", Dialect::Draft2019),
    ("json-schema.org/draft/2020-12/schema", Dialect::Draft2020),
];

impl Dialect {
    /// The version that a document declares; the newest if it declares none.
    pub(super) fn of(schema: &Value) -> Result<Dialect, String> {
        let Some(said) = schema.get("$schema") else {
            return Ok(Dialect::Draft2020);
        };
        let address = said.as_str().unwrap_or_default();
        let address = address.strip_suffix('#').unwrap_or(address);
        let address = address
            .strip_prefix("https://")
            .or_else(|| address.strip_prefix("http://"));
        let known = ADDRESSES.iter().find(|(known, _)| Some(*known) == address);
        known.map(|(_, dialect)| *dialect).ok_or_else(|| {
            "$schema names no version of JSON Schema that this host knows; drafts 4, 6, 7, \
             2019-09 and 2020-12 are known"
                .to_owned()
        })
    }

    /// The member that names a schema.
    pub(super) fn id(self) -> &'static str {
        match self {
            Dialect::Draft4 => "id",
            Dialect::Draft6 | Dialect::Draft7 | Dialect::Draft2019 | Dialect::Draft2020 => "$id",
        }
    }

    /// Whether a reference replaces the schema around it.
    pub(super) fn reference_stands_alone(self) -> bool {
        self <= Dialect::Draft7
    }

    /// Whether `items` may be a list, with `additionalItems` for the rest.
    pub(super) fn items_may_be_a_list(self) -> bool {
        self <= Dialect::Draft2019
    }
}
