//! One run: evaluates the script, runs the event loop until it is idle, and returns how the run
//! ended.

use rquickjs::promise::PromiseState;
use rquickjs::{Ctx, FromJs, Function, Object, Promise, Value};

use crate::envelope::{Answer, Mode, Request};
use crate::event_loop::{Stop, caught, run_until_idle, take_own_error};
use crate::json::{self, NoJson};
use crate::script::{self, file_name};
use crate::{engine, files, host};

enum Ending<'js> {
    Value(Value<'js>),
    Unsettled,
}

pub(crate) fn execute(request: &Request) -> Answer {
    engine::get().context.with(|ctx| {
        let begun = begin(&ctx, request).and_then(|()| script::text(&ctx, request));
        let (code, ended) = match begun {
            Err(stop) => (request.code.clone(), Err(stop)),
            Ok(code) => {
                let ended = match request.mode {
                    Mode::Check => check(&ctx, &code),
                    Mode::Exec | Mode::Script | Mode::Session => evaluate(&ctx, request, &code)
                        .and_then(|ending| finish(&ctx, ending, request.mode)),
                };
                (code, ended)
            }
        };
        match ended {
            Ok(answer) => answer,
            Err(Stop::Exit(code)) => Answer::exited(code),
            Err(Stop::Threw(thrown)) => {
                let answer = report(&ctx, thrown, &code);
                match request.mode {
                    Mode::Session | Mode::Check => answer,
                    Mode::Exec | Mode::Script => exiting(&ctx, answer),
                }
            }
        }
    })
}

fn begin<'js>(ctx: &Ctx<'js>, request: &Request) -> Result<(), Stop<'js>> {
    let engine = engine::get();
    let first = engine.calls.get() == 0;
    if first {
        host::begin();
    }
    engine.calls.set(engine.calls.get() + 1);
    engine.exit.set(None);
    engine.rejections.borrow_mut().clear();
    if request.mode == Mode::Session && !first {
        ask::<()>(ctx, "endCall", ())?;
    }
    let stdin = request.stdin.as_str();
    ask::<()>(
        ctx,
        "begin",
        (
            request.args.clone(),
            stdin,
            file_name(),
            first,
            request.network,
        ),
    )?;
    put(ctx, request).map_err(|_| caught(ctx))
}

/// Calls a function of the prelude.
fn ask<'js, T: FromJs<'js>>(
    ctx: &Ctx<'js>,
    name: &str,
    arguments: impl rquickjs::function::IntoArgs<'js>,
) -> Result<T, Stop<'js>> {
    engine::get()
        .prelude(ctx, name)
        .and_then(|function| function.call(arguments))
        .map_err(|_| caught(ctx))
}

/// Writes the files of a session's call; they count against the sandbox's quota.
fn put(ctx: &Ctx<'_>, request: &Request) -> rquickjs::Result<()> {
    for (name, content) in &request.files {
        if let Err(error) = files::put(name, content) {
            let message = format!("{name}: {error}");
            return Err(rquickjs::Exception::throw_message(ctx, &message));
        }
    }
    Ok(())
}

/// The script's declarations, if its text is valid. The script does not run.
fn check<'js>(ctx: &Ctx<'js>, code: &str) -> Result<Answer, Stop<'js>> {
    let (_, code) = script::compile(ctx, code.to_owned(), Mode::Check)?;
    let declared: Option<String> = ask(ctx, "declared", (code,))?;
    Ok(Answer::completed(declared, None))
}

fn evaluate<'js>(ctx: &Ctx<'js>, request: &Request, code: &str) -> Result<Ending<'js>, Stop<'js>> {
    let input = match (request.mode, &request.input) {
        (Mode::Script, Some(input)) => ctx.json_parse(input.get()).map_err(|_| caught(ctx))?,
        (Mode::Script, None) => Value::new_null(ctx.clone()),
        (Mode::Exec | Mode::Check | Mode::Session, _) => Value::new_undefined(ctx.clone()),
    };
    if request.mode == Mode::Script {
        ctx.globals()
            .set("input", input.clone())
            .map_err(|_| caught(ctx))?;
    }
    let (compiled, code) = script::compile(ctx, code.to_owned(), request.mode)?;
    if request.mode == Mode::Session {
        ask::<()>(ctx, "beginCall", ())?;
    }
    let promise = compiled.run().map_err(|_| caught(ctx))?;
    take_own_error(ctx, &promise)?;
    run_until_idle(ctx, Some(&promise))?;
    let value = match promise.result::<Object>() {
        None => return Ok(Ending::Unsettled),
        Some(Ok(completion)) => completion.get("value").map_err(|_| caught(ctx))?,
        // The script handled its own error; otherwise the loop would have ended with it.
        Some(Err(_)) => {
            ctx.catch();
            return Ok(Ending::Value(Value::new_undefined(ctx.clone())));
        }
    };
    if request.mode == Mode::Script
        && let Some(run) = defined_run(ctx)?
    {
        let value = run.call((input,)).map_err(|_| caught(ctx))?;
        return awaited(ctx, value);
    }
    let value = choose(ctx, value, &code, request.mode)?;
    awaited(ctx, value)
}

/// `run`, however the script declared or exported it.
fn defined_run<'js>(ctx: &Ctx<'js>) -> Result<Option<Function<'js>>, Stop<'js>> {
    let run: Value = lookup(ctx, "typeof run === 'function' ? run : undefined")?;
    if run.is_function() {
        return Ok(run.into_function());
    }
    for exported in ["exportedRun", "exportedValue"] {
        let run: Value = ask(ctx, exported, ())?;
        if run.is_function() {
            return Ok(run.into_function());
        }
    }
    Ok(None)
}

