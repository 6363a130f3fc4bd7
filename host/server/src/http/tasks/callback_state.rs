//! The callback of a task, batch or workflow as answers show it. Sending it again, and what is sent, are in `callback`.

use serde::Serialize;

use crate::intake::time::Time;
use cofferdam_domain::callback::{Callback, Ends, Told};
use cofferdam_domain::secret::SecretName;
use cofferdam_domain::state::TaskState;

/// A callback, and how far telling the newest end has come.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CallbackStateJson {
    #[serde(flatten)]
    asked: CallbackAsked,
    #[serde(flatten)]
    delivery: DeliveryJson,
}

/// A callback as it was asked for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CallbackAsked {
    url: String,
    /// The name of the secret that signs it; its value is never shown.
    secret_name: Option<String>,
    /// The ends that are told.
    on: Vec<&'static str>,
}

/// How far telling an end has come.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub(crate) struct DeliveryJson {
    /// `pending`, `delivered` or `failed`; null while there was no end that is told.
    status: Option<&'static str>,
    /// Tries so far.
    attempts: u32,
    /// The status of the last answer, if there was one.
    last_status: Option<u16>,
    /// Why the last try did not succeed.
    last_error: Option<String>,
    /// When it is tried next, at the earliest.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Time>,
}

impl CallbackStateJson {
    pub(crate) fn new(callback: Callback, told: Option<Told>) -> CallbackStateJson {
        CallbackStateJson {
            asked: CallbackAsked::from(&callback),
            delivery: told.map(DeliveryJson::from).unwrap_or_default(),
        }
    }
}

impl From<&Callback> for CallbackAsked {
    fn from(callback: &Callback) -> CallbackAsked {
        let on = Ends::STATES.into_iter().filter(|it| callback.on.has(*it));
        let secret = callback.secret.as_ref().map(SecretName::as_str);
        CallbackAsked {
            url: callback.url.as_str().to_owned(),
            secret_name: secret.map(str::to_owned),
            on: on.map(TaskState::as_str).collect(),
        }
    }
}

impl From<Told> for DeliveryJson {
    fn from(told: Told) -> DeliveryJson {
        DeliveryJson {
            status: Some(told.status.as_str()),
            attempts: told.tries,
            last_status: told.last_status,
            last_error: told.last_error,
            next_at: told.next_at.map(Time),
        }
    }
}
