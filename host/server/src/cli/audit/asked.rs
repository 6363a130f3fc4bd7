//! The audit trail as a server tells it, as what it was made of, so that its hashes can be made again.

use anyhow::{Context, anyhow};
use serde::Deserialize;
use uuid::Uuid;

use super::PAGE;
use crate::app::trail::{Ends, Entry, Link, TrailPage};
use crate::cli::client::{Client, encoded};
use cofferdam_domain::audit::{Note, Outcome, Text};
use cofferdam_domain::time::Timestamp;

/// A page of the API.
#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    next_cursor: Option<String>,
    head: Told,
    gone: Told,
}

#[derive(Deserialize)]
struct Told {
    seq: u64,
    hash: String,
}

#[derive(Deserialize)]
struct Item {
    seq: u64,
    id: Uuid,
    at: String,
    tenant: String,
    actor: String,
    from: String,
    action: String,
    resource: String,
    outcome: String,
    status: u16,
    count: u64,
    detail: String,
    previous: String,
    hash: String,
}

/// The pages of a trail, oldest entry first.
pub(super) struct Pages<'a> {
    client: &'a Client,
    cursor: String,
}

impl Pages<'_> {
    pub(super) fn of(client: &Client) -> Pages<'_> {
        Pages {
            client,
            cursor: String::new(),
        }
    }

    /// The next page.
    pub(super) fn next(&mut self) -> anyhow::Result<TrailPage> {
        let path = format!("/v1/audit?order=oldest&limit={PAGE}{}", self.cursor);
        let answer = self.client.get(&path)?;
        let page: Page = serde_json::from_slice(&answer.body)
            .context("the server's answer is not what it should be")?;
        let entries: anyhow::Result<Vec<Entry>> = page.items.into_iter().map(entry).collect();
        let (entries, next) = (entries?, page.next_cursor);
        self.cursor = next
            .as_deref()
            .map_or_else(String::new, |next| format!("&cursor={}", encoded(next)));
        let last = entries.last().map_or(0, |last| last.seq);
        Ok(TrailPage {
            entries,
            next: next.map(|_| last),
            ends: Ends {
                head: link(page.head.seq, &page.head.hash)?,
                gone: link(page.gone.seq, &page.gone.hash)?,
            },
        })
    }
}

fn entry(item: Item) -> anyhow::Result<Entry> {
    let what = || format!("entry {} of the server's answer", item.seq);
    let at: jiff::Timestamp = item.at.parse().with_context(what)?;
    let outcome = Outcome::parse(&item.outcome);
    let outcome = outcome
        .ok_or_else(|| anyhow!("an unknown outcome"))
        .with_context(what)?;
    let note = Note {
        id: item.id,
        at: Timestamp::from_millis(at.as_millisecond()),
        tenant: Text::of(&item.tenant),
        actor: Text::of(&item.actor),
        origin: Text::of(&item.from),
        action: Text::of(&item.action),
        resource: Text::of(&item.resource),
        outcome,
        status: item.status,
        count: item.count,
        detail: Text::of(&item.detail),
    };
    Ok(Entry {
        seq: item.seq,
        note,
        previous: link(0, &item.previous)?.hash,
        hash: link(item.seq, &item.hash)?.hash,
    })
}

fn link(seq: u64, hex: &str) -> anyhow::Result<Link> {
    let link = format!("{seq}:{hex}").parse();
    link.with_context(|| format!("the hash of entry {seq} in the server's answer"))
}
