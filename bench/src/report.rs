//! The findings of a benchmark: tables, and its goals beside the measured values. A report is
//! rendered as aligned text or as a section of Markdown for `bench/RESULTS.md`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;

use crate::machine;
use crate::stats::{Samples, figure};

/// A table of text.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(head: &[&str]) -> Table {
        Table {
            head: head.iter().map(|&cell| cell.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, as wide as the head.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let row: Vec<String> = cells.into_iter().collect();
        assert_eq!(row.len(), self.head.len(), "a row is as wide as its head");
        self.rows.push(row);
    }

    fn render(&self, form: Form) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.head[column].chars().count()]).max()
        };
        let widths: Vec<usize> = (0..self.head.len()).filter_map(width).collect();
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        [&self.head, &rule]
            .into_iter()
            .chain(&self.rows)
            .map(|row| line(row, &widths, form))
            .collect()
    }
}

fn line(row: &[String], widths: &[usize], form: Form) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| {
        let pad = width - cell.chars().count();
        format!("{cell}{}", " ".repeat(pad))
    });
    let cells: Vec<String> = cells.collect();
    match form {
        Form::Text => format!("{}\n", cells.join("  ").trim_end()),
        Form::Markdown => format!("| {} |\n", cells.join(" | ")),
    }
}

/// A goal's bound.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

impl Aim {
    fn reached(self, value: f64) -> bool {
        match self {
            Aim::AtLeast(least) => value >= least,
            Aim::AtMost(most) => value <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Aim::AtLeast(least) => format!("≥ {}", figure(least)),
            Aim::AtMost(most) => format!("≤ {}", figure(most)),
        }
    }
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Markdown,
}

/// All findings of a benchmark.
#[derive(Debug)]
pub(crate) struct Report {
    name: &'static str,
    /// What was run, how often, and against which peers.
    pub(crate) method: String,
    /// The tables, in reading order.
    pub(crate) tables: Vec<Table>,
    goals: Table,
    /// What a reader must know to judge the figures.
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// A report without any finding yet.
    pub(crate) fn new(name: &'static str, method: String) -> Report {
        Report {
            name,
            method,
            tables: Vec::new(),
            goals: Table::new(&["goal", "aim", "measured", "reached"]),
            notes: Vec::new(),
        }
    }

    /// Adds a goal with the measured value.
    pub(crate) fn goal(&mut self, what: &str, aim: Aim, measured: &Samples) {
        let reached = if aim.reached(measured.median()) {
            "yes"
        } else {
            "no"
        };
        self.goals.row([
            what.to_owned(),
            aim.text(),
            measured.text(),
            reached.to_owned(),
        ]);
    }

    /// The whole report.
    pub(crate) fn render(&self, form: Form, command: &str) -> String {
        let mut text = match form {
            Form::Text => format!("{}\n\n", self.name),
            Form::Markdown => format!("## {}\n\n", self.name),
        };
        let _infallible = write!(
            text,
            "Command: `{command}`\n\n{}\n\n{}\n",
            machine::text(),
            self.method
        );
        for table in self.tables.iter().chain([&self.goals]) {
            if !table.rows.is_empty() {
                text.push('\n');
                text.push_str(&table.render(form));
            }
        }
        for note in &self.notes {
            let _infallible = write!(text, "\n{note}\n");
        }
        text
    }

    /// Puts the report into a file of results: in place of the section of its name, or at the end.
    pub(crate) fn record(&self, file: &Path, command: &str) -> anyhow::Result<()> {
        let before = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                "# Results\n\nEach section is the output of its command; README.md says how it is \
                 measured.\n"
                    .to_owned()
            }
            Err(error) => return Err(error).context(format!("{}", file.display())),
        };
        let section = self.render(Form::Markdown, command);
        std::fs::write(file, replace_section(&before, self.name, &section))
            .with_context(|| format!("{}", file.display()))
    }
}

fn replace_section(text: &str, name: &str, section: &str) -> String {
    let heading = format!("## {name}\n");
    let Some(start) = text.find(&heading) else {
        return format!("{}\n\n{section}", text.trim_end());
    };
    let body = start + heading.len();
    let rest = text[body..].find("\n## ").map(|at| &text[body + at..]);
    format!("{}{section}{}", &text[..start], rest.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_its_own_place() {
        let text = "# Results\n\n## run\n\nold\n\n## start\n\nkept\n";
        let text = replace_section(text, "run", "## run\n\nnew\n");
        assert_eq!(text, "# Results\n\n## run\n\nnew\n\n## start\n\nkept\n");
        let text = replace_section(&text, "busy", "## busy\n\nadded\n");
        assert!(text.ends_with("kept\n\n## busy\n\nadded\n"), "{text}");
    }

    #[test]
    fn a_missed_goal_says_so() {
        let mut report = Report::new("x", String::new());
        let mut measured = Samples::default();
        measured.add(3.0);
        report.goal("ratio", Aim::AtLeast(3.5), &measured);
        let text = report.goals.render(Form::Markdown);
        assert!(
            text.ends_with("| ratio | ≥ 3.50 | 3.00     | no      |\n"),
            "{text}"
        );
    }
}
