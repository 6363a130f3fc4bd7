//! Patterns: automata of bounded size, run byte by byte so that a match can be stopped.
//!
//! A lazy automaton takes one step for each byte, and at worst computes a new state, whose cost
//! grows with the size of the pattern. A byte is charged that much.

use std::sync::{Mutex, PoisonError};

use regex_automata::Input;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::syntax;

use super::budget::{Budget, Stopped};
use super::ecma;

/// The longest pattern.
const CHARS_MAX: usize = 4096;
/// The largest automaton of one pattern.
const AUTOMATON_BYTES_MAX: usize = 1024 * 1024;
/// The least cache of states that an automaton may have.
const CACHE_BYTES: usize = 32 * 1024;
/// States of an automaton that a step of the budget pays for.
const STATES_PER_STEP: u64 = 16;
/// The most groups within groups.
const NESTING_MAX: u32 = 100;

/// A pattern made ready.
#[derive(Debug)]
pub(super) struct Pattern {
    dfa: DFA,
    automaton_bytes: usize,
    bytes: usize,
    byte_steps: u64,
    /// The cache of the last match.
    cache: Mutex<Option<Box<Cache>>>,
}

impl Pattern {
    /// Reads a pattern, whose automaton may take `room` bytes.
    pub(super) fn compile(pattern: &str, room: usize) -> Result<Pattern, String> {
        if pattern.len() > CHARS_MAX {
            return Err(format!("is longer than {CHARS_MAX} bytes"));
        }
        let syntax = syntax::Config::new().utf8(false).nest_limit(NESTING_MAX);
        let hir = syntax::parse_with(&ecma::translate(pattern)?, &syntax)
            .map_err(|_| "is not a regular expression that this host supports".to_owned())?;
        let size_max = room.min(AUTOMATON_BYTES_MAX);
        let config = thompson::Config::new()
            .utf8(false)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(size_max));
        let nfa = NFA::compiler()
            .configure(config)
            .build_from_hir(&hir)
            .map_err(|_| format!("makes an automaton larger than {size_max} bytes"))?;
        let states = nfa.states().len() as u64;
        let automaton_bytes = nfa.memory_usage();
        let lazy = DFA::config()
            .cache_capacity(CACHE_BYTES)
            .skip_cache_capacity_check(true);
        let cache_bytes = lazy
            .get_minimum_cache_capacity(&nfa)
            .map_err(|_| "is too large")?;
        let dfa = DFA::builder().configure(lazy).build_from_nfa(nfa);
        let dfa = dfa.map_err(|_| "cannot be matched byte by byte".to_owned())?;
        Ok(Pattern {
            automaton_bytes,
            bytes: automaton_bytes + cache_bytes.max(CACHE_BYTES),
            byte_steps: 1 + states / STATES_PER_STEP,
            dfa,
            cache: Mutex::new(None),
        })
    }

    /// The size of its automaton.
    pub(super) fn automaton_bytes(&self) -> usize {
        self.automaton_bytes
    }

    /// Its memory once it has been used.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it occurs anywhere in `text`.
    pub(super) fn is_match(&self, text: &str, budget: &mut Budget<'_>) -> Result<bool, Stopped> {
        budget.spend(self.byte_steps)?;
        let mut cache = self
            .take()
            .unwrap_or_else(|| Box::new(self.dfa.create_cache()));
        let found = self.search(&mut cache, text, budget);
        *self.cache.lock().unwrap_or_else(PoisonError::into_inner) = Some(cache);
        found
    }

    fn take(&self) -> Option<Box<Cache>> {
        let mut kept = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take()
    }

    fn search(
        &self,
        cache: &mut Cache,
        text: &str,
        budget: &mut Budget<'_>,
    ) -> Result<bool, Stopped> {
        let input = Input::new(text).earliest(true);
        // It gives up on configured bytes, of which there are none, and when its cache was filled
        // too often, which is not configured.
        const NEVER: &str = "no byte and no number of states makes it give up";
        let mut state = self.dfa.start_state_forward(cache, &input).expect(NEVER);
        for byte in text.bytes() {
            budget.spend(self.byte_steps)?;
            state = self.dfa.next_state(cache, state, byte).expect(NEVER);
            if state.is_match() {
                return Ok(true);
            }
            if state.is_dead() {
                return Ok(false);
            }
        }
        state = self.dfa.next_eoi_state(cache, state).expect(NEVER);
        Ok(state.is_match())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        let mut more = || true;
        let pattern = Pattern::compile(pattern, AUTOMATON_BYTES_MAX).expect(pattern);
        pattern
            .is_match(text, &mut Budget::new(0, &mut more))
            .unwrap()
    }

    #[test]
    fn patterns_mean_what_ecmascript_says() {
        assert!(matches("b", "abc") && matches("^a.c$", "abc") && !matches("^b", "abc"));
        assert!(matches("^$", "") && matches("", "") && !matches("^$", "\n"));
        assert!(matches(r"^\d+$", "042") && !matches(r"^\d+$", "٣") && matches(r"^\S$", "é"));
        assert!(matches(r"^[\w-]+$", "a-b_9") && !matches(r"^[\w-]+$", "a b"));
        assert!(matches(r"^[a\-z]+$", "a-z") && !matches(r"^[a\-z]+$", "b"));
        assert!(matches(r"^[[&&]+$", "[&") && matches("^[^]$", "\n") && !matches("[]", "a"));
        assert!(matches(r"^\u00e9\x41\u{1F600}$", "éA😀") && matches(r"^\uD83D\uDE00$", "😀"));
        assert!(matches(r"^\p{L}+$", "né") && matches(r"^[\p{L}\d]+$", "né7"));
        assert!(matches(r"\ba\b", "é a") && matches(r"^\/\cA\0$", "/\u{1}\0"));
        assert!(!matches("^.$", "\u{2028}") && matches("^(?:a|b){2}$", "ab"));
        assert!(matches(r"^[+--]+$", "+,-") && matches(r"^[\b]$", "\u{8}"));
        assert!(matches(r"^(?<year>\d{4})-", "2026-01"));
        assert!(matches("^[a-]+$", "a-") && matches(r"^[a-\d]+$", "a-7"));
        assert!(matches(r"^[+-\-]+$", "+,-") && !matches(r"^[+-\-]+$", "."));
        assert!(matches(r"^\u0041\u0042$", "AB") && matches(r"^\u0041u0042$", "Au0042"));
    }

    #[test]
    fn patterns_that_need_backtracking_or_much_room_are_refused() {
        let refused = |pattern: &str| Pattern::compile(pattern, AUTOMATON_BYTES_MAX).unwrap_err();
        assert!(refused("(?=a)").contains("looks ahead"));
        assert!(refused("(?<!a)b").contains("looks ahead or behind"));
        assert!(refused(r"(a)\1").contains("refers back"));
        assert!(refused(r"\01").contains("refers back"));
        assert!(refused(r"\q").contains(r"\q"));
        assert!(refused(r"\c1").contains("without a letter"));
        assert!(refused(r"\x4").contains("without its digits"));
        assert!(refused(r"\uD83D\uE000").contains("half a character"));
        assert!(refused("(a{250}){600}").contains("larger than"));
        assert!(refused(r"(((\p{L}{100}){100}){100}){100}").contains("larger than"));
        assert!(Pattern::compile(&"a".repeat(4096), AUTOMATON_BYTES_MAX).is_ok());
        assert!(refused(&"a".repeat(4097)).contains("longer"));
        assert!(refused(&"(".repeat(200)).contains("regular expression"));
        assert!(refused("(").contains("regular expression"));
        assert!(Pattern::compile("a{50}", 100).unwrap_err().contains("100"));
    }

    #[test]
    fn a_match_costs_what_its_automaton_makes_of_each_byte() {
        let steps = |pattern: &str, text: &str| {
            let pattern = Pattern::compile(pattern, AUTOMATON_BYTES_MAX).unwrap();
            let ends = |steps: &u64| {
                let mut more = || false;
                let found = pattern.is_match(text, &mut Budget::new(*steps, &mut more));
                found.is_ok()
            };
            (0..1000).find(ends)
        };
        assert_eq!(steps("^b", ""), Some(1));
        assert_eq!(steps("b", "aaa"), Some(4));
        let large = steps("a{1600}", "a").unwrap();
        assert!((200..220).contains(&large), "{large}");
    }

    #[test]
    fn a_pattern_takes_its_automaton_and_a_cache() {
        let pattern = Pattern::compile("a", AUTOMATON_BYTES_MAX).unwrap();
        assert_eq!(pattern.bytes(), pattern.automaton_bytes() + 32 * 1024);
    }

    #[test]
    fn a_match_is_stopped_within_a_grant() {
        let pattern = Pattern::compile("^[01]*1[01]{3000}$", AUTOMATON_BYTES_MAX).unwrap();
        let text = "01".repeat(200_000);
        let mut grants = 10;
        let mut more = || {
            grants -= 1;
            grants > 0
        };
        let stopped = pattern.is_match(&text, &mut Budget::new(0, &mut more));
        assert_eq!(stopped, Err(Stopped::Spent));
    }
}
