//! The long run of the target `cursors`, which `cofferdam_server::http::fuzzing::cursors` describes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam_server::http::fuzzing::cursors(data));
