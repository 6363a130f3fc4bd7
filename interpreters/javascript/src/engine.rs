//! The one QuickJS context of an instance: how it is set up for the snapshot, and the state that a
//! run keeps beside it. Nothing here knows about requests.

use std::cell::{Cell, OnceCell, RefCell};

use rquickjs::{Context, Ctx, Function, Object, Persistent, Runtime, Value};

use crate::{event_loop, host, modules};

const PRELUDE: &str = include_str!(env!("COFFERDAM_PRELUDE"));

/// QuickJS throws `RangeError: Maximum call stack size exceeded` here. It measures the stack in
/// linear memory (1 MiB, see build.rs); the host's own guest stack fills about twice as fast, and
/// 512 KiB of it is what this must stay within.
const MAX_STACK_BYTES: usize = 560 * 1024;

/// Garbage collection waits until a script has allocated this much on top of the prelude.
const GC_HEADROOM_BYTES: usize = 8 << 20;

pub(crate) struct Engine {
    pub(crate) context: Context,
    /// The prelude's functions for this half, handed over once through `host.boot`.
    pub(crate) boot: OnceCell<Persistent<Object<'static>>>,
    pub(crate) exit: Cell<Option<i32>>,
    /// Calls so far: more than one only in a session.
    pub(crate) calls: Cell<u32>,
    /// Promises rejected without a handler so far, with their reasons.
    pub(crate) rejections: RefCell<Vec<(Persistent<Value<'static>>, Persistent<Value<'static>>)>>,
}

/// The guest has one thread, so what lives in it may be reached from anywhere.
struct OneThread(OnceCell<Engine>);

// SAFETY: the module is built without the threads proposal, so nothing is shared with another thread.
unsafe impl Sync for OneThread {}

static ENGINE: OneThread = OneThread(OnceCell::new());

/// Builds the heap that the snapshot holds. A failure here fails the build, never a run.
pub(crate) fn prepare() {
    let runtime = Runtime::new().expect("QuickJS starts");
    runtime.set_max_stack_size(MAX_STACK_BYTES);
    runtime.set_loader(modules::Files, modules::Files);
    runtime.set_host_promise_rejection_tracker(Some(Box::new(event_loop::track_rejection)));
    let context = Context::full(&runtime).expect("a context has room");
    let engine = Engine {
        context,
        boot: OnceCell::new(),
        exit: Cell::new(None),
        calls: Cell::new(0),
        rejections: RefCell::new(Vec::new()),
    };
    assert!(ENGINE.0.set(engine).is_ok(), "prepared once");
    get().context.with(|ctx| {
        host::install(&ctx).expect("the native functions are defined");
        evaluate_prelude(&ctx);
    });
    runtime.run_gc();
    let used = usize::try_from(runtime.memory_usage().malloc_size).unwrap_or(0);
    runtime.set_gc_threshold(used + GC_HEADROOM_BYTES);
    // The runtime lives as long as the instance, which is never torn down from inside.
    std::mem::forget(runtime);
}

fn evaluate_prelude(ctx: &Ctx<'_>) {
    let mut options = rquickjs::context::EvalOptions::default();
    options.filename = Some("cofferdam:prelude".to_owned());
    options.strict = true;
    if ctx.eval_with_options::<(), _>(PRELUDE, options).is_err() {
        panic!("the prelude failed: {:?}", ctx.catch());
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
