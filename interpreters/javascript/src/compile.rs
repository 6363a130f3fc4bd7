//! Compiles source text before it runs, so that invalid text does not run at all. `script.rs`
//! decides what the text means.

use std::ffi::CString;

use rquickjs::{Ctx, Error, FromJs, Promise, Result, Value, qjs};

/// A script that was compiled and not run yet.
pub(crate) struct Compiled<'js> {
    ctx: Ctx<'js>,
    function: qjs::JSValue,
}

impl<'js> Compiled<'js> {
    /// Compiles a script that may use `await` at its top level.
    pub(crate) fn new(ctx: &Ctx<'js>, code: &str, file: &str, strict: bool) -> Result<Self> {
        let mut flags =
            qjs::JS_EVAL_TYPE_GLOBAL | qjs::JS_EVAL_FLAG_ASYNC | qjs::JS_EVAL_FLAG_COMPILE_ONLY;
        if strict {
            flags |= qjs::JS_EVAL_FLAG_STRICT;
        }
        // The text may contain NUL: it ends at its length, where another NUL must be.
        let mut text = Vec::with_capacity(code.len() + 1);
        text.extend_from_slice(code.as_bytes());
        text.push(0);
        let file = CString::new(file)?;
        // SAFETY: the text and the name outlive the call, and the text ends in NUL.
        let function = unsafe {
            qjs::JS_Eval(
                ctx.as_raw().as_ptr(),
                text.as_ptr().cast(),
                code.len() as qjs::size_t,
                file.as_ptr(),
                flags.cast_signed(),
            )
        };
        // SAFETY: this only reads the tag.
        if unsafe { qjs::JS_IsException(function) } {
            return Err(Error::Exception);
        }
        Ok(Self {
            ctx: ctx.clone(),
            function,
        })
    }

    /// Runs it to its first `await` or its end.
    pub(crate) fn run(self) -> Result<Promise<'js>> {
        let ctx = self.ctx.clone();
        let function = self.function;
        std::mem::forget(self);
        // SAFETY: the function is alive, and the call takes it over.
        let value = unsafe { qjs::JS_EvalFunction(ctx.as_raw().as_ptr(), function) };
        // SAFETY: this only reads the tag.
        if unsafe { qjs::JS_IsException(value) } {
            return Err(Error::Exception);
        }
        // SAFETY: the caller owns the value for as long as the context lives.
        let value = unsafe { Value::from_raw(ctx.clone(), value) };
        Promise::from_js(&ctx, value)
    }
}

impl Drop for Compiled<'_> {
    fn drop(&mut self) {
        // SAFETY: the function is alive, and nobody else owns it.
        unsafe { qjs::JS_FreeValue(self.ctx.as_raw().as_ptr(), self.function) };
    }
}
