//! Small uploads that cost much: each ends at its limit, and the host is not affected.

use std::time::{Duration, Instant};

use cofferdam_sandbox::CompileError::{Limit, Refused};
use cofferdam_sandbox::EngineClass;
use cofferdam_sandbox::settings::SandboxConfig;

use super::{Bench, ample, small, wasm};

/// A limit of two seconds, the start and the end of a process, on a machine that does other things.
const SOON: Duration = Duration::from_secs(8);

/// Nested loops, with a use of every local in each: the worst case of the register allocator.
fn nested_loops(depth: usize, locals: usize) -> Vec<u8> {
    let mut instructions = Vec::new();
    for level in 0..depth {
        instructions.extend([0x03, 0x40]);
        instructions.extend(wasm::increment(level % locals));
    }
    for level in 0..depth {
        instructions.extend([vec![0x20], wasm::leb(level % locals), vec![0x0d, 0, 0x0b]].concat());
    }
    wasm::command(wasm::body(locals, &instructions))
}

fn empty_functions(count: usize) -> Vec<u8> {
    let code = wasm::code((0..count).map(|_| wasm::body(0, &[])));
    wasm::module(&[wasm::types(1), wasm::functions(count), wasm::start(), code])
}

#[tokio::test]
async fn a_module_that_compiles_for_ever_ends_at_the_deadline() {
    let memory = ample().compile_memory_bytes;
    let bench = Bench::new(&SandboxConfig {
        compile_memory_bytes: memory,
        ..small()
    });
    let bomb = nested_loops(1500, 300);
    assert!(bomb.len() < 30_000, "{} bytes", bomb.len());
    let started = Instant::now();
    let limit = bench.limit(bomb.clone()).await;
    assert!(limit.ends_with("took longer than 2 s"), "{limit}");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    // The same bomb again costs nothing.
    let again = Instant::now();
    assert_eq!(bench.limit(bomb).await, limit);
    assert!(
        again.elapsed() < Duration::from_millis(500),
        "{:?}",
        again.elapsed()
    );
}

#[tokio::test]
async fn a_module_that_eats_memory_ends_at_the_memory_limit_and_the_host_does_not_grow() {
    let patient = ample().compile_timeout;
    let bench = Bench::new(&SandboxConfig {
        compile_timeout: patient,
        ..small()
    });
    let before = memory_kib("VmRSS:");
    let limit = bench.limit(wasm::loops_in_a_row(20_000, 1_000)).await;
    assert!(limit.ends_with("more than 300 MiB of memory"), "{limit}");
    let grown = memory_kib("VmHWM:").saturating_sub(before);
    assert!(grown < 128 * 1024, "the host grew by {grown} KiB");
}

#[tokio::test]
async fn counts_beyond_any_program_are_refused_before_compiling() {
    let bench = Bench::new(&ample());
    let functions = bench.limit(empty_functions(200_001)).await;
    assert!(
        functions.contains("200001 functions; at most 200000 are accepted"),
        "{functions}"
    );

    let chain = wasm::items(1, (0..100_000_usize).map(type_of_previous));
    let types = bench.limit(wasm::module(&[chain])).await;
    assert!(types.contains("100000 types"), "{types}");

    let long = wasm::body(0, &vec![0x01; 8_000_000]);
    let body = bench.refusal_or_limit(wasm::command(long)).await;
    assert!(
        body.contains("size") || body.contains("bytes long"),
        "{body}"
    );

    let deep = b"\0asm\x0d\0\x01\0".to_vec();
    let nested = (0..40).fold(deep.clone(), |inner, _| {
        [deep.clone(), wasm::section(4, &inner)].concat()
    });
    let depth = bench.limit(nested).await;
    assert!(depth.contains("more than 16 deep"), "{depth}");
}

/// A function type whose parameter is a reference to the type before it.
fn type_of_previous(number: usize) -> Vec<u8> {
    match number.checked_sub(1) {
        None => vec![0x60, 0, 0],
        Some(previous) => [vec![0x60, 1, 0x63], wasm::leb(previous), vec![0]].concat(),
    }
}

#[tokio::test]
async fn a_hundred_thousand_functions_compile_or_end_at_the_deadline() {
    let bench = Bench::new(&small());
    let started = Instant::now();
    match bench.compile(empty_functions(100_000)).await {
        Ok(_) | Err(Limit(_)) => {}
        Err(error) => panic!("{error}"),
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_huge_custom_section_is_carried_but_not_kept() {
    let bench = Bench::new(&ample());
    let name = [vec![5], b".junk".to_vec(), vec![0xaa; 32 << 20]].concat();
    let module = wasm::module(&[
        wasm::types(1),
        wasm::functions(1),
        wasm::start(),
        wasm::code([wasm::body(0, &[])].into_iter()),
        wasm::section(0, &name),
    ]);
    let compiled = bench.compile(module).await.unwrap();
    let code_cache = bench.compiler.code_cache();
    let path = code_cache.verified(&compiled.digest, EngineClass::Fast);
    let bytes = std::fs::metadata(path.unwrap().unwrap()).unwrap().len();
    assert!(bytes < 1 << 20, "{bytes}");
}

#[tokio::test]
async fn text_bombs_end_at_a_limit() {
    let bench = Bench::new(&small());
    let deep = format!("(module {}", "(".repeat(1_000_000));
    let why = bench.refusal(deep).await;
    assert!(why.contains("its text cannot be read"), "{why}");
    let folded = format!("(module (func {}", "(block ".repeat(1_000_000));
    assert!(!bench.refusal_or_limit(folded).await.is_empty());
    let long = format!("(module {})", " ".repeat(17 << 20));
    let which = bench.limit(long).await;
    assert!(which.contains("16777216 are accepted"), "{which}");
}

impl Bench {
    async fn refusal_or_limit(&self, wasm: impl Into<Vec<u8>>) -> String {
        match self.compile(wasm).await {
            Err(Refused(why) | Limit(why)) => why,
            other => panic!("accepted or failed: {other:?}"),
        }
    }
}

/// A line of this process's memory accounting.
fn memory_kib(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let value = status.lines().find_map(|l| l.strip_prefix(line));
    let kib = value.and_then(|v| v.trim().trim_end_matches(" kB").parse().ok());
    kib.expect("a number of kB")
}
