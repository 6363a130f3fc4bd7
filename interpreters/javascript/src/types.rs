//! Scripts with types: if a script is not JavaScript but looks like TypeScript, its types are
//! removed. The program that does so is evaluated on first need, because few scripts need it.

use rquickjs::{Ctx, Function, Object, Value};

use crate::engine;
use crate::event_loop::{Stop, caught};

const STRIPPER: &str = include_str!(env!("COFFERDAM_TYPESCRIPT"));

/// The script without its types, or the syntax error of its text; `None` if it has no types.
pub(crate) fn strip<'js>(
    ctx: &Ctx<'js>,
    code: &str,
    file: &str,
) -> Result<Option<Result<String, Value<'js>>>, Stop<'js>> {
    let prelude = |name: &str| engine::get().prelude(ctx, name).map_err(|_| caught(ctx));
    let has_types = prelude("hasTypes")?.call((code,));
    if !has_types.map_err(|_| caught(ctx))? {
        return Ok(None);
    }
    let stripped: rquickjs::Result<Object> = stripper(ctx).and_then(|strip| {
        engine::get()
            .prelude(ctx, "withoutTypes")?
            .call((strip, code, file))
    });
    let stripped = stripped.map_err(|_| caught(ctx))?;
    let parts = || match stripped.get::<_, Option<String>>("code")? {
        Some(code) => Ok(Ok(code)),
        None => stripped.get("error").map(Err),
    };
    parts().map(Some).map_err(|_: rquickjs::Error| caught(ctx))
}

fn stripper<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Function<'js>> {
    let mut options = rquickjs::context::EvalOptions::default();
    options.filename = Some("cofferdam:typescript".to_owned());
    let source = format!("(() => {{ {STRIPPER}\nreturn cofferdamTypes.strip; }})()");
    ctx.eval_with_options(source, options)
}
