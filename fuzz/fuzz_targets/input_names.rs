//! The long run of the target `input_names`, which `cofferdam_sandbox::files::fuzzing::input_names` describes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam_sandbox::files::fuzzing::input_names(data));
