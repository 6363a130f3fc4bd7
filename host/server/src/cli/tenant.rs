//! `cofferdam tenant …`: what holds for each of those who share a server.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::cli::Usage;
use crate::cli::client::{Client, encoded};
use crate::cli::key::put;
use crate::cli::output;
use crate::cli::told::Told;
use crate::cli::units;

/// The status of an answer that says that something is left.
const ACCEPTED: u16 = 202;

/// The commands on tenants.
#[derive(Debug, Subcommand)]
pub(super) enum Tenant {
    /// Make a tenant, or replace what was said of it. What is not given has no bound but the server's own.
    Put(Put),
    /// List the tenants.
    List,
    /// Show what holds for a tenant.
    Show {
        /// Its name.
        name: String,
    },
    /// Remove a tenant that has no live key, no task and no module.
    Rm {
        /// Its name.
        name: String,
        /// Remove what it has, too: its keys are revoked and its attempts cancelled first.
        #[arg(long)]
        purge: bool,
    },
}

/// What is to hold for a tenant.
#[derive(Debug, Args)]
pub(super) struct Put {
    /// Its name: a-z 0-9 _ -.
    name: String,
    /// Its part of the claims where tenants take turns.
    #[arg(long)]
    weight: Option<u32>,
    /// Tasks of its that may wait, over all hosts.
    #[arg(long)]
    pending_max: Option<u32>,
    /// Attempts that may be under way, over all hosts.
    #[arg(long)]
    running_max: Option<u32>,
    /// Bytes that may be kept for it, as 500MiB or 2GiB: modules, and what its tasks were given and left.
    #[arg(long, value_parser = units::bytes, value_name = "SIZE")]
    storage_bytes: Option<u64>,
    /// CPU time that its runs and tasks may use in a day of UTC, in milliseconds.
    #[arg(long)]
    cpu_ms_per_day: Option<u64>,
    /// Sessions that it may have at once, at each host.
    #[arg(long)]
    sessions_max: Option<u32>,
    /// How many requests its keys may make together at each host: N/second, N/minute or N/hour.
    #[arg(long)]
    rate: Option<String>,
    /// How many of them may come at once [default: a whole period's].
    #[arg(long, requires = "rate")]
    burst: Option<u32>,
    /// The most that a run may ask for of a limit, such as cpu_ms=1000; may be given several times.
    #[arg(long = "ceiling", value_name = "LIMIT=NUMBER")]
    ceilings: Vec<String>,
    /// A host that its runs may be granted, such as *.example.org:443; may be given several times [default: every
    /// one that the server allows].
    #[arg(long = "egress", value_name = "HOST[:PORT]")]
    egress: Vec<String>,
    /// Grant it no host.
    #[arg(long, conflicts_with = "egress")]
    no_egress: bool,
    /// A directory that it may be granted; may be given several times [default: every one].
    #[arg(long = "dir", value_name = "NAME")]
    dirs: Vec<String>,
    /// Grant it no directory.
    #[arg(long, conflicts_with = "dirs")]
    no_dirs: bool,
}

pub(super) fn run(command: &Tenant, client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    let path = |name: &str| format!("/v1/tenants/{}", encoded(name));
    match command {
        Tenant::Put(asked) => {
            let body = request(asked)?.to_string().into_bytes();
            let headers = [("content-type", "application/json")];
            let answer = client.send("PUT", &path(&asked.name), &headers, body)?;
            show(&answer.told()?, json);
        }
        Tenant::List => client.each("/v1/tenants?limit=1000", |tenant| show(tenant, json))?,
        Tenant::Show { name } => show(&client.get(&path(name))?.told()?, json),
        Tenant::Rm { name, purge: false } => {
            client.delete(&path(name))?;
        }
        Tenant::Rm { name, purge: true } => {
            let path = format!("{}?purge=true", path(name));
            // The server answers as long as something is left.
            while client.delete(&path)?.status == ACCEPTED {}
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn request(asked: &Put) -> anyhow::Result<Value> {
    let mut body = json!({});
    put(&mut body, "weight", asked.weight.map(Value::from));
    put(&mut body, "pending_max", asked.pending_max.map(Value::from));
    put(&mut body, "running_max", asked.running_max.map(Value::from));
    put(
        &mut body,
        "storage_bytes",
        asked.storage_bytes.map(Value::from),
    );
    put(
        &mut body,
        "cpu_ms_per_day",
        asked.cpu_ms_per_day.map(Value::from),
    );
    put(
        &mut body,
        "sessions_max",
        asked.sessions_max.map(Value::from),
    );
    put(&mut body, "rate", asked.rate.clone().map(Value::from));
    put(&mut body, "burst", asked.burst.map(Value::from));
    if asked.no_egress || !asked.egress.is_empty() {
        body["egress"] = json!(asked.egress);
    }
    if asked.no_dirs || !asked.dirs.is_empty() {
        body["dirs"] = json!(asked.dirs);
    }
    if !asked.ceilings.is_empty() {
        body["ceilings"] = Value::Object(ceilings(&asked.ceilings)?);
    }
    Ok(body)
}

fn ceilings(asked: &[String]) -> anyhow::Result<Map<String, Value>> {
    let one = |text: &String| {
        let pair = text.split_once('=');
        let pair = pair.and_then(|(limit, number)| Some((limit, number.parse::<u64>().ok()?)));
        let (limit, number) = pair.ok_or_else(|| {
            Usage(format!(
                "--ceiling {text}: a limit and a number, such as cpu_ms=1000"
            ))
        })?;
        Ok((limit.to_owned(), Value::from(number)))
    };
    asked.iter().map(one).collect()
}

fn show(tenant: &Told, json: bool) {
    if json {
        return output::line(tenant.as_it_came());
    }
    let name = output::printable(tenant["name"].as_str().unwrap_or("-"));
    let ceilings = tenant["ceilings"].as_object().into_iter().flatten();
    let ceilings = ceilings.filter(|(_, most)| !most.is_null());
    let ceilings: Vec<_> = ceilings
        .map(|(limit, most)| format!("{limit}={most}"))
        .collect();
    output::line(&output::printable(&format!(
        "{name:<24} weight {}{}, egress {}, dirs {}, ceilings {}",
        tenant["weight"],
        bounds(tenant),
        tenant["egress"],
        tenant["dirs"],
        match ceilings.is_empty() {
            true => "-".to_owned(),
            false => ceilings.join(" "),
        },
    )));
}

/// The bounds that it has.
fn bounds(tenant: &Told) -> String {
    let names = [
        "pending_max",
        "running_max",
        "storage_bytes",
        "cpu_ms_per_day",
        "sessions_max",
    ];
    let set = names.into_iter().filter(|name| !tenant[*name].is_null());
    set.map(|name| format!(", {name} {}", tenant[name]))
        .collect()
}
