//! The long run of the target `tools`, which `cofferdam_server::mcp::fuzzing::tools` describes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cofferdam_server::mcp::fuzzing::tools(data));
