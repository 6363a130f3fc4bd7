//! `cofferdam audit …`: the trail of what was changed, and whether somebody tampered with it.

mod asked;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::app::trail::{Ends, Link, Verified, walk};
use crate::app::verify;
use crate::cli::client::{Client, encoded};
use crate::cli::serve::{self, ConfigSource};
use crate::cli::told::Told;
use crate::cli::{EXIT_FAILED, Usage, output};

/// Entries that are asked for at once.
const PAGE: usize = 1000;

/// The commands on the audit trail.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// List the trail, the newest entry first.
    List(List),
    /// Check the chain of hashes from its beginning to its end; exit code 1 if somebody tampered with it.
    ///
    /// It prints the newest entry as NUMBER:HASH. Note it elsewhere: whoever can write into the database can
    /// make a whole new chain, and only a note that they cannot reach finds them out.
    Verify(Box<Verify>),
}

/// Which entries are listed.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Not those from before, in RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those by this key, or by admin, local, host, guest, nobody.
    #[arg(long)]
    actor: Option<String>,
    /// Only those of this operation, such as put_module.
    #[arg(long)]
    action: Option<String>,
    /// Only those of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// What is verified.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// An entry as an earlier verification printed it.
    #[arg(long, value_name = "NUMBER:HASH")]
    noted: Option<Link>,
    /// Read the database itself instead of asking a server, whether a host uses it or not.
    #[arg(long)]
    here: bool,
    #[command(flatten)]
    source: ConfigSource,
    /// With --here: the storage, sqlite or the URL of a PostgreSQL database. What the configuration says if
    /// absent.
    #[arg(long, value_name = "sqlite|URL", requires = "here")]
    storage: Option<String>,
}

pub(super) fn run(
    command: &Audit,
    client: impl FnOnce() -> anyhow::Result<Client>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    match command {
        Audit::List(wanted) => list(wanted, &client()?, json),
        Audit::Verify(wanted) => {
            let verified = match wanted.here {
                true => {
                    let config = serve::with_storage(&wanted.source, wanted.storage.as_deref())?;
                    verify(&config.storage, wanted.noted).context("the trail cannot be read")?
                }
                false if wanted.source.is_named() => {
                    let why = "--data and --config are for --here; without it the server is asked";
                    return Err(Usage(why.to_owned()).into());
                }
                false => {
                    let client = client()?;
                    let mut pages = asked::Pages::of(&client);
                    walk(wanted.noted, |_after| pages.next())?
                }
            };
            Ok(tell(verified, json))
        }
    }
}

fn list(wanted: &List, client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    let size = wanted.limit.clamp(1, PAGE);
    let mut path = format!("/v1/audit?limit={size}");
    for (name, value) in [
        ("since", &wanted.since),
        ("actor", &wanted.actor),
        ("action", &wanted.action),
        ("tenant", &wanted.tenant),
    ] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    let (mut cursor, mut left) = (String::new(), wanted.limit);
    loop {
        let page = client.get(&format!("{path}{cursor}"))?.page()?;
        let shown = page.items.iter().take(left);
        shown.clone().for_each(|entry| show(entry, json));
        left -= shown.len();
        match page.next_cursor {
            Some(next) if left > 0 => cursor = format!("&cursor={}", encoded(&next)),
            Some(_) | None => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn show(entry: &Told, json: bool) {
    if json {
        return output::line(entry.as_it_came());
    }
    let text = |field: &str| match entry[field].as_str() {
        Some("") | None => "-".to_owned(),
        Some(text) => output::printable(text),
    };
    let times = match entry["count"].as_u64() {
        Some(1) | None => String::new(),
        Some(count) => format!(" ({count} times)"),
    };
    output::line(&format!(
        "{:>8}  {}  {:<9} {:<16} {:<12} {:<15} {} {} {}{times}",
        entry["seq"],
        text("at"),
        text("outcome"),
        text("actor"),
        text("tenant"),
        text("from"),
        text("action"),
        text("resource"),
        text("detail"),
    ));
}

fn tell(verified: Verified, json: bool) -> ExitCode {
    let Verified {
        entries,
        ends: Ends { head, gone },
        broken,
    } = verified;
    if json {
        let told = serde_json::json!({
            "entries": entries,
            "head": head.to_string(),
            "gone": gone.to_string(),
            "broken": broken.map(|broken| serde_json::json!({
                "seq": broken.seq,
                "fault": broken.fault.to_string(),
            })),
        });
        output::line(&told.to_string());
    } else {
        match broken {
            None => output::line(&format!(
                "{entries} entries follow one another; the newest is {head}"
            )),
            Some(broken) => output::line(&format!(
                "{entries} entries follow one another, then the trail is broken. {broken}"
            )),
        }
    }
    match broken {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::from(EXIT_FAILED),
    }
}
