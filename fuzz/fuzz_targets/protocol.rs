//! The long run of the target `protocol`, which `cofferdam_sandbox::compile::fuzzing::protocol` describes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam_sandbox::compile::fuzzing::protocol(data));
