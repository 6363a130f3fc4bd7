//! Every route of the API: pattern, methods, what callers need, handlers.
//!
//! The table is the only list of routes. The router, the counters by route and the check of the
//! API document are made from it, so none of them can miss one; and no handler gets into it without what
//! its callers need. What changes something has an entry in the audit trail, and so has every method but `get`:
//! an operation that only runs or submits something says so (`work`).

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, delete, get, post, put};

use crate::http::guard::{Guarded, Needs};
use crate::http::noted::{Noting, Operation};
use crate::http::openapi::Needed;
use crate::http::{
    AppState, alerts, audit, error, events, exec, home, interpreters, keys, mcp, modules,
    monitoring, openapi, ops, run, schedules, secrets, sessions, stats, tasks, tenants, worker_api,
    workers, workflows,
};
use cofferdam::audit::Kind;
use cofferdam_domain::caller::Scope;

/// Everybody is answered.
const NOTHING: Needs = Needs::Nothing;
/// Runs, submits, cancels and keeps interpreters.
const RUN: Needs = Needs::Scope(Scope::Run);
/// Reads what the tenant has.
const READ: Needs = Needs::Scope(Scope::Read);
/// Puts and removes what the tenant's tasks use: modules and secrets.
const MODULES: Needs = Needs::Scope(Scope::Modules);
/// Keys, tenants, and whatever concerns all tenants.
const ADMIN: Needs = Needs::Scope(Scope::Admin);

/// One pattern and its handlers.
pub(crate) struct Route {
    /// In axum's notation: `{name}` is one part, `{*name}` the rest.
    pub(crate) pattern: &'static str,
    /// The methods, as the API document spells them.
    pub(crate) methods: Vec<&'static str>,
    /// What each method asks of callers.
    pub(crate) needs: Vec<Needs>,
    handlers: MethodRouter<AppState>,
}

impl Route {
    fn at(pattern: &'static str) -> Route {
        Route {
            pattern,
            methods: Vec::new(),
            needs: Vec::new(),
            handlers: MethodRouter::new(),
        }
    }

    fn get<H: Handler<T, AppState>, T: 'static>(self, needs: Needs, handler: H) -> Route {
        self.with("get", needs, Kind::Read, get, handler)
    }

    fn post<H: Handler<T, AppState>, T: 'static>(self, needs: Needs, handler: H) -> Route {
        self.with("post", needs, Kind::Change, post, handler)
    }

    /// A `post` that runs or submits something, or only tells what it finds.
    fn work<H: Handler<T, AppState>, T: 'static>(self, needs: Needs, handler: H) -> Route {
        self.with("post", needs, Kind::Work, post, handler)
    }

    fn put<H: Handler<T, AppState>, T: 'static>(self, needs: Needs, handler: H) -> Route {
        self.with("put", needs, Kind::Change, put, handler)
    }

    fn delete<H: Handler<T, AppState>, T: 'static>(self, needs: Needs, handler: H) -> Route {
        self.with("delete", needs, Kind::Change, delete, handler)
    }

    fn with<H: Handler<T, AppState>, T: 'static>(
        mut self,
        method: &'static str,
        needs: Needs,
        kind: Kind,
        filter: fn(Guarded<H>) -> MethodRouter<AppState>,
        handler: H,
    ) -> Route {
        let action = openapi::name(self.pattern, method);
        let operation = Operation {
            action: action.unwrap_or(Operation::NONE.action),
            kind,
        };
        let guarded = Guarded {
            needs,
            operation,
            handler,
        };
        self.methods.push(method);
        self.needs.push(needs);
        Route {
            handlers: self.handlers.merge(filter(guarded)),
            ..self
        }
    }
}

/// The table. The most used routes come first, because the counters are searched in this order.
pub(crate) fn table() -> Vec<Route> {
    let mut routes = used_by_tasks();
    routes.extend(administration());
    routes.extend(operations());
    routes
}

