//! The long run of the target `quota`, which `cofferdam_sandbox::files::fuzzing::quota` describes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam_sandbox::files::fuzzing::quota(data));
