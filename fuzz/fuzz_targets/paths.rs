//! The long run of the target `paths`, which `cofferdam_server::http::fuzzing::paths` describes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam_server::http::fuzzing::paths(data));
