//! `cofferdam key …`: the keys that a server asks its callers for.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::client::{Client, encoded};
use crate::cli::output;
use crate::cli::told::Told;

/// The commands on keys.
#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a key. It is printed once, on standard output; the server keeps only a hash of it.
    Create(Create),
    /// List the keys, without their secrets.
    List {
        /// Only those of this tenant.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Revoke a key: it opens nothing any more, at any host within five seconds.
    Revoke {
        /// Its id.
        id: String,
    },
    /// Make a key in the place of another, which goes on for a while.
    Rotate {
        /// The id of the old one.
        id: String,
        /// How long the old one goes on, in milliseconds [default: an hour].
        #[arg(long)]
        overlap_ms: Option<u64>,
    },
}

/// A key to be made.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// What people call it.
    #[arg(long)]
    name: String,
    /// What it may do: run, read, modules, admin; may be given several times.
    #[arg(long = "scope", required = true, value_delimiter = ',')]
    scopes: Vec<String>,
    /// For whom it speaks [default: the tenant default].
    #[arg(long)]
    tenant: Option<String>,
    /// When it ceases to open anything, in RFC 3339.
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// How many requests it may make at each host: N/second, N/minute or N/hour.
    #[arg(long)]
    rate: Option<String>,
    /// How many of them may come at once [default: a whole period's].
    #[arg(long, requires = "rate")]
    burst: Option<u32>,
}

pub(super) fn run(command: &Key, client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        Key::Create(create) => {
            let answer = client.post("/v1/keys", &[], &request(create))?;
            show_made(&answer.told()?, json);
        }
        Key::List { tenant } => {
            let tenant = tenant.as_deref().map(encoded);
            let tenant = tenant.map(|tenant| format!("&tenant={tenant}"));
            let path = format!("/v1/keys?limit=1000{}", tenant.unwrap_or_default());
            client.each(&path, |key| show(key, json))?;
        }
        Key::Revoke { id } => {
            client.delete(&format!("/v1/keys/{}", encoded(id)))?;
        }
        Key::Rotate { id, overlap_ms } => {
            let mut body = json!({});
            put(&mut body, "overlap_ms", overlap_ms.map(Value::from));
            let path = format!("/v1/keys/{}/rotate", encoded(id));
            show_made(&client.post(&path, &[], &body)?.told()?, json);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn request(create: &Create) -> Value {
    let mut body = json!({"name": create.name, "scopes": create.scopes});
    put(&mut body, "tenant", create.tenant.clone().map(Value::from));
    put(
        &mut body,
        "expires_at",
        create.expires_at.clone().map(Value::from),
    );
    put(&mut body, "rate", create.rate.clone().map(Value::from));
    put(&mut body, "burst", create.burst.map(Value::from));
    body
}

/// Sets a field that was given.
pub(super) fn put(body: &mut Value, field: &str, value: Option<Value>) {
    if let Some(value) = value {
        body[field] = value;
    }
}

/// The key alone, so that a script can take it.
fn show_made(made: &Told, json: bool) {
    match json {
        true => output::line(made.as_it_came()),
        false => output::line(&output::printable(made["key"].as_str().unwrap_or_default())),
    }
}

fn show(key: &Told, json: bool) {
    if json {
        return output::line(key.as_it_came());
    }
    let text = |field: &str| output::printable(key[field].as_str().unwrap_or("-"));
    let scopes = key["scopes"].as_array().into_iter().flatten();
    let scopes: Vec<&str> = scopes.filter_map(Value::as_str).collect();
    output::line(&format!(
        "{}  {:<8} {:<16} {:<24} {:<24} {}",
        text("id"),
        text("state"),
        text("tenant"),
        output::printable(&scopes.join(",")),
        text("expires_at"),
        text("name"),
    ));
}
