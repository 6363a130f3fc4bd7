//! One run: evaluate the script, let the event loop run idle, and say how it ended.

use rquickjs::context::EvalOptions;
use rquickjs::promise::PromiseState;
use rquickjs::{Ctx, Function, Object, Promise, Value};

use crate::engine;
use crate::envelope::{Answer, Mode, Request};
use crate::event_loop::{Stop, caught, run_until_idle};
use crate::{files, host};

const MAIN: &str = "main.js";

enum Ending<'js> {
    Value(Value<'js>),
    Unsettled,
}

pub(crate) fn execute(request: &Request) -> Answer {
    engine::get().context.with(|ctx| {
        let ended = begin(&ctx, request).and_then(|()| match request.mode {
            Mode::Check => check(&ctx, &request.code),
            Mode::Exec | Mode::Script | Mode::Session => {
                evaluate(&ctx, request).and_then(|ending| finish(&ctx, ending, request.mode))
            }
        });
        match ended {
            Ok(answer) => answer,
            Err(Stop::Exit(code)) => Answer::exited(code),
            Err(Stop::Threw(thrown)) => report(&ctx, thrown, &request.code),
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
    let begin = engine.prelude(ctx, "begin").map_err(|_| caught(ctx))?;
    begin
        .call::<_, ()>((request.args.clone(), request.stdin.as_str(), first))
        .map_err(|_| caught(ctx))?;
    put(ctx, request).map_err(|_| caught(ctx))
}

/// Writes the files that a call of a session brings; the sandbox's quota is the guest's.
fn put(ctx: &Ctx<'_>, request: &Request) -> rquickjs::Result<()> {
    for (name, content) in &request.files {
        if let Err(error) = files::put(name, content) {
            let message = format!("{name}: {error}");
            return Err(rquickjs::Exception::throw_message(ctx, &message));
        }
    }
    Ok(())
}

/// What stacks call the script: the calls of a session are told apart.
fn file_name() -> String {
    match engine::get().calls.get() {
        0 | 1 => MAIN.to_owned(),
        call => format!("main-{call}.js"),
    }
}

/// What the script says of itself, if it is sound. A text is parsed to its end before its first
/// statement is run, and that one ends it here; its functions exist by then and may hide the
/// platform's, so what it says is read before.
fn check<'js>(ctx: &Ctx<'js>, code: &str) -> Result<Answer, Stop<'js>> {
    let declared = engine::get()
        .prelude(ctx, "declared")
        .and_then(|declared| declared.call::<_, Option<String>>((code,)))
        .map_err(|_| caught(ctx));
    if start(ctx, &format!("throw null;{code}")).is_err() {
        // Once more as it is, so that the error says the right column.
        start(ctx, code)?;
    }
    Ok(Answer::completed(declared?, None))
}

fn evaluate<'js>(ctx: &Ctx<'js>, request: &Request) -> Result<Ending<'js>, Stop<'js>> {
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
    let promise = match request.mode {
        Mode::Exec | Mode::Script | Mode::Check => start(ctx, &request.code)?,
        Mode::Session => start(ctx, &redeclarable(ctx, &request.code)?)?,
    };
    run_until_idle(ctx)?;
    let Some(settled) = promise.result::<Object>() else {
        return Ok(Ending::Unsettled);
    };
    let value: Value = settled
        .and_then(|completion| completion.get("value"))
        .map_err(|_| caught(ctx))?;
    if request.mode == Mode::Script
        && let Some(run) = defined_run(ctx)?
    {
        let value = run.call((input,)).map_err(|_| caught(ctx))?;
        return awaited(ctx, value);
    }
    let value = choose(ctx, value, &request.code)?;
    awaited(ctx, value)
}

/// Text without declarations that a later call could not repeat.
fn redeclarable<'js>(ctx: &Ctx<'js>, code: &str) -> Result<String, Stop<'js>> {
    let asked = |name: &str| engine::get().prelude(ctx, name).map_err(|_| caught(ctx));
    if !["let", "const", "class", "import", "export"]
        .iter()
        .any(|word| code.contains(word))
    {
        return Ok(code.to_owned());
    }
    let script: Option<String> = asked("moduleAsScript")?
        .call((code,))
        .map_err(|_| caught(ctx))?;
    asked("redeclarable")?
        .call((script.as_deref().unwrap_or(code),))
        .map_err(|_| caught(ctx))
}

