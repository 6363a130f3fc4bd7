//! Turns the text of a request into a script that can run: it removes the marks around it, rewrites
//! a module or a session's call, and reports invalid text with the right position.

use rquickjs::{Ctx, Module, Object, Value};

use crate::compile::Compiled;
use crate::engine;
use crate::envelope::{Mode, Request};
use crate::event_loop::{Stop, caught, thrown};
use crate::types;

const MAIN: &str = "main.js";

/// The script's name in stacks, which differs between the calls of a session.
pub(crate) fn file_name() -> String {
    match engine::get().calls.get() {
        0 | 1 => MAIN.to_owned(),
        call => format!("main-{call}.js"),
    }
}

/// The text without the marks that editors and models put around it. Its lines keep their numbers.
pub(crate) fn text<'js>(ctx: &Ctx<'js>, request: &Request) -> Result<String, Stop<'js>> {
    let code = request
        .code
        .strip_prefix('\u{feff}')
        .unwrap_or(&request.code);
    if !code.trim_start().starts_with("```") {
        return Ok(code.to_owned());
    }
    engine::get()
        .prelude(ctx, "withoutFence")
        .and_then(|without| without.call((code,)))
        .map_err(|_| caught(ctx))
}

/// The script, and the text it was compiled from: without its types, if it has some.
pub(crate) fn compile<'js>(
    ctx: &Ctx<'js>,
    code: String,
    mode: Mode,
) -> Result<(Compiled<'js>, String), Stop<'js>> {
    let error = match compile_javascript(ctx, &code, mode) {
        Ok(compiled) => return Ok((compiled, code)),
        Err(Stop::Threw(error)) => error,
        Err(stop) => return Err(stop),
    };
    let Some(stripped) = types::strip(ctx, &code, &file_name())? else {
        return Err(Stop::Threw(error));
    };
    let compiled = match stripped {
        Ok(code) => compile_javascript(ctx, &code, mode).map(|compiled| (compiled, code)),
        Err(error) => Err(Stop::Threw(error)),
    };
    match compiled {
        // The text may be invalid JavaScript.
        Err(Stop::Threw(other)) => Err(Stop::Threw(further(ctx, error, other)?)),
        Ok(_) | Err(Stop::Exit(_)) => compiled,
    }
}

fn compile_javascript<'js>(
    ctx: &Ctx<'js>,
    code: &str,
    mode: Mode,
) -> Result<Compiled<'js>, Stop<'js>> {
    let file = file_name();
    if mode == Mode::Session {
        let text = engine::get()
            .prelude(ctx, "sessionText")
            .and_then(|text| text.call((code, file.as_str())));
        if let Some(script) = text.map_err(|_| caught(ctx))? {
            return compile_rewritten(ctx, &script, &file);
        }
    }
    match Compiled::new(ctx, code, &file, false) {
        Ok(compiled) => Ok(compiled),
        Err(_) => {
            let error = thrown(ctx)?;
            compile_otherwise(ctx, code, &file, error)
        }
    }
}

/// A text with import or export declarations is not a script: its declarations are rewritten first.
fn compile_otherwise<'js>(
    ctx: &Ctx<'js>,
    code: &str,
    file: &str,
    error: Value<'js>,
) -> Result<Compiled<'js>, Stop<'js>> {
    let words = ["import", "export", "return"];
    if !words.iter().any(|word| code.contains(word)) {
        return Err(Stop::Threw(error));
    }
    let script: Option<Object> = engine::get()
        .prelude(ctx, "rewrite")
        .and_then(|rewrite| rewrite.call((code, file, false)))
        .map_err(|_| caught(ctx))?;
    if let Some(script) = script {
        return compile_rewritten(ctx, &script, file);
    }
    if message(&error).is_some_and(|message| message.contains("return not in a function")) {
        let script: Object = engine::get()
            .prelude(ctx, "asBody")
            .and_then(|body| body.call((code, file)))
            .map_err(|_| caught(ctx))?;
        return compile_rewritten(ctx, &script, file);
    }
    // The text may be an invalid module: the module's error then names the position.
    if Module::declare(ctx.clone(), file, code).is_ok() {
        return Err(Stop::Threw(error));
    }
    let as_module = thrown(ctx)?;
    Err(Stop::Threw(further(ctx, error, as_module)?))
}

/// Of two errors about a text, the one of the parser that got further.
fn further<'js>(
    ctx: &Ctx<'js>,
    one: Value<'js>,
    other: Value<'js>,
) -> Result<Value<'js>, Stop<'js>> {
    engine::get()
        .prelude(ctx, "further")
        .and_then(|further| further.call((one, other)))
        .map_err(|_| caught(ctx))
}

fn message(error: &Value<'_>) -> Option<String> {
    error.as_exception()?.message()
}

fn compile_rewritten<'js>(
    ctx: &Ctx<'js>,
    script: &Object<'js>,
    file: &str,
) -> Result<Compiled<'js>, Stop<'js>> {
    let parts = || Ok((script.get("text")?, script.get("strict")?));
    let (text, strict): (String, bool) = parts().map_err(|_: rquickjs::Error| caught(ctx))?;
    Compiled::new(ctx, &text, file, strict).map_err(|_| caught(ctx))
}
