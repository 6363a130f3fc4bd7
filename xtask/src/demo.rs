//! `cargo xtask demo`: the product's main jobs on real input, from nothing to results.
//!
//! It builds only what it shows, with the profile `demo`, which is ready soon rather than fast.
//! Things that do not depend on one another are built at the same time. Each module knows how to
//! build its own thing.

mod host;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::demo::host::Host;
use crate::jobs::Job;
use crate::process::say;
use crate::{guests, interpreters, set_up};

/// The modules that are uploaded.
const MODULES: [&str; 6] = [
    "transform",
    "thumbnail",
    "wordcount",
    "optimise",
    "primes",
    "report",
];

/// Builds, starts a host on a fresh data directory, runs the examples and code, stops.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    build(root)?;
    let data = root.join("target/demo-data");
    if data.exists() {
        std::fs::remove_dir_all(&data).context("the last demonstration's data")?;
    }
    say("== starting a host on embedded storage");
    let host = Host::start(root, &data)?;
    say(&format!(
        "It listens on {} and compiles its interpreters meanwhile.",
        host.base
    ));
    upload(root, &host)?;
    tasks(root, &host)?;
    code(root, &host)?;
    say("== stopping");
    host.stop()?;
    say(&format!(
        "The demonstration went well, after {} s. Its program is target/demo/cofferdam (`--help` is \
         next), its data is in target/demo-data. For use, build it optimised: cargo build --release",
        begun.elapsed().as_secs()
    ));
    Ok(())
}

/// Builds the host, and meanwhile the guests and the interpreters.
fn build(root: &Path) -> anyhow::Result<()> {
    say("== what the machine must have");
    // One after the other: package managers lock one another out.
    set_up::c_compiler(root)?;
    set_up::programs(
        root,
        &[("python3", "python3"), ("node", "nodejs"), ("npm", "npm")],
    )?;
    set_up::rust_targets(root, &["wasm32-wasip1", "wasm32-wasip2"])?;
    say("== building: minutes, most of them for the host's 450 crates");
    let python = Job::start(root, "the Python interpreter", &["build", "python"])?;
    let examples = Job::start(root, "the example modules", &["build", "examples"])?;
    let javascript = Job::start(root, "the JavaScript interpreter", &["build", "javascript"])?;
    interpreters::build_host(root)?;
    javascript.wait()?;
    python.wait()?;
    // This takes a snapshot with a program that is built together with the host.
    interpreters::install(root)?;
    examples.wait()
}

fn upload(root: &Path, host: &Host) -> anyhow::Result<()> {
    say("== uploading the modules: each is checked and compiled in a confined child process");
    let folder = guests::built_soon(root);
    for name in MODULES {
        let file = folder.join(format!("{name}.wasm"));
        let file = file.strip_prefix(root).unwrap_or(&file).to_string_lossy();
        host.capture(root, &["module", "push", name, &file])?;
    }
    host.cofferdam(root, &["module", "list"])
}

fn tasks(root: &Path, host: &Host) -> anyhow::Result<()> {
    say("== a table from CSV to JSON");
    host.cofferdam(
        root,
        &submit("transform", "examples/transform/data/request.json"),
    )?;
    say("== the words of a text, most frequent first");
    host.cofferdam(
        root,
        &submit("wordcount", "examples/wordcount/data/map.json"),
    )?;
    say("== primes below a bound");
    host.cofferdam(root, &submit("primes", "examples/primes/data/range.json"))?;
    say("== an optimiser that reports progress");
    host.cofferdam(
        root,
        &submit("optimise", "examples/optimise/data/rastrigin.json"),
    )?;
    thumbnail(root, host)?;
    say("== a plain WASI command with arguments, environment and standard input");
    let mut report = submit("report", "examples/report/data/sales.txt");
    report.extend(["--content-type", "text/plain", "--env", "REPORT_UNIT=EUR"]);
    report.extend(["--", "--top", "3", "Sales"]);
    host.cofferdam(root, &report)?;
    say("== what the host remembers");
    host.cofferdam(root, &["task", "list"])
}

fn thumbnail(root: &Path, host: &Host) -> anyhow::Result<()> {
    say("== a photograph made small");
    let out = root.join("target/demo-thumbnail.png");
    let mut thumbnail = submit("thumbnail", "examples/thumbnail/data/mountains.jpg");
    thumbnail.extend(["--content-type", "image/jpeg"]);
    let picture = host.capture(root, &thumbnail)?;
    ensure!(
        picture.starts_with(b"\x89PNG"),
        "the thumbnail is not a PNG"
    );
    std::fs::write(&out, &picture)?;
    let size = picture.len();
    say(&format!("{size} bytes of PNG in {}", out.display()));
    Ok(())
}

fn submit<'a>(module: &'a str, input: &'a str) -> Vec<&'a str> {
    vec!["task", "submit", module, "--wait", "--input", input]
}

fn code(root: &Path, host: &Host) -> anyhow::Result<()> {
    say("== untrusted Python with a file; the interpreters must be compiled by this step");
    let python = "import csv, statistics\n\
        rows = list(csv.DictReader(open(\"cities.csv\")))\n\
        print(len(rows), \"cities\")\n\
        {\"columns\": list(rows[0]), \"first\": rows[0]}";
    let file = "cities.csv=examples/transform/data/cities.csv";
    host.cofferdam(root, &["exec", "--file", file, "--python", python])?;
    say("== JavaScript");
    let javascript = r#"[..."cofferdam"].map(c => c.toUpperCase()).sort().join("")"#;
    host.cofferdam(root, &["exec", "--javascript", javascript])?;
    say("== code that does not end meets its limit");
    host.refused(
        root,
        &["exec", "--timeout", "500ms", "--python", "while True: pass"],
    )?;
    say("== a session keeps its variables between calls");
    let id = host.capture(root, &["session", "start", "python"])?;
    let id = String::from_utf8_lossy(&id).trim().to_owned();
    host.cofferdam(root, &["session", "exec", &id, "total = sum(range(101))"])?;
    host.cofferdam(root, &["session", "exec", &id, "total * 2"])?;
    host.cofferdam(root, &["session", "end", &id])
}
