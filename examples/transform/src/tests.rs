//! The conversions, from bytes to bytes.

use cofferdam_guest::Failure;
use cofferdam_guest::testing::run;
use serde_json::{Value, json};

use super::transform;

const CITIES: &str = include_str!("../data/cities.csv");

fn converted(input: &Value) -> String {
    String::from_utf8(run::<transform>(input.to_string()).unwrap().body).unwrap()
}

#[test]
fn the_sample_request_gives_large_african_cities() {
    let request: Value = serde_json::from_str(include_str!("../data/request.json")).unwrap();
    let rows: Value = serde_json::from_str(&converted(&request)).unwrap();
    let cities: Vec<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["city"].as_str().unwrap())
        .collect();
    assert_eq!(cities[..2], ["Kinshasa", "Cairo"]);
    assert!(
        cities.contains(&"Lagos") && !cities.contains(&"Paris"),
        "{cities:?}"
    );
}

#[test]
fn a_table_survives_all_three_formats() {
    let json = converted(&json!({"from": "csv", "to": "json", "text": CITIES}));
    let yaml = converted(&json!({"from": "json", "to": "yaml", "text": json}));
    let csv = converted(&json!({"from": "yaml", "to": "csv", "text": yaml}));
    assert_eq!(csv, CITIES);
}

#[test]
fn cells_keep_their_spelling_and_quotes_their_commas() {
    let table = "code,name,share\n007,\"Bond, James\",0.50\n12,,1e3\n";
    let json = converted(&json!({"from": "csv", "to": "json", "text": table}));
    let rows: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        rows[0],
        json!({"code": "007", "name": "Bond, James", "share": "0.50"})
    );
    assert_eq!(rows[1]["name"], Value::Null);
    assert_eq!(
        converted(&json!({"from": "json", "to": "csv", "text": json})),
        table
    );
}

#[test]
fn conditions_compare_numbers_as_numbers() {
    let text = "n,w\n9,nine\n10,ten\n100,hundred\n";
    let request = json!({"from": "csv", "to": "csv", "text": text, "select": ["w"], "sort_by": "-n",
        "where": [{"column": "n", "op": "lt", "value": 100}, {"column": "w", "op": "contains", "value": "n"}]});
    assert_eq!(converted(&request), "w\nten\nnine\n");
}

#[test]
fn mistakes_are_named() {
    let failure = |request: Value| match run::<transform>(request.to_string()) {
        Err(Failure::InvalidInput(message)) => message,
        other => panic!("{other:?}"),
    };
    let no_column = json!({"from": "csv", "to": "csv", "text": "a\n1\n", "sort_by": "b"});
    assert_eq!(failure(no_column), "there is no column `b`");
    let ragged = json!({"from": "csv", "to": "csv", "text": "a,b\n1\n"});
    assert!(failure(ragged).starts_with("the CSV table: CSV error: record 1"));
    assert!(failure(json!({"from": "csv", "to": "json"})).starts_with("/in/payload: "));
    let nested = json!({"from": "csv", "to": "xml", "text": ""});
    assert!(failure(nested).contains("at `to`: unknown variant `xml`"));
}
