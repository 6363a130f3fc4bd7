//! The long run of the target `requests`, which `cofferdam_server::http::fuzzing::requests` describes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam_server::http::fuzzing::requests(data));