fn used_by_tasks() -> Vec<Route> {
    vec![
        Route::at("/v1/run/{*module}").work(RUN, run::run),
        Route::at("/v1/exec").work(RUN, exec::exec),
        Route::at("/v1/exec/{id}/files/{*path}").get(READ, exec::files::get),
        Route::at("/v1/interpreters").get(READ, interpreters::list),
        Route::at("/v1/sessions")
            .post(RUN, sessions::create)
            .get(READ, sessions::list),
        Route::at("/v1/sessions/{id}")
            .get(READ, sessions::get)
            .delete(RUN, sessions::delete),
        Route::at("/v1/sessions/{id}/exec").work(RUN, sessions::exec::exec),
        Route::at("/v1/sessions/{id}/files").get(READ, sessions::files::list),
        Route::at("/v1/sessions/{id}/files/{*path}").get(READ, sessions::files::get),
        Route::at("/v1/sessions/{id}/snapshot").work(RUN, sessions::files::snapshot),
        Route::at("/mcp")
            .work(RUN, mcp::send)
            .get(RUN, mcp::listen)
            .delete(RUN, mcp::end),
        Route::at("/v1/tasks")
            .work(RUN, tasks::submit::submit)
            .get(READ, tasks::list::list),
        Route::at("/v1/tasks/batch").work(RUN, tasks::batch::submit),
        Route::at("/v1/tasks/cancel").post(RUN, tasks::bulk::cancel),
        Route::at("/v1/tasks/retry").post(RUN, tasks::bulk::retry),
        Route::at("/v1/batches/{id}/callback/redeliver")
            .post(RUN, tasks::callback::redeliver_of_batch),
        Route::at("/v1/batches/{id}")
            .get(READ, tasks::batch::get)
            .delete(RUN, tasks::batch::cancel),
        Route::at("/v1/tasks/{id}")
            .get(READ, tasks::get)
            .delete(RUN, tasks::cancel),
        Route::at("/v1/tasks/{id}/result").get(READ, tasks::output::result),
        Route::at("/v1/tasks/{id}/logs").get(READ, tasks::output::logs),
        Route::at("/v1/tasks/{id}/artifacts").get(READ, tasks::artifacts::list),
        Route::at("/v1/tasks/{id}/artifacts/{*path}").get(READ, tasks::artifacts::get),
        Route::at("/v1/tasks/{id}/attempts").get(READ, tasks::attempts::list),
        Route::at("/v1/tasks/{id}/events").get(READ, events::events),
        Route::at("/v1/tasks/{id}/retry").post(RUN, tasks::retry),
        Route::at("/v1/tasks/{id}/request").get(READ, tasks::request::get),
        Route::at("/v1/tasks/{id}/callback/redeliver").post(RUN, tasks::callback::redeliver),
        Route::at("/v1/workflows")
            .work(RUN, workflows::submit)
            .get(READ, workflows::list),
        Route::at("/v1/workflows/{id}")
            .get(READ, workflows::get)
            .delete(RUN, workflows::change::cancel),
        Route::at("/v1/workflows/{id}/callback/redeliver")
            .post(RUN, tasks::callback::redeliver_of_workflow),
        Route::at("/v1/workflows/{id}/events").get(READ, workflows::events::events),
        Route::at("/v1/workflows/{id}/retry").post(RUN, workflows::change::retry),
        Route::at("/v1/workflows/{id}/pause").post(RUN, workflows::change::pause),
        Route::at("/v1/workflows/{id}/resume").post(RUN, workflows::change::resume),
        Route::at("/v1/workflows/{id}/signals/{name}").post(RUN, workflows::change::signal),
        Route::at("/v1/workflow-definitions").get(READ, workflows::definitions::list),
        Route::at("/v1/workflow-definitions/{name}")
            .put(MODULES, workflows::definitions::put)
            .get(READ, workflows::definitions::get)
            .delete(MODULES, workflows::definitions::delete),
        Route::at("/v1/modules").get(READ, modules::list),
        Route::at("/v1/modules/{*name}")
            .put(MODULES, modules::put)
            .get(READ, modules::get)
            .post(MODULES, modules::reset)
            .delete(MODULES, modules::delete),
        Route::at("/v1/stats").get(READ, stats::stats),
        Route::at("/v1/stats/series").get(ADMIN, stats::series::series),
    ]
}

/// Hosts, and who may do what.
fn administration() -> Vec<Route> {
    vec![
        Route::at("/v1/workers").get(ADMIN, workers::list),
        Route::at("/v1/workers/{id}").get(ADMIN, workers::get),
        Route::at("/v1/workers/{id}/drain")
            .post(ADMIN, workers::drain)
            .delete(ADMIN, workers::undrain),
        Route::at("/v1/schedules").get(READ, schedules::list),
        Route::at("/v1/schedules/{name}")
            .put(RUN, schedules::put)
            .get(READ, schedules::get)
            .delete(RUN, schedules::delete),
        Route::at("/v1/schedules/{name}/run").post(RUN, schedules::run),
        Route::at("/v1/keys")
            .post(ADMIN, keys::create)
            .get(ADMIN, keys::list),
        Route::at("/v1/keys/{id}").delete(ADMIN, keys::revoke),
        Route::at("/v1/keys/{id}/rotate").post(ADMIN, keys::rotate),
        Route::at("/v1/audit").get(ADMIN, audit::list),
        Route::at("/v1/alerts").get(ADMIN, alerts::list),
        Route::at("/v1/tenants").get(ADMIN, tenants::list),
        Route::at("/v1/tenants/{name}")
            .put(ADMIN, tenants::put)
            .get(ADMIN, tenants::get)
            .delete(ADMIN, tenants::delete),
        Route::at("/v1/secrets").get(READ, secrets::list),
        Route::at("/v1/secrets/{name}")
            .put(MODULES, secrets::put)
            .delete(MODULES, secrets::delete),
    ]
}

