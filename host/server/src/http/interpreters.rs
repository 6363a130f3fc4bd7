//! `GET /v1/interpreters`: the languages that code may be written in, as far as this host has them.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use crate::http::error::ApiError;
use crate::http::page::Page;
use crate::http::{AppState, json};
use crate::intake::query::Query;
use cofferdam::interpreters::{Interpreters, State as Progress};
use cofferdam_domain::module::Language;

/// The one profile that there is: the language with its standard library.
const PROFILES: [&str; 1] = ["default"];

/// A language.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct InterpreterJson {
    language: &'static str,
    /// What `language` may say for it.
    names: &'static [&'static str],
    /// `ready`, `warming_up`, `no_room` (on the disk), `failed` or `not_installed`.
    state: &'static str,
    /// What runs it, and in which version; null until it is ready.
    version: Option<String>,
    /// The module that tasks of this language name.
    module: String,
    /// The module's version; null until it is ready.
    digest: Option<String>,
    profiles: [&'static str; 1],
    /// The operator's packages that can be imported beside the standard library.
    packages: Vec<String>,
}

/// List the languages of code
#[utoipa::path(
    get, path = "/v1/interpreters", operation_id = "list_interpreters", tag = "Code",
    responses((status = 200, description = "All of them", body = Page<InterpreterJson>)),
)]
pub(crate) async fn list(State(services): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let interpreters = services.runner.interpreters();
    let page = Page {
        items: Language::ALL.map(|it| interpreter(interpreters, it)).into(),
        next_cursor: None,
    };
    Ok(json::answer(StatusCode::OK, &page))
}

fn interpreter(interpreters: &Interpreters, language: Language) -> InterpreterJson {
    let progress = interpreters.state(language);
    let state = progress.as_str();
    let info = match progress {
        Progress::Ready(interpreter) => Some(interpreter.info),
        Progress::WarmingUp
        | Progress::NoRoom
        | Progress::Failed { .. }
        | Progress::NotInstalled => None,
    };
    let packages = match language {
        Language::Python => interpreters.packages().names().map(str::to_owned).collect(),
        Language::JavaScript => Vec::new(),
    };
    InterpreterJson {
        language: language.as_str(),
        names: language.words(),
        state,
        // An interpreter describes itself by its name and version.
        version: info
            .as_ref()
            .and_then(|info| Some(info.descriptor.as_ref()?.summary.clone())),
        module: language.module().to_string(),
        digest: info.map(|info| info.digest.to_string()),
        profiles: PROFILES,
        packages,
    }
}
