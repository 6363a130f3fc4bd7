//! `cargo xtask demo`: the product's main job on real input, from nothing to results.
//!
//! It uses the program's own command line as its client, so what it prints is what a user would
//! type and see.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

use crate::process::{self, say};
use crate::{guests, interpreters};

/// The modules that are uploaded.
const MODULES: [&str; 7] = [
    "echo",
    "transform",
    "thumbnail",
    "wordcount",
    "optimise",
    "primes",
    "report",
];

/// Builds everything, starts a host on a fresh data directory, runs the examples, stops.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    say("== building the example modules");
    guests::build(root)?;
    say("== building the host");
    process::run(root, "cargo", &["build", "--release", "--workspace"])?;
    say("== building the interpreters");
    interpreters::install(root)?;
    let data = root.join("target/demo");
    if data.exists() {
        std::fs::remove_dir_all(&data).context("the last demonstration's data")?;
    }
    say("== starting a host on embedded storage");
    let host = Host::start(root, &data)?;
    say(&format!("listening on {}", host.base));
    upload(root, &host)?;
    work(root, &host)?;
    say("== stopping");
    host.stop()?;
    say("The demonstration went well. Its data is in target/demo; `cofferdam --help` is next.");
    Ok(())
}

fn upload(root: &Path, host: &Host) -> anyhow::Result<()> {
    say("== uploading the modules: each is checked and compiled in a confined child process");
    for name in MODULES {
        let file = root.join(format!("target/guests/{name}.wasm"));
        host.cofferdam(root, &["module", "push", name, &file.to_string_lossy()])?;
    }
    host.cofferdam(root, &["module", "list"])
}

fn work(root: &Path, host: &Host) -> anyhow::Result<()> {
    let out = root.join("target/demo-thumbnail.png");
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
    say("== a photograph made small");
    let mut thumbnail = submit("thumbnail", "examples/thumbnail/data/mountains.jpg");
    thumbnail.extend(["--content-type", "image/jpeg"]);
    let picture = host.capture(root, &thumbnail)?;
    ensure!(picture.starts_with(b"\x89PNG"), "the thumbnail is no PNG");
    std::fs::write(&out, &picture)?;
    say(&format!(
        "{} bytes of PNG in {}",
        picture.len(),
        out.display()
    ));
    say("== a plain WASI command with arguments, environment and standard input");
    let mut report = submit("report", "examples/report/data/sales.txt");
    report.extend([
        "--content-type",
        "text/plain",
        "--env",
        "REPORT_UNIT=EUR",
        "--",
        "--top",
        "3",
        "Sales",
    ]);
    host.cofferdam(root, &report)?;
    say("== what the host remembers");
    host.cofferdam(root, &["task", "list"])
}

fn submit<'a>(module: &'a str, input: &'a str) -> Vec<&'a str> {
    vec!["task", "submit", module, "--wait", "--input", input]
}

/// A running host; killed if this is dropped without [`Host::stop`].
struct Host {
    child: Child,
    base: String,
    program: PathBuf,
}

impl Host {
    fn start(root: &Path, data: &Path) -> anyhow::Result<Host> {
        let program = root.join("target/release/cofferdam");
        let mut child = Command::new(&program)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout is piped")).read_line(&mut line)?;
        let base = line
            .trim()
            .strip_prefix("listening on ")
            .context("the host did not start")?;
        Ok(Host {
            base: base.to_owned(),
            child,
            program,
        })
    }

    /// Runs a client command and shows it with what it prints.
    fn cofferdam(&self, root: &Path, args: &[&str]) -> anyhow::Result<()> {
        let output = self.capture(root, args)?;
        say(&String::from_utf8_lossy(&output));
        Ok(())
    }

    fn capture(&self, root: &Path, args: &[&str]) -> anyhow::Result<Vec<u8>> {
        say(&format!("$ cofferdam {}", args.join(" ")));
        let output = Command::new(&self.program)
            .args(["--server", &self.base])
            .args(args)
            .current_dir(root)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "it ended with {}", output.status);
        Ok(output.stdout)
    }

    /// Asks the host to end as an operator would, and waits.
    fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().to_string();
        ensure!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()?
                .success(),
            "kill failed"
        );
        let status = self.child.wait()?;
        ensure!(status.success(), "the host ended with {status}");
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // After `stop` there is nothing left to end.
        let _already_gone = self.child.kill();
        let _already_waited_for = self.child.wait();
    }
}
