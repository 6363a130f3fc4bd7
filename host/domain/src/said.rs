//! Makes a guest's texts safe to repeat in answers, rows, headers and the log.
//!
//! A guest chooses these texts and may choose harmful ones: megabytes where a sentence is meant, or
//! control characters for somebody's terminal. So each kind of text has a bound, applied where the
//! text enters the host; longer texts are cut and marked.

use std::fmt::{self, Write as _};

/// The longest message of a failure, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// The longest backtrace or traceback, in bytes.
pub const BACKTRACE_BYTES_MAX: usize = 16 * 1024;
/// The longest summary of a module, in bytes.
pub const SUMMARY_BYTES_MAX: usize = 4 * 1024;
/// The longest name of an exception's type, in bytes.
pub const CLASS_BYTES_MAX: usize = 256;
/// The most that an answer repeats of a caller's value, which may be as long as a body, in bytes.
pub const REPEATED_BYTES_MAX: usize = 8 * 1024;
/// The longest media type, in bytes.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;
/// The most bytes of a guest's text in one line of the log, before it is escaped.
const LOGGED_BYTES_MAX: usize = 256;

/// The media type of bytes without one, or with one that cannot be repeated.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// The mark where something was cut out.
const GAP: &str = " … ";

/// A text that an answer repeats, cut to [`REPEATED_BYTES_MAX`].
pub fn repeated(said: impl fmt::Display) -> String {
    bounded(said, REPEATED_BYTES_MAX)
}

/// The beginning of `said` as text, at most `bytes_max` bytes. The rest is never formatted.
pub fn bounded(said: impl fmt::Display, bytes_max: usize) -> String {
    let mut room = Room {
        text: String::new(),
        left: bytes_max,
    };
    // The error comes from `Room` when it is full.
    if write!(room, "{said}").is_err() {
        room.text.push_str(GAP.trim_end());
    }
    room.text
}

/// A text that accepts a limited number of bytes.
struct Room {
    text: String,
    left: usize,
}

impl fmt::Write for Room {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let fits = more.floor_char_boundary(self.left);
        self.text.push_str(&more[..fits]);
        self.left = if fits < more.len() {
            0
        } else {
            self.left - fits
        };
        match fits < more.len() {
            true => Err(fmt::Error),
            false => Ok(()),
        }
    }
}

/// The beginning of `text`, at most `bytes_max` bytes.
pub fn cut(text: impl Into<String>, bytes_max: usize) -> String {
    let mut text = text.into();
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push_str(GAP.trim_end());
    }
    text
}

/// The same for a text whose end matters as much as its beginning: the middle is cut out.
pub fn cut_middle(text: impl Into<String>, bytes_max: usize) -> String {
    let text = text.into();
    if text.len() <= bytes_max {
        return text;
    }
    let head = text.floor_char_boundary(bytes_max / 2);
    let tail = text.ceil_char_boundary(text.len() - bytes_max / 2);
    format!("{}{GAP}{}", &text[..head], &text[tail..])
}

/// The media type that `text` is, if a header can hold it.
pub fn media_type(text: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    let (kind, rest) = text.split_once('/')?;
    let is_one = (1..=MEDIA_TYPE_BYTES_MAX).contains(&text.len())
        && text.bytes().all(is_plain)
        && !kind.is_empty()
        && !rest.trim_start().is_empty();
    is_one.then_some(text)
}

/// A media type without its parameters, in lower case.
pub fn essence(media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Whether a media type is JSON, however it is spelt and whatever parameters it has.
pub fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence == "application/json"
        || essence.starts_with("application/") && essence.ends_with("+json")
}

/// `text` for a line of the log: its beginning, on one line, without control characters.
pub fn for_log(text: &str) -> String {
    let shown = &text[..text.floor_char_boundary(LOGGED_BYTES_MAX)];
    let mut safe = String::with_capacity(shown.len());
    for character in shown.chars() {
        match character {
            '\n' | '\r' | '\t' => safe.push(' '),
            harmless if is_harmless(harmless) => safe.push(harmless),
            _ => safe.push('\u{fffd}'),
        }
    }
    if shown.len() < text.len() {
        safe.push_str(&format!(" … ({} bytes)", text.len()));
    }
    safe
}

