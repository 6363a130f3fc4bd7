//! `run_python` and `run_javascript`: the same fields and the same answer as `POST /v1/exec`.

use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::model::{CallToolResult, ErrorData, JsonObject, Tool};
use rmcp::service::RequestContext;
use serde_json::json;

use crate::intake::code::ToolArguments;
use crate::intake::json::parse;
use crate::intake::refused::Refused;
use crate::mcp::{Parts, call, harmless, names, told};
use cofferdam::executions;
use cofferdam::interpreters::packages::Packages;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::module::Language;

/// The tool of a language.
pub(super) fn tool(language: Language, packages: &Packages) -> Tool {
    let (name, title, about) = match language {
        Language::Python => (
            "Python",
            "Run Python",
            "CPython with its pure standard library; no native modules, processes or threads.",
        ),
        Language::JavaScript => (
            "JavaScript",
            "Run JavaScript",
            "QuickJS with modules, console and timers; no npm packages, no browser.",
        ),
    };
    let description = format!(
        "Runs {name} code in a fresh sandbox without network. {about} The value of the last \
         expression, or of the variable `result`, is the result. The given files are in the \
         working directory; files that the code writes there are returned. Nothing is kept \
         between calls."
    );
    Tool::new(
        names::code_tool(language),
        description,
        Arc::new(schema(language, packages)),
    )
    .with_title(title)
    .with_annotations(harmless(title))
}

fn schema(language: Language, packages: &Packages) -> JsonObject {
    let limit = |what: &str| json!({"type": "integer", "minimum": 1, "description": what});
    let words =
        |what: &str| json!({"type": "array", "items": {"type": "string"}, "description": what});
    let mut properties = json!({
        "code": {"type": "string", "description": "The source."},
        "stdin": {"type": "string", "description": "Standard input."},
        "args": words("Arguments after the program's name."),
        "files": {
            "type": "object",
            "description": "Files for the working directory, by name: text, or {\"base64\": \"…\"}.",
            "additionalProperties": {"anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {"base64": {"type": "string"}},
                    "required": ["base64"],
                    "additionalProperties": false,
                },
            ]},
        },
        "timeout_ms": limit("Wall-clock limit in milliseconds."),
        "cpu_ms": limit("CPU-time limit in milliseconds."),
        "memory_limit_mb": limit("Memory limit in MiB; 512 if absent."),
        "isolation": {
            "type": "string",
            "enum": Isolation::ALL.map(Isolation::as_str),
            "description": "Code always runs in a jailed process, whatever is asked for.",
        },
    });
    if language == Language::Python {
        let names: Vec<&str> = packages.names().collect();
        let offered = match names.as_slice() {
            [] => "none is offered".to_owned(),
            names => format!("offered: {}", names.join(", ")),
        };
        let about = format!("Packages to import from, all if absent; {offered}.");
        properties["packages"] = words(&about);
    }
    let mut schema = JsonObject::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), properties);
    schema.insert("required".to_owned(), json!(["code"]));
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema
}

/// Runs code and returns its result.
pub(super) async fn call(
    parts: &Parts,
    caller: &Caller,
    language: Language,
    arguments: &[u8],
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let tool = names::code_tool(language);
    let request = parse::<ToolArguments<'_>>(arguments).and_then(|arguments| {
        let request = arguments.into_request(language);
        let code = request.into_code(parts.runner.admission())?;
        code.into_request(&parts.runner)
    });
    let executed = match request {
        Ok(request) => parts.runner.execute(caller, request).await,
        Err(Refused::Run(error)) => Err(error),
        Err(mistake @ (Refused::Mistake(_) | Refused::Module(_))) => {
            return Ok(call::refused(mistake));
        }
    };
    let executed = match executed {
        Ok(executed) => executed,
        Err(error) => return call::not_begun(tool, error),
    };
    let figures = call::figures(executed.verdict.failure.as_ref(), &executed.usage);
    match executions::keep(&parts.files, caller, parts.clock.now(), executed).await {
        Ok(kept) => Ok(told::code((parts, caller), &kept, figures, context).await),
        Err(error) => Ok(call::refused(error)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_schema_names_every_argument_and_no_other() {
        let schema = Value::Object(schema(Language::Python, &Packages::default()));
        let full = json!({
            "code": "1", "stdin": "", "args": ["a"], "files": {"a": "", "b": {"base64": ""}},
            "packages": [], "timeout_ms": 1, "cpu_ms": 1, "memory_limit_mb": 1,
            "isolation": "process",
        });
        let named = schema["properties"].as_object().unwrap();
        assert!(named.keys().eq(full.as_object().unwrap().keys()));
        assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&full));
        parse::<ToolArguments<'_>>(full.to_string().as_bytes()).unwrap();
        let javascript = schema_of_javascript();
        assert!(javascript["properties"].get("packages").is_none());
    }

    #[test]
    fn a_mistake_names_its_field() {
        let told = |text: &str| {
            let refused = parse::<ToolArguments<'_>>(text.as_bytes()).unwrap_err();
            refused.to_string()
        };
        let null = told(r#"{"code": "1", "args": null}"#);
        assert!(
            null.starts_with("args: ") && null.contains("leave the field out"),
            "{null}"
        );
        assert!(told(r#"{"code": "1", "args": [1]}"#).starts_with("args[0]: "));
        assert!(told(r#"{"code": "1", "files": {"a": 1}}"#).starts_with("files.a: "));
        assert!(told("{}").contains("`code`"));
    }

    fn schema_of_javascript() -> Value {
        Value::Object(schema(Language::JavaScript, &Packages::default()))
    }
}
