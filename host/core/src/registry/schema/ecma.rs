//! Translates patterns from ECMAScript's syntax, which JSON Schema uses, to that of the engine
//! here.
//!
//! Constructs that an automaton without backtracking cannot do (look-around, back-references) are
//! refused, not ignored.

use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

const DIGIT: &str = "[0-9]";
const NOT_DIGIT: &str = "[^0-9]";
const WORD: &str = "[A-Za-z0-9_]";
const NOT_WORD: &str = "[^A-Za-z0-9_]";
const SPACE: &str = r"[\x09-\x0d\x20\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}]";
const NOT_SPACE: &str = r"[^\x09-\x0d\x20\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}]";
const ANY_BUT_LINE_ENDS: &str = r"[^\n\r\x{2028}\x{2029}]";
const NOTHING: &str = r"[^\x{0}-\x{10ffff}]";
const ANYTHING: &str = r"[\x{0}-\x{10ffff}]";

/// The pattern in the engine's syntax.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut chars = pattern.chars().peekable();
    let mut out = String::with_capacity(pattern.len() * 2);
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.peek() {
                Some('b') => out.push_str(next(&mut chars, r"(?-u:\b)")),
                Some('B') => out.push_str(next(&mut chars, r"(?-u:\B)")),
                Some(_) | None => match escape(&mut chars)? {
                    Escape::Class(class) => out.push_str(class),
                    Escape::Property(start) => out.push_str(start),
                    Escape::Char(c) => push_char(&mut out, c),
                },
            },
            '[' => class(&mut chars, &mut out)?,
            '.' => out.push_str(ANY_BUT_LINE_ENDS),
            '(' => {
                out.push('(');
                group(&chars)?;
            }
            other => out.push(other),
        }
    }
    Ok(out)
}

/// Refuses a group that looks around.
fn group(rest: &Peekable<Chars<'_>>) -> Result<(), String> {
    let start: String = rest.clone().take(3).collect();
    let looks = ["?=", "?!", "?<=", "?<!"];
    match looks.iter().any(|look| start.starts_with(look)) {
        true => Err("looks ahead or behind, which is not supported".to_owned()),
        false => Ok(()),
    }
}

fn next(chars: &mut Peekable<Chars<'_>>, meaning: &'static str) -> &'static str {
    chars.next();
    meaning
}

