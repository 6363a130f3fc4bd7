//! Maps what is wrong with a module, or with an input for it, to HTTP.

use axum::http::StatusCode;

use crate::http::error::{ApiError, FULL_RETRY_S, UNAVAILABLE_RETRY_S};
use cofferdam::registry::schema::Misfit;
use cofferdam::registry::{CompileFailure, RegistryError};
use cofferdam_domain::module::{BadModuleName, BadModuleRef};

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> ApiError {
        match error {
            RegistryError::Unknown(module) => {
                ApiError::not_found("module_not_found", format!("there is no module {module}"))
            }
            // It is a pinned version, or one that a task was submitted with.
            RegistryError::Gone(digest) => ApiError::not_found(
                "module_not_found",
                format!("the module version {digest} is no longer kept"),
            ),
            RegistryError::Compile(error) => compile_error(error),
            RegistryError::Reserved(_) => {
                ApiError::bad_request("invalid_module_name", error.to_string())
            }
            RegistryError::Forbidden(error) => error.into(),
            RegistryError::Storage(error) => error.into(),
        }
    }
}

impl From<BadModuleName> for ApiError {
    fn from(error: BadModuleName) -> ApiError {
        ApiError::bad_request("invalid_module_name", error.to_string())
    }
}

impl From<BadModuleRef> for ApiError {
    fn from(error: BadModuleRef) -> ApiError {
        ApiError::bad_request("invalid_module_name", error.to_string())
    }
}

/// An input that does not fit the module's schema, or could not be checked.
pub(super) fn schema_mismatch(misfit: &Misfit) -> ApiError {
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    match misfit {
        Misfit::Unfit(_) | Misfit::NotJson(_) => {
            let detail = format!("the input does not fit the module's schema: {misfit}");
            ApiError::new(unprocessable, "invalid_input", detail)
        }
        Misfit::Costly(_) => {
            let detail = format!("the input cannot be checked: {misfit}");
            ApiError::new(unprocessable, "schema_check_limit", detail)
        }
        Misfit::TooLarge(memory_bytes) => {
            let detail = format!("the input cannot be checked: {misfit}");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            ApiError::new(status, "schema_check_too_large", detail)
                .with("limit_bytes", *memory_bytes)
        }
        Misfit::Lost(_) => ApiError::internal(misfit),
        Misfit::Schema(_) => {
            let detail = format!("the input cannot be checked: {misfit}; upload the module again");
            ApiError::new(unprocessable, "schema_refused", detail)
        }
        Misfit::Busy => ApiError::busy("schema_checks_busy", misfit.to_string(), FULL_RETRY_S),
    }
}

/// The compiler's errors, which `registry` passes on unchanged.
fn compile_error(error: CompileFailure) -> ApiError {
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    match error {
        CompileFailure::Refused(reason) => ApiError::new(unprocessable, "module_refused", reason),
        CompileFailure::Limit(reason) => ApiError::new(unprocessable, "compile_limit", reason),
        CompileFailure::Full(cause) => {
            tracing::warn!(cause, "no room for a compiled module");
            let detail = "there is no room for the compiled module";
            ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", detail)
        }
        CompileFailure::Busy => ApiError::busy(
            "compiler_busy",
            "too many modules already wait for the compiler",
            UNAVAILABLE_RETRY_S,
        ),
        CompileFailure::Host(cause) => ApiError::host(
            "compiler_failed",
            "the compiler failed on this module",
            cause,
        ),
    }
}
