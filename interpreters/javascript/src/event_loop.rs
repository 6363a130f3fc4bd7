//! The event loop: promise jobs first, then timers in the order they fall due, until nothing is
//! left to wait for. Timers really wait, on WASI's monotonic clock.

use std::time::Duration;

use rquickjs::{Ctx, Persistent, Value};

use crate::engine;

/// Why the loop ended before it ran idle.
pub(crate) enum Stop<'js> {
    Exit(i32),
    Threw(Value<'js>),
}

/// The pending exception, unless it is the one `process.exit` unwinds with.
pub(crate) fn caught<'js>(ctx: &Ctx<'js>) -> Stop<'js> {
    let thrown = ctx.catch();
    engine::get()
        .exit
        .get()
        .map_or(Stop::Threw(thrown), Stop::Exit)
}

pub(crate) fn run_until_idle<'js>(ctx: &Ctx<'js>) -> Result<(), Stop<'js>> {
    let engine = engine::get();
    let tick = engine.prelude(ctx, "tick").map_err(|_| caught(ctx))?;
    loop {
        while ctx.execute_pending_job() {
            if let Some(code) = engine.exit.get() {
                return Err(Stop::Exit(code));
            }
        }
        if let Some(reason) = first_rejection(ctx) {
            return Err(Stop::Threw(reason));
        }
        let delay_ms: f64 = tick.call(()).map_err(|_| caught(ctx))?;
        if delay_ms < 0.0 {
            return Ok(());
        }
        if delay_ms > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(delay_ms / 1000.0));
        }
    }
}

fn first_rejection<'js>(ctx: &Ctx<'js>) -> Option<Value<'js>> {
    let (_, reason) = engine::get().rejections.borrow_mut().drain(..).next()?;
    reason.restore(ctx).ok()
}

/// QuickJS calls this when a promise is rejected without a handler, and again when one comes late.
pub(crate) fn track_rejection<'js>(
    ctx: Ctx<'js>,
    promise: Value<'js>,
    reason: Value<'js>,
    handled: bool,
) {
    let mut rejections = engine::get().rejections.borrow_mut();
    if handled {
        rejections.retain(|(other, _)| {
            other
                .clone()
                .restore(&ctx)
                .map_or(true, |other| other != promise)
        });
    } else {
        rejections.push((
            Persistent::save(&ctx, promise),
            Persistent::save(&ctx, reason),
        ));
    }
}