/// Evaluates the script in the global scope with top-level await, which gives its completion value.
/// A text with import or export declarations is no script: its declarations are rewritten first.
fn start<'js>(ctx: &Ctx<'js>, code: &str) -> Result<Promise<'js>, Stop<'js>> {
    match evaluate_script(ctx, code) {
        Ok(promise) => Ok(promise),
        Err(_) => {
            let stop = caught(ctx);
            if !code.contains("import") && !code.contains("export") {
                return Err(stop);
            }
            let rewrite = engine::get()
                .prelude(ctx, "moduleAsScript")
                .map_err(|_| caught(ctx))?;
            match rewrite.call::<_, Option<String>>((code,)) {
                Ok(Some(script)) => evaluate_script(ctx, &script).map_err(|_| caught(ctx)),
                Ok(None) | Err(_) => Err(stop),
            }
        }
    }
}

fn evaluate_script<'js>(ctx: &Ctx<'js>, code: &str) -> rquickjs::Result<Promise<'js>> {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.promise = true;
    options.filename = Some(file_name());
    ctx.eval_with_options(code, options)
}

/// `run`, however the script declared or exported it.
fn defined_run<'js>(ctx: &Ctx<'js>) -> Result<Option<Function<'js>>, Stop<'js>> {
    let run: Value = lookup(ctx, "typeof run === 'function' ? run : undefined")?;
    if run.is_function() {
        return Ok(run.into_function());
    }
    let exported = engine::get()
        .prelude(ctx, "exportedRun")
        .map_err(|_| caught(ctx))?;
    let run: Value = exported.call(()).map_err(|_| caught(ctx))?;
    Ok(run.into_function())
}

/// Reads a global of the script's, declarations by let and const included.
fn lookup<'js>(ctx: &Ctx<'js>, expression: &str) -> Result<Value<'js>, Stop<'js>> {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some("cofferdam:lookup".to_owned());
    ctx.eval_with_options(expression, options)
        .map_err(|_| caught(ctx))
}

/// The value of the last expression, or of the variable `result` if the last statement is none.
fn choose<'js>(ctx: &Ctx<'js>, value: Value<'js>, code: &str) -> Result<Value<'js>, Stop<'js>> {
    if !code.contains("result") && !code.contains("export") {
        return Ok(value);
    }
    let result = lookup(ctx, "typeof result === 'undefined' ? undefined : result")?;
    if result.is_undefined() {
        return Ok(value);
    }
    if value.is_undefined() {
        return Ok(result);
    }
    let ends = engine::get()
        .prelude(ctx, "endsInExpression")
        .map_err(|_| caught(ctx))?;
    let ends_in_expression: bool = ends.call((code,)).map_err(|_| caught(ctx))?;
    Ok(if ends_in_expression { value } else { result })
}

/// A promise as the value stands for what it was fulfilled with, once the loop has run idle.
fn awaited<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Ending<'js>, Stop<'js>> {
    let Some(promise) = value.as_promise().cloned() else {
        return Ok(Ending::Value(value));
    };
    run_until_idle(ctx)?;
    match promise.state() {
        PromiseState::Pending => Ok(Ending::Unsettled),
        PromiseState::Resolved | PromiseState::Rejected => match promise.result::<Value>() {
            Some(Ok(value)) => Ok(Ending::Value(value)),
            Some(Err(_)) | None => Err(caught(ctx)),
        },
    }
}

fn finish<'js>(ctx: &Ctx<'js>, ending: Ending<'js>, mode: Mode) -> Result<Answer, Stop<'js>> {
    let engine = engine::get();
    let value = match ending {
        Ending::Value(value) => value,
        Ending::Unsettled => return Ok(Answer::unsettled()),
    };
    if mode != Mode::Session {
        let finish = engine.prelude(ctx, "finish").map_err(|_| caught(ctx))?;
        finish.call::<_, ()>(()).map_err(|_| caught(ctx))?;
    }
    let exit_code = engine
        .prelude(ctx, "exitCode")
        .and_then(|exit_code| exit_code.call(()));
    let exit_code: i32 = exit_code.map_err(|_| caught(ctx))?;
    if exit_code != 0 {
        return Err(Stop::Exit(exit_code));
    }
    Ok(present(ctx, value))
}

fn present<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> Answer {
    if value.is_undefined() {
        return Answer::completed(None, None);
    }
    let json = match ctx.json_stringify(value.clone()) {
        Ok(text) => text.and_then(|text| text.to_string().ok()),
        Err(_) => {
            ctx.catch();
            None
        }
    };
    // A Map or an Error has no JSON of its own; `{}` would pass for an empty object.
    if json.as_deref().is_some_and(|text| text != "{}") {
        return Answer::completed(json, None);
    }
    let shown: Option<String> = engine::get()
        .prelude(ctx, "show")
        .and_then(|show| show.call((value,)))
        .ok();
    if json.is_some() && shown.as_deref() == Some("{}") {
        return Answer::completed(json, None);
    }
    Answer::completed(None, shown)
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
        // Out of memory or of stack, even to say so: the bare message is what is left.
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