/// The worker API of existing pools, and what tells of the host.
fn operations() -> Vec<Route> {
    vec![
        Route::at("/execute").work(RUN, worker_api::execute),
        Route::at("/task/{id}/status").get(READ, worker_api::status),
        Route::at("/task/{id}/result").get(READ, worker_api::result),
        Route::at("/task/{id}").delete(RUN, worker_api::cancel),
        Route::at("/health").get(NOTHING, worker_api::health),
        Route::at("/metrics").get(ADMIN, ops::metrics),
        Route::at("/livez").get(NOTHING, ops::livez),
        Route::at("/readyz").get(NOTHING, ops::readyz),
        Route::at("/openapi.json").get(NOTHING, || openapi::document(NEEDED)),
        Route::at("/monitoring").get(NOTHING, monitoring::page),
        Route::at("/monitoring/{*path}").get(NOTHING, monitoring::file),
        Route::at("/").get(NOTHING, home::home),
    ]
}

/// The router of the whole API.
pub(crate) fn router(state: AppState) -> Router {
    let routes = table().into_iter().fold(Router::new(), |router, route| {
        router.route(route.pattern, route.handlers)
    });
    with_fallbacks(routes).with_state(state)
}

/// The same routes, with a problem for other paths and methods.
pub(crate) fn with_fallbacks<S: Noting>(routes: Router<S>) -> Router<S> {
    let (needs, operation) = (Needs::Key, Operation::NONE);
    let (no_route, no_method) = (error::no_such_route, error::no_such_method);
    routes
        .fallback(Guarded {
            needs,
            operation,
            handler: no_route,
        })
        .method_not_allowed_fallback(Guarded {
            needs,
            operation,
            handler: no_method,
        })
}

/// The pattern of each route.
pub(crate) fn patterns() -> Vec<&'static str> {
    table().into_iter().map(|route| route.pattern).collect()
}

/// What the operations of the API document ask of callers.
pub(crate) const NEEDED: Needed = Needed(|path, method| needs(path, method)?.as_str());

/// What an operation of the API document asks of callers. The document has one path more than there are
/// routes: see `modules`.
fn needs(path: &str, method: &str) -> Option<Needs> {
    let table = table();
    let is_described = |route: &&Route| route.pattern.replace("{*", "{") == path;
    let route = table.iter().find(is_described);
    let route = route.or_else(|| table.iter().find(|route| matches(route.pattern, path)))?;
    let place = route.methods.iter().position(|other| *other == method)?;
    route.needs.get(place).copied()
}

/// Whether a path is answered even if no place is left.
pub(crate) fn is_operation(path: &str) -> bool {
    ["/livez", "/readyz", "/metrics", "/health"].contains(&path)
}

/// Whether `path` matches `pattern`.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    for expected in pattern.split('/') {
        match parts.next() {
            None => return false,
            Some(part) if expected.starts_with("{*") => return !part.is_empty(),
            Some(part) if expected.starts_with('{') && !part.is_empty() => {}
            Some(part) if expected == part => {}
            Some(_) => return false,
        }
    }
    parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_counted_under_its_own_pattern() {
        let patterns = patterns();
        for pattern in &patterns {
            let path = pattern
                .replace("{*module}", "team/resize")
                .replace("{*name}", "team/resize");
            let path = path
                .replace("{*path}", "a/b")
                .replace("{id}", "7")
                .replace("{name}", "team");
            let found = patterns.iter().find(|candidate| matches(candidate, &path));
            assert_eq!(found, Some(pattern), "{path}");
        }
        assert!(
            !patterns
                .iter()
                .any(|pattern| matches(pattern, "/v1/tasks/7/nothing"))
        );
        assert!(!patterns.iter().any(|pattern| matches(pattern, "/v1/run/")));
    }
}
