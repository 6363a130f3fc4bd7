//! A plain WASI command, without the SDK: sums the amounts on stdin by name, prints a table, and
//! leaves the same as a file under `/out`. It shows all that a command has: arguments,
//! environment, stdin, stdout, stderr, files and exit codes.
//!
//! ```text
//! report [--top N] TITLE < lines      each line: NAME AMOUNT; REPORT_UNIT is printed after amounts
//! ```
//!
//! Exit codes: 0 done, 1 no line could be read, 2 an input or output error, 3 wrong usage.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::{env, fs};

/// The directory whose files become the task's artifacts; it is absent in a run by hand.
const OUT: &str = "/out";

fn main() -> ExitCode {
    let Some(options) = Options::parse(env::args().skip(1)) else {
        eprintln!("usage: report [--top N] TITLE < lines of NAME AMOUNT");
        return ExitCode::from(3);
    };
    let unit = env::var("REPORT_UNIT").unwrap_or_default();
    match run(&options, &unit, io::stdin().lock(), io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::from(2)
        }
    }
}

#[derive(Debug, PartialEq)]
struct Options {
    title: String,
    top: usize,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let (mut title, mut top) = (None, usize::MAX);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--top" => top = args.next()?.parse().ok()?,
                _ if arg.starts_with('-') || title.is_some() => return None,
                _ => title = Some(arg),
            }
        }
        Some(Self { title: title?, top })
    }
}

/// Writes the report; false when not one line could be read.
fn run(
    options: &Options,
    unit: &str,
    input: impl BufRead,
    mut output: impl Write,
) -> io::Result<bool> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for (number, line) in input.lines().enumerate() {
        let line = line?;
        match parse(&line) {
            Some((name, amount)) => *sums.entry(name.to_owned()).or_default() += amount,
            None if line.trim().is_empty() => {}
            None => eprintln!("line {}: expected NAME AMOUNT, found {line:?}", number + 1),
        }
    }
    let mut rows: Vec<(String, f64)> = sums.into_iter().collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    rows.truncate(options.top);

    writeln!(output, "{}", options.title)?;
    for (name, amount) in &rows {
        writeln!(output, "{name:<12} {amount:>10.2} {unit}")?;
    }
    output.flush()?;
    if fs::metadata(OUT).is_ok() {
        let lines: String = rows
            .iter()
            .map(|(name, amount)| format!("{name},{amount}\n"))
            .collect();
        fs::write(format!("{OUT}/report.csv"), format!("name,amount\n{lines}"))?;
    }
    Ok(!rows.is_empty())
}

/// The last word is the amount; the words before it are the name.
fn parse(line: &str) -> Option<(&str, f64)> {
    let (name, amount) = line.trim().rsplit_once(char::is_whitespace)?;
    let amount: f64 = amount.parse().ok()?;
    amount.is_finite().then_some((name.trim(), amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Option<Options> {
        Options::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn usage_is_checked() {
        assert_eq!(
            options(&["--top", "2", "T"]),
            Some(Options {
                title: "T".into(),
                top: 2
            })
        );
        for wrong in [
            &[][..],
            &["a", "b"],
            &["--top"],
            &["--top", "x", "T"],
            &["--what", "T"],
        ] {
            assert_eq!(options(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn amounts_are_summed_and_sorted() {
        let mut output = Vec::new();
        let input = "tea 1.5\n\nblack coffee 3\nnonsense\ntea 2\n".as_bytes();
        let options = options(&["Sales"]).unwrap();
        assert!(run(&options, "EUR", input, &mut output).unwrap());
        assert_eq!(
            String::from_utf8(output).unwrap(),
            "Sales\ntea                3.50 EUR\nblack coffee       3.00 EUR\n"
        );
    }

    #[test]
    fn an_input_without_a_line_is_told_apart() {
        let options = options(&["Sales"]).unwrap();
        assert!(!run(&options, "", "?\n".as_bytes(), Vec::new()).unwrap());
    }
}
