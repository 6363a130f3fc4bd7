//! Converts a table between CSV, JSON and YAML, selects columns, filters and sorts rows. A JSON or
//! YAML table is a list of flat objects.

use std::cmp::Ordering;

use cofferdam_guest::{Failure, LARGE_INPUT, OrFail, Payload, ResultExt};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

type Row = Map<String, Value>;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Transform {
    from: Format,
    to: Format,
    /// The table itself; without it, it is read from `file`.
    text: Option<String>,
    /// The path of a table that is too large for a message, such as a granted `/data/cities.csv`.
    #[serde(default = "large_input")]
    file: String,
    /// The columns to keep, in this order.
    select: Option<Vec<String>>,
    /// Conditions; a row is kept if it meets them all.
    #[serde(default, rename = "where")]
    conditions: Vec<Condition>,
    /// A column to sort by; a minus before its name puts the greatest first.
    sort_by: Option<String>,
}

fn large_input() -> String {
    LARGE_INPUT.to_owned()
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Csv,
    Json,
    Yaml,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Condition {
    column: String,
    op: Op,
    value: Value,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Op {
    Eq,
    Ne,
    Lt,
    Gt,
    Contains,
}

/// Converts a table between CSV, JSON and YAML; selects columns, filters and sorts rows.
#[cofferdam_guest::task]
fn transform(input: Transform) -> Result<Payload, Failure> {
    let text = match input.text {
        Some(text) => text,
        None => std::fs::read_to_string(&input.file).or_invalid_input(&input.file)?,
    };
    let mut rows = input.from.read(&text)?;
    for column in input.conditions.iter().map(|condition| &condition.column) {
        must_exist(&rows, column)?;
    }
    rows.retain(|row| {
        input
            .conditions
            .iter()
            .all(|condition| condition.holds(row))
    });
    if let Some(sort_by) = &input.sort_by {
        let column = sort_by.trim_start_matches('-');
        must_exist(&rows, column)?;
        rows.sort_by(|a, b| order(cell(a, column), cell(b, column)));
        if sort_by.starts_with('-') {
            rows.reverse();
        }
    }
    if let Some(columns) = &input.select {
        for column in columns {
            must_exist(&rows, column)?;
        }
        let keep = |row: Row| {
            columns
                .iter()
                .map(|column| (column.clone(), cell(&row, column).clone()))
                .collect()
        };
        rows = rows.into_iter().map(keep).collect();
    }
    input.to.write(&rows)
}

fn must_exist(rows: &[Row], column: &str) -> Result<(), Failure> {
    let exists = rows.is_empty() || rows.iter().any(|row| row.contains_key(column));
    exists
        .then_some(())
        .or_invalid_input(format!("there is no column `{column}`"))
}

fn cell<'row>(row: &'row Row, column: &str) -> &'row Value {
    row.get(column).unwrap_or(&Value::Null)
}

/// Orders numbers by size and everything else by its text; an absent value comes first.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => shown(a).cmp(&shown(b)),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Condition {
    fn holds(&self, row: &Row) -> bool {
        let found = cell(row, &self.column);
        match self.op {
            Op::Eq => order(found, &self.value).is_eq(),
            Op::Ne => order(found, &self.value).is_ne(),
            Op::Lt => order(found, &self.value).is_lt(),
            Op::Gt => order(found, &self.value).is_gt(),
            Op::Contains => shown(found).contains(&shown(&self.value)),
        }
    }
}

impl Format {
    fn read(self, text: &str) -> Result<Vec<Row>, Failure> {
        match self {
            Self::Json => serde_json::from_str(text).or_invalid_input("the JSON table"),
            Self::Yaml => serde_norway::from_str(text).or_invalid_input("the YAML table"),
            Self::Csv => {
                let mut reader = csv::Reader::from_reader(text.as_bytes());
                let names = reader.headers().invalid_input()?.clone();
                let row = |record: csv::StringRecord| {
                    names
                        .iter()
                        .map(str::to_owned)
                        .zip(record.iter().map(typed))
                        .collect()
                };
                let records = reader.records().map(|record| record.map(row));
                records
                    .collect::<Result<_, _>>()
                    .or_invalid_input("the CSV table")
            }
        }
    }

    fn write(self, rows: &[Row]) -> Result<Payload, Failure> {
        match self {
            Self::Json => Ok(Payload::json(serde_json::to_vec_pretty(rows)?)),
            Self::Yaml => Ok(Payload::new(
                "application/yaml",
                serde_norway::to_string(rows)?,
            )),
            Self::Csv => {
                let mut writer = csv::Writer::from_writer(Vec::new());
                let columns: Vec<&String> = rows
                    .first()
                    .map(|row| row.keys().collect())
                    .unwrap_or_default();
                writer.write_record(&columns)?;
                for row in rows {
                    writer.write_record(columns.iter().map(|column| shown(cell(row, column))))?;
                }
                Ok(Payload::new("text/csv", writer.into_inner()?))
            }
        }
    }
}

/// A CSV cell as the number that it spells, if it is spelled the usual way: `007` stays text.
fn typed(text: &str) -> Value {
    match text.parse::<serde_json::Number>() {
        _ if text.is_empty() => Value::Null,
        Ok(number) if number.to_string() == text => Value::Number(number),
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
