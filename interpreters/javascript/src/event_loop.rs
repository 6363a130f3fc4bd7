//! The event loop: next ticks, promise jobs, then timers in the order they fall due, until nothing
//! is left to wait for, answers to requests among it. Timers really wait, on WASI's monotonic clock.

use std::time::Duration;

use rquickjs::promise::PromiseState;
use rquickjs::{Ctx, Persistent, Promise, Value};

use crate::{engine, requests};

/// Why the loop ended before it ran idle.
pub(crate) enum Stop<'js> {
    Exit(i32),
    Threw(Value<'js>),
}

/// The pending exception, unless it is the one `process.exit` unwinds with.
pub(crate) fn caught<'js>(ctx: &Ctx<'js>) -> Stop<'js> {
    match thrown(ctx) {
        Ok(value) => Stop::Threw(value),
        Err(stop) => stop,
    }
}

/// The pending exception as a value.
pub(crate) fn thrown<'js>(ctx: &Ctx<'js>) -> Result<Value<'js>, Stop<'js>> {
    let thrown = ctx.catch();
    match engine::get().exit.get() {
        Some(code) => Err(Stop::Exit(code)),
        None => Ok(thrown),
    }
}

/// Runs the pending work, and says whether there was any. An uncaught error ends it, unless the
/// script listens for such errors; `main` is the promise of the script itself.
pub(crate) fn run_until_idle<'js>(
    ctx: &Ctx<'js>,
    main: Option<&Promise<'js>>,
) -> Result<bool, Stop<'js>> {
    let tick = engine::get()
        .prelude(ctx, "tick")
        .map_err(|_| caught(ctx))?;
    let mut worked = false;
    loop {
        worked |= settle(ctx)?;
        if let Some((promise, reason)) = next_rejection(ctx) {
            match main.is_some_and(|main| main.as_value() == &promise) {
                true => uncaught(ctx, reason, "uncaughtException")?,
                false => rejected(ctx, reason, promise)?,
            }
            worked = true;
            continue;
        }
        let requests = requests::are_awaited();
        let delay_ms: f64 = match tick.call((requests,)) {
            Ok(delay_ms) => delay_ms,
            Err(_) => {
                uncaught(ctx, thrown(ctx)?, "uncaughtException")?;
                0.0
            }
        };
        if delay_ms < 0.0 {
            return Ok(worked);
        }
        worked = true;
        if requests {
            requests::wait(ctx, delay_ms)?;
        } else if delay_ms > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(delay_ms / 1000.0));
        }
    }
}

/// The script's own error is handled before any work that it left for later.
pub(crate) fn take_own_error<'js>(ctx: &Ctx<'js>, main: &Promise<'js>) -> Result<(), Stop<'js>> {
    if main.state() != PromiseState::Rejected {
        return Ok(());
    }
    let mut rejections = engine::get().rejections.borrow_mut();
    let own = rejections.iter().position(|(promise, _)| {
        let promise = promise.clone().restore(ctx);
        promise.is_ok_and(|promise| &promise == main.as_value())
    });
    let own = own.and_then(|at| rejections.remove(at));
    drop(rejections);
    match own.and_then(|(_, reason)| reason.restore(ctx).ok()) {
        Some(reason) => uncaught(ctx, reason, "uncaughtException"),
        None => Ok(()),
    }
}

/// Next ticks and promise jobs, until there are none.
fn settle<'js>(ctx: &Ctx<'js>) -> Result<bool, Stop<'js>> {
    let engine = engine::get();
    let run_ticks = engine.prelude(ctx, "runTicks").map_err(|_| caught(ctx))?;
    let mut worked = false;
    loop {
        let mut ran = match run_ticks.call(()) {
            Ok(ran) => ran,
            Err(_) => {
                uncaught(ctx, thrown(ctx)?, "uncaughtException")?;
                true
            }
        };
        while ctx.execute_pending_job() {
            if let Some(code) = engine.exit.get() {
                return Err(Stop::Exit(code));
            }
            ran = true;
        }
        if !ran {
            return Ok(worked);
        }
        worked = true;
    }
}

/// An uncaught error ends the script, unless the script has a listener for it.
pub(crate) fn uncaught<'js>(
    ctx: &Ctx<'js>,
    error: Value<'js>,
    origin: &str,
) -> Result<(), Stop<'js>> {
    let taken = engine::get()
        .prelude(ctx, "takesUncaught")
        .and_then(|takes| takes.call((error.clone(), origin)));
    match taken.map_err(|_| caught(ctx))? {
        true => Ok(()),
        false => Err(Stop::Threw(error)),
    }
}

fn rejected<'js>(ctx: &Ctx<'js>, reason: Value<'js>, promise: Value<'js>) -> Result<(), Stop<'js>> {
    let taken = engine::get()
        .prelude(ctx, "takesRejection")
        .and_then(|takes| takes.call((reason.clone(), promise)));
    match taken.map_err(|_| caught(ctx))? {
        true => Ok(()),
        false => uncaught(ctx, reason, "unhandledRejection"),
    }
}

fn next_rejection<'js>(ctx: &Ctx<'js>) -> Option<(Value<'js>, Value<'js>)> {
    let (promise, reason) = engine::get().rejections.borrow_mut().pop_front()?;
    Some((promise.restore(ctx).ok()?, reason.restore(ctx).ok()?))
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
        rejections.push_back((
            Persistent::save(&ctx, promise),
            Persistent::save(&ctx, reason),
        ));
    }
}
