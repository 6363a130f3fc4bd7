//! Accepted modules and their kinds; refused modules and the messages.

use cofferdam_domain::module::{Digest, ModuleKind};
use cofferdam_sandbox::{CompileError, EngineClass};
use sha2::Digest as _;

use super::{Bench, ample, wasm};

/// A component that imports and exports instances of these names.
fn component(imports: &[&str], exports: &[&str]) -> String {
    let imports: String = imports
        .iter()
        .map(|name| format!("(import \"{name}\" (instance))\n"))
        .collect();
    let exports: String = exports
        .iter()
        .map(|name| {
            format!(
                "(instance $i{0} ) (export \"{name}\" (instance $i{0}))\n",
                name.len()
            )
        })
        .collect();
    format!("(component {imports} {exports})")
}

const RUN: &str = "wasi:cli/run@0.2.6";

#[tokio::test]
async fn the_three_kinds_are_told_apart() {
    let bench = Bench::new(&ample());
    let task = bench
        .compile(component(
            &[
                "wasi:io/poll@0.2.0",
                "cofferdam:task/context@0.1.0",
                "wasi:sockets/tcp@0.2.12",
            ],
            &["cofferdam:task/handler@0.1.0"],
        ))
        .await
        .unwrap();
    assert_eq!(task.kind, ModuleKind::Task);
    assert_eq!(
        task.imports,
        [
            "cofferdam:task/context@0.1.0",
            "wasi:io/poll@0.2.0",
            "wasi:sockets/tcp@0.2.12"
        ]
    );
    assert_eq!(task.needs, ["network"]);

    let command = bench.compile(component(&[], &[RUN])).await.unwrap();
    assert_eq!(
        (command.kind, command.needs.len()),
        (ModuleKind::Command, 0)
    );

    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
        (memory (export "memory") 1)
        (func (export "_start")))"#;
    let core = bench.compile(text).await.unwrap();
    assert_eq!(core.kind, ModuleKind::CoreCommand);
    assert_eq!(core.size_bytes, text.len() as u64);
    let imports = [
        "wasi_snapshot_preview1.fd_write",
        "wasi_snapshot_preview1.proc_exit",
    ];
    assert_eq!(core.imports, imports);
    // The digest is that of the bytes as they came, text or not.
    assert_eq!(core.digest, digest_of(text.as_bytes()));
    let binary = wat::parse_str(text).unwrap();
    assert_eq!(
        bench.compile(binary.clone()).await.unwrap().digest,
        digest_of(&binary)
    );
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_bytes(sha2::Sha256::digest(bytes).into())
}

#[tokio::test]
async fn each_class_has_its_own_code() {
    let bench = Bench::new(&ample());
    let module = wasm::command(wasm::body(0, &[]));
    for class in EngineClass::ALL {
        let compiled = bench
            .compiler
            .compile(module.clone().into(), class, 0)
            .await
            .unwrap();
        let path = bench
            .compiler
            .code_cache()
            .verified(&compiled.digest, class)
            .unwrap()
            .unwrap();
        let kind = wasmtime::Engine::detect_precompiled_file(&path).unwrap();
        assert!(matches!(kind, Some(wasmtime::Precompiled::Module)));
    }
    let files = std::fs::read_dir(bench.dir.path().join("compiled"))
        .unwrap()
        .count();
    let expected = 2 * EngineClass::ALL.len() + 1;
    assert_eq!(files, expected, "code and a seal each, and the key");
}

#[tokio::test]
async fn a_refusal_says_what_is_wrong() {
    let bench = Bench::new(&ample());
    let component = |imports: &[&str], exports: &[&str]| component(imports, exports).into_bytes();
    let cases: [(Vec<u8>, &str); 22] = [
        (Vec::new(), "empty"),
        (b"#!/bin/sh\necho hello\n".to_vec(), "neither a WebAssembly binary nor"),
        (vec![0xff; 100], "neither a WebAssembly binary nor"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0".to_vec(), "ELF"),
        (b"(module (func".to_vec(), "its text cannot be read"),
        (b"\0asm\x07\0\0\0".to_vec(), "not valid WebAssembly"),
        (b"(module)".to_vec(), "no _start"),
        (b"(module (func (export \"_initialize\")))".to_vec(), "library"),
        (b"(module (func (export \"_start\") (param i32)))".to_vec(), "_start is not a function"),
        (b"(module (memory (export \"_start\") 1))".to_vec(), "_start is not a function"),
        (b"(module (import \"env\" \"memory\" (memory 1)))".to_vec(), "env.memory (a memory)"),
        (b"(module (import \"env\" \"puts\" (func)))".to_vec(), "env.puts"),
        (b"(module (import \"wasi_unstable\" \"fd_read\" (func)))".to_vec(), "older WASI"),
        (
            b"(module (import \"wasi_snapshot_preview1\" \"fd_read\" (func)))".to_vec(),
            "fd_read (its type is not the one in WASI)",
        ),
        (
            b"(module (import \"wasi_snapshot_preview1\" \"fork\" (func)))".to_vec(),
            "fork (not a function of WASI 0.1)",
        ),
        (
            b"(module (memory 1 1 shared) (func (export \"_start\")))".to_vec(),
            "threads must be enabled",
        ),
        (b"(module (func (export \"_start\") i32.add))".to_vec(), "type mismatch"),
        (component(&[], &[]), "exports no interface"),
        (component(&[], &["wasi:cli/run@0.3.0"]), "it exports wasi:cli/run@0.3.0"),
        (component(&["wasi:http/incoming-handler@0.2.0"], &[RUN]), "no requests come in"),
        (component(&["wasi:keyvalue/store@0.2.0"], &[RUN]), "wasi:keyvalue/store@0.2.0"),
        (
            b"(component (import \"f\" (func)) (instance $i) (export \"wasi:cli/run@0.2.0\" (instance $i)))"
                .to_vec(),
            "f (a function; only interfaces are provided)",
        ),
    ];
    for (module, expected) in cases {
        let why = bench.refusal(module).await;
        assert!(why.contains(expected), "{why:?} does not say {expected:?}");
    }
}

#[tokio::test]
async fn precompiled_code_is_refused() {
    let bench = Bench::new(&ample());
    let compiled = bench
        .compile(wasm::command(wasm::body(0, &[])))
        .await
        .unwrap();
    let path = bench
        .compiler
        .code_cache()
        .verified(&compiled.digest, EngineClass::Fast)
        .unwrap()
        .unwrap();
    let why = bench.refusal(std::fs::read(path).unwrap()).await;
    assert!(why.contains(".cwasm"), "{why}");
}

#[tokio::test]
async fn broken_modules_are_refused_or_work_but_never_crash_the_compiler() {
    let bench = Bench::new(&ample());
    let whole = wat::parse_str(
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1) (data (i32.const 8) "hello") (table 3 funcref)
            (elem (i32.const 0) $exit)
            (func (export "_start") (local i32) i32.const 3 local.set 0
              (loop local.get 0 i32.eqz if local.get 0 call $exit end)))"#,
    )
    .unwrap();
    for length in (8..whole.len()).step_by(9) {
        bench.refusal(&whole[..length]).await;
    }
    for at in (8..whole.len()).step_by(7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x15;
        match bench.compile(flipped).await {
            Ok(_) | Err(CompileError::Refused(_)) => {}
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}
