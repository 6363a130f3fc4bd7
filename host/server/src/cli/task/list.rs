//! `cofferdam task list`: the API's list with all of its filters, over as many pages as it takes.

use clap::Args;

use crate::cli::client::{Client, encoded};
use crate::cli::task::show;
use crate::cli::{output, units};

/// Tasks that are asked for at once.
const PAGE: u32 = 1000;

/// Flags of `task list`.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Only those in these states, separated by commas: pending, running, blocked, completed, failed,
    /// cancelled.
    #[arg(long)]
    status: Option<String>,
    /// Only those with these labels, separated by commas: the states, scheduled, retrying, cancelling,
    /// dead.
    #[arg(long)]
    label: Option<String>,
    /// Only those that show a failure of these kinds, separated by commas: timeout, trap …
    #[arg(long, value_name = "KIND")]
    error_kind: Option<String>,
    /// Only those of this module.
    #[arg(long)]
    module: Option<String>,
    /// Only those of this priority: critical, high, normal or low.
    #[arg(long)]
    priority: Option<String>,
    /// Only those whose metadata has this member. May be repeated.
    #[arg(long, value_parser = units::pair, value_name = "K=V")]
    metadata: Vec<(String, String)>,
    /// Only those that changed since an earlier list's `as_of`, or since a time in RFC 3339, the oldest
    /// change first. The new `as_of` goes to standard error.
    #[arg(long, value_name = "AS_OF")]
    since: Option<String>,
    /// How many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

impl List {
    /// What is asked for, but for the page.
    fn query(&self) -> String {
        let texts = [
            ("status", &self.status),
            ("label", &self.label),
            ("error_kind", &self.error_kind),
            ("module", &self.module),
            ("priority", &self.priority),
            ("since", &self.since),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.as_deref()?)));
        let members = self
            .metadata
            .iter()
            .map(|(name, value)| (format!("metadata.{name}"), value.as_str()));
        texts
            .chain(members)
            .map(|(name, value)| format!("&{}={}", encoded(&name), encoded(value)))
            .collect()
    }
}

pub(super) fn list(list: &List, client: &Client, json: bool) -> anyhow::Result<()> {
    let (query, mut left, mut cursor) = (list.query(), list.limit, String::new());
    while left > 0 {
        let limit = left.min(PAGE);
        let page = client
            .get(&format!("/v1/tasks?limit={limit}{query}{cursor}"))?
            .page()?;
        page.items.iter().for_each(|task| show(task, json));
        left = left.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
        if list.since.is_some() && (left == 0 || page.next_cursor.is_none()) {
            let as_of = output::printable(&page.as_of.unwrap_or_default());
            output::error_bytes(format!("as_of {as_of}\n").as_bytes());
        }
        // A page may be empty and yet not the last.
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={}", encoded(&next)),
            None => break,
        }
    }
    Ok(())
}
