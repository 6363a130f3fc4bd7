//! What the audit trail says of one act: when, who, from where, what, and how it ended.
//!
//! The trail itself, its order and its hashes are storage's. A note has no secret, key or payload, because
//! nothing here has a place for one: all that callers or guests chose of it are names and places, cut to
//! [`TEXT_BYTES_MAX`].

use crate::time::Timestamp;
use uuid::Uuid;

/// The longest text of a note, in bytes. With the rest of it an entry is smaller than 2 KiB.
pub const TEXT_BYTES_MAX: usize = 256;

/// One act, or several alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// No other note has it.
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Whose right it was; empty for those who showed none.
    pub tenant: Text,
    /// Who: the id of a key, or a word for those who have none.
    pub actor: Text,
    /// The address from which they asked.
    pub origin: Text,
    /// What they did: the operation of the API, or a word for what is none.
    pub action: Text,
    /// To what.
    pub resource: Text,
    /// How it ended.
    pub outcome: Outcome,
    /// The status of the answer; 0 if there was none.
    pub status: u16,
    /// How many such acts it stands for.
    pub count: u64,
    /// More of it, such as why it was refused.
    pub detail: Text,
}

/// How an act ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not done, because of a rule or of the request itself.
    Refused,
    /// It was not done, because the host could not.
    Failed,
    /// Nobody waited for its end: it may have been done or not.
    Abandoned,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 4] = [
        Outcome::Done,
        Outcome::Refused,
        Outcome::Failed,
        Outcome::Abandoned,
    ];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
            Outcome::Abandoned => "abandoned",
        }
    }

    /// The outcome of that word.
    pub fn parse(word: &str) -> Option<Outcome> {
        let mut all = Outcome::ALL.into_iter();
        all.find(|outcome| outcome.as_str() == word)
    }
}

/// A text of a note: at most [`TEXT_BYTES_MAX`] bytes, without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(String);

impl Text {
    /// The beginning of `said`.
    pub fn of(said: &str) -> Text {
        let mut text = String::new();
        for character in said.chars() {
            let character = match character.is_control() {
                true => char::REPLACEMENT_CHARACTER,
                false => character,
            };
            if text.len() + character.len_utf8() > TEXT_BYTES_MAX {
                break;
            }
            text.push(character);
        }
        Text(text)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters_and_hold_no_control_characters() {
        assert_eq!(Text::of("a\0b\x1b[2J").as_str(), "a\u{fffd}b\u{fffd}[2J");
        let long = "é".repeat(TEXT_BYTES_MAX);
        assert_eq!(Text::of(&long).as_str(), "é".repeat(TEXT_BYTES_MAX / 2));
        let odd = format!("a{long}");
        assert_eq!(Text::of(&odd).as_str().len(), TEXT_BYTES_MAX - 1);
    }

    #[test]
    fn every_outcome_has_a_word() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
        }
        assert_eq!(Outcome::parse("other"), None);
    }
}
