//! Telling clients that the list of tools has changed.
//!
//! A client of a version with sessions hears it on the stream on which it listens, a client of a later
//! one on a subscription. Whoever listens to nothing is told nothing, and whoever does not read has one
//! message waiting, however many changes there are.

use std::future::ready;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rmcp::model::{JsonRpcMessage, ServerNotification, ToolListChangedNotification};
use rmcp::service::SubscriptionSink;
use rmcp::transport::streamable_http_server::session::ServerSseMessage;
use tokio::sync::watch;

use cofferdam::registry::NameChanges;
use cofferdam_domain::caller::Tenant;

/// How long changes are gathered before they are told as one.
const GATHERING: Duration = Duration::from_millis(200);

/// Changes of the lists of tools.
#[derive(Clone, Debug)]
pub(super) struct Changes(watch::Receiver<NameChanges>);

/// Those of one tenant's list, for one who listens.
#[derive(Debug)]
pub(super) struct Told {
    changes: watch::Receiver<NameChanges>,
    tenant: Tenant,
    /// What was there when it was told last.
    seen: u64,
}

impl Changes {
    /// Those that are told of here.
    pub(super) fn new(changes: watch::Receiver<NameChanges>) -> Changes {
        Changes(changes)
    }

    /// Those of a tenant's list from now on.
    pub(super) fn after_now(&self, tenant: &Tenant) -> Told {
        let mut changes = self.0.clone();
        let seen = changes.borrow_and_update().of(tenant);
        Told {
            changes,
            tenant: tenant.clone(),
            seen,
        }
    }
}

impl Told {
    /// Returns after the next change and those that follow it closely; false if there will be none.
    async fn next(&mut self) -> bool {
        loop {
            if self.changes.changed().await.is_err() {
                return false;
            }
            if self.changes.borrow_and_update().of(&self.tenant) != self.seen {
                break;
            }
        }
        tokio::time::sleep(GATHERING).await;
        self.seen = self.changes.borrow_and_update().of(&self.tenant);
        true
    }

    /// A session's stream, to its end, with messages in between for as long as `listens` says that
    /// changes are told on this one.
    pub(super) fn told_on(
        self,
        stream: impl Stream<Item = ServerSseMessage> + Send + Sync + 'static,
        listens: impl Fn() -> bool + Send + Sync + 'static,
    ) -> impl Stream<Item = ServerSseMessage> + Send + Sync + 'static {
        let messages = stream::unfold((self, listens), |(mut changes, listens)| async move {
            let told = changes.next().await && listens();
            told.then(|| (Some(message()), (changes, listens)))
        });
        let end = stream::once(ready(None));
        let both = stream::select(stream.map(Some).chain(end), messages);
        both.take_while(|message| ready(message.is_some()))
            .filter_map(ready)
    }

    /// Tells a subscriber, as long as it takes them.
    pub(super) async fn tell(mut self, subscriber: &SubscriptionSink) {
        while self.next().await {
            if subscriber.notify_tool_list_changed().await.is_err() {
                break;
            }
        }
    }
}

fn message() -> ServerSseMessage {
    let changed = ToolListChangedNotification::default();
    let changed = ServerNotification::ToolListChangedNotification(changed);
    ServerSseMessage::from_message(JsonRpcMessage::notification(changed))
}
