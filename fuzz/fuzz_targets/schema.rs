//! The long run of the target `schema`, which `cofferdam::registry::schema::fuzzing::schema` describes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam::registry::schema::fuzzing::schema(data));
