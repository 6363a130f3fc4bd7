//! The long run of the target `code`, which `cofferdam::interpreters::fuzzing::code` describes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam::interpreters::fuzzing::code(data));
