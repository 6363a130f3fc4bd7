//! `/v1/audit`: what was changed, by whom, and what was refused.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;
use uuid::Uuid;

use crate::http::error::ApiError;
use crate::http::page;
use crate::http::{AppState, json};
use crate::intake::query::Query;
use crate::intake::time::Time;
use cofferdam_domain::audit::Text;
use cofferdam_storage::trail::{Entry, Hash, Link, Order, Wanted};

/// A page of the trail.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AuditPage {
    /// The entries.
    items: Vec<EntryJson>,
    /// The `cursor` of the next page, which may have entries even if this one has none; null on the last.
    next_cursor: Option<String>,
    /// The newest entry of the whole trail.
    head: LinkJson,
    /// The newest of those that went because of their age or number; number 0 if none did.
    gone: LinkJson,
}

/// The number of an entry, with its hash.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct LinkJson {
    seq: u64,
    /// SHA-256, in hexadecimal.
    hash: String,
}

/// An entry of the trail. Texts are empty where there is nothing to say.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct EntryJson {
    /// Its number: one more than that of the entry before.
    seq: u64,
    #[schema(value_type = String)]
    id: Uuid,
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    tenant: String,
    /// The id of a key, or `admin`, `local`, `host`, `guest`, `nobody`, `several`.
    actor: String,
    /// The address from which it was asked for; for a guest the request that was refused.
    from: String,
    /// The name of the operation in this document, or a word for what is none.
    action: String,
    /// A path of the API.
    resource: String,
    /// `done`, `refused`, `failed`, or `abandoned`: nobody waited for the answer.
    outcome: &'static str,
    /// The status of the answer; 0 if there was none.
    status: u16,
    /// How many acts it stands for.
    count: u64,
    /// The code of a refusal or failure, and more.
    detail: String,
    /// The hash of the entry before.
    previous: String,
    /// Its own.
    hash: String,
}

/// List the audit trail
///
/// Who changed what, from where, and how it ended; and who and what was refused. Newest first unless `order` says
/// otherwise. `cofferdam audit verify` checks the chain of hashes.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "list_audit", tag = "Access",
    params(
        ("since" = Option<String>, Query, description = "RFC 3339: not what was noted before"),
        ("tenant" = Option<String>, Query, description = "Whose right it was"),
        ("actor" = Option<String>, Query, description = "Who did it: the id of a key, or a word"),
        ("action" = Option<String>, Query, description = "What: the name of an operation, or a word"),
        ("order" = Option<String>, Query, description = "newest or oldest"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "An earlier answer's next_cursor"),
    ),
    responses((status = 200, description = "A page", body = AuditPage)),
)]
pub(crate) async fn list(State(services): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let limit = page::limit(&mut query)?;
    let order = query.parsed("order", "newest or oldest", |word| match word {
        "newest" => Some(Order::Newest),
        "oldest" => Some(Order::Oldest),
        _ => None,
    })?;
    let order = order.unwrap_or_default();
    let mut text = |name| -> Result<Option<Text>, ApiError> {
        Ok(query.text(name)?.map(|text| Text::of(&text)))
    };
    let (tenant, actor, action) = (text("tenant")?, text("actor")?, text("action")?);
    let since = query.parsed("since", "a time in RFC 3339", |text| Time::parse(text).ok())?;
    let after = page::after_entry(&mut query, order)?;
    query.done()?;
    let wanted = Wanted {
        order,
        after,
        since: since.map(|Time(at)| at),
        tenant,
        actor,
        action,
    };
    let found = services.audit.entries(&wanted, limit).await?;
    let page = AuditPage {
        items: found.entries.into_iter().map(shown).collect(),
        next_cursor: found.next.map(|after| page::entry_cursor(order, after)),
        head: link(found.ends.head),
        gone: link(found.ends.gone),
    };
    Ok(json::answer(StatusCode::OK, &page))
}

fn shown(entry: Entry) -> EntryJson {
    let text = |text: &Text| text.as_str().to_owned();
    let note = entry.note;
    EntryJson {
        seq: entry.seq,
        id: note.id,
        at: Time(note.at),
        tenant: text(&note.tenant),
        actor: text(&note.actor),
        from: text(&note.origin),
        action: text(&note.action),
        resource: text(&note.resource),
        outcome: note.outcome.as_str(),
        status: note.status,
        count: note.count,
        detail: text(&note.detail),
        previous: hex(entry.previous),
        hash: hex(entry.hash),
    }
}

fn link(link: Link) -> LinkJson {
    LinkJson {
        seq: link.seq,
        hash: hex(link.hash),
    }
}

fn hex(hash: Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
