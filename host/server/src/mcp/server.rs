//! The protocol's requests that this host answers: its identity, the list of tools, and calls.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, Implementation,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, SubscriptionFilter,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};
use serde::Serialize;

use crate::mcp::changes::Changes;
use crate::mcp::door::beside;
use crate::mcp::exact::Exact;
use crate::mcp::names::{Meant, meant};
use crate::mcp::presence::Absence;
use crate::mcp::{Closing, Parts, arguments, call, code, list, module, readers};
use cofferdam_domain::caller::Caller;

/// A description of this host that a client may pass to its model.
const INSTRUCTIONS: &str = "Runs Python, JavaScript and WebAssembly modules, each call in a fresh \
    sandbox with hard limits, without network, and without state of earlier calls. \
    Capital letters in a tool's name replace the / (S) and . (D) of a module's name; a long one \
    ends in a hash. Long results are cut and give the address of the whole.";

/// Answers the requests of any number of clients; it keeps no state about them.
pub(super) struct Server {
    parts: Parts,
    changes: Changes,
}

impl Server {
    /// A server of these parts, which tells of these changes.
    pub(super) fn new(parts: Parts, changes: Changes) -> Server {
        Server { parts, changes }
    }

    /// Answers a call that panics as well, so that its client does not wait for ever.
    async fn guarded(
        &self,
        request: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let call = AssertUnwindSafe(self.call(request, context));
        let called = call.catch_unwind().await.unwrap_or_else(|_panic| {
            self.parts.metrics.handler_panicked();
            Err(call::internal("a panic"))
        });
        self.held(called?, context).await
    }

    /// A result, with memory for it until its client has taken it or is gone.
    async fn held<T: Serialize>(
        &self,
        result: T,
        context: &RequestContext<RoleServer>,
    ) -> Result<T, ErrorData> {
        let absence: Option<Absence> = beside(context);
        let data = beside::<Exact>(context).map_or(0, |exact| exact.bytes());
        let part = self.parts.readers.take(readers::length(&result) + data);
        let part = part.await;
        match (absence, part) {
            (_, None) => Err(call::ended(
                "there is no room in memory for this answer now; call again later",
            )),
            (Some(absence), Some(part)) => {
                absence.keep_until_then(part);
                Ok(result)
            }
            (None, Some(_nobody_waits)) => Ok(result),
        }
    }

    async fn call(
        &self,
        request: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = caller_of(context)?;
        let arguments = arguments::text(context, &request.arguments.unwrap_or_default())?;
        let tool = &*request.name;
        let module = match meant(tool) {
            None => None,
            Some(Meant::Code(language)) => {
                return code::call(&self.parts, &caller, language, &arguments, context).await;
            }
            Some(Meant::Module(name)) => Some(name),
            Some(Meant::OneAfter(first)) => {
                list::called(&self.parts, caller.tenant(), first, tool).await?
            }
        };
        match module {
            Some(name) => module::call(&self.parts, &caller, name, tool, &arguments, context).await,
            None => Err(call::unknown_tool(tool)),
        }
    }
}

fn caller_of(context: &RequestContext<RoleServer>) -> Result<Caller, ErrorData> {
    let caller: Option<Caller> = beside(context);
    caller.ok_or_else(|| call::internal("a call without a caller"))
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("cofferdam", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        let caller = caller_of(&context)?;
        let page = list::page(&self.parts, caller.tenant(), cursor.as_deref()).await?;
        self.held(page, &context).await
    }

    fn accepted_subscription_filter(
        &self,
        _requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(SubscriptionFilter::builder().tools_list_changed().build())
    }

    /// Tells of changes until the client or this host has enough.
    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let context = subscription.request_context();
        let (absence, closing): (Option<Absence>, Option<Closing>) =
            (beside(context), beside(context));
        let (Some(absence), Some(Closing(closing))) = (absence, closing) else {
            return Err(call::internal("a subscription came by no door"));
        };
        let caller = caller_of(context)?;
        let changes = self.changes.after_now(caller.tenant());
        tokio::select! {
            biased;
            () = closing => {}
            () = absence.noticed() => {}
            () = subscription.cancelled() => {}
            () = changes.tell(subscription.sink()) => {}
        }
        Ok(())
    }

    /// Dropping the call ends its guest, at once and wherever it is.
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let absence: Option<Absence> = beside(&context);
        let nobody_waits = async {
            match &absence {
                Some(absence) => absence.noticed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answered = self.guarded(request, &context) => answered.map(CallToolResponse::from),
            () = context.ct.cancelled() => Err(call::ended("the client cancelled the call")),
            () = nobody_waits => Err(call::ended("the client went away")),
        }
    }
}
