//! Every route of the API: pattern, methods, handlers.
//!
//! The table is the only list of routes. The router, the counters by route and the check of the
//! API document are made from it, so none of them can miss one.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, delete, get, post, put};

use crate::http::{
    AppState, error, events, exec, home, interpreters, mcp, modules, openapi, ops, run, sessions,
    tasks, worker_api, workers,
};

/// One pattern and its handlers.
pub(crate) struct Route {
    /// In axum's notation: `{name}` is one part, `{*name}` the rest.
    pub(crate) pattern: &'static str,
    /// The methods, as the API document spells them.
    pub(crate) methods: Vec<&'static str>,
    handlers: MethodRouter<AppState>,
}

impl Route {
    fn at(pattern: &'static str) -> Route {
        Route {
            pattern,
            methods: Vec::new(),
            handlers: MethodRouter::new(),
        }
    }

    fn get<H: Handler<T, AppState>, T: 'static>(self, handler: H) -> Route {
        self.with("get", get(handler))
    }

    fn post<H: Handler<T, AppState>, T: 'static>(self, handler: H) -> Route {
        self.with("post", post(handler))
    }

    fn put<H: Handler<T, AppState>, T: 'static>(self, handler: H) -> Route {
        self.with("put", put(handler))
    }

    fn delete<H: Handler<T, AppState>, T: 'static>(self, handler: H) -> Route {
        self.with("delete", delete(handler))
    }

    fn with(mut self, method: &'static str, handlers: MethodRouter<AppState>) -> Route {
        self.methods.push(method);
        Route {
            handlers: self.handlers.merge(handlers),
            ..self
        }
    }
}

/// The table. The most used routes come first, because the counters are searched in this order.
pub(crate) fn table() -> Vec<Route> {
    vec![
        Route::at("/v1/run/{*module}").post(run::run),
        Route::at("/v1/exec").post(exec::exec),
        Route::at("/v1/exec/{id}/files/{*path}").get(exec::files::get),
        Route::at("/v1/interpreters").get(interpreters::list),
        Route::at("/v1/sessions")
            .post(sessions::create)
            .get(sessions::list),
        Route::at("/v1/sessions/{id}")
            .get(sessions::get)
            .delete(sessions::delete),
        Route::at("/v1/sessions/{id}/exec").post(sessions::exec::exec),
        Route::at("/v1/sessions/{id}/files").get(sessions::files::list),
        Route::at("/v1/sessions/{id}/files/{*path}").get(sessions::files::get),
        Route::at("/v1/sessions/{id}/snapshot").post(sessions::files::snapshot),
        Route::at("/mcp")
            .post(mcp::send)
            .get(mcp::listen)
            .delete(mcp::end),
        Route::at("/v1/tasks")
            .post(tasks::submit::submit)
            .get(tasks::list::list),
        Route::at("/v1/tasks/batch").post(tasks::batch::submit),
        Route::at("/v1/tasks/cancel").post(tasks::bulk::cancel),
        Route::at("/v1/tasks/retry").post(tasks::bulk::retry),
        Route::at("/v1/batches/{id}")
            .get(tasks::batch::get)
            .delete(tasks::batch::cancel),
        Route::at("/v1/tasks/{id}")
            .get(tasks::get)
            .delete(tasks::cancel),
        Route::at("/v1/tasks/{id}/result").get(tasks::output::result),
        Route::at("/v1/tasks/{id}/logs").get(tasks::output::logs),
        Route::at("/v1/tasks/{id}/artifacts").get(tasks::artifacts::list),
        Route::at("/v1/tasks/{id}/artifacts/{*path}").get(tasks::artifacts::get),
        Route::at("/v1/tasks/{id}/attempts").get(tasks::attempts::list),
        Route::at("/v1/tasks/{id}/events").get(events::events),
        Route::at("/v1/tasks/{id}/retry").post(tasks::retry),
        Route::at("/v1/modules").get(modules::list),
        Route::at("/v1/modules/{*name}")
            .put(modules::put)
            .get(modules::get)
            .delete(modules::delete),
        Route::at("/v1/workers").get(workers::list),
        Route::at("/v1/workers/{id}").get(workers::get),
        Route::at("/v1/workers/{id}/drain")
            .post(workers::drain)
            .delete(workers::undrain),
        Route::at("/execute").post(worker_api::execute),
        Route::at("/task/{id}/status").get(worker_api::status),
        Route::at("/task/{id}/result").get(worker_api::result),
        Route::at("/task/{id}").delete(worker_api::cancel),
        Route::at("/health").get(worker_api::health),
        Route::at("/metrics").get(ops::metrics),
        Route::at("/livez").get(ops::livez),
        Route::at("/readyz").get(ops::readyz),
        Route::at("/openapi.json").get(openapi::document),
        Route::at("/").get(home::home),
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
pub(crate) fn with_fallbacks<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::no_such_method)
}

/// The pattern of each route.
pub(crate) fn patterns() -> Vec<&'static str> {
    table().into_iter().map(|route| route.pattern).collect()
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
            let path = path.replace("{*path}", "a/b").replace("{id}", "7");
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