/// What follows a backslash.
enum Escape {
    Class(&'static str),
    /// The start of `\p{…}`; the rest follows as it is.
    Property(&'static str),
    Char(char),
}

fn escape(chars: &mut Peekable<Chars<'_>>) -> Result<Escape, String> {
    let Some(c) = chars.next() else {
        return Err("ends in a backslash".to_owned());
    };
    Ok(match c {
        'd' => Escape::Class(DIGIT),
        'D' => Escape::Class(NOT_DIGIT),
        'w' => Escape::Class(WORD),
        'W' => Escape::Class(NOT_WORD),
        's' => Escape::Class(SPACE),
        'S' => Escape::Class(NOT_SPACE),
        'p' => Escape::Property(r"\p"),
        'P' => Escape::Property(r"\P"),
        'n' => Escape::Char('\n'),
        'r' => Escape::Char('\r'),
        't' => Escape::Char('\t'),
        'f' => Escape::Char('\u{c}'),
        'v' => Escape::Char('\u{b}'),
        '0' if !chars.peek().is_some_and(char::is_ascii_digit) => Escape::Char('\0'),
        'c' => match chars.next() {
            Some(letter) if letter.is_ascii_alphabetic() => {
                Escape::Char(char::from(letter as u8 % 32))
            }
            Some(_) | None => return Err(r"has a \c without a letter".to_owned()),
        },
        'x' => Escape::Char(code(hex(chars, 2)?)?),
        'u' => Escape::Char(unicode(chars)?),
        '0'..='9' | 'k' => {
            return Err("refers back to a group, which is not supported".to_owned());
        }
        letter if letter.is_ascii_alphanumeric() => {
            return Err(format!(r"has the escape \{letter}, which is not defined"));
        }
        other => Escape::Char(other),
    })
}

/// `\uHHHH`, two of them for one character, or `\u{H…}`.
fn unicode(chars: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    if chars.next_if_eq(&'{').is_some() {
        let digits: String = chars.by_ref().take_while(|c| *c != '}').take(7).collect();
        let number = u32::from_str_radix(&digits, 16);
        return code(number.map_err(|_| r"has a \u{…} without a number".to_owned())?);
    }
    let first = hex(chars, 4)?;
    let mut ahead = chars.clone();
    let is_pair = (0xd800..0xdc00).contains(&first)
        && ahead.next() == Some('\\')
        && ahead.next() == Some('u');
    if !is_pair {
        return code(first);
    }
    let second = hex(&mut ahead, 4)?;
    *chars = ahead;
    let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400);
    let low = low.ok_or_else(|| "has half a character".to_owned())?;
    code(0x1_0000 + ((first - 0xd800) << 10) + low)
}

fn hex(chars: &mut Peekable<Chars<'_>>, digits: usize) -> Result<u32, String> {
    let text: String = chars.by_ref().take(digits).collect();
    let is_hex = text.len() == digits && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u32::from_str_radix(&text, 16).ok().filter(|_| is_hex);
    number.ok_or_else(|| r"has a \x or \u without its digits".to_owned())
}

fn code(number: u32) -> Result<char, String> {
    char::from_u32(number).ok_or_else(|| "has half a character".to_owned())
}

/// A literal character, which has no other meaning as a number.
fn push_char(out: &mut String, c: char) {
    write!(out, r"\x{{{:x}}}", u32::from(c)).expect("memory takes any text");
}

/// The class between `[` and `]`.
fn class(chars: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    let negated = chars.next_if_eq(&'^').is_some();
    if chars.next_if_eq(&']').is_some() {
        out.push_str(if negated { ANYTHING } else { NOTHING });
        return Ok(());
    }
    out.push_str(if negated { "[^" } else { "[" });
    // Whether a range may begin with the last element.
    let mut begins = false;
    loop {
        let Some(c) = chars.next() else {
            return Err("has a class without its end".to_owned());
        };
        match c {
            ']' => break,
            '-' if begins && ends_range(chars) => {
                out.push('-');
                let end = chars.next().unwrap_or_default();
                match end {
                    '\\' => match class_escape(chars)? {
                        Escape::Char(c) => push_char(out, c),
                        Escape::Class(_) | Escape::Property(_) => {
                            return Err("has a range that ends in a class".to_owned());
                        }
                    },
                    end => push_char(out, end),
                }
                begins = false;
            }
            '\\' => match class_escape(chars)? {
                Escape::Char(c) => {
                    push_char(out, c);
                    begins = true;
                }
                Escape::Class(class) => {
                    out.push_str(class);
                    begins = false;
                }
                Escape::Property(start) => {
                    out.push_str(start);
                    property(chars, out);
                    begins = false;
                }
            },
            other => {
                push_char(out, other);
                begins = true;
            }
        }
    }
    out.push(']');
    Ok(())
}

/// Whether a hyphen before `rest` is part of a range.
fn ends_range(rest: &Peekable<Chars<'_>>) -> bool {
    let mut ahead = rest.clone();
    match ahead.next() {
        Some(']') | None => false,
        Some('\\') => !matches!(
            ahead.next(),
            Some('d' | 'D' | 'w' | 'W' | 's' | 'S' | 'p' | 'P')
        ),
        Some(_) => true,
    }
}

fn class_escape(chars: &mut Peekable<Chars<'_>>) -> Result<Escape, String> {
    match chars.next_if_eq(&'b') {
        Some(_) => Ok(Escape::Char('\u{8}')),
        None => escape(chars),
    }
}

/// The braces after `\p`.
fn property(chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    if chars.peek() == Some(&'{') {
        for c in chars.by_ref() {
            out.push(c);
            if c == '}' {
                break;
            }
        }
    }
}
