//! (l) What HTTPS and keys cost: `/v1/run` with the smallest guest, of a host that has neither, of one that has
//! HTTPS, and of one that has both, all running at once and measured in turn.

use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use tempfile::TempDir;

use crate::Plan;
use crate::host::{Host, Start};
use crate::place::Place;
use crate::report::{Aim, Report, Table};
use crate::run::{TINY, Target, measure};

const CONNECTIONS: usize = 64;
const PLAIN: usize = 0;
const SECURE: usize = 1;
const WITH_KEYS: usize = 2;

pub(crate) fn run(place: &Place, plan: &Plan) -> anyhow::Result<Report> {
    let data = [TempDir::new()?, TempDir::new()?, TempDir::new()?];
    let plain = Host::start(place, data[PLAIN].path())?;
    let secure = with_https(place, data[SECURE].path())?;
    let with_keys = with_https(place, data[WITH_KEYS].path())?;
    let tiny = std::fs::read(place.file(TINY)?)?;
    for host in [&plain, &secure, &with_keys] {
        host.upload_bytes("tiny", "text/wat", &tiny)?;
    }
    let key = first_key(&with_keys)?;
    let path = "/v1/run/tiny";
    let targets = [
        Target::new("HTTP", path, &plain.server),
        Target::new("HTTPS", path, &secure.server),
        Target::new("HTTPS and keys", path, &with_keys.server).with_key(&key),
    ];
    let series = measure(&targets, CONNECTIONS, plan)?;
    let mut report = Report::new(
        "tls",
        format!(
            "POST of 16 bytes to /v1/run, {CONNECTIONS} connections that stay open, TLS 1.3 where wrk has it. \
             wrk -t1, {} rounds of {} s for each host in turn, median (min–max).",
            plan.rounds, plan.seconds
        ),
    );
    let mut table = Table::new(&[
        "host",
        "requests/s",
        "p50 µs",
        "p99 µs",
        "server CPU µs/request",
        "errors",
        "CPU ÷ that of HTTP",
    ]);
    for one in &series {
        table.row([
            one.name.to_owned(),
            one.per_second.text(),
            one.p50_us.text(),
            one.p99_us.text(),
            one.cpu_us.text(),
            one.errors.to_string(),
            one.cpu_us.over(&series[PLAIN].cpu_us).text(),
        ]);
    }
    report.tables.push(table);
    let ratio = series[WITH_KEYS].cpu_us.over(&series[PLAIN].cpu_us);
    report.goal(
        "CPU of a request with HTTPS and keys ÷ without",
        Aim::AtMost(1.1),
        &ratio,
    );
    Ok(report)
}

fn with_https(place: &Place, data: &Path) -> anyhow::Result<Host> {
    let start = Start {
        environment: certificate(data)?,
        ..Start::default()
    };
    Host::start_with(place, data, start)
}

/// Makes a host's first key. From then on it asks for one.
fn first_key(host: &Host) -> anyhow::Result<String> {
    let wanted =
        json!({"tenant": "default", "name": "bench", "scopes": ["admin", "run"]}).to_string();
    let answer = host
        .client
        .post("/v1/keys", "application/json", wanted.as_bytes())?;
    let made = answer.json(&[201])?;
    let key = made["key"].as_str().context("an answer without its key")?;
    Ok(key.to_owned())
}

/// Makes a certificate of this machine; the variables that name it.
fn certificate(folder: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let mut variables = Vec::new();
    for (name, file, text) in [
        (
            "COFFERDAM_HTTP_TLS_CERTIFICATE",
            "chain.pem",
            made.cert.pem(),
        ),
        (
            "COFFERDAM_HTTP_TLS_KEY",
            "key.pem",
            made.signing_key.serialize_pem(),
        ),
    ] {
        let path = folder.join(file);
        std::fs::write(&path, text)?;
        variables.push((name, path.display().to_string()));
    }
    Ok(variables)
}