/// Reads a global of the script's, declarations by let and const included.
fn lookup<'js>(ctx: &Ctx<'js>, expression: &str) -> Result<Value<'js>, Stop<'js>> {
    let mut options = rquickjs::context::EvalOptions::default();
    options.strict = false;
    options.filename = Some("cofferdam:lookup".to_owned());
    ctx.eval_with_options(expression, options)
        .map_err(|_| caught(ctx))
}

/// The value of the last expression, or of the variable `result` if the last statement is not an
/// expression.
fn choose<'js>(
    ctx: &Ctx<'js>,
    value: Value<'js>,
    code: &str,
    mode: Mode,
) -> Result<Value<'js>, Stop<'js>> {
    let result: Value = if code.contains("export") {
        ask(ctx, "exportedValue", ())?
    } else {
        Value::new_undefined(ctx.clone())
    };
    let result = match mode {
        _ if !result.is_undefined() => result,
        Mode::Session => ask(ctx, "assignedResult", ())?,
        Mode::Exec | Mode::Script | Mode::Check if code.contains("result") => {
            lookup(ctx, "typeof result === 'undefined' ? undefined : result")?
        }
        Mode::Exec | Mode::Script | Mode::Check => return Ok(value),
    };
    if result.is_undefined() {
        return Ok(value);
    }
    if value.is_undefined() {
        return Ok(result);
    }
    let ends_in_expression: bool = ask(ctx, "endsInExpression", (code,))?;
    Ok(if ends_in_expression { value } else { result })
}

/// If the value is a promise, the value that it was fulfilled with, once the loop is idle.
fn awaited<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Ending<'js>, Stop<'js>> {
    let Some(promise) = value.as_promise().cloned() else {
        return Ok(Ending::Value(value));
    };
    run_until_idle(ctx, Some(&promise))?;
    settled(ctx, &promise)
}

fn settled<'js>(ctx: &Ctx<'js>, promise: &Promise<'js>) -> Result<Ending<'js>, Stop<'js>> {
    match promise.state() {
        PromiseState::Pending => Ok(Ending::Unsettled),
        PromiseState::Resolved | PromiseState::Rejected => match promise.result::<Value>() {
            Some(Ok(value)) => Ok(Ending::Value(value)),
            Some(Err(_)) | None => Err(caught(ctx)),
        },
    }
}

/// Calls the script's exit listeners. A session goes on, so its listeners are not called.
fn finish<'js>(ctx: &Ctx<'js>, ending: Ending<'js>, mode: Mode) -> Result<Answer, Stop<'js>> {
    let value = match ending {
        Ending::Value(value) => value,
        Ending::Unsettled if mode == Mode::Session => return Ok(Answer::unsettled()),
        Ending::Unsettled => {
            // Node passes 0 to its listeners and exits with 13.
            ask::<()>(ctx, "emitExit", (0,))?;
            return Ok(Answer::unsettled());
        }
    };
    if mode != Mode::Session {
        loop {
            ask::<()>(ctx, "emitBeforeExit", ())?;
            if !run_until_idle(ctx, None)? {
                break;
            }
        }
        ask::<()>(ctx, "emitExit", ())?;
    }
    let exit_code: i32 = ask(ctx, "exitCode", ())?;
    if exit_code != 0 {
        return Err(Stop::Exit(exit_code));
    }
    present(ctx, value, mode)
}

/// Exit listeners hear of a failure. A listener may exit with another code, or throw again.
fn exiting(ctx: &Ctx<'_>, answer: Answer) -> Answer {
    match ask::<()>(ctx, "emitExit", (answer.exit_code(),)) {
        Ok(()) => match ask::<i32>(ctx, "exitCode", ()) {
            Ok(code) => answer.with_exit_code(code),
            Err(_) => answer,
        },
        Err(Stop::Exit(code)) => answer.with_exit_code(code),
        Err(Stop::Threw(thrown)) => report(ctx, thrown, ""),
    }
}

fn present<'js>(ctx: &Ctx<'js>, value: Value<'js>, mode: Mode) -> Result<Answer, Stop<'js>> {
    let unsaid = match json::text(ctx, value.clone()) {
        Ok(text) => return Ok(Answer::completed(Some(text), None)),
        Err(NoJson::Stop(stop)) => return Err(stop),
        Err(NoJson::Unsaid(unsaid)) => unsaid,
    };
    // Whoever calls a script gets JSON and nothing else.
    if mode == Mode::Script {
        return Ok(Answer::unsaid(unsaid.class, unsaid.message));
    }
    let shown = ask(ctx, "show", (value,))?;
    Ok(Answer::completed(None, Some(shown)))
}

fn report<'js>(ctx: &Ctx<'js>, thrown: Value<'js>, code: &str) -> Answer {
    let described = engine::get()
        .prelude(ctx, "report")
        .and_then(|report| report.call::<_, Object>((thrown.clone(), code, file_name())))
        .and_then(|parts| {
            Ok((
                parts.get("type")?,
                parts.get("message")?,
                parts.get("traceback")?,
            ))
        });
    let (class, message, traceback): (String, String, String) = described.unwrap_or_else(|_| {
        // Without the memory or stack to report the error, only its bare message is left.
        ctx.catch();
        let message = thrown
            .as_exception()
            .and_then(|exception| exception.message());
        let message = message.unwrap_or_else(|| "the error cannot be shown".to_owned());
        (
            "Error".to_owned(),
            message.clone(),
            format!("Error: {message}\n"),
        )
    });
    host::write_all(2, traceback.as_bytes());
    Answer::threw(class, message, traceback)
}
