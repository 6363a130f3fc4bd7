//! The long run of the target `queries`, which `cofferdam_server::http::fuzzing::queries` describes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam_server::http::fuzzing::queries(data));