/// Whether a character is shown and neither moves the cursor nor reorders what is around it.
fn is_harmless(character: char) -> bool {
    let reorders = ('\u{202a}'..='\u{202e}').contains(&character)
        || ('\u{2066}'..='\u{2069}').contains(&character)
        || ['\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{feff}'].contains(&character);
    !character.is_control() && !reorders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("ééé", 3), "é …");
        assert_eq!(cut_middle("abcdefgh", 8), "abcdefgh");
        assert_eq!(cut_middle("abcdefghij", 4), "ab … ij");
        assert_eq!(cut_middle("ééééé", 4), "é … é");
    }

    #[test]
    fn what_is_said_is_written_down_as_far_as_there_is_room() {
        assert_eq!(bounded("short", 5), "short");
        assert_eq!(bounded(format_args!("{}{}", "ab", "éé"), 5), "abé …");
        assert_eq!(bounded(format_args!("{}{}{}", "abc", "é", "d"), 4), "abc …");
        // Who goes on writing after it was refused gains nothing.
        struct Stubborn;
        impl fmt::Display for Stubborn {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("aé").or_else(|_| f.write_str("b"))
            }
        }
        assert_eq!(bounded(Stubborn, 2), "a …");
        let endless = std::iter::repeat_n('\u{7f}', 1 << 20).collect::<String>();
        assert_eq!(bounded(format_args!("{endless:?}"), 7), "\"\\u{7f} …");
    }

    #[test]
    fn only_what_fits_a_header_is_a_media_type() {
        for good in [
            "text/plain",
            "text/plain; charset=utf-8",
            "application/x+json",
        ] {
            assert_eq!(media_type(good), Some(good));
        }
        let long = format!("text/{}", "x".repeat(255));
        for bad in [
            "",
            "text",
            "/plain",
            "text/",
            "a/b\r\nset-cookie: c",
            "text/é",
            &long,
        ] {
            assert_eq!(media_type(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn json_is_known_however_it_is_spelt() {
        for json in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/ld+json",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in ["text/json", "application/jsonl", "+json", ""] {
            assert!(!is_json(other), "{other}");
        }
    }

    #[test]
    fn a_line_of_the_log_stays_one_line_and_short() {
        assert_eq!(for_log("a\nb\u{1b}[2J\u{202e}c"), "a b\u{fffd}[2J\u{fffd}c");
        let long = for_log(&"\u{1b}".repeat(10_000));
        assert!(
            long.len() < 1024 && long.ends_with("(10000 bytes)"),
            "{long}"
        );
    }

    #[test]
    fn a_text_as_long_as_it_may_be_is_whole() {
        assert_eq!(cut("abc", 2), "ab …");
        assert_eq!(cut_middle("abc", 3), "abc");
        let longest = format!("text/{}", "x".repeat(250));
        assert_eq!(media_type(&longest), Some(longest.as_str()));
        assert_eq!(media_type(&format!("{longest}x")), None);
        assert_eq!(media_type("text/ "), None);
        assert_eq!(media_type("text/a\tb"), None);
        let longest = "x".repeat(256);
        assert_eq!(for_log(&longest), longest);
        assert_eq!(
            for_log(&format!("{longest}é")),
            format!("{longest} … (258 bytes)")
        );
        let sizes = [MESSAGE_BYTES_MAX, BACKTRACE_BYTES_MAX, SUMMARY_BYTES_MAX];
        assert_eq!(sizes, [4_096, 16_384, 4_096]);
        let long = repeated("x".repeat(8_193));
        assert_eq!(long, format!("{} …", "x".repeat(8_192)));
    }

    #[test]
    fn a_media_type_is_known_by_its_essence() {
        assert_eq!(essence(" Text/Plain ; charset=utf-8"), "text/plain");
        assert!(is_json("application/problem+json") && !is_json("image/svg+json"));
        assert!(!is_json("application/json+xml") && !is_json("application/"));
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_logged() {
        let obeyed = "\u{0}\u{7}\u{1b}\u{7f}\u{85}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}";
        for character in obeyed.chars() {
            let logged = for_log(&character.to_string());
            assert_eq!(logged, "\u{fffd}", "{character:?}");
        }
        assert_eq!(for_log("a\r\n\tb"), "a   b");
        let shown = "é\u{2027}\u{202f}\u{2065}\u{206a}";
        assert_eq!(for_log(shown), shown);
    }
}
