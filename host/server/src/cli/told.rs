//! What the API returned: read, to be shown to people, and as it came, for programs. A number that is
//! read is rounded where it is longer than 64 bits.

use std::ops::Deref;

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::client::{Answer, Client, encoded};

/// JSON that was read.
pub(super) struct Told {
    came: Box<RawValue>,
    read: Value,
}

impl Told {
    fn new(came: Box<RawValue>) -> anyhow::Result<Told> {
        let read = serde_json::from_str(came.get()).context(NOT_JSON)?;
        Ok(Told { came, read })
    }

    /// Letter by letter.
    pub(super) fn as_it_came(&self) -> &str {
        self.came.get()
    }
}

impl Deref for Told {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.read
    }
}

/// One page of a list.
pub(super) struct Page {
    pub(super) items: Vec<Told>,
    pub(super) next_cursor: Option<String>,
    pub(super) as_of: Option<String>,
}

impl Client {
    /// Shows every item of a list, page by page; `path` has a query.
    pub(super) fn each(&self, path: &str, mut show: impl FnMut(&Told)) -> anyhow::Result<()> {
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}{cursor}"))?.page()?;
            page.items.iter().for_each(&mut show);
            match &page.next_cursor {
                Some(next) => cursor = format!("&cursor={}", encoded(next)),
                None => return Ok(()),
            }
        }
    }
}

const NOT_JSON: &str = "the server's answer is not JSON";

impl Answer {
    /// The whole answer.
    pub(super) fn told(&self) -> anyhow::Result<Told> {
        Told::new(serde_json::from_slice(&self.body).context(NOT_JSON)?)
    }

    /// The answer as one page of a list.
    pub(super) fn page(&self) -> anyhow::Result<Page> {
        #[derive(Deserialize)]
        struct Came {
            items: Vec<Box<RawValue>>,
            next_cursor: Option<String>,
            as_of: Option<String>,
        }
        let came: Came = serde_json::from_slice(&self.body)
            .context("the server's answer is not what it should be")?;
        let items = came.items.into_iter().map(Told::new);
        Ok(Page {
            items: items.collect::<anyhow::Result<_>>()?,
            next_cursor: came.next_cursor,
            as_of: came.as_of,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_out_as_they_came() {
        let text = r#"{"items":[{"n":18446744073709551617}],"next_cursor":null}"#;
        let body = text.as_bytes().to_vec();
        let answer = Answer { status: 200, body };
        let page = answer.page().unwrap();
        assert_eq!(page.items[0].as_it_came(), r#"{"n":18446744073709551617}"#);
        assert!(page.items[0]["n"].is_number() && page.as_of.is_none());
        assert_eq!(answer.told().unwrap().as_it_came(), text);
    }
}
