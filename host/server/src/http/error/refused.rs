//! Refused requests over HTTP.

use crate::http::error::ApiError;
use crate::intake::batch::BatchRefused;
use crate::intake::refused::{Kind, Mistake, Refused};
use crate::intake::workflow::WorkflowRefused;

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> ApiError {
        match refused {
            Refused::Mistake(mistake) => mistake.into(),
            Refused::Module(error) => error.into(),
            Refused::Run(error) => error.into(),
        }
    }
}

impl From<BatchRefused> for ApiError {
    fn from(refused: BatchRefused) -> ApiError {
        match refused {
            BatchRefused::Itself(refused) => refused.into(),
            BatchRefused::Task(place, refused) => {
                ApiError::from(refused).under(&format!("tasks[{place}]"))
            }
        }
    }
}

impl From<WorkflowRefused> for ApiError {
    fn from(WorkflowRefused { under, refused }: WorkflowRefused) -> ApiError {
        let error = ApiError::from(refused);
        match under.as_str() {
            "" => error,
            under => error.under(under),
        }
    }
}

impl From<Mistake> for ApiError {
    fn from(mistake: Mistake) -> ApiError {
        let code = match mistake.kind {
            Kind::NotJson => "invalid_json",
            Kind::Field => "invalid_field",
            Kind::Parameter => "invalid_parameter",
            Kind::UnknownParameter => "unknown_parameter",
        };
        let problem = ApiError::bad_request(code, mistake.detail);
        match mistake.field {
            Some(field) => problem.with("field", field),
            None => problem,
        }
    }
}
