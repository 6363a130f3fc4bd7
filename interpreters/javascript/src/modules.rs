//! Where `import` finds modules: the prelude's built-in ones, and files of the working directory.

use std::path::{Component, Path, PathBuf};

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Module, Value};

use crate::engine;

const WORK: &str = "/work";
const BUILTIN: &str = "cofferdam:builtin/";

pub(crate) struct Files;

impl Resolver for Files {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        let builtin: Value = engine::get().prelude(ctx, "builtin")?.call((name,))?;
        if !builtin.is_undefined() {
            return Ok(format!("{BUILTIN}{name}"));
        }
        if !name.starts_with("./") && !name.starts_with("../") && !name.starts_with('/') {
            let missing: Value = engine::get().prelude(ctx, "missing")?.call((name,))?;
            return Err(ctx.throw(missing));
        }
        Ok(relative_to_work(&normalized(base, name)))
    }
}

impl Loader for Files {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        if let Some(builtin) = name.strip_prefix(BUILTIN) {
            let keys: Vec<String> = engine::get()
                .prelude(ctx, "builtinKeys")?
                .call((builtin,))?;
            return Module::declare(ctx.clone(), name, builtin_source(builtin, &keys));
        }
        let path = Path::new(WORK).join(name);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let message = format!("Cannot find module '{name}': {error}");
            rquickjs::Exception::throw_message(ctx, &message)
        })?;
        let text = if name.ends_with(".json") {
            format!("export default {text};")
        } else {
            text
        };
        Module::declare(ctx.clone(), name, text)
    }
}

/// Asks the prelude by a symbol and not by `require`, which a script may well redefine.
fn builtin_source(name: &str, keys: &[String]) -> String {
    let keys = keys.join(", ");
    format!(
        "const builtin = globalThis[Symbol.for('cofferdam.builtin')]('{name}');\nexport default builtin;\nexport const {{ {keys} }} = builtin;\n"
    )
}

fn normalized(base: &str, name: &str) -> PathBuf {
    let directory = Path::new(WORK)
        .join(base)
        .parent()
        .unwrap_or(Path::new(WORK))
        .join(name);
    let mut path = PathBuf::new();
    for part in directory.components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => path.push(part),
        }
    }
    path
}

/// Names in stacks read as the user wrote them: `lib/util.js`, not `/work/lib/util.js`.
fn relative_to_work(path: &Path) -> String {
    let path = path.strip_prefix(WORK).unwrap_or(path);
    path.to_string_lossy().into_owned()
}
