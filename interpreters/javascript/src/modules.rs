//! Where `import` finds modules: the prelude's built-in ones, and files of the working directory.

use std::path::{Component, Path, PathBuf};

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Module, Object, Value};

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
        let name = name.strip_prefix("file://").unwrap_or(name);
        if !name.starts_with("./") && !name.starts_with("../") && !name.starts_with('/') {
            let missing: Value = engine::get().prelude(ctx, "missing")?.call((name,))?;
            return Err(ctx.throw(missing));
        }
        let path = normalized(base, name);
        let name = relative_to_work(&path);
        if !path.is_file() {
            let not_found = engine::get().prelude(ctx, "notFound")?;
            return Err(ctx.throw(not_found.call((name, base))?));
        }
        Ok(name)
    }
}

impl Loader for Files {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        let prelude = |function| engine::get().prelude(ctx, function);
        if let Some(builtin) = name.strip_prefix(BUILTIN) {
            let keys: Vec<String> = prelude("builtinKeys")?.call((builtin,))?;
            let source = reexported("cofferdam.builtin", builtin, &keys);
            return Module::declare(ctx.clone(), name, source);
        }
        if name.ends_with(".json") {
            return Module::declare(ctx.clone(), name, reexported("cofferdam.file", name, &[]));
        }
        let text = std::fs::read_to_string(Path::new(WORK).join(name)).map_err(|error| {
            let message = format!("Cannot read module '{name}': {error}");
            rquickjs::Exception::throw_message(ctx, &message)
        })?;
        let keys: Option<Vec<String>> = prelude("commonJs")?.call((name, text.as_str()))?;
        if let Some(keys) = keys {
            let source = reexported("cofferdam.file", name, &keys);
            return Module::declare(ctx.clone(), name, source);
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let module = Module::declare(ctx.clone(), name, text)?;
        prelude("describe")?.call::<_, Object>((module.meta()?, name))?;
        Ok(module)
    }
}

/// Calls the prelude by a symbol and not by `require`, which a script may redefine.
fn reexported(symbol: &str, name: &str, keys: &[String]) -> String {
    let name = serde_json::Value::from(name);
    let keys = keys.join(", ");
    format!(
        "const found = globalThis[Symbol.for('{symbol}')]({name});\nexport default found;\nexport const {{ {keys} }} = found ?? {{}};\n"
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

/// Names in stacks are as the user wrote them: `lib/util.js`, not `/work/lib/util.js`.
fn relative_to_work(path: &Path) -> String {
    let path = path.strip_prefix(WORK).unwrap_or(path);
    path.to_string_lossy().into_owned()
}
