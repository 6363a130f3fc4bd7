//! Counts words: the map and the reduce of a batch in one module. Each text is a `map` task; a
//! `reduce` task takes their outputs as they are, so a workflow can join them by `$from`
//! (`data/workflow.json`).

use std::collections::BTreeMap;

use cofferdam_guest::{Failure, OrFail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum Work {
    /// Counts the words of one text.
    Map {
        text: String,
        /// Shorter words are not counted.
        #[serde(default = "one")]
        min_length: usize,
    },
    /// Adds up counts and keeps the most frequent words.
    Reduce {
        parts: Vec<Counts>,
        #[serde(default = "ten")]
        top: usize,
    },
}

const fn one() -> usize {
    1
}

const fn ten() -> usize {
    10
}

/// How often each word of a text occurs.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Counts {
    /// The number of words.
    total: u64,
    counts: BTreeMap<String, u64>,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
enum Answer {
    Counts(Counts),
    Top {
        total: u64,
        distinct: usize,
        top: Vec<Word>,
    },
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Word {
    word: String,
    count: u64,
}

/// Counts the words of a text (`map`), or merges such counts into the most frequent (`reduce`).
#[cofferdam_guest::task]
fn wordcount(work: Work) -> Result<Answer, Failure> {
    match work {
        Work::Map { text, min_length } => Ok(Answer::Counts(map(&text, min_length))),
        Work::Reduce { parts, top } => {
            (!parts.is_empty())
                .then_some(())
                .or_invalid_input("`parts` is empty")?;
            Ok(reduce(parts, top))
        }
    }
}

/// A word is a run of letters, with apostrophes inside; capitals do not matter.
fn map(text: &str, min_length: usize) -> Counts {
    let mut found = Counts::default();
    for word in text.split(|c: char| !c.is_alphabetic() && c != '\'' && c != '’') {
        let word = word
            .trim_matches(['\'', '’'])
            .replace('’', "'")
            .to_lowercase();
        if !word.is_empty() && word.chars().count() >= min_length {
            found.total += 1;
            *found.counts.entry(word).or_default() += 1;
        }
    }
    found
}

fn reduce(parts: Vec<Counts>, top: usize) -> Answer {
    let mut sum = Counts::default();
    for part in parts {
        sum.total += part.total;
        for (word, count) in part.counts {
            *sum.counts.entry(word).or_default() += count;
        }
    }
    let distinct = sum.counts.len();
    let mut words: Vec<Word> = sum
        .counts
        .into_iter()
        .map(|(word, count)| Word { word, count })
        .collect();
    // The sort is stable and the map was in order: equally frequent words stay alphabetical.
    words.sort_by_key(|word| std::cmp::Reverse(word.count));
    words.truncate(top);
    Answer::Top {
        total: sum.total,
        distinct,
        top: words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_guest::testing::run;
    use serde_json::{Value, json};

    fn answer(work: &Value) -> Value {
        serde_json::from_slice(&run::<wordcount>(work.to_string()).unwrap().body).unwrap()
    }

    #[test]
    fn words_are_counted_without_case_and_punctuation() {
        let counts = answer(&json!({"op": "map", "text": "It’s his: 'his' — it's HIS, 42!"}));
        assert_eq!(counts, json!({"total": 5, "counts": {"his": 3, "it's": 2}}));
    }

    #[test]
    fn the_outputs_of_map_are_the_inputs_of_reduce() {
        let texts = [
            include_str!("../data/gettysburg.txt"),
            include_str!("../data/pride-and-prejudice.txt"),
            include_str!("../data/bill-of-rights.txt"),
        ];
        let part = |text| answer(&json!({"op": "map", "text": text, "min_length": 4}));
        let parts: Vec<Value> = texts.into_iter().map(part).collect();
        let total: u64 = parts
            .iter()
            .map(|part| part["total"].as_u64().unwrap())
            .sum();
        let merged = answer(&json!({"op": "reduce", "parts": parts, "top": 3}));
        assert_eq!(merged["total"], total);
        assert_eq!(merged["top"].as_array().unwrap().len(), 3);
        assert_eq!(merged["top"][0], json!({"word": "that", "count": 26}));
    }

    #[test]
    fn an_unknown_operation_is_refused() {
        let failure = run::<wordcount>(r#"{"op": "sort"}"#).unwrap_err();
        assert!(
            failure.message().contains("unknown variant `sort`"),
            "{failure}"
        );
    }
}
