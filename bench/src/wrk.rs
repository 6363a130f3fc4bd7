//! Load by `wrk -t1 --latency`, the same for every server.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// One fixed POST, over and over.
#[derive(Clone, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) url: String,
    pub(crate) content_type: &'a str,
    pub(crate) body: &'a str,
    pub(crate) connections: usize,
    pub(crate) seconds: u64,
    /// The API key that every request shows, if the server asks for one.
    pub(crate) key: Option<&'a str>,
}

/// The measurements of `wrk`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Answers outside 2xx and 3xx, and connections that broke.
    pub(crate) errors: u64,
}

/// Puts the load on a server; an error if `wrk` cannot be run, not if the server answers badly.
pub(crate) fn run(load: &Load<'_>) -> anyhow::Result<Seen> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("wrk/post.lua");
    let output = Command::new("wrk")
        .args(["-t1", "--latency", "--timeout", "10s"])
        .arg(format!("-c{}", load.connections))
        .arg(format!("-d{}s", load.seconds))
        .arg("-s")
        .arg(script)
        .args([&load.url, "--", load.content_type, load.body])
        .args(load.key)
        .stdin(Stdio::null())
        .output()
        .context("wrk cannot be started; cargo xtask bench installs it")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "wrk ended with {}: {text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    parse(&text).with_context(|| format!("wrk's output is not as expected:\n{text}"))
}

fn parse(text: &str) -> Option<Seen> {
    let after = |label: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(label))
            .map(str::trim)
    };
    let requests = text.lines().find(|line| line.contains(" requests in "))?;
    let socket_errors = after("Socket errors:").map_or(0, |list| {
        list.split([' ', ','])
            .filter_map(|word| word.parse::<u64>().ok())
            .sum()
    });
    let bad_answers = after("Non-2xx or 3xx responses:").map_or(Some(0), |n| n.parse().ok())?;
    Some(Seen {
        requests: requests.split_whitespace().next()?.parse().ok()?,
        per_second: after("Requests/sec:")?.parse().ok()?,
        p50_us: microseconds(after("50%")?)?,
        p99_us: microseconds(after("99%")?)?,
        errors: socket_errors + bad_answers,
    })
}

fn microseconds(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let factor = match &text[digits.len()..] {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_is_understood() {
        let text = "Running 1s test @ http://127.0.0.1:34313/
  Latency Distribution
     50%   58.00us
     75%   86.00us
     90%    1.91ms
     99%    4.37ms
  27050 requests in 1.10s, 2.86MB read
  Socket errors: connect 0, read 1, write 2, timeout 0
  Non-2xx or 3xx responses: 4
Requests/sec:  24589.17
Transfer/sec:      2.60MB
";
        let seen = parse(text).unwrap();
        assert_eq!(
            seen,
            Seen {
                requests: 27050,
                per_second: 24589.17,
                p50_us: 58.0,
                p99_us: 4370.0,
                errors: 7,
            }
        );
    }
}
