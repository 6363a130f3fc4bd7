//! The pages of the snapshot that nearly every run writes to.
//!
//! A run shares the snapshot's pages with all others until it writes to one; that costs it a fault
//! and a copy, and on every other core of the machine an interrupt. Between two runs the host
//! restores written pages in place and keeps them, but only for 32 separate stretches of memory
//! (wasmtime's `MAX_REGIONS`); the pages behind those start shared again every time. So the build
//! finds the pages that rehearsals write to and joins them to fewer stretches, and a run touches
//! all of them at its start. In a slot that is used again this costs almost nothing, and the pages
//! are already private to the run.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::envelope::Request;
use crate::execute::execute;

const PAGE_BYTES: u32 = 4096;

/// The most stretches: half of what the host keeps, because pages between them that other scripts
/// once wrote to are kept and count as well.
const STRETCHES_MAX: usize = 16;

/// First page and number of pages of each stretch; written by the build, and all zero before.
static STRETCHES: [[AtomicU32; 2]; STRETCHES_MAX] =
    [const { [const { AtomicU32::new(0) }; 2] }; STRETCHES_MAX];

/// Scripts that do the usual things.
const SCRIPTS: &[&str] = &[
    "console.log(1)",
    "console.log('a', 1.5, [1, [2]], { b: null }); 1 + 1",
    r#"const d = JSON.parse('{"a":[1,2.5,"x",null,true]}'); d.b = d.a.length; JSON.stringify(d, null, 1)"#,
    r"'abc 12 def 3'.replace(/(\w+) (\d+)/g, '$2 $1').split(' ').map((w) => w.toUpperCase())",
    "function f(n) { return n < 2 ? n : f(n - 1) + f(n - 2); } [1, 2, 3, 8].map(f)",
    "class P { constructor(x) { this.x = x; } toString() { return `P(${this.x})`; } } console.log([new P(2), new P(1)].sort((a, b) => a.x - b.x).join())",
    "const m = new Map(); for (const c of 'banana') m.set(c, (m.get(c) ?? 0) + 1); Object.fromEntries(m)",
    "await new Promise((resolve) => setTimeout(resolve, 0)); Math.random() + Date.now()",
    "throw new TypeError('no')",
    "let x =",
];

/// Makes the pages private to this instance.
pub(crate) fn take() {
    for [first, count] in &STRETCHES {
        let first = first.load(Ordering::Relaxed);
        for page in first..first + count.load(Ordering::Relaxed) {
            let byte = (page * PAGE_BYTES) as *mut u8;
            // SAFETY: the build saw this page written to, or pages before and behind it, so it is
            // memory of this instance and not the first page; the byte stays as it is, and nothing
            // else runs meanwhile.
            unsafe { byte.write_volatile(byte.read_volatile()) };
        }
    }
}

/// Runs one of the scripts, called by the build in an instance that is thrown away.
#[unsafe(export_name = "rehearse")]
extern "C" fn rehearse(script: usize) {
    let body = serde_json::json!({ "code": SCRIPTS[script], "stdin": "a\n" }).to_string();
    let request = Request::parse(body.as_bytes()).expect("a request");
    drop(execute(&request).into_json());
}

/// How many scripts there are.
#[unsafe(export_name = "rehearsals")]
extern "C" fn rehearsals() -> usize {
    SCRIPTS.len()
}

/// The place where the build writes the stretches, and the most that there can be.
#[unsafe(export_name = "usual_pages")]
extern "C" fn usual_pages() -> *const [AtomicU32; 2] {
    STRETCHES.as_ptr()
}

#[unsafe(export_name = "usual_pages_max")]
extern "C" fn usual_pages_max() -> usize {
    STRETCHES_MAX
}
