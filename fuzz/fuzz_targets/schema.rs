//! The long run of the target `schema`, which `cofferdam::registry::schema::fuzzing::schema` describes.

#![no_main]

use cofferdam::registry::schema::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::schema(data, |schema, value| {
    let theirs = jsonschema::draft202012::options().build(schema);
    Some(theirs.ok()?.is_valid(value))
}));
