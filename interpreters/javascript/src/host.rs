//! The native functions the prelude builds on: streams, clocks, randomness, bytes and text.

use std::cell::Cell;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::time::Instant;

use rquickjs::prelude::Rest;
use rquickjs::{Array, Ctx, Function, Object, Persistent, TypedArray, Value, qjs};
use sha2::Digest;

use crate::{engine, files, requests};

thread_local! {
    static STARTED: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The state of Math.random's generator; `None` until the run first asks, so that no seed is
    /// ever part of the snapshot.
    static RANDOM: Cell<Option<[u64; 2]>> = const { Cell::new(None) };
}

/// Starts, once a run, the state that must not come from the snapshot.
pub(crate) fn begin() {
    STARTED.set(Some(Instant::now()));
}

pub(crate) fn install<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<()> {
    let host = Object::new(ctx.clone())?;
    host.set("boot", Function::new(ctx.clone(), boot)?)?;
    host.set("exit", Function::new(ctx.clone(), exit)?)?;
    host.set("write", Function::new(ctx.clone(), write_text)?)?;
    host.set("writeBytes", Function::new(ctx.clone(), write_bytes)?)?;
    host.set("now", Function::new(ctx.clone(), now_ms)?)?;
    host.set("random", Function::new(ctx.clone(), random_bytes)?)?;
    host.set(
        "mathRandom",
        Function::new(ctx.clone(), math_random)?.with_name("random")?,
    )?;
    host.set("utf8Encode", Function::new(ctx.clone(), utf8_encode)?)?;
    host.set("utf8Decode", Function::new(ctx.clone(), utf8_decode)?)?;
    host.set("utf8Boundary", Function::new(ctx.clone(), utf8_boundary)?)?;
    host.set("hash", Function::new(ctx.clone(), hash)?)?;
    host.set("memory", Function::new(ctx.clone(), memory)?)?;
    host.set("evaluate", Function::new(ctx.clone(), evaluate)?)?;
    host.set("file", Function::new(ctx.clone(), file)?)?;
    requests::install(ctx, &host)?;
    ctx.globals().set("__host", host)
}

fn boot<'js>(ctx: Ctx<'js>, prelude: Object<'js>) {
    let saved = engine::get().boot.set(Persistent::save(&ctx, prelude));
    assert!(saved.is_ok(), "the prelude is evaluated once");
}

/// Unwinds the script with an error that its `catch` and `finally` blocks do not see.
fn exit(ctx: Ctx<'_>, code: i32) -> rquickjs::Result<()> {
    engine::get().exit.set(Some(code));
    let error = rquickjs::Exception::from_message(ctx.clone(), "exit")?.into_value();
    // SAFETY: both pointers belong to the context that is calling, and the error is alive.
    unsafe { qjs::JS_SetUncatchableError(ctx.as_raw().as_ptr(), error.as_raw()) };
    Err(ctx.throw(error))
}

fn write_text(fd: i32, text: String) {
    write_all(fd, text.as_bytes());
}

fn write_bytes(fd: i32, bytes: TypedArray<'_, u8>) {
    write_all(fd, &copied(&bytes));
}

/// Writes straight to the descriptor, so that the output of a killed script has left the guest.
/// Output to a stream that the host has closed is lost, as with a broken pipe elsewhere.
pub(crate) fn write_all(fd: i32, bytes: &[u8]) {
    // SAFETY: 1 and 2 are open for as long as the instance lives, and ManuallyDrop keeps them so.
    let mut stream = ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(fd) });
    drop(stream.write_all(bytes));
}

/// A copy, so that no Rust code looks into a buffer that a script could detach or resize.
pub(crate) fn copied(array: &TypedArray<'_, u8>) -> Vec<u8> {
    // SAFETY: the array is alive and no script code runs while its bytes are copied.
    array
        .as_raw()
        .map_or_else(Vec::new, |raw| unsafe { raw.as_ref() }.to_vec())
}

fn now_ms() -> f64 {
    STARTED
        .get()
        .map_or(0.0, |started| started.elapsed().as_secs_f64() * 1000.0)
}

fn random_bytes<'js>(ctx: Ctx<'js>, length: usize) -> rquickjs::Result<Value<'js>> {
    let mut bytes = vec![0; length];
    if getrandom::fill(&mut bytes).is_err() {
        return Err(rquickjs::Exception::throw_message(
            &ctx,
            "the host gave no random bytes",
        ));
    }
    TypedArray::new(ctx, bytes).map(TypedArray::into_value)
}

/// xoroshiro128+, seeded from WASI's randomness at the first call of a run. QuickJS's own generator
/// would continue from the snapshot and give every run the same numbers.
fn math_random() -> f64 {
    let [a, b] = RANDOM.get().unwrap_or_else(seed);
    let sum = a.wrapping_add(b);
    let mixed = a ^ b;
    RANDOM.set(Some([
        a.rotate_left(24) ^ mixed ^ (mixed << 16),
        mixed.rotate_left(37),
    ]));
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in an f64")]
    let fraction = (sum >> 11) as f64;
    fraction / 9_007_199_254_740_992.0
}

fn seed() -> [u64; 2] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("WASI always has randomness");
    let number = u128::from_le_bytes(bytes) | 1;
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are split")]
    [number as u64, (number >> 64) as u64]
}

fn utf8_encode<'js>(ctx: Ctx<'js>, text: String) -> rquickjs::Result<Value<'js>> {
    TypedArray::new(ctx, text.into_bytes()).map(TypedArray::into_value)
}

/// The text, or null where `fatal` is asked for and the bytes are not UTF-8.
fn utf8_decode(bytes: TypedArray<'_, u8>, fatal: bool) -> Option<String> {
    if fatal {
        return String::from_utf8(copied(&bytes)).ok();
    }
    Some(String::from_utf8_lossy(&copied(&bytes)).into_owned())
}

/// The number of bytes that form whole characters, without one that a stream has yet to complete.
fn utf8_boundary(bytes: TypedArray<'_, u8>) -> usize {
    let bytes = copied(&bytes);
    match std::str::from_utf8(&bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Ok(_) | Err(_) => bytes.len(),
    }
}

fn hash<'js>(
    ctx: Ctx<'js>,
    algorithm: String,
    bytes: TypedArray<'js, u8>,
) -> rquickjs::Result<Value<'js>> {
    let bytes = copied(&bytes);
    let digest = match algorithm.as_str() {
        "sha256" => sha2::Sha256::digest(&bytes).to_vec(),
        "sha512" => sha2::Sha512::digest(&bytes).to_vec(),
        "sha1" => sha1::Sha1::digest(&bytes).to_vec(),
        "md5" => md5::Md5::digest(&bytes).to_vec(),
        unknown => unreachable!("the prelude offers no digest named {unknown}"),
    };
    TypedArray::new(ctx, digest).map(TypedArray::into_value)
}

fn memory<'js>(ctx: Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let bytes = core::arch::wasm32::memory_size(0) * 65536;
    let usage = Object::new(ctx)?;
    for name in ["rss", "heapTotal", "heapUsed"] {
        usage.set(name, bytes)?;
    }
    Ok(usage)
}

fn evaluate<'js>(ctx: Ctx<'js>, source: String, file: String) -> rquickjs::Result<Value<'js>> {
    let mut options = rquickjs::context::EvalOptions::default();
    options.strict = false;
    options.filename = Some(file);
    ctx.eval_with_options(source, options)
}

fn file<'js>(
    ctx: Ctx<'js>,
    operation: String,
    arguments: Rest<Value<'js>>,
) -> rquickjs::Result<Array<'js>> {
    files::call(&ctx, &operation, arguments.0)
}
