//! The long run of the target `config`, which `cofferdam_server::config::fuzzing::config` describes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam_server::config::fuzzing::config(data));
