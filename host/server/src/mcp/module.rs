//! Calls of modules: the arguments are the JSON input, and the output becomes content.

use bytes::Bytes;
use rmcp::RoleServer;
use rmcp::model::{CallToolResult, ErrorData};
use rmcp::service::RequestContext;

use crate::mcp::progress::Progress;
use crate::mcp::schema::{self, InputSchema};
use crate::mcp::{Parts, call, told};
use cofferdam::runner::RunRequest;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::module::{ModuleName, ModuleRef};

/// Calls a module by its tool name.
pub(super) async fn call(
    parts: &Parts,
    caller: &Caller,
    name: ModuleName,
    tool: &str,
    arguments: &Bytes,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let module = ModuleRef { name, digest: None };
    let registry = parts.runner.registry();
    let info = match registry.resolve(caller.tenant(), &module).await {
        Ok(info) => info,
        Err(error) => return call::not_begun(tool, error.into()),
    };
    let Some(descriptor) = &info.descriptor else {
        return Err(call::unknown_tool(tool));
    };
    let schema = descriptor.input_schema.as_deref().and_then(InputSchema::of);
    let schema = schema.ok_or_else(|| call::unknown_tool(tool))?;
    let body = match schema.input(arguments) {
        Ok(input) => input,
        Err(why) => return Ok(call::refused(why)),
    };
    // This is the version whose schema was read, even if the name meanwhile refers to another.
    let pinned = ModuleRef {
        digest: Some(info.digest),
        ..module
    };
    let input = Payload {
        content_type: "application/json".into(),
        body,
    };
    let run = RunRequest::inline(pinned, input);
    let report = match Progress::asked_by(context) {
        None => parts.runner.run_now(caller, run).await,
        Some(progress) => {
            let run = run.heard_by(progress.listener());
            let run = parts.runner.run_now(caller, run);
            progress.told_during(run).await
        }
    };
    let promised = descriptor.output_schema.as_deref().and_then(schema::object);
    match report {
        Ok((report, _)) => {
            Ok(told::module((parts, caller), &report, promised.is_some(), context).await)
        }
        Err(error) => call::not_begun(tool, error),
    }
}
