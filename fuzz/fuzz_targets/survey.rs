//! The long run of the target `survey`, which `cofferdam_sandbox::compile::fuzzing::survey` describes.
//!
//! The seeds are text. A binary is what is worth changing byte by byte, so a text becomes one here
//! half of the times that it is changed.

#![no_main]

use cofferdam_sandbox::compile::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::survey(data));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 2 == 0
        && let Some(binary) = fuzzing::translated(&data[..size])
        && binary.len() <= max_size
    {
        data[..binary.len()].copy_from_slice(&binary);
        return binary.len();
    }
    libfuzzer_sys::fuzzer_mutate(data, size, max_size)
});
