//! The one QuickJS context of an instance: its set-up for the snapshot, and the state that a run
//! keeps beside it. It knows nothing about requests.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;

use rquickjs::{Context, Ctx, Function, Object, Persistent, Runtime, Value};

use crate::{event_loop, heap, host, json, modules};

const PRELUDE: &str = include_str!(env!("COFFERDAM_PRELUDE"));

/// The globals of the language that the prelude uses.
const INTRINSICS: &str = "AggregateError, Array, ArrayBuffer, BigInt, BigInt64Array, \
    BigUint64Array, Boolean, DataView, Date, Error, EvalError, Float32Array, Float64Array, \
    Function, Int16Array, Int32Array, Int8Array, Iterator, JSON, Map, Math, Number, Object, Promise, \
    Proxy, RangeError, ReferenceError, Reflect, RegExp, Set, String, Symbol, SyntaxError, \
    TypeError, URIError, Uint16Array, Uint32Array, Uint8Array, Uint8ClampedArray, WeakMap, \
    WeakRef, WeakSet, decodeURIComponent, encodeURIComponent, isFinite, isNaN, parseFloat, \
    parseInt";

/// QuickJS throws `RangeError: Maximum call stack size exceeded` at this depth. It measures the
/// stack in linear memory (1 MiB, see build.rs). The host's guest stack fills about twice as fast,
/// and this must stay within 512 KiB of it.
const MAX_STACK_BYTES: usize = 560 * 1024;

/// Garbage collection waits until a script has allocated this much on top of the prelude.
const GC_HEADROOM_BYTES: usize = 8 << 20;

/// The largest hole in the heap that is filled, and more than the size of all holes together.
const HOLE_MAX: usize = 16 * 1024;
const BEHIND: usize = 1 << 20;

/// Fills the holes in QuickJS's arenas of small blocks with objects of every small size.
const FILLING: &str = "Array.from({ length: 600 }, (_, i) => [
  {}, [i, i], () => i, 'x'.repeat(1 + (i % 120)), { [`k${i}`]: i }, new Map(), Symbol(), i + 0.5,
  { a: i, b: i, c: i, d: i }, new Array(1 + (i % 40)).fill(i), new Date(0), /x/,
]);";

pub(crate) struct Engine {
    pub(crate) context: Context,
    /// The prelude's functions for this half, handed over once through `host.boot`.
    pub(crate) boot: OnceCell<Persistent<Object<'static>>>,
    pub(crate) exit: Cell<Option<i32>>,
    /// Calls so far: more than one only in a session.
    pub(crate) calls: Cell<u32>,
    /// Promises rejected without a handler so far, with their reasons.
    pub(crate) rejections:
        RefCell<VecDeque<(Persistent<Value<'static>>, Persistent<Value<'static>>)>>,
}

/// The guest has one thread, so its state may be reached from anywhere.
struct OneThread(OnceCell<Engine>);

// SAFETY: the module is built without the threads proposal, so nothing is shared with another thread.
unsafe impl Sync for OneThread {}

static ENGINE: OneThread = OneThread(OnceCell::new());

/// Builds the heap that the snapshot holds. A failure here fails the build, never a run.
pub(crate) fn prepare() {
    let runtime = Runtime::new_with_alloc(heap::Heap).expect("QuickJS starts");
    runtime.set_max_stack_size(MAX_STACK_BYTES);
    runtime.set_loader(modules::Files, modules::Files);
    runtime.set_host_promise_rejection_tracker(Some(Box::new(event_loop::track_rejection)));
    let context = Context::full(&runtime).expect("a context has room");
    let engine = Engine {
        context,
        boot: OnceCell::new(),
        exit: Cell::new(None),
        calls: Cell::new(0),
        rejections: RefCell::new(VecDeque::new()),
    };
    assert!(ENGINE.0.set(engine).is_ok(), "prepared once");
    get().context.with(|ctx| {
        json::check_classes(&ctx);
        host::install(&ctx).expect("the native functions are defined");
        evaluate_prelude(&ctx);
    });
    runtime.run_gc();
    get().context.with(|ctx| {
        let filling: Value = ctx.eval(FILLING).expect("plain JavaScript");
        std::mem::forget(Persistent::save(&ctx, filling));
    });
    heap::prepared();
    fill_holes();
    let used = usize::try_from(runtime.memory_usage().malloc_size).unwrap_or(0);
    runtime.set_gc_threshold(used + GC_HEADROOM_BYTES);
    // The runtime lives as long as the instance, which is never torn down from inside.
    std::mem::forget(runtime);
}

/// Fills the free places of the snapshot's heap, so that a run's objects lie together behind it:
/// each page that a run writes to costs it a fault and a copy.
fn fill_holes() {
    let place = |size| {
        let layout = Layout::from_size_align(size, 8).expect("a small power of two");
        // SAFETY: the size is not zero, and the returned pointer is only compared.
        (unsafe { alloc(layout) }, layout)
    };
    let (behind, layout) = place(BEHIND);
    // SAFETY: it was allocated with this layout a moment ago.
    unsafe { dealloc(behind, layout) };
    for size in (8..=HOLE_MAX).rev().step_by(8) {
        loop {
            let (hole, layout) = place(size);
            if hole >= behind {
                // SAFETY: as above.
                unsafe { dealloc(hole, layout) };
                break;
            }
        }
    }
}

/// The prelude binds the language's globals to local names, so a script that declares a global of
/// the same name does not affect it.
fn evaluate_prelude(ctx: &Ctx<'_>) {
    let mut options = rquickjs::context::EvalOptions::default();
    options.filename = Some("cofferdam:prelude".to_owned());
    options.strict = true;
    let source = format!("(() => {{ const {{ {INTRINSICS} }} = globalThis;\n{PRELUDE}\n}})();");
    if ctx.eval_with_options::<(), _>(source, options).is_err() {
        let error = ctx.catch();
        let stack = error.as_exception().and_then(|error| error.stack());
        panic!("the prelude failed: {error:?} {stack:?}");
    }
}

pub(crate) fn get() -> &'static Engine {
    ENGINE
        .0
        .get()
        .expect("the module was built with a snapshot")
}

impl Engine {
    pub(crate) fn prelude<'js>(
        &self,
        ctx: &Ctx<'js>,
        name: &str,
    ) -> rquickjs::Result<Function<'js>> {
        let boot = self
            .boot
            .get()
            .expect("the prelude handed itself over")
            .clone();
        boot.restore(ctx)?.get(name)
    }
}
